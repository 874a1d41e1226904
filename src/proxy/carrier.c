/* SPDX-License-Identifier: Apache-2.0 */
#include "carrier.h"

#include "authorise.h"
#include "exchange.h"
#include "mirror.h"
#include "record.h"
#include "upstream.h"
#include <stdlib.h>

/* How long a client may take to read a last response before the connection is cut. */
#define CARRIER_LINGER_MS 2000
/* In a drain: a request of a client that was just here is likely to be on its way. It is answered,
 * and told that the connection ends. */
#define CARRIER_DRAIN_IDLE_MS 1000

static const uint8_t carrier_moves[] = {
	[CARRIER_CONNECT] = 1u << CARRIER_OPEN | 1u << CARRIER_CLOSING,
	[CARRIER_OPEN] = 1u << CARRIER_LINGER | 1u << CARRIER_CLOSING,
	[CARRIER_LINGER] = 1u << CARRIER_CLOSING,
	[CARRIER_CLOSING] = 0,
};

static void carrier_move(struct carrier *c, enum carrier_state state)
{
	ASSERT(carrier_moves[c->state] & 1u << state);
	c->state = state;
}

static void carrier_timer(struct carrier *c, uint64_t timeout_ms)
{
	struct loop *l = &c->being.worker->loop;
	c->timer.fired = false;
	timer_set(l, &c->timer, l->now_ns + timeout_ms * CLOCK_MS);
}

static struct exchange *carrier_first(const struct carrier *c)
{
	if (list_empty(&c->exchanges))
		return NULL;
	return exchange_on(c->exchanges.next, c->side);
}

static struct exchange *carrier_stream(const struct carrier *c, uint32_t stream)
{
	LIST_EACH (&c->exchanges, it) {
		struct exchange *x = exchange_on(it, c->side);
		if (x->stream[c->side] == stream)
			return x;
	}
	return NULL;
}

static bool carrier_is_used(const struct carrier *c)
{
	return c->mirror || !list_empty(&c->exchanges);
}

/* UP: whoever uses it is told, and leaves it. `details`: NULL, none. */
static void carrier_lose(struct carrier *c, enum reason reason, const char *details)
{
	struct exchange *x = carrier_first(c);
	if (c->mirror)
		mirror_lost(c->mirror, reason, details);
	else if (x) {
		x->details = details ? details : x->details;
		exchange_lost(x, UP, reason);
	}
	carrier_close(c, true);
}

/* --- birth --- */

static struct carrier *carrier_new(struct worker *w, enum side side, struct line *line)
{
	const struct conf *conf = worker_conf(w);
	struct carrier *c = pool_take(&w->carriers);
	if (!c)
		return NULL;
	struct http_limits limits = http_limits_default;
	limits.head_bytes_max = conf->head_bytes_max;
	limits.header_count_max = conf->header_count_max;
	limits.heads = &w->heads;
	c->http = http_new(HTTP_1_1, side == DOWN ? HTTP_SERVER : HTTP_CLIENT, &limits);
	if (!c->http) {
		pool_put(&w->carriers, c);
		return NULL;
	}
	being_init(&c->being, w, TASK_CARRIER);
	timer_init(&c->timer, &c->being.task);
	list_init(&c->exchanges);
	call_init(&c->call);
	c->side = side;
	c->line = line;
	line_own(line, &c->being.task);
	return c;
}

bool carrier_take_down(struct worker *w, struct line *line, struct call *call)
{
	struct carrier *c = carrier_new(w, DOWN, line);
	if (!c)
		return false;
	c->state = CARRIER_OPEN;
	call_take(&c->call, call);
	c->plan_number = c->call.hold->plan->number;
	w->connection_count++;
	carrier_timer(c, worker_conf(w)->idle_timeout_ms);
	loop_ready(&w->loop, &c->being.task);
	return true;
}

struct carrier *carrier_new_up(struct worker *w)
{
	struct line *line = line_new(w, &w->wake);
	struct carrier *c = line ? carrier_new(w, UP, line) : NULL;
	if (!c) {
		if (line)
			line_drop(line, w);
		return NULL;
	}
	c->state = CARRIER_CONNECT;
	carrier_timer(c, worker_conf(w)->connect_timeout_ms);
	return c;
}

void carrier_connect_by(struct carrier *c, uint64_t connected_ns, uint64_t open_ns)
{
	ASSERT(c->state == CARRIER_CONNECT);
	c->open_ns = open_ns;
	timer_set(&c->being.worker->loop, &c->timer, connected_ns);
}

