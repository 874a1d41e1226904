/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets: how often something may happen. Time is the caller's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rate {
	uint64_t per_minute, burst;
};

struct rate_bucket {
	uint64_t parts; /* 60000 of them are one go */
	int64_t at_ms;	/* when that was so; 0: never used, which is full */
};

/* Takes one. False: there is none; *ret_wait_s until there is, at least 1. Time that went
 * backward gives nothing, and goes on from there: a clock that was set right locks nobody out. */
bool rate_take(struct rate_bucket *b, struct rate rate, int64_t now_ms, uint32_t *ret_wait_s);
