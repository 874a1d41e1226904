/* SPDX-License-Identifier: Apache-2.0 */
/* What the ring answers in the life of a connection. Built twice, with the kernel and with the
 * simulated one: each answer that a step function's test relies on is one that the kernel gives. */
#include "base/clock.h"
#include "far.h"
#include "net/socket.h"
#include "ring/loop.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LARGE (32u << 20) /* more than all buffers on the way */

static struct loop loop;
static struct task task;
static struct op op, other;
static int fd;

static int setup(void **state)
{
	struct ring_limits limits = {
		.entries = 8, .completions = 64, .block_bytes = 4096, .block_count = 4};
	struct err err;
	far_init();
	task_init(&task, 0);
	op_init(&op, &task);
	op_init(&other, &task);
	return loop_init(&loop, &limits, 1, &err) || ring_enable(&loop.ring, &err);
}

static int teardown(void **state)
{
	socket_close(fd);
	loop_done(&loop);
	far_done();
	return 0;
}

static void turn(void)
{
	loop_ready(&loop, &task); /* does not wait */
	loop_wait(&loop);
	while (loop_next(&loop)) {
	}
}

/* Turns until the op is over; still armed after the patience is gone. */
static void settle(struct op *o)
{
	for (unsigned i = 0; o->armed; i++) {
		turn();
		if (o->armed && !far_is_patient(i))
			return;
	}
}

static int32_t result_of(struct op *o)
{
	settle(o);
	assert_false(o->armed);
	if (o->has_block) {
		o->has_block = false;
		ring_block_put(&loop.ring, o->block);
	}
	return o->result;
}

static int32_t recv_now(void)
{
	ring_recv(&loop.ring, &op, fd);
	return result_of(&op);
}

static int32_t send_now(void)
{
	ring_send(&loop.ring, &other, fd, "x", 1);
	return result_of(&other);
}

static void a_receive_waits_for_bytes(void **state)
{
	fd = far_tcp();
	ring_recv(&loop.ring, &op, fd);
	settle(&op);
	assert_true(op.armed);
	far_send("abc", 3);
	assert_int_equal(result_of(&op), 3);
}

/* What a stream's blocks hold, put behind each other; they go back. */
static size_t take_blocks(char *into)
{
	size_t len, sum = 0;
	while ((len = ring_stream_len(&loop.ring, &op)) > 0) {
		memcpy(into + sum, ring_block(&loop.ring, op.block), len);
		ring_block_put(&loop.ring, ring_stream_take(&loop.ring, &op));
		sum += len;
	}
	return sum;
}

static void a_stream_goes_on(void **state)
{
	char bytes[64];
	if (!loop.ring.can_stream)
		skip();
	fd = far_tcp();
	ring_stream(&loop.ring, &op, fd, 4, 10);
	for (int i = 0; i < 3; i++) {
		far_send("abc", 3);
		settle(&op);
		assert_true(op.armed && op.fresh);
		assert_int_equal(op.result, 3);
		assert_int_equal(take_blocks(bytes), 3);
		assert_memory_equal(bytes, "abc", 3);
		op.fresh = false;
	}
	far_send("defghi", 6); /* one byte was left: one block of four fits, no more */
	settle(&op);
	assert_false(op.armed);
	assert_int_equal(op.result, 4);
	assert_int_equal(take_blocks(bytes), 4);
	assert_memory_equal(bytes, "defg", 4);
	assert_int_equal(recv_now(), 2);
}

static void a_stream_ends_behind_its_bytes(void **state)
{
	char bytes[64];
	if (!loop.ring.can_stream)
		skip();
	fd = far_tcp();
	far_send("abcdef", 6);
	far_shutdown();
	ring_stream(&loop.ring, &op, fd, 4, 100);
	settle(&op);
	assert_false(op.armed);
	assert_int_equal(op.result, 0);
	assert_int_equal(take_blocks(bytes), 6);
	assert_memory_equal(bytes, "abcdef", 6);
}

static void a_cancelled_stream_keeps_its_bytes(void **state)
{
	char bytes[64];
	fd = far_tcp();
	ring_stream(&loop.ring, &op, fd, 4, 100);
	far_send("abc", 3);
	settle(&op);
	ring_cancel(&loop.ring, &op);
	settle(&op);
	assert_false(op.armed);
	assert_int_equal(op.result, loop.ring.can_stream ? -ECANCELED : 3);
	assert_int_equal(take_blocks(bytes), 3);
}

static void a_receive_says_whether_there_is_more(void **state)
{
	char bytes[4];
	fd = far_tcp();
	far_send("abcdefgh", 8);
	ring_recv_into(&loop.ring, &op, fd, bytes, sizeof(bytes));
	assert_int_equal(result_of(&op), 4);
	assert_memory_equal(bytes, "abcd", 4);
	assert_true(op.more);
	ring_recv_into(&loop.ring, &op, fd, bytes, sizeof(bytes));
	assert_false(op.more);
	assert_int_equal(result_of(&op), 4);
	assert_memory_equal(bytes, "efgh", 4);
	assert_false(op.more);
	far_send("abc", 3);
	ring_stream(&loop.ring, &op, fd, 2, 0);
	settle(&op);
	assert_true(op.more);
	ring_block_put(&loop.ring, ring_stream_take(&loop.ring, &op));
	far_shutdown();
	ring_recv_into(&loop.ring, &op, fd, bytes, sizeof(bytes));
	assert_int_equal(result_of(&op), 1);
	ring_recv_into(&loop.ring, &op, fd, bytes, sizeof(bytes));
	assert_int_equal(result_of(&op), 0);
}

