/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/routes.h"

#include "base/assert.h"
#include "conf/conf.h"
#include "question.h"
#include "show.h"

static const char routes_usage[] =
	"Asks the running proxy about the routes in force on this machine.\n"
	"\n"
	"usage: ringmain routes list [SERVICE] [options]\n"
	"       ringmain routes explain --from CALLER --to SERVICE [--method GET] [--path /] "
	"[--host "
	"HOST]\n"
	"                               [-H 'name: value']... [--tcp] [options]\n"
	"\n"
	"explain says which rule a request would go by and why none before it, what the rule does, "
	"which\nendpoints there are, and what the policies of the service say. Nothing is sent.\n"
	"\n"
	"  --from CALLER      a service, a SPIFFE id, or anonymous\n"
	"  --to SERVICE       whose own address is called\n"
	"  --method, --path, --host, -H\n"
	"                     the request: GET, \"/\" with or without query, the service's name, "
	"no "
	"headers\n"
	"  --tcp              opaque bytes, which have none of these\n"
	"  -c, --config FILE  the configuration, for its admin socket (" CONF_PATH_DEFAULT ")\n"
	"  --socket PATH      the admin socket itself\n"
	"  -o, --output json  for programs\n"
	"\n"
	"Exit status: 0; 1 part of such requests is refused or leads nowhere (marked ×), or the "
	"proxy\ncannot be asked; 2 wrong usage.\n";

static int routes_list(FILE *out, const struct json_tree *routes)
{
	if (out)
		show_routes(out, routes);
	return 0;
}

static int routes_explain(FILE *out, const struct json_tree *explained)
{
	if (out)
		show_explain(out, explained);
	return show_explain_problems(explained) ? 1 : 0;
}

int cli_routes_main(int argc, char **argv)
{
	static const struct question_kind kinds[] = {
		{.word = "list", .page = "/routes", .subject = "service", .report = routes_list},
		{.word = "explain",
			.page = "/routes/explain",
			.takes = "ftmpaHT",
			.needs = "ft",
			.report = routes_explain},
	};
	return question_main(argc, argv, routes_usage, kinds, ARRAY_LEN(kinds));
}
