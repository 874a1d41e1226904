/* SPDX-License-Identifier: Apache-2.0 */
/* Capture rules in the kernel's own words: the text for iptables-restore, its application, its
 * removal, and the watch for other people's changes. Runs in its own short process with
 * CAP_NET_ADMIN, never in the data path. */
#pragma once

#include "base/bundle.h"
#include "base/error.h"
#include "conf/conf.h"

/* `ringmain redirect up|down|show|watch`; exit status 0, 1 (problem found), 2 (usage). */
int redirect_main(int argc, char **argv);
