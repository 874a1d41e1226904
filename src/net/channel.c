/* SPDX-License-Identifier: Apache-2.0 */
/* A channel is reached in two ways, from the shared connection and from its conn, and freed when
 * neither leads to it any more. Off the shared connection's list it is over: END both ways, RESET
 * either way, or the shared connection lost; its conn keeps what was received until it closes. */
#include "net/channel.h"

#include <errno.h>
#include <string.h>

/* Rather wait for more room than cut a frame as small as this. */
#define CHANNEL_PIECE_MIN 512

/* What a channel's turn at the shared output came to. */
enum channel_turn {
	CHANNEL_TURN_DONE, /* nothing left that could be written now */
	CHANNEL_TURN_OVER, /* had its share: the others first */
	CHANNEL_TURN_FULL, /* no room */
};

static void channels_ready(struct channels *s)
{
	loop_ready(s->conn->loop, s->conn->owner);
}

static void channel_ready(struct channel *ch)
{
	if (ch->conn)
		loop_ready(ch->conn->loop, ch->conn->owner);
}

static void channel_fail(struct channel *ch, enum conn_failure failure, int error)
{
	if (!ch->conn || ch->conn->failure != CONN_FAILURE_NONE)
		return;
	ch->conn->failure = failure;
	ch->conn->error = error;
	channel_ready(ch);
}

/* --- life --- */

void channels_init(struct channels *s, struct conn *conn, struct pool *pool, bool server)
{
	*s = (struct channels){.conn = conn, .pool = pool, .server = server};
	list_init(&s->live);
	map_init(&s->by_id);
	list_init(&s->writing);
}

static bool channel_name(struct channel *ch, uint32_t id)
{
	if (!map_add(&ch->channels->by_id, &ch->node, id))
		return false;
	ch->id = id;
	return true;
}

static struct channel *channel_new(struct channels *s, struct conn *conn)
{
	struct channel *ch = pool_take(s->pool);
	if (!ch)
		return NULL;
	*ch = (struct channel){
		.channels = s,
		.conn = conn,
		.pool = s->pool,
		.send_window = FRAME_WINDOW,
		.receive_window = FRAME_WINDOW,
	};
	list_init(&ch->turn);
	for (size_t i = 0; i < CHANNEL_BUFS; i++)
		buf_init(&ch->more[i], s->conn->in.pool);
	list_add_last(&s->live, &ch->live);
	s->live_count++;
	if (conn)
		conn_attach(conn, ch);
	return ch;
}

static void channel_free(struct channel *ch)
{
	for (size_t i = 0; i < CHANNEL_BUFS; i++)
		buf_clear(&ch->more[i]);
	pool_put(ch->pool, ch);
}

/* Takes it off the shared connection. */
static void channel_over(struct channel *ch)
{
	struct channels *s = ch->channels;
	if (ch->id != 0)
		map_remove(&s->by_id, &ch->node);
	list_remove(&ch->live);
	s->live_count--;
	list_remove(&ch->turn);
	if (s->reading == ch)
		s->reading = NULL;
	ch->channels = NULL;
	if (!ch->conn)
		channel_free(ch);
}

static struct channel *channels_find(const struct channels *s, uint32_t id)
{
	struct map_node *node = map_first(&s->by_id, id);
	return node ? CONTAINER_OF(node, struct channel, node) : NULL;
}

bool channels_open(struct channels *s, struct conn *c)
{
	ASSERT(!s->server);
	return !s->refusing && s->live_count < FRAME_CHANNELS &&
	       s->last_id < UINT32_MAX - FRAME_CHANNELS && channel_new(s, c);
}

/* That which the other side has just opened. */
static struct channel *channels_take(struct channels *s, struct conn *c)
{
	struct channel *ch = channel_new(s, c);
	if (ch && channel_name(ch, s->last_id))
		return ch;
	if (ch && !c)
		channel_over(ch);
	s->fault = CHANNELS_FAULT_MEMORY;
	return NULL;
}

bool channels_accept(struct channels *s, struct conn *c)
{
	return channels_take(s, c);
}

/* A channel without a conn, whose RESET is to be written. */
void channels_refuse(struct channels *s)
{
	struct channel *ch = channels_take(s, NULL);
	if (ch)
		list_add_last(&s->writing, &ch->turn);
}

void channels_go_away(struct channels *s)
{
	s->going = true;
	channels_ready(s);
}

void channels_done(struct channels *s, enum conn_failure failure, int error)
{
	while (!list_empty(&s->live)) {
		struct channel *ch = CONTAINER_OF(s->live.next, struct channel, live);
		channel_fail(ch, failure, error);
		channel_over(ch);
	}
	map_done(&s->by_id);
}

