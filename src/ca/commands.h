/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of `ringmain ca`, a table row each. */
#pragma once

#include "options.h"

/* command_found.c */
extern const struct options_command command_init, command_issue;
/* command_book.c */
extern const struct options_command command_allow, command_forbid, command_token, command_revoke;
/* command_federate.c */
extern const struct options_command command_federate;
/* command_list.c */
extern const struct options_command command_list;
/* command_rotate.c */
extern const struct options_command command_rotate;
/* serve_main.c */
extern const struct options_command command_serve;

/* Revokes what holds, and what a machine could come back with, of a node, an identity or a serial
 * number (the others ""). How many; the caller has the lock. */
struct command_revoked {
	struct str node, identity, serial, why;
};
int command_revoke_all(const struct folder *f, const struct command_revoked *wanted, int64_t now_s,
	struct err *err) MUST_CHECK;
