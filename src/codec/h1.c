/* SPDX-License-Identifier: Apache-2.0 */
/* The read half of an HTTP/1 connection. Heads and trailer sections pass h1_scan byte by byte and
 * are collected; a complete one goes to llhttp for its fields and to h1_check for its meaning.
 * Bodies don't pass llhttp: those of known length are counted here, chunk frames are h1_chunk's.
 *
 * h1_feed() runs the step of the current state until one of them has an event. */
#include "h1.h"

#include <stdlib.h>

/* Two empty lines may stand before a request (RFC 9112 2.2 speaks of one at least). */
#define H1_BLANK_BYTES_MAX 4
/* Interim responses are free of charge to a hostile upstream, so they have a bound. */
#define H1_INTERIM_COUNT_MAX 64

struct h1_input {
	const uint8_t *at;
	size_t len;
};

static void h1_free(struct http *http);
static size_t h1_feed(
	struct http *http, const uint8_t *bytes, size_t len, struct http_event *ret_event);
static void h1_feed_eof(struct http *http, struct http_event *ret_event);
static void h1_close_after(struct http *http);
static bool h1_reusable(const struct http *http);
static bool h1_tunnelled(const struct http *http);
static void h1_rest(struct http *http);

static const struct http_ops h1_ops = {
	.free = h1_free,
	.feed = h1_feed,
	.feed_eof = h1_feed_eof,
	.open = h1_open,
	.write_head = h1_write_head,
	.write_body = h1_write_body,
	.body_space = h1_body_space,
	.write_end = h1_write_end,
	.write_refusal = h1_write_refusal,
	.close_after = h1_close_after,
	.reusable = h1_reusable,
	.tunnelled = h1_tunnelled,
	.rest = h1_rest,
};

struct http *h1_new(enum http_side side, const struct http_limits *limits)
{
	struct h1 *h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->http.ops = &h1_ops;
	h->side = side;
	h->limits = *limits;
	h->peer_version = HTTP_1_1;
	return &h->http;
}

static void h1_release(struct h1 *h)
{
	h1_section_free(h->head, h->limits.heads);
	h1_section_free(h->trailers, h->limits.heads);
	h->head = h->trailers = NULL;
}

static void h1_free(struct http *http)
{
	struct h1 *h = h1_of(http);
	h1_release(h);
	free(h);
}

/* --- states --- */

#define H1_BIT(state) (1u << H1_READ_##state)

void h1_read_move(struct h1 *h, enum h1_read next)
{
	static const uint32_t moves[] = {
		[H1_READ_IDLE] = H1_BIT(HEAD) | H1_BIT(BAD),
		[H1_READ_HEAD] = H1_BIT(LENGTH) | H1_BIT(CHUNKED) | H1_BIT(CLOSE) | H1_BIT(END) |
				 H1_BIT(TUNNEL) | H1_BIT(BAD),
		[H1_READ_LENGTH] = H1_BIT(END) | H1_BIT(BAD),
		[H1_READ_CHUNKED] = H1_BIT(TRAILERS) | H1_BIT(BAD),
		[H1_READ_TRAILERS] = H1_BIT(END) | H1_BIT(BAD),
		[H1_READ_CLOSE] = H1_BIT(END),
		[H1_READ_END] = H1_BIT(DONE),
		[H1_READ_DONE] = H1_BIT(IDLE) | H1_BIT(SHUT) | H1_BIT(TUNNEL) | H1_BIT(BAD),
		[H1_READ_TUNNEL] = 0,
		[H1_READ_SHUT] = 0,
		[H1_READ_BAD] = 0,
	};
	ASSERT(moves[h->read] & 1u << next);
	h->read = next;
}

#undef H1_BIT
#define H1_BIT(state) (1u << H1_WRITE_##state)

void h1_write_move(struct h1 *h, enum h1_write next)
{
	static const uint32_t moves[] = {
		[H1_WRITE_NONE] = H1_BIT(HEAD) | H1_BIT(DONE),
		[H1_WRITE_HEAD] = H1_BIT(LENGTH) | H1_BIT(CHUNKED) | H1_BIT(RAW) | H1_BIT(EMPTY) |
				  H1_BIT(DONE) | H1_BIT(TUNNEL),
		[H1_WRITE_LENGTH] = H1_BIT(DONE),
		[H1_WRITE_CHUNKED] = H1_BIT(DONE),
		[H1_WRITE_RAW] = H1_BIT(DONE),
		[H1_WRITE_EMPTY] = H1_BIT(DONE) | H1_BIT(TUNNEL),
		[H1_WRITE_DONE] = H1_BIT(NONE) | H1_BIT(TUNNEL),
		[H1_WRITE_TUNNEL] = 0,
	};
	ASSERT(moves[h->write] & 1u << next);
	h->write = next;
}

