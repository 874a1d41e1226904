/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends of a shared connection on a simulated kernel, plain, with channels on it: a client's end
 * that opens them, a server's that takes them. Their owners do by hand what the test says. */
#include "fake/ring_fake.h"
#include "fake/socket_fake.h"
#include "net/channel.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define BUFFER_BYTES 20480
#define ENDS_MAX     300

enum task_kind { TASK_SHARED = 1, TASK_END };

struct shared {
	struct task task;
	struct conn conn;
	struct channels channels;
	struct pool pool;
	bool refuses;
	bool there; /* else its place is the test's */
	bool stuck; /* does nothing for now */
	bool over, closed;
	enum channels_fault fault;
};

struct end { /* of a channel */
	struct task task;
	struct conn conn;
	bool reads;  /* takes what comes and counts it; else leaves it */
	size_t says; /* so many bytes more, as there is room */
	size_t got;
	uint8_t sum;
	size_t first_got; /* what the first taken had got when this one got something */
};

static struct loop loop;
static struct buf_pool buffers;
static struct shared client, server;
static struct end *opened[ENDS_MAX], *taken[ENDS_MAX];
static uint32_t opened_count, taken_count;
static bool take_reads;

static struct end *end_new(bool reads)
{
	struct end *e = calloc(1, sizeof(*e));
	task_init(&e->task, TASK_END);
	conn_init(&e->conn, &loop, &buffers, &e->task);
	e->reads = reads;
	return e;
}

static void shared_read(struct shared *s)
{
	enum channels_news news;
	while ((news = channels_read(&s->channels)) == CHANNELS_OFFERED) {
		if (s->refuses) {
			channels_refuse(&s->channels);
			continue;
		}
		struct end *e = taken[taken_count++] = end_new(take_reads);
		assert_true(channels_accept(&s->channels, &e->conn));
	}
	if (news == CHANNELS_BROKEN)
		s->fault = s->channels.fault;
}

static void shared_end(struct shared *s)
{
	if (s->over || !s->there)
		return;
	s->over = true;
	channels_done(&s->channels, CONN_FAILURE_RESET, ECONNRESET);
	conn_close(&s->conn, true);
}

static void shared_step(struct shared *s)
{
	if (s->over) {
		s->closed = conn_join(&s->conn);
		return;
	}
	if (s->stuck)
		return;
	conn_step(&s->conn);
	shared_read(s);
	if (s->fault != CHANNELS_FAULT_NONE || s->conn.failure != CONN_FAILURE_NONE || s->conn.eof)
		shared_end(s);
	else
		channels_flush(&s->channels);
}

static void end_take(struct end *e)
{
	const uint8_t *bytes;
	size_t len;
	while ((len = conn_input(&e->conn, &bytes)) > 0) {
		e->first_got = taken_count > 0 ? taken[0]->got : 0;
		for (size_t i = 0; i < len; i++)
			e->sum = (uint8_t)(e->sum * 31 + bytes[i]);
		e->got += len;
		conn_consume(&e->conn, len);
	}
}

static void end_say(struct end *e)
{
	static const uint8_t bytes[BUFFER_BYTES];
	e->says -= buf_fill(&e->conn.out, bytes, e->says < sizeof(bytes) ? e->says : sizeof(bytes));
}

static void end_step(struct end *e)
{
	if (e->conn.state != CONN_OPEN)
		return;
	conn_step(&e->conn);
	if (e->reads)
		end_take(e);
	if (e->says > 0)
		end_say(e);
	conn_flush(&e->conn);
}

static void step(struct task *t)
{
	if (t->kind == TASK_SHARED)
		shared_step(CONTAINER_OF(t, struct shared, task));
	else
		end_step(CONTAINER_OF(t, struct end, task));
}

static void pump(void)
{
	fake_pump(&loop, step, NULL);
}

static void shared_init(struct shared *s, int fd, bool serves)
{
	*s = (struct shared){.there = true};
	task_init(&s->task, TASK_SHARED);
	pool_init(&s->pool, sizeof(struct channel), ENDS_MAX);
	conn_init(&s->conn, &loop, &buffers, &s->task);
	conn_adopt(&s->conn, fd);
	channels_init(&s->channels, &s->conn, &s->pool, serves);
	loop_ready(&loop, &s->task);
}

