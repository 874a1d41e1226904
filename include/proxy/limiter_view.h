/* SPDX-License-Identifier: Apache-2.0 */
/* Limits in force on this machine, as they are seen from outside: how often each has granted and
 * refused, and what is left. */
#pragma once

#include "mesh/limit.h"
#include "proxy/proxy.h"

/* Of one limit, by its name: counts outlive plans. */
struct limiter_counts {
	struct limiter_counts *before; /* made before it; the control thread's */
	char *name;
	_Atomic uint64_t granted, refused;
	_Atomic uint64_t shadowed; /* would have been refused */
	_Atomic uint64_t crowded;  /* of keys that had no place of their own */
	_Atomic uint64_t away;	   /* decided without the store */
};

/* For a look from outside. */
struct limiter_view {
	const struct limiter_counts *counts;
	bool has_keys;		     /* LOCAL: of others the store has the tokens */
	uint32_t key_count, key_max; /* whose buckets are not full; 0 of 1 without keys */
	bool is_known;		     /* what is left of the one bucket: LOCAL, without keys */
	uint64_t quota, remaining;
};
/* False: the limit is of a service that this machine does not serve. */
bool limiter_look(const struct plan *plan, const struct limit *limit, uint64_t now_ns,
	struct limiter_view *ret_view);
/* Its counts alone; NULL: of a service that this machine does not serve. */
const struct limiter_counts *limiter_counts_of_limit(
	const struct plan *plan, const struct limit *limit);
