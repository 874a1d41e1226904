/* SPDX-License-Identifier: Apache-2.0 */
/* How a service's calls are balanced: what its keys say; and what is known of its endpoints once
 * they and its subsets are complete: which of them are in this machine's zone, and a number that
 * stays the same as long as all of this does. */
#include "parser.h"

/* --- keys --- */

static const struct {
	const char *prefix;
	enum balance_by_kind kind;
	bool has_name, is_http;
} conf_by_kinds[] = {
	{"source", BALANCE_BY_SOURCE, false, false},
	{"client", BALANCE_BY_CLIENT, false, false},
	{"header:", BALANCE_BY_HEADER, true, true},
	{"cookie:", BALANCE_BY_COOKIE, true, true},
	{"query:", BALANCE_BY_QUERY, true, true},
};

/* Of a header, cookie or query key; nothing that could not be one. */
static bool conf_by_name_valid(struct str name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.at[i] <= ' ' || name.at[i] > '~' ||
			strchr("\"(),/:;<=>?@[\\]{}", name.at[i]))
			return false;
	}
	return name.len > 0;
}

static bool conf_by_parse(struct str text, struct balance_by *ret_by, bool *ret_is_http)
{
	for (size_t i = 0; i < ARRAY_LEN(conf_by_kinds); i++) {
		struct str prefix = str_of(conf_by_kinds[i].prefix);
		if (!str_starts(text, prefix))
			continue;
		struct str name = {text.at + prefix.len, text.len - prefix.len};
		if (conf_by_kinds[i].has_name ? !conf_by_name_valid(name) : name.len > 0)
			continue;
		*ret_by = (struct balance_by){conf_by_kinds[i].kind, name};
		*ret_is_http = conf_by_kinds[i].is_http;
		return true;
	}
	return false;
}

static void conf_build_by(
	struct conf_parser *p, struct service *service, const struct conf_service_row *row)
{
	bool is_http = false;
	if (row->balance_by.len == 0)
		conf_error(p, row->setting, "balance_by",
			"missing: by which value of a call does `balance` choose? \"source\", "
			"\"client\", \"header:NAME\", \"cookie:NAME\" or \"query:NAME\"");
	else if (!conf_by_parse(row->balance_by, &service->balance_by, &is_http))
		conf_error(p, row->setting, "balance_by",
			"\"%.*s\" is none of \"source\", \"client\", \"header:NAME\", "
			"\"cookie:NAME\" and \"query:NAME\"",
			STR_ARG(row->balance_by));
	else if (is_http && row->protocol == PROTOCOL_TCP)
		conf_error(p, row->setting, "balance_by",
			"opaque bytes have no header, cookie or query: \"source\" or \"client\"");
	if (row->slow_start_ms > 0)
		conf_error(p, row->setting, "slow_start",
			"has no part in a balance by value: each value has one endpoint");
	if (row->zones == ZONE_PREFER)
		conf_error(p, row->setting, "zones",
			"\"prefer\" has no part in a balance by value, which has one endpoint on "
			"all machines: \"ignore\" or \"strict\"");
}

void conf_build_balance(
	struct conf_parser *p, struct service *service, const struct conf_service_row *row)
{
	service->balance = row->balance;
	service->slow_start_ms = row->slow_start_ms;
	service->outlier = row->outlier;
	service->zones = row->zones;
	service->zone_calls = row->zone_calls;
	service->panic_percent = row->panic_percent;
	if (balance_is_by_value(row->balance))
		conf_build_by(p, service, row);
	else if (row->balance_by.len > 0)
		conf_error(p, row->setting, "balance_by",
			"only with balance \"ring_hash\" or \"maglev\"");
	if (row->outlier.ejection_max_ms < row->outlier.ejection_ms)
		conf_error(p, conf_member(row->setting, "outlier"), "ejection_max",
			"less than the first ejection (`ejection`) takes");
	if (row->zones == ZONE_STRICT && p->conf->node_zone.len == 0 && !p->published)
		conf_warning(p, row->setting, "zones",
			"\"strict\", and this machine has no node.zone: calls from here find no "
			"endpoint but its own");
}

