/* SPDX-License-Identifier: Apache-2.0 */
#include "number.h"

#include "base/str.h"
#include <ctype.h>
#include <stdlib.h>

bool number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret_number)
{
	uint64_t number;
	if (!str_to_u64(str_of(text), &number) || number < min || number > max)
		return false;
	*ret_number = number;
	return true;
}

bool number_parse_seconds(const char *text, uint64_t *ret_ns)
{
	char *end;
	double seconds = strtod(text, &end);
	if (!isdigit((unsigned char)text[0]) || *end || !(seconds >= 0 && seconds <= 86400))
		return false;
	*ret_ns = (uint64_t)(seconds * 1e9);
	return true;
}
