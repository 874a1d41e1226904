/* SPDX-License-Identifier: Apache-2.0 */
/* The picture of the machine is in the header. Two rules keep this file simple: at most one receive
 * and one send are armed, and nothing here frees or calls the owner. */
#include "conn_private.h"

#include "net/channel.h"
#include "net/socket.h"
#include <errno.h>

#define CONN_MAGIC 0xc0221e57u

/* Allowed moves: a bit per target state. */
static const uint8_t conn_moves[] = {
	[CONN_NEW] =
		1u << CONN_CONNECTING | 1u << CONN_HANDSHAKE | 1u << CONN_OPEN | 1u << CONN_CLOSING,
	[CONN_CONNECTING] = 1u << CONN_HANDSHAKE | 1u << CONN_OPEN | 1u << CONN_CLOSING,
	[CONN_HANDSHAKE] = 1u << CONN_OPEN | 1u << CONN_CLOSING,
	[CONN_OPEN] = 1u << CONN_HANDSHAKE | 1u << CONN_CLOSING,
	[CONN_CLOSING] = 1u << CONN_CLOSED,
	[CONN_CLOSED] = 0,
};

static void conn_move(struct conn *c, enum conn_state state)
{
	ASSERT(c->magic == CONN_MAGIC);
	ASSERT(conn_moves[c->state] & 1u << state);
	c->state = state;
}

void conn_fail(struct conn *c, enum conn_failure failure, int error)
{
	if (c->failure != CONN_FAILURE_NONE)
		return;
	c->failure = failure;
	c->error = error;
}

void conn_init(struct conn *c, struct loop *loop, struct buf_pool *pool, struct task *owner)
{
	*c = (struct conn){
		.magic = CONN_MAGIC, .state = CONN_NEW, .fd = -1, .routes = -1, .loop = loop};
	op_init(&c->recv, owner);
	op_init(&c->send, owner);
	c->owner = owner;
	buf_init(&c->kept, pool);
	buf_init(&c->behind, pool);
	buf_init(&c->in, pool);
	buf_init(&c->out, pool);
	buf_init(&c->wire, pool);
	buf_init(&c->sending, pool);
	c->moved_ns = loop->now_ns;
}

void conn_own(struct conn *c, struct task *owner)
{
	c->owner = c->recv.owner = c->send.owner = owner;
}

void conn_adopt(struct conn *c, int fd)
{
	socket_prepare(fd);
	c->fd = fd;
	conn_move(c, CONN_OPEN);
}

int conn_dial(struct conn *c, const struct address *address)
{
	int fd = socket_open(address->family);
	if (fd < 0)
		return fd;
	c->fd = fd;
	address_to_sockaddr(address, &c->address);
	conn_move(c, CONN_CONNECTING);
	ring_connect(&c->loop->ring, &c->send, fd, &c->address);
	return 0;
}

void conn_secure(struct conn *c, struct tls *tls)
{
	ASSERT(!c->tls && (c->state == CONN_OPEN || c->state == CONN_CONNECTING));
	c->tls = tls;
	if (c->state == CONN_OPEN)
		conn_move(c, CONN_HANDSHAKE);
}

void conn_attach(struct conn *c, struct channel *channel)
{
	c->channel = channel;
	c->moved_ns = c->loop->now_ns;
	conn_move(c, CONN_OPEN);
}

/* --- taking completions in --- */

static void conn_take_connect(struct conn *c)
{
	if (c->send.result < 0) {
		conn_fail(c, CONN_FAILURE_CONNECT, -c->send.result);
		return;
	}
	if (c->routes >= 0 && socket_leads_back(c->fd, c->routes)) {
		conn_fail(c, CONN_FAILURE_CONNECT, ELOOP);
		return;
	}
	c->moved_ns = c->loop->now_ns;
	conn_move(c, c->tls ? CONN_HANDSHAKE : CONN_OPEN);
}

static void conn_take_send(struct conn *c)
{
	c->send.fresh = false;
	if (c->state == CONN_CONNECTING) {
		conn_take_connect(c);
		return;
	}
	bool whole = c->send.result == (int32_t)buf_len(&c->sending);
	if (c->send.result > 0) {
		c->bytes_out += (uint64_t)c->send.result;
		c->moved_ns = c->loop->now_ns;
	}
	buf_clear(&c->sending);
	/* The peer may have answered before it went: the receive side decides when it is over. */
	if (!whole)
		c->deaf = true;
	if (!whole && c->transport_eof)
		conn_fail(c, CONN_FAILURE_RESET, EPIPE);
}

