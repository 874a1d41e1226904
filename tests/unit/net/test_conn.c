/* SPDX-License-Identifier: Apache-2.0 */
/* The plain transport on a simulated kernel: an echo server made of one conn, tried with every
 * fault at every operation, on a kernel that streams and on one that does not. (TLS on it is tested
 * with real certificates in the tls room.) */
#include "fake/ring_fake.h"
#include "fake/socket_fake.h"
#include "net/conn.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define BUFFER_BYTES 20480

/* Sends back what it gets, ends when the peer has ended. */
struct echo {
	struct task task;
	struct conn conn;
	bool ended;
	bool stays;    /* writes on after the peer's end */
	bool deaf_end; /* it ended by a failure */
};

static struct loop loop;
static struct buf_pool pool;
static struct echo *echo;

static void echo_step(struct task *t)
{
	struct echo *e = CONTAINER_OF(t, struct echo, task);
	struct conn *c = &e->conn;
	if (c->state == CONN_CLOSING || c->state == CONN_CLOSED) {
		e->ended = conn_join(c);
		return;
	}
	conn_step(c);
	const uint8_t *bytes;
	size_t len;
	while (c->state == CONN_OPEN && (len = conn_input(c, &bytes)) > 0) {
		size_t used = buf_fill(&c->out, bytes, len);
		if (used == 0)
			break;
		conn_consume(c, used);
	}
	if (c->eof && !e->stays)
		c->finish = true;
	if (c->failure != CONN_FAILURE_NONE) {
		e->deaf_end = true;
		conn_close(c, true);
	} else if (c->finished && conn_drained(c)) {
		conn_close(c, false);
	} else {
		conn_flush(c);
	}
}

static uint32_t block_count = 4; /* for the tests to come */
static bool streams = true;

static void echo_start(int fd)
{
	struct ring_limits limits = {
		.entries = 64, .completions = 256, .block_bytes = 4096, .block_count = block_count};
	struct err err;
	fake_init();
	assert_int_equal(loop_init(&loop, &limits, 1, &err), 0);
	loop.ring.can_stream = streams;
	buf_pool_init(&pool, BUFFER_BYTES, 16);
	echo = calloc(1, sizeof(*echo));
	task_init(&echo->task, 1);
	conn_init(&echo->conn, &loop, &pool, &echo->task);
	if (fd >= 0)
		conn_adopt(&echo->conn, fd);
}

static void echo_begin(int *ret_fd)
{
	echo_start(-1);
	*ret_fd = fake_socket();
	conn_adopt(&echo->conn, *ret_fd);
	loop_ready(&loop, &echo->task);
	fake_pump(&loop, echo_step, NULL);
}

/* Closes what is left, whatever state it is in, and looks for anything left behind. */
static void echo_finish(void)
{
	conn_close(&echo->conn, true);
	fake_release();
	fake_pump(&loop, echo_step, NULL);
	assert_int_equal(echo->conn.state, CONN_CLOSED);
	free(echo);
	buf_pool_done(&pool);
	loop_done(&loop);
	fake_done();
}

static void test_echoes_and_passes_the_end_on(void **state)
{
	int fd;
	echo_begin(&fd);
	fake_peer_send_text(fd, "hello ");
	fake_peer_send_text(fd, "world");
	fake_pump(&loop, echo_step, NULL);
	struct str got = fake_peer_received(fd);
	assert_int_equal(got.len, 11);
	assert_memory_equal(got.at, "hello world", 11);
	assert_false(echo->ended);
	fake_peer_shutdown(fd);
	fake_pump(&loop, echo_step, NULL);
	assert_true(fake_peer_saw_end(fd));
	assert_true(echo->ended);
	assert_false(echo->deaf_end);
	echo_finish();
}

static void test_idle_holds_no_memory(void **state)
{
	int fd;
	echo_begin(&fd);
	fake_peer_send_text(fd, "x");
	fake_pump(&loop, echo_step, NULL);
	assert_int_equal(pool.block_count, 0);
	assert_int_equal(loop.ring.blocks_out, 0);
	echo_finish();
}

static void test_slow_reader_stops_the_sender(void **state)
{
	int fd;
	static char bytes[65536];
	echo_begin(&fd);
	fake_peer_window(fd, 0);
	for (int i = 0; i < 4; i++)
		fake_peer_send(fd, bytes, sizeof(bytes));
	fake_pump(&loop, echo_step, NULL);
	size_t unread = fake_unread(fd);
	assert_true(unread > 2 * sizeof(bytes)); /* nearly all is still with the sender */
	assert_true(pool.block_count <= 3);
	assert_true(loop.ring.blocks_out <= 1);
	fake_pump(&loop, echo_step, NULL);
	assert_int_equal(fake_unread(fd), unread);
	fake_peer_window(fd, SIZE_MAX);
	fake_pump(&loop, echo_step, NULL);
	assert_int_equal(fake_unread(fd), 0);
	assert_int_equal(fake_peer_received(fd).len, 4 * sizeof(bytes));
	echo_finish();
}

