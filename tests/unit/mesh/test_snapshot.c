/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct mesh {
	struct service services[2];
	struct endpoint orders[2], db[1];
	struct address own[2]; /* of db */
	struct workload workloads[2];
	struct address local[1];
	struct address_range passthrough[1];
	struct snapshot s;
};

static struct address mesh_address(const char *ip, uint16_t port)
{
	struct address a;
	assert_true(address_parse(str_of(ip), &a));
	a.port = port;
	return a;
}

/* This machine is 10.0.0.1 and runs orders on 8080; web calls only. */
static void mesh_init(struct mesh *m)
{
	*m = (struct mesh){0};
	struct service *orders = &m->services[0], *db = &m->services[1];
	*orders = (struct service){
		.name = STR("orders"), .endpoints = m->orders, .endpoint_count = 2};
	*db = (struct service){.index = 1,
		.name = STR("db"),
		.endpoints = m->db,
		.endpoint_count = 1,
		.addresses = m->own,
		.address_count = 2};
	m->workloads[0] = (struct workload){.service = orders, .port = 8080, .mark = 3};
	m->workloads[1] = (struct workload){.index = 1, .service = db, .mark = 1};
	m->orders[0] = (struct endpoint){.service = orders,
		.address = mesh_address("10.0.0.1", 8080),
		.local = &m->workloads[0]};
	m->orders[1] =
		(struct endpoint){.service = orders, .address = mesh_address("10.0.0.2", 8080)};
	m->db[0] = (struct endpoint){.service = db, .address = mesh_address("10.0.0.2", 5432)};
	m->own[0] = mesh_address("10.96.0.5", 5432);
	m->own[1] = mesh_address("fd00::96:5", 5432);
	m->local[0] = mesh_address("10.0.0.1", 0);
	assert_true(address_range_parse(STR("192.0.2.0/24"), &m->passthrough[0]));
	m->s = (struct snapshot){.trust_domain = STR("prod.example"),
		.services = m->services,
		.service_count = 2,
		.workloads = m->workloads,
		.workload_count = 2,
		.local_addresses = m->local,
		.local_address_count = 1,
		.passthrough = m->passthrough,
		.passthrough_count = 1};
	arena_init(&m->s.arena, 4096);
	for (size_t i = 0; i < 2; i++) {
		assert_true(snapshot_add_service(&m->s, &m->services[i]));
		assert_true(snapshot_add_endpoint(&m->s, &m->orders[i]));
		assert_true(snapshot_add_address(&m->s, db, &m->own[i]));
	}
	assert_true(snapshot_add_endpoint(&m->s, &m->db[0]));
	assert_true(snapshot_index_workloads(&m->s));
}

static void test_snapshot_lookups(void **state)
{
	struct mesh m;
	mesh_init(&m);
	struct address a = mesh_address("10.0.0.2", 5432);
	assert_ptr_equal(snapshot_service(&m.s, STR("db")), &m.services[1]);
	assert_null(snapshot_service(&m.s, STR("d")));
	assert_null(snapshot_service(&m.s, STR_NONE));
	assert_ptr_equal(snapshot_endpoint(&m.s, &a), &m.db[0]);
	a.port = 5433;
	assert_null(snapshot_endpoint(&m.s, &a));
	a.port = 8080;
	assert_ptr_equal(snapshot_endpoint(&m.s, &a), &m.orders[1]);
	assert_ptr_equal(snapshot_service_by_address(&m.s, &m.own[0]), &m.services[1]);
	assert_ptr_equal(snapshot_service_by_address(&m.s, &m.own[1]), &m.services[1]);
	assert_null(snapshot_service_by_address(&m.s, &a));
	assert_ptr_equal(snapshot_workload_by_mark(&m.s, 3), &m.workloads[0]);
	assert_ptr_equal(snapshot_workload_by_mark(&m.s, 1), &m.workloads[1]);
	assert_null(snapshot_workload_by_mark(&m.s, 0));
	assert_null(snapshot_workload_by_mark(&m.s, 2));
	assert_null(snapshot_workload_by_mark(&m.s, 4));
	assert_null(snapshot_workload_by_mark(&m.s, UINT32_MAX));
	assert_null(snapshot_workload_by_port(&m.s, 0));
	snapshot_done(&m.s);
}

