/* SPDX-License-Identifier: Apache-2.0 */
/* The whole of the fake, and ring/ring.h: operations in, completions out. What becomes of an
 * operation in between is decided in kernel_fake.c, or by the test in script_fake.c. */
#include "fake/fake_table.h"

#include <errno.h>
#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_START_NS 1000000000000ull	     /* monotonic */
#define FAKE_WALL_NS  1767225600000000000ull /* 2026-01-01T00:00:00Z */

struct fake fake;

/* Blocks with the kernel, first in first out as the real ones. Kept in ring.block_ring. */
struct fake_blocks {
	uint32_t first, count;
	uint16_t idle[];
};

/* --- the whole --- */

void fake_complain(const char *format, ...)
{
	char text[sizeof(fake.complaint)];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "fake: %s\n", text);
	if (!fake.has_complaint)
		memcpy(fake.complaint, text, sizeof(text));
	fake.has_complaint = true;
}

const char *fake_complaint(void)
{
	if (!fake.has_complaint)
		return NULL;
	fake.has_complaint = false;
	return fake.complaint;
}

void *fake_alloc(size_t size)
{
	void *memory = calloc(1, size);
	ASSERT(memory);
	fake.memory_count++;
	return memory;
}

uint64_t fake_memory_count(void)
{
	return fake.memory_count;
}

static void fake_list_free(struct list *head)
{
	struct list *node;
	while ((node = list_pop(head)))
		free(node);
}

/* Everything that stands on the lists has its node first. */
static void fake_forget(void)
{
	fake_sockets_free();
	fake_list_free(&fake.armed);
	fake_list_free(&fake.completions);
	fake_list_free(&fake.rules);
	fake_list_free(&fake.plans);
	free(fake.opened);
	fake.on = false;
}

void fake_init(void)
{
	if (fake.on)
		fake_forget();
	fake = (struct fake){.on = true,
		.monotonic_ns = FAKE_START_NS,
		.wall_ns = FAKE_WALL_NS,
		.next_fd = FAKE_FD_FIRST};
	list_init(&fake.armed);
	list_init(&fake.completions);
	list_init(&fake.sockets);
	list_init(&fake.rules);
	list_init(&fake.plans);
}

void fake_done(void)
{
	if (fake.armed_count)
		fake_complain("%u operations still armed at the end", fake.armed_count);
	LIST_EACH (&fake.sockets, node) {
		struct fake_socket *s = CONTAINER_OF(node, struct fake_socket, node);
		if (s->open)
			fake_complain("socket %d still open at the end", s->fd);
	}
	if (fake.has_complaint)
		abort();
	fake_forget();
}

void fake_advance(uint64_t ns)
{
	fake.monotonic_ns += ns;
	fake.wall_ns += ns;
}

void fake_set_wall(uint64_t wall_ns)
{
	fake.wall_ns = wall_ns;
}

void fake_chaos(uint64_t seed)
{
	fake.chaos = seed;
}