/* Nothing more is expected of the client; what has been written for it still goes out. */
static void carrier_linger(struct carrier *c)
{
	carrier_move(c, CARRIER_LINGER);
	c->line->conn.finish = true;
	c->linger_bytes = c->line->conn.bytes_out;
	c->linger_ns = c->being.worker->loop.now_ns;
	carrier_timer(c, CARRIER_LINGER_MS);
	loop_ready(&c->being.worker->loop, &c->being.task);
}

static void carrier_leave(struct carrier *c)
{
	if (c->side == DOWN && c->state == CARRIER_OPEN && !conn_drained(&c->line->conn))
		carrier_linger(c);
	else
		carrier_close(c, false);
}

/* --- events --- */

/* The codec can't read on: the client is told why, once everything before it was answered. */
static void carrier_bad_request(struct carrier *c, const struct http_event *event)
{
	struct worker *w = c->being.worker;
	struct record_http r = {
		.start_ns = w->loop.now_ns,
		.start_wall_ns = w->loop.wall_ns,
		.status = http_bad_status(event->bad),
		.reason = REASON_BAD_REQUEST,
		.details = http_bad_name(event->bad),
	};
	bool told = http_write_error(c->http, event->stream, r.status, http_bad_text(event->bad),
		true, &c->line->conn.out);
	record_request(w, &c->call, &r);
	if (told)
		carrier_served(c);
	else
		carrier_close(c, true);
}

static void carrier_bad(struct carrier *c, const struct http_event *event)
{
	struct exchange *x = carrier_first(c);
	if (x)
		exchange_bad(x, c->side, event->bad);
	else if (c->side == DOWN && event->bad != HTTP_BAD_TRUNCATED)
		carrier_bad_request(c, event);
	else if (c->side == DOWN)
		carrier_leave(
			c); /* it went in the middle of a head, maybe with an answer to come */
	else
		carrier_close(c, true);
}

static void carrier_event(struct carrier *c, const struct http_event *event)
{
	struct exchange *x = carrier_stream(c, event->stream);
	if (c->mirror) {
		mirror_event(c->mirror, event);
		return;
	}
	switch (event->kind) {
	case HTTP_EVENT_MORE:
	case HTTP_EVENT_WAIT:
		return;
	case HTTP_EVENT_HEAD:
		c->head_since_ns = 0;
		if (c->side == DOWN)
			exchange_begin(c, event->stream, event->head);
		else if (x)
			exchange_response(x, event->head);
		return;
	case HTTP_EVENT_INTERIM:
		if (x)
			exchange_interim(x, event->head);
		return;
	case HTTP_EVENT_BODY:
		if (x)
			exchange_body(x, c->side, event->body);
		return;
	case HTTP_EVENT_TRAILERS:
		if (x)
			exchange_trailers(x, c->side, event->head);
		return;
	case HTTP_EVENT_END:
		if (x)
			exchange_end(x, c->side);
		return;
	case HTTP_EVENT_BAD:
		carrier_bad(c, event);
		return;
	}
}

/* An idle upstream connection on which the peer says something has lost its use. */
static bool carrier_unwanted(const struct carrier *c)
{
	return c->side == UP && !carrier_is_used(c);
}

/* Reads until the input is used up or somebody has no room. */
static void carrier_pump(struct carrier *c)
{
	c->blocked = false;
	while (c->state == CARRIER_OPEN && !http_tunnelled(c->http)) {
		const uint8_t *bytes = NULL;
		size_t len = conn_input(&c->line->conn, &bytes);
		struct exchange *x = carrier_first(c);
		size_t limit = len;
		if (carrier_unwanted(c)) {
			if (len > 0)
				carrier_close(c, true);
			return;
		}
		if (x && exchange_borrows(x, c->side)) {
			c->blocked = true;
			return; /* waits for: room for the head */
		}
		if (x && c->side == DOWN && exchange_answered(x))
			return; /* waits for: its end, which comes before the next request */
		if (x && exchange_reading(x, c->side)) {
			size_t room = exchange_room(x, c->side);
			limit = len < room ? len : room; /* 0 still brings a message's end */
			c->blocked = room == 0;
		}
		struct http_event event;
		size_t used = http_feed(c->http, bytes, limit, &event);
		carrier_event(c, &event);
		if (c->state != CARRIER_CLOSING && used > 0)
			conn_consume(&c->line->conn, used);
		if (event.kind == HTTP_EVENT_WAIT || event.kind == HTTP_EVENT_BAD)
			return; /* waits for: the response before this request */
		if (event.kind != HTTP_EVENT_MORE) {
			c->blocked = false;
			continue;
		}
		if (used > 0 && c->side == DOWN && !c->head_since_ns && !x)
			c->head_since_ns = c->being.worker->loop.now_ns;
		if (used == 0)
			return; /* waits for: more bytes, or room on the other side */
	}
}

