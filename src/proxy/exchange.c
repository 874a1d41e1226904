/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_head.h"
#include "exchange_limit.h"
#include "exchange_private.h"
#include "exchange_refuse.h"
#include "exchange_route.h"
#include "mirror.h"
#include "upstream.h"

/* Text of one request: what the mesh writes, and trailers. */
#define EXCHANGE_ARENA_MAX (256u << 10)

static const uint8_t exchange_moves[] = {
	[EXCHANGE_ROUTE] = 1u << EXCHANGE_WAIT | 1u << EXCHANGE_ENDED,
	[EXCHANGE_WAIT] = 1u << EXCHANGE_ROUTE | 1u << EXCHANGE_FORWARD | 1u << EXCHANGE_ENDED,
	[EXCHANGE_FORWARD] = 1u << EXCHANGE_ROUTE | 1u << EXCHANGE_TUNNEL | 1u << EXCHANGE_ENDED,
	[EXCHANGE_TUNNEL] = 1u << EXCHANGE_ENDED,
	[EXCHANGE_ENDED] = 0,
};

void exchange_move(struct exchange *x, enum exchange_state state)
{
	ASSERT(exchange_moves[x->state] & 1u << state);
	if (state != EXCHANGE_WAIT)
		service_hold_give(&x->pending, BREAKER_PENDING);
	x->state = state;
}

struct exchange *exchange_on(struct list *node, enum side side)
{
	return side == DOWN ? CONTAINER_OF(node, struct exchange, node[DOWN])
			    : CONTAINER_OF(node, struct exchange, node[UP]);
}

void exchange_ready(struct exchange *x)
{
	loop_ready(&x->being.worker->loop, &x->being.task);
}

void exchange_ready_carrier(struct exchange *x, enum side side)
{
	if (x->carrier[side])
		loop_ready(&x->being.worker->loop, &x->carrier[side]->being.task);
}

void exchange_attach(struct exchange *x, enum side side, struct carrier *c)
{
	x->carrier[side] = c;
	list_add_last(&c->exchanges, &x->node[side]);
}

struct carrier *exchange_detach(struct exchange *x, enum side side)
{
	struct carrier *c = x->carrier[side];
	list_remove(&x->node[side]);
	x->carrier[side] = NULL;
	return c;
}

struct buf *exchange_out(struct exchange *x, enum side side)
{
	return &x->carrier[side]->line->conn.out;
}

/* --- birth --- */

void exchange_begin(struct carrier *down, uint32_t stream, struct http_head *head)
{
	struct worker *w = down->being.worker;
	struct exchange *x = pool_take_used(&w->exchanges);
	if (!x) {
		carrier_close(down, true);
		return;
	}
	memset(x, 0, offsetof(struct exchange, text));
	being_init(&x->being, w, TASK_EXCHANGE);
	timer_init(&x->timer, &x->being.task);
	list_init(&x->node[DOWN]);
	list_init(&x->node[UP]);
	arena_init(&x->arena, EXCHANGE_ARENA_MAX);
	arena_lend(&x->arena, x->text, sizeof(x->text));
	x->request = head;
	x->start_wall_ns = w->loop.wall_ns;
	x->authorisation = authorisation_none();
	x->stream[DOWN] = stream;
	exchange_attach(x, DOWN, down);
	exchange_see_mark(x);
	exchange_ready(x);
}

/* --- the end --- */

static void exchange_record(struct exchange *x, struct call *call)
{
	bool is_delayed =
		x->reason == REASON_NONE && x->route && x->route->delay == EXCHANGE_DELAY_TAKEN;
	struct record_http r = {
		.start_ns = x->being.born_ns,
		.start_wall_ns = x->start_wall_ns,
		.method = x->request->method,
		.path = x->route ? x->route->path : x->request->path,
		.authority = x->route ? x->route->authority : x->request->authority,
		.user_agent = http_header_of(x->request, HTTP_NAME_USER_AGENT),
		.request_id = x->request_id,
		.authorisation = &x->authorisation,
		.route = x->route ? x->route->name : STR(""),
		.limit = exchange_limit_named(x),
		.shadow_limit = x->limit ? x->limit->shadow : STR(""),
		.status = x->status,
		.reason = is_delayed ? REASON_DELAY_INJECTED : x->reason,
		.details = x->details,
		.request_bytes = x->body_bytes[DOWN],
		.response_bytes = x->body_bytes[UP],
		.attempt_count = x->attempt_count,
		.is_sent = x->request_started,
		.is_mirror = x->is_mirror,
	};
	record_request(x->being.worker, call, &r);
}

