/* SPDX-License-Identifier: Apache-2.0 */
/* bench/null: the relay that only moves bytes, on the project's own ring room, one thread. What a
 * proxy needs beyond this is what its protocols and its decisions cost.
 *
 * A relay is two sockets and two flows, one each way. A flow receives into blocks of the ring,
 * sends from that very block and gives it back, one after the other: what is not yet sent keeps it
 * from arming its receive again, and that is all the backpressure there is. While its blocks come
 * full it receives into larger memory of its own instead, which the cache keeps. The end of what
 * one side sends is passed on as a half-close; when both have ended, or anything fails, the relay
 * closes.
 *
 *     CONNECTING --> MOVING --> CLOSING, until no operation is armed; then the loop frees it
 */
#include "base/pool.h"
#include "net/socket.h"
#include "relay_options.h"
#include "ring/loop.h"
#include "tcp.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const struct ring_limits null_limits = {
	.entries = 1024,
	.completions = 8192,
	.block_bytes = 16 * 1024,
	.block_count = 256,
};

/* One arming of a receive lasts for so many bytes. */
#define NULL_STREAM_BYTES (64 * 1024)
/* What a flow receives into while there is much. */
#define NULL_BULK_BYTES (512 * 1024)

#define NULL_RELAYS_MAX 1000000
/* Out of file descriptors: how long until the next try. */
#define NULL_ACCEPT_PAUSE_NS 100000000ull

/* Accepts. */
struct door {
	struct task task;
	struct op accept;
	struct timer pause;
	int fd;
	int32_t backlog[RING_TURN_MAX];
};

enum flow_state { FLOW_RECEIVING, FLOW_SENDING, FLOW_ENDED };

struct flow {
	enum flow_state state;
	struct op recv, send;
	int from, to;
	bool much;	/* the last receive filled its block */
	bool has_block; /* `block` is being sent */
	uint16_t block;
	uint32_t sending; /* bytes */
	uint8_t *bulk;	  /* NULL until it is needed */
};

enum relay_state { RELAY_CONNECTING, RELAY_MOVING, RELAY_CLOSING };

struct relay {
	struct task task;
	enum relay_state state;
	struct op connect;
	int near, far; /* sockets: accepted, dialled */
	struct flow flows[2];
};

struct null {
	struct loop loop;
	struct sockaddr_storage to;
	struct door door;
	struct pool relays;
};

/* --- a flow --- */

static void flow_init(struct flow *f, struct task *owner, int from, int to)
{
	f->state = FLOW_RECEIVING;
	f->from = from;
	f->to = to;
	op_init(&f->recv, owner);
	op_init(&f->send, owner);
}

static void flow_receive(struct flow *f, struct ring *r)
{
	if (f->much && !f->bulk)
		f->bulk = malloc(NULL_BULK_BYTES);
	if (f->much && f->bulk)
		ring_read(r, &f->recv, f->from, f->bulk, NULL_BULK_BYTES);
	else
		ring_stream(r, &f->recv, f->from, null_limits.block_bytes, NULL_STREAM_BYTES);
}

static void flow_send(struct flow *f, struct ring *r, const uint8_t *bytes, uint32_t len)
{
	f->sending = len;
	f->much = len >= null_limits.block_bytes;
	f->state = FLOW_SENDING;
	ring_send(r, &f->send, f->to, bytes, len);
}

/* The receive is over, and nothing of it is left to be sent. False: broken. */
static bool flow_received(struct flow *f, struct ring *r)
{
	bool own = !f->recv.streaming;
	int32_t result = f->recv.result;
	f->recv.fresh = false;
	if (result == -ENOBUFS) {
		ring_starve(r, f->recv.owner);
	} else if (result == 0) {
		socket_shutdown_write(f->to);
		f->state = FLOW_ENDED;
	} else if (result > 0 && own) {
		flow_send(f, r, f->bulk, (uint32_t)result);
	} else if (result > 0) {
		flow_receive(f, r);
	}
	return result >= 0 || result == -ENOBUFS;
}

/* Sends the next thing received, or makes that something is. */
static bool flow_go_on(struct flow *f, struct ring *r)
{
	uint32_t len = ring_stream_len(r, &f->recv);
	if (len > 0) {
		f->block = ring_stream_take(r, &f->recv);
		f->has_block = true;
		flow_send(f, r, ring_block(r, f->block), len);
	} else if (!f->recv.armed && f->recv.fresh) {
		return flow_received(f, r);
	} else if (!f->recv.armed) {
		flow_receive(f, r);
	}
	return true;
}

static void flow_put_block(struct flow *f, struct ring *r)
{
	if (f->has_block)
		ring_block_put(r, f->block);
	f->has_block = false;
}

static bool flow_sent(struct flow *f, struct ring *r)
{
	f->send.fresh = false;
	flow_put_block(f, r);
	f->state = FLOW_RECEIVING;
	return f->send.result == (int32_t)f->sending && flow_go_on(f, r);
}

/* False: broken. */
static bool flow_step(struct flow *f, struct ring *r)
{
	switch (f->state) {
	case FLOW_RECEIVING:
		return flow_go_on(f, r);
	case FLOW_SENDING:
		return f->send.fresh ? flow_sent(f, r) : true;
	case FLOW_ENDED:
		return true;
	}
	return false;
}

