/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain ca`: the command line of the authority. */
#include "ca/ca.h"

#include "base/usage.h"
#include "commands.h"
#include <stdio.h>

static const char ca_usage[] =
	"The mesh's certificate authority, in a directory: a root, whose key can be kept offline, "
	"and an\n"
	"issuer below it that signs. Machines ask `ringmain ca serve` for their certificates and "
	"renew them\n"
	"by themselves; a file says which machine may hold which identities.\n"
	"\n"
	"usage: ringmain ca COMMAND [OPTION...]\n"
	"\n"
	"  init      makes an authority\n"
	"  issue     makes a certificate with its key by hand, for machines that do not ask\n"
	"\n"
	"  allow     lets a machine hold identities\n"
	"  forbid    takes identities from a machine, or the machine from the mesh\n"
	"  token     makes a token with which a machine joins, once\n"
	"  revoke    revokes certificates before they end\n"
	"  list      shows machines, certificates, tokens\n"
	"\n"
	"  serve     answers the machines that ask for certificates\n"
	"\n"
	"  federate  publishes the roots of another trust domain\n"
	"  rotate    changes the issuer or the root, step by step, without an outage\n"
	"\n"
	"  --dir DIR  the authority's directory (" OPTIONS_DIR_DEFAULT
	"); its user runs all of these\n"
	"\n"
	"`ringmain ca COMMAND --help` says more.\n";

int ca_main(int argc, char **argv)
{
	static const struct options_command *const commands[] = {&command_init, &command_issue,
		&command_allow, &command_forbid, &command_token, &command_revoke, &command_list,
		&command_federate, &command_rotate, &command_serve};
	if (argc < 2)
		return usage_wrong(argv[0], "which command?");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
		strcmp(argv[1], "help") == 0) {
		fputs(ca_usage, stdout);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(argv[1], commands[i]->name) == 0)
			return options_run(commands[i], argc - 1, argv + 1);
	}
	return usage_wrong(argv[0], "there is no command \"%s\"", argv[1]);
}
