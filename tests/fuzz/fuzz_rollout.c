/* SPDX-License-Identifier: Apache-2.0 */
/* What others write of rollouts: progress and figures. Whatever is taken is within bounds, its text
 * is taken as the same again, and no look at it comes to anything but one of the rule's steps. */
#include "fuzz/fuzz.h"

#include "rollout/rollout.h"
#include <stdlib.h>

static const struct rollout_rule fuzz_rule = {.service = {"orders", 6},
	.from = {"v1", 2},
	.to = {"v2", 2},
	.attempt = 7,
	.steps = {1, 50, 100},
	.step_count = 3,
	.every_ms = 1000,
	.success_tenths = 990,
	.p99_ms = 300,
	.calls_min = 10};

static void fuzz_is_word(struct str word)
{
	ASSERT(word.len > 0 && word.len <= ROLLOUT_WORD_MAX);
	for (size_t i = 0; i < word.len; i++)
		ASSERT(word.at[i] > ' ' && word.at[i] < 0x7f);
}

static void fuzz_is_percent(uint32_t percent)
{
	ASSERT(percent == 0 || percent == 1 || percent == 50 || percent == 100);
}

static void fuzz_look(const struct rollout_progress *progress, const struct rollout_figures *total)
{
	uint64_t bounds_ns[ROLLOUT_LATENCIES];
	struct rollout_watch watch = {0};
	struct rollout_turn turn;
	struct rollout_figures none = {0};
	struct rollout_seen seen = {
		.now_ms = 1764236129123, .total = &none, .bounds_ns = bounds_ns, .told_count = 1};
	for (uint32_t i = 0; i < ROLLOUT_LATENCIES; i++)
		bounds_ns[i] = UINT64_C(100000) << i / 4;
	fuzz_is_percent(rollout_percent(&fuzz_rule, progress));
	for (int look = 0; look < 3; look++) {
		rollout_look(&fuzz_rule, progress, &watch, &seen, &turn);
		if (turn.moves)
			fuzz_is_percent(rollout_percent(&fuzz_rule, &turn.next));
		seen.now_ms += 2000;
		seen.total = total;
	}
}

static void fuzz_progress(struct str text)
{
	struct rollout_progress p, again;
	struct rollout_figures none = {0};
	struct err err;
	char written[ROLLOUT_TEXT_MAX], twice[ROLLOUT_TEXT_MAX];
	if (rollout_progress_parse(text, &p, &err) < 0)
		return;
	fuzz_is_word(p.from);
	fuzz_is_word(p.to);
	ASSERT(p.step < ROLLOUT_STEPS_MAX && p.why.len <= ROLLOUT_WHY_MAX);
	struct str first = rollout_progress_write(&p, written);
	if (rollout_progress_parse(first, &again, &err) < 0)
		abort();
	ASSERT(str_eq(rollout_progress_write(&again, twice), first));
	fuzz_look(&p, &none);
}

static void fuzz_told(struct str text)
{
	struct rollout_progress p = {.attempt = 7, .from = STR("v1"), .to = STR("v2"), .step = 1};
	struct rollout_told *told, *again;
	uint32_t count, again_count;
	struct arena arena;
	struct err err;
	arena_init(&arena, 4 << 20);
	if (rollout_told_parse(text, &arena, &told, &count, &err) == 0) {
		ASSERT(count <= ROLLOUT_TOLD_MAX);
		for (uint32_t i = 0; i < count; i++) {
			fuzz_is_word(told[i].service);
			ASSERT(told[i].judged.step < ROLLOUT_STEPS_MAX);
			ASSERT(told[i].judged.why.len <= ROLLOUT_WHY_MAX);
			p.state = told[i].is_judged ? ROLLOUT_HELD : ROLLOUT_STEPPING;
			fuzz_look(&p, &told[i].figures);
		}
		struct str first = rollout_told_text(&arena, told, count);
		ASSERT(first.at);
		if (rollout_told_parse(first, &arena, &again, &again_count, &err) < 0)
			abort();
		ASSERT(str_eq(rollout_told_text(&arena, again, again_count), first));
	}
	arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str text = {(const char *)bytes, len};
	fuzz_progress(text);
	fuzz_told(text);
	return 0;
}