static void carrier_end_of_input(struct carrier *c)
{
	const uint8_t *bytes;
	if (!c->line->conn.eof || c->input_ended || c->state != CARRIER_OPEN || c->blocked ||
		conn_input(&c->line->conn, &bytes) > 0 || http_tunnelled(c->http))
		return;
	c->input_ended = true;
	struct http_event event;
	http_feed_eof(c->http, &event);
	carrier_event(c, &event);
	if (c->state != CARRIER_OPEN)
		return;
	struct exchange *x = carrier_first(c);
	if (c->mirror)
		carrier_lose(c, REASON_UPSTREAM_CLOSED, NULL);
	else if (!x)
		carrier_leave(c);
	else if (c->side == UP && !x->input_ended[UP])
		exchange_lost(x, UP, REASON_UPSTREAM_CLOSED);
	/* DOWN with a request in progress: a half-close, the response still goes out */
}

/* --- timers --- */

/* The header timeout runs from the first byte of a head, the idle timeout between requests, when
 * the caller's certificate must not have expired either. */
static uint64_t carrier_deadline_ns(const struct carrier *c)
{
	const struct worker *w = c->being.worker;
	const struct conf *conf = worker_conf(w);
	if (c->head_since_ns)
		return c->head_since_ns + conf->header_timeout_ms * CLOCK_MS;
	uint64_t idle_ms = w->draining ? CARRIER_DRAIN_IDLE_MS : conf->idle_timeout_ms;
	uint64_t idle_ns = c->line->conn.moved_ns + idle_ms * CLOCK_MS;
	uint64_t expiry_ns = line_expiry_ns(c->line, w);
	return idle_ns < expiry_ns ? idle_ns : expiry_ns;
}

static void carrier_expire_down(struct carrier *c)
{
	struct worker *w = c->being.worker;
	if (!list_empty(&c->exchanges))
		return; /* the exchange has timers of its own */
	uint64_t deadline_ns = carrier_deadline_ns(c);
	if (w->loop.now_ns < deadline_ns) {
		timer_set(&w->loop, &c->timer, deadline_ns);
		return;
	}
	if (!c->head_since_ns) {
		carrier_leave(c);
		return;
	}
	struct record_http r = {
		.start_ns = c->head_since_ns,
		.start_wall_ns = w->loop.wall_ns,
		.status = 408,
		.reason = REASON_HEADER_TIMEOUT,
	};
	record_request(w, &c->call, &r);
	if (http_write_error(c->http, 0, 408, reason_row(r.reason)->text, true, &c->line->conn.out))
		carrier_served(c);
	else
		carrier_close(c, true);
}

/* A client that has not taken all of its response yet has as much time as during it, whatever it
 * says meanwhile; one that has is given a last chance to go by itself. */
static void carrier_expire_linger(struct carrier *c)
{
	const struct conn *conn = &c->line->conn;
	const struct worker *w = c->being.worker;
	uint64_t idle_ns = worker_conf(w)->stream_idle_timeout_ms * CLOCK_MS;
	if (conn->bytes_out != c->linger_bytes)
		c->linger_ns = w->loop.now_ns;
	c->linger_bytes = conn->bytes_out;
	bool more = conn->finished ? !c->lingered : w->loop.now_ns < c->linger_ns + idle_ns;
	c->lingered = conn->finished;
	if (more)
		carrier_timer(c, CARRIER_LINGER_MS);
	else
		carrier_close(c, true);
}

static void carrier_expire_connect(struct carrier *c)
{
	struct loop *l = &c->being.worker->loop;
	if (c->line->conn.state == CONN_HANDSHAKE && l->now_ns < c->open_ns)
		timer_set(l, &c->timer, c->open_ns);
	else
		carrier_lose(c, REASON_UPSTREAM_CONNECT_TIMEOUT, NULL);
}

static void carrier_expire(struct carrier *c)
{
	c->timer.fired = false;
	switch (c->state) {
	case CARRIER_CONNECT:
		carrier_expire_connect(c);
		return;
	case CARRIER_OPEN:
		if (c->side == DOWN)
			carrier_expire_down(c);
		else if (c->idle)
			carrier_close(c, false);
		return;
	case CARRIER_LINGER:
		carrier_expire_linger(c);
		return;
	case CARRIER_CLOSING:
		return;
	}
}

