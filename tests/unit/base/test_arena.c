/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_takes_are_zeroed_aligned_and_apart(void **state)
{
	struct arena a;
	arena_init(&a, 1 << 20);
	unsigned char *before = NULL;
	for (size_t i = 1; i < 200; i++) {
		unsigned char *p = arena_take(&a, i);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t j = 0; j < i; j++)
			assert_int_equal(p[j], 0);
		memset(p, 0xaa, i);
		if (before)
			assert_int_equal(before[0], 0xaa);
		before = p;
	}
	arena_done(&a);
}

static void test_larger_than_a_chunk(void **state)
{
	struct arena a;
	arena_init(&a, 1 << 20);
	char *small = arena_take(&a, 10), *large = arena_take(&a, 100000);
	assert_non_null(small);
	assert_non_null(large);
	memset(large, 1, 100000);
	assert_int_equal(small[0], 0);
	arena_done(&a);
}

static void test_cap(void **state)
{
	struct arena a;
	arena_init(&a, 64);
	assert_null(arena_take(&a, 65));
	assert_null(arena_take(&a, SIZE_MAX));
	assert_non_null(arena_take(&a, 33)); /* 48 with its padding */
	assert_null(arena_take(&a, 17));
	assert_non_null(arena_take(&a, 16));
	assert_null(arena_take(&a, 1));
	assert_int_equal(a.used_bytes, 64);
	assert_null(arena_str(&a, STR("x")).at);
	assert_null(arena_printf(&a, "%d", 1).at);
	arena_done(&a);
}

static void test_usable_again_after_done(void **state)
{
	struct arena a;
	arena_init(&a, 64);
	assert_non_null(arena_take(&a, 64));
	arena_done(&a);
	assert_non_null(arena_take(&a, 64));
	arena_done(&a);
}

static void test_strings_are_copied_and_terminated(void **state)
{
	struct arena a;
	arena_init(&a, 1 << 16);
	char original[] = "orders";
	struct str copy = arena_str(&a, (struct str){original, 5});
	original[0] = 'x';
	assert_int_equal(copy.len, 5);
	assert_string_equal(copy.at, "order");
	struct str empty = arena_str(&a, STR_NONE);
	assert_int_equal(empty.len, 0);
	assert_string_equal(empty.at, "");
	struct str printed = arena_printf(&a, "%s/%d", "a", 7);
	assert_string_equal(printed.at, "a/7");
	assert_int_equal(printed.len, 3);
	const struct str parts[] = {STR("a"), STR_NONE, STR("bc")};
	struct str joined = arena_join(&a, parts, 3);
	assert_string_equal(joined.at, "abc");
	assert_int_equal(joined.len, 3);
	arena_done(&a);
}

static void test_lent_memory_is_used_first(void **state)
{
	struct arena a;
	_Alignas(16) unsigned char first[64];
	memset(first, 0xaa, sizeof(first));
	arena_init(&a, 128);
	arena_lend(&a, first, sizeof(first));
	assert_ptr_equal(arena_take(&a, 40), first);
	assert_int_equal(first[39], 0);
	assert_int_equal(first[48], 0xaa);
	assert_non_null(arena_take(&a, 20)); /* not the 16 left */
	assert_ptr_equal(arena_str(&a, STR("x")).at, first + 48);
	assert_null(arena_take(&a, 33)); /* the cap counts both */
	arena_done(&a);
	assert_non_null(arena_take(&a, 16)); /* no longer from there */
	arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takes_are_zeroed_aligned_and_apart),
		cmocka_unit_test(test_larger_than_a_chunk),
		cmocka_unit_test(test_cap),
		cmocka_unit_test(test_usable_again_after_done),
		cmocka_unit_test(test_strings_are_copied_and_terminated),
		cmocka_unit_test(test_lent_memory_is_used_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
