/* SPDX-License-Identifier: Apache-2.0 */
/* One look at a rollout: the operator's order first, then what the figures say. All moves are in
 * rollout_look() and what it calls by name machine_*. */
#include "judge.h"

#include "words.h"
#include <stdarg.h>
#include <stdio.h>

#define MACHINE_RECENT_MS 30000 /* the younger of the two last moments is at least so old */
#define MACHINE_LOOK_MS	  30000 /* no more time than this counts from one look to the next */

struct machine {
	const struct rollout_rule *rule;
	const struct rollout_progress *progress; /* that belongs to the rule; NULL: none */
	struct rollout_watch *watch;
	const struct rollout_seen *seen;
	struct rollout_turn *turn;
	struct judge_window step, recent; /* what is judged */
	struct rollout_sums from;	  /* of the step, as it is */
};

/* --- words --- */

static void machine_say(struct machine *m, const char *format, ...) PRINTF_LIKE(2, 3);
static void machine_say(struct machine *m, const char *format, ...)
{
	va_list arguments;
	char text[ROLLOUT_WHY_MAX + 1];
	va_start(arguments, format);
	int len = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	size_t used = words_print(str_of(len < 0 ? "" : text), m->turn->why, ROLLOUT_WHY_MAX);
	m->turn->why[used] = '\0';
	m->turn->judged.why = (struct str){m->turn->why, used};
}

static const char *machine_time(uint64_t ms, char text[24])
{
	uint64_t s = ms / 1000;
	if (ms > 0 && ms < 1000)
		snprintf(text, 24, "%llums", (unsigned long long)ms);
	else if (s < 120 || (s < 3600 && s % 60 != 0))
		snprintf(text, 24, s % 60 == 0 && s > 0 ? "%llum" : "%llus",
			(unsigned long long)(s % 60 == 0 && s > 0 ? s / 60 : s));
	else if (s < 7200 || s % 3600 != 0)
		snprintf(text, 24, "%llum", (unsigned long long)(s / 60));
	else
		snprintf(text, 24, "%lluh", (unsigned long long)(s / 3600));
	return text;
}

/* "99.92 % of 1200" */
static const char *machine_served(const struct rollout_sums *sums, char text[48])
{
	if (sums->calls == 0)
		return "no call";
	double served = (double)(sums->calls - sums->failed) * 10000 / (double)sums->calls;
	uint32_t hundredths = (uint32_t)served; /* never 100 % when one failed */
	snprintf(text, 48, "%u.%02u %% of %llu", hundredths / 100, hundredths % 100,
		(unsigned long long)sums->calls);
	return text;
}

static const char *machine_p99(
	const struct machine *m, const struct rollout_sums *sums, char text[32])
{
	uint64_t us = rollout_tally(sums, m->seen->bounds_ns).p99_us;
	if (us < 10000)
		snprintf(text, 32, "%llu.%llums", (unsigned long long)(us / 1000),
			(unsigned long long)(us % 1000 / 100));
	else
		snprintf(text, 32, "%llums", (unsigned long long)(us / 1000));
	return text;
}

/* "p99 of v2 is 820ms, wanted 300ms; of v1 140ms" */
static void machine_say_judged(struct machine *m, const char *before, struct judged judged,
	const struct judge_window *window)
{
	char to[48], from[48];
	const struct rollout_rule *rule = m->rule;
	bool is_slow = judged.question == JUDGE_SLOW;
	if (is_slow)
		machine_say(m, "%sp99 of %.*s is %s, wanted %ums; of %.*s %s", before,
			STR_ARG(rule->to), machine_p99(m, &window->to, to), rule->p99_ms,
			STR_ARG(rule->from), machine_p99(m, &window->from, from));
	else
		machine_say(m, "%s%.*s served %s, wanted %u.%u %%; %.*s %s", before,
			STR_ARG(rule->to), machine_served(&window->to, to),
			rule->success_tenths / 10, rule->success_tenths % 10, STR_ARG(rule->from),
			machine_served(&window->from, from));
}

