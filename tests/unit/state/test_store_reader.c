/* SPDX-License-Identifier: Apache-2.0 */
/* What a server may say, and what ends the reading: at the announcement, before memory is taken. */
#include "state/store_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES_MAX 1000

/* Reads `bytes` in pieces; the result of the last one, and how many replies came. */
static enum store_read reader_run(
	struct store_reader *r, const char *bytes, size_t len, size_t piece, unsigned *ret_replies)
{
	enum store_read result = STORE_READ_MORE;
	*ret_replies = 0;
	while (len > 0 && result != STORE_READ_BAD) {
		size_t used, n = len < piece ? len : piece;
		redisReply *reply = NULL;
		uint8_t *copy = malloc(n); /* its exact size, for the sanitizer */
		memcpy(copy, bytes, n);
		result = store_reader_take(r, copy, n, &used, &reply);
		free(copy);
		assert_true(used <= n);
		if (result == STORE_READ_REPLY) {
			assert_non_null(reply);
			freeReplyObject(reply);
			(*ret_replies)++;
		} else {
			assert_null(reply);
			assert_true(result == STORE_READ_BAD || used == n);
		}
		bytes += used;
		len -= used;
	}
	return result;
}

#define ROW(text, replies, result, fault)                      \
	{                                                      \
		text, sizeof(text) - 1, replies, result, fault \
	}
#define GOOD(text, replies)	  ROW(text, replies, STORE_READ_REPLY, "")
#define BAD(text, replies, fault) ROW(text, replies, STORE_READ_BAD, fault)
#define OPEN(text, replies)	  ROW(text, replies, STORE_READ_MORE, "")

static const struct {
	const char *bytes;
	size_t len;
	unsigned replies;
	enum store_read result;
	const char *fault;
} reader_rows[] = {
	GOOD("+OK\r\n", 1),
	GOOD("+\r\n", 1),
	GOOD("-ERR x\r\n:12\r\n:-3\r\n$-1\r\n*-1\r\n*0\r\n", 6),
	GOOD("$0\r\n\r\n$3\r\na\r\n\r\n", 2),
	GOOD(":9223372036854775807\r\n:-9223372036854775808\r\n", 2),
	GOOD("*2\r\n*2\r\n:1\r\n*0\r\n*1\r\n$-1\r\n+x\r\n", 2),
	GOOD("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", 1),
	OPEN("*3\r\n:1\r\n:2\r\n", 0),
	OPEN("$10\r\nabc", 0),
	OPEN("+OK\r\n$1\r\na\r", 1),
	/* what is announced */
	BAD("*1000000000\r\n", 0, "an array of 1000000000 elements"),
	BAD("*9999999999999999999\r\n", 0, "an array of"),
	BAD("*400\r\n", 0, "an array of 400 elements"),
	BAD("$1000\r\n", 0, "more than 1000 bytes"),
	BAD("$9999999999999999999\r\n", 0, "more than 1000 bytes"),
	BAD("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", 0, "arrays in arrays"),
	/* what is no RESP2 */
	BAD("x", 0, "a byte 0x78"),
	BAD("+OK\r\n%1\r\n", 1, "a byte 0x25"),
	BAD("+OK\r\n_\r\n", 1, "a byte 0x5f"),
	BAD("\0", 0, "a byte 0x00"),
	BAD("HTTP/1.1 400 Bad Request\r\n", 0, "a byte 0x48"),
	BAD("\x15\x03\x01", 0, "a byte 0x15"),
	BAD("+OK\n", 0, "a line that does not end"),
	BAD("+OK\rx", 0, "CR LF"),
	BAD("$1\r\nab\r\n", 0, "CR LF"),
	BAD("$1\r\na\n", 0, "CR LF"),
	BAD(":\r\n", 0, "a number without digits"),
	BAD(":-\r\n", 0, "a number without digits"),
	BAD("$\r\n", 0, "a number without digits"),
	BAD(":1a\r\n", 0, "not a number"),
	BAD(":--1\r\n", 0, "not a number"),
	BAD(":12345678901234567890\r\n", 0, "not a number"),
	BAD("$-2\r\n", 0, "a negative length"),
	BAD("*-5\r\n", 0, "a negative length"),
	BAD("$+1\r\n", 0, "not a number"),
};

