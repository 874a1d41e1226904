/* SPDX-License-Identifier: Apache-2.0 */
/* The state process, as its parts know each other: the sync with the store, the checks of local
 * workloads, the certificates from an authority, what is asked of the world outside, and the line
 * to the keeper. One loop, in which
 * nothing is in a hurry; a program that a check runs, a store or an authority that stalls, or a
 * crash here costs no connection of anybody.
 *
 *   start-up   WIRE_START, WIRE_LEDGER, WIRE_SIGNER, with a store WIRE_DIRECTORY, and the first
 * WIRE_PLAN news       health -> sync; sync -> a picture for the proxy process, questions for the
 * keeper; certificates -> questions for the keeper, and how it stands, for the proxy process drain
 * this node leaves the mesh, then the process ends
 *
 * What cannot be said to the keeper now is said at the next tick; only the newest of it counts. */
#include "daemon/state_process.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/sandbox.h"
#include "state_private.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define STATE_TICK_MS 200

/* --- messages to the keeper --- */

struct wire_head state_head(enum wire_kind kind)
{
	return (struct wire_head){.magic = WIRE_MAGIC, .kind = (uint32_t)kind};
}

bool state_tell(struct state_process *s, const void *message, size_t len, int pass_fd)
{
	int r = channel_send(s->channel.fd, message, len, pass_fd);
	if (r < 0 && r != -EAGAIN)
		s->keeper_gone = true;
	return r == 0;
}

static void state_tell_refused(struct state_process *s, uint64_t generation, const char *text)
{
	struct wire_note note = {.head = state_head(WIRE_REFUSED),
		.wall_ns = clock_wall_ns(),
		.generation = generation};
	snprintf(note.text, sizeof(note.text), "%s", text);
	(void)state_tell(s, &note, sizeof(note), -1);
}

static void state_tell_ready(struct state_process *s, uint64_t generation)
{
	struct wire_ready ready = {.head = state_head(WIRE_READY), .generation = generation};
	(void)state_tell(s, &ready, sizeof(ready), -1);
}

bool state_ask_signature(
	struct state_process *s, struct wire_sign *m, const uint8_t *bytes, size_t len)
{
	if (len > sizeof(m->bytes) || s->signer.fd < 0)
		return false;
	m->head = state_head(WIRE_SIGN);
	m->len = (uint16_t)len;
	memcpy(m->bytes, bytes, len);
	return channel_send(s->signer.fd, m, sizeof(*m), -1) == 0;
}

/* --- plans --- */

struct state_plan {
	struct bundle bundle;
	struct conf *conf;
	char text[sizeof(((struct wire_note *)0)->text)]; /* why not */
};

static int state_parse(struct state_plan *p, uint64_t generation)
{
	struct conf_report report;
	struct snapshot *snapshot;
	conf_report_init(&report);
	int r = conf_parse(&p->bundle, NULL, generation, &p->conf, &snapshot, &report);
	if (r == 0)
		conf_snapshot_free(snapshot);
	else
		snprintf(p->text, sizeof(p->text), "%.*s", (int)report.text_len,
			report.text ? report.text : "");
	conf_report_done(&report);
	return r;
}

static int state_read_plan(struct state_plan *p, uint64_t generation, int fd)
{
	struct err err;
	*p = (struct state_plan){.text = ""};
	bundle_init(&p->bundle);
	int r = bundle_from_memfd(&p->bundle, fd, &err);
	if (r < 0) {
		snprintf(p->text, sizeof(p->text), "%s", err.text);
		return r;
	}
	return state_parse(p, generation);
}

static void state_plan_done(struct state_plan *p)
{
	conf_free(p->conf);
	bundle_done(&p->bundle);
}

static void state_swap_conf(struct state_process *s, struct state_plan *p)
{
	struct conf *before = s->conf;
	s->conf = p->conf;
	p->conf = before;
}

/* With certificates that cannot be had the mesh goes on, and the other way round nothing does: a
 * plan is refused as a whole only for the store's part. */
static int state_configure(struct state_process *s, struct state_plan *p)
{
	struct err err;
	int r = state_mesh_configure(s, p->conf, &p->bundle, &err);
	if (r < 0) {
		snprintf(p->text, sizeof(p->text), "%s", err.text);
		return r;
	}
	if (state_identity_configure(s, p->conf, &p->bundle, &err) < 0)
		snprintf(p->text, sizeof(p->text), "%s", err.text);
	return 0;
}

