/* SPDX-License-Identifier: Apache-2.0 */
#include "judge.h"

#include <math.h>

/* The worse shares that are thought of: odds of so many times the allowed ones, each by the factor
 * above the last one, up to some 45,000 times. */
#define JUDGE_ALTERNATIVES 48
#define JUDGE_FACTOR	   1.25
#define JUDGE_ALLOWED_MIN  1e-6 /* "none at all" is not meant that strictly */
/* At the last step the old version gets no calls, and what it was before may not be known; earlier
 * it may have no instance any more. So many
 * times the calls that are enough to go on, with fewer of the old one, and it is not waited for. */
#define JUDGE_ALONE_TIMES 10

#define JUDGE_SLOW_ALLOWED 0.01

struct judge_counts {
	uint64_t bad, calls;
};

double judge_evidence(uint64_t bad, uint64_t calls, double allowed)
{
	double logs[JUDGE_ALTERNATIVES], most = 0, sum = 0;
	double good = (double)(calls - bad);
	if (allowed >= 1 || bad == 0)
		return 0;
	if (allowed < JUDGE_ALLOWED_MIN)
		allowed = JUDGE_ALLOWED_MIN;
	double odds = allowed / (1 - allowed);
	for (uint32_t i = 0; i < JUDGE_ALTERNATIVES; i++) {
		odds *= JUDGE_FACTOR;
		double share = odds / (1 + odds);
		logs[i] =
			(double)bad * log(share / allowed) - good * (log1p(odds) + log1p(-allowed));
		most = i == 0 || logs[i] > most ? logs[i] : most;
	}
	for (uint32_t i = 0; i < JUDGE_ALTERNATIVES; i++)
		sum += exp(logs[i] - most);
	return most + log(sum / JUDGE_ALTERNATIVES);
}

static bool judge_is_clear(double evidence)
{
	return evidence >= log(JUDGE_EVIDENCE);
}

static bool judge_is_above(struct judge_counts c, double allowed)
{
	return c.bad >= JUDGE_BAD_MIN && judge_is_clear(judge_evidence(c.bad, c.calls, allowed));
}

static bool judge_share_within(struct judge_counts c, double allowed)
{
	return (double)c.bad <= (double)c.calls * allowed + 1e-9;
}

/* Bad calls fall on the new version by its share of all calls when they hit both alike. */
static bool judge_is_worse(struct judge_counts to, struct judge_counts from)
{
	double all = (double)to.calls + (double)from.calls;
	uint64_t bad = to.bad + from.bad;
	if (bad < to.bad) /* run over: such figures are nobody's */
		return false;
	return judge_is_clear(judge_evidence(to.bad, bad, (double)to.calls / all));
}

static struct judged judge_counts(const struct rollout_rule *rule, uint32_t percent,
	struct judge_counts to, struct judge_counts from, double allowed)
{
	bool is_above = judge_is_above(to, allowed);
	bool is_within = judge_share_within(to, allowed);
	bool is_alone =
		from.calls < rule->calls_min &&
		(percent == 100 || to.calls >= (uint64_t)rule->calls_min * JUDGE_ALONE_TIMES);
	if (is_above && (is_alone || judge_is_worse(to, from)))
		return (struct judged){.verdict = JUDGE_BAD, .is_alone = is_alone};
	if (is_within)
		return (struct judged){.verdict = JUDGE_GOOD};
	bool is_old_bad = judge_is_above(from, allowed);
	if (is_old_bad && (is_above || to.calls >= rule->calls_min))
		return (struct judged){.verdict = JUDGE_BOTH};
	/* not worse than the old one, which is not clearly bad */
	if (!is_above && !is_old_bad && from.calls > 0 &&
		(double)to.bad * (double)from.calls <= (double)from.bad * (double)to.calls)
		return (struct judged){.verdict = JUDGE_GOOD};
	return (struct judged){.verdict = JUDGE_UNCLEAR, .is_alone = is_alone};
}

static double judge_allowed(const struct rollout_rule *rule)
{
	return (1000.0 - rule->success_tenths) / 1000.0;
}

static uint64_t judge_slow_ns(const struct rollout_rule *rule)
{
	return (uint64_t)rule->p99_ms * 1000000;
}

static struct judge_counts judge_slow(
	const struct rollout_rule *rule, const struct rollout_sums *sums, const uint64_t *bounds_ns)
{
	return (struct judge_counts){
		figures_slower(sums, bounds_ns, judge_slow_ns(rule)), sums->calls};
}

struct judged judge_window(const struct rollout_rule *rule, uint32_t percent,
	const struct judge_window *window, const uint64_t *bounds_ns)
{
	struct judged worst = {.verdict = JUDGE_GOOD};
	if (rule->success_tenths > 0) {
		worst = judge_counts(rule, percent,
			(struct judge_counts){window->to.failed, window->to.calls},
			(struct judge_counts){window->from.failed, window->from.calls},
			judge_allowed(rule));
		worst.question = JUDGE_FAILED;
	}
	if (rule->p99_ms > 0) {
		struct judged slow =
			judge_counts(rule, percent, judge_slow(rule, &window->to, bounds_ns),
				judge_slow(rule, &window->from, bounds_ns), JUDGE_SLOW_ALLOWED);
		slow.question = JUDGE_SLOW;
		worst = slow.verdict > worst.verdict ? slow : worst;
	}
	return worst;
}

bool judge_is_within(
	const struct rollout_rule *rule, const struct rollout_sums *sums, const uint64_t *bounds_ns)
{
	struct judge_counts failed = {sums->failed, sums->calls};
	return (rule->success_tenths == 0 || judge_share_within(failed, judge_allowed(rule))) &&
	       (rule->p99_ms == 0 ||
		       judge_share_within(judge_slow(rule, sums, bounds_ns), JUDGE_SLOW_ALLOWED));
}
