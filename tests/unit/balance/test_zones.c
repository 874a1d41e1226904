/* SPDX-License-Identifier: Apache-2.0 */
/* The own zone and others, too few that are well, values: who gets the calls. */
#include "balance/load.h"
#include "balance/pick.h"

#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define NEAR_MAX 8
#define FAR_MAX	 8
#define ALL_MAX	 (NEAR_MAX + FAR_MAX)
#define START_NS (1000 * CLOCK_S)

/* So many of this zone first, then of others. */
struct realm {
	struct service service;
	struct subset subset; /* those with an even index */
	struct endpoint endpoints[ALL_MAX];
	struct endpoint *pointers[5][ALL_MAX];
	uint64_t sums[6][ALL_MAX];
	struct crowd *crowd;
	struct wheel *wheel;
	uint64_t now_ns, seed, plan_number;
	uint32_t counts[ALL_MAX];
	enum pick_way way;
};

static uint64_t rnd(struct realm *r)
{
	uint64_t z = r->seed += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static uint64_t sum_of(uint64_t sum, const struct endpoint *e)
{
	return sum + (e->health == ENDPOINT_UP && !e->alternate ? e->weight : 0);
}

static void realm_part(
	struct realm *r, struct zone_part *part, size_t at, bool is_near, uint32_t step)
{
	uint64_t sum = 0;
	*part = (struct zone_part){.endpoints = r->pointers[at], .up_sums = r->sums[at]};
	for (uint32_t i = 0; i < r->service.endpoint_count; i += step) {
		if (r->endpoints[i].is_near != is_near)
			continue;
		part->endpoints[part->endpoint_count] = &r->endpoints[i];
		part->up_sums[part->endpoint_count++] = sum = sum_of(sum, &r->endpoints[i]);
	}
}

static void realm_parts(struct realm *r, struct zone_parts *parts, size_t at, uint32_t step)
{
	realm_part(r, &parts->near, at, true, step);
	realm_part(r, &parts->far, at + 1, false, step);
	if (r->service.zones == ZONE_IGNORE ||
		(r->service.zones == ZONE_PREFER &&
			(parts->near.endpoint_count == 0 || parts->far.endpoint_count == 0)))
		*parts = (struct zone_parts){0};
}

static void realm_follow(struct realm *r)
{
	struct service *s = &r->service;
	uint64_t sum = 0, even_sum = 0;
	s->endpoints = r->endpoints;
	s->up_sums = r->sums[5];
	s->subsets = &r->subset;
	s->subset_count = 1;
	r->subset = (struct subset){.endpoints = r->pointers[4], .up_sums = r->sums[4]};
	for (uint32_t i = 0; i < s->endpoint_count; i++) {
		s->up_sums[i] = sum = sum_of(sum, &r->endpoints[i]);
		if (i % 2)
			continue;
		r->subset.endpoints[r->subset.endpoint_count] = &r->endpoints[i];
		r->subset.up_sums[r->subset.endpoint_count++] = even_sum =
			sum_of(even_sum, &r->endpoints[i]);
	}
	realm_parts(r, &s->parts, 0, 1);
	realm_parts(r, &r->subset.parts, 2, 2);
	assert_true(crowd_follow(r->crowd, s, ++r->plan_number, rnd(r), r->now_ns));
}

static void realm_init(
	struct realm *r, enum balance balance, enum zone_rule zones, uint32_t near, uint32_t far)
{
	*r = (struct realm){.now_ns = START_NS,
		.seed = 11,
		.crowd = crowd_new(STR("orders")),
		.service = {.balance = balance,
			.zones = zones,
			.zone_calls = 4,
			.endpoint_count = near + far,
			.outlier = {.errors = 1,
				.ejection_ms = 30000,
				.ejection_max_ms = 300000,
				.ejected_percent = 100}}};
	assert_non_null(r->crowd);
	for (uint32_t i = 0; i < near + far; i++)
		r->endpoints[i] = (struct endpoint){.service = &r->service,
			.address = {.family = 4, .port = (uint16_t)(i + 1)},
			.key = i * 0x9e3779b97f4a7c15ull,
			.weight = 100,
			.is_near = i < near};
	realm_follow(r);
}

static void realm_make_wheel(struct realm *r, enum balance kind)
{
	struct wheel_member members[ALL_MAX];
	for (uint32_t i = 0; i < r->service.endpoint_count; i++)
		members[i] = (struct wheel_member){r->endpoints[i].key, r->endpoints[i].weight, i};
	r->wheel = wheel_new(kind, members, r->service.endpoint_count);
	assert_non_null(r->wheel);
}

static void realm_done(struct realm *r)
{
	crowd_free(r->crowd);
	wheel_unref(r->wheel);
}

static uint32_t realm_pick_with(struct realm *r, struct pick pick)
{
	pick.service = &r->service;
	pick.crowd = r->crowd;
	pick.wheel = r->wheel;
	pick.worker_count = 1;
	pick.now_ns = r->now_ns;
	pick.random = rnd(r);
	const struct endpoint *e = pick_endpoint(&pick, &r->way);
	assert_non_null(e);
	uint32_t index = (uint32_t)(e - r->endpoints);
	r->counts[index]++;
	return index;
}

static uint32_t realm_pick(struct realm *r)
{
	return realm_pick_with(r, (struct pick){0});
}

static void realm_pick_many(struct realm *r, uint32_t count)
{
	memset(r->counts, 0, sizeof(r->counts));
	for (uint32_t i = 0; i < count; i++)
		realm_pick(r);
}

static uint32_t realm_near(const struct realm *r)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < r->service.endpoint_count; i++)
		count += r->endpoints[i].is_near ? r->counts[i] : 0;
	return count;
}

