/* SPDX-License-Identifier: Apache-2.0 */
/* One socket and its transport: plain TCP, or TLS on it; or, without a socket of its own, a channel
 * of a shared connection (net/channel.h). Bounded buffers both ways; one close.
 *
 * A conn never decides anything above bytes and never calls its owner: completions make the owner's
 * task ready, the owner's step calls conn_step() and looks at the fields, reads with conn_input(),
 * writes into conn->out, and ends its turn with conn_flush().
 *
 *      NEW ──dial──▶ CONNECTING ──┬─tls─▶ HANDSHAKE ──▶ OPEN ──close──▶ CLOSING ──▶ CLOSED
 *       └──adopt──────────────────┴─plain──────────────▶ OPEN
 *       └──attach──────────────────────────────────────▶ OPEN
 *
 * CONNECTING waits for the connect, HANDSHAKE for bytes, a name choice or a signature, OPEN for
 * bytes either way, CLOSING for armed operations to end. Any state may go to CLOSING.
 *
 * Memory: received blocks, `in`, `out`, `wire` and `sending`, and under TLS a record that has not
 * come whole; each is held only while it has bytes, so an idle conn holds none. A caller that does
 * not consume stops the sender: no receive is armed while a block is held, and one that is armed
 * already ends after 16 KiB. When blocks get short they are exchanged for copies (`kept`,
 * `behind`): connections that stand still must not keep the others from receiving. Where there is
 * more to be received than fits into a block, the bufs have large blocks as long as there are any.
 */
#pragma once

#include "base/address.h"
#include "base/buf.h"
#include "base/clock.h"
#include "ring/loop.h"
#include "tls/tls.h"
#include <stdbool.h>
#include <stdint.h>

enum conn_state {
	CONN_NEW,
	CONN_CONNECTING,
	CONN_HANDSHAKE,
	CONN_OPEN,
	CONN_CLOSING,
	CONN_CLOSED,
};

/* Why a conn is of no more use; the first reason stays. */
enum conn_failure {
	CONN_FAILURE_NONE,
	CONN_FAILURE_CONNECT,	/* conn->error says which errno */
	CONN_FAILURE_HANDSHAKE, /* tls_failure(conn->tls) says why */
	CONN_FAILURE_RESET,	/* the peer reset, or a send found it gone */
	CONN_FAILURE_TRUNCATED, /* TLS ended without close_notify, or records are damaged */
	CONN_FAILURE_MEMORY,	/* the buffer limit is reached */
};

/* What the handshake waits for from the owner. */
enum conn_need { CONN_NEED_NOTHING, CONN_NEED_NAME, CONN_NEED_SIGNATURE };

/* What to do where much is to be received. The owner says it, who knows where the bytes go. */
enum conn_bulk {
	CONN_BULK_NO,	/* take it in blocks */
	CONN_BULK_GO,	/* take it in large bufs */
	CONN_BULK_WAIT, /* leave it where it is: what was received last has not left yet */
};

struct channel;

struct conn {
	uint32_t magic;
	enum conn_state state;
	enum conn_failure failure;
	int error; /* errno behind `failure`, or 0 */
	int fd;
	/* the owner's, dialled: socket_routes(), then it fails (ELOOP) if the far end is this
	 * machine; -1: wherever that is */
	int routes;
	struct loop *loop;
	struct task *owner;
	struct op recv, send;	 /* `send` also carries the connect */
	struct tls *tls;	 /* NULL = plain */
	struct channel *channel; /* instead of a socket, or NULL */
	enum conn_need need;
	enum conn_bulk bulk;
	struct sockaddr_storage address; /* dialled; the kernel reads it while connecting */
	uint8_t *block_at; /* received bytes to be used next, in receive block `block` or `kept` */
	uint32_t block_len;
	uint16_t block;
	bool block_held;
	bool block_kept; /* they are in `kept` */
	bool burst;	 /* the last receive brought much: more is to come */
	bool large;	 /* the receive goes into `kept`, which is large */
	bool eof;     /* the peer has finished sending, and everything before it is in the input */
	bool starved; /* no receive block was free: not armed again in this step */
	bool in_full; /* TLS: `in` filled up, there may be more behind it */
	bool watched; /* after the end of stream: the watch for a reset is over */
	bool transport_eof; /* the socket has; TLS may still hold bytes */
	bool deaf;   /* a send found the peer gone: what is written is dropped, input still read */
	bool finish; /* the owner will write no more: FIN when all is sent */
	bool finished; /* FIN sent */
	struct buf kept,
		behind;	    /* received bytes that gave their blocks back, and those after them */
	struct buf in;	    /* input gathered: several records' plaintext, or conn_gather()'s */
	struct buf out;	    /* what the owner wrote, plain */
	struct buf wire;    /* TLS: sealed, to be sent next */
	struct buf sending; /* in flight */
	uint64_t bytes_in, bytes_out; /* on the socket */
	uint64_t moved_ns;	      /* when bytes last moved, either way */
};

void conn_init(struct conn *c, struct loop *loop, struct buf_pool *pool, struct task *owner);
/* The task that gets the news from now on. */
void conn_own(struct conn *c, struct task *owner);
/* Takes an accepted socket over. */
void conn_adopt(struct conn *c, int fd);
/* Starts to connect; 0, or -errno when not even a socket is to be had (the conn stays NEW). */
int conn_dial(struct conn *c, const struct address *address) MUST_CHECK;
/* Makes it TLS, on a fresh conn (dialled or adopted); takes `tls` over, which was made to write
 * into c->wire. */
void conn_secure(struct conn *c, struct tls *tls);
/* Gives a fresh conn a channel for its transport; called by channels_open() and the like. */
void conn_attach(struct conn *c, struct channel *channel);

/* Takes in what completed and moves the transport on. Call first in the owner's step; then look at
 * state, failure, need, eof and the input. */
void conn_step(struct conn *c);
/* Seals and sends what was written, arms the next receive, sends the FIN. Call last. */
void conn_flush(struct conn *c);

/* Input now there: its length, and its place until the next call on this conn. */
size_t conn_input(struct conn *c, const uint8_t **ret_bytes);
void conn_consume(struct conn *c, size_t len);
/* Gives a large input over to be the output of `to`, as it is; returns its length, or 0 when there
 * is none, or `to` has other output: then it has to be copied. */
size_t conn_hand_over(struct conn *c, struct conn *to);
/* Nothing has come that its owner has not seen, not even the end. */
bool conn_quiet(struct conn *c);
/* It hears of what comes next without a further step: a receive is armed, or it is a channel. */
bool conn_listens(const struct conn *c);
/* The owner needs more than what is there before it can use any: keeps it and receives on. False
 * when the buffer is full: it will never get more. */
bool conn_gather(struct conn *c) MUST_CHECK;

/* The owner could not write a byte into conn->out: if nothing is on its way whose end would make
 * room, the buffer limit is reached and the conn has failed. */
void conn_no_room(struct conn *c);
/* Nothing written is still on its way to the kernel. */
bool conn_drained(const struct conn *c);
/* After the handshake name or signature was given to conn->tls: the next conn_step() goes on. */
void conn_resume(struct conn *c);

/* Ends it, from any state, any number of times. `reset` sends a RST instead of a FIN and drops what
 * is unsent. The owner's task is made ready until conn_join() says it is CLOSED. */
void conn_close(struct conn *c, bool reset);
/* True once CLOSED: no operation armed, descriptor closed, memory given back. */
bool conn_join(struct conn *c) MUST_CHECK;
