/* SPDX-License-Identifier: Apache-2.0 */
/* The write half of an HTTP/1 connection. Start line, framing and fields of this hop are made here
 * from the struct; a field of such a name among the headers is never passed on, wherever the head
 * came from. Everything goes through h1_out, which writes all or nothing. */
#include "h1.h"

#include "h1_name.h"
#include "status.h"

/* Hexadecimal length of at most 8 digits, and two line ends. */
#define H1_CHUNK_OVERHEAD 12

struct h1_out {
	struct buf *buf;
	uint8_t *start, *at, *end;
	bool full;
};

static void h1_out_begin(struct h1_out *o, struct buf *buf)
{
	size_t space = buf_space(buf);
	uint8_t *start = space > 0 ? buf_tail(buf) : NULL;
	*o = (struct h1_out){.buf = buf, .start = start, .at = start, .end = start};
	o->full = space == 0;
	if (space > 0)
		o->end += space;
}

static bool h1_out_commit(struct h1_out *o)
{
	if (o->full) {
		buf_release_if_empty(o->buf);
		return false;
	}
	buf_wrote(o->buf, (size_t)(o->at - o->start));
	return true;
}

static void h1_out_str(struct h1_out *o, struct str s)
{
	if (o->full || s.len > (size_t)(o->end - o->at)) {
		o->full = true;
	} else if (s.len > 0) {
		memcpy(o->at, s.at, s.len);
		o->at += s.len;
	}
}

