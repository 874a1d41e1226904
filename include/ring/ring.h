/* SPDX-License-Identifier: Apache-2.0 */
/* The only way data-path code reaches the kernel asynchronously: a handful of io_uring operations
 * (io_uring(7)). Completions only record; nothing here decides or calls back.
 *
 * There are two implementations of this header, chosen when linking: src/ring/ring.c on liburing,
 * and tests/fake/ring_fake.c, a scripted kernel for unit tests. */
#pragma once

#include "base/assert.h"
#include "base/error.h"
#include "base/list.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct io_uring;

/* Something with a step function, put on the loop's ready queue when there is news for it. `kind`
 * belongs to the rooms above; the ring does not look at it. */
struct task {
	uint32_t magic;
	uint16_t kind;
	bool ready;	    /* on the ready queue */
	bool dead;	    /* on the dead list, to be freed at the end of the turn */
	struct list node;   /* in the ready queue or the dead list */
	struct list hungry; /* in ring.starved while waiting for receive blocks */
};

/* One kernel operation, embedded in its owner. The owner lives until the operation is no longer
 * armed: buffers and addresses given to it belong to the kernel until then. */
struct op {
	uint32_t magic;
	bool armed;	/* submitted, terminal completion not seen */
	bool fresh;	/* completed since the owner looked; the owner clears it */
	bool cancelled; /* a cancel was asked for */
	bool has_block; /* `block` holds `result` bytes; the owner gives it back and clears this */
	bool more;	/* a receive of sockets: there is more to be received already */
	bool streaming; /* ring_stream(): has_block means that ring_stream_take() has something */
	uint16_t block; /* provided-buffer id */
	uint16_t block_last; /* streaming: of those not taken yet */
	int32_t result;	     /* as the system call: count or -errno; accept: 0 or why it ended */
	struct task *owner;
	int32_t *backlog; /* accept only: fds accepted, RING_TURN_MAX slots; taken every step */
	uint32_t backlog_len;
};

/* At most so many completions are recorded before ready tasks run: latency stays fair, and an
 * accept backlog of this size never overflows. */
#define RING_TURN_MAX 64

#define OP_MAGIC   0x6f70a11du
#define TASK_MAGIC 0x7a5ca11du

struct ring_limits {
	uint32_t entries;     /* submission queue, a power of two */
	uint32_t completions; /* completion queue, a power of two */
	uint32_t block_bytes; /* size of one provided receive block; 0 = no provided blocks */
	uint32_t block_count; /* a power of two, at most 32768 */
};

/* About a received block that waits in its op, behind others. */
struct ring_note {
	uint32_t len;
	uint16_t next;
};

struct ring {
	struct io_uring *uring;
	struct ring_note *notes; /* one for each block */
	bool can_stream;	 /* the kernel goes on receiving by itself, up to a budget */
	uint8_t *blocks;	 /* block_count * block_bytes */
	void *block_ring;	 /* shared with the kernel */
	struct ring_limits limits;
	uint32_t blocks_out; /* with owners */
	uint16_t *spare;     /* neither with owners nor with the kernel: the last one first */
	uint32_t spare_count;
	uint32_t offer_max;  /* so many are with the kernel; more once it had too few */
	struct list starved; /* tasks waiting for blocks, see ring_starve() */
	uint64_t submit_count, completion_count;
	uint64_t no_block_count; /* receives that found no block */
};

void task_init(struct task *t, uint16_t kind);
void op_init(struct op *op, struct task *owner);

/* Creates the ring disabled and restricted to the operations of this header; -ENOSYS or -EPERM when
 * io_uring is not to be had, with the cause and the cure in err. Any thread; call ring_enable() on
 * the thread that will use it. */
int ring_init(struct ring *r, const struct ring_limits *limits, struct err *err) MUST_CHECK;
int ring_enable(struct ring *r, struct err *err) MUST_CHECK;
/* On the same thread as ring_enable(); safe after a failed ring_init(). Operations still armed are
 * lost, so end them first. */
void ring_done(struct ring *r);

/* Each of these arms `op`, which must not be armed. They cannot fail: a full submission queue is
 * flushed. The result comes through the loop. Sockets must be in blocking mode: a non-blocking one
 * would answer -EAGAIN instead of waiting. */

