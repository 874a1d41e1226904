/* SPDX-License-Identifier: Apache-2.0 */
/* A connection between two proxies that carries the requests of one caller to one destination, each
 * on a channel of its own: one handshake, one record and one send for many. A channel is a line
 * like any other to the carrier on it.
 *
 *      UP:   DIAL ──┬──▶ OPEN ──▶ CLOSING
 *                   └──▶ PLAIN ─────▲      the far end speaks HTTP/1.1 only
 *      DOWN:             OPEN ──▶ CLOSING
 * DIAL waits for connect and handshake, OPEN for frames and room, PLAIN for a carrier that takes
 * the connection for itself, CLOSING for the channels' lines to leave and for armed operations to
 * end. */
#pragma once

#include "line.h"
#include "net/channel.h"

struct call;
struct upstream_pool;

enum trunk_state {
	TRUNK_DIAL,
	TRUNK_OPEN,
	TRUNK_PLAIN,
	TRUNK_CLOSING,
};

struct trunk {
	struct being being;
	enum trunk_state state;
	enum side side; /* UP: we dialled it; DOWN: another proxy did */
	struct line *line;
	struct channels channels;
	struct timer timer;
	uint32_t user_count;  /* lines that are its channels, or wait to be */
	uint64_t idle_ns;     /* since when there is none */
	uint64_t plan_number; /* DOWN: of the plan under which the peer was last looked at */
	struct list waiting;  /* of struct line: told when DIAL is over */
	enum reason reason;   /* CLOSING: why it is of no use to who waited */
	const char *details;
	/* UP: */
	struct upstream_pool *pool;
	struct list pooled; /* in pool->trunks */
};

/* A fresh one to where the call leads. NULL: *ret_reason says why not. */
struct trunk *trunk_dial(struct worker *w, const struct call *call, enum reason *ret_reason);
/* Takes an accepted connection over, after its handshake, when it returns true. */
bool trunk_take(struct worker *w, struct line *line) MUST_CHECK;

/* UP: one more line may become a channel of it. */
bool trunk_usable(const struct trunk *t);
/* UP: a fresh line is to become a channel once the trunk is open. */
void trunk_join(struct trunk *t, struct line *line);
/* UP and open: now it does. False: it may not, the trunk is about to end. */
bool trunk_connect(struct line *line) MUST_CHECK;
/* PLAIN: its connection, for whoever asks first; then NULL. */
struct line *trunk_take_line(struct trunk *t);
/* The line has no more to do with a trunk. */
void trunk_leave(struct line *line);

void trunk_step(struct trunk *t);
/* Ends it; its channels fail. */
void trunk_close(struct trunk *t, bool reset);
/* The proxy drains: no new channels. */
void trunk_drain(struct trunk *t);
void trunk_free(struct trunk *t);
