/* SPDX-License-Identifier: Apache-2.0 */
/* What a conn has received and not used yet, in this order: the block that it holds (or what was
 * copied out of it, `kept`), `behind`, and the blocks that still wait in the receive operation.
 * None of the later ones is there without the earlier one.
 *
 * A connection with small messages streams: one arming receives several of them. The pieces and the
 * budget of a stream are such that everything of one arming fits into `kept` and `behind`, should
 * it stand still while blocks are short. As soon as a piece fills up there is more to come, and
 * each receive is armed for itself, with a whole block, or under TLS with as much as lets the next
 * record begin a block of its own: that one is opened where it stands. And if even then more is
 * known to be there, a large buffer takes it at once: it is never held waiting. */
#include "conn_private.h"

#include "net/channel.h"
#include <errno.h>
#include <poll.h>

#define CONN_PIECE_BYTES  4096
#define CONN_STREAM_BYTES 8192
/* So much of a large buffer stays empty: what is in it, and the record that began before it, fits
 * into another one, opened or sealed. So none has to be kept for a rest. */
#define CONN_SPARE_BYTES 20480

static void conn_hold(struct conn *c, uint8_t *at, size_t len)
{
	c->block_at = at;
	c->block_len = (uint32_t)len;
	c->block_held = true;
	if (c->tls)
		tls_input(c->tls, at, len);
}

static uint16_t conn_take_block(struct conn *c, uint32_t len)
{
	c->bytes_in += len;
	c->moved_ns = c->loop->now_ns;
	c->burst = len >= CONN_PIECE_BYTES;
	return ring_stream_take(&c->loop->ring, &c->recv);
}

/* Holds the next in line, if there is one. */
static void conn_next(struct conn *c)
{
	struct ring *r = &c->loop->ring;
	uint32_t len = ring_stream_len(r, &c->recv);
	if (buf_len(&c->behind) > 0) {
		buf_swap(&c->kept, &c->behind);
		c->block_kept = true;
		conn_hold(c, buf_at(&c->kept), buf_len(&c->kept));
	} else if (len > 0) {
		c->block = conn_take_block(c, len);
		conn_hold(c, ring_block(r, c->block), len);
	}
}

static void conn_release(struct conn *c)
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

void conn_put_block(struct conn *c)
{
	conn_release(c);
	conn_next(c);
	if (!c->block_held && c->recv.fresh)
		loop_ready(c->loop, c->owner); /* the end had to wait for this */
}

void conn_drop_received(struct conn *c)
{
	struct ring *r = &c->loop->ring;
	conn_release(c);
	buf_clear(&c->kept);
	buf_clear(&c->behind);
	while (ring_stream_len(r, &c->recv) > 0)
		ring_block_put(r, ring_stream_take(r, &c->recv));
}

static bool conn_keep(struct conn *c, struct buf *to, const uint8_t *at, size_t len)
{
	if (buf_put(to, at, len))
		return true;
	conn_fail(c, CONN_FAILURE_MEMORY, ENOMEM);
	loop_ready(c->loop, c->owner);
	return false;
}

static void conn_keep_held(struct conn *c)
{
	size_t left = c->tls ? tls_input_left(c->tls) : c->block_len;
	if (!conn_keep(c, &c->kept, c->block_at + (c->block_len - left), left))
		return;
	ring_block_put(&c->loop->ring, c->block);
	c->block_kept = true;
	conn_hold(c, buf_at(&c->kept), left);
}

