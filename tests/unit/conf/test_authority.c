/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/authority.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define TD "authority: { trust_domain = \"prod.example\"; };\n"

static struct bundle *bundle_of(const char *text)
{
	static struct bundle b;
	struct err err;
	bundle_init(&b);
	assert_int_equal(bundle_add(&b, STR("conf"), STR("a.conf"), str_of(text), &err), 0);
	return &b;
}

static struct conf_ca *parse_ca(const char *text, struct conf_report *report)
{
	struct conf_ca *c = NULL;
	struct bundle *b = bundle_of(text);
	conf_report_init(report);
	int r = conf_ca_parse(b, &c, report);
	assert_int_equal(r, c ? 0 : -EINVAL);
	assert_int_equal(c == NULL, report->error_count > 0);
	bundle_done(b);
	return c;
}

static struct conf_registration *parse_registration(const char *text, struct conf_report *report)
{
	struct conf_registration *r = NULL;
	struct bundle *b = bundle_of(text);
	conf_report_init(report);
	int result = conf_registration_parse(b, &r, report);
	assert_int_equal(result, r ? 0 : -EINVAL);
	assert_int_equal(r == NULL, report->error_count > 0);
	bundle_done(b);
	return r;
}

static void settings_have_defaults(void **state)
{
	struct conf_report report;
	struct conf_ca *c = parse_ca(TD, &report);
	assert_non_null(c);
	assert_true(str_eq(c->trust_domain, STR("prod.example")));
	assert_int_equal(c->leaf_ms, 3600 * 1000);
	assert_int_equal(c->node_ms, 24 * 3600 * 1000);
	assert_int_equal(c->comeback_ms, 30ll * 24 * 3600 * 1000);
	assert_int_equal(c->crl_ms, 24 * 3600 * 1000);
	assert_int_equal(c->backdate_ms, 60 * 1000);
	assert_int_equal(c->token_ms, 600 * 1000);
	assert_int_equal(c->node_per_minute, 60);
	assert_int_equal(c->node_burst, 60);
	assert_int_equal(c->all_per_second, 500);
	conf_ca_free(c);
	conf_report_done(&report);
}

static void settings_are_taken(void **state)
{
	struct conf_report report;
	struct conf_ca *c = parse_ca(
		"authority: { trust_domain = \"prod.example\"; listen = [ \"10.0.0.5:8443\", "
		"\"[fd00::5]:8443\" ]; names = [ \"ca.example\", \"192.0.2.1\" ]; };\n"
		"lifetimes: { leaf = \"2s\"; node = \"2s\"; comeback = \"0s\"; crl = \"4s\"; "
		"backdate = \"0s\"; token = \"1s\"; };\n"
		"limits: { all_per_second = 1000000; };\n",
		&report);
	assert_non_null(c);
	assert_int_equal(c->listen_count, 2);
	assert_int_equal(c->listen[1].port, 8443);
	assert_int_equal(c->name_count, 2);
	assert_int_equal(c->leaf_ms, 2000);
	assert_int_equal(c->comeback_ms, 0);
	conf_ca_free(c);
	conf_report_done(&report);
}

