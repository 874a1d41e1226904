/* SPDX-License-Identifier: Apache-2.0 */
/* What a server codec reads, a client codec writes; that is read again as one equal request, and
 * nothing is left over: no request can be smuggled through. */
#include "fuzz/fuzz.h"
#include "unit/codec/h1_trace.h"

/* One request on its way: the reader's events go to the writer, and into a text to compare. */
struct roundtrip {
	struct http *reader, *writer;
	struct buf out;
	struct h1_trace *trace;
	bool ended;
};

static struct h1_trace first, second;

static void roundtrip_put(struct h1_trace *t, struct str s)
{
	size_t n = s.len < sizeof(t->text) - t->len ? s.len : sizeof(t->text) - t->len;
	if (n > 0)
		memcpy(t->text + t->len, s.at, n);
	t->len += n;
}

/* False: this request goes no further. */
static bool roundtrip_event(struct roundtrip *r, const struct http_event *event)
{
	switch (event->kind) {
	case HTTP_EVENT_HEAD:
		event->head->version = HTTP_1_1; /* which is what we always write */
		h1_trace_head(r->trace, event->head);
		/* HTTP/1.0 may come without a host; nothing can be sent on then. */
		if (event->head->authority.len == 0)
			return false;
		return !r->writer || http_write_head(r->writer, 1, event->head, &r->out);
	case HTTP_EVENT_BODY:
		roundtrip_put(r->trace, event->body);
		if (r->writer &&
			http_write_body(r->writer, 1, event->body, &r->out) < event->body.len)
			return false;
		return true;
	case HTTP_EVENT_TRAILERS:
		h1_trace_head(r->trace, event->head);
		return !r->writer || http_write_end(r->writer, 1, event->head, &r->out);
	case HTTP_EVENT_END:
		r->ended = true;
		return false;
	case HTTP_EVENT_MORE:
	case HTTP_EVENT_WAIT:
	case HTTP_EVENT_INTERIM:
	case HTTP_EVENT_BAD:
		break;
	}
	return false;
}

/* Returns how much of the input the one request took. */
static size_t roundtrip_read(struct roundtrip *r, const uint8_t *bytes, size_t len)
{
	struct http_event event;
	size_t at = 0;
	bool trailers = false;
	do {
		at += http_feed(r->reader, bytes + at, len - at, &event);
		trailers = trailers || event.kind == HTTP_EVENT_TRAILERS;
	} while (roundtrip_event(r, &event));
	if (r->ended && r->writer && !trailers)
		r->ended = http_write_end(r->writer, 1, NULL, &r->out);
	return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct buf_pool pool;
	buf_pool_init(&pool, 64 * 1024, 1);
	struct roundtrip there = {.reader = http_new(HTTP_1_1, HTTP_SERVER, &http_limits_default),
		.writer = http_new(HTTP_1_1, HTTP_CLIENT, &http_limits_default),
		.trace = &first};
	struct roundtrip again = {
		.reader = http_new(HTTP_1_1, HTTP_SERVER, &http_limits_default), .trace = &second};
	ASSERT(there.reader && there.writer && again.reader);
	first.len = second.len = 0;
	buf_init(&there.out, &pool);
	ASSERT(http_open(there.writer) == 1);

	roundtrip_read(&there, bytes, len);
	if (there.ended) {
		size_t written = buf_len(&there.out);
		ASSERT(roundtrip_read(&again, buf_at(&there.out), written) == written);
		ASSERT(again.ended && first.len == second.len);
		ASSERT(memcmp(first.text, second.text, first.len) == 0);
	}
	http_free(there.reader);
	http_free(there.writer);
	http_free(again.reader);
	buf_clear(&there.out);
	buf_pool_done(&pool);
	return 0;
}
