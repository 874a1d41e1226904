/* SPDX-License-Identifier: Apache-2.0 */
/* What figures say of a version, and how often that is wrong. */
#include "rollout/judge.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t bounds_ns[ROLLOUT_LATENCIES];

static const struct rollout_rule rule = {.service = {"orders", 6},
	.from = {"v1", 2},
	.to = {"v2", 2},
	.attempt = 1,
	.steps = {1, 50, 100},
	.step_count = 3,
	.every_ms = 60000,
	.success_tenths = 995,
	.p99_ms = 300,
	.calls_min = 50};

static int setup(void **state)
{
	double bound = 100000;
	for (uint32_t i = 0; i < ROLLOUT_LATENCIES; i++, bound *= 1.2)
		bounds_ns[i] = (uint64_t)bound;
	return 0;
}

static uint32_t bucket_of(uint64_t ns)
{
	uint32_t i = 0;
	while (i < ROLLOUT_LATENCIES - 1 && bounds_ns[i] < ns)
		i++;
	return i;
}

/* `slow` of the calls took 2 s, the others 2 ms. */
static struct rollout_sums sums(uint64_t calls, uint64_t failed, uint64_t slow)
{
	struct rollout_sums s = {.calls = calls, .failed = failed};
	s.latencies[bucket_of(2000000)] = calls - slow;
	s.latencies[bucket_of(2000000000)] = slow;
	return s;
}

static enum judge_verdict judge(uint32_t percent, struct rollout_sums to, struct rollout_sums from)
{
	const struct judge_window window = {.to = to, .from = from};
	return judge_window(&rule, percent, &window, bounds_ns).verdict;
}

static void test_few_calls_say_nothing(void **state)
{
	assert_int_equal(judge(1, sums(0, 0, 0), sums(0, 0, 0)), JUDGE_GOOD);
	assert_int_equal(judge(1, sums(3, 1, 0), sums(300, 0, 0)), JUDGE_UNCLEAR);
	assert_int_equal(judge(1, sums(4, 4, 0), sums(400, 0, 0)), JUDGE_UNCLEAR);
	assert_int_equal(judge(1, sums(50, 1, 0), sums(5000, 0, 0)), JUDGE_UNCLEAR);
	/* one or two slow ones of fifty are no p99 */
	assert_int_equal(judge(1, sums(50, 0, 2), sums(5000, 0, 0)), JUDGE_UNCLEAR);
	assert_int_equal(judge(1, sums(3, 0, 2), sums(300, 0, 0)), JUDGE_UNCLEAR);
}

static void test_clear_early(void **state)
{
	assert_int_equal(judge(1, sums(5, 5, 0), sums(500, 0, 0)), JUDGE_BAD);
	assert_int_equal(judge(1, sums(20, 6, 0), sums(2000, 2, 0)), JUDGE_BAD);
	assert_int_equal(judge(50, sums(20, 8, 0), sums(20, 0, 0)), JUDGE_UNCLEAR);
	assert_int_equal(judge(50, sums(60, 20, 0), sums(60, 0, 0)), JUDGE_BAD);
	assert_int_equal(judge(1, sums(50, 0, 12), sums(5000, 0, 10)), JUDGE_BAD);
}

/* With a dependency down both fail, and who is new does not matter. */
static void test_both_are_bad(void **state)
{
	assert_int_equal(judge(1, sums(20, 6, 0), sums(2000, 640, 0)), JUDGE_BOTH);
	assert_int_equal(judge(50, sums(1000, 300, 0), sums(1000, 310, 0)), JUDGE_BOTH);
	assert_int_equal(judge(50, sums(1000, 0, 300), sums(1000, 0, 310)), JUDGE_BOTH);
	/* and yet it can be much worse still */
	assert_int_equal(judge(50, sums(1000, 900, 0), sums(1000, 20, 0)), JUDGE_BAD);
	/* the new version is the cure */
	assert_int_equal(judge(50, sums(1000, 1, 0), sums(1000, 300, 0)), JUDGE_GOOD);
}

/* Above what is allowed, but no more than the old one, of which that is not clear. */
static void test_as_good_as_the_old_one(void **state)
{
	assert_int_equal(judge(50, sums(1000, 6, 0), sums(1000, 6, 0)), JUDGE_GOOD);
	assert_int_equal(judge(50, sums(1000, 7, 0), sums(1000, 6, 0)), JUDGE_UNCLEAR);
	/* worse, but good enough */
	assert_int_equal(judge(50, sums(100000, 400, 0), sums(100000, 10, 0)), JUDGE_GOOD);
}

/* The last step has nothing to compare with; an old version without an instance neither. */
static void test_alone(void **state)
{
	assert_int_equal(judge(100, sums(100, 10, 0), sums(0, 0, 0)), JUDGE_BAD);
	assert_int_equal(judge(100, sums(5, 5, 0), sums(3, 0, 0)), JUDGE_BAD);
	assert_int_equal(judge(50, sums(100, 50, 0), sums(0, 0, 0)), JUDGE_UNCLEAR);
	assert_int_equal(judge(50, sums(500, 250, 0), sums(0, 0, 0)), JUDGE_BAD);
}

static void test_nothing_asked(void **state)
{
	struct rollout_rule lax = rule;
	const struct judge_window window = {.to = sums(1000, 1000, 1000), .from = sums(1000, 0, 0)};
	lax.success_tenths = 0;
	lax.p99_ms = 0;
	assert_int_equal(judge_window(&lax, 50, &window, bounds_ns).verdict, JUDGE_GOOD);
	lax.p99_ms = 300;
	struct judged judged = judge_window(&lax, 50, &window, bounds_ns);
	assert_int_equal(judged.verdict, JUDGE_BAD);
	assert_int_equal(judged.question, JUDGE_SLOW);
}

