/* SPDX-License-Identifier: Apache-2.0 */
/* The memory itself: its size, its seals, and that nothing else is taken for it. */
#include "ledger_lab.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void test_cannot_change_its_size(void **state)
{
	struct err err;
	struct stat st;
	int fd = ledger_create(&err);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size > 0);
	assert_int_equal(ftruncate(fd, st.st_size - 1), -1);
	assert_int_equal(ftruncate(fd, st.st_size + 1), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	/* all of it is there */
	assert_true(st.st_blocks * 512 >= st.st_size);
	close(fd);
}

static void test_refuses_what_is_none(void **state)
{
	struct err err;
	struct ledger *l = NULL;
	struct stat st;
	int good = ledger_create(&err);
	assert_int_equal(fstat(good, &st), 0);
	int null_fd = open("/dev/null", O_RDWR);
	assert_int_equal(ledger_map(null_fd, &l, &err), -EINVAL);
	close(null_fd);
	/* of the right size, which could shrink */
	int open_fd = memfd_create("test", MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(open_fd, st.st_size), 0);
	assert_int_equal(ledger_map(open_fd, &l, &err), -EINVAL);
	/* sealed, but of another form */
	assert_int_equal(fcntl(open_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	assert_int_equal(ledger_map(open_fd, &l, &err), -EINVAL);
	assert_non_null(strstr(err.text, "form"));
	close(open_fd);
	/* sealed, of another size */
	int small_fd = memfd_create("test", MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(small_fd, 4096), 0);
	assert_int_equal(
		fcntl(small_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	assert_int_equal(ledger_map(small_fd, &l, &err), -EINVAL);
	close(small_fd);
	assert_null(l);
	close(good);
	ledger_unmap(NULL);
}

static void test_outlives_who_maps_it(void **state)
{
	struct lab lab;
	struct err err;
	lab_init(&lab);
	struct ledger_limit_rule rule = lab_rule(7, 100);
	struct ledger_id version = lab_id(9);
	struct ledger_sums sums;
	lease_set_believed(lab.state, LAB_NOW + LAB_S);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_TAKEN);
	assert_true(ledger_figure_add(lab.proxy, &version, true, 5000000, LAB_NOW));
	struct lease_slot slot = lab_wanted(&lab);
	lease_tell(lab.state, &slot, 1000, 0, 1);
	lease_grant(lab.state, &slot, 1000, 1);
	ledger_unmap(lab.proxy);
	ledger_unmap(lab.state);
	assert_int_equal(ledger_map(lab.fd, &lab.proxy, &err), 0);
	assert_int_equal(ledger_map(lab.fd, &lab.state, &err), 0);
	ledger_mend(lab.proxy);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_TAKEN);
	assert_int_equal(lab_take(&lab, &rule, LAB_NOW), LEDGER_SPENT);
	assert_true(ledger_figure_read(lab.state, &version, &sums));
	assert_int_equal(sums.calls, 1);
	assert_int_equal(sums.failed, 1);
	lab_done(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cannot_change_its_size),
		cmocka_unit_test(test_refuses_what_is_none),
		cmocka_unit_test(test_outlives_who_maps_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
