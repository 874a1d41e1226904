/* SPDX-License-Identifier: Apache-2.0 */
#include "rollout_line.h"

#include "base/str.h"
#include "base/usage.h"
#include "mesh/identity.h"
#include "state/object.h"
#include <getopt.h>
#include <stdio.h>

static const char line_usage[] =
	"Moves the calls of a service from one version to another, step by step, on all machines.\n"
	"Each step is judged by what callers see of both versions: it goes on by itself, or all "
	"calls go\n"
	"back to the old version at once, and it says why.\n"
	"\n"
	"usage: ringmain rollout start SERVICE --to VERSION [OPTION...]\n"
	"       ringmain rollout status [SERVICE] [--watch] [-o json]\n"
	"       ringmain rollout list [-o json]\n"
	"       ringmain rollout pause|resume|promote|abort SERVICE [--why TEXT]\n"
	"\n"
	"  start    --to V           the version that the calls come to\n"
	"           --from V         the one that they leave (the only other one)\n"
	"           --steps LIST     percent of the calls, one step after the other "
	"(1,5,25,50,100);\n"
	"                            100 alone is blue-green: all at once, and back at once\n"
	"           --every TIME     a step takes so long at least (60s)\n"
	"           --success P      so many percent of its calls must be served (99); 0: not "
	"asked\n"
	"           --p99 TIME       one of a hundred may take longer, such as 300ms (not asked)\n"
	"           --calls-min N    no step goes on with fewer calls of the new version (50)\n"
	"           --preview 'H: V' requests with this header get the new version, from now on; \n"
	"                            given several times, with all of them\n"
	"           --hold           nothing but the preview before `resume`\n"
	"  status   how far they are, what both versions are like, who carries it on, and why\n"
	"           --watch          again every two seconds, until it is over: 0 done, 1 rolled "
	"back\n"
	"  list     what there is\n"
	"  pause    stay at this step, whatever the figures\n"
	"  resume   go on\n"
	"  promote  all calls to the new version, at once\n"
	"  abort    all calls to the old version, at once\n"
	"\n"
	"  --dry-run          check, tell what would be changed, write nothing\n"
	"  --why TEXT         why, for the history: one line\n"
	"  -o, --output json  for programs (table)\n"
	"  -c, --config FILE  the operator's file; see ringmain apply --help\n"
	"\n"
	"A rollout that is over keeps all calls at one version until the next `start`, or until\n"
	"`ringmain delete rollout/SERVICE` lets them go to all versions alike.\n"
	"\n"
	"Exit status: 0 done or shown, 1 refused or not possible, 2 wrong usage.\n";

static const struct {
	const char *word;
	enum rollout_verb verb;
	const char *takes; /* letters of line_options */
} line_verbs[] = {
	{"start", ROLLOUT_VERB_START, "tfSEUPMVHDWoc"},
	{"status", ROLLOUT_VERB_STATUS, "woc"},
	{"list", ROLLOUT_VERB_LIST, "oc"},
	{"pause", ROLLOUT_VERB_PAUSE, "DWoc"},
	{"resume", ROLLOUT_VERB_RESUME, "DWoc"},
	{"promote", ROLLOUT_VERB_PROMOTE, "DWoc"},
	{"abort", ROLLOUT_VERB_ABORT, "DWoc"},
};

