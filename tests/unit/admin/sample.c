/* SPDX-License-Identifier: Apache-2.0 */
#include "sample.h"

#include "balance/wheel.h"
#include "proxy/report.h"
#include <stdlib.h>
#include <string.h>

static struct sample *sample_shown;

bool tls_store_identity(
	const struct tls_store *store, size_t index, struct tls_identity_view *ret_view)
{
	if (index >= sample_shown->identity_count)
		return false;
	*ret_view = sample_shown->identities[index];
	return true;
}

uint32_t plan_serving(const struct plan *plan, uint32_t workload_index)
{
	return workload_index == 0 ? 3 : 0;
}

const struct wheel *plan_wheel(
	const struct plan *plan, const struct service *service, const struct subset *subset)
{
	return sample_shown->wheel;
}

/* Its workers are asked by no test. */
bool worker_ask(struct worker *w, struct report *report)
{
	return false;
}

bool worker_has_answered(struct worker *w, struct report *report)
{
	return false;
}

struct report *report_new(const struct str *services, uint32_t count)
{
	return calloc(1, sizeof(struct report));
}

void report_free(struct report *r)
{
	free(r);
}

void report_forget(struct report *r)
{
	free(r);
}

static struct address sample_address(const char *text, uint16_t port)
{
	struct address a = {0};
	(void)address_parse(str_of(text), &a);
	a.port = port;
	return a;
}

static const struct mtls_port sample_mtls_port = {9100, MTLS_DISABLED};

static void sample_init_services(struct sample *s)
{
	s->ids[0] = STR("spiffe://prod.example/service/orders");
	s->ids[1] = STR("spiffe://prod.example/service/web");
	s->from[0] = (struct source){.kind = SOURCE_ID,
		.entry = STR("web"),
		.text = STR("spiffe://prod.example/service/web")};
	s->policy = (struct policy){.name = STR("policies[0]"),
		.where = STR("mesh.conf:1"),
		.action = POLICY_ALLOW,
		.from = s->from,
		.from_count = 1};
	s->orders_policies[0] = &s->policy;
	s->endpoints[0] = (struct endpoint){.service = &s->services[0],
		.address = sample_address("10.77.0.1", 8080),
		.version = STR("v1"),
		.local = &s->workloads[0]};
	s->endpoints[1] = (struct endpoint){
		.service = &s->services[0], .address = sample_address("10.77.0.2", 8080)};
	s->services[0] = (struct service){.name = STR("orders"),
		.identity = STR("service/orders"),
		.ids = &s->ids[0],
		.id_count = 1,
		.protocol = PROTOCOL_HTTP,
		.mtls_ports = &sample_mtls_port,
		.mtls_port_count = 1,
		.endpoints = s->endpoints,
		.endpoint_count = 2,
		.policies = s->orders_policies,
		.policy_count = 1};
	s->services[1] = (struct service){.name = STR("web"),
		.identity = STR("service/web"),
		.ids = &s->ids[1],
		.id_count = 1,
		.mtls = MTLS_PERMISSIVE};
	s->workloads[0] = (struct workload){.service = &s->services[0],
		.identity = STR("service/orders"),
		.id = s->ids[0],
		.user = STR("orders"),
		.uid = 1001,
		.mark = 1,
		.version = STR("v1"),
		.port = 8080,
		.deliver = sample_address("127.0.0.1", 8080),
		.protocol = PROTOCOL_HTTP};
	s->workloads[1] = (struct workload){.index = 1,
		.service = &s->services[1],
		.identity = STR("service/web"),
		.id = s->ids[1],
		.user = STR("web"),
		.uid = 1002};
}

static void sample_init_route(struct sample *s)
{
	s->legs[0] =
		(struct route_leg){.service = &s->services[0], .version = STR("v1"), .weight = 90};
	s->legs[1] = (struct route_leg){.version = STR(""), .weight = 10};
	s->rule =
		(struct route_rule){.name = STR("orders/canary"), .legs = s->legs, .leg_count = 2};
	s->route = (struct route){.service = &s->services[0], .rules = &s->rule, .rule_count = 1};
}

static void sample_init_listeners(struct sample *s)
{
	static const struct {
		enum wire_listener_kind kind;
		const char *ip;
		uint16_t port;
	} rows[] = {
		{WIRE_LISTENER_OUTBOUND, "127.0.0.1", 15100},
		{WIRE_LISTENER_OUTBOUND, "127.0.0.1", 15101},
		{WIRE_LISTENER_MESH, "10.77.0.1", 15008},
		{WIRE_LISTENER_ADMIN, "", 0},
		{WIRE_LISTENER_ACCESS_LOG, "", 0},
	};
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++)
		s->listeners[i] = (struct proxy_listener){.kind = rows[i].kind,
			.worker = i % 2,
			.address = sample_address(rows[i].ip, rows[i].port)};
}