/* The first id is whose it is; others besides are what its servers may be. */
static void test_snapshot_ids(void **state)
{
	struct mesh m;
	mesh_init(&m);
	struct str ids[] = {STR("spiffe://prod.example/shop/db"),
		STR("spiffe://prod.example/service/db-old"),
		STR("spiffe://prod.example/service/orders")};
	m.services[0].ids = &ids[2];
	m.services[0].id_count = 1;
	m.services[1].ids = ids;
	m.services[1].id_count = 2;
	assert_true(snapshot_add_service_id(&m.s, &m.services[0]));
	assert_true(snapshot_add_service_id(&m.s, &m.services[1]));
	assert_ptr_equal(snapshot_service_by_id(&m.s, ids[0]), &m.services[1]);
	assert_ptr_equal(snapshot_service_by_id(&m.s, ids[2]), &m.services[0]);
	assert_null(snapshot_service_by_id(&m.s, ids[1]));
	assert_null(snapshot_service_by_id(&m.s, STR("spiffe://prod.example/shop/d")));
	assert_null(snapshot_service_by_id(&m.s, STR_NONE));
	assert_true(service_has_id(&m.services[1], ids[1]));
	assert_false(service_has_id(&m.services[1], ids[2]));
	assert_false(service_has_id(&m.services[1], STR_NONE));
	snapshot_done(&m.s);
}

static void test_snapshot_refused(void **state)
{
	struct mesh m;
	mesh_init(&m);
	struct str name = STR("8080.orders.prod.example");
	assert_ptr_equal(snapshot_workload_by_server_name(&m.s, name), &m.workloads[0]);
	m.workloads[0].is_refused = true;
	assert_null(snapshot_workload_by_server_name(&m.s, name));
	snapshot_done(&m.s);
}

static void test_snapshot_destination(void **state)
{
	static const struct {
		const char *ip;
		uint16_t port;
		enum destination_kind kind;
		const char *service;
		bool has_endpoint;
	} rows[] = {
		{"10.0.0.1", 8080, DESTINATION_LOCAL, "orders", true},
		{"127.0.0.1", 8080, DESTINATION_LOCAL, "orders", false},
		{"127.9.9.9", 8080, DESTINATION_LOCAL, "orders", false},
		{"::1", 8080, DESTINATION_LOCAL, "orders", false},
		{"::ffff:10.0.0.1", 8080, DESTINATION_LOCAL, "orders", true},
		{"10.0.0.2", 8080, DESTINATION_REMOTE, "orders", true},
		{"10.0.0.2", 5432, DESTINATION_REMOTE, "db", true},
		{"10.0.0.3", 8080, DESTINATION_UNKNOWN, NULL, false},
		{"10.0.0.1", 8081, DESTINATION_UNKNOWN, NULL, false},
		{"10.0.0.1", 0, DESTINATION_UNKNOWN, NULL, false},
		{"fd00::1", 8080, DESTINATION_UNKNOWN, NULL, false},
		{"10.96.0.5", 5432, DESTINATION_SERVICE, "db", false},
		{"fd00::96:5", 5432, DESTINATION_SERVICE, "db", false},
		{"10.96.0.5", 5433, DESTINATION_UNKNOWN, NULL, false},
		{"10.96.0.5", 0, DESTINATION_UNKNOWN, NULL, false},
	};
	struct mesh m;
	mesh_init(&m);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct address a = mesh_address(rows[i].ip, rows[i].port);
		struct destination d = snapshot_destination(&m.s, &a);
		assert_int_equal(d.kind, rows[i].kind);
		assert_true(!d.service == !rows[i].service);
		assert_true(!d.service || str_eq(d.service->name, str_of(rows[i].service)));
		assert_int_equal(d.workload != NULL, rows[i].kind == DESTINATION_LOCAL);
		assert_int_equal(d.endpoint != NULL, rows[i].has_endpoint);
	}
	snapshot_done(&m.s);
}

static void test_snapshot_addresses(void **state)
{
	struct mesh m;
	mesh_init(&m);
	struct address here = mesh_address("10.0.0.1", 99), there = mesh_address("10.0.0.2", 0),
		       out = mesh_address("192.0.2.7", 443);
	assert_true(snapshot_is_local(&m.s, &here));
	assert_false(snapshot_is_local(&m.s, &there));
	assert_true(snapshot_may_pass_through(&m.s, &out));
	assert_false(snapshot_may_pass_through(&m.s, &there));
	snapshot_done(&m.s);
}

