/* SPDX-License-Identifier: Apache-2.0 */
/* Routes, and where a request goes by them, for people. */
#include "show_inside.h"

#include <stdlib.h>

/* --- routes list --- */

/* The texts of a list with something between; "-" when it is empty. */
static void show_cell_joined(struct table *t, const struct json_tree *first, const char *between)
{
	char text[TABLE_CELL_MAX] = "-";
	size_t len = 0;
	for (const struct json_tree *c = first; c && len < sizeof(text); c = c->next)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s" STR_FMT,
			c == first ? "" : between, STR_ARG(c->text));
	table_cell(t, "%s", text);
}

static int64_t show_weights(const struct json_tree *split)
{
	int64_t sum = 0;
	for (const struct json_tree *leg = split; leg; leg = leg->next)
		sum += json_tree_number(leg, "weight");
	return sum;
}

/* In hundredths of a percent, so that thirds can be told. */
void show_share(char text[32], int64_t weight, int64_t sum)
{
	int64_t share = sum > 0 ? weight * 10000 / sum : 0;
	if (share % 100)
		snprintf(text, 32, "%lld.%02lld %%", (long long)(share / 100),
			(long long)(share % 100));
	else
		snprintf(text, 32, "%lld %%", (long long)(share / 100));
}

/* "v1 90 %, stock v2 10 %". */
static void show_cell_split(struct table *t, const struct json_tree *rule, struct str service)
{
	char text[TABLE_CELL_MAX], share[32];
	size_t len = 0;
	const struct json_tree *first = json_tree_list(rule, "split");
	for (const struct json_tree *leg = first; leg && len < sizeof(text); leg = leg->next) {
		struct str name = json_tree_text(leg, "service"),
			   version = json_tree_text(leg, "version");
		bool is_own = str_eq(name, service) && version.len > 0;
		show_share(share, json_tree_number(leg, "weight"), show_weights(first));
		len += (size_t)snprintf(text + len, sizeof(text) - len,
			"%s" STR_FMT "%s" STR_FMT " %s", leg == first ? "" : ", ",
			STR_ARG(is_own	   ? STR("")
				: name.len ? name
					   : STR("?")),
			is_own || version.len == 0 ? "" : " ", STR_ARG(version), share);
	}
	table_cell(t, "%s", first ? text : "the service");
}

static void show_route(struct table *t, const struct json_tree *route)
{
	for (const struct json_tree *r = json_tree_list(route, "rules"); r; r = r->next) {
		struct str action = json_tree_text(r, "action");
		table_cell_str(t, json_tree_text(r, "name"));
		show_cell_joined(t, json_tree_list(r, "match"), ", ");
		if (str_eq(action, STR("forward")))
			show_cell_split(t, r, json_tree_text(route, "service"));
		else
			table_cell(t, STR_FMT " %lld", STR_ARG(action),
				(long long)json_tree_number(r, "status"));
		table_cell_str(t, json_tree_text(r, "sticky"));
		table_cell_str(t, json_tree_text(r, "retries"));
		table_cell_str(t, json_tree_text(r, "fault"));
		table_cell_str(t, json_tree_text(r, "mirror"));
	}
}

/* --- rollouts --- */

static void show_divider(FILE *out, const struct json_tree *r, int indent)
{
	struct str from = json_tree_text(r, "from"), to = json_tree_text(r, "to"),
		   why = json_tree_text(r, "why"), order = json_tree_text(r, "order");
	int64_t percent = json_tree_number(r, "percent"), share = json_tree_number(r, "share");
	fprintf(out,
		"%*srollout of " STR_FMT ": " STR_FMT " → " STR_FMT ", %lld %%, step %lld/%lld, ",
		indent, "", STR_ARG(json_tree_text(r, "service")), STR_ARG(from), STR_ARG(to),
		(long long)percent, (long long)json_tree_number(r, "step"),
		(long long)json_tree_number(r, "steps"));
	fprintf(out, STR_FMT, STR_ARG(json_tree_text(r, "state")));
	if (!str_eq(order, STR("run")))
		fprintf(out, "; the operator says " STR_FMT, STR_ARG(order));
	if (why.len > 0)
		fprintf(out, ": " STR_FMT, STR_ARG(why));
	fputc('\n', out);
	if (share != percent)
		fprintf(out,
			"%*s‼ no endpoint of " STR_FMT " is up: all of its calls go to " STR_FMT
			"\n",
			indent, "", STR_ARG(share == 100 ? from : to),
			STR_ARG(share == 100 ? to : from));
}

static void show_dividers(FILE *out, const struct json_tree *tree, int indent)
{
	for (const struct json_tree *r = json_tree_list(tree, "rollouts"); r; r = r->next)
		show_divider(out, r, indent);
}

