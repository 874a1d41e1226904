/* SPDX-License-Identifier: Apache-2.0 */
/* The ring against the kernel, on loopback and socket pairs. */
#include "base/clock.h"
#include "ring/loop.h"
#include "ring/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCK_BYTES 4096
#define BLOCK_COUNT 4

struct fixture {
	struct loop loop;
	struct task task;
	struct op op, other;
	int pair[2];
};

static const struct ring_limits fixture_limits = {
	.entries = 8, .completions = 256, .block_bytes = BLOCK_BYTES, .block_count = BLOCK_COUNT};

static int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err;
	if (loop_init(&f->loop, &fixture_limits, 1, &err) < 0 ||
		ring_enable(&f->loop.ring, &err) < 0) {
		print_error("%s\n", err.text);
		return -1;
	}
	task_init(&f->task, 0);
	op_init(&f->op, &f->task);
	op_init(&f->other, &f->task);
	*state = f;
	return socketpair(AF_UNIX, SOCK_STREAM, 0, f->pair);
}

static int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(f->loop.ring.blocks_out, 0);
	loop_done(&f->loop);
	close(f->pair[0]);
	close(f->pair[1]);
	free(f);
	return 0;
}

/* Turns until the op is over, or fails the test after two seconds. */
static void run_until_done(struct fixture *f, struct op *op)
{
	uint64_t end = clock_monotonic_ns() + 2 * CLOCK_S;
	struct timer limit;
	timer_init(&limit, &f->task);
	timer_set(&f->loop, &limit, end);
	while (op->armed) {
		assert_true(clock_monotonic_ns() < end);
		loop_wait(&f->loop);
		while (loop_next(&f->loop)) {
		}
	}
	timer_clear(&f->loop, &limit);
}

static void give_back(struct fixture *f, struct op *op)
{
	assert_true(op->has_block);
	op->has_block = false;
	ring_block_put(&f->loop.ring, op->block);
}

static int listen_loopback(struct sockaddr_storage *ret_address)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 128), 0);
	socklen_t len = sizeof(in);
	getsockname(fd, (struct sockaddr *)&in, &len);
	memset(ret_address, 0, sizeof(*ret_address));
	memcpy(ret_address, &in, sizeof(in));
	return fd;
}

static void receives_into_a_block(void **state)
{
	struct fixture *f = *state;
	ring_recv(&f->loop.ring, &f->op, f->pair[0]);
	assert_int_equal(write(f->pair[1], "hello", 5), 5);
	run_until_done(f, &f->op);
	assert_true(f->op.fresh);
	assert_int_equal(f->op.result, 5);
	assert_int_equal(f->loop.ring.blocks_out, 1);
	assert_memory_equal(ring_block(&f->loop.ring, f->op.block), "hello", 5);
	give_back(f, &f->op);
}

static void blocks_go_round_and_round(void **state)
{
	struct fixture *f = *state;
	for (int i = 0; i < 5 * BLOCK_COUNT; i++) {
		char byte = (char)('a' + i);
		ring_recv(&f->loop.ring, &f->op, f->pair[0]);
		assert_int_equal(write(f->pair[1], &byte, 1), 1);
		run_until_done(f, &f->op);
		assert_int_equal(f->op.result, 1);
		assert_int_equal(*ring_block(&f->loop.ring, f->op.block), byte);
		give_back(f, &f->op);
	}
}

static void end_of_stream_is_zero_and_holds_no_block(void **state)
{
	struct fixture *f = *state;
	shutdown(f->pair[1], SHUT_WR);
	for (int i = 0; i < 2 * BLOCK_COUNT; i++) {
		ring_recv(&f->loop.ring, &f->op, f->pair[0]);
		run_until_done(f, &f->op);
		assert_int_equal(f->op.result, 0);
		assert_false(f->op.has_block);
	}
}

