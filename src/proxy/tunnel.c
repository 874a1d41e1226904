/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel.h"

#include "codec/preamble.h"
#include "limiter.h"
#include "outside.h"
#include "record.h"
#include "routing.h"
#include <stdlib.h>

/* A connection may live for weeks: its bytes are counted while it does. */
#define TUNNEL_TELL_NS (5 * CLOCK_S)
/* Of its limits: source and address, each twice at most. */
#define TUNNEL_KEYS_MAX (256u << 10)

/* Opaque bytes say nothing of what they ask. */
static const struct authorise_asks tunnel_asks;

static const uint8_t tunnel_moves[] = {
	[TUNNEL_CONNECT] = 1u << TUNNEL_AGAIN | 1u << TUNNEL_OPEN | 1u << TUNNEL_CLOSING,
	[TUNNEL_AGAIN] = 1u << TUNNEL_CONNECT | 1u << TUNNEL_CLOSING,
	[TUNNEL_OPEN] = 1u << TUNNEL_CLOSING,
	[TUNNEL_CLOSING] = 0,
};

static void tunnel_move(struct tunnel *t, enum tunnel_state state)
{
	ASSERT(tunnel_moves[t->state] & 1u << state);
	service_hold_give(&t->pending, BREAKER_PENDING);
	t->state = state;
}

static struct record_tcp tunnel_record_now(const struct tunnel *t)
{
	return (struct record_tcp){
		.start_ns = t->being.born_ns,
		.start_wall_ns = t->start_wall_ns,
		.authorisation = &t->authorisation,
		.route = str_of(t->route ? t->route : ""),
		.limit = str_of(t->limit ? t->limit : ""),
		.shadow_limit = str_of(t->shadow_limit ? t->shadow_limit : ""),
		.reason = t->reason,
		.details = t->details,
		.received_bytes = t->byte_count[DOWN],
		.sent_bytes = t->byte_count[UP],
		.told_received_bytes = t->told_count[DOWN],
		.told_sent_bytes = t->told_count[UP],
	};
}

static void tunnel_record(struct tunnel *t, bool opening)
{
	struct record_tcp r = tunnel_record_now(t);
	if (opening)
		record_tcp_open(t->being.worker, &t->call, &r);
	else if (t->opened)
		record_tcp_close(t->being.worker, &t->call, &r);
	else
		record_refused(t->being.worker, &t->call, &r);
}

static bool tunnel_has_untold(const struct tunnel *t)
{
	return t->byte_count[DOWN] != t->told_count[DOWN] || t->byte_count[UP] != t->told_count[UP];
}

static void tunnel_tell(struct tunnel *t)
{
	struct record_tcp r = tunnel_record_now(t);
	record_tcp_bytes(t->being.worker, &t->call, &r);
	t->told_count[DOWN] = t->byte_count[DOWN];
	t->told_count[UP] = t->byte_count[UP];
}

/* What is in flight on the line that failed has to end before another one takes its place. */
static void tunnel_again(struct tunnel *t)
{
	tunnel_move(t, TUNNEL_AGAIN);
	outbound_leave_try(&t->tries);
	metric_add(&t->being.worker->values->retries_total, 1);
	t->details = NULL;
	timer_clear(&t->being.worker->loop, &t->timer);
	line_close(t->line[UP], true);
	loop_ready(&t->being.worker->loop, &t->being.task);
}

static void tunnel_dial_failed(struct tunnel *t, enum reason reason)
{
	outbound_tried(t->being.worker, &t->call, &t->tries, reason);
	if (t->line[UP] && call_may_pick_again(&t->call, &t->tries, reason))
		tunnel_again(t);
	else
		tunnel_close(t, reason);
}

static struct str tunnel_copy(char **at, struct str text)
{
	struct str copy = {*at, text.len};
	if (text.len > 0)
		memcpy(*at, text.at, text.len);
	*at += text.len;
	return copy;
}

/* What is needed of a rule until the connection is open: its plan may go meanwhile. */
static enum reason tunnel_keep(struct tunnel *t, struct str name, struct call_lead lead)
{
	char *at = calloc(1, name.len + 1 + lead.service.len + lead.version.len);
	if (!at)
		return REASON_OVERLOAD;
	t->route = at;
	(void)tunnel_copy(&at, name);
	at++;
	t->lead = lead;
	t->lead.service = tunnel_copy(&at, lead.service);
	t->lead.version = tunnel_copy(&at, lead.version);
	return REASON_NONE;
}

