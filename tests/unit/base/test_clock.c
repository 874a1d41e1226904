/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_format(void **state)
{
	static const struct {
		uint64_t wall_ns;
		const char *text;
	} rows[] = {
		{0, "1970-01-01T00:00:00.000Z"},
		{951782400ull * CLOCK_S, "2000-02-29T00:00:00.000Z"},
		{1795465561ull * CLOCK_S + 123456789, "2026-11-23T20:26:01.123Z"},
		{1795465561ull * CLOCK_S + 999999999, "2026-11-23T20:26:01.999Z"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[25];
		clock_format(rows[i].wall_ns, text);
		assert_string_equal(text, rows[i].text);
	}
	char text[25];
	clock_format(UINT64_MAX, text); /* the year 2554 */
	assert_int_equal(text[23], 'Z');
	assert_int_equal(text[24], '\0');
}

static void test_monotonic_does_not_go_back(void **state)
{
	uint64_t before = clock_monotonic_ns();
	for (int i = 0; i < 1000; i++) {
		uint64_t now = clock_monotonic_ns();
		assert_true(now >= before);
		before = now;
	}
	assert_true(clock_wall_ns() > 1700000000ull * CLOCK_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_monotonic_does_not_go_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
