/* SPDX-License-Identifier: Apache-2.0 */
/* Whether figures speak against the new version. Inside the rollout room.
 *
 * Two things can be asked of a version: that no more than so many of its calls fail, and that no
 * more than one in a hundred takes longer than so long (which is what a p99 says). Both are shares
 * of calls, and both are judged alike, by two questions:
 *
 *   - is the new version's share above what the rule allows?
 *   - is it above the old version's? If failures hit both alike, each one is the new version's
 *     with the probability of its share of the calls.
 *
 * The answer to each is evidence that may be looked at after every call without growing wrong by
 * it: a likelihood ratio, averaged over many possible worse shares, of which the chance to ever
 * exceed E is at most 1/E as long as the share is not above (Ville's inequality). "Clear" is E =
 * 10,000, for each window that is looked at: the step so far, and its last 30 to 60 seconds, so
 * that a long good beginning does not hide that it has just broken. And JUDGE_BAD_MIN bad calls
 * there must be, for calls do not fail quite independently.
 *
 * So: the first of three failing is nothing; of a version that fails 30 %, wanted 0.5 %, some 20
 * calls are enough; one or two slow calls of fifty are nothing. */
#pragma once

#include "rollout/rollout.h"

#define JUDGE_EVIDENCE 10000
#define JUDGE_BAD_MIN  5 /* calls of the new version */

enum judge_verdict {
	JUDGE_GOOD,
	JUDGE_UNCLEAR, /* not good, and not to be told from chance, or from the old version, yet */
	JUDGE_BOTH,    /* the new version is not good, and neither is the old one: clearly */
	JUDGE_BAD,     /* clearly, and clearly worse than the old one */
};

/* What is asked about, for the text. */
enum judge_question { JUDGE_FAILED, JUDGE_SLOW };

struct judge_window {
	struct rollout_sums to, from;
};

struct judged {
	enum judge_verdict verdict;
	enum judge_question question; /* which gave it; GOOD: any */
	bool is_alone;		      /* nothing to compare with */
};

/* ln of the evidence that of calls more than `allowed` are bad, when `bad` of `calls` were. */
double judge_evidence(uint64_t bad, uint64_t calls, double allowed);

/* Of all that is asked, the worst answer. `percent`: of the step. */
struct judged judge_window(const struct rollout_rule *rule, uint32_t percent,
	const struct judge_window *window, const uint64_t *bounds_ns);
/* Whether the shares by themselves are within the rule, chance aside. */
bool judge_is_within(const struct rollout_rule *rule, const struct rollout_sums *sums,
	const uint64_t *bounds_ns);

/* --- figures.c --- */
void figures_between(struct rollout_sums *ret_sums, const struct rollout_sums *before,
	const struct rollout_sums *now);
/* How many calls took longer, by interpolation. */
uint64_t figures_slower(const struct rollout_sums *sums, const uint64_t *bounds_ns, uint64_t ns);
