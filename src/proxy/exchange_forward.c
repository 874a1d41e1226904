/* SPDX-License-Identifier: Apache-2.0 */
/* A request that has its upstream connection: heads, bodies and ends, both ways. */
#include "exchange_head.h"
#include "exchange_limit.h"
#include "exchange_private.h"
#include "exchange_retry.h"
#include "exchange_route.h"
#include "mirror.h"

/* The end of the message from this side, once it has come and there is room. */
static void exchange_write_end(struct exchange *x, enum side side)
{
	enum side other = side_other(side);
	if (x->flow[side] != FLOW_ENDING ||
		!http_write_end(x->carrier[other]->http, x->stream[other], x->trailers[side],
			exchange_out(x, other)))
		return; /* waits for: the end, or room */
	x->flow[side] = FLOW_DONE;
	exchange_ready_carrier(x, other);
}

static void exchange_write_request(struct exchange *x)
{
	struct carrier *up = x->carrier[UP];
	if (x->flow[DOWN] == FLOW_HEAD) {
		if (x->stream[UP] == 0)
			x->stream[UP] = http_open(up->http);
		if (x->stream[UP] == 0) {
			exchange_lost(x, UP, REASON_UPSTREAM_CLOSED);
			return;
		}
		if (!http_write_head(up->http, x->stream[UP], x->request, exchange_out(x, UP))) {
			exchange_no_room(x, UP);
			return;
		}
		x->request_started = true;
		x->flow[DOWN] = x->input_ended[DOWN] ? FLOW_ENDING : FLOW_BODY;
		/* in this order, so that the head leaves together with what is there of the body */
		if (x->flow[DOWN] == FLOW_BODY)
			exchange_ready_carrier(x, DOWN);
		exchange_ready_carrier(x, UP);
	}
	exchange_write_end(x, DOWN);
}

static void exchange_write_interim(struct exchange *x)
{
	struct carrier *down = x->carrier[DOWN];
	if (!x->interim)
		return;
	if (x->request->version != HTTP_1_0 &&
		!http_write_head(down->http, x->stream[DOWN], x->interim, exchange_out(x, DOWN)))
		return; /* waits for: room */
	x->interim = NULL;
	exchange_ready_carrier(x, UP);
	exchange_ready_carrier(x, DOWN);
}

static void exchange_begin_tunnel(struct exchange *x)
{
	exchange_move(x, EXCHANGE_TUNNEL);
	figures_end(&x->tries.figure); /* it may live for weeks */
	exchange_watch(x, x->being.worker->loop.now_ns + exchange_idle_ns(x));
}

static void exchange_write_response(struct exchange *x)
{
	struct carrier *down = x->carrier[DOWN];
	exchange_write_interim(x);
	if (x->interim)
		return;
	if (x->response) {
		enum http_framing framing = x->response->framing;
		x->status = x->response->status;
		if (x->being.worker->draining)
			http_close_after(down->http);
		if (!http_write_head(
			    down->http, x->stream[DOWN], x->response, exchange_out(x, DOWN))) {
			exchange_no_room(x, DOWN);
			return;
		}
		x->response = NULL;
		x->response_started = true;
		x->flow[UP] = x->input_ended[UP] ? FLOW_ENDING : FLOW_BODY;
		if (framing == HTTP_FRAMING_TUNNEL)
			exchange_begin_tunnel(x);
		if (x->carrier[UP]->blocked || x->state == EXCHANGE_TUNNEL)
			exchange_ready_carrier(x, UP); /* else it is just reading on */
		exchange_ready_carrier(x, DOWN);
	}
	exchange_write_end(x, UP);
}

/* A server whose root has gone: what it has been sent it may answer. Nothing has been sent yet: the
 * request gets another connection. */
static void exchange_leave_untrusted(struct exchange *x)
{
	if (x->flow[DOWN] != FLOW_HEAD)
		return;
	carrier_close(exchange_detach(x, UP), false);
	exchange_again(x);
}

/* A newer plan refuses it: however far it has got, it ends, and the session that it came on with
 * it. */