/* --- zones --- */

bool conf_zone_is_near(const struct snapshot *s, const struct endpoint *e)
{
	return e->zone.len > 0 ? str_eq(e->zone, s->zone) : e->local != NULL;
}

/* What conf_zone_part() is to take: those near, or those far. */
static uint32_t conf_zone_count(
	struct endpoint *all, struct endpoint **some, uint32_t count, bool is_near)
{
	uint32_t found = 0;
	for (uint32_t i = 0; i < count; i++)
		found += (all ? &all[i] : some[i])->is_near == is_near;
	return found;
}

static void conf_zone_part(struct conf_parser *p, struct zone_part *part, struct endpoint *all,
	struct endpoint **some, uint32_t count, bool is_near)
{
	uint32_t found = conf_zone_count(all, some, count, is_near);
	uint64_t sum = 0;
	part->endpoints = conf_build_array(p, found, sizeof(*part->endpoints));
	part->up_sums = conf_build_array(p, found, sizeof(*part->up_sums));
	for (uint32_t i = 0; !p->is_exhausted && i < count; i++) {
		struct endpoint *e = all ? &all[i] : some[i];
		if (e->is_near != is_near)
			continue;
		sum += e->health == ENDPOINT_UP && !e->alternate ? e->weight : 0;
		part->up_sums[part->endpoint_count] = sum;
		part->endpoints[part->endpoint_count++] = e;
	}
}

static void conf_zone_parts(struct conf_parser *p, struct zone_parts *parts, enum zone_rule rule,
	struct endpoint *all, struct endpoint **some, uint32_t count)
{
	uint32_t near = conf_zone_count(all, some, count, true);
	if (rule == ZONE_PREFER && (near == 0 || near == count))
		return; /* there is nothing to prefer */
	conf_zone_part(p, &parts->near, all, some, count, true);
	if (rule == ZONE_PREFER)
		conf_zone_part(p, &parts->far, all, some, count, false);
}

static void conf_zone_service(struct conf_parser *p, struct service *service)
{
	const struct snapshot *s = p->snapshot;
	for (uint32_t i = 0; i < service->endpoint_count; i++)
		service->endpoints[i].is_near = conf_zone_is_near(s, &service->endpoints[i]);
	if (service->zones == ZONE_IGNORE || (service->zones == ZONE_PREFER && s->zone.len == 0))
		return;
	conf_zone_parts(p, &service->parts, service->zones, service->endpoints, NULL,
		service->endpoint_count);
	for (uint32_t i = 0; i < service->subset_count; i++) {
		struct subset *subset = &service->subsets[i];
		conf_zone_parts(p, &subset->parts, service->zones, NULL, subset->endpoints,
			subset->endpoint_count);
	}
}

static uint64_t conf_fingerprint_text(uint64_t before, struct str text)
{
	return hash_bytes(before, text.at, text.len);
}

static uint64_t conf_fingerprint(const struct service *service)
{
	uint64_t print = conf_fingerprint_text(service->zones, service->name);
	for (uint32_t i = 0; i < service->endpoint_count; i++) {
		const struct endpoint *e = &service->endpoints[i];
		const uint32_t facts[] = {e->address.family, e->address.port, e->weight, e->health,
			e->alternate, e->is_near};
		print = hash_bytes(print, e->address.ip, sizeof(e->address.ip));
		print = hash_bytes(print, facts, sizeof(facts));
		print = hash_bytes(print, &e->key, sizeof(e->key));
		print = conf_fingerprint_text(print, e->version);
	}
	for (uint32_t i = 0; i < service->subset_count; i++)
		print = conf_fingerprint_text(print, service->subsets[i].version);
	return print;
}

void conf_build_zones(struct conf_parser *p)
{
	struct snapshot *s = p->snapshot;
	for (uint32_t i = 0; !p->is_exhausted && i < s->service_count; i++) {
		conf_zone_service(p, &s->services[i]);
		s->services[i].fingerprint = conf_fingerprint(&s->services[i]);
	}
}
