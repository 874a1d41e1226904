/* SPDX-License-Identifier: Apache-2.0 */
/* Mostly there are some that are well, and one of them is drawn by the sums that the snapshot
 * brings along, or found by value. When that does not come to anything, all endpoints are looked
 * at, by classes of how much they are wanted: by how they are, and in that by whether they are
 * instances, other addresses, or were tried. */
#include "balance/pick.h"

/* So often is one drawn that gets no calls now, before all are looked at. */
#define PICK_DRAWS_MAX 16
/* So many places are looked at for a value, before that. */
#define PICK_PLACES_MAX 64

enum pick_state { PICK_UP, PICK_EJECTED, PICK_DOWN, PICK_DRAINED, PICK_STATE_COUNT };
#define PICK_ALTERNATE	 1u
#define PICK_TRIED	 2u
#define PICK_CLASS_COUNT (3u * PICK_STATE_COUNT)

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

static bool pick_is_tried(const struct pick *p, const struct endpoint *e)
{
	if (p->tried_count > 0 && pick_rests(p, e))
		return true;
	for (uint32_t i = 0; i < p->tried_count; i++) {
		if (p->tried[i] == e)
			return true;
	}
	return false;
}

static enum pick_state pick_state_of(const struct pick *p, const struct endpoint *e)
{
	switch (e->health) {
	case ENDPOINT_UP:
		return pick_is_ejected(p, e) ? PICK_EJECTED : PICK_UP;
	case ENDPOINT_DOWN:
		return PICK_DOWN;
	case ENDPOINT_DRAINED:
		return PICK_DRAINED;
	}
	return PICK_DRAINED;
}

/* In a panic nobody asks how they are, but whether they were drained. */
static uint32_t pick_class_of(const struct pick *p, const struct endpoint *e, bool is_panic)
{
	enum pick_state state = pick_state_of(p, e);
	if (is_panic && state != PICK_DRAINED)
		state = PICK_UP;
	if (pick_is_tried(p, e))
		return 3 * state + PICK_TRIED;
	return 3 * state + (e->alternate ? PICK_ALTERNATE : 0);
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
	struct load_set *load; /* NULL: nothing is known */
};

