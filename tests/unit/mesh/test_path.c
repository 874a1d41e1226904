/* SPDX-License-Identifier: Apache-2.0 */
/* What a request's path becomes, or that it is refused. The output buffer has exactly the promised
 * size, so that the address sanitizer sees a byte too many. */
#include "mesh/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct path_row {
	const char *in;
	const char *out; /* NULL: refused */
};

static const struct path_row path_rows[] = {
	/* as it is */
	{"/", "/"},
	{"/a/b", "/a/b"},
	{"/a/b/", "/a/b/"},
	{"*", "*"},
	{"/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,="},
	/* dot segments */
	{"/a/./b", "/a/b"},
	{"/a/../b", "/b"},
	{"/a/b/..", "/a/"},
	{"/a/b/.", "/a/b/"},
	{"/.", "/"},
	{"/a/..", "/"},
	{"/a/b/../../c", "/c"},
	{"/...", "/..."},
	{"/a/..b", "/a/..b"},
	{"/..", NULL},
	{"/../a", NULL},
	{"/a/../..", NULL},
	{"/a/../../b", NULL},
	{"/./../a", NULL},
	{"//..", NULL},
	/* slashes */
	{"//", "/"},
	{"//a///b//", "/a/b/"},
	{"/a//../b", "/b"},
	/* escapes: unreserved are decoded, the rest keeps its meaning and gets upper-case digits */
	{"/%61", "/a"},
	{"/%41%5a%7a%2D%2e%5F%7E", "/AZz-._~"},
	{"/%2e%2E/a", NULL},
	{"/a/%2e%2e/b", "/b"},
	{"/a/.%2e/b", "/b"},
	{"/a/%2e/b", "/a/b"},
	{"/%3a%3B%20", "/%3A%3B%20"},
	{"/%c3%a9", "/%C3%A9"},
	{"/%25", "/%25"},
	{"/%2540", "/%2540"},
	{"/%252F", "/%252F"},
	{"/%2f", NULL},
	{"/a%2Fb", NULL},
	{"/%5c", NULL},
	{"/%5C..", NULL},
	{"/%00", NULL},
	{"/a\\b", NULL},
	{"/%", NULL},
	{"/%2", NULL},
	{"/%zz", NULL},
	{"/%2x", NULL},
	{"/%-1", NULL},
	/* parameters */
	{"/a;x=1/b", "/a;x=1/b"},
	{"/a/..;/b", NULL},
	{"/a/..;x/b", NULL},
	{"/a/.;/b", NULL},
	{"/a/%2e%2e;/b", NULL},
	{"/..a;x", "/..a;x"},
	/* what some server makes a dot segment of */
	{"/%252e%252e/a", NULL},
	{"/a/%252E", NULL},
	{"/a/.%25252e/b", NULL},
	{"/a%252f..%252fb", NULL},
	{"/a%255c..", NULL},
	{"/a/..%3B/b", NULL},
	{"/a/..%3bx=1", NULL},
	{"/a/.%253b/b", NULL},
	{"/a/..%3F", NULL},
	{"/a/..%23b", NULL},
	{"/a/..%20/b", NULL},
	{"/a/%20../b", NULL},
	{"/a/..%2500", NULL},
	{"/a%252Fb", "/a%252Fb"},
	{"/..%40", "/..%40"},
	{"/...%20", "/...%20"},
	{"/%20", "/%20"},
	{"/a;..%3B/b", "/a;..%3B/b"},
	/* what ends a path, or a segment, for those only who have not taken the parameters away */
	{"/;a%2500b/admin", NULL},
	{"/;a%3Fb/admin", NULL},
	{"/a%3Bx%23/b", NULL},
	{"/admin;a%252Fb", NULL},
	{"/admin;a;b%25255C", NULL},
	{"/a;x/b%3Fc", "/a;x/b%3Fc"},
	{"/a%3Fb;c/d", "/a%3Fb;c/d"},
	{"/a;x=%25/b", "/a;x=%25/b"},
	/* control characters */
	{"/a%0a", NULL},
	{"/a%0D%0Ab", NULL},
	{"/a%09", NULL},
	{"/a%1f", NULL},
	{"/a%7F", NULL},
	{"/a%80", "/a%80"},
	/* UTF-8 that is longer than it must be; other bytes stay */
	{"/%c0%ae%c0%ae/a", NULL},
	{"/a%c0%afb", NULL},
	{"/a%C1%9C", NULL},
	{"/a%e0%80%af", NULL},
	{"/a%f0%80%80%af", NULL},
	{"/a%C0", "/a%C0"},
	{"/a%C0/b", "/a%C0/b"},
	{"/a%c0%41", "/a%C0A"},
	{"/%e0%a4%85", "/%E0%A4%85"},
	/* what is no path */
	{"", NULL},
	{"a", NULL},
	{"?a", NULL},
	{"**", NULL},
	{"http://h/", NULL},
	{"/a#b", NULL},
	{"/a b", NULL},
	{"/a\tb", NULL},
	{"/a\x7f", NULL},
	{"/\xc3\xa9", NULL},
	/* the query stays as it is */
	{"/a?b", "/a?b"},
	{"/a/../b?c/../d//%2f%61", "/b?c/../d//%2f%61"},
	{"/?", "/?"},
	{"/..?", NULL},
	{"/a?b#c", NULL},
	{"/a?b c", NULL},
	{"/a?b\\c?d", "/a?b\\c?d"},
};