void channel_close(struct channel *ch)
{
	struct channels *s = ch->channels;
	ch->conn->channel = NULL;
	ch->conn = NULL;
	if (!s) {
		channel_free(ch);
		return;
	}
	if (ch->id == 0) {
		channel_over(ch); /* the other side has never heard of it */
		return;
	}
	for (size_t i = 0; i < CHANNEL_BUFS; i++)
		buf_clear(&ch->more[i]);
	if (list_empty(&ch->turn))
		list_add_last(&s->writing, &ch->turn);
	channels_ready(s);
}

/* --- writing --- */

static bool channels_put(struct channels *s, uint32_t id, enum frame_kind kind, uint32_t count)
{
	uint8_t bytes[FRAME_BYTES];
	frame_write(&(struct frame){id, kind, count}, bytes);
	return buf_put(&s->conn->out, bytes, sizeof(bytes));
}

static bool channel_credit_due(const struct channel *ch)
{
	return ch->consumed >= FRAME_WINDOW / 2 && !ch->end_received;
}

static bool channel_end_due(const struct channel *ch)
{
	const struct conn *c = ch->conn;
	return c->finish && !c->finished && buf_len(&c->out) == 0;
}

static bool channel_put_credit(struct channel *ch)
{
	if (!channels_put(ch->channels, ch->id, FRAME_CREDIT, ch->consumed))
		return false;
	ch->receive_window += ch->consumed;
	ch->consumed = 0;
	return true;
}

static size_t channel_sendable(const struct channel *ch)
{
	size_t len = buf_len(&ch->conn->out);
	return len < ch->send_window ? len : ch->send_window;
}

/* Its first frame is about to be written, and only then it gets its id. */
static bool channel_begin(struct channel *ch)
{
	struct channels *s = ch->channels;
	if (ch->id != 0)
		return true;
	if (channel_name(ch, s->last_id + 1)) {
		s->last_id++;
		return true;
	}
	channel_fail(ch, CONN_FAILURE_MEMORY, ENOMEM);
	return false;
}

/* One DATA frame of what there is. */
static enum channel_turn channel_put_bytes(struct channel *ch)
{
	struct conn *c = ch->conn;
	struct buf *out = &ch->channels->conn->out;
	size_t len = channel_sendable(ch), space = buf_space(out);
	if (len > FRAME_DATA_MAX)
		len = FRAME_DATA_MAX;
	size_t least = len < CHANNEL_PIECE_MIN ? len : CHANNEL_PIECE_MIN;
	if (space < FRAME_BYTES + least)
		return CHANNEL_TURN_FULL;
	if (!channel_begin(ch))
		return CHANNEL_TURN_DONE;
	if (len > space - FRAME_BYTES)
		len = space - FRAME_BYTES;
	bool put = channels_put(ch->channels, ch->id, FRAME_DATA, (uint32_t)len) &&
		   buf_put(out, buf_at(&c->out), len);
	ASSERT(put);
	buf_consume(&c->out, len);
	ch->send_window -= (uint32_t)len;
	c->bytes_out += len;
	c->moved_ns = c->loop->now_ns;
	return channel_sendable(ch) > 0 ? CHANNEL_TURN_OVER : CHANNEL_TURN_DONE;
}

static enum channel_turn channel_put_reset(struct channel *ch)
{
	if (!channels_put(ch->channels, ch->id, FRAME_RESET, 0))
		return CHANNEL_TURN_FULL;
	channel_over(ch);
	return CHANNEL_TURN_DONE;
}

static enum channel_turn channel_put_end(struct channel *ch)
{
	if (buf_space(&ch->channels->conn->out) < FRAME_BYTES)
		return CHANNEL_TURN_FULL;
	if (!channel_begin(ch))
		return CHANNEL_TURN_DONE;
	bool put = channels_put(ch->channels, ch->id, FRAME_END, 0);
	ASSERT(put);
	ch->conn->finished = true;
	channel_ready(ch); /* which may have waited for just that */
	if (ch->end_received)
		channel_over(ch);
	return CHANNEL_TURN_DONE;
}

/* May free the channel, when its conn has gone. */
static enum channel_turn channel_write(struct channel *ch)
{
	enum channel_turn turn = CHANNEL_TURN_DONE;
	if (!ch->conn)
		return channel_put_reset(ch);
	if (channel_credit_due(ch) && !channel_put_credit(ch))
		return CHANNEL_TURN_FULL;
	if (channel_sendable(ch) > 0)
		turn = channel_put_bytes(ch);
	buf_release_if_empty(&ch->conn->out);
	if (turn == CHANNEL_TURN_DONE && channel_end_due(ch))
		turn = channel_put_end(ch);
	return turn;
}

