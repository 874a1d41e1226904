/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/retry_after.h"

#include <time.h>

/* "Sun, 06 Nov 1994 08:49:37 GMT": where what stands, '0' for digits, 'a' for letters. */
static const char retry_date_shape[] = "aaa, 00 aaa 0000 00:00:00 GMT";
#define RETRY_DATE_BYTES (sizeof(retry_date_shape) - 1)

static bool retry_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool retry_date_is_shaped(struct str value)
{
	if (value.len != RETRY_DATE_BYTES)
		return false;
	for (size_t i = 0; i < value.len; i++) {
		char shape = retry_date_shape[i], c = value.at[i];
		bool fits = shape == '0'   ? retry_is_digit(c)
			    : shape == 'a' ? (c | 0x20) >= 'a' && (c | 0x20) <= 'z'
					   : c == shape;
		if (!fits)
			return false;
	}
	return true;
}

static int retry_number(struct str value, size_t at, size_t len)
{
	int number = 0;
	for (size_t i = at; i < at + len; i++)
		number = number * 10 + (value.at[i] - '0');
	return number;
}

/* -1: no month. */
static int retry_month(struct str name)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	for (int i = 0; i < 12; i++) {
		if (str_eq(name, (struct str){months + i * 3, 3}))
			return i;
	}
	return -1;
}

static bool retry_date(struct str value, int64_t *ret_wall_s)
{
	if (!retry_date_is_shaped(value))
		return false;
	struct tm tm = {.tm_mday = retry_number(value, 5, 2),
		.tm_mon = retry_month((struct str){value.at + 8, 3}),
		.tm_year = retry_number(value, 12, 4) - 1900,
		.tm_hour = retry_number(value, 17, 2),
		.tm_min = retry_number(value, 20, 2),
		.tm_sec = retry_number(value, 23, 2)};
	if (tm.tm_mon < 0 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
		tm.tm_min > 59 || tm.tm_sec > 60)
		return false;
	*ret_wall_s = timegm(&tm);
	return true;
}

static bool retry_is_number(struct str value)
{
	for (size_t i = 0; i < value.len; i++) {
		if (!retry_is_digit(value.at[i]))
			return false;
	}
	return value.len > 0;
}

bool retry_after_read(struct str value, int64_t wall_s, uint64_t *ret_s)
{
	uint64_t seconds = RETRY_AFTER_S_MAX;
	int64_t at_s;
	if (retry_is_number(value))
		(void)str_to_u64(value, &seconds); /* else it is more than can be counted */
	else if (retry_date(value, &at_s))
		seconds = at_s > wall_s ? (uint64_t)at_s - (uint64_t)wall_s : 0;
	else
		return false;
	*ret_s = seconds < RETRY_AFTER_S_MAX ? seconds : RETRY_AFTER_S_MAX;
	return true;
}
