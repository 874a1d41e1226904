/* SPDX-License-Identifier: Apache-2.0 */
#include "limiter_table.h"

#include "base/assert.h"
#include "base/clock.h"
#include <stdlib.h>

/* More count as so many: a day, so many times, is still a number of ticks. */
#define LIMITER_NODES_MAX 10000

/* A machine's share of a limit of the whole mesh comes at the pace that all shares together have
 * the limit's. */
static struct bucket_rate limiter_rate(const struct limit *limit, uint64_t *ret_quota)
{
	uint64_t window_ns = limit->window_ms * CLOCK_MS;
	uint32_t burst = limit->burst;
	if (limit->scope == LIMIT_MESH) {
		uint32_t nodes = limit->node_count < LIMITER_NODES_MAX ? limit->node_count
								       : LIMITER_NODES_MAX;
		burst = limit->amount / nodes;
		burst = burst ? burst : 1;
		window_ns *= nodes;
	}
	*ret_quota = burst;
	return bucket_rate_of(limit->amount, window_ns, burst);
}

struct limiter *limiter_new(const struct limit *limit, uint32_t slot_count, uint64_t seed)
{
	ASSERT((slot_count & (slot_count - 1)) == 0);
	struct limiter *l = calloc(1, sizeof(*l) + slot_count * sizeof(l->slots[0]));
	if (!l)
		return NULL;
	l->rate = limiter_rate(limit, &l->quota);
	l->is_fair = limit->is_fair;
	l->seed = seed;
	l->slot_count = slot_count;
	pthread_mutex_init(&l->lock, NULL);
	return l;
}

void limiter_free(struct limiter *l)
{
	if (!l)
		return;
	for (uint32_t i = 0; i < l->slot_count; i++)
		free(l->slots[i].pot);
	free(l->rest.pot);
	free(l->copies.pot);
	free(l->definition);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* --- places --- */

static struct limiter_slot *limiter_at(struct limiter *l, uint64_t hash, uint32_t probe)
{
	return &l->slots[(hash + probe) & (l->slot_count - 1)];
}

static uint32_t limiter_probes(const struct limiter *l)
{
	return l->slot_count < LIMITER_PROBES ? l->slot_count : LIMITER_PROBES;
}

static struct limiter_slot *limiter_look_up(struct limiter *l, uint64_t hash)
{
	for (uint32_t i = 0; i < limiter_probes(l); i++) {
		struct limiter_slot *slot = limiter_at(l, hash, i);
		if (atomic_load_explicit(&slot->tag, memory_order_acquire) == hash)
			return slot;
	}
	return NULL;
}

/* While the store answers, nothing is taken from the bucket of a limit of the whole mesh: it is the
 * pot that says what its window has given. */
static bool limiter_is_counting(struct limiter_slot *slot, uint64_t now_ns)
{
	struct limiter_pot *pot = atomic_load_explicit(&slot->pot, memory_order_relaxed);
	return pot && atomic_load_explicit(&pot->window_ends_ns, memory_order_relaxed) > now_ns;
}

/* Who looks for the key before knows by the tag that it is not there any more, and by the bucket
 * that it is not the same. */
static struct limiter_slot *limiter_claim(struct limiter *l, uint64_t hash, uint64_t now_ns)
{
	for (uint32_t i = 0; i < limiter_probes(l); i++) {
		struct limiter_slot *slot = limiter_at(l, hash, i);
		if (limiter_is_counting(slot, now_ns) ||
			!bucket_shut(&slot->bucket, &l->rate, now_ns))
			continue;
		struct limiter_pot *pot = atomic_load_explicit(&slot->pot, memory_order_relaxed);
		if (pot)
			memset(pot, 0, sizeof(*pot));
		atomic_store_explicit(&slot->tag, hash, memory_order_release);
		bucket_open(&slot->bucket, &l->rate, now_ns);
		return slot;
	}
	return NULL;
}

struct limiter_slot *limiter_find(struct limiter *l, uint64_t hash, uint64_t now_ns)
{
	if (l->slot_count == 1)
		return &l->slots[0]; /* no keys */
	struct limiter_slot *slot = limiter_look_up(l, hash);
	if (slot)
		return slot;
	pthread_mutex_lock(&l->lock);
	slot = limiter_look_up(l, hash);
	if (!slot)
		slot = limiter_claim(l, hash, now_ns);
	pthread_mutex_unlock(&l->lock);
	return slot ? slot : &l->rest;
}

void limiter_await(struct limiter *l)
{
	pthread_mutex_lock(&l->lock);
	pthread_mutex_unlock(&l->lock);
}

/* --- fair shares --- */

/* Without memory for it the first to come is the first to be served. */
struct limiter_pot *limiter_pot_of(struct limiter *l, struct limiter_slot *slot)
{
	struct limiter_pot *pot = atomic_load_explicit(&slot->pot, memory_order_acquire);
	if (pot || !l->is_fair)
		return pot;
	pthread_mutex_lock(&l->lock);
	pot = atomic_load_explicit(&slot->pot, memory_order_relaxed);
	if (!pot) {
		pot = calloc(1, sizeof(*pot));
		atomic_store_explicit(&slot->pot, pot, memory_order_release);
	}
	pthread_mutex_unlock(&l->lock);
	return pot;
}

struct share_member *limiter_member(struct limiter *l, struct limiter_pot *pot,
	const struct bucket_rate *rate, uint64_t source, uint64_t now_ns)
{
	struct share_member *m = share_find(&pot->share, source);
	if (m)
		return m;
	pthread_mutex_lock(&l->lock);
	m = share_join(&pot->share, rate, source, now_ns);
	pthread_mutex_unlock(&l->lock);
	return m;
}
