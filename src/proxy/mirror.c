/* SPDX-License-Identifier: Apache-2.0 */
#include "mirror.h"

#include "balancer.h"
#include "exchange_head.h"
#include "exchange_route.h"
#include "record.h"
#include "service_use.h"
#include "upstream.h"

/* So much of an answer is thrown away; then the connection is. */
#define MIRROR_RESPONSE_MAX (1u << 20)

static const uint8_t mirror_moves[] = {
	[MIRROR_GATHER] = 1u << MIRROR_PLACE | 1u << MIRROR_ENDED,
	[MIRROR_PLACE] = 1u << MIRROR_WAIT | 1u << MIRROR_ENDED,
	[MIRROR_WAIT] = 1u << MIRROR_TALK | 1u << MIRROR_ENDED,
	[MIRROR_TALK] = 1u << MIRROR_ENDED,
	[MIRROR_ENDED] = 0,
};

static void mirror_move(struct mirror *m, enum mirror_state state)
{
	ASSERT(mirror_moves[m->state] & 1u << state);
	m->state = state;
}

static void mirror_ready(struct mirror *m)
{
	loop_ready(&m->being.worker->loop, &m->being.task);
}

static struct buf *mirror_out(struct mirror *m)
{
	return &m->up->line->conn.out;
}

/* --- the end --- */

static struct carrier *mirror_detach(struct mirror *m)
{
	struct carrier *up = m->up;
	m->up = NULL;
	if (up)
		up->mirror = NULL;
	return up;
}

static void mirror_end(struct mirror *m)
{
	struct worker *w = m->being.worker;
	struct list *node;
	mirror_move(m, MIRROR_ENDED);
	list_remove(&m->gathered);
	timer_clear(&w->loop, &m->timer);
	outbound_leave_try(&m->tries);
	while ((node = list_pop(&m->blocks)))
		pool_put(&w->mirror_blocks, CONTAINER_OF(node, struct mirror_block, listed));
	call_served(m->serving);
	call_done(&m->call);
	arena_done(&m->arena);
	metric_add(&w->values->mirrors_active, -1);
	being_end(&m->being);
}

void mirror_drop(struct mirror *m, _Atomic uint64_t *why)
{
	ASSERT(!m->up);
	metric_add(why, 1);
	mirror_end(m);
}

static void mirror_record(struct mirror *m, enum reason reason)
{
	struct record_http r = {
		.start_ns = m->start_ns,
		.start_wall_ns = m->start_wall_ns,
		.method = m->method,
		.path = m->path,
		.authority = m->authority,
		.user_agent = m->user_agent,
		.request_id = m->request_id,
		.authorisation = &m->authorisation,
		.route = m->route,
		.status = m->status,
		.reason = reason,
		.details = m->details,
		.request_bytes = m->request_bytes,
		.response_bytes = m->response_bytes,
		.attempt_count = m->state > MIRROR_PLACE ? 1 : 0,
		.is_mirror = true,
	};
	record_request(m->being.worker, &m->call, &r);
}

static void mirror_finish(struct mirror *m, enum reason reason)
{
	if (m->state == MIRROR_ENDED)
		return;
	mirror_record(m, reason);
	struct carrier *up = mirror_detach(m);
	if (up && reason == REASON_NONE && m->answered && m->end_written && !m->is_cut)
		upstream_put(up);
	else if (up)
		carrier_close(up, true);
	mirror_end(m);
}

void mirror_close(struct mirror *m)
{
	m->is_closed = true;
	mirror_ready(m);
}

void mirror_free(struct mirror *m)
{
	pool_put(&m->being.worker->mirrors, m);
}

/* --- placing --- */

/* Whoever called, and where to; nothing of it is counted against anybody yet. */
static void mirror_take_call(struct mirror *m, const struct call *call)
{
	m->call = (struct call){
		.hold = plan_hold_ref(call->hold),
		.direction = CALL_OUTBOUND,
		.way = CALL_WAY_PICK,
		.source = call->source,
		.source_id = call->source ? call->source->id : STR(""),
		.source_service = call->source_service,
		.dialled = call->dialled,
		.service = call->dialled,
		.protocol = call->protocol,
		.picks = true,
		.is_mirror = true,
		.client = call->client,
		.original = call->original,
		.number = call->number,
	};
}

void mirror_send(struct mirror *m, const struct call *call)
{
	struct worker *w = m->being.worker;
	ASSERT(call->direction == CALL_OUTBOUND && call->picks);
	mirror_take_call(m, call);
	list_remove(&m->gathered);
	mirror_move(m, MIRROR_PLACE);
	m->start_ns = w->loop.now_ns;
	m->start_wall_ns = w->loop.wall_ns;
	timer_set(
		&w->loop, &m->timer, w->loop.now_ns + worker_conf(w)->mirror_timeout_ms * CLOCK_MS);
	mirror_ready(m);
}

/* Of a limit the last quarter is the callers'; of one that is less than four, nothing is. */
static uint32_t mirror_share(uint32_t max)
{
	return max - max / 4;
}

