/* SPDX-License-Identifier: Apache-2.0 */
#include "store_reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A number of at most so many digits fits into 64 bits. */
#define STORE_DIGITS_MAX 19

bool store_reader_init(struct store_reader *r, size_t bytes_max)
{
	*r = (struct store_reader){.bytes_max = bytes_max, .reader = redisReaderCreate()};
	return r->reader;
}

void store_reader_done(struct store_reader *r)
{
	if (r->reader)
		redisReaderFree(r->reader);
	r->reader = NULL;
}

const char *store_reader_fault(const struct store_reader *r)
{
	return r->fault;
}

static bool store_reader_refuse(struct store_reader *r, const char *format, ...) PRINTF_LIKE(2, 3);

static bool store_reader_refuse(struct store_reader *r, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(r->fault, sizeof(r->fault), format, args);
	va_end(args);
	return false;
}

/* --- what is announced --- */

/* One element is whole; with it, maybe, the arrays that it is the last of. True: the reply is. */
static bool store_reader_whole(struct store_reader *r)
{
	r->state = STORE_READER_TYPE;
	while (r->depth > 0 && --r->left[r->depth - 1] == 0)
		r->depth--;
	return r->depth == 0;
}

static bool store_reader_bulk(struct store_reader *r, bool *ret_whole)
{
	if (r->negative) {
		*ret_whole = store_reader_whole(r);
		return true;
	}
	if (r->number > r->bytes_max || r->bytes + r->number > r->bytes_max)
		return store_reader_refuse(r,
			"a reply of more than %zu bytes (it announces %llu more)", r->bytes_max,
			(unsigned long long)r->number);
	r->state = r->number > 0 ? STORE_READER_BULK : STORE_READER_BULK_CR;
	return true;
}

static bool store_reader_array(struct store_reader *r, bool *ret_whole)
{
	if (r->negative || r->number == 0) {
		*ret_whole = store_reader_whole(r);
		return true;
	}
	/* Three bytes are the least that an element can have on the wire. */
	uint64_t most = (r->bytes_max - r->bytes) / 3;
	if (r->number > STORE_ELEMENTS_MAX - r->elements || r->number > most)
		return store_reader_refuse(
			r, "an array of %llu elements", (unsigned long long)r->number);
	if (r->depth == STORE_DEPTH_MAX)
		return store_reader_refuse(r, "arrays in arrays, more than %d", STORE_DEPTH_MAX);
	r->elements += (uint32_t)r->number;
	r->left[r->depth++] = (uint32_t)r->number;
	r->state = STORE_READER_TYPE;
	return true;
}

/* The line has come whole, its LF included. */
static bool store_reader_line(struct store_reader *r, bool *ret_whole)
{
	bool digits = r->line_len > (r->negative ? 1 : 0);
	if (r->type == '+' || r->type == '-') {
		*ret_whole = store_reader_whole(r);
		return true;
	}
	if (!digits)
		return store_reader_refuse(r, "a number without digits");
	if (r->type == ':') {
		*ret_whole = store_reader_whole(r);
		return true;
	}
	if (r->negative && r->number != 1)
		return store_reader_refuse(r, "a negative length");
	return r->type == '$' ? store_reader_bulk(r, ret_whole) : store_reader_array(r, ret_whole);
}

/* --- byte by byte --- */

static bool store_reader_type(struct store_reader *r, char c)
{
	if (c == '\0' || !strchr("+-:$*", c))
		return store_reader_refuse(
			r, "no RESP2: a byte 0x%02x where a reply begins", (unsigned)(uint8_t)c);
	r->type = c;
	r->line_len = 0;
	r->negative = false;
	r->number = 0;
	r->state = STORE_READER_LINE;
	return true;
}

static bool store_reader_line_byte(struct store_reader *r, char c)
{
	if (c == '\r') {
		r->state = STORE_READER_LF;
		return true;
	}
	r->line_len++;
	if (r->type == '+' || r->type == '-')
		return c != '\n' && r->line_len <= STORE_LINE_MAX
			       ? true
			       : store_reader_refuse(r, "a line that does not end");
	if (c == '-' && r->line_len == 1) {
		r->negative = true;
		return true;
	}
	if (c < '0' || c > '9' || r->line_len > STORE_DIGITS_MAX + (r->negative ? 1u : 0u))
		return store_reader_refuse(r, "not a number after '%c'", r->type);
	r->number = 10 * r->number + (uint64_t)(c - '0');
	return true;
}

static bool store_reader_expect(struct store_reader *r, char c, char expected)
{
	return c == expected ||
	       store_reader_refuse(r, "a line or a bulk that does not end in CR LF");
}

static bool store_reader_byte(struct store_reader *r, char c, bool *ret_whole)
{
	switch (r->state) {
	case STORE_READER_TYPE:
		return store_reader_type(r, c);
	case STORE_READER_LINE:
		return store_reader_line_byte(r, c);
	case STORE_READER_LF:
		return store_reader_expect(r, c, '\n') && store_reader_line(r, ret_whole);
	case STORE_READER_BULK: /* skipped in one piece */
		return true;
	case STORE_READER_BULK_CR:
		r->state = STORE_READER_BULK_LF;
		return store_reader_expect(r, c, '\r');
	case STORE_READER_BULK_LF:
		*ret_whole = store_reader_whole(r);
		return store_reader_expect(r, c, '\n');
	}
	return false;
}

/* Looks at the bytes up to the end of the reply at most; how many that was. */
static size_t store_reader_look(
	struct store_reader *r, const uint8_t *bytes, size_t len, bool *ret_whole)
{
	size_t at = 0;
	*ret_whole = false;
	while (at < len && !*ret_whole && !r->fault[0]) {
		size_t step = 1;
		if (r->state == STORE_READER_BULK) {
			step = len - at < r->number ? len - at : (size_t)r->number;
			r->number -= step;
			if (r->number == 0)
				r->state = STORE_READER_BULK_CR;
		} else if (!store_reader_byte(r, (char)bytes[at], ret_whole)) {
			break;
		}
		at += step;
		r->bytes += step;
		if (r->bytes > r->bytes_max)
			store_reader_refuse(r, "a reply of more than %zu bytes", r->bytes_max);
	}
	return at;
}

enum store_read store_reader_take(struct store_reader *r, const uint8_t *bytes, size_t len,
	size_t *ret_used, redisReply **ret_reply)
{
	bool whole;
	void *reply = NULL;
	*ret_used = store_reader_look(r, bytes, len, &whole);
	if (r->fault[0])
		return STORE_READ_BAD;
	if (*ret_used == 0)
		return STORE_READ_MORE;
	/* Bit by bit, so that what was read is not kept twice. */
	if (redisReaderFeed(r->reader, (const char *)bytes, *ret_used) != REDIS_OK ||
		redisReaderGetReply(r->reader, &reply) != REDIS_OK || (reply != NULL) != whole) {
		if (reply)
			freeReplyObject(reply);
		store_reader_refuse(r, "unreadable: %s", r->reader->errstr);
		return STORE_READ_BAD;
	}
	if (!whole)
		return STORE_READ_MORE;
	r->bytes = 0;
	r->elements = 0;
	*ret_reply = reply;
	return STORE_READ_REPLY;
}
