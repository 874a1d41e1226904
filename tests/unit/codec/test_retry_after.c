/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/retry_after.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */

static void test_values(void **state)
{
	static const struct {
		const char *value;
		uint64_t seconds;
	} rows[] = {
		{"0", 0},
		{"120", 120},
		{"007", 7},
		{"4000000000", RETRY_AFTER_S_MAX},
		{"99999999999999999999999999", RETRY_AFTER_S_MAX},
		{"Sun, 06 Nov 1994 08:49:37 GMT", 0},
		{"Sun, 06 Nov 1994 08:49:47 GMT", 10},
		{"Sun, 06 Nov 1994 08:49:36 GMT", 0},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 0},
		{"Mon, 07 Nov 1994 08:49:37 GMT", 86400},
		{"Fri, 31 Dec 9999 23:59:60 GMT", RETRY_AFTER_S_MAX},
		{"Fri, 01 Jan 0000 00:00:00 GMT", 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t seconds = 1;
		assert_true(retry_after_read(str_of(rows[i].value), NOW, &seconds));
		if (seconds != rows[i].seconds)
			fail_msg("%s", rows[i].value);
	}
}

static void test_what_is_none(void **state)
{
	static const char *const values[] = {"", " 1", "1 ", "-1", "+1", "1.5", "1s", "soon",
		"Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
		"Sun, 06 nov 1994 08:49:37 GMT", "Sun, 32 Nov 1994 08:49:37 GMT",
		"Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
		"Sun, 06 Nov 1994 08:60:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
		"Sun Nov  6 08:49:37 1994"};
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		uint64_t seconds;
		if (retry_after_read(str_of(values[i]), NOW, &seconds))
			fail_msg("%s", values[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_what_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