static void carrier_watch(struct carrier *c)
{
	if (c->side == DOWN && c->state == CARRIER_OPEN && list_empty(&c->exchanges))
		timer_set(&c->being.worker->loop, &c->timer, carrier_deadline_ns(c));
}

/* Revoked, or trusted by nobody any more. */
static bool carrier_peer_is_gone(const struct carrier *c)
{
	struct worker *w = c->being.worker;
	const struct tls *tls = line_tls(c->line);
	return tls && tls_peer_again(tls, w->current->plan->tls, worker_wall_s(w));
}

/* Idle, and what it asked last would be refused now, or whatever else it may ask. */
static bool carrier_is_refused_now(const struct carrier *c)
{
	struct worker *w = c->being.worker;
	if (c->side == UP || (authorise_session(w, &c->call, asked_last(c->asked)) == REASON_NONE &&
				     call_check_outside(w, c->line, &c->call) == REASON_NONE))
		return false;
	metric_add(&w->values->policy_sessions_ended_total, 1);
	return true;
}

/* So that the plan under which the call came may go; whether the next request is taken is asked
 * when it comes. Not while a request waits for its connection to somewhere. Idle ones of a peer
 * whose requests would not be taken are closed at once, and so are those whose last request would
 * be refused; a request that runs is asked by exchange_follow(). */
static void carrier_follow(struct carrier *c)
{
	struct worker *w = c->being.worker;
	struct exchange *x = carrier_first(c);
	if (c->state != CARRIER_OPEN || c->plan_number == w->current->plan->number ||
		(x && (c->side == UP || !(exchange_rests(x) || exchange_runs(x)))) || c->mirror)
		return;
	c->plan_number = w->current->plan->number;
	if (x)
		exchange_follow(x);
	if (c->state != CARRIER_OPEN)
		return;
	x = carrier_first(c);
	if (!x && (carrier_peer_is_gone(c) || (c->side == DOWN && inbound_is_renamed(w, c->line))))
		carrier_close(c, false);
	else if (!x && carrier_is_refused_now(c))
		carrier_leave(c);
	else if (c->side == DOWN)
		call_follow(w, c->line, &c->call, x && exchange_runs(x));
}

enum reason carrier_renew(struct carrier *c)
{
	struct worker *w = c->being.worker;
	if (line_expired(c->line, w))
		return REASON_PEER_EXPIRED;
	return call_renew(w, c->line, &c->call);
}

/* --- steps --- */

/* It waits for a shared connection: has that news? */
static void carrier_connect(struct carrier *c)
{
	const char *details = c->line->trunk->details;
	enum reason reason = upstream_connect(
		c, c->mirror ? &c->mirror->call : &carrier_first(c)->carrier[DOWN]->call);
	if (reason != REASON_NONE)
		carrier_lose(c, reason, details);
}

/* Why the handshake failed; NULL: it did not. */
static const char *carrier_handshake_details(const struct carrier *c)
{
	return c->line->conn.failure == CONN_FAILURE_HANDSHAKE
		       ? tls_failure_name(tls_failure(line_tls(c->line)))
		       : NULL;
}

static void carrier_step_connect(struct carrier *c)
{
	if (carrier_is_used(c) && c->line->trunk && c->line->conn.state == CONN_NEW)
		carrier_connect(c);
	if (c->state != CARRIER_CONNECT)
		return;
	struct conn *conn = &c->line->conn;
	if (conn->failure != CONN_FAILURE_NONE) {
		carrier_lose(c, call_dial_failure(c->line), carrier_handshake_details(c));
	} else if (!carrier_is_used(c)) {
		carrier_close(c, true); /* nobody wants it any more */
	} else if (conn->state == CONN_OPEN) {
		struct exchange *x = carrier_first(c);
		carrier_move(c, CARRIER_OPEN);
		timer_clear(&c->being.worker->loop, &c->timer);
		if (x)
			loop_ready(&c->being.worker->loop, &x->being.task);
	}
	/* waits for: connect, handshake or the connect timer */
}

static void carrier_fail(struct carrier *c)
{
	struct exchange *x = carrier_first(c);
	const struct conn *conn = &c->line->conn;
	if (c->side == UP) {
		carrier_lose(c, call_dial_failure(c->line), carrier_handshake_details(c));
		return;
	}
	if (x)
		exchange_lost(x, DOWN,
			conn->failure == CONN_FAILURE_MEMORY ? REASON_OVERLOAD
							     : REASON_DOWNSTREAM_CLOSED);
	carrier_close(c, true);
}

