/* SPDX-License-Identifier: Apache-2.0 */
/* Joins the mesh objects' rows and the node's workloads to one snapshot, and checks what can only
 * be seen when all of them are together. Rows whose name is unusable are left out; their error is
 * in the report, so the snapshot will not be used. */
#include "parser.h"

#include "mesh/identity.h"
#include <stdio.h>

#define CONF_GUESSES_MAX 20

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

static struct str conf_build_name(struct conf_parser *p, struct str name)
{
	struct str copy = arena_str(&p->snapshot->arena, name);
	if (!copy.at)
		p->is_exhausted = true;
	return copy;
}

static struct service *conf_build_add_service(
	struct conf_parser *p, const struct conf_service_row *row, struct str name)
{
	struct snapshot *s = p->snapshot;
	struct service *service = &s->services[s->service_count];
	p->service_rows[s->service_count] = row;
	service->index = s->service_count++;
	service->name = name;
	/* of two with one name the first is found */
	if (!snapshot_service(s, name) && !snapshot_add_service(s, service))
		p->is_exhausted = true;
	return service;
}

static void conf_build_mtls(
	struct conf_parser *p, struct service *service, const struct conf_service_row *row)
{
	struct mtls_port *ports = conf_build_array(p, row->mtls_port_count, sizeof(*ports));
	service->mtls = row->mtls;
	service->mtls_ports = ports;
	if (row->mtls_port_count > MTLS_PORTS_MAX)
		conf_error(p, row->setting, "mtls_ports", "more than %d of them", MTLS_PORTS_MAX);
	for (uint32_t i = 0; ports && i < row->mtls_port_count && i < MTLS_PORTS_MAX; i++) {
		const struct conf_mtls_row *port = &row->mtls_ports[i];
		for (uint32_t k = 0; k < i; k++) {
			if (port->port == ports[k].port && port->port != 0)
				conf_error(p, port->setting, "port",
					"%u is declared already, at mtls_ports[%u]", port->port, k);
		}
		ports[service->mtls_port_count++] = (struct mtls_port){port->port, port->mode};
	}
}

static void conf_build_service(
	struct conf_parser *p, struct service *service, const struct conf_service_row *row)
{
	service->protocol = row->protocol;
	service->server_first = row->server_first;
	conf_build_mtls(p, service, row);
	service->policy_default = row->policy_default;
	memcpy(service->breaker, row->breaker, sizeof(service->breaker));
	service->retry_budget = row->retry_budget;
	conf_build_balance(p, service, row);
	if (row->server_first && row->protocol != PROTOCOL_TCP)
		conf_error(p, row->setting, "server_first", "only with protocol \"tcp\"");
}

static bool conf_build_name_valid(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str name)
{
	if (name.len == 0)
		return false;
	if (!identity_service_valid(name)) {
		conf_error(p, setting, key,
			"\"%.*s\" is no service name: lower-case letters, digits and '-' inside, "
			"at most %d",
			STR_ARG(name), IDENTITY_SERVICE_MAX);
		return false;
	}
	if (str_eq(name, STR("anonymous"))) {
		conf_error(p, setting, key, "\"anonymous\" means callers without identity");
		return false;
	}
	return true;
}

/* A workload's service that nobody has declared, with a store: as strict as a service can be. */
static void conf_build_implicit(struct conf_parser *p, uint32_t index)
{
	const struct conf_workload *w = &p->conf->workloads[index];
	if (snapshot_service(p->snapshot, w->service) ||
		!conf_build_name_valid(p, conf_workload_setting(p, index), "service", w->service))
		return;
	struct service *service = conf_build_add_service(p, NULL, conf_build_name(p, w->service));
	service->is_implicit = true;
	service->protocol = w->protocol;
	service->mtls = MTLS_STRICT;
	service->policy_default = POLICY_DEFAULT_DENY;
	service->outlier = CONF_OUTLIER_DEFAULT;
	service->zone_calls = CONF_ZONE_CALLS_DEFAULT;
	service->retry_budget = CONF_RETRY_BUDGET_DEFAULT;
}