#undef H1_BIT

void h1_begin(struct h1 *h)
{
	h->stream++;
	h->method = METHOD_OTHER;
	h->upgrade_asked = false;
	h->interim_count = 0;
	h1_write_move(h, H1_WRITE_HEAD);
}

void h1_settle(struct h1 *h)
{
	if (h->read != H1_READ_DONE)
		return;
	if (h->write == H1_WRITE_TUNNEL) {
		h1_read_move(h, H1_READ_TUNNEL);
	} else if (h->write == H1_WRITE_DONE) {
		h1_write_move(h, H1_WRITE_NONE);
		h1_read_move(h, h->close ? H1_READ_SHUT : H1_READ_IDLE);
		h->blank_bytes = 0;
	}
}

static void h1_close_after(struct http *http)
{
	h1_of(http)->close = true;
}

static bool h1_reusable(const struct http *http)
{
	const struct h1 *h = h1_of_const(http);
	return h->read == H1_READ_IDLE && h->write == H1_WRITE_NONE && !h->close;
}

static bool h1_tunnelled(const struct http *http)
{
	return h1_of_const(http)->read == H1_READ_TUNNEL;
}

static void h1_rest(struct http *http)
{
	struct h1 *h = h1_of(http);
	if (h->write == H1_WRITE_NONE && (h->read == H1_READ_IDLE || h->read == H1_READ_SHUT))
		h1_release(h);
}

/* --- events --- */

static bool h1_tell(const struct h1 *h, struct http_event *event, enum http_event_kind kind)
{
	*event = (struct http_event){.kind = kind, .stream = h->stream};
	return true;
}

static bool h1_tell_head(const struct h1 *h, struct http_event *event, enum http_event_kind kind,
	struct h1_section *section)
{
	h1_tell(h, event, kind);
	event->head = &section->head;
	return true;
}

static bool h1_tell_bad(struct h1 *h, struct http_event *event, enum http_bad bad)
{
	h1_read_move(h, H1_READ_BAD);
	h->bad = bad;
	h->close = true;
	h1_tell(h, event, HTTP_EVENT_BAD);
	event->bad = bad;
	return true;
}

static void h1_skip(struct h1_input *in, size_t len)
{
	if (len == 0)
		return; /* of nothing, which may be nowhere */
	in->at += len;
	in->len -= len;
}

/* Takes up to `max` bytes as body. */
static uint64_t h1_tell_body(
	const struct h1 *h, struct h1_input *in, uint64_t max, struct http_event *event)
{
	size_t n = in->len < max ? in->len : (size_t)max;
	h1_tell(h, event, HTTP_EVENT_BODY);
	event->body = (struct str){(const char *)in->at, n};
	h1_skip(in, n);
	return n;
}

/* --- steps: true when there is an event --- */

/* Passes over empty lines. False when one is not a line. */
static bool h1_read_blank(struct h1 *h, struct h1_input *in)
{
	while (in->len > 0 && h->blank_bytes < H1_BLANK_BYTES_MAX) {
		bool after_cr = h->blank_bytes % 2;
		if (after_cr && *in->at != '\n')
			return false;
		if (!after_cr && *in->at != '\r')
			break;
		h->blank_bytes++;
		h1_skip(in, 1);
	}
	return true;
}

static bool h1_read_idle(struct h1 *h, struct h1_input *in, struct http_event *event)
{
	if (in->len > 0 && h->side == HTTP_CLIENT)
		return h1_tell_bad(h, event, HTTP_BAD_UNEXPECTED);
	if (!h1_read_blank(h, in))
		return h1_tell_bad(h, event, HTTP_BAD_LINE_END);
	if (in->len == 0)
		return h1_tell(h, event, HTTP_EVENT_MORE);
	h1_scan_init(&h->scan, H1_SCAN_REQUEST);
	h1_read_move(h, H1_READ_HEAD);
	return false;
}

