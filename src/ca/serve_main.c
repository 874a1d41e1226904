/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain ca serve`: the process around the server.
 *
 *   RUN ──TERM or INT──▶ STOP ──all answered, or too late──▶ END
 *
 *   RUN   waits for: clients, signals; once in a while looks at what has changed on disk
 *   STOP  waits for: requests under way, for SERVE_STOP_NS; then cuts them
 *
 * It has no privilege to give up: its user owns the authority's directory and nothing else. */
#include "serve.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/usage.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVE_TICK_NS	 (1 * CLOCK_S)
#define SERVE_REFRESH_NS (5 * CLOCK_S) /* a revocation made beside us is taken up so soon */
#define SERVE_STOP_NS	 (10 * CLOCK_S)
#define SERVE_FILES	 4096 /* connections, listeners, files of the authority */

static const char serve_usage[] =
	"The authority as a server: gives certificates to the machines of its registration, by "
	"EST\n"
	"(RFC 7030) over TLS 1.3. Where it listens, and how long things hold, is said in "
	"DIR/ca.conf.\n"
	"Several of them may serve one directory. HUP: reads the settings again; TERM: ends.\n"
	"\n"
	"usage: ringmain ca serve --dir DIR [--check]\n"
	"\n"
	"  --dir DIR  the authority's directory\n"
	"  --check    say whether DIR could be served, and why not\n";

enum serve_run_state { SERVE_RUN, SERVE_STOP, SERVE_END };

enum serve_run_task { SERVE_RUN_SIGNALS = SERVE_TASK_OWNER, SERVE_RUN_TICK };

struct serve_run {
	enum serve_run_state state;
	struct loop loop;
	struct serve serve;
	struct serve_place place;
	struct notify notify;
	struct task signal_task, tick_task;
	struct op signal_poll;
	struct timer tick;
	int signal_fd;
	uint64_t refresh_ns, stop_ns; /* when */
	struct err refresh_why;	      /* as last logged; "": it went well */
};

/* --- taking up what has changed --- */

static int64_t serve_now_s(void)
{
	return (int64_t)(clock_wall_ns() / CLOCK_S);
}

static void serve_run_refresh(struct serve_run *run)
{
	struct err err = {""};
	run->refresh_ns = run->loop.now_ns + SERVE_REFRESH_NS;
	int r = serve_place_refresh(&run->place, &run->serve, serve_now_s(), &err);
	if (r < 0 && strcmp(err.text, run->refresh_why.text) != 0)
		log_error("ca", "%s; going on with what was read before", err.text);
	else if (r == 0 && run->refresh_why.text[0])
		log_info("ca", "the directory is well again");
	run->refresh_why = r < 0 ? err : (struct err){""};
}

static void serve_run_ready(const struct serve_run *run)
{
	struct address at[SERVE_LISTENERS_MAX];
	uint32_t count = serve_listening(&run->serve, at, SERVE_LISTENERS_MAX);
	for (uint32_t i = 0; i < count; i++) {
		char text[ADDRESS_TEXT_MAX];
		log_info("ca", "serving %s at %s", run->place.trust_domain,
			address_text(&at[i], text));
	}
	notify_send(&run->notify, "READY=1\nSTATUS=serving %s at %u addresses",
		run->place.trust_domain, count);
}

static void serve_run_reload(struct serve_run *run)
{
	struct err err;
	notify_reloading(&run->notify);
	serve_run_refresh(run);
	int r = serve_place_listen(&run->place, &run->serve, &err);
	if (r < 0)
		log_error("ca", "%s; listening where it did", err.text);
	serve_run_ready(run);
}

static void serve_run_stop(struct serve_run *run)
{
	if (run->state != SERVE_RUN)
		return;
	run->state = SERVE_STOP;
	run->stop_ns = run->loop.now_ns + SERVE_STOP_NS;
	notify_send(&run->notify, "STOPPING=1");
	log_info("ca", "ending: requests under way are answered");
	serve_close(&run->serve);
}

/* --- its tasks --- */

static void serve_run_step_signals(struct serve_run *run)
{
	struct signalfd_siginfo signal_read;
	run->signal_poll.fresh = false;
	while (read(run->signal_fd, &signal_read, sizeof(signal_read)) == sizeof(signal_read)) {
		if (signal_read.ssi_signo != SIGHUP)
			serve_run_stop(run);
		else if (run->state == SERVE_RUN)
			serve_run_reload(run);
	}
	ring_poll(&run->loop.ring, &run->signal_poll, run->signal_fd);
}

static void serve_run_step_tick(struct serve_run *run)
{
	run->tick.fired = false;
	if (run->notify.watchdog_ns)
		notify_send(&run->notify, "WATCHDOG=1");
	if (run->state == SERVE_RUN && run->loop.now_ns >= run->refresh_ns)
		serve_run_refresh(run);
	if (run->state == SERVE_STOP && run->loop.now_ns >= run->stop_ns)
		serve_cut(&run->serve);
	timer_set(&run->loop, &run->tick, run->loop.now_ns + SERVE_TICK_NS);
}

static void serve_run_step(struct serve_run *run, struct task *t)
{
	if (t == &run->signal_task)
		serve_run_step_signals(run);
	else if (t == &run->tick_task)
		serve_run_step_tick(run);
	else
		serve_step(t);
}

static void serve_run_turns(struct serve_run *run)
{
	struct task *t;
	for (;;) {
		if (run->state == SERVE_STOP && serve_idle(&run->serve))
			run->state = SERVE_END;
		if (run->state == SERVE_END)
			return;
		loop_wait(&run->loop);
		while ((t = loop_next(&run->loop)))
			serve_run_step(run, t);
		while ((t = loop_dead(&run->loop)))
			serve_reap(t);
	}
}

/* --- start and end --- */

/* For life: no privilege by running a program, no memory in a core dump, no file for others. */
static void serve_confine(void)
{
	const struct rlimit none = {0, 0};
	struct rlimit files;
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)setrlimit(RLIMIT_CORE, &none);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < SERVE_FILES) {
		files.rlim_cur = files.rlim_max < SERVE_FILES ? files.rlim_max : SERVE_FILES;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	umask(077);
}

static int serve_run_signals(struct serve_run *run, struct err *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return run->signal_fd < 0 ? err_set(err, errno, "signalfd: %m") : 0;
}

static int serve_run_loop(struct serve_run *run, struct err *err)
{
	const struct ring_limits limits = {
		.entries = 256, .completions = 4096, .block_bytes = 16384, .block_count = 128};
	int r = loop_init(&run->loop, &limits, clock_monotonic_ns(), err);
	if (r < 0)
		return r;
	r = ring_enable(&run->loop.ring, err);
	if (r < 0)
		loop_done(&run->loop);
	return r;
}

/* The loop runs; what fails from here on ends with the process. */
static int serve_run_start(struct serve_run *run, struct err *err)
{
	serve_init(&run->serve, &run->loop);
	task_init(&run->signal_task, SERVE_RUN_SIGNALS);
	task_init(&run->tick_task, SERVE_RUN_TICK);
	op_init(&run->signal_poll, &run->signal_task);
	timer_init(&run->tick, &run->tick_task);
	int r = serve_place_refresh(&run->place, &run->serve, serve_now_s(), err);
	if (r == 0)
		r = serve_place_listen(&run->place, &run->serve, err);
	if (r < 0)
		return r;
	run->refresh_ns = run->loop.now_ns + SERVE_REFRESH_NS;
	timer_set(&run->loop, &run->tick, run->loop.now_ns + SERVE_TICK_NS);
	ring_poll(&run->loop.ring, &run->signal_poll, run->signal_fd);
	serve_run_ready(run);
	return 0;
}

static void serve_run_end(struct serve_run *run)
{
	timer_clear(&run->loop, &run->tick);
	ring_cancel(&run->loop.ring, &run->signal_poll);
	while (run->signal_poll.armed) {
		loop_wait(&run->loop);
		while (loop_next(&run->loop))
			;
	}
	serve_done(&run->serve);
	loop_done(&run->loop);
	close(run->signal_fd);
	notify_done(&run->notify);
}

static int serve_run(struct serve_run *run, struct err *err)
{
	int r = serve_run_signals(run, err);
	if (r == 0)
		r = serve_run_loop(run, err);
	if (r < 0)
		return r;
	notify_init(&run->notify);
	r = serve_run_start(run, err);
	if (r < 0) {
		serve_close(&run->serve);
		run->state = SERVE_STOP;
	}
	serve_run_turns(run);
	serve_run_end(run);
	return r;
}

/* --- the command line --- */

struct serve_options {
	const char *dir;
	bool check;
};

enum serve_option_letter { SERVE_OPTION_DIR = 'd', SERVE_OPTION_CHECK, SERVE_OPTION_HELP };

/* 0, or the exit status + 1 to leave with. */
static int serve_options_read(int argc, char **argv, struct serve_options *o)
{
	static const struct option table[] = {
		{"dir", required_argument, NULL, SERVE_OPTION_DIR},
		{"check", no_argument, NULL, SERVE_OPTION_CHECK},
		{"help", no_argument, NULL, SERVE_OPTION_HELP},
		{0},
	};
	optind = 1;
	for (;;) {
		switch (getopt_long(argc, argv, "", table, NULL)) {
		case SERVE_OPTION_DIR:
			o->dir = optarg;
			break;
		case SERVE_OPTION_CHECK:
			o->check = true;
			break;
		case SERVE_OPTION_HELP:
			fputs(serve_usage, stdout);
			return 1;
		case -1:
			if (optind < argc)
				return usage_wrong(argv[0], "an argument too many") + 1;
			if (!o->dir)
				return usage_wrong(argv[0], "serve needs --dir") + 1;
			return 0;
		default:
			return usage_more(argv[0]) + 1;
		}
	}
}

int serve_main(int argc, char **argv)
{
	static struct serve_run run; /* one per process; static only because it is large */
	struct serve_options options = {0};
	struct err err;
	int leave = serve_options_read(argc, argv, &options);
	if (leave)
		return leave - 1;
	serve_confine();
	int r = serve_place_open(&run.place, options.dir, serve_now_s(), &err);
	if (r == 0 && options.check)
		printf("%s: can be served: the authority of %s\n", options.dir,
			run.place.trust_domain);
	else if (r == 0)
		r = serve_run(&run, &err);
	serve_place_done(&run.place);
	if (r < 0) {
		log_error("ca", "%s", err.text);
		return 1;
	}
	return 0;
}