/* As on a kernel before 6.17. */
static void a_stream_that_cannot_go_on_ends(void **state)
{
	char bytes[64];
	fd = far_tcp();
	loop.ring.can_stream = false;
	for (int i = 0; i < 2; i++) {
		ring_stream(&loop.ring, &op, fd, 4, 100);
		far_send("abcdef", 6);
		settle(&op);
		assert_false(op.armed);
		assert_int_equal(op.result, 6);
		assert_int_equal(take_blocks(bytes), 6);
	}
	ring_stream(&loop.ring, &op, fd, 4, 0); /* a limit of its own is kept */
	far_send("abcdef", 6);
	settle(&op);
	assert_false(op.armed);
	assert_int_equal(take_blocks(bytes), 4);
}

static void a_stream_without_blocks_ends(void **state)
{
	char bytes[64];
	if (!loop.ring.can_stream)
		skip();
	fd = far_tcp();
	uint32_t count = loop.ring.limits.block_count;
	ring_stream(&loop.ring, &op, fd, 1, 1000);
	for (uint32_t i = 0; i <= count; i++)
		far_send("x", 1);
	settle(&op);
	assert_false(op.armed);
	assert_int_equal(op.result, -ENOBUFS);
	assert_int_equal(loop.ring.blocks_out, count);
	assert_int_equal(take_blocks(bytes), count);
	assert_int_equal(recv_now(), 1);
}

static void the_end_of_stream_is_told_again_and_again(void **state)
{
	fd = far_tcp();
	far_send("abc", 3);
	far_shutdown();
	assert_int_equal(recv_now(), 3);
	assert_int_equal(recv_now(), 0);
	assert_int_equal(recv_now(), 0);
	assert_int_equal(send_now(), 1); /* only half closed */
}

static void a_reset_is_told_once(void **state)
{
	fd = far_tcp();
	ring_recv(&loop.ring, &op, fd);
	settle(&op);
	far_reset();
	assert_int_equal(result_of(&op), -ECONNRESET);
	assert_int_equal(recv_now(), 0);
	assert_int_equal(send_now(), -EPIPE);
}

static void a_reset_comes_after_the_bytes_before_it(void **state)
{
	fd = far_tcp();
	far_send("abc", 3);
	far_reset();
	assert_int_equal(recv_now(), 3);
	assert_int_equal(recv_now(), -ECONNRESET);
}

static void a_send_after_a_reset_says_so(void **state)
{
	fd = far_tcp();
	far_reset();
	assert_int_equal(send_now(), -ECONNRESET);
	assert_int_equal(send_now(), -EPIPE);
	assert_int_equal(recv_now(), 0);
}

static void a_send_to_a_closed_far_end_is_the_last(void **state)
{
	fd = far_tcp();
	far_close();
	assert_int_equal(recv_now(), 0);
	assert_int_equal(send_now(), 1);
	assert_int_equal(send_now(), -EPIPE);
	assert_int_equal(recv_now(), 0);
}

static void a_shutdown_ends_a_receive(void **state)
{
	fd = far_tcp();
	ring_recv(&loop.ring, &op, fd);
	settle(&op);
	socket_shutdown(fd);
	assert_int_equal(result_of(&op), 0);
	assert_int_equal(send_now(), -EPIPE);
}

static void a_shutdown_for_writing_leaves_the_other_way(void **state)
{
	fd = far_tcp();
	socket_shutdown_write(fd);
	assert_int_equal(send_now(), -EPIPE);
	far_send("abc", 3);
	assert_int_equal(recv_now(), 3);
}

static void a_cancelled_receive_loses_nothing(void **state)
{
	fd = far_tcp();
	ring_recv(&loop.ring, &op, fd);
	settle(&op);
	ring_cancel(&loop.ring, &op);
	assert_int_equal(result_of(&op), -ECANCELED);
	far_send("abc", 3);
	assert_int_equal(recv_now(), 3);
}

static void a_read_ends_like_a_receive(void **state)
{
	char bytes[8];
	fd = far_tcp();
	far_send("abc", 3);
	ring_read(&loop.ring, &op, fd, bytes, sizeof(bytes));
	assert_int_equal(result_of(&op), 3);
	ring_read(&loop.ring, &op, fd, bytes, sizeof(bytes));
	settle(&op);
	ring_cancel(&loop.ring, &op);
	assert_int_equal(result_of(&op), -ECANCELED);
	far_reset();
	ring_read(&loop.ring, &op, fd, bytes, sizeof(bytes));
	assert_int_equal(result_of(&op), -ECONNRESET);
}

