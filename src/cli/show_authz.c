/* SPDX-License-Identifier: Apache-2.0 */
/* Policies for people: what one request would come to, and all rules of a service in the order in
 * which they count. */
#include "show_authz.h"

#define SHOW_WANTED_MAX 80 /* of a long list */
#define SHOW_MISSED_MAX 40 /* rules that do not match, of a service that has many */

/* "web-reads (mesh.conf:41)". */
void show_decider(FILE *out, struct str name, struct str where)
{
	fprintf(out, STR_FMT, STR_ARG(name.len ? name : STR("?")));
	if (where.len > 0)
		fprintf(out, " (" STR_FMT ")", STR_ARG(where));
}

/* --- check: the verdict --- */

/* What is otherwise than it was asked. */
static void show_notes(FILE *out, const struct json_tree *e)
{
	struct str from = json_tree_text(e, "from"), asked = json_tree_text(e, "asked_path"),
		   undeclared = json_tree_text(e, "undeclared"), like = json_tree_text(e, "like");
	if (asked.len > 0)
		fprintf(out, "‼ the path was " STR_FMT ": it is judged and sent on as above\n",
			STR_ARG(asked));
	if (undeclared.len > 0)
		fprintf(out,
			"‼ no service \"" STR_FMT
			"\" is known here: judged as the identity of that name",
			STR_ARG(undeclared));
	if (undeclared.len > 0 && like.len > 0)
		fprintf(out, "; did you mean \"" STR_FMT "\"?", STR_ARG(like));
	if (undeclared.len > 0)
		fputc('\n', out);
	if (from.len > 0 && !json_tree_true(e, "identity"))
		fputs("‼ mtls = \"disabled\": from another machine it comes in plain text, and "
		      "nobody "
		      "sees who sends it\n",
			out);
	fputc('\n', out);
}

static void show_request(FILE *out, const struct json_tree *e)
{
	struct str from = json_tree_text(e, "from"), client = json_tree_text(e, "client");
	if (json_tree_true(e, "http"))
		fprintf(out, STR_FMT " " STR_FMT " of " STR_FMT " (host " STR_FMT ")",
			STR_ARG(json_tree_text(e, "method")), STR_ARG(json_tree_text(e, "path")),
			STR_ARG(json_tree_text(e, "to")), STR_ARG(json_tree_text(e, "host")));
	else
		fprintf(out, "opaque bytes to " STR_FMT, STR_ARG(json_tree_text(e, "to")));
	if (json_tree_number(e, "port") > 0)
		fprintf(out, ", port %lld", (long long)json_tree_number(e, "port"));
	fprintf(out, "\nfrom " STR_FMT,
		STR_ARG(from.len ? from : STR("somebody without an identity")));
	if (client.len > 0)
		fprintf(out, " at " STR_FMT, STR_ARG(client));
	fputc('\n', out);
	show_notes(out, e);
}

/* What refuses it before any rule is asked. True: something does. */
static bool show_barrier(FILE *out, const struct json_tree *e)
{
	struct str barrier = json_tree_text(e, "barrier");
	if (str_eq(barrier, STR("path"))) {
		fputs("× refused with 400, whatever the rules say: no proxy lets this path "
		      "through\n"
		      "  (no '/' at its beginning, a character that is none of a path, a broken "
		      "escape, a "
		      "hidden slash,\n"
		      "  a dot segment with parameters, or one above the root)\n",
			out);
	} else if (str_eq(barrier, STR("mtls"))) {
		fputs("× refused, whatever the rules say: mtls = \"strict\", and it comes in plain "
		      "text\n",
			out);
	} else if (str_eq(barrier, STR("http"))) {
		fputs("× refused: these are opaque bytes, and ", out);
		show_decider(out, json_tree_text(e, "barrier_policy"),
			json_tree_text(e, "barrier_where"));
		fputs(" asks for what only HTTP has\n", out);
	} else {
		return false;
	}
	return true;
}

