/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_equality(void **state)
{
	static const struct {
		struct str a, b;
		bool same, same_nocase;
	} rows[] = {
		{{"Host", 4}, {"host", 4}, false, true}, {{"host", 4}, {"host", 4}, true, true},
		{{"host", 4}, {"hos", 3}, false, false}, {{"", 0}, {NULL, 0}, true, true},
		{{"[", 1}, {"{", 1}, false, false}, /* next to letters, 0x20 apart */
		{{"@", 1}, {"`", 1}, false, false},
		{{"\xc3\x84", 2}, {"\xc3\xa4", 2}, false, false}, /* ASCII only */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(str_eq(rows[i].a, rows[i].b), rows[i].same);
		assert_int_equal(str_eq_nocase(rows[i].a, rows[i].b), rows[i].same_nocase);
	}
}

static void test_starts(void **state)
{
	assert_true(str_starts(STR("/api/x"), STR("/api/")));
	assert_true(str_starts(STR("/api/"), STR("/api/")));
	assert_true(str_starts(STR(""), STR_NONE));
	assert_false(str_starts(STR("/api"), STR("/api/")));
}

static void test_trim(void **state)
{
	static const char *const rows[][2] = {
		{" \t a b \t", "a b"}, {"a", "a"}, {"", ""}, {" \t ", ""}, {"\na", "\na"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_true(str_eq(str_trim(str_of(rows[i][0])), str_of(rows[i][1])));
}

static void test_to_u64(void **state)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t number;
	} rows[] = {
		{"0", true, 0},
		{"0042", true, 42},
		{"18446744073709551615", true, UINT64_MAX},
		{"18446744073709551616", false, 0},
		{"99999999999999999999", false, 0},
		{"", false, 0},
		{"+1", false, 0},
		{"-1", false, 0},
		{" 1", false, 0},
		{"1 ", false, 0},
		{"0x1", false, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t number = 7;
		assert_int_equal(str_to_u64(str_of(rows[i].text), &number), rows[i].ok);
		assert_int_equal(number, rows[i].ok ? rows[i].number : 7);
	}
}

static void test_hex(void **state)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	for (int c = -128; c < 128; c++) {
		const char *at = c ? strchr(digits, c) : NULL;
		int value = at ? (int)(at - digits) : -1;
		assert_int_equal(str_hex((char)c), value > 15 ? value - 6 : value);
	}
}

static void test_distance(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned distance;
	} rows[] = {
		{"", "", 0},
		{"orders", "orders", 0},
		{"ordres", "orders", 2},
		{"order", "orders", 1},
		{"", "web", 3},
		{"kitten", "sitting", 3},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(
			str_distance(str_of(rows[i].a), str_of(rows[i].b)), rows[i].distance);
		assert_int_equal(
			str_distance(str_of(rows[i].b), str_of(rows[i].a)), rows[i].distance);
	}
	char longer[100];
	memset(longer, 'a', sizeof(longer));
	assert_true(str_distance((struct str){longer, 100}, STR("a")) > 64);
	assert_true(str_distance((struct str){longer, 65}, (struct str){longer, 64}) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equality),
		cmocka_unit_test(test_starts),
		cmocka_unit_test(test_trim),
		cmocka_unit_test(test_to_u64),
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_distance),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
