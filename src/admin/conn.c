/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to the admin API: HTTP/1, one request at a time, answered in pieces.
 *
 *        ┌──────────── reusable ────────────┐
 *        v                                  │
 *      READ ──── request complete ────> WRITE ──── last byte sent ──> CLOSING
 *        ├── POST /reload ──> RELOAD ───────^
 *        └── of endpoints ──> REPORTS ──────^
 *
 *   READ    waits for: recv, or the timer (a request is complete in time, or idle for too long)
 *   RELOAD  waits for: the timer, which looks whether the reload has ended
 *   REPORTS waits for: the timer, which looks whether the workers have answered
 *   WRITE   waits for: send, or the timer (a client that does not take its answer)
 *   CLOSING waits for: both operations to end; then the reaper frees
 *
 * The answer is built at once, in memory of its own; the codec frames it into one small buffer as
 * fast as the client takes it. */
#include "inside.h"

#include "base/clock.h"
#include "codec/http.h"
#include "net/socket.h"
#include <stdlib.h>

#define ADMIN_REQUEST_TIMEOUT_NS (10 * CLOCK_S) /* from its first byte to its last */
#define ADMIN_IDLE_TIMEOUT_NS	 (75 * CLOCK_S) /* scrapes come every 15 to 60 s */
#define ADMIN_SEND_TIMEOUT_NS	 (30 * CLOCK_S) /* for one buffer */
#define ADMIN_RELOAD_LOOK_NS	 (20 * CLOCK_MS)
#define ADMIN_RELOAD_TIMEOUT_NS	 (15 * CLOCK_S)
#define ADMIN_REPORTS_LOOK_NS	 (2 * CLOCK_MS)
#define ADMIN_REPORTS_TIMEOUT_NS CLOCK_S /* a worker that hangs is not waited for */
#define ADMIN_BODY_MAX		 65536	 /* of a request: read and thrown away */
#define ADMIN_TEXT_MAX		 4096	 /* of each value that is kept of a request's head */

enum admin_state {
	ADMIN_STATE_READ,
	ADMIN_STATE_RELOAD,
	ADMIN_STATE_REPORTS,
	ADMIN_STATE_WRITE,
	ADMIN_STATE_CLOSING,
};

/* A value of the head that outlives the codec's. */
struct admin_text {
	char bytes[ADMIN_TEXT_MAX];
	size_t len;
};

struct admin_conn {
	struct task task;
	struct list node; /* in admin.conns */
	struct admin *admin;
	int fd;
	bool is_unix;
	enum admin_state state;
	struct op recv, send;
	struct timer timer;
	struct http *http;
	/* the request */
	uint8_t in[4096];
	size_t in_start, in_end;
	bool has_events; /* the codec has not said MORE yet: events may come without further bytes
			  */
	uint32_t stream;
	bool begun;	  /* bytes of it have come, and its time runs */
	bool has_request; /* its head has come */
	bool is_head;
	size_t body_bytes;
	struct admin_text method, path, host, accept;
	uint64_t reload_asked_wall_ns, reload_end_ns;
	struct reports *reports;
	uint64_t reports_end_ns;
	/* the answer */
	struct page_response response;
	bool head_written, end_written;
	size_t body_written;
	bool last; /* nothing is read after this answer */
	struct buf out;
};

static bool admin_move_allowed(enum admin_state from, enum admin_state to)
{
	switch (from) {
	case ADMIN_STATE_READ:
		return to != ADMIN_STATE_READ;
	case ADMIN_STATE_RELOAD:
	case ADMIN_STATE_REPORTS:
		return to == ADMIN_STATE_WRITE || to == ADMIN_STATE_CLOSING;
	case ADMIN_STATE_WRITE:
		return to == ADMIN_STATE_READ || to == ADMIN_STATE_CLOSING;
	case ADMIN_STATE_CLOSING:
		return false;
	}
	return false;
}

/* The only writer of the state. */
static void admin_conn_move(struct admin_conn *c, enum admin_state to)
{
	ASSERT(admin_move_allowed(c->state, to));
	c->state = to;
}

static void admin_conn_timer(struct admin_conn *c, uint64_t after_ns)
{
	struct loop *l = c->admin->loop;
	timer_set(l, &c->timer, l->now_ns + after_ns);
}

struct admin_conn *admin_conn_of(struct task *t)
{
	return CONTAINER_OF(t, struct admin_conn, task);
}

