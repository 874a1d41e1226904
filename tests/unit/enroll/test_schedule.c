/* SPDX-License-Identifier: Apache-2.0 */
/* When a certificate is asked for: single cases, then histories of luck, outages and clocks that
 * are set, in virtual time. */
#include "base/clock.h"
#include "enroll/schedule.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define START_S 1800000000ll

static struct schedule_now at(int64_t since_start_ms)
{
	return (struct schedule_now){.wall_ms = START_S * 1000 + since_start_ms,
		.ns = 5 * CLOCK_S + (uint64_t)since_start_ms * CLOCK_MS};
}

static uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed * 0x2545f4914f6cdd1dull;
}

/* --- single cases --- */

static void test_due_at_half_of_its_life(void **state)
{
	struct schedule s;
	struct schedule_now now = at(0);
	uint64_t seed = 7;
	int64_t least_ms = INT64_MAX, most_ms = 0;
	for (int i = 0; i < 1000; i++) {
		schedule_init(&s);
		assert_int_equal(schedule_certificate(&s, &now, START_S - 60, START_S + 3600, true,
					 random_next(&seed)),
			SCHEDULE_GOOD);
		int64_t due_ms = s.due_ms - now.wall_ms;
		assert_true(due_ms >= 1620 * 1000 && due_ms <= 1980 * 1000);
		least_ms = due_ms < least_ms ? due_ms : least_ms;
		most_ms = due_ms > most_ms ? due_ms : most_ms;
	}
	assert_true(least_ms < 1640 * 1000 && most_ms > 1960 * 1000);
}

static void test_nothing_in_force_is_due_at_once(void **state)
{
	struct schedule s;
	struct schedule_now now = at(0);
	schedule_init(&s);
	assert_true(schedule_due(&s, &now));
	assert_int_equal(schedule_state(&s, &now), ENROLL_MISSING);
	schedule_asked(&s);
	assert_false(schedule_due(&s, &now));
	schedule_failed(&s, &now, 0, 999);
	assert_false(schedule_due(&s, &now));
	now = at(999);
	assert_true(schedule_due(&s, &now));
}

/* Found at the start, half over: the time of its coming is not known, its dates are. */
static void test_one_that_was_found(void **state)
{
	struct schedule s;
	struct schedule_now now = at(0);
	schedule_init(&s);
	assert_int_equal(schedule_certificate(&s, &now, START_S - 100, START_S + 20, false, 0),
		SCHEDULE_GOOD);
	assert_true(schedule_due(&s, &now));
	assert_int_equal(schedule_state(&s, &now), ENROLL_ENDING);
	schedule_certificate(&s, &now, START_S - 100, START_S + 80, false, 0);
	assert_int_equal(schedule_state(&s, &now), ENROLL_DUE);
	schedule_certificate(&s, &now, START_S - 20, START_S + 180, false, 0);
	assert_int_equal(schedule_state(&s, &now), ENROLL_FRESH);
	schedule_certificate(&s, &now, START_S - 20, START_S, false, 0);
	assert_int_equal(schedule_state(&s, &now), ENROLL_EXPIRED);
}

static void test_retry_after_is_obeyed_within_bounds(void **state)
{
	struct schedule s;
	struct schedule_now now = at(0);
	schedule_init(&s);
	schedule_failed(&s, &now, 120, 1);
	assert_int_equal(schedule_next_s(&s, &now), START_S + 120);
	schedule_failed(&s, &now, 999999, 1);
	assert_int_equal(schedule_next_s(&s, &now), START_S + SCHEDULE_RETRY_AFTER_MAX_S);
	/* In force for 100 seconds more. */
	schedule_certificate(&s, &now, START_S - 900, START_S + 100, false, 0);
	schedule_failed(&s, &now, 999999, 1);
	assert_int_equal(schedule_next_s(&s, &now), START_S + 50);
}