static void a_starved_task_is_woken_when_a_block_is_back(void **state)
{
	struct fixture *f = *state;
	struct ring *r = &f->loop.ring;
	uint16_t held[BLOCK_COUNT];
	for (int i = 0; i < BLOCK_COUNT; i++) {
		ring_recv(r, &f->op, f->pair[0]);
		assert_int_equal(write(f->pair[1], "x", 1), 1);
		run_until_done(f, &f->op);
		assert_int_equal(f->op.result, 1);
		held[i] = f->op.block;
		f->op.has_block = false;
	}
	assert_int_equal(write(f->pair[1], "y", 1), 1);
	ring_recv(r, &f->op, f->pair[0]);
	run_until_done(f, &f->op);
	assert_int_equal(f->op.result, -ENOBUFS);
	assert_false(f->op.has_block);
	assert_int_equal(r->no_block_count, 1);
	ring_starve(r, &f->task);
	ring_starve(r, &f->task);
	assert_null(ring_feed(r, 0));

	ring_block_put(r, held[0]);
	loop_wait(&f->loop); /* does not wait: the starved task is ready */
	assert_ptr_equal(loop_next(&f->loop), &f->task);
	assert_null(loop_next(&f->loop));
	ring_recv(r, &f->op, f->pair[0]);
	run_until_done(f, &f->op);
	assert_int_equal(f->op.result, 1);
	assert_int_equal(*ring_block(r, f->op.block), 'y');
	give_back(f, &f->op);
	for (int i = 1; i < BLOCK_COUNT; i++)
		ring_block_put(r, held[i]);
}

/* However many there are, few are used as long as few are needed. */
static void blocks_in_use_stay_few(void **state)
{
	struct fixture *f = *state;
	enum { COUNT = 256, FEW = 64 };
	struct loop few = f->loop;
	struct ring_limits limits = fixture_limits;
	struct err err;
	uint16_t held[COUNT];
	bool used[COUNT] = {false};
	uint32_t used_count = 0, held_count = 0;
	limits.block_count = COUNT;
	assert_int_equal(loop_init(&f->loop, &limits, 1, &err), 0);
	assert_int_equal(ring_enable(&f->loop.ring, &err), 0);
	for (int i = 0; i < 3 * COUNT; i++) {
		ring_recv(&f->loop.ring, &f->op, f->pair[0]);
		assert_int_equal(write(f->pair[1], "x", 1), 1);
		run_until_done(f, &f->op);
		used_count += !used[f->op.block];
		used[f->op.block] = true;
		give_back(f, &f->op);
	}
	assert_int_equal(used_count, FEW);

	for (int i = 0; i <= COUNT; i++)
		assert_int_equal(write(f->pair[1], "x", 1), 1);
	while (held_count < COUNT) {
		ring_stream(&f->loop.ring, &f->op, f->pair[0], 1, 2 * COUNT);
		run_until_done(f, &f->op);
		while (ring_stream_len(&f->loop.ring, &f->op) > 0)
			held[held_count++] = ring_stream_take(&f->loop.ring, &f->op);
		assert_true(f->op.result == -ENOBUFS || !f->loop.ring.can_stream);
	}
	assert_int_equal(f->loop.ring.blocks_out, COUNT);
	while (held_count > 0)
		ring_block_put(&f->loop.ring, held[--held_count]);
	loop_done(&f->loop);
	f->loop = few;
}

static void a_buried_task_no_longer_starves(void **state)
{
	struct fixture *f = *state;
	ring_starve(&f->loop.ring, &f->task);
	loop_bury(&f->loop, &f->task);
	assert_true(list_empty(&f->loop.ring.starved));
	assert_ptr_equal(loop_dead(&f->loop), &f->task);
}

static void reads_an_eventfd(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);
	uint64_t count = 0, three = 3;
	ring_read(&f->loop.ring, &f->op, fd, &count, sizeof(count));
	assert_int_equal(write(fd, &three, sizeof(three)), sizeof(three));
	run_until_done(f, &f->op);
	assert_int_equal(f->op.result, sizeof(count));
	assert_int_equal(count, 3);
	close(fd);
}

static void reads_a_seqpacket_socket_message_by_message(void **state)
{
	struct fixture *f = *state;
	int pair[2];
	char bytes[64];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	for (int i = 0; i < 3; i++) { /* more than once: the file position must stay 0 */
		ring_read(&f->loop.ring, &f->op, pair[0], bytes, sizeof(bytes));
		assert_int_equal(write(pair[1], "one", 3), 3);
		assert_int_equal(write(pair[1], "second", 6), 6);
		run_until_done(f, &f->op);
		assert_int_equal(f->op.result, 3);
		ring_read(&f->loop.ring, &f->op, pair[0], bytes, sizeof(bytes));
		run_until_done(f, &f->op);
		assert_int_equal(f->op.result, 6);
		assert_memory_equal(bytes, "second", 6);
	}
	close(pair[1]);
	ring_read(&f->loop.ring, &f->op, pair[0], bytes, sizeof(bytes));
	run_until_done(f, &f->op);
	assert_int_equal(f->op.result, 0);
	close(pair[0]);
}

