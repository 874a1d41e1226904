/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/routes.h"

#include "ask.h"
#include "base/usage.h"
#include "conf/conf.h"
#include "json_tree.h"
#include "place.h"
#include "show.h"
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define ROUTES_TREE_MAX (64u << 20)

static const char routes_usage[] =
	"Asks the running proxy about the routes in force on this machine.\n"
	"\n"
	"usage: ringmain routes list [SERVICE] [options]\n"
	"       ringmain routes explain --from CALLER --to SERVICE [--method GET] [--path /] "
	"[--host "
	"HOST]\n"
	"                               [-H 'name: value']... [--tcp] [options]\n"
	"\n"
	"explain says which rule a request would go by and why none before it, what the rule does, "
	"which\nendpoints there are, and what the policies of the service say. Nothing is sent.\n"
	"\n"
	"  --from CALLER      a service, a SPIFFE id, or anonymous\n"
	"  --to SERVICE       whose own address is called\n"
	"  --method, --path, --host, -H\n"
	"                     the request: GET, \"/\" with or without query, the service's name, "
	"no "
	"headers\n"
	"  --tcp              opaque bytes, which have none of these\n"
	"  -c, --config FILE  the configuration, for its admin socket (" CONF_PATH_DEFAULT ")\n"
	"  --socket PATH      the admin socket itself\n"
	"  -o, --output json  for programs\n"
	"\n"
	"Exit status: 0; 1 part of such requests is refused or leads nowhere (marked ×), or the "
	"proxy\ncannot be asked; 2 wrong usage.\n";

struct routes_options {
	const char *conf_path, *socket_path;
	bool json, help, is_explain;
	bool has_from, has_to, has_http;
	char path[ASK_PATH_MAX + 1]; /* what is asked */
	size_t path_len;
	bool is_cut;
};

static const struct option routes_option_table[] = {
	{"from", required_argument, NULL, 'f'},
	{"to", required_argument, NULL, 't'},
	{"method", required_argument, NULL, 'm'},
	{"path", required_argument, NULL, 'p'},
	{"host", required_argument, NULL, 'a'},
	{"header", required_argument, NULL, 'H'},
	{"tcp", no_argument, NULL, 'T'},
	{"config", required_argument, NULL, 'c'},
	{"socket", required_argument, NULL, 's'},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static void routes_put(struct routes_options *o, char c)
{
	if (o->path_len + 1 < sizeof(o->path))
		o->path[o->path_len++] = c;
	else
		o->is_cut = true;
	o->path[o->path_len] = '\0';
}

/* "?key=value" or "&key=value", the value percent-encoded. */
static void routes_ask_for(struct routes_options *o, const char *key, const char *value)
{
	static const char hex[] = "0123456789ABCDEF";
	routes_put(o, strchr(o->path, '?') ? '&' : '?');
	for (; *key; key++)
		routes_put(o, *key);
	routes_put(o, '=');
	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;
		bool is_plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
				(c >= 'A' && c <= 'Z') || strchr("-._~/", c);
		if (is_plain) {
			routes_put(o, *value);
			continue;
		}
		routes_put(o, '%');
		routes_put(o, hex[c >> 4]);
		routes_put(o, hex[c & 15]);
	}
}

static const char *routes_key(int letter)
{
	switch (letter) {
	case 'f':
		return "from";
	case 't':
		return "to";
	case 'm':
		return "method";
	case 'p':
		return "path";
	case 'a':
		return "host";
	case 'H':
		return "header";
	case 'T':
		return "tcp";
	default:
		return NULL;
	}
}

/* Of explain. 0, or USAGE_WRONG when that has been said. */
static int routes_take_part(struct routes_options *o, const char *name, int letter)
{
	const char *key = routes_key(letter);
	if (!o->is_explain)
		return usage_wrong(name, "--%s is for explain", key);
	o->has_from = o->has_from || letter == 'f';
	o->has_to = o->has_to || letter == 't';
	o->has_http = o->has_http || strchr("mpaH", letter);
	routes_ask_for(o, key, letter == 'T' ? "1" : optarg);
	return 0;
}

