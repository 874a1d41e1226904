/* SPDX-License-Identifier: Apache-2.0 */
#include "objects.h"

#include "cli/json_tree.h"
#include "cli/plan.h"
#include "rollout/rollout.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MESH STR("prod.example")

struct fixture {
	struct arena arena;
	struct published standing;
	struct edit edit;
	struct edit_wish wish;
	struct bundle files;
	struct conf_report report;
	struct err err;
	char *text;
	size_t len;
};

#define FILE_TEXT                                                                           \
	"services: ( { name = \"a\"; } );\n"                                                \
	"policies: ( { name = \"p\"; service = \"a\"; action = \"allow\"; from = \"b\"; } " \
	");\n"

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	arena_init(&f->arena, 16 << 20);
	object_set_init(&f->standing.set);
	objects_put(&f->standing.set, "service/b", 3, "bob", OBJECTS_SERVICE("b"));
	objects_put(&f->standing.set, "service/c", 3, "bob", OBJECTS_SERVICE("c"));
	bundle_init(&f->files);
	conf_report_init(&f->report);
	assert_int_equal(
		bundle_add(&f->files, STR("mesh"), STR("x.conf"), STR(FILE_TEXT), &f->err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	edit_done(&f->edit);
	object_set_done(&f->standing.set);
	bundle_done(&f->files);
	conf_report_done(&f->report);
	arena_done(&f->arena);
	free(f->text);
	free(f);
	return 0;
}

static void make(struct fixture *f, bool prune)
{
	static const struct edit_stamp stamp = {.who = {"alice", 5}, .revision = 4, .time_s = 7};
	struct conf_object *rows;
	f->wish = (struct edit_wish){.kind = EDIT_PUT, .prune = prune};
	assert_int_equal(
		conf_objects_read(&f->files, &f->arena, &rows, &f->wish.row_count, &f->report), 0);
	f->wish.rows = rows;
	assert_int_equal(edit_make(&f->wish, &stamp, &f->standing.set, NULL, 0, &f->arena, &f->edit,
				 &f->err),
		0);
}

static void take(struct fixture *f, const struct str *keys, uint32_t count)
{
	static const struct edit_stamp stamp = {.who = {"alice", 5}, .revision = 4, .time_s = 7};
	f->wish = (struct edit_wish){.kind = EDIT_TAKE, .keys = keys, .key_count = count};
	assert_int_equal(edit_make(&f->wish, &stamp, &f->standing.set, NULL, 0, &f->arena, &f->edit,
				 &f->err),
		0);
}

static int check(struct fixture *f, const struct bundle *files)
{
	return plan_check(&f->edit, files, &f->standing, MESH, &f->report, &f->err);
}

static void print(struct fixture *f, bool json, uint64_t revision, bool dry_run)
{
	struct plan plan = {
		.edit = &f->edit, .wish = &f->wish, .revision = revision, .dry_run = dry_run};
	free(f->text);
	FILE *out = open_memstream(&f->text, &f->len);
	if (json)
		plan_print_json(out, &plan);
	else
		plan_print(out, &plan);
	fclose(out);
}

static void test_text(void **state)
{
	struct fixture *f = *state;
	make(f, false);
	print(f, false, 4, false);
	assert_string_equal(f->text,
		"create  policy/p   x.conf:2\n"
		"create  service/a  x.conf:1\n"
		"2 in none of the files stay; --prune would take away: service/b, service/c\n"
		"published as revision 4\n");
	print(f, false, 4, true);
	assert_non_null(strstr(f->text, "nothing was written: a dry run; it would be revision 4"));
	print(f, false, 0, false);
	assert_non_null(strstr(f->text, "nothing to change\n"));
}

static void test_json(void **state)
{
	struct fixture *f = *state;
	make(f, false);
	print(f, true, 4, true);
	const struct json_tree *tree =
		json_tree_read(&f->arena, str_trim((struct str){f->text, f->len - 1}));
	assert_non_null(tree);
	assert_int_equal(json_tree_number(tree, "revision"), 4);
	assert_true(json_tree_true(tree, "dry_run"));
	const struct json_tree *change = json_tree_list(tree, "changes");
	assert_true(str_eq(json_tree_text(change, "verb"), STR("create")));
	assert_true(str_eq(json_tree_text(change, "key"), STR("policy/p")));
	assert_true(str_eq(json_tree_text(change, "source"), STR("x.conf:2")));
	assert_true(str_eq(json_tree_list(tree, "prunable")->text, STR("service/b")));
}

static void test_check_of_what_fits(void **state)
{
	struct fixture *f = *state;
	make(f, false);
	assert_int_equal(check(f, &f->files), 0);
	assert_null(f->report.text);
}

static void test_prune_must_leave_what_is_named(void **state)
{
	struct fixture *f = *state;
	make(f, true);
	assert_int_equal(check(f, &f->files), -EINVAL);
	assert_non_null(strstr(f->report.text,
		"x.conf:2: policies[0].from: names the service \"b\", which is to be taken away"));
	assert_int_equal(f->report.error_count, 1);
}

static void test_take_must_leave_what_is_named(void **state)
{
	struct fixture *f = *state;
	const struct str keys[] = {STR("service/b"), STR("policy/q")};
	objects_put(&f->standing.set, "policy/q", 3, "bob",
		"policies = ( { name = \"q\"; service = \"b\"; action = \"deny\"; } );");
	take(f, keys, 1);
	assert_int_equal(check(f, NULL), -EINVAL);
	assert_non_null(strstr(f->report.text, "policy/q (revision 3): service: names"));
	edit_done(&f->edit);
	conf_report_done(&f->report);
	take(f, keys, 2);
	assert_int_equal(check(f, NULL), 0);
}

static void test_old_problems_are_not_of_this_change(void **state)
{
	struct fixture *f = *state;
	objects_put(&f->standing.set, "policy/q", 3, "bob",
		"policies = ( { name = \"q\"; service = \"nobody\"; action = \"deny\"; } );");
	make(f, false);
	assert_int_equal(check(f, &f->files), 0);
	assert_int_equal(f->report.known_count, 1);
	assert_null(f->report.text);
}

static void test_nodes_are_asked(void **state)
{
	static const char record[] =
		"ringmain 1\nnode vm-a\nstart 1\nnumber 1\nversion 0.1.0\nrevision 1\n"
		"endpoint billing - up 100 10.77.0.1:9000\n";
	struct fixture *f = *state;
	struct published_node node = {.name = STR("vm-a"), .text = str_of(record)};
	bundle_done(&f->files);
	assert_int_equal(bundle_add(&f->files, STR("mesh"), STR("x.conf"),
				 STR("policies: ( { name = \"p\"; service = \"billing\"; action = "
				     "\"deny\"; } );"),
				 &f->err),
		0);
	make(f, false);
	assert_int_equal(check(f, &f->files), -EINVAL);
	conf_report_done(&f->report);
	f->standing.nodes = &node;
	f->standing.node_count = 1;
	node.is_readable = true;
	assert_int_equal(check(f, &f->files), 0);
	node.is_readable = false;
	assert_int_equal(check(f, &f->files), -EINVAL);
}

#define ROLLOUT(service, more) \
	"rollouts = ( { service = \"" service "\"; from = \"v1\"; to = \"v2\"; " more " } );\n"

static void put_rollouts(struct fixture *f, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		char key[32], text[256];
		snprintf(key, sizeof(key), "rollout/s%u", i);
		snprintf(text, sizeof(text),
			"rollouts = ( { service = \"s%u\"; from = \"v1\"; to = \"v2\"; } );\n", i);
		objects_put(&f->standing.set, key, 3, "bob", text);
	}
}

