/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

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

/* Every day of the range, at a time of day that differs. */
static void test_format_is_the_calendar(void **state)
{
	for (uint64_t day = 0; day < UINT64_MAX / CLOCK_S / 86400; day++) {
		char text[25], want[64];
		time_t seconds = (time_t)(day * 86400 + day * 7919 % 86400);
		struct tm tm;
		gmtime_r(&seconds, &tm);
		strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S.007Z", &tm);
		clock_format((uint64_t)seconds * CLOCK_S + 7 * CLOCK_MS, text);
		assert_string_equal(text, want);
	}
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
		cmocka_unit_test(test_format_is_the_calendar),
		cmocka_unit_test(test_monotonic_does_not_go_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