static void test_replies(void **state)
{
	static const size_t pieces[] = {1, 2, 3, 7, 10000};
	for (size_t i = 0; i < ARRAY_LEN(reader_rows); i++) {
		for (size_t p = 0; p < ARRAY_LEN(pieces); p++) {
			struct store_reader r;
			unsigned replies;
			assert_true(store_reader_init(&r, BYTES_MAX));
			enum store_read result = reader_run(
				&r, reader_rows[i].bytes, reader_rows[i].len, pieces[p], &replies);
			if (result != reader_rows[i].result || replies != reader_rows[i].replies)
				fprintf(stderr, "%s: %u replies, %s\n", reader_rows[i].bytes,
					replies, r.fault);
			assert_int_equal(result, reader_rows[i].result);
			assert_int_equal(replies, reader_rows[i].replies);
			assert_non_null(strstr(store_reader_fault(&r), reader_rows[i].fault));
			store_reader_done(&r);
		}
	}
}

/* All arrays of a reply, and all its bytes, count together. */
static void test_limits_are_of_the_whole_reply(void **state)
{
	struct store_reader r;
	unsigned replies;
	char text[64];
	assert_true(store_reader_init(&r, 1u << 30));
	int len = snprintf(text, sizeof(text), "*2\r\n*%u\r\n", STORE_ELEMENTS_MAX - 1);
	assert_int_equal(reader_run(&r, text, (size_t)len, 100, &replies), STORE_READ_BAD);
	store_reader_done(&r);
	assert_true(store_reader_init(&r, 1u << 30));
	len = snprintf(text, sizeof(text), "*2\r\n*%u\r\n", STORE_ELEMENTS_MAX - 2);
	assert_int_equal(reader_run(&r, text, (size_t)len, 100, &replies), STORE_READ_MORE);
	store_reader_done(&r);

	assert_true(store_reader_init(&r, 100));
	const char *halves = "*2\r\n$40\r\n0123456789012345678901234567890123456789\r\n$60\r\n";
	assert_int_equal(reader_run(&r, halves, strlen(halves), 100, &replies), STORE_READ_BAD);
	assert_non_null(strstr(r.fault, "it announces 60 more"));
	store_reader_done(&r);
}

/* But each reply begins anew. */
static void test_limits_are_of_one_reply(void **state)
{
	struct store_reader r;
	unsigned replies;
	assert_true(store_reader_init(&r, 40));
	for (int i = 0; i < 100; i++) {
		const char *reply = "*3\r\n:1\r\n$5\r\nhello\r\n*1\r\n:2\r\n";
		assert_int_equal(
			reader_run(&r, reply, strlen(reply), 5, &replies), STORE_READ_REPLY);
		assert_int_equal(replies, 1);
	}
	store_reader_done(&r);
}

static void test_line_without_end(void **state)
{
	struct store_reader r;
	size_t used;
	redisReply *reply;
	uint8_t bytes[100];
	enum store_read result = STORE_READ_MORE;
	memset(bytes, '-', sizeof(bytes));
	assert_true(store_reader_init(&r, 1 << 20));
	size_t taken = 0;
	for (; result == STORE_READ_MORE && taken < 100000; taken += sizeof(bytes))
		result = store_reader_take(&r, bytes, sizeof(bytes), &used, &reply);
	assert_int_equal(result, STORE_READ_BAD);
	assert_true(taken <= STORE_LINE_MAX + 2 * sizeof(bytes));
	store_reader_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_limits_are_of_the_whole_reply),
		cmocka_unit_test(test_limits_are_of_one_reply),
		cmocka_unit_test(test_line_without_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
