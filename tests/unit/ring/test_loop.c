/* SPDX-License-Identifier: Apache-2.0 */
/* The turn and the timers, on the fake ring. */
#include "base/clock.h"
#include "fake/ring_fake.h"
#include "fake/socket_fake.h"
#include "net/socket.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct loop loop;
static struct task task;

static int setup(void **state)
{
	struct ring_limits limits = {.block_bytes = 64, .block_count = 2};
	struct err err;
	fake_init();
	task_init(&task, 0);
	return loop_init(&loop, &limits, 7, &err) || ring_enable(&loop.ring, &err);
}

static int teardown(void **state)
{
	loop_done(&loop);
	fake_done();
	return 0;
}

/* One turn of which the test wants to see every task. */
static uint32_t turn(void)
{
	uint32_t count = 0;
	loop_wait(&loop);
	while (loop_next(&loop))
		count++;
	return count;
}

/* --- the ready queue and the dead --- */

static void a_task_is_ready_once(void **state)
{
	loop_ready(&loop, &task);
	loop_ready(&loop, &task);
	assert_int_equal(turn(), 1);
	assert_int_equal(turn(), 0);
}

static void a_task_may_make_itself_ready_while_it_is_stepped(void **state)
{
	loop_ready(&loop, &task);
	loop_wait(&loop);
	assert_ptr_equal(loop_next(&loop), &task);
	loop_ready(&loop, &task);
	assert_ptr_equal(loop_next(&loop), &task);
	assert_null(loop_next(&loop));
}

static void tasks_are_stepped_in_the_order_of_their_news(void **state)
{
	struct task tasks[3];
	for (int i = 0; i < 3; i++)
		task_init(&tasks[i], 0);
	loop_ready(&loop, &tasks[2]);
	loop_ready(&loop, &tasks[0]);
	loop_ready(&loop, &tasks[1]);
	loop_ready(&loop, &tasks[2]);
	assert_ptr_equal(loop_next(&loop), &tasks[2]);
	assert_ptr_equal(loop_next(&loop), &tasks[0]);
	assert_ptr_equal(loop_next(&loop), &tasks[1]);
}

static void busy_tasks_cannot_keep_a_turn_going(void **state)
{
	uint32_t count = 0;
	struct task *t;
	loop_ready(&loop, &task);
	loop_wait(&loop);
	while ((t = loop_next(&loop))) {
		loop_ready(&loop, t);
		count++;
	}
	assert_int_equal(count, LOOP_STEPS_MAX);
	loop_wait(&loop);
	assert_ptr_equal(loop_next(&loop), &task);
}

static void the_dead_are_handed_out_once_and_never_ready(void **state)
{
	loop_ready(&loop, &task);
	loop_bury(&loop, &task);
	loop_bury(&loop, &task);
	loop_ready(&loop, &task);
	assert_null(loop_next(&loop));
	assert_ptr_equal(loop_dead(&loop), &task);
	assert_null(loop_dead(&loop));
}

/* --- accepting --- */

static void a_full_backlog_keeps_the_rest_waiting(void **state)
{
	enum { CONNECTIONS = RING_TURN_MAX + 6 };
	struct op accept;
	int32_t backlog[RING_TURN_MAX];
	int listener = fake_listener(), fds[CONNECTIONS];
	op_init(&accept, &task);
	accept.backlog = backlog;
	ring_accept(&loop.ring, &accept, listener);
	for (int i = 0; i < CONNECTIONS; i++)
		fds[i] = fake_dial(listener);
	turn();
	turn(); /* the owner took nothing in its step */
	assert_int_equal(accept.backlog_len, RING_TURN_MAX);
	assert_int_equal(backlog[RING_TURN_MAX - 1], fds[RING_TURN_MAX - 1]);
	accept.backlog_len = 0;
	turn();
	assert_int_equal(accept.backlog_len, CONNECTIONS - RING_TURN_MAX);
	assert_int_equal(backlog[0], fds[RING_TURN_MAX]);
	ring_cancel(&loop.ring, &accept);
	turn();
	assert_false(accept.armed);
	assert_int_equal(accept.result, -ECANCELED);
	for (int i = 0; i < CONNECTIONS; i++)
		socket_close(fds[i]);
	socket_close(listener);
}

/* --- starving --- */

static void starved_tasks_are_woken_in_order_one_per_block(void **state)
{
	struct task tasks[4];
	struct op ops[2];
	for (int i = 0; i < 4; i++)
		task_init(&tasks[i], 0);
	int fd = fake_socket();
	for (int i = 0; i < 2; i++) { /* takes both blocks */
		op_init(&ops[i], &task);
		fake_peer_send_text(fd, "x");
		ring_recv(&loop.ring, &ops[i], fd);
		turn();
		assert_true(ops[i].has_block);
	}
	for (int i = 0; i < 4; i++)
		ring_starve(&loop.ring, &tasks[i]);
	ring_starve(&loop.ring, &tasks[0]);
	assert_int_equal(turn(), 0);

	loop_bury(&loop, &tasks[1]);
	assert_ptr_equal(loop_dead(&loop), &tasks[1]);
	ring_block_put(&loop.ring, ops[0].block);
	loop_wait(&loop);
	assert_ptr_equal(loop_next(&loop), &tasks[0]);
	assert_null(loop_next(&loop));
	ring_block_put(&loop.ring, ops[1].block);
	loop_wait(&loop);
	assert_ptr_equal(loop_next(&loop), &tasks[2]);
	assert_ptr_equal(loop_next(&loop), &tasks[3]);
	assert_null(loop_next(&loop));
	socket_close(fd);
}