/* --- moves --- */

/* The only place that moves. What was said last is why. */
static void machine_move(struct machine *m, enum rollout_state state, uint32_t step)
{
	const struct rollout_rule *rule = m->rule;
	ASSERT(step < rule->step_count);
	m->turn->moves = true;
	m->turn->next = (struct rollout_progress){.attempt = rule->attempt,
		.from = rule->from,
		.to = rule->to,
		.state = state,
		.step = step,
		.since_ms = m->seen->now_ms,
		.why = m->turn->judged.why};
}

/* One that is over may have ended in a step that the rule has no more. */
static uint32_t machine_step(const struct machine *m)
{
	uint32_t last = m->rule->step_count - 1;
	uint32_t step = m->progress ? m->progress->step : 0;
	return step < last ? step : last;
}

static uint32_t machine_percent(const struct machine *m)
{
	return m->rule->steps[machine_step(m)];
}

/* As of the window that ends. */
static void machine_old(const struct machine *m, struct rollout_sums *ret_old)
{
	const struct rollout_watch *w = m->watch;
	*ret_old = (struct rollout_sums){0};
	if (!w->is_begun || w->attempt != m->rule->attempt)
		return;
	figures_between(ret_old, &w->begun.from, &m->seen->total->from);
	if (ret_old->calls < m->rule->calls_min)
		*ret_old = w->old;
}

static void machine_begin_watch(struct machine *m)
{
	const struct rollout_progress *p = m->progress;
	struct rollout_sums old;
	machine_old(m, &old);
	*m->watch = (struct rollout_watch){.is_begun = true,
		.old = old,
		.attempt = m->rule->attempt,
		.since_ms = p ? p->since_ms : 0,
		.step = machine_step(m),
		.state = p ? p->state : ROLLOUT_STEPPING,
		.begun = *m->seen->total,
		.recent = {*m->seen->total, *m->seen->total},
		.recent_ms = m->seen->now_ms};
}

static bool machine_is_watched(const struct machine *m)
{
	const struct rollout_watch *w = m->watch;
	const struct rollout_progress *p = m->progress;
	return w->is_begun && w->attempt == m->rule->attempt &&
	       w->since_ms == (p ? p->since_ms : 0) && w->step == machine_step(m) &&
	       w->state == (p ? p->state : ROLLOUT_STEPPING);
}

/* Half of the mesh must tell, or good figures are the luck of a few. */
static bool machine_is_fresh(const struct machine *m)
{
	return m->seen->told_count > 0 && m->seen->told_count >= m->seen->silent_count;
}

/* Where the old version gets next to nothing, it is taken for what it was. */
static struct rollout_sums machine_with_old(const struct machine *m, const struct rollout_sums *now)
{
	bool is_last = machine_percent(m) == 100;
	return is_last && m->watch->old.calls >= m->rule->calls_min ? m->watch->old : *now;
}

static void machine_watch(struct machine *m)
{
	struct rollout_watch *w = m->watch;
	uint64_t now_ms = m->seen->now_ms;
	if (!machine_is_watched(m))
		machine_begin_watch(m);
	uint64_t passed_ms = w->looked_ms && now_ms > w->looked_ms ? now_ms - w->looked_ms : 0;
	bool is_fresh = machine_is_fresh(m);
	if (is_fresh)
		w->counted_ms += passed_ms < MACHINE_LOOK_MS ? passed_ms : MACHINE_LOOK_MS;
	w->looked_ms = is_fresh ? now_ms : 0;
	figures_between(&m->step.to, &w->begun.to, &m->seen->total->to);
	figures_between(&m->step.from, &w->begun.from, &m->seen->total->from);
	figures_between(&m->recent.to, &w->recent[0].to, &m->seen->total->to);
	figures_between(&m->recent.from, &w->recent[0].from, &m->seen->total->from);
	m->from = m->step.from;
	if (m->step.from.calls < m->rule->calls_min)
		m->step.from = machine_with_old(m, &m->step.from);
	if (m->recent.from.calls < m->rule->calls_min)
		m->recent.from = machine_with_old(m, &m->recent.from);
	/* a clock that went back begins the moments anew, too */
	if (now_ms < w->recent_ms || now_ms - w->recent_ms >= MACHINE_RECENT_MS) {
		w->recent[0] = w->recent[1];
		w->recent[1] = *m->seen->total;
		w->recent_ms = now_ms;
	}
}

