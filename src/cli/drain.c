/* SPDX-License-Identifier: Apache-2.0 */
/* Asks for it once, and then looks again and again: whether it is done, whether the store has been
 * told for long enough that the others have seen it, whether anything is still in progress. Only
 * when all three hold is it safe to stop the workload without a failed request. */
#include "cli/drain.h"

#include "ask.h"
#include "base/clock.h"
#include "base/usage.h"
#include "conf/conf.h"
#include "json_tree.h"
#include "place.h"
#include "show.h"
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define DRAIN_TREE_MAX	  (512u << 20)
#define DRAIN_LOOK_NS	  (200 * CLOCK_MS)
#define DRAIN_AGAIN_NS	  (2 * CLOCK_S)			/* asked, and nothing came of it */
#define DRAIN_SEEN_NS	  (1 * CLOCK_S + DRAIN_LOOK_NS) /* others have heard within a second */
#define DRAIN_QUIET_LOOKS 3				/* not just between two requests */

static const char drain_usage[] =
	"Takes this machine's endpoints of a service, or all of them, out of the mesh, and waits "
	"until\n"
	"no other machine sends calls to them and none is in progress: then the workload may be "
	"stopped.\n"
	"It stays so, over restarts too, until it is undone.\n"
	"\n"
	"usage: ringmain drain [SERVICE] [--undo] [--timeout TIME] [-c FILE | --socket PATH]\n"
	"\n"
	"  --undo             put them back\n"
	"  --timeout TIME     how long to wait, such as 30s, 5m or 1h (1m); 0 does not wait\n"
	"  -c, --config FILE  the configuration, for its admin socket (" CONF_PATH_DEFAULT ")\n"
	"  --socket PATH      the admin socket itself\n"
	"\n"
	"`ringmain status` shows what is drained.\n"
	"\n"
	"Exit status: 0 safe to stop, or back; 1 not within that time, or it cannot be done; 2 "
	"wrong "
	"usage.\n";

struct drain {
	const char *conf_path, *socket_path, *service; /* NULL: all */
	bool undo, help;
	uint64_t timeout_ns;
	char name[80]; /* of what is drained, for messages */
	char said[256];
	uint64_t start_ns, asked_ns;
	uint64_t told_ns;     /* since when the store has been told, in one go; 0: it has not */
	uint32_t quiet_looks; /* in a row, in which nothing was in progress */
};

/* What one look at the status shows. */
struct drain_look {
	bool told;			   /* the store has it */
	uint32_t own_count, drained_count; /* endpoints asked about, and of these drained */
	int64_t serving;
	char failed[256]; /* why it was not done; "" */
};

/* --- the command line --- */

/* "30s", "5m", "1h", "250ms"; a number alone is in seconds. */
static bool drain_time(const char *word, uint64_t *ret_ns)
{
	static const struct {
		const char *unit;
		uint64_t ns;
	} units[] = {{"ms", CLOCK_MS}, {"s", CLOCK_S}, {"m", 60 * CLOCK_S}, {"h", 3600 * CLOCK_S},
		{"", CLOCK_S}};
	struct str digits = {word, strspn(word, "0123456789")};
	uint64_t number;
	if (!str_to_u64(digits, &number) || number > 1000000)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(word + digits.len, units[i].unit) == 0) {
			*ret_ns = number * units[i].ns;
			return true;
		}
	}
	return false;
}

static bool drain_service_valid(const char *word)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	size_t len = strlen(word);
	return len > 0 && len < 64 && strspn(word, letters) == len;
}

/* 0, or USAGE_WRONG when that has been said. */
static int drain_options_read(int argc, char **argv, struct drain *d)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
		{"socket", required_argument, NULL, 's'}, {"timeout", required_argument, NULL, 't'},
		{"undo", no_argument, NULL, 'u'}, {"help", no_argument, NULL, 'h'}, {0}};
	*d = (struct drain){.timeout_ns = 60 * CLOCK_S};
	int letter;
	optind = 1;
	while ((letter = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (letter == 'c')
			d->conf_path = optarg;
		else if (letter == 's')
			d->socket_path = optarg;
		else if (letter == 'u')
			d->undo = true;
		else if (letter == 'h')
			d->help = true;
		else if (letter != 't')
			return usage_more(argv[0]);
		else if (!drain_time(optarg, &d->timeout_ns))
			return usage_wrong(argv[0], "--timeout: 30s, 5m or 1h, not \"%s\"", optarg);
	}
	if (optind < argc)
		d->service = argv[optind++];
	if (optind < argc)
		return usage_wrong(argv[0], "one service at a time, or none for all");
	if (d->service && !drain_service_valid(d->service))
		return usage_wrong(argv[0], "\"%s\" is no service's name", d->service);
	return 0;
}