static void begin_loop(void)
{
	struct ring_limits limits = {
		.entries = 64, .completions = 256, .block_bytes = 16640, .block_count = 8};
	struct err err;
	fake_init();
	opened_count = taken_count = 0;
	take_reads = true;
	assert_int_equal(loop_init(&loop, &limits, 1, &err), 0);
	buf_pool_init(&buffers, BUFFER_BYTES, 4096);
}

static void begin(void)
{
	begin_loop();
	int near = fake_socket(), far = fake_socket();
	fake_link(near, far);
	shared_init(&client, near, false);
	shared_init(&server, far, true);
	pump();
}

/* A server's end alone, whose far end is the test's. */
static int begin_server(void)
{
	begin_loop();
	int fd = fake_socket();
	shared_init(&server, fd, true);
	pump();
	return fd;
}

static void end_close(struct end *e, bool reset)
{
	conn_close(&e->conn, reset);
	assert_true(conn_join(&e->conn));
}

static void ends_free(struct end **ends, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (ends[i]->conn.state != CONN_CLOSED)
			end_close(ends[i], true);
		loop_bury(&loop, &ends[i]->task);
	}
	while (loop_dead(&loop)) {
	}
	for (uint32_t i = 0; i < count; i++)
		free(ends[i]);
}

static void shared_done(struct shared *s)
{
	if (!s->there)
		return;
	assert_true(s->closed);
	assert_int_equal(s->pool.out_count, 0);
	pool_done(&s->pool);
}

/* Closes what is left, and looks for anything left behind. */
static void finish(void)
{
	pump();
	ends_free(opened, opened_count);
	ends_free(taken, taken_count);
	pump();
	shared_end(&client);
	shared_end(&server);
	pump();
	shared_done(&client);
	shared_done(&server);
	client = server = (struct shared){0};
	buf_pool_done(&buffers);
	loop_done(&loop);
	fake_done();
}

static struct end *open_one(bool reads)
{
	struct end *e = opened[opened_count++] = end_new(reads);
	assert_true(channels_open(&client.channels, &e->conn));
	return e;
}

/* Puts what fits. */
static size_t put(struct end *e, size_t len)
{
	static uint8_t bytes[BUFFER_BYTES];
	size_t used = buf_fill(&e->conn.out, bytes, len < sizeof(bytes) ? len : sizeof(bytes));
	loop_ready(&loop, &e->task);
	return used;
}

static void say(struct end *e, const char *text)
{
	assert_true(buf_put(&e->conn.out, text, strlen(text)));
	loop_ready(&loop, &e->task);
}

static void expect_input(struct end *e, const char *text)
{
	const uint8_t *bytes;
	size_t len = conn_input(&e->conn, &bytes);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(bytes, text, len);
}

/* Keeps writing until nothing goes any more; how much that was. */
static size_t put_all(struct end *e)
{
	size_t sum = 0, used;
	while ((used = put(e, SIZE_MAX)) > 0) {
		sum += used;
		pump();
	}
	return sum;
}

/* --- bytes --- */

static void test_bytes_both_ways(void **state)
{
	begin();
	take_reads = false;
	struct end *e = open_one(false);
	say(e, "hello");
	pump();
	assert_int_equal(taken_count, 1);
	expect_input(taken[0], "hello");
	conn_consume(&taken[0]->conn, 5);
	say(taken[0], "good bye");
	pump();
	expect_input(e, "good bye");
	finish();
}

static void test_many_leave_in_one_send(void **state)
{
	begin();
	for (int i = 0; i < 64; i++)
		say(open_one(true), "a request");
	uint32_t before = fake_ops_count(FAKE_SEND);
	pump();
	assert_int_equal(fake_ops_count(FAKE_SEND), before + 1);
	assert_int_equal(taken_count, 64);
	for (uint32_t i = 0; i < 64; i++) {
		assert_int_equal(taken[i]->got, 9);
		say(taken[i], "a response");
	}
	before = fake_ops_count(FAKE_SEND);
	pump();
	assert_int_equal(fake_ops_count(FAKE_SEND), before + 1);
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(opened[i]->got, 10);
	finish();
}