static void h1_read_body_next(struct h1 *h, const struct http_head *head)
{
	switch (head->framing) {
	case HTTP_FRAMING_NONE:
		h1_read_move(h, H1_READ_END);
		break;
	case HTTP_FRAMING_LENGTH:
		h->read_left = head->body_bytes;
		h1_read_move(h, h->read_left > 0 ? H1_READ_LENGTH : H1_READ_END);
		break;
	case HTTP_FRAMING_STREAM:
		h1_chunk_init(&h->chunk);
		h1_read_move(h, H1_READ_CHUNKED);
		break;
	case HTTP_FRAMING_CLOSE:
		h1_read_move(h, H1_READ_CLOSE);
		break;
	case HTTP_FRAMING_TUNNEL:
		h1_read_move(h, H1_READ_TUNNEL);
		if (h->write != H1_WRITE_TUNNEL)
			h1_write_move(h, H1_WRITE_TUNNEL);
		break;
	}
}

static bool h1_read_request(struct h1 *h, struct http_event *event)
{
	enum method method;
	bool persist;
	bool parsed = h1_section_parse(h->head, H1_SCAN_REQUEST);
	enum http_bad bad = h1_check_request(h->head, &h->scan, &method, &persist);
	if (!bad && !parsed)
		bad = HTTP_BAD_SYNTAX;
	if (bad)
		return h1_tell_bad(h, event, bad);
	h1_begin(h);
	h->method = method;
	h->upgrade_asked = h->head->head.upgrade.len > 0;
	h->peer_version = h->head->head.version;
	h->close = h->close || !persist;
	h1_read_body_next(h, &h->head->head);
	return h1_tell_head(h, event, HTTP_EVENT_HEAD, h->head);
}

static bool h1_read_response(struct h1 *h, struct http_event *event)
{
	struct h1_asked asked = {.method = h->method};
	if (h->upgrade_asked)
		asked.upgrade = str_of(h->upgrade);
	bool persist;
	bool parsed = h1_section_parse(h->head, H1_SCAN_RESPONSE);
	enum http_bad bad = h1_check_response(h->head, &asked, &persist);
	if (!bad && !parsed)
		bad = HTTP_BAD_SYNTAX;
	const struct http_head *head = &h->head->head;
	bool interim = !bad && head->status < 200 && head->status != 101;
	if (interim && ++h->interim_count > H1_INTERIM_COUNT_MAX)
		bad = HTTP_BAD_UNEXPECTED;
	if (bad)
		return h1_tell_bad(h, event, bad);
	h->peer_version = head->version;
	if (interim) {
		h1_scan_init(&h->scan, H1_SCAN_RESPONSE);
		return h1_tell_head(h, event, HTTP_EVENT_INTERIM, h->head);
	}
	h->close = h->close || !persist;
	h1_read_body_next(h, head);
	return h1_tell_head(h, event, HTTP_EVENT_HEAD, h->head);
}

/* Scans and keeps what belongs to the section. True when it is complete; else there is an event,
 * if only that more input is wanted. */
static bool h1_read_section(
	struct h1 *h, struct h1_section **section, struct h1_input *in, struct http_event *event)
{
	if (in->len == 0) /* a head stays valid until the next one begins */
		return !h1_tell(h, event, HTTP_EVENT_MORE);
	if (*section && h->scan.bytes == 0)
		h1_section_reset(*section);
	size_t len = h1_scan_read(&h->scan, &h->limits, in->at, in->len);
	if (h->scan.state == H1_SCAN_BAD) {
		h1_tell_bad(h, event, h->scan.bad);
		return false;
	}
	if (len > 0 && !h1_section_put(section, h->limits.heads, in->at, len)) {
		h1_tell_bad(h, event, HTTP_BAD_NO_MEMORY);
		return false;
	}
	h1_skip(in, len);
	if (h->scan.state == H1_SCAN_DONE)
		return true;
	h1_tell(h, event, HTTP_EVENT_MORE);
	return false;
}

static bool h1_read_head(struct h1 *h, struct h1_input *in, struct http_event *event)
{
	if (!h1_read_section(h, &h->head, in, event))
		return true;
	return h->side == HTTP_SERVER ? h1_read_request(h, event) : h1_read_response(h, event);
}

static bool h1_read_length(struct h1 *h, struct h1_input *in, struct http_event *event)
{
	if (in->len == 0)
		return h1_tell(h, event, HTTP_EVENT_MORE);
	h->read_left -= h1_tell_body(h, in, h->read_left, event);
	if (h->read_left == 0)
		h1_read_move(h, H1_READ_END);
	return true;
}

static enum h1_scan_kind h1_trailer_kind(const struct h1 *h)
{
	return h->side == HTTP_SERVER ? H1_SCAN_REQUEST_TRAILER : H1_SCAN_RESPONSE_TRAILER;
}

