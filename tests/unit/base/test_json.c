/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void json_is(const struct json *j, const char *text)
{
	assert_int_equal(j->len, strlen(text));
	assert_memory_equal(j->text, text, j->len);
}

static void test_commas_and_nesting(void **state)
{
	struct json j;
	json_init(&j, 4096);
	json_open(&j, '{');
	json_key(&j, "a");
	json_u64(&j, UINT64_MAX);
	json_key(&j, "b");
	json_open(&j, '[');
	json_close(&j, ']');
	json_key(&j, "c");
	json_open(&j, '[');
	json_i64(&j, INT64_MIN);
	json_bool(&j, true);
	json_bool(&j, false);
	json_str(&j, STR_NONE);
	json_str(&j, STR(""));
	json_open(&j, '{');
	json_close(&j, '}');
	json_close(&j, ']');
	json_close(&j, '}');
	json_is(&j, "{\"a\":18446744073709551615,\"b\":[],"
		    "\"c\":[-9223372036854775808,true,false,null,\"\",{}]}");
	assert_false(j.cut);
	json_done(&j);
}

static void test_whatever_was_sent_stays_valid(void **state)
{
	struct json j;
	json_init(&j, 4096);
	json_str(&j, (struct str){"q\"b\\n\n\0\x7f\xff", 9});
	json_is(&j, "\"q\\\"b\\\\n\\u000a\\u0000\\u007f\\u00ff\"");
	json_done(&j);
}

static void test_lines(void **state)
{
	struct json j;
	json_init(&j, 4096);
	for (uint64_t i = 0; i < 2; i++) {
		json_open(&j, '{');
		json_key(&j, "i");
		json_u64(&j, i);
		json_close(&j, '}');
		json_newline(&j);
	}
	json_is(&j, "{\"i\":0}\n{\"i\":1}\n");
	json_done(&j);
}

static void test_cut_at_the_limit(void **state)
{
	struct json j;
	json_init(&j, 10);
	json_open(&j, '[');
	json_str(&j, STR("12345"));
	assert_false(j.cut);
	json_str(&j, STR("6"));
	assert_true(j.cut);
	assert_true(j.len <= 10);
	json_close(&j, ']');
	assert_true(j.len <= 10);
	json_done(&j);
}

static void test_grows(void **state)
{
	struct json j;
	json_init(&j, 1 << 20);
	json_open(&j, '[');
	for (uint64_t i = 0; i < 10000; i++)
		json_u64(&j, 7);
	json_close(&j, ']');
	assert_int_equal(j.len, 20001);
	assert_false(j.cut);
	json_done(&j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commas_and_nesting),
		cmocka_unit_test(test_whatever_was_sent_stays_valid),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_cut_at_the_limit),
		cmocka_unit_test(test_grows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
