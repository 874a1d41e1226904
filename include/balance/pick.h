/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint of a service gets the next call. Pure. */
#pragma once

#include "balance/load.h"
#include "balance/wheel.h"

struct pick {
	const struct service *service;
	const struct subset *subset; /* NULL: among all endpoints */
	const struct endpoint *const *tried;
	uint32_t tried_count;
	struct crowd *crowd; /* that follows this very plan; NULL: nothing is known of calls */
	uint32_t worker_count;
	bool has_value; /* with a balance that is by value; without, it is by least_request */
	uint64_t value;
	const struct wheel *wheel; /* by indexes of the endpoints, or of the subset; NULL: none */
	uint64_t now_ns, random;   /* 64 bits, all of them used */
};

/* From what it came. */
enum pick_way {
	PICK_WAY_ALL,	/* endpoints that are well */
	PICK_WAY_NEAR,	/* those of this machine's zone */
	PICK_WAY_FAR,	/* other zones' instead, as the own one has too few that are well */
	PICK_WAY_SPILL, /* the same, as those have too much to do */
	PICK_WAY_PANIC, /* all that are not drained: too few are well */
	PICK_WAY_ILL,	/* what there is: none is well */
};

/* One that is up and not ejected, as the service's `balance`, `zones` and `panic` say, and none of
 * those in `tried`, which have just failed. When there is none: another address of an instance that
 * is up; then even one of those tried; then, in the same order, what is ejected; what is down; what
 * was drained. NULL: there is no endpoint. */
const struct endpoint *pick_endpoint(const struct pick *p, enum pick_way *ret_way);

/* What is to be expected of the picks to come, as long as there is little to do: each endpoint's
 * share of a million, by its index in the subset, or among all endpoints. With a value it is that
 * of its endpoint alone. Returns the way that most come by. */
enum pick_way pick_outlook(const struct pick *p, uint32_t *ret_shares);

/* How many of a million calls stay in the zone, by weights: as many as its own endpoints that are
 * well can take, at 1.4 times what they got when all were well, and no more than needed go
 * elsewhere. */
#define PICK_MILLION 1000000
uint32_t pick_near_share(
	uint64_t near_well, uint64_t near_all, uint64_t far_well, uint64_t far_all);