/* --- asking --- */

static bool drain_is_meant(const struct drain *d, struct str service)
{
	return !d->service || str_eq(service, str_of(d->service));
}

static void drain_read(const struct drain *d, const struct json_tree *status, struct drain_look *l)
{
	const struct json_tree *state = json_tree_get(status, "state");
	struct str failed = json_tree_text(state, "drain_failed");
	l->told = json_tree_true(state, "connected") && json_tree_true(state, "told");
	snprintf(l->failed, sizeof(l->failed), STR_FMT, STR_ARG(failed));
	for (const struct json_tree *e = json_tree_list(state, "own"); e; e = e->next) {
		if (!drain_is_meant(d, json_tree_text(e, "service")))
			continue;
		l->own_count++;
		l->drained_count += json_tree_true(e, "drained");
	}
	for (const struct json_tree *w = json_tree_list(status, "workloads"); w; w = w->next)
		if (drain_is_meant(d, json_tree_text(w, "service")))
			l->serving += json_tree_number(w, "serving");
}

static int drain_look(const struct drain *d, struct drain_look *ret_look, struct err *err)
{
	struct answer answer;
	struct arena arena;
	int r = ask(d->socket_path, "/status", &answer, err);
	if (r < 0)
		return r;
	*ret_look = (struct drain_look){0};
	arena_init(&arena, DRAIN_TREE_MAX);
	const struct json_tree *status = json_tree_read(&arena, answer.body);
	if (answer.status == 200 && status)
		drain_read(d, status, ret_look);
	else
		r = err_set(err, EPROTO, "the proxy's status cannot be read (%d)", answer.status);
	arena_done(&arena);
	answer_done(&answer);
	return r;
}

static int drain_ask(struct drain *d, struct err *err)
{
	char path[128];
	struct answer answer;
	snprintf(path, sizeof(path), "/endpoints/%s%s%s", d->undo ? "undrain" : "drain",
		d->service ? "?service=" : "", d->service ? d->service : "");
	int r = ask_for(d->socket_path, path, &answer, err);
	if (r < 0)
		return r;
	d->asked_ns = clock_monotonic_ns();
	if (answer.status != 202) {
		struct str text = str_trim(answer.body);
		while (text.len && text.at[text.len - 1] == '\n')
			text.len--;
		r = err_set(err, EINVAL, STR_FMT, STR_ARG(text));
	}
	answer_done(&answer);
	return r;
}

/* --- waiting --- */

/* On a terminal one line that changes; elsewhere a line for each change. */
static void drain_say(struct drain *d, const char *text)
{
	bool terminal = isatty(STDERR_FILENO);
	if (strcmp(d->said, text) == 0)
		return;
	snprintf(d->said, sizeof(d->said), "%s", text);
	if (terminal)
		fprintf(stderr, "\r\033[K%s", text);
	else if (text[0])
		fprintf(stderr, "%s\n", text);
	fflush(stderr);
}

static void drain_progress(struct drain *d, const struct drain_look *l)
{
	char text[sizeof(d->said)];
	if (l->drained_count < l->own_count || l->own_count == 0)
		snprintf(text, sizeof(text), "%s: asked for", d->name);
	else if (!l->told)
		snprintf(text, sizeof(text),
			"%s: drained, but the store cannot be told now: others go on sending calls",
			d->name);
	else if (l->serving > 0)
		snprintf(text, sizeof(text), "%s: drained; %lld in progress", d->name,
			(long long)l->serving);
	else
		snprintf(text, sizeof(text), "%s: drained; waiting until the others have seen it",
			d->name);
	drain_say(d, text);
}

