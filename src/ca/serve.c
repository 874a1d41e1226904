/* SPDX-License-Identifier: Apache-2.0 */
/* The listeners, the queue of complete requests, and the end of it all.
 *
 * The queue gives every address its turn: the next to be answered is the longest waiting one of an
 * address other than that answered last, where there is one. */
#include "serve.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/socket.h"
#include <errno.h>
#include <stdlib.h>

#define SERVE_BLOCK_BYTES     18432 /* a record of TLS and its overhead */
#define SERVE_BLOCKS_PER_CONN 4

struct serve_listener {
	struct task task;
	struct list node; /* in serve.listeners */
	struct serve *serve;
	struct address address;
	int fd;
	bool closing;
	struct op accept;
	struct timer pause;
	int32_t backlog[RING_TURN_MAX];
};

void serve_init(struct serve *s, struct loop *loop)
{
	*s = (struct serve){.loop = loop, .conn_max = SERVE_CONN_MAX};
	buf_pool_init(&s->pool, SERVE_BLOCK_BYTES, SERVE_BLOCKS_PER_CONN * SERVE_CONN_MAX);
	list_init(&s->listeners);
	for (size_t i = 0; i < ARRAY_LEN(s->conns); i++)
		list_init(&s->conns[i]);
	task_init(&s->queue, SERVE_TASK_QUEUE);
	timer_init(&s->queue_timer, &s->queue);
}

void serve_done(struct serve *s)
{
	ASSERT(serve_idle(s));
	timer_clear(s->loop, &s->queue_timer);
	serve_material_unref(s->material);
	buf_pool_done(&s->pool);
}

bool serve_may_log(struct serve *s)
{
	uint64_t second = s->loop->now_ns / CLOCK_S;
	if (second != s->log_second) {
		if (s->log_count > SERVE_LOG_LINES_PER_SECOND)
			log_warning("ca", "%u lines about clients were left out",
				s->log_count - SERVE_LOG_LINES_PER_SECOND);
		s->log_second = second;
		s->log_count = 0;
	}
	return ++s->log_count <= SERVE_LOG_LINES_PER_SECOND;
}

/* --- listeners --- */

int serve_listen(struct serve *s, int fd, const struct address *address, struct err *err)
{
	struct serve_listener *l = calloc(1, sizeof(*l));
	if (!l)
		return err_set(err, ENOMEM, "out of memory");
	task_init(&l->task, SERVE_TASK_LISTENER);
	op_init(&l->accept, &l->task);
	timer_init(&l->pause, &l->task);
	l->accept.backlog = l->backlog;
	l->serve = s;
	l->fd = fd;
	l->address = *address;
	list_add_last(&s->listeners, &l->node);
	s->listener_count++;
	ring_accept(&s->loop->ring, &l->accept, fd);
	return 0;
}

static struct serve_listener *serve_listener_of(const struct list *node)
{
	return CONTAINER_OF(node, struct serve_listener, node);
}

bool serve_listens(const struct serve *s, const struct address *address)
{
	LIST_EACH (&s->listeners, node) {
		const struct serve_listener *l = serve_listener_of(node);
		if (!l->closing && address_equal(&l->address, address))
			return true;
	}
	return false;
}

uint32_t serve_listening(const struct serve *s, struct address *ret_addresses, uint32_t count_max)
{
	uint32_t count = 0;
	LIST_EACH (&s->listeners, node) {
		const struct serve_listener *l = serve_listener_of(node);
		if (!l->closing && count < count_max)
			ret_addresses[count++] = l->address;
	}
	return count;
}

static void serve_listener_close(struct serve_listener *l)
{
	if (l->closing)
		return;
	l->closing = true;
	timer_clear(l->serve->loop, &l->pause);
	if (l->accept.armed)
		ring_cancel(&l->serve->loop->ring, &l->accept);
	loop_ready(l->serve->loop, &l->task);
}

void serve_deafen(struct serve *s, const struct address *address)
{
	LIST_EACH (&s->listeners, node) {
		struct serve_listener *l = serve_listener_of(node);
		if (address_equal(&l->address, address))
			serve_listener_close(l);
	}
}

/* The one that has been in its state for longest, of several states; NULL: none is in them. */
static struct serve_conn *serve_oldest(
	struct serve *s, const enum serve_conn_state *states, size_t count)
{
	struct serve_conn *oldest = NULL;
	for (size_t i = 0; i < count; i++) {
		struct list *list = &s->conns[states[i]];
		if (list_empty(list))
			continue;
		struct serve_conn *first = serve_conn_of_node(list->next);
		if (!oldest || serve_conn_since(first) < serve_conn_since(oldest))
			oldest = first;
	}
	return oldest;
}

/* Room for one more. Who is idle makes it; then who is slow: an honest client shakes hands, asks
 * and takes its answer within milliseconds, so the oldest is one that fills the place up. */
