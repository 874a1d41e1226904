/* SPDX-License-Identifier: Apache-2.0 */
/* Too late, how long to wait, and a connection that listens. */
#include "store_lab.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* --- too late --- */

static void test_connect_takes_too_long(void **state)
{
	struct lab lab;
	lab_init(&lab);
	lab.settings.address_count = 2;
	fake_connect_rule(&lab.addresses[0], FAKE_PENDING);
	lab_start(&lab);
	lab_run_ms(&lab, LAB_TIMEOUT_MS - 1);
	assert_int_equal(store_state(lab.store), STORE_CONNECTING);
	lab_run_ms(&lab, 1);
	assert_true(address_equal(store_address(lab.store), &lab.addresses[1]));
	lab_why(&lab, "10.0.0.1:6379: no connection within 1000 ms");
	lab_greet(&lab);
	lab_done(&lab);
}

static void test_server_that_says_nothing(void **state)
{
	struct lab lab;
	lab_init(&lab);
	lab_start(&lab);
	lab_run_ms(&lab, LAB_TIMEOUT_MS - 1);
	assert_int_equal(store_state(lab.store), STORE_GREETING);
	lab_run_ms(&lab, 1);
	assert_int_equal(store_state(lab.store), STORE_DOWN);
	lab_why(&lab, "10.0.0.1:6379: no answer within 1000 ms");
	lab_done(&lab);

	lab_init(&lab);
	lab.settings.sentinel = STR("mesh");
	lab_start(&lab);
	lab_run_ms(&lab, LAB_TIMEOUT_MS);
	lab_why(&lab, "10.0.0.1:6379: no answer within 1000 ms");
	lab_done(&lab);
}

static void test_answer_takes_too_long(void **state)
{
	struct lab lab;
	lab_ready(&lab);
	lab_run_ms(&lab, 100 * LAB_TIMEOUT_MS); /* nothing was asked */
	assert_int_equal(store_state(lab.store), STORE_READY);
	assert_true(store_say(lab.store, 1, "GET", "a", NULL));
	assert_true(store_say(lab.store, 2, "GET", "a", NULL));
	lab_run_ms(&lab, LAB_TIMEOUT_MS - 1);
	lab_say(&lab, "+OK\r\n");
	lab_run_ms(&lab, LAB_TIMEOUT_MS - 1); /* each has the time for itself */
	lab_answer(&lab, 1, STORE_OK, "OK");
	assert_int_equal(store_state(lab.store), STORE_READY);
	lab_run_ms(&lab, 1);
	assert_int_equal(store_state(lab.store), STORE_DOWN);
	lab_answer(&lab, 2, STORE_LOST, NULL);
	lab_why(&lab, "no answer within 1000 ms");
	lab_done(&lab);
}

/* Bytes that come buy time, but not for ever. */
static void test_answer_that_trickles(void **state)
{
	struct lab lab;
	lab_ready(&lab);
	assert_true(store_say(lab.store, 1, "GET", "a", NULL));
	lab_pump(&lab);
	lab_say(&lab, "$1000\r\n");
	unsigned seconds = 0;
	for (; store_state(lab.store) == STORE_READY && seconds < 100; seconds++) {
		lab_say(&lab, "x");
		lab_run_ms(&lab, LAB_TIMEOUT_MS - 1);
	}
	assert_in_range(seconds, 9, 11);
	lab_answer(&lab, 1, STORE_LOST, NULL);
	lab_done(&lab);
}

/* A server that does not even read. */
static void test_command_that_does_not_leave(void **state)
{
	static char bytes[1 << 20];
	struct lab lab;
	lab_ready(&lab);
	fake_peer_window(lab_fd(&lab), 0);
	struct str words[] = {STR("SET"), STR("a"), {bytes, sizeof(bytes)}};
	assert_true(store_send(lab.store, 1, words, 3));
	lab_run_ms(&lab, LAB_TIMEOUT_MS);
	lab_answer(&lab, 1, STORE_LOST, NULL);
	lab_done(&lab);
}

