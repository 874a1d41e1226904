/* SPDX-License-Identifier: Apache-2.0 */
#include "base/list.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
	int number;
	struct list node;
};

static int numbers(struct list *head)
{
	int all = 0;
	LIST_EACH (head, it)
		all = all * 10 + CONTAINER_OF(it, struct item, node)->number;
	return all;
}

static void test_order_and_removal(void **state)
{
	struct item items[4] = {{1}, {2}, {3}, {4}};
	struct list head;
	list_init(&head);
	assert_true(list_empty(&head));
	assert_null(list_pop(&head));
	for (int i = 0; i < 3; i++)
		list_add_last(&head, &items[i].node);
	list_add_first(&head, &items[3].node);
	assert_int_equal(numbers(&head), 4123);
	list_remove(&items[1].node);
	assert_int_equal(numbers(&head), 413);
	list_remove(&items[1].node); /* on no list any more: no effect */
	assert_true(list_empty(&items[1].node));
	assert_int_equal(numbers(&head), 413);
	assert_ptr_equal(list_pop(&head), &items[3].node);
	assert_ptr_equal(list_pop(&head), &items[0].node);
	assert_ptr_equal(list_pop(&head), &items[2].node);
	assert_true(list_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_order_and_removal)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
