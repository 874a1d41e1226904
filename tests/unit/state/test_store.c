/* SPDX-License-Identifier: Apache-2.0 */
/* A connection for commands: each is answered exactly once, whatever becomes of the connection. */
#include "store_lab.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_is_ready_after_role_and_replication_id(void **state)
{
	struct lab lab;
	lab_ready(&lab);
	assert_int_equal(store_life(lab.store), 1);
	assert_true(str_eq(store_replication_id(lab.store), STR(LAB_REPLICATION_ID)));
	assert_string_equal(store_why(lab.store), "");
	assert_int_equal(store_rounds_in_vain(lab.store), 0);
	assert_true(address_equal(store_address(lab.store), &lab.addresses[0]));
	assert_true(lab.news > 0);
	lab_done(&lab);
}

static void test_answers_in_order(void **state)
{
	struct lab lab;
	lab_ready(&lab);
	assert_true(store_say(lab.store, 7, "GET", "a", NULL));
	assert_true(store_say(lab.store, 8, "SET", "a", "", NULL));
	lab_pump(&lab);
	lab_expect(&lab, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n");
	lab_no_answer(&lab);
	uint32_t news = lab.news;
	lab_say(&lab, "$5\r\nhello\r\n-OOM no more\r\n");
	assert_true(lab.news > news);
	lab_answer(&lab, 7, STORE_OK, "hello");
	lab_answer(&lab, 8, STORE_REFUSED, "OOM no more");
	lab_no_answer(&lab);
	assert_int_equal(store_state(lab.store), STORE_READY);
	lab_done(&lab);
}

/* One segment for all that is asked in a turn. */
static void test_commands_of_a_turn_go_out_together(void **state)
{
	struct lab lab;
	lab_ready(&lab);
	uint32_t sends = fake_ops_count(FAKE_SEND);
	for (uint64_t i = 0; i < 100; i++)
		assert_true(store_say(lab.store, i, "GET", "a", NULL));
	lab_serve(&lab);
	assert_int_equal(fake_ops_count(FAKE_SEND), sends + 1);
	for (uint64_t i = 0; i < 100; i++)
		lab_answer(&lab, i, STORE_OK, "OK");
	lab_done(&lab);
}

static void test_binary_and_large_words(void **state)
{
	struct lab lab;
	size_t size = 3 << 20;
	char *bytes = malloc(size);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 2654435761u >> 9);
	lab_ready(&lab);
	fake_peer_forget(lab_fd(&lab));
	struct str words[] = {STR("SET"), STR("k\0\r\n"), {bytes, size}};
	assert_true(store_send(lab.store, 1, words, 3));
	lab_pump(&lab);
	struct str got = fake_peer_received(lab_fd(&lab));
	static const char head[] = "*3\r\n$3\r\nSET\r\n$4\r\nk\0\r\n\r\n$3145728\r\n";
	assert_int_equal(got.len, sizeof(head) - 1 + size + 2);
	assert_memory_equal(got.at, head, sizeof(head) - 1);
	assert_memory_equal(got.at + sizeof(head) - 1, bytes, size);
	assert_true(store_bytes_out(lab.store) > size);
	lab_say(&lab, "+OK\r\n");
	lab_answer(&lab, 1, STORE_OK, "OK");
	free(bytes);
	lab_done(&lab);
}

static void test_reply_byte_by_byte(void **state)
{
	static const char reply[] = "*3\r\n$5\r\nhello\r\n:7\r\n*1\r\n$-1\r\n";
	struct lab lab;
	struct store_answer answer;
	lab_ready(&lab);
	assert_true(store_say(lab.store, 1, "EVAL", NULL));
	lab_pump(&lab);
	for (size_t i = 0; i < sizeof(reply) - 1; i++) {
		lab_no_answer(&lab);
		fake_peer_send(lab_fd(&lab), reply + i, 1);
		lab_pump(&lab);
	}
	assert_true(store_answer(lab.store, &answer));
	assert_int_equal(answer.reply->elements, 3);
	assert_string_equal(answer.reply->element[0]->str, "hello");
	assert_int_equal(answer.reply->element[1]->integer, 7);
	assert_int_equal(answer.reply->element[2]->element[0]->type, REDIS_REPLY_NIL);
	store_answer_done(lab.store, &answer);
	assert_true(store_bytes_in(lab.store) > sizeof(reply));
	lab_done(&lab);
}

