/* SPDX-License-Identifier: Apache-2.0 */
/* What the simulated kernel makes of an armed operation, given the state of its socket. Each
 * fake_try_x() either posts the operation's completion and returns true, or leaves it armed. */
#include "fake/fake_table.h"

#include <errno.h>
#include <poll.h>

/* In chaos, one time in `n`. */
static bool fake_chance(uint64_t n)
{
	return fake.chaos && fake_random() % n == 0;
}

static bool fake_end(struct fake_op *o, int32_t result)
{
	fake_post(o, result, false);
	return true;
}

/* How much of `len` available bytes one receive gets. */
static size_t fake_receive_len(const struct fake_op *o, const struct fake_socket *s)
{
	size_t len = s->unread < o->len ? s->unread : o->len;
	if (s->packets)
		return len;
	if (o->fault == FAKE_FAULT_SHORT)
		return 1;
	if (fake.chaos)
		return fake_chance(4) ? 1 : 1 + fake_random() % len;
	return len;
}

/* Nothing to receive: is that the end? */
static bool fake_try_receive_end(struct fake_op *o, struct fake_socket *s)
{
	if (s->reset && !s->reset_told) {
		s->reset_told = true;
		return fake_end(o, -ECONNRESET);
	}
	return s->read_end || s->reset ? fake_end(o, 0) : false;
}

/* One block; false when the operation has ended with it. */
static bool fake_receive_block(struct fake_op *o, struct fake_socket *s)
{
	uint16_t block;
	ASSERT(fake_block_take(o->ring, &block));
	size_t len = fake_receive(s, ring_block(o->ring, block), fake_receive_len(o, s));
	o->moved += len;
	o->fault = FAKE_FAULT_NONE;
	/* The kernel may end a stream at any time. */
	bool more = o->moved < o->budget && !fake_chance(4);
	fake_post_block(o, block, len, more);
	return more;
}

static bool fake_try_recv(struct fake_op *o, struct fake_socket *s)
{
	/* As the kernel: it wants a block when it is armed, and then only when there are bytes. */
	bool wants_block = !o->tried || s->unread, moved = false;
	o->tried = true;
	if (!s->unread && (s->reset || s->read_end))
		return fake_try_receive_end(o, s);
	if (o->fault == FAKE_FAULT_NO_BLOCK || (wants_block && !fake_block_idle(o->ring)))
		return fake_end(o, -ENOBUFS);
	while (s->unread) {
		moved = true;
		if (!fake_receive_block(o, s) || !fake_block_idle(o->ring) || fake_chance(2))
			break;
	}
	return moved;
}

static bool fake_try_read(struct fake_op *o, struct fake_socket *s)
{
	if (!s->unread)
		return fake_try_receive_end(o, s);
	return fake_end(o, (int32_t)fake_receive(s, o->into, fake_receive_len(o, s)));
}

static int32_t fake_send_error(struct fake_socket *s)
{
	if (s->reset && !s->reset_told) {
		s->reset_told = true;
		return -ECONNRESET;
	}
	return s->reset || s->write_end ? -EPIPE : 0;
}

static bool fake_try_send(struct fake_op *o, struct fake_socket *s)
{
	if (s->reset || s->write_end) {
		/* A send that was under way tells how far it came; the next one tells why. */
		return fake_end(o, o->moved ? (int32_t)o->moved : fake_send_error(s));
	}
	if (o->fault == FAKE_FAULT_SHORT) {
		o->moved = fake_transmit(s, o->from, o->len / 2);
		fake_reset(s);
		return fake_end(o, o->moved ? (int32_t)o->moved : fake_send_error(s));
	}
	o->moved += fake_transmit(s, o->from + o->moved, o->len - o->moved);
	return o->moved == o->len ? fake_end(o, (int32_t)o->moved) : false;
}

static bool fake_try_connect(struct fake_op *o, struct fake_socket *s)
{
	struct address to = address_of(o->address);
	if (s->write_end) /* shut down while connecting */
		return fake_end(o, -ECONNRESET);
	int result = fake_connect(s, &to);
	return result == FAKE_PENDING ? false : fake_end(o, result);
}