/* --- TLS --- */

void conn_no_room(struct conn *c)
{
	if (!c->send.armed && conn_drained(c))
		conn_fail(c, CONN_FAILURE_MEMORY, ENOMEM);
}

static void conn_handshake(struct conn *c)
{
	if (c->need != CONN_NEED_NOTHING)
		return;
	switch (tls_handshake(c->tls, (int64_t)(c->loop->wall_ns / CLOCK_S))) {
	case TLS_MORE:
		return;
	case TLS_FULL:
		conn_no_room(c);
		return;
	case TLS_NAME:
		c->need = CONN_NEED_NAME;
		return;
	case TLS_SIGN:
		c->need = CONN_NEED_SIGNATURE;
		return;
	case TLS_DONE:
		conn_move(c, CONN_OPEN);
		return;
	case TLS_CLOSED:
	case TLS_FAILED:
		conn_fail(c, CONN_FAILURE_HANDSHAKE, 0);
		return;
	}
}

/* Turns ciphertext into input, as far as there is room: a record that came alone stays where it was
 * received, several are joined in `in`. */
static void conn_open_records(struct conn *c)
{
	bool join = buf_len(&c->in) > 0 || tls_input_several(c->tls);
	if (join && buf_is_large(&c->kept))
		buf_hold_large(&c->in);
	enum tls_result result = join ? tls_read(c->tls, &c->in) : tls_open(c->tls);
	c->in_full = buf_len(&c->in) > 0 && buf_space(&c->in) == 0;
	switch (result) {
	case TLS_CLOSED:
		c->eof = true;
		return;
	case TLS_FAILED:
		/* A client learns only now that the server refused its certificate. */
		conn_fail(c,
			tls_failure(c->tls) == TLS_FAILURE_ALERT ? CONN_FAILURE_HANDSHAKE
								 : CONN_FAILURE_TRUNCATED,
			0);
		return;
	case TLS_FULL:
		if (buf_len(&c->in) == 0)
			conn_fail(c, CONN_FAILURE_MEMORY, ENOMEM);
		return;
	case TLS_MORE:
	case TLS_DONE:
	case TLS_NAME:
	case TLS_SIGN:
		return;
	}
}

static void conn_step_tls(struct conn *c)
{
	bool more;
	do {
		if (c->state == CONN_HANDSHAKE)
			conn_handshake(c);
		if (c->state == CONN_OPEN && !c->eof)
			conn_open_records(c);
		buf_release_if_empty(&c->in);
		more = c->block_held && tls_input_left(c->tls) == 0;
		if (more)
			conn_put_block(c);
	} while (more && c->block_held && c->failure == CONN_FAILURE_NONE);
}

void conn_step(struct conn *c)
{
	ASSERT(c->magic == CONN_MAGIC);
	if (c->state == CONN_CLOSING || c->state == CONN_CLOSED || c->state == CONN_NEW)
		return;
	/* An owner of several is stepped for the others, too: that brings no block. */
	if (list_empty(&c->owner->hungry))
		c->starved = false;
	if (c->send.fresh)
		conn_take_send(c);
	if (c->recv.fresh)
		conn_take_recv(c);
	if (c->tls && c->failure == CONN_FAILURE_NONE &&
		(c->state == CONN_HANDSHAKE || c->state == CONN_OPEN))
		conn_step_tls(c);
	if (!c->tls && c->transport_eof && !c->block_held)
		c->eof = true;
}

void conn_resume(struct conn *c)
{
	c->need = CONN_NEED_NOTHING;
	loop_ready(c->loop, c->owner);
}

/* --- output --- */