static void accepts_connects_and_sends(void **state)
{
	struct fixture *f = *state;
	struct ring *r = &f->loop.ring;
	struct sockaddr_storage address;
	int listener = listen_loopback(&address);
	int32_t backlog[RING_TURN_MAX];
	struct op accept, send;
	op_init(&accept, &f->task);
	op_init(&send, &f->task);
	accept.backlog = backlog;
	ring_accept(r, &accept, listener);

	for (int i = 0; i < 3; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ring_connect(r, &f->op, fd, &address);
		run_until_done(f, &f->op);
		assert_int_equal(f->op.result, 0);
		while (accept.backlog_len == 0)
			loop_wait(&f->loop);
		assert_true(accept.armed);
		assert_true(fcntl(backlog[0], F_GETFD) & FD_CLOEXEC);
		ring_send(r, &send, fd, "ping", 4);
		ring_recv(r, &f->op, backlog[0]);
		run_until_done(f, &f->op);
		assert_int_equal(f->op.result, 4);
		give_back(f, &f->op);
		run_until_done(f, &send);
		assert_int_equal(send.result, 4);
		close(backlog[0]);
		accept.backlog_len = 0;
		close(fd);
	}
	ring_cancel(r, &accept);
	run_until_done(f, &accept);
	assert_int_equal(accept.result, -ECANCELED);
	assert_int_equal(accept.backlog_len, 0);
	close(listener);
}

static void a_burst_of_connections_waits_for_room_in_the_backlog(void **state)
{
	struct fixture *f = *state;
	enum { CONNECTIONS = RING_TURN_MAX + 16 };
	struct sockaddr_storage address;
	int listener = listen_loopback(&address), fds[CONNECTIONS];
	int32_t backlog[RING_TURN_MAX];
	uint32_t accepted = 0;
	f->op.backlog = backlog;
	ring_accept(&f->loop.ring, &f->op, listener);
	for (int i = 0; i < CONNECTIONS; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		socklen_t len = sizeof(struct sockaddr_in);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&address, len), 0);
	}
	loop_wait(&f->loop);
	loop_wait(&f->loop); /* the owner took nothing */
	assert_int_equal(f->op.backlog_len, RING_TURN_MAX);
	while (accepted < CONNECTIONS) {
		for (uint32_t i = 0; i < f->op.backlog_len; i++)
			close(backlog[i]);
		accepted += f->op.backlog_len;
		f->op.backlog_len = 0;
		loop_ready(&f->loop, &f->task);
		loop_wait(&f->loop);
		while (loop_next(&f->loop)) {
		}
	}
	assert_int_equal(accepted, CONNECTIONS);
	ring_cancel(&f->loop.ring, &f->op);
	run_until_done(f, &f->op);
	for (int i = 0; i < CONNECTIONS; i++)
		close(fds[i]);
	close(listener);
}

static void *worker_main(void *state)
{
	struct fixture *f = state;
	struct err err;
	assert_int_equal(ring_enable(&f->loop.ring, &err), 0);
	receives_into_a_block(&state);
	loop_done(&f->loop);
	return NULL;
}

static void a_ring_made_by_one_thread_is_used_by_another(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err;
	pthread_t worker;
	assert_int_equal(loop_init(&f->loop, &fixture_limits, 1, &err), 0);
	task_init(&f->task, 0);
	op_init(&f->op, &f->task);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, f->pair), 0);
	assert_int_equal(pthread_create(&worker, NULL, worker_main, f), 0);
	pthread_join(worker, NULL);
	assert_null(f->loop.ring.uring);
	close(f->pair[0]);
	close(f->pair[1]);
	free(f);
}

static void a_refused_connect_says_so(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_storage address;
	close(listen_loopback(&address));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ring_connect(&f->loop.ring, &f->op, fd, &address);
	run_until_done(f, &f->op);
	assert_int_equal(f->op.result, -ECONNREFUSED);
	close(fd);
}

static void a_send_goes_out_whole_however_large(void **state)
{
	struct fixture *f = *state;
	size_t len = 4 << 20, got = 0;
	char *bytes = malloc(len);
	memset(bytes, 'z', len);
	ring_send(&f->loop.ring, &f->op, f->pair[0], bytes, len);
	while (f->op.armed || got < len) {
		char chunk[65536];
		ssize_t n = recv(f->pair[1], chunk, sizeof(chunk), MSG_DONTWAIT);
		if (n > 0)
			got += (size_t)n;
		ring_starve(&f->loop.ring, &f->task); /* keeps the turn from waiting */
		loop_wait(&f->loop);
		while (loop_next(&f->loop)) {
		}
	}
	assert_int_equal(f->op.result, (int)len);
	free(bytes);
}

