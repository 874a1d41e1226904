/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json_tree.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena arena;

static const struct json_tree *tree(const char *text)
{
	return json_tree_read(&arena, str_of(text));
}

static void values(void **state)
{
	const struct json_tree *t =
		tree(" {\"a\" : 12,\"b\":-3,\"c\":\"x\\\"\\u00ff\\n\\u20ac\",\"d\":true,"
		     "\"e\":null,\"f\":[1,[],{}],\"g\":{\"h\":\"i\"},\"z\":0} \n");
	assert_non_null(t);
	assert_int_equal(json_tree_number(t, "a"), 12);
	assert_int_equal(json_tree_number(t, "b"), -3);
	assert_true(str_eq(json_tree_text(t, "c"), STR("x\"\xff\n?")));
	assert_true(json_tree_true(t, "d"));
	assert_int_equal(json_tree_get(t, "e")->kind, JSON_NULL);
	const struct json_tree *list = json_tree_list(t, "f");
	assert_int_equal(list->number, 1);
	assert_int_equal(list->next->kind, JSON_LIST);
	assert_int_equal(list->next->next->kind, JSON_OBJECT);
	assert_null(list->next->next->next);
	assert_true(str_eq(json_tree_text(json_tree_get(t, "g"), "h"), STR("i")));
}

static void missing_and_other_kinds(void **state)
{
	const struct json_tree *t = tree("{\"a\":\"x\"}");
	assert_int_equal(json_tree_number(t, "a"), 0);
	assert_false(json_tree_true(t, "a"));
	assert_null(json_tree_list(t, "a"));
	assert_null(json_tree_get(t, "b"));
	assert_int_equal(json_tree_text(t, "b").len, 0);
	assert_int_equal(json_tree_text(NULL, "b").len, 0);
	assert_null(json_tree_get(json_tree_get(t, "a"), "b"));
}

static void broken_texts(void **state)
{
	static const char *const rows[] = {"", " ", "{", "}", "[", "[1", "[1,", "[1,]", "{\"a\"}",
		"{\"a\":}", "{\"a\":1,}", "{a:1}", "\"", "\"\\", "\"\\\"", "\"\\q\"", "\"\\u12\"",
		"\"\\u00g0\"", "\"\n\"", "tru", "nul", "-", "1 2", "{}x", "1.5", "+1", "{\"a\":1"};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (tree(rows[i]))
			fail_msg("row %zu is taken", i);
	}
}

/* Reads nothing behind the end, wherever the text is cut. */
static void every_cut(void **state)
{
	static const char whole[] =
		"{\"a\":[1,-2,\"b\\u0041\\\\\"],\"c\":{\"d\":null,\"e\":false}}";
	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		char *copy = malloc(len + 1);
		memcpy(copy, whole, len);
		char *exact = realloc(copy, len ? len : 1);
		assert_null(json_tree_read(&arena, (struct str){exact, len}));
		free(exact);
	}
	assert_non_null(tree(whole));
}

static void depth_is_bounded(void **state)
{
	char text[200];
	memset(text, '[', 100);
	memset(text + 100, ']', 100);
	assert_null(json_tree_read(&arena, (struct str){text, 200}));
	assert_non_null(json_tree_read(&arena, (struct str){text + 70, 60}));
}

static int setup(void **state)
{
	arena_init(&arena, 1 << 20);
	return 0;
}

static int teardown(void **state)
{
	arena_done(&arena);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(values),
		TEST(missing_and_other_kinds),
		TEST(broken_texts),
		TEST(every_cut),
		TEST(depth_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