/* Once nothing is armed. */
static void flow_done(struct flow *f, struct ring *r)
{
	flow_put_block(f, r);
	while (ring_stream_len(r, &f->recv) > 0)
		ring_block_put(r, ring_stream_take(r, &f->recv));
}

static void flow_cancel(struct flow *f, struct ring *r)
{
	ring_cancel(r, &f->recv);
	ring_cancel(r, &f->send);
}

static bool flow_is_armed(const struct flow *f)
{
	return f->recv.armed || f->send.armed;
}

/* --- a relay --- */

static void relay_start(struct null *n, int near)
{
	int far = socket_open((uint8_t)n->to.ss_family);
	struct relay *y = far < 0 ? NULL : pool_take(&n->relays);
	if (!y) {
		if (far >= 0)
			socket_close(far);
		socket_close(near);
		return;
	}
	socket_prepare(near);
	task_init(&y->task, 0);
	op_init(&y->connect, &y->task);
	y->state = RELAY_CONNECTING;
	y->near = near;
	y->far = far;
	flow_init(&y->flows[0], &y->task, near, far);
	flow_init(&y->flows[1], &y->task, far, near);
	ring_connect(&n->loop.ring, &y->connect, far, &n->to);
}

static void relay_close(struct relay *y, struct ring *r)
{
	y->state = RELAY_CLOSING;
	socket_shutdown(y->near);
	socket_shutdown(y->far);
	flow_cancel(&y->flows[0], r);
	flow_cancel(&y->flows[1], r);
}

static void relay_connected(struct relay *y, struct ring *r)
{
	y->connect.fresh = false;
	if (y->connect.result < 0) {
		relay_close(y, r);
		return;
	}
	y->state = RELAY_MOVING;
	flow_receive(&y->flows[0], r);
	flow_receive(&y->flows[1], r);
}

static void relay_move_bytes(struct relay *y, struct ring *r)
{
	bool well = flow_step(&y->flows[0], r) && flow_step(&y->flows[1], r);
	bool ended = y->flows[0].state == FLOW_ENDED && y->flows[1].state == FLOW_ENDED;
	if (!well || ended)
		relay_close(y, r);
}

static void relay_join(struct relay *y, struct loop *l)
{
	if (y->connect.armed || flow_is_armed(&y->flows[0]) || flow_is_armed(&y->flows[1]))
		return;
	flow_done(&y->flows[0], &l->ring);
	flow_done(&y->flows[1], &l->ring);
	loop_bury(l, &y->task);
}

static void relay_step(struct relay *y, struct loop *l)
{
	if (y->state == RELAY_CONNECTING && y->connect.fresh)
		relay_connected(y, &l->ring);
	else if (y->state == RELAY_MOVING)
		relay_move_bytes(y, &l->ring);
	if (y->state == RELAY_CLOSING)
		relay_join(y, l);
}

static void relay_free(struct relay *y, struct pool *pool)
{
	socket_close(y->near);
	socket_close(y->far);
	free(y->flows[0].bulk);
	free(y->flows[1].bulk);
	pool_put(pool, y);
}

/* --- the door --- */

static void door_step(struct null *n)
{
	struct door *d = &n->door;
	for (uint32_t i = 0; i < d->accept.backlog_len; i++)
		relay_start(n, d->backlog[i]);
	d->accept.backlog_len = 0;
	if (d->accept.armed || d->pause.deadline_ns)
		return;
	if (d->accept.result < 0 && !d->pause.fired) {
		timer_set(&n->loop, &d->pause, n->loop.now_ns + NULL_ACCEPT_PAUSE_NS);
		return;
	}
	d->pause.fired = false;
	ring_accept(&n->loop.ring, &d->accept, d->fd);
}

static void door_open(struct null *n, int fd)
{
	struct door *d = &n->door;
	task_init(&d->task, 0);
	op_init(&d->accept, &d->task);
	timer_init(&d->pause, &d->task);
	d->fd = fd;
	d->accept.backlog = d->backlog;
	ring_accept(&n->loop.ring, &d->accept, fd);
}

/* --- all of it --- */

static void null_turn(struct null *n)
{
	struct task *t;
	loop_wait(&n->loop);
	while ((t = loop_next(&n->loop))) {
		if (t == &n->door.task)
			door_step(n);
		else
			relay_step(CONTAINER_OF(t, struct relay, task), &n->loop);
	}
	while ((t = loop_dead(&n->loop)))
		relay_free(CONTAINER_OF(t, struct relay, task), &n->relays);
}

static int null_init(struct null *n, const struct relay_options *options, struct err *err)
{
	int fd = tcp_listen(&options->listen, 0, err);
	if (fd < 0)
		return fd;
	int result = loop_init(&n->loop, &null_limits, 0, err);
	if (result == 0)
		result = ring_enable(&n->loop.ring, err);
	if (result < 0)
		return result;
	address_to_sockaddr(&options->to, &n->to);
	pool_init(&n->relays, sizeof(struct relay), NULL_RELAYS_MAX);
	door_open(n, fd);
	tcp_announce(fd);
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
