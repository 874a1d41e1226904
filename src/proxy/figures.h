/* SPDX-License-Identifier: Apache-2.0 */
/* What callers see of the two versions of a rollout, for those who judge the new one: each try of a
 * call to either of them counts, so that a retry that helps hides nothing. A try counts when it is
 * over, by what came of it; its time is to the head of the response.
 *
 * It has failed when that is the server's fault: its answer says so (5xx, a gRPC status that stands
 * for one), or it could not be reached, broke off or took too long. What is the caller's fault, or
 * the proxy's own, is neither good nor bad: it is not counted, or by the answer that had come. */
#pragma once

#include "codec/http.h"
#include "ledger/ledger.h"
#include "mesh/snapshot.h"
#include "proxy/reason.h"

struct worker;
struct call;
struct call_lead;

struct figures_try {
	struct worker *worker; /* NULL: nothing is to be counted, or it is already */
	struct ledger_id id;
	uint64_t begin_ns, answered_ns; /* answered: 0, not yet */
	bool is_failed;			/* by its answer */
};

/* Two of each rollout, in their order: `from`, `to`. NULL: out of memory. */
struct ledger_id *figures_ids(const struct snapshot *s) MUST_CHECK;

/* An endpoint was picked; the call holds the plan that it is of. */
void figures_begin(
	struct worker *w, struct figures_try *t, const struct call *c, const struct endpoint *e);
/* What came of the pick for a call: that its lead's version has no endpoint is a fault of that. */
void figures_picked(
	struct worker *w, const struct call *c, const struct call_lead *lead, enum reason reason);
/* The head of a response has come. */
void figures_answered(struct figures_try *t, const struct http_head *head);
void figures_trailers(struct figures_try *t, const struct http_head *trailers);
/* An opaque connection stands. */
void figures_connected(struct figures_try *t);
/* It ends with this reason; NONE: with none. */
void figures_tried(struct figures_try *t, enum reason reason);
/* It is nobody's call: it does not count. */
static inline void figures_silence(struct figures_try *t)
{
	t->worker = NULL;
}
/* It is over: what has been answered counts. */
void figures_end(struct figures_try *t);
