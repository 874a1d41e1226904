/* SPDX-License-Identifier: Apache-2.0 */
/* A request before it is sent: what its route makes of it, whether it may, and who gets it. */
#include "exchange_head.h"
#include "exchange_limit.h"
#include "exchange_private.h"
#include "exchange_refuse.h"
#include "exchange_route.h"
#include "mirror.h"
#include "outside.h"
#include "upstream.h"

void exchange_wait(struct exchange *x)
{
	struct worker *w = x->being.worker;
	const struct carrier *down = x->carrier[DOWN];
	if (x->carrier[UP]->state != CARRIER_OPEN)
		return; /* waits for: the upstream connection, which says when it is there */
	if (call_is_secured_otherwise(w, down->line, &down->call)) {
		carrier_close(exchange_detach(x, UP), true);
		exchange_again(x);
		return;
	}
	exchange_move(x, EXCHANGE_FORWARD);
	load_sent(&x->tries.last, w->loop.now_ns);
	if (down->plan_number != w->current->plan->number)
		exchange_ready_carrier(x, DOWN); /* it can follow that plan now */
	exchange_forward(x);
}

/* A fresh connection, or a place on a shared one, if one more may wait for it. */
static struct carrier *exchange_dial(struct exchange *x, enum reason *ret_reason)
{
	struct worker *w = x->being.worker;
	struct call *call = &x->carrier[DOWN]->call;
	if (!upstream_is_there(w, call) &&
		!service_hold_take(&x->pending, w, call, call->service, BREAKER_PENDING)) {
		*ret_reason = REASON_BREAKER_PENDING;
		return NULL;
	}
	struct carrier *up = upstream_dial(w, call, ret_reason);
	if (!up)
		service_hold_give(&x->pending, BREAKER_PENDING);
	else if (call->way == CALL_WAY_OUTSIDE)
		carrier_connect_by(up, outside_connect_ns(call, &x->tries), x->tries.until_ns);
	return up;
}

static void exchange_take_upstream(struct exchange *x)
{
	struct worker *w = x->being.worker;
	struct call *call = &x->carrier[DOWN]->call;
	enum reason reason = REASON_OVERLOAD;
	/* The first try may use a pooled connection; one that fails is followed by a fresh one. */
	struct carrier *up = x->attempt_count == 0 ? upstream_take(w, call) : NULL;
	if (!up)
		up = exchange_dial(x, &reason);
	/* what is tried again is tried once: see exchange_may_retry() */
	if (up && x->attempt_count > 0)
		up->reused = false;
	/* who was not let in has not tried */
	x->attempt_count += up || !exchange_is_overload(reason);
	if (!up)
		outbound_tried(w, call, &x->tries, reason);
	if (!up && exchange_try_again(x, reason))
		return;
	if (!up) {
		exchange_fail_reason(x, reason);
		return;
	}
	exchange_attach(x, UP, up);
	x->try_ns = w->loop.now_ns;
	exchange_move(x, EXCHANGE_WAIT);
	exchange_watch(x, w->loop.now_ns + exchange_idle_ns(x));
	exchange_wait(x);
}

static enum reason exchange_authorise(struct exchange *x)
{
	struct authorisation now;
	const struct call *call = &x->carrier[DOWN]->call;
	struct route_request request;
	const struct authorise_asks asks = exchange_asks(x, call->hold->plan, &request);
	enum reason reason = authorise(call, &asks, &now);
	/* they may have come while it was on its way to another machine */
	if (x->trailers[DOWN])
		exchange_remove_judged(call, x->trailers[DOWN]);
	x->plan_number = x->trust_number = call->hold->plan->number;
	/* A copy: the plan that it comes from may be gone before this is logged. */
	x->authorisation = authorisation_copy(&now, &x->arena);
	if (reason == REASON_NONE && x->attempt_count == 0)
		record_let_in(x->being.worker, call, asks.http);
	return reason;
}

void exchange_no_room(struct exchange *x, enum side side)
{
	if (conn_drained(&x->carrier[side]->line->conn))
		exchange_fail_reason(x, REASON_OVERLOAD);
}

