/* SPDX-License-Identifier: Apache-2.0 */
/* What the mesh, the counters and the access log cost, in a small mesh and in a large one. */
#include "mesh/policy.h"
#include "micro.h"
#include "telemetry/access.h"
#include "telemetry/metrics.h"
#include "unit/proxy/large.h"

#include <stdlib.h>

struct mesh {
	struct lab lab;
	char *objects;
	const struct snapshot *snapshot;
	struct address address; /* asked for */
	struct policy_request request;
	struct route_request http;
	const struct service *service;
	bool is_refused;
};

static void *mesh_start(const struct large_size *size)
{
	struct mesh *m = calloc(1, sizeof(*m));
	ASSERT(m);
	m->objects = large_mesh(size);
	lab_start(&m->lab, &(struct lab_options){.machine_count = 2, .objects = m->objects});
	m->snapshot = m->lab.machines[1].plans[0]->snapshot; /* where orders runs */
	m->address = lab_address(LAB_ORDERS);
	m->service = snapshot_service(m->snapshot, STR("orders"));
	ASSERT(m->service);
	m->http = (struct route_request){
		.is_http = true, .method = STR("GET"), .path = STR("/api/orders/1042")};
	m->request = (struct policy_request){
		.source_id = STR("spiffe://prod.example/service/web"), .http = &m->http};
	return m;
}

static void *mesh_start_small(void)
{
	return mesh_start(&(struct large_size){.services = 10, .endpoints = 2, .policies = 10});
}

static void *mesh_start_large(void)
{
	return mesh_start(
		&(struct large_size){.services = 1000, .endpoints = 10, .policies = 1000});
}

/* All policies are about the one service that is called. */
static void *mesh_start_crowded(void)
{
	return mesh_start(&(struct large_size){
		.services = 1000, .endpoints = 1, .policies = 1000, .of_orders = true});
}

static void *mesh_start_rules(uint32_t count)
{
	return mesh_start(&(struct large_size){
		.services = 10, .endpoints = 1, .policies = count, .by_path = true});
}

static void *mesh_start_10(void)
{
	return mesh_start_rules(10);
}

static void *mesh_start_1000(void)
{
	return mesh_start_rules(1000);
}

static void *mesh_start_10000(void)
{
	return mesh_start_rules(10000);
}

/* The longest way through the index: a path of many segments that have to be decoded. */
static void *mesh_start_path(void)
{
	static char path[] = "/api/v1/thing-1/"
			     "%C3%A9/%C3%A9/%C3%A9/%C3%A9/%C3%A9/%C3%A9/%C3%A9/%C3%A9/"
			     "%C3%A9/%C3%A9/%C3%A9/%C3%A9/%C3%A9/%C3%A9/%C3%A9/%C3%A9/";
	struct mesh *m = mesh_start_rules(10000);
	m->http.path = str_of(path);
	return m;
}

static struct mesh *mesh_start_crowd(enum large_crowd crowd, uint32_t count, const char *path)
{
	struct mesh *m = mesh_start(&(struct large_size){
		.services = 10, .endpoints = 1, .policies = count, .crowd = crowd});
	m->http.path = str_of(path);
	return m;
}

static void *mesh_start_templates_10(void)
{
	return mesh_start_crowd(LARGE_TEMPLATES, 10, "/acme/res7");
}

static void *mesh_start_templates_10000(void)
{
	return mesh_start_crowd(LARGE_TEMPLATES, 10000, "/acme/res7");
}

/* A long path is read once, and not for each rule. */
static void *mesh_start_long(uint32_t count)
{
	static char path[30000];
	struct mesh *m = mesh_start_crowd(LARGE_TEMPLATES, count, "/");
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	m->http.path = (struct str){path, sizeof(path)};
	m->is_refused = true;
	return m;
}

static void *mesh_start_long_10(void)
{
	return mesh_start_long(10);
}

static void *mesh_start_long_100(void)
{
	return mesh_start_long(100);
}

/* One that may be divided otherwise is not told apart by its segments. */
static struct mesh *mesh_start_odd(enum large_crowd crowd, uint32_t count)
{
	struct mesh *m = mesh_start_crowd(crowd, count, "/acme/;x/res7");
	m->is_refused = true;
	return m;
}

static void *mesh_start_odd_10(void)
{
	return mesh_start_odd(LARGE_TEMPLATES, 10);
}

static void *mesh_start_odd_10000(void)
{
	return mesh_start_odd(LARGE_TEMPLATES, 10000);
}

static void *mesh_start_odd_denies_10(void)
{
	return mesh_start_odd(LARGE_TEMPLATE_DENIES, 10);
}

static void *mesh_start_odd_denies_10000(void)
{
	return mesh_start_odd(LARGE_TEMPLATE_DENIES, 10000);
}

/* The first of those that keep out all but others is enough. */
static void *mesh_start_odd_guards(uint32_t count)
{
	struct mesh *m = mesh_start_odd(LARGE_GUARDS, count);
	m->request.source_id = STR("spiffe://prod.example/shop/kiosk");
	return m;
}