/* A thousand in a thousand: the first that fails is one too many, the fifth is clear. */
static void test_all_must_be_served(void **state)
{
	struct rollout_rule strict = rule;
	strict.success_tenths = 1000;
	const struct judge_window one = {.to = sums(1000, 1, 0), .from = sums(1000, 0, 0)};
	const struct judge_window many = {.to = sums(1000, 25, 0), .from = sums(1000, 0, 0)};
	assert_int_equal(judge_window(&strict, 50, &one, bounds_ns).verdict, JUDGE_UNCLEAR);
	assert_int_equal(judge_window(&strict, 50, &many, bounds_ns).verdict, JUDGE_BAD);
}

static void test_hostile_figures(void **state)
{
	struct rollout_sums most = {.calls = UINT64_MAX, .failed = UINT64_MAX};
	struct rollout_sums none = {0}, sum;
	for (uint32_t i = 0; i < ROLLOUT_LATENCIES; i++)
		most.latencies[i] = UINT64_MAX;
	judge(50, most, most);
	judge(50, most, none);
	judge(50, none, most);
	figures_between(&sum, &none, &(struct rollout_sums){.calls = 1, .failed = 9});
	assert_int_equal(sum.failed, 1);
	struct rollout_figures total = {most, most}, before = {none, none}, now = {most, most};
	rollout_figures_add(&total, &before, &now);
	assert_true(total.to.calls == UINT64_MAX);
	uint64_t odd_bounds_ns[ROLLOUT_LATENCIES] = {0};
	rollout_tally(&most, odd_bounds_ns);
	figures_slower(&most, odd_bounds_ns, 5);
}

static void test_p99(void **state)
{
	struct rollout_sums s = {.calls = 0};
	assert_int_equal(rollout_tally(&s, bounds_ns).p99_us, 0);
	s = sums(1000, 0, 0);
	uint32_t fast = bucket_of(2000000);
	uint64_t p99_us = rollout_tally(&s, bounds_ns).p99_us;
	assert_true(p99_us * 1000 <= bounds_ns[fast] && p99_us * 1000 >= bounds_ns[fast - 1]);
	s = sums(1000, 0, 9);
	assert_true(rollout_tally(&s, bounds_ns).p99_us * 1000 <= bounds_ns[fast]);
	s = sums(1000, 0, 11);
	assert_true(rollout_tally(&s, bounds_ns).p99_us > 1600000);
	/* what is longer than the longest bound is at least that */
	s = (struct rollout_sums){.calls = 5};
	s.latencies[ROLLOUT_LATENCIES - 1] = 5;
	assert_int_equal(
		rollout_tally(&s, bounds_ns).p99_us, bounds_ns[ROLLOUT_LATENCIES - 2] / 1000);
	/* half of a bucket's calls are in its slower half */
	s = (struct rollout_sums){.calls = 1000};
	s.latencies[20] = 1000;
	uint64_t middle_ns = (bounds_ns[19] + bounds_ns[20]) / 2;
	assert_in_range(figures_slower(&s, bounds_ns, middle_ns), 495, 505);
	assert_int_equal(figures_slower(&s, bounds_ns, bounds_ns[20]), 0);
	assert_int_equal(figures_slower(&s, bounds_ns, bounds_ns[19]), 1000);
}

static void test_told_figures_add_up(void **state)
{
	struct rollout_figures total = {0}, before = {0}, now = {0};
	now.to = sums(100, 3, 0);
	/* heard for the first time: nobody knows of when it is */
	rollout_figures_add(&total, NULL, &now);
	assert_int_equal(total.to.calls, 0);
	before = now;
	now.to = sums(150, 4, 0);
	rollout_figures_add(&total, &before, &now);
	assert_int_equal(total.to.calls, 50);
	assert_int_equal(total.to.failed, 1);
	/* the node's memory was lost: what it has counted since is news */
	before = now;
	now.to = sums(20, 2, 0);
	rollout_figures_add(&total, &before, &now);
	assert_int_equal(total.to.calls, 70);
	assert_int_equal(total.to.failed, 3);
	assert_int_equal(total.to.latencies[bucket_of(2000000)], 70);
}

static uint64_t rnd(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (*seed ^ *seed >> 32) * 0xd6e8feb86659fd93ull >> 16;
}

/* Looked at after every one of 3,000 calls, a share that is just allowed is taken for a worse one
 * less often than once in ten thousand times: not in two thousand histories. */
static void test_evidence_may_be_looked_at_all_the_time(void **state)
{
	uint64_t seed = 7;
	double most = 0;
	for (int history = 0; history < 2000; history++) {
		uint64_t bad = 0;
		for (uint64_t calls = 1; calls <= 3000; calls++) {
			bool is_bad = rnd(&seed) % 1000 < 50;
			bad += is_bad;
			double evidence = is_bad ? judge_evidence(bad, calls, 0.05) : 0;
			most = evidence > most ? evidence : most;
		}
	}
	assert_true(most < log(JUDGE_EVIDENCE));
	assert_true(most > log(50)); /* it would be no test if nothing ever came near */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few_calls_say_nothing),
		cmocka_unit_test(test_clear_early),
		cmocka_unit_test(test_both_are_bad),
		cmocka_unit_test(test_as_good_as_the_old_one),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_nothing_asked),
		cmocka_unit_test(test_all_must_be_served),
		cmocka_unit_test(test_hostile_figures),
		cmocka_unit_test(test_p99),
		cmocka_unit_test(test_told_figures_add_up),
		cmocka_unit_test(test_evidence_may_be_looked_at_all_the_time),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
