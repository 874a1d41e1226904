/* SPDX-License-Identifier: Apache-2.0 */
/* Members with demands that are drawn, in virtual time, against what a max-min division of the same
 * demands would give each. */
#include "balance/share.h"

#include "base/assert.h"
#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMBERS_MAX 12

static uint64_t seed;

static uint64_t number_below(uint64_t bound)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 24) % bound;
}

struct place {
	struct share share;
	struct bucket bucket;
	struct bucket_rate rate;
	uint64_t now_ns;
	uint32_t member_count;
	double wants[MEMBERS_MAX]; /* a second */
	uint64_t asked[MEMBERS_MAX], got[MEMBERS_MAX];
};

static bool place_ask(struct place *p, uint64_t id)
{
	struct share_taking taking;
	struct bucket_taking taken;
	struct bucket_left left = bucket_look(&p->bucket, &p->rate, p->now_ns);
	struct share_member *m = share_find(&p->share, id);
	if (!m)
		m = share_join(&p->share, &p->rate, id, p->now_ns);
	if (!share_take(&p->share, &p->rate, m, left.remaining, p->now_ns, &taking))
		return false;
	if (bucket_take(&p->bucket, &p->rate, p->now_ns, &taken, &left) == BUCKET_TAKEN)
		return true;
	share_put_back(&taking);
	return false;
}

/* What is lost because demand comes in bursts that its part of the bucket is too small for is
 * within the bounds that are asked for. In steps so short that a member asks once in one, at most,
 * with the chance that its demand is. Whoever is asked first in a step is drawn. */
static void place_run(struct place *p, uint64_t for_ns)
{
	uint64_t step_ns = 500000, end_ns = p->now_ns + for_ns;
	memset(p->asked, 0, sizeof(p->asked));
	memset(p->got, 0, sizeof(p->got));
	for (; p->now_ns < end_ns; p->now_ns += step_ns) {
		uint32_t first = (uint32_t)number_below(p->member_count);
		for (uint32_t i = 0; i < p->member_count; i++) {
			uint32_t m = (first + i) % p->member_count;
			if ((double)number_below(1 << 20) / (1 << 20) >=
				p->wants[m] * (double)step_ns / 1e9)
				continue;
			p->asked[m]++;
			p->got[m] += place_ask(p, m + 1);
		}
	}
}

/* The level up to which each gets what it wants. */
static double fair_level(const double *wants, uint32_t count, double pace)
{
	double level = 0;
	for (uint32_t round = 0; round <= count; round++) {
		double left = pace;
		uint32_t more = 0;
		for (uint32_t i = 0; i < count; i++) {
			left -= wants[i] <= level ? wants[i] : 0;
			more += wants[i] > level;
		}
		if (more == 0)
			return level;
		level = left / more;
	}
	return level;
}

static void test_shares_are_max_min(void **state)
{
	for (seed = 1; seed < 16;) {
		struct place p = {.now_ns = 100 * CLOCK_S};
		uint64_t at = seed;
		uint32_t pace = 100 + (uint32_t)number_below(400);
		uint64_t all = 0;
		p.rate = bucket_rate_of(pace, CLOCK_S, pace / (1 + (uint32_t)number_below(4)));
		p.member_count = 2 + (uint32_t)number_below(MEMBERS_MAX - 1);
		for (uint32_t i = 0; i < p.member_count; i++)
			p.wants[i] = (double)(2 + number_below(number_below(2) ? 30 : 900));
		place_run(&p, 3 * CLOCK_S);
		place_run(&p, 10 * CLOCK_S);
		double wants[MEMBERS_MAX], wanted = 0;
		for (uint32_t i = 0; i < p.member_count; i++) {
			wants[i] = (double)p.asked[i] / 10;
			wanted += wants[i];
			all += p.got[i];
		}
		double level = fair_level(wants, p.member_count, pace);
		for (uint32_t i = 0; i < p.member_count; i++) {
			double fair = wants[i] < level ? wants[i] : level;
			double got = (double)p.got[i] / 10;
			if (got < fair * 0.9 - 1 || got > fair * 1.1 + 1)
				fail_msg("seed %llu: member %u of %u wants %.1f of %u, fair %.1f, "
					 "got %.1f",
					(unsigned long long)at, i, p.member_count, wants[i], pace,
					fair, got);
		}
		/* and what there is is given */
		double most = wanted < pace ? wanted : pace;
		if ((double)all / 10 < most * 0.96 - 1)
			fail_msg("seed %llu: %.1f of %.1f", (unsigned long long)at,
				(double)all / 10, most);
		seed = at + 1;
	}
}

