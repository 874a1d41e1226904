/* SPDX-License-Identifier: Apache-2.0 */
/* With a store: the objects and the nodes' records of a picture, and what each node can and cannot
 * do to the others. */
#include "conf_fixture.h"

#include "mesh/policy.h"
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
			"mtls is \"disabled\" there: its endpoints are those that are published "
			"with the service"},
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

/* At a port of which plain text is expected, no node is believed. */
static void test_told_endpoints_by_port(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "service/orders@41",
		"services: ( { name = \"orders\"; port = 8080; mtls = \"disabled\"; mtls_ports = ( "
		"{ "
		"port = 8443; mtls = \"strict\"; } ); } );\n");
	fixture_tell(&f, "node", "vm-b",
		RECORD("vm-b") "endpoint orders - up 1 10.77.0.2:8080\n"
			       "endpoint orders - up 1 10.77.0.2:8443\n");
	fixture_parse_good(&f, FIXTURE_STORE WORKLOADS, NULL);
	expect_report(&f,
		"warning: node \"vm-b\": the endpoint 10.77.0.2:8080 of \"orders\" is left out: "
		"mtls is \"disabled\" there: its endpoints are those that are published with the "
		"service\n");
	assert_int_equal(service_named(&f, "orders")->endpoint_count, 1);
	assert_int_equal(service_named(&f, "orders")->endpoints[0].address.port, 8443);
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
		"policies: ( { name = \"p\"; service = [ \"orders\", \"later\" ]; action = "
		"\"allow\"; from = [ "
		"\"web\", \"elsewhere\" ]; } );\n");
	fixture_parse_good(&f, FIXTURE_STORE WORKLOADS, NULL);
	expect_report(&f, "policy/p@1: warning: from: there is no service \"elsewhere\" in the "
			  "mesh\n"
			  "policy/p@1: warning: service: there is no service \"later\" in the "
			  "mesh\n");
	assert_int_equal(service_named(&f, "orders")->policy_count, 1);
	fixture_done(&f);
	fixture_init(&f);
	fixture_tell(&f, "mesh", "policy/p@1",
		"policies: ( { name = \"p\"; service = \"Orders\"; action = \"deny\"; from = "
		"\"w*\"; } );\n");
	fixture_parse_good(&f, FIXTURE_STORE WORKLOADS, NULL);
	expect_report(&f, "policy/p@1: warning: cannot be read, so everything is denied at all "
			  "services: from: \"w*\": a '*' stands behind a '/', for all that is "
			  "below; write \"w/*\"\n");
	fixture_done(&f);
}

/* Named more than once, by one rule and by others. */
static void test_a_rule_is_once_for_a_service(void **state)
{
	struct fixture f;
	fixture_init(&f);
	for (int i = 0; i < 2; i++)
		fixture_tell(&f, "mesh", i ? "policy/q@1" : "policy/p@1",
			i ? "policies: ( { name = \"q\"; service = [ \"orders\", \"web\", "
			    "\"orders\" "
			    "]; action = \"deny\"; } );\n"
			  : "policies: ( { name = \"p\"; service = [ \"web\", \"orders\", \"web\", "
			    "\"orders\" ]; action = \"deny\"; from = \"web\"; } );\n");
	fixture_parse_good(&f, FIXTURE_STORE WORKLOADS, NULL);
	static const char *const names[] = {"orders", "web"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct service *service = service_named(&f, names[i]);
		assert_int_equal(service->policy_count, 2);
		assert_true(str_eq(service->policies[0]->name, STR("p")));
		assert_true(str_eq(service->policies[1]->name, STR("q")));
	}
	fixture_done(&f);
}

#define CALLER "spiffe://prod.example/service/web"

static struct policy_verdict ask(const struct fixture *f, const char *service, const char *id)
{
	struct policy_request request = {.source_id = str_of(id), .port = 8080};
	return policy_check(f->snapshot, service_named(f, service), &request);
}

