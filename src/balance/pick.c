/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of endpoints, by how much they are wanted: instances before their other addresses before
 * what was tried, in each of them up before ejected before down before drained. Mostly there are
 * some of the best class, which are drawn by the sums that the snapshot brings along. When these do
 * not tell, because something was tried or nothing is up, all are looked at. */
#include "balance/pick.h"

/* So often is one drawn that gets no calls now, before all are looked at. */
#define PICK_DRAWS_MAX 16

enum pick_class {
	PICK_UP,
	PICK_EJECTED,
	PICK_DOWN,
	PICK_DRAINED,
	PICK_ALTERNATE, /* and the same again, of other addresses, and of those that were tried */
	PICK_TRIED = 2 * PICK_ALTERNATE,
	PICK_CLASS_COUNT = 3 * PICK_ALTERNATE
};

static struct load *pick_load(const struct pick *p, const struct endpoint *e)
{
	return p->crowd ? p->crowd->loads[e - p->service->endpoints] : NULL;
}

static bool pick_is_ejected(const struct pick *p, const struct endpoint *e)
{
	return p->crowd && p->crowd->instances.out > 0 &&
	       !outlier_takes(&pick_load(p, e)->outlier, p->now_ns);
}

/* It has asked not to be tried again before: whoever has tried another goes elsewhere. */
static bool pick_rests(const struct pick *p, const struct endpoint *e)
{
	return p->crowd && p->now_ns < pick_load(p, e)->rest_until_ns;
}

static enum pick_class pick_class_of(const struct pick *p, const struct endpoint *e)
{
	enum pick_class class = PICK_UP;
	switch (e->health) {
	case ENDPOINT_UP:
		class = pick_is_ejected(p, e) ? PICK_EJECTED : PICK_UP;
		break;
	case ENDPOINT_DOWN:
		class = PICK_DOWN;
		break;
	case ENDPOINT_DRAINED:
		class = PICK_DRAINED;
		break;
	}
	for (uint32_t i = 0; i < p->tried_count; i++) {
		if (p->tried[i] == e)
			return class + PICK_TRIED;
	}
	if (p->tried_count > 0 && pick_rests(p, e))
		return class + PICK_TRIED;
	return e->alternate ? class + PICK_ALTERNATE : class;
}

/* The upper half of a product: as good as a division, for sums this small. */
static uint64_t pick_draw(uint64_t random, uint64_t sum)
{
	return (uint64_t)((unsigned __int128)random * sum >> 64);
}

/* One more number from the same (splitmix64). */
static uint64_t pick_random_next(uint64_t random)
{
	uint64_t z = random + UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* What is picked from. */
struct pick_set {
	const struct endpoint *all;   /* `count` of them in a row, or: */
	struct endpoint *const *some; /* so many pointers */
	uint32_t count;
	const uint64_t *up_sums;
};

static struct pick_set pick_set_of(const struct pick *p)
{
	if (p->subset)
		return (struct pick_set){.some = p->subset->endpoints,
			.count = p->subset->endpoint_count,
			.up_sums = p->subset->up_sums};
	return (struct pick_set){.all = p->service->endpoints,
		.count = p->service->endpoint_count,
		.up_sums = p->service->up_sums};
}

static const struct endpoint *pick_at(const struct pick_set *set, uint32_t index)
{
	return set->some ? set->some[index] : &set->all[index];
}

/* The first whose sum is beyond the place. */
static const struct endpoint *pick_by_place(const struct pick_set *set, uint64_t place)
{
	uint32_t low = 0, high = set->count - 1;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (set->up_sums[middle] > place)
			high = middle;
		else
			low = middle + 1;
	}
	return pick_at(set, low);
}

static const struct endpoint *pick_by_sums(const struct pick_set *set, uint64_t random)
{
	return pick_by_place(set, pick_draw(random, set->up_sums[set->count - 1]));
}

static const struct endpoint *pick_by_class(const struct pick *p, const struct pick_set *set)
{
	uint64_t weights[PICK_CLASS_COUNT] = {0};
	for (uint32_t i = 0; i < set->count; i++) {
		const struct endpoint *e = pick_at(set, i);
		weights[pick_class_of(p, e)] += e->weight;
	}
	unsigned class = 0;
	while (class < PICK_CLASS_COUNT && weights[class] == 0)
		class ++;
	if (class == PICK_CLASS_COUNT)
		return NULL;
	uint64_t left = pick_draw(p->random, weights[class]);
	for (uint32_t i = 0; i < set->count; i++) {
		const struct endpoint *e = pick_at(set, i);
		if (pick_class_of(p, e) != class)
			continue;
		if (left < e->weight)
			return e;
		left -= e->weight;
	}
	return NULL;
}

/* --- those that are well --- */

