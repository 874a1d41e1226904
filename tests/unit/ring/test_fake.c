/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated kernel itself, by way of a small tunnel: two ends, two directions, bytes copied
 * from one to the other with one receive or send per direction at a time. */
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

/* --- a tunnel, as simple as can be --- */

struct way {
	struct op recv, send;
	uint8_t *bytes; /* in the block */
	uint16_t block;
	bool sending, ended;
	int from, to;
};

struct tunnel {
	struct task task;
	struct way ways[2];
	bool closing;
	bool freed;
};

static void tunnel_init(struct tunnel *t, int fd, int other)
{
	*t = (struct tunnel){0};
	task_init(&t->task, 0);
	for (int i = 0; i < 2; i++) {
		struct way *w = &t->ways[i];
		op_init(&w->recv, &t->task);
		op_init(&w->send, &t->task);
		w->from = i ? other : fd;
		w->to = i ? fd : other;
		ring_recv(&loop.ring, &w->recv, w->from);
	}
}

static void way_step(struct tunnel *t, struct way *w)
{
	struct ring *r = &loop.ring;
	if (w->send.fresh) {
		w->send.fresh = w->sending = false;
		ring_block_put(r, w->block);
		if (w->send.result <= 0)
			t->closing = true;
	}
	if (w->recv.fresh) {
		w->recv.fresh = false;
		if (w->recv.result > 0) {
			w->recv.has_block = false;
			w->block = w->recv.block;
			w->sending = true;
			ring_send(r, &w->send, w->to, ring_block(r, w->block),
				(size_t)w->recv.result);
		} else if (w->recv.result == 0) {
			w->ended = true;
			socket_shutdown_write(w->to);
		} else if (w->recv.result == -ENOBUFS) {
			ring_starve(r, &t->task);
		} else {
			t->closing = true;
		}
	}
	if (!t->closing && !w->ended && !w->sending && !w->recv.armed &&
		list_empty(&t->task.hungry))
		ring_recv(r, &w->recv, w->from);
}

static void tunnel_step(struct task *task)
{
	struct tunnel *t = CONTAINER_OF(task, struct tunnel, task);
	bool armed = false;
	for (int i = 0; i < 2; i++)
		way_step(t, &t->ways[i]);
	if (t->ways[0].ended && t->ways[1].ended && !t->ways[0].sending && !t->ways[1].sending)
		t->closing = true;
	for (int i = 0; i < 2 && t->closing; i++) {
		ring_cancel(&loop.ring, &t->ways[i].recv);
		ring_cancel(&loop.ring, &t->ways[i].send);
	}
	for (int i = 0; i < 2; i++)
		armed = armed || t->ways[i].recv.armed || t->ways[i].send.armed;
	if (!t->closing || armed)
		return;
	socket_close(t->ways[0].from);
	socket_close(t->ways[1].from);
	loop_bury(&loop, task);
}

static void tunnel_reap(struct task *task)
{
	CONTAINER_OF(task, struct tunnel, task)->freed = true;
}

static void pump(void)
{
	fake_pump(&loop, tunnel_step, tunnel_reap);
}

static void nothing_step(struct task *task)
{
}

/* --- fixture --- */

static int setup(void **state)
{
	struct ring_limits limits = {.block_bytes = 256, .block_count = 4};
	struct err err;
	fake_init();
	return loop_init(&loop, &limits, 7, &err) || ring_enable(&loop.ring, &err);
}

static int teardown(void **state)
{
	loop_done(&loop);
	fake_done();
	return 0;
}

static void assert_received(int fd, const char *text)
{
	struct str got = fake_peer_received(fd);
	assert_int_equal(got.len, strlen(text));
	assert_memory_equal(got.at, text, got.len);
}

/* --- simulated sockets --- */

static void a_tunnel_carries_bytes_both_ways_and_ends(void **state)
{
	struct tunnel t;
	int a = fake_socket(), b = fake_socket();
	tunnel_init(&t, a, b);
	fake_peer_send_text(a, "question");
	fake_peer_send_text(b, "answer");
	pump();
	assert_received(b, "question");
	assert_received(a, "answer");
	assert_int_equal(fake_ops_armed(), 2);
	fake_peer_shutdown(a);
	pump();
	assert_true(fake_peer_saw_end(b));
	assert_false(t.freed);
	fake_peer_shutdown(b);
	pump();
	assert_true(t.freed);
	assert_false(fake_is_open(a) || fake_is_open(b));
	assert_false(fake_peer_saw_reset(a));
}