struct admin_conn *admin_conn_new(struct admin *a, int fd, bool is_unix)
{
	struct admin_conn *c = calloc(1, sizeof(*c));
	struct http *http = http_new(HTTP_1_1, HTTP_SERVER, &http_limits_default);
	if (!c || !http) {
		free(c);
		http_free(http);
		socket_close(fd);
		return NULL;
	}
	task_init(&c->task, ADMIN_TASK_CONN);
	op_init(&c->recv, &c->task);
	op_init(&c->send, &c->task);
	timer_init(&c->timer, &c->task);
	buf_init(&c->out, &a->pool);
	c->admin = a;
	c->fd = fd;
	c->is_unix = is_unix;
	c->http = http;
	c->begun = true; /* who connects has something to say */
	list_add_last(&a->conns, &c->node);
	a->conn_counts[is_unix]++;
	admin_conn_timer(c, ADMIN_REQUEST_TIMEOUT_NS);
	return c;
}

void admin_conn_close(struct admin_conn *c)
{
	if (c->state == ADMIN_STATE_CLOSING)
		return;
	admin_conn_move(c, ADMIN_STATE_CLOSING);
	timer_clear(c->admin->loop, &c->timer);
	socket_shutdown(c->fd);
	ring_cancel(&c->admin->loop->ring, &c->recv);
	ring_cancel(&c->admin->loop->ring, &c->send);
	loop_ready(c->admin->loop, &c->task);
}

void admin_conn_close_all(struct admin *a)
{
	LIST_EACH (&a->conns, node)
		admin_conn_close(CONTAINER_OF(node, struct admin_conn, node));
}

static void admin_conn_join(struct admin_conn *c)
{
	if (!c->recv.armed && !c->send.armed)
		loop_bury(c->admin->loop, &c->task);
}

void admin_conn_free(struct admin_conn *c)
{
	list_remove(&c->node);
	c->admin->conn_counts[c->is_unix]--;
	http_free(c->http);
	buf_clear(&c->out);
	page_response_done(&c->response);
	reports_free(c->reports);
	socket_close(c->fd);
	free(c);
}

/* --- reading a request --- */

static struct page_source admin_conn_source(const struct admin_conn *c)
{
	struct admin *a = c->admin;
	return (struct page_source){a->proxy, &a->process, a->loop->wall_ns, c->reports};
}

static void admin_text_keep(struct admin_text *text, struct str value)
{
	/* what is cut matches no page, no host and no media type that we know */
	text->len = value.len < sizeof(text->bytes) ? value.len : sizeof(text->bytes);
	if (text->len)
		memcpy(text->bytes, value.at, text->len);
}

static struct str admin_text_str(const struct admin_text *text)
{
	return (struct str){text->bytes, text->len};
}

static void admin_conn_take_head(struct admin_conn *c, const struct http_event *event)
{
	const struct http_head *head = event->head;
	c->stream = event->stream;
	c->has_request = true;
	c->body_bytes = 0;
	c->is_head = str_eq(head->method, STR("HEAD"));
	admin_text_keep(&c->method, head->method);
	admin_text_keep(&c->path, head->path);
	admin_text_keep(&c->host, head->authority);
	admin_text_keep(&c->accept, http_header_get(head, "accept"));
	if (head->expect_continue) /* nothing here needs a body */
		http_close_after(c->http);
}

static void admin_conn_begin_answer(struct admin_conn *c)
{
	c->head_written = c->end_written = false;
	c->body_written = 0;
	admin_conn_timer(c, ADMIN_SEND_TIMEOUT_NS);
	admin_conn_move(c, ADMIN_STATE_WRITE);
}

/* Its path is whole: half a question must not be answered. */
static bool admin_conn_has_path(const struct admin_conn *c)
{
	return c->path.len < sizeof(c->path.bytes);
}

static void admin_conn_ask_page(struct admin_conn *c)
{
	const struct page_source source = admin_conn_source(c);
	const struct page_request request = {
		.method = admin_text_str(&c->method),
		.path = admin_text_str(&c->path),
		.host = admin_text_str(&c->host),
		.accept = admin_text_str(&c->accept),
		.is_unix = c->is_unix,
	};
	if (admin_conn_has_path(c))
		page_answer(&source, &request, &c->response);
	else
		page_text(&c->response, 414, "a path has %d bytes at most\n", ADMIN_TEXT_MAX - 1);
}

