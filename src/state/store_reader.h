/* SPDX-License-Identifier: Apache-2.0 */
/* Replies off the wire, one at a time. Every byte is looked at before hiredis gets it: what RESP2
 * does not allow, or what announces more than the limits, ends the reading at the announcement. So
 * the library's own limits, which differ from release to release, do not matter. */
#pragma once

#include "base/assert.h"
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_DEPTH_MAX	   6	      /* arrays in arrays; hiredis 0.14 reads 7 */
#define STORE_ELEMENTS_MAX (1u << 20) /* of one reply, all its arrays together */
#define STORE_LINE_MAX	   8192	      /* of a status or an error */

enum store_reader_state {
	STORE_READER_TYPE, /* the byte that says what comes */
	STORE_READER_LINE, /* up to the CR: a status, an error, a number or a length */
	STORE_READER_LF,
	STORE_READER_BULK,
	STORE_READER_BULK_CR,
	STORE_READER_BULK_LF,
};

struct store_reader {
	redisReader *reader;
	enum store_reader_state state;
	size_t bytes_max;
	size_t bytes;	   /* of this reply */
	uint32_t elements; /* that its arrays announced */
	uint32_t depth;
	uint32_t left[STORE_DEPTH_MAX]; /* elements to come of each open array */
	char type;
	uint32_t line_len;
	bool negative;
	uint64_t number; /* of a length line */
	char fault[160];
};

enum store_read {
	STORE_READ_MORE,  /* all bytes used, the reply is not whole */
	STORE_READ_REPLY, /* one is, and is the caller's */
	STORE_READ_BAD,	  /* store_reader_fault() says why; nothing more can be read */
};

/* False: out of memory. */
bool store_reader_init(struct store_reader *r, size_t bytes_max) MUST_CHECK;
/* Safe on one that is all zero. */
void store_reader_done(struct store_reader *r);
enum store_read store_reader_take(struct store_reader *r, const uint8_t *bytes, size_t len,
	size_t *ret_used, redisReply **ret_reply) MUST_CHECK;
const char *store_reader_fault(const struct store_reader *r);
