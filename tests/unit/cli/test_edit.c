/* SPDX-License-Identifier: Apache-2.0 */
#include "objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MESH STR("prod.example")

struct fixture {
	struct arena arena;
	struct object_set before;
	struct edit edit;
	struct err err;
	bool is_made;
	/* a history */
	struct operator_key *key;
	struct operator_keys *signers;
	struct edit_entry entries[8]; /* newest first */
	uint32_t entry_count;
};

static const struct edit_stamp stamp = {.who = {"carol", 5}, .revision = 9, .time_s = 7};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[] = "/tmp/ringmain-edit-XXXXXX", public_path[64];
	arena_init(&f->arena, 16 << 20);
	object_set_init(&f->before);
	objects_put(&f->before, "service/a", 3, "alice", OBJECTS_SERVICE("a"));
	objects_put(&f->before, "service/b", 4, "bob", OBJECTS_SERVICE("b"));
	int fd = mkstemp(path);
	close(fd);
	unlink(path);
	snprintf(public_path, sizeof(public_path), "%s.pub", path);
	assert_int_equal(operator_key_new(path, &f->err), 0);
	assert_int_equal(operator_key_load(path, &f->key, &f->err), 0);
	unlink(path);
	unlink(public_path);
	struct bundle none;
	bundle_init(&none);
	assert_int_equal(operator_keys_new(&none, &f->signers, &f->err), 0);
	assert_true(operator_keys_add(f->signers, f->key));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	if (f->is_made)
		edit_done(&f->edit);
	object_set_done(&f->before);
	operator_key_free(f->key);
	operator_keys_free(f->signers);
	arena_done(&f->arena);
	free(f);
	return 0;
}

static int make(struct fixture *f, const struct edit_wish *wish)
{
	struct edit_wish full = *wish;
	if (f->is_made)
		edit_done(&f->edit);
	full.signers = f->signers;
	full.mesh = MESH;
	int r = edit_make(&full, &stamp, &f->before, f->entries, f->entry_count, &f->arena,
		&f->edit, &f->err);
	f->is_made = r == 0;
	return r;
}

static const struct conf_object rows[] = {
	{{"service/a", 9}, {OBJECTS_SERVICE("a"), sizeof(OBJECTS_SERVICE("a")) - 1},
		{"x.conf:1", 8}},
	{{"service/c", 9}, {OBJECTS_SERVICE("c"), sizeof(OBJECTS_SERVICE("c")) - 1},
		{"x.conf:2", 8}},
};

static void test_put_creates_and_leaves_what_is_the_same(void **state)
{
	struct fixture *f = *state;
	struct edit_wish wish = {.kind = EDIT_PUT, .rows = rows, .row_count = 2};
	assert_int_equal(make(f, &wish), 0);
	assert_int_equal(f->edit.after.count, 3);
	assert_int_equal(f->edit.unchanged_count, 1);
	assert_int_equal(f->edit.change_count, 1);
	assert_int_equal(edit_verb(&f->edit.changes[0]), EDIT_CREATE);
	const struct object *a = object_set_find(&f->edit.after, STR("service/a"));
	const struct object *c = object_set_find(&f->edit.after, STR("service/c"));
	assert_int_equal(a->revision, 3);
	assert_true(str_eq(a->who, STR("alice")));
	assert_int_equal(c->revision, 9);
	assert_true(str_eq(c->who, STR("carol")));
	assert_true(str_eq(c->source, STR("x.conf:2")));
	assert_int_equal(c->time_s, 7);
}

static void test_put_changes(void **state)
{
	struct fixture *f = *state;
	struct conf_object row = rows[0];
	struct edit_wish wish = {.kind = EDIT_PUT, .rows = &row, .row_count = 1};
	row.text = STR("services = ( { name = \"a\"; port = 1; } );\n");
	assert_int_equal(make(f, &wish), 0);
	assert_int_equal(f->edit.change_count, 1);
	assert_int_equal(edit_verb(&f->edit.changes[0]), EDIT_CHANGE);
	assert_int_equal(object_set_find(&f->edit.after, STR("service/a"))->revision, 9);
}

