/* SPDX-License-Identifier: Apache-2.0 */
/* Routes from rows, joined to services and versions. A name that nobody has is an error where the
 * whole mesh is known: in files, and when objects are published. On a node with a store it is a
 * warning, since the rest of the mesh must go on: what is sent there is answered 503, with the
 * reason. */
#include "build_routes.h"

#include "mesh/identity.h"
#include "mesh/record.h"
#include <stdio.h>

/* --- versions --- */

bool conf_service_has_version(
	const struct conf_parser *p, const struct service *service, struct str version)
{
	for (uint32_t i = 0; i < service->endpoint_count; i++) {
		if (str_eq(service->endpoints[i].version, version))
			return true;
	}
	for (uint32_t i = 0; i < p->snapshot->workload_count; i++) {
		const struct workload *w = &p->snapshot->workloads[i];
		if (w->service == service && str_eq(w->version, version))
			return true;
	}
	return p->published && conf_published_has_version(p, service->name, version);
}

void conf_words_of_versions(
	const struct conf_parser *p, const struct service *service, struct conf_words *words)
{
	for (uint32_t i = 0; i < service->endpoint_count; i++)
		conf_words_add(words, service->endpoints[i].version);
	for (uint32_t i = 0; i < p->snapshot->workload_count; i++) {
		if (p->snapshot->workloads[i].service == service)
			conf_words_add(words, p->snapshot->workloads[i].version);
	}
	if (p->published)
		conf_published_versions(p, service->name, words);
}

/* With weight 0 nothing is sent there yet: the rule may be ready before the version is. */
static void conf_check_version(
	struct conf_parser *p, const struct conf_leg_row *row, const struct service *service)
{
	struct conf_words known = {0};
	bool is_error = row->weight > 0 && (p->published || !p->with_store);
	if (!record_word_valid(row->version)) {
		conf_error(p, row->setting, "version",
			"\"%.*s\" is no version: at most %d "
			"printable bytes without space",
			STR_ARG(row->version), RECORD_WORD_MAX);
		return;
	}
	if (conf_service_has_version(p, service, row->version))
		return;
	conf_words_of_versions(p, service, &known);
	(is_error ? conf_error : conf_warning)(p, row->setting, "version",
		"no endpoint of \"%.*s\" has the version \"%.*s\"%s%s", STR_ARG(service->name),
		STR_ARG(row->version), known.count ? "; there are " : ", or any", known.text);
}

/* --- legs --- */

static void conf_leg_protocol(struct conf_parser *p, const struct conf_leg_row *row,
	const struct service *to, const struct service *from)
{
	if (to->protocol == from->protocol || to->protocol == PROTOCOL_DETECT ||
		from->protocol == PROTOCOL_DETECT)
		return;
	(p->with_store && !p->published ? conf_warning : conf_error)(p, row->setting, "service",
		"\"%.*s\" speaks %s, and \"%.*s\" %s", STR_ARG(to->name),
		protocol_name(to->protocol), STR_ARG(from->name), protocol_name(from->protocol));
}

static void conf_leg_build(struct conf_parser *p, const struct route *route,
	const struct conf_leg_row *row, struct route_leg *leg)
{
	struct str name = row->service.len ? row->service : route->service->name;
	*leg = (struct route_leg){.service = snapshot_service(p->snapshot, name),
		.version = row->version,
		.weight = row->weight};
	if (!leg->service) {
		if (identity_service_valid(name))
			conf_build_unknown_service(p, row->setting, "service", name);
		else
			conf_error(p, row->setting, "service", "\"%.*s\" is no service name",
				STR_ARG(name));
		return;
	}
	conf_leg_protocol(p, row, leg->service, route->service);
	if (row->version.len > 0)
		conf_check_version(p, row, leg->service);
}

static void conf_rule_legs(struct conf_parser *p, const struct route *route,
	const struct conf_rule_row *row, struct route_rule *rule)
{
	uint32_t sum = 0;
	if (row->leg_count > ROUTE_LEGS_MAX) {
		conf_error(p, row->setting, "split", "more than %d", ROUTE_LEGS_MAX);
		return;
	}
	rule->legs = conf_build_array(p, row->leg_count, sizeof(*rule->legs));
	for (uint32_t i = 0; rule->legs && i < row->leg_count; i++) {
		conf_leg_build(p, route, &row->legs[i], &rule->legs[rule->leg_count++]);
		sum += row->legs[i].weight;
	}
	if (conf_member(row->setting, "split") && sum == 0)
		conf_error(p, row->setting, "split", "nothing gets anything: every weight is 0");
}

