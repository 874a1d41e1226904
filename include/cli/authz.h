/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain authz`: asks the proxy process over the admin socket who may do what to a service, by
 * which rule, and what it has decided lately. */
#pragma once

/* argv[0] is "authz". Exit status: 0; 1 `check` says refused, `why` knows of no such request, or
 * the proxy cannot be asked; 2 wrong usage, and of `check` no answer.
 *
 * `ask_offline`: the same page of a configuration that nobody has put in force. NULL: it has none,
 * and that was said; otherwise the text is the caller's to free. */
int cli_authz_main(int argc, char **argv,
	char *(*ask_offline)(const char *conf_path, const char *path, int *ret_status));
