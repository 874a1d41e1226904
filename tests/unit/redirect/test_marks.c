/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that stay with their users, and the file they are kept in. */
#include "redirect/marks.h"
#include "redirect/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
	char directory[64], path[96];
};

static void place_init(struct place *p)
{
	snprintf(p->directory, sizeof(p->directory), "/tmp/test-marks-XXXXXX");
	assert_non_null(mkdtemp(p->directory));
	snprintf(p->path, sizeof(p->path), "%s/marks", p->directory);
}

static void place_write(const struct place *p, const char *text)
{
	struct err err;
	struct text t;
	text_init(&t);
	text_add(&t, "%s", text);
	assert_int_equal(text_write_file(&t, p->path, &err), 0);
	text_done(&t);
}

static void place_done(const struct place *p)
{
	unlink(p->path);
	assert_int_equal(rmdir(p->directory), 0); /* and nothing else was left there */
}

static void test_users_keep_their_numbers(void **state)
{
	struct place place;
	struct marks m;
	struct err err;
	place_init(&place);
	marks_init(&m, 255);
	assert_int_equal(marks_read(&m, place.path, &err), 0);
	assert_int_equal(marks_give(&m, (const uint32_t[]){1001, 1002}, 2, &err), 0);
	assert_int_equal(marks_find(&m, 1001), 1);
	assert_int_equal(marks_find(&m, 1002), 2);
	assert_int_equal(marks_write(&m, place.path, &err), 0);
	marks_done(&m);

	/* 1001 is gone for a while: its number waits for it. */
	marks_init(&m, 255);
	assert_int_equal(marks_read(&m, place.path, &err), 0);
	assert_int_equal(marks_give(&m, (const uint32_t[]){1003, 1002}, 2, &err), 0);
	assert_int_equal(marks_find(&m, 1003), 3);
	assert_int_equal(marks_find(&m, 1002), 2);
	assert_int_equal(marks_give(&m, (const uint32_t[]){1001}, 1, &err), 0);
	assert_int_equal(marks_find(&m, 1001), 1);
	marks_done(&m);
	place_done(&place);
}

static void test_numbers_are_taken_back_only_when_none_is_left(void **state)
{
	struct place place;
	struct marks m;
	struct err err;
	place_init(&place);
	place_write(&place, "1001 3\n1002 1\n1003 2\n");
	marks_init(&m, 3);
	assert_int_equal(marks_read(&m, place.path, &err), 0);
	assert_int_equal(marks_give(&m, (const uint32_t[]){1003, 1004}, 2, &err), 0);
	assert_int_equal(marks_find(&m, 1004), 3);
	assert_int_equal(marks_find(&m, 1001), 0);
	assert_int_equal(marks_find(&m, 1002), 1);
	assert_int_equal(marks_give(&m, (const uint32_t[]){1, 2, 3, 4}, 4, &err), -ENOSPC);
	marks_done(&m);
	place_done(&place);
}

static void test_a_narrower_mask_drops_what_does_not_fit(void **state)
{
	struct place place;
	struct marks m;
	struct err err;
	place_init(&place);
	place_write(&place, "1001 200\n1002 15\n");
	marks_init(&m, 15);
	assert_int_equal(marks_read(&m, place.path, &err), 0);
	assert_int_equal(marks_find(&m, 1001), 0);
	assert_int_equal(marks_find(&m, 1002), 15);
	marks_done(&m);
	place_done(&place);
}

static void test_a_broken_file_is_no_ground_for_guesses(void **state)
{
	static const char *const broken[] = {"1001\n", "1001 \n", " 1\n", "1001 0\n", "x 1\n",
		"1001 1 1\n", "4294967295 1\n", "1001 1\n1001 2\n", "1001 1\n1002 1\n", "\n",
		"1001 -1\n"};
	struct place place;
	place_init(&place);
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		struct marks m;
		struct err err;
		place_write(&place, broken[i]);
		marks_init(&m, 255);
		assert_int_equal(marks_read(&m, place.path, &err), -EINVAL);
		assert_non_null(strstr(err.text, "marks:"));
		marks_done(&m);
	}
	place_done(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_users_keep_their_numbers),
		cmocka_unit_test(test_numbers_are_taken_back_only_when_none_is_left),
		cmocka_unit_test(test_a_narrower_mask_drops_what_does_not_fit),
		cmocka_unit_test(test_a_broken_file_is_no_ground_for_guesses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