/* The same with a single block, which it has to copy and give back. */
static void test_block_is_given_back_when_there_are_few(void **state)
{
	int fd;
	static char bytes[65536];
	block_count = 1;
	echo_begin(&fd);
	fake_peer_window(fd, 0);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7 + (i >> 8));
	fake_peer_send(fd, bytes, sizeof(bytes));
	fake_peer_shutdown(fd);
	fake_pump(&loop, echo_step, NULL);
	assert_true(fake_unread(fd) > 0);
	assert_true(echo->conn.block_kept);
	assert_int_equal(loop.ring.blocks_out, 0);
	fake_peer_window(fd, SIZE_MAX);
	fake_pump(&loop, echo_step, NULL);
	assert_int_equal(fake_peer_received(fd).len, sizeof(bytes));
	assert_memory_equal(fake_peer_received(fd).at, bytes, sizeof(bytes));
	assert_true(echo->ended);
	assert_int_equal(pool.block_count, 0);
	echo_finish();
	block_count = 4;
}

static void test_one_receive_for_many_small_messages(void **state)
{
	int fd;
	echo_begin(&fd);
	for (int i = 0; i < 20; i++) {
		fake_peer_send_text(fd, "0123456789");
		fake_pump(&loop, echo_step, NULL);
	}
	assert_int_equal(fake_peer_received(fd).len, 200);
	assert_int_equal(fake_ops_count(FAKE_RECV), streams ? 1 : 21);
	assert_int_equal(loop.ring.blocks_out, 0);
	echo_finish();
}

/* A sender that a reader has stopped goes on in small pieces: none of them may keep a block. */
static void test_dribble_behind_a_slow_reader(void **state)
{
	int fd;
	char bytes[BUFFER_BYTES + 300];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7 + (i >> 8));
	echo_begin(&fd);
	fake_peer_window(fd, 0);
	fake_peer_send(fd, bytes, BUFFER_BYTES);
	fake_pump(&loop, echo_step, NULL);
	for (size_t i = BUFFER_BYTES; i < sizeof(bytes); i++) {
		fake_peer_send(fd, &bytes[i], 1);
		fake_pump(&loop, echo_step, NULL);
		assert_true(loop.ring.blocks_out <= 2);
	}
	fake_peer_shutdown(fd);
	fake_pump(&loop, echo_step, NULL);
	fake_peer_window(fd, SIZE_MAX);
	fake_pump(&loop, echo_step, NULL);
	assert_int_equal(fake_peer_received(fd).len, sizeof(bytes));
	assert_memory_equal(fake_peer_received(fd).at, bytes, sizeof(bytes));
	assert_true(echo->ended);
	echo_finish();
}

/* Everything one arming may bring, in pieces that came one by one, nothing of it used. */
static void hoard_step(struct task *t)
{
	conn_step(&echo->conn);
	if (!echo->conn.block_held || ring_blocks_short(&loop.ring))
		conn_flush(&echo->conn);
}

static void test_unused_pieces_are_kept_in_order(void **state)
{
	int fd;
	char bytes[40];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)('a' + i);
	echo_begin(&fd);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		fake_peer_send(fd, &bytes[i], 1);
		fake_pump(&loop, hoard_step, NULL);
		assert_true(loop.ring.blocks_out <= 2);
	}
	fake_peer_shutdown(fd);
	fake_pump(&loop, hoard_step, NULL);
	assert_false(echo->conn.eof);
	assert_int_equal(fake_unread(fd), streams ? 0 : sizeof(bytes) - 1);
	loop_ready(&loop, &echo->task);
	fake_pump(&loop, echo_step, NULL);
	assert_int_equal(fake_peer_received(fd).len, sizeof(bytes));
	assert_memory_equal(fake_peer_received(fd).at, bytes, sizeof(bytes));
	assert_true(echo->ended);
	assert_int_equal(pool.block_count, 0);
	echo_finish();
}

/* Closed while pieces wait: all memory goes back. */
static void test_unused_pieces_are_dropped(void **state)
{
	int fd;
	echo_begin(&fd);
	for (int i = 0; i < 20; i++) {
		fake_peer_send_text(fd, "x");
		fake_pump(&loop, hoard_step, NULL);
	}
	fake_peer_send_text(fd, "last");
	loop_wait(&loop); /* recorded, not taken */
	echo_finish();
}

enum { TASK_ECHO = 1, TASK_TWO };

struct two {
	struct task task;
	struct conn conns[2];
};

