/* SPDX-License-Identifier: Apache-2.0 */
/* The ring on liburing (2.3 suffices), Linux 5.19 or newer.
 *
 * user_data is the address of the op. That is safe because an op's owner lives until the op is no
 * longer armed, and the magic proves it on arrival; 0 marks cancel requests, whose own result says
 * nothing that the cancelled op does not say better.
 *
 * All receives take their memory from one ring of blocks shared with the kernel, at the moment
 * there are bytes: a connection that waits holds no memory. A stream is a multishot receive with a
 * budget after which it ends by itself, so that it needs no cancel to stop: a receive that is not
 * armed is all the backpressure there is to have.
 *
 * The kernel takes the blocks first in, first out. So that they stay few and in the cache, it has
 * only as many as it needed at once so far; of the others, the one used last goes first. */
#include "ring/ring.h"

#include "base/clock.h"
#include "uring.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Waiting for ever wakes up once an hour, which saves a second way of waiting. */
#define RING_WAIT_MAX_NS (3600 * CLOCK_S)
/* Blocks with the kernel at first. */
#define RING_OFFER_COUNT 64

/* Best first. DEFER_TASKRUN (6.1) keeps completion work off our back while steps run; it needs
 * SINGLE_ISSUER (6.0). The rest is there since 5.19, which provided-block rings need anyway. */
static const unsigned ring_flag_sets[] = {
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER,
	IORING_SETUP_COOP_TASKRUN,
};

