/* SPDX-License-Identifier: Apache-2.0 */
/* Only boxes that cannot be larger matter. They are found by all sets of values of three
 * coordinates, which say what the fourth, the one with the most values, may be at most. Then the
 * first point that is left is given to each of them in turn that has it, the largest first, and so
 * on with what is left. The work has a bound. */
#include "suggest_few.h"

#include <stdlib.h>
#include <string.h>

#define FEW_COMBINATIONS_MAX 20000
#define FEW_STEPS_MAX	     200000

struct few_choice {
	struct few_box box;
	uint64_t points; /* bit by bit */
};

struct few_search {
	struct few *few;
	int widest; /* coordinate */
	uint32_t values[FEW_BY];
	struct few_choice choices[FEW_COMBINATIONS_MAX];
	uint32_t choice_count, steps, best_count;
	const struct few_choice *taken[FEW_POINTS_MAX];
};

static uint32_t few_bits(uint64_t set)
{
	return (uint32_t)__builtin_popcountll(set);
}

/* How many sets of values three coordinates have; 0: too many. */
static uint32_t few_measure(struct few_search *s)
{
	uint32_t combinations = 1;
	for (int by = 0; by < FEW_BY; by++) {
		for (uint32_t i = 0; i < s->few->count; i++) {
			uint32_t value = s->few->points[i][by];
			s->values[by] = value >= s->values[by] ? value + 1 : s->values[by];
		}
		s->widest = s->values[by] > s->values[s->widest] ? by : s->widest;
	}
	for (int by = 0; by < FEW_BY; by++) {
		if (by == s->widest)
			continue;
		if (s->values[by] > 14)
			return 0;
		combinations *= (1u << s->values[by]) - 1;
		if (combinations > FEW_COMBINATIONS_MAX)
			return 0;
	}
	return combinations;
}

/* All values of the widest coordinate with which the box has but points. */
static void few_widen(const struct few_search *s, struct few_choice *c)
{
	const struct few *f = s->few;
	uint64_t points[FEW_POINTS_MAX] = {0};
	uint32_t size = 1;
	for (int by = 0; by < FEW_BY; by++)
		size *= by == s->widest ? 1 : few_bits(c->box.values[by]);
	for (uint32_t i = 0; i < f->count; i++) {
		bool is_in = true;
		for (int by = 0; by < FEW_BY; by++)
			is_in = is_in &&
				(by == s->widest || (c->box.values[by] >> f->points[i][by] & 1));
		points[f->points[i][s->widest]] |= (uint64_t)is_in << i;
	}
	for (uint32_t value = 0; value < s->values[s->widest]; value++) {
		if (few_bits(points[value]) != size)
			continue;
		c->box.values[s->widest] |= UINT64_C(1) << value;
		c->points |= points[value];
	}
}

static int few_compare(const void *a, const void *b)
{
	const struct few_choice *one = a, *other = b;
	int order = (int)few_bits(other->points) - (int)few_bits(one->points);
	return order ? order : (one->points > other->points) - (one->points < other->points);
}

/* Those that are no part of another, the largest in front. */
static void few_keep_largest(struct few_search *s)
{
	uint32_t kept = 0;
	qsort(s->choices, s->choice_count, sizeof(s->choices[0]), few_compare);
	for (uint32_t i = 0; i < s->choice_count; i++) {
		bool is_part = false;
		for (uint32_t k = 0; k < kept && !is_part; k++)
			is_part = (s->choices[i].points & ~s->choices[k].points) == 0;
		if (!is_part)
			s->choices[kept++] = s->choices[i];
	}
	s->choice_count = kept;
}

static void few_find_boxes(struct few_search *s, uint32_t combinations)
{
	for (uint32_t i = 0; i < combinations; i++) {
		struct few_choice *c = &s->choices[s->choice_count];
		uint32_t rest = i;
		*c = (struct few_choice){.points = 0};
		for (int by = 0; by < FEW_BY; by++) {
			if (by == s->widest)
				continue;
			uint32_t sets = (1u << s->values[by]) - 1;
			c->box.values[by] = rest % sets + 1;
			rest /= sets;
		}
		few_widen(s, c);
		s->choice_count += c->points != 0;
	}
	few_keep_largest(s);
}

static void few_search(struct few_search *s, uint64_t left, uint32_t depth)
{
	struct few *f = s->few;
	if (left == 0) {
		s->best_count = f->box_count = depth;
		for (uint32_t i = 0; i < depth; i++)
			f->boxes[i] = s->taken[i]->box;
		return;
	}
	uint32_t largest = few_bits(s->choices[0].points);
	uint32_t least = (few_bits(left) + largest - 1) / largest;
	uint64_t first = left & -left;
	for (uint32_t i = 0; i < s->choice_count && depth + least < s->best_count; i++) {
		const struct few_choice *c = &s->choices[i];
		if (!(c->points & first))
			continue;
		if (s->steps++ >= FEW_STEPS_MAX)
			return;
		s->taken[depth] = c;
		few_search(s, left & ~c->points, depth + 1);
	}
}

bool few_cover(struct few *f, uint32_t most)
{
	f->box_count = 0;
	if (f->count == 0 || f->count > FEW_POINTS_MAX)
		return false;
	struct few_search *s = calloc(1, sizeof(*s));
	if (!s)
		return false;
	s->few = f;
	s->best_count = most;
	uint32_t combinations = few_measure(s);
	few_find_boxes(s, combinations);
	if (s->choice_count > 0)
		few_search(s, UINT64_MAX >> (FEW_POINTS_MAX - f->count), 0);
	bool is_found = s->best_count < most;
	free(s);
	return is_found;
}
