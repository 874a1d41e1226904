/* SPDX-License-Identifier: Apache-2.0 */
/* Good files: defaults, every kind of value, and the snapshot that comes of it. */
#include "conf_fixture.h"
#include "mesh/policy.h"

#include <errno.h>
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
#define MESH                                                                                     \
	"services: (\n"                                                                          \
	"  { name = \"orders\"; port = 8080; protocol = \"http\"; mtls = \"permissive\";\n"      \
	"    mtls_ports = ( { port = 9100; mtls = \"disabled\"; } );\n"                          \
	"    identities = [ \"orders-old\", \"spiffe://other.example/orders\" ];\n"              \
	"    endpoints = ( { addresses = [ \"10.77.0.1\", \"fd00::1\" ]; version = \"v1\"; },\n" \
	"                  { address = \"10.77.0.2\"; port = 9090; } ); },\n"                    \
	"  { name = \"web\"; },\n"                                                               \
	"  { name = \"db\"; port = 5432; protocol = \"tcp\"; server_first = true;\n"             \
	"    endpoints = ( { address = \"10.77.0.3\"; } ); } );\n"                               \
	"policies: (\n"                                                                          \
	"  { name = \"web-reads\"; service = \"orders\"; action = \"allow\"; from = [ \"web\" "  \
	"];\n"                                                                                   \
	"    methods = [ \"GET\" ]; paths = [ \"/api/*\" ]; },\n"                                \
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
	assert_int_equal(service_mtls(orders, 8080), MTLS_PERMISSIVE);
	assert_int_equal(service_mtls(orders, 9100), MTLS_DISABLED);
	assert_int_equal(orders->endpoint_count, 3);
	assert_int_equal(orders->endpoints[2].address.port, 9090);
	assert_int_equal(orders->policy_count, 2);
	assert_str_equal(orders->policies[0]->name, "web-reads");
	assert_str_equal(orders->policies[0]->where, "mesh.conf:11");
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

