/* SPDX-License-Identifier: Apache-2.0 */
/* Identity paths of workloads and services: what they are, and where the two must meet. */
#include "conf/objects.h"
#include "conf_fixture.h"
#include "mesh/policy.h"
#include "mesh/source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define TD	       "spiffe://prod.example/"
#define WEB(more)      "{ service = \"web\"; user = \"web\"; " more " }"
#define ORDERS(more)   "{ service = \"orders\"; user = \"orders\"; port = 8080; " more " }"
#define WORKLOADS(...) "workloads: (\n" __VA_ARGS__ " );\n"

#define assert_str_equal(s, literal)                                                    \
	do {                                                                            \
		struct str checked_ = (s);                                              \
		if (!str_eq(checked_, STR(literal)))                                    \
			fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(checked_), literal); \
	} while (0)

static void expect_report(const struct fixture *f, const char *text)
{
	assert_string_equal(f->report.text ? f->report.text : "", text);
}

/* --- files --- */

static void test_identities_of_files(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse_good(&f,
		FIXTURE_NODE WORKLOADS(WEB("identity = \"shop/web\";") ",\n" ORDERS(
			"identity = \"shop/orders-blue\";")),
		"services: ( { name = \"web\"; identity = \"shop/web\"; },\n"
		"{ name = \"orders\"; port = 8080; identity = \"shop/orders\";\n"
		"  identities = [ \"web\", \"shop/orders-blue\", \"service/orders\",\n"
		"    \"spiffe://far.example/x\", \"gone\" ]; } );\n"
		"policies: ( { service = \"orders\"; action = \"allow\"; from = \"web\"; } );\n");
	const struct service *web = snapshot_service(f.snapshot, STR("web"));
	const struct service *orders = snapshot_service(f.snapshot, STR("orders"));
	assert_str_equal(web->identity, "shop/web");
	assert_int_equal(web->id_count, 1);
	assert_str_equal(web->ids[0], TD "shop/web");
	assert_str_equal(orders->identity, "shop/orders");
	assert_int_equal(orders->id_count, 6);
	assert_str_equal(orders->ids[0], TD "shop/orders");
	assert_str_equal(orders->ids[1], TD "shop/web");
	assert_str_equal(orders->ids[2], TD "shop/orders-blue");
	assert_str_equal(orders->ids[3], TD "service/orders");
	assert_str_equal(orders->ids[4], "spiffe://far.example/x");
	assert_str_equal(orders->ids[5], TD "service/gone");
	assert_str_equal(f.conf->workloads[1].identity, "shop/orders-blue");
	assert_str_equal(f.snapshot->workloads[1].identity, "shop/orders-blue");
	assert_str_equal(f.snapshot->workloads[1].id, TD "shop/orders-blue");
	assert_false(f.snapshot->workloads[0].is_refused || f.snapshot->workloads[1].is_refused);
	assert_ptr_equal(snapshot_service_by_id(f.snapshot, STR(TD "shop/orders")), orders);
	/* a name in `from` is what the service is */
	struct policy_request request = {.source_id = STR(TD "shop/web")};
	assert_true(policy_check(f.snapshot, orders, &request).allowed);
	request.source_id = STR(TD "service/web");
	assert_false(policy_check(f.snapshot, orders, &request).allowed);
	expect_report(&f, "");
	fixture_done(&f);
}

static void test_identities_unless_given(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse_good(
		&f, FIXTURE_NODE WORKLOADS(WEB("")), "services: ( { name = \"web\"; } );\n");
	assert_str_equal(f.conf->workloads[0].identity, "service/web");
	assert_str_equal(f.snapshot->workloads[0].id, TD "service/web");
	assert_str_equal(snapshot_service(f.snapshot, STR("web"))->identity, "service/web");
	fixture_done(&f);
}

#define NO_PATH(identity)                                                                        \
	"\"" identity "\" is no path of an identity such as \"shop/web\": two segments or more " \
	"of letters, digits, '.', '-' and '_', at most 200 bytes, no '.' at the start, and the " \
	"first neither \"node\" nor \"ca\"\n"

