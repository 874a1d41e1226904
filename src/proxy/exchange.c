/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange.h"

#include "exchange_head.h"
#include "exchange_retry.h"
#include "exchange_route.h"
#include "routing.h"
#include "upstream.h"

/* Text of one request: what the mesh writes, and trailers. */
#define EXCHANGE_ARENA_MAX (256u << 10)
/* A pooled connection may turn out to be closed; so often is another one tried. */
#define EXCHANGE_ATTEMPTS_MAX 3

static const uint8_t exchange_moves[] = {
	[EXCHANGE_ROUTE] = 1u << EXCHANGE_WAIT | 1u << EXCHANGE_ENDED,
	[EXCHANGE_WAIT] = 1u << EXCHANGE_ROUTE | 1u << EXCHANGE_FORWARD | 1u << EXCHANGE_ENDED,
	[EXCHANGE_FORWARD] = 1u << EXCHANGE_ROUTE | 1u << EXCHANGE_TUNNEL | 1u << EXCHANGE_ENDED,
	[EXCHANGE_TUNNEL] = 1u << EXCHANGE_ENDED,
	[EXCHANGE_ENDED] = 0,
};

static void exchange_move(struct exchange *x, enum exchange_state state)
{
	ASSERT(exchange_moves[x->state] & 1u << state);
	x->state = state;
}

struct exchange *exchange_on(struct list *node, enum side side)
{
	return side == DOWN ? CONTAINER_OF(node, struct exchange, node[DOWN])
			    : CONTAINER_OF(node, struct exchange, node[UP]);
}

static void exchange_ready(struct exchange *x)
{
	loop_ready(&x->being.worker->loop, &x->being.task);
}

static void exchange_ready_carrier(struct exchange *x, enum side side)
{
	if (x->carrier[side])
		loop_ready(&x->being.worker->loop, &x->carrier[side]->being.task);
}

static void exchange_attach(struct exchange *x, enum side side, struct carrier *c)
{
	x->carrier[side] = c;
	list_add_last(&c->exchanges, &x->node[side]);
}

static struct carrier *exchange_detach(struct exchange *x, enum side side)
{
	struct carrier *c = x->carrier[side];
	list_remove(&x->node[side]);
	x->carrier[side] = NULL;
	return c;
}

static struct buf *exchange_out(struct exchange *x, enum side side)
{
	return &x->carrier[side]->line->conn.out;
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
		.policy = x->policy,
		.route = x->route ? x->route->name : STR(""),
		.status = x->status,
		.reason = is_delayed ? REASON_DELAY_INJECTED : x->reason,
		.details = x->details,
		.request_bytes = x->body_bytes[DOWN],
		.response_bytes = x->body_bytes[UP],
		.attempt_count = x->attempt_count,
	};
	record_request(x->being.worker, call, &r);
}

/* Lets both carriers go, in the way that the outcome allows. */
static void exchange_finish(struct exchange *x, enum reason reason)
{
	if (x->state == EXCHANGE_ENDED)
		return;
	struct worker *w = x->being.worker;
	x->reason = reason;
	outbound_tried(w, &x->tries, reason);
	outbound_leave_try(&x->tries);
	exchange_move(x, EXCHANGE_ENDED);
	timer_clear(&w->loop, &x->timer);
	struct carrier *down = x->carrier[DOWN];
	ASSERT(down);
	exchange_record(x, &down->call);
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
	arena_done(&x->arena);
	call_served(x->serving);
	being_end(&x->being);
}

/* The caller's proxy may send the request again. */
static bool exchange_tell(struct exchange *x, enum reason reason, uint16_t status, const char *text)
{
	const struct carrier *down = x->carrier[DOWN];
	enum exchange_told told = EXCHANGE_TOLD_NOTHING;
	if (down->call.direction != CALL_INBOUND_MESH || !x->input_ended[DOWN])
		return false;
	if (reason_row(reason)->retry)
		told = x->request_started ? EXCHANGE_TOLD_RESET : EXCHANGE_TOLD_UNSENT;
	return told != EXCHANGE_TOLD_NOTHING && exchange_write_told(x, told, status, text);
}

