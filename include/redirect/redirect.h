/* SPDX-License-Identifier: Apache-2.0 */
/* Capture rules in the kernel's own words: the text for iptables-restore, its application, its
 * removal, and the watch for other people's changes. Processes of their own with CAP_NET_ADMIN,
 * never the data path's. */
#pragma once

/* `ringmain redirect up|down|show|watch`; exit status 0, 1 (problem found), 2 (usage). */
int redirect_main(int argc, char **argv);
