/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: TLS, then one request after the other.
 *
 *   SHAKE ──▶ IDLE ──first byte──▶ READ ──complete──▶ ASK ──its turn──▶ WRITE ──▶ LINGER
 *              ▲                     │                                  ▲ │
 *              │                     └────────── refused ───────────────┘ │
 *              └───────────────────── another may follow ─────────────────┘
 *
 *   SHAKE   waits for: the client's bytes, or the timer
 *   IDLE    waits for: a request's first byte, or the timer
 *   READ    waits for: its last byte, or the timer, which bytes do not move
 *   ASK     waits for: its turn
 *   WRITE   waits for: the client to take the answer, or the timer, which bytes do not move
 *   LINGER  waits for: the client's end, so that the answer is not lost by a reset, or the timer
 *   CLOSING waits for: the socket's operations to end
 *
 * All but CLOSING and ASK may go to CLOSING at any time; ASK, when the client is gone. */
#include "serve.h"

#include "base/clock.h"
#include "base/log.h"
#include "codec/http.h"
#include "est/est.h"
#include "net/socket.h"
#include <openssl/mem.h>
#include <stdio.h>
#include <stdlib.h>

#define SERVE_PATH_MAX		512
#define SERVE_TYPE_MAX		128
#define SERVE_AUTHORIZATION_MAX 2100
#define SERVE_MATCH_MAX		256
#define SERVE_HEADS_BYTES_MAX	16384

/* What outlives the codec's head. What is cut fits nothing that we know. */
struct serve_texts {
	char method[16], path[SERVE_PATH_MAX], content_type[SERVE_TYPE_MAX];
	char authorization[SERVE_AUTHORIZATION_MAX], if_none_match[SERVE_MATCH_MAX];
};

struct serve_conn {
	struct task task;
	struct list node; /* in serve.conns[state] */
	struct serve *serve;
	struct serve_material *material; /* that of its handshake */
	enum serve_conn_state state;
	uint64_t since_ns; /* when it came to that state */
	struct conn conn;
	struct http *http;
	struct timer timer;
	struct address address;
	char address_text[ADDRESS_TEXT_MAX];
	/* the request */
	uint32_t stream;
	bool is_head; /* HEAD, which is GET without a body to the answer */
	struct serve_texts texts;
	char *body; /* EST_REQUEST_BYTES_MAX */
	size_t body_len;
	/* the answer */
	struct serve_answer answer;
	bool head_written, end_written;
	size_t body_written;
	bool last; /* nothing is read after it */
};

static bool serve_move_allowed(enum serve_conn_state from, enum serve_conn_state to)
{
	static const uint8_t moves[] = {
		[SERVE_SHAKE] = 1u << SERVE_IDLE | 1u << SERVE_CLOSING,
		[SERVE_IDLE] = 1u << SERVE_READ | 1u << SERVE_CLOSING,
		[SERVE_READ] = 1u << SERVE_ASK | 1u << SERVE_WRITE | 1u << SERVE_CLOSING,
		[SERVE_ASK] = 1u << SERVE_WRITE | 1u << SERVE_CLOSING,
		[SERVE_WRITE] = 1u << SERVE_IDLE | 1u << SERVE_LINGER | 1u << SERVE_CLOSING,
		[SERVE_LINGER] = 1u << SERVE_CLOSING,
		[SERVE_CLOSING] = 0,
	};
	return moves[from] & 1u << to;
}

/* The only writer of the state. */
static void serve_conn_move(struct serve_conn *c, enum serve_conn_state to)
{
	ASSERT(serve_move_allowed(c->state, to));
	c->state = to;
	c->since_ns = c->serve->loop->now_ns;
	list_remove(&c->node);
	list_add_last(&c->serve->conns[to], &c->node);
}

static void serve_conn_timer(struct serve_conn *c, uint64_t after_ns)
{
	timer_set(c->serve->loop, &c->timer, c->serve->loop->now_ns + after_ns);
}

struct serve_conn *serve_conn_of_task(struct task *t)
{
	return CONTAINER_OF(t, struct serve_conn, task);
}

struct serve_conn *serve_conn_of_node(struct list *node)
{
	return CONTAINER_OF(node, struct serve_conn, node);
}

const struct address *serve_conn_address(const struct serve_conn *c)
{
	return &c->address;
}

uint64_t serve_conn_since(const struct serve_conn *c)
{
	return c->since_ns;
}

/* --- its beginning --- */