static void test_much_goes_through_unchanged(void **state)
{
	begin();
	struct end *e = open_one(true);
	uint8_t sum = 0, next = 0;
	size_t want = 0;
	while (want < (3u << 20)) {
		uint8_t bytes[1000];
		for (size_t i = 0; i < sizeof(bytes); i++) {
			bytes[i] = (uint8_t)(next++ * 7 + 3);
		}
		size_t used = buf_fill(&e->conn.out, bytes, sizeof(bytes));
		for (size_t i = 0; i < used; i++)
			sum = (uint8_t)(sum * 31 + bytes[i]);
		want += used;
		loop_ready(&loop, &e->task);
		if (used < sizeof(bytes))
			pump();
	}
	pump();
	assert_int_equal(taken[0]->got, want);
	assert_int_equal(taken[0]->sum, sum);
	finish();
}

/* Ids ascend in the order in which the channels speak, not in that in which they were made. */
static void test_the_first_to_speak_is_the_first(void **state)
{
	begin();
	struct end *first = open_one(true), *second = open_one(true), *third = open_one(true);
	say(third, "three");
	pump();
	end_close(second, true); /* nobody has heard of it */
	say(first, "one");
	pump();
	assert_int_equal(taken_count, 2);
	assert_int_equal(taken[0]->got, 5);
	assert_int_equal(taken[1]->got, 3);
	assert_int_equal(server.fault, CHANNELS_FAULT_NONE);
	assert_int_equal(client.channels.live_count, 2);
	finish();
}

/* --- windows --- */

static void test_a_slow_reader_stops_its_own_channel_only(void **state)
{
	begin();
	take_reads = false;
	struct end *slow = open_one(true);
	say(slow, "x");
	pump();
	take_reads = true;
	struct end *quick = open_one(true);
	size_t sent = 1 + put_all(slow);
	/* the window, and what waits in conn->out */
	assert_int_equal(sent, FRAME_WINDOW + BUFFER_BYTES);
	assert_true(buffers.block_count <= FRAME_WINDOW / BUFFER_BYTES + 4);
	for (int i = 0; i < 100; i++) {
		put(quick, 10000);
		pump();
	}
	assert_int_equal(taken[1]->got, 1000000);
	say(taken[0], "the other way");
	pump();
	assert_int_equal(slow->got, 13);
	taken[0]->reads = true;
	loop_ready(&loop, &taken[0]->task);
	pump();
	assert_int_equal(taken[0]->got, sent);
	assert_true(put(slow, 1) > 0);
	finish();
}

/* One that has much to say does not keep another from saying little. */
static void test_turns_are_taken(void **state)
{
	begin();
	struct end *big = open_one(true), *small = open_one(true);
	say(big, "x");
	say(small, "x");
	pump();
	server.stuck = true;
	size_t sent = 1 + put_all(big);
	assert_true(sent - BUFFER_BYTES < FRAME_WINDOW); /* the connection is full */
	assert_int_equal(buf_len(&big->conn.out), BUFFER_BYTES);
	say(small, "now");
	pump();
	big->says = FRAME_WINDOW;
	server.stuck = false;
	loop_ready(&loop, &server.task);
	pump();
	assert_int_equal(taken[0]->got, sent + FRAME_WINDOW);
	assert_int_equal(taken[1]->got, 4);
	/* one turn of the big one, and what the server reads together with the small one */
	assert_true(taken[1]->first_got <= sent - BUFFER_BYTES + 2 * FRAME_DATA_MAX);
	finish();
}

/* --- ends --- */

static void test_half_close(void **state)
{
	begin();
	struct end *e = open_one(true);
	say(e, "the last");
	e->conn.finish = true;
	pump();
	assert_true(e->conn.finished);
	assert_int_equal(taken[0]->got, 8);
	assert_true(taken[0]->conn.eof);
	assert_false(e->conn.eof);
	say(taken[0], "answered");
	taken[0]->conn.finish = true;
	pump();
	assert_int_equal(e->got, 8);
	assert_true(e->conn.eof && taken[0]->conn.finished);
	assert_int_equal(client.channels.live_count, 0);
	assert_int_equal(server.channels.live_count, 0);
	assert_int_equal(e->conn.failure, CONN_FAILURE_NONE);
	assert_int_equal(taken[0]->conn.failure, CONN_FAILURE_NONE);
	finish();
}

