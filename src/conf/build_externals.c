/* SPDX-License-Identifier: Apache-2.0 */
/* Externals from rows. One host and port, or one address, means one external: what a workload gets
 * must not depend on the order of files. */
#include "mesh/external.h"

#include "mesh/identity.h"
#include "parser.h"

static void conf_external_twice(struct conf_parser *p, const struct conf_external_row *row,
	const char *key, const struct external *first, struct str what)
{
	conf_error(p, row->setting, key, "\"%.*s\" is \"%.*s\"'s already, at %.*s", STR_ARG(what),
		STR_ARG(first->name), STR_ARG(first->where));
}

static bool conf_external_name(struct conf_parser *p, const struct conf_external_row *row)
{
	const struct snapshot *s = p->snapshot;
	if (row->name.len == 0)
		return false;
	if (!identity_service_valid(row->name)) {
		conf_error(p, row->setting, "name",
			"\"%.*s\" is no name for an external: lower-case letters, digits and '-' "
			"inside, at most %d",
			STR_ARG(row->name), IDENTITY_SERVICE_MAX);
		return false;
	}
	if (snapshot_service(s, row->name)) {
		conf_error(p, row->setting, "name", "\"%.*s\" is a service of the mesh",
			STR_ARG(row->name));
		return false;
	}
	for (uint32_t i = 0; i < s->external_count; i++) {
		if (!str_eq(s->externals[i].name, row->name))
			continue;
		conf_external_twice(p, row, "name", &s->externals[i], row->name);
		return false;
	}
	return true;
}

/* --- hosts --- */

static void conf_external_host(struct conf_parser *p, const struct conf_external_row *row,
	const struct external *e, struct str host)
{
	bool is_free = true;
	if (!external_host_valid(host)) {
		conf_error(p, row->setting, "host",
			"\"%.*s\" is no host: a name in lower case, no address, without port; "
			"\"*.\" stands at the beginning only",
			STR_ARG(host));
		return;
	}
	for (uint32_t i = 0; i < e->port_count && is_free; i++) {
		const struct external *first =
			external_of_host(p->snapshot, host, (uint16_t)e->ports[i]);
		is_free = !first;
		if (first)
			conf_external_twice(p, row, "host", first, host);
	}
	if (is_free && !external_add_host(p->snapshot, e, host))
		p->is_exhausted = true;
	if (host.at[0] == '*' && e->address_count == 0)
		conf_warning(p, row->setting, "host",
			"\"%.*s\" cannot be looked up: without `addresses` nothing of it is "
			"reached",
			STR_ARG(host));
}

static void conf_external_count_hosts(
	struct conf_parser *p, const struct conf_external_row *row, const struct external *e)
{
	uint32_t before = 0, count = 0;
	for (uint32_t i = 0; i <= e->index; i++) {
		const struct external *one = &p->snapshot->externals[i];
		before = count;
		count += one->address_count == 0 ? one->host_count : 0;
	}
	if (before <= EXTERNAL_HOSTS_MAX && count > EXTERNAL_HOSTS_MAX)
		conf_error(p, row->setting, "host", "more than %d hosts to be looked up in all",
			EXTERNAL_HOSTS_MAX);
}

/* --- addresses --- */

static void conf_external_address(struct conf_parser *p, const struct conf_external_row *row,
	const struct external *e, const struct address_range *range)
{
	char text[ADDRESS_TEXT_MAX];
	struct address a = range->base;
	bool is_single = external_is_single(range);
	if (is_single && (!address_is_host(&a) || address_is_loopback(&a)))
		conf_error(p, row->setting, "address", "%s is no machine outside",
			address_ip_text(&a, text));
	for (uint32_t i = 0; is_single && i < e->port_count; i++) {
		a.port = (uint16_t)e->ports[i];
		struct destination to = snapshot_destination(p->snapshot, &a);
		if (to.kind != DESTINATION_UNKNOWN)
			conf_error(p, row->setting, "address", "%s is \"%.*s\", of the mesh",
				address_text(&a, text), STR_ARG(to.service->name));
	}
}

static bool conf_externals_share_port(const struct external *a, const struct external *b)
{
	for (uint32_t i = 0; i < a->port_count; i++) {
		if (external_has_port(b, (uint16_t)a->ports[i]))
			return true;
	}
	return false;
}

/* Those without hosts. */
static void conf_external_alone(
	struct conf_parser *p, const struct conf_external_row *row, const struct external *e)
{
	char text[ADDRESS_TEXT_MAX];
	for (uint32_t i = 0; i < e->index; i++) {
		const struct external *other = &p->snapshot->externals[i];
		if (other->host_count > 0 || !conf_externals_share_port(e, other))
			continue;
		for (uint32_t j = 0; j < e->address_count * other->address_count; j++) {
			const struct address_range
				*one = &e->addresses[j / other->address_count],
				*two = &other->addresses[j % other->address_count];
			if (one->prefix_len == two->prefix_len && address_in(&one->base, two))
				conf_external_twice(p, row, "address", other,
					str_of(address_ip_text(&one->base, text)));
		}
	}
}

