/* SPDX-License-Identifier: Apache-2.0 */
#include "rollout/rollout.h"

#include "words.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define TOLD_FORMAT "figures 1"

/* --- to text --- */

struct told_writer {
	char *text; /* NULL: only counted */
	size_t len;
};

static void told_put(struct told_writer *w, struct str s)
{
	if (w->text && s.len > 0)
		memcpy(w->text + w->len, s.at, s.len);
	w->len += s.len;
}

static void told_print(struct told_writer *w, const char *format, ...) PRINTF_LIKE(2, 3);
static void told_print(struct told_writer *w, const char *format, ...)
{
	char text[ROLLOUT_WHY_MAX + 100];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	told_put(w, str_of(text));
}

static void told_put_sums(struct told_writer *w, const char *word, const struct rollout_sums *sums)
{
	told_print(w, "%s %" PRIu64 " %" PRIu64, word, sums->calls, sums->failed);
	for (uint32_t i = 0; i < ROLLOUT_LATENCIES; i++) {
		if (sums->latencies[i] > 0)
			told_print(w, " %u=%" PRIu64, i, sums->latencies[i]);
	}
	told_put(w, STR("\n"));
}

static void told_put_tally(
	struct told_writer *w, const char *word, const struct rollout_tally *tally)
{
	told_print(w, "%s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", word, tally->calls, tally->failed,
		tally->p99_us);
}

static void told_put_one(struct told_writer *w, const struct rollout_told *told)
{
	char why[ROLLOUT_WHY_MAX];
	told_print(w, "rollout %.*s %" PRIu64 "\n", STR_ARG(told->service), told->attempt);
	told_put_sums(w, "to", &told->figures.to);
	told_put_sums(w, "from", &told->figures.from);
	if (!told->is_judged)
		return;
	told_print(w, "judged %u %" PRIu64 "\n", told->judged.step, told->judged.counted_ms);
	told_put_tally(w, "judged-to", &told->judged.to);
	told_put_tally(w, "judged-from", &told->judged.from);
	size_t len = words_print(told->judged.why, why, sizeof(why));
	if (len > 0)
		told_print(w, "why %.*s\n", (int)len, why);
}

static void told_put_all(
	struct told_writer *w, const struct rollout_told *told, uint32_t told_count)
{
	told_put(w, STR(TOLD_FORMAT "\n"));
	for (uint32_t i = 0; i < told_count; i++)
		told_put_one(w, &told[i]);
}

struct str rollout_told_text(
	struct arena *arena, const struct rollout_told *told, uint32_t told_count)
{
	struct told_writer w = {0};
	if (told_count > ROLLOUT_TOLD_MAX)
		return STR_NONE;
	told_put_all(&w, told, told_count);
	char *text = w.len <= ROLLOUT_TOLD_BYTES_MAX ? arena_take(arena, w.len + 1) : NULL;
	if (!text)
		return STR_NONE;
	w = (struct told_writer){.text = text};
	told_put_all(&w, told, told_count);
	return (struct str){w.text, w.len};
}

/* --- from text --- */

struct told_reader {
	struct arena *arena;
	struct rollout_told *told;
	uint32_t count;
	struct str line, words; /* in hand, and what is left of it */
	unsigned line_number;
	unsigned facts; /* of the rollout in hand: bits of those that came */
	bool is_out_of_memory;
};

/* Lines of one rollout; each stands at most once. */
enum told_fact { TOLD_TO, TOLD_FROM, TOLD_JUDGED, TOLD_JUDGED_TO, TOLD_JUDGED_FROM, TOLD_WHY };
static const char *const told_facts[] = {"to", "from", "judged", "judged-to", "judged-from", "why"};

static bool told_keep(struct told_reader *r, struct str text, struct str *ret_text)
{
	*ret_text = arena_str(r->arena, text);
	r->is_out_of_memory = r->is_out_of_memory || !ret_text->at;
	return ret_text->at;
}

static bool told_read_latency(struct str word, struct rollout_sums *sums)
{
	uint64_t bucket = 0;
	struct str number = words_cut(&word, '=');
	return str_to_u64(number, &bucket) && bucket < ROLLOUT_LATENCIES &&
	       str_to_u64(word, &sums->latencies[bucket]);
}

static bool told_read_sums(struct str *words, struct rollout_sums *sums)
{
	if (!words_number(words, UINT64_MAX, &sums->calls) ||
		!words_number(words, UINT64_MAX, &sums->failed))
		return false;
	while (words->len > 0) {
		if (!told_read_latency(words_cut(words, ' '), sums))
			return false;
	}
	return true;
}