/* --- lost --- */

static void test_lost_exactly_once(void **state)
{
	struct lab lab;
	lab_ready(&lab);
	for (uint64_t i = 1; i <= 3; i++)
		assert_true(store_say(lab.store, i, "INCR", "a", NULL));
	lab_pump(&lab);
	lab_say(&lab, "+one\r\n+tw");
	fake_peer_close(lab_fd(&lab));
	lab_pump(&lab);
	assert_int_equal(store_state(lab.store), STORE_DOWN);
	lab_why(&lab, "10.0.0.1:6379: the server closed the connection");
	assert_false(store_say(lab.store, 4, "INCR", "a", NULL));
	lab_answer(&lab, 1, STORE_OK, "one");
	lab_answer(&lab, 2, STORE_LOST, NULL);
	lab_answer(&lab, 3, STORE_LOST, NULL);
	lab_run_to_socket(&lab, 2);
	lab_greet(&lab); /* and nothing of before is sent again */
	assert_int_equal(store_life(lab.store), 2);
	lab_no_answer(&lab);
	assert_true(store_say(lab.store, 5, "INCR", "a", NULL));
	lab_pump(&lab);
	lab_say(&lab, "+five\r\n");
	lab_answer(&lab, 5, STORE_OK, "five");
	lab_done(&lab);
}

static void test_what_came_before_a_reset_counts(void **state)
{
	struct lab lab;
	lab_ready(&lab);
	assert_true(store_say(lab.store, 1, "GET", "a", NULL));
	assert_true(store_say(lab.store, 2, "GET", "b", NULL));
	lab_pump(&lab);
	fake_peer_send_text(lab_fd(&lab), "+one\r\n");
	fake_peer_reset(lab_fd(&lab));
	lab_pump(&lab);
	lab_answer(&lab, 1, STORE_OK, "one");
	lab_answer(&lab, 2, STORE_LOST, NULL);
	lab_why(&lab, "10.0.0.1:6379: the connection broke: Connection reset by peer");
	lab_done(&lab);
}

static void test_reconnect_on_demand(void **state)
{
	struct lab lab;
	lab_ready(&lab);
	assert_true(store_say(lab.store, 1, "GET", "a", NULL));
	store_reconnect(lab.store, "the revision went backwards");
	assert_int_equal(store_state(lab.store), STORE_DOWN);
	lab_answer(&lab, 1, STORE_LOST, NULL);
	lab_why(&lab, "10.0.0.1:6379: the revision went backwards");
	store_reconnect(lab.store, "again"); /* no effect: there is no connection */
	lab_why(&lab, "backwards");
	lab_run_to_socket(&lab, 2);
	lab_greet(&lab);
	lab_done(&lab);
}

/* --- errors of the server --- */

static void test_errors_that_lead_away(void **state)
{
	static const char *const errors[] = {
		"READONLY You can't write against a read only replica.",
		"LOADING Redis is loading the dataset in memory",
		"MASTERDOWN Link with MASTER is down", "UNBLOCKED force unblock", "READONLY"};
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		struct lab lab;
		char line[128];
		lab_ready(&lab);
		assert_true(store_say(lab.store, 1, "SET", "a", "b", NULL));
		assert_true(store_say(lab.store, 2, "SET", "a", "b", NULL));
		lab_pump(&lab);
		snprintf(line, sizeof(line), "-%s\r\n", errors[i]);
		lab_say(&lab, line);
		assert_int_equal(store_state(lab.store), STORE_DOWN);
		lab_answer(&lab, 1, STORE_REFUSED, errors[i]);
		lab_answer(&lab, 2, STORE_LOST, NULL);
		lab_why(&lab, errors[i]);
		lab_done(&lab);
	}
}

