/* SPDX-License-Identifier: Apache-2.0 */
/* Progress and figures as they travel. */
#include "rollout/rollout.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define PROGRESS                                                         \
	"rollout 1\nattempt 7\nfrom v1\nto v2\nstate stepping\nstep 2\n" \
	"since 1764236129123\nnode vm-a\nwhy 5 % was good for 1m: 1200 calls\n"

static void assert_text(struct str text, const char *expected)
{
	if (!str_eq(text, str_of(expected)))
		fail_msg("\"%.*s\" instead of \"%s\"", STR_ARG(text), expected);
}

static void test_progress_there_and_back(void **state)
{
	char text[ROLLOUT_TEXT_MAX];
	struct rollout_progress p;
	struct err err;
	assert_int_equal(rollout_progress_parse(STR(PROGRESS), &p, &err), 0);
	assert_int_equal(p.attempt, 7);
	assert_text(p.from, "v1");
	assert_text(p.to, "v2");
	assert_int_equal(p.state, ROLLOUT_STEPPING);
	assert_int_equal(p.step, 2);
	assert_int_equal(p.since_ms, 1764236129123);
	assert_text(p.node, "vm-a");
	assert_text(rollout_progress_write(&p, text), PROGRESS);
	/* a newer node's words are passed over */
	assert_int_equal(rollout_progress_parse(STR(PROGRESS "mood good\n"), &p, &err), 0);
	/* without what may be missing, and with what cannot be told as it is */
	p.node = STR("");
	p.why = STR("two\nlines");
	assert_text(rollout_progress_write(&p, text),
		"rollout 1\nattempt 7\nfrom v1\nto v2\nstate stepping\nstep 2\n"
		"since 1764236129123\nwhy two?lines\n");
}

static void test_progress_longest(void **state)
{
	char text[ROLLOUT_TEXT_MAX], word[ROLLOUT_WORD_MAX], why[ROLLOUT_WHY_MAX + 50];
	struct rollout_progress p, again;
	struct err err;
	memset(word, 'v', sizeof(word));
	memset(why, 'w', sizeof(why));
	struct str longest = {word, sizeof(word)};
	p = (struct rollout_progress){.attempt = UINT64_MAX,
		.from = longest,
		.to = longest,
		.node = longest,
		.state = ROLLOUT_ROLLED_BACK,
		.step = ROLLOUT_STEPS_MAX - 1,
		.since_ms = UINT64_MAX,
		.why = {why, sizeof(why)}};
	struct str written = rollout_progress_write(&p, text);
	assert_int_equal(rollout_progress_parse(written, &again, &err), 0);
	assert_int_equal(again.why.len, ROLLOUT_WHY_MAX);
}

static void test_progress_refused(void **state)
{
	static const char *const texts[][2] = {
		{"", "empty"},
		{"rollout 1\nattempt 7", "cut off in the middle of a line"},
		{"rollout 2\n", "line 1, \"rollout 2\": not the format \"rollout 1\""},
		{"rollout 1\nattempt 7\nfrom v1\nto v2\nstate stepping\nsince 1\n",
			"no line \"step\""},
		{"rollout 1\nattempt 7\nattempt 7\n", "line 3, \"attempt 7\": stands there twice"},
		{"rollout 1\nattempt x\n", "line 2, \"attempt x\": not what belongs there"},
		{"rollout 1\nstate mad\n", "line 2, \"state mad\": not what belongs there"},
		{"rollout 1\nstep 20\n", "line 2, \"step 20\": not what belongs there"},
		{"rollout 1\nfrom v 1\n", "line 2, \"from v 1\": not what belongs there"},
		{"rollout 1\nfrom \n", "line 2, \"from \": not what belongs there"},
		{"rollout 1\nwhy a\tb\n", "line 2, \"why a?b\": not what belongs there"},
	};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct rollout_progress p;
		struct err err;
		assert_int_equal(rollout_progress_parse(str_of(texts[i][0]), &p, &err), -EINVAL);
		assert_string_equal(err.text, texts[i][1]);
	}
}

#define TOLD                                                             \
	"figures 1\nrollout orders 7\nto 1204 3 17=1000 18=204\n"        \
	"from 24004 3 16=24004\njudged 2 61000\njudged-to 50 0 180000\n" \
	"judged-from 950 1 170000\nwhy 50 of 100 calls\n"                \
	"rollout web 1\nto 0 0\nfrom 0 0\n"

