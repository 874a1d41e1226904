/* SPDX-License-Identifier: Apache-2.0 */
/* The picture of the machine is in the header. Two rules keep this file simple: at most one receive
 * and one send are armed, and nothing here frees or calls the owner. */
#include "net/conn.h"

#include "net/channel.h"
#include "net/socket.h"
#include <errno.h>
#include <poll.h>

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

static void conn_fail(struct conn *c, enum conn_failure failure, int error)
{
	if (c->failure != CONN_FAILURE_NONE)
		return;
	c->failure = failure;
	c->error = error;
}

void conn_init(struct conn *c, struct loop *loop, struct buf_pool *pool, struct task *owner)
{
	*c = (struct conn){.magic = CONN_MAGIC, .state = CONN_NEW, .fd = -1, .loop = loop};
	op_init(&c->recv, owner);
	op_init(&c->send, owner);
	c->owner = owner;
	buf_init(&c->kept, pool);
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

static void conn_take_block(struct conn *c)
{
	c->recv.has_block = false;
	c->block = c->recv.block;
	c->block_at = ring_block(&c->loop->ring, c->block);
	c->block_len = (uint32_t)c->recv.result;
	c->block_held = true;
	c->bytes_in += c->block_len;
	c->moved_ns = c->loop->now_ns;
	if (c->tls)
		tls_input(c->tls, c->block_at, c->block_len);
}

static void conn_put_block(struct conn *c)
{
	if (!c->block_held)
		return;
	if (c->block_kept)
		buf_clear(&c->kept);
	else
		ring_block_put(&c->loop->ring, c->block);
	c->block_held = c->block_kept = false;
	c->block_len = 0;
}

/* The owner has no use for what was received, and others need the block. */
static void conn_keep_block(struct conn *c)
{
	if (!c->block_held || c->block_kept || !ring_blocks_short(&c->loop->ring))
		return;
	size_t left = c->tls ? tls_input_left(c->tls) : c->block_len;
	if (!buf_put(&c->kept, c->block_at + (c->block_len - left), left)) {
		conn_fail(c, CONN_FAILURE_MEMORY, ENOMEM);
		loop_ready(c->loop, c->owner);
		return;
	}
	ring_block_put(&c->loop->ring, c->block);
	c->block_kept = true;
	c->block_at = buf_at(&c->kept);
	c->block_len = (uint32_t)left;
	if (c->tls)
		tls_input(c->tls, c->block_at, left);
}

static void conn_take_watch(struct conn *c)
{
	/* Over in both directions without a FIN of ours is a reset, too: a send may have taken the
	 * error itself before anybody looked. */
	bool reset = c->recv.result > 0 &&
		     (c->recv.result & POLLERR || (c->recv.result & POLLHUP && !c->finished));
	if (reset)
		conn_fail(c, CONN_FAILURE_RESET, ECONNRESET);
	c->watched = !c->recv.armed;
}

static void conn_take_recv(struct conn *c)
{
	c->recv.fresh = false;
	if (c->transport_eof) {
		conn_take_watch(c);
	} else if (c->recv.result > 0) {
		conn_take_block(c);
	} else if (c->recv.result == 0) {
		c->transport_eof = true;
		if (c->deaf)
			conn_fail(c, CONN_FAILURE_RESET, EPIPE);
		if (c->tls)
			tls_input_eof(c->tls);
	} else if (c->recv.result == -ENOBUFS) {
		c->starved = true;
		ring_starve(&c->loop->ring, c->owner);
	} else {
		conn_fail(c, CONN_FAILURE_RESET, -c->recv.result);
	}
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
	if (c->state == CONN_HANDSHAKE)
		conn_handshake(c);
	if (c->state == CONN_OPEN && !c->eof)
		conn_open_records(c);
	buf_release_if_empty(&c->in);
	if (c->block_held && tls_input_left(c->tls) == 0)
		conn_put_block(c);
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

/* --- input --- */

size_t conn_input(struct conn *c, const uint8_t **ret_bytes)
{
	if (buf_len(&c->in) > 0) {
		*ret_bytes = buf_at(&c->in);
		return buf_len(&c->in);
	}
	if (c->tls)
		return tls_plain(c->tls, ret_bytes);
	if (!c->block_held)
		return 0;
	*ret_bytes = c->block_at;
	return c->block_len;
}

/* Plaintext in place: with its last byte the block may be free. */
static void conn_consume_plain(struct conn *c, size_t len)
{
	const uint8_t *bytes;
	tls_plain_take(c->tls, len);
	if (tls_plain(c->tls, &bytes) > 0)
		return;
	if (c->block_held && tls_input_left(c->tls) == 0)
		conn_put_block(c);
	if (c->block_held || c->transport_eof)
		loop_ready(c->loop, c->owner); /* more can be opened now */
}

void conn_consume(struct conn *c, size_t len)
{
	if (buf_len(&c->in) > 0) {
		buf_consume(&c->in, len);
		buf_release_if_empty(&c->in);
		if (c->tls && (c->in_full || c->block_held))
			loop_ready(c->loop, c->owner); /* more can be opened now */
		if (c->channel)
			channel_consumed(c->channel, len);
	} else if (len > 0 && c->tls) {
		conn_consume_plain(c, len);
	} else if (len > 0) {
		ASSERT(c->block_held && len <= c->block_len);
		c->block_at += len;
		c->block_len -= (uint32_t)len;
		if (c->block_len == 0)
			conn_put_block(c);
	}
	if (!c->tls && c->transport_eof && !c->block_held && buf_len(&c->in) == 0)
		c->eof = true;
}

bool conn_quiet(struct conn *c)
{
	const uint8_t *bytes;
	return !c->recv.fresh && !c->transport_eof && !c->eof && conn_input(c, &bytes) == 0 &&
	       c->failure == CONN_FAILURE_NONE;
}

bool conn_listens(const struct conn *c)
{
	return c->recv.armed || c->channel;
}

bool conn_gather(struct conn *c)
{
	if (!c->tls && c->block_held) {
		size_t n = buf_fill(&c->in, c->block_at, c->block_len);
		c->block_at += n;
		c->block_len -= (uint32_t)n;
		if (c->block_len > 0)
			return false;
		conn_put_block(c);
		if (c->transport_eof)
			c->eof = true;
	}
	const uint8_t *plain;
	size_t len = c->tls ? tls_plain(c->tls, &plain) : 0;
	if (len > 0)
		conn_consume_plain(c, buf_fill(&c->in, plain, len));
	return buf_space(&c->in) > 0;
}

/* --- output --- */

static void conn_seal(struct conn *c)
{
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

static void conn_swap(struct buf *a, struct buf *b)
{
	struct buf t = *a;
	*a = *b;
	*b = t;
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
	conn_swap(next, &c->sending);
	ring_send(&c->loop->ring, &c->send, c->fd, buf_at(&c->sending), buf_len(&c->sending));
}

static void conn_arm_recv(struct conn *c)
{
	if (c->recv.armed || c->recv.fresh || c->failure != CONN_FAILURE_NONE)
		return;
	if (!c->transport_eof && !c->block_held && !c->starved)
		ring_recv(&c->loop->ring, &c->recv, c->fd);
	else if (c->transport_eof && !c->watched && !c->finished)
		ring_watch(&c->loop->ring, &c->recv, c->fd);
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
	conn_keep_block(c);
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
	if (c->recv.has_block) {
		ring_block_put(&c->loop->ring, c->recv.block);
		c->recv.has_block = false;
	}
	conn_put_block(c);
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
