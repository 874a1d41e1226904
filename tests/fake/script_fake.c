/* SPDX-License-Identifier: Apache-2.0 */
/* The test's own part: letting the loop turn, completing by hand, planning faults. */
#include "fake/fake_table.h"

#include <string.h>

#define FAKE_TURNS_MAX 100000

/* --- running the loop --- */

uint32_t fake_pump(struct loop *l, fake_step *step, fake_step *reap)
{
	for (uint32_t turn = 1; turn <= FAKE_TURNS_MAX; turn++) {
		uint64_t before = l->ring.completion_count;
		struct task *t;
		bool stepped = false;
		loop_wait(l);
		while ((t = loop_next(l))) {
			stepped = true;
			step(t);
		}
		while ((t = loop_dead(l))) {
			ASSERT(reap);
			reap(t);
		}
		if (!stepped && l->ring.completion_count == before)
			return turn;
	}
	fake_complain("the loop is never quiet");
	return FAKE_TURNS_MAX;
}

/* The earliest deadline not after `end`, or `end`. */
static uint64_t fake_next_deadline(const struct loop *l, uint64_t end)
{
	for (uint32_t i = 0; i < l->heap_count; i++) {
		if (l->heap[i]->deadline_ns < end)
			end = l->heap[i]->deadline_ns;
	}
	return end;
}

void fake_run(struct loop *l, fake_step *step, fake_step *reap, uint64_t ns)
{
	uint64_t end = fake.monotonic_ns + ns;
	fake_pump(l, step, reap);
	while (fake.monotonic_ns < end) {
		uint64_t next = fake_next_deadline(l, end);
		ASSERT(next > fake.monotonic_ns);
		fake_advance(next - fake.monotonic_ns);
		fake_pump(l, step, reap);
	}
}

/* --- completing by hand --- */

static struct fake_op *fake_op_of(const struct op *op)
{
	struct fake_op *found = NULL;
	LIST_EACH (&fake.armed, node) {
		struct fake_op *o = CONTAINER_OF(node, struct fake_op, node);
		if (o->op == op)
			found = o;
	}
	ASSERT(found); /* not armed, or completed already */
	return found;
}

void fake_complete(struct op *op, int32_t result)
{
	struct fake_op *o = fake_op_of(op);
	struct fake_socket *s = fake_find(o->fd);
	if (o->kind == FAKE_SEND && result > 0 && s)
		fake_transmit(s, o->from, (size_t)result);
	if (o->kind == FAKE_CONNECT && result == 0 && s)
		s->connected = true;
	/* The others: fake_complete_recv(), fake_accept(). */
	ASSERT(result <= 0 || o->kind == FAKE_SEND || o->kind == FAKE_POLL ||
		o->kind == FAKE_WATCH);
	fake_post(o, result, false);
}

void fake_fail(struct op *op, int32_t result)
{
	ASSERT(result < 0);
	fake_complete(op, result);
}

void fake_complete_recv(struct op *op, const void *bytes, size_t len)
{
	struct fake_op *o = fake_op_of(op);
	ASSERT(len > 0 && len <= o->len);
	if (o->kind == FAKE_READ) {
		memcpy(o->into, bytes, len);
		fake_post(o, (int32_t)len, false);
		return;
	}
	uint16_t block;
	ASSERT(o->kind == FAKE_RECV);
	ASSERT(fake_block_take(o->ring, &block));
	memcpy(ring_block(o->ring, block), bytes, len);
	o->moved += len;
	fake_post_block(o, block, len, o->moved < o->budget);
}

void fake_accept(struct op *op, int fd)
{
	struct fake_op *o = fake_op_of(op);
	ASSERT(o->kind == FAKE_ACCEPT);
	fake_post(o, fd, true);
}

/* --- counting and faults --- */

uint32_t fake_ops_armed(void)
{
	return fake.armed_count;
}

uint32_t fake_ops_count(enum fake_kind kind)
{
	return fake.kind_count[kind];
}

void fake_fault(enum fake_kind kind, uint32_t nth, enum fake_fault fault)
{
	ASSERT(nth > 0);
	struct fake_plan *p = fake_alloc(sizeof(*p));
	p->kind = kind;
	p->number = fake.kind_count[kind] + nth;
	p->fault = fault;
	list_add_last(&fake.plans, &p->node);
}

uint32_t fake_faults_left(void)
{
	uint32_t count = 0;
	LIST_EACH (&fake.plans, node)
		count++;
	return count;
}

void fake_release(void)
{
	LIST_EACH (&fake.armed, node) {
		struct fake_op *o = CONTAINER_OF(node, struct fake_op, node);
		if (o->fault == FAKE_FAULT_LATE)
			o->fault = FAKE_FAULT_NONE;
	}
}
