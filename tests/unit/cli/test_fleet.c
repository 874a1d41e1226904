/* SPDX-License-Identifier: Apache-2.0 */
#include "objects.h"

#include "cli/fleet.h"
#include "cli/json_tree.h"
#include <stdlib.h>
#include <string.h>

static struct record_endpoint endpoints[] = {{.health = ENDPOINT_UP}, {.health = ENDPOINT_UP},
	{.health = ENDPOINT_DOWN}, {.health = ENDPOINT_DRAINED}};

#define WELL(n, number)                                                             \
	{                                                                           \
		.name = {n, sizeof(n) - 1}, .is_readable = true, .lease_ms = 12345, \
		.revision = (number), .record = {                                   \
			.zone = {"eu-1a", 5},                                       \
			.version = {"0.1.0", 5},                                    \
			.endpoints = endpoints,                                     \
			.endpoint_count = ARRAY_LEN(endpoints)                      \
		}                                                                   \
	}

static struct published mesh_of(struct published_node *nodes, uint32_t node_count)
{
	struct published s = {.trust = PUBLISHED_GOOD,
		.head = {.revision = 41, .time_s = 1764236129, .who = STR("alice")},
		.nodes = nodes,
		.node_count = node_count};
	object_set_init(&s.set);
	return s;
}

static void expect(const struct published *s, uint32_t problems, const char *const *lines)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	assert_int_equal(fleet_print(out, s, STR("prod.example")), problems);
	fclose(out);
	for (; *lines; lines++) {
		if (!strstr(text, *lines))
			fail_msg("not shown: %s\nbut:\n%s", *lines, text);
	}
	free(text);
}

static void test_all_is_well(void **state)
{
	struct published_node nodes[] = {WELL("vm-a", 41), WELL("vm-b", 42)};
	struct published s = mesh_of(nodes, 2);
	expect(&s, 0,
		(const char *[]){"mesh         prod.example\n",
			"revision     41, by alice, 2025-11-27 09:35:29Z\n",
			"NODE  ZONE   VERSION  UP  DOWN  DRAINED  REVISION  LEASE  STATE\n",
			"vm-a  eu-1a  0.1.0    2   1     1        41        12s    well\n",
			"vm-b  eu-1a  0.1.0    2   1     1        42        12s    well\n", NULL});
}

static void test_who_needs_looking_after(void **state)
{
	struct published_node nodes[] = {WELL("vm-a", 40), WELL("vm-b", 41), WELL("vm-c", 41)};
	struct published s = mesh_of(nodes, 3);
	nodes[1].lease_ms = -2;
	nodes[2].is_readable = false;
	expect(&s, 3,
		(const char *[]){"40, 1 behind", "× lags", "ended  × silent", "× unreadable",
			"× vm-a: has not taken revision 41", "× vm-b: its lease has ended",
			"× vm-c: its record cannot be read", NULL});
}

static void test_objects_that_nobody_signed(void **state)
{
	struct published s = mesh_of(NULL, 0);
	s.trust = PUBLISHED_BAD;
	snprintf(s.why.text, sizeof(s.why.text), "revision 41 is not signed");
	expect(&s, 1, (const char *[]){"refused by the nodes: revision 41 is not signed", NULL});
	s.trust = PUBLISHED_UNKNOWN;
	expect(&s, 0, (const char *[]){"not verified", NULL});
	s.trust = PUBLISHED_NOTHING;
	s.head = (struct head){0};
	expect(&s, 0, (const char *[]){"nothing is published", NULL});
}

static void test_json(void **state)
{
	struct published_node nodes[] = {WELL("vm-a", 40)};
	struct published s = mesh_of(nodes, 1);
	struct arena arena;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	assert_int_equal(fleet_print_json(out, &s, STR("prod.example")), 1);
	fclose(out);
	arena_init(&arena, 1 << 20);
	const struct json_tree *tree = json_tree_read(&arena, (struct str){text, len - 1});
	assert_non_null(tree);
	assert_int_equal(json_tree_number(tree, "problems"), 1);
	assert_true(json_tree_true(tree, "verified"));
	const struct json_tree *node = json_tree_list(tree, "nodes");
	assert_true(str_eq(json_tree_text(node, "state"), STR("lags")));
	assert_int_equal(json_tree_number(node, "behind"), 1);
	assert_int_equal(json_tree_number(node, "lease_ms"), 12345);
	assert_int_equal(json_tree_number(node, "up"), 2);
	arena_done(&arena);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_is_well),
		cmocka_unit_test(test_who_needs_looking_after),
		cmocka_unit_test(test_objects_that_nobody_signed),
		cmocka_unit_test(test_json),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