void sample_init(struct sample *s)
{
	memset(s, 0, sizeof(*s));
	sample_shown = s;
	sample_init_services(s);
	sample_init_route(s);
	sample_init_listeners(s);
	s->conf.node_name = STR("vm-a");
	s->conf.admin_socket = STR("/run/ringmain/admin.sock");
	s->local_addresses[0] = sample_address("10.77.0.1", 0);
	s->passthrough[0].base = sample_address("10.99.0.0", 0);
	s->passthrough[0].prefix_len = 16;
	s->snapshot = (struct snapshot){.generation = 3,
		.trust_domain = STR("prod.example"),
		.services = s->services,
		.service_count = 2,
		.workloads = s->workloads,
		.workload_count = 2,
		.policies = &s->policy,
		.policy_count = 1,
		.routes = &s->route,
		.route_count = 1,
		.local_addresses = s->local_addresses,
		.local_address_count = 1,
		.passthrough = s->passthrough,
		.passthrough_count = 1};
	s->plan = (struct plan){.generation = 3,
		.conf = &s->conf,
		.snapshot = &s->snapshot,
		.tls = (struct tls_store *)(void *)s}; /* never looked into */
	map_init(&s->snapshot.services_by_name);
	for (size_t i = 0; i < 2; i++) {
		ASSERT(snapshot_add_service(&s->snapshot, &s->services[i]));
		s->metrics[i] = metrics_new(16);
		s->identities[i] = (struct tls_identity_view){.path = s->services[i].identity,
			.id = s->ids[i],
			.not_before_s = SAMPLE_NOW_S - 600,
			.not_after_s = SAMPLE_NOW_S + 3000,
			.serial = "0a:1b"};
	}
	s->identity_count = 2;
	s->proxy = (struct proxy){.plan = &s->plan,
		.metrics = s->metrics,
		.worker_count = 2,
		.listeners = s->listeners,
		.listener_count = 5,
		.start_wall_ns = SAMPLE_NOW_NS - 7200000000000ull};
}

void sample_join(struct sample *s)
{
	static struct address store;
	s->conf.state = (struct conf_state){.redis = &store, .redis_count = 1, .lease_ms = 15000};
	s->proxy.mesh = (struct proxy_mesh){.has_picture = true,
		.view_wall_ns = SAMPLE_NOW_NS - 1000000000ull,
		.refused_total = 2,
		.view = {.own_count = 3,
			.view = {.connected = true,
				.loaded = true,
				.revision = 41,
				.store_revision = 42,
				.agreed_wall_ns = SAMPLE_NOW_NS - 7000000000ull,
				.node_count = 4,
				.endpoint_count = 20,
				.object_count = 9,
				.held_count = 1,
				.refused_total = 5,
				.reconnects_total = 6,
				.resyncs_total = 8,
				.tokens_away = true,
				.tokens_total = 700,
				.token_commands_total = 30,
				.tokens_refused_total = 3,
				.bytes_in = 1000,
				.bytes_out = 2000,
				.store = "10.77.0.10:6379",
				.why = "object service/orders: not signed"},
			.own = {{.service = "orders", .health = ENDPOINT_UP},
				{.service = "orders", .health = ENDPOINT_DOWN, .why = "refused"},
				{.service = "web", .health = ENDPOINT_DRAINED, .drained = 1}}}};
}

void sample_enroll(struct sample *s)
{
	static struct str server = {"ca.example:8443", 15};
	static struct wire_certificate rows[] = {
		{.identity = "node/vm-a",
			.state = WIRE_CERTIFICATE_FRESH,
			.not_before_s = SAMPLE_NOW_S - 600,
			.not_after_s = SAMPLE_NOW_S + 3000,
			.next_s = SAMPLE_NOW_S + 1200,
			.renewed_count = 4,
			.serial = "77aa"},
		{.identity = "service/orders",
			.state = WIRE_CERTIFICATE_ENDING,
			.not_before_s = SAMPLE_NOW_S - 3500,
			.not_after_s = SAMPLE_NOW_S + 100,
			.next_s = SAMPLE_NOW_S + 10,
			.failed_count = 9,
			.serial = "0a1b",
			.served_serial = "0a0a",
			.why = "connection refused"},
		{.identity = "prod.example",
			.is_trust = 1,
			.state = WIRE_CERTIFICATE_FAILING,
			.next_s = SAMPLE_NOW_S + 30,
			.failed_count = 2,
			.why = "no route"},
	};
	static struct proxy_trust trust = {.trust_domain = "prod.example",
		.view = {.anchor_count = 2,
			.anchor_not_after_s = SAMPLE_NOW_S + 86400,
			.crl_count = 1,
			.revoked_count = 3,
			.crl_this_update_s = SAMPLE_NOW_S - 50,
			.crl_next_update_s = SAMPLE_NOW_S + 550}};
	s->conf.authority = (struct conf_authority){.servers = &server, .server_count = 1};
	s->proxy.identities = (struct proxy_identities){
		.rows = rows, .row_count = 3, .skew_s = -7, .trusts = &trust, .trust_count = 1};
}

void sample_done(struct sample *s)
{
	map_done(&s->snapshot.services_by_name);
	map_done(&s->snapshot.endpoints_by_address);
	for (size_t i = 0; i < 2; i++)
		metrics_free(s->metrics[i]);
}

bool limiter_look(const struct plan *plan, const struct limit *limit, uint64_t now_ns,
	struct limiter_view *ret_view)
{
	if (!sample_shown->limit_counts)
		return false;
	*ret_view = (struct limiter_view){.counts = sample_shown->limit_counts,
		.has_keys = limit->scope == LIMIT_LOCAL,
		.key_count = 2,
		.key_max = limit->part_count ? 64 : 1,
		.is_known = limit->scope == LIMIT_LOCAL && limit->part_count == 0,
		.quota = 10,
		.remaining = 7};
	return true;
}

const struct limiter_counts *limiter_counts_of_limit(
	const struct plan *plan, const struct limit *limit)
{
	return sample_shown->limit_counts;
}