static void a_poll_ends_when_there_is_something_to_read(void **state)
{
	fd = far_packets();
	ring_poll(&loop.ring, &op, fd);
	settle(&op);
	assert_true(op.armed);
	far_send("abc", 3);
	assert_true(result_of(&op) & POLLIN);
	ring_poll(&loop.ring, &op, fd); /* the packet is still there */
	assert_true(result_of(&op) & POLLIN);
	char bytes[8];
	ring_read(&loop.ring, &op, fd, bytes, sizeof(bytes));
	assert_int_equal(result_of(&op), 3);
	ring_poll(&loop.ring, &op, fd);
	settle(&op);
	assert_true(op.armed);
	far_close();
	assert_true(result_of(&op) & POLLIN);
}

/* Arms a send that is larger than what the far end takes. */
static uint8_t *stuck_send(void)
{
	uint8_t *bytes = calloc(1, LARGE);
	fd = far_tcp();
	far_stop_reading();
	ring_send(&loop.ring, &other, fd, bytes, LARGE);
	settle(&other);
	assert_true(other.armed);
	return bytes;
}

static void a_stuck_send_goes_on_when_the_far_end_reads(void **state)
{
	uint8_t *bytes = stuck_send();
	while (other.armed) {
		far_read_all();
		turn();
	}
	assert_int_equal(other.result, LARGE);
	free(bytes);
}

static void a_cancelled_send_tells_how_far_it_came(void **state)
{
	uint8_t *bytes = stuck_send();
	ring_cancel(&loop.ring, &other);
	assert_in_range(result_of(&other), 1, LARGE - 1);
	free(bytes);
}

static void a_shutdown_ends_a_send_where_it_is(void **state)
{
	uint8_t *bytes = stuck_send();
	socket_shutdown(fd);
	assert_in_range(result_of(&other), 1, LARGE - 1);
	assert_int_equal(send_now(), -EPIPE);
	free(bytes);
}

static void a_reset_ends_a_send_where_it_is(void **state)
{
	uint8_t *bytes = stuck_send();
	far_reset();
	assert_in_range(result_of(&other), 1, LARGE - 1);
	assert_true(send_now() < 0);
	free(bytes);
}

static void packets_are_cut_to_the_room_there_is(void **state)
{
	char bytes[8];
	static const int32_t results[] = {3, 8, 5};
	fd = far_packets();
	far_send("one", 3);
	far_send("much too long", 13);
	far_send("three", 5);
	for (size_t i = 0; i < ARRAY_LEN(results); i++) {
		ring_read(&loop.ring, &op, fd, bytes, sizeof(bytes));
		assert_int_equal(result_of(&op), results[i]);
	}
	far_close();
	ring_read(&loop.ring, &op, fd, bytes, sizeof(bytes));
	assert_int_equal(result_of(&op), 0);
}

static void a_connect_to_nobody_is_refused(void **state)
{
	struct sockaddr_storage address;
	far_nobody(&address);
	fd = socket_open(AF_INET);
	ring_connect(&loop.ring, &op, fd, &address);
	assert_int_equal(result_of(&op), -ECONNREFUSED);
}

static void without_blocks_a_receive_ends_at_once(void **state)
{
	uint16_t blocks[4];
	fd = far_tcp();
	far_send("abcd", 4);
	for (int i = 0; i < 4; i++) {
		if (i)
			far_send("abcd", 4);
		ring_recv(&loop.ring, &op, fd);
		settle(&op);
		assert_int_equal(op.result, 4);
		blocks[i] = op.block;
		op.has_block = false;
	}
	assert_int_equal(recv_now(), -ENOBUFS);
	far_send("late", 4);
	ring_block_put(&loop.ring, blocks[0]);
	assert_int_equal(recv_now(), 4);
	for (int i = 1; i < 4; i++)
		ring_block_put(&loop.ring, blocks[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_receive_waits_for_bytes),
		TEST(a_stream_goes_on),
		TEST(a_stream_ends_behind_its_bytes),
		TEST(a_cancelled_stream_keeps_its_bytes),
		TEST(a_stream_that_cannot_go_on_ends),
		TEST(a_stream_without_blocks_ends),
		TEST(a_receive_says_whether_there_is_more),
		TEST(the_end_of_stream_is_told_again_and_again),
		TEST(a_reset_is_told_once),
		TEST(a_reset_comes_after_the_bytes_before_it),
		TEST(a_send_after_a_reset_says_so),
		TEST(a_send_to_a_closed_far_end_is_the_last),
		TEST(a_shutdown_ends_a_receive),
		TEST(a_shutdown_for_writing_leaves_the_other_way),
		TEST(a_cancelled_receive_loses_nothing),
		TEST(a_read_ends_like_a_receive),
		TEST(a_poll_ends_when_there_is_something_to_read),
		TEST(a_stuck_send_goes_on_when_the_far_end_reads),
		TEST(a_cancelled_send_tells_how_far_it_came),
		TEST(a_shutdown_ends_a_send_where_it_is),
		TEST(a_reset_ends_a_send_where_it_is),
		TEST(packets_are_cut_to_the_room_there_is),
		TEST(a_connect_to_nobody_is_refused),
		TEST(without_blocks_a_receive_ends_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
