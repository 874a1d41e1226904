/* SPDX-License-Identifier: Apache-2.0 */
/* Histories with a clock of their own. */
#include "balance/outlier.h"

#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define START_NS (1000 * CLOCK_S)

static const struct outlier_rules usual = {.errors = 5,
	.connect_errors = 3,
	.success_calls = 100,
	.ejection_ms = 30000,
	.ejection_max_ms = 100000,
	.ejected_percent = 50};

static uint64_t rnd(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (*seed ^ *seed >> 32) * 0xd6e8feb86659fd93ull >> 16;
}

static enum outlier_change judge(struct outlier *o, struct outlier_crowd *crowd,
	enum outlier_verdict verdict, uint64_t now_ns)
{
	return outlier_judge(o, &usual, crowd, false, verdict, now_ns);
}

static void test_outlier_errors_in_a_row(void **state)
{
	struct outlier o = {0};
	struct outlier_crowd crowd = {.count = 4};
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 4; i++)
			assert_int_equal(judge(&o, &crowd, OUTLIER_ERROR, START_NS), 0);
		assert_int_equal(judge(&o, &crowd, OUTLIER_SERVED, START_NS), 0);
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(judge(&o, &crowd, OUTLIER_ERROR, START_NS), 0);
	assert_int_equal(judge(&o, &crowd, OUTLIER_ERROR, START_NS), OUTLIER_EJECTED);
	assert_int_equal(crowd.out, 1);
	assert_false(outlier_takes(&o, START_NS + 30 * CLOCK_S - 1));
	assert_true(outlier_takes(&o, START_NS + 30 * CLOCK_S));
}

/* Each kind has its own count: 4 errors and 2 connects are neither. */
static void test_outlier_local_errors_apart(void **state)
{
	struct outlier o = {0};
	struct outlier_crowd crowd = {.count = 4};
	for (int i = 0; i < 4; i++)
		assert_int_equal(judge(&o, &crowd, OUTLIER_ERROR, START_NS), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(judge(&o, &crowd, OUTLIER_UNREACHABLE, START_NS), 0);
	assert_int_equal(judge(&o, &crowd, OUTLIER_UNREACHABLE, START_NS), OUTLIER_EJECTED);
}

static void test_outlier_success_share(void **state)
{
	struct outlier_rules rules = usual;
	struct outlier_crowd crowd = {.count = 4};
	rules.errors = 0;
	rules.success_percent = 80;
	struct outlier o = {0};
	/* exactly 80 % is enough: served four times of five */
	for (int i = 0; i < 1000; i++)
		assert_int_equal(outlier_judge(&o, &rules, &crowd, false,
					 i % 5 == 4 ? OUTLIER_ERROR : OUTLIER_SERVED,
					 START_NS + (unsigned)i * CLOCK_S / 20),
			OUTLIER_STAYS);
	/* 99 calls that all fail are too few to judge by, the hundredth is not */
	uint64_t later_ns = START_NS + 1000 * CLOCK_S;
	for (int i = 0; i < 99; i++)
		assert_int_equal(
			outlier_judge(&o, &rules, &crowd, false, OUTLIER_ERROR, later_ns), 0);
	/* and so are 99 of now and as many of ten seconds ago */
	for (int i = 0; i < 99; i++)
		assert_int_equal(outlier_judge(&o, &rules, &crowd, false, OUTLIER_ERROR,
					 later_ns + 10 * CLOCK_S),
			0);
	assert_int_equal(
		outlier_judge(&o, &rules, &crowd, false, OUTLIER_ERROR, later_ns + 10 * CLOCK_S),
		OUTLIER_EJECTED);
}

static void test_outlier_grows_and_is_forgiven(void **state)
{
	static const uint64_t seconds[] = {30, 60, 90, 100, 100};
	struct outlier o = {0};
	struct outlier_crowd crowd = {.count = 4};
	uint64_t now_ns = START_NS;
	for (int i = 0; i < 5; i++)
		judge(&o, &crowd, OUTLIER_ERROR, now_ns);
	for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
		assert_int_equal(o.until_ns - now_ns, seconds[i] * CLOCK_S);
		now_ns = o.until_ns;
		assert_true(outlier_begin(&o, &usual, now_ns));
		assert_int_equal(outlier_judge(&o, &usual, &crowd, true, OUTLIER_ERROR, now_ns),
			OUTLIER_EJECTED);
		assert_int_equal(crowd.out, 1);
	}
	now_ns = o.until_ns;
	assert_true(outlier_begin(&o, &usual, now_ns));
	assert_int_equal(
		outlier_judge(&o, &usual, &crowd, true, OUTLIER_SERVED, now_ns), OUTLIER_BACK);
	assert_int_equal(crowd.out, 0);
	/* two good spells later it is worth one time less than three */
	now_ns += 60 * CLOCK_S;
	for (int i = 0; i < 5; i++)
		judge(&o, &crowd, OUTLIER_ERROR, now_ns);
	assert_int_equal(o.until_ns - now_ns, 60 * CLOCK_S);
}