static const struct option line_options[] = {
	{"to", required_argument, NULL, 't'},
	{"from", required_argument, NULL, 'f'},
	{"steps", required_argument, NULL, 'S'},
	{"every", required_argument, NULL, 'E'},
	{"success", required_argument, NULL, 'U'},
	{"p99", required_argument, NULL, 'P'},
	{"calls-min", required_argument, NULL, 'M'},
	{"preview", required_argument, NULL, 'V'},
	{"hold", no_argument, NULL, 'H'},
	{"watch", no_argument, NULL, 'w'},
	{"dry-run", no_argument, NULL, 'D'},
	{"why", required_argument, NULL, 'W'},
	{"output", required_argument, NULL, 'o'},
	{"config", required_argument, NULL, 'c'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static const char *line_option_name(int letter)
{
	const struct option *o = line_options;
	while (o->val != letter)
		o++;
	return o->name;
}

/* Where an option's word goes; NULL: it has none, or more is to be done. */
static const char **line_word(struct rollout_line *l, int letter)
{
	switch (letter) {
	case 't':
		return &l->to;
	case 'f':
		return &l->from;
	case 'S':
		return &l->steps;
	case 'E':
		return &l->every;
	case 'U':
		return &l->success;
	case 'P':
		return &l->p99;
	case 'M':
		return &l->calls_min;
	case 'W':
		return &l->why;
	case 'c':
		return &l->conf_path;
	default:
		return NULL;
	}
}

static int line_take(struct rollout_line *l, int letter)
{
	const char **word = line_word(l, letter);
	if (word)
		*word = optarg;
	if (letter == 'W' && !object_line_valid(str_of(optarg)))
		return usage_wrong(l->name, "--why: one line, at most %d bytes", OBJECT_LINE_MAX);
	l->hold = l->hold || letter == 'H';
	l->watch = l->watch || letter == 'w';
	l->dry_run = l->dry_run || letter == 'D';
	if (letter == 'o' && strcmp(optarg, "json") == 0)
		l->json = true;
	else if (letter == 'o' && strcmp(optarg, "table") != 0)
		return usage_wrong(l->name, "-o: table or json, not \"%s\"", optarg);
	if (letter != 'V')
		return 0;
	if (l->preview_count == ROLLOUT_LINE_PREVIEWS_MAX)
		return usage_wrong(l->name, "--preview: more than %d", ROLLOUT_LINE_PREVIEWS_MAX);
	l->previews[l->preview_count++] = optarg;
	return 0;
}

static int line_check(const struct rollout_line *l, int argc, char **argv)
{
	bool is_for_all = l->verb == ROLLOUT_VERB_STATUS || l->verb == ROLLOUT_VERB_LIST;
	if (optind < argc)
		return usage_wrong(l->name, "an argument too many, \"%s\"", argv[optind]);
	if (!l->service && !is_for_all)
		return usage_wrong(l->name, "of which service?");
	/* It becomes part of keys of the store, whose length is bounded. */
	if (l->service && !identity_service_valid(str_of(l->service)))
		return usage_wrong(l->name,
			"\"%.100s\" is no service's name: at most %d of a-z, 0-9 and '-'",
			l->service, IDENTITY_SERVICE_MAX);
	if (l->verb == ROLLOUT_VERB_START && !l->to)
		return usage_wrong(l->name, "--to is missing: which version do the calls come to?");
	if (l->watch && l->json)
		return usage_wrong(l->name, "--watch is for people; ask again for JSON");
	return 0;
}

static int line_read_options(struct rollout_line *l, const char *takes, int argc, char **argv)
{
	int letter;
	while ((letter = getopt_long(argc, argv, "o:c:h", line_options, NULL)) != -1) {
		if (letter == 'h') {
			fputs(line_usage, stdout);
			return 1;
		}
		if (letter == '?')
			return usage_more(argv[0]) + 1;
		if (!strchr(takes, letter))
			return usage_wrong(
				       l->name, "there is no --%s here", line_option_name(letter)) +
			       1;
		int wrong = line_take(l, letter);
		if (wrong)
			return wrong + 1;
	}
	if (optind < argc && l->verb != ROLLOUT_VERB_LIST)
		l->service = argv[optind++];
	int wrong = line_check(l, argc, argv);
	return wrong ? wrong + 1 : 0;
}

int rollout_line_read(int argc, char **argv, struct rollout_line *ret_line)
{
	const char *word = argc > 1 ? argv[1] : "";
	*ret_line = (struct rollout_line){0};
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		fputs(line_usage, stdout);
		return 1;
	}
	for (size_t i = 0; i < sizeof(line_verbs) / sizeof(line_verbs[0]); i++) {
		if (strcmp(word, line_verbs[i].word) != 0)
			continue;
		ret_line->verb = line_verbs[i].verb;
		snprintf(ret_line->name, sizeof(ret_line->name), "%s %s", argv[0], word);
		optind = 2;
		return line_read_options(ret_line, line_verbs[i].takes, argc, argv);
	}
	return usage_wrong(argv[0], "start, status, list, pause, resume, promote or abort?") + 1;
}
