/* SPDX-License-Identifier: Apache-2.0 */
/* Random histories in virtual time against a reference that keeps every token ever taken, and
 * several threads on one bucket. */
#include "balance/bucket.h"

#include "base/assert.h"
#include "base/clock.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define EVENTS 1500

static uint64_t seed = 7;

static uint64_t number_below(uint64_t bound)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 20) % bound;
}

static const struct {
	uint32_t amount;
	uint64_t window_ns;
	uint32_t burst;
} rates[] = {
	{1, CLOCK_S, 1},
	{10, CLOCK_S, 10},
	{3, CLOCK_S, 1},
	{7, 10 * CLOCK_MS, 50},
	{100, 60 * CLOCK_S, 20},
	{999983, CLOCK_S, 5},
	{1000000000, CLOCK_S, 1000},
	{1, 24 * 3600 * CLOCK_S, 7},
	{1000000000, 24 * 3600 * CLOCK_S, 1000000000},
};

/* A day's worth of tokens each may fill; beside what it takes for one. */
static uint64_t step_ns(const struct bucket_rate *r)
{
	uint64_t token_ns = r->cost / r->ticks + 1;
	switch (number_below(4)) {
	case 0:
		return 0;
	case 1:
		return number_below(token_ns);
	case 2:
		return number_below(3 * token_ns);
	default:
		return number_below(r->depth / r->ticks * 2 + 2);
	}
}

/* Tokens from any of them to any later one: burst and what comes in between. */
static void expect_bound(size_t row, const uint64_t *taken_ns, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t k = i; k < count; k++) {
			unsigned __int128 most = (unsigned __int128)(taken_ns[k] - taken_ns[i]) *
							 rates[row].amount / rates[row].window_ns +
						 rates[row].burst;
			if (k - i + 1 > most)
				fail_msg("rate %zu: %zu tokens from %zu on", row, k - i + 1, i);
		}
	}
}

/* The same in the plain way: a number of ticks in a bucket, filled with time. */
struct reference {
	uint64_t held, at_ns;
};

static bool reference_take(struct reference *ref, const struct bucket_rate *r, uint64_t now_ns)
{
	unsigned __int128 held = ref->held + (unsigned __int128)(now_ns - ref->at_ns) * r->ticks;
	ref->held = held > r->depth ? r->depth : (uint64_t)held;
	ref->at_ns = now_ns;
	if (ref->held < r->cost)
		return false;
	ref->held -= r->cost;
	return true;
}

static void run_history(size_t row)
{
	static uint64_t taken_ns[EVENTS];
	struct bucket_rate r =
		bucket_rate_of(rates[row].amount, rates[row].window_ns, rates[row].burst);
	struct bucket b = {0};
	uint64_t now_ns = number_below(1000 * CLOCK_S);
	struct reference ref = {r.depth, now_ns};
	size_t count = 0;
	for (size_t i = 0; i < EVENTS; i++) {
		struct bucket_taking taking;
		struct bucket_left before = bucket_look(&b, &r, now_ns), left;
		bool is_taken = bucket_take(&b, &r, now_ns, &taking, &left) == BUCKET_TAKEN;
		assert_int_equal(is_taken, reference_take(&ref, &r, now_ns));
		assert_int_equal(is_taken, before.remaining > 0);
		assert_int_equal(left.remaining, ref.held / r.cost);
		assert_int_equal(left.full_ns, (r.depth - ref.held + r.ticks - 1) / r.ticks);
		if (is_taken && number_below(8) == 0) {
			bucket_put_back(&b, &taking);
			ref.held += r.cost;
			ref.held = ref.held > r.depth ? r.depth : ref.held;
		} else if (is_taken) {
			taken_ns[count++] = now_ns;
		} else {
			/* there is one then, and none a moment before */
			assert_int_equal(bucket_look(&b, &r, now_ns + left.next_ns).remaining, 1);
			assert_int_equal(
				bucket_look(&b, &r, now_ns + left.next_ns - 1).remaining, 0);
		}
		now_ns += step_ns(&r);
	}
	expect_bound(row, taken_ns, count);
}

