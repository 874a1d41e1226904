/* SPDX-License-Identifier: Apache-2.0 */
/* The turn, and the timers.
 *
 * Timers stand in a binary min-heap. Nearly all of them are timeouts which are moved to a later
 * time again and again and hardly ever fire, so moving to later only writes the new deadline: the
 * timer keeps its place (queued_ns) until it comes to the top, and only then sinks to where it
 * belongs. For every queued timer queued_ns <= deadline_ns, so none is ever overlooked. */
#include "ring/loop.h"

#include <stdlib.h>
#include <string.h>

#define TIMER_NO_INDEX UINT32_MAX

static struct task *loop_task_of(struct list *node)
{
	return node ? CONTAINER_OF(node, struct task, node) : NULL;
}

int loop_init(struct loop *l, const struct ring_limits *limits, uint64_t seed, struct err *err)
{
	*l = (struct loop){.random = seed};
	list_init(&l->ready);
	list_init(&l->dead);
	int result = ring_init(&l->ring, limits, err);
	if (result == 0)
		ring_now(&l->ring, &l->now_ns, &l->wall_ns);
	return result;
}

void loop_done(struct loop *l)
{
	ASSERT(l->heap_count == 0);
	free(l->heap);
	l->heap = NULL;
	l->heap_size = 0;
	ring_done(&l->ring);
}

static void timer_place(struct loop *l, struct timer *t, uint32_t index)
{
	l->heap[index] = t;
	t->index = index;
}

static void timer_rise(struct loop *l, struct timer *t)
{
	uint32_t index = t->index;
	while (index > 0) {
		uint32_t above = (index - 1) / 2;
		if (l->heap[above]->queued_ns <= t->queued_ns)
			break;
		timer_place(l, l->heap[above], index);
		index = above;
	}
	timer_place(l, t, index);
}

static void timer_sink(struct loop *l, struct timer *t)
{
	uint32_t index = t->index;
	for (;;) {
		uint32_t below = 2 * index + 1;
		if (below >= l->heap_count)
			break;
		if (below + 1 < l->heap_count &&
			l->heap[below + 1]->queued_ns < l->heap[below]->queued_ns)
			below++;
		if (t->queued_ns <= l->heap[below]->queued_ns)
			break;
		timer_place(l, l->heap[below], index);
		index = below;
	}
	timer_place(l, t, index);
}

/* Running out of memory here is fatal: a timer that cannot be set is a connection that never ends,
 * and the heap is a small part of what its owners already have. */
static void timer_heap_grow(struct loop *l)
{
	uint32_t size = l->heap_size ? 2 * l->heap_size : 64;
	struct timer **heap = realloc(l->heap, size * sizeof(struct timer *));
	ASSERT(heap);
	l->heap = heap;
	l->heap_size = size;
}

static void timer_queue(struct loop *l, struct timer *t)
{
	if (l->heap_count == l->heap_size)
		timer_heap_grow(l);
	t->queued_ns = t->deadline_ns;
	timer_place(l, t, l->heap_count++);
	timer_rise(l, t);
}

static void timer_unqueue(struct loop *l, struct timer *t)
{
	struct timer *last = l->heap[--l->heap_count];
	if (last != t) {
		timer_place(l, last, t->index);
		timer_rise(l, last);
		timer_sink(l, last);
	}
	t->index = TIMER_NO_INDEX;
}

void timer_init(struct timer *t, struct task *owner)
{
	*t = (struct timer){.index = TIMER_NO_INDEX, .owner = owner};
}

void timer_set(struct loop *l, struct timer *t, uint64_t deadline_ns)
{
	t->deadline_ns = deadline_ns ? deadline_ns : 1;
	t->fired = false;
	if (t->index == TIMER_NO_INDEX) {
		timer_queue(l, t);
	} else if (t->deadline_ns < t->queued_ns) {
		t->queued_ns = t->deadline_ns;
		timer_rise(l, t);
	}
}

void timer_clear(struct loop *l, struct timer *t)
{
	t->deadline_ns = 0;
	t->fired = false;
	if (t->index != TIMER_NO_INDEX)
		timer_unqueue(l, t);
}

/* The timer that is due next, or NULL. Lets those sink that were moved to later meanwhile. */
static struct timer *timer_first(struct loop *l)
{
	while (l->heap_count > 0) {
		struct timer *t = l->heap[0];
		if (t->queued_ns == t->deadline_ns)
			return t;
		t->queued_ns = t->deadline_ns;
		timer_sink(l, t);
	}
	return NULL;
}

static void timer_expire(struct loop *l)
{
	struct timer *t;
	while ((t = timer_first(l)) && t->deadline_ns <= l->now_ns) {
		timer_unqueue(l, t);
		t->deadline_ns = 0;
		t->fired = true;
		loop_ready(l, t->owner);
	}
}

static void loop_feed_starved(struct loop *l)
{
	uint32_t taken = 0;
	struct task *t;
	while ((t = ring_feed(&l->ring, taken))) {
		taken++;
		loop_ready(l, t);
	}
}

static uint64_t loop_timeout(struct loop *l)
{
	if (!list_empty(&l->ready))
		return 0;
	struct timer *t = timer_first(l);
	if (!t)
		return UINT64_MAX;
	/* The time of the last turn will not do: its steps may have taken long. */
	ring_now(&l->ring, &l->now_ns, &l->wall_ns);
	return t->deadline_ns > l->now_ns ? t->deadline_ns - l->now_ns : 0;
}

void loop_wait(struct loop *l)
{
	loop_feed_starved(l);
	ring_wait(&l->ring, loop_timeout(l));
	ring_now(&l->ring, &l->now_ns, &l->wall_ns);
	l->turn_count++;
	l->step_count = 0;
	struct op *op;
	for (int i = 0; i < RING_TURN_MAX && (op = ring_next(&l->ring)); i++)
		loop_ready(l, op->owner);
	timer_expire(l);
}

struct task *loop_next(struct loop *l)
{
	if (l->step_count >= LOOP_STEPS_MAX)
		return NULL;
	struct task *t = loop_task_of(list_pop(&l->ready));
	if (t) {
		t->ready = false;
		l->step_count++;
	}
	return t;
}

struct task *loop_dead(struct loop *l)
{
	struct task *t = loop_task_of(list_pop(&l->dead));
	if (t)
		t->magic = 0; /* a late use shows up at once */
	return t;
}

void loop_ready(struct loop *l, struct task *t)
{
	ASSERT(t->magic == TASK_MAGIC);
	if (t->ready || t->dead)
		return;
	t->ready = true;
	list_add_last(&l->ready, &t->node);
}

void loop_bury(struct loop *l, struct task *t)
{
	ASSERT(t->magic == TASK_MAGIC);
	if (t->dead)
		return;
	list_remove(&t->node);
	list_remove(&t->hungry);
	t->ready = false;
	t->dead = true;
	list_add_last(&l->dead, &t->node);
}

/* A Weyl sequence, mixed: one addition of state, every seed is good, period 2^64. */
uint64_t loop_random(struct loop *l)
{
	uint64_t x = l->random += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}