static bool fake_try_accept(struct fake_op *o, struct fake_socket *s)
{
	if (o->fault == FAKE_FAULT_END)
		return fake_end(o, -EMFILE);
	if (s->queue_len == 0)
		return false;
	for (uint32_t i = 0; i < s->queue_len; i++)
		fake_post(o, s->queue[i], true);
	s->queue_len = 0;
	return true;
}

static bool fake_try_poll(struct fake_op *o, struct fake_socket *s)
{
	return s->unread || s->read_end || s->reset || s->queue_len ? fake_end(o, POLLIN) : false;
}

static bool fake_try_watch(struct fake_op *o, struct fake_socket *s)
{
	if (s->reset)
		return fake_end(o, POLLERR | POLLHUP);
	return s->read_end && s->write_end ? fake_end(o, POLLHUP) : false;
}

static bool fake_try_by_kind(struct fake_op *o, struct fake_socket *s)
{
	switch (o->kind) {
	case FAKE_ACCEPT:
		return fake_try_accept(o, s);
	case FAKE_RECV:
		return fake_try_recv(o, s);
	case FAKE_READ:
		return fake_try_read(o, s);
	case FAKE_SEND:
		return fake_try_send(o, s);
	case FAKE_CONNECT:
		return fake_try_connect(o, s);
	case FAKE_POLL:
		return fake_try_poll(o, s);
	case FAKE_WATCH:
		return fake_try_watch(o, s);
	case FAKE_KIND_COUNT:
		break;
	}
	ASSERT(o->kind < FAKE_KIND_COUNT);
	return false;
}

static bool fake_try_cancelled(struct fake_op *o, struct fake_socket *s)
{
	bool loses = o->fault == FAKE_FAULT_CANCEL_LOSES || fake_chance(2);
	/* An accept that gets more connections now is cancelled the next time. */
	if (loses && fake_try_by_kind(o, s))
		return true;
	return fake_end(o, o->kind == FAKE_SEND && o->moved ? (int32_t)o->moved : -ECANCELED);
}

static bool fake_try(struct fake_op *o)
{
	struct fake_socket *s = fake_find(o->fd);
	if (!s || s->script || o->fault == FAKE_FAULT_LATE)
		return false;
	if (o->op->cancelled)
		return fake_try_cancelled(o, s);
	if (o->fault == FAKE_FAULT_RESET && o->kind != FAKE_ACCEPT && o->kind != FAKE_POLL &&
		o->kind != FAKE_WATCH) {
		fake_reset(s);
		s->reset_told = true;
		return fake_end(o, -ECONNRESET);
	}
	return fake_try_by_kind(o, s);
}

/* One look at every armed operation of the ring, in the order of arming; those that are armed or
 * freed meanwhile are none of ours. */
static bool fake_pass(struct ring *r, bool patient)
{
	bool moved = false;
	struct list *next;
	for (struct list *node = fake.armed.next; node != &fake.armed; node = next) {
		struct fake_op *o = CONTAINER_OF(node, struct fake_op, node);
		next = node->next;
		if (o->ring != r || (patient && fake_chance(2)))
			continue;
		if (fake_try(o))
			moved = true;
	}
	return moved;
}

/* In chaos, completions of different operations change places. */
static void fake_shuffle(void)
{
	struct list *next;
	for (struct list *node = fake.completions.next; node->next != &fake.completions;
		node = next) {
		struct fake_completion *c = CONTAINER_OF(node, struct fake_completion, node);
		struct fake_completion *after =
			CONTAINER_OF(node->next, struct fake_completion, node);
		next = node->next;
		if (c->op == after->op || !fake_chance(2))
			continue;
		list_remove(node);
		list_add_first(next, node);
		next = node;
	}
}

bool fake_progress(struct ring *r)
{
	bool moved = fake.chaos ? fake_pass(r, true) || fake_pass(r, false) : fake_pass(r, false);
	if (fake.chaos && !list_empty(&fake.completions))
		fake_shuffle();
	return moved;
}
