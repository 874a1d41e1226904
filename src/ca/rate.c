/* SPDX-License-Identifier: Apache-2.0 */
#include "rate.h"

#define RATE_PARTS UINT64_C(60000) /* of one go: milliseconds of a minute */

bool rate_take(struct rate_bucket *b, struct rate rate, int64_t now_ms, uint32_t *ret_wait_s)
{
	uint64_t full = rate.burst * RATE_PARTS, gained;
	bool is_fresh = b->at_ms == 0;
	uint64_t passed_ms = now_ms > b->at_ms ? (uint64_t)(now_ms - b->at_ms) : 0;
	if (is_fresh || __builtin_mul_overflow(passed_ms, rate.per_minute, &gained) ||
		__builtin_add_overflow(gained, b->parts, &gained) || gained > full)
		gained = full;
	b->at_ms = now_ms;
	b->parts = gained;
	if (b->parts >= RATE_PARTS) {
		b->parts -= RATE_PARTS;
		return true;
	}
	uint64_t wait_ms = (RATE_PARTS - b->parts + rate.per_minute - 1) / rate.per_minute;
	*ret_wait_s = (uint32_t)((wait_ms + 999) / 1000);
	if (*ret_wait_s == 0)
		*ret_wait_s = 1;
	return false;
}
