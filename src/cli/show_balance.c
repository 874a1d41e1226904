/* SPDX-License-Identifier: Apache-2.0 */
/* How calls are balanced, for people: what the workers know of endpoints. */
#include "show_inside.h"

/* --- how --- */

static void show_under_way(FILE *out, const struct json_tree *b)
{
	long long calls = json_tree_number(b, "calls"), max = json_tree_number(b, "requests_max");
	long long workers = json_tree_number(b, "workers");
	long long answered = json_tree_number(b, "workers_answered");
	if (workers == 0)
		return;
	if (max > 0)
		fprintf(out, "; %lld of at most %lld calls under way", calls, max);
	else
		fprintf(out, "; %lld call%s under way", calls, calls == 1 ? "" : "s");
	if (answered < workers)
		fprintf(out, " (‼ %lld of %lld workers have answered)", answered, workers);
}

static void show_by(FILE *out, const struct json_tree *b)
{
	struct str by = json_tree_text(b, "by");
	if (by.len == 0)
		return;
	fprintf(out, " by " STR_FMT "%s", STR_ARG(by),
		json_tree_true(b, "has_value") ? ""
		: str_eq(by, STR("client"))    ? ", whose address is not asked for here"
					       : ", which it has not: least_request");
}

static void show_balance(FILE *out, const struct json_tree *leg, int number)
{
	const struct json_tree *b = json_tree_get(leg, "balance");
	struct str zones = json_tree_text(b, "zones"), choice = json_tree_text(b, "choice");
	struct str zone = json_tree_text(b, "zone");
	if (!b || b->kind != JSON_OBJECT)
		return;
	fprintf(out, "leg %d: " STR_FMT, number, STR_ARG(json_tree_text(b, "way")));
	show_by(out, b);
	if (zones.len > 0 && !str_eq(zones, STR("ignore")))
		fprintf(out, "; zones " STR_FMT ", this one is " STR_FMT, STR_ARG(zones),
			STR_ARG(zone.len ? zone : STR("-")));
	if (json_tree_number(b, "panic") > 0)
		fprintf(out, "; panic below %lld %%", (long long)json_tree_number(b, "panic"));
	show_under_way(out, b);
	fputc('\n', out);
	if (str_eq(choice, STR("panic")))
		fputs("  ‼ too few are well: calls go to all that are not drained\n", out);
	else if (str_eq(choice, STR("none-well")))
		fputs("  ‼ none is well: calls go to those that there are\n", out);
	else if (str_eq(choice, STR("other-zone")))
		fputs("  ‼ most calls leave the zone: it has too few that are well\n", out);
}

void show_balances(FILE *out, const struct json_tree *explained)
{
	int number = 0;
	const struct json_tree *leg = json_tree_list(explained, "split");
	if (leg)
		fputc('\n', out);
	for (; leg; leg = leg->next)
		show_balance(out, leg, ++number);
}

/* --- endpoints --- */

static void show_cell_health(struct table *t, const struct json_tree *c)
{
	struct str health = json_tree_text(c, "health");
	const struct json_tree *ejected = json_tree_get(c, "ejected");
	char left[32];
	if (!ejected || ejected->kind != JSON_OBJECT) {
		table_cell(t, "%s" STR_FMT, str_eq(health, STR("up")) ? "" : "‼ ", STR_ARG(health));
		return;
	}
	long long workers = json_tree_number(ejected, "workers");
	show_duration((json_tree_number(ejected, "left_ms") + 999) / 1000, left);
	table_cell(t, "‼ ejected by %lld worker%s for %s: " STR_FMT, workers,
		workers == 1 ? "" : "s", left, STR_ARG(json_tree_text(ejected, "why")));
}

static void show_cell_latency(struct table *t, const struct json_tree *c)
{
	long long us = json_tree_number(c, "latency_us");
	if (!json_tree_get(c, "latency_us"))
		table_cell(t, "-");
	else if (us < 10000)
		table_cell(t, "%lld.%lldms", us / 1000, us % 1000 / 100);
	else
		table_cell(t, "%lldms", us / 1000);
}

/* The whole of a million; what is cut off is no endpoint's. */
static void show_cell_gets(struct table *t, const struct json_tree *c)
{
	char text[32];
	int64_t share = json_tree_number(c, "share");
	show_share(text, share + (share % 100 == 99), 1000000);
	table_cell(t, "%s", share > 0 ? text : "nothing");
}

static void show_candidate(struct table *t, const struct json_tree *c, int number)
{
	struct str node = json_tree_text(c, "node");
	table_cell(t, "%d", number);
	table_cell(t, STR_FMT "%s", STR_ARG(json_tree_text(c, "address")),
		json_tree_true(c, "alternate") ? " (also)" : "");
	table_cell_str(t, json_tree_text(c, "version"));
	table_cell_number(t, json_tree_number(c, "weight"));
	table_cell_str(t, json_tree_true(c, "local") ? STR("this machine") : node);
	table_cell_str(t, json_tree_text(c, "zone"));
	table_cell_number(t, json_tree_number(c, "calls"));
	show_cell_latency(t, c);
	show_cell_gets(t, c);
	show_cell_health(t, c);
}

void show_candidates(FILE *out, const struct json_tree *explained)
{
	static const char *const names[] = {"LEG", "ENDPOINT", "VERSION", "WEIGHT", "NODE", "ZONE",
		"CALLS", "LATENCY", "GETS", "HEALTH"};
	struct table t;
	int number = 0;
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *leg = json_tree_list(explained, "split"); leg;
		leg = leg->next) {
		number++;
		for (const struct json_tree *c = json_tree_list(leg, "endpoints"); c; c = c->next)
			show_candidate(&t, c, number);
	}
	show_rows(out, &t);
}

/* --- status --- */

void show_ejected(FILE *out, const struct show_source *s)
{
	static const char *const names[] = {
		"EJECTED", "ENDPOINT", "BY WORKERS", "FOR ANOTHER", "WHY"};
	struct table t;
	char left[32];
	const struct json_tree *e = json_tree_list(s->status, "ejected");
	show_headings(&t, ARRAY_LEN(names), names);
	for (; e; e = e->next) {
		show_duration((json_tree_number(e, "left_ms") + 999) / 1000, left);
		table_cell_str(&t, json_tree_text(e, "service"));
		table_cell_str(&t, json_tree_text(e, "endpoint"));
		table_cell_number(&t, json_tree_number(e, "workers"));
		table_cell(&t, "%s", left);
		table_cell_str(&t, json_tree_text(e, "why"));
	}
	show_rows(out, &t);
}
