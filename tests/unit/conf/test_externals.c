/* SPDX-License-Identifier: Apache-2.0 */
/* Externals and the modes of unknown destinations: what a row says, and what is wrong with one. */
#include "conf_fixture.h"

#include "conf/objects.h"
#include "mesh/external.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SERVICES                                                                              \
	"services: ( { name = \"web\"; }, { name = \"orders\"; port = 8080; endpoints = ( { " \
	"address = \"10.0.0.1\"; } ); } );\n"
#define EXTERNALS(rows) SERVICES "externals: (\n" rows " );\n"

static void parse(struct fixture *f, const char *node, const char *mesh)
{
	char text[2048];
	fixture_init(f);
	fixture_add(f, "user", "web", "1001");
	fixture_add(f, "user", "other", "1002");
	snprintf(text, sizeof(text), "%s%s", FIXTURE_NODE, node);
	fixture_parse(f, text, mesh);
}

static void test_a_row(void **state)
{
	struct fixture f;
	parse(&f, "",
		EXTERNALS(
			"{ name = \"payments\"; hosts = [ \"api.payments.example\", "
			"\"*.cdn.example\" ]; ports = [ 443, 8443 ]; from = [ \"web\", "
			"\"shop/*\" ]; addresses = [ \"198.51.100.7\", \"198.51.101.0/24\" ]; }, "
			"{ name = \"old\"; host = \"old.example\"; port = 80; tls = "
			"\"originate\"; sni = \"new.example\"; ca = \"corp\"; port_tls = 8443; }"));
	assert_int_equal(f.result, 0);
	const struct snapshot *s = f.snapshot;
	assert_int_equal(s->external_count, 2);
	const struct external *e = &s->externals[0];
	assert_true(str_eq(e->name, STR("payments")));
	assert_int_equal(e->host_count, 2);
	assert_int_equal(e->port_count, 2);
	assert_int_equal(e->from_count, 2);
	assert_int_equal(e->address_count, 2);
	assert_int_equal(e->tls, EXTERNAL_PASSTHROUGH);
	assert_true(str_eq(e->where, STR("mesh.conf:3")));
	assert_ptr_equal(external_by_host(s, STR("x.cdn.example"), 8443, EXTERNAL_TLS), e);
	assert_true(external_allows(e, STR("spiffe://prod.example/service/web")));
	assert_true(external_allows(e, STR("spiffe://prod.example/shop/x")));
	assert_false(external_allows(e, STR("spiffe://prod.example/service/orders")));
	e = &s->externals[1];
	assert_int_equal(e->tls, EXTERNAL_ORIGINATE);
	assert_int_equal(e->port_tls, 8443);
	assert_true(str_eq(e->ca, STR("corp")) && str_eq(e->sni, STR("new.example")));
	fixture_done(&f);
}

static void test_modes(void **state)
{
	static const struct {
		const char *node, *workload;
		enum unknown_mode mode;
	} rows[] = {
		{"", "", UNKNOWN_REFUSE},
		{"", "unknown = \"audit\";", UNKNOWN_AUDIT},
		{"", "unknown = \"allow\";", UNKNOWN_ALLOW},
		{"redirect: { unknown = \"allow\"; };", "", UNKNOWN_ALLOW},
		{"redirect: { unknown = \"audit\"; };", "unknown = \"node\";", UNKNOWN_AUDIT},
		{"redirect: { unknown = \"allow\"; };", "unknown = \"refuse\";", UNKNOWN_REFUSE},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture f;
		char node[256];
		snprintf(node, sizeof(node),
			"%s workloads: ( { service = \"web\"; user = \"web\"; %s } );\n",
			rows[i].node, rows[i].workload);
		parse(&f, node, SERVICES);
		assert_int_equal(f.result, 0);
		assert_int_equal(f.snapshot->workloads[0].unknown, rows[i].mode);
		fixture_done(&f);
	}
}