static struct pick_set pick_set_of(const struct pick *p, enum load_part part)
{
	const struct zone_parts *parts = p->subset ? &p->subset->parts : &p->service->parts;
	const struct zone_part *zone = part == LOAD_NEAR ? &parts->near : &parts->far;
	uint32_t subset = p->subset ? (uint32_t)(p->subset - p->service->subsets) + 1 : 0;
	struct pick_set set = {.load = p->crowd ? crowd_set(p->crowd, subset, part) : NULL};
	if (part != LOAD_ALL) {
		set.some = zone->endpoints;
		set.count = zone->endpoint_count;
		set.up_sums = zone->up_sums;
	} else if (p->subset) {
		set.some = p->subset->endpoints;
		set.count = p->subset->endpoint_count;
		set.up_sums = p->subset->up_sums;
	} else {
		set.all = p->service->endpoints;
		set.count = p->service->endpoint_count;
		set.up_sums = p->service->up_sums;
	}
	return set;
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

/* --- those that are well --- */

/* It is new, and lets so many of its calls go to others. */
static bool pick_holds_back(const struct pick *p, const struct endpoint *e, uint64_t random)
{
	return p->crowd && p->now_ns < p->crowd->young_until_ns &&
	       pick_draw(pick_random_next(random), 100) >=
		       load_grown_percent(pick_load(p, e), p->now_ns);
}

/* It is up: does it get calls now, for the first time? */
static bool pick_takes(const struct pick *p, const struct endpoint *e, uint64_t random)
{
	return !pick_is_ejected(p, e) && !pick_is_tried(p, e) && !pick_holds_back(p, e, random);
}

/* One that gets calls now; NULL: it did not come up. */
static const struct endpoint *pick_well(
	const struct pick *p, const struct pick_set *set, uint64_t *random)
{
	for (int i = 0; i < PICK_DRAWS_MAX; i++) {
		const struct endpoint *e = pick_by_sums(set, *random);
		*random = pick_random_next(*random);
		if (pick_takes(p, e, ~*random))
			return e;
	}
	return NULL;
}

static const struct endpoint *pick_in_turn(const struct pick *p, const struct pick_set *set)
{
	struct load_set *load = set->load;
	for (int i = 0; i < PICK_DRAWS_MAX; i++) {
		uint64_t place = split_place(&load->split, load->sum / load->unit);
		const struct endpoint *e = pick_by_place(set, place * load->unit);
		if (pick_takes(p, e, p->random + (unsigned)i))
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
	if (set->count == 0 || !set->up_sums || set->up_sums[set->count - 1] == 0)
		return NULL;
	if (!p->crowd)
		return pick_well(p, set, &random);
	switch (p->service->balance) {
	case BALANCE_LEAST_REQUEST:
	case BALANCE_PEAK_EWMA:
	case BALANCE_RING_HASH:
	case BALANCE_MAGLEV:
		return pick_of_two(p, set);
	case BALANCE_ROUND_ROBIN:
		if (p->tried_count == 0)
			return pick_in_turn(p, set);
		return pick_well(p, set, &random); /* who took its turn already has no other */
	case BALANCE_RANDOM:
		return pick_well(p, set, &random);
	}
	return NULL;
}

/* --- of all --- */

static const struct endpoint *pick_of_class(const struct pick *p, const struct pick_set *set,
	bool is_panic, uint32_t class, uint64_t left)
{
	for (uint32_t i = 0; i < set->count; i++) {
		const struct endpoint *e = pick_at(set, i);
		if (pick_class_of(p, e, is_panic) != class)
			continue;
		if (left < e->weight)
			return e;
		left -= e->weight;
	}
	return NULL;
}

/* Of those that are wanted most, as `balance` says; whose turn it is nobody asks any more. */
static const struct endpoint *pick_by_class(
	const struct pick *p, const struct pick_set *set, bool is_panic, enum pick_way *ret_way)
{
	uint64_t weights[PICK_CLASS_COUNT] = {0};
	uint64_t random = p->has_value ? pick_random_next(p->value) : p->random;
	for (uint32_t i = 0; i < set->count; i++) {
		const struct endpoint *e = pick_at(set, i);
		weights[pick_class_of(p, e, is_panic)] += e->weight;
	}
	uint32_t class = 0;
	while (class < PICK_CLASS_COUNT && weights[class] == 0)
		class ++;
	if (class == PICK_CLASS_COUNT)
		return NULL;
	if (class / 3 != PICK_UP)
		*ret_way = PICK_WAY_ILL;
	const struct endpoint *a = pick_of_class(
				      p, set, is_panic, class, pick_draw(random, weights[class])),
			      *b = a;
	bool by_chance = p->has_value || p->service->balance == BALANCE_RANDOM ||
			 p->service->balance == BALANCE_ROUND_ROBIN || !p->crowd ||
			 weights[class] == a->weight;
	for (int i = 0; !by_chance && b == a && i < PICK_DRAWS_MAX; i++) {
		random = pick_random_next(random);
		b = pick_of_class(p, set, is_panic, class, pick_draw(random, weights[class]));
	}
	return b != a && pick_is_better(p, a, b) ? b : a;
}

/* --- by value --- */

/* The value's own, or the next in its order that gets calls now; NULL: none came up. */
static const struct endpoint *pick_by_value(
	const struct pick *p, const struct pick_set *set, bool is_panic)
{
	bool is_strict = p->service->zones == ZONE_STRICT;
	for (uint32_t i = 0; i < PICK_PLACES_MAX; i++) {
		const struct endpoint *e = pick_at(set, wheel_at(p->wheel, p->value, i));
		if (pick_class_of(p, e, is_panic) == PICK_UP && (!is_strict || e->is_near))
			return e;
	}
	return NULL;
}

/* --- zones --- */

/* In millionths. */
static uint64_t pick_able(uint64_t well, uint64_t all)
{
	uint64_t able = all > 0 ? well * (14 * PICK_MILLION / 10) / all : 0;
	return able < PICK_MILLION ? able : PICK_MILLION;
}

uint32_t pick_near_share(uint64_t near_well, uint64_t near_all, uint64_t far_well, uint64_t far_all)
{
	uint64_t near = pick_able(near_well, near_all), far = pick_able(far_well, far_all);
	if (far == 0)
		return PICK_MILLION;
	if (near + far >= PICK_MILLION)
		return (uint32_t)near;
	return (uint32_t)(near * PICK_MILLION / (near + far));
}

/* The own zone has more than its machine's share of calls under way, and for its weight twice as
 * many as the others: so many stay, and what is more spreads. */
static bool pick_is_busy(
	const struct pick *p, const struct load_set *near, const struct load_set *far)
{
	uint64_t near_well = load_set_well(near), far_well = load_set_well(far);
	uint64_t most = (uint64_t)p->service->zone_calls * (near->up_count - near->out_count);
	uint32_t worker_count = p->worker_count > 0 ? p->worker_count : 1;
	most = most / worker_count + (most % worker_count > 0);
	return far_well > 0 && near->under_way >= most &&
	       (unsigned __int128)near->under_way * far_well >=
		       (unsigned __int128)2 * far->under_way * near_well;
}

static enum pick_way pick_zone(
	const struct pick *p, const struct load_set *near, const struct load_set *far)
{
	uint64_t share =
		pick_near_share(load_set_well(near), near->weight, load_set_well(far), far->weight);
	if (pick_draw(pick_random_next(~p->random), PICK_MILLION) >= share)
		return PICK_WAY_FAR;
	return pick_is_busy(p, near, far) ? PICK_WAY_SPILL : PICK_WAY_NEAR;
}

/* One that is well, in this zone or another; NULL: neither came up. */
static const struct endpoint *pick_by_zone(const struct pick *p, enum pick_way *ret_way)
{
	struct pick_set near = pick_set_of(p, LOAD_NEAR), far = pick_set_of(p, LOAD_FAR);
	enum pick_way way = p->crowd ? pick_zone(p, near.load, far.load) : PICK_WAY_NEAR;
	const struct endpoint *e = pick_first(p, way == PICK_WAY_NEAR ? &near : &far);
	if (!e) {
		e = pick_first(p, way == PICK_WAY_NEAR ? &far : &near);
		way = way == PICK_WAY_NEAR ? PICK_WAY_FAR : PICK_WAY_NEAR;
	}
	if (e)
		*ret_way = way;
	return e;
}

const struct endpoint *pick_endpoint(const struct pick *p, enum pick_way *ret_way)
{
	const struct service *service = p->service;
	const struct zone_parts *parts = p->subset ? &p->subset->parts : &service->parts;
	bool is_strict = service->zones == ZONE_STRICT;
	bool has_zones = service->zones == ZONE_PREFER && parts->near.endpoint_count > 0 &&
			 parts->far.endpoint_count > 0;
	struct pick_set set = pick_set_of(p, is_strict ? LOAD_NEAR : LOAD_ALL);
	struct pick_set whole = pick_set_of(p, LOAD_ALL);
	bool by_value = p->has_value && p->wheel && balance_is_by_value(service->balance);
	bool is_panic = set.load && load_set_panics(set.load, service->panic_percent);
	const struct endpoint *e = NULL;
	*ret_way = is_panic ? PICK_WAY_PANIC : PICK_WAY_ALL;
	if (set.count <= 1)
		return pick_by_class(p, &set, is_panic, ret_way);
	if (by_value)
		e = pick_by_value(p, &whole, is_panic);
	else if (!is_panic && has_zones)
		e = pick_by_zone(p, ret_way);
	else if (!is_panic)
		e = pick_first(p, &set);
	return e ? e : pick_by_class(p, &set, is_panic, ret_way);
}
