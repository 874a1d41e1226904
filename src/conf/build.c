/* SPDX-License-Identifier: Apache-2.0 */
/* Joins the mesh files' rows and the node's workloads to one snapshot, and checks what can only be
 * seen when all of them are together. Rows whose name is unusable are left out; their error is in
 * the report, so the snapshot will not be used. */
#include "parser.h"

#include "mesh/identity.h"
#include <stdio.h>

static void conf_build_local_addresses(struct conf_parser *p)
{
	const struct conf *c = p->conf;
	struct snapshot *s = p->snapshot;
	uint32_t count = c->node_address_count;
	const struct bundle_item *item = NULL;
	while ((item = bundle_next(p->bundle, "address", item)))
		count++;
	s->local_addresses = conf_build_array(p, count, sizeof(*s->local_addresses));
	if (!s->local_addresses)
		return;
	for (uint32_t i = 0; i < c->node_address_count; i++)
		s->local_addresses[s->local_address_count++] = c->node_addresses[i];
	while ((item = bundle_next(p->bundle, "address", item))) {
		struct address a;
		if (address_parse(item->name, &a) && !snapshot_is_local(s, &a))
			s->local_addresses[s->local_address_count++] = a;
	}
}

void *conf_build_array(struct conf_parser *p, size_t count, size_t size)
{
	void *array = count ? arena_take(&p->snapshot->arena, count * size) : NULL;
	if (count > 0 && !array)
		p->is_exhausted = true;
	return array;
}

static struct str conf_build_id(struct conf_parser *p, struct str service_name)
{
	struct str id = arena_printf(&p->snapshot->arena, "spiffe://" STR_FMT "/service/" STR_FMT,
		STR_ARG(p->snapshot->trust_domain), STR_ARG(service_name));
	if (!id.at)
		p->is_exhausted = true;
	return id;
}

static void conf_build_ids(
	struct conf_parser *p, struct service *service, const struct conf_service_row *row)
{
	service->ids = conf_build_array(p, row->identity_count + 1u, sizeof(*service->ids));
	if (!service->ids)
		return;
	service->ids[service->id_count++] = conf_build_id(p, service->name);
	for (uint32_t i = 0; i < row->identity_count; i++) {
		struct str identity = row->identities[i];
		if (identity_service_valid(identity))
			service->ids[service->id_count++] = conf_build_id(p, identity);
		else if (identity_id_valid(identity))
			service->ids[service->id_count++] = identity;
		else if (identity.len > 0)
			conf_error(p, row->setting, "identities",
				"\"%.*s\" is neither a service's name nor a SPIFFE id",
				STR_ARG(identity));
	}
}

static void conf_build_endpoint(struct conf_parser *p, struct service *service,
	const struct conf_service_row *service_row, const struct conf_endpoint_row *row)
{
	uint16_t port = row->port ? row->port : service_row->port;
	for (uint32_t i = 0; i < row->address_count; i++) {
		struct endpoint *e = &service->endpoints[service->endpoint_count++];
		e->service = service;
		e->address = row->addresses[i];
		e->address.port = port;
		e->version = row->version;
	}
	if (port == 0)
		conf_error(p, row->setting, "port",
			"missing here and in the service: where do clients dial it?");
}

static void conf_build_service(
	struct conf_parser *p, struct service *service, const struct conf_service_row *row)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < row->endpoint_count; i++)
		count += row->endpoints[i].address_count;
	service->name = row->name;
	service->identity =
		arena_printf(&p->snapshot->arena, "service/" STR_FMT, STR_ARG(row->name));
	service->protocol = row->protocol;
	service->server_first = row->server_first;
	service->mtls = row->mtls;
	if (row->server_first && row->protocol != PROTOCOL_TCP)
		conf_error(p, row->setting, "server_first", "only with protocol \"tcp\"");
	conf_build_ids(p, service, row);
	service->endpoints = conf_build_array(p, count, sizeof(*service->endpoints));
	for (uint32_t i = 0; service->endpoints && i < row->endpoint_count; i++)
		conf_build_endpoint(p, service, row, &row->endpoints[i]);
}