static void conn_seal(struct conn *c)
{
	if (buf_is_large(&c->out))
		buf_hold_large(&c->wire);
	while (buf_len(&c->out) > 0) {
		size_t used = 0;
		enum tls_result result =
			tls_write(c->tls, buf_at(&c->out), buf_len(&c->out), &used);
		buf_consume(&c->out, used);
		if (result == TLS_FAILED) {
			conn_fail(c, CONN_FAILURE_RESET, EPIPE);
			return;
		}
		if (result == TLS_FULL && buf_len(&c->wire) == 0 && buf_len(&c->sending) == 0)
			conn_fail(c, CONN_FAILURE_MEMORY, ENOMEM);
		if (result != TLS_DONE || used == 0)
			return;
	}
	buf_release_if_empty(&c->out);
}

static void conn_arm_send(struct conn *c)
{
	if (c->send.armed || c->deaf || c->failure != CONN_FAILURE_NONE)
		return;
	struct buf *next = c->tls ? &c->wire : &c->out;
	if (buf_len(next) == 0) {
		buf_release_if_empty(next);
		return;
	}
	ASSERT(buf_len(&c->sending) == 0);
	buf_swap(next, &c->sending);
	ring_send(&c->loop->ring, &c->send, c->fd, buf_at(&c->sending), buf_len(&c->sending));
}

bool conn_drained(const struct conn *c)
{
	return buf_len(&c->out) == 0 && buf_len(&c->wire) == 0 && buf_len(&c->sending) == 0;
}

/* FIN, once everything written has left; close_notify before it under TLS. */
static void conn_send_fin(struct conn *c)
{
	if (!c->finish || c->finished || buf_len(&c->out) > 0)
		return;
	if (c->tls && tls_close_notify(c->tls) == TLS_FULL)
		return;
	conn_arm_send(c);
	if (!conn_drained(c))
		return;
	socket_shutdown_write(c->fd);
	c->finished = true;
	loop_ready(c->loop, c->owner); /* which may have waited for just that */
}

void conn_flush(struct conn *c)
{
	if (c->state != CONN_OPEN && c->state != CONN_HANDSHAKE)
		return;
	if (c->channel) {
		channel_flush(c->channel);
		return;
	}
	if (c->deaf) {
		buf_clear(&c->out);
		buf_clear(&c->wire);
		c->finished = c->finish;
	}
	if (c->tls && c->state == CONN_OPEN && !c->finished && !c->deaf)
		conn_seal(c);
	conn_arm_send(c);
	if (c->tls && c->state == CONN_OPEN && buf_len(&c->out) > 0) {
		/* the wire buffer was swapped away: seal the rest behind it */
		conn_seal(c);
	}
	if (c->state == CONN_OPEN && c->failure == CONN_FAILURE_NONE)
		conn_send_fin(c);
	conn_keep_received(c);
	conn_arm_recv(c);
}

/* --- closing --- */

/* A TLS alert that nobody will wait for: it is small, and the socket's buffer is empty. */
static void conn_last_words(struct conn *c)
{
	if (c->tls && !c->send.armed && buf_len(&c->wire) > 0)
		socket_send_now(c->fd, buf_at(&c->wire), buf_len(&c->wire));
}

void conn_close(struct conn *c, bool reset)
{
	ASSERT(c->magic == CONN_MAGIC);
	if (c->state == CONN_CLOSING || c->state == CONN_CLOSED)
		return;
	conn_move(c, CONN_CLOSING);
	if (c->channel)
		channel_close(c->channel);
	if (c->fd >= 0) {
		if (reset) {
			/* no shutdown: it would send the FIN that the reset is to replace */
			socket_linger_reset(c->fd);
		} else {
			conn_last_words(c);
			socket_shutdown(c->fd);
		}
		if (c->recv.armed)
			ring_cancel(&c->loop->ring, &c->recv);
		if (c->send.armed)
			ring_cancel(&c->loop->ring, &c->send);
	}
	loop_ready(c->loop, c->owner);
}

bool conn_join(struct conn *c)
{
	ASSERT(c->state == CONN_CLOSING || c->state == CONN_CLOSED);
	if (c->state == CONN_CLOSED)
		return true;
	if (c->recv.armed || c->send.armed)
		return false;
	conn_drop_received(c);
	tls_free(c->tls);
	c->tls = NULL;
	buf_clear(&c->in);
	buf_clear(&c->out);
	buf_clear(&c->wire);
	buf_clear(&c->sending);
	if (c->fd >= 0)
		socket_close(c->fd);
	c->fd = -1;
	conn_move(c, CONN_CLOSED);
	return true;
}
