/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of a chunked body (RFC 9112 7.1), read by us alone: size lines, extensions, the line
 * ends after each chunk. Stricter than the grammar where nobody needs its freedom: no blanks, at
 * most 16 digits. Extensions are checked, counted and dropped. The trailer section is h1_scan's. */
#pragma once

#include "codec/http.h"

enum h1_chunk_state {
	H1_CHUNK_SIZE_FIRST, /* a digit must come */
	H1_CHUNK_SIZE,
	H1_CHUNK_EXT_FIRST, /* after ";" */
	H1_CHUNK_EXT_NAME,
	H1_CHUNK_EXT_VALUE_FIRST,
	H1_CHUNK_EXT_VALUE,
	H1_CHUNK_EXT_QUOTED,
	H1_CHUNK_EXT_ESCAPED,
	H1_CHUNK_EXT_QUOTED_END,
	H1_CHUNK_SIZE_LF,
	H1_CHUNK_BYTES, /* `left` bytes of the body follow */
	H1_CHUNK_BYTES_CR,
	H1_CHUNK_BYTES_LF,
	H1_CHUNK_LAST, /* the chunk of size 0 was read */
	H1_CHUNK_BAD,
};

struct h1_chunk {
	enum h1_chunk_state state;
	enum http_bad bad;
	uint8_t digit_count;
	uint32_t ext_bytes; /* in this message */
	uint64_t left;
};

void h1_chunk_init(struct h1_chunk *c);
/* Reads frame bytes until the state is BYTES, LAST or BAD, or the input ends. Returns how many. */
size_t h1_chunk_read(
	struct h1_chunk *c, const struct http_limits *limits, const uint8_t *bytes, size_t len);
/* `count` body bytes were taken; at most `left`. */
void h1_chunk_took(struct h1_chunk *c, uint64_t count);
