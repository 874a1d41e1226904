/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct entry {
	uint64_t key;
	struct map_node node;
};

#define ENTRY_COUNT 1000

static struct entry *entry_find(const struct map *m, uint64_t key, uint64_t hash)
{
	for (struct map_node *n = map_first(m, hash); n; n = map_next(n)) {
		struct entry *e = CONTAINER_OF(n, struct entry, node);
		if (e->key == key)
			return e;
	}
	return NULL;
}

static uint64_t key_hash(uint64_t key)
{
	return hash_bytes(1, &key, sizeof(key));
}

static void test_found_while_growing_and_shrinking(void **state)
{
	static struct entry entries[ENTRY_COUNT];
	struct map m;
	map_init(&m);
	assert_null(map_first(&m, 1));
	for (uint64_t i = 0; i < ENTRY_COUNT; i++) {
		entries[i].key = i;
		assert_true(map_add(&m, &entries[i].node, key_hash(i)));
		assert_ptr_equal(entry_find(&m, i / 2, key_hash(i / 2)), &entries[i / 2]);
	}
	assert_int_equal(m.count, ENTRY_COUNT);
	for (uint64_t i = 0; i < ENTRY_COUNT; i += 2)
		map_remove(&m, &entries[i].node);
	for (uint64_t i = 0; i < ENTRY_COUNT; i++)
		assert_int_equal(entry_find(&m, i, key_hash(i)) != NULL, i % 2);
	assert_int_equal(m.count, ENTRY_COUNT / 2);
	map_done(&m);
	assert_null(map_first(&m, key_hash(1)));
}

static void test_equal_hashes(void **state)
{
	struct entry entries[4] = {{.key = 1}, {.key = 2}, {.key = 3}, {.key = 4}};
	struct map m;
	map_init(&m);
	for (size_t i = 0; i < 3; i++)
		assert_true(map_add(&m, &entries[i].node, 5));
	/* another hash in the same slot */
	assert_true(map_add(&m, &entries[3].node, 5 + 16));
	for (uint64_t key = 1; key <= 3; key++)
		assert_ptr_equal(entry_find(&m, key, 5), &entries[key - 1]);
	assert_null(entry_find(&m, 4, 5));
	map_remove(&m, &entries[1].node);
	assert_null(entry_find(&m, 2, 5));
	assert_non_null(entry_find(&m, 1, 5));
	assert_non_null(entry_find(&m, 3, 5));
	map_done(&m);
}

static void test_hash_depends_on_all_it_is_given(void **state)
{
	assert_int_equal(hash_bytes(1, "abc", 3), hash_bytes(1, "abc", 3));
	assert_true(hash_bytes(1, "abc", 3) != hash_bytes(2, "abc", 3));
	assert_true(hash_bytes(1, "abc", 3) != hash_bytes(1, "abd", 3));
	assert_true(hash_bytes(1, "a", 1) != hash_bytes(1, "a\0", 2));
	/* low bits spread: they choose the slot */
	unsigned slots[16] = {0};
	for (uint64_t i = 0; i < 1600; i++)
		slots[key_hash(i) & 15]++;
	for (size_t i = 0; i < 16; i++)
		assert_in_range(slots[i], 50, 150);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found_while_growing_and_shrinking),
		cmocka_unit_test(test_equal_hashes),
		cmocka_unit_test(test_hash_depends_on_all_it_is_given),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