/* By the rule that the connection goes by, before it is dialled for the first time. */
static enum reason tunnel_choose(struct tunnel *t)
{
	size_t prefix_len;
	const struct route *route = routing_of(&t->call);
	struct route_request request = {.source_id = t->call.source_id};
	if (!route || t->tries.count > 0)
		return REASON_NONE;
	const struct route_rule *rule =
		route_match(t->call.hold->plan->snapshot, route, &request, &prefix_len);
	if (!rule)
		return REASON_NONE;
	const struct route_leg *leg = routing_leg(t->being.worker, route, rule, &request);
	return tunnel_keep(t, rule->name, routing_lead(&t->call, leg));
}

static bool tunnel_keep_name(const struct limit *limit, char **ret_name)
{
	*ret_name = limit ? strndup(limit->name.at, limit->name.len) : NULL;
	return !limit || *ret_name;
}

/* A connection is one request; once, on the service's own machine, after policy. */
static enum reason tunnel_ask_limits(struct tunnel *t)
{
	struct worker *w = t->being.worker;
	const struct call *c = &t->call;
	char client[ADDRESS_TEXT_MAX];
	struct limiter_verdict v;
	struct arena arena;
	if (c->way != CALL_WAY_LOCAL || c->service->limit_count == 0 || t->is_limited)
		return REASON_NONE;
	struct limit_request request = {
		.asks = {.source_id = c->source_id},
		.client = str_of(address_ip_text(&c->client, client)),
		.route = STR(""),
	};
	t->is_limited = true;
	arena_init(&arena, TUNNEL_KEYS_MAX);
	bool is_asked = limiter_ask(
		c->hold->plan, w->ledger, c->service, &request, &arena, w->loop.now_ns, &v);
	arena_done(&arena);
	if (!is_asked || !tunnel_keep_name(v.refused, &t->limit) ||
		!tunnel_keep_name(v.shadow, &t->shadow_limit))
		return REASON_OVERLOAD;
	return v.refused ? REASON_RATE_LIMITED : REASON_NONE;
}

static enum reason tunnel_pick(struct tunnel *t, const struct call_lead *lead)
{
	const struct route_request request = {.source_id = t->call.source_id};
	if (t->tries.count == 0)
		outbound_value(&t->call, &t->tries, lead, &request);
	return outbound_pick(t->being.worker, &t->call, &t->tries, lead, CALL_BYTES);
}

static void tunnel_dial(struct tunnel *t)
{
	struct worker *w = t->being.worker;
	/* the plan may have changed with detection, or with an endpoint that failed: what an
	 * earlier try was let through by goes with the plan that it came from */
	t->authorisation = authorisation_none();
	enum reason reason = call_renew(w, t->line[DOWN], &t->call);
	t->plan_number = t->call.hold->plan->number;
	if (reason == REASON_NONE)
		reason = tunnel_choose(t);
	const struct call_lead *lead = t->route ? &t->lead : NULL;
	if (reason == REASON_NONE) {
		reason = tunnel_pick(t, lead);
		figures_picked(w, &t->call, lead, reason);
	}
	call_served(t->serving);
	t->serving = call_serve(&t->call);
	if (reason == REASON_NONE)
		reason = authorise(&t->call, &tunnel_asks, &t->authorisation);
	if (reason == REASON_NONE) {
		record_let_in(w, &t->call, NULL);
		reason = tunnel_ask_limits(t);
	}
	if (reason == REASON_NONE &&
		!service_hold_take(&t->pending, w, &t->call, t->call.service, BREAKER_PENDING))
		reason = REASON_BREAKER_PENDING;
	if (reason == REASON_NONE) {
		t->line[UP] = line_new(w, &t->being.task);
		reason = t->line[UP] ? call_dial(w, &t->call, CALL_BYTES, t->line[UP])
				     : REASON_OVERLOAD;
	}
	if (reason != REASON_NONE) {
		tunnel_dial_failed(t, reason);
		return;
	}
	t->timer.fired = false;
	timer_set(&w->loop, &t->timer,
		t->call.way == CALL_WAY_OUTSIDE
			? outside_connect_ns(&t->call, &t->tries)
			: w->loop.now_ns + worker_conf(w)->connect_timeout_ms * CLOCK_MS);
	loop_ready(&w->loop, &t->being.task);
}

bool tunnel_take(struct worker *w, struct line *line, struct call *call)
{
	struct tunnel *t = pool_take(&w->tunnels);
	if (!t)
		return false;
	being_init(&t->being, w, TASK_TUNNEL);
	timer_init(&t->timer, &t->being.task);
	t->start_wall_ns = w->loop.wall_ns;
	t->authorisation = authorisation_none();
	call_take(&t->call, call);
	t->line[DOWN] = line;
	line_own(line, &t->being.task);
	w->connection_count++;
	tunnel_dial(t);
	return true;
}