static void test_errors_that_are_the_callers(void **state)
{
	static const char *const errors[] = {"NOREPLICAS Not enough good replicas to write.",
		"OOM command not allowed", "MISCONF Errors writing to the AOF file", "NOPERM no",
		"READONLYISH", "ERR LOADING"};
	struct lab lab;
	lab_ready(&lab);
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		char line[128];
		assert_true(store_say(lab.store, i, "SET", "a", "b", NULL));
		lab_pump(&lab);
		snprintf(line, sizeof(line), "-%s\r\n", errors[i]);
		lab_say(&lab, line);
		lab_answer(&lab, i, STORE_REFUSED, errors[i]);
	}
	assert_int_equal(store_state(lab.store), STORE_READY);
	lab_done(&lab);
}

static void lab_lost(struct lab *lab, uint64_t tag, bool is_unreadable)
{
	struct store_answer answer;
	assert_true(store_answer(lab->store, &answer));
	assert_int_equal(answer.tag, tag);
	assert_string_equal(store_failure_name(answer.failure), "lost");
	assert_int_equal(answer.is_unreadable, is_unreadable);
	store_answer_done(lab->store, &answer);
}

/* Whose answer it was is told, so that it need not be asked for again. */
static void test_garbage_ends_the_connection(void **state)
{
	static const char *const garbage[] = {"HTTP/1.1 200 OK\r\n", "*1000000000\r\n",
		"$2000000\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "%1\r\n"};
	for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
		struct lab lab;
		lab_ready(&lab);
		assert_true(store_say(lab.store, 1, "GET", "a", NULL));
		assert_true(store_say(lab.store, 2, "GET", "b", NULL));
		lab_pump(&lab);
		lab_say(&lab, garbage[i]);
		assert_int_equal(store_state(lab.store), STORE_DOWN);
		lab_lost(&lab, 1, true);
		lab_lost(&lab, 2, false);
		assert_true(store_why(lab.store)[0]);
		lab_done(&lab);
	}
}

static void test_reply_without_a_question(void **state)
{
	struct lab lab;
	lab_ready(&lab);
	lab_say(&lab, "$3\r\na\x1b\x80\r\n");
	assert_int_equal(store_state(lab.store), STORE_DOWN);
	lab_why(&lab, "said without a question: a??");
	lab_done(&lab);
}

/* The server answers a command that it cannot have seen whole. */
static void test_reply_before_its_question(void **state)
{
	struct lab lab;
	static char bytes[1 << 20];
	lab_ready(&lab);
	fake_peer_window(lab_fd(&lab), 0);
	struct str words[] = {STR("SET"), STR("a"), {bytes, sizeof(bytes)}};
	assert_true(store_send(lab.store, 1, words, 3));
	lab_pump(&lab);
	lab_say(&lab, "+OK\r\n");
	assert_int_equal(store_state(lab.store), STORE_DOWN);
	lab_answer(&lab, 1, STORE_LOST, NULL);
	lab_done(&lab);
}

/* --- bounds --- */