/* Demands change all the time; whoever wants more than an equal share throughout a second gets
 * one, whatever the others do. */
static void test_nobody_is_pushed_below_his_share(void **state)
{
	for (uint64_t s = 100; s < 106; s++) {
		struct place p = {
			.now_ns = 100 * CLOCK_S, .rate = bucket_rate_of(240, CLOCK_S, 240)};
		seed = s;
		p.member_count = 4;
		p.wants[0] = 150; /* its share is 60 */
		for (int second = 0; second < 20; second++) {
			for (uint32_t i = 1; i < p.member_count; i++)
				p.wants[i] = (double)(number_below(3) ? number_below(3000) : 0);
			place_run(&p, CLOCK_S);
			if (second > 0 && p.got[0] < 55)
				fail_msg("seed %llu, second %d: %llu", (unsigned long long)s,
					second, (unsigned long long)p.got[0]);
		}
	}
}

static void test_one_alone_has_it_all(void **state)
{
	struct place p = {.now_ns = 100 * CLOCK_S, .rate = bucket_rate_of(100, CLOCK_S, 100)};
	for (int i = 0; i < 100; i++)
		assert_true(place_ask(&p, 1));
	assert_false(place_ask(&p, 1));
	p.now_ns += CLOCK_S / 2;
	for (int i = 0; i < 50; i++)
		assert_true(place_ask(&p, 1));
	assert_false(place_ask(&p, 1));
}

/* One that comes first takes no more than what is nobody's: the other's part is held for it. */
static void test_a_part_is_held_for_who_has_asked(void **state)
{
	struct place p = {.now_ns = 100 * CLOCK_S, .rate = bucket_rate_of(100, CLOCK_S, 100)};
	assert_true(place_ask(&p, 1));
	assert_true(place_ask(&p, 2));
	p.now_ns += 900 * CLOCK_MS; /* both still belong to it, and have their parts */
	assert_true(place_ask(&p, 2));
	int got = 0;
	for (int i = 0; i < 100; i++)
		got += place_ask(&p, 1);
	assert_in_range(got, 54, 56); /* 45 came in for it, and 10 are nobody's */
	got = 0;
	for (int i = 0; i < 100; i++)
		got += place_ask(&p, 2);
	assert_in_range(got, 43, 45);
}

static void test_who_does_not_ask_any_more_leaves_his_part(void **state)
{
	struct place p = {.now_ns = 100 * CLOCK_S, .rate = bucket_rate_of(100, CLOCK_S, 100)};
	assert_true(place_ask(&p, 1));
	assert_true(place_ask(&p, 2));
	assert_int_equal(share_count(&p.share, &p.rate, p.now_ns), 2);
	p.now_ns += 3 * CLOCK_S;
	int got = 0;
	for (int i = 0; i < 200; i++)
		got += place_ask(&p, 1);
	assert_int_equal(got, 100);
	assert_int_equal(share_count(&p.share, &p.rate, p.now_ns), 1);
}

static void test_more_than_there_is_room_for(void **state)
{
	struct place p = {.now_ns = 100 * CLOCK_S, .rate = bucket_rate_of(1000, CLOCK_S, 1000)};
	for (uint64_t id = 1; id <= SHARE_MEMBERS; id++)
		assert_true(place_ask(&p, id));
	assert_int_equal(p.share.rest_count, 0);
	assert_true(place_ask(&p, 1000));
	assert_true(place_ask(&p, 1001));
	assert_int_equal(p.share.rest_count, 2);
	assert_int_equal(share_count(&p.share, &p.rate, p.now_ns), SHARE_MEMBERS + 1);
	p.now_ns += 2 * CLOCK_S; /* there is room again */
	assert_true(place_ask(&p, 1000));
	assert_int_equal(p.share.rest_count, 2);
	assert_non_null(share_find(&p.share, 1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares_are_max_min),
		cmocka_unit_test(test_nobody_is_pushed_below_his_share),
		cmocka_unit_test(test_one_alone_has_it_all),
		cmocka_unit_test(test_a_part_is_held_for_who_has_asked),
		cmocka_unit_test(test_who_does_not_ask_any_more_leaves_his_part),
		cmocka_unit_test(test_more_than_there_is_room_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
