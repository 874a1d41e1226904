/* SPDX-License-Identifier: Apache-2.0 */
/* Rollouts as this machine's proxy divides calls by them. One that is held, or has gone back by
 * itself, is a note: nothing is wrong with the machine. */
#include "show_inside.h"

void show_rollouts(FILE *out, const struct show_source *s)
{
	static const char *const names[] = {"ROLLOUT OF", "FROM", "TO", "GETS", "STEP", "STATE"};
	const struct json_tree *first = json_tree_list(s->status, "rollouts");
	struct table t;
	if (!first)
		return;
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *r = first; r; r = r->next) {
		struct str order = json_tree_text(r, "order");
		bool is_told = order.len > 0 && !str_eq(order, STR("run"));
		table_cell_str(&t, json_tree_text(r, "service"));
		table_cell_str(&t, json_tree_text(r, "from"));
		table_cell_str(&t, json_tree_text(r, "to"));
		table_cell(&t, "%lld %%", (long long)json_tree_number(r, "percent"));
		table_cell(&t, "%lld of %lld", (long long)json_tree_number(r, "step"),
			(long long)json_tree_number(r, "steps"));
		table_cell(&t, STR_FMT "%s" STR_FMT "%s", STR_ARG(json_tree_text(r, "state")),
			is_told ? " (the operator: " : "", (int)(is_told ? order.len : 0), order.at,
			is_told ? ")" : "");
	}
	show_rows(out, &t);
}

void show_check_rollouts(struct show_list *l, const struct show_source *s)
{
	for (const struct json_tree *r = json_tree_list(s->status, "rollouts"); r; r = r->next) {
		struct str state = json_tree_text(r, "state"), why = json_tree_text(r, "why");
		long long percent = json_tree_number(r, "percent"),
			  share = json_tree_number(r, "share");
		if (str_eq(state, STR("held")) || str_eq(state, STR("rolled-back")))
			show_point(l, false,
				"the rollout of " STR_FMT " to " STR_FMT " is " STR_FMT
				": " STR_FMT,
				STR_ARG(json_tree_text(r, "service")),
				STR_ARG(json_tree_text(r, "to")),
				STR_ARG(str_eq(state, STR("held")) ? state : STR("rolled back")),
				STR_ARG(why));
		if (share != percent)
			show_point(l, false,
				STR_FMT " of " STR_FMT
					" gets %lld %% of the calls in place of %lld %%: "
					"the endpoints of one of the two versions are all down",
				STR_ARG(json_tree_text(r, "to")),
				STR_ARG(json_tree_text(r, "service")), share, percent);
	}
}
