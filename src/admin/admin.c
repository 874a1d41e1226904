/* SPDX-License-Identifier: Apache-2.0 */
/* The admin room's listeners and its life. Connections are in conn.c, what they answer in page.c.
 *
 * A listener has one multishot accept. When the kernel ends it (out of descriptors, for instance),
 * it is armed again a little later. */
#include "inside.h"

#include "net/socket.h"
#include <errno.h>
#include <stdlib.h>

#define ADMIN_ACCEPT_PAUSE_NS 100000000ull

struct admin_listener {
	struct task task;
	struct list node; /* in admin.listeners */
	struct admin *admin;
	int fd; /* the caller's */
	bool is_unix;
	struct op accept;
	struct timer pause;
	int32_t backlog[RING_TURN_MAX];
};

int admin_new(struct loop *loop, struct proxy *proxy, struct admin **ret_admin, struct err *err)
{
	struct admin *a = calloc(1, sizeof(*a));
	if (!a)
		return err_set(err, ENOMEM, "admin: out of memory");
	a->loop = loop;
	a->proxy = proxy;
	list_init(&a->listeners);
	list_init(&a->conns);
	buf_pool_init(&a->pool, ADMIN_OUT_BYTES, 2 * ADMIN_CONN_MAX);
	process_watch_init(&a->process, proxy->start_wall_ns);
	*ret_admin = a;
	return 0;
}

int admin_listen(struct admin *a, int fd, bool is_unix, struct err *err)
{
	ASSERT(!a->closing);
	struct admin_listener *l = calloc(1, sizeof(*l));
	if (!l)
		return err_set(err, ENOMEM, "admin: out of memory");
	task_init(&l->task, ADMIN_TASK_LISTENER);
	op_init(&l->accept, &l->task);
	timer_init(&l->pause, &l->task);
	l->accept.backlog = l->backlog;
	l->admin = a;
	l->fd = fd;
	l->is_unix = is_unix;
	list_add_last(&a->listeners, &l->node);
	a->listener_count++;
	ring_accept(&a->loop->ring, &l->accept, fd);
	return 0;
}

static void admin_listener_take(struct admin_listener *l, int fd)
{
	struct admin *a = l->admin;
	if (a->closing || a->conn_counts[l->is_unix] >= ADMIN_CONN_MAX) {
		socket_close(fd);
		return;
	}
	struct admin_conn *c = admin_conn_new(a, fd, l->is_unix);
	if (c)
		admin_conn_step(c);
}

/* waits for: the accept, or the pause after a failed one */
static void admin_listener_step(struct admin_listener *l)
{
	struct admin *a = l->admin;
	for (uint32_t i = 0; i < l->accept.backlog_len; i++)
		admin_listener_take(l, l->backlog[i]);
	l->accept.backlog_len = 0;
	if (l->accept.armed)
		return;
	if (a->closing) {
		timer_clear(a->loop, &l->pause);
		loop_bury(a->loop, &l->task);
	} else if (l->accept.fresh && l->accept.result < 0) {
		l->accept.fresh = false;
		timer_set(a->loop, &l->pause, a->loop->now_ns + ADMIN_ACCEPT_PAUSE_NS);
	} else if (l->accept.fresh || l->pause.fired) {
		l->pause.fired = false;
		ring_accept(&a->loop->ring, &l->accept, l->fd);
	}
}

static struct admin_listener *admin_listener_of(struct task *t)
{
	return CONTAINER_OF(t, struct admin_listener, task);
}

void admin_step(struct task *t)
{
	switch ((enum admin_task_kind)t->kind) {
	case ADMIN_TASK_LISTENER:
		admin_listener_step(admin_listener_of(t));
		break;
	case ADMIN_TASK_CONN:
		admin_conn_step(admin_conn_of(t));
		break;
	}
}

static void admin_listener_free(struct admin_listener *l)
{
	list_remove(&l->node);
	l->admin->listener_count--;
	free(l);
}

void admin_reap(struct task *t)
{
	switch ((enum admin_task_kind)t->kind) {
	case ADMIN_TASK_LISTENER:
		admin_listener_free(admin_listener_of(t));
		break;
	case ADMIN_TASK_CONN:
		admin_conn_free(admin_conn_of(t));
		break;
	}
}

void admin_close(struct admin *a)
{
	a->closing = true;
	LIST_EACH (&a->listeners, node) {
		struct admin_listener *l = CONTAINER_OF(node, struct admin_listener, node);
		ring_cancel(&a->loop->ring, &l->accept);
		loop_ready(a->loop, &l->task);
	}
	admin_conn_close_all(a);
}

bool admin_idle(const struct admin *a)
{
	return a->listener_count == 0 && a->conn_counts[0] + a->conn_counts[1] == 0;
}

void admin_free(struct admin *a)
{
	if (!a)
		return;
	ASSERT(admin_idle(a));
	buf_pool_done(&a->pool);
	process_watch_done(&a->process);
	free(a);
}
