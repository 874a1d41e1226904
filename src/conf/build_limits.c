/* SPDX-License-Identifier: Apache-2.0 */
/* Limits from rows, joined to their services. What could never refuse anything, or would count
 * something else than it seems to, is an error, or a warning where it does no harm. */
#include "build_routes.h"

#include "mesh/identity.h"
#include "mesh/record.h"

/* The store is asked a few times in each window. */
#define CONF_MESH_WINDOW_MS_MIN 1000

/* --- what requests are told apart by --- */

static const struct {
	const char *word;
	enum limit_part_kind kind;
	bool is_named; /* what follows is a name */
	bool is_http;
} conf_limit_words[] = {
	{"source", LIMIT_BY_SOURCE, false, false},
	{"client", LIMIT_BY_CLIENT, false, false},
	{"route", LIMIT_BY_ROUTE, false, true},
	{"method", LIMIT_BY_METHOD, false, true},
	{"host", LIMIT_BY_HOST, false, true},
	{"path", LIMIT_BY_PATH, false, true},
	{"header:", LIMIT_BY_HEADER, true, true},
	{"cookie:", LIMIT_BY_COOKIE, true, true},
};

static bool conf_limit_word_is(struct str text, size_t index)
{
	struct str word = str_of(conf_limit_words[index].word);
	return conf_limit_words[index].is_named ? str_starts(text, word) : str_eq(text, word);
}

static void conf_limit_no_word(
	struct conf_parser *p, const config_setting_t *setting, struct str text)
{
	struct conf_guess guess = conf_guess(text);
	struct conf_words words = {0};
	char mean[128];
	for (size_t i = 0; i < ARRAY_LEN(conf_limit_words); i++) {
		conf_guess_offer(&guess, str_of(conf_limit_words[i].word));
		conf_words_add(&words, str_of(conf_limit_words[i].word));
	}
	if (guess.best.len > 0)
		conf_error(p, setting, "by", "\"%.*s\" is nothing to tell requests apart by%s",
			STR_ARG(text), conf_guess_text(&guess, mean, sizeof(mean)));
	else
		conf_error(p, setting, "by",
			"\"%.*s\" is nothing to tell requests apart by; there are %s",
			STR_ARG(text), words.text);
}

static void conf_limit_part_check(struct conf_parser *p, const struct conf_limit_row *row,
	const struct limit *limit, const struct limit_part *part, struct str text)
{
	const config_setting_t *setting = row->rule.setting;
	if (part->kind == LIMIT_BY_HEADER)
		conf_check_header_name(p, setting, "by", part->name);
	if (part->kind == LIMIT_BY_COOKIE && part->name.len == 0)
		conf_error(p, setting, "by", "\"cookie:\" of which name?");
	for (uint32_t i = 0; i < limit->part_count; i++) {
		const struct limit_part *other = &limit->parts[i];
		bool is_header = part->kind == LIMIT_BY_HEADER;
		if (other->kind == part->kind && (is_header ? str_eq_nocase(other->name, part->name)
							    : str_eq(other->name, part->name)))
			conf_error(p, setting, "by", "\"%.*s\" is given twice", STR_ARG(text));
	}
}

static void conf_limit_part(struct conf_parser *p, const struct conf_limit_row *row,
	struct limit *limit, struct str text)
{
	size_t i = 0;
	while (i < ARRAY_LEN(conf_limit_words) && !conf_limit_word_is(text, i))
		i++;
	if (i == ARRAY_LEN(conf_limit_words)) {
		conf_limit_no_word(p, row->rule.setting, text);
		return;
	}
	size_t used = strlen(conf_limit_words[i].word);
	struct limit_part part = {
		.kind = conf_limit_words[i].kind, .name = {text.at + used, text.len - used}};
	conf_limit_part_check(p, row, limit, &part, text);
	if (limit->part_count < LIMIT_PARTS_MAX)
		limit->parts[limit->part_count++] = part;
}

static void conf_limit_parts(
	struct conf_parser *p, const struct conf_limit_row *row, struct limit *limit)
{
	if (row->by_count > LIMIT_PARTS_MAX)
		conf_error(p, row->rule.setting, "by", "more than %d", LIMIT_PARTS_MAX);
	for (uint32_t i = 0; i < row->by_count; i++) {
		if (row->by[i].len > 0)
			conf_limit_part(p, row, limit, row->by[i]);
	}
}

static bool conf_limit_is_by(const struct limit *limit, enum limit_part_kind kind)
{
	for (uint32_t i = 0; i < limit->part_count; i++) {
		if (limit->parts[i].kind == kind)
			return true;
	}
	return false;
}

static bool conf_limit_is_by_http(const struct limit *limit)
{
	for (uint32_t i = 0; i < limit->part_count; i++) {
		for (size_t k = 0; k < ARRAY_LEN(conf_limit_words); k++) {
			if (conf_limit_words[k].kind == limit->parts[i].kind &&
				conf_limit_words[k].is_http)
				return true;
		}
	}
	return false;
}

/* --- numbers --- */

