/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/operator.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define MESH  "mesh: { trust_domain = \"prod.example\"; };\n"
#define STATE "state: { redis = \"10.77.0.10:6379\"; };\n"
#define ALICE "operator: { key = \"/home/alice/alice.key\"; name = \"alice\"; };\n"

typedef int parse_function(
	const struct bundle *b, struct conf_operator **ret_operator, struct conf_report *report);

static struct conf_operator *parse(
	parse_function *function, const char *text, struct conf_report *report)
{
	struct conf_operator *o = NULL;
	struct bundle b;
	struct err err;
	bundle_init(&b);
	conf_report_init(report);
	assert_int_equal(bundle_add(&b, STR("conf"), STR("o.conf"), str_of(text), &err), 0);
	int r = function(&b, &o, report);
	assert_int_equal(r, o ? 0 : -EINVAL);
	assert_int_equal(o == NULL, report->error_count > 0);
	bundle_done(&b);
	return o;
}

static void test_good(void **state)
{
	struct conf_report report;
	struct conf_operator *o = parse(conf_operator_parse,
		MESH ALICE "state: { redis = [ \"10.77.0.10:6379\", \"10.77.0.11:6379\" ]; "
			   "sentinel = \"main\"; username = \"alice\"; password_file = "
			   "\"/home/alice/password\"; tls_ca = \"/etc/ca.pem\"; timeout = \"2s\"; "
			   "operators = \"/etc/bob.pub\"; };",
		&report);
	assert_non_null(o);
	assert_true(str_eq(o->conf.trust_domain, STR("prod.example")));
	assert_true(str_eq(o->key, STR("/home/alice/alice.key")));
	assert_true(str_eq(o->name, STR("alice")));
	assert_int_equal(o->conf.state.redis_count, 2);
	assert_int_equal(o->conf.state.timeout_ms, 2000);
	assert_int_equal(o->conf.state.operator_count, 1);
	conf_operator_free(o);
	conf_report_done(&report);
}

static void test_wrong(void **state)
{
	static const char *const rows[][2] = {{MESH ALICE, "o.conf:1: state.redis: missing"},
		{STATE ALICE, "o.conf:1: mesh.trust_domain: missing"},
		{MESH "state: { redis = \"10.77.0.10\"; };", "o.conf:2: state.redis: "},
		{MESH STATE "operator: { key = \"alice.key\"; name = \"a\"; };",
			"o.conf:3: operator.key: \"alice.key\" is no absolute path"},
		{MESH STATE "operator: { key = \"/a\"; };", "o.conf:3: operator.name: missing"},
		{MESH STATE "operator: { key = \"/a\"; name = \"a b\"; };",
			"o.conf:3: operator.name: at most"},
		{MESH STATE "operator: { kye = \"/a\"; };",
			"operator.kye: unknown key; did you mean \"key\"?"},
		{MESH "state: { redis = \"10.0.0.1:1\"; lease = \"5s\"; };",
			"state.lease: unknown key"},
		{MESH "state: { redis = \"10.0.0.1:1\"; tls_key = \"/k\"; };",
			"state.tls_certificate: a certificate and its key belong together"},
		{MESH "state: { redis = \"10.0.0.1:1\"; tls_name = \"r\"; };",
			"state.tls_ca: missing"},
		{"mesh: { trust_domain = \"A b\"; };" STATE, "mesh.trust_domain: \"A b\" is no"},
		{"node: {};" MESH STATE, "node: unknown key"}, {"mesh: {", "o.conf:1: syntax"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct conf_report report;
		assert_null(parse(conf_operator_parse, rows[i][0], &report));
		if (!strstr(report.text, rows[i][1]))
			fail_msg("not said: %s\nbut: %s", rows[i][1], report.text);
		conf_report_done(&report);
	}
}

static void test_without_a_key_one_reads(void **state)
{
	struct conf_report report;
	struct conf_operator *o = parse(conf_operator_parse, MESH STATE, &report);
	assert_non_null(o);
	assert_int_equal(o->key.len, 0);
	assert_int_equal(o->conf.state.timeout_ms, 5000);
	conf_operator_free(o);
}

static void test_from_a_nodes_file(void **state)
{
	struct conf_report report;
	struct conf_operator *o = parse(conf_operator_parse_node,
		"node: { name = 5; nonsense = 1; };" MESH
		"state: { redis = \"10.77.0.10:6379\"; lease = \"20s\"; };",
		&report);
	assert_non_null(o);
	assert_true(str_eq(o->conf.trust_domain, STR("prod.example")));
	assert_int_equal(o->key.len, 0);
	assert_int_equal(o->name.len, 0);
	conf_operator_free(o);
	assert_null(parse(conf_operator_parse_node, "node: { name = \"a\"; };" MESH, &report));
	assert_non_null(strstr(report.text, "state.redis: missing"));
	conf_report_done(&report);
}

static void test_the_example(void **state)
{
	struct conf_operator *o = NULL;
	struct conf_report report;
	struct bundle b;
	struct err err;
	bundle_init(&b);
	conf_report_init(&report);
	assert_int_equal(
		bundle_add_file(&b, STR("conf"), SOURCE_ROOT "/conf/operator.conf", &err), 0);
	if (conf_operator_parse(&b, &o, &report) < 0)
		fail_msg("%s", report.text);
	assert_true(str_eq(o->name, STR("alice")));
	conf_operator_free(o);
	conf_report_done(&report);
	bundle_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_without_a_key_one_reads),
		cmocka_unit_test(test_from_a_nodes_file),
		cmocka_unit_test(test_the_example),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