/* What in the bundle is no number, too large, or somebody else's too, attributes nothing. */
static void test_parse_marks(void **state)
{
	static const char *const rows[][3] = {{"1001", "256", NULL}, {"1001", "x", NULL},
		{"1001", "", NULL}, {"1001", "0", NULL}, {"1001", "-1", NULL}, {"7", "18", NULL},
		{"1001", "18", "18"}, {"1001", "18", "19"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture f;
		fixture_init(&f);
		fixture_add(&f, "mark", rows[i][0], rows[i][1]);
		if (rows[i][2])
			fixture_add(&f, "mark", "1002", rows[i][2]);
		fixture_parse_good(&f, FIXTURE_NODE WORKLOADS, MESH);
		bool is_good = i == ARRAY_LEN(rows) - 1;
		assert_int_equal(snapshot_workload_by_mark(f.snapshot, 18) != NULL, is_good);
		assert_int_equal(snapshot_workload_by_mark(f.snapshot, 19) != NULL, is_good);
		fixture_done(&f);
	}
}

/* Nor do three of one number: the third has no better claim to it than the second. */
static void test_parse_marks_of_several(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_add(&f, "user", "db", "1003");
	fixture_add(&f, "user", "other", "1004");
	fixture_add(&f, "mark", "1001", "18");
	fixture_add(&f, "mark", "1002", "18");
	fixture_add(&f, "mark", "1003", "18");
	fixture_add(&f, "mark", "1004", "19");
	fixture_parse_good(&f,
		FIXTURE_NODE
		"workloads: ( { service = \"orders\"; user = \"orders\"; port = 8080; },\n"
		"  { service = \"web\"; user = \"web\"; }, { service = \"db\"; user = \"db\"; },\n"
		"  { service = \"web\"; user = \"other\"; } );\n",
		MESH);
	assert_null(snapshot_workload_by_mark(f.snapshot, 18));
	assert_ptr_equal(snapshot_workload_by_mark(f.snapshot, 19), &f.snapshot->workloads[3]);
	fixture_done(&f);
}

/* An address of the machine that the node file does not name is local too. */
static void test_parse_local_addresses(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_add(&f, "address", "fe80::1", "");
	fixture_add(&f, "address", "nonsense", "");
	fixture_parse_good(&f, FIXTURE_NODE WORKLOADS, MESH);
	static const char *const local[] = {
		"10.77.0.1", "10.77.0.9", "fe80::1", "127.0.0.1", "::1"};
	for (size_t i = 0; i < ARRAY_LEN(local); i++) {
		struct address a;
		assert_true(address_parse(str_of(local[i]), &a));
		a.port = 8080;
		assert_int_equal(snapshot_destination(f.snapshot, &a).kind, DESTINATION_LOCAL);
	}
	assert_int_equal(f.snapshot->local_address_count, 3);
	fixture_done(&f);
}

static void test_parse_values(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse_good(&f,
		"node: { name = \"a\"; addresses = [ \"10.77.0.1\", \"fd00::1\" ]; user = "
		"\"1234\";\n"
		"  workers = 3; admin_tcp = \"[::1]:15000\"; };\n"
		"mesh: { trust_domain = \"a\"; default_policy = \"authenticated\"; };\n"
		"redirect: { mark_mask = 0xff000000; drift = \"report\"; exclude = "
		"\"10.0.0.0/8\";\n"
		"  passthrough = ( \"192.0.2.1\", \"2001:db8::/32\" ); };\n"
		"limits: { buffer_bytes = \"64K\"; buffers_bytes_max = 5000000000L; };\n"
		"timeouts: { connect = \"200ms\"; idle = \"2h\"; stream_idle = \"10m\"; drain = "
		"\"0s\"; };\n"
		"workloads: ( { service = \"web\"; user = \"web\"; port = 80; protocol = \"tcp\";\n"
		"  deliver = \"127.0.0.2:8080\"; }, { service = \"web\"; user = \"77\"; port = "
		"81;\n"
		"  deliver = \"::1\"; } );\n",
		"services: ( { name = \"web\"; protocol = \"http\"; } );\n");
	const struct conf *c = f.conf;
	assert_int_equal(c->node_address_count, 2);
	assert_int_equal(c->uid, 1234);
	assert_int_equal(c->worker_count, 3);
	assert_int_equal(c->admin_tcp.family, AF_INET6);
	assert_int_equal(c->admin_tcp.port, 15000);
	assert_true(c->default_allow && f.snapshot->default_allow);
	assert_int_equal(c->mark_mask, 0xff000000);
	assert_int_equal(c->drift, CONF_DRIFT_REPORT);
	assert_int_equal(c->excluded_count, 1);
	assert_int_equal(c->excluded[0].prefix_len, 8);
	assert_int_equal(c->passthrough_count, 2);
	assert_int_equal(c->passthrough[0].prefix_len, 32);
	assert_int_equal(f.snapshot->passthrough_count, 2);
	assert_int_equal(c->buffer_bytes, 65536);
	assert_true(c->buffers_bytes_max == 5000000000);
	assert_int_equal(c->connect_timeout_ms, 200);
	assert_int_equal(c->idle_timeout_ms, 7200000);
	assert_int_equal(c->stream_idle_timeout_ms, 600000);
	assert_int_equal(c->drain_timeout_ms, 0);
	assert_int_equal(c->workloads[0].protocol, PROTOCOL_TCP);
	assert_int_equal(c->workloads[0].deliver.port, 8080);
	assert_int_equal(c->workloads[1].protocol, PROTOCOL_HTTP);
	assert_int_equal(c->workloads[1].uid, 77);
	assert_int_equal(c->workloads[1].deliver.port, 81);
	assert_int_equal(c->workloads[1].deliver.family, AF_INET6);
	assert_int_equal(c->workloads[1].line, 9);
	fixture_done(&f);
}

static void assert_outlier(const struct service *service, const struct outlier_rules *want)
{
	assert_non_null(service);
	assert_memory_equal(&service->outlier, want, sizeof(*want));
}

/* How calls are shared out: what is given, and the defaults. */
static void test_parse_balance(void **state)
{
	static const struct outlier_rules given = {7, 0, 95, 20, 1500, 60000, 30};
	static const struct outlier_rules usual = {5, 5, 0, 100, 30000, 300000, 50};
	struct fixture f;
	fixture_init(&f);
	fixture_parse_good(&f, FIXTURE_NODE,
		"services: ( { name = \"a\"; balance = \"peak_ewma\"; slow_start = \"30s\"; "
		"breaker = { connections = 1; pending = 2; requests = 3; retries = 4; }; "
		"retry_budget = { percent = 5; per_second = 6; }; "
		"outlier = { errors = 7; "
		"connect_errors = 0; success_percent = 95; success_calls = 20; ejection = "
		"\"1500ms\"; ejection_max = \"1m\"; ejected_percent = 30; }; }, { name = \"b\"; "
		"} );\n");
	const struct service *a = snapshot_service(f.snapshot, STR("a"));
	const struct service *b = snapshot_service(f.snapshot, STR("b"));
	assert_outlier(a, &given);
	assert_outlier(b, &usual);
	assert_int_equal(a->balance, BALANCE_PEAK_EWMA);
	assert_int_equal(b->balance, BALANCE_LEAST_REQUEST);
	assert_int_equal(a->slow_start_ms, 30000);
	assert_int_equal(b->slow_start_ms, 0);
	for (uint32_t i = 0; i < BREAKER_LIMITS; i++) {
		assert_int_equal(a->breaker[i], i + 1);
		assert_int_equal(b->breaker[i], 0);
	}
	assert_int_equal(a->retry_budget.percent, 5);
	assert_int_equal(a->retry_budget.per_second, 6);
	assert_int_equal(b->retry_budget.percent, 20);
	assert_int_equal(b->retry_budget.per_second, 3);
	fixture_done(&f);
	fixture_init(&f);
	fixture_parse(&f, FIXTURE_NODE,
		"services: ( { name = \"a\"; outlier = { ejection_max = \"20s\"; }; } );\n");
	assert_int_equal(f.result, -EINVAL);
	assert_non_null(strstr(f.report.text,
		"mesh.conf:1: services[0].outlier.ejection_max: less than the first ejection"));
	fixture_done(&f);
}

static void test_parse_balance_by(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse_good(&f, FIXTURE_NODE,
		"services: ( { name = \"a\"; balance = \"ring_hash\"; balance_by = \"source\"; "
		"panic = 30; }, "
		"{ name = \"b\"; balance = \"maglev\"; balance_by = \"client\"; protocol = "
		"\"tcp\"; }, "
		"{ name = \"c\"; balance = \"maglev\"; balance_by = \"header:X-User\"; zones = "
		"\"strict\"; }, "
		"{ name = \"d\"; balance = \"maglev\"; balance_by = \"cookie:session\"; }, "
		"{ name = \"e\"; balance = \"maglev\"; balance_by = \"query:q\"; }, "
		"{ name = \"f\"; zones = \"prefer\"; zone_calls = 9; } );\n");
	static const enum balance_by_kind kinds[] = {BALANCE_BY_SOURCE, BALANCE_BY_CLIENT,
		BALANCE_BY_HEADER, BALANCE_BY_COOKIE, BALANCE_BY_QUERY, BALANCE_BY_NONE};
	static const char *const names[] = {"", "", "X-User", "session", "q", ""};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct service *s =
			snapshot_service(f.snapshot, (struct str){&"abcdef"[i], 1});
		assert_int_equal(s->balance_by.kind, kinds[i]);
		assert_true(str_eq(s->balance_by.name, str_of(names[i])));
		assert_int_equal(s->zones, i == 2   ? ZONE_STRICT
					   : i == 5 ? ZONE_PREFER
						    : ZONE_IGNORE);
		assert_int_equal(s->zone_calls, i == 5 ? 9 : 32);
		assert_int_equal(s->panic_percent, i == 0 ? 30 : 0);
	}
	fixture_done(&f);
}