static void test_queue_is_bounded(void **state)
{
	struct lab lab;
	uint64_t count = 0;
	lab_ready(&lab);
	while (count < 5000 && store_say(lab.store, count, "GET", "a", NULL))
		count++;
	assert_int_equal(count, 1024);
	lab_serve(&lab);
	assert_false(store_say(lab.store, count, "GET", "a", NULL)); /* answered, but not taken */
	lab_answer(&lab, 0, STORE_OK, "OK");
	assert_true(store_say(lab.store, count, "GET", "a", NULL));
	assert_false(store_say(lab.store, count, "GET", "a", NULL));
	lab_done(&lab);

	static char bytes[5 << 20];
	struct str words[] = {STR("SET"), STR("a"), {bytes, sizeof(bytes)}};
	lab_ready(&lab);
	fake_peer_window(lab_fd(&lab), 0);
	for (count = 0; count < 10 && store_send(lab.store, count, words, 3);)
		count++;
	assert_int_equal(count, 3);
	assert_false(store_send(lab.store, 1, words, 0));
	lab_done(&lab);
}

/* A word list that does not end is not cut. */
static void test_too_many_words(void **state)
{
	struct lab lab;
	lab_ready(&lab);
#define EIGHT "a", "b", "c", "d", "e", "f", "g", "h"
	assert_true(store_say(
		lab.store, 1, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, NULL));
	assert_false(store_say(
		lab.store, 1, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, "i", NULL));
	lab_done(&lab);
}

/* Answers that nobody takes stop the reading, so that the server waits; nobody is late then. */
static void test_untaken_answers_stop_the_reading(void **state)
{
	struct lab lab;
	struct store_answer answer;
	static char bulk[LAB_REPLY_BYTES_MAX / 2 + 64];
	int head = snprintf(bulk, sizeof(bulk), "$%d\r\n", LAB_REPLY_BYTES_MAX / 2);
	memset(bulk + head, 'x', LAB_REPLY_BYTES_MAX / 2);
	memcpy(bulk + head + LAB_REPLY_BYTES_MAX / 2, "\r\n", 2);
	size_t len = (size_t)head + LAB_REPLY_BYTES_MAX / 2 + 2;
	lab_ready(&lab);
	for (uint64_t i = 0; i < 8; i++)
		assert_true(store_say(lab.store, i, "GET", "a", NULL));
	lab_pump(&lab);
	for (int i = 0; i < 8; i++)
		fake_peer_send(lab_fd(&lab), bulk, len);
	lab_run_ms(&lab, 20 * LAB_TIMEOUT_MS);
	assert_int_equal(store_state(lab.store), STORE_READY);
	assert_true(fake_unread(lab_fd(&lab)) > 4 * len);
	for (uint64_t i = 0; i < 8; i++) {
		lab_pump(&lab);
		assert_true(store_answer(lab.store, &answer));
		assert_int_equal(answer.tag, i);
		assert_int_equal(answer.reply->len, LAB_REPLY_BYTES_MAX / 2);
		store_answer_done(lab.store, &answer);
	}
	lab_pump(&lab);
	assert_int_equal(fake_unread(lab_fd(&lab)), 0);
	assert_int_equal(store_state(lab.store), STORE_READY);
	lab_done(&lab);
}

/* --- closing --- */

static void test_close_in_every_state(void **state)
{
	struct lab lab;
	lab_init(&lab); /* down: not stepped once */
	lab.store = store_new(&lab.loop, 2, &lab.owner, &lab.settings);
	lab_done(&lab);

	lab_init(&lab);
	fake_connect_rule(NULL, FAKE_PENDING);
	lab_start(&lab);
	assert_int_equal(store_state(lab.store), STORE_CONNECTING);
	lab_done(&lab);

	lab_init(&lab);
	lab_start(&lab);
	assert_int_equal(store_state(lab.store), STORE_GREETING);
	lab_done(&lab);

	lab_init(&lab);
	lab.settings.sentinel = STR("mesh");
	lab_start(&lab);
	assert_int_equal(store_state(lab.store), STORE_LOOKING);
	lab_done(&lab);

	lab_init(&lab);
	fake_connect_rule(NULL, -ECONNREFUSED);
	lab_start(&lab);
	assert_int_equal(store_state(lab.store), STORE_DOWN);
	lab_done(&lab);

	lab_ready(&lab);
	for (uint64_t i = 0; i < 3; i++)
		assert_true(store_say(lab.store, i, "GET", "a", NULL));
	lab_pump(&lab);
	lab_say(&lab, "+OK\r\n+O");
	store_close(lab.store);
	store_close(lab.store);
	assert_false(store_say(lab.store, 9, "GET", "a", NULL));
	lab_pump(&lab);
	assert_int_equal(store_state(lab.store), STORE_CLOSED);
	lab_done(&lab);
}

