/* SPDX-License-Identifier: Apache-2.0 */
/* The part of the ring's door that needs no kernel, and which a fake ring therefore shares. */
#include "ring/ring.h"

void task_init(struct task *t, uint16_t kind)
{
	*t = (struct task){.magic = TASK_MAGIC, .kind = kind};
	list_init(&t->node);
	list_init(&t->hungry);
}

void op_init(struct op *op, struct task *owner)
{
	*op = (struct op){.magic = OP_MAGIC, .owner = owner};
}

bool ring_blocks_short(const struct ring *r)
{
	return r->blocks_out > r->limits.block_count / 2;
}

void ring_starve(struct ring *r, struct task *t)
{
	ASSERT(t->magic == TASK_MAGIC);
	if (!t->dead && list_empty(&t->hungry))
		list_add_last(&r->starved, &t->hungry);
}

void ring_stream_add(struct ring *r, struct op *op, uint16_t block, uint32_t len)
{
	r->notes[block] = (struct ring_note){.len = len};
	if (op->has_block)
		r->notes[op->block_last].next = block;
	else
		op->block = block;
	op->block_last = block;
	op->has_block = true;
}

uint32_t ring_stream_len(const struct ring *r, const struct op *op)
{
	return op->has_block ? r->notes[op->block].len : 0;
}

uint16_t ring_stream_take(struct ring *r, struct op *op)
{
	ASSERT(op->streaming && op->has_block);
	uint16_t block = op->block;
	op->has_block = block != op->block_last;
	op->block = r->notes[block].next;
	return block;
}

struct task *ring_feed(struct ring *r, uint32_t taken)
{
	if (r->blocks_out + taken >= r->limits.block_count)
		return NULL;
	struct list *node = list_pop(&r->starved);
	return node ? CONTAINER_OF(node, struct task, hungry) : NULL;
}