static void a_far_end_that_stops_reading_stops_the_tunnel(void **state)
{
	struct tunnel t;
	int a = fake_socket(), b = fake_socket();
	char bytes[1000];
	memset(bytes, 'x', sizeof(bytes));
	tunnel_init(&t, a, b);
	fake_peer_window(b, 300);
	fake_peer_send(a, bytes, sizeof(bytes));
	pump();
	assert_int_equal(fake_peer_received(b).len, 300);
	assert_int_equal(fake_unread(a), 1000 - 512);
	fake_peer_window(b, SIZE_MAX);
	pump();
	assert_int_equal(fake_peer_received(b).len, 1000);
	fake_peer_close(a);
	fake_peer_close(b);
	pump();
	assert_true(t.freed);
}

static void a_reset_is_told_after_the_bytes_before_it(void **state)
{
	struct tunnel t;
	int a = fake_socket(), b = fake_socket();
	tunnel_init(&t, a, b);
	fake_peer_send_text(a, "last words");
	fake_peer_reset(a);
	pump();
	assert_received(b, "last words");
	assert_true(t.freed);
}

static void a_closed_far_end_answers_a_send_with_a_reset(void **state)
{
	struct task task;
	struct op op;
	int fd = fake_socket();
	task_init(&task, 0);
	op_init(&op, &task);
	fake_peer_close(fd);
	static const int32_t results[] = {1, -EPIPE, -EPIPE};
	for (size_t i = 0; i < ARRAY_LEN(results); i++) {
		ring_send(&loop.ring, &op, fd, "x", 1);
		fake_pump(&loop, nothing_step, NULL);
		assert_int_equal(op.result, results[i]);
	}
	assert_received(fd, "");
	socket_close(fd);
}

static void how_a_socket_was_closed_can_be_seen(void **state)
{
	int fin = fake_socket(), reset = fake_socket(), unread = fake_socket();
	socket_close(fin);
	assert_true(fake_peer_saw_end(fin));
	assert_false(fake_peer_saw_reset(fin));
	socket_linger_reset(reset);
	socket_close(reset);
	assert_false(fake_peer_saw_end(reset));
	assert_true(fake_peer_saw_reset(reset));
	fake_peer_send_text(unread, "never read");
	socket_close(unread);
	assert_true(fake_peer_saw_reset(unread));
}

static void linked_sockets_are_one_connection(void **state)
{
	/* far a - [a, b] - [c, d] - far d: two tunnels in a row */
	struct tunnel first, second;
	int a = fake_socket(), b = fake_socket(), c = fake_socket(), d = fake_socket();
	fake_link(b, c);
	tunnel_init(&first, a, b);
	tunnel_init(&second, c, d);
	fake_peer_send_text(a, "all the way");
	fake_peer_shutdown(a);
	pump();
	assert_received(d, "all the way");
	assert_true(fake_peer_saw_end(d));
	fake_peer_send_text(d, "and back");
	fake_peer_shutdown(d);
	pump();
	assert_received(a, "and back");
	assert_true(first.freed && second.freed);
}

static void packets_keep_their_boundaries(void **state)
{
	struct task task;
	struct op op;
	char bytes[8];
	int fd = fake_socket();
	task_init(&task, 0);
	op_init(&op, &task);
	fake_socket_packets(fd);
	fake_peer_send_text(fd, "one");
	fake_peer_send_text(fd, "much too long");
	fake_peer_send_text(fd, "three");
	static const int32_t results[] = {3, 8, 5};
	for (size_t i = 0; i < ARRAY_LEN(results); i++) {
		ring_read(&loop.ring, &op, fd, bytes, sizeof(bytes));
		fake_pump(&loop, nothing_step, NULL);
		assert_int_equal(op.result, results[i]);
	}
	assert_int_equal(fake_unread(fd), 0);
	socket_close(fd);
}

