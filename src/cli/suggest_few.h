/* SPDX-License-Identifier: Apache-2.0 */
/* The fewest boxes for few points, by trying all that there are. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FEW_POINTS_MAX 24
#define FEW_BY	       4 /* coordinates */

/* A box takes the values whose bits are set, of each coordinate. */
struct few_box {
	uint32_t values[FEW_BY];
};
struct few {
	uint32_t count;
	uint8_t points[FEW_POINTS_MAX][FEW_BY]; /* values, from 0 on; no point twice */
	/* told: */
	struct few_box boxes[FEW_POINTS_MAX];
	uint32_t box_count;
};

/* False: it is too much, or none has fewer than `most` boxes that do not overlap. */
bool few_divide(struct few *f, uint32_t most);