static bool serve_conn_too_many(const struct serve *s, const struct address *address)
{
	uint32_t count = 0;
	LIST_EACH (&s->conns[SERVE_SHAKE], node) {
		if (address_same_ip(&serve_conn_of_node(node)->address, address))
			count++;
	}
	return count >= SERVE_SHAKES_PER_ADDRESS;
}

static void serve_conn_start(struct serve_conn *c, int fd)
{
	struct serve *s = c->serve;
	task_init(&c->task, SERVE_TASK_CONN);
	timer_init(&c->timer, &c->task);
	conn_init(&c->conn, s->loop, &s->pool, &c->task);
	conn_adopt(&c->conn, fd);
	c->since_ns = s->loop->now_ns;
	list_add_last(&s->conns[SERVE_SHAKE], &c->node);
	s->conn_count++;
	s->open_count++;
	if (!serve_secure(c->material, &c->conn)) {
		serve_conn_close(c);
		return;
	}
	serve_conn_timer(c, SERVE_SHAKE_TIMEOUT_NS);
	serve_conn_step(c);
}

void serve_conn_new(struct serve *s, int fd)
{
	struct address address;
	if (socket_peer(fd, &address) < 0 || serve_conn_too_many(s, &address)) {
		socket_close(fd);
		return;
	}
	struct http_limits limits = http_limits_default;
	limits.head_bytes_max = SERVE_HEADS_BYTES_MAX;
	struct serve_conn *c = calloc(1, sizeof(*c));
	struct http *http = http_new(HTTP_1_1, HTTP_SERVER, &limits);
	if (!c || !http) {
		free(c);
		http_free(http);
		socket_close(fd);
		return;
	}
	c->serve = s;
	c->http = http;
	c->address = address;
	address_text(&address, c->address_text);
	c->material = serve_material_ref(s->material);
	serve_conn_start(c, fd);
}

static void serve_conn_shaken(struct serve_conn *c)
{
	const char *why = serve_shake_failure(&c->conn);
	if (why && serve_may_log(c->serve))
		log_info("ca", "%s: no TLS: %s", c->address_text, why);
	serve_conn_close(c);
}

/* False: waits. */
static bool serve_conn_shake(struct serve_conn *c)
{
	if (c->timer.fired || c->conn.failure != CONN_FAILURE_NONE) {
		serve_conn_shaken(c);
		return true;
	}
	if (c->conn.need != CONN_NEED_NOTHING)
		serve_need(c->material, &c->conn);
	if (c->conn.state != CONN_OPEN)
		return false;
	serve_conn_move(c, SERVE_IDLE);
	/* who connects has something to say */
	serve_conn_timer(c, c->serve->closing ? SERVE_LAST_CHANCE_NS : SERVE_REQUEST_TIMEOUT_NS);
	return true;
}

/* --- its end --- */

static void serve_conn_forget_request(struct serve_conn *c)
{
	OPENSSL_cleanse(c->texts.authorization, sizeof(c->texts.authorization));
	free(c->body);
	c->body = NULL;
	c->body_len = 0;
	serve_answer_done(&c->answer);
}

void serve_conn_close(struct serve_conn *c)
{
	if (c->state == SERVE_CLOSING)
		return;
	serve_conn_move(c, SERVE_CLOSING);
	c->serve->open_count--;
	timer_clear(c->serve->loop, &c->timer);
	conn_close(&c->conn, false);
	loop_ready(c->serve->loop, &c->task);
}

void serve_conn_close_after(struct serve_conn *c)
{
	http_close_after(c->http);
	if (c->state == SERVE_SHAKE || c->state == SERVE_IDLE)
		serve_conn_timer(c, SERVE_LAST_CHANCE_NS);
}

void serve_conn_free(struct serve_conn *c)
{
	list_remove(&c->node);
	c->serve->conn_count--;
	serve_conn_forget_request(c);
	http_free(c->http);
	serve_material_unref(c->material);
	free(c);
}

static bool serve_conn_linger(struct serve_conn *c)
{
	const uint8_t *bytes;
	size_t len;
	while ((len = conn_input(&c->conn, &bytes)) > 0)
		conn_consume(&c->conn, len);
	if (!c->timer.fired && !c->conn.eof && c->conn.failure == CONN_FAILURE_NONE)
		return false;
	serve_conn_close(c);
	return true;
}

/* --- reading a request --- */

