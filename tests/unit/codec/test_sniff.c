/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/sniff.h"

#include "base/assert.h"
#include "base/str.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define CASE(bytes, sniff)                        \
	{                                         \
		{bytes, sizeof(bytes) - 1}, sniff \
	}

static const struct {
	struct str bytes;
	enum sniff sniff;
} cases[] = {
	CASE("", SNIFF_MORE),
	CASE("G", SNIFF_MORE),
	CASE("GET", SNIFF_MORE),
	CASE("GET ", SNIFF_HTTP1),
	CASE("GETX", SNIFF_OTHER),
	CASE("get ", SNIFF_OTHER),
	CASE("UNSUBSCRIBE", SNIFF_MORE),
	CASE("UNSUBSCRIBE ", SNIFF_HTTP1),
	CASE("PR", SNIFF_MORE),
	CASE("PRI", SNIFF_MORE),
	CASE("PROPFIND ", SNIFF_HTTP1),
	CASE("PROXY TCP4", SNIFF_OTHER),
	CASE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r", SNIFF_MORE),
	CASE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", SNIFF_HTTP2),
	CASE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", SNIFF_HTTP2),
	CASE("PRI * HTTP/3", SNIFF_OTHER),
	CASE("\x16", SNIFF_MORE),
	CASE("\x16\x03", SNIFF_TLS),
	CASE("\x16\x03\x01\x02", SNIFF_TLS),
	CASE("\x16\x02", SNIFF_OTHER),
	CASE("\0\0\0\x08", SNIFF_OTHER),
	CASE("\r\nGET ", SNIFF_OTHER),
	CASE("*1\r\n$4\r\n", SNIFF_OTHER),
	CASE("SSH-2.0", SNIFF_OTHER),
	CASE("220 smtp", SNIFF_OTHER),
};

static void test_sniff(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const uint8_t *bytes = (const uint8_t *)cases[i].bytes.at;
		assert_int_equal(sniff_bytes(bytes, cases[i].bytes.len), cases[i].sniff);
		/* Less of it says the same or asks for more. */
		for (size_t len = 0; len < cases[i].bytes.len; len++) {
			enum sniff sniff = sniff_bytes(bytes, len);
			assert_true(sniff == SNIFF_MORE || sniff == cases[i].sniff);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_sniff)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