void tunnel_close(struct tunnel *t, enum reason reason)
{
	if (t->state == TUNNEL_CLOSING)
		return;
	tunnel_move(t, TUNNEL_CLOSING);
	t->reason = reason;
	timer_clear(&t->being.worker->loop, &t->timer);
	bool reset = reason != REASON_NONE;
	line_close(t->line[DOWN], reset);
	line_close(t->line[UP], reset);
	tunnel_record(t, false);
	t->authorisation = authorisation_none(); /* its plan may go before we do */
}

/* The far proxy learns where the client came from and where it wanted to go. */
static bool tunnel_write_preamble(struct tunnel *t)
{
	const struct call *c = &t->call;
	struct preamble p = {.source = c->client, .destination = c->original};
	if (p.source.family != p.destination.family)
		p.source.family = p.destination.family = 0;
	struct str name = c->service->name;
	memcpy(p.authority, name.at, name.len);
	p.authority_len = name.len;
	uint8_t bytes[PREAMBLE_BYTES_MAX];
	size_t len = preamble_write(&p, bytes);
	return buf_put(&t->line[UP]->conn.out, bytes, len);
}

/* No further than to the end of a peer's certificate. */
static void tunnel_watch(struct tunnel *t, uint64_t deadline_ns)
{
	struct worker *w = t->being.worker;
	uint64_t expiry_ns = line_pair_expiry_ns(t->line[DOWN], t->line[UP], w);
	uint64_t tell_ns = w->loop.now_ns + TUNNEL_TELL_NS;
	if (deadline_ns > expiry_ns)
		deadline_ns = expiry_ns;
	if (deadline_ns > tell_ns && tunnel_has_untold(t))
		deadline_ns = tell_ns;
	timer_set(&w->loop, &t->timer, deadline_ns);
}

static void tunnel_connect(struct tunnel *t)
{
	struct worker *w = t->being.worker;
	struct conn *up = &t->line[UP]->conn, *down = &t->line[DOWN]->conn;
	if (up->failure != CONN_FAILURE_NONE) {
		t->details = up->failure == CONN_FAILURE_HANDSHAKE
				     ? tls_failure_name(tls_failure(up->tls))
				     : NULL;
		tunnel_dial_failed(t, call_dial_failure(t->line[UP]));
	} else if (down->failure != CONN_FAILURE_NONE) {
		tunnel_close(t, REASON_DOWNSTREAM_CLOSED);
	} else if (t->timer.fired) {
		tunnel_dial_failed(t, REASON_UPSTREAM_CONNECT_TIMEOUT);
	} else if (up->state == CONN_OPEN &&
		   call_is_secured_otherwise(w, t->line[DOWN], &t->call)) {
		tunnel_again(t);
	} else if (up->state == CONN_OPEN) {
		if (t->call.way == CALL_WAY_MESH && !tunnel_write_preamble(t)) {
			tunnel_close(t, REASON_OVERLOAD);
			return;
		}
		t->call.tls_resumed = t->call.tls_resumed || (up->tls && tls_resumed(up->tls));
		tunnel_move(t, TUNNEL_OPEN);
		outbound_connected(w, &t->tries);
		t->opened = true;
		tunnel_record(t, true);
		tunnel_watch(t, w->loop.now_ns + worker_conf(w)->idle_timeout_ms * CLOCK_MS);
	}
	/* waits for: connect, handshake or the connect timer */
}

/* True when something moved for the last time too long ago. */
static bool tunnel_idle(struct tunnel *t)
{
	struct worker *w = t->being.worker;
	if (!t->timer.fired)
		return false;
	t->timer.fired = false;
	if (tunnel_has_untold(t))
		tunnel_tell(t);
	const struct conn *a = &t->line[DOWN]->conn, *b = &t->line[UP]->conn;
	uint64_t moved_ns = a->moved_ns > b->moved_ns ? a->moved_ns : b->moved_ns;
	bool half = a->eof || b->eof;
	uint64_t timeout_ns = (uint64_t)(half ? worker_conf(w)->half_close_timeout_ms
					      : worker_conf(w)->idle_timeout_ms) *
			      CLOCK_MS;
	if (w->loop.now_ns - moved_ns >= timeout_ns)
		return true;
	tunnel_watch(t, moved_ns + timeout_ns);
	return false;
}

static void tunnel_half_closed(struct tunnel *t)
{
	struct worker *w = t->being.worker;
	tunnel_watch(t, w->loop.now_ns + worker_conf(w)->half_close_timeout_ms * CLOCK_MS);
}

