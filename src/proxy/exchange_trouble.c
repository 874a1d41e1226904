/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong with a request: time, bad bytes, carriers that are lost; and whether it is sent
 * again. */
#include "exchange_private.h"
#include "exchange_retry.h"
#include "exchange_route.h"

/* A pooled connection may turn out to be closed; so often is another one tried. */
#define EXCHANGE_ATTEMPTS_MAX 3

/* --- time --- */

uint64_t exchange_deadline_ns(const struct exchange *x)
{
	uint64_t timeout_ms = x->route && x->route->timeout_ms
				      ? x->route->timeout_ms
				      : worker_conf(x->being.worker)->request_timeout_ms;
	if (timeout_ms == 0 || x->response || x->response_started)
		return UINT64_MAX;
	return x->being.born_ns + timeout_ms * CLOCK_MS;
}

uint64_t exchange_idle_ns(const struct exchange *x)
{
	const struct conf *conf = worker_conf(x->being.worker);
	return CLOCK_MS * (uint64_t)(x->state == EXCHANGE_TUNNEL ? conf->idle_timeout_ms
								 : conf->stream_idle_timeout_ms);
}

/* With the first certificate, or when it is to be judged without the token that it came with. */
static uint64_t exchange_tunnel_end_ns(const struct exchange *x)
{
	const struct worker *w = x->being.worker;
	uint64_t lines_ns = line_pair_expiry_ns(x->carrier[DOWN]->line, x->carrier[UP]->line, w);
	uint64_t token_ns = tokens_end_ns(w, &x->token);
	return token_ns < lines_ns ? token_ns : lines_ns;
}

void exchange_watch(struct exchange *x, uint64_t idle_at_ns)
{
	struct worker *w = x->being.worker;
	uint64_t deadline_ns = exchange_deadline_ns(x);
	if (x->state == EXCHANGE_TUNNEL)
		deadline_ns = exchange_tunnel_end_ns(x);
	if (x->route && exchange_try_deadline_ns(x) < deadline_ns)
		deadline_ns = exchange_try_deadline_ns(x);
	x->timer.fired = false;
	timer_set(&w->loop, &x->timer, idle_at_ns < deadline_ns ? idle_at_ns : deadline_ns);
}

enum reason exchange_recheck(struct exchange *x)
{
	struct worker *w = x->being.worker;
	struct carrier *down = x->carrier[DOWN];
	const struct carrier *up = x->carrier[UP];
	if (w->loop.now_ns >= line_pair_expiry_ns(down->line, up->line, w))
		return REASON_PEER_EXPIRED;
	bool has_ended = tokens_end(w, &x->token);
	if (x->plan_number == w->current->plan->number && !has_ended)
		return REASON_NONE;
	x->plan_number = w->current->plan->number;
	struct authorisation now = x->authorisation;
	struct route_request request;
	const struct authorise_asks asks = exchange_asks(x, w->current->plan, &request);
	enum reason reason = call_check(w, down->line, up->line, &down->call, &asks, &now);
	if (!authorisation_equal(&now, &x->authorisation))
		x->authorisation = authorisation_copy(&now, &x->arena);
	return reason;
}

void exchange_expire(struct exchange *x)
{
	struct worker *w = x->being.worker;
	/* nothing moves while we hold it back ourselves */
	uint64_t moved_ns = x->again_ns > x->being.born_ns ? x->again_ns : x->being.born_ns;
	x->timer.fired = false;
	enum reason reason = x->state == EXCHANGE_TUNNEL ? exchange_recheck(x) : REASON_NONE;
	if (reason != REASON_NONE) {
		exchange_fail_reason(x, reason);
		return;
	}
	if (x->route && w->loop.now_ns >= exchange_try_deadline_ns(x) &&
		w->loop.now_ns < exchange_deadline_ns(x)) {
		/* an upload that the client is slow with is not the endpoint's fault */
		bool is_client = x->state == EXCHANGE_FORWARD && !x->input_ended[DOWN] &&
				 conn_drained(&x->carrier[UP]->line->conn);
		exchange_lost(x, UP, is_client ? REASON_REQUEST_TIMEOUT : REASON_UPSTREAM_TIMEOUT);
		return;
	}
	for (int side = DOWN; side <= UP; side++) {
		if (x->carrier[side] && x->carrier[side]->line->conn.moved_ns > moved_ns)
			moved_ns = x->carrier[side]->line->conn.moved_ns;
	}
	uint64_t idle_at_ns = moved_ns + exchange_idle_ns(x);
	bool late = w->loop.now_ns >= exchange_deadline_ns(x);
	enum reason client_slow = late ? REASON_REQUEST_TIMEOUT : REASON_IDLE_TIMEOUT;
	if (late || w->loop.now_ns >= idle_at_ns)
		exchange_fail_reason(
			x, x->input_ended[DOWN] ? REASON_UPSTREAM_TIMEOUT : client_slow);
	else
		exchange_watch(x, idle_at_ns);
}