static void test_timed_out_connection_is_gone_for_good(void **state)
{
	struct lab lab;
	lab_init(&lab);
	lab.settings.address_count = 2;
	lab_start(&lab);
	lab_greet(&lab);
	int stalled = lab_fd(&lab);
	assert_true(store_say(lab.store, 1, "GET", "a", NULL));
	lab_run_ms(&lab, LAB_TIMEOUT_MS);
	lab_answer(&lab, 1, STORE_LOST, NULL);
	lab_run_to_socket(&lab, 2);
	assert_false(fake_is_open(stalled));
	assert_true(address_equal(store_address(lab.store), &lab.addresses[1]));
	lab_greet(&lab);
	lab_no_answer(&lab);
	lab_done(&lab);
}

/* --- waiting --- */

/* How long it waits after a round in vain, at most, over many seeds. */
static uint64_t longest_wait_ms(unsigned round)
{
	uint64_t longest = 0, shortest = UINT64_MAX;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct lab lab;
		lab_init(&lab);
		lab.loop.random = seed;
		fake_connect_rule(NULL, -ECONNREFUSED);
		lab_start(&lab);
		lab_run_to_socket(&lab, round);
		uint64_t before_ns = lab.loop.now_ns;
		lab_run_to_socket(&lab, round + 1);
		uint64_t wait_ms = (lab.loop.now_ns - before_ns) / CLOCK_MS;
		longest = wait_ms > longest ? wait_ms : longest;
		shortest = wait_ms < shortest ? wait_ms : shortest;
		lab_done(&lab);
	}
	assert_true(shortest < longest / 4); /* full jitter: from nothing on */
	return longest;
}

static void test_waits_grow_with_full_jitter(void **state)
{
	assert_in_range(longest_wait_ms(1), 80, 101);
	assert_in_range(longest_wait_ms(2), 160, 201);
	assert_in_range(longest_wait_ms(4), 640, 801);
	assert_in_range(longest_wait_ms(9), 8000, 10001);
	assert_in_range(longest_wait_ms(14), 8000, 10001);
}

/* How often it comes back within a while, when every connection is lost after `life_ms`. */
static unsigned lives_within(uint64_t life_ms, uint64_t ms)
{
	struct lab lab;
	lab_init(&lab);
	lab_start(&lab);
	uint64_t spent_ms = 0;
	unsigned lives = 0;
	while (spent_ms < ms) {
		lab_serve(&lab);
		if (store_state(lab.store) == STORE_READY) {
			lab_run_ms(&lab, life_ms);
			spent_ms += life_ms;
			lives++;
			fake_peer_close(lab_fd(&lab));
			lab_pump(&lab);
		}
		lab_run_ms(&lab, 10);
		spent_ms += 10;
	}
	lab_done(&lab);
	return lives;
}

static void test_waits_are_short_again_after_a_good_while(void **state)
{
	/* Ten minutes of lives of 11 s: each is followed by a wait of at most 100 ms. */
	assert_true(lives_within(11000, 600000) >= 53);
	/* Lives of 1 s do not count: the waits grow to 5 s on average. */
	assert_in_range(lives_within(1000, 600000), 60, 160);
}

/* --- a connection that listens --- */

#define SUBSCRIBED "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"
#define MESSAGE(n) "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\n" n "\r\n"
#define PING	   "*1\r\n$4\r\nPING\r\n"

static void lab_listen(struct lab *lab)
{
	lab_init(lab);
	lab->settings.channel = STR("news");
	lab_start(lab);
	lab_expect(lab, "*1\r\n$4\r\nROLE\r\n*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n"
			"*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nnews\r\n");
	lab_say(lab, LAB_MASTER LAB_INFO);
	assert_int_equal(store_state(lab->store), STORE_GREETING);
	lab_say(lab, SUBSCRIBED);
	assert_int_equal(store_state(lab->store), STORE_READY);
}

static void lab_message(struct lab *lab, const char *text)
{
	redisReply *reply = store_push(lab->store);
	assert_non_null(reply);
	assert_int_equal(reply->elements, 3);
	assert_string_equal(reply->element[1]->str, "news");
	assert_string_equal(reply->element[2]->str, text);
	freeReplyObject(reply);
}

