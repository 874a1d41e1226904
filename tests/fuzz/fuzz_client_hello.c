/* SPDX-License-Identifier: Apache-2.0 */
/* Less of a message asks for more or is as bad; cut into records anywhere else, it says the same;
 * and whatever name comes out stands in it. */
#include "base/str.h"
#include "codec/client_hello.h"
#include "fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>

struct outcome {
	enum client_hello result;
	char name[CLIENT_HELLO_NAME_MAX + 1];
	size_t len;
};

static struct outcome read_it(const uint8_t *bytes, size_t len)
{
	struct outcome o;
	o.result = client_hello_read(bytes, len, o.name, &o.len);
	ASSERT(o.len <= CLIENT_HELLO_NAME_MAX && o.name[o.len] == '\0');
	ASSERT(o.result == CLIENT_HELLO_DONE || o.len == 0);
	return o;
}

static bool is_same(const struct outcome *a, const struct outcome *b)
{
	return a->result == b->result && a->len == b->len && memcmp(a->name, b->name, a->len) == 0;
}

static void check_prefixes(const uint8_t *bytes, size_t len, const struct outcome *whole)
{
	size_t step = len / 256 + 1;
	for (size_t n = 0; n < len; n += step) {
		struct outcome less = read_it(bytes, n);
		ASSERT(less.result == CLIENT_HELLO_MORE || is_same(&less, whole));
	}
}

/* The bytes of one record as two. */
static void check_cut(const uint8_t *bytes, size_t len, const struct outcome *whole)
{
	size_t record = len >= 5 ? (size_t)bytes[3] << 8 | bytes[4] : 0;
	if (whole->result != CLIENT_HELLO_DONE || record < 2 || record + 5 > len)
		return;
	uint8_t *cut = malloc(len + 5);
	size_t first = 1 + bytes[len / 2] % (record - 1);
	ASSERT(cut);
	memcpy(cut, bytes, 5 + first);
	cut[3] = (uint8_t)(first >> 8);
	cut[4] = (uint8_t)first;
	memcpy(cut + 5 + first, bytes, 3);
	cut[5 + first + 3] = (uint8_t)((record - first) >> 8);
	cut[5 + first + 4] = (uint8_t)(record - first);
	memcpy(cut + 5 + first + 5, bytes + 5 + first, len - 5 - first);
	struct outcome again = read_it(cut, len + 5);
	ASSERT(is_same(&again, whole));
	free(cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct outcome whole = read_it(bytes, len);
	check_prefixes(bytes, len, &whole);
	check_cut(bytes, len, &whole);
	return 0;
}
