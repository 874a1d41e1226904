/* SPDX-License-Identifier: Apache-2.0 */
#include "h1_chunk.h"

#include "h1_scan.h"

#define H1_CHUNK_DIGITS_MAX 16

void h1_chunk_init(struct h1_chunk *c)
{
	*c = (struct h1_chunk){.state = H1_CHUNK_SIZE_FIRST};
}

static void h1_chunk_refuse(struct h1_chunk *c, enum http_bad bad)
{
	c->state = H1_CHUNK_BAD;
	c->bad = bad;
}

/* What may follow a complete element of the size line. */
static void h1_chunk_after(struct h1_chunk *c, uint8_t byte)
{
	if (byte == ';')
		c->state = H1_CHUNK_EXT_FIRST;
	else if (byte == '\r')
		c->state = H1_CHUNK_SIZE_LF;
	else
		h1_chunk_refuse(c, HTTP_BAD_CHUNK);
}

static void h1_chunk_size(struct h1_chunk *c, const struct http_limits *limits, uint8_t byte)
{
	int digit = str_hex((char)byte);
	if (digit < 0) {
		if (c->state == H1_CHUNK_SIZE_FIRST)
			h1_chunk_refuse(c, HTTP_BAD_CHUNK);
		else
			h1_chunk_after(c, byte);
		return;
	}
	c->state = H1_CHUNK_SIZE;
	if (++c->digit_count > H1_CHUNK_DIGITS_MAX) {
		h1_chunk_refuse(c, HTTP_BAD_CHUNK);
		return;
	}
	c->left = c->left << 4 | (uint64_t)digit; /* 16 digits fill 64 bits exactly */
	if (c->left > limits->chunk_bytes_max)
		h1_chunk_refuse(c, HTTP_BAD_CHUNK_TOO_LARGE);
}

/* A token's character, or what `next` says about its end. */
static void h1_chunk_token(struct h1_chunk *c, uint8_t byte, enum h1_chunk_state inside)
{
	bool first = c->state != inside;
	if (h1_byte_is_token(byte))
		c->state = inside;
	else if (first)
		h1_chunk_refuse(c, HTTP_BAD_CHUNK);
	else if (inside == H1_CHUNK_EXT_NAME && byte == '=')
		c->state = H1_CHUNK_EXT_VALUE_FIRST;
	else
		h1_chunk_after(c, byte);
}

static void h1_chunk_quoted(struct h1_chunk *c, uint8_t byte)
{
	if (!h1_byte_is_value(byte))
		h1_chunk_refuse(c, HTTP_BAD_CHUNK);
	else if (c->state == H1_CHUNK_EXT_ESCAPED)
		c->state = H1_CHUNK_EXT_QUOTED;
	else if (byte == '"')
		c->state = H1_CHUNK_EXT_QUOTED_END;
	else if (byte == '\\')
		c->state = H1_CHUNK_EXT_ESCAPED;
}

static void h1_chunk_exactly(
	struct h1_chunk *c, uint8_t byte, uint8_t wanted, enum h1_chunk_state next)
{
	if (byte != wanted) {
		h1_chunk_refuse(c, HTTP_BAD_CHUNK);
		return;
	}
	c->state = next;
	if (next == H1_CHUNK_SIZE_FIRST) {
		c->digit_count = 0;
		c->left = 0;
	}
}

static bool h1_chunk_in_ext(const struct h1_chunk *c)
{
	return c->state >= H1_CHUNK_EXT_FIRST && c->state <= H1_CHUNK_EXT_QUOTED_END;
}

static void h1_chunk_step(struct h1_chunk *c, const struct http_limits *limits, uint8_t byte)
{
	if (h1_chunk_in_ext(c) && ++c->ext_bytes > limits->chunk_ext_bytes_max) {
		h1_chunk_refuse(c, HTTP_BAD_CHUNK_TOO_LARGE);
		return;
	}
	switch (c->state) {
	case H1_CHUNK_SIZE_FIRST:
	case H1_CHUNK_SIZE:
		h1_chunk_size(c, limits, byte);
		break;
	case H1_CHUNK_EXT_FIRST:
	case H1_CHUNK_EXT_NAME:
		h1_chunk_token(c, byte, H1_CHUNK_EXT_NAME);
		break;
	case H1_CHUNK_EXT_VALUE_FIRST:
		if (byte == '"') {
			c->state = H1_CHUNK_EXT_QUOTED;
			break;
		}
		h1_chunk_token(c, byte, H1_CHUNK_EXT_VALUE);
		break;
	case H1_CHUNK_EXT_VALUE:
		h1_chunk_token(c, byte, H1_CHUNK_EXT_VALUE);
		break;
	case H1_CHUNK_EXT_QUOTED:
	case H1_CHUNK_EXT_ESCAPED:
		h1_chunk_quoted(c, byte);
		break;
	case H1_CHUNK_EXT_QUOTED_END:
		h1_chunk_after(c, byte);
		break;
	case H1_CHUNK_SIZE_LF:
		h1_chunk_exactly(c, byte, '\n', c->left > 0 ? H1_CHUNK_BYTES : H1_CHUNK_LAST);
		break;
	case H1_CHUNK_BYTES_CR:
		h1_chunk_exactly(c, byte, '\r', H1_CHUNK_BYTES_LF);
		break;
	case H1_CHUNK_BYTES_LF:
		h1_chunk_exactly(c, byte, '\n', H1_CHUNK_SIZE_FIRST);
		break;
	case H1_CHUNK_BYTES:
	case H1_CHUNK_LAST:
	case H1_CHUNK_BAD:
		break;
	}
}

size_t h1_chunk_read(
	struct h1_chunk *c, const struct http_limits *limits, const uint8_t *bytes, size_t len)
{
	size_t at = 0;
	while (at < len && c->state != H1_CHUNK_BYTES && c->state != H1_CHUNK_LAST &&
		c->state != H1_CHUNK_BAD)
		h1_chunk_step(c, limits, bytes[at++]);
	return at;
}

void h1_chunk_took(struct h1_chunk *c, uint64_t count)
{
	ASSERT(c->state == H1_CHUNK_BYTES && count <= c->left);
	c->left -= count;
	if (c->left == 0)
		c->state = H1_CHUNK_BYTES_CR;
}
