/* SPDX-License-Identifier: Apache-2.0 */
#include "balance/outlier.h"

#include "base/clock.h"

uint32_t outlier_out_max(const struct outlier_rules *rules, uint32_t count)
{
	uint32_t max = (uint32_t)((uint64_t)count * rules->ejected_percent / 100);
	if (max == 0 && rules->ejected_percent > 0)
		max = 1;
	if (max >= count)
		max = count > 0 ? count - 1 : 0;
	return max;
}

bool outlier_takes(const struct outlier *o, uint64_t now_ns)
{
	return o->state == OUTLIER_IN || now_ns >= o->until_ns;
}

uint32_t outlier_begin(struct outlier *o, const struct outlier_rules *rules, uint64_t now_ns)
{
	if (o->state == OUTLIER_IN || now_ns < o->until_ns)
		return 0;
	o->state = OUTLIER_PROBED;
	o->until_ns = now_ns + rules->ejection_ms * CLOCK_MS;
	if (++o->probe_number == 0)
		o->probe_number = 1;
	return o->probe_number;
}

void outlier_abandon(struct outlier *o, uint32_t probe_number)
{
	if (o->state != OUTLIER_PROBED || o->probe_number != probe_number)
		return;
	o->state = OUTLIER_OUT;
	o->until_ns = 0;
}

void outlier_release(struct outlier *o, struct outlier_crowd *crowd, uint64_t now_ns)
{
	if (o->state != OUTLIER_IN)
		crowd->out--;
	*o = (struct outlier){
		.times = o->times, .back_ns = now_ns, .probe_number = o->probe_number};
}

/* --- the last ten seconds --- */

static void outlier_turn(struct outlier *o, uint64_t now_ns)
{
	uint64_t second = now_ns / CLOCK_S;
	uint64_t passed = second - o->second;
	for (uint64_t i = 0; i < passed && i < OUTLIER_BUCKETS; i++) {
		size_t at = (second - i) % OUTLIER_BUCKETS;
		o->buckets[at].served = o->buckets[at].failed = 0;
	}
	o->second = second;
}

static bool outlier_serves_too_few(const struct outlier *o, const struct outlier_rules *rules)
{
	uint64_t served = 0, failed = 0;
	for (size_t i = 0; i < OUTLIER_BUCKETS; i++) {
		served += o->buckets[i].served;
		failed += o->buckets[i].failed;
	}
	return rules->success_percent > 0 && served + failed >= rules->success_calls &&
	       served * 100 < (served + failed) * rules->success_percent;
}

/* --- in and out --- */

static void outlier_count(struct outlier *o, enum outlier_verdict verdict, uint64_t now_ns)
{
	size_t at = now_ns / CLOCK_S % OUTLIER_BUCKETS;
	outlier_turn(o, now_ns);
	switch (verdict) {
	case OUTLIER_SERVED:
		o->errors = o->connect_errors = 0;
		o->buckets[at].served++;
		return;
	case OUTLIER_ERROR:
		o->errors++;
		o->connect_errors = 0;
		o->buckets[at].failed++;
		return;
	case OUTLIER_CONNECTED:
		o->connect_errors = 0;
		o->buckets[at].served++;
		return;
	case OUTLIER_UNREACHABLE:
		o->connect_errors++;
		o->buckets[at].failed++;
		return;
	}
}

static bool outlier_is_one(
	const struct outlier *o, const struct outlier_rules *rules, enum outlier_cause *ret_cause)
{
	*ret_cause = OUTLIER_BY_ERRORS;
	if (rules->errors > 0 && o->errors >= rules->errors)
		return true;
	*ret_cause = OUTLIER_BY_CONNECT_ERRORS;
	if (rules->connect_errors > 0 && o->connect_errors >= rules->connect_errors)
		return true;
	*ret_cause = OUTLIER_BY_SHARE;
	return outlier_serves_too_few(o, rules);
}

/* Quiet time since it came back takes off what it is worth. */
static uint32_t outlier_times_left(
	const struct outlier *o, const struct outlier_rules *rules, uint64_t now_ns)
{
	uint64_t forgiven = (now_ns - o->back_ns) / (rules->ejection_ms * CLOCK_MS);
	return forgiven < o->times ? o->times - (uint32_t)forgiven : 0;
}

static void outlier_eject(struct outlier *o, const struct outlier_rules *rules,
	enum outlier_cause cause, uint64_t now_ns)
{
	uint64_t ms = (uint64_t)rules->ejection_ms * (o->times + 1);
	if (ms < rules->ejection_max_ms)
		o->times++; /* more of them would make it no longer */
	else
		ms = rules->ejection_max_ms > rules->ejection_ms ? rules->ejection_max_ms
								 : rules->ejection_ms;
	*o = (struct outlier){.state = OUTLIER_OUT,
		.times = o->times,
		.until_ns = now_ns + ms * CLOCK_MS,
		.probe_number = o->probe_number,
		.cause = cause,
		.back_ns = o->back_ns};
}

static enum outlier_change outlier_judge_probe(struct outlier *o, const struct outlier_rules *rules,
	struct outlier_crowd *crowd, enum outlier_verdict verdict, uint64_t now_ns)
{
	if (verdict == OUTLIER_ERROR || verdict == OUTLIER_UNREACHABLE) {
		outlier_eject(o, rules, OUTLIER_BY_PROBE, now_ns);
		return OUTLIER_EJECTED;
	}
	outlier_release(o, crowd, now_ns);
	return OUTLIER_BACK;
}

enum outlier_change outlier_judge(struct outlier *o, const struct outlier_rules *rules,
	struct outlier_crowd *crowd, bool is_probe, enum outlier_verdict verdict, uint64_t now_ns)
{
	if (!crowd)
		return OUTLIER_STAYS;
	if (o->state == OUTLIER_PROBED && is_probe)
		return outlier_judge_probe(o, rules, crowd, verdict, now_ns);
	if (o->state != OUTLIER_IN)
		return OUTLIER_STAYS;
	outlier_count(o, verdict, now_ns);
	enum outlier_cause cause;
	if (!outlier_is_one(o, rules, &cause) || crowd->out >= outlier_out_max(rules, crowd->count))
		return OUTLIER_STAYS;
	o->times = outlier_times_left(o, rules, now_ns);
	outlier_eject(o, rules, cause, now_ns);
	crowd->out++;
	return OUTLIER_EJECTED;
}
