/* SPDX-License-Identifier: Apache-2.0 */
/* The door: passes each call to the codec of the connection's version; what all versions share. */
#include "codec/http.h"

#include "http_ops.h"
#include "method.h"

const struct http_limits http_limits_default = {
	.head_bytes_max = 32 * 1024,
	.target_bytes_max = 8 * 1024,
	.header_count_max = 100,
	.chunk_ext_bytes_max = 4 * 1024,
	.chunk_bytes_max = UINT64_C(1) << 30,
};

size_t http_head_bytes(void)
{
	return h1_head_bytes();
}

struct http *http_new(
	enum http_version version, enum http_side side, const struct http_limits *limits)
{
	ASSERT(version == HTTP_1_0 || version == HTTP_1_1);
	ASSERT(limits->header_count_max <= HTTP_HEADERS_MAX);
	return h1_new(side, limits);
}

void http_free(struct http *h)
{
	if (h)
		h->ops->free(h);
}

size_t http_feed(struct http *h, const uint8_t *bytes, size_t len, struct http_event *ret_event)
{
	return h->ops->feed(h, bytes, len, ret_event);
}

void http_feed_eof(struct http *h, struct http_event *ret_event)
{
	h->ops->feed_eof(h, ret_event);
}

uint32_t http_open(struct http *h)
{
	return h->ops->open(h);
}

bool http_write_head(struct http *h, uint32_t stream, const struct http_head *head, struct buf *out)
{
	return h->ops->write_head(h, stream, head, out);
}

size_t http_write_body(struct http *h, uint32_t stream, struct str body, struct buf *out)
{
	return h->ops->write_body(h, stream, body, out);
}

size_t http_body_space(const struct http *h, uint32_t stream, struct buf *out)
{
	return h->ops->body_space(h, stream, out);
}

bool http_write_end(
	struct http *h, uint32_t stream, const struct http_head *trailers, struct buf *out)
{
	return h->ops->write_end(h, stream, trailers, out);
}

bool http_write_error(struct http *h, uint32_t stream, uint16_t status, const char *text,
	bool close, struct buf *out)
{
	struct http_refusal refusal = {.status = status, .text = text, .close = close};
	return http_write_refusal(h, stream, &refusal, out);
}

bool http_write_refusal(
	struct http *h, uint32_t stream, const struct http_refusal *refusal, struct buf *out)
{
	return h->ops->write_refusal(h, stream, refusal, out);
}

void http_close_after(struct http *h)
{
	h->ops->close_after(h);
}

bool http_reusable(const struct http *h)
{
	return h->ops->reusable(h);
}

bool http_tunnelled(const struct http *h)
{
	return h->ops->tunnelled(h);
}

void http_rest(struct http *h)
{
	h->ops->rest(h);
}

bool http_method_passes(struct str method)
{
	switch (method_of(method)) {
	case METHOD_UNKNOWN:
	case METHOD_CONNECT:
	case METHOD_TRACE:
		return false;
	case METHOD_OTHER:
	case METHOD_HEAD:
	case METHOD_OPTIONS:
		break;
	}
	return true;
}

/* --- why a message was refused --- */

static const struct {
	uint16_t status;
	const char *name, *text;
} http_bads[] = {
#define X(name, status, text) {status, #name, text},
	HTTP_BAD_LIST(X)
#undef X
};

uint16_t http_bad_status(enum http_bad bad)
{
	return http_bads[bad].status;
}

const char *http_bad_text(enum http_bad bad)
{
	return http_bads[bad].text;
}

const char *http_bad_name(enum http_bad bad)
{
	return http_bads[bad].name;
}

/* --- heads --- */

struct str http_header_of(const struct http_head *head, enum http_name id)
{
	for (uint16_t i = 0; i < head->header_count; i++) {
		if (head->headers[i].id == id)
			return head->headers[i].value;
	}
	return STR_NONE;
}

struct str http_header_get(const struct http_head *head, const char *name)
{
	struct str wanted = str_of(name);
	for (uint16_t i = 0; i < head->header_count; i++) {
		if (str_eq_nocase(head->headers[i].name, wanted))
			return head->headers[i].value;
	}
	return STR_NONE;
}

bool http_header_add(struct http_head *head, struct str name, struct str value)
{
	if (head->header_count == HTTP_HEADERS_MAX)
		return false;
	head->headers[head->header_count++] =
		(struct http_header){name, value, http_name_of(name), false};
	return true;
}

void http_header_remove(struct http_head *head, enum http_name id)
{
	uint16_t kept = 0;
	for (uint16_t i = 0; i < head->header_count; i++) {
		if (head->headers[i].id == id)
			continue;
		if (kept != i)
			head->headers[kept] = head->headers[i];
		kept++;
	}
	head->header_count = kept;
}