/* Answers in our own words if no response has begun, else the client sees an abort. */
static void exchange_fail(struct exchange *x, enum reason reason, uint16_t status, const char *text)
{
	if (x->state == EXCHANGE_ENDED)
		return;
	struct carrier *down = x->carrier[DOWN];
	/* After a request that is not what it seems, what follows could mean anything. */
	bool close = !x->input_ended[DOWN] || reason == REASON_BAD_REQUEST ||
		     reason == REASON_PATH_INVALID;
	if (!x->response_started && status != 0 && down->state == CARRIER_OPEN) {
		x->status = status;
		if (exchange_tell(x, reason, status, text) ||
			http_write_error(down->http, x->stream[DOWN], status, text, close,
				&down->line->conn.out)) {
			x->flow[UP] = FLOW_DONE;
			exchange_ready_carrier(x, DOWN);
		}
	}
	exchange_finish(x, reason);
}

static void exchange_fail_reason(struct exchange *x, enum reason reason)
{
	const struct reason_row *row = reason_row(reason);
	exchange_fail(x, reason, row->status, row->text);
}

/* --- beginning and routing --- */

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
	x->policy = STR("");
	x->stream[DOWN] = stream;
	exchange_attach(x, DOWN, down);
	exchange_ready(x);
}

/* When the request as a whole has taken too long: never once its response has begun. */
static uint64_t exchange_deadline_ns(const struct exchange *x)
{
	uint64_t timeout_ms = x->route && x->route->timeout_ms
				      ? x->route->timeout_ms
				      : worker_conf(x->being.worker)->request_timeout_ms;
	if (timeout_ms == 0 || x->response || x->response_started)
		return UINT64_MAX;
	return x->being.born_ns + timeout_ms * CLOCK_MS;
}

static uint64_t exchange_idle_ns(const struct exchange *x)
{
	const struct conf *conf = worker_conf(x->being.worker);
	return CLOCK_MS * (uint64_t)(x->state == EXCHANGE_TUNNEL ? conf->idle_timeout_ms
								 : conf->stream_idle_timeout_ms);
}

static void exchange_watch(struct exchange *x, uint64_t idle_at_ns)
{
	struct worker *w = x->being.worker;
	uint64_t deadline_ns = exchange_deadline_ns(x);
	if (x->state == EXCHANGE_TUNNEL)
		deadline_ns = line_pair_expiry_ns(x->carrier[DOWN]->line, x->carrier[UP]->line, w);
	if (x->route && exchange_try_deadline_ns(x) < deadline_ns)
		deadline_ns = exchange_try_deadline_ns(x);
	x->timer.fired = false;
	timer_set(&w->loop, &x->timer, idle_at_ns < deadline_ns ? idle_at_ns : deadline_ns);
}

static void exchange_forward(struct exchange *x);

static void exchange_wait(struct exchange *x)
{
	if (x->carrier[UP]->state != CARRIER_OPEN)
		return; /* waits for: the upstream connection, which says when it is there */
	exchange_move(x, EXCHANGE_FORWARD);
	exchange_forward(x);
}

/* Another endpoint of the service, before anything was sent to the last one. */
static bool exchange_may_pick_again(const struct exchange *x, enum reason reason)
{
	return (x->state == EXCHANGE_ROUTE || x->state == EXCHANGE_WAIT) &&
	       call_may_pick_again(&x->carrier[DOWN]->call, &x->tries, reason);
}

static void exchange_again(struct exchange *x)
{
	metric_add(&x->being.worker->values->retries_total, 1);
	outbound_leave_try(&x->tries);
	x->stream[UP] = 0;
	x->flow[DOWN] = FLOW_HEAD;
	x->details = NULL;
	if (x->state != EXCHANGE_ROUTE)
		exchange_move(x, EXCHANGE_ROUTE);
	if (x->again_ns > x->being.worker->loop.now_ns)
		exchange_watch(x, x->again_ns);
	exchange_ready(x);
}

