/* SPDX-License-Identifier: Apache-2.0 */
/* Draws with all numbers of a grid, or of a generator whose seed is fixed: what comes out is always
 * the same. */
#include "balance/pick.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define ENDPOINTS 4
#define DRAWS	  64000

struct picks {
	struct endpoint endpoints[ENDPOINTS];
	uint64_t sums[ENDPOINTS];
	bool with_sums;
	struct service service;
	uint32_t counts[ENDPOINTS];
};

/* A letter each: (u)p, (d)own, (o)ut of service; in capitals another address of an instance. */
static struct picks picks_of(const char *healths, const uint32_t *weights)
{
	struct picks p = {.service = {.endpoint_count = (uint32_t)strlen(healths)}};
	for (uint32_t i = 0; i < p.service.endpoint_count; i++) {
		p.endpoints[i].weight = weights ? weights[i] : 100;
		char health = healths[i] | 0x20;
		p.endpoints[i].alternate = health != healths[i];
		p.endpoints[i].health = health == 'u'	? ENDPOINT_UP
					: health == 'd' ? ENDPOINT_DOWN
							: ENDPOINT_DRAINED;
	}
	return p;
}

static const struct endpoint *picks_draw(struct picks *p, uint32_t tried_mask, uint64_t random)
{
	const struct endpoint *tried[ENDPOINTS];
	uint32_t tried_count = 0;
	p->service.endpoints = p->endpoints;
	p->service.up_sums = p->with_sums ? p->sums : NULL;
	for (uint32_t i = 0; i < p->service.endpoint_count; i++)
		p->sums[i] = (i ? p->sums[i - 1] : 0) +
			     (p->endpoints[i].health == ENDPOINT_UP && !p->endpoints[i].alternate
					     ? p->endpoints[i].weight
					     : 0);
	for (uint32_t i = 0; i < ENDPOINTS; i++) {
		if (tried_mask & 1u << i)
			tried[tried_count++] = &p->endpoints[i];
	}
	struct pick pick = {.service = &p->service,
		.tried = tried,
		.tried_count = tried_count,
		.random = random};
	enum pick_way way;
	const struct endpoint *e = pick_endpoint(&pick, &way);
	/* by way of a subset that has all of them it is the same */
	struct endpoint *some[ENDPOINTS];
	for (uint32_t i = 0; i < ENDPOINTS; i++)
		some[i] = &p->endpoints[i];
	struct subset subset = {.endpoints = some,
		.endpoint_count = p->service.endpoint_count,
		.up_sums = p->with_sums ? p->sums : NULL};
	pick.subset = &subset;
	assert_ptr_equal(pick_endpoint(&pick, &way), e);
	return e;
}

/* As many draws, evenly over all numbers. */
static void picks_count(struct picks *p, uint32_t tried_mask)
{
	for (uint64_t i = 0; i < DRAWS; i++) {
		const struct endpoint *e = picks_draw(
			p, tried_mask, i * (UINT64_MAX / DRAWS) + UINT64_MAX / DRAWS / 2);
		assert_non_null(e);
		p->counts[e - p->endpoints]++;
	}
}

static void test_pick_by_weight(void **state)
{
	static const uint32_t weights[] = {100, 300, 1, 1000};
	struct picks p = picks_of("uuuu", weights);
	picks_count(&p, 0);
	for (uint32_t i = 0; i < ENDPOINTS; i++) {
		double share = (double)weights[i] / 1401, got = (double)p.counts[i] / DRAWS;
		assert_true(got > share - 0.0001 && got < share + 0.0001);
	}
}

/* A real generator's numbers, too, and neighbours in them have nothing to do with each other. */
static void test_pick_by_random_numbers(void **state)
{
	struct picks p = picks_of("uuuu", NULL);
	uint64_t seed = 7, same = 0;
	const struct endpoint *before = NULL;
	for (int i = 0; i < DRAWS; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		uint64_t random = (seed ^ seed >> 32) * 0xd6e8feb86659fd93ull;
		const struct endpoint *e = picks_draw(&p, 0, random);
		p.counts[e - p.endpoints]++;
		same += e == before;
		before = e;
	}
	for (uint32_t i = 0; i < ENDPOINTS; i++)
		assert_in_range(p.counts[i], DRAWS / 4 - 600, DRAWS / 4 + 600);
	assert_in_range(same, DRAWS / 4 - 600, DRAWS / 4 + 600);
}

