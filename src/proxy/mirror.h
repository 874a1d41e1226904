/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of a request for somebody besides the service that it is for: what becomes of it never
 * touches the caller. It has no carrier downstream, and nobody waits for its answer, which is read
 * and thrown away.
 *
 *      GATHER ──▶ PLACE ──▶ WAIT ──▶ TALK ──▶ ENDED
 * GATHER lasts as long as the caller's request is read: its body is kept, up to a limit, and only
 * when all of it is there the copy goes, so that no mirror sees half a request, and a slow one can
 * slow nobody. PLACE is passed in one step, WAIT waits for the upstream connection, TALK for bytes
 * and room; both for the timer, which is the copy's own. Any state may go to ENDED.
 *
 * A mirror takes no room from callers: of each limit the last quarter is theirs alone; a copy
 * beyond that is dropped and counted. It is sent once, and says nothing of the endpoint's health.
 * Its identity is the caller's, and so what policy at the mirror is about. */
#pragma once

#include "authorise.h"
#include "base/arena.h"
#include "carrier.h"
#include "codec/http.h"
#include "tokens.h"

struct exchange;

enum mirror_state {
	MIRROR_GATHER,
	MIRROR_PLACE,
	MIRROR_WAIT,
	MIRROR_TALK,
	MIRROR_ENDED,
};

/* Part of a body that is kept. */
struct mirror_block {
	struct list listed;
	uint32_t len, used; /* used: written to the mirror */
	uint8_t bytes[4096 - sizeof(struct list) - 2 * sizeof(uint32_t)];
};

struct mirror {
	struct being being;
	enum mirror_state state;
	struct list gathered; /* GATHER: in the exchange's route */
	struct call_lead lead;
	struct call call; /* from PLACE on */
	struct call_tries tries;
	struct workload_use *serving;
	struct carrier *up;
	uint32_t stream;
	struct timer timer;
	struct arena arena;	    /* of all texts */
	struct http_head *request;  /* as it is sent, in the arena */
	struct http_head *trailers; /* likewise, or NULL */
	struct list blocks;	    /* of struct mirror_block: what is still to be written */
	bool head_written, end_written;
	bool answered;	/* to the end */
	bool is_closed; /* the proxy ends: so does it, in its next step */
	bool is_cut;	/* more of an answer came than anybody throws away */
	struct str method, path, authority, user_agent, request_id, route;
	struct authorisation authorisation; /* copies in the arena */
	struct tokens_carried token;	    /* its request's */
	uint16_t status;
	const char *details;
	uint64_t request_bytes, response_bytes;
	uint64_t start_ns, start_wall_ns; /* PLACE */
	uint64_t plan_number;		  /* of the plan under which it was last let go on */
};

/* How many blocks a body of so many bytes takes. */
uint32_t mirror_block_count(uint32_t body_bytes);

/* --- what the caller's exchange tells: mirror_gather.c --- */

/* Its request goes out for the first time: those copies begin that its rule wants. */
void mirror_begin(struct exchange *x);
void mirror_body(struct exchange *x, struct str body);
/* The request has been read to its end. */
void mirror_whole(struct exchange *x);
/* It ends, whole or not. */
void mirror_leave(struct exchange *x);

/* --- what its carrier tells: mirror.c --- */

void mirror_event(struct mirror *m, const struct http_event *event);
/* The connection is of no more use; takes it off the carrier. */
void mirror_lost(struct mirror *m, enum reason reason, const char *details);
/* There is room, or the connection. */
void mirror_wake(struct mirror *m);

/* --- its life: mirror.c --- */

/* All of it is there. `call`: the caller's. */
void mirror_send(struct mirror *m, const struct call *call);
/* Never sent: counted in `why`. */
void mirror_drop(struct mirror *m, _Atomic uint64_t *why);
void mirror_step(struct mirror *m);
/* The proxy ends. */
void mirror_close(struct mirror *m);
void mirror_free(struct mirror *m);