/* Goes on until it is cancelled or fails: fds arrive in op->backlog and the op stays armed. It may
 * also end by itself (not armed, result 0 or -errno): arm it again, after a delay on -EMFILE. */
void ring_accept(struct ring *r, struct op *op, int fd);
/* Ends once, when there is something to read or the far end is gone; the result is a poll(2) mask
 * or -errno. For control channels only. */
void ring_poll(struct ring *r, struct op *op, int fd);
/* For a connection on which nothing is to be received any more: tells when it is reset (POLLERR in
 * the result, a poll(2) mask). Stays armed and may tell other things; to be cancelled. */
void ring_watch(struct ring *r, struct op *op, int fd);
/* Receives into a provided block: has_block is set exactly when result > 0. Result 0 is end of
 * stream; -ENOBUFS: see ring_starve(). A cancelled op may say -ENOBUFS instead of -ECANCELED. */
void ring_recv(struct ring *r, struct op *op, int fd);
/* Receives into provided blocks, one after the other, `len` bytes into each at most, until `budget`
 * bytes have come: less than `len` more than the budget, however slowly they are taken. After each
 * block the op is fresh. It ends, no longer armed, with a result > 0 when it may just be armed
 * again, and else as ring_recv(); the blocks that came before the end are there all the same.
 * Where the kernel cannot go on by itself (before Linux 6.17), and without a budget, every block
 * ends it, and the next arming brings the rest. */
void ring_stream(struct ring *r, struct op *op, int fd, size_t len, uint32_t budget);
/* The length of the next block, which is ring_block(r, op->block); 0 when there is none. */
uint32_t ring_stream_len(const struct ring *r, const struct op *op);
/* Hands the next block over, to be given back with ring_block_put(). There must be one. */
uint16_t ring_stream_take(struct ring *r, struct op *op);
/* Receives into the owner's memory; also reads eventfds and unix sockets (MSG_* flags: none). */
void ring_read(struct ring *r, struct op *op, int fd, void *bytes, size_t len);
/* Same on a socket, by the call for sockets: tells whether there is more. */
void ring_recv_into(struct ring *r, struct op *op, int fd, void *bytes, size_t len);
/* All of it (MSG_WAITALL | MSG_NOSIGNAL), or an error; a short count means the peer went away, or a
 * cancel or a shutdown came in between. */
void ring_send(struct ring *r, struct op *op, int fd, const void *bytes, size_t len);
void ring_connect(struct ring *r, struct op *op, int fd, const struct sockaddr_storage *address);
/* Asks for an armed op to end early; it still completes, in either way. Safe to repeat, and no
 * effect on an op that is not armed. */
void ring_cancel(struct ring *r, struct op *op);

/* A received block's memory, and its return. */
uint8_t *ring_block(const struct ring *r, uint16_t block);
void ring_block_put(struct ring *r, uint16_t block);
/* More than half of the blocks are with owners. One who has no use for his for now should copy what
 * is in it and give it back, or those who wait for nothing worse than a block wait for him. */
bool ring_blocks_short(const struct ring *r);
/* After -ENOBUFS, instead of arming again at once: the task is made ready when blocks are back, in
 * the order of asking. Safe to repeat; ends by itself when the task is buried. */
void ring_starve(struct ring *r, struct task *t);

/* --- for the loop only --- */

/* Submits, then waits until there is a completion or `timeout_ns` has passed: 0 = do not wait,
 * UINT64_MAX = no limit. May return early with nothing to show. */
void ring_wait(struct ring *r, uint64_t timeout_ns);
/* Records the next completion and returns its op, or NULL when there is none left. */
struct op *ring_next(struct ring *r);
/* Puts a block that came behind the others of a stream. For implementations of this header. */
void ring_stream_add(struct ring *r, struct op *op, uint16_t block, uint32_t len);
/* Takes the next starved task off the list, or NULL. `taken` is how many were taken in this turn:
 * no more are woken than there are blocks for. */
struct task *ring_feed(struct ring *r, uint32_t taken);
/* The time: a fake ring has its own. */
void ring_now(const struct ring *r, uint64_t *ret_monotonic_ns, uint64_t *ret_wall_ns);
