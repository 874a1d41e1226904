/* SPDX-License-Identifier: Apache-2.0 */
/* Every percentile against the exact one, of values all over the range. */
#include "histogram.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define VALUE_COUNT 20011

static const uint32_t percents[] = {
	0, 1, 1000, 10000, 33333, 50000, 75000, 90000, 99000, 99900, 99990, 99999, 100000};

static uint64_t values[VALUE_COUNT];

/* As many of each power of two, from 1 ns to 1000 s. */
static void fill(uint64_t seed)
{
	uint64_t x = seed;
	for (size_t i = 0; i < VALUE_COUNT; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		unsigned bits = (unsigned)(x >> 33) % 40;
		values[i] = 1 + (x >> 20) % (1ull << bits);
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* The least value that is not exceeded by so many of all: the definition, on sorted values. */
static uint64_t exact(uint32_t of_100000)
{
	size_t rank = 1;
	while (rank < VALUE_COUNT && rank * 100000ull < (uint64_t)VALUE_COUNT * of_100000)
		rank++;
	return values[rank - 1];
}

static struct histogram *histogram_new(void)
{
	struct histogram *h = malloc(sizeof(*h));
	assert_non_null(h);
	histogram_reset(h);
	return h;
}

static void assert_percentiles(const struct histogram *h)
{
	for (size_t i = 0; i < ARRAY_LEN(percents); i++) {
		uint64_t truth = exact(percents[i]), found = histogram_percentile(h, percents[i]);
		assert_true(found >= truth);
		assert_true(found - truth <= truth / 1024);
	}
	assert_int_equal(histogram_percentile(h, 100000), values[VALUE_COUNT - 1]);
}

static void test_percentiles_have_three_digits(void **state)
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct histogram *h = histogram_new();
		double sum = 0;
		fill(seed);
		for (size_t i = 0; i < VALUE_COUNT; i++) {
			histogram_record(h, values[i]);
			sum += (double)values[i];
		}
		qsort(values, VALUE_COUNT, sizeof(values[0]), compare);
		assert_percentiles(h);
		assert_int_equal(h->count, VALUE_COUNT);
		assert_true(histogram_mean_ns(h) / (sum / VALUE_COUNT) > 0.999999);
		assert_true(histogram_mean_ns(h) / (sum / VALUE_COUNT) < 1.000001);
		free(h);
	}
}

static void test_merged_is_as_if_recorded_in_one(void **state)
{
	struct histogram *one = histogram_new(), *other = histogram_new();
	fill(7);
	for (size_t i = 0; i < VALUE_COUNT; i++)
		histogram_record(i % 3 ? one : other, values[i]);
	histogram_merge(one, other);
	qsort(values, VALUE_COUNT, sizeof(values[0]), compare);
	assert_percentiles(one);
	assert_int_equal(one->count, VALUE_COUNT);
	free(one);
	free(other);
}

/* Each value alone, so that a wrong slot anywhere shows. */
static void test_edges(void **state)
{
	static const uint64_t edges[] = {0, 1, 2, 1023, 1024, 2047, 2048, 2049, 4095, 4096, 4097,
		999999, 1000000, (1ull << 40) - 1, 1ull << 40, 1ull << 60};
	struct histogram *h = histogram_new();
	for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
		histogram_reset(h);
		histogram_record(h, edges[i]);
		assert_int_equal(histogram_percentile(h, 50000), edges[i]);
	}
	for (unsigned bit = 1; bit < 40; bit++) {
		histogram_reset(h);
		histogram_record(h, (1ull << bit) - 1);
		histogram_record(h, 1ull << bit);
		histogram_record(h, 1ull << 50);
		assert_int_equal(histogram_percentile(h, 10000), (1ull << bit) - 1);
		assert_true(histogram_percentile(h, 50000) >= 1ull << bit);
		assert_true(histogram_percentile(h, 50000) <= (1ull << bit) + (1ull << bit) / 1024);
	}
	free(h);
}

/* 999 of 1000 are exactly 99.9 %: no rounding may ask for the last one, too. */
static void test_a_percentile_is_not_rounded_up(void **state)
{
	struct histogram *h = histogram_new();
	for (int i = 0; i < 999; i++)
		histogram_record(h, 1000);
	histogram_record(h, 1000000);
	assert_int_equal(histogram_percentile(h, 99900), 1000);
	assert_int_equal(histogram_percentile(h, 99901), 1000000);
	free(h);
}

static void test_empty(void **state)
{
	struct histogram *h = histogram_new();
	assert_int_equal(histogram_percentile(h, 50000), 0);
	assert_int_equal(histogram_percentile(h, 100000), 0);
	assert_true(histogram_mean_ns(h) == 0);
	free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percentiles_have_three_digits),
		cmocka_unit_test(test_merged_is_as_if_recorded_in_one),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_a_percentile_is_not_rounded_up),
		cmocka_unit_test(test_empty),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