static void test_voice_gets_louder_and_is_not_repeated(void **state)
{
	struct schedule s;
	struct schedule_now now = at(0);
	schedule_init(&s);
	schedule_certificate(&s, &now, START_S, START_S + 86400, false, 0);
	int warnings = 0, errors = 0, tries = 0;
	for (int64_t ms = 43200 * 1000; ms < 86400 * 1000; ms += 60 * 1000) {
		now = at(ms);
		schedule_failed(&s, &now, 0, 0);
		enum schedule_voice voice = schedule_speak(&s, &now);
		assert_int_equal(schedule_speak(&s, &now), SCHEDULE_SILENT);
		warnings += voice == SCHEDULE_WARNING;
		errors += voice == SCHEDULE_ERROR;
		tries++;
		if (voice == SCHEDULE_ERROR)
			assert_int_equal(schedule_state(&s, &now), ENROLL_ENDING);
	}
	assert_int_equal(tries, 720);
	assert_true(warnings == 6 || warnings == 7); /* once an hour */
	assert_true(errors >= 6 && errors <= 10);
	now = at(86400 * 1000);
	schedule_failed(&s, &now, 0, 0);
	assert_int_equal(schedule_speak(&s, &now), SCHEDULE_ERROR);
	schedule_certificate(&s, &now, START_S, START_S + 2 * 86400, true, 0);
	assert_int_equal(schedule_speak(&s, &now), SCHEDULE_SILENT);
}

/* An authority whose own certificate ends cannot give what ends later: no race to the end. */
static void test_a_gain_of_nothing_waits_longer_each_time(void **state)
{
	struct schedule s;
	struct schedule_now now = at(0);
	int asked = 0;
	uint64_t seed = 3;
	schedule_init(&s);
	schedule_certificate(&s, &now, START_S, START_S + 600, true, 0);
	for (int64_t ms = 0; ms < 600 * 1000; ms += 10) {
		now = at(ms);
		if (!schedule_due(&s, &now))
			continue;
		asked++;
		schedule_asked(&s);
		assert_int_equal(schedule_certificate(&s, &now, START_S + ms / 1000, START_S + 600,
					 true, random_next(&seed)),
			SCHEDULE_VAIN);
	}
	assert_true(asked > 3 && asked < 40);
	/* Due the moment it comes: over already. */
	schedule_init(&s);
	asked = 0;
	for (int64_t ms = 0; ms < 3600 * 1000; ms += 100) {
		now = at(ms);
		if (!schedule_due(&s, &now))
			continue;
		asked++;
		assert_int_equal(schedule_certificate(&s, &now, START_S - 100, START_S - 1, true,
					 random_next(&seed)),
			SCHEDULE_VAIN);
	}
	assert_true(asked > 10 && asked < 300);
}

static void test_again_and_hurry(void **state)
{
	struct schedule s;
	struct schedule_now now = at(0);
	schedule_init(&s);
	uint64_t seed = 9;
	for (int i = 0; i < 200; i++) {
		schedule_again(&s, &now, 60000, random_next(&seed));
		int64_t next_s = schedule_next_s(&s, &now);
		assert_true(next_s >= START_S + 54 && next_s <= START_S + 67);
	}
	schedule_hurry(&s, &now);
	assert_true(schedule_due(&s, &now));
	schedule_asked(&s);
	schedule_failed(&s, &now, 0, 1000);
	schedule_hurry(&s, &now);
	assert_false(schedule_due(&s, &now));
}

/* After `failures` in a row without an answer, in which time somebody else gets one. */
static uint64_t reached_wait_ms(uint32_t failures, bool is_answered, uint64_t random)
{
	struct schedule s;
	struct schedule_now now = at(0);
	schedule_init(&s);
	for (uint32_t i = 0; i < failures; i++) {
		schedule_asked(&s);
		schedule_failed(&s, &now, is_answered ? 50 : 0, UINT64_MAX / 7);
		if (!is_answered)
			schedule_unanswered(&s);
	}
	schedule_reached(&s, &now, random);
	uint64_t wait_ms = s.hold_ns > now.ns ? (s.hold_ns - now.ns) / CLOCK_MS : 0;
	assert_int_equal(s.failed_count, failures);
	schedule_reached(&s, &now, random + 1); /* once is enough */
	assert_int_equal(s.hold_ns > now.ns ? (s.hold_ns - now.ns) / CLOCK_MS : 0, wait_ms);
	return wait_ms;
}

static void test_an_answer_to_somebody_else_ends_a_long_wait(void **state)
{
	uint64_t seed = 11, least_ms = UINT64_MAX, most_ms = 0;
	for (int i = 0; i < 500; i++) {
		uint64_t wait_ms = reached_wait_ms(8, false, random_next(&seed));
		least_ms = wait_ms < least_ms ? wait_ms : least_ms;
		most_ms = wait_ms > most_ms ? wait_ms : most_ms;
		/* what was refused waits as it was told */
		assert_int_equal(reached_wait_ms(8, true, random_next(&seed)), 50000);
	}
	assert_true(least_ms >= SCHEDULE_BASE_MS / 4 && least_ms < SCHEDULE_BASE_MS / 2);
	assert_true(most_ms <= SCHEDULE_BASE_MS && most_ms > SCHEDULE_BASE_MS * 9 / 10);
}

