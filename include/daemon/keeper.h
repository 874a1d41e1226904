/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper: the small privileged process. It owns the listening sockets and the private keys,
 * starts the proxy process and starts it again when it dies, hands new configuration over, and
 * speaks to systemd. It never parses a byte that came from the network. */
#pragma once

/* `ringmain run [-c FILE]`; returns when told to stop. Exit status 0, 1 (could not start, or the
 * proxy process could not), 2 (usage). */
int keeper_main(int argc, char **argv);