/* Room or news here is what the other side of each exchange may be waiting for. */
static void carrier_wake_others(struct carrier *c)
{
	LIST_EACH (&c->exchanges, it)
		exchange_wake(exchange_on(it, c->side), c->side);
	if (c->mirror)
		mirror_wake(c->mirror);
}

/* A failed upstream may have answered first: its last bytes still count. */
static bool carrier_over(struct carrier *c)
{
	const uint8_t *bytes;
	struct conn *conn = &c->line->conn;
	return conn->failure != CONN_FAILURE_NONE &&
	       (c->side == DOWN || carrier_unwanted(c) || conn_input(conn, &bytes) == 0);
}

static void carrier_step_open(struct carrier *c)
{
	if (carrier_over(c)) {
		carrier_fail(c);
		return;
	}
	carrier_pump(c);
	if (c->state == CARRIER_OPEN && http_tunnelled(c->http) && carrier_first(c))
		exchange_relay(carrier_first(c));
	carrier_end_of_input(c);
	carrier_follow(c);
	carrier_watch(c);
	/* waits for: bytes, room, or a timer */
}

static void carrier_step_linger(struct carrier *c)
{
	struct conn *conn = &c->line->conn;
	const uint8_t *bytes;
	size_t len;
	while ((len = conn_input(conn, &bytes)) > 0)
		conn_consume(conn, len);
	if (conn->eof && conn->finished)
		carrier_close(c, false);
	else if (conn->failure != CONN_FAILURE_NONE)
		carrier_close(c, true);
	/* waits for: the client's end of stream or the linger timer */
}

static void carrier_join(struct carrier *c)
{
	struct worker *w = c->being.worker;
	if (!line_join(&c->line, w))
		return; /* waits for: armed operations */
	if (c->side == DOWN)
		w->connection_count--;
	http_free(c->http);
	upstream_leave(c);
	asked_free(c->asked);
	call_done(&c->call);
	being_end(&c->being);
}

void carrier_step(struct carrier *c)
{
	if (c->state == CARRIER_CLOSING) {
		carrier_join(c);
		return;
	}
	line_step(c->line, c->being.worker);
	if (c->timer.fired)
		carrier_expire(c);
	if (c->state == CARRIER_CONNECT)
		carrier_step_connect(c);
	if (c->state == CARRIER_OPEN)
		carrier_step_open(c);
	if (c->state == CARRIER_LINGER)
		carrier_step_linger(c);
	if (c->state == CARRIER_CLOSING)
		return;
	conn_flush(&c->line->conn);
	carrier_wake_others(c);
}

void carrier_served(struct carrier *c)
{
	struct worker *w = c->being.worker;
	if (c->state != CARRIER_OPEN)
		return;
	c->head_since_ns = 0;
	http_rest(c->http);
	struct conn *conn = &c->line->conn;
	if (!http_reusable(c->http) || c->input_ended)
		carrier_linger(c);
	else if (conn_quiet(conn) && conn_listens(conn) && c->call.hold == w->current)
		carrier_watch(c);
	else /* a pipelined request may be waiting, or a new plan */
		loop_ready(&w->loop, &c->being.task);
}

void carrier_close(struct carrier *c, bool reset)
{
	if (c->state == CARRIER_CLOSING)
		return;
	carrier_move(c, CARRIER_CLOSING);
	upstream_forget(c);
	while (!list_empty(&c->exchanges))
		exchange_lost(carrier_first(c), c->side,
			c->side == UP ? REASON_UPSTREAM_CLOSED : REASON_DOWNSTREAM_CLOSED);
	if (c->mirror)
		mirror_lost(c->mirror, REASON_UPSTREAM_CLOSED, NULL);
	timer_clear(&c->being.worker->loop, &c->timer);
	line_close(c->line, reset);
}

void carrier_drain(struct carrier *c)
{
	if (c->side == UP || c->state != CARRIER_OPEN)
		return;
	if (list_empty(&c->exchanges) && c->being.worker->loop.now_ns >= carrier_deadline_ns(c)) {
		carrier_leave(c);
		return;
	}
	http_close_after(c->http);
	loop_ready(&c->being.worker->loop, &c->being.task); /* its timer is another one now */
}

void carrier_free(struct carrier *c)
{
	pool_put(&c->being.worker->carriers, c);
}