/* Whether it is tried again after this, by the proxies' own rules or by that of its route. */
static bool exchange_try_again(struct exchange *x, enum reason reason)
{
	if (!exchange_may_pick_again(x, reason) &&
		!exchange_retry_may(x, exchange_retry_reason(reason)))
		return false;
	exchange_again(x);
	return true;
}

static void exchange_take_upstream(struct exchange *x)
{
	struct worker *w = x->being.worker;
	struct call *call = &x->carrier[DOWN]->call;
	enum reason reason = REASON_OVERLOAD;
	/* The first try may use a pooled connection; one that fails is followed by a fresh one. */
	struct carrier *up = x->attempt_count == 0 ? upstream_take(w, call) : NULL;
	if (!up)
		up = upstream_dial(w, call, &reason);
	/* what is tried again is tried once: see exchange_may_retry() */
	if (up && x->attempt_count > 0)
		up->reused = false;
	x->attempt_count++;
	if (!up)
		outbound_tried(w, &x->tries, reason);
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

/* What a server sees of the path, and so what policy is about. */
static struct str exchange_plain_path(const struct exchange *x)
{
	struct str path = x->request->path;
	const char *query = path.len ? memchr(path.at, '?', path.len) : NULL;
	if (query)
		path.len = (size_t)(query - path.at);
	return path;
}

static enum reason exchange_authorise(struct exchange *x)
{
	struct str policy;
	const struct call *call = &x->carrier[DOWN]->call;
	enum reason reason =
		call_authorise(call, x->request->method, exchange_plain_path(x), &policy);
	x->plan_number = x->trust_number = call->hold->plan->number;
	/* A copy: the plan that it comes from may be gone before this is logged. */
	x->policy = arena_str(&x->arena, policy);
	return reason;
}

/* A head larger than an empty buffer will never fit; a full buffer only has to drain. */
static void exchange_no_room(struct exchange *x, enum side side)
{
	if (conn_drained(&x->carrier[side]->line->conn))
		exchange_fail_reason(x, REASON_OVERLOAD);
}

/* By the rule alone. */
static void exchange_answer(struct exchange *x, const struct route_rule *rule)
{
	struct carrier *down = x->carrier[DOWN];
	struct worker *w = x->being.worker;
	if (!exchange_write_answer(x, rule)) {
		exchange_no_room(x, DOWN);
		if (x->state != EXCHANGE_ENDED)
			exchange_watch(x, w->loop.now_ns + exchange_idle_ns(x));
		return; /* waits for: room, and then the rule is asked again */
	}
	outbound_unpick(w, &down->call);
	x->response_started = true;
	x->flow[UP] = FLOW_DONE;
	exchange_ready_carrier(x, DOWN);
	exchange_finish(x, REASON_NONE);
}

/* To one of the endpoints that it may lead to, and by policy. */
static enum reason exchange_place(struct exchange *x)
{
	struct call *call = &x->carrier[DOWN]->call;
	enum reason reason = REASON_NONE;
	if (call->picks)
		reason = exchange_pick(x);
	call_served(x->serving);
	x->serving = call_serve(call);
	if (reason == REASON_NONE)
		reason = x->attempt_count == 0 ? exchange_prepare_request(x)
					       : exchange_name_caller(x);
	if (reason == REASON_NONE)
		reason = exchange_authorise(x);
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

static void exchange_route(struct exchange *x)
{
	struct carrier *down = x->carrier[DOWN];
	const struct route_rule *answer = NULL;
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
	if (!exchange_is_chosen(x)) {
		reason = exchange_normalise(x);
		if (reason == REASON_NONE && routing_of(&down->call))
			reason = exchange_choose(x, &answer);
	}
	if (answer) {
		exchange_answer(x, answer);
		return;
	}
	if (reason == REASON_NONE && x->route && exchange_take_fault(x))
		return;
	if (reason == REASON_NONE)
		reason = exchange_place(x);
	if (reason != REASON_NONE)
		exchange_fail_reason(x, reason);
	else
		exchange_take_upstream(x);
}

/* --- forwarding --- */

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
	reason = call_check_up(w, x->carrier[UP]->line, &down->call);
	if (reason == REASON_PEER_UNTRUSTED)
		exchange_leave_untrusted(x);
	else if (reason != REASON_NONE) /* it is not the caller who is turned away */
		exchange_fail(x, reason, 503, reason_row(reason)->text);
}

static void exchange_forward(struct exchange *x)
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
	bool is_proxy = x->carrier[DOWN]->call.way == CALL_WAY_MESH && head->status == 503;
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
	return x->route && exchange_retry_may(x, exchange_retry_response(head->status, told));
}

