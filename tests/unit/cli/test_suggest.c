/* SPDX-License-Identifier: Apache-2.0 */
/* Policies from what was seen: they allow all of it, nothing else, and are as few as can be. */
#include "cli/suggest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const froms[] = {"web", "shop/a", "10.1.2.0/24"};
static const char *const methods[] = {"GET", "POST", "DELETE"};
static const char *const paths[] = {"/a", "/b", "/orders/{id}"};

static bool has(const struct str *list, uint32_t count, struct str text)
{
	for (uint32_t i = 0; i < count; i++) {
		if (str_eq(list[i], text))
			return true;
	}
	return false;
}

/* How many of the policies allow exactly this. */
static uint32_t allowed_by(
	const struct suggest_policy *policies, uint32_t count, const struct suggest_seen *s)
{
	uint32_t times = 0;
	for (uint32_t i = 0; i < count; i++) {
		const struct suggest_policy *p = &policies[i];
		bool is_port = false;
		for (uint32_t k = 0; k < p->port_count; k++)
			is_port = is_port || p->ports[k] == s->port;
		times += str_eq(p->service, s->service) && is_port && p->is_http == s->is_http &&
			 has(p->from, p->from_count, s->from) &&
			 (p->method_count == 0 || has(p->methods, p->method_count, s->method)) &&
			 (!s->is_http || has(p->paths, p->path_count, s->path));
	}
	return times;
}

static struct suggest_seen point(uint32_t from, uint32_t port, uint32_t method, uint32_t path)
{
	return (struct suggest_seen){STR("orders"), str_of(froms[from]), (uint16_t)(80 + port),
		true, str_of(methods[method]), str_of(paths[path])};
}

/* Every set of the eight points that two callers, methods and paths make: bit by bit. */
static uint32_t cube_gather(uint32_t set, struct suggest_seen *seen)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < 8; i++) {
		if (set >> i & 1)
			seen[count++] = point(i & 1, 0, i >> 1 & 1, i >> 2 & 1);
	}
	return count;
}

/* Points of the box that takes one, the other or both of each. */
static uint32_t cube_box(uint32_t from, uint32_t method, uint32_t path)
{
	uint32_t box = 0;
	for (uint32_t i = 0; i < 8; i++) {
		if (from >> (i & 1) & 1 && method >> (i >> 1 & 1) & 1 && path >> (i >> 2 & 1) & 1)
			box |= 1u << i;
	}
	return box;
}

/* The fewest boxes that are the set together. */
static uint32_t cube_fewest(uint32_t set, uint32_t covered)
{
	uint32_t fewest = 8, left = set & ~covered;
	if (left == 0)
		return 0;
	uint32_t first = left & -left;
	for (uint32_t i = 0; i < 27; i++) {
		uint32_t box = cube_box(i % 3 + 1, i / 3 % 3 + 1, i / 9 + 1);
		if ((box & ~set) || !(box & first))
			continue;
		uint32_t count = 1 + cube_fewest(set, covered | box);
		fewest = count < fewest ? count : fewest;
	}
	return fewest;
}

static void test_few_points_make_the_fewest_policies(void **state)
{
	for (uint32_t set = 0; set < 256; set++) {
		struct suggest_seen seen[8];
		struct arena arena;
		uint32_t count;
		arena_init(&arena, 1u << 20);
		struct suggest_policy *policies =
			suggest_policies(&arena, seen, cube_gather(set, seen), &count);
		assert_non_null(policies);
		assert_int_equal(count, cube_fewest(set, 0));
		for (uint32_t i = 0; i < 8; i++) {
			struct suggest_seen p = point(i & 1, 0, i >> 1 & 1, i >> 2 & 1);
			assert_int_equal(allowed_by(policies, count, &p) > 0, set >> i & 1);
		}
		arena_done(&arena);
	}
}

/* The callers ask for the first two thirds, all and the last two thirds of the paths: two policies,
 * which overlap, say it; without an overlap three would be needed. */
static void assert_two_that_overlap(uint32_t paths_each)
{
	static char texts[3 * 40][16];
	struct suggest_seen seen[7 * 40];
	struct arena arena;
	uint32_t seen_count = 0, count;
	arena_init(&arena, 1u << 22);
	for (uint32_t from = 0; from < 3; from++) {
		uint32_t first = from == 2 ? paths_each : 0;
		uint32_t end = from == 0 ? 2 * paths_each : 3 * paths_each;
		for (uint32_t i = first; i < end; i++) {
			snprintf(texts[i], sizeof(texts[i]), "/p%u", i);
			seen[seen_count] = point(from, 0, 0, 0);
			seen[seen_count++].path = str_of(texts[i]);
		}
	}
	struct suggest_policy *policies = suggest_policies(&arena, seen, seen_count, &count);
	assert_non_null(policies);
	assert_int_equal(count, 2);
	for (uint32_t from = 0; from < 3; from++) {
		for (uint32_t i = 0; i < 3 * paths_each; i++) {
			struct suggest_seen p = point(from, 0, 0, 0);
			p.path = str_of(texts[i]);
			bool is_seen =
				from == 1 || (from == 0 ? i < 2 * paths_each : i >= paths_each);
			assert_int_equal(allowed_by(policies, count, &p) > 0, is_seen);
		}
	}
	arena_done(&arena);
}

