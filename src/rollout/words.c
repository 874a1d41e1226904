/* SPDX-License-Identifier: Apache-2.0 */
#include "words.h"

#include "rollout/rollout.h"
#include <errno.h>

#define WORDS_SHOWN 80 /* bytes of a wrong line that the error shows */

static bool words_is_printable(char c)
{
	return c >= ' ' && c < 0x7f;
}

struct str words_cut(struct str *from, char end)
{
	const char *at = from->len ? memchr(from->at, end, from->len) : NULL;
	struct str part = {from->at, at ? (size_t)(at - from->at) : from->len};
	size_t used = part.len + (at ? 1 : 0);
	*from = (struct str){from->at + used, from->len - used};
	return part;
}

bool words_number(struct str *from, uint64_t max, uint64_t *ret_number)
{
	uint64_t number;
	if (!str_to_u64(words_cut(from, ' '), &number) || number > max)
		return false;
	*ret_number = number;
	return true;
}

bool words_valid(struct str word)
{
	if (word.len == 0 || word.len > ROLLOUT_WORD_MAX)
		return false;
	for (size_t i = 0; i < word.len; i++) {
		if (!words_is_printable(word.at[i]) || word.at[i] == ' ')
			return false;
	}
	return true;
}

bool words_printable(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (!words_is_printable(text.at[i]))
			return false;
	}
	return text.len <= ROLLOUT_WHY_MAX;
}

size_t words_print(struct str text, char *ret_text, size_t max)
{
	size_t len = text.len < max ? text.len : max;
	for (size_t i = 0; i < len; i++)
		ret_text[i] = words_is_printable(text.at[i]) ? text.at[i] : '?';
	return len;
}

int words_fail(struct err *err, unsigned line_number, struct str line, const char *why)
{
	char shown[WORDS_SHOWN];
	size_t len = words_print(line, shown, sizeof(shown));
	return err_set(err, EINVAL, "line %u, \"%.*s\": %s", line_number, (int)len, shown, why);
}
