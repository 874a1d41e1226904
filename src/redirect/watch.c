/* SPDX-License-Identifier: Apache-2.0 */
/* Firewall services reload, and with it wipe rules that are not theirs; then workloads would talk
 * past the mesh without anybody noticing. The kernel's rules are compared every few seconds with
 * the wanted ones. `ringmain redirect down` takes the note away that the rules are to stand, and
 * this watch rests until `up` puts it back.
 *
 *   in place -> drifted -> mended -> in place      conf.drift = mend
 *   in place -> drifted -> in place                conf.drift = report, when somebody else mends it
 *   any -> absent                                  the note is gone
 *
 * Two programs that each insist on the first place in a chain would outbid each other for ever, so
 * after WATCH_MENDS_MAX mends within a minute this one pauses, and says so. */
#include "watch.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "check.h"
#include "conf/run_dir.h"
#include "standing.h"
#include "text.h"
#include "up.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define WATCH_MENDS_MAX 5
#define WATCH_MENDS_NS	(60 * CLOCK_S)

enum watch_state { WATCH_IN_PLACE, WATCH_DRIFTED, WATCH_MENDED, WATCH_ABSENT };

static const char *const watch_state_names[] = {
	[WATCH_IN_PLACE] = "in place",
	[WATCH_DRIFTED] = "drifted",
	[WATCH_MENDED] = "mended",
	[WATCH_ABSENT] = "absent",
};

struct watch {
	uint64_t interval_ms;
	const char *conf_path;
	const struct tool *tool;
	struct source source;
	enum watch_state state;
	uint64_t since_ns; /* wall time of the last change of state */
	uint64_t mended_count;
	uint64_t mended_ns[WATCH_MENDS_MAX]; /* a ring of the last mends, monotonic */
	struct err detail;		     /* of the last difference */
};

static void watch_move(struct watch *w, enum watch_state state, const char *detail)
{
	bool news = state != w->state || strcmp(detail, w->detail.text) != 0;
	if (state != w->state)
		w->since_ns = clock_wall_ns();
	w->state = state;
	err_set(&w->detail, 1, "%s", detail);
	if (!news)
		return;
	if (state == WATCH_IN_PLACE)
		log_info("redirect", "rules are in place");
	else
		log_warning("redirect", "rules are %s: %s", watch_state_names[state], detail);
}

/* Readers must not mistake an old file for a running watch: last_check moves with every look. */
static void watch_write(const struct watch *w)
{
	char path[PATH_MAX], since[25], now[25];
	struct json json;
	struct text text;
	struct err err;
	clock_format(w->since_ns, since);
	clock_format(clock_wall_ns(), now);
	json_init(&json, 16384);
	json_open(&json, '{');
	json_key(&json, "state");
	json_str(&json, str_of(watch_state_names[w->state]));
	json_key(&json, "since");
	json_str(&json, str_of(since));
	json_key(&json, "last_check");
	json_str(&json, str_of(now));
	json_key(&json, "mended_count");
	json_u64(&json, w->mended_count);
	json_key(&json, "detail");
	json_str(&json, str_of(w->detail.text));
	json_close(&json, '}');
	json_newline(&json);

	text_init(&text);
	text_add_bytes(&text, json.text ? json.text : "", json.len);
	snprintf(path, sizeof(path), "%s/" RUN_DIR_REDIRECT, w->source.run_dir);
	if (text_write_file(&text, path, &err) < 0)
		log_warning("redirect", "%s", err.text);
	text_done(&text);
	json_done(&json);
}

static bool watch_may_mend(const struct watch *w)
{
	uint64_t oldest = w->mended_ns[w->mended_count % WATCH_MENDS_MAX];
	return oldest == 0 || clock_monotonic_ns() - oldest > WATCH_MENDS_NS;
}

static int watch_install(struct watch *w, bool spare_earlier, struct err *err)
{
	int r = capture_give_marks(&w->source.capture, w->source.marks_path, true, err);
	if (r == 0)
		r = standing_raise(w->source.run_dir, err);
	if (r == 0)
		r = up_apply(w->tool, &w->source.capture, spare_earlier, err);
	return r;
}