/* Which default it was, and why that. */
static void show_default(FILE *out, const struct json_tree *e)
{
	struct str own = json_tree_text(e, "service_default"),
		   mesh = json_tree_text(e, "mesh_default");
	bool is_own = !str_eq(own, STR("mesh"));
	fprintf(out, "  no rule matches; %s says \"" STR_FMT "\"",
		is_own ? "services.default_policy" : "mesh.default_policy",
		STR_ARG(is_own ? own : mesh));
	if (!json_tree_true(e, "identity"))
		fputs(", which lets in nobody without an identity", out);
	else if (json_tree_true(e, "foreign"))
		fputs(", which lets in nobody of another trust domain", out);
	else if (!is_own && str_eq(mesh, STR("authenticated")) && !json_tree_true(e, "allowed"))
		fputs(", but an allow rule names the service, and so all else is refused", out);
	fputc('\n', out);
}

static void show_trial(FILE *out, const struct json_tree *e)
{
	if (json_tree_true(e, "would_deny")) {
		fputs("‼ it would be refused by ", out);
		show_decider(out, json_tree_text(e, "audited"), json_tree_text(e, "audited_where"));
		fputs(json_tree_true(e, "mesh_audit")
				? ": mesh.policy_mode is \"audit\", so it passes and is told\n"
				: ": that is on trial, so it passes and is told\n",
			out);
	}
	if (json_tree_text(e, "noted").len > 0) {
		fputs("  noted by ", out);
		show_decider(out, json_tree_text(e, "noted"), json_tree_text(e, "noted_where"));
		fputc('\n', out);
	}
}

void show_verdict(FILE *out, const struct json_tree *e)
{
	bool is_default = json_tree_text(e, "action").len == 0;
	if (!show_barrier(out, e)) {
		fprintf(out, "%s by ", json_tree_true(e, "allowed") ? "allowed" : "× refused");
		show_decider(out, json_tree_text(e, "policy"), json_tree_text(e, "where"));
		fputc('\n', out);
		if (is_default && !json_tree_true(e, "would_deny"))
			show_default(out, e);
	}
	show_trial(out, e);
}

/* --- check: the rules --- */

static const char *show_part(struct str part)
{
	static const struct {
		const char *part, *text;
	} texts[] = {
		{"decides", "decides"},
		{"less exact", "matches, but another names the caller more exactly"},
		{"outvoted", "matches, but one that denies names the caller as exactly"},
		{"later", "matches, and says the same as one before it"},
		{"audited", "matches, but is on trial (mode = \"audit\")"},
		{"noted", "matches: noted"},
	};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (str_eq(part, str_of(texts[i].part)))
			return texts[i].text;
	}
	return "matches";
}

static bool show_is_missed(const struct json_tree *rule)
{
	return str_eq(json_tree_text(rule, "part"), STR("missed"));
}

/* What a rule wants may be long, and what there is comes behind it. */
static struct str show_short(struct str text, char ret_short[SHOW_WANTED_MAX + sizeof(TABLE_CUT)])
{
	size_t len = text.len;
	if (len <= SHOW_WANTED_MAX)
		return text;
	for (len = SHOW_WANTED_MAX; len > 0 && ((unsigned char)text.at[len] & 0xc0) == 0x80;)
		len--;
	memcpy(ret_short, text.at, len);
	memcpy(ret_short + len, TABLE_CUT, sizeof(TABLE_CUT));
	return (struct str){ret_short, len + sizeof(TABLE_CUT) - 1};
}

/* "wants methods GET; it is PUT". */
static void show_cell_missed(struct table *t, const struct json_tree *rule)
{
	char text[SHOW_WANTED_MAX + sizeof(TABLE_CUT)];
	struct str wanted = show_short(json_tree_text(rule, "wanted"), text),
		   has = json_tree_text(rule, "has"), missed = json_tree_text(rule, "missed");
	bool is_not = str_starts(missed, STR("not_"));
	if (json_tree_true(rule, "unknown") && str_starts(missed, STR("token")))
		table_cell(t, "wants " STR_FMT "; there is no token", STR_ARG(wanted));
	else if (json_tree_true(rule, "unknown") && has.len > 0)
		table_cell(t, "wants " STR_FMT "; nobody can tell: " STR_FMT, STR_ARG(wanted),
			STR_ARG(has));
	else if (json_tree_true(rule, "unknown"))
		table_cell(t, "wants " STR_FMT "; that cannot be known", STR_ARG(wanted));
	else if (has.len == 0)
		table_cell(t, "wants " STR_FMT "; there is none", STR_ARG(wanted));
	else if (is_not)
		table_cell(t, "is not for " STR_FMT "; it is " STR_FMT,
			STR_ARG(((struct str){wanted.at + 4, wanted.len > 4 ? wanted.len - 4 : 0})),
			STR_ARG(has));
	else
		table_cell(t, "wants " STR_FMT "; it is " STR_FMT, STR_ARG(wanted), STR_ARG(has));
}

