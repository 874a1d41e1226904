/* SPDX-License-Identifier: Apache-2.0 */
/* One slot: what is granted is spent, in its window, by its key, and nothing else. */
#include "ledger_lab.h"

#include "ledger/slots.h"

static void test_away_until_the_store_is_believed(void **state)
{
	struct lab lab;
	struct ledger_left left;
	lab_init(&lab);
	struct ledger_limit_rule rule = lab_rule(1, 100);
	assert_int_equal(ledger_limit_take(lab.proxy, &rule, LAB_NOW, &left), LEDGER_AWAY);
	assert_int_equal(left.remaining, 0);
	assert_int_equal(left.reset_ns, 1001 * LAB_S);
	lease_set_believed(lab.state, LAB_NOW + 1);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_TAKEN);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW + 1), LEDGER_AWAY);
	lease_set_believed(lab.state, 0);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_AWAY);
	lab_done(&lab);
}

static void test_spends_what_is_granted_and_no_more(void **state)
{
	struct lab lab;
	struct ledger_left left;
	lab_init(&lab);
	struct ledger_limit_rule rule = lab_rule(1, 1000);
	lease_set_believed(lab.state, UINT64_MAX);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_TAKEN); /* lent */
	struct lease_slot slot = lab_wanted(&lab);
	assert_true(lease_same(lab.state, &slot));
	assert_int_equal(slot.rule.amount, 1000);
	assert_int_equal(slot.rule.window_ms, 1000);
	struct lease_hand hand = lease_hand(lab.state, &slot, 1000);
	assert_int_equal(hand.lent, 1);
	assert_false(hand.is_told);
	lease_tell(lab.state, &slot, 1000, 990, 1);
	lease_grant(lab.state, &slot, 1000, 7);
	lease_grant(lab.state, &slot, 1000, 2);
	assert_int_equal(lease_hand(lab.state, &slot, 1000).tokens, 9);
	assert_true(lease_hand(lab.state, &slot, 1000).is_told);
	for (uint32_t i = 0; i < 9; i++) {
		assert_int_equal(ledger_limit_take(lab.proxy, &rule, LAB_NOW, &left), LEDGER_TAKEN);
		assert_int_equal(left.remaining, 990 + 9 - i - 1);
	}
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_SPENT);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_SPENT);
	assert_int_equal(lease_refused(lab.state, &slot), 2);
	assert_int_equal(lease_hand(lab.state, &slot, 1000).tokens, 0);
	lab_done(&lab);
}

static void test_tokens_are_void_outside_their_window(void **state)
{
	struct lab lab;
	lab_init(&lab);
	struct ledger_limit_rule rule = lab_rule(1, 8); /* credit of 1 */
	lease_set_believed(lab.state, UINT64_MAX);
	(void)lab_take(&lab, &rule, LAB_NOW);
	struct lease_slot slot = lab_wanted(&lab);
	for (uint64_t w = 1000; w <= 1001; w++) {
		lease_tell(lab.state, &slot, w, 0, 0);
		lease_grant(lab.state, &slot, w, (uint32_t)(w - 999));
	}
	/* the one that runs, then the next, each with its own */
	assert_int_equal(lab_take(&lab, &rule, 1001 * LAB_S - 1), LEDGER_TAKEN);
	assert_int_equal(lab_take(&lab, &rule, 1001 * LAB_S - 1), LEDGER_SPENT);
	assert_int_equal(lab_take(&lab, &rule, 1001 * LAB_S), LEDGER_TAKEN);
	/* two later in the same place: nothing of it, only what is lent */
	assert_int_equal(lab_take(&lab, &rule, 1003 * LAB_S), LEDGER_TAKEN);
	assert_int_equal(lab_take(&lab, &rule, 1003 * LAB_S), LEDGER_SPENT);
	assert_int_equal(lease_hand(lab.state, &slot, 1003).lent, 1);
	assert_int_equal(lease_hand(lab.state, &slot, 1003).tokens, 0);
	lease_grant(lab.state, &slot, 1003, 3);
	assert_int_equal(lease_hand(lab.state, &slot, 1003).tokens, 3);
	assert_int_equal(lease_take_back(lab.state, &slot, 1001, 10), 0);
	assert_int_equal(lease_take_back(lab.state, &slot, 1003, 2), 2);
	assert_int_equal(lease_take_back(lab.state, &slot, 1003, 2), 1);
	lab_done(&lab);
}

