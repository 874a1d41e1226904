/* SPDX-License-Identifier: Apache-2.0 */
/* Whole rollouts in virtual time: what nodes would tell, looked at every two seconds. */
#include "rollout/rollout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LOOK_MS 2000
#define FAST	15 /* buckets of some ms, and of a second */
#define SLOW	52

struct lab {
	uint64_t seed, now_ms;
	uint64_t bounds_ns[ROLLOUT_LATENCIES];
	struct rollout_rule rule;
	struct rollout_figures total;
	struct rollout_watch watch;
	struct rollout_seen seen;
	bool has_progress;
	struct rollout_progress progress;
	char text[ROLLOUT_TEXT_MAX];
	struct rollout_turn turn;
	/* what the versions are like, of a thousand calls */
	uint32_t calls_per_look, to_fails, from_fails, to_slow, from_slow;
	uint32_t moves, held, percent_most;
};

static uint64_t rnd(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (*seed ^ *seed >> 32) * 0xd6e8feb86659fd93ull >> 16;
}

static struct lab *lab_new(uint64_t seed)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	double bound = 100000;
	assert_non_null(lab);
	for (uint32_t i = 0; i < ROLLOUT_LATENCIES; i++, bound *= 1.2)
		lab->bounds_ns[i] = (uint64_t)bound;
	lab->seed = seed * 977 + 1;
	lab->now_ms = 1764236129123;
	lab->rule = (struct rollout_rule){.service = STR("orders"),
		.from = STR("v1"),
		.to = STR("v2"),
		.attempt = 3,
		.steps = {1, 5, 25, 50, 100},
		.step_count = 5,
		.every_ms = 60000,
		.success_tenths = 990,
		.p99_ms = 300,
		.calls_min = 50};
	lab->seen = (struct rollout_seen){
		.total = &lab->total, .bounds_ns = lab->bounds_ns, .told_count = 4};
	lab->calls_per_look = 200;
	lab->from_fails = lab->to_fails = 2;
	return lab;
}

static uint32_t lab_percent(const struct lab *lab)
{
	return rollout_percent(&lab->rule, lab->has_progress ? &lab->progress : NULL);
}

static void lab_call(struct lab *lab, struct rollout_sums *sums, uint32_t fails, uint32_t slow)
{
	sums->calls++;
	sums->failed += rnd(&lab->seed) % 1000 < fails;
	sums->latencies[rnd(&lab->seed) % 1000 < slow ? SLOW : FAST]++;
}

static void lab_calls(struct lab *lab)
{
	for (uint32_t i = 0; i < lab->calls_per_look; i++) {
		if (rnd(&lab->seed) % 100 < lab_percent(lab))
			lab_call(lab, &lab->total.to, lab->to_fails, lab->to_slow);
		else
			lab_call(lab, &lab->total.from, lab->from_fails, lab->from_slow);
	}
}

/* Through the store and back, as it would go. */
static void lab_write(struct lab *lab)
{
	struct err err;
	lab->turn.next.node = STR("vm-a");
	struct str text = rollout_progress_write(&lab->turn.next, lab->text);
	assert_int_equal(rollout_progress_parse(text, &lab->progress, &err), 0);
	assert_true(rollout_belongs(&lab->rule, &lab->progress));
	lab->has_progress = true;
	lab->moves++;
	lab->held += lab->progress.state == ROLLOUT_HELD;
}

static bool lab_is_step(const struct lab *lab, uint32_t percent)
{
	for (uint32_t i = 0; i < lab->rule.step_count; i++) {
		if (lab->rule.steps[i] == percent)
			return true;
	}
	return percent == 0;
}

static void lab_look(struct lab *lab)
{
	uint32_t before = lab_percent(lab);
	lab->now_ms += LOOK_MS;
	lab->seen.now_ms = lab->now_ms;
	lab_calls(lab);
	rollout_look(&lab->rule, lab->has_progress ? &lab->progress : NULL, &lab->watch, &lab->seen,
		&lab->turn);
	assert_true(strlen(lab->turn.why) <= ROLLOUT_WHY_MAX);
	if (lab->turn.moves)
		lab_write(lab);
	uint32_t percent = lab_percent(lab);
	assert_true(lab_is_step(lab, percent));
	bool is_back = lab->has_progress && lab->progress.state == ROLLOUT_ROLLED_BACK;
	assert_true(percent >= before || (is_back && percent == 0));
	lab->percent_most = percent > lab->percent_most ? percent : lab->percent_most;
}