static bool conf_build_name_valid(struct conf_parser *p, const struct conf_service_row *row)
{
	if (row->name.len == 0)
		return false;
	if (!identity_service_valid(row->name)) {
		conf_error(p, row->setting, "name",
			"\"%.*s\" is no service name: lower-case letters, digits and '-' inside, "
			"at most %d",
			STR_ARG(row->name), IDENTITY_SERVICE_MAX);
		return false;
	}
	if (str_eq(row->name, STR("anonymous"))) {
		conf_error(p, row->setting, "name", "\"anonymous\" means callers without identity");
		return false;
	}
	return true;
}

static void conf_build_services(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	uint32_t count = 0;
	for (uint32_t f = 0; f < p->mesh_count; f++)
		count += p->mesh[f].mesh.service_count;
	s->services = conf_build_array(p, count, sizeof(*s->services));
	p->service_rows = conf_build_array(p, count, sizeof(*p->service_rows));
	for (uint32_t f = 0; !p->is_exhausted && f < p->mesh_count; f++) {
		for (uint32_t i = 0; i < p->mesh[f].mesh.service_count; i++) {
			const struct conf_service_row *row = &p->mesh[f].mesh.services[i];
			if (!conf_build_name_valid(p, row))
				continue;
			p->service_rows[s->service_count] = row;
			s->services[s->service_count].index = s->service_count;
			conf_build_service(p, &s->services[s->service_count++], row);
		}
	}
	if (!p->is_exhausted && !snapshot_index_services(s))
		p->is_exhausted = true;
}

void conf_build_unknown_service(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str name)
{
	struct conf_guess guess = conf_guess(name);
	char mean[128];
	if (p->published && conf_published_knows(p, setting, key, name))
		return;
	for (uint32_t i = 0; i < p->snapshot->service_count; i++)
		conf_guess_offer(&guess, p->snapshot->services[i].name);
	if (p->published)
		conf_published_guess(p, &guess);
	conf_error(p, setting, key, "there is no service \"%.*s\" in the mesh%s%s", STR_ARG(name),
		p->published ? "" : " files", conf_guess_text(&guess, mean, sizeof(mean)));
}

static uint32_t conf_build_mark(struct conf_parser *p, uint32_t uid)
{
	char name[16];
	uint64_t mark;
	int len = snprintf(name, sizeof(name), "%u", uid);
	const struct bundle_item *item =
		bundle_find(p->bundle, "mark", (struct str){name, (size_t)len});
	uint32_t mask = p->conf->mark_mask;
	uint32_t number_max = mask ? mask >> __builtin_ctz(mask) : 0;
	/* A stale or broken marks file leaves the workload unattributed, which is refused traffic;
	 * an error here would also stop `ringmain redirect up`, the cure. */
	return item && str_to_u64(item->text, &mark) && mark <= number_max ? (uint32_t)mark : 0;
}

static void conf_build_workload(struct conf_parser *p, uint32_t index)
{
	const struct conf_workload *from = &p->conf->workloads[index];
	const config_setting_t *setting = conf_workload_setting(p, index);
	struct service *service = (struct service *)snapshot_service(p->snapshot, from->service);
	struct workload *w = &p->snapshot->workloads[index];
	*w = (struct workload){.index = index,
		.service = service,
		.uid = from->uid,
		.port = from->port,
		.deliver = from->deliver,
		.protocol = from->protocol,
		.connections_max = from->connections_max};
	w->user = arena_str(&p->snapshot->arena, from->user);
	w->version = arena_str(&p->snapshot->arena, from->version);
	w->mark = conf_build_mark(p, from->uid);
	if (!snapshot_is_local(p->snapshot, &w->deliver))
		conf_warning(p, setting, "deliver",
			"not an address of this machine: what is sent there is not encrypted");
	if (!service) {
		if (from->service.len > 0)
			conf_build_unknown_service(p, setting, "service", from->service);
		return;
	}
	if (!conf_member(setting, "protocol"))
		w->protocol = p->conf->workloads[index].protocol = service->protocol;
}