static int state_take_plan(struct state_process *s, uint64_t generation, int fd)
{
	struct state_plan p;
	int r = state_read_plan(&p, generation, fd);
	if (r == 0)
		r = state_configure(s, &p);
	if (r == 0) {
		state_swap_conf(s, &p);
		state_mesh_configured(s);
		state_outside_configured(s);
	}
	if (p.text[0])
		state_tell_refused(s, generation, p.text);
	else
		state_tell_ready(s, generation);
	state_plan_done(&p);
	return r;
}

/* --- messages from the keeper --- */

static void state_leave(struct state_process *s)
{
	if (s->leaving)
		return;
	s->leaving = true;
	if (s->mesh.sync)
		log_info("state", "leaving the mesh");
	state_mesh_close(s);
	state_identity_close(s);
	state_outside_close(s);
}

static void state_message(
	struct state_process *s, const union channel_message *m, size_t len, int fd)
{
	switch ((enum wire_kind)m->head.kind) {
	case WIRE_PLAN:
		if (len == sizeof(m->plan) && fd >= 0 && !s->leaving)
			(void)state_take_plan(s, m->plan.generation, fd);
		break;
	case WIRE_TAKE_OUT:
		if (len == sizeof(m->take_out) && !s->leaving)
			state_mesh_take_out(s, &m->take_out);
		break;
	case WIRE_WANT:
		if (len == sizeof(m->outside) && fd >= 0 && !s->leaving)
			state_outside_want(s, fd);
		break;
	case WIRE_FACTS:
		if (len == sizeof(m->outside) && fd >= 0 && !s->leaving)
			state_outside_remember(s, fd);
		break;
	case WIRE_REQUEST:
	case WIRE_CERTIFICATE:
	case WIRE_TRUST:
		if (len == sizeof(m->identity) && !s->leaving)
			state_identity_answer(s, &m->identity, fd);
		break;
	case WIRE_DRAIN:
		state_leave(s);
		break;
	case WIRE_PING:
		if (len == sizeof(m->ping)) {
			struct wire_ping pong = {
				.head = state_head(WIRE_PONG), .number = m->ping.number};
			(void)state_tell(s, &pong, sizeof(pong), -1);
		}
		break;
	case WIRE_START:
	case WIRE_LISTENER:
	case WIRE_SIGNER:
	case WIRE_NOTE:
	case WIRE_DIRECTORY:
	case WIRE_READY:
	case WIRE_REFUSED:
	case WIRE_RELOAD:
	case WIRE_STOP:
	case WIRE_PONG:
	case WIRE_STATE:
	case WIRE_STATE_VIEW:
	case WIRE_STATE_TAKEN:
	case WIRE_SIGN:
	case WIRE_IDENTITIES:
	case WIRE_SIGNED:
	case WIRE_LEDGER:
		break; /* not for us now */
	}
	if (fd >= 0)
		close(fd);
}

/* --- ears --- */

static void state_ear_init(struct state_ear *e, enum state_task kind)
{
	e->fd = -1;
	task_init(&e->task, (uint16_t)kind);
	op_init(&e->poll, &e->task);
}

/* Until all that was there has been taken; waits for: the descriptor. */
static void state_listen(struct state_process *s, struct state_ear *e)
{
	if (e->fd >= 0 && !e->poll.armed)
		ring_poll(&s->loop.ring, &e->poll, e->fd);
}

static void state_step_channel(struct state_process *s)
{
	union channel_message m;
	size_t len;
	int fd, r;
	s->channel.poll.fresh = false;
	while ((r = channel_receive(s->channel.fd, CHANNEL_NO_WAIT, &m, &len, &fd)) == 0)
		state_message(s, &m, len, fd);
	if (r != -EAGAIN) {
		log_error("state", "the keeper is gone: %s", r < 0 ? strerror(-r) : "closed");
		s->keeper_gone = true;
	}
	state_listen(s, &s->channel);
}

