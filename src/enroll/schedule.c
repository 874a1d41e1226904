/* SPDX-License-Identifier: Apache-2.0 */
#include "schedule.h"

#include "base/clock.h"

#define SCHEDULE_DOUBLINGS_MAX 10
#define SCHEDULE_TRIES_LEFT    5
#define SCHEDULE_URGENT_MAX    6

void schedule_init(struct schedule *s)
{
	*s = (struct schedule){0};
}

static bool schedule_has(const struct schedule *s)
{
	return s->until_ms != 0;
}

static int64_t schedule_left_ms(const struct schedule *s, const struct schedule_now *now)
{
	return schedule_has(s) && s->until_ms > now->wall_ms ? s->until_ms - now->wall_ms : 0;
}

static uint64_t schedule_base_ms(const struct schedule *s)
{
	uint64_t base_ms = SCHEDULE_BASE_MS;
	if (schedule_has(s) && (uint64_t)(s->until_ms - s->from_ms) / 20 < base_ms)
		base_ms = (uint64_t)(s->until_ms - s->from_ms) / 20;
	return base_ms > 4 ? base_ms : 4;
}

/* --- waiting --- */

static uint64_t schedule_window_ms(
	const struct schedule *s, const struct schedule_now *now, uint32_t doublings)
{
	int64_t left_ms = schedule_left_ms(s, now);
	uint64_t max_ms = left_ms > 0 ? SCHEDULE_WINDOW_MAX_MS : SCHEDULE_WINDOW_SHORT_MS;
	if (doublings > SCHEDULE_DOUBLINGS_MAX)
		doublings = SCHEDULE_DOUBLINGS_MAX;
	uint64_t window_ms = schedule_base_ms(s) << doublings;
	if (left_ms > 0 && max_ms > (uint64_t)left_ms / SCHEDULE_TRIES_LEFT)
		max_ms = (uint64_t)left_ms / SCHEDULE_TRIES_LEFT;
	return window_ms < max_ms ? window_ms : max_ms;
}

static void schedule_hold(struct schedule *s, const struct schedule_now *now, uint32_t doublings,
	uint64_t least_ms, uint64_t random)
{
	uint64_t wait_ms = random % (schedule_window_ms(s, now, doublings) + 1);
	if (wait_ms < schedule_base_ms(s) / 4)
		wait_ms = schedule_base_ms(s) / 4;
	if (wait_ms < least_ms)
		wait_ms = least_ms;
	s->hold_ns = now->ns + wait_ms * CLOCK_MS;
}

/* What it wants, but not so long that the one in force ends without another try. */
static uint64_t schedule_obeyed_ms(
	const struct schedule *s, const struct schedule_now *now, uint32_t retry_after_s)
{
	int64_t left_ms = schedule_left_ms(s, now);
	if (retry_after_s > SCHEDULE_RETRY_AFTER_MAX_S)
		retry_after_s = SCHEDULE_RETRY_AFTER_MAX_S;
	uint64_t wait_ms = retry_after_s * 1000ull;
	return left_ms > 0 && wait_ms > (uint64_t)left_ms / 2 ? (uint64_t)left_ms / 2 : wait_ms;
}

/* --- what happens --- */

/* By the wall clock. */
static uint64_t schedule_due_in_ns(const struct schedule *s, const struct schedule_now *now)
{
	return s->due_ms > now->wall_ms ? (uint64_t)(s->due_ms - now->wall_ms) * CLOCK_MS : 0;
}

enum schedule_gain schedule_certificate(struct schedule *s, const struct schedule_now *now,
	int64_t from_s, int64_t until_s, bool is_new, uint64_t random)
{
	int64_t before_ms = s->until_ms;
	s->from_ms = from_s * 1000;
	s->until_ms = until_s * 1000;
	if (is_new && s->from_ms < now->wall_ms && now->wall_ms < s->until_ms)
		s->from_ms = now->wall_ms;
	if (s->from_ms > s->until_ms)
		s->from_ms = s->until_ms;
	int64_t half_ms = (s->until_ms - s->from_ms) / 2;
	int64_t jitter_ms = half_ms / 5 > 0 ? (int64_t)(random % (uint64_t)(half_ms / 5)) : 0;
	s->due_ms = s->from_ms + half_ms - half_ms / 10 + jitter_ms;
	s->due_ns = now->ns + schedule_due_in_ns(s, now);
	s->asking = s->is_unanswered = false;
	s->failed_count = s->spoken = 0;
	s->hold_ns = 0;
	bool vain = is_new && (s->due_ms <= now->wall_ms || s->until_ms <= before_ms);
	s->vain_count = vain ? s->vain_count + 1 : 0;
	if (!vain)
		return SCHEDULE_GOOD;
	schedule_hold(s, now, s->vain_count, schedule_base_ms(s), random);
	return SCHEDULE_VAIN;
}

void schedule_missing(struct schedule *s)
{
	s->from_ms = s->until_ms = s->due_ms = 0;
	s->due_ns = 0;
}

