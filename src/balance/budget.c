/* SPDX-License-Identifier: Apache-2.0 */
#include "balance/budget.h"

#include "base/clock.h"

#define BUDGET_TURN_NS	(10 * CLOCK_S)
#define BUDGET_FREE_MAX (BUDGET_PER_SECOND * CLOCK_S)
#define BUDGET_COST	100 /* of what is earned */

static void budget_look(struct budget *b, uint64_t now_ns)
{
	uint64_t passed_ns = now_ns - b->now_ns;
	/* what a second brings is the most that there can be */
	if (b->now_ns == 0 || passed_ns >= CLOCK_S)
		b->free = BUDGET_FREE_MAX;
	else
		b->free += passed_ns * BUDGET_PER_SECOND;
	if (b->free > BUDGET_FREE_MAX)
		b->free = BUDGET_FREE_MAX;
	b->now_ns = now_ns;
	if (now_ns - b->turned_ns < BUDGET_TURN_NS)
		return;
	b->before = now_ns - b->turned_ns < 2 * BUDGET_TURN_NS ? b->earned : 0;
	b->earned = 0;
	b->turned_ns = now_ns - (now_ns - b->turned_ns) % BUDGET_TURN_NS;
}

void budget_request(struct budget *b, uint64_t now_ns)
{
	budget_look(b, now_ns);
	b->earned += BUDGET_PERCENT;
}

/* The oldest first. */
bool budget_retry(struct budget *b, uint64_t now_ns)
{
	budget_look(b, now_ns);
	if (b->before + b->earned >= BUDGET_COST) {
		uint64_t old = b->before < BUDGET_COST ? b->before : BUDGET_COST;
		b->before -= old;
		b->earned -= BUDGET_COST - old;
		return true;
	}
	if (b->free < CLOCK_S)
		return false;
	b->free -= CLOCK_S;
	return true;
}
