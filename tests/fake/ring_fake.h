/* SPDX-License-Identifier: Apache-2.0 */
/* A ring without a kernel: implements ring/ring.h for unit tests of step functions. Link loop_lib
 * and fake_lib instead of ring_lib and socket_lib. Nothing waits, nothing is random unless asked
 * for, and time stands still until the test moves it.
 *
 *     fake_init();
 *     loop_init(&l, &limits, 1, &err);         -- the real loop on the fake ring
 *     int fd = fake_socket();                  -- socket_fake.h: a connection and its far end
 *     thing_init(&thing, &l, fd);              -- arms a receive
 *     fake_peer_send_text(fd, "hello");
 *     fake_pump(&l, thing_step, thing_free);   -- turns until nothing moves any more
 *     ... fake_peer_received(fd) ...
 *     fake_run(&l, thing_step, thing_free, 5 * CLOCK_S);    -- timers fire, each at its time
 *     loop_done(&l);
 *     fake_done();                             -- fails on anything left behind
 *
 * An operation on an fd of the socket table completes by itself, as the state of the socket allows.
 * On any other fd, and after fake_socket_script(fd), it only completes when the test says so, with
 * fake_complete() and its kin: in any order, a cancelled one with any result.
 *
 * Streams go on by themselves; after ring.can_stream = false they end with every block.
 *
 * What a caller does wrong becomes a complaint: printed at once, kept, and fatal in fake_done(). A
 * buffer or op freed while armed is found by ASan when the operation completes; a block read after
 * ring_block_put() likewise, since idle blocks are poisoned. */
#pragma once

#include "ring/loop.h"

/* Forgets everything: the first call of each test. */
void fake_init(void);
/* The last call, after loop_done(): aborts if there was a complaint, or if operations are armed,
 * blocks are out or sockets are open. */
void fake_done(void);
/* The first complaint, or NULL; taking it excuses it. */
const char *fake_complaint(void);

/* --- time --- */

/* Moves both clocks; the loop sees it at its next turn. */
void fake_advance(uint64_t ns);
/* Sets the wall clock alone, as an administrator would. */
void fake_set_wall(uint64_t wall_ns);

/* --- running the loop --- */

typedef void fake_step(struct task *t);

/* Turns until no task is ready and no operation can complete; returns the number of turns. A loop
 * that is busy for ever is a complaint. `reap` gets the dead tasks; NULL if none can die. */
uint32_t fake_pump(struct loop *l, fake_step *step, fake_step *reap);
/* Pumps, then lets `ns` pass, stopping at every timer on the way to pump again. */
void fake_run(struct loop *l, fake_step *step, fake_step *reap, uint64_t ns);

/* --- what is going on --- */

enum fake_kind {
	FAKE_ACCEPT,
	FAKE_RECV,
	FAKE_READ,
	FAKE_SEND,
	FAKE_CONNECT,
	FAKE_POLL,
	FAKE_WATCH,
	FAKE_KIND_COUNT
};

/* Pieces of memory that the simulated kernel has asked for since fake_init(). */
uint64_t fake_memory_count(void);
/* Operations armed now, of all rings. */
uint32_t fake_ops_armed(void);
/* Operations of this kind armed since fake_init(): a run without faults tells how many there are to
 * be tried with each fault. */
uint32_t fake_ops_count(enum fake_kind kind);

/* --- the script: completing by hand --- */

/* Ends an armed op. A send of result > 0 hands so many bytes to the far end; not for receives with
 * result > 0, which want fake_complete_recv(). */
void fake_complete(struct op *op, int32_t result);
/* Same, with -errno. */
void fake_fail(struct op *op, int32_t result);
/* Ends an armed ring_recv() with these bytes in a block (there must be one, and they must fit), or
 * an armed ring_read() with these bytes. A ring_stream() goes on if its budget allows. */
void fake_complete_recv(struct op *op, const void *bytes, size_t len);
/* One more accepted fd; the op stays armed. */
void fake_accept(struct op *op, int fd);

/* --- faults --- */

enum fake_fault {
	FAKE_FAULT_NONE,
	/* One byte received; half of it sent, and the connection gone. */
	FAKE_FAULT_SHORT,
	/* When it is cancelled it succeeds all the same, if it can. Without this a cancel wins. */
	FAKE_FAULT_CANCEL_LOSES,
	/* Received nothing for want of blocks; no bytes are lost. */
	FAKE_FAULT_NO_BLOCK,
	/* -ECONNRESET, and the connection gone. */
	FAKE_FAULT_RESET,
	/* Nothing ends it, no cancel and no shutdown, until fake_release(). */
	FAKE_FAULT_LATE,
	/* Accept: -EMFILE, no longer armed. */
	FAKE_FAULT_END,
	FAKE_FAULT_COUNT,
};

/* Plans a fault for the nth operation of this kind from now on, 1 = the next one armed. A fault
 * which makes no sense for the kind has no effect. */
void fake_fault(enum fake_kind kind, uint32_t nth, enum fake_fault fault);
/* Faults planned and not yet met by an operation. */
uint32_t fake_faults_left(void);
/* Lets late operations end, with what is true by then. */
void fake_release(void);

/* From here on: operations complete late and out of order, receives are short, cancels lose half
 * of the time. The same seed gives the same run. Nothing is lost, so a correct owner gets the same
 * bytes through. 0 = off. */
void fake_chaos(uint64_t seed);
