/* SPDX-License-Identifier: Apache-2.0 */
/* What became of one request, everywhere on this machine where it was seen. */
#include "show_authz.h"

static void show_who(FILE *out, const struct json_tree *d)
{
	struct str from = json_tree_text(d, "from"), path = json_tree_text(d, "path"),
		   service = json_tree_text(d, "service");
	fprintf(out, STR_FMT "  ", STR_ARG(json_tree_text(d, "time")));
	if (json_tree_true(d, "mirror"))
		fputs("a copy: ", out);
	if (path.len > 0)
		fprintf(out, STR_FMT " " STR_FMT " of ", STR_ARG(json_tree_text(d, "method")),
			STR_ARG(path));
	else if (json_tree_true(d, "http"))
		fputs("what was no request to ", out);
	else
		fputs("opaque bytes to ", out);
	fprintf(out, STR_FMT, STR_ARG(service.len ? service : STR("no service")));
	if (json_tree_text(d, "host").len > 0)
		fprintf(out, " (host " STR_FMT ")", STR_ARG(json_tree_text(d, "host")));
	if (json_tree_number(d, "port") > 0)
		fprintf(out, ", port %lld", (long long)json_tree_number(d, "port"));
	fprintf(out, "\n  from " STR_FMT " at " STR_FMT ", connection %lld\n",
		STR_ARG(from.len ? from : STR("somebody without an identity")),
		STR_ARG(json_tree_text(d, "client")), (long long)json_tree_number(d, "connection"));
}

static void show_reason(FILE *out, const struct json_tree *d)
{
	struct str details = json_tree_text(d, "details");
	fprintf(out, "  " STR_FMT, STR_ARG(json_tree_text(d, "reason")));
	if (details.len > 0)
		fprintf(out, " (" STR_FMT ")", STR_ARG(details));
	fprintf(out, ": " STR_FMT "\n", STR_ARG(json_tree_text(d, "reason_text")));
}

static void show_elsewhere(FILE *out, const struct json_tree *d)
{
	long long status = json_tree_number(d, "status");
	struct str upstream = json_tree_text(d, "upstream");
	if (upstream.len == 0)
		fputs("  it went to no machine, and nobody decided\n", out);
	else
		fprintf(out,
			"  sent to the machine at " STR_FMT ", which decides: ask there, by the "
			"same id\n",
			STR_ARG(upstream));
	if (status == 403)
		fputs("  × it was answered 403: refused there, by policy or by the server "
		      "itself\n",
			out);
	else if (status > 0)
		fprintf(out, "  answered %lld\n", status);
}

static void show_here(FILE *out, const struct json_tree *d)
{
	struct str policy = json_tree_text(d, "policy");
	bool is_refused = json_tree_true(d, "refused");
	if (policy.len == 0) {
		fputs(is_refused ? "  × refused before any policy was asked\n"
				 : "  no policy was asked\n",
			out);
	} else {
		fputs(is_refused ? "  × refused by " : "  allowed by ", out);
		show_decider(out, policy, json_tree_text(d, "where"));
		fputc('\n', out);
	}
	if (json_tree_text(d, "audited").len > 0) {
		fputs("  ‼ it would have been refused by ", out);
		show_decider(out, json_tree_text(d, "audited"), json_tree_text(d, "audited_where"));
		fputs(": on trial, so it passed\n", out);
	}
	if (json_tree_text(d, "noted").len > 0) {
		fputs("  noted by ", out);
		show_decider(out, json_tree_text(d, "noted"), json_tree_text(d, "noted_where"));
		fputc('\n', out);
	}
	if (json_tree_number(d, "status") > 0)
		fprintf(out, "  answered %lld\n", (long long)json_tree_number(d, "status"));
}

static void show_now(FILE *out, const struct json_tree *d)
{
	const struct json_tree *now = json_tree_get(d, "now");
	if (!json_tree_true(d, "is_old"))
		return;
	if (!now) {
		fputs("\nThe rules have changed since. What it would come to now cannot be told: "
		      "not all of it was kept,\nor its service is gone.\n",
			out);
		return;
	}
	fputs("\nThe rules, or what is known of the mesh, have changed since. Now it would be:\n",
		out);
	if (json_tree_true(now, "unsure"))
		fputs("‼ its headers and token were not kept, and some rules ask for them\n", out);
	show_verdict(out, now);
}

static void show_decision(FILE *out, const struct json_tree *d)
{
	bool is_failure = !str_eq(json_tree_text(d, "reason"), STR("NONE"));
	show_who(out, d);
	if (json_tree_true(d, "here"))
		show_here(out, d);
	else
		show_elsewhere(out, d);
	if (is_failure)
		show_reason(out, d);
	show_now(out, d);
	if (d->next)
		fputc('\n', out);
}

/* The client has chosen it: in a command it stands only if no shell can read more in it. */
static bool show_is_plain(struct str id)
{
	for (size_t i = 0; i < id.len; i++) {
		char c = id.at[i];
		bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!is_letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != ':' &&
			c != '-')
			return false;
	}
	return id.len > 0 && id.at[0] != '-';
}

static void show_older(FILE *out, struct str id, struct str log)
{
	bool is_journal = str_eq(log, STR("stderr"));
	if (!show_is_plain(id))
		fprintf(out, "  older ones: look for this id in " STR_FMT "\n",
			STR_ARG(is_journal ? STR("the journal of the unit ringmain") : log));
	else if (is_journal)
		fprintf(out, "  older ones: journalctl -u ringmain --grep '" STR_FMT "'\n",
			STR_ARG(id));
	else
		fprintf(out, "  older ones: grep '" STR_FMT "' " STR_FMT "\n", STR_ARG(id),
			STR_ARG(log));
}

static void show_unknown(FILE *out, const struct json_tree *answer)
{
	struct str id = json_tree_text(answer, "id"), since = json_tree_text(answer, "since"),
		   let_in = json_tree_text(answer, "let_in_since"),
		   started = json_tree_text(answer, "started"),
		   log = json_tree_text(answer, "access_log");
	fprintf(out, "× nothing is known here of \"" STR_FMT "\"\n", STR_ARG(id));
	fprintf(out,
		"  what was refused or told is known since " STR_FMT
		", what was let in since " STR_FMT "\n",
		STR_ARG(since.len ? since : started), STR_ARG(let_in.len ? let_in : started));
	if (str_eq(log, STR("off")))
		fputs("  older ones are nowhere: node.access_log is \"off\"\n", out);
	else
		show_older(out, id, log);
	fputs("  a request is decided on its service's machine, and known there and on the "
	      "caller's\n",
		out);
}

void show_authz_why(FILE *out, const struct json_tree *answer)
{
	long long workers = json_tree_number(answer, "workers"),
		  answered = json_tree_number(answer, "workers_answered");
	const struct json_tree *first = json_tree_list(answer, "decisions");
	for (const struct json_tree *d = first; d; d = d->next)
		show_decision(out, d);
	if (!first)
		show_unknown(out, answer);
	if (answered < workers)
		fprintf(out, "‼ %lld of %lld workers have not answered\n", workers - answered,
			workers);
}
