/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy process. Its first thread, here, takes over what the keeper passes down, starts the
 * workers, locks itself in, and then turns plans over, answers the admin API and counts the days:
 * a loop like a worker's, only that nothing on it is in a hurry.
 *
 *   start-up   WIRE_START, WIRE_LEDGER, then every listener, signer, and the first WIRE_PLAN
 *   plans      built beside the one in force; swapped by pointer when whole, thrown away when not
 *   drain      workers finish, then the process ends */
#include "daemon/control.h"

#include "admin/admin.h"
#include "base/clock.h"
#include "base/log.h"
#include "channel.h"
#include "control_private.h"
#include "daemon/sandbox.h"
#include "ledger/ledger.h"
#include "proxy/worker.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define CONTROL_TICK_MS	   100
#define CONTROL_SERIES_MAX 20000

/* --- messages to the keeper --- */

bool control_tell(struct control *c, const void *message, size_t len)
{
	return control_tell_fd(c, message, len, -1);
}

bool control_tell_fd(struct control *c, const void *message, size_t len, int pass_fd)
{
	int r = channel_send(c->channel_fd, message, len, pass_fd);
	if (r < 0 && r != -EAGAIN)
		c->keeper_gone = true;
	return r == 0;
}

struct wire_head control_head(enum wire_kind kind)
{
	return (struct wire_head){.magic = WIRE_MAGIC, .kind = (uint32_t)kind};
}

/* --- messages from the keeper --- */

static void control_drain(struct control *c)
{
	if (c->proxy.draining)
		return;
	c->proxy.draining = true;
	log_info("proxy", "draining: nothing new is taken, what runs may finish");
	for (uint32_t i = 0; i < c->proxy.worker_count; i++)
		worker_drain(c->proxy.workers[i]);
}

static void control_message(struct control *c, const union channel_message *m, size_t len, int fd)
{
	switch ((enum wire_kind)m->head.kind) {
	case WIRE_PLAN:
		if (len == sizeof(m->plan))
			control_take_plan(c, &m->plan, fd);
		break;
	case WIRE_NOTE:
		if (len != sizeof(m->note))
			break;
		control_note(c, m->note.wall_ns, m->note.ok);
		snprintf(c->proxy.reload_text, sizeof(c->proxy.reload_text), "%.*s",
			(int)sizeof(m->note.text) - 1, m->note.text);
		break;
	case WIRE_DRAIN:
		control_drain(c);
		break;
	case WIRE_PING:
		if (len == sizeof(m->ping))
			c->ping_number = m->ping.number;
		break;
	case WIRE_LISTENER:
		if (len == sizeof(m->listener) && fd >= 0 && c->access_fd >= 0 &&
			m->listener.listener_kind == WIRE_LISTENER_ACCESS_LOG)
			dup3(fd, c->access_fd, O_CLOEXEC); /* the writer goes on in the new file */
		break;
	case WIRE_STATE:
		if (len == sizeof(m->state) && fd >= 0) {
			control_keep_picture(c, &m->state, fd);
			return; /* the descriptor is kept */
		}
		break;
	case WIRE_STATE_VIEW:
		if (len == sizeof(m->view))
			control_take_view(c, &m->view);
		break;
	case WIRE_IDENTITIES:
		if (len == sizeof(m->identities))
			control_take_identities(c, &m->identities, fd);
		break;
	case WIRE_FACTS:
		if (len == sizeof(m->outside) && fd >= 0) {
			control_take_facts(c, fd);
			return; /* the descriptor is kept */
		}
		break;
	case WIRE_START:
	case WIRE_SIGNER:
	case WIRE_READY:
	case WIRE_REFUSED:
	case WIRE_RELOAD:
	case WIRE_STOP:
	case WIRE_PONG:
	case WIRE_SIGN:
	case WIRE_DIRECTORY:
	case WIRE_STATE_TAKEN:
	case WIRE_TAKE_OUT:
	case WIRE_WANT:
	case WIRE_REQUEST:
	case WIRE_CERTIFICATE:
	case WIRE_TRUST:
	case WIRE_SIGNED:
	case WIRE_LEDGER:
		break; /* not for us now */
	}
	if (fd >= 0)
		close(fd);
}

static void control_step_channel(struct control *c)
{
	union channel_message m;
	size_t len;
	int fd, r;
	c->channel_poll.fresh = false;
	while ((r = channel_receive(c->channel_fd, CHANNEL_NO_WAIT, &m, &len, &fd)) == 0)
		control_message(c, &m, len, fd);
	control_step_picture(c);
	if (r != -EAGAIN) {
		log_error("proxy", "the keeper is gone: %s", r < 0 ? strerror(-r) : "closed");
		c->keeper_gone = true;
	} else if (!c->channel_poll.armed) {
		ring_poll(&c->loop.ring, &c->channel_poll, c->channel_fd);
	}
}

/* --- the tick --- */

