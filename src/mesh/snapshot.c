/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh/snapshot.h"

#include "mesh/route.h"
#include <stdio.h>

/* Names come from operators alone. Addresses come from nodes' records too, but one of them can fill
 * no more than one record's worth of slots. */
#define SNAPSHOT_SEED 0x72696e67u
/* Part of what a mesh agrees upon: with another one all values would move to other endpoints. */
#define SNAPSHOT_KEY_SEED UINT64_C(0x656e64706f696e74)

const char *protocol_name(enum protocol p)
{
	switch (p) {
	case PROTOCOL_DETECT:
		return "detect";
	case PROTOCOL_HTTP:
		return "http";
	case PROTOCOL_TCP:
		return "tcp";
	}
	return "?";
}

const char *mtls_mode_name(enum mtls_mode m)
{
	switch (m) {
	case MTLS_STRICT:
		return "strict";
	case MTLS_PERMISSIVE:
		return "permissive";
	case MTLS_DISABLED:
		return "disabled";
	}
	return "?";
}

const char *unknown_mode_name(enum unknown_mode m)
{
	switch (m) {
	case UNKNOWN_REFUSE:
		return "refuse";
	case UNKNOWN_AUDIT:
		return "audit";
	case UNKNOWN_ALLOW:
		return "allow";
	}
	return "?";
}

const char *endpoint_health_name(enum endpoint_health h)
{
	switch (h) {
	case ENDPOINT_UP:
		return "up";
	case ENDPOINT_DOWN:
		return "down";
	case ENDPOINT_DRAINED:
		return "drained";
	}
	return "?";
}

static uint64_t snapshot_hash_name(struct str name)
{
	return hash_bytes(SNAPSHOT_SEED, name.at, name.len);
}

const char *zone_rule_name(enum zone_rule rule)
{
	switch (rule) {
	case ZONE_IGNORE:
		return "ignore";
	case ZONE_PREFER:
		return "prefer";
	case ZONE_STRICT:
		return "strict";
	}
	return "?";
}

/* Field by field: the struct has padding. */
static uint64_t snapshot_hash_address(uint64_t seed, const struct address *a)
{
	uint8_t key[19];
	key[0] = a->family;
	memcpy(key + 1, a->ip, 16);
	key[17] = (uint8_t)(a->port >> 8);
	key[18] = (uint8_t)(a->port & 0xff);
	return hash_bytes(seed, key, sizeof(key));
}

uint64_t endpoint_key_of(const struct address *first)
{
	return snapshot_hash_address(SNAPSHOT_KEY_SEED, first);
}

/* An own address of a service. */
struct snapshot_address {
	struct map_node node;
	struct service *service;
	struct address address;
};

bool snapshot_add_service(struct snapshot *s, struct service *service)
{
	return map_add(&s->services_by_name, &service->node, snapshot_hash_name(service->name));
}

bool snapshot_add_service_id(struct snapshot *s, struct service *service)
{
	return map_add(&s->services_by_id, &service->id_node, snapshot_hash_name(service->ids[0]));
}

bool snapshot_add_endpoint(struct snapshot *s, struct endpoint *e)
{
	return map_add(&s->endpoints_by_address, &e->node,
		snapshot_hash_address(SNAPSHOT_SEED, &e->address));
}

bool snapshot_add_address(struct snapshot *s, struct service *service, const struct address *a)
{
	struct snapshot_address *own = arena_take(&s->arena, sizeof(*own));
	if (!own)
		return false;
	own->service = service;
	own->address = *a;
	return map_add(
		&s->services_by_address, &own->node, snapshot_hash_address(SNAPSHOT_SEED, a));
}

bool snapshot_index_workloads(struct snapshot *s)
{
	s->mark_count = 1; /* slot 0 stays empty: unattributed */
	for (uint32_t i = 0; i < s->workload_count; i++) {
		if (s->workloads[i].mark >= s->mark_count)
			s->mark_count = s->workloads[i].mark + 1;
	}
	s->workload_by_mark = arena_take(&s->arena, s->mark_count * sizeof(struct workload *));
	if (!s->workload_by_mark)
		return false;
	for (uint32_t i = 0; i < s->workload_count; i++) {
		if (s->workloads[i].mark > 0)
			s->workload_by_mark[s->workloads[i].mark] = &s->workloads[i];
	}
	return true;
}

static void snapshot_free_regexes(const struct route_when *when)
{
	for (uint32_t i = 0; i < when->path_count; i++)
		regex_free(when->paths[i].regex);
}

void snapshot_done(struct snapshot *s)
{
	for (uint32_t i = 0; i < s->route_count; i++) {
		const struct route *route = &s->routes[i];
		for (uint32_t r = 0; r < route->rule_count; r++)
			snapshot_free_regexes(&route->rules[r].when);
	}
	map_done(&s->services_by_name);
	map_done(&s->services_by_id);
	map_done(&s->endpoints_by_address);
	map_done(&s->services_by_address);
	map_done(&s->externals_by_host);
	arena_done(&s->arena);
}

const struct service *snapshot_service(const struct snapshot *s, struct str name)
{
	struct map_node *it = map_first(&s->services_by_name, snapshot_hash_name(name));
	for (; it; it = map_next(it)) {
		const struct service *service = CONTAINER_OF(it, struct service, node);
		if (str_eq(service->name, name))
			return service;
	}
	return NULL;
}