static void test_a_reset_is_a_failure_of_one(void **state)
{
	for (int by_server = 0; by_server < 2; by_server++) {
		begin();
		say(open_one(true), "x");
		say(open_one(true), "x");
		pump();
		struct end *closes = by_server ? taken[0] : opened[0];
		struct end *sees = by_server ? opened[0] : taken[0];
		end_close(closes, true);
		pump();
		assert_int_equal(sees->conn.failure, CONN_FAILURE_RESET);
		assert_int_equal(opened[1]->conn.failure, CONN_FAILURE_NONE);
		assert_int_equal(taken[1]->conn.failure, CONN_FAILURE_NONE);
		assert_int_equal(client.channels.live_count, 1);
		assert_int_equal(server.channels.live_count, 1);
		finish();
	}
}

static void test_what_came_before_a_reset_can_be_read(void **state)
{
	begin();
	struct end *e = open_one(false);
	say(e, "x");
	pump();
	say(taken[0], "the answer");
	pump();
	end_close(taken[0], false);
	pump();
	assert_int_equal(e->conn.failure, CONN_FAILURE_RESET);
	expect_input(e, "the answer");
	conn_consume(&e->conn, 10);
	/* and what is written goes nowhere */
	say(e, "hello?");
	pump();
	assert_int_equal(buf_len(&e->conn.out), 0);
	finish();
}

static void test_the_loss_of_the_connection_fails_all(void **state)
{
	begin();
	for (int i = 0; i < 3; i++)
		say(open_one(true), "x");
	pump();
	fake_peer_reset(client.conn.fd);
	pump();
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(opened[i]->conn.failure, CONN_FAILURE_RESET);
		assert_int_equal(taken[i]->conn.failure, CONN_FAILURE_RESET);
	}
	finish();
}

/* --- opening --- */

static void test_a_refused_channel(void **state)
{
	begin();
	server.refuses = true;
	struct end *e = open_one(true);
	say(e, "x");
	pump();
	assert_int_equal(e->conn.failure, CONN_FAILURE_RESET);
	assert_int_equal(client.channels.live_count, 0);
	assert_int_equal(server.channels.live_count, 0);
	server.refuses = false;
	e = open_one(true);
	say(e, "y");
	pump();
	assert_int_equal(taken_count, 1);
	assert_int_equal(taken[0]->got, 1);
	finish();
}

static void test_no_more_than_allowed(void **state)
{
	begin();
	for (int i = 0; i < FRAME_CHANNELS; i++)
		say(open_one(true), "x");
	struct end *more = opened[opened_count++] = end_new(true);
	assert_false(channels_open(&client.channels, &more->conn));
	pump();
	assert_int_equal(taken_count, FRAME_CHANNELS);
	end_close(opened[3], true);
	assert_false(channels_open(&client.channels, &more->conn));
	pump();
	assert_true(channels_open(&client.channels, &more->conn));
	say(more, "y");
	pump();
	assert_int_equal(taken_count, FRAME_CHANNELS + 1);
	assert_int_equal(server.fault, CHANNELS_FAULT_NONE);
	finish();
}

static void test_going_away(void **state)
{
	begin();
	struct end *e = open_one(true);
	say(e, "x");
	pump();
	channels_go_away(&server.channels);
	pump();
	struct end *more = opened[opened_count++] = end_new(true);
	assert_false(channels_open(&client.channels, &more->conn));
	say(e, "y"); /* one that is there goes on */
	pump();
	assert_int_equal(taken[0]->got, 2);
	finish();
}

/* --- an other side that breaks the rules --- */

#define DATA(channel, text) "\0\0\0" channel "\0\0\0" text

struct breach {
	const char *bytes;
	size_t len;
	enum channels_fault fault;
};
#define BREACH(text, name)                                    \
	{                                                     \
		text, sizeof(text) - 1, CHANNELS_FAULT_##name \
	}

static const struct breach breaches[] = {
	BREACH("\0\0\0\1\x09\0\0\0", FRAME),
	BREACH("GET / HTTP/1.1\r\n\r\n", FRAME),
	BREACH("\0\0\0\1\1\0\0\1", UNOPENED),
	BREACH("\0\0\0\1\3\0\0\0", UNOPENED),
	BREACH("\0\0\0\0\4\0\0\0", ROLE),
	BREACH(DATA("\1", "\1x") "\0\0\0\1\1\0\0\1", CREDIT),
	BREACH(DATA("\1", "\1x") "\0\0\0\1\2\0\0\0" DATA("\1", "\1x"), ENDED),
	BREACH(DATA("\1", "\1x") "\0\0\0\1\2\0\0\0\0\0\0\1\2\0\0\0", ENDED),
};