static void a_send_to_a_gone_peer_fails_without_a_signal(void **state)
{
	struct fixture *f = *state;
	shutdown(f->pair[1], SHUT_RDWR);
	ring_send(&f->loop.ring, &f->op, f->pair[0], "x", 1);
	run_until_done(f, &f->op);
	assert_int_equal(f->op.result, -EPIPE);
}

static void a_cancelled_receive_ends(void **state)
{
	struct fixture *f = *state;
	struct ring *r = &f->loop.ring;
	ring_recv(r, &f->op, f->pair[0]);
	ring_cancel(r, &f->op);
	ring_cancel(r, &f->op);
	run_until_done(f, &f->op);
	assert_true(f->op.cancelled);
	assert_true(f->op.result == -ECANCELED || f->op.result == -ENOBUFS);
	ring_cancel(r, &f->op); /* no effect on an op that is over */
	assert_int_equal(r->submit_count, 2);

	assert_int_equal(write(f->pair[1], "late", 4), 4);
	ring_recv(r, &f->op, f->pair[0]);
	assert_false(f->op.cancelled);
	run_until_done(f, &f->op);
	assert_int_equal(f->op.result, 4);
	give_back(f, &f->op);
}

static void a_shutdown_ends_an_armed_receive(void **state)
{
	struct fixture *f = *state;
	ring_recv(&f->loop.ring, &f->op, f->pair[0]);
	loop_ready(&f->loop, &f->task);
	loop_wait(&f->loop);
	shutdown(f->pair[0], SHUT_RDWR);
	run_until_done(f, &f->op);
	assert_int_equal(f->op.result, 0);
}

static void a_full_submission_queue_is_flushed(void **state)
{
	struct fixture *f = *state;
	enum { OPS = 100 }; /* the queue has 8 */
	struct op ops[OPS];
	uint64_t counts[OPS];
	int fds[OPS];
	uint64_t one = 1;
	for (int i = 0; i < OPS; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC);
		op_init(&ops[i], &f->task);
		ring_read(&f->loop.ring, &ops[i], fds[i], &counts[i], sizeof(counts[i]));
	}
	for (int i = 0; i < OPS; i++)
		assert_int_equal(write(fds[i], &one, sizeof(one)), sizeof(one));
	for (int i = 0; i < OPS; i++) {
		run_until_done(f, &ops[i]);
		assert_int_equal(ops[i].result, sizeof(one));
		close(fds[i]);
	}
}

static void one_turn_records_a_bounded_number(void **state)
{
	struct fixture *f = *state;
	enum { OPS = RING_TURN_MAX + 10 };
	struct op ops[OPS];
	uint64_t counts[OPS];
	int fd = eventfd(OPS, EFD_CLOEXEC | EFD_SEMAPHORE);
	for (int i = 0; i < OPS; i++) {
		op_init(&ops[i], &f->task);
		ring_read(&f->loop.ring, &ops[i], fd, &counts[i], sizeof(counts[i]));
	}
	loop_wait(&f->loop);
	int over = 0;
	for (int i = 0; i < OPS; i++)
		over += !ops[i].armed;
	assert_int_equal(over, RING_TURN_MAX);
	for (int i = 0; i < OPS; i++)
		run_until_done(f, &ops[i]);
	close(fd);
}

static void a_timer_ends_the_wait_and_is_never_early(void **state)
{
	struct fixture *f = *state;
	struct timer t;
	timer_init(&t, &f->task);
	uint64_t deadline = clock_monotonic_ns() + 20 * CLOCK_MS;
	timer_set(&f->loop, &t, deadline + CLOCK_S);
	timer_set(&f->loop, &t, deadline);
	while (!t.fired)
		loop_wait(&f->loop);
	assert_true(clock_monotonic_ns() >= deadline);
	assert_true(clock_monotonic_ns() < deadline + 500 * CLOCK_MS);
	assert_ptr_equal(loop_next(&f->loop), &f->task);
}

/* The very ring that the proxy uses, with operations put in by hand. */
static void the_kernel_refuses_every_other_operation(void **state)
{
	struct fixture *f = *state;
	static const uint8_t allowed[] = {IORING_OP_ACCEPT, IORING_OP_ASYNC_CANCEL,
		IORING_OP_CONNECT, IORING_OP_POLL_ADD, IORING_OP_READ, IORING_OP_RECV,
		IORING_OP_SEND};
	for (uint8_t code = 0; code < IORING_OP_LAST; code++) {
		if (memchr(allowed, code, sizeof(allowed)))
			continue;
		struct io_uring_sqe *sqe = io_uring_get_sqe(f->loop.ring.uring);
		if (code == IORING_OP_OPENAT)
			io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
		else
			io_uring_prep_rw(code, sqe, -1, NULL, 0, 0);
		sqe->user_data = 0;
		struct io_uring_cqe *cqe;
		assert_true(io_uring_submit_and_wait(f->loop.ring.uring, 1) >= 0);
		assert_int_equal(io_uring_peek_cqe(f->loop.ring.uring, &cqe), 0);
		assert_int_equal(cqe->res, -EACCES);
		io_uring_cqe_seen(f->loop.ring.uring, cqe);
	}
}

