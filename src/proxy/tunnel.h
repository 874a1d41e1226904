/* SPDX-License-Identifier: Apache-2.0 */
/* Two lines shovelling bytes: opaque TCP, each direction on its own, half-close and reset passed
 * on.
 *
 *      CONNECT ──▶ OPEN ──▶ CLOSING
 *       ▲   ▼                  ▲
 *       AGAIN ─────────────────┘
 * CONNECT waits for the upstream's connect and handshake (one timer for both), AGAIN for what is in
 * flight on one that failed, before another endpoint is tried, OPEN for bytes or the idle timer,
 * CLOSING for armed operations to end. */
#pragma once

#include "authorise.h"

enum tunnel_state {
	TUNNEL_CONNECT,
	TUNNEL_AGAIN,
	TUNNEL_OPEN,
	TUNNEL_CLOSING,
};

struct tunnel {
	struct being being;
	enum tunnel_state state;
	struct call call;
	struct service_hold pending;  /* CONNECT */
	struct workload_use *serving; /* counted there as in progress; or NULL */
	struct line *line[2];
	uint64_t byte_count[2]; /* from DOWN, from UP */
	uint64_t told_count[2]; /* of these the counters know */
	struct timer timer;
	enum reason reason;
	const char *details;
	struct authorisation authorisation; /* texts of the plan that the call holds */
	uint64_t start_wall_ns;
	bool opened;	      /* told to the counters */
	uint64_t plan_number; /* of the plan under which it was last let go on */
	struct call_tries tries;
	char *route;		    /* the name of the rule that it goes by; NULL: none */
	struct call_lead lead;	    /* its, until it is open */
	bool is_limited;	    /* its service's limits were asked */
	char *limit, *shadow_limit; /* names of those that refused, or would have; NULL: none */
};

/* Takes line and call over when it returns true. */
bool tunnel_take(struct worker *w, struct line *line, struct call *call) MUST_CHECK;
void tunnel_step(struct tunnel *t);
void tunnel_close(struct tunnel *t, enum reason reason);
void tunnel_free(struct tunnel *t);
