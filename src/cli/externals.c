/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/externals.h"

#include "conf/conf.h"
#include "question.h"
#include "show_inside.h"

static const char externals_usage[] =
	"Asks the running proxy what workloads may reach outside of the mesh, where that is known\n"
	"to be, and what becomes of everything else.\n"
	"\n"
	"usage: ringmain externals list [options]\n"
	"\n"
	"  -c, --config FILE  the configuration, for its admin socket (" CONF_PATH_DEFAULT ")\n"
	"  --socket PATH      the admin socket itself\n"
	"  -o, --output json  for programs\n"
	"\n"
	"Exit status: 0; 1 the proxy cannot be asked; 2 wrong usage.\n";

/* "a, b": what is too much for a cell is left out. */
static void externals_cell(struct table *t, const struct json_tree *first, const char *none)
{
	char text[TABLE_CELL_MAX];
	size_t len = (size_t)snprintf(text, sizeof(text), "%s", none);
	for (const struct json_tree *c = first; c && len < sizeof(text); c = c->next) {
		if (c == first)
			len = 0;
		const char *comma = c == first ? "" : ", ";
		if (c->kind == JSON_NUMBER)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%lld", comma,
				(long long)c->number);
		else
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s" STR_FMT, comma,
				STR_ARG(c->text));
	}
	table_cell(t, "%s", text);
}

static void externals_row(struct table *t, const struct json_tree *e)
{
	const struct json_tree *declared = json_tree_list(e, "addresses");
	bool lacks_roots = json_tree_get(e, "has_roots") && !json_tree_true(e, "has_roots");
	table_cell_str(t, json_tree_text(e, "name"));
	externals_cell(t, json_tree_list(e, "hosts"), "-");
	externals_cell(t, json_tree_list(e, "ports"), "-");
	table_cell(t, STR_FMT "%s", STR_ARG(json_tree_text(e, "tls")),
		lacks_roots ? ", no roots" : "");
	externals_cell(t, json_tree_list(e, "from"), "any workload");
	externals_cell(t, declared ? declared : json_tree_list(e, "looked_up"), "not known");
}

static void externals_show_modes(FILE *out, const struct json_tree *answer)
{
	static const char *const names[] = {"WORKLOAD", "USER", "UNKNOWN DESTINATIONS"};
	struct table t;
	const struct json_tree *first = json_tree_list(answer, "unknown");
	if (!first)
		return;
	fputs("\n", out);
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *w = first; w; w = w->next) {
		table_cell_str(&t, json_tree_text(w, "workload"));
		table_cell_str(&t, json_tree_text(w, "user"));
		table_cell_str(&t, json_tree_text(w, "mode"));
	}
	table_print(&t, out, 0);
	table_done(&t);
}

static int externals_list(FILE *out, const struct json_tree *answer)
{
	static const char *const names[] = {"EXTERNAL", "HOSTS", "PORTS", "TLS", "FROM", "AT"};
	struct table t;
	const struct json_tree *first = json_tree_list(answer, "externals");
	if (!out)
		return 0;
	if (first) {
		show_headings(&t, ARRAY_LEN(names), names);
		for (const struct json_tree *e = first; e; e = e->next)
			externals_row(&t, e);
		table_print(&t, out, 0);
		table_done(&t);
	} else {
		fputs("no externals\n", out);
	}
	externals_show_modes(out, answer);
	return 0;
}

int cli_externals_main(int argc, char **argv)
{
	static const struct question_kind list = {
		.word = "list", .page = "/externals", .report = externals_list};
	return question_main(argc, argv, externals_usage, &list, 1);
}