static void lab_run(struct lab *lab, uint32_t looks)
{
	for (uint32_t i = 0; i < looks; i++)
		lab_look(lab);
}

static bool lab_is(const struct lab *lab, enum rollout_state state)
{
	return lab->has_progress && lab->progress.state == state;
}

static void lab_is_over(struct lab *lab, enum rollout_state state, uint32_t looks)
{
	for (uint32_t i = 0; i < looks && !lab_is(lab, state); i++)
		lab_look(lab);
	if (!lab_is(lab, state))
		fail_msg("still %s at %u %%: %s",
			lab->has_progress ? rollout_state_name(lab->progress.state) : "nothing",
			lab_percent(lab), lab->turn.why);
}

static void assert_why(const struct lab *lab, const char *expected)
{
	if (!strstr(lab->turn.why, expected))
		fail_msg("\"%s\" without \"%s\"", lab->turn.why, expected);
}

/* --- one after the other --- */

static void test_step_by_step(void **state)
{
	struct lab *lab = lab_new(1);
	assert_int_equal(lab_percent(lab), 0);
	lab_look(lab);
	assert_int_equal(lab_percent(lab), 1);
	assert_why(lab, "begun");
	lab_run(lab, 10);
	assert_why(lab, "of 50 calls");
	assert_int_equal(lab_percent(lab), 1);
	lab_is_over(lab, ROLLOUT_DONE, 400);
	assert_int_equal(lab_percent(lab), 100);
	assert_int_equal(lab->moves, 6);
	assert_why(lab, "100 % was good for");
	/* once over it stays over, whatever comes */
	lab->to_fails = 1000;
	lab_run(lab, 100);
	assert_int_equal(lab->moves, 6);
	free(lab);
}

/* Other steps under the same attempt: neither the old version nor the bad one comes back. */
static void test_over_stays_over_with_fewer_steps(void **state)
{
	struct lab *lab = lab_new(1);
	lab_is_over(lab, ROLLOUT_DONE, 400);
	uint32_t moves = lab->moves;
	lab->rule.steps[0] = 50;
	lab->rule.steps[1] = 100;
	lab->rule.step_count = 2;
	assert_int_equal(lab_percent(lab), 100);
	lab_run(lab, 100);
	assert_int_equal(lab_percent(lab), 100);
	assert_int_equal(lab->moves, moves);
	lab->rule.order = ROLLOUT_ABORT; /* moves, to a step that there is */
	lab_look(lab);
	assert_int_equal(lab->progress.step, 1);
	lab->rule.order = ROLLOUT_RUN;
	lab->rule.step_count = 1;
	lab->rule.steps[0] = 100;
	lab_run(lab, 100);
	assert_int_equal(lab_percent(lab), 0);
	assert_int_equal(lab->moves, moves + 1);
	free(lab);
}

/* A step takes its time, though calls are many; and its calls, though time is long. */
static void test_time_and_calls(void **state)
{
	struct lab *lab = lab_new(2);
	lab->calls_per_look = 20000;
	lab_run(lab, 1 + 30); /* the first of these begins the watch */
	assert_int_equal(lab_percent(lab), 1);
	assert_why(lab, "of 1m");
	lab_run(lab, 1);
	assert_int_equal(lab_percent(lab), 5);
	assert_why(lab, "1 % was good for 1m: v2 served");
	lab->calls_per_look = 2;
	lab_run(lab, 35);
	assert_int_equal(lab_percent(lab), 5);
	assert_why(lab, "of 50 calls");
	free(lab);
}

static void test_worse_is_rolled_back(void **state)
{
	struct lab *lab = lab_new(3);
	lab->to_fails = 300;
	lab_is_over(lab, ROLLOUT_ROLLED_BACK, 30);
	assert_int_equal(lab_percent(lab), 0);
	assert_int_equal(lab->percent_most, 1);
	assert_true(lab->total.to.calls < 50); /* early */
	assert_why(lab, "at 1 % v2 served");
	assert_why(lab, "wanted 99.0 %; v1 99.");
	free(lab);
}

static void test_slower_is_rolled_back(void **state)
{
	struct lab *lab = lab_new(4);
	lab->to_slow = 200;
	lab_is_over(lab, ROLLOUT_ROLLED_BACK, 60);
	assert_why(lab, "p99 of v2 is 1");
	assert_why(lab, "wanted 300ms; of v1 1.");
	free(lab);
}

