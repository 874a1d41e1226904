/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/limits.h"

#include "conf/conf.h"
#include "question.h"
#include "show.h"

static const char limits_usage[] =
	"Asks the running proxy about the limits in force: what they let through, and what they\n"
	"have refused here. A service's own machines count, each for itself.\n"
	"\n"
	"usage: ringmain limits list [SERVICE] [options]\n"
	"\n"
	"  -c, --config FILE  the configuration, for its admin socket (" CONF_PATH_DEFAULT ")\n"
	"  --socket PATH      the admin socket itself\n"
	"  -o, --output json  for programs\n"
	"\n"
	"Exit status: 0; 1 the proxy cannot be asked; 2 wrong usage.\n";

static int limits_list(FILE *out, const struct json_tree *limits)
{
	if (out)
		show_limits(out, limits);
	return 0;
}

int cli_limits_main(int argc, char **argv)
{
	static const struct question_kind list = {
		.word = "list", .page = "/limits", .subject = "service", .report = limits_list};
	return question_main(argc, argv, limits_usage, &list, 1);
}
