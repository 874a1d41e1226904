/* SPDX-License-Identifier: Apache-2.0 */
/* Random histories in virtual time, from a generator whose seed is fixed. */
#include "balance/budget.h"

#include "base/clock.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define EVENTS 600

static uint64_t seed = 11;

static uint64_t number_below(uint64_t bound)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % bound;
}

struct event {
	uint64_t at_ns;
	bool is_retry; /* one that was granted */
};

/* What one budget is asked to keep. */
struct promise {
	uint32_t percent, per_second;
	uint64_t skew_ns; /* between the clocks of those who share it */
};

/* Among the retries from any one to any later one: never more than the promise. */
static void expect_kept(const struct promise *p, const struct event *events, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!events[i].is_retry)
			continue;
		uint64_t requests = 0, retries = 0, from_ns = events[i].at_ns;
		for (uint32_t j = 0; j < i; j++)
			requests += !events[j].is_retry &&
				    events[j].at_ns + 20 * CLOCK_S + p->skew_ns >= from_ns;
		for (uint32_t j = i; j < count; j++) {
			requests += !events[j].is_retry;
			retries += events[j].is_retry;
			/* in hundredths of a retry */
			uint64_t time_ns = events[j].at_ns + p->skew_ns - from_ns;
			uint64_t most = 100 * p->per_second +
					time_ns * p->per_second / (CLOCK_S / 100) +
					p->percent * requests;
			assert_true(100 * retries <= most);
		}
	}
}

static bool act(struct budget *b, const struct promise *p, bool wants_retry, uint64_t now_ns)
{
	if (wants_retry)
		return budget_retry(b, p->per_second, now_ns);
	budget_request(b, p->percent, now_ns);
	return true;
}

/* Several workers share it, whose clocks are a little apart. */
static void never_exceeded(const struct promise *p, uint64_t *granted, uint64_t *refused)
{
	static struct event events[EVENTS];
	struct budget b = {0};
	uint64_t time_ns = p->skew_ns + 1 + number_below(100 * CLOCK_S);
	uint64_t pause_ns = 1 + number_below(number_below(3) ? 50 * CLOCK_MS : 2 * CLOCK_S);
	uint64_t retry_percent = number_below(101);
	uint32_t count = 0;
	for (int i = 0; i < EVENTS; i++) {
		time_ns += number_below(pause_ns);
		if (number_below(400) == 0)
			time_ns += number_below(40 * CLOCK_S);
		uint64_t now_ns = time_ns - (p->skew_ns > 0 ? number_below(p->skew_ns) : 0);
		bool wants_retry = number_below(100) < retry_percent;
		bool is_granted = act(&b, p, wants_retry, now_ns);
		if (is_granted)
			events[count++] = (struct event){time_ns, wants_retry};
		*granted += wants_retry && is_granted;
		*refused += wants_retry && !is_granted;
	}
	expect_kept(p, events, count);
}

static void test_never_exceeded(void **state)
{
	static const uint32_t percents[] = {20, 0, 100, 7}, per_seconds[] = {3, 0, 10, 1000, 7};
	uint64_t granted = 0, refused = 0;
	for (int round = 0; round < 200; round++) {
		struct promise p = {
			percents[round % 4], per_seconds[round % 5], round % 2 ? 20 * CLOCK_MS : 0};
		never_exceeded(&p, &granted, &refused);
	}
	assert_true(granted > 1000 && refused > 1000);
}

#define THREADS 4

struct race {
	struct budget b;
	_Atomic uint32_t granted;
};

/* At one moment: what is there is there once. */
static void *race(void *arg)
{
	struct race *r = arg;
	for (int i = 0; i < 20000; i++) {
		if (i % 2)
			budget_request(&r->b, 20, CLOCK_S);
		else if (budget_retry(&r->b, 3, CLOCK_S))
			atomic_fetch_add(&r->granted, 1);
	}
	return NULL;
}

static void test_workers_together(void **state)
{
	struct race r = {0};
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race, &r), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	while (budget_retry(&r.b, 3, CLOCK_S))
		r.granted++;
	assert_int_equal(r.granted, 3 + THREADS * 10000 / 5);
}

static void test_nothing_to_be_had(void **state)
{
	struct budget b = {0};
	for (int i = 0; i < 1000; i++)
		budget_request(&b, 0, CLOCK_S);
	assert_false(budget_retry(&b, 0, CLOCK_S));
	assert_true(budget_retry(&b, 1, CLOCK_S));
	assert_false(budget_retry(&b, 1, CLOCK_S));
}

/* More than can be counted is not there. */
static void test_very_many(void **state)
{
	struct budget b = {0};
	uint32_t granted = 0;
	for (int i = 0; i < 200000; i++)
		budget_request(&b, 100, CLOCK_S);
	while (budget_retry(&b, 0, CLOCK_S))
		granted++;
	assert_int_equal(granted, ((1 << 22) - 1) / 100);
}

/* A fifth is really there to be had, and three a second without any requests. */
static void test_all_of_it_is_granted(void **state)
{
	struct budget b = {0};
	uint64_t now_ns = CLOCK_S, granted = 0;
	for (int i = 0; i < 10000; i++) {
		now_ns += CLOCK_MS;
		budget_request(&b, 20, now_ns);
		granted += budget_retry(&b, 3, now_ns);
	}
	assert_in_range(granted, 2030, 2033);
	b = (struct budget){0};
	granted = 0;
	for (int i = 0; i < 10000; i++) {
		now_ns += CLOCK_MS;
		granted += budget_retry(&b, 3, now_ns);
	}
	assert_in_range(granted, 32, 33);
}

static void test_what_was_earned_is_not_kept(void **state)
{
	struct budget b = {0};
	for (int i = 0; i < 1000; i++)
		budget_request(&b, 20, CLOCK_S + (unsigned)i);
	uint64_t later_ns = 22 * CLOCK_S;
	for (int i = 0; i < 3; i++)
		assert_true(budget_retry(&b, 3, later_ns));
	assert_false(budget_retry(&b, 3, later_ns));
	assert_false(budget_retry(&b, 3, later_ns + CLOCK_S / 3 - 1));
	assert_true(budget_retry(&b, 3, later_ns + CLOCK_S / 3 + 1));
}

/* Whenever a budget begins, or has been left alone for however long: nothing is kept. */
static void test_on_a_machine_that_has_been_up_for_long(void **state)
{
	const uint64_t day_ns = 86400 * CLOCK_S;
	for (uint64_t day = 1; day < 400; day++) {
		struct budget fresh = {0}, left_alone = {0};
		uint64_t now_ns = day * day_ns;
		budget_request(&left_alone, 100, CLOCK_S);
		assert_false(budget_retry(&left_alone, 0, now_ns));
		budget_request(&fresh, 100, now_ns);
		assert_false(budget_retry(&fresh, 0, now_ns + 20 * CLOCK_S));
		budget_request(&fresh, 100, now_ns);
		assert_true(budget_retry(&fresh, 0, now_ns + 10 * CLOCK_S));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_exceeded),
		cmocka_unit_test(test_workers_together),
		cmocka_unit_test(test_nothing_to_be_had),
		cmocka_unit_test(test_very_many),
		cmocka_unit_test(test_all_of_it_is_granted),
		cmocka_unit_test(test_what_was_earned_is_not_kept),
		cmocka_unit_test(test_on_a_machine_that_has_been_up_for_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