static void conf_build_services(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	uint32_t implicit_max = p->with_store ? p->conf->workload_count : 0, count = implicit_max;
	for (uint32_t f = 0; f < p->mesh_count; f++)
		count += p->mesh[f].mesh.service_count;
	s->services = conf_build_array(p, count, sizeof(*s->services));
	p->service_rows = conf_build_array(p, count, sizeof(*p->service_rows));
	for (uint32_t f = 0; !p->is_exhausted && f < p->mesh_count; f++) {
		for (uint32_t i = 0; i < p->mesh[f].mesh.service_count; i++) {
			const struct conf_service_row *row = &p->mesh[f].mesh.services[i];
			if (conf_build_name_valid(p, row->setting, "name", row->name))
				conf_build_service(
					p, conf_build_add_service(p, row, row->name), row);
		}
	}
	for (uint32_t i = 0; !p->is_exhausted && i < implicit_max; i++)
		conf_build_implicit(p, i);
	if (!p->is_exhausted)
		conf_build_identities(p);
}

/* A few may be slips. Where there are many, it is services that are gone or not there yet, and each
 * would be compared with all that there are. */
static void conf_guess_service(struct conf_parser *p, struct conf_guess *guess)
{
	if (p->guess_count++ >= CONF_GUESSES_MAX)
		return;
	for (uint32_t i = 0; i < p->snapshot->service_count; i++)
		conf_guess_offer(guess, p->snapshot->services[i].name);
	if (p->published)
		conf_published_guess(p, guess);
}

void conf_build_unknown_service(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str name)
{
	struct conf_guess guess = conf_guess(name);
	char mean[128];
	if (p->published && conf_published_knows(p, setting, key, name))
		return;
	conf_guess_service(p, &guess);
	conf_guess_text(&guess, mean, sizeof(mean));
	if (p->with_store && !p->published)
		conf_warning(p, setting, key, "there is no service \"%.*s\" in the mesh%s",
			STR_ARG(name), mean);
	else
		conf_error(p, setting, key, "there is no service \"%.*s\" in the mesh%s%s",
			STR_ARG(name), p->published ? "" : " files", mean);
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
		.connections_max = from->connections_max,
		.unknown = from->unknown == CONF_UNKNOWN_NODE
				   ? p->conf->unknown
				   : (enum unknown_mode)(from->unknown - CONF_UNKNOWN_REFUSE)};
	w->user = arena_str(&p->snapshot->arena, from->user);
	w->version = arena_str(&p->snapshot->arena, from->version);
	conf_build_workload_identity(p, w);
	w->mark = conf_build_mark(p, from->uid);
	if (!snapshot_is_local(p->snapshot, &w->deliver))
		conf_warning(p, setting, "deliver",
			"not an address of this machine: what is sent there is not encrypted");
	if (!service) {
		if (from->service.len > 0 && !p->with_store)
			conf_build_unknown_service(p, setting, "service", from->service);
		return;
	}
	if (!conf_member(setting, "protocol"))
		w->protocol = p->conf->workloads[index].protocol = service->protocol;
}

/* Several uids with one number would be one identity for all: none of them gets it. */
static void conf_build_mark_alone(struct snapshot *s, uint32_t index)
{
	struct workload *w = &s->workloads[index];
	bool is_alone = true;
	for (uint32_t i = index + 1; w->mark != 0 && i < s->workload_count; i++) {
		if (s->workloads[i].mark != w->mark)
			continue;
		s->workloads[i].mark = 0;
		is_alone = false;
	}
	if (!is_alone)
		w->mark = 0;
}

static void conf_build_workloads(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	s->workloads = conf_build_array(p, p->conf->workload_count, sizeof(*s->workloads));
	s->workload_count = s->workloads ? p->conf->workload_count : 0;
	for (uint32_t i = 0; i < s->workload_count; i++)
		conf_build_workload(p, i);
	for (uint32_t i = 0; i < s->workload_count; i++)
		conf_build_mark_alone(s, i);
	if (!p->is_exhausted && !snapshot_index_workloads(s))
		p->is_exhausted = true;
}

void conf_build(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	s->trust_domain = arena_str(&s->arena, p->conf->trust_domain);
	s->zone = arena_str(&s->arena, p->conf->node_zone);
	if (!s->trust_domain.at || !s->zone.at)
		p->is_exhausted = true;
	/* As long as nothing is known of the mesh, what its policies forbid is not known either. */
	s->default_allow = p->conf->default_allow && (!p->with_store || p->picture);
	s->is_audited = p->conf->is_audited;
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
	if (!p->is_exhausted)
		conf_build_endpoints(p);
	if (!p->is_exhausted)
		conf_build_issuers(p);
	if (!p->is_exhausted)
		conf_build_externals(p);
	if (!p->is_exhausted)
		conf_build_policies(p);
	if (!p->is_exhausted)
		conf_build_routes(p);
	if (!p->is_exhausted)
		conf_build_limits(p);
	if (!p->is_exhausted)
		conf_build_zones(p);
}