/* One bad thing each, and where it says so. */
static void test_parse_balance_by_errors(void **state)
{
	static const struct {
		const char *keys, *says;
	} rows[] = {
		{"balance = \"maglev\";", "balance_by: missing: by which value"},
		{"balance_by = \"source\";", "balance_by: only with balance \"ring_hash\""},
		{"balance = \"maglev\"; balance_by = \"header:\";", "\"header:\" is none of"},
		{"balance = \"maglev\"; balance_by = \"sources\";", "\"sources\" is none of"},
		{"balance = \"maglev\"; balance_by = \"cookie:a b\";", "is none of"},
		{"balance = \"ring_hash\"; balance_by = \"path\";", "\"path\" is none of"},
		{"protocol = \"tcp\"; balance = \"maglev\"; balance_by = \"query:q\";",
			"opaque bytes have no header"},
		{"balance = \"maglev\"; balance_by = \"source\"; zones = \"prefer\";",
			"\"prefer\" has no part in a balance by value"},
		{"balance = \"maglev\"; balance_by = \"source\"; slow_start = \"1s\";",
			"slow_start: has no part in a balance by value"},
		{"zone_calls = 0;", "zone_calls"},
		{"panic = 101;", "panic"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[256];
		struct fixture f;
		fixture_init(&f);
		snprintf(text, sizeof(text), "services: ( { name = \"a\"; %s } );\n", rows[i].keys);
		fixture_parse(&f, FIXTURE_NODE, text);
		assert_int_equal(f.result, -EINVAL);
		if (!strstr(f.report.text, rows[i].says))
			fail_msg("%s: %s", rows[i].keys, f.report.text);
		fixture_done(&f);
	}
}

/* Who is near: by the endpoint's zone, and without one by being here. */
static void test_parse_zones(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse_good(&f,
		"node: { name = \"vm-a\"; address = \"10.0.0.1\"; zone = \"eu\"; };\n"
		"mesh: { trust_domain = \"prod.example\"; };\n"
		"workloads: ( { service = \"a\"; user = \"1001\"; port = 80; } );\n",
		"services: ( { name = \"a\"; port = 80; zones = \"prefer\"; endpoints = ( "
		"{ address = \"10.0.0.1\"; }, { address = \"10.0.0.2\"; zone = \"us\"; }, "
		"{ address = [\"10.0.0.3\", \"fd00::3\"]; zone = \"eu\"; weight = 50; }, "
		"{ address = \"10.0.0.4\"; } ); }, "
		"{ name = \"b\"; port = 80; zones = \"prefer\"; endpoints = ( "
		"{ address = \"10.0.1.1\"; zone = \"us\"; } ); }, "
		"{ name = \"c\"; port = 80; zones = \"strict\"; endpoints = ( "
		"{ address = \"10.0.2.1\"; zone = \"us\"; } ); } );\n");
	const struct service *a = snapshot_service(f.snapshot, STR("a"));
	const struct service *b = snapshot_service(f.snapshot, STR("b"));
	const struct service *c = snapshot_service(f.snapshot, STR("c"));
	const struct zone_part *near = &a->parts.near, *far = &a->parts.far;
	assert_int_equal(near->endpoint_count, 3);
	assert_ptr_equal(near->endpoints[0], &a->endpoints[0]);
	assert_ptr_equal(near->endpoints[2], &a->endpoints[3]);
	assert_int_equal(near->up_sums[2], 150);
	assert_int_equal(far->endpoint_count, 2);
	assert_int_equal(far->up_sums[1], 200);
	/* nothing to prefer */
	assert_int_equal(b->parts.near.endpoint_count + b->parts.far.endpoint_count, 0);
	/* and nothing that it may use */
	assert_int_equal(c->parts.near.endpoint_count, 0);
	/* of one instance by all its addresses */
	assert_true(a->endpoints[2].key == a->endpoints[3].key);
	assert_true(a->endpoints[2].key != a->endpoints[1].key);
	fixture_done(&f);
}

static void test_parse_no_node(void **state)
{
	struct fixture f;
	fixture_init(&f);
	assert_int_equal(conf_parse(&f.bundle, NULL, 1, &f.conf, &f.snapshot, &f.report), -EINVAL);
	assert_string_equal(f.report.text, "there is no node configuration\n");
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_defaults),
		cmocka_unit_test(test_parse_snapshot),
		cmocka_unit_test(test_parse_marks),
		cmocka_unit_test(test_parse_marks_of_several),
		cmocka_unit_test(test_parse_local_addresses),
		cmocka_unit_test(test_parse_values),
		cmocka_unit_test(test_parse_balance),
		cmocka_unit_test(test_parse_balance_by),
		cmocka_unit_test(test_parse_balance_by_errors),
		cmocka_unit_test(test_parse_zones),
		cmocka_unit_test(test_parse_no_node),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
