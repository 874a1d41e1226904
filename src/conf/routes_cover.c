/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that earlier ones leave nothing to match. A rule covers another when it asks for nothing
 * more than the other in any respect. Lists are compared item by item, so a cover made of several
 * rules is not seen. */
#include "build_routes.h"

#define CONF_ROUTE_COVER_MAX 1000 /* rules of a route that are compared; those behind are not */

static bool conf_has(const struct str *list, uint32_t count, struct str word)
{
	for (uint32_t i = 0; i < count; i++) {
		if (str_eq(list[i], word))
			return true;
	}
	return false;
}

/* A path, or the shortest one with this prefix, is matched by `by`. */
static bool conf_path_matched(const struct route_path *by, struct str path)
{
	struct route_rule rule = {.when = {.paths = (struct route_path *)by, .path_count = 1}};
	struct route route = {.rules = &rule, .rule_count = 1};
	struct route_request request = {.is_http = true, .path = path};
	size_t prefix_len;
	return route_match(NULL, &route, &request, &prefix_len) != NULL;
}

/* What every path of a template begins with: whole segments. */
static struct str conf_template_head(struct str template)
{
	struct str head = {template.at, 0};
	for (size_t i = 0; i < template.len && template.at[i] != '{' && template.at[i] != '*'; i++)
		head.len = template.at[i] == '/' ? i : head.len;
	return head;
}

bool conf_path_covers(const struct route_path *by, const struct route_path *path)
{
	if (by->kind == ROUTE_PATH_PREFIX && by->text.len == 0)
		return true;
	switch (path->kind) {
	case ROUTE_PATH_EXACT:
		return conf_path_matched(by, path->text);
	case ROUTE_PATH_PREFIX:
		return by->kind == ROUTE_PATH_PREFIX && conf_path_matched(by, path->text);
	case ROUTE_PATH_REGEX: /* what others it matches is not known */
		return by->kind == ROUTE_PATH_REGEX && str_eq(by->text, path->text);
	case ROUTE_PATH_TEMPLATE:
		return (by->kind == ROUTE_PATH_TEMPLATE && str_eq(by->text, path->text)) ||
		       (by->kind == ROUTE_PATH_PREFIX &&
			       conf_path_matched(by, conf_template_head(path->text)));
	}
	return false;
}

bool conf_host_covers(struct str by, struct str host)
{
	bool is_below = str_starts(host, STR("*."));
	struct str name = is_below ? (struct str){host.at + 2, host.len - 2} : host;
	return str_eq(by, host) ||
	       ((!is_below || str_starts(by, STR("*."))) && route_host_matches(by, name));
}

static bool conf_paths_covered(const struct route_when *by, const struct route_when *when)
{
	for (uint32_t i = 0; i < when->path_count && by->path_count > 0; i++) {
		bool is_covered = false;
		for (uint32_t j = 0; j < by->path_count && !is_covered; j++)
			is_covered = conf_path_covers(&by->paths[j], &when->paths[i]);
		if (!is_covered)
			return false;
	}
	return by->path_count == 0 || when->path_count > 0;
}

static bool conf_words_covered(
	const struct str *by, uint32_t by_count, const struct str *list, uint32_t count)
{
	for (uint32_t i = 0; i < count && by_count > 0; i++) {
		if (!conf_has(by, by_count, list[i]))
			return false;
	}
	return by_count == 0 || count > 0;
}

static bool conf_sources_covered(const struct route_when *by, const struct route_when *when)
{
	bool is_any = conf_has(by->from, by->from_count, STR("*"));
	for (uint32_t i = 0; i < when->from_count && by->from_count > 0; i++) {
		bool is_anonymous = str_eq(when->from[i], STR("anonymous"));
		if (!(is_any && !is_anonymous) &&
			!conf_has(by->from, by->from_count, when->from[i]))
			return false;
	}
	return by->from_count == 0 || when->from_count > 0;
}

static bool conf_field_same(const struct route_field *a, const struct route_field *b)
{
	return a->kind == b->kind && a->invert == b->invert && str_eq(a->name, b->name) &&
	       str_eq(a->text, b->text);
}

bool conf_fields_cover(const struct route_fields *by, const struct route_fields *fields)
{
	for (uint32_t i = 0; i < by->count; i++) {
		bool is_asked = false;
		for (uint32_t j = 0; j < fields->count && !is_asked; j++)
			is_asked = conf_field_same(&by->at[i], &fields->at[j]);
		if (!is_asked)
			return false;
	}
	return true;
}

bool conf_when_covers(const struct route_when *by, const struct route_when *when)
{
	return conf_paths_covered(by, when) && conf_sources_covered(by, when) &&
	       conf_words_covered(
		       by->methods, by->method_count, when->methods, when->method_count) &&
	       conf_words_covered(by->hosts, by->host_count, when->hosts, when->host_count) &&
	       conf_fields_cover(&by->headers, &when->headers) &&
	       conf_fields_cover(&by->query, &when->query) &&
	       conf_fields_cover(&by->cookies, &when->cookies);
}

static bool conf_rule_covers(
	const struct route *route, const struct route_rule *by_rule, const struct route_rule *rule)
{
	/* opaque bytes pass over a rule that answers by itself */
	if (by_rule->action != ROUTE_FORWARD && rule->action == ROUTE_FORWARD &&
		route->service->protocol != PROTOCOL_HTTP)
		return false;
	return conf_when_covers(&by_rule->when, &rule->when);
}

void conf_route_cover(
	struct conf_parser *p, const struct route *route, const struct conf_route_row *row)
{
	for (uint32_t i = 1; i < route->rule_count && i < CONF_ROUTE_COVER_MAX; i++) {
		for (uint32_t j = 0; j < i; j++) {
			char place[512];
			if (!conf_rule_covers(route, &route->rules[j], &route->rules[i]))
				continue;
			conf_warning(p, row->rules[i].setting, NULL,
				"never matches: \"%.*s\" before it matches all of it, at %s",
				STR_ARG(route->rules[j].name),
				conf_place_text(p, row->rules[j].setting, place, sizeof(place)));
			break;
		}
	}
}