/* Made from a text that does not stand any more. */
static void test_put_of_what_has_changed(void **state)
{
	struct fixture *f = *state;
	struct conf_object row = rows[0];
	struct edit_wish wish = {.kind = EDIT_PUT, .rows = &row, .row_count = 1, .has_was = true};
	row.text = STR("services = ( { name = \"a\"; port = 1; } );\n");
	wish.was = rows[0].text;
	assert_int_equal(make(f, &wish), 0);
	wish.was = row.text;
	assert_int_equal(make(f, &wish), -EAGAIN);
	assert_non_null(
		strstr(f->err.text, "service/a was changed meanwhile by alice, revision 3"));
	wish.was = STR(""); /* there was none */
	assert_int_equal(make(f, &wish), -EAGAIN);
	row.key = STR("service/new");
	assert_int_equal(make(f, &wish), 0);
	wish.was = row.text;
	assert_int_equal(make(f, &wish), -EAGAIN);
	assert_string_equal(
		f->err.text, "service/new was taken away meanwhile; nothing was written");
}

static void test_prune_takes_the_rest(void **state)
{
	struct fixture *f = *state;
	struct edit_wish wish = {.kind = EDIT_PUT, .rows = rows, .row_count = 2, .prune = true};
	assert_int_equal(make(f, &wish), 0);
	assert_int_equal(f->edit.after.count, 2);
	assert_int_equal(f->edit.change_count, 2);
	assert_int_equal(edit_verb(&f->edit.changes[0]), EDIT_REMOVE);
	assert_true(str_eq(f->edit.changes[0].key, STR("service/b")));
	assert_string_equal(edit_verb_name(EDIT_REMOVE), "delete");
}

static void test_take(void **state)
{
	struct fixture *f = *state;
	const struct str keys[] = {STR("service/b"), STR("service/none"), STR("service/b")};
	struct edit_wish wish = {.kind = EDIT_TAKE, .keys = keys, .key_count = 1};
	assert_int_equal(make(f, &wish), 0);
	assert_int_equal(f->edit.after.count, 1);
	wish.key_count = 2;
	assert_int_equal(make(f, &wish), -ENOENT);
	assert_string_equal(f->err.text, "there is no service/none");
	const struct str twice[] = {STR("service/b"), STR("service/b")};
	wish.keys = twice;
	assert_int_equal(make(f, &wish), -EINVAL);
}

/* --- back --- */

/* Carries a change out on `before`, as a revision of its own. */
static void publish(struct fixture *f, uint64_t revision, const char *key, const char *text)
{
	struct object_set next;
	uint32_t count;
	assert_int_equal(object_set_copy(&f->before, &next, &f->err), 0);
	if (text)
		objects_put(&next, key, revision, "bob", text);
	else
		object_set_remove(&next, str_of(key));
	struct change *changes = change_between(&f->arena, &f->before, &next, &count);
	struct head head = {.mesh = MESH, .revision = revision, .who = STR("bob")};
	head_set(&head, &next);
	memmove(f->entries + 1, f->entries, f->entry_count++ * sizeof(f->entries[0]));
	f->entries[0] = (struct edit_entry){.revision = revision,
		.head = head_sign(&f->arena, &head, f->key),
		.change = change_text(&f->arena, changes, count)};
	object_set_done(&f->before);
	f->before = next;
}

static void fill_history(struct fixture *f)
{
	publish(f, 5, "service/a", "services = ( { name = \"a\"; port = 1; } );\n");
	publish(f, 6, "service/c", OBJECTS_SERVICE("c"));
	publish(f, 8, "service/b", NULL);
	publish(f, 9, "service/a", "services = ( { name = \"a\"; port = 2; } );\n");
}

static void test_roll_back(void **state)
{
	struct fixture *f = *state;
	struct edit_wish wish = {.kind = EDIT_ROLL_BACK, .target = 6};
	fill_history(f);
	assert_int_equal(make(f, &wish), 0);
	assert_int_equal(f->edit.after.count, 3);
	assert_int_equal(object_set_find(&f->edit.after, STR("service/a"))->revision, 5);
	assert_int_equal(object_set_find(&f->edit.after, STR("service/b"))->revision, 4);
	struct head head;
	assert_int_equal(head_parse(f->entries[2].head, &head, &f->err), 0);
	assert_true(head_fits(&head, &f->edit.after));
	wish.target = 9;
	assert_int_equal(make(f, &wish), 0);
	assert_int_equal(f->edit.change_count, 0);
}

