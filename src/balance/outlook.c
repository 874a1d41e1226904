/* SPDX-License-Identifier: Apache-2.0 */
/* For people who ask: the same rules as pick.c's, as shares instead of a draw. */
#include "balance/pick.h"

struct outlook {
	const struct pick *pick;
	uint32_t count;
	uint32_t *shares;
};

static const struct endpoint *outlook_at(const struct outlook *o, uint32_t index)
{
	const struct pick *p = o->pick;
	return p->subset ? p->subset->endpoints[index] : &p->service->endpoints[index];
}

/* How much it is wanted: 0 and 1 are well; in a panic nothing but a drain matters. */
static uint32_t outlook_rank(const struct pick *p, const struct endpoint *e, bool is_panic)
{
	uint32_t rank = 0;
	switch (e->health) {
	case ENDPOINT_UP:
		rank = outlier_takes(
			       &p->crowd->loads[e - p->service->endpoints]->outlier, p->now_ns)
			       ? 0
			       : 2;
		break;
	case ENDPOINT_DOWN:
		rank = 4;
		break;
	case ENDPOINT_DRAINED:
		rank = 6;
		break;
	}
	if (is_panic && rank < 6)
		rank = 0;
	return rank + e->alternate;
}

enum outlook_zone { OUTLOOK_ANY, OUTLOOK_NEAR, OUTLOOK_FAR };

/* Among those of the zone, shares of so many by weight to those that are wanted most. */
static uint32_t outlook_divide(
	const struct outlook *o, enum outlook_zone zone, bool is_panic, uint64_t millionths)
{
	uint32_t best = UINT32_MAX;
	uint64_t sum = 0;
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < o->count; i++) {
			const struct endpoint *e = outlook_at(o, i);
			uint32_t rank = outlook_rank(o->pick, e, is_panic);
			if (zone != OUTLOOK_ANY && e->is_near != (zone == OUTLOOK_NEAR))
				continue;
			if (round == 0)
				best = rank < best ? rank : best;
			else if (rank == best && round == 1)
				sum += e->weight;
			else if (rank == best && sum > 0)
				o->shares[i] += (uint32_t)(millionths * e->weight / sum);
		}
	}
	return best;
}

static enum pick_way outlook_zones(const struct outlook *o, uint32_t subset)
{
	const struct pick *p = o->pick;
	const struct load_set *near = crowd_set(p->crowd, subset, LOAD_NEAR);
	const struct load_set *far = crowd_set(p->crowd, subset, LOAD_FAR);
	uint32_t share =
		pick_near_share(load_set_well(near), near->weight, load_set_well(far), far->weight);
	if (load_set_well(near) + load_set_well(far) == 0) {
		outlook_divide(o, OUTLOOK_ANY, false, PICK_MILLION);
		return PICK_WAY_ILL;
	}
	if (share > 0)
		outlook_divide(o, OUTLOOK_NEAR, false, share);
	if (share < PICK_MILLION)
		outlook_divide(o, OUTLOOK_FAR, false, PICK_MILLION - share);
	return share >= PICK_MILLION / 2 ? PICK_WAY_NEAR : PICK_WAY_FAR;
}

static enum pick_way outlook_of_value(const struct outlook *o)
{
	enum pick_way way;
	const struct endpoint *e = pick_endpoint(o->pick, &way);
	for (uint32_t i = 0; i < o->count; i++) {
		if (outlook_at(o, i) == e)
			o->shares[i] = PICK_MILLION;
	}
	return way;
}

enum pick_way pick_outlook(const struct pick *p, uint32_t *ret_shares)
{
	const struct zone_parts *parts = p->subset ? &p->subset->parts : &p->service->parts;
	uint32_t subset = p->subset ? (uint32_t)(p->subset - p->service->subsets) + 1 : 0;
	struct outlook o = {.pick = p,
		.count = p->subset ? p->subset->endpoint_count : p->service->endpoint_count,
		.shares = ret_shares};
	bool is_strict = p->service->zones == ZONE_STRICT;
	memset(ret_shares, 0, o.count * sizeof(*ret_shares));
	ASSERT(p->crowd);
	if (p->has_value)
		return outlook_of_value(&o);
	bool is_panic =
		load_set_panics(crowd_set(p->crowd, subset, is_strict ? LOAD_NEAR : LOAD_ALL),
			p->service->panic_percent);
	if (!is_panic && p->service->zones == ZONE_PREFER && parts->near.endpoint_count > 0 &&
		parts->far.endpoint_count > 0)
		return outlook_zones(&o, subset);
	uint32_t rank =
		outlook_divide(&o, is_strict ? OUTLOOK_NEAR : OUTLOOK_ANY, is_panic, PICK_MILLION);
	if (is_panic)
		return PICK_WAY_PANIC;
	return rank < 2 ? PICK_WAY_ALL : PICK_WAY_ILL;
}