static void *mesh_start_odd_guards_10(void)
{
	return mesh_start_odd_guards(10);
}

static void *mesh_start_odd_guards_10000(void)
{
	return mesh_start_odd_guards(10000);
}

static void *mesh_start_denies(uint32_t count)
{
	struct mesh *m = mesh_start_crowd(LARGE_DENIES, count, "/api/orders");
	m->request.source_id = STR("");
	m->is_refused = true;
	return m;
}

static void *mesh_start_denies_10(void)
{
	return mesh_start_denies(10);
}

static void *mesh_start_denies_10000(void)
{
	return mesh_start_denies(10000);
}

static void *mesh_start_hosts(uint32_t count)
{
	struct mesh *m = mesh_start_crowd(LARGE_HOSTS, count, "/api/orders");
	m->http.authority = STR("h7.example:8080");
	return m;
}

static void *mesh_start_hosts_10(void)
{
	return mesh_start_hosts(10);
}

static void *mesh_start_hosts_10000(void)
{
	return mesh_start_hosts(10000);
}

static void *mesh_start_paths_10(void)
{
	return mesh_start_crowd(LARGE_PATHS, 10, "/p/7");
}

static void *mesh_start_paths_10000(void)
{
	return mesh_start_crowd(LARGE_PATHS, 10000, "/p/7");
}

static void *mesh_start_product(uint32_t count)
{
	struct mesh *m = mesh_start_crowd(LARGE_PRODUCT, count, "/p/0");
	m->request.source_id = STR("spiffe://prod.example/service/web0");
	return m;
}

static void *mesh_start_product_10(void)
{
	return mesh_start_product(10);
}

static void *mesh_start_product_10000(void)
{
	return mesh_start_product(10000);
}

/* The most that one rule may ask for. */
static void *mesh_start_nots(void)
{
	struct mesh *m = mesh_start_crowd(LARGE_NOTS, 1, "/p/7/of/7x");
	m->http.authority = STR("orders.internal:8080");
	return m;
}

static void mesh_stop(void *state)
{
	struct mesh *m = state;
	lab_finish(&m->lab);
	free(m->objects);
	free(m);
}

static void mesh_route(void *state)
{
	const struct mesh *m = state;
	struct destination to = snapshot_destination(m->snapshot, &m->address);
	ASSERT(to.endpoint);
}

static void mesh_run_route(void *state, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		micro_measure(mesh_route, state);
}

static void mesh_policy(void *state)
{
	const struct mesh *m = state;
	struct policy_verdict verdict = policy_check(m->snapshot, m->service, &m->request);
	ASSERT(verdict.allowed == !m->is_refused);
}

static void mesh_run_policy(void *state, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		micro_measure(mesh_policy, state);
}

/* --- counters --- */

static void *mesh_start_metrics(void)
{
	struct metrics *m = metrics_new(64);
	ASSERT(m);
	return m;
}

static void mesh_record(void *state)
{
	const struct metric_labels labels = {
		.at_source = true,
		.source_workload = STR("web"),
		.source_principal = STR("spiffe://prod.example/service/web"),
		.destination_workload = STR("orders"),
		.destination_principal = STR("spiffe://prod.example/service/orders"),
		.destination_service = STR("orders"),
		.protocol = STR("http"),
		.response_code = 200,
		.response_flags = STR("-"),
		.mutual_tls = true,
	};
	metrics_request(state, &labels, 1234567, 0, 1024);
}

static void mesh_run_record(void *state, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		micro_measure(mesh_record, state);
}

static void mesh_stop_metrics(void *state)
{
	metrics_free(state);
}

/* --- the access log --- */

static void mesh_line(void *state)
{
	static char line[ACCESS_LINE_MAX];
	const struct access_entry *entry = state;
	size_t len = access_format(entry, line, sizeof(line));
	ASSERT(len > 0);
}

static void mesh_run_line(void *state, uint32_t count)
{
	struct access_entry entry = {
		.kind = ACCESS_HTTP,
		.outbound = true,
		.start_wall_ns = UINT64_C(1795551961123000000),
		.duration_ns = 1234567,
		.workload = STR("web"),
		.source_identity = STR("spiffe://prod.example/service/web"),
		.destination_identity = STR("spiffe://prod.example/service/orders"),
		.destination_service = STR("orders"),
		.downstream_remote = lab_address(LAB_SHOP),
		.downstream_local = lab_address(LAB_ORDERS),
		.upstream_remote = lab_address(LAB_ORDERS),
		.protocol = STR("http"),
		.method = STR("GET"),
		.path = STR("/api/orders/1042/items?limit=20&after=8812"),
		.authority = STR("orders.internal:8080"),
		.user_agent = STR("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101"),
		.request_id = STR("7d8f2c1e9b3a45d0a1c2e3f405162738"),
		.response_code = 200,
		.response_flags = STR("-"),
		.response_details = STR("NONE"),
		.bytes_sent = 1024,
		.security = STR("mutual_tls"),
		.policy = STR("default"),
		.attempt_count = 1,
		.connection_number = 7,
		.config_generation = 3,
	};
	for (uint32_t i = 0; i < count; i++) {
		entry.start_wall_ns += 700000;
		micro_measure(mesh_line, &entry);
	}
}

