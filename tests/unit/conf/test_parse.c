/* SPDX-License-Identifier: Apache-2.0 */
/* Good files: defaults, every kind of value, and the snapshot that comes of it. */
#include "conf_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define assert_str_equal(s, literal)                                                    \
	do {                                                                            \
		struct str checked_ = (s);                                              \
		if (!str_eq(checked_, STR(literal)))                                    \
			fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(checked_), literal); \
	} while (0)

#define WORKLOADS                                                                       \
	"workloads: (\n"                                                                \
	"  { service = \"orders\"; version = \"v1\"; user = \"orders\"; port = 8080;\n" \
	"    connections_max = 50; },\n"                                                \
	"  { service = \"web\"; user = \"web\"; } );\n"
#define MESH                                                                                    \
	"services: (\n"                                                                         \
	"  { name = \"orders\"; port = 8080; protocol = \"http\"; mtls = \"permissive\";\n"     \
	"    identities = [ \"orders-old\", \"spiffe://other.example/orders\" ];\n"             \
	"    endpoints = ( { address = [ \"10.77.0.1\", \"fd00::1\" ]; version = \"v1\"; },\n"  \
	"                  { address = \"10.77.0.2\"; port = 9090; } ); },\n"                   \
	"  { name = \"web\"; },\n"                                                              \
	"  { name = \"db\"; port = 5432; protocol = \"tcp\"; server_first = true;\n"            \
	"    endpoints = ( { address = \"10.77.0.3\"; } ); } );\n"                              \
	"policies: (\n"                                                                         \
	"  { name = \"web-reads\"; service = \"orders\"; action = \"allow\"; from = [ \"web\" " \
	"];\n"                                                                                  \
	"    methods = [ \"GET\" ]; paths = [ \"/api/*\" ]; },\n"                               \
	"  { service = [ \"orders\", \"db\" ]; action = \"deny\"; from = \"anonymous\"; } );\n"

static void test_parse_defaults(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse_good(&f, FIXTURE_NODE, NULL);
	const struct conf *c = f.conf;
	assert_null(f.report.text);
	assert_str_equal(c->node_name, "vm-a");
	assert_int_equal(c->node_address_count, 1);
	assert_str_equal(c->user, "ringmain");
	assert_int_equal(c->uid, 990);
	assert_true(c->worker_count >= 1);
	assert_str_equal(c->admin_socket, "/run/ringmain/admin.sock");
	assert_int_equal(c->admin_tcp.family, 0);
	assert_str_equal(c->run_dir, "/run/ringmain");
	assert_str_equal(c->access_log, "stderr");
	assert_false(c->default_allow);
	assert_int_equal(c->outbound_port, 15201);
	assert_int_equal(c->inbound_port, 15101);
	assert_int_equal(c->port_range, 16);
	assert_int_equal(c->mesh_port, 15008);
	assert_int_equal(c->mark_mask, 0x00ff0000);
	assert_int_equal(c->drift, CONF_DRIFT_MEND);
	assert_int_equal(c->buffer_bytes, 20 << 10);
	assert_int_equal(c->buffers_bytes_max, 256 << 20);
	assert_int_equal(c->head_bytes_max, 16 << 10);
	assert_int_equal(c->connect_timeout_ms, 5000);
	assert_int_equal(c->idle_timeout_ms, 3600 * 1000);
	assert_int_equal(c->request_timeout_ms, 0);
	assert_int_equal(f.snapshot->generation, 7);
	fixture_done(&f);
}

static void test_parse_snapshot(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_add(&f, "mark", "1001", "18");
	fixture_add(&f, "mark", "1002", "19");
	fixture_parse_good(&f, FIXTURE_NODE WORKLOADS, MESH);
	const struct snapshot *s = f.snapshot;
	const struct service *orders = snapshot_service(s, STR("orders"));
	assert_non_null(orders);
	assert_str_equal(orders->identity, "service/orders");
	assert_int_equal(orders->id_count, 3);
	assert_str_equal(orders->ids[0], "spiffe://prod.example/service/orders");
	assert_str_equal(orders->ids[1], "spiffe://prod.example/service/orders-old");
	assert_str_equal(orders->ids[2], "spiffe://other.example/orders");
	assert_int_equal(orders->protocol, PROTOCOL_HTTP);
	assert_int_equal(orders->mtls, MTLS_PERMISSIVE);
	assert_int_equal(orders->endpoint_count, 3);
	assert_int_equal(orders->endpoints[2].address.port, 9090);
	assert_int_equal(orders->policy_count, 2);
	assert_str_equal(orders->policies[0]->name, "web-reads");
	assert_str_equal(orders->policies[1]->name, "policies[1]");
	assert_true(snapshot_service(s, STR("db"))->server_first);
	assert_int_equal(snapshot_service(s, STR("db"))->policy_count, 1);
	const struct workload *w = snapshot_workload_by_mark(s, 18);
	assert_ptr_equal(w->service, orders);
	assert_int_equal(w->protocol, PROTOCOL_HTTP);
	assert_int_equal(w->deliver.port, 8080);
	assert_int_equal(w->connections_max, 50);
	assert_ptr_equal(orders->endpoints[0].local, w);
	assert_null(orders->endpoints[1].local);
	assert_str_equal(snapshot_workload_by_mark(s, 19)->service->name, "web");
	assert_null(snapshot_workload_by_mark(s, 0));
	assert_null(snapshot_workload_by_mark(s, 20));
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_defaults),
		cmocka_unit_test(test_parse_snapshot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
