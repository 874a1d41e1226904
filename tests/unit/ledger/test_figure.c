/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_lab.h"

static void test_bounds_grow_by_a_fifth(void **state)
{
	assert_int_equal(ledger_latency_bound_ns(0), 100000);
	for (uint32_t i = 1; i < LEDGER_LATENCIES - 1; i++) {
		uint64_t before = ledger_latency_bound_ns(i - 1),
			 bound = ledger_latency_bound_ns(i);
		assert_true(bound * 100 >= before * 119 && bound * 100 <= before * 121);
	}
	assert_true(ledger_latency_bound_ns(LEDGER_LATENCIES - 2) > 5 * LAB_S);
	assert_true(ledger_latency_bound_ns(LEDGER_LATENCIES - 1) == UINT64_MAX);
	assert_true(ledger_latency_bound_ns(UINT32_MAX) == UINT64_MAX);
}

static void test_each_latency_falls_into_its_bucket(void **state)
{
	struct lab lab;
	struct ledger_sums sums;
	lab_init(&lab);
	for (uint32_t i = 0; i < LEDGER_LATENCIES; i++) {
		struct ledger_id id = lab_id(i);
		uint64_t bound_ns = ledger_latency_bound_ns(i);
		uint64_t below_ns = i > 0 ? ledger_latency_bound_ns(i - 1) + 1 : 0;
		assert_true(ledger_figure_add(lab.proxy, &id, false, bound_ns, LAB_NOW));
		assert_true(ledger_figure_add(lab.proxy, &id, true, below_ns, LAB_NOW));
		assert_true(ledger_figure_read(lab.state, &id, &sums));
		assert_int_equal(sums.calls, 2);
		assert_int_equal(sums.failed, 1);
		assert_int_equal(sums.latencies[i], 2);
	}
	lab_done(&lab);
}

static void test_a_full_table_gives_up_the_idle_only(void **state)
{
	struct lab lab;
	struct ledger_sums sums;
	lab_init(&lab);
	for (uint32_t i = 0; i < LEDGER_FIGURES; i++) {
		struct ledger_id id = lab_id(i);
		assert_true(ledger_figure_add(lab.proxy, &id, false, 1, LAB_NOW));
	}
	struct ledger_id first = lab_id(0), more = lab_id(5000);
	assert_false(ledger_figure_add(lab.proxy, &more, false, 1, LAB_NOW + 599 * LAB_S));
	assert_false(ledger_figure_read(lab.state, &more, &sums));
	for (uint32_t i = 1; i < LEDGER_FIGURES; i++) {
		struct ledger_id id = lab_id(i);
		assert_true(ledger_figure_add(lab.proxy, &id, false, 1, LAB_NOW + 599 * LAB_S));
	}
	assert_true(ledger_figure_add(lab.proxy, &more, true, 1, LAB_NOW + 601 * LAB_S));
	assert_true(ledger_figure_read(lab.state, &more, &sums));
	assert_int_equal(sums.calls, 1);
	assert_int_equal(sums.failed, 1);
	assert_int_equal(sums.latencies[0], 1);
	assert_false(ledger_figure_read(lab.state, &first, &sums));
	for (uint32_t i = 1; i < LEDGER_FIGURES; i++) {
		struct ledger_id id = lab_id(i);
		assert_true(ledger_figure_read(lab.state, &id, &sums));
		assert_int_equal(sums.calls, 2);
	}
	lab_done(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds_grow_by_a_fifth),
		cmocka_unit_test(test_each_latency_falls_into_its_bucket),
		cmocka_unit_test(test_a_full_table_gives_up_the_idle_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
