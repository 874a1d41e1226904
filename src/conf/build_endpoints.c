/* SPDX-License-Identifier: Apache-2.0 */
/* Where services are reached: their instances and their own addresses, each of which may stand for
 * one thing only. What objects say wrongly is an error; what a node tells is its own doing and
 * never fails the others (build_records.c). */
#include "parser.h"

static uint32_t conf_endpoint_count(const struct conf_service_row *row)
{
	uint32_t count = 0;
	for (uint32_t i = 0; row && i < row->endpoint_count; i++)
		count += row->endpoints[i].address_count;
	return count;
}

static bool conf_has_family(const struct conf *c, uint8_t family)
{
	for (uint32_t i = 0; i < c->node_address_count; i++) {
		if (c->node_addresses[i].family == family)
			return true;
	}
	return false;
}

void conf_build_instance(
	const struct conf_parser *p, struct endpoint *addresses, uint32_t count, uint64_t key)
{
	uint32_t first = 0;
	while (first < count && !conf_has_family(p->conf, addresses[first].address.family))
		first++;
	first = first < count ? first : 0;
	for (uint32_t i = 0; i < count; i++) {
		addresses[i].alternate = i != first;
		addresses[i].key = key;
	}
}

static void conf_endpoint_fill(struct conf_parser *p, struct service *service,
	const struct conf_service_row *service_row, const struct conf_endpoint_row *row)
{
	uint16_t port = row->port ? row->port : service_row->port;
	for (uint32_t i = 0; i < row->address_count; i++) {
		struct endpoint *e = &service->endpoints[service->endpoint_count++];
		e->service = service;
		e->address = row->addresses[i];
		e->address.port = port;
		e->version = row->version;
		e->zone = row->zone;
		e->weight = row->weight;
		e->health = ENDPOINT_UP;
	}
	struct endpoint *own = &service->endpoints[service->endpoint_count - row->address_count];
	conf_build_instance(p, own, row->address_count,
		row->address_count ? endpoint_key_of(&own->address) : 0);
	if (port == 0)
		conf_error(p, row->setting, "port",
			"missing here and in the service: where do clients dial it?");
}

/* With room for what nodes tell of. */
static void conf_endpoints_fill(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	uint32_t *counts = conf_build_array(p, s->service_count, sizeof(*counts));
	if (counts)
		conf_build_count_told(p, counts);
	for (uint32_t i = 0; counts && i < s->service_count; i++) {
		struct service *service = &s->services[i];
		const struct conf_service_row *row = p->service_rows[i];
		service->endpoints = conf_build_array(
			p, conf_endpoint_count(row) + counts[i], sizeof(*service->endpoints));
		for (uint32_t e = 0; row && service->endpoints && e < row->endpoint_count; e++)
			conf_endpoint_fill(p, service, row, &row->endpoints[e]);
	}
}

/* Its place in the look-up table, and the workload behind it. */
static void conf_endpoint_join(
	struct conf_parser *p, struct endpoint *e, const config_setting_t *setting)
{
	char text[ADDRESS_TEXT_MAX];
	const struct endpoint *first = snapshot_endpoint(p->snapshot, &e->address);
	if (e->address.port == 0)
		return;
	if (first) {
		conf_error(p, setting, "address", "%s is an endpoint of \"%.*s\" already",
			address_text(&e->address, text), STR_ARG(first->service->name));
		return;
	}
	if (!snapshot_add_endpoint(p->snapshot, e))
		p->is_exhausted = true;
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
 * it is called should say where; with a store, nodes will. */
static void conf_endpoints_warn(
	struct conf_parser *p, const struct service *service, const struct conf_service_row *row)
{
	bool is_called =
		conf_member(row->setting, "port") || conf_member(row->setting, "protocol") ||
		conf_member(row->setting, "mtls") || conf_member(row->setting, "mtls_ports");
	bool is_here = p->with_store || p->published;
	for (uint32_t i = 0; !is_here && i < p->snapshot->workload_count; i++)
		is_here = p->snapshot->workloads[i].service == service;
	if (is_called && !is_here && service->endpoint_count == 0)
		conf_warning(p, row->setting, "endpoints",
			"\"%.*s\" has none, and no workload here is it: it cannot be called",
			STR_ARG(service->name));
}

static void conf_endpoints_join(
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
			conf_endpoint_join(
				p, &service->endpoints[index++], row->endpoints[i].setting);
	}
	conf_endpoints_warn(p, service, row);
}

/* --- services' own addresses --- */

/* An address for which nobody else is asked; false, with the error noted: somebody is. */
static bool conf_address_free(
	struct conf_parser *p, const struct conf_service_row *row, const struct address *a)
{
	char text[ADDRESS_TEXT_MAX];
	const struct endpoint *e = snapshot_endpoint(p->snapshot, a);
	const struct service *other = snapshot_service_by_address(p->snapshot, a);
	address_text(a, text);
	if (!address_is_host(a))
		conf_error(p, row->setting, "address",
			"%s is no address that a machine could have; take one that none has", text);
	else if (snapshot_is_local(p->snapshot, a))
		conf_error(p, row->setting, "address",
			"%s is this machine's own; take an address that no machine has", text);
	else if (e)
		conf_error(p, row->setting, "address",
			"%s is an endpoint of \"%.*s\"; take an address that no machine has", text,
			STR_ARG(e->service->name));
	else if (other)
		conf_error(p, row->setting, "address", "%s is the address of \"%.*s\" already",
			text, STR_ARG(other->name));
	else
		return true;
	return false;
}

static void conf_addresses_build(
	struct conf_parser *p, struct service *service, const struct conf_service_row *row)
{
	if (row->address_count > 0 && row->port == 0) {
		conf_error(p, row->setting, "port", "missing: who dials the address needs one");
		return;
	}
	service->addresses = conf_build_array(p, row->address_count, sizeof(*service->addresses));
	for (uint32_t i = 0; service->addresses && i < row->address_count; i++) {
		struct address a = row->addresses[i];
		a.port = row->port;
		if (a.family == 0 || !conf_address_free(p, row, &a))
			continue;
		service->addresses[service->address_count++] = a;
		if (!snapshot_add_address(p->snapshot, service, &a))
			p->is_exhausted = true;
	}
}

/* For a draw by weight that need not look at all of them. */
static void conf_endpoints_sum(struct conf_parser *p, struct service *service)
{
	uint64_t sum = 0;
	service->up_sums = conf_build_array(p, service->endpoint_count, sizeof(*service->up_sums));
	for (uint32_t i = 0; service->up_sums && i < service->endpoint_count; i++) {
		const struct endpoint *e = &service->endpoints[i];
		sum += e->health == ENDPOINT_UP && !e->alternate ? e->weight : 0;
		service->up_sums[i] = sum;
	}
}

void conf_build_endpoints(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	conf_build_records(p);
	conf_endpoints_fill(p);
	for (uint32_t i = 0; !p->is_exhausted && i < s->service_count; i++) {
		if (p->service_rows[i])
			conf_endpoints_join(p, &s->services[i], p->service_rows[i]);
	}
	for (uint32_t i = 0; !p->is_exhausted && i < s->service_count; i++) {
		if (p->service_rows[i])
			conf_addresses_build(p, &s->services[i], p->service_rows[i]);
	}
	if (!p->is_exhausted)
		conf_build_told(p);
	for (uint32_t i = 0; !p->is_exhausted && i < s->service_count; i++)
		conf_endpoints_sum(p, &s->services[i]);
}
