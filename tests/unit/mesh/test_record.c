/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh/record.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define HEAD "ringmain 1\nnode vm-a\nstart 5\nnumber 17\n"

static const char full[] = HEAD "zone eu-1a\nversion 0.1.0\nrevision 41\n"
				"endpoint orders v1 up 100 10.77.0.1:8080 [fd00::1]:8080\n"
				"endpoint web - drained 1 10.77.0.1:9000\n"
				"endpoint db 2024-01 down 1000 [fd00::1]:5432\n";

static int parse(const char *text, struct arena *arena, struct record *ret, struct err *err)
{
	return record_parse(str_of(text), arena, ret, err);
}

static void test_record_read(void **state)
{
	struct arena arena;
	struct record r;
	struct err err;
	char text[ADDRESS_TEXT_MAX];
	arena_init(&arena, 1 << 20);
	assert_int_equal(parse(full, &arena, &r, &err), 0);
	assert_true(str_eq(r.node, STR("vm-a")) && str_eq(r.zone, STR("eu-1a")));
	assert_true(str_eq(r.version, STR("0.1.0")));
	assert_int_equal(r.start, 5);
	assert_int_equal(r.number, 17);
	assert_int_equal(r.revision, 41);
	assert_int_equal(r.endpoint_count, 3);
	const struct record_endpoint *e = r.endpoints;
	assert_true(str_eq(e[0].service, STR("orders")) && str_eq(e[0].version, STR("v1")));
	assert_int_equal(e[0].health, ENDPOINT_UP);
	assert_int_equal(e[0].weight, 100);
	assert_int_equal(e[0].address_count, 2);
	assert_string_equal(address_text(&e[0].addresses[1], text), "[fd00::1]:8080");
	assert_int_equal(e[1].version.len, 0);
	assert_int_equal(e[1].health, ENDPOINT_DRAINED);
	assert_int_equal(e[2].health, ENDPOINT_DOWN);
	assert_int_equal(e[2].weight, 1000);
	arena_done(&arena);
}

static void test_record_write(void **state)
{
	struct arena arena;
	struct record r;
	struct err err;
	arena_init(&arena, 1 << 20);
	assert_int_equal(parse(full, &arena, &r, &err), 0);
	struct str text = record_text(&arena, &r);
	assert_true(str_eq(text, str_of(full)));
	arena_done(&arena);
}

/* What may be left out; and what a later version says more. */
static void test_record_minimal(void **state)
{
	struct arena arena;
	struct record r;
	struct err err;
	arena_init(&arena, 1 << 20);
	assert_int_equal(parse(HEAD, &arena, &r, &err), 0);
	assert_true(r.zone.len == 0 && r.version.len == 0 && r.endpoint_count == 0);
	assert_true(str_eq(record_text(&arena, &r), STR(HEAD "revision 0\n")));
	assert_int_equal(
		parse("ringmain 1\nstart 1\n\nshape round \x80\nnode a\nnumber 2\nendpoints 3\n",
			&arena, &r, &err),
		0);
	assert_true(str_eq(r.node, STR("a")) && r.number == 2 && r.endpoint_count == 0);
	arena_done(&arena);
}

static void test_record_refused(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{"", "empty record"},
		{"node a\n", "line 1, \"node a\": not the format"},
		{"ringmain 2\n", "line 1, \"ringmain 2\": not the format"},
		{"ringmain 1\nnode vm-a\nstart 5\nnumber 17", "cut off"},
		{"ringmain 1\nstart 5\nnumber 17\n", "no line \"node\""},
		{"ringmain 1\nnode a\nnumber 17\n", "no line \"start\""},
		{"ringmain 1\nnode a\nstart 17\n", "no line \"number\""},
		{HEAD "node vm-b\n", "line 5, \"node vm-b\": stands there twice"},
		{"ringmain 1\nnode vm a\n", "not a node's name"},
		{"ringmain 1\nnode vm*\n", "not a node's name"},
		{"ringmain 1\nnode\n", "not a node's name"},
		{"ringmain 1\nstart -1\n", "not a number"},
		{"ringmain 1\nnumber 18446744073709551616\n", "not a number"},
		{HEAD "zone a b\n", "not a zone"},
		{HEAD "zone -\n", "not a zone"},
		{HEAD "version \x1b[2J\n", "line 5, \"version ?[2J\": not a version"},
		{HEAD "endpoint Orders - up 1 10.0.0.1:1\n", "not a service's name"},
		{HEAD "endpoint orders  up 1 10.0.0.1:1\n", "not a version"},
		{HEAD "endpoint orders - well 1 10.0.0.1:1\n", "not a health"},
		{HEAD "endpoint orders - up 0 10.0.0.1:1\n", "not a weight"},
		{HEAD "endpoint orders - up 1001 10.0.0.1:1\n", "not a weight"},
		{HEAD "endpoint orders - up 1\n", "no address"},
		{HEAD "endpoint orders - up 1 10.0.0.1\n", "not an address with port"},
		{HEAD "endpoint orders - up 1 10.0.0.1:0\n", "not an address with port"},
		{HEAD "endpoint orders - up 1 fd00::1:80\n", "not an address with port"},
		{HEAD "endpoint orders - up 1 10.0.0.1:1  10.0.0.1:2\n",
			"not an address with port"},
		{HEAD "endpoint orders - up 1 vm-a:80\n", "not an address with port"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct arena arena;
		struct record r = {.number = 99};
		struct err err = {""};
		arena_init(&arena, 1 << 20);
		if (parse(rows[i].text, &arena, &r, &err) != -EINVAL ||
			!strstr(err.text, rows[i].error))
			fail_msg("\"%s\": \"%s\"", rows[i].text, err.text);
		assert_int_equal(r.number, 99);
		arena_done(&arena);
	}
}

