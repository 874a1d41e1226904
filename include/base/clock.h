/* SPDX-License-Identifier: Apache-2.0 */
/* Time: monotonic nanoseconds for deadlines and durations, wall time for stamps and certificates.
 * Data-path code takes the loop's cached value, never these. */
#pragma once

#include <stdint.h>

#define CLOCK_MS 1000000ull
#define CLOCK_S	 1000000000ull

uint64_t clock_monotonic_ns(void);
uint64_t clock_wall_ns(void);

/* "2026-11-23T20:26:01.123Z" into 25 bytes, NUL included. */
void clock_format(uint64_t wall_ns, char ret_text[25]);
