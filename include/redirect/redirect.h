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

/* Where `redirect up` leaves "uid mark" lines for the keeper: which number in the SYN mark stands
 * for which uid. Numbers stay with their uid as long as the rules stand. */
#define REDIRECT_MARKS_FILE "marks" /* in conf.run_dir */
/* What `redirect watch` last found, one JSON object, for `ringmain status`. */
#define REDIRECT_STATE_FILE "redirect.json" /* in conf.run_dir */
