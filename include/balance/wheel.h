/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint a value has: the same on every machine and in every worker, as it depends on what
 * the endpoints are, not on their order or on how they are. One that is not well keeps its values
 * and its place: whoever asks goes on to the next attempt, so only its values go elsewhere, and
 * come back. Immutable once made; shared by the workers and by all plans to which it is the same.
 *
 * BALANCE_RING_HASH: each endpoint has points on a circle, 513 to 1,024 for the mean weight, others
 * in proportion; no more than 131,072 on all, so beyond 128 endpoints each has fewer, but at least
 * one. A value has the next point. When an endpoint leaves, its values move, and no others, but
 * where the number of points for a weight is halved or doubled.
 *
 * BALANCE_MAGLEV: a table of 65,537 slots, that endpoints fill in turn, each in an order of its own
 * (Eisenbud et al., "Maglev", NSDI 2016). Each has its share of the slots but for one; when one
 * leaves, few values besides its own move. */
#pragma once

#include "mesh/snapshot.h"

#define WHEEL_POINTS_MAX 131072
#define WHEEL_SLOTS	 65537 /* a prime */
/* More than these have a circle, whatever they ask for. */
#define WHEEL_SLOT_MEMBERS_MAX 65535

struct wheel_member {
	uint64_t key; /* endpoint.key */
	uint32_t weight;
	uint32_t index; /* what is found */
};

struct wheel;

/* At least one member, each with another key; they are sorted. NULL: out of memory. */
struct wheel *wheel_new(enum balance kind, struct wheel_member *members, uint32_t count);
/* Of a wheel that these would make. */
uint64_t wheel_print(enum balance kind, const struct wheel_member *members, uint32_t count);
/* As asked of those it was made of, in their order then. */
uint64_t wheel_print_of(const struct wheel *w);
/* Counted by one thread alone. */
struct wheel *wheel_ref(struct wheel *w);
void wheel_unref(struct wheel *w);
size_t wheel_bytes(const struct wheel *w);

/* The index of the value's endpoint: attempt 0. Those that follow are others sooner or later. */
uint32_t wheel_at(const struct wheel *w, uint64_t value, uint32_t attempt);