static bool channel_wants(const struct channel *ch)
{
	return channel_credit_due(ch) || channel_sendable(ch) > 0 || channel_end_due(ch);
}

void channel_flush(struct channel *ch)
{
	struct channels *s = ch->channels;
	struct conn *c = ch->conn;
	if (!s) {
		buf_clear(&c->out);
		c->finished = c->finish;
		return;
	}
	if (!list_empty(&ch->turn) || c->failure != CONN_FAILURE_NONE)
		return;
	buf_release_if_empty(&c->out);
	if (!channel_wants(ch))
		return;
	if (!list_empty(&s->writing) || channel_write(ch) != CHANNEL_TURN_DONE)
		list_add_last(&s->writing, &ch->turn);
	channels_ready(s);
}

/* One turn each, in order, until all have written or there is no room. */
static void channels_take_turns(struct channels *s)
{
	while (!list_empty(&s->writing)) {
		struct channel *ch = CONTAINER_OF(s->writing.next, struct channel, turn);
		list_remove(&ch->turn);
		/* with room again, whoever feeds it goes on */
		channel_ready(ch);
		switch (channel_write(ch)) {
		case CHANNEL_TURN_DONE:
			break;
		case CHANNEL_TURN_OVER:
			list_add_last(&s->writing, &ch->turn);
			break;
		case CHANNEL_TURN_FULL:
			list_add_first(&s->writing, &ch->turn);
			return;
		}
	}
}

void channels_flush(struct channels *s)
{
	size_t left;
	if (s->going && !s->gone)
		s->gone = channels_put(s, 0, FRAME_GOAWAY, 0);
	do {
		channels_take_turns(s);
		left = buf_len(&s->conn->out);
		conn_flush(s->conn);
	} while (!list_empty(&s->writing) && buf_len(&s->conn->out) < left);
}

/* --- reading --- */

static struct buf *channel_tail(struct channel *ch)
{
	if (ch->more_count == 0)
		return &ch->conn->in;
	return &ch->more[(ch->more_first + ch->more_count - 1) % CHANNEL_BUFS];
}

static void channel_receive(struct channel *ch, const uint8_t *bytes, size_t len)
{
	struct conn *c = ch->conn;
	if (!c || c->failure != CONN_FAILURE_NONE)
		return;
	c->bytes_in += len;
	c->moved_ns = c->loop->now_ns;
	channel_ready(ch);
	for (;;) {
		size_t used = buf_fill(channel_tail(ch), bytes, len);
		bytes += used;
		len -= used;
		if (len == 0)
			return;
		struct buf *next = &ch->more[(ch->more_first + ch->more_count) % CHANNEL_BUFS];
		if (ch->more_count == CHANNEL_BUFS || !buf_hold(next))
			break;
		ch->more_count++;
	}
	channel_fail(ch, CONN_FAILURE_MEMORY, ENOMEM);
}

void channel_consumed(struct channel *ch, size_t len)
{
	struct conn *c = ch->conn;
	ch->consumed += (uint32_t)len;
	if (!c->in.bytes && ch->more_count > 0) {
		c->in = ch->more[ch->more_first];
		buf_init(&ch->more[ch->more_first], c->in.pool);
		ch->more_first = (ch->more_first + 1) % CHANNEL_BUFS;
		ch->more_count--;
	}
	if (ch->channels && channel_credit_due(ch))
		channel_flush(ch);
}

static enum channels_news channels_break(struct channels *s, enum channels_fault fault)
{
	s->fault = fault;
	return CHANNELS_BROKEN;
}

static enum channels_news channel_read_bytes(struct channel *ch, uint32_t count)
{
	if (ch->end_received)
		return channels_break(ch->channels, CHANNELS_FAULT_ENDED);
	if (count > ch->receive_window)
		return channels_break(ch->channels, CHANNELS_FAULT_WINDOW);
	ch->receive_window -= count;
	ch->channels->reading = ch;
	return CHANNELS_READ;
}

static enum channels_news channel_read_credit(struct channel *ch, uint32_t count)
{
	if (count > FRAME_WINDOW - ch->send_window)
		return channels_break(ch->channels, CHANNELS_FAULT_CREDIT);
	ch->send_window += count;
	if (ch->conn && buf_len(&ch->conn->out) > 0)
		channel_ready(ch);
	return CHANNELS_READ;
}

