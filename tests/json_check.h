/* SPDX-License-Identifier: Apache-2.0 */
/* Is this text one valid JSON value (RFC 8259)? Strict, for tests: what we write is checked by
 * something that does not share its code. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct json_check {
	const char *at, *end;
	int depth;
};

static inline void json_check_space(struct json_check *c)
{
	while (c->at < c->end && memchr(" \t\r\n", *c->at, 4))
		c->at++;
}

static inline bool json_check_take(struct json_check *c, char want)
{
	json_check_space(c);
	if (c->at == c->end || *c->at != want)
		return false;
	c->at++;
	return true;
}

static inline bool json_check_string(struct json_check *c)
{
	if (!json_check_take(c, '"'))
		return false;
	while (c->at < c->end && *c->at != '"') {
		unsigned char ch = (unsigned char)*c->at++;
		if (ch < 0x20 || ch > 0x7e) /* stricter than the RFC: we write ASCII */
			return false;
		if (ch != '\\')
			continue;
		if (c->at == c->end)
			return false;
		char escape = *c->at++;
		size_t hex = escape == 'u' ? 4 : 0;
		if (!hex && !memchr("\"\\/bfnrt", escape, 8))
			return false;
		for (; hex; hex--, c->at++)
			if (c->at == c->end || !memchr("0123456789abcdefABCDEF", *c->at, 22))
				return false;
	}
	return c->at++ < c->end;
}

static inline bool json_check_digits(struct json_check *c)
{
	const char *start = c->at;
	while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
		c->at++;
	return c->at > start;
}

static inline bool json_check_number(struct json_check *c)
{
	if (*c->at == '-')
		c->at++;
	const char *first = c->at;
	if (!json_check_digits(c) || (*first == '0' && c->at - first > 1))
		return false;
	if (c->at < c->end && *c->at == '.') {
		c->at++;
		return json_check_digits(c);
	}
	return true;
}

static inline bool json_check_word(struct json_check *c, const char *word)
{
	size_t len = strlen(word);
	if ((size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0)
		return false;
	c->at += len;
	return true;
}

static inline bool json_check_value(struct json_check *c);

static inline bool json_check_list(struct json_check *c, char close, bool keys)
{
	c->at++;
	if (json_check_take(c, close))
		return true;
	do {
		if (keys && !(json_check_string(c) && json_check_take(c, ':')))
			return false;
		if (!json_check_value(c))
			return false;
	} while (json_check_take(c, ','));
	return json_check_take(c, close);
}

static inline bool json_check_value(struct json_check *c)
{
	json_check_space(c);
	if (c->at == c->end || c->depth++ > 32)
		return false;
	bool ok;
	if (*c->at == '{' || *c->at == '[')
		ok = json_check_list(c, *c->at == '{' ? '}' : ']', *c->at == '{');
	else if (*c->at == '"')
		ok = json_check_string(c);
	else if (*c->at == 't' || *c->at == 'f' || *c->at == 'n')
		ok = json_check_word(c, "true") || json_check_word(c, "false") ||
		     json_check_word(c, "null");
	else
		ok = json_check_number(c);
	c->depth--;
	return ok;
}

static inline bool json_valid(const char *text, size_t len)
{
	struct json_check c = {text, text + len, 0};
	if (!json_check_value(&c))
		return false;
	json_check_space(&c);
	return c.at == c.end;
}