static void serve_text_keep(char *text, size_t size, struct str value)
{
	size_t len = value.len < size ? value.len : size - 1;
	if (len)
		memcpy(text, value.at, len);
	text[len] = '\0';
}

static void serve_conn_begin_write(struct serve_conn *c)
{
	c->head_written = c->end_written = false;
	c->body_written = 0;
	serve_conn_timer(c, SERVE_WRITE_TIMEOUT_NS);
	serve_conn_move(c, SERVE_WRITE);
}

/* The rest of the request is not read. */
static void serve_conn_too_large(struct serve_conn *c)
{
	serve_answer_text(&c->answer, 413, "a request of more than 16 KiB");
	http_close_after(c->http);
	serve_conn_begin_write(c);
	c->last = true;
}

/* No HTTP, or nothing can be said but that. */
static void serve_conn_refuse(struct serve_conn *c, uint16_t status, const char *text)
{
	if (!http_write_error(c->http, 0, status, text, true, &c->conn.out)) {
		serve_conn_close(c);
		return;
	}
	serve_conn_begin_write(c);
	c->head_written = c->end_written = c->last = true;
}

/* RFC 9110 10.1.1: a client that asks first whether it may send is told so. */
static bool serve_conn_continue(struct serve_conn *c)
{
	const struct http_head head = {.status = 100, .version = HTTP_1_1};
	return http_write_head(c->http, c->stream, &head, &c->conn.out);
}

static void serve_conn_take_head(struct serve_conn *c, const struct http_event *event)
{
	const struct http_head *head = event->head;
	struct serve_texts *t = &c->texts;
	c->stream = event->stream;
	c->is_head = str_eq(head->method, STR("HEAD"));
	serve_text_keep(t->method, sizeof(t->method), head->method);
	serve_text_keep(t->path, sizeof(t->path), head->path);
	serve_text_keep(
		t->content_type, sizeof(t->content_type), http_header_get(head, "content-type"));
	serve_text_keep(
		t->authorization, sizeof(t->authorization), http_header_get(head, "authorization"));
	serve_text_keep(
		t->if_none_match, sizeof(t->if_none_match), http_header_get(head, "if-none-match"));
	if (head->framing == HTTP_FRAMING_LENGTH && head->body_bytes > EST_REQUEST_BYTES_MAX)
		serve_conn_too_large(c);
	else if (head->expect_continue && !serve_conn_continue(c))
		serve_conn_close(c);
}

static void serve_conn_take_body(struct serve_conn *c, struct str bytes)
{
	if (!c->body)
		c->body = malloc(EST_REQUEST_BYTES_MAX);
	if (!c->body) {
		serve_conn_refuse(c, 503, "out of memory");
	} else if (bytes.len > EST_REQUEST_BYTES_MAX - c->body_len) {
		serve_conn_too_large(c);
	} else {
		memcpy(c->body + c->body_len, bytes.at, bytes.len);
		c->body_len += bytes.len;
	}
}

static void serve_conn_ask(struct serve_conn *c)
{
	timer_clear(c->serve->loop, &c->timer);
	serve_conn_move(c, SERVE_ASK);
	loop_ready(c->serve->loop, &c->serve->queue);
}

static void serve_conn_take(struct serve_conn *c, const struct http_event *event)
{
	switch (event->kind) {
	case HTTP_EVENT_HEAD:
		serve_conn_take_head(c, event);
		break;
	case HTTP_EVENT_BODY:
		serve_conn_take_body(c, event->body);
		break;
	case HTTP_EVENT_END:
		serve_conn_ask(c);
		break;
	case HTTP_EVENT_BAD:
		serve_conn_refuse(c, http_bad_status(event->bad), http_bad_text(event->bad));
		break;
	case HTTP_EVENT_MORE:
	case HTTP_EVENT_WAIT:
	case HTTP_EVENT_INTERIM:
	case HTTP_EVENT_TRAILERS:
		break;
	}
}

/* False: no more to be had now. */
static bool serve_conn_feed(struct serve_conn *c)
{
	const uint8_t *bytes;
	struct http_event event;
	size_t len = conn_input(&c->conn, &bytes);
	if (len > 0 && c->state == SERVE_IDLE) {
		serve_conn_move(c, SERVE_READ);
		serve_conn_timer(c, SERVE_REQUEST_TIMEOUT_NS);
	}
	size_t used = http_feed(c->http, bytes, len, &event);
	/* before the input goes: a body points into it */
	if (c->state == SERVE_READ)
		serve_conn_take(c, &event);
	if (c->state == SERVE_CLOSING)
		return true;
	conn_consume(&c->conn, used);
	/* behind a block that is used up there may be another */
	return event.kind != HTTP_EVENT_WAIT &&
	       (event.kind != HTTP_EVENT_MORE || conn_input(&c->conn, &bytes) > 0);
}

