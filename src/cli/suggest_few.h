/* SPDX-License-Identifier: Apache-2.0 */
/* The fewest boxes that few points fill, by trying all that there are. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FEW_POINTS_MAX 64
#define FEW_BY	       4 /* coordinates */

/* A box takes the values whose bits are set, of each coordinate. */
struct few_box {
	uint64_t values[FEW_BY];
};
struct few {
	uint32_t count;
	uint8_t points[FEW_POINTS_MAX]
		      [FEW_BY]; /* values, from 0 on without a gap; no point twice */
	/* told: */
	struct few_box boxes[FEW_POINTS_MAX];
	uint32_t box_count;
};

/* Boxes hold nothing but points, and may overlap. False: it is too much, or none has fewer than
 * `most`. */
bool few_cover(struct few *f, uint32_t most);