static void connects_follow_their_rules(void **state)
{
	struct task task;
	struct op op, accept;
	int32_t backlog[RING_TURN_MAX];
	struct address at[4];
	task_init(&task, 0);
	op_init(&op, &task);
	op_init(&accept, &task);
	accept.backlog = backlog;
	int listener = fake_listener();
	for (uint16_t i = 0; i < 4; i++)
		at[i] = (struct address){.family = AF_INET, .ip = {10, 0, 0, 1}, .port = i};
	fake_connect_rule(&at[0], -ECONNREFUSED);
	fake_connect_rule(&at[1], FAKE_PENDING);
	fake_connect_listener(&at[2], listener);
	ring_accept(&loop.ring, &accept, listener);

	static const int32_t results[] = {-ECONNREFUSED, -ECANCELED, 0, 0};
	for (uint32_t i = 0; i < 4; i++) {
		struct sockaddr_storage s;
		address_to_sockaddr(&at[i], &s);
		int fd = socket_open(AF_INET);
		assert_int_equal(fake_opened(i), fd);
		ring_connect(&loop.ring, &op, fd, &s);
		fake_pump(&loop, nothing_step, NULL);
		assert_int_equal(op.armed, i == 1);
		ring_cancel(&loop.ring, &op);
		fake_pump(&loop, nothing_step, NULL);
		assert_int_equal(op.result, results[i]);
		struct address to = fake_connected_to(fd);
		assert_true(address_equal(&to, &at[i]));
		if (i == 2) {
			assert_int_equal(accept.backlog_len, 1);
			ring_send(&loop.ring, &op, backlog[0], "hi", 2);
			fake_pump(&loop, nothing_step, NULL);
			assert_int_equal(fake_unread(fd), 2);
			socket_close(backlog[0]);
		}
		socket_close(fd);
	}
	fake_open_fails(1, -EMFILE);
	assert_int_equal(socket_open(AF_INET), -EMFILE);
	assert_int_equal(fake_opened_count(), 4);
	ring_cancel(&loop.ring, &accept);
	fake_pump(&loop, nothing_step, NULL);
	assert_false(accept.armed);
	socket_close(listener);
}

static void what_the_test_sets_is_what_the_socket_says(void **state)
{
	struct address a = {.family = AF_INET, .ip = {10, 1, 2, 3}, .port = 81}, b;
	int listener = fake_listener(), fd = fake_dial(listener);
	fake_set_mark(fd, 77);
	assert_int_equal(socket_mark(fd), 77);
	fake_set_original_dst(fd, &a);
	assert_int_equal(socket_original_dst(fd, AF_INET, &b), 0);
	assert_true(address_equal(&a, &b));
	assert_int_equal(socket_original_dst(fd, AF_INET6, &b), -ENOENT);
	fake_set_original_dst(fd, NULL);
	assert_int_equal(socket_original_dst(fd, AF_INET, &b), -ENOENT);
	fake_set_peer(fd, &a);
	assert_int_equal(socket_peer(fd, &b), 0);
	assert_true(address_equal(&a, &b));
	socket_close(listener); /* resets what waits in its queue */
	assert_true(fake_peer_saw_reset(fd));
	assert_int_equal(fake_open_count(), 0);
}

/* --- the script --- */

static void a_script_completes_in_any_order_with_any_result(void **state)
{
	struct task task;
	struct op recv, send, accept;
	int32_t backlog[RING_TURN_MAX];
	task_init(&task, 0);
	op_init(&recv, &task);
	op_init(&send, &task);
	op_init(&accept, &task);
	accept.backlog = backlog;
	ring_recv(&loop.ring, &recv, 5); /* fds that the table does not have */
	ring_send(&loop.ring, &send, 5, "abc", 3);
	ring_accept(&loop.ring, &accept, 6);
	ring_cancel(&loop.ring, &recv);
	ring_cancel(&loop.ring, &send);
	fake_pump(&loop, nothing_step, NULL);
	assert_int_equal(fake_ops_armed(), 3); /* a cancel alone ends nothing here */

	fake_accept(&accept, 41);
	fake_fail(&send, -ECANCELED);
	fake_complete_recv(&recv, "won", 3); /* the cancel came too late */
	fake_accept(&accept, 42);
	assert_true(recv.armed); /* until the loop records it */
	fake_pump(&loop, nothing_step, NULL);
	assert_int_equal(send.result, -ECANCELED);
	assert_int_equal(recv.result, 3);
	assert_memory_equal(ring_block(&loop.ring, recv.block), "won", 3);
	ring_block_put(&loop.ring, recv.block);
	assert_true(accept.armed);
	assert_int_equal(accept.backlog_len, 2);
	assert_int_equal(backlog[1], 42);
	fake_complete(&accept, -EMFILE);
	fake_pump(&loop, nothing_step, NULL);
	assert_false(accept.armed);
	assert_int_equal(accept.result, -EMFILE);
}