/* It makes no wait longer, and none where there was none. */
static void test_an_answer_to_somebody_else_makes_nothing_late(void **state)
{
	struct schedule s;
	struct schedule_now now = at(0);
	schedule_init(&s);
	schedule_reached(&s, &now, 999);
	assert_true(schedule_due(&s, &now));
	schedule_asked(&s);
	schedule_reached(&s, &now, 999);
	assert_true(s.asking);
	schedule_failed(&s, &now, 0, 0); /* a quarter of the base */
	schedule_unanswered(&s);
	schedule_reached(&s, &now, 999);
	now = at(SCHEDULE_BASE_MS / 4);
	assert_true(schedule_due(&s, &now));
	schedule_asked(&s);
	assert_int_equal(
		schedule_certificate(&s, &now, START_S, START_S + 3600, true, 5), SCHEDULE_GOOD);
	schedule_unanswered(&s); /* nothing has failed */
	schedule_reached(&s, &now, 999);
	assert_int_equal(s.hold_ns, 0);
}

/* --- clocks --- */

static void test_clock_set_forward(void **state)
{
	struct schedule s;
	struct schedule_now now = at(0);
	schedule_init(&s);
	schedule_certificate(&s, &now, START_S, START_S + 3600, true, 0);
	now.wall_ms += 86400 * 1000;
	assert_true(schedule_due(&s, &now));
	assert_int_equal(schedule_state(&s, &now), ENROLL_EXPIRED);
	/* It fails: the waits are of the clock that nobody sets. */
	schedule_asked(&s);
	schedule_failed(&s, &now, 0, 500);
	now.wall_ms += 86400 * 1000;
	assert_false(schedule_due(&s, &now));
	now.ns += CLOCK_S;
	assert_true(schedule_due(&s, &now));
}

static void test_clock_set_back(void **state)
{
	struct schedule s;
	struct schedule_now now = at(0);
	schedule_init(&s);
	schedule_certificate(&s, &now, START_S, START_S + 3600, true, 0);
	now.wall_ms -= 86400 * 1000;
	assert_false(schedule_due(&s, &now));
	assert_int_equal(schedule_wake_ns(&s, &now), now.ns + SCHEDULE_LOOK_NS);
	assert_int_equal(schedule_state(&s, &now), ENROLL_FRESH);
	/* Peers' clocks have gone on: with time it is due, whatever this one says. */
	struct schedule_now later = {now.wall_ms + 1700 * 1000, now.ns + 1700 * CLOCK_S};
	assert_true(schedule_due(&s, &later));
	assert_int_equal(schedule_state(&s, &later), ENROLL_DUE);
	/* And right again: found at the next look. */
	now = at(2000 * 1000);
	assert_true(schedule_due(&s, &now));
}

/* --- histories --- */

struct history {
	uint64_t seed;
	struct schedule s;
	struct schedule_now now;
	int64_t life_ms;
	bool up;	   /* the authority answers */
	bool was_down;	   /* at any time of this certificate's life */
	uint64_t asked_ns; /* last */
	uint32_t asked, renewed, expired;
};

static uint64_t below(struct history *h, uint64_t n)
{
	return random_next(&h->seed) % n;
}

static void history_ask(struct history *h)
{
	/* Dates are whole seconds: it may live for one less. */
	int64_t base_ms = (h->life_ms - 1000) / 20 < 1000 ? (h->life_ms - 1000) / 20 : 1000;
	if (h->asked > 0)
		assert_true(h->now.ns - h->asked_ns >= (uint64_t)base_ms / 4 * CLOCK_MS);
	h->asked_ns = h->now.ns;
	h->asked++;
	schedule_asked(&h->s);
	assert_false(schedule_due(&h->s, &h->now));
	h->now.ns += below(h, 50) * CLOCK_MS; /* the answer takes its time */
	if (!h->up) {
		schedule_failed(&h->s, &h->now, below(h, 4) == 0 ? (uint32_t)below(h, 600) : 0,
			random_next(&h->seed));
		return;
	}
	int64_t now_s = h->now.wall_ms / 1000;
	schedule_certificate(
		&h->s, &h->now, now_s - 60, now_s + h->life_ms / 1000, true, random_next(&h->seed));
	h->renewed++;
	h->was_down = false;
}

