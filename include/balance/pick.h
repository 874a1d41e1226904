/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint of a service gets the next call. Pure. */
#pragma once

#include "balance/load.h"

struct pick {
	const struct service *service;
	const struct subset *subset; /* NULL: among all endpoints */
	const struct endpoint *const *tried;
	uint32_t tried_count;
	struct crowd *crowd;	 /* that follows this very plan; NULL: nothing is known of calls */
	uint64_t now_ns, random; /* 64 bits, all of them used */
};

/* One that is up and not ejected, as the service's `balance` says; when there is none, one that is
 * ejected; then one that is down (its checks may be what is broken: Envoy's panic threshold); then
 * one that was drained. In the same order come then other addresses of the instances, and last
 * those in `tried`, which have just failed. NULL: there is no endpoint. Beyond the first choice, of
 * what was not tried and is well, the draw is by weight, whatever `balance` says. */
const struct endpoint *pick_endpoint(const struct pick *p);