void show_routes(FILE *out, const struct json_tree *routes)
{
	static const char *const names[] = {
		"RULE", "MATCHES", "LEADS TO", "STICKY", "RETRIES", "FAULT", "MIRROR"};
	struct table t;
	const struct json_tree *first = json_tree_list(routes, "routes");
	if (!first) {
		fputs("no routes\n", out);
		return;
	}
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *r = first; r; r = r->next)
		show_route(&t, r);
	table_print(&t, out, 0);
	table_done(&t);
	if (json_tree_list(routes, "rollouts"))
		fputc('\n', out);
	show_dividers(out, routes, 0);
}

/* --- routes explain: which rule --- */

static void show_asked(FILE *out, const struct json_tree *e)
{
	struct str from = json_tree_text(e, "from"), to = json_tree_text(e, "to");
	if (json_tree_true(e, "http"))
		fprintf(out, STR_FMT " " STR_FMT " of " STR_FMT " (host " STR_FMT ")",
			STR_ARG(json_tree_text(e, "method")), STR_ARG(json_tree_text(e, "path")),
			STR_ARG(to), STR_ARG(json_tree_text(e, "host")));
	else
		fprintf(out, "opaque bytes to " STR_FMT, STR_ARG(to));
	fprintf(out, "\nfrom " STR_FMT "\n\n",
		STR_ARG(from.len ? from : STR("somebody without an identity")));
}

static void show_cell_why(struct table *t, const struct json_tree *rule)
{
	struct str wanted = json_tree_text(rule, "wanted"), has = json_tree_text(rule, "has");
	if (json_tree_true(rule, "matches"))
		table_cell(t, "yes");
	else
		table_cell(t, "no");
	if (json_tree_true(rule, "matches"))
		table_cell(t, "-");
	else if (str_eq(json_tree_text(rule, "missed"), STR("tcp")))
		table_cell(t, "wants an HTTP request");
	else if (has.len > 0)
		table_cell(t, "wants " STR_FMT "; it is " STR_FMT, STR_ARG(wanted), STR_ARG(has));
	else
		table_cell(t, "wants " STR_FMT "; there is none", STR_ARG(wanted));
}

static void show_verdicts(FILE *out, const struct json_tree *e)
{
	static const char *const names[] = {"RULE", "MATCHES", "WHY"};
	struct table t;
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *r = json_tree_list(e, "rules"); r; r = r->next) {
		table_cell_str(&t, json_tree_text(r, "name"));
		show_cell_why(&t, r);
	}
	table_print(&t, out, 2);
	table_done(&t);
	fputc('\n', out);
}

/* --- what the rule does --- */

static void show_fact_text(
	FILE *out, const struct json_tree *e, const char *key, const char *before)
{
	struct str text = json_tree_text(e, key);
	if (text.len > 0)
		fprintf(out, "  %s " STR_FMT "\n", before, STR_ARG(text));
}

static void show_rule(FILE *out, const struct json_tree *e)
{
	struct str rule = json_tree_text(e, "rule"), action = json_tree_text(e, "action");
	char text[32];
	long long status = json_tree_number(e, "status");
	if (!json_tree_true(e, "has_route"))
		fputs("there is no route: it goes to the service\n", out);
	else if (rule.len == 0)
		fputs("no rule matches: it goes to the service as if there were no route\n", out);
	else if (str_eq(action, STR("forward")))
		fprintf(out, STR_FMT " decides\n", STR_ARG(rule));
	else
		fprintf(out,
			STR_FMT " decides: answered %lld by the caller's proxy (" STR_FMT ")\n",
			STR_ARG(rule), status, STR_ARG(action));
	show_fact_text(out, e, "becomes_path", "the path becomes");
	show_fact_text(out, e, "becomes_host", "the host becomes");
	if (json_tree_number(e, "timeout_ms") >= 1000)
		fprintf(out, "  at most %s until a response begins\n",
			show_duration(json_tree_number(e, "timeout_ms") / 1000, text));
	else if (json_tree_number(e, "timeout_ms") > 0)
		fprintf(out, "  at most %lldms until a response begins\n",
			(long long)json_tree_number(e, "timeout_ms"));
	show_fact_text(out, e, "retries", "after a failure");
	show_fact_text(out, e, "fault", "‼ trouble made on purpose:");
	show_fact_text(out, e, "mirror", "a copy besides:");
	show_dividers(out, e, 2);
	show_fact_text(out, e, "sticky", "stays with a leg by");
	if (json_tree_number(e, "sticks_to") > 0)
		fprintf(out, "  its value \"" STR_FMT "\" has leg %lld\n",
			STR_ARG(json_tree_text(e, "sticks_by")),
			(long long)json_tree_number(e, "sticks_to"));
	if (json_tree_number(e, "addresses") == 0)
		fputs("‼ the service has no address of its own: calls to its endpoints' addresses "
		      "go by no route\n",
			out);
}

/* --- the legs --- */