/* It breaks in the middle of a long step that was good so far. */
static void test_breaks_late(void **state)
{
	struct lab *lab = lab_new(5);
	lab->rule.every_ms = 24 * 3600 * 1000;
	lab->rule.steps[0] = 50;
	lab->rule.steps[1] = 100;
	lab->rule.step_count = 2;
	lab->calls_per_look = 2000;
	lab_run(lab, 3000);
	assert_true(lab_is(lab, ROLLOUT_STEPPING));
	lab->to_fails = 100;
	lab_is_over(lab, ROLLOUT_ROLLED_BACK, 45);
	free(lab);
}

static void test_blue_green(void **state)
{
	struct lab *lab = lab_new(6);
	lab->rule.steps[0] = 100;
	lab->rule.step_count = 1;
	lab_look(lab);
	assert_int_equal(lab_percent(lab), 100);
	lab_run(lab, 10);
	lab->to_fails = 100;
	lab_is_over(lab, ROLLOUT_ROLLED_BACK, 40);
	assert_int_equal(lab_percent(lab), 0);
	free(lab);
}

static void test_both_bad_is_held_until_it_clears_up(void **state)
{
	struct lab *lab = lab_new(7);
	lab_is_over(lab, ROLLOUT_STEPPING, 2);
	while (lab_percent(lab) < 25)
		lab_look(lab);
	lab->to_fails = lab->from_fails = 400;
	lab_is_over(lab, ROLLOUT_HELD, 30);
	assert_why(lab, "both versions are bad: v2 served");
	lab_run(lab, 1000);
	assert_true(lab_is(lab, ROLLOUT_HELD));
	assert_int_equal(lab_percent(lab), 25);
	lab->to_fails = lab->from_fails = 2;
	lab_is_over(lab, ROLLOUT_STEPPING, 70);
	assert_why(lab, "good again");
	assert_int_equal(lab_percent(lab), 25);
	lab_is_over(lab, ROLLOUT_DONE, 200);
	free(lab);
}

static void test_held_and_then_worse(void **state)
{
	struct lab *lab = lab_new(8);
	while (lab_percent(lab) < 25)
		lab_look(lab);
	lab->to_fails = lab->from_fails = 100;
	lab_is_over(lab, ROLLOUT_HELD, 30);
	lab->to_fails = 900;
	lab_is_over(lab, ROLLOUT_ROLLED_BACK, 30);
	free(lab);
}

/* --- without figures --- */

static void test_no_figures(void **state)
{
	struct lab *lab = lab_new(9);
	lab_run(lab, 20);
	lab->seen.told_count = 0;
	uint64_t counted_ms = lab->watch.counted_ms;
	lab_run(lab, 200);
	assert_why(lab, "no node tells of its calls");
	assert_int_equal(lab_percent(lab), 1);
	assert_int_equal(lab->watch.counted_ms, counted_ms);
	lab->seen.told_count = 1;
	lab->seen.silent_count = 3;
	lab_run(lab, 200);
	assert_why(lab, "only 1 of 4 nodes tell of their calls");
	assert_int_equal(lab_percent(lab), 1);
	/* what is bad there is bad all the same */
	lab->to_fails = 500;
	lab_is_over(lab, ROLLOUT_ROLLED_BACK, 30);
	free(lab);
}

static void test_clock_that_jumps(void **state)
{
	struct lab *lab = lab_new(10);
	lab->calls_per_look = 20000;
	lab_run(lab, 5);
	lab->now_ms += 3600000;
	lab_run(lab, 2); /* an hour that nobody has seen is no hour of good figures */
	assert_int_equal(lab_percent(lab), 1);
	lab->now_ms -= 7200000;
	lab_run(lab, 2);
	assert_int_equal(lab_percent(lab), 1);
	lab_is_over(lab, ROLLOUT_DONE, 300);
	free(lab);
}

/* Another node carries it on: it knows nothing of the step's figures, and takes its time. */
static void test_another_node_takes_over(void **state)
{
	struct lab *lab = lab_new(11);
	lab->calls_per_look = 20000;
	lab_run(lab, 25);
	lab->watch = (struct rollout_watch){0};
	lab_run(lab, 25);
	assert_int_equal(lab_percent(lab), 1);
	lab_run(lab, 10);
	assert_int_equal(lab_percent(lab), 5);
	free(lab);
}

