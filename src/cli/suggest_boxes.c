/* SPDX-License-Identifier: Apache-2.0 */
/* Points are looked up by their coordinates, and count the boxes that they are in. Growing has a
 * bound; what it has not come to stays as it was. */
#include "suggest_boxes.h"

#include <stdlib.h>
#include <string.h>

#define BOXES_LOOKUPS_MAX 4000000

struct box_point {
	uint32_t at[BOX_BY];
	uint32_t boxes; /* that it is in */
};

struct box_work {
	struct arena *arena;
	struct box_point *points; /* in order */
	uint32_t point_count;
	struct box *boxes;
	uint32_t count;
	uint32_t lookups;
	struct box_set values[BOX_BY]; /* that there are */
};

static int box_compare(const void *a, const void *b)
{
	const struct box_point *one = a, *other = b;
	int order = 0;
	for (int by = 0; by < BOX_BY && order == 0; by++)
		order = (one->at[by] > other->at[by]) - (one->at[by] < other->at[by]);
	return order;
}

static int box_compare_numbers(const void *a, const void *b)
{
	const uint32_t *one = a, *other = b;
	return (*one > *other) - (*one < *other);
}

/* --- one box --- */

int box_compare_sets(const void *a, const void *b)
{
	const struct box *one = a, *other = b;
	int order = 0;
	for (int by = 0; by < BOX_BY && order == 0; by++) {
		const struct box_set *x = &one->by[by], *y = &other->by[by];
		for (uint32_t i = 0; i < x->count && i < y->count && order == 0; i++)
			order = box_compare_numbers(&x->at[i], &y->at[i]);
		order = order ? order : (x->count > y->count) - (x->count < y->count);
	}
	return order;
}

static uint64_t box_size(const struct box *box)
{
	uint64_t size = 1;
	for (int by = 0; by < BOX_BY; by++)
		size *= box->by[by].count;
	return size;
}

/* NULL: there is no such point. */
static struct box_point *box_at(struct box_work *w, const struct box *box, uint64_t number)
{
	struct box_point key;
	for (int by = 0; by < BOX_BY; by++) {
		key.at[by] = box->by[by].at[number % box->by[by].count];
		number /= box->by[by].count;
	}
	w->lookups++;
	return bsearch(&key, w->points, w->point_count, sizeof(key), box_compare);
}

static void box_count_in(struct box_work *w, const struct box *box, int by_how_many)
{
	uint64_t size = box_size(box);
	for (uint64_t i = 0; i < size; i++) {
		struct box_point *p = box_at(w, box, i);
		p->boxes += (uint32_t)by_how_many;
	}
}

/* Whether all that it has are points, in so many boxes at least. */
static bool box_is_in(struct box_work *w, const struct box *box, uint32_t least)
{
	uint64_t size = box_size(box);
	bool is_in = true;
	for (uint64_t i = 0; i < size && is_in; i++) {
		const struct box_point *p = box_at(w, box, i);
		is_in = p && p->boxes >= least;
	}
	return is_in;
}

/* The part of a box, or of what is beside it, that has one value. */
static struct box box_slice(const struct box *box, int by, uint32_t *value)
{
	struct box slice = *box;
	slice.by[by] = (struct box_set){value, 1};
	return slice;
}

/* --- all --- */

static bool boxes_open(struct box_work *w, const struct box *points)
{
	w->points = arena_take(w->arena, w->point_count * sizeof(*w->points));
	for (int by = 0; by < BOX_BY; by++) {
		struct box_set *set = &w->values[by];
		set->at = arena_take(w->arena, w->point_count * sizeof(*set->at));
		if (!set->at || !w->points)
			return false;
		for (uint32_t i = 0; i < w->point_count; i++)
			set->at[i] = w->points[i].at[by] = points[i].by[by].at[0];
		qsort(set->at, w->point_count, sizeof(*set->at), box_compare_numbers);
		for (uint32_t i = 0; i < w->point_count; i++) {
			if (set->count == 0 || set->at[set->count - 1] != set->at[i])
				set->at[set->count++] = set->at[i];
		}
	}
	for (uint32_t i = 0; i < w->point_count; i++)
		w->points[i].boxes = 0;
	qsort(w->points, w->point_count, sizeof(*w->points), box_compare);
	return true;
}

/* By all values of a coordinate with which it still has but points. */
static bool box_grow(struct box_work *w, struct box *box, int by)
{
	const struct box_set *old = &box->by[by], *all = &w->values[by];
	struct box_set set = {arena_take(w->arena, all->count * sizeof(*set.at)), 0};
	if (!set.at)
		return false;
	for (uint32_t i = 0, kept = 0; i < all->count; i++) {
		bool is_old = kept < old->count && old->at[kept] == all->at[i];
		struct box slice = box_slice(box, by, &all->at[i]);
		kept += is_old;
		if (is_old || (w->lookups < BOXES_LOOKUPS_MAX && box_is_in(w, &slice, 0)))
			set.at[set.count++] = all->at[i];
	}
	box->by[by] = set;
	return true;
}

static int boxes_compare_size(const void *a, const void *b)
{
	uint64_t one = box_size(a), other = box_size(b);
	return one != other ? (one > other) - (one < other) : box_compare_sets(a, b);
}

/* The smallest first. */
static void boxes_drop_needless(struct box_work *w)
{
	uint32_t kept = 0;
	qsort(w->boxes, w->count, sizeof(*w->boxes), boxes_compare_size);
	for (uint32_t i = 0; i < w->count; i++)
		box_count_in(w, &w->boxes[i], 1);
	for (uint32_t i = 0; i < w->count; i++) {
		if (box_is_in(w, &w->boxes[i], 2))
			box_count_in(w, &w->boxes[i], -1);
		else
			w->boxes[kept++] = w->boxes[i];
	}
	w->count = kept;
}

/* A box that the others do not make needless keeps a value of each coordinate. */
static void box_trim(struct box_work *w, struct box *box, int by)
{
	struct box_set *set = &box->by[by];
	uint32_t kept = 0;
	for (uint32_t i = 0; i < set->count; i++) {
		struct box slice = box_slice(box, by, &set->at[i]);
		if (box_is_in(w, &slice, 2))
			box_count_in(w, &slice, -1);
		else
			set->at[kept++] = set->at[i];
	}
	set->count = kept;
}

bool boxes_reduce(struct arena *arena, const struct box *points, uint32_t point_count,
	struct box *boxes, uint32_t *count)
{
	struct box_work w = {
		.arena = arena, .point_count = point_count, .boxes = boxes, .count = *count};
	if (!boxes_open(&w, points))
		return false;
	for (uint32_t i = 0; i < w.count; i++) {
		for (int by = 0; by < BOX_BY; by++) {
			if (!box_grow(&w, &boxes[i], by))
				return false;
		}
	}
	boxes_drop_needless(&w);
	for (uint32_t i = 0; i < w.count; i++) {
		for (int by = 0; by < BOX_BY; by++)
			box_trim(&w, &boxes[i], by);
	}
	*count = w.count;
	return true;
}
