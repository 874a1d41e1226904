/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request and its response: joins a stream on the carrier of the client with one on a
 * carrier to the upstream. Carriers bring events, exchange_step() decides.
 *
 *      ROUTE ──▶ WAIT ──▶ FORWARD ──┬──────────▶ ENDED
 *        ▲         │         │      └─▶ TUNNEL ──┘
 *        └──retry──┴─────────┘
 * ROUTE waits for nothing but room for an answer of our own, WAIT for the upstream connection,
 * FORWARD for bytes and room both ways, TUNNEL (after 101) for raw bytes both ways. Any state may
 * go to ENDED: recorded, taken off its carriers, freed at the end of the turn. */
#pragma once

#include "authorise.h"
#include "base/arena.h"
#include "carrier.h"
#include "record.h"
#include "tokens.h"

#define EXCHANGE_TEXT_BYTES 512

struct exchange_limit;
struct exchange_route;

enum exchange_state {
	EXCHANGE_ROUTE,
	EXCHANGE_WAIT,
	EXCHANGE_FORWARD,
	EXCHANGE_TUNNEL,
	EXCHANGE_ENDED,
};

/* How far a message has got on its way through; the request flows from DOWN, the response from UP.
 */
enum flow {
	FLOW_HEAD,   /* its head is not yet written to the other side */
	FLOW_BODY,   /* body bytes are passed on as they come */
	FLOW_ENDING, /* read to its end; the end is not yet written */
	FLOW_DONE,
};

struct exchange {
	struct being being;
	enum exchange_state state;
	struct carrier *carrier[2]; /* NULL once gone, or not there yet */
	struct list node[2];	    /* in carrier->exchanges */
	uint32_t stream[2];
	enum flow flow[2];	       /* by the side it comes from */
	bool input_ended[2];	       /* the message has been read to its end */
	struct http_head *request;     /* the downstream codec's, until the exchange ends */
	struct http_head *response;    /* the codec's, until written */
	struct http_head *interim;     /* the codec's, until written */
	struct http_head *trailers[2]; /* copies in the arena */
	uint64_t body_bytes[2];
	struct arena arena;
	struct timer timer;
	bool request_started;  /* in some try its head was written: it may have had effect */
	bool is_mirror;	       /* another proxy says that it is a copy, whose answer nobody gets */
	bool response_started; /* a byte of the final response has been written */
	uint16_t status;
	uint32_t attempt_count;
	enum reason reason;
	const char *details;
	struct authorisation authorisation; /* copies in the arena */
	struct tokens_carried token;	    /* its request's */
	struct str request_id;
	struct str told_route;	      /* the rule that another proxy says it went by; or empty */
	struct workload_use *serving; /* counted there as in progress; or NULL */
	uint64_t start_wall_ns;
	uint64_t plan_number;  /* of the plan under which it was last let go on */
	uint64_t trust_number; /* the same, of both sides' certificates alone */
	struct call_tries tries;
	struct service_hold pending;  /* WAIT: for a connection that is not there yet */
	struct service_hold retrying; /* sent again by a rule, and no response has come */
	uint64_t try_ns, again_ns;    /* with a rule's retries: began, not before */
	struct exchange_route *route; /* in the arena; NULL: no rule */
	struct exchange_limit *limit; /* in the arena; NULL: none was asked */
	/* What the mesh writes of a usual request fits in here: the arena's first memory. */
	_Alignas(16) unsigned char text[EXCHANGE_TEXT_BYTES];
};

/* The exchange whose node[side] this is. */
struct exchange *exchange_on(struct list *node, enum side side);

/* --- what carriers tell --- */

void exchange_begin(struct carrier *down, uint32_t stream, struct http_head *head);
void exchange_response(struct exchange *x, struct http_head *head);
void exchange_interim(struct exchange *x, struct http_head *head);
/* May be sent twice without harm. */
bool exchange_idempotent(const struct exchange *x);
/* It has no upstream connection yet, or none any more: held back, before it is tried again, or
 * waiting for room for an answer of our own. What it needs of the plan it has copied. */
bool exchange_rests(const struct exchange *x);
/* It is past the choice of its upstream connection. */
bool exchange_runs(const struct exchange *x);
/* Of a new plan it is asked whether the certificates on both sides are still good: a request that
 * runs ends when one is revoked, or the identity that it was for is gone. One whose root has gone
 * is good until the request is over, as roots are rotated while requests run. And it ends when
 * policy would refuse it now: before its response has begun with an answer, else with a reset. */
void exchange_follow(struct exchange *x);
/* The message from this side is still being read. */
bool exchange_reading(const struct exchange *x, enum side side);
/* A head from this side waits to be written. It is the codec's: whatever is fed next may end it. */
bool exchange_borrows(const struct exchange *x, enum side side);
/* How many body bytes from this side can be taken now. */
size_t exchange_room(struct exchange *x, enum side side);
void exchange_body(struct exchange *x, enum side side, struct str body);
void exchange_trailers(struct exchange *x, enum side side, const struct http_head *trailers);
void exchange_end(struct exchange *x, enum side side);
/* The whole response is written; it ends in its next step. */
bool exchange_answered(const struct exchange *x);
void exchange_bad(struct exchange *x, enum side side, enum http_bad bad);
/* The carrier on this side is of no more use to it; takes the exchange off that carrier. */
void exchange_lost(struct exchange *x, enum side side, enum reason reason);
/* There is room or news on this side: whoever waited for it goes on. */
void exchange_wake(struct exchange *x, enum side side);
/* Raw bytes both ways, in TUNNEL. */
void exchange_relay(struct exchange *x);

void exchange_step(struct exchange *x);
void exchange_free(struct exchange *x);
