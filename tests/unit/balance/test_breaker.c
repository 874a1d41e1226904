/* SPDX-License-Identifier: Apache-2.0 */
/* Random histories against a plain count, and threads that meet. */
#include "balance/breaker.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t seed = 5;

static uint32_t number_below(uint32_t bound)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % bound;
}

/* Whoever comes is let in exactly while there is room, whatever the limits become meanwhile: those
 * who are in stay, and count. */
static void test_never_above_a_limit(void **state)
{
	uint32_t let_in = 0, refused = 0;
	for (int round = 0; round < 200; round++) {
		struct breaker b = {0};
		uint32_t max[BREAKER_LIMITS] = {0}, held[BREAKER_LIMITS] = {0};
		for (int i = 0; i < 500; i++) {
			enum breaker_limit limit = (enum breaker_limit)number_below(BREAKER_LIMITS);
			uint32_t what = number_below(100);
			if (what < 5) { /* a plan, with or without this limit */
				max[limit] = number_below(8);
			} else if (what < 45 && held[limit] > 0) {
				breaker_give(&b, limit);
				held[limit]--;
			} else if (breaker_take(&b, limit, max[limit])) {
				held[limit]++;
				assert_true(max[limit] == 0 || held[limit] <= max[limit]);
				let_in++;
			} else {
				assert_true(max[limit] > 0 && held[limit] >= max[limit]);
				refused++;
			}
			assert_int_equal(atomic_load(&b.used[limit]), held[limit]);
			bool is_unused = true;
			for (int l = 0; l < BREAKER_LIMITS; l++)
				is_unused = is_unused && held[l] == 0;
			assert_int_equal(breaker_is_unused(&b), is_unused);
		}
	}
	assert_true(let_in > 1000 && refused > 1000);
}

#define THREADS 4
#define MAX	3

struct race {
	struct breaker b;
	_Atomic int inside, most;
	_Atomic bool go;
};

static void *race(void *arg)
{
	struct race *r = arg;
	while (!atomic_load(&r->go))
		;
	for (int i = 0; i < 100000; i++) {
		if (!breaker_take(&r->b, BREAKER_REQUESTS, MAX))
			continue;
		int inside = atomic_fetch_add(&r->inside, 1) + 1, most = atomic_load(&r->most);
		while (inside > most && !atomic_compare_exchange_weak(&r->most, &most, inside))
			;
		atomic_fetch_sub(&r->inside, 1);
		breaker_give(&r->b, BREAKER_REQUESTS);
	}
	return NULL;
}

static void test_workers_together(void **state)
{
	struct race r = {0};
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race, &r), 0);
	atomic_store(&r.go, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_in_range(atomic_load(&r.most), 1, MAX);
	assert_true(breaker_is_unused(&r.b));
}

static void test_one_makes_room(void **state)
{
	struct breaker b = {0};
	assert_true(breaker_take(&b, BREAKER_CONNECTIONS, 1));
	assert_false(breaker_take(&b, BREAKER_CONNECTIONS, 1));
	assert_false(breaker_take_lack(&b));
	breaker_lack(&b);
	breaker_lack(&b);
	assert_true(breaker_is_short(&b));
	assert_true(breaker_take_lack(&b));
	assert_false(breaker_is_short(&b));
	assert_false(breaker_take_lack(&b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_above_a_limit),
		cmocka_unit_test(test_workers_together),
		cmocka_unit_test(test_one_makes_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
