/* SPDX-License-Identifier: Apache-2.0 */
/* One thread's turn: wait, record, expire timers, hand out ready tasks. The caller's loop is
 *
 *     loop_init(l, ...);                               -- any thread
 *     ring_enable(&l->ring, ...);                      -- the thread that runs the loop
 *     for (;;) {
 *             loop_wait(l);                             -- submit, sleep, record
 *             while ((t = loop_next(l))) x_step(t);     -- decide
 *             while ((t = loop_dead(l))) x_free(t);     -- free
 *     }
 */
#pragma once

#include "ring/ring.h"

struct timer {
	uint64_t deadline_ns; /* monotonic; 0 = not set */
	uint64_t queued_ns;   /* where it stands in the heap: may be earlier than the deadline */
	uint32_t index;	      /* in the heap, UINT32_MAX when not queued */
	bool fired;	      /* since the owner looked; the owner clears it, and so does setting */
	struct task *owner;
};

struct loop {
	struct ring ring;
	struct timer **heap;
	uint32_t heap_count, heap_size;
	struct list ready; /* of struct task */
	struct list dead;  /* of struct task */
	uint64_t now_ns;   /* monotonic, read once a turn */
	uint64_t wall_ns;  /* wall time, read once a turn */
	uint64_t random;   /* state of loop_random() */
	uint64_t turn_count;
	uint32_t step_count; /* tasks handed out in this turn */
};

/* At most so many tasks are stepped in one turn, so that tasks which keep each other ready cannot
 * shut the kernel out; the others come first in the next turn, which then does not wait. */
#define LOOP_STEPS_MAX 256

/* The ring is still disabled: see ring_enable(). The time is read, so timers can be set. */
int loop_init(struct loop *l, const struct ring_limits *limits, uint64_t seed,
	struct err *err) MUST_CHECK;
/* No timer may be set any more. */
void loop_done(struct loop *l);

/* Waits at most until the next timer, or not at all while tasks are ready. */
void loop_wait(struct loop *l);
/* Next task to step, or NULL at the end of the turn. */
struct task *loop_next(struct loop *l);
/* Next task to free, or NULL. Its memory belongs to the caller from here. */
struct task *loop_dead(struct loop *l);

/* Puts a task on the ready queue, once. No effect on a dead one. */
void loop_ready(struct loop *l, struct task *t);
/* Hands a task whose operations have all ended, and whose timers are cleared, to the end of the
 * turn. Takes it off every list; no effect on a dead one. */
void loop_bury(struct loop *l, struct task *t);

void timer_init(struct timer *t, struct task *owner);
/* Fires once at `deadline_ns` (owner made ready, `fired` set); moves an already set timer, which is
 * cheap towards later. Never early; late by a turn at most. */
void timer_set(struct loop *l, struct timer *t, uint64_t deadline_ns);
/* Also clears `fired`. Before the owner is buried, always. */
void timer_clear(struct loop *l, struct timer *t);

/* Fast, not for secrets; seeded, so that a test repeats. */
uint64_t loop_random(struct loop *l);