static void file(struct fixture *f, const char *text)
{
	bundle_done(&f->files);
	assert_int_equal(
		bundle_add(&f->files, STR("mesh"), STR("x.conf"), str_of(text), &f->err), 0);
}

/* Nodes keep up so many; but where there are more, none of them must be out of reach. */
static void test_no_more_rollouts_than_nodes_keep_up(void **state)
{
	struct fixture *f = *state;
	const struct str keys[] = {STR("rollout/s0")};
	put_rollouts(f, 0, ROLLOUT_TOLD_MAX - 1);
	file(f, ROLLOUT("a", "steps = 100;"));
	make(f, false);
	assert_int_equal(plan_check_rollouts(&f->edit, &f->standing.set, &f->err), 0);
	edit_done(&f->edit);
	put_rollouts(f, ROLLOUT_TOLD_MAX - 1, ROLLOUT_TOLD_MAX);
	make(f, false);
	assert_int_equal(check(f, &f->files), -EINVAL);
	assert_non_null(strstr(f->err.text, "there would be 129 rollouts, and nodes keep up 128"));
	edit_done(&f->edit);
	put_rollouts(f, ROLLOUT_TOLD_MAX, ROLLOUT_TOLD_MAX + 2);
	file(f, ROLLOUT("s7", "steps = 100; order = \"abort\";"));
	make(f, false);
	assert_int_equal(plan_check_rollouts(&f->edit, &f->standing.set, &f->err), 0);
	edit_done(&f->edit);
	take(f, keys, 1);
	assert_int_equal(plan_check_rollouts(&f->edit, &f->standing.set, &f->err), 0);
}

