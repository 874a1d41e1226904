/* SPDX-License-Identifier: Apache-2.0 */
/* What a capture refuses. */
#include "redirect/capture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct conf capture_good = {.uid = 4242,
	.mark_mask = 0x00ff0000,
	.outbound_port = 15001,
	.inbound_port = 15101,
	.port_range = 16,
	.mesh_port = 15200};

static void assert_refused(const struct conf *c, const char *word)
{
	struct capture p;
	struct err err;
	assert_int_equal(capture_init(&p, c, &err), -EINVAL);
	if (!strstr(err.text, word))
		fail_msg("\"%s\" does not say \"%s\"", err.text, word);
}

static void test_workloads(void **state)
{
	static const struct {
		uint32_t uid;
		uint16_t port;
		const char *word;
	} cases[] = {
		{0, 80, "root"},
		{4242, 80, "proxy's own user"},
		{UINT32_MAX, 80, "no user id"},
		{1001, 15001, "port 15001"},
		{1001, 15116, "port 15116"},
		{1001, 15200, "port 15200"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct conf_workload w = {
			.service = {"web", 3}, .uid = cases[i].uid, .port = cases[i].port};
		struct conf c = capture_good;
		c.workloads = &w;
		c.workload_count = 1;
		assert_refused(&c, cases[i].word);
	}
}

static void test_proxy_as_root(void **state)
{
	struct conf c = capture_good;
	c.uid = 0;
	assert_refused(&c, "node.user");
}

static void test_masks(void **state)
{
	static const uint32_t bad[] = {0, 5, 0x00f0f000, 0x80000001};
	static const struct {
		uint32_t mask, number_max;
	} good[] = {{1, 1}, {0x00ff0000, 255}, {0xff000000, 255}, {0xffffffff, 0xffffffff}};
	struct conf c = capture_good;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		c.mark_mask = bad[i];
		assert_refused(&c, "mark mask");
	}
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct capture p;
		struct err err;
		c.mark_mask = good[i].mask;
		assert_int_equal(capture_init(&p, &c, &err), 0);
		assert_int_equal(capture_number_max(&p), good[i].number_max);
		assert_int_equal(capture_mark_bits(&p, 1), good[i].mask & -good[i].mask);
		capture_done(&p);
	}
}

static void test_ports(void **state)
{
	struct conf c = capture_good;
	c.port_range = 0;
	assert_refused(&c, "do not fit");
	c.port_range = 1000;
	assert_refused(&c, "overlap");
	c = capture_good;
	c.inbound_port = 65530;
	assert_refused(&c, "do not fit");
}

static void test_excluded(void **state)
{
	struct address_range ranges[3];
	struct conf c = capture_good;
	struct capture p;
	struct err err;
	assert_true(address_range_parse(STR("169.254.169.254"), &ranges[0]));
	assert_true(address_range_parse(STR("10.0.0.0/8"), &ranges[1]));
	assert_true(address_range_parse(STR("10.0.0.0/8"), &ranges[2]));
	c.excluded = ranges;
	c.excluded_count = 3;
	assert_int_equal(capture_init(&p, &c, &err), 0);
	assert_int_equal(p.excluded_count, 3); /* the two that always are, and one of ours */
	capture_done(&p);
	ranges[0].prefix_len = 33;
	assert_refused(&c, "address range");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_workloads),
		cmocka_unit_test(test_proxy_as_root),
		cmocka_unit_test(test_masks),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_excluded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
