/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include "base/usage.h"
#include "command.h"
#include "state/object.h"
#include <stdio.h>
#include <string.h>

static const char operator_usage[] =
	"Makes the key of somebody who publishes mesh objects: Ed25519, in PEM. Every node "
	"verifies "
	"what\n"
	"is published against the public keys that it was given, and takes nothing else.\n"
	"\n"
	"usage: ringmain operator new FILE\n"
	"\n"
	"Writes FILE, the private key, which only its owner can read and which never leaves this "
	"place,\n"
	"and FILE.pub, the public one. Nothing is overwritten.\n"
	"\n"
	"Exit status: 0 done, 1 not possible, 2 wrong usage.\n";

static void operator_tell(const char *path, const struct operator_key *key)
{
	printf("private key  %s  (keep it; name it in the operator's file: operator.key)\n"
	       "public key   %s.pub  (to every node, and to the other operators: state.operators)\n"
	       "key id       %s\n",
		path, path, operator_key_id(key));
}

int cli_operator_main(int argc, char **argv)
{
	struct command c;
	struct operator_key *key = NULL;
	struct err err;
	int stop = command_read(argc, argv, "h", "", operator_usage, &c);
	if (stop)
		return stop - 1;
	if (c.word_count != 2 || strcmp(c.words[0], "new") != 0)
		return usage_wrong(c.name, "new FILE");
	if (operator_key_new(c.words[1], &err) < 0 ||
		operator_key_load(c.words[1], &key, &err) < 0) {
		fprintf(stderr, "%s: %s\n", c.name, err.text);
		return 1;
	}
	operator_tell(c.words[1], key);
	operator_key_free(key);
	return 0;
}