static int routes_take(struct routes_options *o, const char *name, int letter)
{
	if (routes_key(letter))
		return routes_take_part(o, name, letter);
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

/* What is left when the options are read: the word, and of list a service. */
static int routes_check(struct routes_options *o, const char *name, int argc, char **argv)
{
	bool is_tcp = strstr(o->path, "tcp=1") != NULL;
	if (o->help)
		return 0;
	if (!o->is_explain && optind < argc)
		routes_ask_for(o, "service", argv[optind++]);
	if (optind < argc)
		return usage_wrong(name, "an argument too many, \"%s\"", argv[optind]);
	if (o->is_explain && !o->has_from)
		return usage_wrong(name, "--from is missing: who calls?");
	if (o->is_explain && !o->has_to)
		return usage_wrong(name, "--to is missing: which service?");
	if (is_tcp && o->has_http)
		return usage_wrong(
			name, "--tcp: opaque bytes have no method, path, host or header");
	return o->is_cut ? usage_wrong(name, "that is more than a request may bring") : 0;
}

static int routes_options_read(int argc, char **argv, struct routes_options *o)
{
	const char *word = argc > 1 ? argv[1] : "";
	*o = (struct routes_options){.is_explain = strcmp(word, "explain") == 0};
	bool is_help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
	if (!o->is_explain && !is_help && strcmp(word, "list") != 0)
		return usage_wrong(argv[0], "list or explain?");
	for (const char *c = o->is_explain ? "/routes/explain" : "/routes"; *c; c++)
		routes_put(o, *c);
	int letter;
	optind = is_help ? 1 : 2;
	while ((letter = getopt_long(argc, argv, "H:c:s:o:h", routes_option_table, NULL)) != -1) {
		int wrong = routes_take(o, argv[0], letter);
		if (wrong)
			return wrong;
	}
	return routes_check(o, argv[0], argc, argv);
}

/* Exit status. */
static int routes_report(const struct routes_options *o, struct str body)
{
	struct arena arena;
	int problem_count = 0;
	arena_init(&arena, ROUTES_TREE_MAX);
	const struct json_tree *tree = json_tree_read(&arena, body);
	if (!tree || tree->kind != JSON_OBJECT) {
		fputs("ringmain routes: the answer is no JSON object\n", stderr);
		arena_done(&arena);
		return 1;
	}
	if (o->json)
		printf(STR_FMT "\n", STR_ARG(str_trim(body)));
	else if (o->is_explain)
		show_explain(stdout, tree);
	else
		show_routes(stdout, tree);
	if (o->is_explain)
		problem_count = show_explain_problems(tree);
	arena_done(&arena);
	return problem_count ? 1 : 0;
}

int cli_routes_main(int argc, char **argv)
{
	struct routes_options o;
	char place[PATH_MAX];
	struct answer answer;
	struct err err;
	int wrong = routes_options_read(argc, argv, &o);
	if (wrong)
		return wrong;
	if (o.help) {
		fputs(routes_usage, stdout);
		return 0;
	}
	if (!o.socket_path) {
		place_admin_socket(
			o.conf_path ? o.conf_path : CONF_PATH_DEFAULT, place, sizeof(place));
		o.socket_path = place;
	}
	if (ask(o.socket_path, o.path, &answer, &err) < 0) {
		fprintf(stderr, "ringmain routes: %s\n", err.text);
		return 1;
	}
	int exit_status = 1;
	if (answer.status == 200)
		exit_status = routes_report(&o, answer.body);
	else
		fprintf(stderr, "ringmain routes: the proxy answers %d: " STR_FMT "\n",
			answer.status, STR_ARG(str_trim(answer.body)));
	answer_done(&answer);
	return exit_status;
}