static void history_look(struct history *h)
{
	if (h->s.until_ms != 0 && h->now.wall_ms >= h->s.until_ms) {
		h->expired++;
		/* Never while it answers. */
		assert_true(h->was_down);
	}
	if (schedule_due(&h->s, &h->now))
		history_ask(h);
	uint64_t wake_ns = schedule_wake_ns(&h->s, &h->now);
	/* No busy loop: what is not due now is not looked at now. */
	assert_true(wake_ns > h->now.ns || schedule_due(&h->s, &h->now));
	h->now.wall_ms += (int64_t)((wake_ns - h->now.ns) / CLOCK_MS) + 1;
	h->now.ns = wake_ns + CLOCK_MS;
}

static void history_run(uint64_t seed, bool with_outages)
{
	static const int64_t lives_s[] = {4, 10, 60, 600, 3600, 86400};
	struct history h = {.seed = seed * 0x9e3779b97f4a7c15ull | 1, .now = at(0), .up = true};
	h.life_ms = lives_s[seed % ARRAY_LEN(lives_s)] * 1000;
	schedule_init(&h.s);
	uint32_t looks = 0;
	while (h.renewed < 30 && looks++ < 60000) {
		if (with_outages && below(&h, 12) == 0) {
			h.up = !h.up;
			h.was_down = true;
		}
		h.was_down |= !h.up;
		history_look(&h);
	}
	assert_int_equal(h.renewed, 30);
	assert_true(with_outages || h.asked == h.renewed);
}

static void test_histories_of_luck(void **state)
{
	for (uint64_t seed = 1; seed <= 300; seed++)
		history_run(seed, false);
}

static void test_histories_with_outages(void **state)
{
	for (uint64_t seed = 1; seed <= 300; seed++)
		history_run(seed, true);
}

/* However it is set, it is not asked for more often than the waits allow, and goes on. */
static void test_histories_of_a_clock_that_is_set(void **state)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct history h = {
			.seed = seed * 0x9e3779b97f4a7c15ull | 1, .now = at(0), .up = true};
		h.life_ms = 3600 * 1000;
		h.was_down = true;
		schedule_init(&h.s);
		for (int i = 0; i < 500; i++) {
			if (below(&h, 10) == 0)
				h.now.wall_ms += (int64_t)below(&h, 4 * 3600000) - 2 * 3600000;
			history_look(&h);
			h.was_down = true;
		}
		assert_true(h.renewed > 0);
		/* 500 looks, none of them sooner than what bounds the rate. */
		assert_true(h.now.ns > at(0).ns);
	}
}

/* While it is in force at least five more tries fit in, at any time of an outage. */
static void test_tries_are_left_to_the_end(void **state)
{
	uint64_t seed = 17;
	for (int i = 0; i < 200; i++) {
		struct schedule s;
		struct schedule_now now = at(0);
		int late = 0;
		schedule_init(&s);
		schedule_certificate(&s, &now, START_S, START_S + 3600, true, random_next(&seed));
		while (now.wall_ms < s.until_ms) {
			uint64_t wake_ns = schedule_wake_ns(&s, &now);
			now.wall_ms += (int64_t)((wake_ns - now.ns) / CLOCK_MS);
			now.ns = wake_ns;
			if (!schedule_due(&s, &now))
				continue;
			schedule_asked(&s);
			schedule_failed(&s, &now, 0, random_next(&seed));
			late += now.wall_ms > s.until_ms - 360 * 1000;
		}
		assert_true(late >= 4); /* in the last tenth */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_due_at_half_of_its_life),
		cmocka_unit_test(test_nothing_in_force_is_due_at_once),
		cmocka_unit_test(test_one_that_was_found),
		cmocka_unit_test(test_retry_after_is_obeyed_within_bounds),
		cmocka_unit_test(test_voice_gets_louder_and_is_not_repeated),
		cmocka_unit_test(test_a_gain_of_nothing_waits_longer_each_time),
		cmocka_unit_test(test_again_and_hurry),
		cmocka_unit_test(test_an_answer_to_somebody_else_ends_a_long_wait),
		cmocka_unit_test(test_an_answer_to_somebody_else_makes_nothing_late),
		cmocka_unit_test(test_clock_set_forward),
		cmocka_unit_test(test_clock_set_back),
		cmocka_unit_test(test_histories_of_luck),
		cmocka_unit_test(test_histories_with_outages),
		cmocka_unit_test(test_histories_of_a_clock_that_is_set),
		cmocka_unit_test(test_tries_are_left_to_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
