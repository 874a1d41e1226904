/* SPDX-License-Identifier: Apache-2.0 */
#include "known.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NEW_WEB "revision 42\nwho carol\ntime 3\n\nnew\n"
#define FRESH	"revision 42\nwho carol\ntime 3\nsource a.conf:1\n\nput policy/x 1 1\n"

static bool same(const struct object_set *a, const struct object_set *b)
{
	struct head head;
	head_set(&head, a);
	return head_fits(&head, b);
}

/* The known set, and one with a change of each kind. */
static void fill(struct object_set *from, struct object_set *to)
{
	struct err err;
	known_set(from);
	known_set(to);
	assert_int_equal(object_set_put(to, STR("policy/web"), STR(NEW_WEB), &err), 0);
	assert_int_equal(object_set_put(to, STR("service/fresh"), STR(FRESH), &err), 0);
	assert_true(object_set_remove(to, STR("service/orders")));
}

static void test_there_and_back(void **state)
{
	struct object_set from, to, set;
	struct arena arena;
	struct err err;
	uint32_t count;
	fill(&from, &to);
	arena_init(&arena, 1 << 20);
	struct change *changes = change_between(&arena, &from, &to, &count);
	assert_int_equal(count, 3);
	struct str text = change_text(&arena, changes, count);
	assert_int_equal(object_set_copy(&from, &set, &err), 0);
	assert_int_equal(change_apply(text, &set, &err), 0);
	assert_true(same(&set, &to));
	assert_int_equal(change_undo(text, &set, &err), 0);
	assert_true(same(&set, &from));
	assert_int_equal(change_undo(text, &set, &err), -EBADMSG);
	arena_done(&arena);
	object_set_done(&from);
	object_set_done(&to);
	object_set_done(&set);
}

static void test_text_is_as_documented(void **state)
{
	struct arena arena;
	const struct change changes[] = {
		{.key = STR("policy/a"), .envelope = STR("new\n"), .before = STR("old")},
		{.key = STR("policy/b"), .envelope = STR("new")},
		{.key = STR("policy/c"), .before = STR("old")}};
	arena_init(&arena, 65536);
	assert_string_equal(change_text(&arena, changes, 3).at,
		"put policy/a 4 3\nnew\nold\nput policy/b 3 0\nnew\ntake policy/c 0 3\nold\n");
	assert_int_equal(change_text(&arena, changes, 0).len, 0);
	arena_done(&arena);
	arena_init(&arena, 32);
	assert_null(change_text(&arena, changes, 3).at);
	arena_done(&arena);
}

static void test_reading(void **state)
{
	struct str rest = STR("put policy/a 4 3\nnew\nold\ntake policy/c 0 3\nold\n");
	struct change c;
	assert_int_equal(change_next(&rest, &c), 0);
	assert_true(str_eq(c.key, STR("policy/a")));
	assert_true(str_eq(c.envelope, STR("new\n")));
	assert_true(str_eq(c.before, STR("old")));
	assert_int_equal(change_next(&rest, &c), 0);
	assert_null(c.envelope.at);
	assert_true(str_eq(c.before, STR("old")));
	assert_int_equal(change_next(&rest, &c), 1);
}

static void test_malformed(void **state)
{
	static const char *const bad[] = {"x", "\n", "put", "put a/b", "put a/b 1", "put a/b 1 0\n",
		"put a/b 1 0\nx", "put a/b 1 0\nxy", "put a/b 0 0\n\n", "put a/b 0 1\nx\n",
		"take a/b 0 0\n\n", "take a/b 1 1\nxy\n", "take a/b 0 1\nx", "give a/b 1 0\nx\n",
		"put ab 1 0\nx\n", "put a/b -1 0\nx\n", "put a/b 1 0 \nx\n",
		"put a/b 262145 0\nx\n", "put a/b 99999999999999999999 0\nx\n",
		"put a/b 1 18446744073709551615\nx\n", "put  1 0\nx\n"};
	struct object_set set;
	struct err err;
	known_set(&set);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct str rest = str_of(bad[i]);
		struct change c;
		assert_int_equal(change_next(&rest, &c), -EBADMSG);
		assert_int_equal(change_apply(str_of(bad[i]), &set, &err), -EBADMSG);
	}
	assert_int_equal(change_apply(STR("put a/b 1 0\nx\n"), &set, &err), -EINVAL);
	object_set_done(&set);
}

static void test_undo_is_refused_where_others_have_been(void **state)
{
	struct object_set set;
	struct err err;
	known_set(&set);
	assert_int_equal(change_undo(STR("put service/none 3 0\nnew\n"), &set, &err), -EBADMSG);
	assert_int_equal(change_undo(STR("put service/orders 3 0\nnew\n"), &set, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "service/orders is not as"));
	assert_int_equal(change_undo(STR("take service/orders 0 3\nold\n"), &set, &err), -EBADMSG);
	assert_int_equal(set.count, 2);
	object_set_done(&set);
}

static void test_nothing_between_equals(void **state)
{
	struct object_set a, b;
	struct arena arena;
	uint32_t count;
	known_set(&a);
	known_set(&b);
	arena_init(&arena, 65536);
	assert_non_null(change_between(&arena, &a, &b, &count));
	assert_int_equal(count, 0);
	arena_done(&arena);
	object_set_done(&a);
	object_set_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_text_is_as_documented),
		cmocka_unit_test(test_reading),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_undo_is_refused_where_others_have_been),
		cmocka_unit_test(test_nothing_between_equals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