/* --- timers --- */

static void a_timer_fires_once_at_its_time(void **state)
{
	struct timer t;
	timer_init(&t, &task);
	timer_set(&loop, &t, loop.now_ns + 10);
	fake_advance(9);
	assert_int_equal(turn(), 0);
	assert_false(t.fired);
	fake_advance(1);
	assert_int_equal(turn(), 1);
	assert_true(t.fired);
	assert_int_equal(t.deadline_ns, 0);
	fake_advance(100);
	assert_int_equal(turn(), 0);
}

static void a_timer_moved_to_later_keeps_its_place_until_it_is_due(void **state)
{
	struct timer early, late;
	timer_init(&early, &task);
	timer_init(&late, &task);
	uint64_t start = loop.now_ns;
	timer_set(&loop, &early, start + 10);
	timer_set(&loop, &late, start + 20);
	timer_set(&loop, &early, start + 30);
	assert_int_equal(early.index, 0); /* did not sink */
	assert_int_equal(early.queued_ns, start + 10);
	fake_advance(20);
	turn();
	assert_true(late.fired);
	assert_false(early.fired);
	fake_advance(10);
	turn();
	assert_true(early.fired);
}

static void a_timer_moved_to_earlier_fires_earlier(void **state)
{
	struct timer first, moved;
	timer_init(&first, &task);
	timer_init(&moved, &task);
	timer_set(&loop, &first, loop.now_ns + 50);
	timer_set(&loop, &moved, loop.now_ns + 100);
	timer_set(&loop, &moved, loop.now_ns + 10);
	assert_int_equal(moved.index, 0);
	fake_advance(10);
	turn();
	assert_true(moved.fired);
	assert_false(first.fired);
	timer_clear(&loop, &first);
}

static void clearing_and_setting_forget_an_unseen_firing(void **state)
{
	struct timer t;
	timer_init(&t, &task);
	timer_clear(&loop, &t);
	timer_set(&loop, &t, 0); /* long ago */
	turn();
	assert_true(t.fired);
	timer_set(&loop, &t, loop.now_ns + 5);
	assert_false(t.fired);
	fake_advance(5);
	turn();
	assert_true(t.fired);
	timer_clear(&loop, &t);
	assert_false(t.fired);
}

/* Thousands of random settings against the plainest model: all deadlines in an array. */
static void timers_agree_with_a_naive_model(void **state)
{
	enum { TIMERS = 300, ROUNDS = 20000 };
	static struct timer timers[TIMERS];
	static uint64_t model[TIMERS];
	for (int i = 0; i < TIMERS; i++) {
		timer_init(&timers[i], &task);
		model[i] = 0;
	}
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t pick = loop_random(&loop);
		int i = (int)(pick % TIMERS);
		if (pick >> 32 & 7) {
			model[i] = loop.now_ns + 1 + loop_random(&loop) % 1000;
			timer_set(&loop, &timers[i], model[i]);
		} else {
			model[i] = 0;
			timer_clear(&loop, &timers[i]);
		}
		if (round % 4)
			continue;
		fake_advance(loop_random(&loop) % 10);
		turn();
		for (int j = 0; j < TIMERS; j++) {
			bool due = model[j] && model[j] <= loop.now_ns;
			assert_int_equal(timers[j].fired, due);
			if (!due) {
				assert_int_equal(timers[j].deadline_ns, model[j]);
				continue;
			}
			model[j] = 0;
			timers[j].fired = false;
		}
	}
	for (int i = 0; i < TIMERS; i++)
		timer_clear(&loop, &timers[i]);
	assert_int_equal(loop.heap_count, 0);
}

/* --- the rest --- */

static void the_clocks_are_read_once_a_turn(void **state)
{
	uint64_t now = loop.now_ns, wall = loop.wall_ns;
	fake_advance(CLOCK_S);
	assert_int_equal(loop.now_ns, now);
	turn();
	assert_int_equal(loop.now_ns, now + CLOCK_S);
	assert_int_equal(loop.wall_ns, wall + CLOCK_S);
	assert_int_equal(loop.turn_count, 1);
}

static void random_repeats_with_its_seed_and_spreads(void **state)
{
	struct loop a = {.random = 42}, b = {.random = 42}, c = {.random = 43};
	uint32_t counts[16] = {0};
	for (int i = 0; i < 16000; i++) {
		uint64_t x = loop_random(&a);
		assert_int_equal(x, loop_random(&b));
		assert_int_not_equal(x, loop_random(&c));
		counts[x & 15]++;
	}
	for (int i = 0; i < 16; i++)
		assert_in_range(counts[i], 850, 1150);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_task_is_ready_once),
		TEST(a_task_may_make_itself_ready_while_it_is_stepped),
		TEST(tasks_are_stepped_in_the_order_of_their_news),
		TEST(busy_tasks_cannot_keep_a_turn_going),
		TEST(the_dead_are_handed_out_once_and_never_ready),
		TEST(a_full_backlog_keeps_the_rest_waiting),
		TEST(starved_tasks_are_woken_in_order_one_per_block),
		TEST(a_timer_fires_once_at_its_time),
		TEST(a_timer_moved_to_later_keeps_its_place_until_it_is_due),
		TEST(a_timer_moved_to_earlier_fires_earlier),
		TEST(clearing_and_setting_forget_an_unseen_firing),
		TEST(timers_agree_with_a_naive_model),
		TEST(the_clocks_are_read_once_a_turn),
		TEST(random_repeats_with_its_seed_and_spreads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
