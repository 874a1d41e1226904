/* SPDX-License-Identifier: Apache-2.0 */
/* The buckets of one limit, found by the hash of their key. */
#pragma once

#include "balance/share.h"
#include "limiter.h"
#include <pthread.h>

/* Of one limit, and of all of them together, as far as each has LIMITER_KEYS_MIN. */
#define LIMITER_KEYS_MAX  16384
#define LIMITER_KEYS_MIN  256
#define LIMITER_KEYS_ALL  (256u << 10)
#define LIMITER_FAIR_KEYS 1024
/* So many places a key may have. */
#define LIMITER_PROBES 16

/* How the sources of one key share. Of a limit of the whole mesh, what this machine gets in a
 * window is not known before: as much as in the last one, if that was all, else a bit more. */
struct limiter_pot {
	struct share share;
	_Atomic uint64_t window_ends_ns;
	_Atomic uint32_t granted, expected; /* in this window */
	_Atomic bool is_spent;
};

struct limiter_slot {
	_Atomic uint64_t tag; /* the hash of its key; 0: none */
	struct bucket bucket;
	_Atomic(struct limiter_pot *) pot; /* of a fair limit */
};

struct limiter {
	uint32_t plan_count; /* control thread */
	struct limiter_counts *counts;
	char *definition; /* what makes it another one */
	struct bucket_rate
		rate;	/* LOCAL; else of this machine's share, for when the store is away */
	uint64_t quota; /* tokens of a full bucket */
	uint64_t seed;	/* of hashes */
	bool is_fair;
	pthread_mutex_t lock; /* for places, not for tokens */
	struct limiter_slot rest;
	/* Of copies for mirrors: those without a place of their own, and all of them where there
	 * are no keys. */
	struct limiter_slot copies;
	uint32_t slot_count; /* a power of two */
	struct limiter_slot slots[];
};

/* NULL: out of memory. */
struct limiter *limiter_new(const struct limit *limit, uint32_t slot_count, uint64_t seed);
void limiter_free(struct limiter *l);

/* The place of a key, new if there was none; that of the rest if there is no room. */
struct limiter_slot *limiter_find(struct limiter *l, uint64_t hash, uint64_t now_ns);
/* Until no place is being given to another key. */
void limiter_await(struct limiter *l);
/* How the sources at this place share; NULL: they do not. */
struct limiter_pot *limiter_pot_of(struct limiter *l, struct limiter_slot *slot);
/* The member of this source. */
struct share_member *limiter_member(struct limiter *l, struct limiter_pot *pot,
	const struct bucket_rate *rate, uint64_t source, uint64_t now_ns);
