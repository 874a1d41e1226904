/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/authz.h"

#include "authz_suggest.h"
#include "base/assert.h"
#include "base/usage.h"
#include "conf/conf.h"
#include "question.h"
#include "show.h"

static const char authz_usage[] =
	"Asks the running proxy about the policies in force: who may do what, and which rule says "
	"so.\n"
	"\n"
	"usage: ringmain authz check --from CALLER --to SERVICE [--method GET] [--path /] [--host "
	"HOST]\n"
	"                            [-H 'name: value']... [--claim name=value]... [--port PORT]\n"
	"                            [--client ADDRESS] [--tcp] [options]\n"
	"       ringmain authz why REQUEST-ID [options]\n"
	"       ringmain authz list [SERVICE] [options]\n"
	"       ringmain authz suggest [SERVICE] [options]\n"
	"\n"
	"check says whether a request would be let in, by which rule, and why by none of the "
	"others.\n"
	"Nothing is sent. why says the same of a request that was made: by its id, or of opaque "
	"bytes by\nthe connection's number in the access log. list shows the rules of a service in "
	"the order in\nwhich they count, or all services. suggest prints the fewest policies that "
	"allow\nwhat this machine's workloads were asked: ids in paths as {id}, methods and ports "
	"as they were,\nand nothing else. Read it; \"ringmain apply -f\" publishes it, or it "
	"becomes "
	"a mesh file.\n"
	"\n"
	"  --from CALLER      a service, a SPIFFE id, an identity path, an address or anonymous\n"
	"  --to SERVICE       whose rules are asked\n"
	"  --method, --path, --host, -H\n"
	"                     the request: GET, \"/\" with or without query, the service's name, "
	"no headers\n"
	"  --claim name=value what a verified token says; \"iss\" is the name of its issuer, or "
	"its "
	"only one\n"
	"  --port PORT        of the workload; without it the one that all endpoints have\n"
	"  --client ADDRESS   whence it comes, for rules about addresses\n"
	"  --tcp              opaque bytes, which have none of these\n"
	"  -c, --config FILE  the configuration, for its admin socket (" CONF_PATH_DEFAULT ")\n"
	"  --socket PATH      the admin socket itself\n"
	"  --offline          of check and list: by the configuration as it is written, asking no "
	"proxy\n"
	"  -o, --output json  for programs\n"
	"\n"
	"Exit status: 0; 1 check: refused, why: nothing is known of it, or the proxy cannot be "
	"asked;\n2 wrong usage, and of check also that there is no answer.\n";

static int authz_check(FILE *out, const struct json_tree *answer)
{
	if (out)
		show_authz_check(out, answer);
	return json_tree_true(answer, "allowed") ? 0 : 1;
}

static int authz_why(FILE *out, const struct json_tree *answer)
{
	if (out)
		show_authz_why(out, answer);
	return json_tree_true(answer, "known") ? 0 : 1;
}

static int authz_list(FILE *out, const struct json_tree *answer)
{
	if (out)
		show_authz_list(out, answer);
	return 0;
}

int cli_authz_main(int argc, char **argv,
	char *(*ask_offline)(const char *conf_path, const char *path, int *ret_status))
{
	/* One row for each word. A command that asks otherwise has `run` alone. */
	const struct question_kind kinds[] = {
		{.word = "check",
			.page = "/authz/check",
			.takes = "ftmpaHTPCkF",
			.needs = "ft",
			.exit_unanswered = USAGE_WRONG,
			.report = authz_check,
			.ask_offline = ask_offline},
		{.word = "why",
			.page = "/authz/why",
			.subject = "id",
			.subject_missing = "which request? its id is in the access log and in "
					   "x-request-id",
			.report = authz_why},
		{.word = "list",
			.page = "/authz",
			.takes = "F",
			.subject = "service",
			.report = authz_list,
			.ask_offline = ask_offline},
		{.word = "suggest",
			.page = "/authz/seen",
			.subject = "service",
			.report = authz_suggest},
	};
	return question_main(argc, argv, authz_usage, kinds, ARRAY_LEN(kinds));
}