static void realm_eject(struct realm *r, uint32_t index)
{
	struct load_call call;
	load_begin(&call, r->crowd->loads[index], r->now_ns);
	assert_int_equal(load_judge(&call, OUTLIER_ERROR, r->now_ns), OUTLIER_EJECTED);
	load_end(&call);
}

static void assert_share(uint32_t got, uint32_t of, double share)
{
	double off = 5 * of * 0.5 / 100; /* far more than chance does with these numbers */
	if (got < of * share - off || got > of * share + off)
		fail_msg("%u of %u instead of %.3f", got, of, share);
}

/* --- the share of a zone --- */

static void test_near_share(void **state)
{
	static const struct {
		uint64_t near_well, near_all, far_well, far_all;
		uint32_t share;
	} rows[] = {
		{400, 400, 400, 400, 1000000},
		{1, 1, 9999, 9999, 1000000},
		{300, 400, 400, 400, 1000000}, /* three quarters can bear it all */
		{200, 400, 400, 400, 700000},
		{100, 400, 400, 400, 350000},
		{0, 400, 400, 400, 0},
		{0, 0, 400, 400, 0},
		{400, 400, 0, 400, 1000000},
		{100, 400, 0, 400, 1000000},
		{0, 400, 0, 400, 1000000},
		{0, 0, 0, 0, 1000000},
		{100, 400, 100, 400, 500000}, /* both are short: by what they can */
		{100, 400, 50, 400, 666666},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint32_t share = pick_near_share(
			rows[i].near_well, rows[i].near_all, rows[i].far_well, rows[i].far_all);
		assert_in_range(share, rows[i].share ? rows[i].share - 1 : 0, rows[i].share + 1);
	}
}

static const enum balance all_ways[] = {
	BALANCE_LEAST_REQUEST, BALANCE_PEAK_EWMA, BALANCE_ROUND_ROBIN, BALANCE_RANDOM};

static void test_a_zone_that_is_well_keeps_its_calls(void **state)
{
	for (size_t b = 0; b < ARRAY_LEN(all_ways); b++) {
		struct realm r;
		realm_init(&r, all_ways[b], ZONE_PREFER, 4, 8);
		realm_pick_many(&r, 4000);
		assert_int_equal(realm_near(&r), 4000);
		assert_int_equal(r.way, PICK_WAY_NEAR);
		for (uint32_t i = 0; i < 4; i++)
			assert_share(r.counts[i], 4000, 0.25);
		realm_done(&r);
	}
}

/* By what is down, what is ejected, and what was drained, and no more than is needed. */
static void test_spill_over_by_health(void **state)
{
	static const double shares[] = {1, 1, 0.7, 0.35, 0};
	for (size_t b = 0; b < ARRAY_LEN(all_ways); b++) {
		for (int how = 0; how < 3; how++) {
			struct realm r;
			realm_init(&r, all_ways[b], ZONE_PREFER, 4, 8);
			for (uint32_t ill = 0; ill <= 4; ill++) {
				if (ill > 0 && how < 2)
					r.endpoints[ill - 1].health =
						how ? ENDPOINT_DOWN : ENDPOINT_DRAINED;
				if (ill > 0 && how == 2)
					realm_eject(&r, ill - 1);
				if (how < 2)
					realm_follow(&r);
				realm_pick_many(&r, 10000);
				assert_share(realm_near(&r), 10000, shares[ill]);
				for (uint32_t i = 0; i < ill; i++)
					assert_int_equal(r.counts[i], 0);
				for (uint32_t i = ill; i < 4; i++)
					assert_share(r.counts[i], 10000, shares[ill] / (4 - ill));
			}
			realm_done(&r);
		}
	}
}