static void conf_limit_local(
	struct conf_parser *p, const struct conf_limit_row *row, struct limit *limit)
{
	const config_setting_t *setting = row->rule.setting;
	limit->burst = row->burst ? row->burst : row->amount;
	if (row->amount > 0 &&
		(uint64_t)limit->burst * row->window_ms / row->amount > LIMIT_FILL_MS_MAX)
		conf_error(p, setting, "burst",
			"it would take more than a week until so many may come at once again: "
			"give less, or more requests");
	if (conf_member(setting, "when_away"))
		conf_error(p, setting, "when_away",
			"for scope \"mesh\" only: a local limit asks nobody");
}

static void conf_limit_mesh(
	struct conf_parser *p, const struct conf_limit_row *row, struct limit *limit)
{
	const config_setting_t *setting = row->rule.setting;
	limit->burst = row->amount;
	if (row->burst > 0)
		conf_error(p, setting, "burst",
			"for scope \"local\" only: of a limit of the whole mesh, all of `requests` "
			"may come at once in each `per`");
	if (row->window_ms < CONF_MESH_WINDOW_MS_MIN)
		conf_error(p, setting, "per",
			"at least 1s for scope \"mesh\": machines ask the store a few times in "
			"that time; for shorter ones use scope \"local\"");
	if (!p->with_store)
		conf_error(p, setting, "scope",
			"\"mesh\" without a store: no machine knows what others let through; "
			"give state.redis, or say scope = \"local\"");
}

static void conf_limit_numbers(
	struct conf_parser *p, const struct conf_limit_row *row, struct limit *limit)
{
	if (row->scope == LIMIT_MESH)
		conf_limit_mesh(p, row, limit);
	else
		conf_limit_local(p, row, limit);
	if (row->fair && conf_limit_is_by(limit, LIMIT_BY_SOURCE))
		conf_error(p, row->rule.setting, "fair",
			"by \"source\" each caller has a limit of his own already: there is "
			"nothing to divide");
	if (row->body.len > ROUTE_BODY_BYTES_MAX)
		conf_error(
			p, row->rule.setting, "body", "longer than %d bytes", ROUTE_BODY_BYTES_MAX);
}

/* --- what does not do what it seems to --- */

/* Of a tcp service there is nothing to see but who calls. */
static void conf_limit_warn_tcp(
	struct conf_parser *p, const struct conf_limit_row *row, const struct limit *limit)
{
	const config_setting_t *setting = row->rule.setting;
	const config_setting_t *match = conf_member(setting, "match");
	int asked = match ? config_setting_length(match) : 0;
	if (asked > 0 && !(asked == 1 && conf_member(match, "from")))
		conf_warning(p, setting, "match",
			"a tcp service has no more to ask for than `from`: the limit never acts");
	if (conf_limit_is_by_http(limit))
		conf_warning(p, setting, "by",
			"of a tcp service \"source\" and \"client\" are known: all else is the "
			"same for every connection");
	if (row->body.len > 0)
		conf_warning(p, setting, "body", "does nothing for a tcp service");
}

static bool conf_limit_has_route(const struct conf_parser *p, const struct service *service)
{
	const struct snapshot *s = p->snapshot;
	for (uint32_t r = 0; r < s->route_count; r++) {
		if (s->routes[r].service == service)
			return true;
		for (uint32_t i = 0; i < s->routes[r].rule_count; i++) {
			const struct route_rule *rule = &s->routes[r].rules[i];
			for (uint32_t l = 0; l < rule->leg_count; l++) {
				if (rule->legs[l].service == service)
					return true;
			}
		}
	}
	return false;
}

/* For whoever writes limits; the nodes of a mesh need not say it again with every picture. */
static void conf_limit_warn(
	struct conf_parser *p, const struct conf_limit_row *row, const struct limit *limit)
{
	const struct service *service = limit->service;
	if (p->with_store && !p->published)
		return;
	if (service->protocol == PROTOCOL_TCP)
		conf_limit_warn_tcp(p, row, limit);
	if (service_is_mtls(service, MTLS_DISABLED) &&
		(row->fair || conf_limit_is_by(limit, LIMIT_BY_SOURCE)))
		conf_warning(p, row->rule.setting, row->fair ? "fair" : "by",
			"\"%.*s\" has mtls \"disabled\": callers from other machines have no "
			"identity, and are all one",
			STR_ARG(service->name));
	if (conf_limit_is_by(limit, LIMIT_BY_ROUTE) && !conf_limit_has_route(p, service))
		conf_warning(p, row->rule.setting, "by",
			"no route leads to \"%.*s\": \"route\" is the same for every request",
			STR_ARG(service->name));
}

/* --- machines --- */

/* What one node tells of a service stands together; what files say of one machine may not. */
static bool conf_limit_is_counted(const struct service *service, uint32_t index)
{
	const struct endpoint *e = &service->endpoints[index];
	if (e->node_name.len > 0)
		return index > 0 && str_eq(e->node_name, service->endpoints[index - 1].node_name);
	for (uint32_t i = 0; i < index && !e->alternate; i++) {
		const struct endpoint *before = &service->endpoints[i];
		if (before->node_name.len == 0 && address_same_ip(&before->address, &e->address))
			return true;
	}
	return e->alternate;
}