static void test_snapshot_server_names(void **state)
{
	static const struct {
		const char *name;
		bool is_found;
	} rows[] = {
		{"8080.orders.prod.example", true},
		{"8080.Orders.PROD.example", true},
		{"08080.orders.prod.example", false},
		{"8080.orders.prod.example.", false},
		{"8080.orders.prod.exampl", false},
		{"8080.orders.prod.examplee", false},
		{"8080.orders", false},
		{"8080.*.prod.example", false},
		{"8080.db.prod.example", false}, /* another service has the port */
		{"5432.db.prod.example", false}, /* not of this machine */
		{"0.db.prod.example", false},	 /* a workload without port */
		{"73616.orders.prod.example", false},
		{"99999999999999999999999.orders.prod.example", false},
		{"+8080.orders.prod.example", false},
		{".orders.prod.example", false},
		{"orders.prod.example", false},
		{"8080", false},
		{"", false},
	};
	struct mesh m;
	mesh_init(&m);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct workload *w =
			snapshot_workload_by_server_name(&m.s, str_of(rows[i].name));
		if ((w == &m.workloads[0]) != rows[i].is_found || (w && !rows[i].is_found))
			fail_msg("%s", rows[i].name);
	}
	char text[SERVER_NAME_MAX], domain[251];
	assert_int_equal(server_name_write(&m.s, &m.services[1], 5432, text), 20);
	assert_string_equal(text, "5432.db.prod.example");
	memset(domain, 'a', sizeof(domain));
	m.s.trust_domain = (struct str){domain, 250};
	assert_int_equal(server_name_write(&m.s, &m.services[1], 80, text), 0);
	m.s.trust_domain = (struct str){domain, 249};
	assert_int_equal(server_name_write(&m.s, &m.services[1], 80, text), 255);
	snapshot_done(&m.s);
}

static void test_snapshot_names(void **state)
{
	assert_string_equal(protocol_name(PROTOCOL_DETECT), "detect");
	assert_string_equal(protocol_name(PROTOCOL_HTTP), "http");
	assert_string_equal(protocol_name(PROTOCOL_TCP), "tcp");
	assert_string_equal(mtls_mode_name(MTLS_STRICT), "strict");
	assert_string_equal(mtls_mode_name(MTLS_PERMISSIVE), "permissive");
	assert_string_equal(mtls_mode_name(MTLS_DISABLED), "disabled");
}

static void test_snapshot_mtls(void **state)
{
	static const struct mtls_port ports[] = {{9100, MTLS_DISABLED}, {9200, MTLS_STRICT}};
	struct service service = {.mtls = MTLS_STRICT};
	assert_true(service_is_mtls(&service, MTLS_STRICT));
	assert_false(service_is_mtls(&service, MTLS_DISABLED));
	assert_int_equal(service_mtls(&service, 9100), MTLS_STRICT);
	service.mtls_ports = ports;
	service.mtls_port_count = 2;
	assert_int_equal(service_mtls(&service, 9100), MTLS_DISABLED);
	assert_int_equal(service_mtls(&service, 9200), MTLS_STRICT);
	assert_int_equal(service_mtls(&service, 8080), MTLS_STRICT);
	assert_int_equal(service_mtls(&service, 0), MTLS_STRICT);
	assert_false(service_is_mtls(&service, MTLS_STRICT));
	service.mtls = MTLS_PERMISSIVE;
	assert_int_equal(service_mtls(&service, 9200), MTLS_STRICT);
	assert_int_equal(service_mtls(&service, 0), MTLS_PERMISSIVE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_snapshot_lookups),
		cmocka_unit_test(test_snapshot_ids),
		cmocka_unit_test(test_snapshot_refused),
		cmocka_unit_test(test_snapshot_destination),
		cmocka_unit_test(test_snapshot_addresses),
		cmocka_unit_test(test_snapshot_server_names),
		cmocka_unit_test(test_snapshot_names),
		cmocka_unit_test(test_snapshot_mtls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