static void test_another_rollout_is_another_attempt(void **state)
{
	static const struct {
		const char *more, *said;
	} rows[] = {
		{"attempt = 7; steps = [ 10, 50, 100 ];", NULL},
		{"attempt = 7; steps = [ 10, 50, 100 ]; order = \"pause\"; every = \"5s\";", NULL},
		{"attempt = 8; steps = [ 10, 100 ];", NULL},
		{"attempt = 7; steps = [ 10, 100 ];",
			"rollout/a has other steps under the same attempt, 7: "},
		{"attempt = 7; steps = [ 10, 60, 100 ];", "other steps"},
		{"attempt = 7; steps = [ 1, 10, 50, 100 ];", "other steps"},
	};
	struct fixture *f = *state;
	char text[PLAN_ROLLOUT_TEXT], row[512];
	objects_put(&f->standing.set, "rollout/a", 3, "bob",
		ROLLOUT("a", "attempt = 7; steps = [ 10, 50, 100 ];"));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(row, sizeof(row), "%.*s%s } );\n", (int)strlen(ROLLOUT("a", "")) - 6,
			ROLLOUT("a", ""), rows[i].more);
		file(f, row);
		make(f, false);
		assert_int_equal(
			plan_rollout_differs(&f->edit, &f->standing.set, STR("rollout/a"), text),
			rows[i].said != NULL);
		assert_true(!rows[i].said || strstr(text, rows[i].said));
		assert_false(
			plan_rollout_differs(&f->edit, &f->standing.set, STR("service/b"), text));
		edit_done(&f->edit);
	}
	file(f, "rollouts = ( { service = \"a\"; from = \"v2\"; to = \"v3\"; attempt = 7; steps = "
		"[ 10, 50, 100 ]; }, { service = \"b\"; from = \"v1\"; to = \"v2\"; steps = 100; } "
		");\n");
	make(f, false);
	assert_true(plan_rollout_differs(&f->edit, &f->standing.set, STR("rollout/a"), text));
	assert_non_null(strstr(text, "other versions"));
	assert_false(plan_rollout_differs(&f->edit, &f->standing.set, STR("rollout/b"), text));
}

static void test_numbers(void **state)
{
	const struct published_node *absurd;
	struct published_node nodes[] = {{.is_readable = true, .revision = 12},
		{.is_readable = false, .revision = 500},
		{.is_readable = true, .revision = 7 + PUBLISHED_LEAD_MAX},
		{.is_readable = true, .revision = 8 + PUBLISHED_LEAD_MAX},
		{.is_readable = true, .revision = UINT64_MAX}};
	struct published s = {.nodes = nodes};
	assert_int_equal(published_next_revision(&s, &absurd), 1);
	s.head.revision = 7;
	s.newest = 6;
	assert_int_equal(published_next_revision(&s, &absurd), 8);
	s.node_count = 2;
	assert_int_equal(published_next_revision(&s, &absurd), 13);
	assert_null(absurd);
	s.node_count = 3;
	assert_int_equal(published_next_revision(&s, &absurd), 8 + PUBLISHED_LEAD_MAX);
	assert_null(absurd);
	s.node_count = 5;
	assert_int_equal(published_next_revision(&s, &absurd), 8 + PUBLISHED_LEAD_MAX);
	assert_non_null(absurd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check_of_what_fits, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_prune_must_leave_what_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_take_must_leave_what_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_old_problems_are_not_of_this_change, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nodes_are_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_no_more_rollouts_than_nodes_keep_up, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_another_rollout_is_another_attempt, setup, teardown),
		cmocka_unit_test(test_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