static void watch_mend(struct watch *w, const char *difference)
{
	char detail[sizeof(w->detail.text)];
	struct err err;
	if (!watch_may_mend(w)) {
		snprintf(detail, sizeof(detail),
			"%.400s; mended %d times within a minute, so this is left for a while: "
			"find "
			"the program that changes it",
			difference, WATCH_MENDS_MAX);
		watch_move(w, WATCH_DRIFTED, detail);
		return;
	}
	w->mended_ns[w->mended_count % WATCH_MENDS_MAX] = clock_monotonic_ns();
	/* What was opened while the rules were gone went past the mesh: the guard ends it. */
	int r = watch_install(w, false, &err);
	if (r < 0) {
		snprintf(detail, sizeof(detail), "%.200s; mending failed: %.250s", difference,
			err.text);
		watch_move(w, WATCH_DRIFTED, detail);
		return;
	}
	w->mended_count++;
	/* A second mend of the same difference is an event of its own. */
	w->state = WATCH_DRIFTED;
	watch_move(w, WATCH_MENDED, difference);
}

static void watch_compare(struct watch *w)
{
	struct live live[IP_VERSION_COUNT];
	struct err difference;
	int outcome = check_rules(w->tool, &w->source.capture, live, &difference);
	if (outcome < 0) {
		watch_move(w, WATCH_DRIFTED, difference.text);
		return;
	}
	for (enum ip_version v = 0; v < IP_VERSION_COUNT; v++)
		live_done(&live[v]);
	if (!standing_is_raised(w->source.run_dir))
		watch_move(
			w, WATCH_ABSENT, "not put up, or taken down by `ringmain redirect down`");
	else if (outcome == CHECK_IN_PLACE)
		watch_move(w, WATCH_IN_PLACE, "");
	else if (w->source.conf->drift == CONF_DRIFT_MEND)
		watch_mend(w, difference.text);
	else
		watch_move(w, WATCH_DRIFTED, difference.text);
}

/* Skips its turn while up or down is at work: what they leave is looked at next time. */
static void watch_look(struct watch *w)
{
	struct err err;
	int lock = standing_lock(w->source.run_dir, false, &err);
	if (lock == -EBUSY)
		return;
	if (lock < 0) {
		watch_move(w, WATCH_DRIFTED, err.text);
		return;
	}
	watch_compare(w);
	watch_write(w);
	close(lock);
}

/* The old configuration stays when the new one cannot be used. */
static void watch_reload(struct watch *w)
{
	struct source source;
	struct err err;
	int r = source_init(&source, w->conf_path, &err);
	if (r < 0) {
		log_error("redirect", "%s", err.text);
		return;
	}
	if (strcmp(source.run_dir, w->source.run_dir) != 0) {
		source_done(&source);
		log_error("redirect", "node.run_dir changed; restart the watch for that");
		return;
	}
	source_done(&w->source);
	w->source = source;
	int lock = standing_lock(w->source.run_dir, true, &err);
	r = lock < 0 ? lock
		     : capture_give_marks(&w->source.capture, w->source.marks_path, false, &err);
	if (r == 0 && standing_is_raised(w->source.run_dir))
		r = watch_install(w, true, &err);
	if (r < 0)
		log_error("redirect", "new configuration: %s", err.text);
	else
		log_info("redirect", "configuration read again");
	if (lock >= 0)
		close(lock);
}

static int watch_signals(struct err *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd >= 0 ? fd : err_set(err, errno, "no signal descriptor: %s", strerror(errno));
}

static void watch_loop(struct watch *w, int signal_fd)
{
	for (;;) {
		watch_look(w);
		struct pollfd ready = {.fd = signal_fd, .events = POLLIN};
		struct signalfd_siginfo signal;
		if (poll(&ready, 1, (int)w->interval_ms) <= 0)
			continue;
		if (read(signal_fd, &signal, sizeof(signal)) != sizeof(signal))
			continue;
		if (signal.ssi_signo != SIGHUP)
			return;
		watch_reload(w);
	}
}

int watch_run(const char *conf_path, const struct tool *t, uint64_t interval_ms, struct err *err)
{
	struct watch w = {.interval_ms = interval_ms,
		.conf_path = conf_path,
		.tool = t,
		.state = WATCH_ABSENT,
		.since_ns = clock_wall_ns()};
	int signal_fd = watch_signals(err);
	if (signal_fd < 0)
		return signal_fd;
	int r = source_init(&w.source, conf_path, err);
	if (r == 0) {
		r = capture_give_marks(&w.source.capture, w.source.marks_path, false, err);
		if (r == 0)
			watch_loop(&w, signal_fd);
		source_done(&w.source);
	}
	close(signal_fd);
	return r;
}