static void conf_rule_mirrors(struct conf_parser *p, const struct route *route,
	const struct conf_rule_row *row, struct route_rule *rule)
{
	if (row->mirror_count > ROUTE_MIRRORS_MAX) {
		conf_error(p, row->setting, "mirror", "more than %d", ROUTE_MIRRORS_MAX);
		return;
	}
	rule->mirrors = conf_build_array(p, row->mirror_count, sizeof(*rule->mirrors));
	for (uint32_t i = 0; rule->mirrors && i < row->mirror_count; i++) {
		const struct conf_leg_row *m = &row->mirrors[i];
		conf_leg_build(p, route, m, &rule->mirrors[rule->mirror_count++]);
		if (m->service.len + m->version.len == 0)
			conf_error(p, m->setting, NULL, "to whom? Give service or version");
	}
}

/* --- rules --- */

static void conf_rule_name(struct conf_parser *p, const struct route *route,
	const struct conf_rule_row *row, struct route_rule *rule)
{
	if (row->name.len > 0 && !record_word_valid(row->name))
		conf_error(p, row->setting, "name",
			"\"%.*s\" is no name: at most %d printable "
			"bytes without space",
			STR_ARG(row->name), RECORD_WORD_MAX);
	rule->name = row->name.len > 0 ? arena_printf(&p->snapshot->arena, "%.*s/%.*s",
						 STR_ARG(route->service->name), STR_ARG(row->name))
				       : arena_printf(&p->snapshot->arena, "%.*s/rules[%u]",
						 STR_ARG(route->service->name), rule->index);
	if (!rule->name.at)
		p->is_exhausted = true;
}

/* Of a tcp service there is nothing to see but who calls. */
static void conf_rule_warn_tcp(struct conf_parser *p, const struct conf_rule_row *row)
{
	static const char *const done[] = {"mirror", "timeout", "retries", "fault",
		"request_headers", "response_headers", "rewrite", "redirect", "respond"};
	const config_setting_t *match = conf_member(row->setting, "match");
	int asked = match ? config_setting_length(match) : 0;
	if (asked > 0 && !(asked == 1 && conf_member(match, "from")))
		conf_warning(p, row->setting, "match",
			"a tcp service has no more to ask for than `from`: the rule never "
			"matches");
	for (size_t i = 0; i < ARRAY_LEN(done); i++) {
		if (conf_member(row->setting, done[i]))
			conf_warning(p, row->setting, done[i], "does nothing for a tcp service");
	}
}

static void conf_rule_build(struct conf_parser *p, const struct route *route,
	const struct conf_rule_row *row, struct route_rule *rule)
{
	conf_rule_name(p, route, row, rule);
	conf_rule_when(p, row, &rule->when);
	conf_rule_legs(p, route, row, rule);
	conf_rule_mirrors(p, route, row, rule);
	rule->timeout_ms = row->timeout_ms;
	conf_rule_sticky(p, row, &rule->sticky);
	conf_rule_retries(p, row, &rule->retry);
	conf_rule_fault(p, row, &rule->fault);
	conf_rule_edit(p, row, "request_headers", &row->request, &rule->request);
	conf_rule_edit(p, row, "response_headers", &row->response, &rule->response);
	conf_rule_action(p, row, rule);
	if (route->service->protocol == PROTOCOL_TCP)
		conf_rule_warn_tcp(p, row);
}

/* --- routes --- */

static void conf_route_again(
	struct conf_parser *p, const struct conf_route_row *row, const struct conf_route_row *first)
{
	char place[512];
	conf_error(p, row->setting, "service", "\"%.*s\" has a route already, at %s",
		STR_ARG(row->service), conf_place_text(p, first->setting, place, sizeof(place)));
}

/* For whoever writes routes; the nodes of a mesh need not say it again with every picture. */
static void conf_route_warn(
	struct conf_parser *p, const struct route *route, const struct conf_route_row *row)
{
	if (p->with_store && !p->published)
		return;
	if (route->service->address_count == 0)
		conf_warning(p, row->setting, "service",
			"\"%.*s\" has no address of its own: who dials an endpoint gets that one, "
			"whatever the route says",
			STR_ARG(route->service->name));
	conf_route_cover(p, route, row);
}

