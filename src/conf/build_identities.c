/* SPDX-License-Identifier: Apache-2.0 */
/* Who services and workloads are. What a workload is, this machine's own file says and nobody else:
 * it is what a certificate is asked for. What a service's servers may be, its object says: callers
 * take no other. Where the two do not meet, the workload is refused here, as callers would.
 *
 * An identity is of one service: who has it could otherwise pass for either. That of a name,
 * "service/web", is the name's, whether or not there is such a service. */
#include "parser.h"

#include "mesh/identity.h"

static struct str conf_identity_copy(struct conf_parser *p, struct str text)
{
	if (!text.at)
		p->is_exhausted = true;
	return text;
}

static struct str conf_identity_id(struct conf_parser *p, struct str path)
{
	return conf_identity_copy(
		p, arena_printf(&p->snapshot->arena, "spiffe://" STR_FMT "/" STR_FMT,
			   STR_ARG(p->snapshot->trust_domain), STR_ARG(path)));
}

static struct str conf_identity_of_name(struct conf_parser *p, struct str name)
{
	return conf_identity_copy(
		p, arena_printf(&p->snapshot->arena, "service/" STR_FMT, STR_ARG(name)));
}

bool conf_identity_check(
	struct conf_parser *p, const config_setting_t *setting, struct str service, struct str path)
{
	struct str prefix = STR("service/");
	if (!identity_workload_valid(path)) {
		conf_error(p, setting, "identity",
			"\"%.*s\" is no path of an identity such as \"shop/web\": two segments or "
			"more of letters, digits, '.', '-' and '_', at most %d bytes, no '.' at "
			"the start, and the first neither \"node\" nor \"ca\"",
			STR_ARG(path), IDENTITY_PATH_MAX);
		return false;
	}
	if (!str_starts(path, prefix))
		return true;
	struct str name = {path.at + prefix.len, path.len - prefix.len};
	if (memchr(name.at, '/', name.len) || str_eq(name, service))
		return true;
	conf_error(p, setting, "identity", "\"%.*s\" is that of the service \"%.*s\"",
		STR_ARG(path), STR_ARG(name));
	return false;
}

/* --- services --- */

static void conf_service_add_id(struct service *service, struct str id)
{
	if (id.at && !service_has_id(service, id))
		service->ids[service->id_count++] = id;
}

/* By name: only a declared one says what it is, so that all machines understand the same. */
static struct str conf_identity_named(struct conf_parser *p, const struct service *service,
	const config_setting_t *setting, struct str name)
{
	const struct service *named = snapshot_service(p->snapshot, name);
	if (named == service && conf_member(setting, "identity"))
		conf_error(p, setting, "identities",
			"\"%.*s\" is this service itself; write \"service/%.*s\" for what it would "
			"be without `identity`",
			STR_ARG(name), STR_ARG(name));
	return named && p->service_rows[named->index] ? named->identity
						      : conf_identity_of_name(p, name);
}

/* Of two services whose servers may be the same, callers are told by name alone: that has to be
 * meant. */
static void conf_service_check_other(struct conf_parser *p, const struct service *service,
	const struct conf_service_row *row, struct str text, struct str id)
{
	const struct service *other = snapshot_service_by_id(p->snapshot, id);
	if (!other || other == service || other->is_implicit)
		return;
	if (p->with_store && !p->published)
		conf_warning(p, row->setting, "identities",
			"\"%.*s\" is the identity of the service \"%.*s\"", STR_ARG(text),
			STR_ARG(other->name));
	else
		conf_error(p, row->setting, "identities",
			"\"%.*s\" is the identity of the service \"%.*s\"; if that may be a "
			"server of this one, write \"%.*s\"",
			STR_ARG(text), STR_ARG(other->name), STR_ARG(other->name));
}

/* A machine's, or the authority's. */
static bool conf_id_is_reserved(const struct conf_parser *p, struct str id)
{
	static const char *const starts[] = {"node/", "ca/"};
	for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
		const struct str parts[] = {
			STR("spiffe://"), p->snapshot->trust_domain, STR("/"), str_of(starts[i])};
		struct str rest = id;
		size_t k = 0;
		while (k < ARRAY_LEN(parts) && str_starts(rest, parts[k])) {
			rest = (struct str){rest.at + parts[k].len, rest.len - parts[k].len};
			k++;
		}
		if (k == ARRAY_LEN(parts))
			return true;
	}
	return false;
}

static void conf_service_add_others(
	struct conf_parser *p, struct service *service, const struct conf_service_row *row)
{
	for (uint32_t i = 0; i < row->identity_count && !p->is_exhausted; i++) {
		struct str text = row->identities[i], id = STR_NONE;
		if (identity_service_valid(text))
			conf_service_add_id(service,
				conf_identity_id(
					p, conf_identity_named(p, service, row->setting, text)));
		else if (identity_workload_valid(text))
			id = conf_identity_id(p, text);
		else if (identity_id_valid(text) && !conf_id_is_reserved(p, text))
			id = text;
		else if (text.len > 0)
			conf_error(p, row->setting, "identities",
				"\"%.*s\" is neither a service's name nor a path such as "
				"\"shop/web\" nor a SPIFFE id",
				STR_ARG(text));
		if (id.len == 0)
			continue;
		conf_service_check_other(p, service, row, text, id);
		conf_service_add_id(service, id);
	}
}

