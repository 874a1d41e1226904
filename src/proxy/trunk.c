/* SPDX-License-Identifier: Apache-2.0 */
#include "trunk.h"

#include "carrier.h"
#include "record.h"
#include "upstream.h"
#include <errno.h>
#include <stdlib.h>

/* In a drain: a channel that was opened before the other side knew is still on its way. */
#define TRUNK_DRAIN_IDLE_MS 1000

static const uint8_t trunk_moves[] = {
	[TRUNK_DIAL] = 1u << TRUNK_OPEN | 1u << TRUNK_PLAIN | 1u << TRUNK_CLOSING,
	[TRUNK_OPEN] = 1u << TRUNK_CLOSING,
	[TRUNK_PLAIN] = 1u << TRUNK_CLOSING,
	[TRUNK_CLOSING] = 0,
};

static void trunk_move(struct trunk *t, enum trunk_state state)
{
	ASSERT(trunk_moves[t->state] & 1u << state);
	t->state = state;
}

static void trunk_ready(struct trunk *t)
{
	loop_ready(&t->being.worker->loop, &t->being.task);
}

/* --- birth --- */

static struct trunk *trunk_new(struct worker *w, enum side side, struct line *line)
{
	struct trunk *t = pool_take(&w->trunks);
	if (!t)
		return NULL;
	being_init(&t->being, w, TASK_TRUNK);
	timer_init(&t->timer, &t->being.task);
	list_init(&t->waiting);
	list_init(&t->pooled);
	t->side = side;
	t->line = line;
	t->idle_ns = w->loop.now_ns;
	line_own(line, &t->being.task);
	return t;
}

static void trunk_open(struct trunk *t)
{
	struct worker *w = t->being.worker;
	channels_init(&t->channels, &t->line->conn, &w->channels, t->side == DOWN);
	if (w->draining && t->side == DOWN)
		channels_go_away(&t->channels);
	trunk_ready(t);
}

struct trunk *trunk_dial(struct worker *w, const struct call *call, enum reason *ret_reason)
{
	struct line *line = line_new(w, &w->wake);
	struct trunk *t = line ? trunk_new(w, UP, line) : NULL;
	*ret_reason = REASON_OVERLOAD;
	if (!t) {
		if (line)
			line_drop(line, w);
		return NULL;
	}
	t->state = TRUNK_DIAL;
	*ret_reason = call_dial(w, call, CALL_CHANNELS, line);
	if (*ret_reason != REASON_NONE) {
		trunk_close(t, true);
		return NULL;
	}
	metric_add(&w->values->pool_opened_total, 1);
	timer_set(&w->loop, &t->timer,
		w->loop.now_ns + worker_conf(w)->connect_timeout_ms * CLOCK_MS);
	trunk_ready(t);
	return t;
}

bool trunk_take(struct worker *w, struct line *line)
{
	struct trunk *t = trunk_new(w, DOWN, line);
	if (!t)
		return false;
	t->state = TRUNK_OPEN;
	w->connection_count++; /* while it has channels, they count instead */
	trunk_open(t);
	return true;
}

/* --- its lines --- */

bool trunk_usable(const struct trunk *t)
{
	if (t->user_count >= FRAME_CHANNELS)
		return false;
	if (t->state == TRUNK_DIAL)
		return true;
	return t->state == TRUNK_OPEN && !t->channels.refusing && !t->line->conn.eof &&
	       t->line->conn.failure == CONN_FAILURE_NONE &&
	       !line_expired(t->line, t->being.worker);
}

void trunk_join(struct trunk *t, struct line *line)
{
	struct worker *w = t->being.worker;
	ASSERT(!line->trunk);
	line->trunk = t;
	if (t->user_count++ == 0 && t->side == DOWN)
		w->connection_count--;
	metric_add(&w->values->connections_active, -1);
	metric_add(&w->values->channels_active, 1);
	if (t->state == TRUNK_DIAL)
		list_add_last(&t->waiting, &line->waiting);
}

bool trunk_connect(struct line *line)
{
	struct trunk *t = line->trunk;
	if (!channels_open(&t->channels, &line->conn))
		return false;
	metric_add(&t->being.worker->values->channels_total, 1);
	return true;
}

