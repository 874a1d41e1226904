/* SPDX-License-Identifier: Apache-2.0 */
#include "h1_section.h"

#include "http_ops.h"
#include <stdlib.h>

#define H1_SECTION_BYTES_FIRST 2048

size_t h1_head_bytes(void)
{
	return sizeof(struct h1_section) + H1_SECTION_BYTES_FIRST;
}

static bool h1_section_pooled(size_t size, const struct pool *pool)
{
	return pool && size == H1_SECTION_BYTES_FIRST;
}

static struct h1_section *h1_section_new(size_t size, struct pool *pool)
{
	struct h1_section *s =
		h1_section_pooled(size, pool) ? pool_take_used(pool) : malloc(sizeof(*s) + size);
	if (!s)
		return NULL;
	s->size = (uint32_t)size;
	h1_section_reset(s);
	return s;
}

void h1_section_free(struct h1_section *s, struct pool *pool)
{
	if (s && h1_section_pooled(s->size, pool))
		pool_put(pool, s);
	else
		free(s);
}

/* A new one with the same text. */
static bool h1_section_grow(struct h1_section **s, struct pool *pool, size_t size)
{
	struct h1_section *old = *s, *section = h1_section_new(size, pool);
	if (!section)
		return false;
	if (old) {
		memcpy(section->text, old->text, old->len);
		section->len = old->len;
		h1_section_free(old, pool);
	}
	*s = section;
	return true;
}

bool h1_section_put(struct h1_section **s, struct pool *pool, const uint8_t *bytes, size_t len)
{
	size_t have = *s ? (*s)->len : 0;
	size_t size = *s ? (*s)->size : H1_SECTION_BYTES_FIRST;
	while (size < have + len)
		size *= 2;
	if ((!*s || size > (*s)->size) && !h1_section_grow(s, pool, size))
		return false;
	if (len > 0)
		memcpy((*s)->text + have, bytes, len);
	(*s)->len = (uint32_t)(have + len);
	return true;
}

/* The array of headers is left as it is: only the first header_count of them mean anything. */
void h1_section_reset(struct h1_section *s)
{
	memset(&s->head, 0, offsetof(struct http_head, headers));
	s->len = 0;
}

/* --- llhttp --- */

/* Each piece lies in one call's input, so a name or value that comes in two calls is contiguous. */
static void h1_section_extend(struct str *piece, const char *at, size_t len)
{
	if (!piece->at)
		piece->at = at;
	piece->len = (size_t)(at + len - piece->at);
}

static int h1_section_on_name(llhttp_t *parser, const char *at, size_t len)
{
	struct h1_section *s = parser->data;
	struct http_head *head = &s->head;
	if (head->header_count == 0 || head->headers[head->header_count - 1].value.at) {
		if (head->header_count == HTTP_HEADERS_MAX)
			return -1;
		struct http_header *header = &head->headers[head->header_count++];
		header->name = header->value = STR_NONE;
	}
	h1_section_extend(&head->headers[head->header_count - 1].name, at, len);
	return 0;
}

static int h1_section_on_value(llhttp_t *parser, const char *at, size_t len)
{
	struct h1_section *s = parser->data;
	if (s->head.header_count == 0)
		return -1;
	h1_section_extend(&s->head.headers[s->head.header_count - 1].value, at, len);
	return 0;
}

static const llhttp_settings_t h1_section_settings = {
	.on_header_field = h1_section_on_name,
	.on_header_value = h1_section_on_value,
};

void h1_section_parser_init(llhttp_t *parser, llhttp_type_t type, struct h1_section *s)
{
	llhttp_init(parser, type, &h1_section_settings);
	parser->data = s;
	ASSERT(parser->lenient_flags == 0);
}

static bool h1_section_execute(llhttp_t *parser, const char *text, size_t len)
{
	llhttp_errno_t error = llhttp_execute(parser, text, len);
	/* After the head of a CONNECT or an Upgrade llhttp stops: we read the body ourselves. */
	return error == HPE_OK || error == HPE_PAUSED_UPGRADE;
}

/* Trailers are fields to llhttp only behind a chunked body: here is the shortest. */
static const char h1_section_before_trailer[] = "POST / HTTP/1.1\r\n"
						"Transfer-Encoding: chunked\r\n"
						"\r\n"
						"0\r\n";

static bool h1_section_llhttp(struct h1_section *s, enum h1_scan_kind kind)
{
	llhttp_t parser;
	llhttp_type_t type = kind == H1_SCAN_RESPONSE ? HTTP_RESPONSE : HTTP_REQUEST;
	h1_section_parser_init(&parser, type, s);
	if (kind == H1_SCAN_REQUEST_TRAILER || kind == H1_SCAN_RESPONSE_TRAILER) {
		if (!h1_section_execute(&parser, h1_section_before_trailer,
			    sizeof(h1_section_before_trailer) - 1))
			return false;
		s->head.header_count = 0;
	}
	return h1_section_execute(&parser, s->text, s->len);
}

/* Cuts out the fields without llhttp; every line is known to be "name:value CRLF". */
static void h1_section_split(struct h1_section *s, enum h1_scan_kind kind)
{
	const char *at = s->text, *end = s->text + s->len - 2;
	s->head.header_count = 0;
	if (kind == H1_SCAN_REQUEST || kind == H1_SCAN_RESPONSE)
		at = (const char *)memchr(at, '\n', s->len) + 1;
	while (at < end) {
		const char *line_end = memchr(at, '\r', (size_t)(end - at));
		const char *colon = memchr(at, ':', (size_t)(line_end - at));
		struct str name = {at, (size_t)(colon - at)};
		struct str value = {colon + 1, (size_t)(line_end - colon - 1)};
		bool added = http_header_add(&s->head, name, value);
		ASSERT(added); /* the scan counted them */
		at = line_end + 2;
	}
}

/* The text goes on behind every field, by the end of the section at least. */
static bool h1_section_is_line(const struct http_header *header)
{
	const char *colon = header->name.at + header->name.len;
	const char *end = header->value.at ? header->value.at + header->value.len : NULL;
	return header->value.at == colon + 2 && colon[0] == ':' && colon[1] == ' ' &&
	       end[0] == '\r' && end[1] == '\n';
}

bool h1_section_parse(struct h1_section *s, enum h1_scan_kind kind)
{
	bool accepted = h1_section_llhttp(s, kind);
	if (!accepted)
		h1_section_split(s, kind);
	for (uint16_t i = 0; i < s->head.header_count; i++) {
		struct http_header *header = &s->head.headers[i];
		header->id = http_name_of(header->name);
		header->value = str_trim(header->value);
		header->is_line = h1_section_is_line(header);
	}
	return accepted;
}