static bool exchange_is_refused_now(struct exchange *x)
{
	struct carrier *down = x->carrier[DOWN];
	struct worker *w = x->being.worker;
	struct route_request request;
	const struct authorise_asks asks = exchange_asks(x, w->current->plan, &request);
	struct authorisation now;
	enum reason reason = authorise_again(w, &down->call, &asks, &now);
	if (reason == REASON_NONE)
		reason = call_check_outside(w, down->line, &down->call);
	if (reason == REASON_NONE)
		return false;
	x->authorisation = authorisation_copy(&now, &x->arena);
	http_close_after(down->http);
	exchange_fail_reason(x, reason);
	return true;
}

void exchange_follow(struct exchange *x)
{
	struct worker *w = x->being.worker;
	struct carrier *down = x->carrier[DOWN];
	if (x->state != EXCHANGE_FORWARD || exchange_answered(x) ||
		x->trust_number == w->current->plan->number)
		return;
	x->trust_number = w->current->plan->number;
	enum reason reason = call_check_down(w, down->line, &down->call);
	if (reason != REASON_NONE)
		http_close_after(down->http); /* the next request would not be taken */
	if (reason != REASON_NONE && reason != REASON_PEER_UNTRUSTED) {
		exchange_fail_reason(x, reason);
		return;
	}
	if (exchange_is_refused_now(x))
		return;
	reason = call_check_up(w, x->carrier[UP]->line, &down->call);
	if (reason == REASON_PEER_UNTRUSTED)
		exchange_leave_untrusted(x);
	else if (reason != REASON_NONE) /* it is not the caller who is turned away */
		exchange_fail(x, reason, 503, reason_row(reason)->text);
}

void exchange_forward(struct exchange *x)
{
	exchange_follow(x);
	if (x->state == EXCHANGE_FORWARD)
		exchange_write_request(x);
	if (x->state == EXCHANGE_FORWARD)
		exchange_write_response(x);
	if (x->state == EXCHANGE_FORWARD && x->flow[UP] == FLOW_DONE)
		exchange_finish(x, REASON_NONE);
	/* waits for: bytes or room */
}

/* What the other machine's proxy tells of its workload. From anybody else, a workload's server
 * above all, the same words mean nothing; they go no further either, for the next proxy would
 * believe them. */
static enum exchange_told exchange_told_by(const struct exchange *x, struct http_head *head)
{
	enum exchange_told told = exchange_take_told(head);
	bool is_refusal = head->status == 503 || http_header_get(head, "grpc-status").len > 0;
	bool is_proxy = x->carrier[DOWN]->call.way == CALL_WAY_MESH && is_refusal;
	return is_proxy ? told : EXCHANGE_TOLD_NOTHING;
}

/* What came is not what the caller gets: the request, which has no body, is sent again. */
static bool exchange_may_respond_later(
	struct exchange *x, const struct http_head *head, enum exchange_told told)
{
	if (x->state != EXCHANGE_FORWARD)
		return false;
	if (told == EXCHANGE_TOLD_UNSENT && x->input_ended[DOWN] && x->body_bytes[DOWN] == 0 &&
		call_may_pick_again(
			&x->carrier[DOWN]->call, &x->tries, REASON_UPSTREAM_CONNECT_FAILED))
		return true;
	uint64_t wait_ns;
	return x->route && exchange_retry_wait(x, head, &wait_ns) &&
	       exchange_retry_may(x, exchange_retry_response(head, told), wait_ns);
}

/* Whoever says when it wants to be asked again gets nobody else's retries meanwhile either. */
static void exchange_let_rest(struct exchange *x, const struct http_head *head)
{
	uint64_t wait_ns;
	if (exchange_retry_wait(x, head, &wait_ns) && wait_ns > 0)
		outbound_let_rest(x->being.worker, &x->tries, wait_ns);
}