/* --- the operator --- */

static void test_pause_and_resume(void **state)
{
	struct lab *lab = lab_new(12);
	lab->rule.order = ROLLOUT_PAUSE;
	lab_run(lab, 100);
	assert_int_equal(lab_percent(lab), 0);
	assert_int_equal(lab->moves, 0);
	assert_why(lab, "paused by the operator");
	lab->rule.order = ROLLOUT_RUN;
	lab_run(lab, 10);
	assert_int_equal(lab_percent(lab), 1);
	lab->rule.order = ROLLOUT_PAUSE;
	lab->to_fails = 1000;
	lab_run(lab, 100);
	assert_true(lab_is(lab, ROLLOUT_PAUSED));
	assert_int_equal(lab_percent(lab), 1);
	lab->to_fails = 0;
	lab->rule.order = ROLLOUT_RUN;
	lab_look(lab);
	assert_true(lab_is(lab, ROLLOUT_STEPPING));
	assert_why(lab, "resumed by the operator");
	/* what was seen meanwhile is not held against it */
	lab_is_over(lab, ROLLOUT_DONE, 400);
	free(lab);
}

static void test_promote_and_abort(void **state)
{
	struct lab *lab = lab_new(13);
	lab_run(lab, 5);
	lab->rule.order = ROLLOUT_PROMOTE;
	assert_int_equal(lab_percent(lab), 100); /* before anybody has written it */
	lab_look(lab);
	assert_true(lab_is(lab, ROLLOUT_DONE));
	lab->rule.order = ROLLOUT_ABORT;
	assert_int_equal(lab_percent(lab), 0);
	lab_look(lab);
	assert_true(lab_is(lab, ROLLOUT_ROLLED_BACK));
	assert_why(lab, "aborted by the operator");
	/* another attempt is another rollout */
	lab->rule.order = ROLLOUT_RUN;
	lab_run(lab, 10);
	assert_true(lab_is(lab, ROLLOUT_ROLLED_BACK));
	lab->rule.attempt++;
	assert_int_equal(lab_percent(lab), 0);
	lab_look(lab);
	assert_true(lab_is(lab, ROLLOUT_STEPPING));
	assert_int_equal(lab_percent(lab), 1);
	free(lab);
}

/* Whatever stands in the store, the share is a step's or the operator's. */
static void test_progress_of_others(void **state)
{
	struct lab *lab = lab_new(14);
	struct rollout_progress p = {.attempt = 3,
		.from = STR("v1"),
		.to = STR("v2"),
		.state = ROLLOUT_STEPPING,
		.step = 4};
	assert_int_equal(rollout_percent(&lab->rule, &p), 100);
	p.step = 5; /* there were more steps once */
	assert_int_equal(rollout_percent(&lab->rule, &p), 0);
	p.step = 1;
	assert_int_equal(rollout_percent(&lab->rule, &p), 5);
	p.attempt = 2;
	assert_int_equal(rollout_percent(&lab->rule, &p), 0);
	p.attempt = 3;
	p.to = STR("v3");
	assert_int_equal(rollout_percent(&lab->rule, &p), 0);
	p.to = STR("v2");
	p.state = ROLLOUT_DONE;
	lab->rule.order = ROLLOUT_ABORT;
	assert_int_equal(rollout_percent(&lab->rule, &p), 0);
	lab->rule.order = ROLLOUT_PAUSE;
	assert_int_equal(rollout_percent(&lab->rule, &p), 100);
	free(lab);
}

/* --- by chance --- */

#define HISTORIES 60

/* As good as the old one, at any rate of calls: it gets through, and nearly always at once. */
static void test_as_good_gets_through(void **state)
{
	static const uint32_t rates[] = {20, 200, 2000};
	uint32_t held = 0;
	for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
		struct lab *lab = lab_new(seed);
		lab->calls_per_look = rates[seed % ARRAY_LEN(rates)];
		lab->to_fails = lab->from_fails = (uint32_t)(seed % 9);
		lab->to_slow = lab->from_slow = (uint32_t)(seed % 8);
		lab_is_over(lab, ROLLOUT_DONE, 6000);
		held += lab->held;
		free(lab);
	}
	assert_true(held <= 2);
}