static void machine_say_waiting(struct machine *m)
{
	char counted[24], every[24];
	const struct rollout_rule *rule = m->rule;
	const struct rollout_seen *seen = m->seen;
	if (seen->told_count == 0)
		machine_say(m, "no node tells of its calls");
	else if (!machine_is_fresh(m))
		machine_say(m, "only %u of %u nodes tell of their calls", seen->told_count,
			seen->told_count + seen->silent_count);
	else if (m->step.to.calls < rule->calls_min)
		machine_say(m, "%llu of %u calls, %s of %s", (unsigned long long)m->step.to.calls,
			rule->calls_min, machine_time(m->watch->counted_ms, counted),
			machine_time(rule->every_ms, every));
	else
		machine_say(m, "%s of %s", machine_time(m->watch->counted_ms, counted),
			machine_time(rule->every_ms, every));
}

static void machine_next_step(struct machine *m)
{
	char every[24], served[48], p99[32];
	bool is_last = machine_step(m) + 1 == m->rule->step_count;
	machine_say(m, "%u %% was good for %s: %.*s served %s, p99 %s", machine_percent(m),
		machine_time(m->watch->counted_ms, every), STR_ARG(m->rule->to),
		machine_served(&m->step.to, served), machine_p99(m, &m->step.to, p99));
	if (is_last)
		machine_move(m, ROLLOUT_DONE, machine_step(m));
	else
		machine_move(m, ROLLOUT_STEPPING, machine_step(m) + 1);
}

/* Of the step and of its last moments the worse; the step when they say the same. */
static struct judged machine_judge(struct machine *m, const struct judge_window **ret_window)
{
	const uint64_t *bounds_ns = m->seen->bounds_ns;
	struct judged step = judge_window(m->rule, machine_percent(m), &m->step, bounds_ns);
	struct judged recent = judge_window(m->rule, machine_percent(m), &m->recent, bounds_ns);
	/* what is not clear of some moments may be clear of the step */
	bool is_recent = recent.verdict >= JUDGE_BOTH && recent.verdict > step.verdict;
	*ret_window = is_recent ? &m->recent : &m->step;
	return is_recent ? recent : step;
}

static void machine_roll_back(
	struct machine *m, struct judged judged, const struct judge_window *window)
{
	char before[32];
	snprintf(before, sizeof(before), "at %u %% ", machine_percent(m));
	machine_say_judged(m, before, judged, window);
	machine_move(m, ROLLOUT_ROLLED_BACK, machine_step(m));
}

static void machine_stepping(struct machine *m)
{
	const struct judge_window *window;
	struct judged judged = machine_judge(m, &window);
	machine_say_waiting(m);
	if (m->seen->told_count == 0)
		return;
	switch (judged.verdict) {
	case JUDGE_BAD:
		machine_roll_back(m, judged, window);
		return;
	case JUDGE_BOTH:
		machine_say_judged(m, "both versions are bad: ", judged, window);
		machine_move(m, ROLLOUT_HELD, machine_step(m));
		return;
	case JUDGE_UNCLEAR:
		if (m->step.to.calls >= m->rule->calls_min)
			machine_say_judged(m, "not clear yet: ", judged, window);
		return;
	case JUDGE_GOOD:
		break;
	}
	if (machine_is_fresh(m) && m->watch->counted_ms >= m->rule->every_ms &&
		m->step.to.calls >= m->rule->calls_min)
		machine_next_step(m);
}

