/* SPDX-License-Identifier: Apache-2.0 */
/* All rules of a service in the order in which they count, and all services in short. */
#include "show_authz.h"

/* --- one service --- */

/* A line of a cell: what is longer goes on in the next one, so that nothing is left out. */
#define SHOW_FROM_MAX 60
#define SHOW_WHEN_MAX 100
#define SHOW_TEXT_MAX 1024 /* bytes of one caller's name, and those beside it */

/* What of a rule is still to be shown. */
struct show_left {
	const struct json_tree *not_from, *when;
	struct str rest; /* of the condition before `when` */
};

/* Those who are left out, as many as fit, one at least. */
static size_t show_add_not_from(
	struct show_left *left, const char *word, size_t len, char text[SHOW_TEXT_MAX])
{
	for (bool is_first = true; left->not_from && len < SHOW_TEXT_MAX; is_first = false) {
		struct str name = left->not_from->text;
		if (!is_first && len + name.len + 2 > SHOW_FROM_MAX)
			break;
		len += (size_t)snprintf(text + len, SHOW_TEXT_MAX - len, "%s" STR_FMT,
			is_first ? word : ", ", STR_ARG(name));
		left->not_from = left->not_from->next;
	}
	return len;
}

/* "shop/web", "any identity", "everybody"; and who is left out of it. */
static void show_cell_from(struct table *t, const struct json_tree *r, struct show_left *left)
{
	struct str from = json_tree_text(r, "from");
	bool is_allow = str_eq(json_tree_text(r, "action"), STR("allow"));
	char text[SHOW_TEXT_MAX];
	size_t len = (size_t)snprintf(text, sizeof(text), STR_FMT,
		STR_ARG(from.len   ? from
			: is_allow ? STR("any identity")
				   : STR("everybody")));
	show_add_not_from(left, " but not ", len, text);
	table_cell(t, "%s", text);
}

static void show_cell_more_from(struct table *t, struct show_left *left)
{
	char text[SHOW_TEXT_MAX] = "";
	show_add_not_from(left, "  nor ", 0, text);
	table_cell(t, "%s", text);
}

/* How much of a condition fits into a line, up to before an "or". */
static size_t show_line_len(struct str text)
{
	const struct str or = STR(" or ");
	size_t len = text.len;
	for (size_t i = 1; text.len > SHOW_WHEN_MAX && i + or.len <= text.len; i++) {
		bool is_gap = str_eq((struct str){text.at + i, or.len}, or);
		if (is_gap && (i <= SHOW_WHEN_MAX || len == text.len))
			len = i;
		if (i >= SHOW_WHEN_MAX && len < text.len)
			break;
	}
	return len;
}

/* One condition, or a part of one, a line. */
static void show_cell_when(struct table *t, struct show_left *left, const char *word)
{
	if (left->rest.len == 0 && !left->when) {
		table_cell(t, "%s", "");
		return;
	}
	if (left->rest.len == 0) {
		left->rest = left->when->text;
		left->when = left->when->next;
	} else {
		word = "  ";
	}
	size_t len = show_line_len(left->rest);
	table_cell(t, "%s%.*s", word, (int)len, left->rest.at);
	len += len < left->rest.len; /* the blank before "or" */
	left->rest = (struct str){left->rest.at + len, left->rest.len - len};
}

static void show_row(struct table *t, const struct json_tree *r)
{
	struct show_left left = {
		.not_from = json_tree_list(r, "not_from"), .when = json_tree_list(r, "when")};
	bool is_audited = str_eq(json_tree_text(r, "mode"), STR("audit"));
	show_cell_from(t, r, &left);
	table_cell(t, STR_FMT "%s", STR_ARG(json_tree_text(r, "action")),
		is_audited ? ", on trial" : "");
	if (left.when)
		show_cell_when(t, &left, "");
	else
		table_cell(t, "everything");
	table_cell(t, "%s" STR_FMT, json_tree_text(r, "never").len > 0 ? "‼ " : "",
		STR_ARG(json_tree_text(r, "name")));
	table_cell_str(t, json_tree_text(r, "where"));
	while (left.not_from || left.when || left.rest.len > 0) {
		show_cell_more_from(t, &left);
		table_cell(t, "%s", "");
		show_cell_when(t, &left, "and ");
		table_cell(t, "%s", "");
		table_cell(t, "%s", "");
	}
}

