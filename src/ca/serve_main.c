/* SPDX-License-Identifier: Apache-2.0 */
/* `ringmain ca serve`: the process around the server.
 *
 *   RUN ──TERM or INT──▶ STOP ──all answered, or too late──▶ END
 *
 *   RUN   waits for: clients, signals; each second looks at what has changed on disk
 *   STOP  waits for: requests under way, for SERVE_STOP_NS; then cuts them
 *
 * It has no privilege to give up: its user owns the authority's directory and nothing else. */
#include "serve.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/usage.h"
#include "commands.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is done beside us, a revocation for instance, is taken up so soon. */
#define SERVE_TICK_NS (1 * CLOCK_S)
#define SERVE_STOP_NS (10 * CLOCK_S)
#define SERVE_FILES   4096 /* connections, listeners, files of the authority */
#define SERVE_SPARE   (SERVE_LISTENERS_MAX + 32) /* of them, for all but connections */

static const char serve_usage[] =
	"The authority as a server: gives certificates to the machines of its registration, by "
	"EST\n"
	"(RFC 7030) over TLS 1.3. Where it listens, and how long things hold, is said in "
	"DIR/ca.conf.\n"
	"HUP: reads the settings again; TERM: ends.\n"
	"\n"
	"usage: ringmain ca serve [--dir DIR] [--listen ADDRESS:PORT]... [--check]\n"
	"\n"
	"  --dir DIR              the authority's directory (" OPTIONS_DIR_DEFAULT ")\n"
	"  --listen ADDRESS:PORT  for one of several servers on a shared DIR: listen there, and "
	"not\n"
	"                         wherever ca.conf says, which the certificate is for all the "
	"same\n"
	"  --check                say whether DIR could be served, and why not\n";

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
	uint64_t stop_ns;		    /* when those that are left are cut */
	struct err health_why, refresh_why; /* as last logged; "": it went well */
};

/* --- taking up what has changed --- */

/* A text is logged when it is another than the last. */
static bool serve_is_news(struct err *known, int r, const struct err *err)
{
	struct err now = r == 0 ? (struct err){""} : *err;
	bool is_news = strcmp(known->text, now.text) != 0;
	*known = now;
	return is_news;
}

static void serve_run_refresh(struct serve_run *run)
{
	struct err err = {""};
	int r = authority_health(run->place.authority, options_now(), &err);
	if (serve_is_news(&run->health_why, r, &err)) {
		if (r < 0)
			log_error("ca", "%s", err.text);
		else if (r > 0)
			log_warning("ca", "%s", err.text);
		else
			log_info("ca", "the directory is well again");
	}
	bool was_broken = r < 0;
	r = serve_place_refresh(&run->place, &run->serve, options_now(), &err);
	if (serve_is_news(&run->refresh_why, r, &err) && r < 0 && !was_broken)
		log_error("ca", "%s; going on with what was read before", err.text);
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
	if (run->state == SERVE_RUN)
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

/* So few connections that the authority can always open its files: what it cannot open, it cannot
 * issue from. */
static uint32_t serve_run_conn_max(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= SERVE_CONN_MAX + SERVE_SPARE)
		return SERVE_CONN_MAX;
	uint32_t count =
		files.rlim_cur > SERVE_SPARE ? (uint32_t)(files.rlim_cur - SERVE_SPARE) : 1;
	log_warning("ca", "only %llu files may be open (ulimit -Hn): at most %u connections",
		(unsigned long long)files.rlim_cur, count);
	return count;
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
	const struct ring_limits limits = {.entries = 256,
		.completions = 4096,
		.block_bytes = TLS_WIRE_BYTES_MIN,
		.block_count = 128};
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
	run->serve.conn_max = serve_run_conn_max();
	task_init(&run->signal_task, SERVE_RUN_SIGNALS);
	task_init(&run->tick_task, SERVE_RUN_TICK);
	op_init(&run->signal_poll, &run->signal_task);
	timer_init(&run->tick, &run->tick_task);
	int r = serve_place_refresh(&run->place, &run->serve, options_now(), err);
	if (r == 0)
		r = serve_place_listen(&run->place, &run->serve, err);
	if (r < 0)
		return r;
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

static bool serve_listen_option(struct serve_place *p, const char *text)
{
	struct address *a = &p->listen[p->listen_count];
	if (p->listen_count == SERVE_LISTENERS_MAX || !address_port_parse(str_of(text), a) ||
		a->port == 0)
		return false;
	p->listen_count++;
	return true;
}

static int serve_check(const struct options *o, struct serve_run *run)
{
	struct err err;
	int r = authority_health(run->place.authority, options_now(), &err);
	if (r < 0)
		return options_failed(o, &err);
	printf("%s: can be served: the authority of %s\n", options_dir(o), run->place.trust_domain);
	if (r > 0)
		printf("%s\n", err.text);
	return 0;
}

static int serve_main(const struct options *o)
{
	static struct serve_run run; /* one per process; static only because it is large */
	struct err err;
	for (uint32_t i = 0; i < o->listen_count; i++) {
		if (!serve_listen_option(&run.place, o->listen[i]))
			return usage_wrong(o->command,
				"--listen: an address and a port, such as 10.77.0.5:8443; not "
				"\"%s\"",
				o->listen[i]);
	}
	serve_confine();
	if (serve_place_open(&run.place, options_dir(o), options_now(), &err) < 0)
		return options_failed(o, &err);
	int status = 0;
	if (options_value(o, OPTIONS_CHECK))
		status = serve_check(o, &run);
	else if (serve_run(&run, &err) < 0)
		status = options_failed(o, &err);
	serve_place_done(&run.place);
	return status;
}

const struct options_command command_serve = {.name = "serve",
	.usage = serve_usage,
	.takes = OPTIONS_BIT(DIR) | OPTIONS_BIT(LISTEN) | OPTIONS_BIT(CHECK),
	.run = serve_main};