static void conf_build_workloads(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	s->workloads = conf_build_array(p, p->conf->workload_count, sizeof(*s->workloads));
	s->workload_count = s->workloads ? p->conf->workload_count : 0;
	for (uint32_t i = 0; i < s->workload_count; i++)
		conf_build_workload(p, i);
	/* Two uids with one number would be one identity for both: neither gets it. */
	for (uint32_t i = 0; i < s->workload_count; i++) {
		for (uint32_t j = 0; j < i; j++) {
			if (s->workloads[i].mark == s->workloads[j].mark)
				s->workloads[i].mark = s->workloads[j].mark = 0;
		}
	}
	if (!p->is_exhausted && !snapshot_index_workloads(s))
		p->is_exhausted = true;
}

static void conf_build_join_endpoint(
	struct conf_parser *p, struct endpoint *e, const config_setting_t *setting)
{
	char text[ADDRESS_TEXT_MAX];
	const struct endpoint *first = snapshot_endpoint(p->snapshot, &e->address);
	if (e->address.port == 0)
		return;
	if (first != e) {
		conf_error(p, setting, "address", "%s is an endpoint of \"%.*s\" already",
			address_text(&e->address, text), STR_ARG(first->service->name));
		return;
	}
	if (!snapshot_is_local(p->snapshot, &e->address))
		return;
	struct workload *w =
		(struct workload *)snapshot_workload_by_port(p->snapshot, e->address.port);
	if (!w)
		conf_warning(p, setting, "address",
			"%s is this machine, where no workload serves the port",
			address_text(&e->address, text));
	else if (w->service != e->service)
		conf_error(p, setting, "address",
			"%s is this machine's workloads[%u], which is not of the service",
			address_text(&e->address, text), w->index);
	else
		e->local = w;
}

/* A service that only calls others needs no more than its name, wherever it runs. One that says how
 * it is called should say where. */
static void conf_build_warn_unreachable(
	struct conf_parser *p, const struct service *service, const struct conf_service_row *row)
{
	bool is_called = conf_member(row->setting, "port") ||
			 conf_member(row->setting, "protocol") || conf_member(row->setting, "mtls");
	/* Where there is a store, nodes tell of endpoints. */
	bool is_here = p->published != NULL;
	for (uint32_t i = 0; i < p->snapshot->workload_count; i++)
		is_here = is_here || p->snapshot->workloads[i].service == service;
	if (is_called && !is_here && service->endpoint_count == 0)
		conf_warning(p, row->setting, "endpoints",
			"\"%.*s\" has none, and no workload here is it: it cannot be called",
			STR_ARG(service->name));
}

static void conf_build_join_service(
	struct conf_parser *p, struct service *service, const struct conf_service_row *row)
{
	const struct service *first = snapshot_service(p->snapshot, service->name);
	if (first != service) {
		char place[512];
		conf_error(p, row->setting, "name", "\"%.*s\" is declared already, at %s",
			STR_ARG(service->name),
			conf_place_text(
				p, p->service_rows[first->index]->setting, place, sizeof(place)));
	}
	uint32_t index = 0;
	for (uint32_t i = 0; service->endpoints && i < row->endpoint_count; i++) {
		for (uint32_t a = 0; a < row->endpoints[i].address_count; a++)
			conf_build_join_endpoint(
				p, &service->endpoints[index++], row->endpoints[i].setting);
	}
	conf_build_warn_unreachable(p, service, row);
}

void conf_build(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	s->trust_domain = arena_str(&s->arena, p->conf->trust_domain);
	s->default_allow = p->conf->default_allow;
	s->passthrough_count = p->conf->passthrough_count;
	s->passthrough = conf_build_array(p, s->passthrough_count, sizeof(*s->passthrough));
	if (s->passthrough)
		memcpy(s->passthrough, p->conf->passthrough,
			s->passthrough_count * sizeof(*s->passthrough));
	conf_build_local_addresses(p);
	conf_build_services(p);
	if (p->is_exhausted)
		return;
	conf_build_workloads(p);
	for (uint32_t i = 0; !p->is_exhausted && i < s->service_count; i++)
		conf_build_join_service(p, &s->services[i], p->service_rows[i]);
	if (!p->is_exhausted)
		conf_build_policies(p);
}
