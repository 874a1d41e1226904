/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/preamble.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4	  "\x0a\0\0\1\x0a\0\0\2\x10\x01\0\x50"
#define MAPPED	  "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1"
#define V6	  "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"

#define CASE(bytes, result)                                        \
	{                                                          \
		{bytes, sizeof(bytes) - 1}, result, NULL, NULL, "" \
	}
#define DONE(bytes, source, destination, authority)                                       \
	{                                                                                 \
		{bytes, sizeof(bytes) - 1}, PREAMBLE_DONE, source, destination, authority \
	}

static const struct {
	struct str bytes;
	enum preamble_result result;
	const char *source, *destination, *authority;
} cases[] = {
	DONE(SIGNATURE "\x21\x11\0\x0c" TCP4, "10.0.0.1:4097", "10.0.0.2:80", ""),
	DONE(SIGNATURE "\x21\x11\0\x14" TCP4 "\2\0\5a.b:1", "10.0.0.1:4097", "10.0.0.2:80",
		"a.b:1"),
	/* A TLV we don't know, before and after ours; one without a value. */
	DONE(SIGNATURE "\x21\x11\0\x18" TCP4 "\xea\0\2xy\2\0\1a\5\0\0", "10.0.0.1:4097",
		"10.0.0.2:80", "a"),
	DONE(SIGNATURE "\x21\x21\0\x24" V6 MAPPED "\0\1\0\2", "[fd00::1]:1", "10.0.0.1:2", ""),
	DONE(SIGNATURE "\x21\0\0\4\2\0\1a", "-", "-", "a"),
	DONE(SIGNATURE "\x20\x11\0\x14" TCP4 "\2\0\5a.b:1", "-", "-", ""),
	DONE(SIGNATURE "\x20\0\0\0", "-", "-", ""),
	CASE("", PREAMBLE_MORE),
	CASE(SIGNATURE "\x21\x11\0", PREAMBLE_MORE),
	CASE(SIGNATURE "\x21\x11\0\x0c", PREAMBLE_MORE),
	CASE("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", PREAMBLE_BAD),
	CASE("\r\n\r\n\0\r\nQUIX", PREAMBLE_BAD),
	CASE(SIGNATURE "\x11\x11\0\x0c", PREAMBLE_BAD),	     /* version 1 */
	CASE(SIGNATURE "\x22\x11\0\x0c", PREAMBLE_BAD),	     /* no such command */
	CASE(SIGNATURE "\x21\x12\0\x0c" TCP4, PREAMBLE_BAD), /* UDP */
	CASE(SIGNATURE "\x21\x31\0\x0c" TCP4, PREAMBLE_BAD), /* unix sockets */
	CASE(SIGNATURE "\x21\x11\2\x09", PREAMBLE_BAD),	     /* one byte too long */
	CASE(SIGNATURE "\x21\x11\0\x0b\1\2\3\4\5\6\7\x08\x09\x0a\x0b", PREAMBLE_BAD),
	CASE(SIGNATURE "\x21\x21\0\x10" V6, PREAMBLE_BAD),
	/* TLVs that overrun, an authority twice, empty, not visible */
	CASE(SIGNATURE "\x21\x11\0\x0d" TCP4 "\2", PREAMBLE_BAD),
	CASE(SIGNATURE "\x21\x11\0\x10" TCP4 "\2\0\2a", PREAMBLE_BAD),
	CASE(SIGNATURE "\x21\x11\0\x10" TCP4 "\2\xff\xff"
		       "a",
		PREAMBLE_BAD),
	CASE(SIGNATURE "\x21\x11\0\x14" TCP4 "\2\0\1a\2\0\1a", PREAMBLE_BAD),
	CASE(SIGNATURE "\x21\x11\0\x0f" TCP4 "\2\0\0", PREAMBLE_BAD),
	CASE(SIGNATURE "\x21\x11\0\x10" TCP4 "\2\0\1 ", PREAMBLE_BAD),
	CASE(SIGNATURE "\x21\x11\0\x10" TCP4 "\2\0\1\0", PREAMBLE_BAD),
};

static void check_done(const struct preamble *p, size_t i)
{
	char text[ADDRESS_TEXT_MAX];
	assert_string_equal(address_text(&p->source, text), cases[i].source);
	assert_string_equal(address_text(&p->destination, text), cases[i].destination);
	assert_string_equal(p->authority, cases[i].authority);
	assert_int_equal(p->authority_len, strlen(cases[i].authority));
}

static void test_read(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct preamble p;
		size_t used = 0, len = cases[i].bytes.len;
		const uint8_t *bytes = (const uint8_t *)cases[i].bytes.at;
		assert_int_equal(preamble_read(bytes, len, &p, &used), cases[i].result);
		for (size_t n = 0; n < len && cases[i].result == PREAMBLE_DONE; n++)
			assert_int_equal(preamble_read(bytes, n, &p, &used), PREAMBLE_MORE);
		if (cases[i].result == PREAMBLE_DONE) {
			assert_int_equal(used, len);
			check_done(&p, i);
		}
	}
}

static void test_what_was_written_is_read(void **state)
{
	static const struct preamble written[] = {
		{.authority = "orders", .authority_len = 6},
		{.source = {AF_INET, {10, 0, 0, 1}, 1}, .destination = {AF_INET, {10, 0, 0, 2}, 2}},
		{.source = {AF_INET6, {0xfd, [15] = 1}, 1},
			.destination = {AF_INET6, {0xfd, [15] = 2}, 2},
			.authority = "a",
			.authority_len = 1},
		{.source = {AF_INET, {10, 0, 0, 1}, 1},
			.destination = {AF_INET6, {0xfd, [15] = 2}, 2}},
	};
	for (size_t i = 0; i < ARRAY_LEN(written); i++) {
		struct preamble p;
		uint8_t bytes[PREAMBLE_BYTES_MAX];
		size_t used, len = preamble_write(&written[i], bytes);
		assert_int_equal(preamble_read(bytes, len, &p, &used), PREAMBLE_DONE);
		assert_int_equal(used, len);
		assert_true(address_equal(&p.source, &written[i].source));
		assert_true(address_equal(&p.destination, &written[i].destination));
		assert_string_equal(p.authority, written[i].authority);
	}
}

static void test_the_longest_authority_fits(void **state)
{
	struct preamble p = {.authority_len = 255}, again;
	memset(p.authority, 'a', 255);
	uint8_t bytes[PREAMBLE_BYTES_MAX];
	size_t used, len = preamble_write(&p, bytes);
	assert_int_equal(preamble_read(bytes, len, &again, &used), PREAMBLE_DONE);
	assert_int_equal(again.authority_len, 255);
	/* One more byte of it is refused. */
	uint8_t longer[16 + 3 + 256] = SIGNATURE "\x21\0\1\3\2\1";
	memset(longer + 19, 'a', 256);
	assert_int_equal(preamble_read(longer, sizeof(longer), &again, &used), PREAMBLE_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_what_was_written_is_read),
		cmocka_unit_test(test_the_longest_authority_fits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
