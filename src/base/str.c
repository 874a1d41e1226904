/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "base/assert.h"

/* Of two different characters. */
static bool str_same_letter(char a, char b)
{
	return (a ^ b) == ('a' ^ 'A') && (a | b) >= 'a' && (a | b) <= 'z';
}

bool str_eq_nocase(struct str a, struct str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (a.at[i] != b.at[i] && !str_same_letter(a.at[i], b.at[i]))
			return false;
	}
	return true;
}

bool str_starts(struct str s, struct str prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.at, prefix.at, prefix.len) == 0);
}

static bool str_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
	while (s.len > 0 && str_is_blank(s.at[0])) {
		s.at++;
		s.len--;
	}
	while (s.len > 0 && str_is_blank(s.at[s.len - 1]))
		s.len--;
	return s;
}

bool str_to_u64(struct str s, uint64_t *ret_number)
{
	uint64_t n = 0;
	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] < '0' || s.at[i] > '9')
			return false;
		if (__builtin_mul_overflow(n, 10u, &n) ||
			__builtin_add_overflow(n, (uint64_t)(s.at[i] - '0'), &n))
			return false;
	}
	*ret_number = n;
	return true;
}

int str_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

#define STR_DISTANCE_MAX 64

unsigned str_distance(struct str a, struct str b)
{
	if (a.len > STR_DISTANCE_MAX || b.len > STR_DISTANCE_MAX)
		return a.len > b.len ? (unsigned)(a.len - b.len) + 1
				     : (unsigned)(b.len - a.len) + 1;
	unsigned row[STR_DISTANCE_MAX + 1];
	for (unsigned j = 0; j <= b.len; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.len; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= b.len; j++) {
			unsigned change = diagonal + (a.at[i - 1] != b.at[j - 1]);
			unsigned best = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
			diagonal = row[j];
			row[j] = change < best ? change : best;
		}
	}
	return row[b.len];
}
