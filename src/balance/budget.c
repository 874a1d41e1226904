/* SPDX-License-Identifier: Apache-2.0 */
/* What was earned stands in one word, so that workers need no lock: the turn of ten seconds in
 * which it was last looked at, what is left from the turn before, what was earned in this one, both
 * in hundredths of a retry. More than fits is not kept: some 40,000 retries. */
#include "balance/budget.h"

#include "base/clock.h"

#define BUDGET_TURN_NS	 (10 * CLOCK_S)
#define BUDGET_COST	 100
#define BUDGET_SUM_BITS	 22
#define BUDGET_SUM_MAX	 ((1u << BUDGET_SUM_BITS) - 1)
#define BUDGET_TURN_BITS 20
#define BUDGET_TURN_MAX	 ((1u << BUDGET_TURN_BITS) - 1)
#define BUDGET_AHEAD	 2 /* turns */

struct budget_sums {
	uint32_t turn, before, now;
};

static struct budget_sums budget_read(uint64_t word)
{
	return (struct budget_sums){
		.turn = (uint32_t)(word >> 2 * BUDGET_SUM_BITS),
		.before = (uint32_t)(word >> BUDGET_SUM_BITS) & BUDGET_SUM_MAX,
		.now = (uint32_t)word & BUDGET_SUM_MAX,
	};
}

static uint64_t budget_word(struct budget_sums s)
{
	return (uint64_t)s.turn << 2 * BUDGET_SUM_BITS | (uint64_t)s.before << BUDGET_SUM_BITS |
	       s.now;
}

/* Turns are numbered round and round, once in 121 days. One or two back, another worker was here
 * first, whose clock is ahead; all else is long ago, such as the first turn of a fresh budget on a
 * machine that has been up for months. */
static struct budget_sums budget_turn(struct budget_sums s, uint64_t now_ns)
{
	uint32_t turn = (uint32_t)(now_ns / BUDGET_TURN_NS) & BUDGET_TURN_MAX;
	uint32_t passed = (turn - s.turn) & BUDGET_TURN_MAX;
	if (passed == 0 || passed > BUDGET_TURN_MAX - BUDGET_AHEAD)
		return s;
	return (struct budget_sums){.turn = turn, .before = passed == 1 ? s.now : 0};
}

void budget_request(struct budget *b, uint32_t percent, uint64_t now_ns)
{
	uint64_t word = atomic_load_explicit(&b->earned, memory_order_relaxed);
	struct budget_sums s;
	do {
		s = budget_turn(budget_read(word), now_ns);
		s.now = s.now + percent < BUDGET_SUM_MAX ? s.now + percent : BUDGET_SUM_MAX;
	} while (!atomic_compare_exchange_weak_explicit(
		&b->earned, &word, budget_word(s), memory_order_relaxed, memory_order_relaxed));
}

/* The oldest first. */
static bool budget_spend(struct budget *b, uint64_t now_ns)
{
	uint64_t word = atomic_load_explicit(&b->earned, memory_order_relaxed);
	struct budget_sums s;
	do {
		s = budget_turn(budget_read(word), now_ns);
		if (s.before + s.now < BUDGET_COST)
			return false;
		uint32_t old = s.before < BUDGET_COST ? s.before : BUDGET_COST;
		s.before -= old;
		s.now -= BUDGET_COST - old;
	} while (!atomic_compare_exchange_weak_explicit(
		&b->earned, &word, budget_word(s), memory_order_relaxed, memory_order_relaxed));
	return true;
}

/* Each takes a part of a second, rounded up; a second of them may be taken at once, for which all
 * that was rounded up is allowed. */
static bool budget_take_free(struct budget *b, uint32_t per_second, uint64_t now_ns)
{
	if (per_second == 0)
		return false;
	uint64_t part_ns = (CLOCK_S + per_second - 1) / per_second;
	uint64_t at_ns = atomic_load_explicit(&b->free_at_ns, memory_order_relaxed), next_ns;
	do {
		next_ns = (at_ns > now_ns ? at_ns : now_ns) + part_ns;
		if (next_ns > now_ns + CLOCK_S + per_second)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&b->free_at_ns, &at_ns, next_ns, memory_order_relaxed, memory_order_relaxed));
	return true;
}

bool budget_retry(struct budget *b, uint32_t per_second, uint64_t now_ns)
{
	return budget_spend(b, now_ns) || budget_take_free(b, per_second, now_ns);
}