static void show_finding(struct table *t, const struct json_tree *rule)
{
	bool is_audited = str_eq(json_tree_text(rule, "mode"), STR("audit"));
	table_cell_str(t, json_tree_text(rule, "name"));
	table_cell(t, STR_FMT "%s", STR_ARG(json_tree_text(rule, "action")),
		is_audited ? ", on trial" : "");
	if (show_is_missed(rule))
		show_cell_missed(t, rule);
	else if (json_tree_true(rule, "unknown"))
		table_cell(t, "%s; wants " STR_FMT ", which cannot be known",
			show_part(json_tree_text(rule, "part")),
			STR_ARG(json_tree_text(rule, "wanted")));
	else
		table_cell(t, "%s", show_part(json_tree_text(rule, "part")));
	table_cell_str(t, json_tree_text(rule, "where"));
}

static void show_findings(FILE *out, const struct json_tree *e)
{
	static const char *const names[] = {"RULE", "ACTION", "WHY", "WHERE"};
	struct table t;
	int missed = 0;
	const struct json_tree *first = json_tree_list(e, "rules");
	struct str barrier = json_tree_text(e, "barrier");
	if (!first || str_eq(barrier, STR("mtls")))
		return;
	fputc('\n', out);
	show_headings(&t, ARRAY_LEN(names), names);
	for (const struct json_tree *r = first; r; r = r->next) {
		if (!show_is_missed(r) || missed++ < SHOW_MISSED_MAX)
			show_finding(&t, r);
	}
	table_print(&t, out, 0);
	table_done(&t);
	if (missed > SHOW_MISSED_MAX)
		fprintf(out, "and %d more that do not match\n", missed - SHOW_MISSED_MAX);
}

/* --- check: where --- */

static void show_machines(FILE *out, const struct json_tree *e)
{
	long long count = json_tree_number(e, "machine_count"), told = 0;
	const struct json_tree *first = json_tree_list(e, "machines");
	if (json_tree_true(e, "here") && !first)
		return;
	if (!first) {
		fputs("\n‼ the service has no endpoint that is known here: nobody would ask these "
		      "rules\n",
			out);
		return;
	}
	fprintf(out, "\n%s: ",
		json_tree_true(e, "here")
			? "this machine decides for its own workload, and others for theirs"
			: "the service has no workload here: its own machines decide, by what "
			  "they know of the mesh");
	for (const struct json_tree *m = first; m; m = m->next, told++)
		fprintf(out, "%s" STR_FMT, m == first ? "" : ", ", STR_ARG(m->text));
	if (count > told)
		fprintf(out, " and %lld more", count - told);
	fputc('\n', out);
}

static void show_otherwise(FILE *out, const struct json_tree *e)
{
	for (const struct json_tree *o = json_tree_list(e, "otherwise"); o; o = o->next) {
		fprintf(out, "‼ as " STR_FMT "%s it would be %s by ",
			STR_ARG(json_tree_text(o, "from")),
			json_tree_true(o, "neighbour") ? ", on the service's own machine," : "",
			json_tree_true(o, "allowed") ? "allowed" : "refused");
		show_decider(out, json_tree_text(o, "policy"), json_tree_text(o, "where"));
		fputc('\n', out);
	}
}

void show_authz_check(FILE *out, const struct json_tree *answer)
{
	show_request(out, answer);
	show_verdict(out, answer);
	show_otherwise(out, answer);
	show_findings(out, answer);
	show_machines(out, answer);
}