static bool h1_read_chunked(struct h1 *h, struct h1_input *in, struct http_event *event)
{
	h1_skip(in, h1_chunk_read(&h->chunk, &h->limits, in->at, in->len));
	if (h->chunk.state == H1_CHUNK_BAD)
		return h1_tell_bad(h, event, h->chunk.bad);
	if (h->chunk.state == H1_CHUNK_LAST) {
		h1_scan_init(&h->scan, h1_trailer_kind(h));
		h1_read_move(h, H1_READ_TRAILERS);
		return false;
	}
	if (in->len == 0)
		return h1_tell(h, event, HTTP_EVENT_MORE);
	h1_chunk_took(&h->chunk, h1_tell_body(h, in, h->chunk.left, event));
	return true;
}

static bool h1_read_trailers(struct h1 *h, struct h1_input *in, struct http_event *event)
{
	if (!h1_read_section(h, &h->trailers, in, event))
		return true;
	if (h->scan.field_count == 0) {
		h1_read_move(h, H1_READ_END);
		return false;
	}
	bool parsed = h1_section_parse(h->trailers, h1_trailer_kind(h));
	enum http_bad bad = h1_check_trailers(h->trailers);
	if (!bad && !parsed)
		bad = HTTP_BAD_TRAILER;
	if (bad)
		return h1_tell_bad(h, event, bad);
	h1_read_move(h, H1_READ_END);
	return h1_tell_head(h, event, HTTP_EVENT_TRAILERS, h->trailers);
}

static bool h1_read_end(struct h1 *h, struct http_event *event)
{
	h1_tell(h, event, HTTP_EVENT_END);
	h1_read_move(h, H1_READ_DONE);
	h1_settle(h);
	return true;
}

static bool h1_read_done(struct h1 *h, struct h1_input *in, struct http_event *event)
{
	if (in->len == 0)
		return h1_tell(h, event, HTTP_EVENT_MORE);
	if (h->side == HTTP_CLIENT)
		return h1_tell_bad(h, event, HTTP_BAD_UNEXPECTED);
	return h1_tell(h, event, HTTP_EVENT_WAIT);
}

static bool h1_read_step(struct h1 *h, struct h1_input *in, struct http_event *event)
{
	switch (h->read) {
	case H1_READ_IDLE:
		return h1_read_idle(h, in, event);
	case H1_READ_HEAD:
		return h1_read_head(h, in, event);
	case H1_READ_LENGTH:
		return h1_read_length(h, in, event);
	case H1_READ_CHUNKED:
		return h1_read_chunked(h, in, event);
	case H1_READ_TRAILERS:
		return h1_read_trailers(h, in, event);
	case H1_READ_CLOSE:
		if (in->len > 0)
			h1_tell_body(h, in, in->len, event);
		else
			h1_tell(h, event, HTTP_EVENT_MORE);
		return true;
	case H1_READ_END:
		return h1_read_end(h, event);
	case H1_READ_DONE:
		return h1_read_done(h, in, event);
	case H1_READ_TUNNEL:
		return h1_tell(h, event, HTTP_EVENT_MORE);
	case H1_READ_SHUT:
		h1_skip(in, in->len);
		return h1_tell(h, event, HTTP_EVENT_MORE);
	case H1_READ_BAD:
		h1_tell(h, event, HTTP_EVENT_BAD);
		event->bad = h->bad;
		return true;
	}
	ASSERT(false);
}

static size_t h1_feed(
	struct http *http, const uint8_t *bytes, size_t len, struct http_event *ret_event)
{
	struct h1_input in = {bytes, len};
	while (!h1_read_step(h1_of(http), &in, ret_event))
		;
	return len - in.len;
}

static void h1_feed_eof(struct http *http, struct http_event *ret_event)
{
	struct h1 *h = h1_of(http);
	switch (h->read) {
	case H1_READ_HEAD:
	case H1_READ_LENGTH:
	case H1_READ_CHUNKED:
	case H1_READ_TRAILERS:
		h1_tell_bad(h, ret_event, HTTP_BAD_TRUNCATED);
		break;
	case H1_READ_CLOSE:
		h1_read_move(h, H1_READ_END);
		h1_read_end(h, ret_event);
		break;
	case H1_READ_END:
		h1_read_end(h, ret_event);
		break;
	case H1_READ_BAD:
	case H1_READ_IDLE:
	case H1_READ_DONE:
	case H1_READ_TUNNEL:
	case H1_READ_SHUT:
		h1_tell(h, ret_event, HTTP_EVENT_MORE);
		break;
	}
}
