/* SPDX-License-Identifier: Apache-2.0 */
/* Rollouts: from rows and from what the picture says of their progress, to routes whose legs are
 * divided. A leg to the service in any version, or in the version that it leaves, becomes two: so
 * much to `from`, so much to `to`, in that order, so that with another percentage only the border
 * between them moves, and of the values that stick to a leg only those that must. That holds for
 * the legs of all routes, other services' too; for calls that no rule of the service's own route
 * matches; and for a service without a route. A leg that names `to` itself, or a third version, is
 * left as it is.
 *
 * A preview is a copy of each such rule before it, for requests that have its headers besides: the
 * testers get what all will get at 100 %. */
#include "build_routes.h"
#include "rollouts.h"

#include "mesh/identity.h"
#include "mesh/rollout.h"

/* Beside snapshot.rollouts. */
struct conf_preview {
	struct route_fields headers, cookies;
};

struct conf_divider {
	struct conf_parser *p;
	const struct conf_rollout_row **rows;
	struct conf_preview *previews;
};

/* --- from rows --- */

/* Those that calls from here may go to. */
static uint32_t conf_count_up(
	const struct snapshot *s, const struct service *service, struct str version)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < service->endpoint_count; i++) {
		const struct endpoint *e = &service->endpoints[i];
		bool is_open = service->zones != ZONE_STRICT || conf_zone_is_near(s, e);
		count += is_open && str_eq(e->version, version) && e->health == ENDPOINT_UP &&
			 !e->alternate;
	}
	return count;
}

/* Calls go where somebody is there to take them. */
static uint32_t conf_rollout_share(const struct snapshot *s, const struct rollout *r)
{
	bool is_from_up = conf_count_up(s, r->service, r->from) > 0;
	bool is_to_up = conf_count_up(s, r->service, r->to) > 0;
	if (is_from_up == is_to_up)
		return r->percent;
	return is_to_up ? 100 : 0;
}

static struct str conf_keep(struct conf_parser *p, struct str text)
{
	struct str copy = text.len ? arena_str(&p->snapshot->arena, text) : STR("");
	if (!copy.at)
		p->is_exhausted = true;
	return copy;
}

/* False: there is none, or it is of something else. Its texts are the picture's. */
static bool conf_rollout_progress(struct conf_parser *p, const struct conf_rollout_row *row,
	const struct rollout_rule *rule, struct rollout_progress *ret_progress)
{
	const struct bundle_item *item =
		p->picture ? bundle_find(p->picture, "rollout", rule->service) : NULL;
	struct err err;
	if (!item)
		return false;
	if (rollout_progress_parse(item->text, ret_progress, &err) < 0) {
		conf_warning(p, row->setting, NULL,
			"its progress in the store is not taken, so \"%.*s\" gets nothing: %s",
			STR_ARG(rule->to), err.text);
		return false;
	}
	return rollout_belongs(rule, ret_progress);
}

static void conf_rollout_fill(struct conf_parser *p, const struct conf_rollout_row *row,
	const struct rollout_rule *rule, struct rollout *r)
{
	struct rollout_progress progress;
	bool is_begun = conf_rollout_progress(p, row, rule, &progress);
	*r = (struct rollout){.service = r->service,
		.from = rule->from,
		.to = rule->to,
		.attempt = rule->attempt,
		.percent = rollout_percent(rule, is_begun ? &progress : NULL),
		.state = is_begun ? str_of(rollout_state_name(progress.state)) : STR("waiting"),
		.step = is_begun ? progress.step + 1 : 0,
		.step_count = rule->step_count,
		.order = str_of(rollout_order_name(rule->order)),
		.why = conf_keep(p, is_begun ? progress.why : STR(""))};
	r->share = conf_rollout_share(p->snapshot, r);
}

