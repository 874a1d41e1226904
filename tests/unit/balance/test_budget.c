/* SPDX-License-Identifier: Apache-2.0 */
/* Random histories in virtual time, from a generator whose seed is fixed. */
#include "balance/budget.h"

#include "base/clock.h"
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

/* Among the retries from any one to any later one: never more than the promise. */
static void expect_kept(const struct event *events, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!events[i].is_retry)
			continue;
		uint64_t requests = 0, retries = 0, from_ns = events[i].at_ns;
		for (uint32_t j = 0; j < i; j++)
			requests +=
				!events[j].is_retry && events[j].at_ns + 20 * CLOCK_S >= from_ns;
		for (uint32_t j = i; j < count; j++) {
			requests += !events[j].is_retry;
			retries += events[j].is_retry;
			/* in hundredths of a retry */
			uint64_t time_ns = events[j].at_ns - from_ns;
			uint64_t most = 300 + time_ns / (CLOCK_S / 300) + 20 * requests;
			assert_true(100 * retries <= most);
		}
	}
}

static void test_never_exceeded(void **state)
{
	uint64_t granted = 0, refused = 0;
	for (int round = 0; round < 120; round++) {
		static struct event events[EVENTS];
		struct budget b = {0};
		uint64_t now_ns = 1 + number_below(100 * CLOCK_S);
		uint64_t pause_ns = 1 + number_below(round % 3 ? 50 * CLOCK_MS : 2 * CLOCK_S);
		uint64_t retry_percent = number_below(101);
		uint32_t count = 0;
		for (int i = 0; i < EVENTS; i++) {
			now_ns += number_below(pause_ns);
			if (number_below(400) == 0)
				now_ns += number_below(40 * CLOCK_S);
			if (number_below(100) >= retry_percent) {
				budget_request(&b, now_ns);
				events[count++] = (struct event){now_ns, false};
			} else if (budget_retry(&b, now_ns)) {
				events[count++] = (struct event){now_ns, true};
				granted++;
			} else {
				refused++;
			}
		}
		expect_kept(events, count);
	}
	assert_true(granted > 1000 && refused > 1000);
}

/* A fifth is really there to be had, and three a second without any requests. */
static void test_all_of_it_is_granted(void **state)
{
	struct budget b = {0};
	uint64_t now_ns = CLOCK_S, granted = 0;
	for (int i = 0; i < 10000; i++) {
		now_ns += CLOCK_MS;
		budget_request(&b, now_ns);
		granted += budget_retry(&b, now_ns);
	}
	assert_in_range(granted, 2030, 2033);
	b = (struct budget){0};
	granted = 0;
	for (int i = 0; i < 10000; i++) {
		now_ns += CLOCK_MS;
		granted += budget_retry(&b, now_ns);
	}
	assert_in_range(granted, 32, 33);
}

static void test_what_was_earned_is_not_kept(void **state)
{
	struct budget b = {0};
	for (int i = 0; i < 1000; i++)
		budget_request(&b, CLOCK_S + (unsigned)i);
	uint64_t later_ns = 22 * CLOCK_S;
	for (int i = 0; i < 3; i++)
		assert_true(budget_retry(&b, later_ns));
	assert_false(budget_retry(&b, later_ns));
	assert_false(budget_retry(&b, later_ns + CLOCK_S / 3 - 1));
	assert_true(budget_retry(&b, later_ns + CLOCK_S / 3 + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_exceeded),
		cmocka_unit_test(test_all_of_it_is_granted),
		cmocka_unit_test(test_what_was_earned_is_not_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