static void test_path_normalise(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(path_rows); i++) {
		struct str in = str_of(path_rows[i].in);
		char *copy = malloc(in.len), *out = malloc(in.len);
		memcpy(copy, in.at, in.len);
		size_t len = 0;
		bool is_good = path_normalise((struct str){copy, in.len}, out, &len);
		const char *want = path_rows[i].out;
		if (is_good != (want != NULL) ||
			(want && !str_eq((struct str){out, len}, str_of(want))))
			fail_msg("\"%s\" became %s \"%.*s\"", path_rows[i].in,
				is_good ? "good" : "refused", (int)len, out);
		if (path_is_normal(in) && (!is_good || !str_eq((struct str){out, len}, in)))
			fail_msg("\"%s\" is not normal", path_rows[i].in);
		free(copy);
		free(out);
	}
}

/* Done twice is done once: the form is normal. */
static void test_path_is_stable(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(path_rows); i++) {
		char out[256];
		size_t len;
		if (!path_rows[i].out)
			continue;
		assert_true(path_normalise(str_of(path_rows[i].out), out, &len));
		assert_true(str_eq((struct str){out, len}, str_of(path_rows[i].out)));
	}
}

static void test_usual_paths_are_known_to_be_normal(void **state)
{
	assert_true(path_is_normal(STR("/")));
	assert_true(path_is_normal(STR("/api/orders/1042/")));
	assert_true(path_is_normal(STR("/a/b.html;v=1?q=%2f/../&x")));
	assert_false(path_is_normal(STR("/a/.b"))); /* maybe: looked at more closely */
	assert_false(path_is_normal(STR("/a?b\0")));
	assert_false(path_is_normal(STR("/a\0")));
	assert_false(path_is_normal(STR_NONE));
}

static void test_path_refuses_nul(void **state)
{
	char out[8];
	size_t len;
	assert_false(path_normalise((struct str){"/a\0b", 4}, out, &len));
	assert_false(path_normalise((struct str){"/?\0", 3}, out, &len));
	assert_false(path_normalise(STR_NONE, out, &len));
}

/* "%25" and so on: what is hidden in it each rule would have to dig out. */
static void test_path_is_not_escaped_without_end(void **state)
{
	char path[4096] = "/x/%", out[sizeof(path)];
	size_t len = strlen(path), out_len;
	for (int depth = 1; len + 4 < sizeof(path); depth++, len += 2) {
		memcpy(path + len, "40", 3);
		assert_int_equal(path_normalise(str_of(path), out, &out_len), depth <= 8);
		memcpy(path + len, "25", 3);
	}
	assert_true(path_normalise(
		STR("/%25/%2540/%2540/%2540/%2540/%2540/%2540/%2540/%2540/"), out, &out_len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path_normalise),
		cmocka_unit_test(test_usual_paths_are_known_to_be_normal),
		cmocka_unit_test(test_path_is_stable),
		cmocka_unit_test(test_path_refuses_nul),
		cmocka_unit_test(test_path_is_not_escaped_without_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