/* It is new, and lets so many of its calls go to others. */
static bool pick_holds_back(const struct pick *p, const struct endpoint *e, uint64_t random)
{
	return p->now_ns < p->crowd->young_until_ns &&
	       pick_draw(pick_random_next(random), 100) >=
		       load_grown_percent(pick_load(p, e), p->now_ns);
}

/* One that gets calls now; NULL: it did not come up. */
static const struct endpoint *pick_well(
	const struct pick *p, const struct pick_set *set, uint64_t *random)
{
	for (int i = 0; i < PICK_DRAWS_MAX; i++) {
		const struct endpoint *e = pick_by_sums(set, *random);
		*random = pick_random_next(*random);
		if (!pick_is_ejected(p, e) && !pick_holds_back(p, e, ~*random))
			return e;
	}
	return NULL;
}

static const struct endpoint *pick_in_turn(const struct pick *p, const struct pick_set *set)
{
	size_t index = p->subset ? (size_t)(p->subset - p->service->subsets) + 1 : 0;
	struct load_turn *turn = &p->crowd->turns[index];
	for (int i = 0; i < PICK_DRAWS_MAX; i++) {
		uint64_t place = split_place(&turn->split, turn->sum / turn->unit);
		const struct endpoint *e = pick_by_place(set, place * turn->unit);
		if (!pick_is_ejected(p, e) && !pick_holds_back(p, e, p->random + (unsigned)i))
			return e;
	}
	return NULL;
}

/* `b` has less to do for its weight than `a`. */
static bool pick_has_less(const struct pick *p, const struct endpoint *a, const struct endpoint *b)
{
	uint64_t a_calls = pick_load(p, a)->under_way, b_calls = pick_load(p, b)->under_way;
	return b_calls * a->weight < a_calls * b->weight;
}

/* `b` should answer clearly before `a`: as late as it did, once more for each call that it has for
 * a weight as large as the larger of both. A difference of less than a quarter is chance, which
 * would favour who is seldom called. */
static bool pick_is_sooner(const struct pick *p, const struct endpoint *a, const struct endpoint *b)
{
	const struct load *la = pick_load(p, a), *lb = pick_load(p, b);
	uint64_t max = a->weight > b->weight ? a->weight : b->weight;
	unsigned __int128 a_cost = load_latency_ns(la, p->now_ns);
	unsigned __int128 b_cost = load_latency_ns(lb, p->now_ns);
	a_cost *= (la->under_way * max + a->weight) * b->weight;
	b_cost *= (lb->under_way * max + b->weight) * a->weight;
	return b_cost * 4 < a_cost * 3;
}

static bool pick_is_better(const struct pick *p, const struct endpoint *a, const struct endpoint *b)
{
	bool both_known = load_is_known(pick_load(p, a)) && load_is_known(pick_load(p, b));
	return p->service->balance == BALANCE_PEAK_EWMA && both_known ? pick_is_sooner(p, a, b)
								      : pick_has_less(p, a, b);
}

/* It is ejected, and its probe is due: what it did before does not keep it from that. */
static bool pick_is_probe(const struct pick *p, const struct endpoint *e)
{
	return pick_load(p, e)->outlier.state != OUTLIER_IN;
}

/* Two that are drawn by weight, and the better one of them: when both are alike the first, so that
 * with little to do the shares are those of the weights. */
static const struct endpoint *pick_of_two(const struct pick *p, const struct pick_set *set)
{
	uint64_t random = p->random;
	const struct endpoint *a = pick_well(p, set, &random), *b = a;
	for (int i = 0; a && b == a && i < PICK_DRAWS_MAX; i++)
		b = pick_well(p, set, &random);
	if (!a || !b || pick_is_probe(p, a))
		return a;
	return pick_is_probe(p, b) || pick_is_better(p, a, b) ? b : a;
}

static const struct endpoint *pick_first(const struct pick *p, const struct pick_set *set)
{
	uint64_t random = p->random;
	if (!p->crowd)
		return pick_by_sums(set, random);
	switch (p->service->balance) {
	case BALANCE_LEAST_REQUEST:
	case BALANCE_PEAK_EWMA:
		return pick_of_two(p, set);
	case BALANCE_ROUND_ROBIN:
		return pick_in_turn(p, set);
	case BALANCE_RANDOM:
		return pick_well(p, set, &random);
	}
	return NULL;
}

const struct endpoint *pick_endpoint(const struct pick *p)
{
	struct pick_set set = pick_set_of(p);
	const struct endpoint *e = NULL;
	if (set.count == 1)
		return pick_at(&set, 0);
	if (p->tried_count == 0 && set.count > 0 && set.up_sums && set.up_sums[set.count - 1] > 0)
		e = pick_first(p, &set);
	return e ? e : pick_by_class(p, &set);
}
