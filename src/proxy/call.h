/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls whom: the facts of one downstream connection, settled before a byte is forwarded. A new
 * plan settles them again: before the next request, and at once for opaque bytes. */
#pragma once

#include "balance/pick.h"
#include "figures.h"
#include "line.h"
#include "mesh/external.h"

struct workload_use { /* of one workload (by uid), all workers and generations together */
	struct workload_use *before; /* made before it; the control thread's */
	uint32_t uid;
	_Atomic uint32_t connection_count;
	_Atomic uint32_t serving_count; /* requests and opaque connections in progress at it */
};

enum call_direction {
	CALL_OUTBOUND,	    /* a local workload's captured connection */
	CALL_INBOUND_PLAIN, /* captured plain text from another machine */
	CALL_INBOUND_MESH,  /* mutual TLS from another proxy */
};

/* How the far end is reached. */
enum call_way {
	CALL_WAY_LOCAL,	  /* this machine's workload, plain, on the loopback */
	CALL_WAY_MESH,	  /* another machine's proxy, mutual TLS */
	CALL_WAY_PLAIN,	  /* the original destination itself: not of the mesh, or mtls disabled */
	CALL_WAY_OUTSIDE, /* an external service, in the plain or by TLS of its own; see outside.h
			   */
	CALL_WAY_PICK,	  /* to an endpoint of the service that is still to be picked */
};

struct metric_series;
struct upstream_pool;

/* A call's requests mostly end alike, so that it need not be asked again where to count them. */
struct record_series {
	uint16_t status;
	enum reason reason;
	bool is_mirror;
	struct metric_series
		*ends[2]; /* as seen at the destination, at the source; NULL: not yet */
};

struct call {
	struct plan_hold *hold; /* NULL while nothing is settled */
	enum call_direction direction;
	enum call_way way;
	const struct workload *source;	      /* outbound only */
	struct str source_id;		      /* SPIFFE id; empty = none */
	char *source_id_text;		      /* owned copy for inbound mesh calls */
	const struct service *source_service; /* known by name, or NULL */
	const struct service *dialled;	      /* outbound: whose address it came to, or NULL */
	const struct service *service;	      /* NULL for CALL_WAY_PLAIN to no service */
	const struct workload *target;	      /* CALL_WAY_LOCAL */
	const struct endpoint *endpoint;      /* CALL_WAY_MESH */
	const struct external *external;      /* outside of the mesh, or NULL */
	enum unknown_mode unknown;	      /* not REFUSE: let out as something unknown */
	bool by_name, is_named; /* what it is for is said in its bytes; it has been, as: */
	enum external_speech speech;
	char *host; /* owned; NULL: no name */
	enum reason named;
	enum protocol protocol;
	bool server_first;
	bool picks;		/* it came to the service's own address */
	enum pick_way pick_way; /* with `picks`: how it got the endpoint that it leads to */
	bool is_mirror;		/* a copy of a request of it: not counted against the source */
	bool mutual_tls;	/* the downstream side came over it */
	bool tls_resumed;
	struct address client, original, upstream;
	bool upstream_failed;	      /* OUTSIDE: it took no connection the last time */
	struct workload_use *uses[2]; /* counted against these */
	uint64_t number;
	struct upstream_pool *pool;  /* upstream.c's, once it was asked for */
	struct record_series series; /* record.c's: where the last request was counted */
};

/* What a connection to another machine is to carry. */
enum call_carriage {
	CALL_BYTES,    /* opaque */
	CALL_HTTP,     /* one request after the other */
	CALL_CHANNELS, /* many of those at once; the far end may choose CALL_HTTP instead */
};

/* Endpoints that were picked for one request, or connection, and did not take it; of an external,
 * addresses that could not be connected. */
#define CALL_TRIES_MAX 3
struct call_tries {
	struct address at[CALL_TRIES_MAX];
	uint32_t count;
	struct load_call last;	     /* that at the last of them */
	struct service_hold request; /* of a request, while it is tried */
	struct figures_try figure;   /* the same as `last`, for a rollout */
	bool has_value;		     /* by which it gets its endpoint */
	uint64_t value;
	uint64_t until_ns; /* OUTSIDE: one of them has to take it, and the handshake end */
};

void call_init(struct call *c);
/* Lets go of everything; safe on an initialised one. */
void call_done(struct call *c);
/* Moves it; `from` is empty afterwards. */
void call_take(struct call *to, struct call *from);

/* Begins a call from a captured connection: under the current plan, whence it came and where it
 * wanted to go. False: nobody redirected it, somebody dialled the proxy's own port. */
bool call_captured(struct worker *w, struct call *c, int fd, uint8_t family) MUST_CHECK;

/* Settle a call, or say why it is refused. The plan used is the worker's current one. */
enum reason outbound_admit(struct worker *w, int fd, uint8_t family, struct call *ret_call);
enum reason inbound_admit_plain(struct worker *w, int fd, uint8_t family, struct call *ret_call);
/* Mutual TLS, first half: which identity to answer a name with. NULL refuses. */
const struct workload *inbound_choose(struct worker *w, struct str server_name);
/* The far end is on this machine: nobody else has a loopback address. */
bool inbound_is_own(const struct line *line);
/* A session between machines, towards a workload that has another identity now than the one that
 * was shown: it takes nothing more. */
bool inbound_is_renamed(const struct worker *w, const struct line *line);
/* Second half, after the handshake. */
enum reason inbound_admit_mesh(struct worker *w, struct line *line, struct call *ret_call);