/* Looked at by the step's time: when in one the new version is good, or the old one is, it goes on,
 * and the step begins anew. */
static void machine_held(struct machine *m)
{
	const struct judge_window *window;
	struct judged judged = machine_judge(m, &window);
	bool is_new_good = judge_is_within(m->rule, &m->step.to, m->seen->bounds_ns);
	bool is_old_good = judge_is_within(m->rule, &m->step.from, m->seen->bounds_ns);
	if (judged.verdict == JUDGE_BAD && m->seen->told_count > 0) {
		machine_roll_back(m, judged, window);
		return;
	}
	machine_say(m, "%.*s", STR_ARG(m->progress->why));
	if (!machine_is_fresh(m))
		machine_say_waiting(m);
	if (!machine_is_fresh(m) || m->watch->counted_ms < m->rule->every_ms)
		return;
	if (is_new_good || is_old_good) {
		machine_say(m, "%.*s is good again",
			is_new_good ? (int)m->rule->to.len : (int)m->rule->from.len,
			is_new_good ? m->rule->to.at : m->rule->from.at);
		machine_move(m, ROLLOUT_STEPPING, machine_step(m));
		return;
	}
	machine_begin_watch(m);
	m->watch->looked_ms = m->seen->now_ms;
}

static void machine_run(struct machine *m)
{
	if (!m->progress) {
		machine_say(m, "begun");
		machine_move(m, ROLLOUT_STEPPING, 0);
		return;
	}
	machine_say(m, "%.*s", STR_ARG(m->progress->why));
	switch (m->progress->state) {
	case ROLLOUT_STEPPING:
		machine_stepping(m);
		break;
	case ROLLOUT_PAUSED:
		machine_say(m, "resumed by the operator");
		machine_move(m, ROLLOUT_STEPPING, machine_step(m));
		break;
	case ROLLOUT_HELD:
		machine_held(m);
		break;
	case ROLLOUT_DONE:
	case ROLLOUT_ROLLED_BACK:
		break; /* an attempt ends once */
	}
}

static void machine_pause(struct machine *m)
{
	machine_say(m, "paused by the operator");
	if (m->progress &&
		(m->progress->state == ROLLOUT_STEPPING || m->progress->state == ROLLOUT_HELD))
		machine_move(m, ROLLOUT_PAUSED, machine_step(m));
	else if (m->progress && m->progress->state != ROLLOUT_PAUSED)
		machine_say(m, "%.*s", STR_ARG(m->progress->why));
}

static void machine_end(struct machine *m, enum rollout_state state, const char *why)
{
	machine_say(m, "%s", why);
	if (!m->progress || m->progress->state != state)
		machine_move(m, state, machine_step(m));
}

void rollout_look(const struct rollout_rule *rule, const struct rollout_progress *progress,
	struct rollout_watch *watch, const struct rollout_seen *seen, struct rollout_turn *ret_turn)
{
	struct machine m = {.rule = rule,
		.progress = progress && rollout_belongs(rule, progress) ? progress : NULL,
		.watch = watch,
		.seen = seen,
		.turn = ret_turn};
	*ret_turn = (struct rollout_turn){0};
	machine_watch(&m);
	ret_turn->judged = (struct rollout_judged){.step = machine_step(&m),
		.counted_ms = watch->counted_ms,
		.to = rollout_tally(&m.step.to, seen->bounds_ns),
		.from = rollout_tally(&m.from, seen->bounds_ns)};
	switch (rule->order) {
	case ROLLOUT_RUN:
		machine_run(&m);
		break;
	case ROLLOUT_PAUSE:
		machine_pause(&m);
		break;
	case ROLLOUT_PROMOTE:
		machine_end(&m, ROLLOUT_DONE, "promoted by the operator");
		break;
	case ROLLOUT_ABORT:
		machine_end(&m, ROLLOUT_ROLLED_BACK, "aborted by the operator");
		break;
	}
}