const struct micro_case micro_mesh_cases[] = {
	{"mesh: destination, of 10 services", 64, mesh_start_small, mesh_run_route, mesh_stop,
		NULL},
	{"mesh: destination, of 1000 services with 10 endpoints", 64, mesh_start_large,
		mesh_run_route, mesh_stop, NULL},
	{"mesh: policy, of 10", 64, mesh_start_small, mesh_run_policy, mesh_stop, NULL},
	{"mesh: policy, of 1000 for 1000 services", 64, mesh_start_large, mesh_run_policy,
		mesh_stop, NULL},
	{"mesh: policy, of 1000 for one service", 64, mesh_start_crowded, mesh_run_policy,
		mesh_stop, NULL},
	{"mesh: policy by caller and path, of 10 for one service", 64, mesh_start_10,
		mesh_run_policy, mesh_stop, NULL},
	{"mesh: policy by caller and path, of 1000 for one service", 64, mesh_start_1000,
		mesh_run_policy, mesh_stop, NULL},
	{"mesh: policy by caller and path, of 10,000 for one service", 64, mesh_start_10000,
		mesh_run_policy, mesh_stop, NULL},
	{"mesh: policy, of 10,000, a path of 19 segments", 64, mesh_start_path, mesh_run_policy,
		mesh_stop, NULL},
	{"mesh: policy, of 10 templates", 64, mesh_start_templates_10, mesh_run_policy, mesh_stop,
		NULL},
	{"mesh: policy, of 10,000 templates", 64, mesh_start_templates_10000, mesh_run_policy,
		mesh_stop, NULL},
	{"mesh: policy, of 10 templates, a path of 30 KB", 16, mesh_start_long_10, mesh_run_policy,
		mesh_stop, NULL},
	{"mesh: policy, of 100 templates, a path of 30 KB", 16, mesh_start_long_100,
		mesh_run_policy, mesh_stop, NULL},
	{"mesh: policy, of 10 templates, an odd path", 64, mesh_start_odd_10, mesh_run_policy,
		mesh_stop, NULL},
	{"mesh: policy, of 10,000 templates, an odd path", 64, mesh_start_odd_10000,
		mesh_run_policy, mesh_stop, NULL},
	{"mesh: policy, of 10 templates that deny, an odd path", 64, mesh_start_odd_denies_10,
		mesh_run_policy, mesh_stop, NULL},
	{"mesh: policy, of 10,000 templates that deny, an odd path", 64,
		mesh_start_odd_denies_10000, mesh_run_policy, mesh_stop, NULL},
	{"mesh: policy, of 10 templates but for some, an odd path", 64, mesh_start_odd_guards_10,
		mesh_run_policy, mesh_stop, NULL},
	{"mesh: policy, of 10,000 templates but for some, an odd path", 64,
		mesh_start_odd_guards_10000, mesh_run_policy, mesh_stop, NULL},
	{"mesh: policy, nobody against 10 that deny somebody", 64, mesh_start_denies_10,
		mesh_run_policy, mesh_stop, NULL},
	{"mesh: policy, nobody against 10,000 that deny somebody", 64, mesh_start_denies_10000,
		mesh_run_policy, mesh_stop, NULL},
	{"mesh: policy, of 10 hosts and one path", 64, mesh_start_hosts_10, mesh_run_policy,
		mesh_stop, NULL},
	{"mesh: policy, of 10,000 hosts and one path", 64, mesh_start_hosts_10000, mesh_run_policy,
		mesh_stop, NULL},
	{"mesh: policy, one of 10 paths", 64, mesh_start_paths_10, mesh_run_policy, mesh_stop,
		NULL},
	{"mesh: policy, one of 10,000 paths", 64, mesh_start_paths_10000, mesh_run_policy,
		mesh_stop, NULL},
	{"mesh: policy, one of 1 caller and 1 path", 64, mesh_start_product_10, mesh_run_policy,
		mesh_stop, NULL},
	{"mesh: policy, one of 1,000 callers and 1,000 paths", 64, mesh_start_product_10000,
		mesh_run_policy, mesh_stop, NULL},
	{"mesh: policy, one with 32 each of not_paths, not_from, not_hosts", 64, mesh_start_nots,
		mesh_run_policy, mesh_stop, NULL},
	{"telemetry: count a request", 64, mesh_start_metrics, mesh_run_record, mesh_stop_metrics,
		NULL},
	{"telemetry: format an access log line", 64, NULL, mesh_run_line, NULL, NULL},
	{0},
};