static void test_windows_are_of_the_stores_clock(void **state)
{
	static const int64_t clocks[] = {0, 300 * (int64_t)LAB_S, -500 * (int64_t)LAB_S,
		1764236129 * (int64_t)LAB_S + 123456789, INT64_MAX, INT64_MIN, -1};
	struct lab lab;
	struct ledger_left left;
	lab_init(&lab);
	lease_set_believed(lab.state, UINT64_MAX);
	for (size_t i = 0; i < ARRAY_LEN(clocks); i++) {
		struct ledger_limit_rule rule = lab_rule(i, 8);
		lease_set_clock(lab.state, clocks[i]);
		assert_int_equal(lease_clock(lab.state), clocks[i]);
		assert_int_equal(ledger_limit_take(lab.proxy, &rule, LAB_NOW, &left), LEDGER_TAKEN);
		assert_true(left.reset_ns > LAB_NOW && left.reset_ns <= LAB_NOW + LAB_S);
		uint64_t window = lease_window(lab.state, LAB_NOW, 1000);
		assert_true(lease_window(lab.state, left.reset_ns - 1, 1000) == window);
		struct lease_slot slot = lab_wanted(&lab);
		assert_int_equal(lease_hand(lab.state, &slot, window).lent, 1);
	}
	lab_done(&lab);
}

static void test_lends_a_little_until_told(void **state)
{
	struct lab lab;
	struct ledger_left left;
	lab_init(&lab);
	lease_set_believed(lab.state, UINT64_MAX);
	struct ledger_limit_rule rule = lab_rule(1, 1000);
	uint32_t credit = ledger_limit_credit(1000, 1000);
	assert_int_equal(credit, 40);
	for (uint32_t i = 0; i < credit; i++) {
		assert_int_equal(ledger_limit_take(lab.proxy, &rule, LAB_NOW, &left), LEDGER_TAKEN);
		assert_int_equal(left.remaining, 1000 - i - 1);
	}
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_SPENT);
	struct lease_slot slot = lab_wanted(&lab);
	lease_tell(lab.state, &slot, 1000, 500, credit + 2); /* two more */
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_TAKEN);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_TAKEN);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_SPENT);
	lease_tell(lab.state, &slot, 1000, 0, 0);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_SPENT);
	assert_int_equal(lease_hand(lab.state, &slot, 1000).lent, credit + 2);
	lab_done(&lab);
}

/* Who slept through a window or two lends nothing of one that is over, and forgets nothing of the
 * one that runs. */
static void test_who_slept_lends_nothing(void **state)
{
	for (uint64_t later = 2; later <= LEDGER_LATE; later += 2) {
		struct lab lab;
		lab_init(&lab);
		lease_set_believed(lab.state, UINT64_MAX);
		struct ledger_limit_rule rule = lab_rule(1, 8);
		assert_int_equal(lab_take(&lab, &rule, LAB_NOW + later * LAB_S), LEDGER_TAKEN);
		assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_SPENT);
		assert_int_equal(lab_take(&lab, &rule, LAB_NOW + later * LAB_S), LEDGER_SPENT);
		lab_done(&lab);
	}
}

/* The store's clock has gone back, for it is another server's now. */
static void test_lends_when_the_clock_has_gone_back(void **state)
{
	static const int64_t back_s[] = {20, 100, 3600, 86400, 100000000};
	for (size_t i = 0; i < ARRAY_LEN(back_s); i++) {
		struct lab lab;
		lab_init(&lab);
		lease_set_believed(lab.state, UINT64_MAX);
		struct ledger_limit_rule rule = lab_rule(1, 8);
		for (uint64_t s = 0; s < 10; s++) {
			int64_t clock_s = 1764236129 - (s < 2 ? 0 : back_s[i]);
			lease_set_clock(lab.state, clock_s * (int64_t)LAB_S);
			assert_int_equal(lab_take(&lab, &rule, LAB_NOW + s * LAB_S), LEDGER_TAKEN);
			assert_int_equal(lab_take(&lab, &rule, LAB_NOW + s * LAB_S), LEDGER_SPENT);
		}
		lab_done(&lab);
	}
}

static void test_credit_is_small(void **state)
{
	assert_int_equal(ledger_limit_credit(0, 1000), 0);
	assert_int_equal(ledger_limit_credit(1, 1000), 1);
	assert_int_equal(ledger_limit_credit(5, 60000), 1);
	assert_int_equal(ledger_limit_credit(100, 100), 12);
	assert_int_equal(ledger_limit_credit(600000, 60000), 400);
	for (uint64_t amount = 1; amount <= UINT32_MAX; amount = amount * 3 + 1) {
		for (uint64_t ms = LEDGER_WINDOW_MS_MIN; ms <= UINT32_MAX; ms = ms * 7) {
			uint32_t credit = ledger_limit_credit((uint32_t)amount, (uint32_t)ms);
			assert_true(credit >= 1 && (credit == 1 || credit <= amount / 8));
		}
	}
}