static void test_messages(void **state)
{
	struct lab lab;
	lab_listen(&lab);
	assert_false(store_say(lab.store, 1, "GET", "a", NULL));
	assert_null(store_push(lab.store));
	uint32_t news = lab.news;
	lab_say(&lab, MESSAGE("1") MESSAGE("2"));
	assert_true(lab.news > news);
	lab_message(&lab, "1");
	lab_message(&lab, "2");
	assert_null(store_push(lab.store));
	lab_say(&lab, MESSAGE("3")); /* not taken: freed with the store */
	lab_done(&lab);
}

static void test_silence_is_asked_about(void **state)
{
	struct lab lab;
	lab_listen(&lab);
	lab_run_ms(&lab, LAB_TIMEOUT_MS - 1);
	lab_expect(&lab, "");
	lab_say(&lab, MESSAGE("1"));
	lab_run_ms(&lab, LAB_TIMEOUT_MS - 1);
	lab_expect(&lab, "");
	lab_run_ms(&lab, 1);
	lab_expect(&lab, PING);
	lab_run_ms(&lab, LAB_TIMEOUT_MS - 1);
	lab_say(&lab, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
	lab_run_ms(&lab, LAB_TIMEOUT_MS);
	lab_expect(&lab, PING);
	assert_int_equal(store_state(lab.store), STORE_READY);
	lab_message(&lab, "1");
	assert_null(store_push(lab.store)); /* the pong is none */
	lab_run_ms(&lab, LAB_TIMEOUT_MS);
	assert_int_equal(store_state(lab.store), STORE_DOWN);
	lab_why(&lab, "no answer within 1000 ms");
	lab_done(&lab);
}

static void test_too_many_messages(void **state)
{
	struct lab lab;
	lab_listen(&lab);
	for (int i = 0; i < 1024; i++)
		lab_say(&lab, MESSAGE("1"));
	assert_int_equal(store_state(lab.store), STORE_READY);
	lab_say(&lab, MESSAGE("1"));
	assert_int_equal(store_state(lab.store), STORE_DOWN);
	lab_why(&lab, "more than 1024 messages not taken");
	lab_message(&lab, "1"); /* what had come is there */
	lab_done(&lab);
}

static void test_what_is_no_message(void **state)
{
	static const char *const said[] = {"+OK\r\n", "-ERR no\r\n", ":1\r\n", "$-1\r\n",
		"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n:1\r\n", "*1\r\n$1\r\na\r\n", "*-1\r\n"};
	for (size_t i = 0; i < ARRAY_LEN(said); i++) {
		struct lab lab;
		lab_listen(&lab);
		lab_say(&lab, said[i]);
		assert_int_equal(store_state(lab.store), STORE_DOWN);
		lab_why(&lab, "said where only messages may be");
		lab_done(&lab);
	}
}

static void test_channel_is_refused(void **state)
{
	struct lab lab;
	lab_init(&lab);
	lab.settings.channel = STR("news");
	lab_start(&lab);
	lab_say(&lab, LAB_MASTER LAB_INFO "-NOPERM No permissions to access a channel\r\n");
	assert_int_equal(store_state(lab.store), STORE_DOWN);
	lab_why(&lab, "its access rules do not allow SUBSCRIBE to this user: NOPERM");
	lab_done(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect_takes_too_long),
		cmocka_unit_test(test_server_that_says_nothing),
		cmocka_unit_test(test_answer_takes_too_long),
		cmocka_unit_test(test_answer_that_trickles),
		cmocka_unit_test(test_command_that_does_not_leave),
		cmocka_unit_test(test_timed_out_connection_is_gone_for_good),
		cmocka_unit_test(test_waits_grow_with_full_jitter),
		cmocka_unit_test(test_waits_are_short_again_after_a_good_while),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_silence_is_asked_about),
		cmocka_unit_test(test_too_many_messages),
		cmocka_unit_test(test_what_is_no_message),
		cmocka_unit_test(test_channel_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