/* Allowed to "web" by all means, but for what cannot be read. */
static void read_with(struct fixture *f, const char *text)
{
	fixture_init(f);
	fixture_tell(f, "mesh", "policy/any@1",
		"policies: ( { name = \"any\"; service = \"*\"; action = \"allow\"; from = "
		"\"web\"; } );\n");
	fixture_tell(f, "mesh", "policy/p@7", text);
	fixture_tell(f, "mesh", "service/billing@3", "services: ( { name = \"billing\"; } );\n");
	fixture_tell(f, "mesh", "service/orders@4", ORDERS);
	fixture_parse_good(f, FIXTURE_STORE WORKLOADS, NULL);
}

struct closed_row {
	const char *text, *report;
	bool is_all; /* else "orders" alone */
};

#define CLOSED(where) "policy/p@7: warning: cannot be read, so everything is denied at " where ": "
#define POLICY(...)   "policies: ( { name = \"p\"; " __VA_ARGS__ " } );\n"

static const struct closed_row closed_rows[] = {
	/* a newer version's */
	{POLICY("service = \"orders\"; action = \"allow\"; from = \"web\"; in_season = 1;"),
		CLOSED("\"orders\"") "in_season: unknown key; valid here: name, service, action, "
				     "mode, from, not_from, ports, not_ports, methods, "
				     "not_methods, paths, not_paths, hosts, not_hosts, headers, "
				     "token\n",
		false},
	{POLICY("services = [ \"orders\", \"later\" ]; action = \"ask\";"),
		CLOSED("\"orders\", \"later\"") "action: \"ask\" is none of \"allow\", "
						"\"deny\", \"audit\"\n",
		false},
	{POLICY("service = \"orders\"; action = \"audit\"; from = [];"),
		CLOSED("\"orders\"") "from: empty list; leave the key out or name something\n",
		false},
	{POLICY("service = ( \"orders\" ); action = \"allow\"; paths = \"*.js\";"),
		CLOSED("\"orders\"") "paths: \"*.js\": a path is compared from its beginning, so "
				     "no end of one can be asked for; name the paths, or what they "
				     "are below, as in \"/static/*\"\n",
		false},
	/* whose services cannot be read either */
	{POLICY("service = \"*\"; action = \"ask\";"),
		CLOSED("all services") "action: \"ask\" is none of \"allow\", \"deny\", "
				       "\"audit\"\n",
		true},
	{POLICY("action = \"deny\";"), CLOSED("all services") "service: missing\n", true},
	{POLICY("service = { label = \"x\"; }; action = \"deny\";"),
		CLOSED("all services") "service: expected a text in quotes\n", true},
	{POLICY("service = [ \"Orders\" ]; action = \"deny\";"),
		CLOSED("all services") "service: \"Orders\" is no service name\n", true},
	{POLICY("service = ( \"orders\", 5 ); action = \"deny\";"),
		CLOSED("all services") "service[1]: expected a text in quotes\n", true},
	{POLICY("service = \"orders\"; services = \"web\"; action = \"deny\";"),
		CLOSED("all services") "services: the same as \"service\", which is given too\n",
		true},
	{"policies: (\n{ name = \"p\"; service = \"orders\"\naction = ;\n",
		CLOSED("all services") "3: syntax error\n", true},
	{"@include \"/etc/passwd\"\n",
		CLOSED("all services") "1: @include is not taken; further mesh files are named in "
				       "mesh.files\n",
		true},
	{"", CLOSED("all services") "its text is that of something else\n", true},
	{"policies: ();\n", CLOSED("all services") "its text is that of something else\n", true},
	{"services: ( { name = \"p\"; } );\n",
		CLOSED("all services") "its text is that of something else\n", true},
	{"policies: ( { name = \"p\"; service = \"orders\"; action = \"deny\"; }, { name = "
	 "\"q\"; service = \"web\"; action = \"allow\"; } );\n",
		CLOSED("all services") "its text is that of something else\n", true},
	{"policies: ( { name = \"q\"; service = \"orders\"; action = \"allow\"; from = "
	 "\"web\"; } );\n",
		CLOSED("\"orders\"") "its text is that of something else\n", false},
	{"polices: ( { name = \"p\"; service = \"orders\"; action = \"deny\"; } );\n",
		CLOSED("all services") "polices: unknown key; did you mean \"policies\"?\n", true},
};