/* That serve it, as far as is known here. */
static uint32_t conf_limit_machines(const struct service *service)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < service->endpoint_count; i++)
		count += !conf_limit_is_counted(service, i);
	return count ? count : 1;
}

/* --- limits --- */

static void conf_limit_build(
	struct conf_parser *p, const struct conf_limit_row *row, struct limit *limit)
{
	*limit = (struct limit){
		.index = limit->index,
		.name = row->rule.name,
		.service = limit->service,
		.amount = row->amount,
		.window_ms = row->window_ms,
		.scope = row->scope,
		.away = row->away,
		.is_fair = row->fair,
		.is_shadow = row->shadow,
		.body = row->body,
		.node_count = limit->node_count,
	};
	conf_limit_parts(p, row, limit);
	conf_limit_numbers(p, row, limit);
	conf_rule_when(p, &row->rule, &limit->when);
	conf_limit_warn(p, row, limit);
}

/* False: it is left out, and the error is said. */
static bool conf_limit_name(struct conf_parser *p, const struct conf_limit_row *row,
	const struct conf_limit_row **rows, uint32_t row_count)
{
	struct str name = row->rule.name;
	char place[512];
	if (name.len > 0 && !record_word_valid(name)) {
		conf_error(p, row->rule.setting, "name",
			"\"%.*s\" is no name: at most %d printable bytes without space",
			STR_ARG(name), RECORD_WORD_MAX);
		return false;
	}
	for (uint32_t i = 0; i < row_count && name.len > 0; i++) {
		if (!str_eq(rows[i]->rule.name, name))
			continue;
		conf_error(p, row->rule.setting, "name",
			"\"%.*s\" is a limit's name already, at %s", STR_ARG(name),
			conf_place_text(p, rows[i]->rule.setting, place, sizeof(place)));
		return false;
	}
	return name.len > 0;
}

static const struct service *conf_limit_service(
	struct conf_parser *p, const struct conf_limit_row *row)
{
	const struct service *service = snapshot_service(p->snapshot, row->service);
	if (service || row->service.len == 0)
		return service;
	if (!identity_service_valid(row->service))
		conf_error(p, row->rule.setting, "service", "\"%.*s\" is no service name",
			STR_ARG(row->service));
	else
		conf_build_unknown_service(p, row->rule.setting, "service", row->service);
	return NULL;
}

static void conf_limit_row(
	struct conf_parser *p, const struct conf_limit_row *row, const struct conf_limit_row **rows)
{
	struct snapshot *s = p->snapshot;
	struct limit *limit = &s->limits[s->limit_count];
	const struct service *service = conf_limit_service(p, row);
	if (!conf_limit_name(p, row, rows, s->limit_count) || !service)
		return;
	rows[s->limit_count] = row;
	*limit = (struct limit){.index = s->limit_count++,
		.service = service,
		.node_count = row->scope == LIMIT_MESH ? conf_limit_machines(service) : 1};
	conf_limit_build(p, row, limit);
}

static void conf_limits_attach(struct conf_parser *p, const struct conf_limit_row **rows)
{
	struct snapshot *s = p->snapshot;
	for (uint32_t i = 0; i < s->limit_count; i++)
		((struct service *)s->limits[i].service)->limit_count++;
	for (uint32_t i = 0; i < s->service_count; i++) {
		struct service *service = &s->services[i];
		service->limits = conf_build_array(p, service->limit_count, sizeof(struct limit *));
		service->limit_count = 0;
	}
	for (uint32_t i = 0; !p->is_exhausted && i < s->limit_count; i++) {
		struct service *service = (struct service *)s->limits[i].service;
		service->limits[service->limit_count++] = &s->limits[i];
		if (service->limit_count == LIMITS_PER_SERVICE + 1)
			conf_error(p, rows[i]->rule.setting, "service",
				"\"%.*s\" has more than %d limits", STR_ARG(service->name),
				LIMITS_PER_SERVICE);
	}
}

void conf_build_limits(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	uint32_t count = 0;
	for (uint32_t f = 0; f < p->mesh_count; f++)
		count += p->mesh[f].mesh.limit_count;
	if (count == 0)
		return;
	s->limits = conf_build_array(p, count, sizeof(*s->limits));
	const struct conf_limit_row **rows = conf_build_array(p, count, sizeof(*rows));
	for (uint32_t f = 0; !p->is_exhausted && f < p->mesh_count; f++) {
		for (uint32_t i = 0; i < p->mesh[f].mesh.limit_count; i++)
			conf_limit_row(p, &p->mesh[f].mesh.limits[i], rows);
	}
	if (!p->is_exhausted)
		conf_limits_attach(p, rows);
	if (!p->is_exhausted && !(p->with_store && !p->published))
		conf_limits_cover(p, rows);
}
