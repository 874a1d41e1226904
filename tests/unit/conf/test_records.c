/* SPDX-License-Identifier: Apache-2.0 */
/* With a store: the objects and the nodes' records of a picture, and what each node can and cannot
 * do to the others. */
#include "conf_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define WORKLOADS                                                                        \
	"workloads: ( { service = \"web\"; user = \"web\"; },\n"                         \
	" { service = \"orders\"; user = \"orders\"; port = 8080; protocol = \"http\"; " \
	"} );\n"
#define ORDERS                                                                            \
	"services: ( { name = \"orders\"; port = 8080; protocol = \"http\"; address = [ " \
	"\"10.96.0.1\", \"fd96::1\" ]; } );\n"
#define RECORD(node) "ringmain 1\nnode " node "\nstart 1\nnumber 1\nzone eu-1\n"

static void expect_report(const struct fixture *f, const char *text)
{
	if (strcmp(f->report.text ? f->report.text : "", text) != 0)
		fail_msg("came\n%s", f->report.text);
}

static struct address address_at(const char *text)
{
	struct address a;
	assert_true(address_port_parse(str_of(text), &a));
	return a;
}

static const struct service *service_named(const struct fixture *f, const char *name)
{
	const struct service *service = snapshot_service(f->snapshot, str_of(name));
	assert_non_null(service);
	return service;
}

static void test_no_picture_yet(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse_good(&f, FIXTURE_STORE WORKLOADS, NULL);
	expect_report(&f, "");
	assert_int_equal(f.snapshot->service_count, 2);
	const struct service *orders = service_named(&f, "orders");
	assert_int_equal(orders->protocol, PROTOCOL_HTTP);
	assert_int_equal(orders->mtls, MTLS_STRICT);
	assert_true(str_eq(orders->ids[0], STR("spiffe://prod.example/service/orders")));
	assert_int_equal(orders->endpoint_count + orders->policy_count, 0);
	assert_ptr_equal(f.snapshot->workloads[1].service, orders);
	struct address a = address_at("10.77.0.1:8080");
	assert_int_equal(snapshot_destination(f.snapshot, &a).kind, DESTINATION_LOCAL);
	fixture_done(&f);
}

static void test_objects_and_records(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "service/orders@41", ORDERS);
	fixture_tell(&f, "node", "vm-a",
		RECORD("vm-a") "endpoint orders v1 drained 7 10.77.0.1:8080 [fd00::1]:8080\n");
	fixture_tell(&f, "node", "vm-b",
		RECORD("vm-b") "endpoint orders v2 up 300 10.77.0.2:8080\n"
			       "endpoint ghost - up 1 10.77.0.2:9 10.77.0.2:10\n");
	fixture_parse_good(&f, FIXTURE_STORE WORKLOADS, NULL);
	expect_report(&f, "");
	const struct service *orders = service_named(&f, "orders");
	assert_int_equal(orders->endpoint_count, 3);
	const struct endpoint *own = &orders->endpoints[1], *other = &orders->endpoints[2];
	assert_ptr_equal(own->local, &f.snapshot->workloads[1]);
	assert_int_equal(own->health, ENDPOINT_DRAINED);
	assert_int_equal(own->weight, 7);
	assert_int_equal(own->address.family, AF_INET6);
	assert_true(own->alternate && !orders->endpoints[0].alternate && !other->alternate);
	assert_int_equal(orders->up_sums[1], 0);
	assert_int_equal(orders->up_sums[2], 300);
	assert_null(other->local);
	assert_int_equal(other->health, ENDPOINT_UP);
	assert_int_equal(other->weight, 300);
	assert_true(str_eq(other->version, STR("v2")) && str_eq(other->zone, STR("eu-1")));
	assert_true(str_eq(other->node_name, STR("vm-b")));
	assert_int_equal(f.snapshot->node_count, 2);
	assert_int_equal(f.snapshot->unknown_endpoint_count, 2);
	assert_int_equal(f.snapshot->refused_endpoint_count, 0);
	struct address a = address_at("10.77.0.2:8080"), b = address_at("[fd96::1]:8080");
	assert_ptr_equal(snapshot_destination(f.snapshot, &a).endpoint, other);
	assert_int_equal(snapshot_destination(f.snapshot, &b).kind, DESTINATION_SERVICE);
	assert_ptr_equal(snapshot_destination(f.snapshot, &b).service, orders);
	fixture_done(&f);
}