void exchange_response(struct exchange *x, struct http_head *head)
{
	enum exchange_told told = exchange_told_by(x, head);
	outbound_answered(x->being.worker, &x->tries, exchange_is_gateway_error(head, told));
	if (head->status == 503)
		exchange_let_rest(x, head);
	figures_answered(&x->tries.figure, head);
	if ((told != EXCHANGE_TOLD_NOTHING || x->route) &&
		exchange_may_respond_later(x, head, told)) {
		carrier_close(exchange_detach(x, UP), true);
		x->interim = NULL;
		exchange_again(x);
		return;
	}
	service_hold_give(&x->retrying, BREAKER_RETRIES);
	if (x->route && !exchange_edit_response(x, head)) {
		exchange_fail_reason(x, REASON_OVERLOAD);
		return;
	}
	exchange_limit_response(x, head);
	x->response = head;
	if (x->state == EXCHANGE_FORWARD)
		exchange_write_response(x);
}

void exchange_interim(struct exchange *x, struct http_head *head)
{
	exchange_remove_ours(head, HTTP_NAME_OTHER);
	x->interim = head;
	if (x->state == EXCHANGE_FORWARD)
		exchange_write_interim(x);
}

bool exchange_rests(const struct exchange *x)
{
	return x->state == EXCHANGE_ROUTE;
}

bool exchange_runs(const struct exchange *x)
{
	return x->state == EXCHANGE_FORWARD || x->state == EXCHANGE_TUNNEL;
}

bool exchange_reading(const struct exchange *x, enum side side)
{
	return x->stream[side] != 0 && !x->input_ended[side] &&
	       (side == DOWN || x->response || x->interim || x->response_started);
}

bool exchange_borrows(const struct exchange *x, enum side side)
{
	return side == UP && (x->response || x->interim);
}

size_t exchange_room(struct exchange *x, enum side side)
{
	enum side other = side_other(side);
	struct carrier *to = x->carrier[other];
	if (side == DOWN && x->request->framing == HTTP_FRAMING_NONE)
		return SIZE_MAX; /* only its end is still to come */
	if (x->state != EXCHANGE_FORWARD || !to || to->state != CARRIER_OPEN)
		return 0;
	/* Between an interim response and the final head nothing has to be passed on. */
	if (side == UP && !x->response && !x->interim && !x->response_started)
		return SIZE_MAX;
	if (x->flow[side] != FLOW_BODY)
		return 0;
	return http_body_space(to->http, x->stream[other], exchange_out(x, other));
}

void exchange_body(struct exchange *x, enum side side, struct str body)
{
	enum side other = side_other(side);
	struct carrier *to = x->carrier[other];
	ASSERT(to && x->flow[side] == FLOW_BODY);
	size_t used = http_write_body(to->http, x->stream[other], body, exchange_out(x, other));
	ASSERT(used == body.len); /* the carrier fed no more than exchange_room() */
	x->body_bytes[side] += body.len;
	if (side == DOWN)
		mirror_body(x, body);
	exchange_ready_carrier(x, other);
}

void exchange_trailers(struct exchange *x, enum side side, const struct http_head *trailers)
{
	struct http_head *copy = arena_take(&x->arena, sizeof(*copy));
	if (side == UP)
		figures_trailers(&x->tries.figure, trailers);
	if (!copy || !exchange_copy_head(&x->arena, trailers, copy))
		return;
	exchange_remove_ours(copy, HTTP_NAME_OTHER);
	if (side == DOWN)
		exchange_remove_judged(&x->carrier[DOWN]->call, copy);
	x->trailers[side] = copy;
}

void exchange_end(struct exchange *x, enum side side)
{
	x->input_ended[side] = true;
	if (side == DOWN)
		mirror_whole(x);
	if (x->flow[side] == FLOW_BODY)
		x->flow[side] = FLOW_ENDING;
	if (x->state == EXCHANGE_FORWARD)
		exchange_write_end(x, side); /* at once: it leaves together with what it ends */
	if (exchange_answered(x))
		exchange_ready(x); /* nothing else is left to do */
}

bool exchange_answered(const struct exchange *x)
{
	return x->flow[UP] == FLOW_DONE;
}

void exchange_wake(struct exchange *x, enum side side)
{
	enum side other = side_other(side);
	struct carrier *to = x->carrier[other];
	if (to && to->blocked)
		exchange_ready_carrier(x, other);
	bool pending = x->response || x->interim || x->flow[DOWN] == FLOW_ENDING ||
		       x->flow[UP] == FLOW_ENDING || x->flow[DOWN] == FLOW_HEAD;
	if (pending)
		exchange_ready(x);
}