static void test_a_policy_that_cannot_be_read_closes_its_services(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(closed_rows); i++) {
		const struct closed_row *row = &closed_rows[i];
		struct fixture f;
		read_with(&f, row->text);
		expect_report(&f, row->report);
		struct policy_verdict v = ask(&f, "orders", CALLER);
		assert_false(v.allowed);
		assert_true(str_eq(v.policy->name, STR("p")));
		assert_true(str_eq(v.policy->where, STR("policy/p@7")));
		assert_true(v.policy->fault.len > 0);
		assert_false(ask(&f, "orders", "").allowed);
		/* the others go on */
		assert_int_equal(service_named(&f, "orders")->address_count, 2);
		assert_int_equal(ask(&f, "web", CALLER).allowed, !row->is_all);
		assert_int_equal(ask(&f, "billing", CALLER).allowed, !row->is_all);
		fixture_done(&f);
	}
}

#define SHOP_WEB "spiffe://prod.example/shop/web"

/* All of shop/ are, but for what the rule says. `web`: the object of that service; NULL: it is not
 * there. */
static bool is_shop_web_let_in(const char *rule, const char *web)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "policy/p@2", rule);
	fixture_tell(&f, "mesh", "policy/shop@1",
		"policies: ( { name = \"shop\"; service = \"billing\"; action = \"allow\"; from = "
		"\"shop/*\"; } );\n");
	fixture_tell(&f, "mesh", "service/billing@3",
		"services: ( { name = \"billing\"; identity = \"shop/billing\"; } );\n");
	if (web)
		fixture_tell(&f, "mesh", "service/web@5", web);
	fixture_parse_good(&f, FIXTURE_STORE WORKLOADS, NULL);
	bool is_let_in = ask(&f, "billing", SHOP_WEB).allowed;
	/* who is somebody else for all that is declared is let in all the same */
	assert_true(ask(&f, "billing", "spiffe://prod.example/shop/billing").allowed);
	fixture_done(&f);
	return is_let_in;
}

/* Who is kept out as a service stays out when the object that says who that is has been lost. */
static void test_a_lost_service_lets_nobody_in(void **state)
{
	static const char *const rules[] = {
		POLICY("service = \"billing\"; action = \"deny\"; from = \"web\";"),
		POLICY("service = \"billing\"; action = \"deny\"; from = [ \"far/x\", \"web\" ]; "
		       "methods = \"GET\";"),
	};
	static const char web[] = "services: ( { name = \"web\"; identity = \"shop/web\"; } );\n";
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		assert_false(is_shop_web_let_in(rules[i], web));
		assert_false(is_shop_web_let_in(rules[i], NULL));
		assert_true(is_shop_web_let_in(rules[i], "services: ( { name = \"web\"; } );\n"));
	}
}

/* And as one whom a rule that allows leaves out. */
static void test_a_lost_service_stays_left_out(void **state)
{
	static const char rule[] = POLICY(
		"service = \"orders\"; action = \"allow\"; from = \"shop/*\"; not_from = \"web\";");
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "policy/p@2", rule);
	fixture_tell(&f, "mesh", "service/billing@3",
		"services: ( { name = \"billing\"; identity = \"shop/billing\"; } );\n");
	fixture_tell(&f, "mesh", "service/orders@4", ORDERS);
	fixture_parse_good(&f, FIXTURE_STORE, NULL);
	assert_false(ask(&f, "orders", SHOP_WEB).allowed);
	assert_true(ask(&f, "orders", "spiffe://prod.example/shop/billing").allowed);
	fixture_done(&f);
}