/* Without a store the picture is not looked at; mesh items are files then. */
static void test_a_standalone_machine_takes_no_picture(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "service/orders@41", ORDERS);
	fixture_tell(&f, "node", "vm-b", "nonsense");
	fixture_parse_good(&f, FIXTURE_NODE, "services: ( { name = \"web\"; } );\n");
	expect_report(&f, "");
	assert_null(snapshot_service(f.snapshot, STR("orders")));
	assert_int_equal(f.snapshot->node_count, 0);
	fixture_done(&f);
}

/* What a node tells wrongly costs itself alone. */
static void test_bad_records(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "service/orders@41", ORDERS);
	fixture_tell(&f, "mesh", "service/old@3",
		"services: ( { name = \"old\"; port = 80; mtls = \"disabled\"; endpoints = ( { "
		"address = \"10.77.0.50\"; } ); } );\n");
	fixture_tell(&f, "node", "vm-b", "ringmain 1\nnode vm-b\nstart x\n");
	fixture_tell(&f, "node", "vm-c", RECORD("vm-d"));
	fixture_tell(&f, "node", "vm-d",
		RECORD("vm-d") "endpoint orders - up 1 10.77.0.4:8080 10.77.0.4:8080\n");
	fixture_tell(&f, "node", "vm-e",
		RECORD("vm-e") "endpoint orders - up 1 10.77.0.4:8080 10.77.0.9:8080\n"
			       "endpoint orders - up 1 127.0.0.1:80 [::1]:80 224.0.0.1:80\n"
			       "endpoint orders - up 1 0.0.0.0:80 [::]:80 [ff02::1]:80\n"
			       "endpoint orders - up 1 10.96.0.1:8080 10.77.0.50:80\n"
			       "endpoint orders - up 1 10.77.0.5:8080\n"
			       "endpoint old - up 1 10.77.0.5:80\n");
	fixture_tell(&f, "node", "vm-a",
		RECORD("vm-a") "endpoint orders - up 1 10.77.0.1:8081 10.77.0.7:8080\n"
			       "endpoint old - up 1 10.77.0.1:8080\n");
	fixture_parse_good(&f, FIXTURE_STORE WORKLOADS, NULL);
	static const struct {
		const char *node, *address, *service, *why;
	} left_out[] = {
		{"vm-d", "10.77.0.4:8080", "orders", "somebody else's already"},
		{"vm-e", "10.77.0.4:8080", "orders", "somebody else's already"},
		{"vm-e", "10.77.0.9:8080", "orders", "it is this machine's"},
		{"vm-e", "127.0.0.1:80", "orders", "no address of a machine"},
		{"vm-e", "[::1]:80", "orders", "no address of a machine"},
		{"vm-e", "224.0.0.1:80", "orders", "no address of a machine"},
		{"vm-e", "0.0.0.0:80", "orders", "no address of a machine"},
		{"vm-e", "[::]:80", "orders", "no address of a machine"},
		{"vm-e", "[ff02::1]:80", "orders", "no address of a machine"},
		{"vm-e", "10.96.0.1:8080", "orders", "a service's own address"},
		{"vm-e", "10.77.0.50:80", "orders", "somebody else's already"},
		{"vm-e", "10.77.0.5:80", "old",
			"the service has mtls = \"disabled\": its endpoints are those that are "
			"published with it"},
		{"vm-a", "10.77.0.1:8081", "orders", "no workload of this machine serves it"},
		{"vm-a", "10.77.0.7:8080", "orders", "no workload of this machine serves it"},
		{"vm-a", "10.77.0.1:8080", "old", "no workload of this machine serves it"},
	};
	char text[4096];
	int len = snprintf(text, sizeof(text),
		"warning: the record of node \"vm-b\" is left out: line 3, \"start x\": not a "
		"number\n"
		"warning: the record of node \"vm-c\" is left out: it is another node's\n");
	for (size_t i = 0; i < ARRAY_LEN(left_out); i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len,
			"warning: node \"%s\": the endpoint %s of \"%s\" is left out: %s\n",
			left_out[i].node, left_out[i].address, left_out[i].service,
			left_out[i].why);
	expect_report(&f, text);
	const struct service *orders = service_named(&f, "orders");
	assert_int_equal(orders->endpoint_count, 2);
	assert_true(str_eq(orders->endpoints[1].node_name, STR("vm-e")));
	assert_int_equal(f.snapshot->refused_endpoint_count, 15);
	assert_int_equal(f.snapshot->node_count, 3);
	fixture_done(&f);
}