static bool mirror_is_near(
	const struct mirror *m, const struct service *to, enum breaker_limit limit)
{
	uint32_t max = to ? to->breaker[limit] : 0;
	if (max == 0)
		return false;
	const struct breaker *b = &m->call.hold->plan->service_uses[to->index]->breaker;
	return atomic_load_explicit(&b->used[limit], memory_order_relaxed) >= mirror_share(max);
}

/* Before an endpoint is picked: what the service may have under way. */
static bool mirror_is_crowded(const struct mirror *m)
{
	const struct call *c = &m->call;
	const struct service *to = c->dialled;
	if (m->lead.service.len > 0)
		to = snapshot_service(c->hold->plan->snapshot, m->lead.service);
	return mirror_is_near(m, to, BREAKER_REQUESTS);
}

/* One more connection, which callers may want, too. */
static bool mirror_may_dial(struct mirror *m)
{
	const struct service *to = m->call.service;
	return upstream_is_there(m->being.worker, &m->call) ||
	       !(mirror_is_near(m, to, BREAKER_CONNECTIONS) ||
		       mirror_is_near(m, to, BREAKER_PENDING));
}

/* Afterwards: connections of the workload here that is behind it, this one included. */
static bool mirror_is_many(const struct mirror *m)
{
	const struct call *c = &m->call;
	uint32_t max;
	if (!c->uses[1])
		return false;
	max = c->target->connections_max ? c->target->connections_max
					 : c->hold->plan->conf->workload_connections_max;
	return atomic_load_explicit(&c->uses[1]->connection_count, memory_order_relaxed) >
	       mirror_share(max);
}

static struct authorise_asks mirror_asks(
	struct mirror *m, const struct plan *plan, struct route_request *ret_request)
{
	struct worker *w = m->being.worker;
	tokens_take(w, &m->call, plan, m->request, &m->arena, &m->token);
	*ret_request = exchange_head_facts(m->call.source_id, m->request);
	return (struct authorise_asks){.http = ret_request, .token = &m->token, .worker = w};
}

static enum reason mirror_authorise(struct mirror *m)
{
	struct authorisation now = authorisation_none();
	struct call *c = &m->call;
	const struct plan *plan = c->hold->plan;
	enum reason reason = exchange_head_name_caller(&m->arena, c, m->request);
	struct route_request request;
	const struct authorise_asks asks = mirror_asks(m, plan, &request);
	if (reason == REASON_NONE)
		reason = authorise(c, &asks, &now);
	if (m->trailers)
		exchange_remove_judged(c, m->trailers);
	m->authorisation = authorisation_copy(&now, &m->arena);
	if (reason == REASON_NONE)
		record_let_in(m->being.worker, c, asks.http);
	return reason;
}

static void mirror_take_upstream(struct mirror *m)
{
	struct worker *w = m->being.worker;
	enum reason reason;
	struct carrier *up = upstream_take(w, &m->call);
	if (!up && !mirror_may_dial(m)) {
		mirror_drop(m, &w->values->mirrors_dropped_total);
		return;
	}
	if (!up)
		up = upstream_dial(w, &m->call, &reason);
	if (!up) {
		mirror_finish(m, reason);
		return;
	}
	m->up = up;
	up->mirror = m;
	m->plan_number = m->call.hold->plan->number;
	mirror_move(m, MIRROR_WAIT);
}

static void mirror_place(struct mirror *m)
{
	struct worker *w = m->being.worker;
	_Atomic uint64_t *dropped = &w->values->mirrors_dropped_total;
	if (call_renew(w, NULL, &m->call) != REASON_NONE || !m->call.picks ||
		mirror_is_crowded(m)) {
		mirror_drop(m, dropped);
		return;
	}
	enum reason reason = outbound_pick(w, &m->call, &m->tries, &m->lead, CALL_HTTP);
	load_silence(&m->tries.last);
	figures_silence(&m->tries.figure);
	if (reason == REASON_NONE && mirror_is_many(m)) {
		mirror_drop(m, dropped);
		return;
	}
	m->serving = call_serve(&m->call);
	if (reason == REASON_NONE)
		reason = mirror_authorise(m);
	if (reason != REASON_NONE)
		mirror_finish(m, reason);
	else
		mirror_take_upstream(m);
}

/* --- talking --- */

static void mirror_write_head(struct mirror *m)
{
	struct carrier *up = m->up;
	if (m->stream == 0)
		m->stream = http_open(up->http);
	if (m->stream == 0) {
		mirror_finish(m, REASON_UPSTREAM_CLOSED);
	} else if (http_write_head(up->http, m->stream, m->request, mirror_out(m))) {
		m->head_written = true;
		loop_ready(&m->being.worker->loop, &up->being.task);
	} else if (conn_drained(&up->line->conn)) {
		mirror_finish(m, REASON_OVERLOAD); /* larger than any buffer */
	}
	/* waits for: room */
}