/* "2 up of 3". */
static void show_cell_endpoints(struct table *t, const struct json_tree *leg)
{
	int up = 0, count = 0;
	for (const struct json_tree *e = json_tree_list(leg, "endpoints"); e; e = e->next) {
		if (json_tree_true(e, "alternate"))
			continue;
		up += str_eq(json_tree_text(e, "health"), STR("up"));
		count++;
	}
	if (count == 0)
		table_cell(t, "× none");
	else
		table_cell(t, "%s%d up of %d", up ? "" : "‼ ", up, count);
}

/* Its requests do not arrive. */
static bool show_leg_is_bad(const struct json_tree *leg)
{
	return json_tree_number(leg, "weight") > 0 &&
	       !(json_tree_true(leg, "allowed") && json_tree_list(leg, "endpoints"));
}

/* "allowed by web-reads (mesh.conf:41); ‼ trial (mesh.conf:43) would deny it". */
static void show_cell_policy(struct table *t, const struct json_tree *leg)
{
	struct str where = json_tree_text(leg, "policy_where"),
		   audited_where = json_tree_text(leg, "audited_where");
	char text[TABLE_CELL_MAX], trial[TABLE_CELL_MAX] = "";
	snprintf(text, sizeof(text), "%s by " STR_FMT,
		json_tree_true(leg, "allowed") ? "allowed" : "× denied",
		STR_ARG(json_tree_text(leg, "policy")));
	if (json_tree_true(leg, "would_deny"))
		snprintf(trial, sizeof(trial), "; ‼ " STR_FMT " (" STR_FMT ") would deny it",
			STR_ARG(json_tree_text(leg, "audited")), STR_ARG(audited_where));
	if (where.len > 0)
		table_cell(t, "%s (" STR_FMT ")%s", text, STR_ARG(where), trial);
	else
		table_cell(t, "%s%s", text, trial);
}

static void show_leg(struct table *t, const struct json_tree *leg, int number, int64_t sum)
{
	struct str service = json_tree_text(leg, "service");
	char share[32];
	bool is_known = service.len > 0;
	show_share(share, json_tree_number(leg, "weight"), sum);
	table_cell(t, "%d", number);
	if (is_known)
		table_cell_str(t, service);
	else
		table_cell(t, "× not known here");
	table_cell_str(t, json_tree_text(leg, "version"));
	table_cell_number(t, json_tree_number(leg, "weight"));
	table_cell(t, "%s", share);
	show_cell_endpoints(t, leg);
	if (is_known)
		show_cell_policy(t, leg);
	else
		table_cell(t, "-");
}

static void show_legs(FILE *out, const struct json_tree *e)
{
	static const char *const names[] = {
		"LEG", "SERVICE", "VERSION", "WEIGHT", "SHARE", "ENDPOINTS", "POLICY"};
	const struct json_tree *first = json_tree_list(e, "split");
	struct table t;
	int number = 0;
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *leg = first; leg; leg = leg->next)
		show_leg(&t, leg, ++number, show_weights(first));
	show_rows(out, &t);
}

/* As `authz check` says it. */
static void show_leg_neighbours(FILE *out, const struct json_tree *e)
{
	int number = 1;
	for (const struct json_tree *leg = json_tree_list(e, "split"); leg; leg = leg->next) {
		const struct json_tree *own = json_tree_get(leg, "neighbour");
		if (own)
			fprintf(out,
				"‼ on the service's own machine leg %d would be %s by " STR_FMT
				" (" STR_FMT ")\n",
				number, json_tree_true(own, "allowed") ? "allowed" : "denied",
				STR_ARG(json_tree_text(own, "policy")),
				STR_ARG(json_tree_text(own, "policy_where")));
		number++;
	}
}

/* What of it the service's machines may refuse, besides policy. */
static void show_leg_limits(FILE *out, const struct json_tree *e)
{
	int number = 1;
	bool is_any = false;
	for (const struct json_tree *leg = json_tree_list(e, "split"); leg; leg = leg->next) {
		const struct json_tree *first = json_tree_list(leg, "limits");
		for (const struct json_tree *l = first; l; l = l->next)
			fprintf(out, "%s" STR_FMT, l == first ? "" : ", ", STR_ARG(l->text));
		if (first)
			fprintf(out, ": limits that leg %d counts for\n", number);
		is_any = is_any || first;
		number++;
	}
	if (is_any)
		fputc('\n', out);
}

void show_explain(FILE *out, const struct json_tree *explained)
{
	show_asked(out, explained);
	if (json_tree_list(explained, "rules"))
		show_verdicts(out, explained);
	show_rule(out, explained);
	show_legs(out, explained);
	show_leg_neighbours(out, explained);
	show_leg_limits(out, explained);
	show_balances(out, explained);
	show_candidates(out, explained);
}

int show_explain_problems(const struct json_tree *explained)
{
	int count = 0;
	const struct json_tree *leg = json_tree_list(explained, "split");
	for (; leg; leg = leg->next)
		count += show_leg_is_bad(leg);
	return count;
}