/* Whether it may go on: opaque bytes have no next request that would ask. */
static enum reason tunnel_recheck(struct tunnel *t)
{
	struct worker *w = t->being.worker;
	if (w->loop.now_ns >= line_pair_expiry_ns(t->line[DOWN], t->line[UP], w))
		return REASON_PEER_EXPIRED;
	if (t->plan_number == w->current->plan->number)
		return REASON_NONE;
	t->plan_number = w->current->plan->number;
	return call_check(w, t->line[DOWN], t->line[UP], &t->call, &tunnel_asks, &t->authorisation);
}

static enum reason tunnel_failure(const struct conn *down, const struct conn *up)
{
	if (down->failure == CONN_FAILURE_MEMORY || up->failure == CONN_FAILURE_MEMORY)
		return REASON_OVERLOAD;
	if (down->failure != CONN_FAILURE_NONE)
		return REASON_DOWNSTREAM_CLOSED;
	if (up->failure == CONN_FAILURE_HANDSHAKE)
		return REASON_UPSTREAM_HANDSHAKE_FAILED;
	return up->failure == CONN_FAILURE_NONE ? REASON_NONE : REASON_UPSTREAM_RESET;
}

static void tunnel_shovel(struct tunnel *t)
{
	struct line *down = t->line[DOWN], *up = t->line[UP];
	enum reason reason = tunnel_recheck(t);
	if (reason != REASON_NONE) {
		tunnel_close(t, reason);
		return;
	}
	bool half_before = down->conn.finish || up->conn.finish,
	     untold_before = tunnel_has_untold(t);
	line_relay(down, up, &t->byte_count[DOWN]);
	line_relay(up, down, &t->byte_count[UP]);
	if (!untold_before && tunnel_has_untold(t) && !t->timer.fired)
		tunnel_watch(t, t->timer.deadline_ns);
	if (!half_before && (down->conn.finish || up->conn.finish))
		tunnel_half_closed(t);
	conn_flush(&down->conn);
	conn_flush(&up->conn);
	/* What was kept back for lack of room moves when the send completes: that wakes us. */
	reason = tunnel_failure(&down->conn, &up->conn);
	if (reason != REASON_NONE)
		tunnel_close(t, reason);
	else if (line_pair_done(down, up))
		tunnel_close(t, REASON_NONE);
	else if (tunnel_idle(t))
		tunnel_close(t, REASON_IDLE_TIMEOUT);
	/* waits for: bytes, room, or the idle timer */
}

static void tunnel_step_again(struct tunnel *t)
{
	if (t->line[DOWN]->conn.failure != CONN_FAILURE_NONE) {
		tunnel_close(t, REASON_DOWNSTREAM_CLOSED);
	} else if (line_join(&t->line[UP], t->being.worker)) {
		tunnel_move(t, TUNNEL_CONNECT);
		tunnel_dial(t);
	}
	/* waits for: armed operations of the line that failed */
}

static void tunnel_join(struct tunnel *t)
{
	struct worker *w = t->being.worker;
	bool down = line_join(&t->line[DOWN], w), up = line_join(&t->line[UP], w);
	if (!down || !up)
		return; /* waits for: armed operations */
	call_served(t->serving);
	outbound_leave_try(&t->tries);
	call_done(&t->call);
	w->connection_count--;
	being_end(&t->being);
}

void tunnel_step(struct tunnel *t)
{
	struct worker *w = t->being.worker;
	for (int side = DOWN; side <= UP && t->state != TUNNEL_CLOSING; side++) {
		if (t->line[side] && (side == DOWN || t->state != TUNNEL_AGAIN))
			line_step(t->line[side], w);
	}
	if (t->state == TUNNEL_AGAIN)
		tunnel_step_again(t);
	switch (t->state) {
	case TUNNEL_CONNECT:
		tunnel_connect(t);
		if (t->state == TUNNEL_OPEN) {
			tunnel_shovel(t);
		} else if (t->state == TUNNEL_CONNECT) {
			conn_flush(&t->line[DOWN]->conn);
			conn_flush(&t->line[UP]->conn);
		}
		return;
	case TUNNEL_AGAIN:
		conn_flush(&t->line[DOWN]->conn);
		return;
	case TUNNEL_OPEN:
		tunnel_shovel(t);
		return;
	case TUNNEL_CLOSING:
		tunnel_join(t);
		return;
	}
}

void tunnel_free(struct tunnel *t)
{
	free(t->route);
	free(t->limit);
	free(t->shadow_limit);
	pool_put(&t->being.worker->tunnels, t);
}