static bool drain_done(struct drain *d, const struct drain_look *l, uint64_t now_ns)
{
	bool drained = l->own_count > 0 && l->drained_count == l->own_count;
	if (d->undo)
		return l->own_count > 0 && l->drained_count == 0;
	if (!drained || !l->told)
		d->told_ns = 0;
	else if (d->told_ns == 0)
		d->told_ns = now_ns;
	d->quiet_looks = l->serving == 0 ? d->quiet_looks + 1 : 0;
	return d->told_ns != 0 && now_ns - d->told_ns >= DRAIN_SEEN_NS &&
	       d->quiet_looks >= DRAIN_QUIET_LOOKS;
}

static int drain_succeed(struct drain *d, const struct drain_look *l)
{
	drain_say(d, "");
	if (d->undo)
		printf("%s: back in the mesh%s\n", d->name,
			l->told ? ""
				: ", but the store cannot be told now: others learn of it "
				  "when it can");
	else
		printf("%s: out of the mesh, and nothing is in progress: safe to stop\n", d->name);
	return 0;
}

static int drain_give_up(struct drain *d, const struct drain_look *l)
{
	char time[32];
	drain_say(d, "");
	show_duration((int64_t)(d->timeout_ns / CLOCK_S), time);
	if (d->undo || l->drained_count < l->own_count || l->own_count == 0)
		fprintf(stderr, "ringmain drain: %s: not done within %s%s%s\n", d->name, time,
			l->failed[0] ? ": " : "; the log says why", l->failed);
	else if (!l->told)
		fprintf(stderr,
			"ringmain drain: %s: drained here, but the store could not be told within "
			"%s: others still send calls\n",
			d->name, time);
	else
		fprintf(stderr,
			"ringmain drain: %s: out of the mesh, but after %s %lld request%s or "
			"connection%s in progress; stopping it now breaks %s\n",
			d->name, time, (long long)l->serving, l->serving == 1 ? "" : "s",
			l->serving == 1 ? " is" : "s are", l->serving == 1 ? "it" : "them");
	return 1;
}

static int drain_fail(struct drain *d, const struct err *err)
{
	drain_say(d, "");
	fprintf(stderr, "ringmain drain: %s\n", err->text);
	return 1;
}

/* A request to the state process may be lost when that is just being started: asked again. What the
 * status says of a failure may be about an earlier one until then. */
static int drain_wait(struct drain *d)
{
	const struct timespec pause = {.tv_nsec = DRAIN_LOOK_NS};
	for (;;) {
		struct drain_look l;
		struct err err;
		uint64_t now_ns = clock_monotonic_ns();
		if (drain_look(d, &l, &err) < 0)
			return drain_fail(d, &err);
		if (drain_done(d, &l, now_ns))
			return drain_succeed(d, &l);
		bool late = now_ns - d->asked_ns >= DRAIN_AGAIN_NS;
		bool todo = d->undo ? l.drained_count > 0 : l.drained_count < l.own_count;
		if (late && todo && l.failed[0])
			return drain_give_up(d, &l);
		if (late && (todo || l.own_count == 0) && drain_ask(d, &err) < 0)
			return drain_fail(d, &err);
		if (now_ns - d->start_ns >= d->timeout_ns)
			return drain_give_up(d, &l);
		if (!d->undo)
			drain_progress(d, &l);
		nanosleep(&pause, NULL);
	}
}

static int drain_run(struct drain *d)
{
	struct err err;
	if (d->service)
		snprintf(d->name, sizeof(d->name), "%s", d->service);
	else
		snprintf(d->name, sizeof(d->name), "all of this machine");
	d->start_ns = clock_monotonic_ns();
	if (drain_ask(d, &err) < 0)
		return drain_fail(d, &err);
	if (d->timeout_ns > 0)
		return drain_wait(d);
	printf("%s: asked for; `ringmain status` tells when it is done\n", d->name);
	return 0;
}

int cli_drain_main(int argc, char **argv)
{
	struct drain d;
	struct err err;
	char place[PATH_MAX];
	int wrong = drain_options_read(argc, argv, &d);
	if (wrong)
		return wrong;
	if (d.help) {
		fputs(drain_usage, stdout);
		return 0;
	}
	if (!d.socket_path) {
		if (place_admin_socket(d.conf_path, place, sizeof(place), &err) < 0)
			return drain_fail(&d, &err);
		d.socket_path = place;
	}
	return drain_run(&d);
}
