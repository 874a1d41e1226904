/* SPDX-License-Identifier: Apache-2.0 */
/* Limits for people. */
#include "show_inside.h"

/* "1s", "90s", "1m", "1h": as it would be written. */
static void show_window(char text[32], int64_t ms)
{
	static const struct {
		int64_t ms;
		const char *unit;
	} units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
	size_t i = 0;
	while (i + 1 < ARRAY_LEN(units) && (ms < units[i].ms || ms % units[i].ms != 0))
		i++;
	snprintf(text, 32, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
}

/* "100 per 1m, burst 20, fair". */
static void show_cell_allows(struct table *t, const struct json_tree *l)
{
	char window[32], burst[32] = "";
	long long requests = json_tree_number(l, "requests"), most = json_tree_number(l, "burst");
	show_window(window, json_tree_number(l, "per_ms"));
	if (most != requests)
		snprintf(burst, sizeof(burst), ", burst %lld", most);
	table_cell(t, "%lld per %s%s%s%s", requests, window, burst,
		json_tree_true(l, "fair") ? ", fair" : "",
		json_tree_true(l, "shadow") ? ", shadow" : "");
}

static void show_cell_list(struct table *t, const struct json_tree *first, const char *none)
{
	char text[TABLE_CELL_MAX];
	size_t len = (size_t)snprintf(text, sizeof(text), "%s", none);
	for (const struct json_tree *c = first; c && len < sizeof(text); c = c->next) {
		if (c == first)
			len = 0;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s" STR_FMT,
			c == first ? "" : ", ", STR_ARG(c->text));
	}
	table_cell(t, "%s", text);
}

static void show_cell_left(struct table *t, const struct json_tree *l)
{
	if (!json_tree_true(l, "here"))
		table_cell(t, "elsewhere");
	else if (json_tree_get(l, "remaining"))
		table_cell(t, "%lld of %lld", (long long)json_tree_number(l, "remaining"),
			(long long)json_tree_number(l, "quota"));
	else if (json_tree_get(l, "keys"))
		table_cell(t, "%lld keys", (long long)json_tree_number(l, "keys"));
	else
		table_cell(t, "-");
}

static void show_limit(struct table *t, const struct json_tree *l)
{
	bool is_shadow = json_tree_true(l, "shadow");
	table_cell_str(t, json_tree_text(l, "name"));
	table_cell_str(t, json_tree_text(l, "service"));
	show_cell_allows(t, l);
	show_cell_list(t, json_tree_list(l, "by"), "all together");
	show_cell_list(t, json_tree_list(l, "match"), "-");
	table_cell_str(t, json_tree_text(l, "scope"));
	show_cell_left(t, l);
	if (json_tree_true(l, "here")) {
		table_cell_number(t, json_tree_number(l, "granted"));
		table_cell_number(t, json_tree_number(l, is_shadow ? "shadowed" : "refused"));
		return;
	}
	table_cell(t, "-");
	table_cell(t, "-");
}

void show_limits(FILE *out, const struct json_tree *limits)
{
	static const char *const names[] = {"LIMIT", "SERVICE", "ALLOWS", "BY", "MATCHES", "SCOPE",
		"LEFT", "GRANTED", "REFUSED"};
	struct table t;
	const struct json_tree *first = json_tree_list(limits, "limits");
	if (!first) {
		fputs("no limits\n", out);
		return;
	}
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *l = first; l; l = l->next)
		show_limit(&t, l);
	table_print(&t, out, 0);
	table_done(&t);
}