static void the_kernel_refuses_registrations_and_flags(void **state)
{
	struct fixture *f = *state;
	struct io_uring *uring = f->loop.ring.uring;
	struct iovec iov = {.iov_base = f, .iov_len = sizeof(*f)};
	assert_int_equal(io_uring_register_buffers(uring, &iov, 1), -EACCES);
	assert_int_equal(io_uring_register_files(uring, f->pair, 2), -EACCES);

	char byte;
	struct io_uring_sqe *sqe = io_uring_get_sqe(uring);
	io_uring_prep_read(sqe, f->pair[0], &byte, 1, 0);
	sqe->flags |= IOSQE_ASYNC;
	sqe->user_data = 0;
	struct io_uring_cqe *cqe;
	assert_true(io_uring_submit_and_wait(uring, 1) >= 0);
	assert_int_equal(io_uring_peek_cqe(uring, &cqe), 0);
	assert_int_equal(cqe->res, -EACCES);
	io_uring_cqe_seen(uring, cqe);
}

/* In a child, since a filter stays: ring_init() where io_uring_setup is answered with `number`. */
static void denied_ring(int number, const char *word)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* the number of the call comes first */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)number),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {.len = ARRAY_LEN(code), .filter = code};
	pid_t child = fork();
	if (child == 0) {
		struct ring r;
		struct err err;
		struct ring_limits limits = {.entries = 8, .completions = 16};
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
			prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
			_exit(2);
		int result = ring_init(&r, &limits, &err);
		ring_done(&r); /* has nothing to do */
		_exit(result == -number && strstr(err.text, word) ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void a_forbidden_io_uring_is_explained(void **state)
{
	denied_ring(EPERM, "seccomp");
	denied_ring(ENOSYS, "without it");
	denied_ring(EINVAL, "5.19");
	denied_ring(ENOMEM, "LimitMEMLOCK");
	denied_ring(EMFILE, "Too many open files");
}

static void a_ring_without_blocks_works_for_the_rest(void **state)
{
	struct fixture *f = *state;
	struct ring r;
	struct err err;
	struct ring_limits limits = {.entries = 8, .completions = 16};
	uint64_t count;
	int fd = eventfd(1, EFD_CLOEXEC);
	assert_int_equal(ring_init(&r, &limits, &err), 0);
	assert_int_equal(ring_enable(&r, &err), 0);
	ring_read(&r, &f->op, fd, &count, sizeof(count));
	ring_wait(&r, CLOCK_S);
	assert_ptr_equal(ring_next(&r), &f->op);
	assert_null(ring_next(&r));
	ring_done(&r);
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(receives_into_a_block),
		TEST(blocks_go_round_and_round),
		TEST(end_of_stream_is_zero_and_holds_no_block),
		TEST(a_starved_task_is_woken_when_a_block_is_back),
		TEST(blocks_in_use_stay_few),
		TEST(a_buried_task_no_longer_starves),
		TEST(reads_an_eventfd),
		TEST(reads_a_seqpacket_socket_message_by_message),
		TEST(accepts_connects_and_sends),
		TEST(a_burst_of_connections_waits_for_room_in_the_backlog),
		cmocka_unit_test(a_ring_made_by_one_thread_is_used_by_another),
		TEST(a_refused_connect_says_so),
		TEST(a_send_goes_out_whole_however_large),
		TEST(a_send_to_a_gone_peer_fails_without_a_signal),
		TEST(a_cancelled_receive_ends),
		TEST(a_shutdown_ends_an_armed_receive),
		TEST(a_full_submission_queue_is_flushed),
		TEST(one_turn_records_a_bounded_number),
		TEST(a_timer_ends_the_wait_and_is_never_early),
		TEST(the_kernel_refuses_every_other_operation),
		TEST(the_kernel_refuses_registrations_and_flags),
		cmocka_unit_test(a_forbidden_io_uring_is_explained),
		TEST(a_ring_without_blocks_works_for_the_rest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
