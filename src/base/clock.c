/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <string.h>
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

static void clock_digits(char *to, unsigned count, unsigned number)
{
	for (; count-- > 0; number /= 10)
		to[count] = (char)('0' + number % 10);
}

/* Days since 1970 in the Gregorian calendar: counted from March, a year has its odd day at its end,
 * and 400 years are 146097 days (Howard Hinnant's civil_from_days). */
static void clock_date(uint64_t day, char *to)
{
	uint64_t from_march = day + 719468, era = from_march / 146097;
	unsigned of_era = (unsigned)(from_march % 146097);
	unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
	unsigned month = (5 * of_year + 2) / 153;
	clock_digits(to + 8, 2, of_year - (153 * month + 2) / 5 + 1);
	clock_digits(to + 5, 2, month < 10 ? month + 3 : month - 9);
	clock_digits(to, 4, (unsigned)(era * 400 + year + (month >= 10)) % 10000);
}

/* Written into each line of the access log: without the library's calendar and printf. */
void clock_format(uint64_t wall_ns, char ret_text[25])
{
	uint64_t seconds = wall_ns / CLOCK_S;
	unsigned of_day = (unsigned)(seconds % 86400);
	memcpy(ret_text, "0000-00-00T00:00:00.000Z", 25);
	clock_date(seconds / 86400, ret_text);
	clock_digits(ret_text + 11, 2, of_day / 3600);
	clock_digits(ret_text + 14, 2, of_day / 60 % 60);
	clock_digits(ret_text + 17, 2, of_day % 60);
	clock_digits(ret_text + 20, 3, (unsigned)(wall_ns % CLOCK_S / CLOCK_MS));
}
