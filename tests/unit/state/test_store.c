/* SPDX-License-Identifier: Apache-2.0 */
/* A connection for commands, to a server found directly. */
#include "store_lab.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_is_ready_after_role_and_replication_id(void **state)
{
	struct lab lab;
	lab_ready(&lab);
	assert_int_equal(store_life(lab.store), 1);
	assert_true(str_eq(store_replication_id(lab.store), STR(LAB_REPLICATION_ID)));
	assert_string_equal(store_why(lab.store), "");
	assert_true(address_equal(store_address(lab.store), &lab.addresses[0]));
	lab_done(&lab);
}

static void test_answers_in_order(void **state)
{
	struct lab lab;
	struct store_answer answer;
	lab_ready(&lab);
	assert_true(store_say(lab.store, 7, "GET", "a", NULL));
	assert_true(store_say(lab.store, 8, "SET", "a", "", NULL));
	lab_pump(&lab);
	lab_expect(&lab, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n");
	assert_false(store_answer(lab.store, &answer));
	lab_say(&lab, "$5\r\nhello\r\n-OOM no more\r\n");
	assert_true(store_answer(lab.store, &answer));
	assert_int_equal(answer.tag, 7);
	assert_int_equal(answer.failure, STORE_OK);
	assert_string_equal(answer.reply->str, "hello");
	store_answer_done(lab.store, &answer);
	assert_true(store_answer(lab.store, &answer));
	assert_int_equal(answer.tag, 8);
	assert_int_equal(answer.failure, STORE_REFUSED);
	assert_string_equal(answer.reply->str, "OOM no more");
	store_answer_done(lab.store, &answer);
	assert_int_equal(store_state(lab.store), STORE_READY);
	lab_done(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_ready_after_role_and_replication_id),
		cmocka_unit_test(test_answers_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