static void test_policies_overlap_where_that_makes_fewer(void **state)
{
	assert_two_that_overlap(1);
	assert_two_that_overlap(9);
	assert_two_that_overlap(40); /* more than are tried in all ways */
}

/* Of all 54 points any set: what was seen is allowed, what was not is not. */
static void test_what_was_not_seen_is_not_allowed(void **state)
{
	uint64_t random = 1;
	for (int round = 0; round < 500; round++) {
		struct suggest_seen seen[54];
		bool is_seen[54];
		uint32_t seen_count = 0, count;
		struct arena arena;
		arena_init(&arena, 1u << 22);
		for (uint32_t i = 0; i < 54; i++) {
			random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
			is_seen[i] = random >> 40 & (round & 1 ? 3 : 1);
			if (is_seen[i])
				seen[seen_count++] = point(i % 3, i / 3 % 2, i / 6 % 3, i / 18);
		}
		struct suggest_policy *policies =
			suggest_policies(&arena, seen, seen_count, &count);
		assert_non_null(policies);
		for (uint32_t i = 0; i < 54; i++) {
			struct suggest_seen p = point(i % 3, i / 3 % 2, i / 6 % 3, i / 18);
			assert_int_equal(allowed_by(policies, count, &p) > 0, is_seen[i]);
		}
		arena_done(&arena);
	}
}

static void assert_print(const struct suggest_seen *seen, uint32_t seen_count, const char *want)
{
	struct arena arena;
	uint32_t count;
	char *text = NULL;
	size_t len;
	arena_init(&arena, 1u << 20);
	struct suggest_policy *policies = suggest_policies(&arena, seen, seen_count, &count);
	assert_non_null(policies);
	FILE *out = open_memstream(&text, &len);
	assert_non_null(out);
	suggest_print(out, STR("vm-a"), policies, count);
	fclose(out);
	assert_string_equal(text, want);
	free(text);
	arena_done(&arena);
}

#define SEEN(service, from, port, method, path)                             \
	{                                                                   \
		STR(service), STR(from), port, true, STR(method), STR(path) \
	}
#define BYTES(to, who, number)                                         \
	{                                                              \
		.service = STR(to), .from = STR(who), .port = (number) \
	}

static void test_what_says_more_covers_the_rest(void **state)
{
	const struct suggest_seen seen[] = {
		SEEN("orders", "web", 80, "GET", "/img/a"),
		SEEN("orders", "web", 80, "GET", "/img"),
		SEEN("orders", "web", 80, "GET", "/img/*"),
		SEEN("orders", "web", 80, "GET", "/imgs"),
		SEEN("orders", "web", 80, "GET", "/a/{id}"),
		SEEN("orders", "web", 80, "GET", "/a/{id}/*"),
		SEEN("orders", "web", 80, "GET", "/a/{id}/b"),
		SEEN("orders", "shop/a", 80, "GET", "/x"),
		SEEN("orders", "shop/a", 80, "", "/*"),
		SEEN("orders", "shop/a", 81, "GET", "/x"),
		SEEN("db", "web", 5432, "GET", "/x"),
		BYTES("db", "web", 5432),
		BYTES("db", "orders", 5432),
	};
	assert_print(seen, ARRAY_LEN(seen),
		"policies: (\n"
		"  { name = \"seen-db-vm-a-1\";\n"
		"    service = \"db\";\n"
		"    action = \"allow\";\n"
		"    from = [ \"orders\", \"web\" ];\n"
		"    ports = [ 5432 ];\n"
		"  },\n"
		"  { name = \"seen-orders-vm-a-1\";\n"
		"    service = \"orders\";\n"
		"    action = \"allow\";\n"
		"    from = [ \"shop/a\" ];\n"
		"    ports = [ 80 ];\n"
		"    paths = [ \"/*\" ];\n"
		"  },\n"
		"  { name = \"seen-orders-vm-a-2\";\n"
		"    service = \"orders\";\n"
		"    action = \"allow\";\n"
		"    from = [ \"shop/a\" ];\n"
		"    ports = [ 81 ];\n"
		"    methods = [ \"GET\" ];\n"
		"    paths = [ \"/x\" ];\n"
		"  },\n"
		"  { name = \"seen-orders-vm-a-3\";\n"
		"    service = \"orders\";\n"
		"    action = \"allow\";\n"
		"    from = [ \"web\" ];\n"
		"    ports = [ 80 ];\n"
		"    methods = [ \"GET\" ];\n"
		"    paths = [ \"/a/{id}\", \"/a/{id}/*\", \"/img/*\", \"/imgs\" ];\n"
		"  }\n"
		");\n");
}