static char *repeat(const char *head, const char *line, size_t count)
{
	size_t size = strlen(head) + strlen(line) * count + 2;
	char *text = malloc(size), *at = text;
	assert_non_null(text);
	at += snprintf(text, size, "%s", head);
	for (size_t i = 0; i < count; i++)
		at += snprintf(at, size - (size_t)(at - text), "%s", line);
	return text;
}

static int parse_repeated(const char *head, const char *line, size_t count, struct record *ret)
{
	struct arena arena;
	struct err err;
	char *text = repeat(head, line, count);
	arena_init(&arena, 1 << 20);
	int r = parse(text, &arena, ret, &err);
	arena_done(&arena);
	free(text);
	return r;
}

static void test_record_limits(void **state)
{
	struct record r;
	static const char line[] = "endpoint a - up 1 10.0.0.1:1\n";
	assert_int_equal(parse_repeated(HEAD, line, RECORD_ENDPOINTS_MAX, &r), 0);
	assert_int_equal(r.endpoint_count, RECORD_ENDPOINTS_MAX);
	assert_int_equal(parse_repeated(HEAD, line, RECORD_ENDPOINTS_MAX + 1, &r), -EINVAL);
	assert_int_equal(parse_repeated(HEAD, "x\n", RECORD_BYTES_MAX / 2, &r), -EINVAL);
	struct arena arena;
	struct err err;
	char *text = repeat(HEAD "endpoint a - up 1", " 10.0.0.1:1", RECORD_ADDRESSES_MAX + 1);
	text[strlen(text) + 1] = '\0';
	text[strlen(text)] = '\n';
	arena_init(&arena, 1 << 20);
	assert_int_equal(parse(text, &arena, &r, &err), -EINVAL);
	assert_non_null(strstr(err.text, "too many addresses"));
	arena_done(&arena);
	free(text);
}

/* An arena that is full ends in an error at any of its takings. */
static void test_record_exhausted(void **state)
{
	struct arena arena;
	struct record whole;
	struct err err;
	arena_init(&arena, 1 << 20);
	assert_int_equal(parse(full, &arena, &whole, &err), 0);
	for (size_t max = 0; max < 1200; max += 16) {
		struct arena small;
		struct record r;
		arena_init(&small, max);
		int outcome = parse(full, &small, &r, &err);
		assert_true(outcome == 0 || outcome == -ENOMEM);
		arena_done(&small);
		struct str text = record_text(&small, &whole);
		assert_true(!text.at || str_eq(text, str_of(full)));
		assert_true(!text.at == (max < sizeof(full)));
		arena_done(&small);
	}
	arena_done(&arena);
}

/* More than a record may be is not written. */
static void test_record_too_long(void **state)
{
	struct arena arena;
	struct address addresses[RECORD_ADDRESSES_MAX];
	struct record_endpoint endpoints[RECORD_ENDPOINTS_MAX];
	for (size_t i = 0; i < RECORD_ADDRESSES_MAX; i++) {
		assert_true(address_port_parse(
			STR("[fd00:1111:2222:3333:4444:5555:6666:7777]:65535"), &addresses[i]));
	}
	for (size_t i = 0; i < RECORD_ENDPOINTS_MAX; i++)
		endpoints[i] = (struct record_endpoint){
			STR("orders"), STR_NONE, ENDPOINT_UP, 1, addresses, RECORD_ADDRESSES_MAX};
	arena_init(&arena, 1 << 20);
	struct record r = {STR("a"), 1, 1, STR_NONE, STR_NONE, 0, endpoints, RECORD_ENDPOINTS_MAX};
	assert_null(record_text(&arena, &r).at);
	r.endpoint_count = 100;
	assert_non_null(record_text(&arena, &r).at);
	arena_done(&arena);
}

static void test_record_order(void **state)
{
	struct record a = {.start = 5, .number = 1}, b = {.start = 4, .number = 9};
	assert_true(record_newer(&a, &b));
	assert_false(record_newer(&b, &a));
	b.start = 5;
	assert_false(record_newer(&a, &b));
	assert_true(record_newer(&b, &a));
	assert_false(record_newer(&a, &a));
}

static void test_record_names(void **state)
{
	char text[65];
	memset(text, 'a', sizeof(text));
	assert_true(record_node_valid((struct str){text, 63}));
	assert_false(record_node_valid((struct str){text, 64}));
	assert_true(record_word_valid((struct str){text, 63}));
	assert_false(record_word_valid((struct str){text, 64}));
	assert_true(record_node_valid(STR("VM-a.b_9")) && record_word_valid(STR("v1:b/*")));
	assert_false(record_node_valid(STR("")) || record_node_valid(STR("a:b")) ||
		     record_node_valid(STR("a*")) || record_node_valid(STR("a b")));
	assert_false(record_word_valid(STR("")) || record_word_valid(STR("a b")) ||
		     record_word_valid(STR("-")) || record_word_valid(STR("a\n")) ||
		     record_word_valid(STR("\xc3\xa4")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record_read),
		cmocka_unit_test(test_record_write),
		cmocka_unit_test(test_record_minimal),
		cmocka_unit_test(test_record_refused),
		cmocka_unit_test(test_record_limits),
		cmocka_unit_test(test_record_exhausted),
		cmocka_unit_test(test_record_too_long),
		cmocka_unit_test(test_record_order),
		cmocka_unit_test(test_record_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