static enum channels_news channel_read_end(struct channel *ch)
{
	if (ch->end_received)
		return channels_break(ch->channels, CHANNELS_FAULT_ENDED);
	ch->end_received = true;
	if (!ch->conn)
		return CHANNELS_READ;
	ch->conn->eof = ch->conn->transport_eof = true;
	channel_ready(ch);
	if (ch->conn->finished)
		channel_over(ch);
	return CHANNELS_READ;
}

static enum channels_news channels_read_frame(struct channels *s, struct channel *ch)
{
	switch (s->frame.kind) {
	case FRAME_DATA:
		return channel_read_bytes(ch, s->frame.count);
	case FRAME_CREDIT:
		return channel_read_credit(ch, s->frame.count);
	case FRAME_END:
		return channel_read_end(ch);
	case FRAME_RESET:
		channel_fail(ch, CONN_FAILURE_RESET, ECONNRESET);
		channel_over(ch);
		return CHANNELS_READ;
	case FRAME_GOAWAY:
		break;
	}
	return CHANNELS_READ;
}

/* The first frame of a channel opens it; what still comes for one that is over has no meaning. */
static enum channels_news channels_read_unknown(struct channels *s)
{
	if (s->frame.channel <= s->last_id)
		return CHANNELS_READ;
	if (!s->server || (s->frame.kind != FRAME_DATA && s->frame.kind != FRAME_END))
		return channels_break(s, CHANNELS_FAULT_UNOPENED);
	if (s->live_count >= FRAME_CHANNELS)
		return channels_break(s, CHANNELS_FAULT_COUNT);
	s->last_id = s->frame.channel;
	return CHANNELS_OFFERED;
}

static enum channels_news channels_begin_frame(struct channels *s)
{
	if (s->frame.kind == FRAME_GOAWAY) {
		s->refusing = true;
		return s->server ? channels_break(s, CHANNELS_FAULT_ROLE) : CHANNELS_READ;
	}
	struct channel *ch = channels_find(s, s->frame.channel);
	enum channels_news news = ch ? channels_read_frame(s, ch) : channels_read_unknown(s);
	if (news == CHANNELS_READ && s->frame.kind == FRAME_DATA)
		s->frame_left = s->frame.count;
	return news;
}

/* The head may come in pieces. */
static enum frame_result channels_read_head(struct channels *s)
{
	const uint8_t *bytes;
	size_t before, len = conn_input(s->conn, &bytes);
	enum frame_result result;
	do {
		before = len;
		result = len > 0 ? frame_read(bytes, len, &s->frame) : FRAME_MORE;
		if (len == 0 || result != FRAME_MORE || !conn_gather(s->conn))
			return result;
		len = conn_input(s->conn, &bytes);
	} while (len > before);
	return result;
}

/* False: no whole head has come. */
static bool channels_next_frame(struct channels *s)
{
	switch (channels_read_head(s)) {
	case FRAME_MORE:
		return false;
	case FRAME_BAD:
		s->fault = CHANNELS_FAULT_FRAME;
		return false;
	case FRAME_DONE:
		conn_consume(s->conn, FRAME_BYTES);
		return true;
	}
	return false;
}

/* False: nothing of it has come. */
static bool channels_read_body(struct channels *s)
{
	const uint8_t *bytes;
	size_t len = conn_input(s->conn, &bytes);
	if (len > s->frame_left)
		len = s->frame_left;
	if (len == 0)
		return false;
	if (s->reading)
		channel_receive(s->reading, bytes, len);
	conn_consume(s->conn, len);
	s->frame_left -= (uint32_t)len;
	if (s->frame_left == 0)
		s->reading = NULL;
	return true;
}

enum channels_news channels_read(struct channels *s)
{
	enum channels_news news = CHANNELS_READ;
	while (news == CHANNELS_READ && s->fault == CHANNELS_FAULT_NONE) {
		if (s->frame_left > 0 && !channels_read_body(s))
			return CHANNELS_READ; /* waits for: the rest of it */
		if (s->frame_left > 0)
			continue;
		/* one that was offered is begun again, now that it is known */
		if (!s->frame_begun && !channels_next_frame(s))
			break;
		news = channels_begin_frame(s);
		s->frame_begun = news == CHANNELS_OFFERED;
	}
	return s->fault != CHANNELS_FAULT_NONE ? CHANNELS_BROKEN : news;
}

static const struct {
	const char *name, *text;
} channels_faults[] = {
#define X(name, text) {#name, text},
	CHANNELS_FAULT_LIST(X)
#undef X
};

const char *channels_fault_name(enum channels_fault fault)
{
	return channels_faults[fault].name;
}

const char *channels_fault_text(enum channels_fault fault)
{
	return channels_faults[fault].text;
}
