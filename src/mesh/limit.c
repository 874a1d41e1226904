/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh/limit.h"

bool limit_matches(
	const struct snapshot *s, const struct limit *limit, const struct limit_request *request)
{
	return route_ask_when(s, &limit->when, &request->asks).miss == ROUTE_MISS_NONE;
}

/* --- keys --- */

/* A value is written with its length before it, so that no two lists of values look alike. */
#define LIMIT_LEN_BYTES 4
/* Behind the last value: of a limit all keys have as many. */
#define LIMIT_MIRROR "mirror"

/* Where a key goes; without text its length only is told. */
struct limit_writer {
	char *text;
	size_t len;
};

static void limit_put(struct limit_writer *w, struct str bytes)
{
	if (w->text && bytes.len > 0)
		memcpy(w->text + w->len, bytes.at, bytes.len);
	w->len += bytes.len;
}

static void limit_put_len(struct limit_writer *w, size_t at, size_t len)
{
	for (size_t i = 0; w->text && i < LIMIT_LEN_BYTES; i++)
		w->text[at + i] = (char)(len >> (8 * i));
}

static const struct route_header *limit_header_at(const struct route_request *r, uint32_t index)
{
	return (const void *)((const char *)r->headers + index * r->header_bytes);
}

static void limit_put_header(struct limit_writer *w, struct str name, const struct route_request *r)
{
	bool is_next = false;
	for (uint32_t i = 0; i < r->header_count; i++) {
		const struct route_header *h = limit_header_at(r, i);
		if (!str_eq_nocase(h->name, name))
			continue;
		if (is_next)
			limit_put(w, STR(","));
		limit_put(w, h->value);
		is_next = true;
	}
}

static void limit_put_value(
	struct limit_writer *w, const struct limit_part *part, const struct limit_request *request)
{
	const struct route_request *r = &request->asks;
	struct route_sticky cookie = {ROUTE_STICKY_COOKIE, part->name};
	if (part->kind == LIMIT_BY_SOURCE)
		limit_put(w, r->source_id);
	else if (part->kind == LIMIT_BY_CLIENT)
		limit_put(w, request->client);
	if (!r->is_http)
		return;
	switch (part->kind) {
	case LIMIT_BY_SOURCE:
	case LIMIT_BY_CLIENT:
		return;
	case LIMIT_BY_ROUTE:
		limit_put(w, request->route);
		return;
	case LIMIT_BY_METHOD:
		limit_put(w, r->method);
		return;
	case LIMIT_BY_HOST:
		limit_put(w, route_host(r->authority));
		return;
	case LIMIT_BY_PATH:
		limit_put(w, r->path);
		return;
	case LIMIT_BY_HEADER:
		limit_put_header(w, part->name, r);
		return;
	case LIMIT_BY_COOKIE:
		limit_put(w, route_sticky_value(&cookie, r));
		return;
	}
}

static size_t limit_key_put(
	const struct limit *limit, const struct limit_request *request, char *text)
{
	struct limit_writer w = {.text = text};
	for (uint32_t i = 0; i < limit->part_count; i++) {
		size_t at = w.len;
		w.len += LIMIT_LEN_BYTES;
		limit_put_value(&w, &limit->parts[i], request);
		limit_put_len(&w, at, w.len - at - LIMIT_LEN_BYTES);
	}
	if (request->is_mirror)
		limit_put(&w, STR(LIMIT_MIRROR));
	return w.len;
}

size_t limit_key_bytes(const struct limit *limit, const struct limit_request *request)
{
	return limit_key_put(limit, request, NULL);
}

size_t limit_key_write(const struct limit *limit, const struct limit_request *request, char *text)
{
	return limit_key_put(limit, request, text);
}

/* --- rules of routes --- */

bool limit_wants_route(const struct service *service)
{
	for (uint32_t i = 0; i < service->limit_count; i++) {
		const struct limit *limit = service->limits[i];
		for (uint32_t k = 0; k < limit->part_count; k++) {
			if (limit->parts[k].kind == LIMIT_BY_ROUTE)
				return true;
		}
	}
	return false;
}

static bool limit_route_leads(
	const struct service *from, const struct route_rule *rule, const struct service *service)
{
	bool leads = rule->leg_count == 0 && from == service;
	for (uint32_t i = 0; i < rule->leg_count; i++)
		leads = leads || rule->legs[i].service == service;
	return leads && rule->action == ROUTE_FORWARD;
}

struct str limit_route_known(
	const struct snapshot *s, const struct service *service, struct str name)
{
	const char *slash = name.len ? memchr(name.at, '/', name.len) : NULL;
	struct str service_name = {name.at, slash ? (size_t)(slash - name.at) : 0};
	const struct service *from = slash ? snapshot_service(s, service_name) : NULL;
	const struct route *route = from ? from->route : NULL;
	for (uint32_t i = 0; route && i < route->rule_count; i++) {
		const struct route_rule *rule = &route->rules[i];
		if (str_eq(rule->name, name) && limit_route_leads(from, rule, service))
			return rule->name;
	}
	return STR("");
}