void conn_keep_received(struct conn *c)
{
	struct ring *r = &c->loop->ring;
	uint32_t len;
	if (!c->block_held || !ring_blocks_short(r))
		return;
	if (!c->block_kept)
		conn_keep_held(c);
	while (c->block_kept && (len = ring_stream_len(r, &c->recv)) > 0) {
		if (!conn_keep(c, &c->behind, ring_block(r, c->recv.block), len))
			return;
		ring_block_put(r, conn_take_block(c, len));
	}
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

static void conn_take_end(struct conn *c)
{
	if (c->recv.result == 0) {
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

static void conn_take_large(struct conn *c)
{
	c->large = false;
	if (c->recv.result <= 0) {
		buf_clear(&c->kept);
		return;
	}
	size_t len = (size_t)c->recv.result;
	buf_wrote(&c->kept, len);
	c->bytes_in += len;
	c->moved_ns = c->loop->now_ns;
	c->burst = len >= CONN_PIECE_BYTES;
	c->block_kept = true;
	conn_hold(c, buf_at(&c->kept), len);
}

void conn_take_recv(struct conn *c)
{
	if (c->transport_eof) {
		c->recv.fresh = false;
		conn_take_watch(c);
		return;
	}
	if (c->large)
		conn_take_large(c);
	if (!c->block_held)
		conn_next(c);
	bool ended = !c->recv.armed && c->recv.result <= 0;
	if (ended && c->block_held)
		return; /* first what came before the end */
	c->recv.fresh = false;
	if (ended)
		conn_take_end(c);
}

/* A whole record of TLS where a block can hold one. */
static size_t conn_burst_bytes(const struct conn *c)
{
	size_t block_bytes = c->loop->ring.limits.block_bytes;
	size_t wanted = c->tls ? tls_input_wanted(c->tls) : block_bytes;
	return wanted < block_bytes ? wanted : block_bytes;
}

void conn_arm_recv(struct conn *c)
{
	if (c->recv.armed || c->recv.fresh || c->failure != CONN_FAILURE_NONE)
		return;
	struct ring *r = &c->loop->ring;
	if (c->transport_eof && !c->watched && !c->finished)
		ring_watch(r, &c->recv, c->fd);
	if (c->transport_eof || c->block_held || c->starved)
		return;
	bool much = c->burst && c->recv.more;
	if (much && c->bulk == CONN_BULK_WAIT)
		return; /* what was received last is on its way, and wakes the owner when it has
			   left */
	if (much && c->bulk == CONN_BULK_GO && buf_hold_large(&c->kept)) {
		size_t space = buf_space(&c->kept);
		c->large = true;
		ring_recv_into(r, &c->recv, c->fd, buf_tail(&c->kept), space - CONN_SPARE_BYTES);
		return;
	}
	if (!c->burst)
		ring_stream(r, &c->recv, c->fd, CONN_PIECE_BYTES, CONN_STREAM_BYTES);
	else
		ring_stream(r, &c->recv, c->fd, conn_burst_bytes(c), 0);
}

/* --- what is there --- */

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

/* What follows from having used input, of `in` or of the block. */
static void conn_consumed(struct conn *c, bool gathered)
{
	if (gathered && c->tls && (c->in_full || c->block_held))
		loop_ready(c->loop, c->owner); /* more can be opened now */
	if (!gathered && c->block_held && c->block_len == 0)
		conn_put_block(c);
	if (!c->tls && c->transport_eof && !c->block_held && buf_len(&c->in) == 0)
		c->eof = true;
}

void conn_consume(struct conn *c, size_t len)
{
	bool gathered = buf_len(&c->in) > 0;
	if (gathered) {
		buf_consume(&c->in, len);
		buf_release_if_empty(&c->in);
		if (c->channel)
			channel_consumed(c->channel, len);
	} else if (len > 0 && c->tls) {
		conn_consume_plain(c, len);
		return;
	} else if (len > 0) {
		ASSERT(c->block_held && len <= c->block_len);
		c->block_at += len;
		c->block_len -= (uint32_t)len;
	}
	conn_consumed(c, gathered);
}

size_t conn_hand_over(struct conn *c, struct conn *to)
{
	bool sealed = c->tls != NULL;
	struct buf *from = sealed ? &c->in : &c->kept;
	if (!buf_is_large(from) || c->large || !conn_drained(to))
		return 0;
	if (!sealed && (c->block_len != buf_len(from) || buf_len(&c->in) > 0))
		return 0;
	size_t len = buf_len(from);
	buf_clear(&to->out);
	buf_swap(from, &to->out);
	if (!sealed)
		c->block_len = 0;
	conn_consumed(c, sealed);
	return len;
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
	while (!c->tls && c->block_held) {
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