static void test_never_more_than_depth_and_pace(void **state)
{
	for (size_t row = 0; row < ARRAY_LEN(rates); row++) {
		for (int i = 0; i < 10; i++)
			run_history(row);
	}
}

/* The pace is that of the numbers, or less by next to nothing. */
static void test_the_pace(void **state)
{
	for (size_t row = 0; row < ARRAY_LEN(rates); row++) {
		struct bucket_rate r =
			bucket_rate_of(rates[row].amount, rates[row].window_ns, rates[row].burst);
		unsigned __int128 exact = (unsigned __int128)r.ticks * rates[row].window_ns;
		unsigned __int128 ours = (unsigned __int128)r.cost * rates[row].amount;
		assert_true(ours >= exact);
		assert_true(ours - exact < rates[row].amount);
		assert_int_equal(r.depth, r.cost * rates[row].burst);
	}
	struct bucket_rate r = bucket_rate_of(1000, CLOCK_S, 1);
	assert_int_equal(r.ticks, 1);
	assert_int_equal(r.cost, CLOCK_MS);
}

static void test_a_token_is_not_put_back_twice(void **state)
{
	struct bucket_rate r = bucket_rate_of(10, CLOCK_S, 10);
	struct bucket b = {0};
	struct bucket_taking first, second;
	struct bucket_left left;
	assert_int_equal(bucket_take(&b, &r, CLOCK_S, &first, &left), BUCKET_TAKEN);
	assert_int_equal(bucket_take(&b, &r, CLOCK_S, &second, &left), BUCKET_TAKEN);
	bucket_put_back(&b, &first); /* somebody has taken one since */
	assert_int_equal(bucket_look(&b, &r, CLOCK_S).remaining, 8);
	bucket_put_back(&b, &second);
	bucket_put_back(&b, &second);
	assert_int_equal(bucket_look(&b, &r, CLOCK_S).remaining, 9);
}

static void test_only_a_full_one_is_made_anothers(void **state)
{
	struct bucket_rate r = bucket_rate_of(10, CLOCK_S, 10);
	struct bucket b = {0};
	struct bucket_taking taking;
	struct bucket_left left;
	uint64_t now_ns = 5 * CLOCK_S;
	assert_int_equal(bucket_take(&b, &r, now_ns, &taking, &left), BUCKET_TAKEN);
	assert_false(bucket_shut(&b, &r, now_ns + 100 * CLOCK_MS));
	now_ns += 100 * CLOCK_MS + 1;
	assert_true(bucket_shut(&b, &r, now_ns));
	assert_false(bucket_shut(&b, &r, now_ns));
	assert_int_equal(bucket_take(&b, &r, now_ns, &taking, &left), BUCKET_SHUT);
	assert_int_equal(bucket_look(&b, &r, now_ns).remaining, 10);
	bucket_open(&b, &r, now_ns);
	for (int i = 0; i < 10; i++)
		assert_int_equal(bucket_take(&b, &r, now_ns, &taking, &left), BUCKET_TAKEN);
	assert_int_equal(bucket_take(&b, &r, now_ns, &taking, &left), BUCKET_EMPTY);
}

#define THREADS	 4
#define PER_EACH 40000
struct crowd {
	struct bucket bucket;
	struct bucket_rate rate;
	_Atomic uint64_t taken;
};

static void *crowd_run(void *of)
{
	struct crowd *c = of;
	struct bucket_taking taking;
	struct bucket_left left;
	for (int i = 0; i < PER_EACH; i++) {
		if (bucket_take(&c->bucket, &c->rate, CLOCK_S, &taking, &left) == BUCKET_TAKEN)
			c->taken++;
	}
	return NULL;
}

static void test_exact_over_threads(void **state)
{
	struct crowd c = {.rate = bucket_rate_of(100000, CLOCK_S, 100000)};
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, crowd_run, &c), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(c.taken, 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_more_than_depth_and_pace),
		cmocka_unit_test(test_the_pace),
		cmocka_unit_test(test_a_token_is_not_put_back_twice),
		cmocka_unit_test(test_only_a_full_one_is_made_anothers),
		cmocka_unit_test(test_exact_over_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