static void admin_conn_await_reports(struct admin_conn *c)
{
	const struct page_response *r = &c->response;
	c->reports = reports_new(c->admin->proxy, r->asked, r->asked_count,
		(struct str){r->asked_id, r->asked_id_len});
	if (!c->reports || (r->asks_seen && !reports_want_seen(c->reports))) {
		page_text(&c->response, 500, "out of memory\n");
		admin_conn_begin_answer(c);
		return;
	}
	(void)reports_look(c->reports, c->admin->proxy);
	c->reports_end_ns = c->admin->loop->now_ns + ADMIN_REPORTS_TIMEOUT_NS;
	admin_conn_timer(c, ADMIN_REPORTS_LOOK_NS);
	admin_conn_move(c, ADMIN_STATE_REPORTS);
}

static void admin_conn_answer(struct admin_conn *c)
{
	uint64_t asked_wall_ns = c->admin->loop->wall_ns;
	admin_conn_ask_page(c);
	if (c->response.await_reports) {
		admin_conn_await_reports(c);
		return;
	}
	if (!c->response.await_reload) {
		admin_conn_begin_answer(c);
		return;
	}
	c->reload_asked_wall_ns = asked_wall_ns;
	c->reload_end_ns = c->admin->loop->now_ns + ADMIN_RELOAD_TIMEOUT_NS;
	admin_conn_timer(c, ADMIN_RELOAD_LOOK_NS);
	admin_conn_move(c, ADMIN_STATE_RELOAD);
}

/* The connection cannot be read any further. */
static void admin_conn_refuse(struct admin_conn *c, uint16_t status, const char *text)
{
	if (!http_write_error(c->http, 0, status, text, true, &c->out)) {
		admin_conn_close(c);
		return;
	}
	admin_conn_begin_answer(c);
	c->head_written = c->end_written = c->last = true;
}

static void admin_conn_take(struct admin_conn *c, const struct http_event *event)
{
	switch (event->kind) {
	case HTTP_EVENT_HEAD:
		admin_conn_take_head(c, event);
		break;
	case HTTP_EVENT_BODY:
		c->body_bytes += event->body.len;
		if (c->body_bytes > ADMIN_BODY_MAX)
			admin_conn_refuse(c, 413, "request body too large");
		break;
	case HTTP_EVENT_END:
		if (c->has_request)
			admin_conn_answer(c);
		c->has_request = false;
		break;
	case HTTP_EVENT_BAD:
		admin_conn_refuse(c, http_bad_status(event->bad), http_bad_text(event->bad));
		break;
	case HTTP_EVENT_WAIT: /* never while reading: the answer before is always finished */
		admin_conn_close(c);
		break;
	case HTTP_EVENT_MORE:
	case HTTP_EVENT_INTERIM:
	case HTTP_EVENT_TRAILERS:
		break;
	}
}

/* False: more input is needed. */
static bool admin_conn_feed(struct admin_conn *c)
{
	struct http_event event;
	size_t used = http_feed(c->http, c->in + c->in_start, c->in_end - c->in_start, &event);
	c->in_start += used;
	if (event.kind == HTTP_EVENT_MORE) {
		c->has_events = false;
		return false;
	}
	admin_conn_take(c, &event);
	return true;
}

/* False: waits. */
static bool admin_conn_read(struct admin_conn *c)
{
	if (c->timer.fired) {
		admin_conn_close(c);
		return true;
	}
	if (c->recv.fresh) {
		c->recv.fresh = false;
		if (c->recv.result <= 0) {
			admin_conn_close(c);
			return true;
		}
		if (!c->begun)
			admin_conn_timer(c, ADMIN_REQUEST_TIMEOUT_NS);
		c->begun = true;
		c->in_start = 0;
		c->in_end = (size_t)c->recv.result;
		c->has_events = true;
	}
	if (c->recv.armed)
		return false;
	if (c->has_events && admin_conn_feed(c))
		return true;
	ring_read(&c->admin->loop->ring, &c->recv, c->fd, c->in, sizeof(c->in));
	return false;
}

/* --- waiting for a reload --- */