/* Under way at once: those that the zone takes for itself, and then twice as many for its weight as
 * elsewhere. */
static void test_spill_over_by_load(void **state)
{
	static struct load_call calls[1000];
	struct realm r;
	realm_init(&r, BALANCE_LEAST_REQUEST, ZONE_PREFER, 2, 8);
	for (uint32_t i = 0; i < ARRAY_LEN(calls); i++) {
		load_begin(&calls[i], r.crowd->loads[realm_pick(&r)], r.now_ns);
		uint32_t near = crowd_set(r.crowd, 0, LOAD_NEAR)->under_way;
		uint32_t far = crowd_set(r.crowd, 0, LOAD_FAR)->under_way;
		assert_int_equal(near + far, i + 1);
		if (far > 0) /* not before the zone had its own */
			assert_true(near >= 8);
		assert_true(near <= 8 || near <= far / 2 + 1);
		assert_true(near >= 8 || far == 0);
		assert_true(far == 0 || near + 1 >= far / 2);
	}
	assert_int_equal(r.way, r.way == PICK_WAY_NEAR ? PICK_WAY_NEAR : PICK_WAY_SPILL);
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		load_end(&calls[i]);
	realm_pick_many(&r, 1000);
	assert_int_equal(realm_near(&r), 1000);
	realm_done(&r);
}

/* Of a version the same, by its own endpoints: here of the even ones, two near and four far. */
static void test_zones_of_a_subset(void **state)
{
	struct realm r;
	realm_init(&r, BALANCE_LEAST_REQUEST, ZONE_PREFER, 4, 8);
	memset(r.counts, 0, sizeof(r.counts));
	for (int i = 0; i < 2000; i++)
		assert_true(realm_pick_with(&r, (struct pick){.subset = &r.subset}) % 2 == 0);
	assert_int_equal(realm_near(&r), 2000);
	realm_eject(&r, 0);
	memset(r.counts, 0, sizeof(r.counts));
	for (int i = 0; i < 10000; i++)
		realm_pick_with(&r, (struct pick){.subset = &r.subset});
	assert_share(realm_near(&r), 10000, 0.7);
	assert_int_equal(r.counts[0], 0);
	realm_done(&r);
}

static void test_strict(void **state)
{
	struct realm r;
	realm_init(&r, BALANCE_LEAST_REQUEST, ZONE_STRICT, 2, 2);
	for (uint32_t ill = 0; ill <= 2; ill++) {
		if (ill > 0)
			r.endpoints[ill - 1].health = ENDPOINT_DOWN;
		realm_follow(&r);
		realm_pick_many(&r, 1000);
		assert_int_equal(realm_near(&r), 1000);
	}
	assert_int_equal(r.way, PICK_WAY_ILL);
	realm_done(&r);
	realm_init(&r, BALANCE_LEAST_REQUEST, ZONE_STRICT, 0, 2);
	struct pick pick = {.service = &r.service, .crowd = r.crowd, .random = 7};
	assert_null(pick_endpoint(&pick, &r.way));
	realm_done(&r);
}

/* --- panic --- */

static void test_panic(void **state)
{
	for (size_t b = 0; b < ARRAY_LEN(all_ways); b++) {
		for (uint32_t percent = 0; percent <= 60; percent += 30) {
			struct realm r;
			realm_init(&r, all_ways[b], ZONE_IGNORE, 0, 5);
			r.service.panic_percent = percent;
			r.endpoints[0].health = ENDPOINT_DOWN;
			r.endpoints[1].health = ENDPOINT_DRAINED; /* is not asked, and not called */
			realm_follow(&r);
			realm_eject(&r, 2);
			/* two of four are well */
			realm_pick_many(&r, 4000);
			bool panics = percent > 50;
			assert_int_equal(r.way, panics ? PICK_WAY_PANIC : PICK_WAY_ALL);
			assert_int_equal(r.counts[1], 0);
			for (uint32_t i = 0; i < 5; i++) {
				bool is_ill = i == 0 || i == 2;
				if (i != 1)
					assert_share(r.counts[i], 4000,
						panics	 ? 0.25
						: is_ill ? 0
							 : 0.5);
			}
			realm_done(&r);
		}
	}
}