static void conf_route_build(struct conf_parser *p, const struct conf_route_row *row,
	struct service *service, const struct conf_route_row **rows)
{
	struct route *route = &p->snapshot->routes[p->snapshot->route_count];
	if (service->route) {
		conf_route_again(p, row, rows[service->route - p->snapshot->routes]);
		return;
	}
	rows[p->snapshot->route_count++] = row;
	*route = (struct route){.service = service};
	service->route = route;
	route->rules = conf_build_array(p, row->rule_count, sizeof(*route->rules));
	for (uint32_t i = 0; route->rules && i < row->rule_count; i++) {
		struct route_rule *rule = &route->rules[route->rule_count++];
		rule->index = i;
		conf_rule_build(p, route, &row->rules[i], rule);
	}
	if (row->rule_count == 0)
		conf_error(p, row->setting, "rules", "none; leave the route out");
	conf_route_warn(p, route, row);
}

static void conf_route_row(
	struct conf_parser *p, const struct conf_route_row *row, const struct conf_route_row **rows)
{
	struct service *service = (struct service *)snapshot_service(p->snapshot, row->service);
	if (service)
		conf_route_build(p, row, service, rows);
	else if (row->service.len > 0 && !identity_service_valid(row->service))
		conf_error(p, row->setting, "service", "\"%.*s\" is no service name",
			STR_ARG(row->service));
	else if (row->service.len > 0)
		conf_build_unknown_service(p, row->setting, "service", row->service);
}

/* --- what legs lead to --- */

static void conf_subset_fill(struct conf_parser *p, struct service *service, struct str version)
{
	struct subset *subset = &service->subsets[service->subset_count++];
	uint32_t count = 0;
	uint64_t sum = 0;
	for (uint32_t i = 0; i < service->endpoint_count; i++)
		count += str_eq(service->endpoints[i].version, version);
	*subset = (struct subset){.version = version};
	subset->endpoints = conf_build_array(p, count, sizeof(*subset->endpoints));
	subset->up_sums = conf_build_array(p, count, sizeof(*subset->up_sums));
	for (uint32_t i = 0; !p->is_exhausted && i < service->endpoint_count; i++) {
		struct endpoint *e = &service->endpoints[i];
		if (!str_eq(e->version, version))
			continue;
		sum += e->health == ENDPOINT_UP && !e->alternate ? e->weight : 0;
		subset->up_sums[subset->endpoint_count] = sum;
		subset->endpoints[subset->endpoint_count++] = e;
	}
}

static void conf_visit_legs(struct conf_parser *p, const struct route_leg *legs, uint32_t count,
	void (*visit)(struct conf_parser *p, struct service *service, struct str version))
{
	for (uint32_t l = 0; !p->is_exhausted && l < count; l++) {
		if (legs[l].service && legs[l].version.len > 0)
			visit(p, (struct service *)legs[l].service, legs[l].version);
	}
}

static void conf_each_leg(struct conf_parser *p,
	void (*visit)(struct conf_parser *p, struct service *service, struct str version))
{
	const struct snapshot *s = p->snapshot;
	for (uint32_t r = 0; r < s->route_count; r++) {
		for (uint32_t i = 0; i < s->routes[r].rule_count; i++) {
			const struct route_rule *rule = &s->routes[r].rules[i];
			conf_visit_legs(p, rule->legs, rule->leg_count, visit);
			conf_visit_legs(p, rule->mirrors, rule->mirror_count, visit);
		}
	}
}

static void conf_subset_count(struct conf_parser *p, struct service *service, struct str version)
{
	service->subset_count++;
}

static void conf_subset_put(struct conf_parser *p, struct service *service, struct str version)
{
	if (!service_subset(service, version))
		conf_subset_fill(p, service, version);
}

static void conf_routes_subsets(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	conf_each_leg(p, conf_subset_count);
	for (uint32_t i = 0; i < s->service_count; i++) {
		struct service *service = &s->services[i];
		service->subsets =
			conf_build_array(p, service->subset_count, sizeof(*service->subsets));
		service->subset_count = 0;
	}
	conf_each_leg(p, conf_subset_put);
}

void conf_build_routes(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	uint32_t count = 0;
	for (uint32_t f = 0; f < p->mesh_count; f++)
		count += p->mesh[f].mesh.route_count + p->mesh[f].mesh.rollout_count;
	if (count == 0)
		return;
	s->routes = conf_build_array(p, count, sizeof(*s->routes));
	const struct conf_route_row **rows = conf_build_array(p, count, sizeof(*rows));
	for (uint32_t f = 0; !p->is_exhausted && f < p->mesh_count; f++) {
		for (uint32_t i = 0; i < p->mesh[f].mesh.route_count; i++)
			conf_route_row(p, &p->mesh[f].mesh.routes[i], rows);
	}
	if (!p->is_exhausted)
		conf_build_rollouts(p);
	if (!p->is_exhausted)
		conf_routes_subsets(p);
}
