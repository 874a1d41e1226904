/* SPDX-License-Identifier: Apache-2.0 */
/* bench/null_epoll: the same relay as null, on epoll: what io_uring itself is worth. See README.md
 * for the comparison.
 *
 * As a good epoll program does it: edge-triggered, so that nothing has to be told to epoll after a
 * socket was added; a receive that fills less than its space saves the one that would say EAGAIN;
 * what a socket does not take at once is kept, and stops its flow from receiving. A flow that has
 * moved its share in a turn comes again in the next, so that the others get theirs. */
#include "base/list.h"
#include "base/pool.h"
#include "relay_options.h"
#include "tcp.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define NULL_SCRATCH	(64 * 1024)
#define NULL_SHARE	16 /* receives of one flow in a turn */
#define NULL_EVENTS_MAX 64
#define NULL_RELAYS_MAX 1000000

struct flow {
	int from, to;
	bool readable; /* there may be something to receive */
	bool ending;   /* the end is there, after what is to be received: epoll will not say more */
	bool ended;
	uint8_t *kept; /* received and not sent */
	size_t kept_at, kept_len;
};

/* What epoll gives back: which socket of which relay. */
struct side {
	struct relay *relay;
	int fd;
	int out; /* the flow that receives from it; the other one sends to it */
};

struct relay {
	struct list node; /* among those to be freed, or to come again */
	bool connected, closed;
	struct side near, far;
	struct flow flows[2];
};

struct null {
	int epoll, listener;
	struct address to;
	uint8_t *scratch;
	struct pool relays;
	struct list again, dead;
};

/* --- a flow --- */

/* Sends what fits; the number of bytes, or -1 when the socket is broken. */
static ssize_t flow_send(const struct flow *f, const uint8_t *bytes, size_t len)
{
	ssize_t n = send(f->to, bytes, len, MSG_NOSIGNAL);
	return n < 0 && errno == EAGAIN ? 0 : n;
}

static bool flow_send_kept(struct flow *f)
{
	ssize_t n = flow_send(f, f->kept + f->kept_at, f->kept_len);
	if (n < 0)
		return false;
	f->kept_at += (size_t)n;
	f->kept_len -= (size_t)n;
	return true;
}

static bool flow_send_or_keep(struct flow *f, const uint8_t *bytes, size_t len)
{
	ssize_t n = flow_send(f, bytes, len);
	if (n < 0 || (size_t)n == len)
		return n >= 0;
	if (!f->kept && !(f->kept = malloc(NULL_SCRATCH)))
		return false;
	f->kept_at = 0;
	f->kept_len = len - (size_t)n;
	memcpy(f->kept, bytes + n, f->kept_len);
	return true;
}

/* One receive, and the send of what it brought. */
static bool flow_move_some(struct flow *f, uint8_t *scratch)
{
	ssize_t n = recv(f->from, scratch, NULL_SCRATCH, 0);
	f->readable = n == NULL_SCRATCH || (n > 0 && f->ending);
	if (n < 0)
		return errno == EAGAIN;
	if (n > 0)
		return flow_send_or_keep(f, scratch, (size_t)n);
	f->ended = true;
	(void)shutdown(f->to, SHUT_WR);
	return true;
}

/* False: broken. */
static bool flow_step(struct flow *f, uint8_t *scratch)
{
	bool well = f->kept_len == 0 || flow_send_kept(f);
	for (int i = 0; i < NULL_SHARE && well && f->readable && f->kept_len == 0; i++)
		well = flow_move_some(f, scratch);
	return well;
}

/* --- a relay --- */

static bool relay_watch(struct null *n, struct side *s)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
	return epoll_ctl(n->epoll, EPOLL_CTL_ADD, s->fd, &event) == 0;
}

/* Its memory stays until the end of the turn: an event for its other socket may be waiting. */
static void relay_close(struct null *n, struct relay *y)
{
	close(y->near.fd);
	close(y->far.fd);
	y->closed = true;
	list_remove(&y->node);
	list_add_last(&n->dead, &y->node);
}