static void test_names(void **state)
{
	assert_string_equal(store_state_name(STORE_DOWN), "down");
	assert_string_equal(store_state_name(STORE_CLOSED), "closed");
	assert_string_equal(store_failure_name(STORE_LOST), "lost");
}

/* --- faults --- */

#define RUN_COMMANDS 20

/* A life with some commands in it, one at a time and all at once; each is answered once, and in the
 * end it is READY, whatever went wrong on the way. */
static void run_with(enum fake_kind kind, uint32_t nth, enum fake_fault fault, uint64_t chaos)
{
	struct lab lab;
	struct store_answer answer;
	unsigned asked = 0, ok = 0, lost = 0;
	lab_init(&lab);
	if (fault != FAKE_FAULT_NONE)
		fake_fault(kind, nth, fault);
	fake_chaos(chaos);
	lab_start(&lab);
	for (int turn = 0; turn < 2000 && ok < RUN_COMMANDS; turn++) {
		unsigned at_once = turn & 1 ? 1 : 3;
		while (at_once-- > 0 && store_say(lab.store, asked, "SET", "a", "b", NULL))
			asked++;
		lab_serve(&lab);
		fake_release();
		lab_run_ms(&lab, 10);
		while (store_answer(lab.store, &answer)) {
			assert_int_equal(answer.tag, ok + lost);
			ok += answer.failure == STORE_OK;
			lost += answer.failure == STORE_LOST;
			store_answer_done(lab.store, &answer);
		}
	}
	assert_true(ok >= RUN_COMMANDS);
	assert_int_equal(store_state(lab.store), STORE_READY);
	assert_true(ok + lost <= asked);
	lab_done(&lab);
}

static void test_every_fault_at_every_operation(void **state)
{
	static const enum fake_kind kinds[] = {FAKE_CONNECT, FAKE_SEND, FAKE_RECV};
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		for (int fault = FAKE_FAULT_NONE; fault < FAKE_FAULT_COUNT; fault++) {
			for (uint32_t nth = 1; nth <= 12; nth++)
				run_with(kinds[k], nth, (enum fake_fault)fault, 0);
		}
	}
}

static void test_any_order_of_completions(void **state)
{
	for (uint64_t seed = 1; seed <= 50; seed++)
		run_with(FAKE_RECV, 1, FAKE_FAULT_NONE, seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_ready_after_role_and_replication_id),
		cmocka_unit_test(test_answers_in_order),
		cmocka_unit_test(test_commands_of_a_turn_go_out_together),
		cmocka_unit_test(test_binary_and_large_words),
		cmocka_unit_test(test_reply_byte_by_byte),
		cmocka_unit_test(test_lost_exactly_once),
		cmocka_unit_test(test_what_came_before_a_reset_counts),
		cmocka_unit_test(test_reconnect_on_demand),
		cmocka_unit_test(test_errors_that_lead_away),
		cmocka_unit_test(test_errors_that_are_the_callers),
		cmocka_unit_test(test_garbage_ends_the_connection),
		cmocka_unit_test(test_reply_without_a_question),
		cmocka_unit_test(test_reply_before_its_question),
		cmocka_unit_test(test_queue_is_bounded),
		cmocka_unit_test(test_too_many_words),
		cmocka_unit_test(test_untaken_answers_stop_the_reading),
		cmocka_unit_test(test_close_in_every_state),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_every_fault_at_every_operation),
		cmocka_unit_test(test_any_order_of_completions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