static void state_take_signatures(
	struct state_process *s, const union channel_message *m, size_t len)
{
	size_t count = len / sizeof(m->signature[0]);
	for (size_t i = 0; i < count && i < WIRE_SIGN_BATCH; i++) {
		const struct wire_signed *a = &m->signature[i];
		bool sound = a->head.kind == WIRE_SIGNED && a->len <= sizeof(a->bytes);
		size_t signature_len = sound ? a->len : 0;
		if (a->request & STATE_SIGN_ENROLL)
			state_identity_signed(s, a->request, a->bytes, signature_len);
		else if (s->mesh.sync)
			sync_sign_done(s->mesh.sync, a->request, a->bytes, signature_len);
	}
}

static void state_step_signer(struct state_process *s)
{
	union channel_message m;
	size_t len;
	int fd, r;
	s->signer.poll.fresh = false;
	while ((r = channel_receive(s->signer.fd, CHANNEL_NO_WAIT, &m, &len, &fd)) == 0) {
		if (fd >= 0)
			close(fd);
		state_take_signatures(s, &m, len);
	}
	if (r != -EAGAIN) {
		close(s->signer.fd);
		s->signer.fd = -1;
	}
	state_listen(s, &s->signer);
}

static void state_step_signals(struct state_process *s)
{
	struct signalfd_siginfo signal_read;
	s->signals.poll.fresh = false;
	while (read(s->signals.fd, &signal_read, sizeof(signal_read)) == sizeof(signal_read))
		;
	health_child(s->mesh.health);
	state_listen(s, &s->signals);
}

/* --- the loop --- */

static void state_step_tick(struct state_process *s)
{
	s->tick.fired = false;
	timer_set(&s->loop, &s->tick, s->loop.now_ns + STATE_TICK_MS * CLOCK_MS);
	state_mesh_tick(s);
	state_identity_tick(s);
	state_outside_tick(s);
}

static void state_step(struct state_process *s, struct task *t)
{
	switch ((enum state_task)t->kind) {
	case STATE_TASK_CHANNEL:
		state_step_channel(s);
		return;
	case STATE_TASK_SIGNER:
		state_step_signer(s);
		return;
	case STATE_TASK_SIGNAL:
		state_step_signals(s);
		return;
	case STATE_TASK_TICK:
		state_step_tick(s);
		return;
	case STATE_TASK_SYNC_NEWS:
		state_mesh_step_sync(s);
		return;
	case STATE_TASK_HEALTH_NEWS:
		state_mesh_step_health(s);
		return;
	case STATE_TASK_ENROLL_NEWS:
		state_identity_after_step(s);
		return;
	case STATE_TASK_FETCH_NEWS:
		state_outside_step(s);
		return;
	case STATE_TASK_FETCH:
		fetch_step(t);
		return;
	}
	if (t->kind >= STATE_ENROLL_KIND) {
		enroll_step(t);
		state_identity_after_step(s);
	} else if (t->kind >= STATE_SYNC_KIND) {
		sync_step(t);
		state_mesh_after_step(s);
	} else {
		health_step(t);
	}
}

static bool state_ended(const struct state_process *s)
{
	return s->leaving && state_mesh_idle(s) && state_identity_idle(s) && state_outside_idle(s);
}

static void state_run(struct state_process *s)
{
	loop_ready(&s->loop, &s->channel.task);
	loop_ready(&s->loop, &s->signer.task);
	loop_ready(&s->loop, &s->signals.task);
	loop_ready(
		&s->loop, &s->mesh.sync_news); /* before the tick: a picture may be there already */
	loop_ready(&s->loop, &s->tick_task);
	while (!state_ended(s) && !s->keeper_gone) {
		struct task *t;
		loop_wait(&s->loop);
		while ((t = loop_next(&s->loop)))
			state_step(s, t);
		while ((t = loop_dead(&s->loop)))
			health_reap(t);
	}
}

/* --- start-up --- */

struct state_start {
	struct wire_start start;
	uint64_t generation;
	int plan_fd;
};

/* The keeper's descriptor only names it: whether we may use it is asked here, as ourselves. */
static int state_open_directory(struct state_process *s, int fd, struct err *err)
{
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	s->dir_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = s->dir_fd < 0 ? err_set(err, errno, "state.dir: %m") : 0;
	close(fd);
	return r;
}