static void test_identities_refused(void **state)
{
	static const struct {
		const char *node, *mesh, *report;
	} rows[] = {
		/* no paths, or not a workload's */
		{WORKLOADS(WEB("identity = \"web\";")), "services: ( { name = \"web\"; } );\n",
			"node.conf:4: workloads[0].identity: " NO_PATH("web")},
		{WORKLOADS(WEB("identity = \"node/vm-a\";")),
			"services: ( { name = \"web\"; } );\n",
			"node.conf:4: workloads[0].identity: " NO_PATH("node/vm-a")},
		{WORKLOADS(WEB("identity = \"shop/../web\";")),
			"services: ( { name = \"web\"; } );\n",
			"node.conf:4: workloads[0].identity: " NO_PATH("shop/../web")},
		{"", "services: ( { name = \"web\"; identity = \"ca/x\"; } );\n",
			"mesh.conf:1: services[0].identity: " NO_PATH("ca/x")},
		{"", "services: ( { name = \"web\"; identities = [ \"shop/../x\" ]; } );\n",
			"mesh.conf:1: services[0].identities: \"shop/../x\" is neither a service's "
			"name nor a path such as \"shop/web\" nor a SPIFFE id\n"},
		{"", "services: ( { name = \"web\"; identities = [ \"node/vm-a\" ]; } );\n",
			"mesh.conf:1: services[0].identities: \"node/vm-a\" is neither a service's "
			"name nor a path such as \"shop/web\" nor a SPIFFE id\n"},
		{"",
			"services: ( { name = \"web\"; identities = [ "
			"\"spiffe://prod.example/node/vm-a\" ]; } );\n",
			"mesh.conf:1: services[0].identities: "
			"\"spiffe://prod.example/node/vm-a\" is neither a service's name nor a "
			"path such as \"shop/web\" nor a SPIFFE id\n"},
		{"",
			"services: ( { name = \"web\"; identities = [ "
			"\"spiffe://prod.example/ca/x\" ]; } );\n",
			"mesh.conf:1: services[0].identities: \"spiffe://prod.example/ca/x\" is "
			"neither a service's name nor a path such as \"shop/web\" nor a SPIFFE "
			"id\n"},
		/* somebody else's */
		{"",
			"services: ( { name = \"web\"; identities = [ \"shop/pay\" ]; },\n"
			"{ name = \"pay\"; identity = \"shop/pay\"; } );\n",
			"mesh.conf:1: services[0].identities: \"shop/pay\" is the identity of the "
			"service \"pay\"; if that may be a server of this one, write \"pay\"\n"},
		{"",
			"services: ( { name = \"pay\"; },\n{ name = \"web\"; identities = [ "
			"\"spiffe://prod.example/service/pay\", \"service/gone\", \"pay\", "
			"\"spiffe://far.example/node/x\" ]; } );\n",
			"mesh.conf:2: services[1].identities: "
			"\"spiffe://prod.example/service/pay\" is the identity of the service "
			"\"pay\"; if that may be a server of this one, write \"pay\"\n"},
		{"", "services: ( { name = \"web\"; identity = \"service/orders\"; } );\n",
			"mesh.conf:1: services[0].identity: \"service/orders\" is that of the "
			"service \"orders\"\n"},
		{"",
			"services: ( { name = \"web\"; identity = \"shop/web\"; },\n"
			"{ name = \"front\"; identity = \"shop/web\"; } );\n",
			"mesh.conf:2: services[1].identity: \"shop/web\" is the identity of "
			"\"web\" "
			"already, at mesh.conf:1: whoever has it could pass for either\n"},
		{WORKLOADS(WEB("identity = \"shop/x\";") ",\n" ORDERS("identity = \"shop/x\";")),
			"services: ( { name = \"web\"; identity = \"shop/x\"; },\n"
			"{ name = \"orders\"; identities = \"web\"; } );\n",
			"node.conf:5: workloads[1].identity: \"shop/x\" is that of workloads[0], "
			"which is another service: whoever has it could pass for either\n"},
		{"",
			"services: ( { name = \"web\"; identity = \"shop/web\"; identities = "
			"\"web\"; "
			"} );\n",
			"mesh.conf:1: services[0].identities: \"web\" is this service itself; "
			"write "
			"\"service/web\" for what it would be without `identity`\n"},
		/* the two do not meet */
		{WORKLOADS(WEB("")),
			"services: (\n{ name = \"web\"; identity = \"shop/web\"; } );\n",
			"node.conf:4: workloads[0].identity: \"service/web\" is none that the "
			"service \"web\" may have: it is \"shop/web\", at mesh.conf:2; write "
			"identity = \"shop/web\" here, or name this one among its identities\n"},
		{WORKLOADS(WEB("identity = \"shop/web\";")),
			"services: (\n{ name = \"web\"; } );\n",
			"node.conf:4: workloads[0].identity: \"shop/web\" is none that the service "
			"\"web\" may have: it is \"service/web\", at mesh.conf:2; write identity = "
			"\"service/web\" here, or name this one among its identities\n"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture f;
		char node[1024];
		fixture_init(&f);
		snprintf(node, sizeof(node), "%s%s", FIXTURE_NODE, rows[i].node);
		fixture_parse(&f, node, rows[i].mesh);
		assert_int_equal(f.result, -EINVAL);
		expect_report(&f, rows[i].report);
		fixture_done(&f);
	}
}

/* --- with a store --- */

#define RECORD "ringmain 1\nnode vm-a\nstart 1\nnumber 1\nzone eu-1\n"

/* What is published costs nobody else anything: the workload alone is refused, and says so. */
static void test_identities_published_otherwise(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "service/orders@41",
		"services: ( { name = \"orders\"; port = 8080; identity = \"shop/orders\"; } );\n");
	fixture_tell(&f, "node", "vm-a", RECORD "endpoint orders - up 1 10.77.0.1:8080\n");
	fixture_parse_good(&f, FIXTURE_STORE WORKLOADS(ORDERS("") ",\n" WEB("")), NULL);
	const struct workload *w = &f.snapshot->workloads[0];
	assert_true(w->is_refused);
	assert_str_equal(w->identity, "service/orders");
	assert_str_equal(w->id, TD "service/orders");
	assert_str_equal(f.conf->workloads[0].identity, "service/orders");
	assert_int_equal(w->service->id_count, 1);
	assert_str_equal(w->service->ids[0], TD "shop/orders");
	assert_int_equal(w->service->endpoint_count, 0);
	assert_null(snapshot_workload_by_server_name(f.snapshot, STR("8080.orders.prod.example")));
	assert_false(f.snapshot->workloads[1].is_refused);
	expect_report(&f,
		"node.conf:5: warning: workloads[0].identity: \"service/orders\" is none that the "
		"service \"orders\" may have (\"shop/orders\", by service/orders@41): nobody "
		"is led to this workload until one of the two is changed\n"
		"warning: node \"vm-a\": the endpoint 10.77.0.1:8080 of \"orders\" is left out: "
		"its "
		"identity is none that the service may have\n");
	fixture_done(&f);
}