static bool told_read_tally(struct str *words, struct rollout_tally *tally)
{
	return words_number(words, UINT64_MAX, &tally->calls) &&
	       words_number(words, UINT64_MAX, &tally->failed) &&
	       words_number(words, UINT64_MAX, &tally->p99_us);
}

static bool told_read_judged(struct str *words, struct rollout_told *told)
{
	uint64_t step = 0;
	told->is_judged = words_number(words, ROLLOUT_STEPS_MAX - 1, &step) &&
			  words_number(words, UINT64_MAX, &told->judged.counted_ms);
	told->judged.step = (uint32_t)step;
	return told->is_judged;
}

static bool told_read_fact(struct told_reader *r, enum told_fact fact)
{
	struct rollout_told *told = &r->told[r->count - 1];
	switch (fact) {
	case TOLD_TO:
		return told_read_sums(&r->words, &told->figures.to);
	case TOLD_FROM:
		return told_read_sums(&r->words, &told->figures.from);
	case TOLD_JUDGED:
		return told_read_judged(&r->words, told);
	case TOLD_JUDGED_TO:
		return told_read_tally(&r->words, &told->judged.to);
	case TOLD_JUDGED_FROM:
		return told_read_tally(&r->words, &told->judged.from);
	case TOLD_WHY:
		return words_printable(r->words) && told_keep(r, r->words, &told->judged.why);
	}
	return true;
}

static const char *told_read_rollout(struct told_reader *r)
{
	struct str service = words_cut(&r->words, ' ');
	if (r->count == ROLLOUT_TOLD_MAX)
		return "too many rollouts";
	for (uint32_t i = 0; i < r->count; i++) {
		if (str_eq(r->told[i].service, service))
			return "stands there twice";
	}
	struct rollout_told *told = &r->told[r->count++];
	r->facts = 0;
	return words_valid(service) && told_keep(r, service, &told->service) &&
			       words_number(&r->words, UINT64_MAX, &told->attempt)
		       ? NULL
		       : "not a service and an attempt";
}

/* NULL, or what is wrong with the line. */
static const char *told_read_line(struct told_reader *r)
{
	struct str word = words_cut(&r->words, ' ');
	if (str_eq(word, STR("rollout")))
		return told_read_rollout(r);
	for (size_t i = 0; i < ARRAY_LEN(told_facts); i++) {
		if (!str_eq(word, str_of(told_facts[i])))
			continue;
		if (r->count == 0)
			return "of no rollout";
		if (r->facts & 1u << i)
			return "stands there twice";
		r->facts |= 1u << i;
		return told_read_fact(r, (enum told_fact)i) ? NULL : "not what belongs there";
	}
	return NULL;
}

static uint32_t told_count_rollouts(struct str text)
{
	uint32_t count = 0;
	while (text.len > 0 && count < ROLLOUT_TOLD_MAX)
		count += str_starts(words_cut(&text, '\n'), STR("rollout "));
	return count;
}

int rollout_told_parse(struct str text, struct arena *arena, struct rollout_told **ret_told,
	uint32_t *ret_count, struct err *err)
{
	struct told_reader r = {.arena = arena, .line_number = 1};
	if (text.len == 0 || text.len > ROLLOUT_TOLD_BYTES_MAX || text.at[text.len - 1] != '\n')
		return err_set(err, EINVAL, "%s",
			text.len == 0			    ? "empty"
			: text.len > ROLLOUT_TOLD_BYTES_MAX ? "longer than it may be"
							    : "cut off in the middle of a line");
	r.told = arena_take(arena, (told_count_rollouts(text) + 1) * sizeof(*r.told));
	if (!r.told)
		return err_set(err, ENOMEM, "out of memory");
	r.line = words_cut(&text, '\n');
	if (!str_eq(r.line, STR(TOLD_FORMAT)))
		return words_fail(err, r.line_number, r.line, "not the format \"" TOLD_FORMAT "\"");
	while (text.len > 0) {
		r.line = r.words = words_cut(&text, '\n');
		r.line_number++;
		const char *why = told_read_line(&r);
		if (r.is_out_of_memory)
			return err_set(err, ENOMEM, "out of memory");
		if (why)
			return words_fail(err, r.line_number, r.line, why);
	}
	*ret_told = r.told;
	*ret_count = r.count;
	return 0;
}