static void test_told_there_and_back(void **state)
{
	struct arena arena;
	struct rollout_told *told;
	struct err err;
	uint32_t count;
	arena_init(&arena, 1 << 20);
	assert_int_equal(rollout_told_parse(STR(TOLD), &arena, &told, &count, &err), 0);
	assert_int_equal(count, 2);
	assert_text(told[0].service, "orders");
	assert_int_equal(told[0].attempt, 7);
	assert_int_equal(told[0].figures.to.calls, 1204);
	assert_int_equal(told[0].figures.to.latencies[18], 204);
	assert_int_equal(told[0].figures.from.failed, 3);
	assert_true(told[0].is_judged);
	assert_int_equal(told[0].judged.step, 2);
	assert_int_equal(told[0].judged.from.p99_us, 170000);
	assert_text(told[0].judged.why, "50 of 100 calls");
	assert_false(told[1].is_judged);
	assert_text(rollout_told_text(&arena, told, count), TOLD);
	assert_int_equal(
		rollout_told_parse(STR(TOLD "mood good\n"), &arena, &told, &count, &err), 0);
	arena_done(&arena);
}

static void test_told_refused(void **state)
{
	static const char *const texts[][2] = {
		{"", "empty"},
		{"figures 1\nrollout orders 7", "cut off in the middle of a line"},
		{"figures 9\n", "line 1, \"figures 9\": not the format \"figures 1\""},
		{"figures 1\nto 1 1\n", "line 2, \"to 1 1\": of no rollout"},
		{"figures 1\nrollout orders 7\nrollout orders 8\n",
			"line 3, \"rollout orders 8\": stands there twice"},
		{"figures 1\nrollout orders\n",
			"line 2, \"rollout orders\": not a service and an attempt"},
		{"figures 1\nrollout o 7\nto 1\n", "line 3, \"to 1\": not what belongs there"},
		{"figures 1\nrollout o 7\nto 1 1 64=1\n",
			"line 3, \"to 1 1 64=1\": not what belongs there"},
		{"figures 1\nrollout o 7\nto 1 1 3\n",
			"line 3, \"to 1 1 3\": not what belongs there"},
		{"figures 1\nrollout o 7\nto 1 1\nto 1 1\n",
			"line 4, \"to 1 1\": stands there twice"},
		{"figures 1\nrollout o 7\njudged 20 1\n",
			"line 3, \"judged 20 1\": not what belongs there"},
		{"figures 1\nrollout o 7\nto 18446744073709551616 1\n",
			"line 3, \"to 18446744073709551616 1\": not what belongs there"},
	};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct arena arena;
		struct rollout_told *told;
		uint32_t count;
		struct err err;
		arena_init(&arena, 1 << 20);
		assert_int_equal(
			rollout_told_parse(str_of(texts[i][0]), &arena, &told, &count, &err),
			-EINVAL);
		assert_string_equal(err.text, texts[i][1]);
		arena_done(&arena);
	}
}

/* As many as there may be, each with everything: it fits. */
static void test_told_most(void **state)
{
	static struct rollout_told told[ROLLOUT_TOLD_MAX + 1];
	static char names[ROLLOUT_TOLD_MAX + 1][8];
	struct rollout_told *again;
	struct arena arena;
	uint32_t count;
	struct err err;
	for (uint32_t i = 0; i <= ROLLOUT_TOLD_MAX; i++) {
		memcpy(names[i], "s-000", 6);
		names[i][2] = (char)('0' + i / 100);
		names[i][3] = (char)('0' + i / 10 % 10);
		names[i][4] = (char)('0' + i % 10);
		told[i].service = str_of(names[i]);
		told[i].attempt = i;
		for (uint32_t k = 0; k < ROLLOUT_LATENCIES; k++)
			told[i].figures.to.latencies[k] = told[i].figures.from.latencies[k] =
				1000000000000;
	}
	arena_init(&arena, 4 << 20);
	struct str text = rollout_told_text(&arena, told, ROLLOUT_TOLD_MAX);
	assert_non_null(text.at);
	assert_int_equal(rollout_told_parse(text, &arena, &again, &count, &err), 0);
	assert_int_equal(count, ROLLOUT_TOLD_MAX);
	assert_null(rollout_told_text(&arena, told, ROLLOUT_TOLD_MAX + 1).at);
	arena_done(&arena);
	/* out of memory is no fault of the text */
	arena_init(&arena, 64);
	assert_int_equal(rollout_told_parse(STR(TOLD), &arena, &again, &count, &err), -ENOMEM);
	assert_null(rollout_told_text(&arena, told, 2).at);
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_progress_there_and_back),
		cmocka_unit_test(test_progress_longest),
		cmocka_unit_test(test_progress_refused),
		cmocka_unit_test(test_told_there_and_back),
		cmocka_unit_test(test_told_refused),
		cmocka_unit_test(test_told_most),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