void trunk_leave(struct line *line)
{
	struct trunk *t = line->trunk;
	if (!t)
		return;
	struct worker *w = t->being.worker;
	line->trunk = NULL;
	list_remove(&line->waiting);
	metric_add(&w->values->connections_active, 1);
	metric_add(&w->values->channels_active, -1);
	if (--t->user_count > 0)
		return;
	if (t->side == DOWN)
		w->connection_count++;
	t->idle_ns = w->loop.now_ns;
	trunk_ready(t);
}

struct line *trunk_take_line(struct trunk *t)
{
	struct line *line = t->line;
	t->line = NULL;
	return line;
}

static void trunk_wake_waiting(struct trunk *t)
{
	struct list *node;
	while ((node = list_pop(&t->waiting)))
		loop_ready(&t->being.worker->loop,
			CONTAINER_OF(node, struct line, waiting)->conn.owner);
}

/* --- channels that the other side opens --- */

/* Who calls, for one more channel: asked for under the plan now in force. */
static enum reason trunk_admit(struct trunk *t, struct line *line, struct call *call)
{
	struct worker *w = t->being.worker;
	call->number = t->being.number;
	enum reason reason = inbound_admit_mesh(w, line, call);
	if (reason == REASON_NONE && !worker_has_room(w)) {
		metric_add(&w->values->limit_refused_total, 1);
		reason = REASON_CONNECTIONS_MAX;
	}
	return reason == REASON_NONE ? call_count(w, call) : reason;
}

static void trunk_refused(struct trunk *t, struct call *call, enum reason reason)
{
	struct worker *w = t->being.worker;
	struct record_tcp r = {
		.start_ns = w->loop.now_ns,
		.start_wall_ns = w->loop.wall_ns,
		.reason = reason,
		.details = t->details,
	};
	record_refused(w, call, &r);
}

static void trunk_accept(struct trunk *t)
{
	struct worker *w = t->being.worker;
	struct line *line = line_new(w, &t->being.task);
	struct call call;
	if (!line) {
		channels_refuse(&t->channels);
		return;
	}
	trunk_join(t, line);
	call_init(&call);
	enum reason reason = trunk_admit(t, line, &call);
	if (reason != REASON_NONE)
		channels_refuse(&t->channels);
	else if (!channels_accept(&t->channels, &line->conn) || !carrier_take_down(w, line, &call))
		reason = REASON_OVERLOAD;
	if (reason != REASON_NONE) {
		trunk_refused(t, &call, reason);
		line_drop(line, w);
	} else {
		metric_add(&w->values->channels_total, 1);
	}
	call_done(&call);
}

/* --- steps --- */

static void trunk_step_dial(struct trunk *t)
{
	struct conn *c = &t->line->conn;
	if (c->failure != CONN_FAILURE_NONE) {
		t->reason = call_dial_failure(t->line);
		if (c->failure == CONN_FAILURE_HANDSHAKE)
			t->details = tls_failure_name(tls_failure(c->tls));
		trunk_close(t, true);
	} else if (c->state == CONN_OPEN && tls_alpn(c->tls) == TLS_ALPN_CHANNELS) {
		trunk_move(t, TRUNK_OPEN);
		timer_clear(&t->being.worker->loop, &t->timer);
		trunk_open(t);
		trunk_wake_waiting(t);
	} else if (c->state == CONN_OPEN) {
		trunk_move(t, TRUNK_PLAIN);
		timer_clear(&t->being.worker->loop, &t->timer);
		upstream_plain(t->pool);
		trunk_wake_waiting(t);
		trunk_ready(t);
	} else if (t->timer.fired) {
		t->reason = REASON_UPSTREAM_CONNECT_TIMEOUT;
		trunk_close(t, true);
	}
	/* waits for: connect, handshake or the connect timer */
}

/* The other side does not keep to the protocol: there is no telling what it means. */
static void trunk_broken(struct trunk *t)
{
	struct worker *w = t->being.worker;
	struct call call;
	t->details = channels_fault_name(t->channels.fault);
	if (t->side == DOWN) {
		call_init(&call);
		call.number = t->being.number;
		(void)inbound_admit_mesh(w, t->line, &call);
		trunk_refused(t, &call, REASON_BAD_FRAMES);
		call_done(&call);
	}
	trunk_close(t, true);
}

static void trunk_read(struct trunk *t)
{
	for (;;) {
		switch (channels_read(&t->channels)) {
		case CHANNELS_READ:
			return;
		case CHANNELS_OFFERED:
			trunk_accept(t);
			break;
		case CHANNELS_BROKEN:
			trunk_broken(t);
			return;
		}
	}
}