static int state_take_ledger(struct state_process *s, int fd, struct err *err)
{
	int r = ledger_map(fd, &s->ledger, err);
	close(fd);
	return r;
}

static int state_start_message(struct state_process *s, struct state_start *start,
	const union channel_message *m, size_t len, int fd, struct err *err)
{
	if (m->head.kind == WIRE_START && len == sizeof(m->start))
		start->start = m->start;
	else if (m->head.kind == WIRE_DIRECTORY && fd >= 0)
		return state_open_directory(s, fd, err);
	else if (m->head.kind == WIRE_LEDGER && fd >= 0 && !s->ledger)
		return state_take_ledger(s, fd, err);
	else if (m->head.kind == WIRE_SIGNER && fd >= 0 && s->signer.fd < 0) {
		s->signer.fd = fd;
		return 0;
	} else if (m->head.kind == WIRE_PLAN && len == sizeof(m->plan) && fd >= 0) {
		start->generation = m->plan.generation;
		start->plan_fd = fd;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	return 0;
}

static int state_receive_all(struct state_process *s, struct state_start *start, struct err *err)
{
	int r = 0;
	while (r == 0 && start->plan_fd < 0) {
		union channel_message m;
		size_t len;
		int fd;
		r = channel_receive(s->channel.fd, CHANNEL_WAIT, &m, &len, &fd);
		if (r != 0)
			return err_set(err, EPIPE, "not started by `ringmain run`, or not wholly");
		r = state_start_message(s, start, &m, len, fd, err);
	}
	if (r == 0 && s->signer.fd < 0)
		r = err_set(err, EPROTO, "not started by `ringmain run`: no way to signatures");
	if (r == 0 && !s->ledger)
		r = err_set(err, EPROTO, "not started by `ringmain run`: no shared memory");
	return r;
}

static int state_start_signals(struct state_process *s, struct err *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals.fd < 0 ? err_set(err, errno, "signalfd: %m") : 0;
}

static int state_start_loop(
	struct state_process *s, const struct state_start *start, struct err *err)
{
	const struct ring_limits limits = {
		.entries = 256, .completions = 4096, .block_bytes = 16384, .block_count = 64};
	int r = loop_init(&s->loop, &limits, start->start.seed ^ 0x57a7eull, err);
	if (r == 0)
		r = ring_enable(&s->loop.ring, err);
	if (r == 0)
		r = state_start_signals(s, err);
	if (r < 0)
		return r;
	s->mesh.health = health_new(&s->loop, STATE_HEALTH_KIND, &s->mesh.health_news);
	return s->mesh.health ? state_outside_start(s, err) : err_set(err, ENOMEM, "out of memory");
}

static int state_start(struct state_process *s, struct err *err)
{
	struct state_start start = {.plan_fd = -1};
	int r = state_receive_all(s, &start, err);
	if (r == 0)
		r = state_start_loop(s, &start, err);
	if (r < 0)
		return r;
	r = state_take_plan(s, start.generation, start.plan_fd);
	close(start.plan_fd);
	if (r < 0)
		return err_set(err, -r, "the first configuration is refused");
	return sandbox_enter(SANDBOX_STATE, err);
}

static void state_init(struct state_process *s, int channel_fd)
{
	s->dir_fd = -1;
	state_ear_init(&s->channel, STATE_TASK_CHANNEL);
	state_ear_init(&s->signer, STATE_TASK_SIGNER);
	state_ear_init(&s->signals, STATE_TASK_SIGNAL);
	s->channel.fd = channel_fd;
	task_init(&s->tick_task, STATE_TASK_TICK);
	timer_init(&s->tick, &s->tick_task);
	state_mesh_init(s);
	state_identity_init(s);
	state_outside_init(s);
}

int state_process_main(int channel_fd)
{
	static struct state_process s; /* one per process; static only because it is large */
	struct err err;
	sandbox_hide();
	state_init(&s, channel_fd);
	if (state_start(&s, &err) < 0) {
		log_error("state", "%s", err.text);
		return 1;
	}
	state_run(&s);
	if (s.keeper_gone)
		return 1;
	state_mesh_free(&s);
	state_identity_free(&s);
	state_outside_free(&s);
	conf_free(s.conf);
	ledger_unmap(s.ledger);
	return 0;
}
