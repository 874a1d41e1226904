/* SPDX-License-Identifier: Apache-2.0 */
/* A connection just accepted, until it is known who calls whom and in which protocol; then it is
 * handed to a carrier (HTTP) or a tunnel (opaque bytes), or refused. */
#pragma once

#include "call.h"
#include "codec/preamble.h"

/*      ACCEPTED ──mesh──▶ (QUEUED) ──▶ HANDSHAKE ──▶ PREAMBLE ──▶ handed over
 *          ├──protocol unknown──▶ DETECT ──▶ handed over
 *          └──protocol known or server speaks first──▶ handed over
 * QUEUED waits for its turn when too many handshakes are in progress, HANDSHAKE for the TLS
 * handshake, PREAMBLE and DETECT for the first bytes, each with a timer. Any state may go to
 * CLOSING, which waits for the connection's operations to end. */
enum session_state {
	SESSION_ACCEPTED,
	SESSION_QUEUED,
	SESSION_HANDSHAKE,
	SESSION_PREAMBLE,
	SESSION_DETECT,
	SESSION_HANDED,
	SESSION_CLOSING,
};

struct session {
	struct being being;
	enum session_state state;
	struct line *line;
	struct call call;
	struct timer timer;
	uint64_t born_wall_ns;
	struct list queue; /* in worker.queued */
	bool handshake_counted;
};

/* Takes the descriptor over. */
void session_accept(struct worker *w, const struct listener *listener, int fd);
void session_step(struct session *s);
void session_close(struct session *s);
void session_free(struct session *s);