static void relay_start(struct null *n, int near)
{
	int far = tcp_dial(&n->to);
	struct relay *y = far < 0 ? NULL : pool_take(&n->relays);
	if (!y) {
		if (far >= 0)
			close(far);
		close(near);
		return;
	}
	tcp_prepare(near);
	list_init(&y->node);
	y->near = (struct side){.relay = y, .fd = near, .out = 0};
	y->far = (struct side){.relay = y, .fd = far, .out = 1};
	y->flows[0] = (struct flow){.from = near, .to = far};
	y->flows[1] = (struct flow){.from = far, .to = near};
	if (!relay_watch(n, &y->near) || !relay_watch(n, &y->far))
		relay_close(n, y);
}

static bool relay_is_connected(struct relay *y)
{
	int number = 0;
	socklen_t len = sizeof(number);
	(void)getsockopt(y->far.fd, SOL_SOCKET, SO_ERROR, &number, &len);
	y->connected = number == 0;
	return y->connected;
}

static void relay_move_bytes(struct null *n, struct relay *y)
{
	struct flow *out = &y->flows[0], *back = &y->flows[1];
	if (!y->connected)
		return;
	bool well = flow_step(out, n->scratch) && flow_step(back, n->scratch);
	if (!well || (out->ended && back->ended)) {
		relay_close(n, y);
		return;
	}
	bool more =
		(out->readable && out->kept_len == 0) || (back->readable && back->kept_len == 0);
	list_remove(&y->node);
	if (more)
		list_add_last(&n->again, &y->node);
}

static void relay_event(struct null *n, struct side *s, uint32_t events)
{
	struct relay *y = s->relay;
	struct flow *f = &y->flows[s->out];
	if (y->closed)
		return;
	f->ending |= (events & EPOLLRDHUP) != 0;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		f->readable = !f->ended;
	if (s == &y->far && !y->connected && !relay_is_connected(y))
		relay_close(n, y);
	else
		relay_move_bytes(n, y);
}

/* --- all of it --- */

static void null_accept(struct null *n)
{
	int fd;
	while ((fd = accept4(n->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		relay_start(n, fd);
}

/* Those that had more to move than their share. */
static void null_go_on(struct null *n)
{
	struct list again, *node;
	list_init(&again);
	while ((node = list_pop(&n->again)))
		list_add_last(&again, node);
	while ((node = list_pop(&again)))
		relay_move_bytes(n, CONTAINER_OF(node, struct relay, node));
}

static void null_free_dead(struct null *n)
{
	struct list *node;
	while ((node = list_pop(&n->dead))) {
		struct relay *y = CONTAINER_OF(node, struct relay, node);
		free(y->flows[0].kept);
		free(y->flows[1].kept);
		pool_put(&n->relays, y);
	}
}

static void null_turn(struct null *n)
{
	struct epoll_event events[NULL_EVENTS_MAX];
	int timeout = list_empty(&n->again) ? -1 : 0;
	int count = epoll_wait(n->epoll, events, NULL_EVENTS_MAX, timeout);
	null_go_on(n);
	for (int i = 0; i < count; i++) {
		if (events[i].data.ptr)
			relay_event(n, events[i].data.ptr, events[i].events);
		else
			null_accept(n);
	}
	null_free_dead(n);
}

static int null_init(struct null *n, const struct relay_options *options, struct err *err)
{
	n->to = options->to;
	n->scratch = malloc(NULL_SCRATCH);
	n->epoll = epoll_create1(EPOLL_CLOEXEC);
	list_init(&n->again);
	list_init(&n->dead);
	pool_init(&n->relays, sizeof(struct relay), NULL_RELAYS_MAX);
	n->listener = tcp_listen(&options->listen, SOCK_NONBLOCK, err);
	if (n->listener < 0)
		return n->listener;
	struct epoll_event event = {.events = EPOLLIN};
	if (!n->scratch || epoll_ctl(n->epoll, EPOLL_CTL_ADD, n->listener, &event) < 0)
		return err_set(err, errno, "cannot set up: %s", strerror(errno));
	tcp_announce(n->listener);
	return 0;
}

int main(int argc, char **argv)
{
	struct relay_options options;
	struct null null;
	struct err err;
	int leave = relay_options_read(argc, argv, &options);
	if (leave)
		return leave - 1;
	tcp_raise_file_limit();
	if (null_init(&null, &options, &err) < 0) {
		fprintf(stderr, "%s: %s\n", argv[0], err.text);
		return 1;
	}
	for (;;)
		null_turn(&null);
}