/* One that nobody has published is what this machine's workloads are. */
static void test_identities_of_nobody_published(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "service/far@1",
		"services: ( { name = \"far\"; identities = [ \"web\" ]; } );\n");
	fixture_parse_good(&f,
		FIXTURE_STORE WORKLOADS(ORDERS("") ",\n" WEB("identity = \"shop/web\";")), NULL);
	const struct service *web = snapshot_service(f.snapshot, STR("web"));
	assert_str_equal(web->identity, "shop/web");
	assert_int_equal(web->id_count, 1);
	assert_str_equal(web->ids[0], TD "shop/web");
	assert_false(f.snapshot->workloads[1].is_refused);
	assert_ptr_equal(snapshot_service_by_id(f.snapshot, STR(TD "shop/web")), web);
	/* but what a published object means by a name is the same on all machines */
	assert_str_equal(snapshot_service(f.snapshot, STR("far"))->ids[1], TD "service/web");
	fixture_done(&f);
}

/* What is a published service's is no other's, declared or not. */
static void test_identities_of_somebody_published(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "service/pay@1",
		"services: ( { name = \"pay\"; identity = \"shop/pay\"; } );\n");
	fixture_parse_good(&f, FIXTURE_STORE WORKLOADS(WEB("identity = \"shop/pay\";")), NULL);
	const struct service *web = snapshot_service(f.snapshot, STR("web"));
	assert_true(f.snapshot->workloads[0].is_refused);
	assert_str_equal(web->ids[0], TD "service/web");
	assert_str_equal(snapshot_service_by_id(f.snapshot, STR(TD "shop/pay"))->name, "pay");
	fixture_done(&f);
}

/* One that another service is, by its path: an operator is kept from publishing it, a node takes
 * it. */
static void test_identities_of_another_service_published(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "service/pay@1",
		"services: ( { name = \"pay\"; identity = \"shop/pay\"; } );\n");
	fixture_tell(&f, "mesh", "service/web@2",
		"services: ( { name = \"web\"; identities = [ \"shop/pay\", \"shop/x\" ]; } );\n");
	fixture_parse_good(&f, FIXTURE_STORE, NULL);
	expect_report(&f, "service/web@2: warning: identities: \"shop/pay\" is the identity of the "
			  "service \"pay\"\n");
	assert_int_equal(snapshot_service(f.snapshot, STR("web"))->id_count, 3);
	fixture_done(&f);
}