/* kernel.io_uring_disabled, or -1 when the kernel has no such setting (before 6.6). */
static int ring_disabled_setting(void)
{
	int value = -1;
	FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
	if (!file)
		return value;
	if (fscanf(file, "%d", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

static int ring_explain(int number, struct err *err)
{
	int disabled = ring_disabled_setting();
	if (number == EPERM && disabled > 0)
		return err_set(err, number,
			"io_uring is switched off on this machine: kernel.io_uring_disabled is %d; "
			"set "
			"it to 0%s",
			disabled,
			disabled == 1 ? ", or put our group into kernel.io_uring_group" : "");
	if (number == EPERM)
		return err_set(err, number,
			"io_uring is forbidden to this process: a seccomp filter (a container "
			"runtime, "
			"SystemCallFilter=) or a security module denies io_uring_setup");
	if (number == ENOSYS)
		return err_set(err, number,
			"io_uring is missing: the kernel is built without it, or a seccomp filter "
			"(a container runtime) hides io_uring_setup");
	if (number == EINVAL)
		return err_set(err, number, "io_uring: Linux 5.19 or newer is needed");
	if (number == ENOMEM)
		return err_set(err, number,
			"io_uring: out of memory, or RLIMIT_MEMLOCK is too small (LimitMEMLOCK=)");
	return err_set(err, number, "io_uring: cannot create a ring: %s", strerror(number));
}

/* Returns 0 or -errno; -EINVAL when no set of flags is known to the kernel. */
static int ring_setup(struct io_uring *uring, const struct ring_limits *limits)
{
	int result = -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(ring_flag_sets) && result == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = ring_flag_sets[i] | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
				 IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED,
			.cq_entries = limits->completions,
		};
		result = io_uring_queue_init_params(limits->entries, uring, &params);
	}
	return result;
}

static size_t ring_blocks_size(const struct ring *r)
{
	return (size_t)r->limits.block_count * r->limits.block_bytes;
}

static size_t ring_block_ring_size(const struct ring *r)
{
	return r->limits.block_count * sizeof(struct io_uring_buf);
}

static uint32_t ring_blocks_offered(const struct ring *r)
{
	return r->limits.block_count - r->blocks_out - r->spare_count;
}

/* Puts spare blocks at the end of the shared ring; the kernel may use them from now on. */
static void ring_blocks_offer(struct ring *r)
{
	int mask = io_uring_buf_ring_mask(r->limits.block_count), count = 0;
	for (uint32_t n = ring_blocks_offered(r); n < r->offer_max && r->spare_count > 0; n++) {
		uint16_t block = r->spare[--r->spare_count];
		io_uring_buf_ring_add(r->block_ring, ring_block(r, block), r->limits.block_bytes,
			block, mask, count++);
	}
	if (count > 0)
		io_uring_buf_ring_advance(r->block_ring, count);
}

static void ring_block_spare(struct ring *r, uint16_t block)
{
	r->spare[r->spare_count++] = block;
}

static void *ring_map(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

static int ring_init_blocks(struct ring *r, struct err *err)
{
	if (r->limits.block_bytes == 0)
		return 0;
	uint32_t count = r->limits.block_count;
	ASSERT(count > 0 && count <= 32768 && (count & (count - 1)) == 0);

	r->blocks = ring_map(ring_blocks_size(r));
	r->block_ring = ring_map(ring_block_ring_size(r));
	r->notes = calloc(count, sizeof(*r->notes));
	r->spare = calloc(count, sizeof(*r->spare));
	if (!r->blocks || !r->block_ring || !r->notes || !r->spare)
		return err_set(err, ENOMEM, "io_uring: out of memory for %u receive blocks", count);

	struct io_uring_buf_reg registration = {
		.ring_addr = (uintptr_t)r->block_ring,
		.ring_entries = count,
		.bgid = URING_BLOCK_GROUP,
	};
	int result = io_uring_register_buf_ring(r->uring, &registration, 0);
	if (result < 0)
		return ring_explain(-result, err);
	io_uring_buf_ring_init(r->block_ring);
	for (uint32_t i = 0; i < count; i++)
		ring_block_spare(r, (uint16_t)(count - 1 - i));
	r->offer_max = count < RING_OFFER_COUNT ? count : RING_OFFER_COUNT;
	ring_blocks_offer(r);
	return 0;
}

int ring_init(struct ring *r, const struct ring_limits *limits, struct err *err)
{
	*r = (struct ring){.limits = *limits};
	list_init(&r->starved);
	struct io_uring *uring = calloc(1, sizeof(*uring));
	if (!uring)
		return err_set(err, ENOMEM, "io_uring: out of memory");
	int result = ring_setup(uring, limits);
	if (result < 0) {
		free(uring);
		return ring_explain(-result, err);
	}
	r->uring = uring;
	result = ring_init_blocks(r, err);
	if (result == 0)
		result = uring_restrict(uring, err);
	if (result < 0)
		ring_done(r);
	return result;
}

/* A kernel that does not know the budget refuses it before it looks at the descriptor, which is
 * none: nothing is received either way. */
static bool ring_probe_stream(struct ring *r)
{
	struct op op = {.magic = OP_MAGIC};
	if (r->limits.block_bytes == 0)
		return false;
	r->can_stream = true;
	ring_stream(r, &op, -1, 1, 1);
	r->submit_count = 0;
	struct io_uring_cqe *cqe;
	int result = io_uring_submit_and_wait(r->uring, 1);
	if (result < 0 || io_uring_peek_cqe(r->uring, &cqe) < 0)
		return false;
	result = cqe->res;
	io_uring_cqe_seen(r->uring, cqe);
	return result == -EBADF;
}

int ring_enable(struct ring *r, struct err *err)
{
	int result = uring_enable(r->uring);
	if (result < 0)
		return ring_explain(-result, err);
	/* Spares the kernel a file look-up at every enter. It is per thread, hence here; without
	 * it the ring works as well. */
	io_uring_register_ring_fd(r->uring);
	r->can_stream = ring_probe_stream(r);
	return 0;
}

void ring_done(struct ring *r)
{
	if (r->uring) {
		io_uring_queue_exit(r->uring);
		free(r->uring);
	}
	if (r->blocks)
		munmap(r->blocks, ring_blocks_size(r));
	if (r->block_ring)
		munmap(r->block_ring, ring_block_ring_size(r));
	free(r->notes);
	free(r->spare);
	r->spare = NULL;
	r->uring = NULL;
	r->notes = NULL;
	r->blocks = NULL;
	r->block_ring = NULL;
}

/* What may come back from entering the kernel in normal life: the time is over, a signal, or the
 * kernel is short of memory or of room for completions and wants to be asked again. Everything
 * else is our mistake. */
static bool ring_enter_passes(int result)
{
	return result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN ||
	       result == -EBUSY || result == -ENOMEM;
}

static struct io_uring_sqe *ring_sqe(struct ring *r)
{
	struct io_uring_sqe *sqe;
	while (!(sqe = io_uring_get_sqe(r->uring)))
		ASSERT(ring_enter_passes(io_uring_submit_and_get_events(r->uring)));
	r->submit_count++;
	return sqe;
}

static struct io_uring_sqe *ring_arm(struct ring *r, struct op *op)
{
	ASSERT(op->magic == OP_MAGIC && !op->armed && !op->has_block);
	op->armed = true;
	op->fresh = false;
	op->cancelled = false;
	op->streaming = false;
	op->more = false;
	op->result = 0;
	return ring_sqe(r);
}

/* After the prep call, which clears user_data in some versions of liburing. */
static void ring_label(struct io_uring_sqe *sqe, struct op *op)
{
	sqe->user_data = (uintptr_t)op;
}

void ring_accept(struct ring *r, struct op *op, int fd)
{
	ASSERT(op->backlog);
	struct io_uring_sqe *sqe = ring_arm(r, op);
	/* No address asked for: its memory would be shared by all completions of the multishot. */
	io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
	ring_label(sqe, op);
}

void ring_poll(struct ring *r, struct op *op, int fd)
{
	struct io_uring_sqe *sqe = ring_arm(r, op);
	io_uring_prep_poll_add(sqe, fd, POLLIN);
	ring_label(sqe, op);
}

void ring_watch(struct ring *r, struct op *op, int fd)
{
	struct io_uring_sqe *sqe = ring_arm(r, op);
	/* Errors and hang-ups are always reported, but so is the end of stream that is known
	 * already: a one-shot poll would end with it, a multishot goes on to what comes next. */
	io_uring_prep_poll_multishot(sqe, fd, 0);
	ring_label(sqe, op);
}

void ring_recv(struct ring *r, struct op *op, int fd)
{
	struct io_uring_sqe *sqe = ring_arm(r, op);
	io_uring_prep_recv(sqe, fd, NULL, r->limits.block_bytes, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = URING_BLOCK_GROUP;
	ring_label(sqe, op);
}

void ring_stream(struct ring *r, struct op *op, int fd, size_t len, uint32_t budget)
{
	ASSERT(len > 0 && len <= r->limits.block_bytes);
	struct io_uring_sqe *sqe = ring_arm(r, op);
	op->streaming = true;
	if (budget > 0 && !r->can_stream)
		len = r->limits.block_bytes;
	io_uring_prep_recv(sqe, fd, NULL, len, 0);
	if (budget > 0 && r->can_stream) {
		sqe->ioprio |= IORING_RECV_MULTISHOT;
		sqe->file_index = budget; /* where the budget is: `optlen` in newer headers */
	}
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = URING_BLOCK_GROUP;
	ring_label(sqe, op);
}

void ring_read(struct ring *r, struct op *op, int fd, void *bytes, size_t len)
{
	ASSERT(len <= INT32_MAX);
	struct io_uring_sqe *sqe = ring_arm(r, op);
	/* READ and not RECV, because of eventfds; offset 0, because a socket refuses others. */
	io_uring_prep_read(sqe, fd, bytes, (unsigned)len, 0);
	ring_label(sqe, op);
}

void ring_recv_into(struct ring *r, struct op *op, int fd, void *bytes, size_t len)
{
	ASSERT(len <= INT32_MAX);
	struct io_uring_sqe *sqe = ring_arm(r, op);
	io_uring_prep_recv(sqe, fd, bytes, len, 0);
	ring_label(sqe, op);
}

void ring_send(struct ring *r, struct op *op, int fd, const void *bytes, size_t len)
{
	ASSERT(len <= INT32_MAX);
	struct io_uring_sqe *sqe = ring_arm(r, op);
	io_uring_prep_send(sqe, fd, bytes, len, MSG_WAITALL | MSG_NOSIGNAL);
	ring_label(sqe, op);
}

void ring_connect(struct ring *r, struct op *op, int fd, const struct sockaddr_storage *address)
{
	struct io_uring_sqe *sqe = ring_arm(r, op);
	socklen_t len = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
						       : sizeof(struct sockaddr_in);
	io_uring_prep_connect(sqe, fd, (const struct sockaddr *)address, len);
	ring_label(sqe, op);
}

void ring_cancel(struct ring *r, struct op *op)
{
	ASSERT(op->magic == OP_MAGIC);
	if (!op->armed || op->cancelled)
		return;
	op->cancelled = true;
	struct io_uring_sqe *sqe = ring_sqe(r);
	io_uring_prep_cancel64(sqe, (uintptr_t)op, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	ring_label(sqe, NULL);
}

uint8_t *ring_block(const struct ring *r, uint16_t block)
{
	ASSERT(block < r->limits.block_count);
	return r->blocks + (size_t)block * r->limits.block_bytes;
}

void ring_block_put(struct ring *r, uint16_t block)
{
	ASSERT(r->blocks_out > 0);
	r->blocks_out--;
	ring_block_spare(r, block);
}

void ring_wait(struct ring *r, uint64_t timeout_ns)
{
	int result;
	ring_blocks_offer(r);
	if (timeout_ns == 0) {
		result = io_uring_submit_and_get_events(r->uring);
	} else {
		uint64_t ns = timeout_ns < RING_WAIT_MAX_NS ? timeout_ns : RING_WAIT_MAX_NS;
		struct __kernel_timespec ts = {
			.tv_sec = (int64_t)(ns / CLOCK_S),
			.tv_nsec = (long long)(ns % CLOCK_S),
		};
		struct io_uring_cqe *cqe;
		result = io_uring_submit_and_wait_timeout(r->uring, &cqe, 1, &ts, NULL);
	}
	ASSERT(ring_enter_passes(result));
}

/* Some kernels hand out a block with an end of stream or an error, too. */
static void ring_record_block(struct ring *r, struct op *op, const struct io_uring_cqe *cqe)
{
	uint16_t block = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
	if (cqe->res <= 0) {
		ring_block_spare(r, block);
		return;
	}
	r->blocks_out++;
	if (op->streaming) {
		ring_stream_add(r, op, block, (uint32_t)cqe->res);
	} else {
		op->has_block = true;
		op->block = block;
	}
}

/* Either the kernel had too few of them, or there are too few. */
static void ring_record_no_block(struct ring *r)
{
	if (r->offer_max < r->limits.block_count)
		r->offer_max *= 2;
	else
		r->no_block_count++;
}

static void ring_record(struct ring *r, struct op *op, const struct io_uring_cqe *cqe)
{
	ASSERT(op->magic == OP_MAGIC && op->armed);
	op->armed = cqe->flags & IORING_CQE_F_MORE;
	op->fresh = true;
	op->more = cqe->flags & IORING_CQE_F_SOCK_NONEMPTY;
	op->result = cqe->res;
	if (op->backlog && cqe->res >= 0) {
		ASSERT(op->backlog_len < RING_TURN_MAX);
		op->backlog[op->backlog_len++] = cqe->res;
		op->result = 0;
	}
	if (cqe->flags & IORING_CQE_F_BUFFER)
		ring_record_block(r, op, cqe);
	if (cqe->res == -ENOBUFS)
		ring_record_no_block(r);
}

struct op *ring_next(struct ring *r)
{
	struct io_uring_cqe *cqe;
	while (io_uring_peek_cqe(r->uring, &cqe) == 0) {
		struct op *op = (struct op *)(uintptr_t)cqe->user_data;
		if (op && op->backlog && op->backlog_len == RING_TURN_MAX)
			return NULL; /* its owner has to take what it has first */
		r->completion_count++;
		if (op)
			ring_record(r, op, cqe);
		io_uring_cqe_seen(r->uring, cqe);
		if (op)
			return op;
	}
	return NULL;
}

void ring_now(const struct ring *r, uint64_t *ret_monotonic_ns, uint64_t *ret_wall_ns)
{
	*ret_monotonic_ns = clock_monotonic_ns();
	*ret_wall_ns = clock_wall_ns();
}