/* None is well, and the threshold is off: they are still better than nothing. */
static void test_none_is_well(void **state)
{
	struct realm r;
	realm_init(&r, BALANCE_LEAST_REQUEST, ZONE_PREFER, 2, 2);
	for (uint32_t i = 0; i < 4; i++)
		r.endpoints[i].health = ENDPOINT_DOWN;
	realm_follow(&r);
	realm_pick_many(&r, 4000);
	assert_int_equal(r.way, PICK_WAY_ILL);
	for (uint32_t i = 0; i < 4; i++)
		assert_share(r.counts[i], 4000, 0.25);
	realm_done(&r);
}

/* --- after a failure --- */

/* Another one as `balance` says, not by weight. */
static void test_the_next_try_looks_at_the_load(void **state)
{
	struct load_call held[4];
	struct realm r;
	realm_init(&r, BALANCE_LEAST_REQUEST, ZONE_IGNORE, 0, 4);
	for (size_t i = 0; i < ARRAY_LEN(held); i++)
		load_begin(&held[i], r.crowd->loads[3], r.now_ns);
	memset(r.counts, 0, sizeof(r.counts));
	const struct endpoint *tried[] = {&r.endpoints[0]};
	for (int i = 0; i < 2000; i++)
		realm_pick_with(&r, (struct pick){.tried = tried, .tried_count = 1});
	assert_int_equal(r.counts[0], 0);
	assert_int_equal(r.counts[3], 0);
	assert_share(r.counts[1], 2000, 0.5);
	for (size_t i = 0; i < ARRAY_LEN(held); i++)
		load_end(&held[i]);
	realm_done(&r);
}

/* The only one that is well has just failed: better it than what fails for certain. */
static void test_the_last_one_that_is_well_is_tried_again(void **state)
{
	struct realm r;
	realm_init(&r, BALANCE_LEAST_REQUEST, ZONE_IGNORE, 0, 4);
	r.endpoints[1].health = ENDPOINT_DOWN;
	r.endpoints[2].health = ENDPOINT_DRAINED;
	realm_follow(&r);
	realm_eject(&r, 3);
	const struct endpoint *tried[] = {&r.endpoints[0]};
	for (int i = 0; i < 200; i++)
		assert_int_equal(
			realm_pick_with(&r, (struct pick){.tried = tried, .tried_count = 1}), 0);
	realm_done(&r);
}

/* In another zone, when none is left in this one. */
static void test_the_next_try_leaves_the_zone(void **state)
{
	struct realm r;
	realm_init(&r, BALANCE_LEAST_REQUEST, ZONE_PREFER, 1, 3);
	const struct endpoint *tried[] = {&r.endpoints[0]};
	for (int i = 0; i < 200; i++)
		assert_true(
			realm_pick_with(&r, (struct pick){.tried = tried, .tried_count = 1}) > 0);
	assert_int_equal(r.way, PICK_WAY_FAR);
	realm_done(&r);
}

/* --- by value --- */

static uint32_t realm_pick_value(struct realm *r, uint64_t value)
{
	return realm_pick_with(
		r, (struct pick){.has_value = true, .value = value * 0x9e3779b97f4a7c15ull});
}

#define VALUES 2000

static void test_values_stay_and_come_back(void **state)
{
	static const enum balance kinds[] = {BALANCE_RING_HASH, BALANCE_MAGLEV};
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		uint32_t before[VALUES], moved[ALL_MAX] = {0};
		struct realm r;
		realm_init(&r, kinds[k], ZONE_IGNORE, 0, 8);
		realm_make_wheel(&r, kinds[k]);
		for (uint32_t v = 0; v < VALUES; v++)
			before[v] = realm_pick_value(&r, v);
		/* one is down, one is ejected: only what they had moves, to all others */
		r.endpoints[2].health = ENDPOINT_DOWN;
		realm_follow(&r);
		realm_eject(&r, 5);
		for (uint32_t v = 0; v < VALUES; v++) {
			uint32_t now = realm_pick_value(&r, v);
			assert_true(now != 2 && now != 5);
			if (before[v] == 2 || before[v] == 5)
				moved[now]++;
			else
				assert_int_equal(now, before[v]);
		}
		for (uint32_t i = 0; i < 8; i++)
			assert_true(i == 2 || i == 5 || moved[i] > 20);
		/* in the plan that they are well in it is as it was */
		r.endpoints[2].health = ENDPOINT_UP;
		r.service.outlier.ejected_percent = 0;
		realm_follow(&r);
		for (uint32_t v = 0; v < VALUES; v++)
			assert_int_equal(realm_pick_value(&r, v), before[v]);
		realm_done(&r);
	}
}