/* Twenty times as bad as what is asked, or five times: it never comes to where most calls are, and
 * costs so many calls at most. */
static void test_bad_is_rolled_back_soon(void **state)
{
	static const struct {
		uint32_t fails, calls;
	} rows[] = {{200, 200}, {50, 1500}};
	for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
		size_t row = seed % ARRAY_LEN(rows);
		struct lab *lab = lab_new(seed);
		lab->to_fails = rows[row].fails;
		lab_is_over(lab, ROLLOUT_ROLLED_BACK, 3000);
		if (lab->total.to.calls > rows[row].calls)
			fail_msg("%llu calls, %u of 1000 failing",
				(unsigned long long)lab->total.to.calls, rows[row].fails);
		assert_true(lab->percent_most < 100);
		free(lab);
	}
}

static void test_equally_bad_is_never_rolled_back(void **state)
{
	uint32_t lasts = 0;
	for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
		struct lab *lab = lab_new(seed);
		lab->rule.steps[1] = 50;
		lab->rule.steps[2] = 100;
		lab->rule.step_count = 3;
		/* from a little above what is allowed on: then it may come to the last step by
		 * luck, where there is no old version to compare with but what it was */
		uint32_t fails = (uint32_t)(seed % 2 ? 20 + seed % 10 * 50 : 12 + seed % 8);
		lab->to_fails = lab->from_fails = fails;
		for (uint32_t i = 0; i < 2000; i++) {
			lab_look(lab);
			assert_false(lab_is(lab, ROLLOUT_ROLLED_BACK));
		}
		assert_true(lab->held > 0 || fails < 20);
		lasts += lab_percent(lab) == 100;
		free(lab);
	}
	assert_true(lasts > 0);
}

/* Anything at any time: lab_look() asserts that the share is a step's and does not fall but by a
 * roll-back; and orders win. */
static void test_any_history(void **state)
{
	for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
		struct lab *lab = lab_new(seed);
		lab->calls_per_look = 100;
		for (int i = 0; i < 600; i++) {
			uint64_t what = rnd(&lab->seed) % 100;
			if (what < 4)
				lab->to_fails = (uint32_t)(rnd(&lab->seed) % 40);
			else if (what < 8)
				lab->from_fails = (uint32_t)(rnd(&lab->seed) % 40);
			else if (what < 12)
				lab->seen.told_count = (uint32_t)(rnd(&lab->seed) % 4);
			else if (what < 14)
				lab->watch = (struct rollout_watch){0};
			else if (what < 16)
				lab->now_ms += rnd(&lab->seed) % 100000 - 50000;
			else if (what < 18)
				lab->rule.order = lab->rule.order == ROLLOUT_RUN ? ROLLOUT_PAUSE
										 : ROLLOUT_RUN;
			uint32_t before = lab_percent(lab);
			lab_look(lab);
			if (lab->rule.order == ROLLOUT_PAUSE)
				assert_int_equal(lab_percent(lab), before);
		}
		lab->rule.order = seed % 2 ? ROLLOUT_PROMOTE : ROLLOUT_ABORT;
		rollout_look(&lab->rule, lab->has_progress ? &lab->progress : NULL, &lab->watch,
			&lab->seen, &lab->turn);
		assert_int_equal(lab_percent(lab), seed % 2 ? 100 : 0);
		free(lab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_step_by_step),
		cmocka_unit_test(test_over_stays_over_with_fewer_steps),
		cmocka_unit_test(test_time_and_calls),
		cmocka_unit_test(test_worse_is_rolled_back),
		cmocka_unit_test(test_slower_is_rolled_back),
		cmocka_unit_test(test_breaks_late),
		cmocka_unit_test(test_blue_green),
		cmocka_unit_test(test_both_bad_is_held_until_it_clears_up),
		cmocka_unit_test(test_held_and_then_worse),
		cmocka_unit_test(test_no_figures),
		cmocka_unit_test(test_clock_that_jumps),
		cmocka_unit_test(test_another_node_takes_over),
		cmocka_unit_test(test_pause_and_resume),
		cmocka_unit_test(test_promote_and_abort),
		cmocka_unit_test(test_progress_of_others),
		cmocka_unit_test(test_as_good_gets_through),
		cmocka_unit_test(test_bad_is_rolled_back_soon),
		cmocka_unit_test(test_equally_bad_is_never_rolled_back),
		cmocka_unit_test(test_any_history),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