uint64_t fake_random(void)
{
	uint64_t x = fake.chaos += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* --- ring/ring.h --- */

static void fake_blocks_poison(struct ring *r, uint16_t block)
{
	ASAN_POISON_MEMORY_REGION(ring_block(r, block), r->limits.block_bytes);
}

static void fake_block_offer(struct ring *r, uint16_t block)
{
	struct fake_blocks *b = r->block_ring;
	b->idle[(b->first + b->count++) % r->limits.block_count] = block;
	fake_blocks_poison(r, block);
}

bool fake_block_idle(const struct ring *r)
{
	const struct fake_blocks *b = r->block_ring;
	ASSERT(b); /* ring_recv() on a ring without blocks */
	return b->count > 0;
}

bool fake_block_take(struct ring *r, uint16_t *ret_block)
{
	struct fake_blocks *b = r->block_ring;
	if (!fake_block_idle(r))
		return false;
	*ret_block = b->idle[b->first];
	b->first = (b->first + 1) % r->limits.block_count;
	b->count--;
	ASAN_UNPOISON_MEMORY_REGION(ring_block(r, *ret_block), r->limits.block_bytes);
	return true;
}

int ring_init(struct ring *r, const struct ring_limits *limits, struct err *err)
{
	ASSERT(fake.on); /* fake_init() comes first */
	*r = (struct ring){.limits = *limits, .can_stream = true};
	list_init(&r->starved);
	if (limits->block_bytes == 0)
		return 0;
	r->notes = fake_alloc(limits->block_count * sizeof(*r->notes));
	r->blocks = fake_alloc((size_t)limits->block_count * limits->block_bytes);
	r->block_ring =
		fake_alloc(sizeof(struct fake_blocks) + limits->block_count * sizeof(uint16_t));
	for (uint32_t i = 0; i < limits->block_count; i++)
		fake_block_offer(r, (uint16_t)i);
	return 0;
}

int ring_enable(struct ring *r, struct err *err)
{
	return 0;
}

void ring_done(struct ring *r)
{
	LIST_EACH (&fake.armed, node) {
		if (CONTAINER_OF(node, struct fake_op, node)->ring == r)
			fake_complain("ring_done() with an operation armed");
	}
	if (r->blocks_out)
		fake_complain("ring_done() with %u blocks out", r->blocks_out);
	if (r->blocks)
		ASAN_UNPOISON_MEMORY_REGION(
			r->blocks, (size_t)r->limits.block_count * r->limits.block_bytes);
	free(r->blocks);
	free(r->block_ring);
	free(r->notes);
	r->notes = NULL;
	r->blocks = NULL;
	r->block_ring = NULL;
}

static enum fake_fault fake_planned(enum fake_kind kind)
{
	uint32_t number = ++fake.kind_count[kind];
	LIST_EACH (&fake.plans, node) {
		struct fake_plan *p = CONTAINER_OF(node, struct fake_plan, node);
		if (p->kind != kind || p->number != number)
			continue;
		enum fake_fault fault = p->fault;
		list_remove(&p->node);
		free(p);
		return fault;
	}
	return FAKE_FAULT_NONE;
}

static struct fake_op *fake_arm(struct ring *r, struct op *op, enum fake_kind kind, int fd)
{
	ASSERT(op->magic == OP_MAGIC && !op->armed && !op->has_block);
	ASSERT(op->owner->magic == TASK_MAGIC && !op->owner->dead);
	op->armed = true;
	op->fresh = false;
	op->cancelled = false;
	op->streaming = false;
	op->more = false;
	op->result = 0;
	r->submit_count++;
	fake.armed_count++;
	struct fake_op *o = fake_alloc(sizeof(*o));
	o->ring = r;
	o->op = op;
	o->kind = kind;
	o->fault = fake_planned(kind);
	o->fd = fd;
	list_add_last(&fake.armed, &o->node);
	struct fake_socket *s = fake_find(fd);
	if (s && !s->open)
		fake_complain("an operation armed on socket %d, which is closed", fd);
	return o;
}

void ring_accept(struct ring *r, struct op *op, int fd)
{
	ASSERT(op->backlog);
	fake_arm(r, op, FAKE_ACCEPT, fd);
}

void ring_watch(struct ring *r, struct op *op, int fd)
{
	fake_arm(r, op, FAKE_WATCH, fd);
}

void ring_poll(struct ring *r, struct op *op, int fd)
{
	fake_arm(r, op, FAKE_POLL, fd);
}

void ring_recv(struct ring *r, struct op *op, int fd)
{
	struct fake_op *o = fake_arm(r, op, FAKE_RECV, fd);
	o->len = r->limits.block_bytes;
}

void ring_stream(struct ring *r, struct op *op, int fd, size_t len, uint32_t budget)
{
	ASSERT(len > 0 && len <= r->limits.block_bytes);
	struct fake_op *o = fake_arm(r, op, FAKE_RECV, fd);
	op->streaming = true;
	o->len = budget > 0 && !r->can_stream ? r->limits.block_bytes : len;
	o->budget = r->can_stream ? budget : 0;
}

void ring_read(struct ring *r, struct op *op, int fd, void *bytes, size_t len)
{
	struct fake_op *o = fake_arm(r, op, FAKE_READ, fd);
	o->into = bytes;
	o->len = len;
}

void ring_recv_into(struct ring *r, struct op *op, int fd, void *bytes, size_t len)
{
	ring_read(r, op, fd, bytes, len);
}

void ring_send(struct ring *r, struct op *op, int fd, const void *bytes, size_t len)
{
	struct fake_op *o = fake_arm(r, op, FAKE_SEND, fd);
	o->from = bytes;
	o->len = len;
}

void ring_connect(struct ring *r, struct op *op, int fd, const struct sockaddr_storage *address)
{
	struct fake_op *o = fake_arm(r, op, FAKE_CONNECT, fd);
	o->address = address;
}

void ring_cancel(struct ring *r, struct op *op)
{
	ASSERT(op->magic == OP_MAGIC);
	if (op->armed)
		op->cancelled = true;
}

uint8_t *ring_block(const struct ring *r, uint16_t block)
{
	ASSERT(block < r->limits.block_count);
	return r->blocks + (size_t)block * r->limits.block_bytes;
}

void ring_block_put(struct ring *r, uint16_t block)
{
	struct fake_blocks *b = r->block_ring;
	for (uint32_t i = 0; i < b->count; i++) {
		if (b->idle[(b->first + i) % r->limits.block_count] == block) {
			fake_complain("block %u given back twice", block);
			return;
		}
	}
	ASSERT(r->blocks_out > 0);
	r->blocks_out--;
	fake_block_offer(r, block);
}

void ring_wait(struct ring *r, uint64_t timeout_ns)
{
	fake_progress(r);
}

static struct fake_completion *fake_completion_first(const struct ring *r)
{
	LIST_EACH (&fake.completions, node) {
		struct fake_completion *c = CONTAINER_OF(node, struct fake_completion, node);
		if (c->ring == r)
			return c;
	}
	return NULL;
}

static void fake_hand_block(struct ring *r, struct op *op, const struct fake_completion *c)
{
	r->blocks_out++;
	if (op->streaming) {
		ring_stream_add(r, op, c->block, (uint32_t)c->result);
	} else {
		op->has_block = true;
		op->block = c->block;
	}
}

struct op *ring_next(struct ring *r)
{
	struct fake_completion *c = fake_completion_first(r);
	if (!c)
		return NULL;
	struct op *op = c->op;
	ASSERT(op->magic == OP_MAGIC && op->armed);
	if (op->backlog && op->backlog_len == RING_TURN_MAX)
		return NULL; /* its owner has to take what it has first */
	r->completion_count++;
	op->armed = c->more;
	op->fresh = true;
	op->more = c->nonempty;
	op->result = c->result;
	if (op->backlog && c->result >= 0) {
		op->backlog[op->backlog_len++] = c->result;
		op->result = 0;
	}
	if (c->has_block)
		fake_hand_block(r, op, c);
	if (c->result == -ENOBUFS)
		r->no_block_count++;
	if (!c->more)
		fake.armed_count--;
	list_remove(&c->node);
	free(c);
	return op;
}

void ring_now(const struct ring *r, uint64_t *ret_monotonic_ns, uint64_t *ret_wall_ns)
{
	*ret_monotonic_ns = fake.monotonic_ns;
	*ret_wall_ns = fake.wall_ns;
}

/* --- completing --- */

static struct fake_completion *fake_completion_add(struct fake_op *o, int32_t result, bool more)
{
	struct fake_completion *c = fake_alloc(sizeof(*c));
	c->ring = o->ring;
	c->op = o->op;
	c->fd = o->fd;
	c->result = result;
	c->more = more;
	struct fake_socket *s = fake_find(o->fd);
	c->nonempty = s && result > 0 && s->unread > 0;
	list_add_last(&fake.completions, &c->node);
	if (!more) {
		list_remove(&o->node);
		free(o);
	}
	return c;
}

void fake_post(struct fake_op *o, int32_t result, bool more)
{
	fake_completion_add(o, result, more);
}

void fake_post_block(struct fake_op *o, uint16_t block, size_t len, bool more)
{
	struct fake_completion *c = fake_completion_add(o, (int32_t)len, more);
	c->has_block = true;
	c->block = block;
}