/* The next try has the next place, and always the same one. */
static void test_values_after_a_failure(void **state)
{
	struct realm r;
	realm_init(&r, BALANCE_RING_HASH, ZONE_IGNORE, 0, 8);
	realm_make_wheel(&r, BALANCE_RING_HASH);
	for (uint64_t v = 0; v < VALUES; v++) {
		const struct endpoint *tried[] = {&r.endpoints[realm_pick_value(&r, v)]};
		struct pick pick = {.has_value = true,
			.value = v * 0x9e3779b97f4a7c15ull,
			.tried = tried,
			.tried_count = 1};
		uint32_t next = realm_pick_with(&r, pick);
		assert_true(&r.endpoints[next] != tried[0]);
		assert_int_equal(realm_pick_with(&r, pick), next);
	}
	realm_done(&r);
}

/* Nearly none is well: still the same one for the same value. */
static void test_values_when_few_are_well(void **state)
{
	struct realm r;
	realm_init(&r, BALANCE_MAGLEV, ZONE_IGNORE, 0, 8);
	realm_make_wheel(&r, BALANCE_MAGLEV);
	for (uint32_t ill = 0; ill < 8; ill++) {
		r.endpoints[ill].health = ENDPOINT_DOWN;
		r.endpoints[ill].weight = 1000;
		realm_follow(&r);
		for (uint64_t v = 0; v < 200; v++) {
			uint32_t first = realm_pick_value(&r, v);
			assert_true(ill == 7 || first > ill);
			assert_int_equal(realm_pick_value(&r, v), first);
		}
	}
	realm_done(&r);
}

/* In a panic each is back with its own. */
static void test_values_in_a_panic(void **state)
{
	uint32_t before[VALUES];
	struct realm r;
	realm_init(&r, BALANCE_RING_HASH, ZONE_IGNORE, 0, 4);
	realm_make_wheel(&r, BALANCE_RING_HASH);
	for (uint32_t v = 0; v < VALUES; v++)
		before[v] = realm_pick_value(&r, v);
	r.service.panic_percent = 50;
	for (uint32_t i = 0; i < 3; i++)
		r.endpoints[i].health = ENDPOINT_DOWN;
	realm_follow(&r);
	for (uint32_t v = 0; v < VALUES; v++)
		assert_int_equal(realm_pick_value(&r, v), before[v]);
	assert_int_equal(r.way, PICK_WAY_PANIC);
	realm_done(&r);
}

static void test_without_a_value_the_least_busy(void **state)
{
	struct load_call held;
	struct realm r;
	realm_init(&r, BALANCE_RING_HASH, ZONE_IGNORE, 0, 2);
	realm_make_wheel(&r, BALANCE_RING_HASH);
	load_begin(&held, r.crowd->loads[1], r.now_ns);
	realm_pick_many(&r, 1000);
	assert_int_equal(r.counts[0], 1000);
	load_end(&held);
	realm_done(&r);
}

/* Strict: of a value the first place in the zone. */
static void test_values_in_one_zone(void **state)
{
	struct realm r;
	realm_init(&r, BALANCE_MAGLEV, ZONE_STRICT, 3, 5);
	realm_make_wheel(&r, BALANCE_MAGLEV);
	memset(r.counts, 0, sizeof(r.counts));
	for (uint64_t v = 0; v < VALUES; v++)
		realm_pick_value(&r, v);
	assert_int_equal(realm_near(&r), VALUES);
	for (uint32_t i = 0; i < 3; i++)
		assert_in_range(r.counts[i], VALUES / 5, VALUES / 2);
	realm_done(&r);
}

/* --- whatever happens --- */

#define CALLS 40

static bool realm_is_well(const struct realm *r, uint32_t i)
{
	return r->endpoints[i].health == ENDPOINT_UP && !r->endpoints[i].alternate &&
	       outlier_takes(&r->crowd->loads[i]->outlier, r->now_ns);
}