/* What is said of one that can be read is no fault. */
static void test_a_policy_that_can_be_read_closes_nothing(void **state)
{
	struct fixture f;
	read_with(&f, POLICY("service = \"orders\"; action = \"allow\"; from = \"later\";"));
	expect_report(&f, "policy/p@7: warning: from: there is no service \"later\" in the mesh\n");
	assert_true(ask(&f, "orders", CALLER).allowed);
	assert_int_equal(ask(&f, "orders", CALLER).policy->fault.len, 0);
	assert_true(str_eq(service_named(&f, "orders")->policies[1]->where, STR("policy/p@7")));
	fixture_done(&f);
}

#define LEFT(object, follows) object ": warning: cannot be read, so it is left out" follows ": "

/* The first of them decides nothing about the others: what closes something is taken with them. */
static void test_objects_that_cannot_be_read_are_left_out(void **state)
{
	static const struct {
		const char *key, *text, *report;
	} rows[] = {
		{"limit/l@9", "limits: ( { name = \"l\"; service = \"orders\"; newer = 1; } );\n",
			LEFT("limit/l@9", ", AND NOTHING IS LIMITED BY IT") "newer: unknown key"},
		{"route/orders@9", "routes: ( { service = \"orders\"; newer = 1; } );\n",
			LEFT("route/orders@9", ", and calls go as if there were none") "newer"},
		{"rollout/orders@9", "rollouts: ( { service = \"orders\"; newer = 1; } );\n",
			LEFT("rollout/orders@9",
				", and no calls are led to the new version by it") "newer"},
		{"external/e@9", "externals: ( { name = \"e\"; port = 443; newer = 1; } );\n",
			LEFT("external/e@9", ", and nothing is let out by it") "newer"},
		{"issuer/i@9", "issuers: ( { name = \"i\"; newer = 1; } );\n",
			LEFT("issuer/i@9", ", and no token of it is good") "newer: unknown key"},
		{"gate/g@9", "gates: ( { name = \"g\"; } );\n",
			LEFT("gate/g@9", "") "gates: unknown key"},
		{"limit/l@9", "limits: (", LEFT("limit/l@9", ", AND NOTHING IS LIMITED BY IT")},
		/* wrong only beside others */
		{"limit/l@9",
			"limits: ( { name = \"l\"; service = \"orders\"; amount = 5; unit = "
			"\"second\"; burst = 0; } );\n",
			LEFT("limit/l@9", ", AND NOTHING IS LIMITED BY IT")},
		{"external/e@9", "externals: ( { name = \"e\"; port = 443; } );\n",
			LEFT("external/e@9", ", and nothing is let out by it") "neither hosts nor "
									       "addresses"},
		{"issuer/i@9", "issuers: ( { name = \"I\"; issuer = \"x\"; } );\n",
			LEFT("issuer/i@9", ", and no token of it is good") "name: \"I\""},
		{"service/far@9", "services: ( { name = \"far\"; newer = 1; } );\n",
			"service/far@9: warning: cannot be read, so everything is denied at "
			"\"far\": newer: unknown key"},
		{"service/Far@9", "services: ( { name = \"Far\"; } );\n",
			LEFT("service/Far@9", "") "name: \"Far\" is no service name"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture f;
		fixture_init(&f);
		fixture_tell(&f, "mesh", rows[i].key, rows[i].text);
		fixture_tell(
			&f, "mesh", "policy/p@3", POLICY("service = \"*\"; action = \"deny\";"));
		fixture_tell(&f, "mesh", "service/orders@4", ORDERS);
		fixture_parse_good(&f, FIXTURE_STORE WORKLOADS, NULL);
		if (!f.report.text || !strstr(f.report.text, rows[i].report))
			fail_msg("%s\nbut: %s", rows[i].report, f.report.text);
		assert_int_equal(f.report.error_count, 0);
		struct policy_verdict v = ask(&f, "orders", CALLER);
		assert_false(v.allowed);
		assert_true(str_eq(v.policy->name, STR("p")));
		fixture_done(&f);
	}
}

/* One whose declaration cannot be read, here or beside others, and may yet be run here. */
static void test_a_service_that_cannot_be_read_is_closed(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{"services: ( { name = \"web\"; newer = 1; } );\n", "newer: unknown key"},
		{"services: ( { name = \"web\"; server_first = true; } );\n",
			"server_first: only with protocol \"tcp\""},
		{"services: ( { name = \"web\"; identity = \"shop/orders\"; } );\n",
			"identity: \"shop/orders\" is the identity of \"orders\" already"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture f;
		fixture_init(&f);
		fixture_tell(&f, "mesh", "policy/p@1",
			POLICY("service = \"*\"; action = \"allow\"; from = \"*\";"));
		fixture_tell(&f, "mesh", "service/orders@4",
			"services: ( { name = \"orders\"; port = 8080; identity = \"shop/orders\"; "
			"} "
			");\n");
		fixture_tell(&f, "mesh", "service/web@5", rows[i].text);
		fixture_parse_good(&f, FIXTURE_STORE WORKLOADS, NULL);
		assert_non_null(strstr(f.report.text,
			"service/web@5: warning: cannot be read, so everything is denied at "
			"\"web\": "));
		assert_non_null(strstr(f.report.text, rows[i].why));
		struct policy_verdict v = ask(&f, "web", CALLER);
		assert_false(v.allowed);
		assert_true(str_eq(v.policy->name, STR("service/web")));
		assert_true(v.policy->fault.len > 0);
		assert_true(ask(&f, "orders", CALLER).allowed);
		fixture_done(&f);
	}
}

/* What is wrong in this machine's own file is an error as before. */
static void test_the_own_file_is_not_left_out(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "external/e@9", "externals: ( { name = \"e\"; port = 443; } );\n");
	fixture_parse(&f, FIXTURE_STORE WORKLOADS "redirect: { newer = 1; };\n", NULL);
	assert_int_equal(f.result, -EINVAL);
	assert_non_null(strstr(f.report.text, "redirect.newer: unknown key"));
	fixture_done(&f);
}

