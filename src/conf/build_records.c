/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints that nodes tell of in their records. Whoever has a node's password can write anything
 * there: what contradicts the objects, this machine or an earlier record is left out, with a
 * warning, and never fails the whole. Who answers at an endpoint is proved by its certificate, so a
 * stolen node can make endpoints unreachable, and pass for none. */
#include "parser.h"

#include "mesh/record.h"
#include <errno.h>

static void conf_record_warn(struct conf_parser *p, struct str node, const char *why)
{
	conf_report_line(p->report, CONF_WARNING, STR_NONE, 0,
		"the record of node \"%.*s\" is left out: %s", node.len < 80 ? (int)node.len : 80,
		node.at, why);
}

void conf_build_records(struct conf_parser *p)
{
	const struct bundle_item *item = NULL;
	uint32_t count = 0;
	if (!p->with_store || !p->picture)
		return;
	while ((item = bundle_next(p->picture, "node", item)))
		count++;
	p->records = conf_build_array(p, count, sizeof(*p->records));
	while (!p->is_exhausted && (item = bundle_next(p->picture, "node", item))) {
		struct record *record = &p->records[p->record_count];
		struct err why;
		int r = record_parse(item->text, &p->snapshot->arena, record, &why);
		if (r == -ENOMEM)
			p->is_exhausted = true;
		else if (r < 0)
			conf_record_warn(p, item->name, why.text);
		else if (!str_eq(record->node, item->name))
			conf_record_warn(p, item->name, "it is another node's");
		else
			p->record_count++;
	}
	p->snapshot->node_count = p->record_count;
}

void conf_build_count_told(struct conf_parser *p, uint32_t *counts)
{
	for (uint32_t r = 0; r < p->record_count; r++) {
		const struct record *record = &p->records[r];
		for (uint32_t i = 0; i < record->endpoint_count; i++) {
			const struct record_endpoint *e = &record->endpoints[i];
			const struct service *service = snapshot_service(p->snapshot, e->service);
			if (service)
				counts[service->index] += e->address_count;
		}
	}
}

/* Nothing there would prove who answers: only an operator's word says where plain text may go. */
static const char conf_told_plain[] =
	"mtls is \"disabled\" there: its endpoints are those that are published with the service";

/* Why an endpoint is not taken; NULL: it is. */
static const char *conf_told_refused(const struct conf_parser *p, const struct record *record,
	const struct service *service, const struct address *a, struct workload **ret_local)
{
	const struct snapshot *s = p->snapshot;
	bool is_own = str_eq(record->node, p->conf->node_name);
	*ret_local = NULL;
	if (!address_is_host(a) || address_is_loopback(a))
		return "no address of a machine";
	if (snapshot_is_local(s, a) && !is_own)
		return "it is this machine's";
	if (snapshot_endpoint(s, a))
		return "somebody else's already";
	if (snapshot_service_by_address(s, a))
		return "a service's own address";
	if (!is_own)
		return service_mtls(service, a->port) == MTLS_DISABLED ? conf_told_plain : NULL;
	struct workload *w = snapshot_is_local(s, a)
				     ? (struct workload *)snapshot_workload_by_port(s, a->port)
				     : NULL;
	*ret_local = w && w->service == service ? w : NULL;
	if (w && w->is_refused)
		return "its identity is none that the service may have";
	return *ret_local ? NULL : "no workload of this machine serves it";
}

static void conf_told_add(struct conf_parser *p, const struct record *record,
	const struct record_endpoint *told, struct service *service, const struct address *a)
{
	char text[ADDRESS_TEXT_MAX];
	struct workload *local;
	const char *why = conf_told_refused(p, record, service, a, &local);
	if (why) {
		p->snapshot->refused_endpoint_count++;
		conf_report_line(p->report, CONF_WARNING, STR_NONE, 0,
			"node \"%.*s\": the endpoint %s of \"%.*s\" is left out: %s",
			STR_ARG(record->node), address_text(a, text), STR_ARG(service->name), why);
		return;
	}
	struct endpoint *e = &service->endpoints[service->endpoint_count++];
	*e = (struct endpoint){
		.service = service,
		.address = *a,
		.version = told->version,
		.node_name = record->node,
		.zone = record->zone,
		.weight = told->weight,
		.health = told->health,
		.local = local,
	};
	if (!snapshot_add_endpoint(p->snapshot, e))
		p->is_exhausted = true;
}

static void conf_told_add_all(struct conf_parser *p, const struct record *record)
{
	for (uint32_t i = 0; i < record->endpoint_count; i++) {
		const struct record_endpoint *told = &record->endpoints[i];
		struct service *service =
			(struct service *)snapshot_service(p->snapshot, told->service);
		if (!service)
			p->snapshot->unknown_endpoint_count += told->address_count;
		if (!service)
			continue;
		uint32_t before = service->endpoint_count;
		for (uint32_t a = 0; a < told->address_count; a++)
			conf_told_add(p, record, told, service, &told->addresses[a]);
		/* its first address, even if it is left out here */
		conf_build_instance(p, &service->endpoints[before],
			service->endpoint_count - before, endpoint_key_of(&told->addresses[0]));
	}
}

void conf_build_told(struct conf_parser *p)
{
	for (uint32_t r = 0; !p->is_exhausted && r < p->record_count; r++)
		conf_told_add_all(p, &p->records[r]);
}
