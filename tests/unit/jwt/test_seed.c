/* SPDX-License-Identifier: Apache-2.0 */
/* The library is told its secret number: it must never look for one by itself. */
#include "jwt/jwt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static size_t told;
static unsigned told_count;

void __wrap_json_object_seed(size_t seed);

/* In the library's place. */
void __wrap_json_object_seed(size_t seed)
{
	told = seed;
	told_count++;
}

static void tells_the_library(void **state)
{
	static const uint64_t secrets[] = {1, 0x123456789abcdef0, UINT64_MAX - 5};
	size_t before = 0;
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
		jwt_seed(secrets[i]);
		assert_int_equal(told_count, i + 1);
		assert_int_not_equal((uint32_t)told, before);
		before = (uint32_t)told;
	}
}

/* 0 asks it for one of its own, of which it takes 32 bits only. */
static void never_leaves_it_to_the_library(void **state)
{
	static const uint64_t secrets[] = {0, UINT64_MAX, 0x500000005, UINT64_C(1) << 32};
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
		jwt_seed(secrets[i]);
		assert_int_not_equal((uint32_t)told, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_the_library),
		cmocka_unit_test(never_leaves_it_to_the_library),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