/* --- faults: the tunnel survives each of them at each operation --- */

static void run_tunnel_with(enum fake_kind kind, uint32_t nth, enum fake_fault fault)
{
	struct tunnel t;
	assert_int_equal(setup(NULL), 0);
	int a = fake_socket(), b = fake_socket();
	fake_fault(kind, nth, fault);
	tunnel_init(&t, a, b);
	fake_peer_send_text(a, "one");
	pump();
	fake_peer_send_text(b, "two");
	pump();
	fake_release();
	fake_peer_shutdown(a);
	fake_peer_shutdown(b);
	pump();
	assert_int_equal(fake_faults_left(), 0);
	assert_true(t.freed);
	if (fault != FAKE_FAULT_RESET && fault != FAKE_FAULT_SHORT) {
		assert_received(b, "one");
		assert_received(a, "two");
	}
	assert_int_equal(teardown(NULL), 0);
}

static void every_fault_at_every_operation(void **state)
{
	for (uint32_t nth = 1; nth <= 4; nth++) {
		for (int fault = 0; fault < FAKE_FAULT_COUNT; fault++)
			run_tunnel_with(FAKE_RECV, nth, (enum fake_fault)fault);
	}
	for (uint32_t nth = 1; nth <= 2; nth++) {
		for (int fault = 0; fault < FAKE_FAULT_COUNT; fault++)
			run_tunnel_with(FAKE_SEND, nth, (enum fake_fault)fault);
	}
}

static void a_late_operation_outlives_cancel_and_shutdown(void **state)
{
	struct task task;
	struct op op;
	int fd = fake_socket();
	task_init(&task, 0);
	op_init(&op, &task);
	fake_fault(FAKE_RECV, 1, FAKE_FAULT_LATE);
	ring_recv(&loop.ring, &op, fd);
	ring_cancel(&loop.ring, &op);
	socket_shutdown(fd);
	fake_pump(&loop, nothing_step, NULL);
	assert_true(op.armed);
	fake_release();
	fake_pump(&loop, nothing_step, NULL);
	assert_int_equal(op.result, -ECANCELED);
	socket_close(fd);
}

static void a_cancel_that_loses_brings_the_bytes(void **state)
{
	struct task task;
	struct op op;
	int fd = fake_socket();
	task_init(&task, 0);
	op_init(&op, &task);
	fake_fault(FAKE_RECV, 1, FAKE_FAULT_CANCEL_LOSES);
	ring_recv(&loop.ring, &op, fd);
	fake_peer_send_text(fd, "x");
	ring_cancel(&loop.ring, &op);
	fake_pump(&loop, nothing_step, NULL);
	assert_int_equal(op.result, 1);
	ring_block_put(&loop.ring, op.block);
	socket_close(fd);
}

static void chaos_loses_nothing_and_repeats(void **state)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		uint64_t turns[2];
		for (int again = 0; again < 2; again++) {
			struct tunnel t, u;
			char bytes[3000];
			assert_int_equal(setup(NULL), 0);
			fake_chaos(seed);
			for (size_t i = 0; i < sizeof(bytes); i++)
				bytes[i] = (char)fake_ops_count(FAKE_RECV) + (char)(i * 7);
			int a = fake_socket(), b = fake_socket();
			int c = fake_socket(), d = fake_socket();
			fake_link(b, c);
			tunnel_init(&t, a, b);
			tunnel_init(&u, c, d);
			fake_peer_send(a, bytes, sizeof(bytes));
			fake_peer_shutdown(a);
			fake_peer_send(d, bytes, 500);
			fake_peer_shutdown(d);
			pump();
			assert_int_equal(fake_peer_received(d).len, sizeof(bytes));
			assert_memory_equal(fake_peer_received(d).at, bytes, sizeof(bytes));
			assert_int_equal(fake_peer_received(a).len, 500);
			assert_true(t.freed && u.freed);
			turns[again] = loop.turn_count;
			assert_int_equal(teardown(NULL), 0);
		}
		assert_int_equal(turns[0], turns[1]);
	}
}

