/* SPDX-License-Identifier: Apache-2.0 */
#include "inside.h"

static int base64url_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool base64url_read(struct str text, uint8_t *ret, size_t *ret_len)
{
	uint32_t bits = 0, count = 0;
	size_t len = 0;
	for (size_t i = 0; i < text.len; i++) {
		int digit = base64url_digit(text.at[i]);
		if (digit < 0)
			return false;
		bits = bits << 6 | (uint32_t)digit;
		count += 6;
		if (count >= 8) {
			count -= 8;
			ret[len++] = (uint8_t)(bits >> count);
			bits &= (1u << count) - 1;
		}
	}
	*ret_len = len;
	/* Six left-over bits are a lone digit; others must be zero, or one text would be another's
	 * twin. */
	return count < 6 && bits == 0;
}
