/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests may be tried again: retries must not multiply the load on a service that fails
 * under it. Pure.
 *
 * Every request earns a fifth of a retry, which is good for 10 to 20 seconds; besides, three a
 * second are always free, three at once at most. So among all retries from one moment to another
 * there are never more than 3 + 3 per second + 20 % of the requests since 20 seconds before. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BUDGET_PERCENT	  20
#define BUDGET_PER_SECOND 3

struct budget {
	uint64_t now_ns, turned_ns; /* last looked at; when `earned` was begun anew */
	uint64_t free;		    /* 1e9 is one retry */
	uint64_t earned, before;    /* 100 is one retry: now, and in the 10 seconds before */
};

/* It may be all zeroes before the first call. Time does not go backwards. */
void budget_request(struct budget *b, uint64_t now_ns);
/* One more retry: false, nothing is left for it. */
bool budget_retry(struct budget *b, uint64_t now_ns);