static void control_step_tick(struct control *c, uint64_t *turns)
{
	c->tick.fired = false;
	timer_set(&c->loop, &c->tick, c->loop.now_ns + CONTROL_TICK_MS * CLOCK_MS);
	control_free_retired(c);
	control_step_picture(c);
	control_step_outside(c);
	control_say(c, turns);
}

static bool control_ended(struct control *c)
{
	for (uint32_t i = 0; i < c->proxy.worker_count; i++) {
		if (!atomic_load(&c->threads[i].ended))
			return false;
	}
	return true;
}

static void control_loop(struct control *c)
{
	uint64_t turns[CONTROL_WORKERS_MAX] = {0};
	loop_ready(&c->loop, &c->channel_task);
	loop_ready(&c->loop, &c->tick_task);
	while (!control_ended(c) && !c->keeper_gone) {
		struct task *t;
		loop_wait(&c->loop);
		while ((t = loop_next(&c->loop))) {
			if (t == &c->channel_task)
				control_step_channel(c);
			else if (t == &c->tick_task)
				control_step_tick(c, turns);
			else
				admin_step(t);
		}
		while ((t = loop_dead(&c->loop)))
			admin_reap(t);
	}
}

/* --- start-up --- */

struct control_start {
	struct wire_start start;
	uint32_t listeners_seen, signers_seen;
	bool plan_seen;
};

static int control_take_listener(
	struct control *c, struct control_start *s, const struct wire_listener *l, int fd)
{
	s->listeners_seen++;
	if (l->listener_kind == WIRE_LISTENER_ACCESS_LOG) {
		c->access_fd = fd;
		return 0;
	}
	c->proxy.listeners[c->proxy.listener_count++] = (struct proxy_listener){
		.kind = (enum wire_listener_kind)l->listener_kind,
		.address = l->address,
		.worker = l->worker,
		.fd = fd,
	};
	return 0;
}

/* Nobody of the process before is left: what that was about to write is mended. */
static int control_take_ledger(struct control *c, int fd, struct err *err)
{
	int r = ledger_map(fd, &c->ledger, err);
	close(fd);
	if (r == 0)
		ledger_mend(c->ledger);
	return r;
}

static int control_start_message(struct control *c, struct control_start *s,
	const union channel_message *m, size_t len, int fd, struct err *err)
{
	if (m->head.kind == WIRE_LISTENER && len == sizeof(m->listener) && fd >= 0 &&
		s->listeners_seen < s->start.listener_count)
		return control_take_listener(c, s, &m->listener, fd);
	if (m->head.kind == WIRE_LEDGER && fd >= 0 && !c->ledger)
		return control_take_ledger(c, fd, err);
	if (m->head.kind == WIRE_SIGNER && len == sizeof(m->signer) && fd >= 0 &&
		m->signer.worker < c->proxy.worker_count) {
		c->threads[m->signer.worker].signer_fd = fd;
		s->signers_seen++;
		return 0;
	}
	if (m->head.kind == WIRE_STATE && len == sizeof(m->state) && fd >= 0) {
		control_keep_picture(c, &m->state, fd);
		return 0;
	}
	if (m->head.kind == WIRE_FACTS && len == sizeof(m->outside) && fd >= 0) {
		control_take_facts(c, fd);
		return 0;
	}
	if (m->head.kind == WIRE_PLAN && len == sizeof(m->plan) && fd >= 0) {
		int r = control_first_plan(c, m->plan.generation, fd, err);
		close(fd);
		s->plan_seen = r == 0;
		return r;
	}
	if (fd >= 0)
		close(fd);
	return 0;
}

static int control_receive_start(struct control *c, struct control_start *s, struct err *err)
{
	union channel_message m;
	size_t len;
	int fd;
	int r = channel_receive(c->channel_fd, CHANNEL_WAIT, &m, &len, &fd);
	if (r != 0 || m.head.kind != WIRE_START || len != sizeof(m.start) ||
		m.start.worker_count == 0 || m.start.worker_count > CONTROL_WORKERS_MAX)
		return err_set(err, EPROTO, "not started by `ringmain run`");
	s->start = m.start;
	c->proxy.worker_count = m.start.worker_count;
	c->proxy.restart_count = m.start.restart_count;
	c->threads = calloc(m.start.worker_count, sizeof(*c->threads));
	c->proxy.listeners = calloc(m.start.listener_count + 1, sizeof(*c->proxy.listeners));
	c->proxy.workers = calloc(m.start.worker_count, sizeof(*c->proxy.workers));
	c->proxy.metrics = calloc(m.start.worker_count, sizeof(*c->proxy.metrics));
	if (!c->threads || !c->proxy.listeners || !c->proxy.workers || !c->proxy.metrics)
		return err_set(err, ENOMEM, "out of memory");
	return 0;
}

static int control_receive_all(struct control *c, struct control_start *s, struct err *err)
{
	int r = control_receive_start(c, s, err);
	while (r == 0 && (s->listeners_seen < s->start.listener_count ||
				 s->signers_seen < s->start.worker_count || !s->plan_seen)) {
		union channel_message m;
		size_t len;
		int fd;
		r = channel_receive(c->channel_fd, CHANNEL_WAIT, &m, &len, &fd);
		if (r != 0)
			return err_set(err, EPIPE, "the keeper went away during start-up");
		r = control_start_message(c, s, &m, len, fd, err);
	}
	if (r == 0 && !c->ledger)
		r = err_set(err, EPROTO, "not started by `ringmain run`: no shared memory");
	return r;
}

