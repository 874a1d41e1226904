/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/certs.h"

#include "base/clock.h"
#include "conf/conf.h"
#include "question.h"
#include "show.h"

static const char certs_usage[] =
	"Asks the running proxy about certificates: of this machine's workloads and its own, when "
	"they end,\nwhen the next ones come and why not; whom it trusts, and who is revoked.\n"
	"\n"
	"usage: ringmain certs [-c FILE | --socket PATH] [-o table|json]\n"
	"\n"
	"  -c, --config FILE  the configuration, for its admin socket (" CONF_PATH_DEFAULT ")\n"
	"  --socket PATH      the admin socket itself\n"
	"  -o, --output json  for programs\n"
	"\n"
	"States: fresh; due, the next is being asked for; failing, which could not be had; ending, "
	"the "
	"same\nwith little time left; expired; revoked, which others refuse; missing.\n"
	"\n"
	"Exit status: 0 all is well, 1 a problem was found (marked ×), 2 wrong usage.\n";

static int certs_report(FILE *out, const struct json_tree *certs)
{
	const struct show_source source = {.status = certs, .now_s = clock_wall_ns() / CLOCK_S};
	int problem_count = out ? show_certs(out, &source) : show_certs_problems(&source);
	return problem_count ? 1 : 0;
}

int cli_certs_main(int argc, char **argv)
{
	static const struct question_kind whole = {.page = "/certs", .report = certs_report};
	return question_main(argc, argv, certs_usage, &whole, 1);
}
