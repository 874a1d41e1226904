/* SPDX-License-Identifier: Apache-2.0 */
/* Exact counts over random weights, from a generator whose seed is fixed. */
#include "balance/split.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t seed;

static uint32_t number_below(uint32_t bound)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % bound;
}

static uint32_t gcd_of(const struct route_leg *legs, uint32_t count)
{
	uint32_t common = ROUTE_WEIGHT_MAX;
	for (bool divides = false; !divides && common > 1; common -= divides ? 0 : 1) {
		divides = true;
		for (uint32_t i = 0; i < count; i++)
			divides = divides && legs[i].weight % common == 0;
	}
	return common;
}

/* Calls in a row, from anywhere on, as many as the weights' sum: exactly the weights. Windows that
 * begin at each call are compared, so one round and what falls out of it are enough. */
static void expect_exact(const struct route_leg *legs, uint32_t count, uint64_t start)
{
	uint32_t sum = 0, common = gcd_of(legs, count), got[ROUTE_LEGS_MAX] = {0};
	for (uint32_t i = 0; i < count; i++)
		sum += legs[i].weight / common;
	uint32_t *order = calloc(2u * sum, sizeof(*order));
	struct split s;
	split_init(&s, start);
	for (uint32_t n = 0; n < 2 * sum; n++) {
		order[n] = split_next(&s, legs, count);
		assert_true(order[n] < count && legs[order[n]].weight > 0);
		got[order[n]]++;
		if (n >= sum)
			got[order[n - sum]]--;
		for (uint32_t i = 0; n + 1 >= sum && i < count; i++)
			assert_int_equal(got[i], legs[i].weight / common);
	}
	free(order);
}

static void test_exact_over_any_round(void **state)
{
	for (int round = 0; round < 400; round++) {
		struct route_leg legs[ROUTE_LEGS_MAX] = {0};
		uint32_t count = 1 + number_below(ROUTE_LEGS_MAX), sum = 0;
		uint32_t bound = round % 4 == 0 ? ROUTE_WEIGHT_MAX + 1 : 2 + number_below(30);
		for (uint32_t i = 0; i < count; i++)
			sum += legs[i].weight = number_below(bound);
		if (sum == 0)
			legs[0].weight = 1;
		expect_exact(legs, count, ((uint64_t)number_below(UINT32_MAX) << 32) + 7);
	}
	/* over the end of the counter nothing is promised but an answer */
	struct split s = {.count = UINT64_MAX};
	struct route_leg legs[2] = {{.weight = 3}, {.weight = 4}};
	for (int i = 0; i < 4; i++)
		assert_true(split_next(&s, legs, 2) < 2);
}

/* Whole percents: any 1,000 calls have exactly ten times as many. */
static void test_exact_over_any_thousand(void **state)
{
	for (uint32_t percent = 0; percent <= 100; percent++) {
		struct route_leg legs[2] = {{.weight = 100 - percent}, {.weight = percent}};
		uint8_t order[3000];
		uint32_t got = 0;
		struct split s;
		split_init(&s, number_below(UINT32_MAX));
		for (uint32_t n = 0; n < 3000; n++) {
			order[n] = (uint8_t)split_next(&s, legs, 2);
			got += order[n];
			if (n >= 1000)
				got -= order[n - 1000];
			if (n >= 999)
				assert_int_equal(got, 10 * percent);
		}
	}
}

/* A leg of ten percent gets no two calls in a row, and is never left out for long. */
static void test_spread_evenly(void **state)
{
	for (uint32_t percent = 1; percent <= 50; percent++) {
		struct route_leg legs[2] = {{.weight = 100 - percent}, {.weight = percent}};
		struct split s;
		split_init(&s, 0);
		for (uint32_t n = 1, got = 0; n <= 1000; n++) {
			got += split_next(&s, legs, 2);
			int off = (int)(100 * got) - (int)(n * percent);
			assert_in_range(off + 1000, 1000 - 250, 1000 + 250);
		}
	}
}

/* A change of the weights counts from the next call on, wherever it falls. */
static void test_other_weights(void **state)
{
	struct split s;
	split_init(&s, 12345);
	for (uint32_t step = 0; step <= 10; step++) {
		struct route_leg legs[2] = {{.weight = 100 - 10 * step}, {.weight = 10 * step}};
		uint32_t got = 0;
		for (uint32_t n = 0; n < 100; n++)
			got += split_next(&s, legs, 2);
		assert_int_equal(got, 10 * step);
	}
}

/* Each value has its leg; shares are as the weights; as the second leg grows, nobody leaves it. */
static void test_sticky(void **state)
{
	enum { VALUES = 20000 };
	static uint8_t before[VALUES];
	for (uint32_t step = 0; step <= 20; step++) {
		struct route_leg legs[2] = {{.weight = 100 - 5 * step}, {.weight = 5 * step}};
		uint32_t got = 0;
		for (uint32_t i = 0; i < VALUES; i++) {
			struct str value = {(const char *)&i, sizeof(i)};
			uint32_t leg = split_sticky(value, legs, 2);
			assert_int_equal(split_sticky(value, legs, 2), leg);
			assert_true(leg >= before[i]);
			before[i] = (uint8_t)leg;
			got += leg;
		}
		uint32_t share = VALUES * step / 20;
		assert_in_range(got + 300, share, share + 600);
	}
	struct route_leg none[1] = {{.weight = 0}};
	assert_int_equal(split_sticky(STR("x"), none, 1), 1);
	assert_int_equal(split_sticky(STR(""), &(struct route_leg){.weight = 1}, 1), 0);
}

static void test_nothing_to_choose(void **state)
{
	struct split s;
	struct route_leg legs[2] = {{.weight = 0}, {.weight = 0}};
	split_init(&s, 1);
	assert_int_equal(split_next(&s, legs, 2), 2);
	assert_int_equal(split_next(&s, NULL, 0), 0);
	legs[1].weight = 7;
	for (int i = 0; i < 10; i++)
		assert_int_equal(split_next(&s, legs, 2), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact_over_any_round),
		cmocka_unit_test(test_exact_over_any_thousand),
		cmocka_unit_test(test_spread_evenly),
		cmocka_unit_test(test_other_weights),
		cmocka_unit_test(test_sticky),
		cmocka_unit_test(test_nothing_to_choose),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