void exchange_response(struct exchange *x, struct http_head *head)
{
	enum exchange_told told = exchange_told_by(x, head);
	outbound_answered(x->being.worker, &x->tries, head->status);
	if ((told != EXCHANGE_TOLD_NOTHING || x->route) &&
		exchange_may_respond_later(x, head, told)) {
		carrier_close(exchange_detach(x, UP), true);
		x->interim = NULL;
		exchange_again(x);
		return;
	}
	if (x->route && !exchange_edit_response(x, head)) {
		exchange_fail_reason(x, REASON_OVERLOAD);
		return;
	}
	x->response = head;
	if (x->state == EXCHANGE_FORWARD)
		exchange_write_response(x);
}

void exchange_interim(struct exchange *x, struct http_head *head)
{
	x->interim = head;
	if (x->state == EXCHANGE_FORWARD)
		exchange_write_interim(x);
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
	exchange_ready_carrier(x, other);
}

void exchange_trailers(struct exchange *x, enum side side, const struct http_head *trailers)
{
	struct http_head *copy = arena_take(&x->arena, sizeof(*copy));
	if (copy && exchange_copy_head(&x->arena, trailers, copy))
		x->trailers[side] = copy;
}

void exchange_end(struct exchange *x, enum side side)
{
	x->input_ended[side] = true;
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

/* --- trouble --- */

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
	return reason_row(reason)->retry && !x->response_started && !x->response && up->reused &&
	       x->input_ended[DOWN] && x->body_bytes[DOWN] == 0 && exchange_idempotent(x) &&
	       x->attempt_count < EXCHANGE_ATTEMPTS_MAX;
}

static void exchange_lost_up(struct exchange *x, struct carrier *up, enum reason reason)
{
	x->response = NULL;
	x->interim = NULL;
	if (exchange_may_retry(x, up, reason)) {
		exchange_again(x);
		return;
	}
	outbound_tried(x->being.worker, &x->tries, reason);
	if (exchange_try_again(x, reason))
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

/* Whether the bytes may go on: no further request comes that would ask. */
static enum reason exchange_recheck(struct exchange *x)
{
	struct worker *w = x->being.worker;
	struct carrier *down = x->carrier[DOWN];
	const struct carrier *up = x->carrier[UP];
	if (w->loop.now_ns >= line_pair_expiry_ns(down->line, up->line, w))
		return REASON_PEER_EXPIRED;
	if (x->plan_number == w->current->plan->number)
		return REASON_NONE;
	x->plan_number = w->current->plan->number;
	struct str policy = x->policy;
	enum reason reason = call_check(w, down->line, up->line, &down->call, x->request->method,
		exchange_plain_path(x), &policy);
	if (!str_eq(policy, x->policy))
		x->policy = arena_str(&x->arena, policy);
	return reason;
}

static void exchange_expire(struct exchange *x)
{
	struct worker *w = x->being.worker;
	uint64_t moved_ns = x->being.born_ns;
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