static const struct {
	const char *rows, *said;
} errors[] = {
	{"{ name = \"a\"; port = 443; }", "externals[0]: neither hosts nor addresses: what is it?"},
	{"{ name = \"a\"; host = \"a.example\"; }", "externals[0].port: missing"},
	{"{ host = \"a.example\"; port = 443; }", "externals[0].name: missing"},
	{"{ name = \"A\"; host = \"a.example\"; port = 443; }", "is no name for an external"},
	{"{ name = \"web\"; host = \"a.example\"; port = 443; }",
		"\"web\" is a service of the mesh"},
	{"{ name = \"a\"; host = \"A.example\"; port = 443; }", "\"A.example\" is no host"},
	{"{ name = \"a\"; host = \"127.0.0.1\"; port = 443; }", "\"127.0.0.1\" is no host"},
	{"{ name = \"a\"; host = \"a.example:443\"; port = 443; }", "is no host"},
	{"{ name = \"a\"; host = \"a.*.example\"; port = 443; }", "is no host"},
	{"{ name = \"a\"; host = \"*\"; port = 443; }", "is no host"},
	{"{ name = \"a\"; host = \"a.example\"; ports = [ 80, 443 ]; }, { name = \"b\"; host = "
	 "\"a.example\"; port = 443; }",
		"\"a.example\" is \"a\"'s already, at mesh.conf:3"},
	{"{ name = \"a\"; host = \"a.example\"; port = 80; }, { name = \"a\"; host = "
	 "\"b.example\"; port = 443; }",
		"\"a\" is \"a\"'s already"},
	{"{ name = \"a\"; port = 1; tls = \"none\"; address = \"198.51.100.1\"; }, { name = \"b\"; "
	 "port = 1; tls = \"none\"; address = \"198.51.100.1\"; }",
		"\"198.51.100.1\" is \"a\"'s already"},
	{"{ name = \"a\"; port = 443; address = \"198.51.100.1\"; }",
		"externals[0].tls: without hosts there is no name"},
	{"{ name = \"a\"; port = 443; address = \"198.51.100.1\"; tls = \"originate\"; }",
		"externals[0].sni: missing"},
	{"{ name = \"a\"; host = \"a.example\"; port = 443; sni = \"b.example\"; }",
		"externals[0].sni: only with tls \"originate\""},
	{"{ name = \"a\"; host = \"a.example\"; port = 80; tls = \"originate\"; ca = "
	 "\"../x\"; }",
		"\"../x\" is no name of a file"},
	{"{ name = \"a\"; host = \"a.example\"; port = 80; tls = \"originate\"; sni = "
	 "\"*.example\"; }",
		"\"*.example\" is no host name"},
	{"{ name = \"a\"; host = \"a.example\"; port = 80; tls = \"none\"; address = "
	 "\"127.0.0.1\"; }",
		"127.0.0.1 is no machine outside"},
	{"{ name = \"a\"; host = \"a.example\"; port = 8080; tls = \"none\"; address = "
	 "\"10.0.0.1\"; }",
		"10.0.0.1:8080 is \"orders\", of the mesh"},
	{"{ name = \"a\"; host = \"a.example\"; port = 443; from = \"anonymous\"; }",
		"nobody without an identity is let out"},
	{"{ name = \"a\"; host = \"a.example\"; port = 443; from = \"10.0.0.0/8\"; }",
		"nobody without an identity is let out"},
	{"{ name = \"a\"; host = \"a.example\"; port = 443; from = [ ]; }",
		"an empty list would name nobody"},
	{"{ name = \"a\"; host = \"a.example\"; port = 443; from = \"wbe\"; }",
		"there is no service \"wbe\" in the mesh files; did you mean \"web\"?"},
};

static void test_errors(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		struct fixture f;
		char mesh[2048];
		snprintf(mesh, sizeof(mesh), SERVICES "externals: (\n%s );\n", errors[i].rows);
		parse(&f, "", mesh);
		if (f.result == 0 || !strstr(f.report.text, errors[i].said))
			fail_msg("%s: %s", errors[i].rows, f.report.text ? f.report.text : "taken");
		fixture_done(&f);
	}
}

static void test_hosts_without_end(void **state)
{
	for (int count = 256; count <= 257; count++) {
		struct fixture f;
		char mesh[32768];
		size_t len = (size_t)snprintf(mesh, sizeof(mesh), SERVICES "externals: (\n");
		for (int i = 0; i < count; i++)
			len += (size_t)snprintf(mesh + len, sizeof(mesh) - len,
				"%s{ name = \"e%d\"; host = \"e%d.example\"; port = 443; }",
				i > 0 ? ",\n" : "", i, i);
		snprintf(mesh + len, sizeof(mesh) - len, " );\n");
		parse(&f, "", mesh);
		assert_int_equal(f.result == 0, count == 256);
		if (count > 256)
			assert_non_null(strstr(f.report.text, "more than 256 hosts"));
		fixture_done(&f);
	}
}

static void test_a_wildcard_without_addresses_is_warned_of(void **state)
{
	struct fixture f;
	parse(&f, "", EXTERNALS("{ name = \"cdn\"; host = \"*.cdn.example\"; port = 443; }"));
	assert_int_equal(f.result, 0);
	assert_non_null(
		strstr(f.report.text, "warning: externals[0].host: \"*.cdn.example\" cannot "
				      "be looked up"));
	fixture_done(&f);
}

/* By the table of kinds they are published as all other objects are. */
static void test_they_are_objects(void **state)
{
	struct bundle b;
	struct arena arena;
	struct err err;
	struct conf_report report;
	struct conf_object *objects;
	uint32_t count;
	bundle_init(&b);
	arena_init(&arena, 1 << 20);
	conf_report_init(&report);
	const char *text = "externals: ( { port = 443; host = \"a.example\"; name = \"a\"; } );\n";
	assert_int_equal(bundle_add(&b, STR("mesh"), STR("outside.conf"), str_of(text), &err), 0);
	assert_int_equal(conf_objects_read(&b, &arena, &objects, &count, &report), 0);
	assert_int_equal(count, 1);
	assert_true(str_eq(objects[0].key, STR("external/a")));
	assert_int_equal(conf_objects_check(&b, STR("prod.example"), &report), 0);
	conf_report_done(&report);
	arena_done(&arena);
	bundle_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_row),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_hosts_without_end),
		cmocka_unit_test(test_a_wildcard_without_addresses_is_warned_of),
		cmocka_unit_test(test_they_are_objects),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