/* False: waits. */
static bool serve_conn_read(struct serve_conn *c)
{
	if (c->timer.fired || c->conn.failure != CONN_FAILURE_NONE) {
		serve_conn_close(c);
		return true;
	}
	if (serve_conn_feed(c))
		return true;
	if (!c->conn.eof)
		return false;
	serve_conn_close(c);
	return true;
}

/* --- the answer --- */

void serve_conn_answer(struct serve_conn *c)
{
	const struct serve_texts *t = &c->texts;
	const char *query = strchr(t->path, '?');
	struct serve_request q = {
		.method = str_of(c->is_head ? "GET" : t->method),
		.path = {t->path, query ? (size_t)(query - t->path) : strlen(t->path)},
		.content_type = str_of(t->content_type),
		.authorization = str_of(t->authorization),
		.if_none_match = str_of(t->if_none_match),
		.body = {c->body, c->body_len},
	};
	struct serve *s = c->serve;
	int64_t now_s = (int64_t)(s->loop->wall_ns / CLOCK_S);
	q.refused = serve_client(s->material, &c->conn, now_s, &q.client);
	q.client.address = str_of(c->address_text);
	serve_answer(s, &q, &c->answer);
	serve_conn_begin_write(c);
	loop_ready(s->loop, &c->task);
}

/* As much as there is room for. False: it can never be written. */
static bool serve_conn_fill(struct serve_conn *c)
{
	struct str body = c->is_head ? STR_NONE : c->answer.body;
	if (!c->head_written && !serve_head_write(&c->answer, c->serve->loop->wall_ns, c->http,
					c->stream, &c->conn.out))
		return buf_len(&c->conn.out) > 0;
	c->head_written = true;
	if (c->body_written < body.len) {
		struct str rest = {body.at + c->body_written, body.len - c->body_written};
		c->body_written += http_write_body(c->http, c->stream, rest, &c->conn.out);
	}
	if (c->body_written == body.len && !c->end_written)
		c->end_written = http_write_end(c->http, c->stream, NULL, &c->conn.out);
	return true;
}

/* The whole answer is with the kernel. */
static void serve_conn_answered(struct serve_conn *c)
{
	serve_conn_forget_request(c);
	http_rest(c->http);
	if (c->last || c->serve->closing || !http_reusable(c->http)) {
		c->conn.finish = true;
		serve_conn_timer(c, SERVE_LINGER_TIMEOUT_NS);
		serve_conn_move(c, SERVE_LINGER);
		return;
	}
	serve_conn_timer(c, SERVE_IDLE_TIMEOUT_NS);
	serve_conn_move(c, SERVE_IDLE);
}

/* False: waits. */
static bool serve_conn_write(struct serve_conn *c)
{
	if (c->timer.fired || c->conn.failure != CONN_FAILURE_NONE) {
		serve_conn_close(c);
		return true;
	}
	if (!c->end_written && !serve_conn_fill(c)) {
		serve_conn_close(c);
		return true;
	}
	conn_flush(&c->conn);
	if (!c->end_written || !conn_drained(&c->conn))
		return false;
	serve_conn_answered(c);
	return true;
}

/* False: waits. */
static bool serve_conn_turn(struct serve_conn *c)
{
	switch (c->state) {
	case SERVE_SHAKE:
		return serve_conn_shake(c);
	case SERVE_IDLE:
	case SERVE_READ:
		return serve_conn_read(c);
	case SERVE_ASK:
		if (c->conn.failure != CONN_FAILURE_NONE)
			serve_conn_close(c);
		return c->state == SERVE_CLOSING;
	case SERVE_WRITE:
		return serve_conn_write(c);
	case SERVE_LINGER:
		return serve_conn_linger(c);
	case SERVE_CLOSING:
		if (conn_join(&c->conn))
			loop_bury(c->serve->loop, &c->task);
		return false;
	case SERVE_CONN_STATES:
		break;
	}
	return false;
}

void serve_conn_step(struct serve_conn *c)
{
	conn_step(&c->conn);
	while (serve_conn_turn(c))
		;
	if (c->state != SERVE_CLOSING)
		conn_flush(&c->conn);
}