static void realm_check(const struct realm *r, const struct pick *pick, uint32_t index)
{
	bool some_well = false;
	for (uint32_t i = 0; i < r->service.endpoint_count; i++) {
		bool is_asked = (!pick->subset || i % 2 == 0) &&
				(r->service.zones != ZONE_STRICT || r->endpoints[i].is_near);
		some_well = some_well || (is_asked && realm_is_well(r, i));
	}
	if (some_well)
		assert_true(realm_is_well(r, index));
	if (pick->subset)
		assert_true(index % 2 == 0);
	if (r->service.zones == ZONE_STRICT)
		assert_true(r->endpoints[index].is_near);
}

static void realm_change(struct realm *r)
{
	for (uint32_t i = 0; i < ALL_MAX; i++) {
		r->endpoints[i].health = rnd(r) % 3 ? ENDPOINT_UP : rnd(r) % 3;
		r->endpoints[i].weight = 1 + (uint32_t)(rnd(r) % 1000);
		r->endpoints[i].alternate = i > 1 && rnd(r) % 8 == 0;
	}
	r->service.balance = rnd(r) % 6;
	r->service.zones = rnd(r) % 3;
	r->service.outlier.ejected_percent = (uint32_t)(rnd(r) % 101);
	wheel_unref(r->wheel);
	realm_make_wheel(r, BALANCE_MAGLEV);
	realm_follow(r);
}

static void test_histories(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct load_call calls[CALLS] = {{0}};
		struct realm r;
		realm_init(&r, BALANCE_RANDOM, ZONE_PREFER, NEAR_MAX, FAR_MAX);
		realm_make_wheel(&r, BALANCE_MAGLEV);
		r.seed = seed;
		for (int step = 0; step < 3000; step++) {
			struct load_call *call = &calls[rnd(&r) % CALLS];
			r.now_ns += rnd(&r) % CLOCK_S;
			if (rnd(&r) % 100 == 0) {
				realm_change(&r);
			} else if (rnd(&r) % 2) {
				load_judge(call, rnd(&r) % 3 ? OUTLIER_ERROR : OUTLIER_SERVED,
					r.now_ns);
			} else {
				load_end(call);
				struct pick pick = {.subset = rnd(&r) % 2 ? &r.subset : NULL,
					.has_value = rnd(&r) % 2 &&
						     balance_is_by_value(r.service.balance),
					.value = rnd(&r)};
				/* the wheel is that of all */
				if (pick.has_value)
					pick.subset = NULL;
				uint32_t index = realm_pick_with(&r, pick);
				realm_check(&r, &pick, index);
				load_begin(call, r.crowd->loads[index], r.now_ns);
			}
			const struct load_set *all = crowd_set(r.crowd, 0, LOAD_ALL);
			const struct load_set *near = crowd_set(r.crowd, 0, LOAD_NEAR);
			const struct load_set *far = crowd_set(r.crowd, 0, LOAD_FAR);
			assert_int_equal(all->out_count, r.crowd->instances.out);
			assert_int_equal(near->out_count + far->out_count, all->out_count);
			assert_int_equal(near->out_weight + far->out_weight, all->out_weight);
			assert_int_equal(near->under_way + far->under_way, r.crowd->under_way);
		}
		for (size_t i = 0; i < CALLS; i++)
			load_end(&calls[i]);
		assert_int_equal(crowd_set(r.crowd, 1, LOAD_ALL)->under_way, 0);
		assert_int_equal(r.crowd->under_way, 0);
		realm_done(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_near_share),
		cmocka_unit_test(test_a_zone_that_is_well_keeps_its_calls),
		cmocka_unit_test(test_spill_over_by_health),
		cmocka_unit_test(test_spill_over_by_load),
		cmocka_unit_test(test_zones_of_a_subset),
		cmocka_unit_test(test_strict),
		cmocka_unit_test(test_panic),
		cmocka_unit_test(test_none_is_well),
		cmocka_unit_test(test_the_next_try_looks_at_the_load),
		cmocka_unit_test(test_the_last_one_that_is_well_is_tried_again),
		cmocka_unit_test(test_the_next_try_leaves_the_zone),
		cmocka_unit_test(test_values_stay_and_come_back),
		cmocka_unit_test(test_values_after_a_failure),
		cmocka_unit_test(test_values_when_few_are_well),
		cmocka_unit_test(test_values_in_a_panic),
		cmocka_unit_test(test_without_a_value_the_least_busy),
		cmocka_unit_test(test_values_in_one_zone),
		cmocka_unit_test(test_histories),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