/* The echo's conn keeps the block that it gets. */
static void two_step(struct task *t)
{
	if (t->kind == TASK_ECHO) {
		conn_step(&echo->conn);
		if (!echo->conn.block_held)
			conn_flush(&echo->conn);
		return;
	}
	struct two *two = CONTAINER_OF(t, struct two, task);
	for (int i = 0; i < 2; i++) {
		conn_step(&two->conns[i]);
		conn_flush(&two->conns[i]);
	}
}

/* An owner of two conns that both want a block: the miss of one must not make the other try again,
 * or they keep each other awake. */
static void test_two_that_starve_are_quiet(void **state)
{
	static struct two two;
	block_count = 1;
	echo_start(-1);
	conn_adopt(&echo->conn, fake_socket());
	task_init(&two.task, TASK_TWO);
	for (int i = 0; i < 2; i++) {
		conn_init(&two.conns[i], &loop, &pool, &two.task);
		conn_adopt(&two.conns[i], fake_socket());
	}
	loop_ready(&loop, &echo->task);
	loop_ready(&loop, &two.task);
	fake_pump(&loop, two_step, NULL);
	fake_peer_send_text(echo->conn.fd, "x");
	fake_pump(&loop, two_step, NULL);
	assert_true(echo->conn.block_held);

	uint32_t before = fake_ops_count(FAKE_RECV);
	for (int turn = 0; turn < 50; turn++) {
		struct task *t;
		if (turn == 10 || turn == 20) /* one after the other */
			fake_peer_send_text(two.conns[turn / 20].fd, "x");
		loop_wait(&loop);
		while ((t = loop_next(&loop)))
			two_step(t);
	}
	assert_int_equal(fake_ops_count(FAKE_RECV), before);

	for (int i = 0; i < 2; i++) {
		conn_close(&two.conns[i], true);
		assert_true(conn_join(&two.conns[i]));
	}
	list_remove(&two.task.hungry);
	echo_finish();
	block_count = 4;
}

static void test_reset_is_a_failure(void **state)
{
	int fd;
	echo_begin(&fd);
	fake_peer_reset(fd);
	fake_pump(&loop, echo_step, NULL);
	assert_true(echo->ended);
	assert_true(echo->deaf_end);
	assert_int_equal(echo->conn.failure, CONN_FAILURE_RESET);
	echo_finish();
}

/* The send that finds the peer gone may be all that ever tells, once its end was received. */
static void test_reset_after_half_close_is_found_by_a_send(void **state)
{
	int fd;
	echo_begin(&fd);
	echo->stays = true;
	fake_fault(FAKE_WATCH, 1, FAKE_FAULT_LATE);
	fake_fault(FAKE_SEND, 1, FAKE_FAULT_SHORT);
	fake_peer_shutdown(fd);
	fake_pump(&loop, echo_step, NULL);
	assert_false(echo->deaf_end);
	assert_true(buf_put(&echo->conn.out, "more", 4));
	loop_ready(&loop, &echo->task);
	fake_pump(&loop, echo_step, NULL);
	assert_true(echo->deaf_end);
	assert_int_equal(echo->conn.failure, CONN_FAILURE_RESET);
	echo_finish();
}

static void test_abort_sends_a_reset(void **state)
{
	int fd;
	echo_begin(&fd);
	conn_close(&echo->conn, true);
	conn_close(&echo->conn, false); /* any number of times */
	fake_pump(&loop, echo_step, NULL);
	assert_true(fake_peer_saw_reset(fd));
	echo_finish();
}

static void test_gather_keeps_what_is_not_enough(void **state)
{
	int fd;
	const uint8_t *bytes;
	echo_begin(&fd);
	/* a step that only looks */
	fake_peer_send_text(fd, "ab");
	loop_wait(&loop);
	while (loop_next(&loop))
		conn_step(&echo->conn);
	assert_int_equal(conn_input(&echo->conn, &bytes), 2);
	assert_true(conn_gather(&echo->conn));
	conn_flush(&echo->conn);
	fake_peer_send_text(fd, "cd");
	loop_wait(&loop);
	while (loop_next(&loop))
		conn_step(&echo->conn);
	assert_true(conn_gather(&echo->conn));
	assert_int_equal(conn_input(&echo->conn, &bytes), 4);
	assert_memory_equal(bytes, "abcd", 4);
	echo_finish();
}