void exchange_finish(struct exchange *x, enum reason reason)
{
	if (x->state == EXCHANGE_ENDED)
		return;
	struct worker *w = x->being.worker;
	x->reason = reason;
	outbound_tried(w, &x->carrier[DOWN]->call, &x->tries, reason);
	outbound_leave_try(&x->tries);
	service_hold_give(&x->retrying, BREAKER_RETRIES);
	exchange_move(x, EXCHANGE_ENDED);
	timer_clear(&w->loop, &x->timer);
	struct carrier *down = x->carrier[DOWN];
	ASSERT(down);
	exchange_record(x, &down->call);
	if (reason == REASON_NONE && down->call.way == CALL_WAY_LOCAL &&
		http_reusable(down->http)) {
		const struct route_request request = exchange_facts(x);
		asked_keep(&down->asked, &request);
	}
	exchange_detach(x, DOWN);
	if (x->carrier[UP]) {
		struct carrier *up = exchange_detach(x, UP);
		if (reason == REASON_NONE && x->flow[DOWN] == FLOW_DONE)
			upstream_put(up);
		else
			carrier_close(up, reason != REASON_NONE);
	}
	if (x->flow[UP] == FLOW_DONE)
		carrier_served(down);
	else
		carrier_close(down, true);
	mirror_leave(x);
	arena_done(&x->arena);
	call_served(x->serving);
	being_end(&x->being);
}

/* The caller's proxy may send the request again. */
static enum exchange_told exchange_tell(const struct exchange *x, enum reason reason)
{
	if (x->carrier[DOWN]->call.direction != CALL_INBOUND_MESH || !x->input_ended[DOWN] ||
		!reason_row(reason)->retry)
		return EXCHANGE_TOLD_NOTHING;
	return x->request_started ? EXCHANGE_TOLD_RESET : EXCHANGE_TOLD_UNSENT;
}

void exchange_fail(struct exchange *x, enum reason reason, uint16_t status, const char *text)
{
	if (x->state == EXCHANGE_ENDED)
		return;
	struct carrier *down = x->carrier[DOWN];
	/* After a request that is not what it seems, what follows could mean anything. */
	bool close = !x->input_ended[DOWN] || reason == REASON_BAD_REQUEST ||
		     reason == REASON_PATH_INVALID;
	if (!x->response_started && status != 0 && down->state == CARRIER_OPEN) {
		if (exchange_write_refusal(
			    x, reason, exchange_tell(x, reason), status, text, close)) {
			x->flow[UP] = FLOW_DONE;
			exchange_ready_carrier(x, DOWN);
		}
	}
	exchange_finish(x, reason);
}

void exchange_fail_reason(struct exchange *x, enum reason reason)
{
	const struct reason_row *row = reason_row(reason);
	exchange_fail(x, reason, row->status, row->text);
}

/* --- raw bytes --- */

void exchange_relay(struct exchange *x)
{
	if (x->state != EXCHANGE_TUNNEL)
		return;
	enum reason reason = exchange_recheck(x);
	if (reason != REASON_NONE) {
		exchange_fail_reason(x, reason);
		return;
	}
	struct line *down = x->carrier[DOWN]->line, *up = x->carrier[UP]->line;
	if (line_relay(down, up, &x->body_bytes[DOWN]))
		exchange_ready_carrier(x, UP);
	if (line_relay(up, down, &x->body_bytes[UP]))
		exchange_ready_carrier(x, DOWN);
	if (line_pair_done(down, up)) {
		x->flow[DOWN] = x->flow[UP] = FLOW_DONE;
		exchange_ready(x);
	}
}

static void exchange_tunnel(struct exchange *x)
{
	if (x->flow[UP] == FLOW_DONE)
		exchange_finish(x, REASON_NONE);
	/* waits for: bytes, room or the idle timer */
}

void exchange_step(struct exchange *x)
{
	if (x->timer.fired && x->state != EXCHANGE_ENDED)
		exchange_expire(x);
	switch (x->state) {
	case EXCHANGE_ROUTE:
		if (x->being.worker->loop.now_ns >= x->again_ns)
			exchange_route(x);
		return; /* waits for: the timer, before it is tried again */
	case EXCHANGE_WAIT:
		exchange_wait(x);
		return;
	case EXCHANGE_FORWARD:
		exchange_forward(x);
		return;
	case EXCHANGE_TUNNEL:
		exchange_tunnel(x);
		return;
	case EXCHANGE_ENDED:
		return;
	}
}

void exchange_free(struct exchange *x)
{
	pool_put(&x->being.worker->exchanges, x);
}
