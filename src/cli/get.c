/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain get`: what stands in the store. What is not signed as it should be is shown too, but
 * said, and makes the exit status 1. */
#include "cli/commands.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/table.h"
#include "base/usage.h"
#include "command.h"
#include "conf/objects.h"
#include "plan.h"
#include "published.h"
#include <stdio.h>

#define GET_JSON_MAX  (512u << 20)
#define GET_BYTES_MAX (1u << 30)

static const char get_usage[] =
	"Shows the mesh's objects as they stand in the store.\n"
	"\n"
	"usage: ringmain get [KIND | KIND/NAME] [-o table|conf|json] [--check] [-c FILE]\n"
	"\n"
	"  -o, --output WORD  table; conf: a mesh file that could be applied (for one object "
	"unless "
	"given);\n"
	"                     json\n"
	"  --check            everything that is wrong with them together, too\n"
	"  -c, --config FILE  the operator's file (see ringmain apply --help), or a node's\n"
	"\n"
	"Exit status: 0 shown; 1 there is no such object, or what stands there is not signed by a "
	"known\n"
	"operator, or is wrong; 2 wrong usage.\n";

/* What of the set is wanted. */
struct get_filter {
	struct str kind; /* empty: all */
	struct str key;	 /* one object, or empty */
};

static bool get_matches(const struct get_filter *f, const struct object *o)
{
	return f->key.len ? str_eq(o->key, f->key)
			  : f->kind.len == 0 || str_eq(object_key_kind(o->key), f->kind);
}

static void get_print_table(const struct object_set *set, const struct get_filter *f)
{
	static const char *const headings[] = {"OBJECT", "REVISION", "WHO", "WHEN", "SOURCE"};
	struct table t;
	table_init(&t, ARRAY_LEN(headings));
	for (size_t i = 0; i < ARRAY_LEN(headings); i++)
		table_cell(&t, "%s", headings[i]);
	OBJECT_EACH (set, it) {
		char when[25];
		if (!get_matches(f, it))
			continue;
		clock_format(it->time_s * CLOCK_S, when);
		table_cell_str(&t, it->key);
		table_cell(&t, "%llu", (unsigned long long)it->revision);
		table_cell_str(&t, it->who);
		table_cell(&t, "%.10s %.8sZ", when, when + 11);
		table_cell_str(&t, it->source);
	}
	table_print(&t, stdout, 0);
	table_done(&t);
}

static int get_print_conf(
	struct publisher *p, const struct object_set *set, const struct get_filter *f)
{
	struct arena arena;
	arena_init(&arena, GET_BYTES_MAX);
	struct str *texts = arena_take(&arena, (set->count + 1) * sizeof(*texts));
	uint32_t count = 0;
	for (const struct object *it = set->ahead[0]; texts && it; it = it->ahead[0]) {
		if (get_matches(f, it))
			texts[count++] = it->text;
	}
	struct str joined = texts ? conf_objects_join(&arena, texts, count) : STR_NONE;
	if (joined.at)
		fwrite(joined.at, 1, joined.len, stdout);
	else
		publisher_say(p, "an object's text is no mesh file; -o json shows it as it is");
	arena_done(&arena);
	return joined.at ? 0 : 1;
}

static void get_print_json(const struct published *s, const struct get_filter *f)
{
	struct json j;
	json_init(&j, GET_JSON_MAX);
	json_open(&j, '{');
	json_key(&j, "revision");
	json_u64(&j, s->head.revision);
	json_key(&j, "verified");
	json_bool(&j, s->trust == PUBLISHED_GOOD);
	json_key(&j, "objects");
	json_open(&j, '[');
	OBJECT_EACH (&s->set, it) {
		if (!get_matches(f, it))
			continue;
		json_open(&j, '{');
		json_key(&j, "key");
		json_str(&j, it->key);
		json_key(&j, "revision");
		json_u64(&j, it->revision);
		json_key(&j, "who");
		json_str(&j, it->who);
		json_key(&j, "time");
		json_u64(&j, it->time_s);
		json_key(&j, "source");
		json_str(&j, it->source);
		json_key(&j, "text");
		json_str(&j, it->text);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_close(&j, '}');
	json_newline(&j);
	fwrite(j.text, 1, j.len, stdout);
	json_done(&j);
}

static int get_complain(struct publisher *p, const struct published *s)
{
	if (s->trust == PUBLISHED_BAD)
		publisher_say(p, "not to be believed, and refused by the nodes: %s", s->why.text);
	if (s->trust == PUBLISHED_UNKNOWN)
		publisher_say(p, "note: not verified, for no operator's key is known here "
				 "(state.operators)");
	return s->trust == PUBLISHED_BAD ? 1 : 0;
}

/* What the set has wrong, though nothing is changed. */
static int get_check(struct publisher *p, struct published *s)
{
	struct published nothing = {0};
	struct edit edit = {.after = s->set};
	struct conf_report report;
	struct err err;
	int r = published_load_nodes(p, s, false, &err);
	if (r < 0) {
		publisher_say(p, "%s", err.text);
		return 1;
	}
	conf_report_init(&report);
	nothing.nodes = s->nodes;
	nothing.node_count = s->node_count;
	r = plan_check(&edit, NULL, &nothing, publisher_mesh(p), &report, &err);
	fputs(report.text ? report.text : "nothing is wrong with them\n", stderr);
	conf_report_done(&report);
	return r < 0 ? 1 : 0;
}

static int get_print(struct publisher *p, const struct command *c, const struct published *s,
	const struct get_filter *f)
{
	if (f->key.len && !object_set_find(&s->set, f->key)) {
		publisher_say(p, "there is no " STR_FMT, STR_ARG(f->key));
		return 1;
	}
	if (command_wants(c, "json"))
		get_print_json(s, f);
	else if (command_wants(c, "conf") || (f->key.len && !c->output))
		return get_print_conf(p, &s->set, f);
	else if (s->trust == PUBLISHED_NOTHING)
		puts("nothing is published");
	else
		get_print_table(&s->set, f);
	return 0;
}

static int get_run(struct publisher *p, const struct command *c, const struct get_filter *f)
{
	struct published s;
	struct err err;
	if (published_load(p, false, &s, &err) < 0) {
		publisher_say(p, "%s", err.text);
		return 1;
	}
	int status = get_print(p, c, &s, f);
	int complaint = get_complain(p, &s);
	int check = c->check ? get_check(p, &s) : 0;
	published_done(&s);
	return status || complaint || check ? 1 : 0;
}

/* KIND or KIND/NAME; 0, or USAGE_WRONG. */
static int get_filter_read(const struct command *c, struct get_filter *f)
{
	struct str word = c->word_count ? str_of(c->words[0]) : STR_NONE;
	char kinds[128];
	*f = (struct get_filter){0};
	if (c->word_count > 1)
		return usage_wrong(c->name, "an argument too many");
	if (word.len == 0)
		return 0;
	const struct conf_kind *kind = conf_kind_find(object_key_kind(word));
	if (!kind)
		return usage_wrong(c->name, "\"" STR_FMT "\": the kinds are: %s", STR_ARG(word),
			conf_kind_names(kinds, sizeof(kinds)));
	f->kind = str_of(kind->name);
	if (object_key_kind(word).len == word.len)
		return 0;
	f->key = word;
	return object_key_valid(word) ? 0 : usage_wrong(c->name, "KIND/NAME, not \"%s\"", word.at);
}

int cli_get_main(int argc, char **argv)
{
	struct command c;
	struct get_filter filter;
	struct publisher p;
	int stop = command_read(argc, argv, "cohK", "table conf json", get_usage, &c);
	if (stop)
		return stop - 1;
	int status = get_filter_read(&c, &filter);
	if (status)
		return status;
	status = 1;
	if (publisher_open(&p, c.name, c.conf_path, PUBLISHER_READS))
		status = get_run(&p, &c, &filter);
	publisher_close(&p);
	return status;
}
