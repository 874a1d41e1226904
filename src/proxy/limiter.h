/* SPDX-License-Identifier: Apache-2.0 */
/* Limits in force: the buckets of the services that this machine serves. Made with the plan by the
 * control thread; one that has not changed goes on from one plan to the next with all that it
 * knows. All workers take from the same buckets.
 *
 * A request that is known by its key takes its token with one compare-and-swap. The first request
 * of a key finds it a place under a lock, some hundred nanoseconds long. Places are limited: that
 * of a key whose bucket is full again, which is as good as new, is given to another; when there is
 * none, all further keys share one bucket, and are counted. With a fair limit of the whole mesh a
 * place is its key's to the end of the window, and further keys go without fairness. */
#pragma once

#include "base/arena.h"
#include "mesh/limit.h"
#include "proxy/limiter_view.h"

struct limiter;

/* plan->limiters and plan->last_counts, from those before (NULL: none). False: out of memory. */
bool limiters_link(struct plan *plan, const struct plan *before) MUST_CHECK;
void limiters_done(struct plan *plan);

/* What becomes of a request. */
struct limiter_verdict {
	const struct limit *refused;  /* by which; NULL: it is granted */
	const struct limit *tightest; /* the one that has least left, or that refused; NULL: none */
	const struct limit *shadow;   /* the first that would have refused it; NULL: none */
	uint64_t quota, remaining;    /* of the tightest */
	uint64_t reset_ns;	      /* until all of it is there again */
	uint64_t retry_ns;	      /* until there is one again, if refused */
};
/* All limits of the service that match must have a token; else none is taken. `arena`: for keys.
 * False: out of memory. */
bool limiter_ask(const struct plan *plan, struct ledger *ledger, const struct service *service,
	const struct limit_request *request, struct arena *arena, uint64_t now_ns,
	struct limiter_verdict *ret_verdict) MUST_CHECK;
