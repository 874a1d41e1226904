/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCK 64

struct fixture {
	struct buf_pool pool;
	struct buf a, b;
};

static int fixture_up(void **state)
{
	static struct fixture f;
	buf_pool_init(&f.pool, BLOCK, 2);
	buf_init(&f.a, &f.pool);
	buf_init(&f.b, &f.pool);
	*state = &f;
	return 0;
}

static int fixture_down(void **state)
{
	struct fixture *f = *state;
	buf_clear(&f->a);
	buf_clear(&f->b);
	buf_pool_done(&f->pool);
	return 0;
}

static void test_bytes_come_out_in_order(void **state)
{
	struct fixture *f = *state;
	assert_true(buf_put(&f->a, "hello ", 6));
	assert_true(buf_put(&f->a, "world", 5));
	assert_int_equal(buf_len(&f->a), 11);
	assert_memory_equal(buf_at(&f->a), "hello world", 11);
	buf_consume(&f->a, 6);
	assert_memory_equal(buf_at(&f->a), "world", 5);
	buf_consume(&f->a, 5);
	assert_int_equal(buf_len(&f->a), 0);
}

static void test_put_is_all_or_nothing_and_fill_is_not(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[BLOCK + 1] = {1, 2, 3};
	assert_false(buf_put(&f->a, bytes, BLOCK + 1));
	assert_int_equal(buf_len(&f->a), 0);
	assert_true(buf_put(&f->a, bytes, BLOCK - 1));
	assert_false(buf_put(&f->a, bytes, 2));
	assert_int_equal(buf_len(&f->a), BLOCK - 1);
	assert_int_equal(buf_fill(&f->a, bytes, 2), 1);
	assert_int_equal(buf_fill(&f->a, bytes, 2), 0);
	assert_int_equal(buf_len(&f->a), BLOCK);
}

static void test_space_in_front_is_used_again(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[BLOCK];
	for (uint8_t i = 0; i < BLOCK; i++)
		bytes[i] = i;
	assert_true(buf_put(&f->a, bytes, BLOCK));
	buf_consume(&f->a, 10);
	assert_int_equal(buf_space(&f->a), 10);
	assert_true(buf_put(&f->a, bytes, 10));
	assert_memory_equal(buf_at(&f->a), bytes + 10, BLOCK - 10);
	assert_memory_equal(buf_at(&f->a) + BLOCK - 10, bytes, 10);
}

static void test_writing_in_place(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(buf_space(&f->a), BLOCK);
	memcpy(buf_tail(&f->a), "abc", 3);
	buf_wrote(&f->a, 3);
	memcpy(buf_tail(&f->a), "de", 2);
	buf_wrote(&f->a, 2);
	assert_memory_equal(buf_at(&f->a), "abcde", 5);
}

static void test_the_cap_of_the_pool(void **state)
{
	struct fixture *f = *state;
	struct buf c;
	buf_init(&c, &f->pool);
	assert_true(buf_hold(&f->a));
	assert_true(buf_hold(&f->a)); /* holds one already: no second */
	assert_true(buf_hold(&f->b));
	assert_false(buf_hold(&c));
	assert_int_equal(buf_space(&c), 0);
	assert_false(buf_put(&c, "x", 1));
	assert_true(buf_put(&c, "", 0));
	assert_int_equal(buf_fill(&c, "x", 1), 0);
	buf_clear(&f->a);
	assert_true(buf_put(&c, "x", 1));
	buf_clear(&c);
}

static void test_released_only_when_empty(void **state)
{
	struct fixture *f = *state;
	assert_true(buf_put(&f->a, "x", 1));
	buf_release_if_empty(&f->a);
	assert_int_equal(f->pool.block_count, 1);
	buf_consume(&f->a, 1);
	buf_release_if_empty(&f->a);
	assert_int_equal(f->pool.block_count, 0);
	assert_null(f->a.bytes);
	buf_release_if_empty(&f->a); /* no harm on one without a block */
}

static void test_idle_blocks_are_bounded(void **state)
{
	struct fixture *f = *state;
	f->pool.idle_count_max = 1;
	assert_true(buf_hold(&f->a));
	assert_true(buf_hold(&f->b));
	buf_clear(&f->a);
	buf_clear(&f->b);
	assert_int_equal(f->pool.idle_count, 1);
	assert_int_equal(f->pool.block_count, 0);
}

static void test_large_block_is_for_once(void **state)
{
	struct fixture *f = *state;
	struct buf_pool large;
	assert_false(buf_hold_large(&f->a)); /* there are none */
	buf_pool_init_large(&large, &f->pool, 10 * f->pool.block_bytes, 1);
	assert_true(buf_hold_large(&f->a));
	assert_false(buf_hold_large(&f->a)); /* has one */
	assert_false(buf_hold_large(&f->b)); /* no more */
	assert_false(buf_is_large(&f->b));
	assert_int_equal(buf_space(&f->a), large.block_bytes);
	assert_true(buf_put(&f->a, "xyz", 3));
	buf_swap(&f->a, &f->b);
	assert_true(buf_is_large(&f->b) && !buf_is_large(&f->a));
	assert_int_equal(buf_len(&f->b), 3);
	assert_int_equal(f->pool.block_count, 0);
	buf_clear(&f->b);
	assert_int_equal(large.block_count, 0);
	assert_int_equal(buf_space(&f->b), f->pool.block_bytes);
	buf_clear(&f->b);
	buf_pool_done(&large);
	f->pool.large = NULL;
}

static void test_consuming_too_much_aborts(void **state)
{
	struct fixture *f = *state;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		buf_consume(&f->a, 1);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_bytes_come_out_in_order, fixture_up, fixture_down),
		cmocka_unit_test_setup_teardown(
			test_put_is_all_or_nothing_and_fill_is_not, fixture_up, fixture_down),
		cmocka_unit_test_setup_teardown(
			test_space_in_front_is_used_again, fixture_up, fixture_down),
		cmocka_unit_test_setup_teardown(test_writing_in_place, fixture_up, fixture_down),
		cmocka_unit_test_setup_teardown(test_the_cap_of_the_pool, fixture_up, fixture_down),
		cmocka_unit_test_setup_teardown(
			test_released_only_when_empty, fixture_up, fixture_down),
		cmocka_unit_test_setup_teardown(
			test_idle_blocks_are_bounded, fixture_up, fixture_down),
		cmocka_unit_test_setup_teardown(
			test_large_block_is_for_once, fixture_up, fixture_down),
		cmocka_unit_test_setup_teardown(
			test_consuming_too_much_aborts, fixture_up, fixture_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