static void *control_worker_thread(void *argument)
{
	struct control_worker *t = argument;
	struct err err;
	if (worker_run(t->worker, &err) < 0) {
		log_error("proxy", "%s", err.text);
		_exit(1); /* the keeper starts a whole proxy again */
	}
	atomic_store(&t->ended, true);
	return NULL;
}

static int control_make_worker(
	struct control *c, const struct control_start *s, uint32_t i, struct err *err)
{
	struct proxy *p = &c->proxy;
	p->metrics[i] = metrics_new(CONTROL_SERIES_MAX);
	if (!p->metrics[i])
		return err_set(err, ENOMEM, "out of memory");
	struct rlimit files = {0};
	(void)getrlimit(RLIMIT_NOFILE, &files);
	struct worker_setup setup = {
		.index = i,
		.worker_count = p->worker_count,
		.seed = s->start.seed,
		.listeners = p->listeners,
		.listener_count = p->listener_count,
		.file_count_max = files.rlim_cur < INT_MAX ? (uint32_t)files.rlim_cur : 0,
		.signer_fd = c->threads[i].signer_fd,
		.metrics = p->metrics[i],
		.ledger = c->ledger,
		.access = access_log_queue(p->access_log, i),
		.plan = p->plan,
	};
	int r = worker_new(&setup, &p->workers[i], err);
	c->threads[i].worker = p->workers[i];
	return r;
}

static int control_start_workers(struct control *c, const struct control_start *s, struct err *err)
{
	struct proxy *p = &c->proxy;
	int r = access_log_new(c->access_fd, p->worker_count, &p->access_log, err);
	if (r < 0)
		return r;
	atomic_store(&p->plan->holder_count, p->worker_count);
	for (uint32_t i = 0; i < p->worker_count; i++) {
		r = control_make_worker(c, s, i, err);
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < p->worker_count; i++) {
		r = pthread_create(
			&c->threads[i].thread, NULL, control_worker_thread, &c->threads[i]);
		if (r != 0)
			return err_set(err, r, "cannot start a thread: %s", strerror(r));
	}
	return 0;
}

static int control_start_loop(struct control *c, const struct control_start *s, struct err *err)
{
	struct ring_limits limits = {
		.entries = 256, .completions = 4096, .block_bytes = 4096, .block_count = 64};
	int r = loop_init(&c->loop, &limits, s->start.seed ^ 0xadull, err);
	if (r == 0)
		r = ring_enable(&c->loop.ring, err);
	if (r < 0)
		return r;
	task_init(&c->channel_task, CONTROL_TASK_CHANNEL);
	task_init(&c->tick_task, CONTROL_TASK_TICK);
	op_init(&c->channel_poll, &c->channel_task);
	timer_init(&c->tick, &c->tick_task);
	r = admin_new(&c->loop, &c->proxy, &c->admin, err);
	for (uint32_t i = 0; r == 0 && i < c->proxy.listener_count; i++) {
		const struct proxy_listener *l = &c->proxy.listeners[i];
		if (l->kind == WIRE_LISTENER_ADMIN)
			r = admin_listen(c->admin, l->fd, l->address.family == 0, err);
	}
	return r;
}

static int control_start(struct control *c, struct err *err)
{
	struct control_start s = {0};
	int r = control_receive_all(c, &s, err);
	if (r == 0)
		r = control_start_loop(c, &s, err);
	if (r == 0)
		r = control_start_workers(c, &s, err);
	if (r == 0)
		r = sandbox_enter(SANDBOX_PROXY, err);
	return r;
}

/* Drained: nothing may be left, and worker_free() insists on it. */
static void control_free_workers(struct control *c)
{
	for (uint32_t i = 0; i < c->proxy.worker_count; i++) {
		pthread_join(c->threads[i].thread, NULL);
		worker_free(c->threads[i].worker);
		metrics_free(c->proxy.metrics[i]);
	}
}

int control_main(int channel_fd)
{
	static struct control c; /* one per process; static only because it is large */
	struct err err;
	sandbox_hide();
	c.channel_fd = channel_fd;
	c.access_fd = c.waiting_fd = c.facts_fd = -1;
	c.proxy.start_wall_ns = clock_wall_ns();
	control_note(&c, c.proxy.start_wall_ns, true);
	list_init(&c.retired);
	if (control_start(&c, &err) < 0) {
		log_error("proxy", "%s", err.text);
		return 1;
	}
	control_loop(&c);
	if (!c.keeper_gone) {
		control_free_workers(&c);
		ledger_unmap(c.ledger);
	}
	access_log_free(c.proxy.access_log);
	control_plans_done(&c);
	control_outside_done(&c);
	control_identities_done(&c);
	return c.keeper_gone ? 1 : 0;
}
