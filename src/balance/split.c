/* SPDX-License-Identifier: Apache-2.0 */
/* The legs lie side by side on a circle of `sum` places, each as long as its weight. Every call is
 * one stride of about the golden ratio further on: as the stride has no divisor in common with the
 * circle, each place comes once per round, and neighbours are far from each other. */
#include "balance/split.h"

#include "base/map.h"

/* Part of what a mesh agrees upon: with another one all values would move. */
#define SPLIT_SEED UINT64_C(0x73746963)

static uint32_t split_gcd(uint32_t a, uint32_t b)
{
	while (b != 0) {
		uint32_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

static uint32_t split_stride(uint32_t sum)
{
	uint32_t stride = (uint32_t)((uint64_t)sum * 618034 / 1000000);
	while (stride > 1 && split_gcd(stride, sum) != 1)
		stride--;
	return stride > 0 ? stride : 1;
}

void split_init(struct split *s, uint64_t random)
{
	*s = (struct split){.count = random};
}

uint32_t split_place(struct split *s, uint32_t sum)
{
	if (s->sum != sum) {
		s->sum = sum;
		s->stride = split_stride(sum);
	}
	return (uint32_t)(s->count++ % sum * s->stride % sum);
}

uint32_t split_next(struct split *s, const struct route_leg *legs, uint32_t leg_count)
{
	uint32_t sum = 0, common = 0;
	for (uint32_t i = 0; i < leg_count; i++) {
		sum += legs[i].weight;
		common = split_gcd(legs[i].weight, common);
	}
	if (sum == 0)
		return leg_count;
	uint64_t place = (uint64_t)split_place(s, sum / common) * common;
	uint32_t leg = 0;
	while (place >= legs[leg].weight)
		place -= legs[leg++].weight;
	return leg;
}

uint32_t split_sticky(struct str value, const struct route_leg *legs, uint32_t leg_count)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < leg_count; i++)
		sum += legs[i].weight;
	if (sum == 0)
		return leg_count;
	uint64_t hash = hash_bytes(SPLIT_SEED, value.at, value.len);
	uint64_t place = (uint64_t)((unsigned __int128)hash * sum >> 64);
	uint32_t leg = 0;
	while (place >= legs[leg].weight)
		place -= legs[leg++].weight;
	return leg;
}