const struct service *snapshot_service_by_id(const struct snapshot *s, struct str id)
{
	struct map_node *it = map_first(&s->services_by_id, snapshot_hash_name(id));
	for (; it; it = map_next(it)) {
		const struct service *service = CONTAINER_OF(it, struct service, id_node);
		if (str_eq(service->ids[0], id))
			return service;
	}
	return NULL;
}

bool service_has_id(const struct service *service, struct str id)
{
	for (uint32_t i = 0; i < service->id_count; i++) {
		if (str_eq(service->ids[i], id))
			return true;
	}
	return false;
}

const struct endpoint *snapshot_endpoint(const struct snapshot *s, const struct address *a)
{
	struct map_node *it =
		map_first(&s->endpoints_by_address, snapshot_hash_address(SNAPSHOT_SEED, a));
	for (; it; it = map_next(it)) {
		const struct endpoint *e = CONTAINER_OF(it, struct endpoint, node);
		if (address_equal(&e->address, a))
			return e;
	}
	return NULL;
}

enum mtls_mode service_mtls(const struct service *service, uint16_t port)
{
	for (uint32_t i = 0; i < service->mtls_port_count; i++) {
		if (service->mtls_ports[i].port == port)
			return service->mtls_ports[i].mode;
	}
	return service->mtls;
}

bool service_is_mtls(const struct service *service, enum mtls_mode mode)
{
	for (uint32_t i = 0; i < service->mtls_port_count; i++) {
		if (service->mtls_ports[i].mode != mode)
			return false;
	}
	return service->mtls == mode;
}

const struct subset *service_subset(const struct service *service, struct str version)
{
	for (uint32_t i = 0; i < service->subset_count; i++) {
		if (str_eq(service->subsets[i].version, version))
			return &service->subsets[i];
	}
	return NULL;
}

const struct service *snapshot_service_by_address(const struct snapshot *s, const struct address *a)
{
	struct map_node *it =
		map_first(&s->services_by_address, snapshot_hash_address(SNAPSHOT_SEED, a));
	for (; it; it = map_next(it)) {
		const struct snapshot_address *own =
			CONTAINER_OF(it, struct snapshot_address, node);
		if (address_equal(&own->address, a))
			return own->service;
	}
	return NULL;
}

const struct workload *snapshot_workload_by_mark(const struct snapshot *s, uint32_t mark)
{
	return mark > 0 && mark < s->mark_count ? s->workload_by_mark[mark] : NULL;
}

const struct workload *snapshot_workload_by_uid(const struct snapshot *s, uint32_t uid)
{
	for (uint32_t i = 0; i < s->workload_count; i++) {
		if (s->workloads[i].uid == uid)
			return &s->workloads[i];
	}
	return NULL;
}

const struct workload *snapshot_workload_by_port(const struct snapshot *s, uint16_t port)
{
	for (uint32_t i = 0; port != 0 && i < s->workload_count; i++) {
		if (s->workloads[i].port == port)
			return &s->workloads[i];
	}
	return NULL;
}

bool snapshot_is_local(const struct snapshot *s, const struct address *a)
{
	if (address_is_loopback(a))
		return true;
	for (uint32_t i = 0; i < s->local_address_count; i++) {
		if (address_same_ip(&s->local_addresses[i], a))
			return true;
	}
	return false;
}

bool snapshot_may_pass_through(const struct snapshot *s, const struct address *a)
{
	for (uint32_t i = 0; i < s->passthrough_count; i++) {
		if (address_in(a, &s->passthrough[i]))
			return true;
	}
	return false;
}

struct destination snapshot_destination(const struct snapshot *s, const struct address *a)
{
	const struct endpoint *e = snapshot_endpoint(s, a);
	const struct workload *w =
		snapshot_is_local(s, a) ? snapshot_workload_by_port(s, a->port) : NULL;
	if (w)
		return (struct destination){DESTINATION_LOCAL, w->service, w, e};
	if (e)
		return (struct destination){DESTINATION_REMOTE, e->service, NULL, e};
	const struct service *service = snapshot_service_by_address(s, a);
	if (service)
		return (struct destination){.kind = DESTINATION_SERVICE, .service = service};
	return (struct destination){.kind = DESTINATION_UNKNOWN};
}

size_t server_name_write(const struct snapshot *s, const struct service *service, uint16_t port,
	char ret_text[SERVER_NAME_MAX])
{
	return server_name_of(s->trust_domain, service->name, port, ret_text);
}

size_t server_name_of(
	struct str trust_domain, struct str service, uint16_t port, char ret_text[SERVER_NAME_MAX])
{
	int len = snprintf(ret_text, SERVER_NAME_MAX, "%u." STR_FMT "." STR_FMT, port,
		STR_ARG(service), STR_ARG(trust_domain));
	if (len > 0 && len < SERVER_NAME_MAX)
		return (size_t)len;
	ret_text[0] = '\0';
	return 0;
}

const struct workload *snapshot_workload_by_server_name(const struct snapshot *s, struct str name)
{
	const char *dot = name.len ? memchr(name.at, '.', name.len) : NULL;
	uint64_t port;
	if (!dot || !str_to_u64((struct str){name.at, (size_t)(dot - name.at)}, &port) ||
		port > UINT16_MAX)
		return NULL;
	const struct workload *w = snapshot_workload_by_port(s, (uint16_t)port);
	char text[SERVER_NAME_MAX];
	if (!w || w->is_refused || server_name_write(s, w->service, w->port, text) == 0)
		return NULL;
	/* Written out and compared as a whole: no second way to spell a name gets through. */
	return str_eq_nocase(name, str_of(text)) ? w : NULL;
}
