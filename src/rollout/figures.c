/* SPDX-License-Identifier: Apache-2.0 */
#include "judge.h"

static uint64_t figures_plus(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t figures_minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static void figures_add_sums(struct rollout_sums *total, const struct rollout_sums *before,
	const struct rollout_sums *now)
{
	static const struct rollout_sums none;
	if (now->calls < before->calls)
		before = &none;
	total->calls = figures_plus(total->calls, figures_minus(now->calls, before->calls));
	total->failed = figures_plus(total->failed, figures_minus(now->failed, before->failed));
	for (uint32_t i = 0; i < ROLLOUT_LATENCIES; i++)
		total->latencies[i] = figures_plus(total->latencies[i],
			figures_minus(now->latencies[i], before->latencies[i]));
}

void rollout_figures_add(struct rollout_figures *total, const struct rollout_figures *before,
	const struct rollout_figures *now)
{
	if (!before)
		return;
	figures_add_sums(&total->to, &before->to, &now->to);
	figures_add_sums(&total->from, &before->from, &now->from);
}

void figures_between(struct rollout_sums *ret_sums, const struct rollout_sums *before,
	const struct rollout_sums *now)
{
	*ret_sums = (struct rollout_sums){0};
	ret_sums->calls = figures_minus(now->calls, before->calls);
	ret_sums->failed = figures_minus(now->failed, before->failed);
	for (uint32_t i = 0; i < ROLLOUT_LATENCIES; i++)
		ret_sums->latencies[i] = figures_minus(now->latencies[i], before->latencies[i]);
	/* They are of different moments, or a node made them up. */
	if (ret_sums->failed > ret_sums->calls)
		ret_sums->failed = ret_sums->calls;
}

uint64_t figures_slower(const struct rollout_sums *sums, const uint64_t *bounds_ns, uint64_t ns)
{
	double slower = 0;
	for (uint32_t i = 0; i < ROLLOUT_LATENCIES; i++) {
		bool is_last = i == ROLLOUT_LATENCIES - 1;
		uint64_t lower = i > 0 ? bounds_ns[i - 1] : 0;
		if (ns <= lower)
			slower += (double)sums->latencies[i];
		else if (!is_last && ns < bounds_ns[i])
			slower += (double)sums->latencies[i] * (double)(bounds_ns[i] - ns) /
				  (double)(bounds_ns[i] - lower);
	}
	return slower < (double)sums->calls ? (uint64_t)slower : sums->calls;
}

/* The 99th of a hundred, between the bounds of its bucket as if its calls lay there evenly. */
static uint64_t figures_p99_ns(const struct rollout_sums *sums, const uint64_t *bounds_ns)
{
	double count = 0, before = 0;
	for (uint32_t i = 0; i < ROLLOUT_LATENCIES; i++)
		count += (double)sums->latencies[i];
	for (uint32_t i = 0; i < ROLLOUT_LATENCIES; i++) {
		double here = (double)sums->latencies[i];
		uint64_t lower = i > 0 ? bounds_ns[i - 1] : 0;
		if (here > 0 && before + here >= count * 0.99) {
			double part = (count * 0.99 - before) / here;
			bool has_end = i < ROLLOUT_LATENCIES - 1 && bounds_ns[i] > lower;
			return has_end ? lower + (uint64_t)(part * (double)(bounds_ns[i] - lower))
				       : lower;
		}
		before += here;
	}
	return 0;
}

struct rollout_tally rollout_tally(
	const struct rollout_sums *sums, const uint64_t bounds_ns[ROLLOUT_LATENCIES])
{
	return (struct rollout_tally){.calls = sums->calls,
		.failed = sums->failed,
		.p99_us = figures_p99_ns(sums, bounds_ns) / 1000};
}
