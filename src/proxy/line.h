/* SPDX-License-Identifier: Apache-2.0 */
/* A conn in the proxy's hands: the same, plus the signature that its handshake may wait for. */
#pragma once

#include "service_use.h"
#include "worker_private.h"

/* The two sides of whatever joins two connections: who connected to us, whom we connect to. */
enum side { DOWN, UP };

static inline enum side side_other(enum side side)
{
	return side == DOWN ? UP : DOWN;
}

struct trunk;

struct line {
	struct conn conn;
	struct signature signature;
	struct trunk *trunk;		/* whose channel it is or waits to become, or NULL */
	struct list waiting;		/* in trunk->waiting */
	struct service_hold connection; /* dialled: counted there until it is closed */
};

struct line *line_new(struct worker *w, struct task *owner);
/* The task that gets the news from now on. */
void line_own(struct line *l, struct task *owner);
/* conn_step(), and the errand to the keeper when the handshake needs a signature. */
void line_step(struct line *l, struct worker *w);
void line_close(struct line *l, bool reset);
/* The session that secures it, on a connection of its own or a shared one; NULL: plain. */
const struct tls *line_tls(const struct line *l);
/* Somebody else on this machine was refused a connection to the same service. */
bool line_is_lacked(const struct line *l);
/* The same of one that is idle. True: it has to make room, for nobody else will. */
bool line_take_lack(const struct line *l) MUST_CHECK;
/* The socket on which it travels. */
int line_fd(const struct line *l);
/* When the peer's certificate ends, on the loop's clock; UINT64_MAX without one. After the
 * handshake. */
uint64_t line_expiry_ns(const struct line *l, const struct worker *w);
bool line_expired(const struct line *l, const struct worker *w);
/* Frees one that never got as far as a transport, or only as far as a channel. */
void line_drop(struct line *line, struct worker *w);
/* True once closed; then *line is freed and set to NULL. True for NULL, too. */
bool line_join(struct line **line, struct worker *w) MUST_CHECK;

/* Moves what fits from one to the other, and the end of stream; true when bytes moved. */
bool line_relay(struct line *from, struct line *to, uint64_t *byte_count);
/* When opaque bytes between the two must end because of a certificate. */
uint64_t line_pair_expiry_ns(const struct line *a, const struct line *b, const struct worker *w);
/* Both directions have ended and everything has left. */
bool line_pair_done(const struct line *a, const struct line *b);