/* By the rule alone. */
static void exchange_answer(struct exchange *x)
{
	struct carrier *down = x->carrier[DOWN];
	struct worker *w = x->being.worker;
	if (!exchange_write_answer(x)) {
		exchange_no_room(x, DOWN);
		if (x->state != EXCHANGE_ENDED)
			exchange_watch(x, w->loop.now_ns + exchange_idle_ns(x));
		return; /* waits for: room */
	}
	outbound_unpick(w, &down->call);
	x->response_started = true;
	x->flow[UP] = FLOW_DONE;
	exchange_ready_carrier(x, DOWN);
	exchange_finish(x, REASON_NONE);
}

/* An earlier try was for a workload here, which was not to get the token: another machine is. */
static enum reason exchange_return_token(struct exchange *x)
{
	if (x->carrier[DOWN]->call.way == CALL_WAY_LOCAL)
		return REASON_NONE;
	bool fits = tokens_put_back(&x->token, x->request, &x->arena);
	x->token = (struct tokens_carried){0};
	return fits ? REASON_NONE : REASON_OVERLOAD;
}

/* To one of the endpoints that it may lead to, by policy, and within limits. */
static enum reason exchange_place(struct exchange *x)
{
	struct call *call = &x->carrier[DOWN]->call;
	const struct call_lead *lead = x->route ? &x->route->lead : NULL;
	enum reason reason = exchange_pick(x);
	figures_picked(x->being.worker, call, lead, reason);
	call_served(x->serving);
	x->serving = call_serve(call);
	if (reason == REASON_NONE)
		reason = x->attempt_count == 0 ? exchange_prepare_request(x)
					       : exchange_name_caller(x);
	if (reason == REASON_NONE)
		reason = exchange_return_token(x);
	if (reason == REASON_NONE)
		reason = exchange_authorise(x);
	if (reason == REASON_NONE)
		reason = exchange_ask_limits(x);
	if (reason == REASON_NONE && x->attempt_count == 0 && x->route)
		mirror_begin(x);
	if (reason == REASON_NONE)
		reason = exchange_tell_route(x);
	return reason;
}

/* A fault that its rule wants: it is held back, or answered in place of the service. Whoever is
 * held back waits as for a retry, with no connection upstream; its timeouts go on. */
static bool exchange_take_fault(struct exchange *x)
{
	struct worker *w = x->being.worker;
	struct exchange_route *r = x->route;
	if (r->delay == EXCHANGE_DELAY_DUE) {
		r->delay = EXCHANGE_DELAY_TAKEN;
		metric_add(&w->values->faults_delayed_total, 1);
		x->again_ns = w->loop.now_ns + r->fault.delay_ms * CLOCK_MS;
		exchange_watch(x, x->again_ns);
		return true;
	}
	if (r->fault.abort_status == 0)
		return false;
	metric_add(&w->values->faults_aborted_total, 1);
	outbound_unpick(w, &x->carrier[DOWN]->call);
	exchange_fail(x, REASON_FAULT_INJECTED, r->fault.abort_status,
		reason_row(REASON_FAULT_INJECTED)->text);
	return true;
}

void exchange_route(struct exchange *x)
{
	struct carrier *down = x->carrier[DOWN];
	enum reason reason = carrier_renew(down);
	if (reason != REASON_NONE) {
		http_close_after(down->http);
		exchange_fail_reason(x, reason);
		return;
	}
	if (str_eq(x->request->method, STR("CONNECT"))) {
		exchange_fail(x, REASON_BAD_REQUEST, 405, "CONNECT is not taken here");
		return;
	}
	/* each request by its own host, whatever those before it asked for */
	if (down->call.by_name)
		reason = outside_name(&down->call, EXTERNAL_HTTP, x->request->authority);
	if (reason == REASON_NONE && !exchange_is_chosen(x)) {
		reason = exchange_normalise(x);
		if (reason == REASON_NONE && routing_of(&down->call))
			reason = exchange_choose(x);
	}
	if (reason == REASON_NONE && x->route && x->route->answer) {
		exchange_answer(x);
		return;
	}
	if (reason == REASON_NONE && x->route && exchange_take_fault(x))
		return;
	if (reason == REASON_NONE)
		reason = exchange_place(x);
	if (reason == REASON_RATE_LIMITED)
		exchange_fail(x, reason, reason_row(reason)->status, exchange_limit_text(x));
	else if (reason != REASON_NONE)
		exchange_fail_reason(x, reason);
	else
		exchange_take_upstream(x);
}