static void wrong_settings_are_named(void **state)
{
	static const char *const rows[][2] = {
		{"", "a.conf:1: authority.trust_domain: missing"},
		{"authority: { trust_domain = \"Prod\"; };", "\"Prod\" is no trust domain"},
		{TD "lifetime: { };",
			"a.conf:2: lifetime: unknown key; did you mean \"lifetimes\""},
		{TD "lifetimes: { leaf = \"1s\"; };",
			"a.conf:2: lifetimes.leaf: 1s is out of range"},
		{TD "lifetimes: { leaf = 5; };", "a.conf:2: lifetimes.leaf: expected a duration"},
		{TD "lifetimes: { leaf = \"2h\"; node = \"1h\"; };",
			"a.conf:2: lifetimes.node: shorter than lifetimes.leaf"},
		{"authority: { trust_domain = \"a\"; listen = \"10.0.0.5\"; };",
			"authority.listen: the port is missing"},
		{"authority: { trust_domain = \"a\"; listen = \"0.0.0.0:8443\"; };",
			"authority.names: missing: listening at every address"},
		{"authority: { trust_domain = \"a\"; names = \"*.example\"; };",
			"neither a DNS name nor an address"},
		{"authority: { trust_domain = \"a\"; names = \"a..b\"; };",
			"neither a DNS name nor an address"},
		{TD "limits: { node_burst = 0; };",
			"a.conf:2: limits.node_burst: 0 is out of range"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct conf_report report;
		assert_null(parse_ca(rows[i][0], &report));
		if (!strstr(report.text, rows[i][1]))
			fail_msg("\"%s\" is not in \"%s\"", rows[i][1], report.text);
		conf_report_done(&report);
	}
}

static void a_registration_is_read(void **state)
{
	struct conf_report report;
	struct conf_registration *r = parse_registration(
		"nodes: ( { name = \"vm-a\"; identities = [ \"orders\", \"job/nightly\" ]; "
		"addresses = \"10.0.0.0/8\"; }, { name = \"vm-b.example\"; } );",
		&report);
	assert_non_null(r);
	assert_int_equal(r->node_count, 2);
	const struct conf_registered *n = conf_registered_find(r, STR("vm-a"));
	assert_non_null(n);
	assert_true(str_eq(n->identities[0], STR("service/orders")));
	assert_true(str_eq(n->identities[1], STR("job/nightly")));
	assert_int_equal(n->address_count, 1);
	assert_null(conf_registered_find(r, STR("vm-c")));
	conf_registration_free(r);
	conf_report_done(&report);
	r = parse_registration("nodes: ( );", &report);
	assert_non_null(r);
	assert_int_equal(r->node_count, 0);
	conf_registration_free(r);
	conf_report_done(&report);
}

static void a_wrong_registration_is_named(void **state)
{
	static const char *const rows[][2] = {
		{"node: ( );", "a.conf:1: node: unknown key; did you mean \"nodes\""},
		{"nodes: ( { identities = \"a\"; } );", "nodes[0].name: missing"},
		{"nodes: ( { name = \"a/b\"; } );", "nodes[0].name: \"a/b\": letters"},
		{"nodes: ( { name = \"..\"; } );", "nodes[0].name: \"..\": letters"},
		{"nodes: (\n{ name = \"a\"; },\n{ name = \"b\"; },\n{ name = \"a\"; } );",
			"a.conf:4: nodes[2].name: the node \"a\" is at a.conf:2 already"},
		{"nodes: ( { name = \"a\"; identities = [ \"x\", \"service/x\" ]; } );",
			"\"service/x\" is there twice"},
		{"nodes: ( { name = \"a\"; identities = \"Orders\"; } );", "is no service"},
		{"nodes: ( { name = \"a\"; identities = \"node/b\"; } );",
			"a node has its own identity and no other node's"},
		{"nodes: ( { name = \"a\"; identities = \"a//b\"; } );", "is no identity"},
		{"nodes: ( { name = \"a\"; identities = \"/a\"; } );", "is no identity"},
		{"nodes: ( { name = \"a\"; identities = [ ]; } );", "empty list"},
		{"nodes: ( { name = \"a\"; identities = 5; } );", "expected a text"},
		{"nodes: ( { name = \"a\"; addresses = \"x\"; } );", "is not an address range"},
		{"nodes: ( \"a\" );", "expected a group"},
		{"nodes: ( {", "a.conf:1: syntax error"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct conf_report report;
		assert_null(parse_registration(rows[i][0], &report));
		if (!strstr(report.text, rows[i][1]))
			fail_msg("\"%s\" is not in \"%s\"", rows[i][1], report.text);
		conf_report_done(&report);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings_have_defaults),
		cmocka_unit_test(settings_are_taken),
		cmocka_unit_test(wrong_settings_are_named),
		cmocka_unit_test(a_registration_is_read),
		cmocka_unit_test(a_wrong_registration_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