static void show_never(FILE *out, const struct json_tree *r)
{
	static const struct {
		const char *never, *text;
	} texts[] = {
		{"outvoted", "whom another rule refuses whatever is asked"},
		{"unknown", "who may be anybody, since another rule refuses an identity whatever "
			    "is asked"},
		{"later", "about whom another rule says the same before it, whatever is asked"},
		{"tcp", "since the service is opaque TCP, which has none of what it asks for"},
		{"strict", "since mtls is \"strict\": nobody without an identity gets so far"},
	};
	struct str never = json_tree_text(r, "never"), by = json_tree_text(r, "by"),
		   from = json_tree_text(r, "from"), fault = json_tree_text(r, "fault");
	if (fault.len > 0)
		fprintf(out,
			"‼ " STR_FMT " cannot be read here, so it denies everything: " STR_FMT "\n",
			STR_ARG(json_tree_text(r, "name")), STR_ARG(fault));
	if (str_eq(never, STR("disabled")))
		fprintf(out,
			"‼ " STR_FMT " decides about " STR_FMT
			" on the service's own machine only: mtls is \"disabled\", and nobody who "
			"comes from another one has an identity\n",
			STR_ARG(json_tree_text(r, "name")),
			STR_ARG(from.len ? from : STR("anybody")));
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (!str_eq(never, str_of(texts[i].never)))
			continue;
		fprintf(out, "‼ " STR_FMT " never decides about " STR_FMT ", %s",
			STR_ARG(json_tree_text(r, "name")),
			STR_ARG(from.len ? from : STR("anybody")), texts[i].text);
		if (by.len > 0)
			fputs(": ", out);
		if (by.len > 0)
			show_decider(out, by, json_tree_text(r, "by_where"));
		fputc('\n', out);
	}
}

static void show_modes(FILE *out, const struct json_tree *s)
{
	fprintf(out, STR_FMT, STR_ARG(json_tree_text(s, "mtls")));
	for (const struct json_tree *p = json_tree_list(s, "mtls_ports"); p; p = p->next)
		fprintf(out, ", port %lld: " STR_FMT, (long long)json_tree_number(p, "port"),
			STR_ARG(json_tree_text(p, "mtls")));
}

/* "any identity (mesh.default_policy)". */
static void show_default_text(char text[TABLE_CELL_MAX], const struct json_tree *s)
{
	bool is_open = str_eq(json_tree_text(s, "default"), STR("authenticated"));
	bool is_closed = json_tree_true(s, "default_closed");
	snprintf(text, TABLE_CELL_MAX, "%s (" STR_FMT "%s)",
		is_open ? "any identity may" : "refused",
		STR_ARG(json_tree_text(s, "default_where")),
		is_closed ? " is \"authenticated\", but allow rules name the service" : "");
}

static void show_rules(FILE *out, const struct json_tree *answer)
{
	static const char *const names[] = {"FROM", "ACTION", "WHEN", "RULE", "WHERE"};
	struct table t;
	char text[TABLE_CELL_MAX];
	const struct json_tree *first = json_tree_list(answer, "rules");
	fprintf(out, STR_FMT ", mtls ", STR_ARG(json_tree_text(answer, "service")));
	show_modes(out, answer);
	fputs(json_tree_true(answer, "here") ? "\n" : ", no workload here\n", out);
	if (json_tree_true(answer, "mesh_audit"))
		fputs("‼ mesh.policy_mode is \"audit\": what is refused passes, and is told\n",
			out);
	fputc('\n', out);
	show_default_text(text, answer);
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *r = first; r; r = r->next)
		show_row(&t, r);
	table_cell(&t, "whoever is left");
	table_cell(&t, "%s", "");
	table_cell(&t, "%s", text);
	table_cell(&t, "%s", "");
	table_cell(&t, "%s", "");
	table_print(&t, out, 0);
	table_done(&t);
	for (const struct json_tree *r = first; r; r = r->next)
		show_never(out, r);
}

/* --- all of them --- */

static void show_cell_modes(struct table *t, const struct json_tree *s)
{
	char text[TABLE_CELL_MAX];
	size_t len =
		(size_t)snprintf(text, sizeof(text), STR_FMT, STR_ARG(json_tree_text(s, "mtls")));
	const struct json_tree *p = json_tree_list(s, "mtls_ports");
	for (; p && len < sizeof(text); p = p->next)
		len += (size_t)snprintf(text + len, sizeof(text) - len, ", %lld " STR_FMT,
			(long long)json_tree_number(p, "port"), STR_ARG(json_tree_text(p, "mtls")));
	table_cell(t, "%s", text);
}

static void show_services(FILE *out, const struct json_tree *answer)
{
	static const char *const names[] = {"SERVICE", "PROTOCOL", "MTLS", "ALLOW", "DENY", "AUDIT",
		"ON TRIAL", "WHOEVER IS LEFT"};
	struct table t;
	char text[TABLE_CELL_MAX];
	const struct json_tree *first = json_tree_list(answer, "services");
	if (!first) {
		fputs("no services\n", out);
		return;
	}
	if (json_tree_true(answer, "mesh_audit"))
		fputs("‼ mesh.policy_mode is \"audit\": what is refused passes, and is told\n\n",
			out);
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *s = first; s; s = s->next) {
		table_cell_str(&t, json_tree_text(s, "service"));
		table_cell_str(&t, json_tree_text(s, "protocol"));
		show_cell_modes(&t, s);
		table_cell_number(&t, json_tree_number(s, "allow"));
		table_cell_number(&t, json_tree_number(s, "deny"));
		table_cell_number(&t, json_tree_number(s, "audit"));
		table_cell_number(&t, json_tree_number(s, "on_trial"));
		show_default_text(text, s);
		table_cell(&t, "%s", text);
	}
	table_print(&t, out, 0);
	table_done(&t);
}

void show_authz_list(FILE *out, const struct json_tree *answer)
{
	if (json_tree_text(answer, "service").len > 0)
		show_rules(out, answer);
	else
		show_services(out, answer);
}