static void test_nothing_seen_allows_nothing(void **state)
{
	assert_print(NULL, 0, "policies: (\n);\n");
}

static void test_marks_are_escaped(void **state)
{
	const struct suggest_seen seen[] = {SEEN("orders", "web", 80, "GET", "/\"a\\")};
	assert_print(seen, 1,
		"policies: (\n"
		"  { name = \"seen-orders-vm-a-1\";\n"
		"    service = \"orders\";\n"
		"    action = \"allow\";\n"
		"    from = [ \"web\" ];\n"
		"    ports = [ 80 ];\n"
		"    methods = [ \"GET\" ];\n"
		"    paths = [ \"/\\\"a\\\\\" ];\n"
		"  }\n"
		");\n");
}

/* No policy may have more than 32 ports or methods, and so what is printed has none that does. */
static void test_what_is_too_long_for_one_is_several(void **state)
{
	struct suggest_seen by_port[33], by_method[33];
	char names[33][4];
	for (uint32_t i = 0; i < 33; i++) {
		snprintf(names[i], sizeof(names[i]), "A%c%c", 'A' + (int)i / 26, 'A' + (int)i % 26);
		by_port[i] = (struct suggest_seen)BYTES("orders", "web", (uint16_t)(101 + i));
		by_method[i] = (struct suggest_seen){
			STR("orders"), STR("web"), 80, true, str_of(names[i]), STR("/a")};
	}
	assert_print(by_port, 33,
		"policies: (\n  { name = \"seen-orders-vm-a-1\";\n"
		"    service = \"orders\";\n    action = \"allow\";\n    from = [ \"web\" ];\n"
		"    ports = [ 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, "
		"114,"
		" 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 130,"
		" 131, 132 ];\n  },\n  { name = \"seen-orders-vm-a-2\";\n"
		"    service = \"orders\";\n    action = \"allow\";\n    from = [ \"web\" ];\n"
		"    ports = [ 133 ];\n  }\n);\n");
	assert_print(by_method, 33,
		"policies: (\n  { name = \"seen-orders-vm-a-1\";\n"
		"    service = \"orders\";\n    action = \"allow\";\n    from = [ \"web\" ];\n"
		"    ports = [ 80 ];\n"
		"    methods = [ \"AAA\", \"AAB\", \"AAC\", \"AAD\", \"AAE\", \"AAF\", \"AAG\","
		" \"AAH\", \"AAI\", \"AAJ\", \"AAK\",\n      \"AAL\", \"AAM\", \"AAN\", \"AAO\","
		" \"AAP\", \"AAQ\", \"AAR\", \"AAS\", \"AAT\", \"AAU\", \"AAV\", \"AAW\","
		" \"AAX\",\n      \"AAY\", \"AAZ\", \"ABA\", \"ABB\", \"ABC\", \"ABD\", \"ABE\","
		" \"ABF\" ];\n    paths = [ \"/a\" ];\n"
		"  },\n  { name = \"seen-orders-vm-a-2\";\n"
		"    service = \"orders\";\n    action = \"allow\";\n    from = [ \"web\" ];\n"
		"    ports = [ 80 ];\n    methods = [ \"ABG\" ];\n    paths = [ \"/a\" ];\n"
		"  }\n);\n");
}

static void test_without_memory_there_is_none(void **state)
{
	struct suggest_seen seen[] = {
		SEEN("orders", "web", 80, "GET", "/a"), SEEN("orders", "web", 80, "GET", "/b")};
	for (size_t room = 0; room < 4096; room += 64) {
		struct arena arena;
		uint32_t count;
		arena_init(&arena, room);
		struct suggest_policy *policies = suggest_policies(&arena, seen, 2, &count);
		assert_true(!policies || count == 1);
		arena_done(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few_points_make_the_fewest_policies),
		cmocka_unit_test(test_policies_overlap_where_that_makes_fewer),
		cmocka_unit_test(test_what_was_not_seen_is_not_allowed),
		cmocka_unit_test(test_what_says_more_covers_the_rest),
		cmocka_unit_test(test_nothing_seen_allows_nothing),
		cmocka_unit_test(test_marks_are_escaped),
		cmocka_unit_test(test_what_is_too_long_for_one_is_several),
		cmocka_unit_test(test_without_memory_there_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