/* Of two services with one identity callers could not tell which they reached. */
static void conf_service_check_single(
	struct conf_parser *p, struct service *service, const struct conf_service_row *row)
{
	char place[512];
	const struct service *other = snapshot_service_by_id(p->snapshot, service->ids[0]);
	if (!other) {
		p->is_exhausted = p->is_exhausted || !snapshot_add_service_id(p->snapshot, service);
		return;
	}
	if (!str_eq(other->name, service->name))
		conf_error(p, row->setting, "identity",
			"\"%.*s\" is the identity of \"%.*s\" already, at %s: whoever has it could "
			"pass for either",
			STR_ARG(service->identity), STR_ARG(other->name),
			conf_place_text(
				p, p->service_rows[other->index]->setting, place, sizeof(place)));
}

static void conf_service_declared(
	struct conf_parser *p, struct service *service, const struct conf_service_row *row)
{
	bool has_own = conf_member(row->setting, "identity") &&
		       conf_identity_check(p, row->setting, row->name, row->identity);
	service->identity = has_own ? row->identity : conf_identity_of_name(p, service->name);
	service->ids = conf_build_array(p, row->identity_count + 1u, sizeof(*service->ids));
	if (!service->ids || !service->identity.at)
		return;
	conf_service_add_id(service, conf_identity_id(p, service->identity));
	if (!p->is_exhausted)
		conf_service_check_single(p, service, row);
}

/* One that nobody has declared may be what this machine's workloads of it are, unless that is
 * somebody else's. */
static void conf_service_implicit(struct conf_parser *p, struct service *service)
{
	const struct conf *c = p->conf;
	service->ids = conf_build_array(p, c->workload_count + 1u, sizeof(*service->ids));
	for (uint32_t i = 0; service->ids && i < c->workload_count; i++) {
		if (!str_eq(c->workloads[i].service, service->name))
			continue;
		struct str path = conf_identity_copy(
			p, arena_str(&p->snapshot->arena, c->workloads[i].identity));
		struct str id = conf_identity_id(p, path);
		if (p->is_exhausted || snapshot_service_by_id(p->snapshot, id))
			continue;
		if (service->id_count == 0)
			service->identity = path;
		conf_service_add_id(service, id);
	}
	if (service->id_count == 0) {
		service->identity = conf_identity_of_name(p, service->name);
		if (service->ids)
			conf_service_add_id(service, conf_identity_id(p, service->identity));
	} else if (!p->is_exhausted && !snapshot_add_service_id(p->snapshot, service)) {
		p->is_exhausted = true;
	}
}

void conf_build_identities(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	for (uint32_t i = 0; !p->is_exhausted && i < s->service_count; i++) {
		if (p->service_rows[i])
			conf_service_declared(p, &s->services[i], p->service_rows[i]);
		else
			conf_service_implicit(p, &s->services[i]);
	}
	for (uint32_t i = 0; !p->is_exhausted && i < s->service_count; i++) {
		if (p->service_rows[i])
			conf_service_add_others(p, &s->services[i], p->service_rows[i]);
	}
}

/* --- workloads --- */

static void conf_workload_refuse(struct conf_parser *p, struct workload *w)
{
	const config_setting_t *setting = conf_workload_setting(p, w->index);
	const struct service *service = w->service;
	const struct conf_service_row *row = p->service_rows[service->index];
	char place[512] = "what others have published";
	w->is_refused = true;
	if (row)
		conf_place_text(p, row->setting, place, sizeof(place));
	if (p->with_store)
		conf_warning(p, setting, "identity",
			"\"%.*s\" is none that the service \"%.*s\" may have (\"%.*s\", by %s): "
			"nobody is led to this workload until one of the two is changed",
			STR_ARG(w->identity), STR_ARG(service->name), STR_ARG(service->identity),
			place);
	else
		conf_error(p, setting, "identity",
			"\"%.*s\" is none that the service \"%.*s\" may have: it is \"%.*s\", at "
			"%s; write identity = \"%.*s\" here, or name this one among its "
			"identities",
			STR_ARG(w->identity), STR_ARG(service->name), STR_ARG(service->identity),
			place, STR_ARG(service->identity));
}

void conf_build_workload_identity(struct conf_parser *p, struct workload *w)
{
	struct str path = p->conf->workloads[w->index].identity;
	w->identity = conf_identity_copy(p, arena_str(&p->snapshot->arena, path));
	w->id = conf_identity_id(p, w->identity);
	if (w->service && !p->is_exhausted && identity_workload_valid(path) &&
		!service_has_id(w->service, w->id))
		conf_workload_refuse(p, w);
}