/* Until it is due by either clock. */
static uint64_t schedule_wait_due_ns(const struct schedule *s, const struct schedule_now *now)
{
	uint64_t by_wall_ns = schedule_due_in_ns(s, now);
	uint64_t by_time_ns = s->due_ns > now->ns ? s->due_ns - now->ns : 0;
	return by_time_ns < by_wall_ns ? by_time_ns : by_wall_ns;
}

bool schedule_due(const struct schedule *s, const struct schedule_now *now)
{
	return !s->asking && now->ns >= s->hold_ns && schedule_wait_due_ns(s, now) == 0;
}

void schedule_asked(struct schedule *s)
{
	ASSERT(!s->asking);
	s->asking = true;
}

void schedule_failed(
	struct schedule *s, const struct schedule_now *now, uint32_t retry_after_s, uint64_t random)
{
	s->asking = s->is_unanswered = false;
	schedule_hold(s, now, s->failed_count, schedule_obeyed_ms(s, now, retry_after_s), random);
	s->failed_count++;
}

void schedule_unanswered(struct schedule *s)
{
	s->is_unanswered = s->failed_count > 0 && !s->asking;
}

void schedule_reached(struct schedule *s, const struct schedule_now *now, uint64_t random)
{
	uint64_t held_ns = s->hold_ns;
	if (s->asking || !s->is_unanswered)
		return;
	s->is_unanswered = false;
	schedule_hold(s, now, 0, 0, random);
	if (held_ns < s->hold_ns)
		s->hold_ns = held_ns;
}

void schedule_again(
	struct schedule *s, const struct schedule_now *now, uint64_t interval_ms, uint64_t random)
{
	s->asking = s->is_unanswered = false;
	s->failed_count = s->spoken = 0;
	uint64_t wait_ms = interval_ms - interval_ms / 10 + random % (interval_ms / 5 + 1);
	s->hold_ns = now->ns + wait_ms * CLOCK_MS;
}

void schedule_hurry(struct schedule *s, const struct schedule_now *now)
{
	if (s->due_ms > now->wall_ms)
		s->due_ms = now->wall_ms;
	if (s->failed_count == 0)
		s->hold_ns = now->ns;
}

/* --- what it looks like --- */

static uint64_t schedule_wait_ns(const struct schedule *s, const struct schedule_now *now)
{
	uint64_t hold_ns = s->hold_ns > now->ns ? s->hold_ns - now->ns : 0;
	uint64_t due_ns = schedule_wait_due_ns(s, now);
	return hold_ns > due_ns ? hold_ns : due_ns;
}

uint64_t schedule_wake_ns(const struct schedule *s, const struct schedule_now *now)
{
	uint64_t wait_ns = schedule_wait_ns(s, now);
	if (s->asking || wait_ns > SCHEDULE_LOOK_NS)
		wait_ns = SCHEDULE_LOOK_NS;
	return now->ns + wait_ns;
}

int64_t schedule_next_s(const struct schedule *s, const struct schedule_now *now)
{
	uint64_t wait_ms = s->asking ? 0 : schedule_wait_ns(s, now) / CLOCK_MS;
	return (now->wall_ms + (int64_t)wait_ms + 999) / 1000;
}

enum enroll_state schedule_state(const struct schedule *s, const struct schedule_now *now)
{
	if (!schedule_has(s))
		return ENROLL_MISSING;
	int64_t left_ms = schedule_left_ms(s, now);
	if (left_ms == 0)
		return ENROLL_EXPIRED;
	if (schedule_wait_due_ns(s, now) > 0 && s->failed_count == 0)
		return ENROLL_FRESH;
	if (left_ms < (s->until_ms - s->from_ms) / 4)
		return ENROLL_ENDING;
	return s->failed_count > 0 ? ENROLL_FAILING : ENROLL_DUE;
}

/* 1: the first failure; 2 and more: a quarter, an eighth … of the life is left; the end. */
static uint32_t schedule_urgency(const struct schedule *s, const struct schedule_now *now)
{
	if (!schedule_has(s))
		return 1;
	int64_t left_ms = schedule_left_ms(s, now), share_ms = (s->until_ms - s->from_ms) / 4;
	uint32_t urgency = 1;
	if (left_ms == 0)
		return SCHEDULE_URGENT_MAX;
	for (; left_ms < share_ms && urgency + 1 < SCHEDULE_URGENT_MAX; share_ms /= 2)
		urgency++;
	return urgency;
}

enum schedule_voice schedule_speak(struct schedule *s, const struct schedule_now *now)
{
	uint32_t urgency = schedule_urgency(s, now);
	if (s->failed_count == 0)
		return SCHEDULE_SILENT;
	if (urgency <= s->spoken && now->ns < s->spoken_ns + SCHEDULE_REPEAT_NS)
		return SCHEDULE_SILENT;
	s->spoken = urgency;
	s->spoken_ns = now->ns;
	return urgency > 1 ? SCHEDULE_ERROR : SCHEDULE_WARNING;
}
