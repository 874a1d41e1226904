/* SPDX-License-Identifier: Apache-2.0 */
/* Boxes among points with four coordinates, which may hold nothing but points. Pure. */
#pragma once

#include "base/arena.h"
#include "base/assert.h"
#include <stdbool.h>
#include <stdint.h>

#define BOX_BY 4

struct box_set {
	uint32_t *at; /* values, in order */
	uint32_t count;
};
struct box {
	struct box_set by[BOX_BY];
};

/* Orders them by their values, as qsort asks. */
int box_compare_sets(const void *a, const void *b);
/* `boxes` have all `points` (boxes of one each) and nothing else. Afterwards too, but those are
 * left out that others make needless once these are as large as they can be: so many are left. What
 * is in several of them is taken out again where that goes by whole values. False: no memory. */
bool boxes_reduce(struct arena *arena, const struct box *points, uint32_t point_count,
	struct box *boxes, uint32_t *count) MUST_CHECK;
