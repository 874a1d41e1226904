/* SPDX-License-Identifier: Apache-2.0 */
/* One program, one table of commands. */
#include "base/assert.h"
#include "base/str.h"
#include "base/usage.h"
#include "ca/ca.h"
#include "check.h"
#include "cli/authz.h"
#include "cli/certs.h"
#include "cli/commands.h"
#include "cli/drain.h"
#include "cli/externals.h"
#include "cli/limits.h"
#include "cli/routes.h"
#include "cli/status.h"
#include "daemon/control.h"
#include "daemon/keeper.h"
#include "daemon/sandbox.h"
#include "daemon/state_process.h"
#include "enroll/enroll.h"
#include "jwt/jwt.h"
#include "offline.h"
#include "proxy/wire.h"
#include "redirect/redirect.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

struct main_command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help; /* NULL: not for people */
};

static int main_help(int argc, char **argv);

static int main_version(int argc, char **argv)
{
	puts("ringmain " RINGMAIN_VERSION);
	return 0;
}

/* Started by the keeper only, which leaves the control socket behind. */
static int main_child(const char *name, int (*run)(int channel_fd))
{
	if (fcntl(WIRE_CHANNEL_FD, F_SETFD, FD_CLOEXEC) < 0) {
		fprintf(stderr, "%s: is started by \"ringmain run\"\n", name);
		return USAGE_WRONG;
	}
	sandbox_hide();
	uint64_t secret;
	if (getrandom(&secret, sizeof(secret), 0) != sizeof(secret)) {
		fprintf(stderr, "%s: getrandom: %m\n", name);
		return EXIT_FAILURE;
	}
	jwt_seed(secret);
	return run(WIRE_CHANNEL_FD);
}

static int main_proxy(int argc, char **argv)
{
	return main_child(argv[0], control_main);
}

static int main_state(int argc, char **argv)
{
	return main_child(argv[0], state_process_main);
}

/* An authority's keys are in every one of its commands. */
static int main_ca(int argc, char **argv)
{
	sandbox_hide();
	return ca_main(argc, argv);
}

static int main_authz(int argc, char **argv)
{
	return cli_authz_main(argc, argv, offline_ask);
}

static const struct main_command main_commands[] = {
	{"run", keeper_main, "run this machine's proxy"},
	{"check", check_main, "say whether the configuration would be taken, and why not"},
	{"status", cli_status_main, "what the running proxy is doing"},
	{"certs", cli_certs_main, "certificates: when they end, and when the next ones come"},
	{"routes", cli_routes_main, "routes in force, and where a request would go and why"},
	{"authz", main_authz, "who may do what to a service, which rule says so, and why"},
	{"limits", cli_limits_main, "limits in force, and what is left of them"},
	{"externals", cli_externals_main, "what may be reached outside of the mesh, and where"},
	{"apply", cli_apply_main, "publish services and policies to the mesh"},
	{"get", cli_get_main, "what is published"},
	{"diff", cli_diff_main, "what apply would change"},
	{"delete", cli_delete_main, "take published objects away"},
	{"history", cli_history_main, "who has published what, when and why"},
	{"rollback", cli_rollback_main, "make the mesh's objects what they were"},
	{"rollout", cli_rollout_main, "move a service's calls to a new version, step by step"},
	{"operator", cli_operator_main, "make the key of somebody who publishes"},
	{"drain", cli_drain_main,
		"take this machine's endpoints out of the mesh, or put them back"},
	{"redirect", redirect_main, "put the capture rules into the kernel, or take them out"},
	{"ca", main_ca, "make a certificate authority and certificates for services"},
	{"join", enroll_join_main, "get this machine's first certificate from an authority"},
	{"version", main_version, "print the version"},
	{"help", main_help, "print this"},
	{"proxy", main_proxy, NULL},
	{"state", main_state, NULL},
};

static int main_help(int argc, char **argv)
{
	puts("ringmain: a service mesh for machines; one proxy for all services of this one\n\n"
	     "usage: ringmain COMMAND [OPTION...]; each command knows --help\n");
	for (size_t i = 0; i < ARRAY_LEN(main_commands); i++) {
		if (main_commands[i].help)
			printf("  %-10s %s\n", main_commands[i].name, main_commands[i].help);
	}
	return 0;
}

static int main_unknown(const char *word)
{
	const char *nearest = NULL;
	unsigned least = 4; /* further off is no typing error */
	for (size_t i = 0; i < ARRAY_LEN(main_commands); i++) {
		unsigned distance = str_distance(str_of(word), str_of(main_commands[i].name));
		if (main_commands[i].help && distance < least) {
			least = distance;
			nearest = main_commands[i].name;
		}
	}
	if (nearest)
		return usage_wrong(
			"ringmain", "no command \"%s\"; did you mean \"%s\"?", word, nearest);
	return usage_wrong("ringmain", "no command \"%s\"", word);
}

/* A command's argv[0] is what messages about its command line begin with: "ringmain ca". */
static int main_run(const struct main_command *command, int argc, char **argv)
{
	static char name[32];
	snprintf(name, sizeof(name), "ringmain %s", command->name);
	argv[0] = name;
	return command->run(argc, argv);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		main_help(argc, argv);
		return USAGE_WRONG;
	}
	const char *word = argv[1];
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		word = "help";
	if (strcmp(word, "--version") == 0)
		word = "version";
	for (size_t i = 0; i < ARRAY_LEN(main_commands); i++) {
		if (strcmp(word, main_commands[i].name) == 0)
			return main_run(&main_commands[i], argc - 1, argv + 1);
	}
	return main_unknown(word);
}
