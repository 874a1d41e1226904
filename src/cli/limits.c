/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/limits.h"

#include "ask.h"
#include "base/usage.h"
#include "conf/conf.h"
#include "json_tree.h"
#include "mesh/identity.h"
#include "place.h"
#include "show.h"
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define LIMITS_TREE_MAX (64u << 20)

static const char limits_usage[] =
	"Asks the running proxy about the limits in force: what they let through, and what they\n"
	"have refused here. A service's own machines count, each for itself.\n"
	"\n"
	"usage: ringmain limits list [SERVICE] [options]\n"
	"\n"
	"  -c, --config FILE  the configuration, for its admin socket (" CONF_PATH_DEFAULT ")\n"
	"  --socket PATH      the admin socket itself\n"
	"  -o, --output json  for programs\n"
	"\n"
	"Exit status: 0; 1 the proxy cannot be asked; 2 wrong usage.\n";

struct limits_options {
	const char *conf_path, *socket_path, *service;
	bool json, help;
};

static const struct option limits_option_table[] = {
	{"config", required_argument, NULL, 'c'},
	{"socket", required_argument, NULL, 's'},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static int limits_take(struct limits_options *o, const char *name, int letter)
{
	if (letter == 'c')
		o->conf_path = optarg;
	else if (letter == 's')
		o->socket_path = optarg;
	else if (letter == 'h')
		o->help = true;
	else if (letter != 'o')
		return usage_more(name);
	else if (strcmp(optarg, "json") == 0)
		o->json = true;
	else if (strcmp(optarg, "table") != 0)
		return usage_wrong(name, "-o: table or json, not \"%s\"", optarg);
	return 0;
}

static int limits_options_read(int argc, char **argv, struct limits_options *o)
{
	int letter;
	*o = (struct limits_options){0};
	optind = 1;
	while ((letter = getopt_long(argc, argv, "c:s:o:h", limits_option_table, NULL)) != -1) {
		int wrong = limits_take(o, argv[0], letter);
		if (wrong)
			return wrong;
	}
	if (o->help)
		return 0;
	if (optind == argc || strcmp(argv[optind++], "list") != 0)
		return usage_wrong(argv[0], "list?");
	if (optind < argc)
		o->service = argv[optind++];
	if (o->service && !identity_service_valid(str_of(o->service)))
		return usage_wrong(argv[0], "\"%s\" is no service name", o->service);
	return optind < argc ? usage_wrong(argv[0], "an argument too many, \"%s\"", argv[optind])
			     : 0;
}

static int limits_report(const struct limits_options *o, struct str body)
{
	struct arena arena;
	arena_init(&arena, LIMITS_TREE_MAX);
	const struct json_tree *tree = json_tree_read(&arena, body);
	bool is_good = tree && tree->kind == JSON_OBJECT;
	if (!is_good)
		fputs("ringmain limits: the answer is no JSON object\n", stderr);
	else if (o->json)
		printf(STR_FMT "\n", STR_ARG(str_trim(body)));
	else
		show_limits(stdout, tree);
	arena_done(&arena);
	return is_good ? 0 : 1;
}

static int limits_ask(const struct limits_options *o, const char *socket_path)
{
	char path[128];
	struct answer answer;
	struct err err;
	snprintf(path, sizeof(path), "/limits%s%s", o->service ? "?service=" : "",
		o->service ? o->service : "");
	if (ask(socket_path, path, &answer, &err) < 0) {
		fprintf(stderr, "ringmain limits: %s\n", err.text);
		return 1;
	}
	int exit_status = 1;
	if (answer.status == 200)
		exit_status = limits_report(o, answer.body);
	else
		fprintf(stderr, "ringmain limits: the proxy answers %d: " STR_FMT "\n",
			answer.status, STR_ARG(str_trim(answer.body)));
	answer_done(&answer);
	return exit_status;
}

int cli_limits_main(int argc, char **argv)
{
	struct limits_options o;
	char place[PATH_MAX];
	int wrong = limits_options_read(argc, argv, &o);
	if (wrong)
		return wrong;
	if (o.help) {
		fputs(limits_usage, stdout);
		return 0;
	}
	if (!o.socket_path)
		place_admin_socket(
			o.conf_path ? o.conf_path : CONF_PATH_DEFAULT, place, sizeof(place));
	return limits_ask(&o, o.socket_path ? o.socket_path : place);
}
