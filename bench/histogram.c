/* SPDX-License-Identifier: Apache-2.0 */
/* Slots 0..2047 hold one nanosecond each. After them every power of two has 1024 slots, which the
 * value's eleven highest bits choose among; the number of bits left out chooses the power. */
#include "histogram.h"

#include "base/assert.h"
#include <string.h>

static unsigned histogram_shift(uint64_t ns)
{
	unsigned bits = 64 - (unsigned)__builtin_clzll(ns | 1);
	return bits > 11 ? bits - 11 : 0;
}

static uint32_t histogram_slot(uint64_t ns)
{
	if (ns >> HISTOGRAM_VALUE_BITS)
		return HISTOGRAM_SLOTS - 1;
	unsigned shift = histogram_shift(ns);
	return (uint32_t)(shift * HISTOGRAM_HALF + (ns >> shift));
}

/* The greatest value that a slot stands for. */
static uint64_t histogram_slot_max(uint32_t slot)
{
	if (slot < 2 * HISTOGRAM_HALF)
		return slot;
	unsigned shift = slot / HISTOGRAM_HALF - 1;
	uint64_t top = HISTOGRAM_HALF + slot % HISTOGRAM_HALF;
	return ((top + 1) << shift) - 1;
}

void histogram_reset(struct histogram *h)
{
	memset(h, 0, sizeof(*h));
}

void histogram_record(struct histogram *h, uint64_t ns)
{
	h->slots[histogram_slot(ns)]++;
	h->count++;
	h->sum_ns += ns;
	if (ns > h->max_ns)
		h->max_ns = ns;
}

void histogram_merge(struct histogram *h, const struct histogram *other)
{
	for (uint32_t i = 0; i < HISTOGRAM_SLOTS; i++)
		h->slots[i] += other->slots[i];
	h->count += other->count;
	h->sum_ns += other->sum_ns;
	if (other->max_ns > h->max_ns)
		h->max_ns = other->max_ns;
}

uint64_t histogram_percentile(const struct histogram *h, uint32_t of_100000)
{
	ASSERT(of_100000 <= HISTOGRAM_ALL);
	uint64_t rank = (h->count * of_100000 + HISTOGRAM_ALL - 1) / HISTOGRAM_ALL, seen = 0;
	for (uint32_t i = 0; i < HISTOGRAM_SLOTS - 1; i++) {
		seen += h->slots[i];
		if (seen > 0 && seen >= rank) {
			uint64_t ns = histogram_slot_max(i);
			return ns < h->max_ns ? ns : h->max_ns;
		}
	}
	return h->max_ns;
}

double histogram_mean_ns(const struct histogram *h)
{
	return h->count ? (double)h->sum_ns / (double)h->count : 0;
}