static void test_a_key_that_the_store_garbles_is_away(void **state)
{
	struct lab lab;
	lab_init(&lab);
	struct ledger_limit_rule bad = lab_rule(1, 8), good = lab_rule(2, 8);
	lease_set_believed(lab.state, UINT64_MAX);
	assert_int_equal(lab_take(&lab, &bad, LAB_NOW), LEDGER_TAKEN);
	struct lease_slot slot = lab_wanted(&lab);
	lease_set_away(lab.state, &slot, 1000);
	assert_int_equal(lab_take(&lab, &bad, LAB_NOW), LEDGER_AWAY);
	assert_int_equal(lab_take(&lab, &good, LAB_NOW), LEDGER_TAKEN);
	assert_int_equal(lab_take(&lab, &bad, LAB_NOW + LAB_S), LEDGER_TAKEN);
	lab_done(&lab);
}

/* Whoever had the slot before: its tokens are not the new one's, nor the other way round. */
static void test_an_idle_slot_becomes_anothers(void **state)
{
	struct lab lab;
	lab_init(&lab);
	lease_set_believed(lab.state, UINT64_MAX);
	struct ledger_limit_rule rule;
	uint32_t made = 0;
	for (uint64_t n = 0; n < 4 * LEDGER_LIMITS; n++) {
		rule = lab_rule(n, 8);
		made += lab_take(&lab, &rule, LAB_NOW) == LEDGER_TAKEN;
	}
	assert_int_equal(made, LEDGER_LIMITS);
	struct lease_slot before[LEDGER_LIMITS], now;
	for (uint32_t i = 0; i < LEDGER_LIMITS; i++) {
		assert_true(lease_look(lab.state, i, &before[i]));
		lease_tell(lab.state, &before[i], 1040, 0, 0);
		lease_grant(lab.state, &before[i], 1040, 8);
	}
	/* still somebody's: none to be had */
	rule = lab_rule(1000000, 8);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW + 29 * LAB_S), LEDGER_FULL);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW + 40 * LAB_S), LEDGER_TAKEN);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW + 40 * LAB_S), LEDGER_SPENT);
	uint32_t changed = 0;
	for (uint32_t i = 0; i < LEDGER_LIMITS; i++) {
		if (lease_same(lab.state, &before[i]))
			continue;
		changed++;
		assert_true(lease_look(lab.state, i, &now));
		assert_true(now.rule.id.word[0] == rule.id.word[0]);
		assert_int_equal(now.turn, before[i].turn + 1);
		assert_int_equal(lease_hand(lab.state, &now, 1040).tokens, 0);
		/* late for the one before */
		lease_grant(lab.state, &before[i], 1040, 5);
		assert_int_equal(lease_hand(lab.state, &now, 1040).tokens, 0);
	}
	assert_int_equal(changed, 1);
	lab_done(&lab);
}

static void test_a_slot_in_use_stays(void **state)
{
	struct lab lab;
	lab_init(&lab);
	lease_set_believed(lab.state, UINT64_MAX);
	struct ledger_limit_rule rule = lab_rule(1, 8);
	(void)lab_take(&lab, &rule, LAB_NOW);
	struct lease_slot slot = lab_wanted(&lab);
	for (uint64_t s = 1; s < 200; s += 20) {
		(void)lab_take(&lab, &rule, LAB_NOW + s * LAB_S);
		for (uint64_t n = 0; n < 2 * LEDGER_LIMITS; n++) {
			struct ledger_limit_rule other = lab_rule(s * 1000000 + n, 8);
			(void)lab_take(&lab, &other, LAB_NOW + s * LAB_S);
		}
		assert_true(lease_same(lab.state, &slot));
	}
	lab_done(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_away_until_the_store_is_believed),
		cmocka_unit_test(test_spends_what_is_granted_and_no_more),
		cmocka_unit_test(test_tokens_are_void_outside_their_window),
		cmocka_unit_test(test_windows_are_of_the_stores_clock),
		cmocka_unit_test(test_lends_a_little_until_told),
		cmocka_unit_test(test_who_slept_lends_nothing),
		cmocka_unit_test(test_lends_when_the_clock_has_gone_back),
		cmocka_unit_test(test_credit_is_small),
		cmocka_unit_test(test_a_key_that_the_store_garbles_is_away),
		cmocka_unit_test(test_an_idle_slot_becomes_anothers),
		cmocka_unit_test(test_a_slot_in_use_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