static void test_connect_refused_and_connected(void **state)
{
	struct address there = {.family = AF_INET, .ip = {10, 0, 0, 1}, .port = 80};
	echo_start(-1);
	fake_connect_rule(&there, -ECONNREFUSED);
	assert_int_equal(conn_dial(&echo->conn, &there), 0);
	fake_pump(&loop, echo_step, NULL);
	assert_int_equal(echo->conn.failure, CONN_FAILURE_CONNECT);
	assert_int_equal(echo->conn.error, ECONNREFUSED);
	echo_finish();

	echo_start(-1);
	assert_int_equal(conn_dial(&echo->conn, &there), 0);
	fake_pump(&loop, echo_step, NULL);
	assert_int_equal(echo->conn.state, CONN_OPEN);
	echo_finish();

	echo_start(-1);
	fake_connect_rule(&there, FAKE_PENDING);
	assert_int_equal(conn_dial(&echo->conn, &there), 0);
	fake_pump(&loop, echo_step, NULL);
	assert_int_equal(echo->conn.state, CONN_CONNECTING);
	echo_finish();

	echo_start(-1);
	fake_open_fails(1, -EMFILE);
	assert_int_equal(conn_dial(&echo->conn, &there), -EMFILE);
	echo_finish();
}

static void test_buffers_exhausted(void **state)
{
	int fd;
	echo_begin(&fd);
	pool.block_count_max = 0;
	fake_peer_send_text(fd, "hello");
	fake_pump(&loop, echo_step, NULL);
	assert_int_equal(fake_peer_received(fd).len, 0);
	assert_int_equal(echo->conn.failure, CONN_FAILURE_NONE);
	echo_finish();
}

#define CONVERSE_BYTES 20003

/* One conversation; how it must end depends on the fault. */
static void converse(int fd)
{
	static char bytes[CONVERSE_BYTES - 3];
	fake_pump(&loop, echo_step, NULL);
	fake_peer_send(fd, bytes, sizeof(bytes));
	fake_pump(&loop, echo_step, NULL);
	fake_peer_send_text(fd, "end");
	fake_peer_shutdown(fd);
	fake_pump(&loop, echo_step, NULL);
	fake_run(&loop, echo_step, NULL, CLOCK_S);
}

static void test_every_fault_at_every_operation(void **state)
{
	int fd;
	echo_begin(&fd);
	converse(fd);
	uint32_t counts[FAKE_KIND_COUNT];
	for (int kind = 0; kind < FAKE_KIND_COUNT; kind++)
		counts[kind] = fake_ops_count((enum fake_kind)kind);
	assert_true(counts[FAKE_RECV] > 3 && counts[FAKE_SEND] > 1);
	echo_finish();

	for (int kind = 0; kind < FAKE_KIND_COUNT; kind++) {
		for (uint32_t n = 1; n <= counts[kind]; n++) {
			for (int fault = 1; fault < FAKE_FAULT_COUNT; fault++) {
				echo_start(-1);
				fake_fault((enum fake_kind)kind, n, (enum fake_fault)fault);
				fd = fake_socket();
				conn_adopt(&echo->conn, fd);
				loop_ready(&loop, &echo->task);
				converse(fd);
				bool fatal = fault == FAKE_FAULT_RESET ||
					     fault == FAKE_FAULT_LATE ||
					     (fault == FAKE_FAULT_SHORT && kind == FAKE_SEND);
				if (!fatal)
					assert_int_equal(
						fake_peer_received(fd).len, CONVERSE_BYTES);
				echo_finish(); /* late completion after close included */
			}
		}
	}
}

static void test_chaos(void **state)
{
	for (uint64_t seed = 1; seed < 200; seed++) {
		int fd;
		echo_start(-1);
		fake_chaos(seed);
		fd = fake_socket();
		conn_adopt(&echo->conn, fd);
		loop_ready(&loop, &echo->task);
		converse(fd);
		assert_int_equal(fake_peer_received(fd).len, CONVERSE_BYTES);
		echo_finish();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echoes_and_passes_the_end_on),
		cmocka_unit_test(test_idle_holds_no_memory),
		cmocka_unit_test(test_slow_reader_stops_the_sender),
		cmocka_unit_test(test_block_is_given_back_when_there_are_few),
		cmocka_unit_test(test_one_receive_for_many_small_messages),
		cmocka_unit_test(test_dribble_behind_a_slow_reader),
		cmocka_unit_test(test_unused_pieces_are_kept_in_order),
		cmocka_unit_test(test_unused_pieces_are_dropped),
		cmocka_unit_test(test_two_that_starve_are_quiet),
		cmocka_unit_test(test_reset_is_a_failure),
		cmocka_unit_test(test_reset_after_half_close_is_found_by_a_send),
		cmocka_unit_test(test_abort_sends_a_reset),
		cmocka_unit_test(test_gather_keeps_what_is_not_enough),
		cmocka_unit_test(test_connect_refused_and_connected),
		cmocka_unit_test(test_buffers_exhausted),
		cmocka_unit_test(test_every_fault_at_every_operation),
		cmocka_unit_test(test_chaos),
	};
	int failed = cmocka_run_group_tests_name("streaming", tests, NULL, NULL);
	streams = false;
	return failed + cmocka_run_group_tests_name("one by one", tests, NULL, NULL);
}
