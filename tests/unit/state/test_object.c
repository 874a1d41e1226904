/* SPDX-License-Identifier: Apache-2.0 */
#include "known.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define HEAD "revision 1\nwho a\ntime 2\n"

static int put(struct object_set *set, const char *key, const char *envelope)
{
	struct err err = {0};
	int r = object_set_put(set, str_of(key), str_of(envelope), &err);
	assert_int_equal(r < 0, err.text[0] != '\0');
	return r;
}

static void digest_text(const struct object_set *set, char text[65])
{
	uint8_t digest[OBJECT_DIGEST];
	object_set_digest(set, digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

static void test_keys(void **state)
{
	static const char *const good[] = {"service/orders", "policy/web-uses-orders", "a/B.c:d_*"};
	static const char *const bad[] = {"", "/", "service", "service/", "/orders", "Service/a",
		"service/a/b", "service/a b", "service/a@1", "service/\n", "service/\xc3\xa9",
		"service2/a"};
	char longest[OBJECT_KEY_MAX + 2];
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(object_key_valid(str_of(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(object_key_valid(str_of(bad[i])));
	memset(longest, 'a', sizeof(longest));
	longest[1] = '/';
	assert_true(object_key_valid((struct str){longest, OBJECT_KEY_MAX}));
	assert_false(object_key_valid((struct str){longest, OBJECT_KEY_MAX + 1}));
	assert_true(str_eq(object_key_kind(STR("service/orders")), STR("service")));
	assert_true(str_eq(object_key_name(STR("service/orders")), STR("orders")));
	assert_int_equal(object_key_name(STR("service")).len, 0);
}

static void test_envelope_is_read(void **state)
{
	struct object_set set;
	known_set(&set);
	const struct object *o = object_set_find(&set, STR("service/orders"));
	assert_non_null(o);
	assert_int_equal(o->revision, 41);
	assert_int_equal(o->time_s, 1764236129);
	assert_true(str_eq(o->who, STR("alice")));
	assert_true(str_eq(o->source, STR("orders.conf:12")));
	assert_true(str_eq(o->text, STR("services = ( { name = \"orders\"; } );\n")));
	assert_int_equal(object_set_find(&set, STR("policy/web"))->source.len, 0);
	assert_null(object_set_find(&set, STR("policy/we")));
	object_set_done(&set);
}

static void test_envelope_is_written_as_it_is_read(void **state)
{
	struct object_set set;
	struct arena arena;
	known_set(&set);
	arena_init(&arena, 1 << 20);
	OBJECT_EACH (&set, it)
		assert_true(str_eq(object_envelope(&arena, it), it->envelope));
	arena_done(&arena);
	arena_init(&arena, 16);
	assert_null(object_envelope(&arena, set.ahead[0]).at);
	arena_done(&arena);
	object_set_done(&set);
}

static void test_lines_of_newer_versions_are_passed_over(void **state)
{
	struct object_set set;
	object_set_init(&set);
	assert_int_equal(put(&set, "service/a", HEAD "colour blue\n\ntext\n"), 0);
	assert_true(str_eq(set.ahead[0]->text, STR("text\n")));
	object_set_done(&set);
}

static void test_malformed_envelopes_change_nothing(void **state)
{
	static const char *const bad[] = {"", "text", "\n", "\ntext", HEAD, HEAD "\n",
		"revision 1\nwho a\n\ntext", "revision 1\ntime 2\n\ntext", "who a\ntime 2\n\ntext",
		"revision 0\nwho a\ntime 2\n\ntext", "revision x\nwho a\ntime 2\n\ntext",
		"revision 1\nwho a b\ntime 2\n\ntext", "revision 1\nwho \ntime 2\n\ntext",
		"revision 1\nwho a\ntime -2\n\ntext", HEAD "who b\n\ntext", HEAD "alone\n\ntext",
		HEAD "source a\tb\n\ntext", HEAD "revision 2\n\ntext",
		"revision 18446744073709551616\nwho a\ntime 2\n\ntext"};
	struct object_set set;
	known_set(&set);
	char before[65], after[65];
	digest_text(&set, before);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(put(&set, "service/orders", bad[i]), -EINVAL);
		assert_int_equal(put(&set, "service/new", bad[i]), -EINVAL);
	}
	assert_int_equal(put(&set, "orders", HEAD "\ntext"), -EINVAL);
	struct err err;
	assert_int_equal(
		object_set_put(&set, STR("service/a"), STR(HEAD "\nte\0xt"), &err), -EINVAL);
	digest_text(&set, after);
	assert_string_equal(before, after);
	assert_int_equal(set.count, 2);
	object_set_done(&set);
}

static void test_bounds(void **state)
{
	struct object_set set;
	struct err err;
	size_t len = OBJECT_TEXT_MAX + 1;
	char *text = malloc(len);
	assert_non_null(text);
	memset(text, 'x', len);
	memcpy(text, HEAD "\n", sizeof(HEAD));
	object_set_init(&set);
	assert_int_equal(object_set_put(&set, STR("a/a"), (struct str){text, len}, &err), -E2BIG);
	assert_int_equal(object_set_put(&set, STR("a/a"), (struct str){text, len - 1}, &err), 0);
	assert_int_equal(set.bytes, OBJECT_TEXT_MAX);
	assert_int_equal(object_set_put(&set, STR("a/a"), STR(HEAD "\nx"), &err), 0);
	assert_int_equal(set.bytes, sizeof(HEAD "\nx") - 1);
	assert_true(object_set_remove(&set, STR("a/a")));
	assert_false(object_set_remove(&set, STR("a/a")));
	assert_int_equal(set.bytes, 0);
	free(text);
	object_set_done(&set);
}

static void test_count_is_bounded(void **state)
{
	struct object_set set;
	char key[32];
	object_set_init(&set);
	/* Downwards and then between: a list that is searched from one end would take minutes. */
	for (unsigned i = OBJECT_COUNT_MAX; i-- > 0;) {
		snprintf(key, sizeof(key), "service/s%06u", i * 7919u % OBJECT_COUNT_MAX);
		assert_int_equal(put(&set, key, HEAD "\nx"), 0);
	}
	assert_int_equal(set.count, OBJECT_COUNT_MAX);
	assert_int_equal(put(&set, "service/t", HEAD "\nx"), -E2BIG);
	assert_int_equal(put(&set, "service/s000000", HEAD "\ny"), 0);
	object_set_done(&set);
}

static void test_digest_is_known(void **state)
{
	struct object_set set;
	char text[65];
	object_set_init(&set);
	digest_text(&set, text);
	assert_string_equal(
		text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	object_set_done(&set);
	known_set(&set);
	digest_text(&set, text);
	assert_string_equal(
		text, "a6e29b0b6444261356b17c57c7b7a2016b8bc9a00ef04448840af22a1a81ec8d");
	object_set_done(&set);
}

static void test_order_of_coming_does_not_matter(void **state)
{
	char first[65] = "", text[65], key[32];
	for (unsigned step = 1; step < 97; step += 5) {
		struct object_set set;
		object_set_init(&set);
		for (unsigned i = 0; i < 97; i++) {
			snprintf(key, sizeof(key), "service/s%u", i * step % 97);
			assert_int_equal(put(&set, key, HEAD "\nold"), 0);
			assert_int_equal(put(&set, key, HEAD "\nnew"), 0);
		}
		assert_int_equal(put(&set, "service/other", HEAD "\nx"), 0);
		assert_true(object_set_remove(&set, STR("service/other")));
		const struct object *before = NULL;
		OBJECT_EACH (&set, it) {
			if (before)
				assert_true(strcmp(before->key.at, it->key.at) < 0);
			before = it;
		}
		digest_text(&set, text);
		if (!first[0])
			memcpy(first, text, sizeof(first));
		assert_string_equal(first, text);
		object_set_done(&set);
	}
}

static void test_digest_tells_key_from_envelope(void **state)
{
	struct object_set a, b;
	char text_a[65], text_b[65];
	object_set_init(&a);
	object_set_init(&b);
	assert_int_equal(put(&a, "service/a", HEAD "\nx"), 0);
	assert_int_equal(put(&b, "service/b", HEAD "\nx"), 0);
	digest_text(&a, text_a);
	digest_text(&b, text_b);
	assert_string_not_equal(text_a, text_b);
	object_set_done(&a);
	object_set_done(&b);
}

static void test_copy(void **state)
{
	struct object_set set, copy;
	struct err err;
	char a[65], b[65];
	known_set(&set);
	digest_text(&set, a);
	assert_int_equal(object_set_copy(&set, &copy, &err), 0);
	object_set_done(&set);
	digest_text(&copy, b);
	assert_string_equal(a, b);
	object_set_done(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_envelope_is_read),
		cmocka_unit_test(test_envelope_is_written_as_it_is_read),
		cmocka_unit_test(test_lines_of_newer_versions_are_passed_over),
		cmocka_unit_test(test_malformed_envelopes_change_nothing),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_count_is_bounded),
		cmocka_unit_test(test_digest_is_known),
		cmocka_unit_test(test_order_of_coming_does_not_matter),
		cmocka_unit_test(test_digest_tells_key_from_envelope),
		cmocka_unit_test(test_copy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
