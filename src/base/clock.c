/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t clock_read(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_S + (uint64_t)ts.tv_nsec;
}

uint64_t clock_monotonic_ns(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ns(void)
{
	return clock_read(CLOCK_REALTIME);
}

void clock_format(uint64_t wall_ns, char ret_text[25])
{
	time_t seconds = (time_t)(wall_ns / CLOCK_S);
	unsigned ms = (unsigned)(wall_ns % CLOCK_S / CLOCK_MS);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	char text[64];
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ",
		(tm.tm_year + 1900) % 10000, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
		tm.tm_sec, ms);
	for (int i = 0; i < 24; i++)
		ret_text[i] = text[i];
	ret_text[24] = '\0';
}
