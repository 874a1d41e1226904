/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests may be tried again: retries must not multiply the load on a service that fails
 * under it. All workers have one together. Pure but for its atomics.
 *
 * Every request earns a share of a retry, which is good for 10 to 20 seconds; besides, so many a
 * second are always free, as many at once at most. So with 20 percent and 3 a second, among all
 * retries from one moment to another there are never more than 3 + 3 per second + 20 % of the
 * requests since 20 seconds before. */
#pragma once

#include "base/assert.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BUDGET_PER_SECOND_MAX 1000

struct budget {
	_Atomic uint64_t earned;     /* see budget.c */
	_Atomic uint64_t free_at_ns; /* when all that are free will be there again */
};

/* It may be all zeroes before the first call. Workers' clocks may be a little apart. */
void budget_request(struct budget *b, uint32_t percent, uint64_t now_ns);
/* One more retry: false, nothing is left for it. */
bool budget_retry(struct budget *b, uint32_t per_second, uint64_t now_ns) MUST_CHECK;