static void conf_rollout_preview(struct conf_divider *d, const struct conf_rollout_row *row,
	const struct service *service, struct conf_preview *preview)
{
	const config_setting_t *setting = conf_member(row->setting, "preview");
	preview->headers = conf_rule_fields(
		d->p, row->preview.headers, row->preview.header_count, CONF_FIELDS_ROUTE);
	preview->cookies = conf_rule_fields(
		d->p, row->preview.cookies, row->preview.cookie_count, CONF_FIELDS_PLAIN);
	if (setting && preview->headers.count + preview->cookies.count == 0)
		conf_error(d->p, setting, NULL, "whose requests? Give headers or cookies");
	else if (setting && service->protocol == PROTOCOL_TCP)
		conf_warning(d->p, row->setting, "preview", "does nothing for a tcp service");
}

/* For whoever writes rollouts; nodes need not say it with every picture. */
static void conf_rollout_warn_version(struct conf_parser *p, const struct conf_rollout_row *row,
	const char *key, const struct service *service, struct str version)
{
	struct conf_words known = {0};
	if (conf_service_has_version(p, service, version))
		return;
	conf_words_of_versions(p, service, &known);
	conf_warning(p, row->setting, key, "no endpoint of \"%.*s\" has the version \"%.*s\"%s%s",
		STR_ARG(service->name), STR_ARG(version), known.count ? "; there are " : ", or any",
		known.text);
}

static void conf_rollout_warn_legs(
	struct conf_parser *p, const struct conf_route_row *route, const struct rollout *r)
{
	for (uint32_t i = 0; i < route->rule_count; i++) {
		for (uint32_t l = 0; l < route->rules[i].leg_count; l++) {
			const struct conf_leg_row *leg = &route->rules[i].legs[l];
			struct str name = leg->service.len ? leg->service : route->service;
			if (str_eq(name, r->service->name) && str_eq(leg->version, r->to))
				conf_warning(p, leg->setting, "version",
					"the rollout of \"%.*s\" leaves this leg as it is: it "
					"names \"%.*s\" by itself",
					STR_ARG(name), STR_ARG(r->to));
		}
	}
}

static void conf_rollout_warn(
	struct conf_parser *p, const struct conf_rollout_row *row, const struct rollout *r)
{
	if (!p->published)
		return;
	if (r->service->address_count == 0)
		conf_warning(p, row->setting, "service",
			"\"%.*s\" has no address of its own: who dials an endpoint gets that one, "
			"whatever the rollout says",
			STR_ARG(r->service->name));
	conf_rollout_warn_version(p, row, "from", r->service, r->from);
	conf_rollout_warn_version(p, row, "to", r->service, r->to);
	for (uint32_t f = 0; f < p->mesh_count; f++) {
		for (uint32_t i = 0; i < p->mesh[f].mesh.route_count; i++)
			conf_rollout_warn_legs(p, &p->mesh[f].mesh.routes[i], r);
	}
}

static void conf_rollout_build(
	struct conf_divider *d, const struct conf_rollout_row *row, struct service *service)
{
	struct snapshot *s = d->p->snapshot;
	struct rollout_rule rule;
	bool is_good = conf_rollout_read(d->p, row, &rule);
	if (service->rollout) {
		char place[512];
		const struct conf_rollout_row *first = d->rows[service->rollout - s->rollouts];
		conf_error(d->p, row->setting, "service", "\"%.*s\" has a rollout already, at %s",
			STR_ARG(service->name),
			conf_place_text(d->p, first->setting, place, sizeof(place)));
		return;
	}
	struct rollout *r = &s->rollouts[s->rollout_count];
	d->rows[s->rollout_count] = row;
	conf_rollout_preview(d, row, service, &d->previews[s->rollout_count++]);
	service->rollout = r;
	r->service = service;
	if (!is_good)
		return;
	conf_rollout_fill(d->p, row, &rule, r);
	conf_rollout_warn(d->p, row, r);
}

static void conf_rollout_row(struct conf_divider *d, const struct conf_rollout_row *row)
{
	struct conf_parser *p = d->p;
	struct service *service = (struct service *)snapshot_service(p->snapshot, row->service);
	if (!p->with_store)
		conf_error(p, row->setting, NULL,
			"a rollout needs a store (state.redis), in which nodes agree on how far it "
			"is; without one, give weights in a route");
	if (service)
		conf_rollout_build(d, row, service);
	else if (row->service.len > 0 && !identity_service_valid(row->service))
		conf_error(p, row->setting, "service", "\"%.*s\" is no service name",
			STR_ARG(row->service));
	else if (row->service.len > 0)
		conf_build_unknown_service(p, row->setting, "service", row->service);
}