static void test_breaches(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(breaches); i++) {
		for (size_t piece = 1; piece <= breaches[i].len; piece += breaches[i].len - 1) {
			int fd = begin_server();
			for (size_t at = 0; at < breaches[i].len; at += piece) {
				fake_peer_send(fd, breaches[i].bytes + at, piece);
				pump();
			}
			assert_int_equal(server.fault, breaches[i].fault);
			assert_true(server.over);
			finish();
		}
	}
}

static void test_a_breach_of_the_window(void **state)
{
	static uint8_t frame[FRAME_BYTES + FRAME_DATA_MAX];
	int fd = begin_server();
	take_reads = false;
	frame_write(&(struct frame){1, FRAME_DATA, FRAME_DATA_MAX}, frame);
	for (size_t i = 0; i < FRAME_WINDOW / FRAME_DATA_MAX; i++) {
		fake_peer_send(fd, frame, sizeof(frame));
		pump();
		assert_int_equal(server.fault, CHANNELS_FAULT_NONE);
	}
	fake_peer_send(fd, frame, sizeof(frame));
	pump();
	assert_int_equal(server.fault, CHANNELS_FAULT_WINDOW);
	finish();
}

static void test_a_breach_of_the_count(void **state)
{
	int fd = begin_server();
	uint8_t bytes[FRAME_BYTES + 1] = {0};
	for (uint32_t i = 1; i <= FRAME_CHANNELS + 1; i++) {
		assert_int_equal(server.fault, CHANNELS_FAULT_NONE);
		frame_write(&(struct frame){2 * i, FRAME_DATA, 1}, bytes);
		fake_peer_send(fd, bytes, sizeof(bytes));
		pump();
	}
	assert_int_equal(server.fault, CHANNELS_FAULT_COUNT);
	finish();
}

static void test_late_frames_mean_nothing(void **state)
{
	int fd = begin_server();
	fake_peer_send(fd, DATA("\5", "\1x"), 9);
	pump();
	end_close(taken[0], true);
	pump();
	fake_peer_send(
		fd, DATA("\5", "\3xyz") "\0\0\0\5\1\0\0\1\0\0\0\5\2\0\0\0\0\0\0\5\3\0\0\0", 35);
	fake_peer_send(fd, DATA("\4", "\2xy"), 10); /* skipped over: as good as over */
	fake_peer_send(fd, DATA("\6", "\2xy"), 10);
	pump();
	assert_int_equal(server.fault, CHANNELS_FAULT_NONE);
	assert_int_equal(taken_count, 2);
	assert_int_equal(taken[1]->got, 2);
	finish();
}

static void test_buffers_run_out(void **state)
{
	int fd = begin_server();
	take_reads = false;
	buffers.block_count_max = 3;
	static uint8_t frame[FRAME_BYTES + FRAME_DATA_MAX];
	frame_write(&(struct frame){1, FRAME_DATA, FRAME_DATA_MAX}, frame);
	for (int i = 0; i < 5; i++) {
		fake_peer_send(fd, frame, sizeof(frame));
		pump();
	}
	assert_int_equal(server.fault, CHANNELS_FAULT_NONE);
	assert_int_equal(taken[0]->conn.failure, CONN_FAILURE_MEMORY);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_both_ways),
		cmocka_unit_test(test_many_leave_in_one_send),
		cmocka_unit_test(test_much_goes_through_unchanged),
		cmocka_unit_test(test_the_first_to_speak_is_the_first),
		cmocka_unit_test(test_a_slow_reader_stops_its_own_channel_only),
		cmocka_unit_test(test_turns_are_taken),
		cmocka_unit_test(test_half_close),
		cmocka_unit_test(test_a_reset_is_a_failure_of_one),
		cmocka_unit_test(test_what_came_before_a_reset_can_be_read),
		cmocka_unit_test(test_the_loss_of_the_connection_fails_all),
		cmocka_unit_test(test_a_refused_channel),
		cmocka_unit_test(test_no_more_than_allowed),
		cmocka_unit_test(test_going_away),
		cmocka_unit_test(test_breaches),
		cmocka_unit_test(test_a_breach_of_the_window),
		cmocka_unit_test(test_a_breach_of_the_count),
		cmocka_unit_test(test_late_frames_mean_nothing),
		cmocka_unit_test(test_buffers_run_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
