/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain redirect`: its options, and each verb from beginning to end. */
#include "redirect/redirect.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/usage.h"
#include "check.h"
#include "show.h"
#include "source.h"
#include "standing.h"
#include "tool.h"
#include "up.h"
#include "watch.h"
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COMMAND_OK = 0, COMMAND_PROBLEM = 1 };

struct command {
	const char *verb, *conf_path, *run_dir, *backend, *output;
	bool dry_run;
	uint64_t drain_ms, confirm_s, interval_ms;
};

static const char command_usage[] =
	"The capture rules of this machine, for iptables and ip6tables.\n\n"
	"usage: ringmain redirect up|down|show|watch [OPTION...]\n\n"
	"  up     put the capture rules in, or bring those in place up to the configuration\n"
	"  down   drain captured connections and take every rule out; needs no configuration\n"
	"  show   what is captured, and whether the kernel's rules are the wanted ones\n"
	"  watch  stay, notice other programs' changes, mend them or report them\n"
	"\n"
	"  -c, --config FILE        the node's configuration (" CONF_PATH_DEFAULT ")\n"
	"      --backend NAME       auto (the host's iptables), nft or legacy\n"
	"      --dry-run            up: print the files for iptables-restore, change nothing\n"
	"      --confirm SECONDS    up: take the rules out again unless Enter is pressed in time\n"
	"      --drain-timeout TIME down: how long to wait for captured connections (30s)\n"
	"      --now                down: end captured connections at once\n"
	"      --run-dir DIRECTORY  down: where `up` left its notes (" STANDING_RUN_DIR_DEFAULT
	")\n"
	"      --interval TIME      watch: how often to look (2s)\n"
	"  -o, --output json        show: for programs\n\n"
	"Exit status: 0 all is well, 1 a problem was found, 2 wrong usage.\n";

/* "30", "30s", "500ms", "2m"; at most an hour. */
static bool command_time(const char *text, uint64_t *ret_ms)
{
	struct str s = str_of(text);
	uint64_t number, unit = 1000;
	size_t digits = strspn(text, "0123456789");
	const char *suffix = text + digits;
	if (strcmp(suffix, "ms") == 0)
		unit = 1;
	else if (strcmp(suffix, "m") == 0)
		unit = 60000;
	else if (*suffix && strcmp(suffix, "s") != 0)
		return false;
	s.len = digits;
	if (!str_to_u64(s, &number) || number > 3600000 / unit)
		return false;
	*ret_ms = number * unit;
	return true;
}

enum {
	OPTION_BACKEND = 256,
	OPTION_DRY_RUN,
	OPTION_CONFIRM,
	OPTION_DRAIN,
	OPTION_NOW,
	OPTION_RUN_DIR,
	OPTION_INTERVAL
};

static const struct option command_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{"backend", required_argument, NULL, OPTION_BACKEND},
	{"dry-run", no_argument, NULL, OPTION_DRY_RUN},
	{"confirm", required_argument, NULL, OPTION_CONFIRM},
	{"drain-timeout", required_argument, NULL, OPTION_DRAIN},
	{"now", no_argument, NULL, OPTION_NOW},
	{"run-dir", required_argument, NULL, OPTION_RUN_DIR},
	{"interval", required_argument, NULL, OPTION_INTERVAL},
	{0},
};

/* NULL, or what the option takes instead; "" when getopt has said what is wrong. */
static const char *command_option(struct command *c, int option)
{
	uint64_t ms;
	switch (option) {
	case 'c':
		c->conf_path = optarg;
		return NULL;
	case 'o':
		c->output = optarg;
		return strcmp(optarg, "json") == 0 ? NULL : "--output: only json";
	case OPTION_BACKEND:
		c->backend = optarg;
		return NULL;
	case OPTION_DRY_RUN:
		c->dry_run = true;
		return NULL;
	case OPTION_CONFIRM:
		if (!command_time(optarg, &ms) || ms < 1000)
			return "--confirm: seconds, 1 to 3600";
		c->confirm_s = ms / 1000;
		return NULL;
	case OPTION_DRAIN:
		return command_time(optarg, &c->drain_ms)
			       ? NULL
			       : "--drain-timeout: a time such as 30s or 2m";
	case OPTION_NOW:
		c->drain_ms = 0;
		return NULL;
	case OPTION_INTERVAL:
		return command_time(optarg, &c->interval_ms) && c->interval_ms >= 100
			       ? NULL
			       : "--interval: a time such as 2s, at least 100ms";
	case OPTION_RUN_DIR:
		c->run_dir = optarg;
		return NULL;
	default:
		return "";
	}
}

/* False: *ret_status is to be left with, all is said. */
static bool command_parse(struct command *c, int argc, char **argv, int *ret_status)
{
	int option;
	optind = 1;
	*ret_status = COMMAND_OK;
	while ((option = getopt_long(argc, argv, "c:o:h", command_options, NULL)) != -1) {
		if (option == 'h') {
			fputs(command_usage, stdout);
			return false;
		}
		const char *wrong = command_option(c, option);
		if (!wrong)
			continue;
		*ret_status = *wrong ? usage_wrong(argv[0], "%s", wrong) : usage_more(argv[0]);
		return false;
	}
	if (optind == argc)
		*ret_status = usage_wrong(argv[0], "up, down, show or watch?");
	else if (optind < argc - 1)
		*ret_status = usage_wrong(argv[0], "an argument too many");
	else
		c->verb = argv[optind];
	return c->verb != NULL;
}

static int command_failed(const struct err *err)
{
	log_error("redirect", "%s", err->text);
	return COMMAND_PROBLEM;
}

/* Two back ends are two rule sets that both apply: ours must stand in one of them only. */
static void command_look_at_other(const struct tool *t)
{
	struct tool other;
	struct err err;
	if (!tool_other(t, &other))
		return;
	for (enum ip_version v = 0; v < tool_version_count(&other); v++) {
		struct live live;
		if (tool_read(&other, v, &live, &err) < 0)
			continue;
		if (live.foreign_rule_count > 0)
			log_warning("redirect",
				"%s holds %u rules of other programs besides those of %s; both "
				"apply. Use "
				"one back end on a host (update-alternatives --config iptables)",
				other.save[v], live.foreign_rule_count, t->save[v]);
		bool moved = !live_absent(&live);
		live_done(&live);
		if (!moved)
			continue;
		log_warning("redirect", "rules of ringmain stood in %s too; taking them out there",
			other.save[v]);
		if (down_remove(&other, &err) < 0)
			log_warning("redirect", "%s", err.text);
	}
}

static int command_take_down(
	const struct command *c, const struct tool *t, const char *run_dir, uint64_t drain_ms)
{
	struct err err;
	struct tool other;
	bool restore = false;
	/* Without its directory there are no notes; the rules can go all the same. */
	int lock = access(run_dir, F_OK) == 0 ? standing_lock(run_dir, true, &err) : -ENOENT;
	if (lock >= 0 && standing_lower(run_dir, &restore, &err) < 0)
		log_warning("redirect", "%s", err.text);
	int r = down_apply(t, drain_ms, &err);
	int other_r = DOWN_NOTHING;
	if (r >= 0 && strcmp(c->backend, "auto") == 0 && tool_other(t, &other)) {
		other_r = down_apply(&other, drain_ms, &err);
		r = other_r < 0 ? other_r : r;
	}
	if (r >= 0 && restore && standing_restore(&err) < 0)
		log_warning("redirect", "%s", err.text);
	if (lock >= 0)
		close(lock);
	if (r < 0)
		return command_failed(&err);
	puts(r == DOWN_REMOVED || other_r == DOWN_REMOVED ? "rules removed" : "no rules to remove");
	return COMMAND_OK;
}

/* The way back when the rules cut the operator off: no Enter, no rules. A lost terminal reads as
 * its end, and its hang-up signal is ignored. */
static int command_confirm(const struct command *c, const struct tool *t, const char *run_dir)
{
	uint64_t end_ns = clock_monotonic_ns() + c->confirm_s * CLOCK_S;
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	printf("rules are in place; press Enter within %llu s to keep them\n",
		(unsigned long long)c->confirm_s);
	fflush(stdout);
	struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
	char answer;
	if (poll(&ready, 1, (int)c->confirm_s * 1000) > 0 && read(STDIN_FILENO, &answer, 1) == 1)
		return COMMAND_OK;
	/* The end of the input is no answer, and no reason to hurry. */
	while (clock_monotonic_ns() < end_ns)
		poll(NULL, 0, 200);
	log_warning("redirect", "not confirmed: taking the rules out again");
	command_take_down(c, t, run_dir, 0);
	return COMMAND_PROBLEM;
}

/* A first installation that failed leaves no notes behind either. */
static void command_forget(const struct source *s)
{
	struct err err;
	bool restore;
	int r = standing_lower(s->run_dir, &restore, &err);
	if (r == 0 && restore)
		r = standing_restore(&err);
	if (r < 0)
		log_warning("redirect", "%s", err.text);
}

static int command_install(struct source *s, const struct tool *t, struct err *err)
{
	int lock = standing_lock(s->run_dir, true, err);
	if (lock < 0)
		return lock;
	bool first = !standing_is_raised(s->run_dir);
	int r = capture_give_marks(&s->capture, s->marks_path, true, err);
	if (r == 0)
		r = standing_raise(s->run_dir, err);
	if (r == 0)
		r = up_apply(t, &s->capture, true, err);
	if (r == 0)
		command_look_at_other(t);
	else if (first)
		command_forget(s);
	close(lock);
	return r;
}

static int command_up(const struct command *c, const struct tool *t)
{
	struct source source;
	struct err err;
	if (source_init(&source, c->conf_path, &err) < 0)
		return command_failed(&err);
	if (!t->ipv6)
		log_warning("redirect", "this kernel has no IPv6; only IPv4 is captured");
	int r, status = COMMAND_OK;
	if (c->dry_run) {
		r = capture_give_marks(&source.capture, source.marks_path, false, &err);
		if (r == 0)
			r = up_print(&source.capture, t->ipv6, &err);
	} else {
		r = command_install(&source, t, &err);
	}
	if (r < 0)
		status = command_failed(&err);
	else if (!c->dry_run && c->confirm_s > 0)
		status = command_confirm(c, t, source.run_dir);
	source_done(&source);
	return status;
}

static int command_down(const struct command *c, const struct tool *t)
{
	const char *run_dir = c->run_dir ? c->run_dir : STANDING_RUN_DIR_DEFAULT;
	struct source source;
	struct err err;
	/* Only a file that was named is read, and only for its run_dir. */
	if (!c->conf_path || c->run_dir)
		return command_take_down(c, t, run_dir, c->drain_ms);
	if (source_init(&source, c->conf_path, &err) < 0) {
		log_warning("redirect", "%s; going on without it", err.text);
		return command_take_down(c, t, run_dir, c->drain_ms);
	}
	int status = command_take_down(c, t, source.run_dir, c->drain_ms);
	source_done(&source);
	return status;
}

static int command_show(const struct command *c, const struct tool *t)
{
	struct live live[IP_VERSION_COUNT];
	struct source source;
	struct err err;
	if (source_init(&source, c->conf_path, &err) < 0)
		return command_failed(&err);
	int r = capture_give_marks(&source.capture, source.marks_path, false, &err);
	int outcome = r < 0 ? r : check_rules(t, &source.capture, live, &err);
	if (outcome >= 0) {
		const char *detail = outcome == CHECK_IN_PLACE ? "" : err.text;
		if (c->output)
			show_json(&source, t, live, outcome, detail);
		else
			show_table(&source, t, live, outcome, detail);
		for (enum ip_version v = 0; v < IP_VERSION_COUNT; v++)
			live_done(&live[v]);
	}
	source_done(&source);
	if (outcome < 0)
		return command_failed(&err);
	return outcome == CHECK_IN_PLACE ? COMMAND_OK : COMMAND_PROBLEM;
}

static int command_watch(const struct command *c, const struct tool *t)
{
	struct err err;
	return watch_run(c->conf_path, t, c->interval_ms, &err) < 0 ? command_failed(&err)
								    : COMMAND_OK;
}

static const struct command_verb {
	const char *name;
	int (*run)(const struct command *c, const struct tool *t);
	bool needs_conf;
} command_verbs[] = {
	{"up", command_up, true},
	{"down", command_down, false},
	{"show", command_show, true},
	{"watch", command_watch, true},
};

int redirect_main(int argc, char **argv)
{
	struct command c = {.backend = "auto", .drain_ms = 30000, .interval_ms = 2000};
	struct tool tool;
	struct err err;
	int status;
	if (!command_parse(&c, argc, argv, &status))
		return status;
	for (size_t i = 0; i < ARRAY_LEN(command_verbs); i++) {
		const struct command_verb *verb = &command_verbs[i];
		if (strcmp(c.verb, verb->name) != 0)
			continue;
		if (tool_init(&tool, c.backend, &err) < 0)
			return usage_wrong(argv[0], "--backend: %s", err.text);
		if (verb->needs_conf && !c.conf_path)
			c.conf_path = CONF_PATH_DEFAULT;
		return verb->run(&c, &tool);
	}
	return usage_wrong(argv[0], "up, down, show or watch, not \"%s\"", c.verb);
}
