/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that carries HTTP, on either side: a line and a codec on it. It turns bytes into
 * events and gives them to the exchange whose stream they belong to; it decides nothing about
 * requests.
 *
 *      DOWN:           OPEN ──▶ LINGER ──▶ CLOSING
 *      UP:  CONNECT ──▶ OPEN ─────────────▶ CLOSING
 * CONNECT waits for connect and handshake, OPEN for bytes, room or a timer, LINGER for the client
 * to take the last response and go (RFC 9112 9.6), CLOSING for armed operations to end. */
#pragma once

#include "asked.h"
#include "call.h"
#include "codec/http.h"

struct mirror;
struct upstream_pool;

enum carrier_state {
	CARRIER_CONNECT,
	CARRIER_OPEN,
	CARRIER_LINGER,
	CARRIER_CLOSING,
};

struct carrier {
	struct being being;
	enum carrier_state state;
	enum side side;
	struct line *line;
	struct http *http;
	struct call call;      /* DOWN: who is calling; UP: unused */
	struct asked *asked;   /* DOWN, to a workload of this machine: its last request */
	struct list exchanges; /* of struct exchange, by node[side] */
	struct timer timer;
	uint64_t head_since_ns; /* DOWN: when the head being read began; 0 = none begun */
	bool blocked;		/* input waits for room on the other side */
	bool input_ended;	/* the codec has been told of the end of stream */
	bool lingered;		/* LINGER: the timer has expired once since our FIN */
	uint64_t linger_bytes;	/* LINGER: sent so far, and when that last changed */
	uint64_t linger_ns;
	uint64_t plan_number; /* of the plan under which peer and call were last looked at */
	/* UP: */
	struct upstream_pool *pool; /* what it may be reused for: see upstream.h */
	struct list pooled;	    /* in pool->idle while idle */
	uint64_t open_ns;	    /* CONNECT: a handshake has until then; 0: as the connect */
	bool idle;
	bool reused;
	struct mirror *mirror; /* whose copy it carries, instead of an exchange's request */
};

/* An accepted connection that speaks HTTP. Takes line and call over when it returns true. */
bool carrier_take_down(struct worker *w, struct line *line, struct call *call) MUST_CHECK;
/* A fresh one in CONNECT, whose line is yet to be dialled; see upstream_dial(). NULL: no memory. */
struct carrier *carrier_new_up(struct worker *w);
/* Other times than the usual one for its far end to take the connection, and for the handshake to
 * end then. */
void carrier_connect_by(struct carrier *c, uint64_t connected_ns, uint64_t open_ns);

/* DOWN, before a new request: settles the call under the plan in force. Not NONE: no request of it
 * is to be taken any more. */
enum reason carrier_renew(struct carrier *c);

void carrier_step(struct carrier *c);
/* An exchange on this DOWN carrier has ended, its response written or not to be written. */
void carrier_served(struct carrier *c);
/* Ends it; its exchanges are told. */
void carrier_close(struct carrier *c, bool reset);
/* The proxy drains: one that has been idle for a moment is closed, a busy one after its response.
 */
void carrier_drain(struct carrier *c);
void carrier_free(struct carrier *c);
