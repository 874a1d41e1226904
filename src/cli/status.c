/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/status.h"

#include "ask.h"
#include "base/clock.h"
#include "base/usage.h"
#include "conf/conf.h"
#include "conf/run_dir.h"
#include "fleet.h"
#include "json_tree.h"
#include "place.h"
#include "show.h"
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STATUS_TREE_MAX	    (512u << 20)
#define STATUS_REDIRECT_MAX 65536

static const char status_usage[] =
	"Asks the running proxy how it is: the configuration in force, identities and their "
	"expiry,\n"
	"listeners, workloads, the store of the mesh's state, counters, and what needs attention.\n"
	"\n"
	"usage: ringmain status [-c FILE | --socket PATH] [-o table|json]\n"
	"       ringmain status --mesh [-c FILE] [-o table|json]\n"
	"\n"
	"  -c, --config FILE  the configuration, for its admin socket (" CONF_PATH_DEFAULT ")\n"
	"  --socket PATH      the admin socket itself\n"
	"  --mesh             every machine of the mesh, as the store tells: its endpoints, the "
	"revision in\n"
	"                     force there and how far that is behind; FILE is an operator's file, "
	"found as by\n"
	"                     ringmain apply, or a node's\n"
	"  -o, --output json  for programs\n"
	"\n"
	"Exit status: 0 all is well, 1 a problem was found (marked ×), 2 wrong usage.\n";

struct status_options {
	const char *conf_path, *socket_path;
	bool json, help, mesh;
};

static const struct option status_option_table[] = {
	{"config", required_argument, NULL, 'c'},
	{"socket", required_argument, NULL, 's'},
	{"output", required_argument, NULL, 'o'},
	{"mesh", no_argument, NULL, 'm'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static bool status_output(struct status_options *o, const char *word)
{
	o->json = strcmp(word, "json") == 0;
	return o->json || strcmp(word, "table") == 0;
}

/* 0, or USAGE_WRONG when that has been said. */
static int status_options_read(int argc, char **argv, struct status_options *o)
{
	*o = (struct status_options){0};
	int letter;
	optind = 1;
	while ((letter = getopt_long(argc, argv, "c:s:o:h", status_option_table, NULL)) != -1) {
		if (letter == 'c')
			o->conf_path = optarg;
		else if (letter == 's')
			o->socket_path = optarg;
		else if (letter == 'm')
			o->mesh = true;
		else if (letter == 'h')
			o->help = true;
		else if (letter != 'o')
			return usage_more(argv[0]);
		else if (!status_output(o, optarg))
			return usage_wrong(argv[0], "-o: table or json, not \"%s\"", optarg);
	}
	if (o->mesh && o->socket_path)
		return usage_wrong(argv[0], "--mesh asks the store, not a socket");
	return optind < argc ? usage_wrong(argv[0], "an argument too many") : 0;
}

/* What the redirect's watch wrote down, if there is one and we may read it. */
static struct str status_read_redirect(struct str run_dir, char text[STATUS_REDIRECT_MAX])
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), STR_FMT "/" RUN_DIR_REDIRECT, STR_ARG(run_dir));
	int fd = run_dir.len ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd < 0)
		return STR_NONE;
	ssize_t n = read(fd, text, STATUS_REDIRECT_MAX);
	close(fd);
	return n > 0 ? str_trim((struct str){text, (size_t)n}) : STR_NONE;
}

/* The proxy's answer with the redirect's state as one more member. */
static void status_print_json(struct str body, struct str redirect)
{
	while (body.len && body.at[body.len - 1] != '}')
		body.len--;
	printf(STR_FMT ",\"redirect\":" STR_FMT "}\n", (int)body.len - 1, body.at,
		STR_ARG(redirect.len ? redirect : STR("null")));
}

/* Exit status. */
static int status_report(const struct status_options *o, struct str body)
{
	char text[STATUS_REDIRECT_MAX];
	struct arena arena;
	arena_init(&arena, STATUS_TREE_MAX);
	struct show_source source = {
		.status = json_tree_read(&arena, body), .now_s = clock_wall_ns() / CLOCK_S};
	if (!source.status || source.status->kind != JSON_OBJECT) {
		fputs("ringmain status: the answer is no JSON object\n", stderr);
		arena_done(&arena);
		return 1;
	}
	struct str redirect = status_read_redirect(json_tree_text(source.status, "run_dir"), text);
	while (redirect.len && redirect.at[redirect.len - 1] == '\n')
		redirect.len--;
	source.redirect = redirect.len ? json_tree_read(&arena, redirect) : NULL;
	int problem_count;
	if (o->json) {
		status_print_json(body, source.redirect ? redirect : STR_NONE);
		problem_count = show_problems(&source);
	} else {
		problem_count = show_status(stdout, &source);
	}
	arena_done(&arena);
	return problem_count ? 1 : 0;
}

int cli_status_main(int argc, char **argv)
{
	struct status_options o;
	char place[PATH_MAX];
	struct answer answer;
	struct err err;
	int wrong = status_options_read(argc, argv, &o);
	if (wrong)
		return wrong;
	if (o.help) {
		fputs(status_usage, stdout);
		return 0;
	}
	if (o.mesh)
		return fleet_main(argv[0], o.conf_path, o.json);
	if (!o.socket_path) {
		if (place_admin_socket(o.conf_path, place, sizeof(place), &err) < 0) {
			fprintf(stderr, "ringmain status: %s\n", err.text);
			return 1;
		}
		o.socket_path = place;
	}
	if (ask(o.socket_path, "/status", &answer, &err) < 0) {
		fprintf(stderr, "ringmain status: %s\n", err.text);
		return 1;
	}
	int exit_status = 1;
	if (answer.status == 200)
		exit_status = status_report(&o, answer.body);
	else
		fprintf(stderr, "ringmain status: the proxy answers %d: " STR_FMT "\n",
			answer.status, STR_ARG(str_trim(answer.body)));
	answer_done(&answer);
	return exit_status;
}