/* --- again --- */

/* Another endpoint of the service, before anything was sent to the last one. */
static bool exchange_may_pick_again(const struct exchange *x, enum reason reason)
{
	return (x->state == EXCHANGE_ROUTE || x->state == EXCHANGE_WAIT) &&
	       call_may_pick_again(&x->carrier[DOWN]->call, &x->tries, reason);
}

void exchange_again(struct exchange *x)
{
	struct worker *w = x->being.worker;
	struct carrier *down = x->carrier[DOWN];
	metric_add(&w->values->retries_total, 1);
	outbound_leave_try(&x->tries);
	x->stream[UP] = 0;
	x->flow[DOWN] = FLOW_HEAD;
	x->details = NULL;
	if (x->state != EXCHANGE_ROUTE)
		exchange_move(x, EXCHANGE_ROUTE);
	if (x->again_ns > w->loop.now_ns) {
		call_follow(w, down->line, &down->call, false);
		exchange_watch(x, x->again_ns);
	}
	exchange_ready(x);
}

bool exchange_try_again(struct exchange *x, enum reason reason)
{
	if (!exchange_may_pick_again(x, reason) &&
		!exchange_retry_may(x, exchange_retry_reason(x, reason), 0))
		return false;
	exchange_again(x);
	return true;
}

/* --- what is lost --- */

void exchange_bad(struct exchange *x, enum side side, enum http_bad bad)
{
	if (x->input_ended[side])
		return; /* bytes after the message: the codec keeps the connection from reuse */
	if (side == UP && bad == HTTP_BAD_TRUNCATED && !x->response && !x->response_started) {
		exchange_lost(x, UP, REASON_UPSTREAM_CLOSED);
		return;
	}
	x->details = http_bad_name(bad);
	if (side == UP)
		exchange_fail_reason(x, bad == HTTP_BAD_TRUNCATED && x->response_started
						? REASON_UPSTREAM_ABORTED
						: REASON_BAD_RESPONSE);
	else if (bad == HTTP_BAD_TRUNCATED)
		exchange_finish(x, REASON_DOWNSTREAM_CLOSED);
	else
		exchange_fail(x, REASON_BAD_REQUEST, http_bad_status(bad), http_bad_text(bad));
}

/* Safe to send again: nothing came back, the request is all in our hands, and it was either never
 * sent or does no harm twice (RFC 9110 9.2.2). */
static bool exchange_may_retry(
	const struct exchange *x, const struct carrier *up, enum reason reason)
{
	return reason_row(reason)->retry && !x->response_started && up->reused &&
	       x->input_ended[DOWN] && x->body_bytes[DOWN] == 0 && exchange_idempotent(x) &&
	       x->attempt_count < EXCHANGE_ATTEMPTS_MAX;
}

static void exchange_lost_up(struct exchange *x, struct carrier *up, enum reason reason)
{
	/* the service has done its work, though the client had no room for the head yet */
	bool has_answered = x->response;
	x->response = NULL;
	x->interim = NULL;
	if (!has_answered && exchange_may_retry(x, up, reason)) {
		exchange_again(x);
		return;
	}
	outbound_tried(x->being.worker, &x->carrier[DOWN]->call, &x->tries, reason);
	if (!has_answered && exchange_try_again(x, reason))
		return;
	if (x->response_started && reason == REASON_UPSTREAM_CLOSED)
		reason = REASON_UPSTREAM_ABORTED;
	exchange_fail_reason(x, reason);
}

void exchange_lost(struct exchange *x, enum side side, enum reason reason)
{
	if (x->state == EXCHANGE_ENDED) {
		if (x->carrier[side])
			exchange_detach(x, side);
		return;
	}
	if (side == DOWN) {
		exchange_finish(x, reason);
		return;
	}
	struct carrier *up = exchange_detach(x, UP);
	carrier_close(up, true);
	exchange_lost_up(x, up, reason);
}