/* One at a time; and who was under way before tells nothing. */
static void test_outlier_one_probe(void **state)
{
	struct outlier o = {0};
	struct outlier_crowd crowd = {.count = 4};
	for (int i = 0; i < 5; i++)
		judge(&o, &crowd, OUTLIER_ERROR, START_NS);
	assert_false(outlier_begin(&o, &usual, START_NS));
	assert_int_equal(judge(&o, &crowd, OUTLIER_SERVED, START_NS), OUTLIER_STAYS);
	uint64_t over_ns = o.until_ns;
	assert_true(outlier_begin(&o, &usual, over_ns));
	assert_false(outlier_takes(&o, over_ns));
	assert_false(outlier_begin(&o, &usual, over_ns));
	assert_int_equal(judge(&o, &crowd, OUTLIER_SERVED, over_ns), OUTLIER_STAYS);
	outlier_abandon(&o, o.probe_number);
	assert_true(outlier_takes(&o, over_ns));
	assert_true(outlier_begin(&o, &usual, over_ns));
}

/* It may be one that never ends: the next one comes when a first ejection would be over, and it is
 * that one then that may be abandoned. */
static void test_outlier_probe_without_an_outcome(void **state)
{
	struct outlier o = {0};
	struct outlier_crowd crowd = {.count = 4};
	for (int i = 0; i < 5; i++)
		judge(&o, &crowd, OUTLIER_ERROR, START_NS);
	uint64_t over_ns = o.until_ns, again_ns = over_ns + 30 * CLOCK_S;
	uint32_t first = outlier_begin(&o, &usual, over_ns);
	assert_true(first != 0);
	assert_false(outlier_takes(&o, again_ns - 1));
	assert_true(outlier_takes(&o, again_ns));
	uint32_t second = outlier_begin(&o, &usual, again_ns);
	assert_true(second != 0 && second != first);
	outlier_abandon(&o, first);
	assert_false(outlier_takes(&o, again_ns));
	assert_int_equal(outlier_begin(&o, &usual, again_ns), 0);
	/* what the first one tells at last counts all the same */
	assert_int_equal(
		outlier_judge(&o, &usual, &crowd, true, OUTLIER_SERVED, again_ns), OUTLIER_BACK);
	assert_int_equal(crowd.out, 0);
	outlier_abandon(&o, second);
	assert_true(outlier_takes(&o, again_ns));
}

static void test_outlier_max(void **state)
{
	struct outlier_rules rules = usual;
	assert_int_equal(outlier_out_max(&rules, 0), 0);
	assert_int_equal(outlier_out_max(&rules, 1), 0);
	assert_int_equal(outlier_out_max(&rules, 2), 1);
	assert_int_equal(outlier_out_max(&rules, 5), 2);
	rules.ejected_percent = 10;
	assert_int_equal(outlier_out_max(&rules, 3), 1);
	assert_int_equal(outlier_out_max(&rules, 30), 3);
	rules.ejected_percent = 100;
	assert_int_equal(outlier_out_max(&rules, 4), 3);
	rules.ejected_percent = 0;
	assert_int_equal(outlier_out_max(&rules, 4), 0);
}

#define CROWD 7

/* Whatever happens: the count is right, the share is kept, one probe each, and nobody stays out
 * longer than the longest ejection without being offered. */
static void outlier_history(uint64_t seed)
{
	struct outlier all[CROWD] = {{0}};
	bool probed[CROWD] = {false};
	uint64_t probed_ns[CROWD] = {0};
	struct outlier_crowd crowd = {.count = CROWD};
	struct outlier_rules rules = usual;
	uint64_t now_ns = START_NS;
	rules.ejected_percent = (uint32_t)(rnd(&seed) % 101);
	rules.success_percent = seed & 1 ? 70 : 0;
	rules.success_calls = 10;
	for (int step = 0; step < 2000; step++) {
		size_t i = rnd(&seed) % CROWD;
		struct outlier *o = &all[i];
		now_ns += rnd(&seed) % (3 * CLOCK_S);
		enum outlier_verdict verdict = rnd(&seed) % 4;
		if (rnd(&seed) % 8 < i) /* some are worse than others */
			verdict = OUTLIER_ERROR;
		if (outlier_begin(o, &rules, now_ns)) {
			assert_true(!probed[i] || now_ns - probed_ns[i] >= 30 * CLOCK_S);
			probed[i] = true;
			probed_ns[i] = now_ns;
		} else if (probed[i] && rnd(&seed) % 2) {
			if (rnd(&seed) % 3)
				assert_true(outlier_judge(o, &rules, &crowd, true, verdict,
						    now_ns) != OUTLIER_STAYS);
			else
				outlier_abandon(o, o->probe_number);
			probed[i] = false;
		} else {
			outlier_judge(o, &rules, &crowd, false, verdict, now_ns);
		}
		uint32_t out = 0;
		for (size_t k = 0; k < CROWD; k++) {
			out += all[k].state != OUTLIER_IN;
			assert_int_equal(all[k].state == OUTLIER_PROBED, probed[k]);
			assert_true(
				probed[k] ||
				outlier_takes(&all[k], now_ns + rules.ejection_max_ms * CLOCK_MS));
		}
		assert_int_equal(out, crowd.out);
		assert_true(out <= outlier_out_max(&rules, CROWD));
		assert_true(out < CROWD);
	}
}

static void test_outlier_histories(void **state)
{
	for (uint64_t seed = 1; seed <= 200; seed++)
		outlier_history(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outlier_errors_in_a_row),
		cmocka_unit_test(test_outlier_local_errors_apart),
		cmocka_unit_test(test_outlier_success_share),
		cmocka_unit_test(test_outlier_grows_and_is_forgiven),
		cmocka_unit_test(test_outlier_one_probe),
		cmocka_unit_test(test_outlier_probe_without_an_outcome),
		cmocka_unit_test(test_outlier_max),
		cmocka_unit_test(test_outlier_histories),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
