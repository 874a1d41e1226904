/* SPDX-License-Identifier: Apache-2.0 */
/* Which leg of a rule gets the next call, by weight. Pure.
 *
 * No draw: an order that repeats. Let `sum` be the sum of the weights, divided by what they have in
 * common. Among any `sum` calls in a row each leg gets exactly its weight, so among any 1,000 as
 * well when sum divides 1,000, as with whole percents; and a leg's calls are spread evenly between
 * the others'. That holds for each `struct split`: workers and nodes have their own, each of which
 * begins anywhere, so that all of them together are off by at most one such order each. */
#pragma once

#include "mesh/route.h"

struct split {
	uint64_t count;	      /* of calls, from a random number on */
	uint32_t sum, stride; /* of the weights last seen */
};

void split_init(struct split *s, uint64_t random);
/* The next place on a circle of so many, at least one: among `sum` in a row each comes once, and
 * neighbours are far from each other. */
uint32_t split_place(struct split *s, uint32_t sum);
/* Index of a leg whose weight is not 0; leg_count when there is none. With other weights than
 * before it goes on with these. */
uint32_t split_next(struct split *s, const struct route_leg *legs, uint32_t leg_count);
/* The leg of a value: the same in every worker and on every machine. When weights move from one leg
 * to its neighbour, only as many values move as must. */
uint32_t split_sticky(struct str value, const struct route_leg *legs, uint32_t leg_count);