/* A name in `from` means the same on all machines: not what a workload of this one is. */
static void test_identities_of_nobody_published_in_rules(void **state)
{
	static const char rules[] = "policies: ( { name = \"p\"; service = \"pay\"; action = "
				    "\"allow\"; from = \"web\"; } "
				    ");\n";
	static const char *const workloads[] = {
		FIXTURE_STORE WORKLOADS(WEB("identity = \"shop/web\";")), FIXTURE_STORE};
	for (size_t i = 0; i < ARRAY_LEN(workloads); i++) {
		struct fixture f;
		struct policy_request request = {.source_id = STR(TD "shop/web")};
		fixture_init(&f);
		fixture_tell(&f, "mesh", "policy/p@2", rules);
		fixture_tell(&f, "mesh", "service/pay@1", "services: ( { name = \"pay\"; } );\n");
		fixture_parse_good(&f, workloads[i], NULL);
		const struct service *pay = snapshot_service(f.snapshot, STR("pay"));
		assert_false(policy_check(f.snapshot, pay, &request).allowed);
		assert_false(source_entry_names(f.snapshot, STR("web"), request.source_id));
		request.source_id = STR(TD "service/web");
		assert_true(policy_check(f.snapshot, pay, &request).allowed);
		assert_true(source_entry_names(f.snapshot, STR("web"), request.source_id));
		fixture_done(&f);
	}
}

/* --- before they are published --- */

static void check_objects(const char *first, const char *second, const char *expected)
{
	struct bundle b;
	struct err err;
	struct conf_report report;
	bundle_init(&b);
	conf_report_init(&report);
	assert_int_equal(bundle_add(&b, STR("mesh"), STR("a.conf"), str_of(first), &err), 0);
	assert_int_equal(bundle_add(&b, STR("object"), STR("service/web (revision 3)"),
				 str_of(second), &err),
		0);
	assert_int_equal(
		conf_objects_check(&b, STR("prod.example"), &report), *expected ? -EINVAL : 0);
	assert_string_equal(report.text ? report.text : "", expected);
	conf_report_done(&report);
	bundle_done(&b);
}

static void test_identities_of_objects(void **state)
{
	check_objects("services: ( { name = \"front\"; identity = \"shop/web\"; } );\n",
		"services: ( { name = \"web\"; identity = \"shop/web\"; } );\n",
		"service/web (revision 3): identity: \"shop/web\" is the identity of \"front\" "
		"already, at a.conf:1: whoever has it could pass for either\n");
	check_objects("services: ( { name = \"front\"; identity = \"shop/front\"; } );\n",
		"services: ( { name = \"web\"; identities = \"shop/front\"; } );\n",
		"service/web (revision 3): identities: \"shop/front\" is the identity of the "
		"service \"front\"; if that may be a server of this one, write \"front\"\n");
	check_objects("services: ( { name = \"front\"; identity = \"shop/front\"; } );\n",
		"services: ( { name = \"web\"; identity = \"shop/web\"; } );\n", "");
}

/* --- what this machine decides --- */

#define RULE "{ service = \"*\"; action = \"deny\"; from = \"anonymous\"; }"
static void test_index_of_services_here(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse_good(&f, FIXTURE_NODE WORKLOADS(ORDERS("")),
		"services: ( { name = \"away\"; port = 80; "
		"endpoints = ( { address = \"10.9.9.9\"; } ); },\n"
		" { name = \"orders\"; port = 8080; } );\n"
		"policies: (" RULE "," RULE "," RULE "," RULE "," RULE "," RULE "," RULE "," RULE
		" );\n");
	assert_null(snapshot_service(f.snapshot, STR("away"))->policy_index);
	assert_int_equal(snapshot_service(f.snapshot, STR("away"))->policy_count, 8);
	assert_non_null(snapshot_service(f.snapshot, STR("orders"))->policy_index);
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identities_of_files),
		cmocka_unit_test(test_identities_unless_given),
		cmocka_unit_test(test_identities_refused),
		cmocka_unit_test(test_identities_published_otherwise),
		cmocka_unit_test(test_identities_of_nobody_published),
		cmocka_unit_test(test_identities_of_somebody_published),
		cmocka_unit_test(test_identities_of_another_service_published),
		cmocka_unit_test(test_identities_of_nobody_published_in_rules),
		cmocka_unit_test(test_identities_of_objects),
		cmocka_unit_test(test_index_of_services_here),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
