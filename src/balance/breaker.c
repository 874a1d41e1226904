/* SPDX-License-Identifier: Apache-2.0 */
#include "balance/breaker.h"

bool breaker_take(struct breaker *b, enum breaker_limit limit, uint32_t max)
{
	_Atomic uint32_t *used = &b->used[limit];
	uint32_t before = atomic_load_explicit(used, memory_order_relaxed);
	if (max == 0)
		max = UINT32_MAX;
	do {
		if (before >= max)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		used, &before, before + 1, memory_order_relaxed, memory_order_relaxed));
	return true;
}

/* The last that its taker does with the breaker. */
void breaker_give(struct breaker *b, enum breaker_limit limit)
{
	uint32_t before = atomic_fetch_sub_explicit(&b->used[limit], 1, memory_order_release);
	ASSERT(before > 0);
}

bool breaker_is_unused(const struct breaker *b)
{
	for (size_t i = 0; i < ARRAY_LEN(b->used); i++) {
		if (atomic_load_explicit(&b->used[i], memory_order_acquire) > 0)
			return false;
	}
	return true;
}

void breaker_lack(struct breaker *b)
{
	atomic_store_explicit(&b->is_short, true, memory_order_relaxed);
}

bool breaker_is_short(const struct breaker *b)
{
	return atomic_load_explicit(&b->is_short, memory_order_relaxed);
}

bool breaker_take_lack(struct breaker *b)
{
	return breaker_is_short(b) &&
	       atomic_exchange_explicit(&b->is_short, false, memory_order_relaxed);
}
