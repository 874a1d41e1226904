/* SPDX-License-Identifier: Apache-2.0 */
/* Where messages end, whole and in every possible pair of pieces, and byte by byte. */
#include "message.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define LONG_VALUE                                                                              \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234" \
	"5678901234567890123456789"

static const struct {
	enum message_kind kind;
	const char *text;
	enum message_outcome outcome;
	uint16_t status;
	uint64_t body_bytes;
	bool closes;
} rows[] = {
	{MESSAGE_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", MESSAGE_DONE, 200,
		5, false},
	{MESSAGE_RESPONSE, "HTTP/1.1 200 \r\ncontent-length:0\r\n\r\n", MESSAGE_DONE, 200, 0,
		false},
	{MESSAGE_RESPONSE, "HTTP/1.1 503 No\r\nServer: x\r\nCONTENT-LENGTH: \t3 \r\n\r\nabc",
		MESSAGE_DONE, 503, 3, false},
	{MESSAGE_RESPONSE, "HTTP/1.1 200 OK\nContent-Length: 1\n\nx", MESSAGE_DONE, 200, 1, false},
	{MESSAGE_RESPONSE,
		"HTTP/1.1 200 OK\r\nX: " LONG_VALUE "\r\nConnection: Close\r\n"
		"Content-Length: 2\r\n\r\n\r\n",
		MESSAGE_DONE, 200, 2, true},
	{MESSAGE_RESPONSE, "HTTP/1.1 200 OK\r\nX-Content-Length: 4\r\nContent-Length: 2\r\n\r\nab",
		MESSAGE_DONE, 200, 2, false},
	{MESSAGE_RESPONSE, "HTTP/1.1 200 " LONG_VALUE "\r\nContent-Length: 2\r\n\r\nab",
		MESSAGE_DONE, 200, 2, false},
	{MESSAGE_RESPONSE, "HTTP/1.1 200 OK\r\n\r\n", MESSAGE_BAD, 200, 0, false},
	{MESSAGE_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n", MESSAGE_BAD, 200, 0, false},
	{MESSAGE_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
		MESSAGE_BAD, 200, 1, false},
	{MESSAGE_RESPONSE, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", MESSAGE_BAD, 200, 0,
		false},
	{MESSAGE_RESPONSE, "HTTP/1.1 200 OK\r\nno colon\r\n", MESSAGE_BAD, 200, 0, false},
	{MESSAGE_RESPONSE, "HTTP/1.1 100 Continue\r\n", MESSAGE_BAD, 0, 0, false},
	{MESSAGE_RESPONSE, "HTTP/1.0 200 OK\r\n", MESSAGE_BAD, 0, 0, false},
	{MESSAGE_RESPONSE, "HTTP/1.1 2x0 OK\r\n", MESSAGE_BAD, 0, 0, false},
	{MESSAGE_RESPONSE, "ICY\r\n", MESSAGE_BAD, 0, 0, false},
	{MESSAGE_REQUEST, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", MESSAGE_DONE, 0, 0, false},
	{MESSAGE_REQUEST, "GET / HTTP/1.0\r\n\r\n", MESSAGE_DONE, 0, 0, true},
	{MESSAGE_REQUEST, "GET /" LONG_VALUE " HTTP/1.1\r\nHost: a\r\n\r\n", MESSAGE_DONE, 0, 0,
		false},
	{MESSAGE_REQUEST, "POST / HTTP/1.1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody",
		MESSAGE_DONE, 0, 4, true},
	{MESSAGE_REQUEST, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", MESSAGE_BAD, 0, 0,
		false},
};

/* Feeds the pieces up to `cuts[i]` one after the other; the whole text must be used. */
static void feed(size_t row, const size_t *cuts, size_t cut_count)
{
	const uint8_t *bytes = (const uint8_t *)rows[row].text;
	struct message m;
	size_t at = 0;
	message_init(&m, rows[row].kind);
	for (size_t i = 0; i < cut_count; i++) {
		size_t used;
		bool last = i + 1 == cut_count;
		enum message_outcome outcome = message_feed(&m, bytes + at, cuts[i] - at, &used);
		at += used;
		assert_int_equal(at, cuts[i]);
		assert_int_equal(outcome, last ? rows[row].outcome : MESSAGE_MORE);
	}
	assert_int_equal(m.status, rows[row].status);
	assert_int_equal(m.body_bytes, rows[row].body_bytes);
	assert_int_equal(m.closes, rows[row].closes);
}

static void test_whole(void **state)
{
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		size_t end = strlen(rows[row].text);
		feed(row, &end, 1);
	}
}

static void test_in_two_pieces(void **state)
{
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		size_t end = strlen(rows[row].text);
		for (size_t cut = 1; cut < end; cut++) {
			size_t cuts[] = {cut, end};
			feed(row, cuts, 2);
		}
	}
}

static void test_byte_by_byte(void **state)
{
	for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
		size_t cuts[512], count = strlen(rows[row].text);
		assert_true(count <= ARRAY_LEN(cuts));
		for (size_t i = 0; i < count; i++)
			cuts[i] = i + 1;
		feed(row, cuts, count);
	}
}

/* What follows a message is not touched. */
static void test_ends_where_the_next_begins(void **state)
{
	static const char two[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
				  "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";
	const uint8_t *bytes = (const uint8_t *)two;
	size_t len = sizeof(two) - 1, used;
	struct message m;
	message_init(&m, MESSAGE_RESPONSE);
	assert_int_equal(message_feed(&m, bytes, len, &used), MESSAGE_DONE);
	assert_int_equal(used, strstr(two, "abc") + 3 - two);
	bytes += used;
	len -= used;
	message_init(&m, MESSAGE_RESPONSE);
	assert_int_equal(message_feed(&m, bytes, len, &used), MESSAGE_DONE);
	assert_int_equal(used, len);
	assert_int_equal(m.status, 404);
}

/* A length that is padded beyond what is kept of a cut line must not be read in part. */
static void test_length_out_of_sight(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length:";
	struct message m;
	size_t used;
	message_init(&m, MESSAGE_RESPONSE);
	assert_int_equal(
		message_feed(&m, (const uint8_t *)text, sizeof(text) - 1, &used), MESSAGE_MORE);
	for (int i = 0; i < MESSAGE_LINE_MAX; i++)
		assert_int_equal(message_feed(&m, (const uint8_t *)" ", 1, &used), MESSAGE_MORE);
	assert_int_equal(message_feed(&m, (const uint8_t *)"5\r\n", 3, &used), MESSAGE_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_in_two_pieces),
		cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_ends_where_the_next_begins),
		cmocka_unit_test(test_length_out_of_sight),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
