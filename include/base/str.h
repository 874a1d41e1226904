/* SPDX-License-Identifier: Apache-2.0 */
/* A span of characters that somebody else owns; not terminated by NUL. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *at;
	size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_FMT	     "%.*s"
#define STR_ARG(s)   (int)(s).len, (s).at
#define STR_NONE     ((struct str){NULL, 0})

static inline struct str str_of(const char *text)
{
	return (struct str){text, text ? strlen(text) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* ASCII only, as HTTP names and hosts are. */
bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
/* Spaces and tabs off both ends. */
struct str str_trim(struct str s);
/* Decimal digits only, no sign, no overflow. False leaves *ret_number as it was. */
bool str_to_u64(struct str s, uint64_t *ret_number);
/* The value of a hexadecimal digit, either case; -1 when it is none. */
int str_hex(char c);
/* How many single-character edits turn a into b: for "did you mean". Bounded to 64 characters. */
unsigned str_distance(struct str a, struct str b);