/* Who calls: a workload of this machine, or NULL: nobody that is known. */
void outbound_identify(struct call *c, const struct workload *source);
/* For a workload of this machine, or whatever else is decided here: who has no certificate that
 * another machine would take now is nobody that is known. */
void outbound_prove(struct call *c);
/* What a workload of this machine takes, which the call leads to: that who calls can prove it
 * still, or in plain text anybody. */
enum reason outbound_check_proof(const struct call *c);
/* Who calls whom, once the facts are in the call and it holds a plan. `source` may be NULL: nobody.
 */
enum reason outbound_settle(struct call *c, const struct workload *source);
/* To this endpoint of the service whose own address was dialled; `local`: the workload behind it,
 * or NULL. */
enum reason outbound_settle_endpoint(
	struct call *c, const struct endpoint *e, const struct workload *local);
enum reason inbound_settle_plain(struct call *c);
enum reason inbound_settle_mesh(struct worker *w, const struct line *line, struct call *c);

/* Where the rule of a route leads. */
struct call_lead {
	struct str service; /* empty: the one that was dialled */
	struct str version; /* empty: any */
	bool is_nowhere;    /* the rule names a service that is not known */
};

struct route_request;
/* Before it is picked for the first time: the value of the request by which the service that it
 * goes to, or that of the lead (NULL: none), is balanced. */
void outbound_value(const struct call *c, struct call_tries *tries, const struct call_lead *lead,
	const struct route_request *request);
/* A call to a service's own address leads to one of its endpoints, or to one of those of the lead
 * (NULL: none), from now on, and counts there: another one than those in `tries`, as long as there
 * is one. Other calls stay as they are. A request (CALL_HTTP) counts among those of its service
 * until the try is left. */
enum reason outbound_pick(struct worker *w, struct call *c, struct call_tries *tries,
	const struct call_lead *lead, enum call_carriage carriage);
/* What became of the last try: not NONE, it failed; the first word counts. And its end, in any
 * case, before `tries` goes. */
void outbound_tried(struct worker *w, struct call *c, struct call_tries *tries, enum reason reason);
void outbound_answered(struct worker *w, struct call_tries *tries, bool is_error);
/* It gets no retries for so long, while there are others. */
void outbound_let_rest(struct worker *w, struct call_tries *tries, uint64_t wait_ns);
void outbound_connected(struct worker *w, struct call_tries *tries);
void outbound_leave_try(struct call_tries *tries);
/* It leads to none of them any more: somebody else has answered. */
void outbound_unpick(struct worker *w, struct call *c);
/* Whether another endpoint, or address of an external, may be tried after a failure, nothing having
 * been sent to the last. */
bool call_may_pick_again(const struct call *c, const struct call_tries *tries, enum reason reason);

/* Under the worker's current plan: changes the call to what it is now, or says why it would be
 * refused now. `line` is the downstream one. */
enum reason call_renew(struct worker *w, const struct line *line, struct call *c);
/* The same, so that the plan before may go; a call that would be refused stays as it is, and so
 * does one that is `running` and would lead to another place. */
void call_follow(struct worker *w, const struct line *line, struct call *c, bool running);
/* Whether the plan in force begins TLS outside where the call does not, or the other way round:
 * what was dialled for it is not to be used, as long as nothing was sent. */
bool call_is_secured_otherwise(struct worker *w, const struct line *line, const struct call *c);
struct authorise_asks;
struct authorisation;
/* Whether opaque bytes, or those after a request that asks this, would be let in and out now. `up`
 * is the line that was dialled for the call. Then the call follows, as it is running, and *ret is
 * what lets it in; else both stay. What policy refuses is told in *ret, too: its texts are those of
 * the worker's current plan. A connection to another machine outlives what is known of its
 * endpoint, as long as its service is known. */
enum reason call_check(struct worker *w, const struct line *down, const struct line *up,
	struct call *c, const struct authorise_asks *asks, struct authorisation *ret);

/* Whether a request to the outside of the mesh that runs, or a session that asked for it last,
 * would be let out now. Of other calls this says nothing: NONE. */
enum reason call_check_outside(struct worker *w, const struct line *down, const struct call *c);
/* What the worker's current plan says of a running request's certificates: that a peer is revoked,
 * or trusted by nobody any more, or the identity that it knows us by is gone or another. Whatever
 * else is new is for the next request. */
enum reason call_check_down(struct worker *w, const struct line *down, const struct call *c);
enum reason call_check_up(struct worker *w, const struct line *up, const struct call *c);

/* Counts the call against its workloads; CONNECTIONS_MAX when one has too many. */
enum reason call_count(struct worker *w, struct call *c);
/* The same for the workload that is now the target, in place of the one before. */
enum reason call_count_target(struct worker *w, struct call *c);

/* A request or an opaque connection has begun for the call's local workload (NULL: it is for none),
 * and ends. */
struct workload_use *call_serve(const struct call *c);
void call_served(struct workload_use *use);

/* Starts to connect `line` (fresh) to where the call leads. */
enum reason call_dial(
	struct worker *w, const struct call *c, enum call_carriage carriage, struct line *line);
/* Why a peer that was good is not any more, for the reason table. */
enum reason call_peer_failure(enum tls_failure failure);
/* Why a dialled line failed, for the reason table. */
enum reason call_dial_failure(const struct line *line);
