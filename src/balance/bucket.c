/* SPDX-License-Identifier: Apache-2.0 */
#include "balance/bucket.h"

#include "base/assert.h"

#define BUCKET_IS_SHUT UINT64_MAX

static uint64_t bucket_divisor(uint64_t a, uint64_t b)
{
	while (b > 0) {
		uint64_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

struct bucket_rate bucket_rate_of(uint32_t amount, uint64_t window_ns, uint32_t burst)
{
	ASSERT(amount > 0 && window_ns > 0 && burst > 0);
	uint64_t divisor = bucket_divisor(amount, window_ns);
	struct bucket_rate r = {.ticks = amount / divisor, .cost = window_ns / divisor};
	if (r.ticks > BUCKET_TICKS_MAX) {
		r.ticks = BUCKET_TICKS_MAX;
		r.cost = (window_ns * BUCKET_TICKS_MAX + amount - 1) / amount;
	}
	r.depth = r.cost * burst;
	return r;
}

static uint64_t bucket_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b > 0);
}

/* Of one that will be full at that time. */
static struct bucket_left bucket_left_at(
	const struct bucket_rate *r, uint64_t full_at, uint64_t now)
{
	uint64_t missing = full_at > now ? full_at - now : 0;
	uint64_t there = missing < r->depth ? r->depth - missing : 0;
	struct bucket_left left = {
		.remaining = there / r->cost, .full_ns = bucket_up(missing, r->ticks)};
	if (left.remaining == 0)
		left.next_ns = bucket_up(missing + r->cost - r->depth, r->ticks);
	return left;
}

struct bucket_left bucket_look(const struct bucket *b, const struct bucket_rate *r, uint64_t now_ns)
{
	uint64_t full_at = atomic_load_explicit(&b->full_at, memory_order_acquire);
	return bucket_left_at(r, full_at == BUCKET_IS_SHUT ? 0 : full_at, now_ns * r->ticks);
}

enum bucket_result bucket_take(struct bucket *b, const struct bucket_rate *r, uint64_t now_ns,
	struct bucket_taking *ret_taking, struct bucket_left *ret_left)
{
	uint64_t now = now_ns * r->ticks;
	uint64_t before = atomic_load_explicit(&b->full_at, memory_order_acquire), after;
	do {
		if (before == BUCKET_IS_SHUT)
			return BUCKET_SHUT;
		after = (before > now ? before : now) + r->cost;
		if (after - now > r->depth) {
			*ret_left = bucket_left_at(r, before, now);
			return BUCKET_EMPTY;
		}
	} while (!atomic_compare_exchange_weak_explicit(
		&b->full_at, &before, after, memory_order_acq_rel, memory_order_acquire));
	*ret_taking = (struct bucket_taking){before, after};
	*ret_left = bucket_left_at(r, after, now);
	return BUCKET_TAKEN;
}

void bucket_put_back(struct bucket *b, const struct bucket_taking *taking)
{
	uint64_t after = taking->after;
	atomic_compare_exchange_strong_explicit(
		&b->full_at, &after, taking->before, memory_order_acq_rel, memory_order_relaxed);
}

bool bucket_shut(struct bucket *b, const struct bucket_rate *r, uint64_t now_ns)
{
	uint64_t full_at = atomic_load_explicit(&b->full_at, memory_order_acquire);
	return full_at < now_ns * r->ticks &&
	       atomic_compare_exchange_strong_explicit(&b->full_at, &full_at, BUCKET_IS_SHUT,
		       memory_order_acq_rel, memory_order_relaxed);
}

/* Later than it has ever been, so that who has looked before does not take it for what it was. */
void bucket_open(struct bucket *b, const struct bucket_rate *r, uint64_t now_ns)
{
	atomic_store_explicit(&b->full_at, now_ns * r->ticks, memory_order_release);
}