static bool serve_make_room(struct serve *s)
{
	static const enum serve_conn_state idle[] = {SERVE_LINGER, SERVE_IDLE};
	static const enum serve_conn_state slow[] = {SERVE_SHAKE, SERVE_READ, SERVE_WRITE};
	if (s->open_count < s->conn_max)
		return true;
	struct serve_conn *c = serve_oldest(s, idle, ARRAY_LEN(idle));
	if (!c)
		c = serve_oldest(s, slow, ARRAY_LEN(slow));
	if (c)
		serve_conn_close(c);
	return s->open_count < s->conn_max;
}

static void serve_listener_take(struct serve_listener *l, int fd)
{
	struct serve *s = l->serve;
	if (!s->closing && serve_make_room(s)) {
		serve_conn_new(s, fd);
		return;
	}
	if (!s->closing && serve_may_log(s))
		log_warning("ca", "%u connections: another one is refused", s->open_count);
	socket_close(fd);
}

/* The multishot accept has ended: by an error, or because the kernel says so now and then. */
static void serve_listener_again(struct serve_listener *l)
{
	struct serve *s = l->serve;
	if (l->accept.fresh && l->accept.result < 0) {
		l->accept.fresh = false;
		if (serve_may_log(s))
			log_warning("ca", "accept: %s; trying again", strerror(-l->accept.result));
		timer_set(s->loop, &l->pause, s->loop->now_ns + SERVE_ACCEPT_PAUSE_NS);
	} else if (l->accept.fresh || l->pause.fired) {
		l->accept.fresh = l->pause.fired = false;
		ring_accept(&s->loop->ring, &l->accept, l->fd);
	}
}

/* waits for: the accept, or the pause after a failed one */
static void serve_listener_step(struct serve_listener *l)
{
	for (uint32_t i = 0; i < l->accept.backlog_len; i++)
		serve_listener_take(l, l->backlog[i]);
	l->accept.backlog_len = 0;
	if (l->accept.armed)
		return;
	if (l->closing)
		loop_bury(l->serve->loop, &l->task);
	else
		serve_listener_again(l);
}

static void serve_listener_free(struct serve_listener *l)
{
	list_remove(&l->node);
	l->serve->listener_count--;
	socket_close(l->fd);
	free(l);
}

/* --- the queue --- */

static struct serve_conn *serve_next(struct serve *s)
{
	struct list *asking = &s->conns[SERVE_ASK];
	LIST_EACH (asking, node) {
		struct serve_conn *c = serve_conn_of_node(node);
		if (!address_same_ip(serve_conn_address(c), &s->served_last))
			return c;
	}
	return list_empty(asking) ? NULL : serve_conn_of_node(asking->next);
}

/* waits for: requests; and after some, for the next turn, so that the network is looked at */
static void serve_queue_step(struct serve *s)
{
	struct serve_conn *c;
	if (s->queue_timer.deadline_ns && !s->queue_timer.fired)
		return;
	timer_clear(s->loop, &s->queue_timer);
	for (int i = 0; i < SERVE_ANSWERS_PER_TURN && (c = serve_next(s)); i++) {
		s->served_last = *serve_conn_address(c);
		serve_conn_answer(c);
	}
	if (!list_empty(&s->conns[SERVE_ASK]))
		timer_set(s->loop, &s->queue_timer, s->loop->now_ns + 1);
}

/* --- all of them --- */

void serve_step(struct task *t)
{
	switch ((enum serve_task_kind)t->kind) {
	case SERVE_TASK_LISTENER:
		serve_listener_step(CONTAINER_OF(t, struct serve_listener, task));
		break;
	case SERVE_TASK_CONN:
		serve_conn_step(serve_conn_of_task(t));
		break;
	case SERVE_TASK_QUEUE:
		serve_queue_step(CONTAINER_OF(t, struct serve, queue));
		break;
	case SERVE_TASK_OWNER:
		break;
	}
}

void serve_reap(struct task *t)
{
	switch ((enum serve_task_kind)t->kind) {
	case SERVE_TASK_LISTENER:
		serve_listener_free(CONTAINER_OF(t, struct serve_listener, task));
		break;
	case SERVE_TASK_CONN:
		serve_conn_free(serve_conn_of_task(t));
		break;
	case SERVE_TASK_QUEUE:
	case SERVE_TASK_OWNER:
		break;
	}
}

static void serve_close_state(struct serve *s, enum serve_conn_state state)
{
	while (!list_empty(&s->conns[state]))
		serve_conn_close(serve_conn_of_node(s->conns[state].next));
}

void serve_close(struct serve *s)
{
	s->closing = true;
	LIST_EACH (&s->listeners, node)
		serve_listener_close(serve_listener_of(node));
	for (int state = 0; state < SERVE_LINGER; state++) {
		LIST_EACH (&s->conns[state], node)
			serve_conn_close_after(serve_conn_of_node(node));
	}
}

void serve_cut(struct serve *s)
{
	for (int state = 0; state < SERVE_CLOSING; state++)
		serve_close_state(s, (enum serve_conn_state)state);
}

bool serve_idle(const struct serve *s)
{
	return s->listener_count == 0 && s->conn_count == 0;
}