/* --- who --- */

static void conf_external_from(
	struct conf_parser *p, const struct conf_external_row *row, struct external *e)
{
	uint32_t count = 0;
	if (row->from_count == 0 && conf_member(row->setting, "from"))
		conf_error(p, row->setting, "from",
			"an empty list would name nobody; leave it out for any workload of the "
			"mesh");
	conf_build_check_from(p, row->setting, row->from, row->from_count);
	for (uint32_t i = 0; i < row->from_count; i++)
		count += source_count(p->snapshot, row->from[i]);
	e->from = conf_build_array(p, count, sizeof(*e->from));
	for (uint32_t i = 0; e->from && i < row->from_count; i++) {
		uint32_t more = source_count(p->snapshot, row->from[i]);
		struct source *at = &e->from[e->from_count];
		if (more > 0 && !source_read(p->snapshot, row->from[i], &p->snapshot->arena, at))
			p->is_exhausted = true;
		if (more > 0 && (at->kind == SOURCE_ANONYMOUS || at->kind == SOURCE_RANGE))
			conf_error(p, row->setting, "from",
				"\"%.*s\": nobody without an identity is let out",
				STR_ARG(row->from[i]));
		e->from_count += more;
	}
}

/* --- TLS --- */

static bool conf_external_ca_valid(struct str ca)
{
	for (size_t i = 0; i < ca.len; i++) {
		char c = ca.at[i];
		bool is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			       (c >= '0' && c <= '9') || c == '-' || c == '_' ||
			       (c == '.' && i > 0);
		if (!is_good)
			return false;
	}
	return ca.len <= EXTERNAL_HOST_MAX;
}

static void conf_external_tls(struct conf_parser *p, const struct conf_external_row *row)
{
	static const char *const keys[] = {"sni", "ca", "port_tls"};
	bool is_origin = row->tls == EXTERNAL_ORIGINATE;
	for (size_t i = 0; i < ARRAY_LEN(keys) && !is_origin; i++) {
		if (conf_member(row->setting, keys[i]))
			conf_error(p, row->setting, keys[i], "only with tls \"originate\"");
	}
	if (row->host_count == 0 && row->tls == EXTERNAL_PASSTHROUGH)
		conf_error(p, row->setting, "tls",
			"without hosts there is no name to look for in the workload's TLS: "
			"\"none\" "
			"lets its bytes pass as they are");
	if (row->host_count == 0 && is_origin && row->sni.len == 0)
		conf_error(p, row->setting, "sni",
			"missing: without hosts, what is the server to be called?");
	if (row->sni.len > 0 && (row->sni.at[0] == '*' || !external_host_valid(row->sni)))
		conf_error(p, row->setting, "sni", "\"%.*s\" is no host name in lower case",
			STR_ARG(row->sni));
	if (!conf_external_ca_valid(row->ca))
		conf_error(p, row->setting, "ca",
			"\"%.*s\" is no name of a file in outside.directory: letters, digits, '-', "
			"'_' and '.'",
			STR_ARG(row->ca));
}

/* --- all of it --- */

static void conf_external_build(struct conf_parser *p, const struct conf_external_row *row)
{
	struct snapshot *s = p->snapshot;
	struct external *e = &s->externals[s->external_count];
	char place[512];
	*e = (struct external){.index = s->external_count,
		.name = row->name,
		.where = arena_str(
			&s->arena, str_of(conf_place_text(p, row->setting, place, sizeof(place)))),
		.hosts = row->hosts,
		.host_count = row->host_count,
		.ports = row->ports,
		.port_count = row->port_count,
		.tls = row->tls,
		.addresses = row->addresses,
		.address_count = row->address_count,
		.ca = row->ca,
		.sni = row->sni,
		.port_tls = row->port_tls};
	for (uint32_t i = 0; i < e->host_count; i++)
		conf_external_host(p, row, e, e->hosts[i]);
	conf_external_count_hosts(p, row, e);
	for (uint32_t i = 0; i < e->address_count; i++)
		conf_external_address(p, row, e, &e->addresses[i]);
	if (e->host_count + e->address_count == 0)
		conf_error(p, row->setting, NULL, "neither hosts nor addresses: what is it?");
	if (e->host_count == 0)
		conf_external_alone(p, row, e);
	conf_external_from(p, row, e);
	conf_external_tls(p, row);
	s->external_count++;
}

void conf_build_externals(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	uint32_t count = 0;
	for (uint32_t f = 0; f < p->mesh_count; f++)
		count += p->mesh[f].mesh.external_count;
	s->externals = conf_build_array(p, count, sizeof(*s->externals));
	for (uint32_t f = 0; !p->is_exhausted && f < p->mesh_count; f++) {
		for (uint32_t i = 0; i < p->mesh[f].mesh.external_count; i++) {
			const struct conf_external_row *row = &p->mesh[f].mesh.externals[i];
			if (conf_external_name(p, row))
				conf_external_build(p, row);
		}
	}
}
