/* SPDX-License-Identifier: Apache-2.0 */
#include "rollout/rollout.h"

#include "words.h"
#include <errno.h>
#include <stdio.h>

#define PROGRESS_FORMAT "rollout 1"

static const char *const progress_states[] = {
	[ROLLOUT_STEPPING] = "stepping",
	[ROLLOUT_PAUSED] = "paused",
	[ROLLOUT_HELD] = "held",
	[ROLLOUT_DONE] = "done",
	[ROLLOUT_ROLLED_BACK] = "rolled-back",
};

const char *rollout_state_name(enum rollout_state state)
{
	return progress_states[state];
}

const char *rollout_order_name(enum rollout_order order)
{
	static const char *const names[] = {
		[ROLLOUT_RUN] = "run",
		[ROLLOUT_PAUSE] = "pause",
		[ROLLOUT_PROMOTE] = "promote",
		[ROLLOUT_ABORT] = "abort",
	};
	return names[order];
}

/* What is over stays so when the rule gets other steps: else it would begin anew, at 0 %, and one
 * that was rolled back with the bad version. */
bool rollout_belongs(const struct rollout_rule *rule, const struct rollout_progress *progress)
{
	bool is_over = progress->state == ROLLOUT_DONE || progress->state == ROLLOUT_ROLLED_BACK;
	return progress->attempt == rule->attempt && str_eq(progress->from, rule->from) &&
	       str_eq(progress->to, rule->to) && (is_over || progress->step < rule->step_count);
}

uint32_t rollout_percent(const struct rollout_rule *rule, const struct rollout_progress *progress)
{
	if (rule->order == ROLLOUT_PROMOTE || rule->order == ROLLOUT_ABORT)
		return rule->order == ROLLOUT_PROMOTE ? 100 : 0;
	if (!progress || !rollout_belongs(rule, progress))
		return 0;
	switch (progress->state) {
	case ROLLOUT_STEPPING:
	case ROLLOUT_PAUSED:
	case ROLLOUT_HELD:
		return rule->steps[progress->step];
	case ROLLOUT_DONE:
		return 100;
	case ROLLOUT_ROLLED_BACK:
		break;
	}
	return 0;
}

/* --- as text --- */

/* Each of these stands once. */
enum progress_fact {
	PROGRESS_ATTEMPT,
	PROGRESS_FROM,
	PROGRESS_TO,
	PROGRESS_STATE,
	PROGRESS_STEP,
	PROGRESS_SINCE,
	PROGRESS_NODE,
	PROGRESS_WHY,
	PROGRESS_FACT_COUNT
};
static const char *const progress_facts[PROGRESS_FACT_COUNT] = {
	"attempt", "from", "to", "state", "step", "since", "node", "why"};
#define PROGRESS_OPTIONAL (1u << PROGRESS_NODE | 1u << PROGRESS_WHY)

struct str rollout_progress_write(
	const struct rollout_progress *progress, char text[ROLLOUT_TEXT_MAX])
{
	char why[ROLLOUT_WHY_MAX];
	int why_len = (int)words_print(progress->why, why, sizeof(why));
	int len = snprintf(text, ROLLOUT_TEXT_MAX,
		PROGRESS_FORMAT "\nattempt %llu\nfrom %.*s\nto %.*s\nstate %s\nstep %u\n"
				"since %llu\n%s%.*s%s%s%.*s%s",
		(unsigned long long)progress->attempt, STR_ARG(progress->from),
		STR_ARG(progress->to), rollout_state_name(progress->state), progress->step,
		(unsigned long long)progress->since_ms, progress->node.len ? "node " : "",
		STR_ARG(progress->node), progress->node.len ? "\n" : "", why_len ? "why " : "",
		why_len, why, why_len ? "\n" : "");
	ASSERT(len > 0 && len < ROLLOUT_TEXT_MAX); /* words are bounded */
	return (struct str){text, (size_t)len};
}

static bool progress_read_state(struct str word, enum rollout_state *ret_state)
{
	for (size_t i = 0; i < ARRAY_LEN(progress_states); i++) {
		if (str_eq(word, str_of(progress_states[i]))) {
			*ret_state = (enum rollout_state)i;
			return true;
		}
	}
	return false;
}

static bool progress_read_word(struct str word, struct str *ret_word)
{
	*ret_word = word;
	return words_valid(word);
}

static bool progress_read_fact(
	struct rollout_progress *p, enum progress_fact fact, struct str words)
{
	uint64_t step = 0;
	switch (fact) {
	case PROGRESS_ATTEMPT:
		return str_to_u64(words, &p->attempt);
	case PROGRESS_FROM:
		return progress_read_word(words, &p->from);
	case PROGRESS_TO:
		return progress_read_word(words, &p->to);
	case PROGRESS_STATE:
		return progress_read_state(words, &p->state);
	case PROGRESS_STEP:
		if (!str_to_u64(words, &step) || step >= ROLLOUT_STEPS_MAX)
			return false;
		p->step = (uint32_t)step;
		return true;
	case PROGRESS_SINCE:
		return str_to_u64(words, &p->since_ms);
	case PROGRESS_NODE:
		return progress_read_word(words, &p->node);
	case PROGRESS_WHY:
		p->why = words;
		return words_printable(words);
	case PROGRESS_FACT_COUNT:
		break;
	}
	return true;
}

/* NULL, or what is wrong with the line. */
static const char *progress_read_line(struct rollout_progress *p, struct str line, unsigned *facts)
{
	struct str word = words_cut(&line, ' ');
	for (enum progress_fact fact = 0; fact < PROGRESS_FACT_COUNT; fact++) {
		if (!str_eq(word, str_of(progress_facts[fact])))
			continue;
		if (*facts & 1u << fact)
			return "stands there twice";
		*facts |= 1u << fact;
		return progress_read_fact(p, fact, line) ? NULL : "not what belongs there";
	}
	return NULL;
}

int rollout_progress_parse(struct str text, struct rollout_progress *ret_progress, struct err *err)
{
	struct rollout_progress p = {0};
	unsigned facts = 0, line_number = 1;
	if (text.len == 0 || text.len >= ROLLOUT_TEXT_MAX || text.at[text.len - 1] != '\n')
		return err_set(err, EINVAL, "%s",
			text.len == 0		       ? "empty"
			: text.len >= ROLLOUT_TEXT_MAX ? "longer than it may be"
						       : "cut off in the middle of a line");
	struct str line = words_cut(&text, '\n');
	if (!str_eq(line, STR(PROGRESS_FORMAT)))
		return words_fail(err, line_number, line, "not the format \"" PROGRESS_FORMAT "\"");
	while (text.len > 0) {
		line = words_cut(&text, '\n');
		line_number++;
		const char *why = progress_read_line(&p, line, &facts);
		if (why)
			return words_fail(err, line_number, line, why);
	}
	for (enum progress_fact fact = 0; fact < PROGRESS_FACT_COUNT; fact++) {
		if (~facts & ~PROGRESS_OPTIONAL & 1u << fact)
			return err_set(err, EINVAL, "no line \"%s\"", progress_facts[fact]);
	}
	*ret_progress = p;
	return 0;
}