#define FIXTURE_OPEN                                                                        \
	"node: { name = \"vm-a\"; address = \"10.77.0.1\"; };\n"                            \
	"mesh: { trust_domain = \"prod.example\"; default_policy = \"authenticated\"; };\n" \
	"state: { redis = \"10.77.0.10:6379\"; operators = \"/etc/ringmain/alice.pub\"; };\n"

/* A mesh that lets in whoever is known does so where it knows of no policy against it; before there
 * is a picture it does not know that there is none. */
static void test_nobody_is_let_in_before_policies_are_known(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse_good(&f, FIXTURE_OPEN WORKLOADS, NULL);
	assert_false(ask(&f, "orders", CALLER).allowed);
	fixture_done(&f);
	fixture_init(&f);
	fixture_tell(&f, "mesh", "service/orders@4", ORDERS);
	fixture_parse_good(&f, FIXTURE_OPEN WORKLOADS, NULL);
	assert_true(ask(&f, "orders", CALLER).allowed);
	/* of web nobody has said anything */
	assert_false(ask(&f, "web", CALLER).allowed);
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
		cmocka_unit_test(test_told_endpoints_by_port),
		cmocka_unit_test(test_an_instance_counts_once),
		cmocka_unit_test(test_policies_of_services_elsewhere),
		cmocka_unit_test(test_a_rule_is_once_for_a_service),
		cmocka_unit_test(test_a_policy_that_cannot_be_read_closes_its_services),
		cmocka_unit_test(test_a_policy_that_can_be_read_closes_nothing),
		cmocka_unit_test(test_a_lost_service_lets_nobody_in),
		cmocka_unit_test(test_a_lost_service_stays_left_out),
		cmocka_unit_test(test_objects_that_cannot_be_read_are_left_out),
		cmocka_unit_test(test_a_service_that_cannot_be_read_is_closed),
		cmocka_unit_test(test_the_own_file_is_not_left_out),
		cmocka_unit_test(test_nobody_is_let_in_before_policies_are_known),
		cmocka_unit_test(test_a_workload_of_no_possible_service),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