static void test_no_way_back(void **state)
{
	static const struct {
		uint64_t target;
		const char *why;
	} cases[] = {{4, "the history reaches back to revision 5, not to 4"},
		{7, "there was no revision 7; those beside it are 6 and 8"},
		{10, "there is no revision 10 yet; the newest is 9"}};
	struct fixture *f = *state;
	struct edit_wish wish = {.kind = EDIT_ROLL_BACK, .target = 5};
	assert_int_equal(make(f, &wish), -EINVAL);
	assert_string_equal(f->err.text, "there is no history");
	fill_history(f);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		wish.target = cases[i].target;
		assert_int_equal(make(f, &wish), -EINVAL);
		assert_string_equal(f->err.text, cases[i].why);
	}
}

static void test_a_history_that_was_meddled_with(void **state)
{
	struct fixture *f = *state;
	struct edit_wish wish = {.kind = EDIT_ROLL_BACK, .target = 6};
	fill_history(f);
	struct str change = f->entries[1].change;
	f->entries[1].change = STR("");
	assert_int_equal(make(f, &wish), -EINVAL);
	assert_non_null(strstr(f->err.text, "what is left is not revision 6"));
	f->entries[1].change = STR("nonsense");
	assert_int_equal(make(f, &wish), -EINVAL);
	assert_non_null(strstr(f->err.text, "revision 8 cannot be undone"));
	f->entries[1].change = change;
	f->entries[2].head = f->entries[3].head;
	assert_int_equal(make(f, &wish), -EINVAL);
	f->entries[2].head = STR("");
	assert_int_equal(make(f, &wish), -EINVAL);
}

/* Whoever can write to the store can make up a past; the operator would sign it. */
static void test_a_history_that_nobody_signed(void **state)
{
	struct fixture *f = *state;
	struct edit_wish wish = {.kind = EDIT_ROLL_BACK, .target = 6};
	fill_history(f);
	struct str *head = &f->entries[2].head;
	const char *signature = strstr(head->at, "signature ");
	assert_non_null(signature);
	head->len = (size_t)(signature - head->at);
	assert_int_equal(make(f, &wish), -EINVAL);
	assert_non_null(strstr(f->err.text, "revision 6 is not signed"));
}

/* --- others --- */

static void test_conflicts(void **state)
{
	struct fixture *f = *state;
	struct object_set now;
	struct edit_wish wish = {.kind = EDIT_PUT, .rows = rows, .row_count = 2};
	assert_int_equal(make(f, &wish), 0);
	assert_int_equal(object_set_copy(&f->before, &now, &f->err), 0);
	assert_null(edit_conflict(&wish, &f->edit, &f->before, &now).at);
	/* an object that the wish is not about */
	object_set_remove(&now, STR("service/b"));
	objects_put(&now, "service/d", 8, "bob", OBJECTS_SERVICE("d"));
	assert_null(edit_conflict(&wish, &f->edit, &f->before, &now).at);
	/* one that it would create */
	objects_put(&now, "service/c", 8, "bob", OBJECTS_SERVICE("c"));
	assert_true(str_eq(edit_conflict(&wish, &f->edit, &f->before, &now), STR("service/c")));
	object_set_remove(&now, STR("service/c"));
	/* one that was as wished, and is not any more */
	objects_put(&now, "service/a", 8, "bob", "services = ( { name = \"a\"; port = 1; } );");
	assert_true(str_eq(edit_conflict(&wish, &f->edit, &f->before, &now), STR("service/a")));
	object_set_done(&now);
}

static void test_prune_is_about_everything(void **state)
{
	struct fixture *f = *state;
	struct object_set now;
	struct edit_wish wish = {.kind = EDIT_PUT, .rows = rows, .row_count = 2, .prune = true};
	assert_int_equal(make(f, &wish), 0);
	assert_int_equal(object_set_copy(&f->before, &now, &f->err), 0);
	objects_put(&now, "service/d", 8, "bob", OBJECTS_SERVICE("d"));
	assert_true(str_eq(edit_conflict(&wish, &f->edit, &f->before, &now), STR("service/d")));
	object_set_remove(&now, STR("service/d"));
	object_set_remove(&now, STR("service/b"));
	assert_true(str_eq(edit_conflict(&wish, &f->edit, &f->before, &now), STR("service/b")));
	object_set_done(&now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_put_creates_and_leaves_what_is_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(test_put_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_put_of_what_has_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune_takes_the_rest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_take, setup, teardown),
		cmocka_unit_test_setup_teardown(test_roll_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_way_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_history_that_nobody_signed, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_history_that_was_meddled_with, setup, teardown),
		cmocka_unit_test_setup_teardown(test_conflicts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune_is_about_everything, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
