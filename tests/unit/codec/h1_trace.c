/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/codec/h1_trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct h1_tracer {
	struct h1_trace *trace;
	struct http *http;
	struct buf_pool pool;
	struct buf out;
	enum http_event_kind last;
	bool upgrade, done;
};

static void h1_trace_bytes(struct h1_trace *t, const void *bytes, size_t len)
{
	size_t space = sizeof(t->text) - 1 - t->len;
	size_t n = len < space ? len : space;
	if (n > 0)
		memcpy(t->text + t->len, bytes, n);
	t->len += n;
	t->text[t->len] = '\0';
}

static void h1_trace_put(struct h1_trace *t, const char *format, ...) PRINTF_LIKE(2, 3);
static void h1_trace_put(struct h1_trace *t, const char *format, ...)
{
	char text[256];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	h1_trace_bytes(t, text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

static void h1_trace_word(struct h1_trace *t, struct str word)
{
	h1_trace_bytes(t, " ", 1);
	h1_trace_bytes(t, word.at, word.len);
}

static void h1_trace_headers(struct h1_trace *t, const struct http_head *head)
{
	for (uint16_t i = 0; i < head->header_count; i++) {
		h1_trace_put(t, " {");
		h1_trace_bytes(t, head->headers[i].name.at, head->headers[i].name.len);
		h1_trace_put(t, ":");
		h1_trace_bytes(t, head->headers[i].value.at, head->headers[i].value.len);
		h1_trace_put(t, "}");
	}
}

void h1_trace_head(struct h1_trace *t, const struct http_head *head)
{
	static const char *const framings[] = {"none", "length", "stream", "close", "tunnel"};
	if (head->status > 0) {
		h1_trace_put(t, " %u", head->status);
	} else {
		h1_trace_word(t, head->method);
		h1_trace_word(t, head->path);
		h1_trace_word(t, head->authority);
	}
	h1_trace_put(
		t, " %s %s", head->version == HTTP_1_0 ? "1.0" : "1.1", framings[head->framing]);
	if (head->framing == HTTP_FRAMING_LENGTH)
		h1_trace_put(t, ":%llu", (unsigned long long)head->body_bytes);
	if (head->expect_continue)
		h1_trace_put(t, " expect");
	if (head->te_trailers)
		h1_trace_put(t, " te");
	if (head->upgrade.len > 0) {
		h1_trace_put(t, " upgrade");
		h1_trace_word(t, head->upgrade);
	}
	h1_trace_headers(t, head);
}

static void h1_trace_answer(struct h1_tracer *r, uint32_t stream)
{
	struct http_head head = {.status = r->upgrade ? 101 : 200};
	if (r->upgrade)
		head.upgrade = STR("websocket");
	bool written = http_write_head(r->http, stream, &head, &r->out) &&
		       http_write_end(r->http, stream, NULL, &r->out);
	ASSERT(written);
	buf_clear(&r->out);
}

/* Whether the codec is to be asked again. */
static bool h1_trace_event(struct h1_tracer *r, const struct http_event *event)
{
	static const char *const names[] = {
		"MORE", "WAIT", "HEAD", "INTERIM", "BODY", "TRAILERS", "END", "BAD"};
	struct h1_trace *t = r->trace;
	bool more_body = event->kind == HTTP_EVENT_BODY && r->last == HTTP_EVENT_BODY;
	if (event->kind == HTTP_EVENT_MORE)
		return false;
	ASSERT(event->kind != HTTP_EVENT_WAIT);
	if (!more_body)
		h1_trace_put(t, "%s%s", t->len > 0 ? "|" : "", names[event->kind]);
	r->last = event->kind;
	if (event->kind == HTTP_EVENT_BODY) {
		if (!more_body)
			h1_trace_put(t, " ");
		h1_trace_bytes(t, event->body.at, event->body.len);
	} else if (event->kind == HTTP_EVENT_TRAILERS) {
		h1_trace_headers(t, event->head);
	} else if (event->kind == HTTP_EVENT_BAD) {
		h1_trace_put(t, " %s", http_bad_name(event->bad));
		r->done = true;
		return false;
	} else if (event->head) {
		h1_trace_head(t, event->head);
		r->upgrade = event->head->upgrade.len > 0;
	}
	if (event->kind == HTTP_EVENT_END && t->side == HTTP_SERVER)
		h1_trace_answer(r, event->stream);
	return true;
}

static void h1_trace_feed(struct h1_tracer *r, const uint8_t *bytes, size_t len)
{
	/* A copy of its exact size, for the sanitizer to see a byte too many. */
	uint8_t *copy = malloc(len + !len);
	ASSERT(copy);
	if (len > 0)
		memcpy(copy, bytes, len);
	struct http_event event;
	size_t at = 0;
	bool again = !r->done;
	while (again) {
		at += http_feed(r->http, copy + at, len - at, &event);
		ASSERT(at <= len);
		again = h1_trace_event(r, &event);
	}
	if (http_tunnelled(r->http) && at < len) {
		if (r->last != HTTP_EVENT_MORE)
			h1_trace_put(r->trace, "|RAW ");
		r->last = HTTP_EVENT_MORE;
		h1_trace_bytes(r->trace, copy + at, len - at);
	} else if (!r->done) {
		ASSERT(at == len);
	}
	free(copy);
}

static void h1_trace_request(struct h1_tracer *r)
{
	struct h1_trace *t = r->trace;
	struct http_head head = {
		.method = str_of(t->method),
		.path = STR("/"),
		.authority = STR("a:80"),
		.upgrade = str_of(t->upgrade),
	};
	uint32_t stream = http_open(r->http);
	bool written = stream > 0 && http_write_head(r->http, stream, &head, &r->out) &&
		       http_write_end(r->http, stream, NULL, &r->out);
	ASSERT(written);
}

void h1_trace_run(struct h1_trace *t, const uint8_t *bytes, size_t len)
{
	struct h1_tracer r = {.trace = t, .http = http_new(HTTP_1_1, t->side, t->limits)};
	ASSERT(r.http);
	buf_pool_init(&r.pool, HTTP_HEAD_SPACE(t->limits->head_bytes_max), 1);
	buf_init(&r.out, &r.pool);
	t->len = 0;
	t->text[0] = '\0';
	r.last = HTTP_EVENT_WAIT;
	if (t->side == HTTP_CLIENT && t->method)
		h1_trace_request(&r);

	size_t at = t->cut < len ? t->cut : len;
	if (at > 0)
		h1_trace_feed(&r, bytes, at);
	while (at < len) {
		size_t n = t->step > 0 && t->step < len - at ? t->step : len - at;
		h1_trace_feed(&r, bytes + at, n);
		at += n;
	}
	if (t->eof && !r.done) {
		struct http_event event;
		http_feed_eof(r.http, &event);
		h1_trace_event(&r, &event);
	}
	buf_clear(&r.out);
	buf_pool_done(&r.pool);
	http_free(r.http);
}
