/* SPDX-License-Identifier: Apache-2.0 */
/* All boxes that hold nothing but points are written down first, the largest in front; then the
 * first point that is left is given to each box in turn that has it and takes none twice, and so
 * on with what is left. The work has a bound. */
#include "suggest_few.h"

#include <stdlib.h>
#include <string.h>

#define FEW_BOXES_MAX	     4096
#define FEW_COMBINATIONS_MAX 20000
#define FEW_STEPS_MAX	     20000

struct few_choice {
	struct few_box box;
	uint32_t points; /* bit by bit */
};

struct few_search {
	struct few *few;
	struct few_choice choices[FEW_BOXES_MAX];
	uint32_t choice_count, steps, best_count;
	const struct few_choice *taken[FEW_POINTS_MAX];
};

/* The points in it; 0: it holds others too. */
static uint32_t few_points_of(const struct few *f, const struct few_box *box)
{
	uint32_t points = 0, size = 1;
	for (int by = 0; by < FEW_BY; by++)
		size *= (uint32_t)__builtin_popcount(box->values[by]);
	for (uint32_t i = 0; i < f->count; i++) {
		bool is_in = true;
		for (int by = 0; by < FEW_BY; by++)
			is_in = is_in && (box->values[by] >> f->points[i][by] & 1);
		points |= (uint32_t)is_in << i;
	}
	return (uint32_t)__builtin_popcount(points) == size ? points : 0;
}

static int few_compare(const void *a, const void *b)
{
	const struct few_choice *one = a, *other = b;
	int order = __builtin_popcount(other->points) - __builtin_popcount(one->points);
	return order ? order : (one->points > other->points) - (one->points < other->points);
}

/* False: there are too many. */
static bool few_find_boxes(struct few_search *s)
{
	uint32_t sets[FEW_BY], combinations = 1;
	for (int by = 0; by < FEW_BY; by++) {
		uint32_t values = 0;
		for (uint32_t i = 0; i < s->few->count; i++)
			values = s->few->points[i][by] >= values ? s->few->points[i][by] + 1u
								 : values;
		if (values > 12)
			return false;
		sets[by] = (1u << values) - 1;
		combinations *= sets[by];
		if (combinations > FEW_COMBINATIONS_MAX)
			return false;
	}
	for (uint32_t i = 0; i < combinations; i++) {
		struct few_choice *c = &s->choices[s->choice_count];
		uint32_t rest = i;
		for (int by = 0; by < FEW_BY; by++) {
			c->box.values[by] = rest % sets[by] + 1;
			rest /= sets[by];
		}
		c->points = few_points_of(s->few, &c->box);
		s->choice_count += c->points != 0;
		if (s->choice_count == FEW_BOXES_MAX)
			return false;
	}
	qsort(s->choices, s->choice_count, sizeof(s->choices[0]), few_compare);
	return true;
}

static void few_search(struct few_search *s, uint32_t left, uint32_t depth)
{
	struct few *f = s->few;
	if (left == 0) {
		s->best_count = f->box_count = depth;
		for (uint32_t i = 0; i < depth; i++)
			f->boxes[i] = s->taken[i]->box;
	}
	uint32_t first = left & -left;
	for (uint32_t i = 0; left && i < s->choice_count && depth + 1 < s->best_count; i++) {
		const struct few_choice *c = &s->choices[i];
		if (!(c->points & first) || (c->points & ~left))
			continue;
		if (s->steps++ >= FEW_STEPS_MAX)
			return;
		s->taken[depth] = c;
		few_search(s, left & ~c->points, depth + 1);
	}
}

bool few_divide(struct few *f, uint32_t most)
{
	struct few_search *s =
		f->count > 0 && f->count <= FEW_POINTS_MAX ? calloc(1, sizeof(*s)) : NULL;
	f->box_count = 0;
	if (!s)
		return false;
	s->few = f;
	s->best_count = most;
	if (few_find_boxes(s))
		few_search(s, (1u << f->count) - 1, 0);
	bool is_found = s->best_count < most;
	free(s);
	return is_found;
}