/* Which of them get calls at all: bits of the endpoints. */
static void test_pick_rules(void **state)
{
	static const struct {
		const char *healths;
		uint32_t tried, expected;
	} rows[] = {
		{"u", 0, 1},
		{"udo", 0, 1},
		{"uudo", 0, 3},
		/* the checks may be what is broken */
		{"ddo", 0, 3},
		{"oo", 0, 3},
		/* what was tried comes last of those that are alike */
		{"uud", 1, 2},
		{"udd", 1, 1},
		{"udo", 3, 1},
		{"uudo", 15, 3},
		{"ddoo", 1, 2},
		{"ddoo", 3, 3},
		{"oo", 1, 2},
		{"o", 1, 1},
		/* other addresses after instances that are alike */
		{"uUu", 0, 5},
		{"uUd", 1, 2},
		{"Ud", 0, 1},
		{"uUdD", 5, 2},
		{"dDdo", 5, 2},
		{"uU", 3, 3},
		{"UU", 0, 3},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct picks p = picks_of(rows[i].healths, NULL);
		uint32_t got = 0;
		picks_count(&p, rows[i].tried);
		for (uint32_t e = 0; e < ENDPOINTS; e++)
			got |= p.counts[e] > 0 ? 1u << e : 0;
		if (got != rows[i].expected)
			fail_msg("%s, tried %u: %u", rows[i].healths, rows[i].tried, got);
	}
}

/* With the sums of a snapshot the same numbers give the same endpoints; after a failure others,
 * that are as good. */
static void test_pick_by_sums(void **state)
{
	static const uint32_t weights[] = {100, 300, 1, 1000};
	static const char *const healths[] = {
		"u", "uuuu", "udud", "duou", "uUDu", "UUdu", "ddou", "dddd", "oo"};
	for (size_t h = 0; h < ARRAY_LEN(healths); h++) {
		struct picks p = picks_of(healths[h], weights);
		for (uint64_t i = 0; i < 4000; i++) {
			uint64_t random = i == 3999 ? UINT64_MAX : i * (UINT64_MAX / 4000);
			uint32_t tried = i % 3 == 2 ? 1 : 0;
			p.with_sums = false;
			const struct endpoint *e = picks_draw(&p, tried, random);
			p.with_sums = true;
			assert_non_null(e);
			const struct endpoint *again = picks_draw(&p, tried, random);
			assert_true(tried ? again->health == e->health &&
						    again->alternate == e->alternate &&
						    (again == p.endpoints) == (e == p.endpoints)
					  : again == e);
		}
	}
}

/* Of a part of the endpoints nothing else is picked, whatever has become of that part. */
static void test_pick_of_a_subset(void **state)
{
	struct picks p = picks_of("uudo", NULL);
	for (uint32_t mask = 0; mask < 1u << ENDPOINTS; mask++) {
		struct endpoint *some[ENDPOINTS];
		struct subset subset = {.endpoints = some};
		for (uint32_t i = 0; i < ENDPOINTS; i++) {
			if (mask & 1u << i)
				some[subset.endpoint_count++] = &p.endpoints[i];
		}
		for (uint64_t i = 0; i < 1000; i++) {
			struct pick pick = {.service = &p.service,
				.subset = &subset,
				.random = i * (UINT64_MAX / 1000)};
			enum pick_way way;
			const struct endpoint *e = pick_endpoint(&pick, &way);
			assert_true(e ? mask & 1u << (e - p.endpoints) : mask == 0);
			assert_false(e && (mask & 3) && e->health != ENDPOINT_UP);
		}
	}
}

static void test_pick_bounds(void **state)
{
	struct picks none = picks_of("", NULL), p = picks_of("uu", NULL);
	assert_null(picks_draw(&none, 0, 0));
	assert_null(picks_draw(&none, 0, UINT64_MAX));
	assert_ptr_equal(picks_draw(&p, 0, 0), &p.endpoints[0]);
	assert_ptr_equal(picks_draw(&p, 0, UINT64_MAX), &p.endpoints[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pick_by_weight),
		cmocka_unit_test(test_pick_by_random_numbers),
		cmocka_unit_test(test_pick_rules),
		cmocka_unit_test(test_pick_by_sums),
		cmocka_unit_test(test_pick_of_a_subset),
		cmocka_unit_test(test_pick_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
