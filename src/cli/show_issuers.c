/* SPDX-License-Identifier: Apache-2.0 */
/* The issuers of end users' tokens: whether there are keys to check these with. */
#include "show_inside.h"

static void show_issuer(struct table *t, const struct json_tree *i, uint64_t now_s)
{
	int64_t keys = json_tree_number(i, "keys"), fetched_s = json_tree_number(i, "fetched");
	struct str url = json_tree_text(i, "url");
	char age[32];
	table_cell_str(t, json_tree_text(i, "name"));
	table_cell(t, "%s%lld", keys == 0 ? "× " : "", (long long)keys);
	if (url.len == 0)
		table_cell(t, "-");
	else if (fetched_s == 0)
		table_cell(t, "never");
	else
		table_cell(t, "%s ago", show_duration((int64_t)now_s - fetched_s, age));
	table_cell_str(t, url.len > 0 ? url : STR("a file"));
}

void show_issuers(FILE *out, const struct show_source *s)
{
	static const char *const names[] = {"ISSUER", "KEYS", "FETCHED", "FROM"};
	struct table t;
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *i = json_tree_list(s->status, "issuers"); i; i = i->next)
		show_issuer(&t, i, s->now_s);
	show_rows(out, &t);
}

void show_check_issuers(struct show_list *l, const struct show_source *s)
{
	for (const struct json_tree *i = json_tree_list(s->status, "issuers"); i; i = i->next) {
		struct str name = json_tree_text(i, "name"), why = json_tree_text(i, "error");
		int64_t since_s = json_tree_number(i, "failing_since");
		char age[32];
		if (json_tree_number(i, "keys") == 0)
			show_point(l, true,
				"there is no key of the issuer " STR_FMT
				", so no token of its is good: " STR_FMT,
				STR_ARG(name), STR_ARG(why));
		else if (why.len > 0)
			show_point(l, false,
				"the keys of the issuer " STR_FMT
				" have not been fetched anew for %s: " STR_FMT,
				STR_ARG(name), show_duration((int64_t)s->now_s - since_s, age),
				STR_ARG(why));
	}
}