/* --- time --- */

static uint64_t fired_at[4];
static uint32_t fired_count;
static struct timer again;

static void again_step(struct task *task)
{
	again.fired = false;
	fired_at[fired_count++] = loop.now_ns;
	timer_set(&loop, &again, loop.now_ns + 3 * CLOCK_S);
}

static void time_stops_at_every_timer(void **state)
{
	struct task task;
	task_init(&task, 0);
	timer_init(&again, &task);
	uint64_t start = loop.now_ns;
	fired_count = 0;
	timer_set(&loop, &again, start + 3 * CLOCK_S);
	fake_run(&loop, again_step, NULL, 10 * CLOCK_S);
	assert_int_equal(fired_count, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(fired_at[i], start + (i + 1) * 3 * CLOCK_S);
	assert_int_equal(loop.now_ns, start + 10 * CLOCK_S);
	timer_clear(&loop, &again);
}

/* --- complaints --- */

static void closing_under_an_armed_operation_is_a_complaint(void **state)
{
	struct task task;
	struct op op;
	int fd = fake_socket();
	task_init(&task, 0);
	op_init(&op, &task);
	ring_recv(&loop.ring, &op, fd);
	socket_close(fd);
	assert_non_null(fake_complaint());
	ring_cancel(&loop.ring, &op);
	fake_pump(&loop, nothing_step, NULL);
	assert_false(op.armed);
	assert_null(fake_complaint());
}

static void using_a_closed_socket_is_a_complaint(void **state)
{
	int fd = fake_socket();
	socket_close(fd);
	assert_null(fake_complaint());
	socket_close(fd);
	assert_non_null(fake_complaint());
	socket_shutdown(fd);
	assert_non_null(fake_complaint());
	socket_close(3);
	assert_non_null(fake_complaint());
}

static void giving_a_block_back_twice_is_a_complaint(void **state)
{
	struct task task;
	struct op op;
	int fd = fake_socket();
	task_init(&task, 0);
	op_init(&op, &task);
	fake_peer_send_text(fd, "x");
	ring_recv(&loop.ring, &op, fd);
	fake_pump(&loop, nothing_step, NULL);
	ring_block_put(&loop.ring, op.block);
	assert_null(fake_complaint());
	ring_block_put(&loop.ring, op.block);
	assert_non_null(fake_complaint());
	socket_close(fd);
}

static void busy_step(struct task *task)
{
	loop_ready(&loop, task);
}

static void a_loop_that_is_never_quiet_is_a_complaint(void **state)
{
	struct task task;
	task_init(&task, 0);
	loop_ready(&loop, &task);
	fake_pump(&loop, busy_step, NULL);
	assert_non_null(fake_complaint());
	loop_bury(&loop, &task);
	loop_dead(&loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_tunnel_carries_bytes_both_ways_and_ends),
		TEST(a_far_end_that_stops_reading_stops_the_tunnel),
		TEST(a_reset_is_told_after_the_bytes_before_it),
		TEST(a_closed_far_end_answers_a_send_with_a_reset),
		TEST(how_a_socket_was_closed_can_be_seen),
		TEST(linked_sockets_are_one_connection),
		TEST(packets_keep_their_boundaries),
		TEST(connects_follow_their_rules),
		TEST(what_the_test_sets_is_what_the_socket_says),
		TEST(a_script_completes_in_any_order_with_any_result),
		cmocka_unit_test(every_fault_at_every_operation),
		TEST(a_late_operation_outlives_cancel_and_shutdown),
		TEST(a_cancel_that_loses_brings_the_bytes),
		cmocka_unit_test(chaos_loses_nothing_and_repeats),
		TEST(time_stops_at_every_timer),
		TEST(closing_under_an_armed_operation_is_a_complaint),
		TEST(using_a_closed_socket_is_a_complaint),
		TEST(giving_a_block_back_twice_is_a_complaint),
		TEST(a_loop_that_is_never_quiet_is_a_complaint),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