static void h1_out_number(struct h1_out *o, uint64_t number)
{
	char text[20];
	size_t at = sizeof(text);
	do {
		text[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	h1_out_str(o, (struct str){text + at, sizeof(text) - at});
}

static void h1_out_hex(struct h1_out *o, uint64_t number)
{
	char text[16];
	size_t at = sizeof(text);
	do {
		text[--at] = "0123456789abcdef"[number % 16];
		number /= 16;
	} while (number > 0);
	h1_out_str(o, (struct str){text + at, sizeof(text) - at});
}

static void h1_out_field(struct h1_out *o, struct str name, struct str value)
{
	h1_out_str(o, name);
	h1_out_str(o, STR(": "));
	h1_out_str(o, value);
	h1_out_str(o, STR("\r\n"));
}

static void h1_out_length(struct h1_out *o, uint64_t length)
{
	h1_out_str(o, STR("Content-Length: "));
	h1_out_number(o, length);
	h1_out_str(o, STR("\r\n"));
}

/* Lines that stood one after the other when they were read are copied together. */
static void h1_out_line(struct h1_out *o, struct str *lines, const struct http_header *header)
{
	size_t len = header->name.len + header->value.len + 4;
	if (lines->at && header->name.at == lines->at + lines->len) {
		lines->len += len;
		return;
	}
	h1_out_str(o, *lines);
	*lines = (struct str){header->name.at, len};
}

/* The fields that are the peers' business. */
static void h1_out_headers(struct h1_out *o, const struct http_head *head, bool keep_length)
{
	struct str lines = STR_NONE;
	for (uint16_t i = 0; i < head->header_count; i++) {
		const struct http_header *header = &head->headers[i];
		if (http_name_is_hop(header->id) &&
			!(keep_length && header->id == HTTP_NAME_CONTENT_LENGTH))
			continue;
		if (header->is_line) {
			h1_out_line(o, &lines, header);
			continue;
		}
		h1_out_str(o, lines);
		lines = STR_NONE;
		h1_out_field(o, header->name, header->value);
	}
	h1_out_str(o, lines);
}

/* --- what becomes of the body --- */

struct h1_body {
	enum h1_write write;
	bool length_told; /* a Content-Length is written */
	uint64_t length;
	bool keep_length; /* one among the headers may stay */
};

static struct h1_body h1_request_body(const struct http_head *head)
{
	switch (head->framing) {
	case HTTP_FRAMING_LENGTH:
		return (struct h1_body){H1_WRITE_LENGTH, true, head->body_bytes};
	case HTTP_FRAMING_STREAM:
		return (struct h1_body){H1_WRITE_CHUNKED};
	case HTTP_FRAMING_NONE:
	case HTTP_FRAMING_CLOSE:
	case HTTP_FRAMING_TUNNEL:
		break;
	}
	return (struct h1_body){H1_WRITE_EMPTY};
}

static struct h1_body h1_response_body(const struct h1 *h, const struct http_head *head)
{
	bool length = head->framing == HTTP_FRAMING_LENGTH;
	if (head->status == 101 || (h->method == METHOD_CONNECT && head->status / 100 == 2))
		return (struct h1_body){H1_WRITE_TUNNEL};
	if (head->status == 204)
		return (struct h1_body){H1_WRITE_EMPTY};
	if (h->method == METHOD_HEAD || head->status == 304)
		return (struct h1_body){H1_WRITE_EMPTY, length, head->body_bytes, !length};
	if (length)
		return (struct h1_body){H1_WRITE_LENGTH, true, head->body_bytes};
	if (head->framing == HTTP_FRAMING_NONE)
		return (struct h1_body){H1_WRITE_EMPTY, true, 0};
	return (struct h1_body){h->peer_version == HTTP_1_0 ? H1_WRITE_RAW : H1_WRITE_CHUNKED};
}

static void h1_out_framing(struct h1_out *o, const struct h1_body *body)
{
	if (body->length_told)
		h1_out_length(o, body->length);
	else if (body->write == H1_WRITE_CHUNKED)
		h1_out_str(o, STR("Transfer-Encoding: chunked\r\n"));
}

/* --- heads --- */

uint32_t h1_open(struct http *http)
{
	struct h1 *h = h1_of(http);
	if (h->side != HTTP_CLIENT || !http_reusable(http))
		return 0;
	h1_begin(h);
	return h->stream;
}

static void h1_out_status_line(struct h1_out *o, uint16_t status)
{
	h1_out_str(o, STR("HTTP/1.1 "));
	h1_out_number(o, status);
	h1_out_str(o, STR(" "));
	h1_out_str(o, status_reason(status));
	h1_out_str(o, STR("\r\n"));
}

static void h1_out_upgrade(struct h1_out *o, struct str protocol)
{
	h1_out_field(o, STR("Upgrade"), protocol);
}

static void h1_out_request_line(struct h1_out *o, const struct http_head *head, enum method method)
{
	h1_out_str(o, head->method);
	h1_out_str(o, STR(" "));
	h1_out_str(o, method == METHOD_CONNECT ? head->authority : head->path);
	h1_out_str(o, STR(" HTTP/1.1\r\n"));
	h1_out_field(o, STR("Host"), head->authority);
}

static void h1_out_request_connection(
	struct h1_out *o, const struct http_head *head, bool upgrade, bool close)
{
	if (upgrade)
		h1_out_upgrade(o, head->upgrade);
	if (head->te_trailers)
		h1_out_str(o, STR("TE: trailers\r\n"));
	if (head->expect_continue)
		h1_out_str(o, STR("Expect: 100-continue\r\n"));
	if (!upgrade && !head->te_trailers && !close)
		return;
	const char *comma = "";
	h1_out_str(o, STR("Connection: "));
	if (close) {
		h1_out_str(o, STR("close"));
		comma = ", ";
	}
	if (upgrade) {
		h1_out_str(o, str_of(comma));
		h1_out_str(o, STR("Upgrade"));
		comma = ", ";
	}
	if (head->te_trailers) {
		h1_out_str(o, str_of(comma));
		h1_out_str(o, STR("TE"));
	}
	h1_out_str(o, STR("\r\n"));
}

static bool h1_write_request(struct h1 *h, const struct http_head *head, struct buf *out)
{
	struct h1_body body = h1_request_body(head);
	enum method method = method_of(head->method);
	/* With a body it could not be told where the upgraded protocol begins. */
	bool upgrade = head->upgrade.len > 0 && head->upgrade.len < sizeof(h->upgrade) &&
		       body.write == H1_WRITE_EMPTY;
	struct h1_out o;
	h1_out_begin(&o, out);
	h1_out_request_line(&o, head, method);
	h1_out_headers(&o, head, false);
	h1_out_framing(&o, &body);
	h1_out_request_connection(&o, head, upgrade, h->close);
	h1_out_str(&o, STR("\r\n"));
	if (!h1_out_commit(&o))
		return false;

	h->method = method;
	h->upgrade_asked = upgrade;
	if (upgrade) {
		memcpy(h->upgrade, head->upgrade.at, head->upgrade.len);
		h->upgrade[head->upgrade.len] = '\0';
	}
	h->write_left = body.length;
	h1_write_move(h, body.write);
	h1_scan_init(&h->scan, H1_SCAN_RESPONSE);
	h1_read_move(h, H1_READ_HEAD);
	return true;
}

static bool h1_write_interim(const struct h1 *h, const struct http_head *head, struct buf *out)
{
	if (h->peer_version == HTTP_1_0)
		return true;
	struct h1_out o;
	h1_out_begin(&o, out);
	h1_out_status_line(&o, head->status);
	h1_out_headers(&o, head, false);
	h1_out_str(&o, STR("\r\n"));
	return h1_out_commit(&o);
}

static void h1_out_response_connection(struct h1_out *o, const struct h1 *h,
	const struct http_head *head, enum h1_write write, bool close)
{
	if (head->status == 101) {
		h1_out_upgrade(o, head->upgrade);
		h1_out_str(o, STR("Connection: Upgrade\r\n"));
	} else if (write == H1_WRITE_TUNNEL) {
		return;
	} else if (close) {
		h1_out_str(o, STR("Connection: close\r\n"));
	} else if (h->peer_version == HTTP_1_0) {
		h1_out_str(o, STR("Connection: keep-alive\r\n"));
	}
}

static bool h1_write_response(struct h1 *h, const struct http_head *head, struct buf *out)
{
	ASSERT(head->status != 101 || h->upgrade_asked);
	struct h1_body body = h1_response_body(h, head);
	bool close = h->close || body.write == H1_WRITE_RAW;
	struct h1_out o;
	h1_out_begin(&o, out);
	h1_out_status_line(&o, head->status);
	h1_out_headers(&o, head, body.keep_length);
	h1_out_framing(&o, &body);
	h1_out_response_connection(&o, h, head, body.write, close);
	h1_out_str(&o, STR("\r\n"));
	if (!h1_out_commit(&o))
		return false;

	h->close = close;
	h->write_left = body.write == H1_WRITE_LENGTH ? body.length : 0;
	h1_write_move(h, body.write);
	h1_settle(h);
	return true;
}

bool h1_write_head(
	struct http *http, uint32_t stream, const struct http_head *head, struct buf *out)
{
	struct h1 *h = h1_of(http);
	ASSERT(stream == h->stream && h->write == H1_WRITE_HEAD);
	if (h->side == HTTP_CLIENT)
		return h1_write_request(h, head, out);
	ASSERT(head->status >= 100 && head->status <= 599);
	if (head->status < 200 && head->status != 101)
		return h1_write_interim(h, head, out);
	return h1_write_response(h, head, out);
}

/* --- bodies --- */

static size_t h1_min(uint64_t a, size_t b)
{
	return a < b ? (size_t)a : b;
}

static size_t h1_space(const struct h1 *h, struct buf *out)
{
	size_t space;
	switch (h->write) {
	case H1_WRITE_LENGTH:
		return h1_min(h->write_left, buf_space(out));
	case H1_WRITE_CHUNKED:
		space = buf_space(out);
		return space > H1_CHUNK_OVERHEAD ? space - H1_CHUNK_OVERHEAD : 0;
	case H1_WRITE_RAW:
		return buf_space(out);
	case H1_WRITE_EMPTY:
		return SIZE_MAX;
	case H1_WRITE_NONE:
	case H1_WRITE_HEAD:
	case H1_WRITE_DONE:
	case H1_WRITE_TUNNEL:
		break;
	}
	return 0;
}

size_t h1_body_space(const struct http *http, uint32_t stream, struct buf *out)
{
	const struct h1 *h = h1_of_const(http);
	ASSERT(stream == h->stream);
	size_t space = h1_space(h, out);
	buf_release_if_empty(out);
	return space;
}

static void h1_write_chunk(struct str bytes, struct buf *out)
{
	struct h1_out o;
	h1_out_begin(&o, out);
	h1_out_hex(&o, bytes.len);
	h1_out_str(&o, STR("\r\n"));
	h1_out_str(&o, bytes);
	h1_out_str(&o, STR("\r\n"));
	bool fitted = h1_out_commit(&o);
	ASSERT(fitted); /* h1_space() */
}

size_t h1_write_body(struct http *http, uint32_t stream, struct str body, struct buf *out)
{
	struct h1 *h = h1_of(http);
	ASSERT(stream == h->stream);
	struct str part = {body.at, h1_min(body.len, h1_space(h, out))};
	if (part.len == 0 || h->write == H1_WRITE_EMPTY) {
		buf_release_if_empty(out);
		return part.len;
	}
	if (h->write == H1_WRITE_CHUNKED) {
		h1_write_chunk(part, out);
		return part.len;
	}
	size_t written = buf_fill(out, part.at, part.len);
	if (h->write == H1_WRITE_LENGTH)
		h->write_left -= written;
	return written;
}

static bool h1_write_last_chunk(const struct http_head *trailers, struct buf *out)
{
	struct h1_out o;
	h1_out_begin(&o, out);
	h1_out_str(&o, STR("0\r\n"));
	for (uint16_t i = 0; trailers && i < trailers->header_count; i++) {
		const struct http_header *trailer = &trailers->headers[i];
		if (!h1_name_refused_in_trailer(trailer->name))
			h1_out_field(&o, trailer->name, trailer->value);
	}
	h1_out_str(&o, STR("\r\n"));
	return h1_out_commit(&o);
}

bool h1_write_end(
	struct http *http, uint32_t stream, const struct http_head *trailers, struct buf *out)
{
	struct h1 *h = h1_of(http);
	ASSERT(stream == h->stream);
	if (h->write == H1_WRITE_TUNNEL)
		return true;
	ASSERT(h->write >= H1_WRITE_LENGTH && h->write <= H1_WRITE_EMPTY);
	if (h->write == H1_WRITE_CHUNKED && !h1_write_last_chunk(trailers, out))
		return false;
	if (h->write == H1_WRITE_LENGTH && h->write_left > 0)
		h->close = true;
	h1_write_move(h, H1_WRITE_DONE);
	h1_settle(h);
	return true;
}

static void h1_out_refusal_head(
	struct h1_out *o, struct h1 *h, const struct http_refusal *refusal, bool close)
{
	size_t len = refusal->text ? strlen(refusal->text) + 1 : 0;
	h1_out_status_line(o, refusal->status);
	if (refusal->text)
		h1_out_field(o, STR("Content-Type"), STR("text/plain"));
	for (uint16_t i = 0; i < refusal->header_count; i++)
		h1_out_field(o, refusal->headers[i].name, refusal->headers[i].value);
	h1_out_length(o, len);
	h1_out_response_connection(
		o, h, &(struct http_head){.status = refusal->status}, H1_WRITE_LENGTH, close);
	h1_out_str(o, STR("\r\n"));
}

bool h1_write_refusal(
	struct http *http, uint32_t stream, const struct http_refusal *refusal, struct buf *out)
{
	struct h1 *h = h1_of(http);
	ASSERT(h->side == HTTP_SERVER && (stream == 0 || stream == h->stream));
	bool close = refusal->close || h->close;
	if (h->write != H1_WRITE_NONE && h->write != H1_WRITE_HEAD) {
		h->close = true;
		return true;
	}
	bool unopened = h->write == H1_WRITE_NONE;
	struct h1_out o;
	h1_out_begin(&o, out);
	h1_out_refusal_head(&o, h, refusal, close || unopened);
	if (refusal->text && (unopened || h->method != METHOD_HEAD)) {
		h1_out_str(&o, str_of(refusal->text));
		h1_out_str(&o, STR("\n"));
	}
	if (!h1_out_commit(&o))
		return false;
	h->close = close || unopened;
	h1_write_move(h, H1_WRITE_DONE);
	h1_settle(h);
	return true;
}