/* The address that counts is one that this machine can dial. */
static void test_an_instance_counts_once(void **state)
{
	static const char *const node =
		"node: { name = \"vm-a\"; address = \"fd00::1\"; };\n"
		"mesh: { trust_domain = \"prod.example\"; };\n"
		"state: { redis = \"10.77.0.10:6379\"; operators = \"/a.pub\"; };\n";
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "service/orders@41",
		"services: ( { name = \"orders\"; port = 80; endpoints = ( { address = [ "
		"\"10.77.0.8\", \"fd00::8\" ]; weight = 5; }, { address = \"10.77.0.6\"; } ); } "
		");\n");
	fixture_tell(&f, "node", "vm-b",
		RECORD("vm-b") "endpoint orders - up 1 10.77.0.2:80 [fd00::2]:80 [fd00::3]:80\n");
	fixture_parse_good(&f, node, NULL);
	const struct service *orders = service_named(&f, "orders");
	static const bool alternate[] = {true, false, false, true, false, true};
	static const uint64_t sums[] = {0, 5, 105, 105, 106, 106};
	assert_int_equal(orders->endpoint_count, ARRAY_LEN(alternate));
	for (size_t i = 0; i < ARRAY_LEN(alternate); i++) {
		assert_int_equal(orders->endpoints[i].alternate, alternate[i]);
		assert_int_equal(orders->up_sums[i], sums[i]);
	}
	fixture_done(&f);
}

/* A policy may name a service that another node is, or that comes later. */
static void test_policies_of_services_elsewhere(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "policy/p@1",
		"policies: ( { service = [ \"orders\", \"later\" ]; action = \"allow\"; from = [ "
		"\"web\", \"elsewhere\" ]; } );\n");
	fixture_parse_good(&f, FIXTURE_STORE WORKLOADS, NULL);
	expect_report(&f,
		"policy/p@1:1: warning: policies[0].from: there is no service \"elsewhere\" in the "
		"mesh\n"
		"policy/p@1:1: warning: policies[0].service: there is no service \"later\" in the "
		"mesh\n");
	assert_int_equal(service_named(&f, "orders")->policy_count, 1);
	fixture_done(&f);
	fixture_init(&f);
	fixture_tell(&f, "mesh", "policy/p@1",
		"policies: ( { service = \"Orders\"; action = \"deny\"; from = \"w*\"; } );\n");
	fixture_parse(&f, FIXTURE_STORE WORKLOADS, NULL);
	assert_int_equal(f.result, -EINVAL);
	expect_report(&f, "policy/p@1:1: policies[0].from: \"w*\" is no service name\n"
			  "policy/p@1:1: policies[0].service: \"Orders\" is no service name\n");
	fixture_done(&f);
}

static void test_a_workload_of_no_possible_service(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse(
		&f, FIXTURE_STORE "workloads: ( { service = \"Web\"; user = \"web\"; } );\n", NULL);
	assert_int_equal(f.result, -EINVAL);
	expect_report(&f, "node.conf:4: workloads[0].service: \"Web\" is no service name: "
			  "lower-case letters, "
			  "digits and '-' inside, at most 63\n");
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_picture_yet),
		cmocka_unit_test(test_objects_and_records),
		cmocka_unit_test(test_a_standalone_machine_takes_no_picture),
		cmocka_unit_test(test_bad_records),
		cmocka_unit_test(test_an_instance_counts_once),
		cmocka_unit_test(test_policies_of_services_elsewhere),
		cmocka_unit_test(test_a_workload_of_no_possible_service),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
