/* SPDX-License-Identifier: Apache-2.0 */
/* Many byte streams on one connection between two proxies: whatever they have to send in one turn
 * leaves in few records and one send.
 *
 * A channel is the transport of a conn, in place of a socket: above it conn_input(), conn->out,
 * conn_flush() and the rest mean what they mean on a socket, half-close and reset included. Each
 * channel has a window of its own, so a slow reader stops its own channel only and holds at most
 * FRAME_WINDOW bytes; those that wait for room on the shared connection get turns, one after the
 * other.
 *
 * The owner of the shared connection steps it, then channels_read(), and ends its turn with
 * channels_flush() instead of conn_flush(). It is made ready whenever a channel has something to
 * send; as it comes after them in the ready queue, it finds what all of them wrote. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/pool.h"
#include "codec/frame.h"
#include "net/conn.h"

/* What waits in a channel beside conn->in: full blocks of at least 17 KiB, and one begun. */
#define CHANNEL_BUFS 8

struct channels;

struct channel {
	struct map_node node;	   /* in channels->by_id */
	struct list live;	   /* in channels->live */
	struct channels *channels; /* NULL: over, nothing moves any more */
	struct conn *conn;	   /* NULL: closed by its owner, the RESET is still to be written */
	struct pool *pool;
	uint32_t id; /* 0: nothing written yet. Ids ascend in the order of the first frames */
	uint32_t send_window;	 /* bytes that the other side has room for */
	uint32_t receive_window; /* bytes that it may send */
	uint32_t consumed;	 /* of these given back by no CREDIT yet */
	struct list turn;	 /* in channels->writing */
	bool end_received;
	struct buf more[CHANNEL_BUFS]; /* behind conn->in, a ring */
	uint32_t more_first, more_count;
};

/* How the other side broke the rules. X(NAME, text) */
#define CHANNELS_FAULT_LIST(X)                          \
	X(NONE, "")                                     \
	X(FRAME, "a frame of no known form")            \
	X(WINDOW, "more bytes than the window allows")  \
	X(CREDIT, "more credit than the window allows") \
	X(UNOPENED, "a channel that was never opened")  \
	X(ENDED, "bytes after the end of a channel")    \
	X(COUNT, "more channels than allowed")          \
	X(ROLE, "a frame that this side may not send")  \
	X(MEMORY, "out of memory for channels")
enum channels_fault {
#define X(name, text) CHANNELS_FAULT_##name,
	CHANNELS_FAULT_LIST(X)
#undef X
};

struct channels {
	struct conn *conn; /* the shared one */
	struct pool *pool; /* of struct channel */
	bool server;	   /* takes channels; a client opens them */
	struct list live;  /* of struct channel */
	uint32_t live_count;
	struct map by_id; /* of those with an id */
	uint32_t last_id;
	struct list writing; /* of struct channel, by turn */
	struct frame frame;  /* being read */
	uint32_t frame_left; /* bytes of its body still to come */
	bool frame_begun;
	struct channel *reading; /* whose body it is; NULL: nobody's, skipped */
	bool going, gone;	 /* server: GOAWAY is to be sent, has been */
	bool refusing;		 /* client: the server takes no more */
	enum channels_fault fault;
};

enum channels_news {
	CHANNELS_READ,	  /* all that has come is read */
	CHANNELS_OFFERED, /* a new channel: channels_accept() or channels_refuse(), then read on */
	CHANNELS_BROKEN,  /* channels->fault says how: close the connection */
};

/* `conn` is open; `pool` is of struct channel. */
void channels_init(struct channels *s, struct conn *conn, struct pool *pool, bool server);
enum channels_news channels_read(struct channels *s) MUST_CHECK;
/* Lets those that wait write, seals and sends. */
void channels_flush(struct channels *s);
/* A fresh conn becomes the next channel. False: no more can be had on this connection. */
bool channels_open(struct channels *s, struct conn *c) MUST_CHECK;
/* A fresh conn becomes the channel offered. False: no memory, it is refused. */
bool channels_accept(struct channels *s, struct conn *c) MUST_CHECK;
void channels_refuse(struct channels *s);
/* Tells the client to open no more. */
void channels_go_away(struct channels *s);
/* The shared connection is over: every channel fails like it. No call but this one after that. */
void channels_done(struct channels *s, enum conn_failure failure, int error);
const char *channels_fault_name(enum channels_fault fault);
const char *channels_fault_text(enum channels_fault fault);

/* --- for conn.c --- */

/* What was written moves on, as far as there is room. */
void channel_flush(struct channel *ch);
/* So many bytes of conn->in were used: brings the next ones and gives credit. */
void channel_consumed(struct channel *ch, size_t len);
/* The conn lets go of it: a RESET, unless both directions have ended. */
void channel_close(struct channel *ch);
