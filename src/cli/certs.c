/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/certs.h"

#include "ask.h"
#include "base/clock.h"
#include "base/usage.h"
#include "conf/conf.h"
#include "json_tree.h"
#include "place.h"
#include "show.h"
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define CERTS_TREE_MAX (64u << 20)

static const char certs_usage[] =
	"Asks the running proxy about certificates: of this machine's workloads and its own, when "
	"they end,\nwhen the next ones come and why not; whom it trusts, and who is revoked.\n"
	"\n"
	"usage: ringmain certs [-c FILE | --socket PATH] [-o table|json]\n"
	"\n"
	"  -c, --config FILE  the configuration, for its admin socket (" CONF_PATH_DEFAULT ")\n"
	"  --socket PATH      the admin socket itself\n"
	"  -o, --output json  for programs\n"
	"\n"
	"States: fresh; due, the next is being asked for; failing, which could not be had; ending, "
	"the "
	"same\nwith little time left; expired; revoked, which others refuse; missing.\n"
	"\n"
	"Exit status: 0 all is well, 1 a problem was found (marked ×), 2 wrong usage.\n";

struct certs_options {
	const char *conf_path, *socket_path;
	bool json, help;
};

static const struct option certs_option_table[] = {
	{"config", required_argument, NULL, 'c'},
	{"socket", required_argument, NULL, 's'},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

/* 0, or USAGE_WRONG when that has been said. */
static int certs_options_read(int argc, char **argv, struct certs_options *o)
{
	*o = (struct certs_options){0};
	int letter;
	optind = 1;
	while ((letter = getopt_long(argc, argv, "c:s:o:h", certs_option_table, NULL)) != -1) {
		if (letter == 'c')
			o->conf_path = optarg;
		else if (letter == 's')
			o->socket_path = optarg;
		else if (letter == 'h')
			o->help = true;
		else if (letter != 'o')
			return usage_more(argv[0]);
		else if (strcmp(optarg, "json") == 0)
			o->json = true;
		else if (strcmp(optarg, "table") != 0)
			return usage_wrong(argv[0], "-o: table or json, not \"%s\"", optarg);
	}
	return optind < argc ? usage_wrong(argv[0], "an argument too many") : 0;
}

/* Exit status. */
static int certs_report(const struct certs_options *o, struct str body)
{
	struct arena arena;
	int problem_count;
	arena_init(&arena, CERTS_TREE_MAX);
	struct show_source source = {
		.status = json_tree_read(&arena, body), .now_s = clock_wall_ns() / CLOCK_S};
	if (!source.status || source.status->kind != JSON_OBJECT) {
		fputs("ringmain certs: the answer is no JSON object\n", stderr);
		arena_done(&arena);
		return 1;
	}
	if (o->json) {
		printf(STR_FMT "\n", STR_ARG(str_trim(body)));
		problem_count = show_certs_problems(&source);
	} else {
		problem_count = show_certs(stdout, &source);
	}
	arena_done(&arena);
	return problem_count ? 1 : 0;
}

int cli_certs_main(int argc, char **argv)
{
	struct certs_options o;
	char place[PATH_MAX];
	struct answer answer;
	struct err err;
	int wrong = certs_options_read(argc, argv, &o);
	if (wrong)
		return wrong;
	if (o.help) {
		fputs(certs_usage, stdout);
		return 0;
	}
	if (!o.socket_path) {
		place_admin_socket(
			o.conf_path ? o.conf_path : CONF_PATH_DEFAULT, place, sizeof(place));
		o.socket_path = place;
	}
	if (ask(o.socket_path, "/certs", &answer, &err) < 0) {
		fprintf(stderr, "ringmain certs: %s\n", err.text);
		return 1;
	}
	int exit_status = 1;
	if (answer.status == 200)
		exit_status = certs_report(&o, answer.body);
	else
		fprintf(stderr, "ringmain certs: the proxy answers %d: " STR_FMT "\n",
			answer.status, STR_ARG(str_trim(answer.body)));
	answer_done(&answer);
	return exit_status;
}