static void mirror_write_body(struct mirror *m)
{
	struct carrier *up = m->up;
	struct worker *w = m->being.worker;
	while (!list_empty(&m->blocks)) {
		struct mirror_block *b = CONTAINER_OF(m->blocks.next, struct mirror_block, listed);
		struct str rest = {(const char *)b->bytes + b->used, b->len - b->used};
		size_t len = http_write_body(up->http, m->stream, rest, mirror_out(m));
		b->used += (uint32_t)len;
		if (len > 0)
			loop_ready(&w->loop, &up->being.task);
		if (b->used < b->len)
			return; /* waits for: room */
		list_remove(&b->listed);
		pool_put(&w->mirror_blocks, b);
	}
	if (!http_write_end(up->http, m->stream, m->trailers, mirror_out(m)))
		return; /* waits for: room */
	m->end_written = true;
	loop_ready(&w->loop, &up->being.task);
}

/* A newer plan is followed when the mirror is still where it leads; a certificate that is not good
 * any more ends it. */
static void mirror_follow(struct mirror *m)
{
	struct worker *w = m->being.worker;
	if (m->plan_number == w->current->plan->number)
		return;
	m->plan_number = w->current->plan->number;
	struct authorisation now;
	struct route_request request;
	const struct authorise_asks asks = mirror_asks(m, w->current->plan, &request);
	enum reason reason = call_check_up(w, m->up->line, &m->call);
	if (reason == REASON_NONE || reason == REASON_PEER_UNTRUSTED)
		reason = authorise_again(w, &m->call, &asks, &now);
	if (authorise_is_denial(reason))
		m->authorisation = authorisation_copy(&now, &m->arena);
	if (reason != REASON_NONE)
		mirror_finish(m, reason);
	else
		call_follow(w, NULL, &m->call, true);
}

static void mirror_talk(struct mirror *m)
{
	mirror_follow(m);
	if (m->state == MIRROR_TALK && !m->head_written)
		mirror_write_head(m);
	if (m->state == MIRROR_TALK && m->head_written && !m->end_written)
		mirror_write_body(m);
	if (m->state == MIRROR_TALK && m->answered)
		mirror_finish(m, REASON_NONE);
	/* waits for: bytes, room or the timer */
}

void mirror_wake(struct mirror *m)
{
	if (m->state == MIRROR_WAIT || (m->state == MIRROR_TALK && !m->end_written))
		mirror_ready(m);
}

void mirror_lost(struct mirror *m, enum reason reason, const char *details)
{
	if (details)
		m->details = details;
	if (m->answered)
		reason = REASON_NONE;
	else if (m->status != 0 && reason == REASON_UPSTREAM_CLOSED)
		reason = REASON_UPSTREAM_ABORTED;
	mirror_finish(m, reason);
}

static void mirror_bad(struct mirror *m, enum http_bad bad)
{
	if (m->answered)
		return; /* bytes after the answer: the codec keeps the connection from reuse */
	if (bad == HTTP_BAD_TRUNCATED)
		mirror_lost(m, REASON_UPSTREAM_CLOSED, m->status ? http_bad_name(bad) : NULL);
	else
		mirror_lost(m, REASON_BAD_RESPONSE, http_bad_name(bad));
}

void mirror_event(struct mirror *m, const struct http_event *event)
{
	switch (event->kind) {
	case HTTP_EVENT_MORE:
	case HTTP_EVENT_WAIT:
	case HTTP_EVENT_INTERIM:
	case HTTP_EVENT_TRAILERS:
		return;
	case HTTP_EVENT_HEAD:
		m->status = event->head->status;
		if (event->head->framing == HTTP_FRAMING_TUNNEL)
			mirror_lost(m, REASON_BAD_RESPONSE, "UPGRADE");
		return;
	case HTTP_EVENT_BODY:
		m->response_bytes += event->body.len;
		if (m->response_bytes <= MIRROR_RESPONSE_MAX)
			return;
		m->is_cut = m->answered = true;
		mirror_ready(m);
		return;
	case HTTP_EVENT_END:
		m->answered = true;
		mirror_ready(m);
		return;
	case HTTP_EVENT_BAD:
		mirror_bad(m, event->bad);
		return;
	}
}

static void mirror_expire(struct mirror *m)
{
	if (m->state == MIRROR_GATHER)
		mirror_drop(m, &m->being.worker->values->mirrors_cut_total);
	else
		mirror_lost(m, m->is_closed ? REASON_DRAINING : REASON_UPSTREAM_TIMEOUT, NULL);
}

void mirror_step(struct mirror *m)
{
	if ((m->timer.fired || m->is_closed) && m->state != MIRROR_ENDED)
		mirror_expire(m);
	if (m->state == MIRROR_PLACE)
		mirror_place(m);
	if (m->state == MIRROR_WAIT && m->up->state == CARRIER_OPEN)
		mirror_move(m, MIRROR_TALK);
	if (m->state == MIRROR_TALK)
		mirror_talk(m);
	/* GATHER waits for the caller, WAIT for the upstream connection, which says when it is
	 * there */
}
