/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh/regex.h"

#include "base/assert.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct regex *good(struct str pattern)
{
	char why[256] = "";
	struct regex *r = regex_new(pattern, why, sizeof(why));
	if (!r)
		fail_msg("%.*s: %s", STR_ARG(pattern), why);
	return r;
}

static void test_whole_texts(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool matches;
	} rows[] = {
		{"/orders/[0-9]+", "/orders/7", true},
		{"/orders/[0-9]+", "/orders/", false},
		{"/orders/[0-9]+", "/orders/7/items", false},
		{"/orders/[0-9]+", "x/orders/7", false},
		{"/a|/ab", "/ab", true}, /* not the first that fits, but whether any does */
		{"/a.*", "/a", true},
		{"(?i)/A", "/a", true},
		{"/A", "/a", false},
		{"^/a$", "/a", true},
		{"/\\*", "/*", true},
		{"", "", true},
		{"", "/", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct regex *r = good(str_of(rows[i].pattern));
		if (regex_matches(r, str_of(rows[i].text)) != rows[i].matches)
			fail_msg("%s of %s", rows[i].pattern, rows[i].text);
		regex_free(r);
	}
	regex_free(NULL);
}

/* Bytes, whether or not they are UTF-8. */
static void test_any_bytes(void **state)
{
	struct regex *one = good(STR("/.")), *two = good(STR("/\xc3\xa4")),
		     *rest = good(STR("/[^/]*"));
	for (int c = 1; c < 256; c++) {
		char text[] = {'/', (char)c};
		assert_int_equal(regex_matches(one, (struct str){text, 2}), c != '\n');
		assert_int_equal(regex_matches(rest, (struct str){text, 2}), c != '/');
	}
	assert_true(regex_matches(one, (struct str){"/\0", 2}));
	assert_true(regex_matches(two, STR("/\xc3\xa4")));
	assert_false(regex_matches(two, STR("/\xe4")));
	assert_false(regex_matches(one, STR("/\xc3\xa4")));
	regex_free(one);
	regex_free(two);
	regex_free(rest);
}

static void test_refused(void **state)
{
	static const struct {
		const char *pattern, *why;
	} rows[] = {
		{"/(a", "missing ): /(a"},
		{"/[a", "missing ]"},
		{"/a**", "bad repetition operator"},
		{"/(a)\\1", "invalid escape sequence: \\1"},
		{"/(?=a)", "invalid perl operator"},
		{"/a{1001}", "invalid repetition size"},
		{"/((a{30}){30}){30}", "invalid repetition size"},
		{"/(.{1,200}){5}", "too large"},
		{"/\\pN{100}[a-z]{200}", "too large"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char why[256] = "";
		assert_null(regex_new(str_of(rows[i].pattern), why, sizeof(why)));
		if (!strstr(why, rows[i].why))
			fail_msg("%s: %s", rows[i].pattern, why);
	}
	char text[REGEX_PATTERN_BYTES_MAX + 1], why[256];
	memset(text, 'a', sizeof(text));
	assert_null(regex_new((struct str){text, sizeof(text)}, why, sizeof(why)));
	assert_string_equal(why, "longer than 256 bytes");
	assert_null(regex_new(STR("("), why, 4)); /* cut, and no further */
	assert_int_equal(strlen(why), 3);
}

/* What RE2 has to say goes to nobody but us, not even when its memory is used up. */
static void test_says_nothing_by_itself(void **state)
{
	FILE *kept = tmpfile();
	char why[256];
	assert_non_null(kept);
	int before = dup(STDERR_FILENO);
	dup2(fileno(kept), STDERR_FILENO);
	(void)!regex_new(STR("/(a"), why, sizeof(why));
	struct regex *r = regex_new(STR("/(.*){10}(.*a.{20}){4}"), why, sizeof(why));
	static char path[30000];
	uint32_t random = 1;
	for (size_t i = 0; i < sizeof(path); i++) {
		random = random * 1103515245u + 12345u;
		path[i] = random >> 16 & 1 ? 'a' : 'b';
	}
	path[0] = '/';
	path[sizeof(path) - 21] = 'a';
	bool matches = regex_matches(r, (struct str){path, sizeof(path)});
	dup2(before, STDERR_FILENO);
	assert_true(matches);
	assert_int_equal(lseek(fileno(kept), 0, SEEK_END), 0);
	regex_free(r);
	close(before);
	fclose(kept);
}

/* Those that take a backtracking matcher for ever. */
static void test_patterns_made_to_hurt(void **state)
{
	static const char *const patterns[] = {"/(a+)+b", "/(a|a)*b", "/(a|aa)+b", "/(.*a){10}b",
		"/(a*)*(a*)*(a*)*b", "/.*a.{100}b", "/(x+x+)+y"};
	static char path[64 << 10];
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
		struct regex *r = good(str_of(patterns[i]));
		assert_false(regex_matches(r, (struct str){path, sizeof(path)}));
		regex_free(r);
	}
}

static void test_how_a_match_begins(void **state)
{
	static const struct {
		const char *pattern;
		bool may;
	} rows[] = {{"/a", true}, {"orders/.*", false}, {"(/a|/b).*", true}, {".*", true},
		{"", false}, {"[a-z]+", false}, {"\\*", true}, {"/?a", true}, {"^/a", true}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct regex *r = good(str_of(rows[i].pattern));
		if (regex_may_begin(r, '*', '/') != rows[i].may)
			fail_msg("%s", rows[i].pattern);
		regex_free(r);
	}
}

#define THREADS 4

static void *ask(void *arg)
{
	const struct regex *r = arg;
	char text[32];
	for (int i = 0; i < 20000; i++) {
		int len = snprintf(text, sizeof(text), "/%x/items", (unsigned)i * 2654435761u);
		bool is_number = true;
		for (const char *c = text + 1; is_number && *c != '/'; c++)
			is_number = *c >= '0' && *c <= '9';
		if (regex_matches(r, (struct str){text, (size_t)len}) != is_number)
			return arg;
	}
	return NULL;
}

static void test_many_threads(void **state)
{
	pthread_t threads[THREADS];
	struct regex *r = good(STR("/[0-9]+/items"));
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask, r), 0);
	for (int i = 0; i < THREADS; i++) {
		void *failed;
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	regex_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_texts),
		cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_says_nothing_by_itself),
		cmocka_unit_test(test_patterns_made_to_hurt),
		cmocka_unit_test(test_how_a_match_begins),
		cmocka_unit_test(test_many_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