static bool trunk_wanted(const struct trunk *t)
{
	const struct worker *w = t->being.worker;
	if (t->side == DOWN)
		return true; /* whether the next channel is taken is asked when it comes */
	return !w->draining && upstream_wanted(t->pool) && !t->channels.refusing &&
	       !line_expired(t->line, w);
}

/* By a plan that is new to it: revoked, or trusted by nobody any more; or it knows us by another
 * identity. */
static bool trunk_peer_is_gone(struct trunk *t)
{
	const struct worker *w = t->being.worker;
	const struct plan *plan = w->current->plan;
	if (t->side == UP || t->plan_number == plan->number)
		return false;
	t->plan_number = plan->number;
	return tls_peer_again(t->line->conn.tls, plan->tls, worker_wall_s(w)) != TLS_FAILURE_NONE ||
	       inbound_is_renamed(w, t->line);
}

static void trunk_watch(struct trunk *t)
{
	struct worker *w = t->being.worker;
	const struct conf *conf = worker_conf(w);
	uint64_t idle_ms = t->side == UP ? conf->pool_idle_timeout_ms : conf->idle_timeout_ms;
	if (t->user_count > 0)
		return; /* they have timers of their own */
	if (t->side == DOWN && w->draining)
		idle_ms = TRUNK_DRAIN_IDLE_MS;
	uint64_t deadline_ns = t->idle_ns + idle_ms * CLOCK_MS;
	if (!trunk_wanted(t) || trunk_peer_is_gone(t) || line_take_lack(t->line) ||
		w->loop.now_ns >= deadline_ns)
		trunk_close(t, false);
	else
		timer_set(&w->loop, &t->timer, deadline_ns);
}

static void trunk_step_open(struct trunk *t)
{
	struct conn *c = &t->line->conn;
	trunk_read(t);
	if (t->state != TRUNK_OPEN)
		return;
	if (c->failure != CONN_FAILURE_NONE || c->eof)
		trunk_close(t, c->failure != CONN_FAILURE_NONE);
	else
		trunk_watch(t);
	/* waits for: frames, what channels write, or the idle timer */
}

static void trunk_end(struct trunk *t)
{
	struct worker *w = t->being.worker;
	if (t->user_count > 0 || !line_join(&t->line, w))
		return; /* waits for: its channels' lines, armed operations */
	if (t->side == DOWN)
		w->connection_count--;
	upstream_leave_trunk(t);
	being_end(&t->being);
}

void trunk_step(struct trunk *t)
{
	switch (t->state) {
	case TRUNK_DIAL:
		line_step(t->line, t->being.worker);
		trunk_step_dial(t);
		break;
	case TRUNK_OPEN:
		line_step(t->line, t->being.worker);
		trunk_step_open(t);
		break;
	case TRUNK_PLAIN:
		if (t->user_count == 0)
			trunk_close(t, false);
		break; /* waits for: those who waited, one of whom takes the line */
	case TRUNK_CLOSING:
		trunk_end(t);
		return;
	}
	if (t->state == TRUNK_DIAL)
		conn_flush(&t->line->conn);
	else if (t->state == TRUNK_OPEN)
		channels_flush(&t->channels);
}

void trunk_close(struct trunk *t, bool reset)
{
	if (t->state == TRUNK_CLOSING)
		return;
	bool open = t->state == TRUNK_OPEN;
	trunk_move(t, TRUNK_CLOSING);
	if (t->reason == REASON_NONE)
		t->reason = REASON_UPSTREAM_CLOSED;
	timer_clear(&t->being.worker->loop, &t->timer);
	list_remove(&t->pooled);
	if (open) {
		const struct conn *c = &t->line->conn;
		channels_done(&t->channels,
			c->failure != CONN_FAILURE_NONE ? c->failure : CONN_FAILURE_RESET,
			c->failure != CONN_FAILURE_NONE ? c->error : ECONNRESET);
	}
	trunk_wake_waiting(t);
	line_close(t->line, reset);
	trunk_ready(t);
}

void trunk_drain(struct trunk *t)
{
	if (t->state != TRUNK_OPEN)
		return;
	if (t->side == DOWN) {
		channels_go_away(&t->channels);
		t->idle_ns = t->being.worker->loop.now_ns;
	}
	trunk_ready(t);
}

void trunk_free(struct trunk *t)
{
	pool_put(&t->being.worker->trunks, t);
}