/* --- legs --- */

/* NULL: the leg is left as it is. */
static const struct rollout *conf_leg_rollout(const struct route_leg *leg)
{
	const struct rollout *r = leg->service ? leg->service->rollout : NULL;
	return r && (leg->version.len == 0 || str_eq(leg->version, r->from)) ? r : NULL;
}

static uint32_t conf_common(uint32_t a, uint32_t b)
{
	while (b != 0) {
		uint32_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

static void conf_leg_put(struct route_rule *rule, const struct route_leg *leg,
	const struct rollout *r, struct str version, uint32_t percent)
{
	rule->legs[rule->leg_count++] = (struct route_leg){.service = leg->service,
		.version = version,
		.weight = leg->weight * percent,
		.rollout = r};
}

/* `preview`: whose testers it is for; NULL: nobody's. */
static void conf_rule_divide(struct conf_parser *p, struct route_rule *rule,
	const struct route_leg *legs, uint32_t leg_count, const struct rollout *preview)
{
	uint32_t common = 0;
	rule->leg_count = 0;
	rule->legs = conf_build_array(p, leg_count * 2u, sizeof(*rule->legs));
	for (uint32_t i = 0; rule->legs && i < leg_count; i++) {
		const struct rollout *r = conf_leg_rollout(&legs[i]);
		if (!r)
			conf_leg_put(rule, &legs[i], NULL, legs[i].version, 100);
		else if (r == preview)
			conf_leg_put(rule, &legs[i], r, r->to, 100);
		else
			conf_leg_put(rule, &legs[i], r, r->from, 100 - r->share);
		if (r && r != preview)
			conf_leg_put(rule, &legs[i], r, r->to, r->share);
	}
	for (uint32_t i = 0; i < rule->leg_count; i++)
		common = conf_common(rule->legs[i].weight, common);
	for (uint32_t i = 0; i < rule->leg_count && common > 0; i++)
		rule->legs[i].weight /= common;
}

/* --- rules --- */

static struct route_fields conf_fields_joined(
	struct conf_parser *p, const struct route_fields *a, const struct route_fields *b)
{
	struct route_fields both = {
		.at = conf_build_array(p, a->count + b->count, sizeof(*both.at))};
	for (uint32_t i = 0; both.at && i < a->count; i++)
		both.at[both.count++] = a->at[i];
	for (uint32_t i = 0; both.at && i < b->count; i++)
		both.at[both.count++] = b->at[i];
	return both;
}

static void conf_rule_preview(struct conf_divider *d, struct route_rule *rule,
	const struct route_rule *of, const struct rollout *r)
{
	const struct conf_preview *preview = &d->previews[r - d->p->snapshot->rollouts];
	*rule = *of;
	rule->name = arena_printf(&d->p->snapshot->arena, "%.*s:preview", STR_ARG(of->name));
	if (!rule->name.at)
		d->p->is_exhausted = true;
	rule->index = of->index + ROUTE_INDEX_PREVIEW;
	rule->is_preview = true;
	rule->when.headers = conf_fields_joined(d->p, &of->when.headers, &preview->headers);
	rule->when.cookies = conf_fields_joined(d->p, &of->when.cookies, &preview->cookies);
}

static bool conf_has_preview(const struct conf_divider *d, const struct rollout *r)
{
	const struct conf_preview *preview = &d->previews[r - d->p->snapshot->rollouts];
	return preview->headers.count + preview->cookies.count > 0;
}

/* `of` with its legs, divided; before it, for each rollout that divides it, its preview. */
static void conf_rule_put(struct conf_divider *d, struct route *route, const struct route_rule *of,
	const struct route_leg *legs, uint32_t leg_count)
{
	bool is_divided = false;
	for (uint32_t i = 0; i < leg_count; i++) {
		const struct rollout *r = conf_leg_rollout(&legs[i]);
		bool is_first = r != NULL;
		is_divided = is_divided || r;
		for (uint32_t k = 0; k < i && is_first; k++)
			is_first = conf_leg_rollout(&legs[k]) != r;
		if (!is_first || !conf_has_preview(d, r))
			continue;
		struct route_rule *rule = &route->rules[route->rule_count++];
		conf_rule_preview(d, rule, of, r);
		conf_rule_divide(d->p, rule, legs, leg_count, r);
	}
	struct route_rule *rule = &route->rules[route->rule_count++];
	*rule = *of;
	if (is_divided)
		conf_rule_divide(d->p, rule, legs, leg_count, NULL);
}

static bool conf_rule_takes_all(const struct route_rule *rule)
{
	const struct route_when *w = &rule->when;
	return rule->action == ROUTE_FORWARD && w->path_count + w->method_count + w->host_count +
								w->headers.count + w->query.count +
								w->cookies.count + w->from_count ==
							0;
}

/* What no rule matches goes to the service, too. */
static void conf_route_rest(
	struct conf_divider *d, struct route *route, const struct route_leg *whole)
{
	struct route_rule rest = {.index = ROUTE_INDEX_ROLLOUT,
		.name = arena_printf(
			&d->p->snapshot->arena, "%.*s/rollout", STR_ARG(route->service->name))};
	if (!rest.name.at)
		d->p->is_exhausted = true;
	conf_rule_put(d, route, &rest, whole, 1);
}

static void conf_route_divide(struct conf_divider *d, struct route *route)
{
	const struct route_leg whole = {.service = route->service, .version = STR(""), .weight = 1};
	const struct route_rule *rules = route->rules;
	uint32_t count = route->rule_count, room = 2;
	for (uint32_t i = 0; i < count; i++)
		room += 2 + rules[i].leg_count;
	route->rules = conf_build_array(d->p, room, sizeof(*route->rules));
	route->rule_count = 0;
	bool is_all_taken = false;
	for (uint32_t i = 0; route->rules && i < count && !d->p->is_exhausted; i++) {
		const struct route_rule *rule = &rules[i];
		bool is_whole = rule->action == ROUTE_FORWARD && rule->leg_count == 0;
		is_all_taken = is_all_taken || conf_rule_takes_all(rule);
		conf_rule_put(d, route, rule, is_whole ? &whole : rule->legs,
			is_whole ? 1 : rule->leg_count);
	}
	if (route->rules && route->service->rollout && !is_all_taken)
		conf_route_rest(d, route, &whole);
	ASSERT(route->rule_count <= room);
}

static void conf_routes_divide(struct conf_divider *d)
{
	struct snapshot *s = d->p->snapshot;
	for (uint32_t i = 0; i < s->rollout_count; i++) {
		struct service *service = (struct service *)s->rollouts[i].service;
		if (service->route)
			continue;
		s->routes[s->route_count] = (struct route){.service = service};
		service->route = &s->routes[s->route_count++];
	}
	for (uint32_t i = 0; i < s->route_count && !d->p->is_exhausted; i++)
		conf_route_divide(d, &s->routes[i]);
}

void conf_build_rollouts(struct conf_parser *p)
{
	struct conf_divider d = {.p = p};
	uint32_t count = 0, errors_before = p->report->error_count;
	for (uint32_t f = 0; f < p->mesh_count; f++)
		count += p->mesh[f].mesh.rollout_count;
	if (count == 0)
		return;
	p->snapshot->rollouts = conf_build_array(p, count, sizeof(*p->snapshot->rollouts));
	d.rows = conf_build_array(p, count, sizeof(*d.rows));
	d.previews = conf_build_array(p, count, sizeof(*d.previews));
	for (uint32_t f = 0; !p->is_exhausted && f < p->mesh_count; f++) {
		for (uint32_t i = 0; i < p->mesh[f].mesh.rollout_count; i++)
			conf_rollout_row(&d, &p->mesh[f].mesh.rollouts[i]);
	}
	if (!p->is_exhausted && p->report->error_count == errors_before)
		conf_routes_divide(&d);
}