static bool admin_conn_reload(struct admin_conn *c)
{
	if (!c->timer.fired)
		return false;
	const struct page_source source = admin_conn_source(c);
	bool timed_out = c->admin->loop->now_ns >= c->reload_end_ns;
	struct page_response response;
	if (!page_reloaded(&source, c->reload_asked_wall_ns, timed_out, &response)) {
		admin_conn_timer(c, ADMIN_RELOAD_LOOK_NS);
		return false;
	}
	page_response_done(&c->response);
	c->response = response;
	admin_conn_begin_answer(c);
	return true;
}

/* --- waiting for the workers --- */

static bool admin_conn_reports(struct admin_conn *c)
{
	if (!c->timer.fired)
		return false;
	if (!reports_look(c->reports, c->admin->proxy) &&
		c->admin->loop->now_ns < c->reports_end_ns) {
		admin_conn_timer(c, ADMIN_REPORTS_LOOK_NS);
		return false;
	}
	page_response_done(&c->response);
	admin_conn_ask_page(c);
	reports_free(c->reports);
	c->reports = NULL;
	admin_conn_begin_answer(c);
	return true;
}

/* --- writing the answer --- */

static bool admin_conn_write_head(struct admin_conn *c)
{
	const struct page_response *r = &c->response;
	struct http_head head = {
		.status = r->status,
		.version = HTTP_1_1,
		.framing = HTTP_FRAMING_LENGTH,
		.body_bytes = r->body_len,
	};
	bool ok = http_header_add(&head, STR("Content-Type"), str_of(r->type)) &&
		  http_header_add(&head, STR("X-Content-Type-Options"), STR("nosniff")) &&
		  http_header_add(&head, STR("Cache-Control"), STR("no-store"));
	if (r->allow)
		ok = ok && http_header_add(&head, STR("Allow"), str_of(r->allow));
	return ok && http_write_head(c->http, c->stream, &head, &c->out);
}

/* As much as there is room for. False: it can never be written. */
static bool admin_conn_fill(struct admin_conn *c)
{
	const struct page_response *r = &c->response;
	if (!c->head_written && !admin_conn_write_head(c))
		return false;
	c->head_written = true;
	size_t body_len = c->is_head ? 0 : r->body_len;
	if (c->body_written < body_len) {
		struct str rest = {r->body + c->body_written, body_len - c->body_written};
		c->body_written += http_write_body(c->http, c->stream, rest, &c->out);
	}
	if (c->body_written == body_len && !c->end_written)
		c->end_written = http_write_end(c->http, c->stream, NULL, &c->out);
	return true;
}

/* The whole answer is with the kernel. */
static void admin_conn_answered(struct admin_conn *c)
{
	page_response_done(&c->response);
	buf_release_if_empty(&c->out);
	if (c->last || !http_reusable(c->http)) {
		admin_conn_close(c);
		return;
	}
	c->begun = false;
	admin_conn_timer(c, ADMIN_IDLE_TIMEOUT_NS);
	admin_conn_move(c, ADMIN_STATE_READ);
}

/* False: waits. */
static bool admin_conn_write(struct admin_conn *c)
{
	if (c->timer.fired || (c->send.fresh && c->send.result <= 0)) {
		admin_conn_close(c);
		return true;
	}
	if (c->send.armed)
		return false;
	if (c->send.fresh) {
		c->send.fresh = false;
		buf_consume(&c->out, (size_t)c->send.result);
	}
	if (!c->end_written && !admin_conn_fill(c)) {
		admin_conn_close(c);
		return true;
	}
	if (buf_len(&c->out) == 0) {
		admin_conn_answered(c);
		return true;
	}
	admin_conn_timer(c, ADMIN_SEND_TIMEOUT_NS);
	ring_send(&c->admin->loop->ring, &c->send, c->fd, buf_at(&c->out), buf_len(&c->out));
	return false;
}

void admin_conn_step(struct admin_conn *c)
{
	bool again = true;
	while (again) {
		switch (c->state) {
		case ADMIN_STATE_READ:
			again = admin_conn_read(c);
			break;
		case ADMIN_STATE_REPORTS:
			again = admin_conn_reports(c);
			break;
		case ADMIN_STATE_RELOAD:
			again = admin_conn_reload(c);
			break;
		case ADMIN_STATE_WRITE:
			again = admin_conn_write(c);
			break;
		case ADMIN_STATE_CLOSING:
			admin_conn_join(c);
			again = false;
			break;
		}
	}
}
