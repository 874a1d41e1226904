/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of the mesh, and what those of this machine's services have granted and refused. */
#include "base/clock.h"
#include "page.h"
#include "page_words.h"
#include "proxy/limiter_view.h"
#include <stdio.h>

#define PAGE_LIMITS_MAX (64u << 20)

static const char *const page_scopes[] = {[LIMIT_LOCAL] = "local", [LIMIT_MESH] = "mesh"};
static const char *const page_aways[] = {
	[LIMIT_AWAY_SHARE] = "share", [LIMIT_AWAY_ALLOW] = "allow", [LIMIT_AWAY_DENY] = "deny"};
static const char *const page_parts[] = {
	[LIMIT_BY_SOURCE] = "source",
	[LIMIT_BY_CLIENT] = "client",
	[LIMIT_BY_ROUTE] = "route",
	[LIMIT_BY_METHOD] = "method",
	[LIMIT_BY_HOST] = "host",
	[LIMIT_BY_PATH] = "path",
	[LIMIT_BY_HEADER] = "header:",
	[LIMIT_BY_COOKIE] = "cookie:",
};

/* --- the page --- */

static void page_put_parts(struct json *j, const struct limit *limit)
{
	char text[256];
	json_key(j, "by");
	json_open(j, '[');
	for (uint32_t i = 0; i < limit->part_count; i++) {
		const struct limit_part *part = &limit->parts[i];
		snprintf(text, sizeof(text), "%s" STR_FMT, page_parts[part->kind],
			STR_ARG(part->name));
		json_str(j, str_of(text));
	}
	json_close(j, ']');
}

static void page_put_counts(struct json *j, const struct limiter_view *view)
{
	const struct limiter_counts *c = view->counts;
	page_put_u64(j, "granted", c->granted);
	page_put_u64(j, "refused", c->refused);
	page_put_u64(j, "shadowed", c->shadowed);
	page_put_u64(j, "crowded", c->crowded);
	page_put_u64(j, "away", c->away);
	if (view->has_keys) {
		page_put_u64(j, "keys", view->key_count);
		page_put_u64(j, "keys_max", view->key_max);
	}
	if (view->is_known) {
		page_put_u64(j, "remaining", view->remaining);
		page_put_u64(j, "quota", view->quota);
	}
}

static void page_put_limit(struct json *j, const struct plan *plan, const struct limit *limit)
{
	struct limiter_view view;
	bool is_here = limiter_look(plan, limit, clock_monotonic_ns(), &view);
	json_open(j, '{');
	page_put_str(j, "name", limit->name);
	page_put_str(j, "service", limit->service->name);
	page_put_u64(j, "requests", limit->amount);
	page_put_u64(j, "per_ms", limit->window_ms);
	page_put_u64(j, "burst", limit->burst);
	page_put_str(j, "scope", str_of(page_scopes[limit->scope]));
	if (limit->scope == LIMIT_MESH)
		page_put_str(j, "when_away", str_of(page_aways[limit->away]));
	page_put_bool(j, "fair", limit->is_fair);
	page_put_bool(j, "shadow", limit->is_shadow);
	page_put_parts(j, limit);
	page_put_conditions(j, &limit->when);
	page_put_bool(j, "here", is_here);
	if (is_here)
		page_put_counts(j, &view);
	json_close(j, '}');
}

/* False: the query is none that there is. */
static bool page_limits_of(struct str path, struct str *ret_name)
{
	struct str key = STR("service=");
	const char *mark = path.len ? memchr(path.at, '?', path.len) : NULL;
	*ret_name = STR("");
	if (!mark)
		return true;
	struct str query = {mark + 1, path.len - (size_t)(mark + 1 - path.at)};
	*ret_name = (struct str){query.at + key.len, query.len - key.len};
	return str_starts(query, key) && query.len > key.len;
}

void page_limits(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	const struct plan *plan = source->proxy->plan;
	struct str name;
	struct json j;
	if (!plan) {
		page_text(response, 503, "no configuration in force\n");
		return;
	}
	if (!page_limits_of(request->path, &name)) {
		page_text(response, 400, "?service=NAME, or no query for all\n");
		return;
	}
	json_init(&j, PAGE_LIMITS_MAX);
	json_open(&j, '{');
	page_put_u64(&j, "generation", plan->snapshot->generation);
	json_key(&j, "limits");
	json_open(&j, '[');
	for (uint32_t i = 0; i < plan->snapshot->limit_count; i++) {
		const struct limit *limit = &plan->snapshot->limits[i];
		if (name.len == 0 || str_eq(limit->service->name, name))
			page_put_limit(&j, plan, limit);
	}
	json_close(&j, ']');
	json_close(&j, '}');
	page_json(response, &j);
}

/* --- metrics --- */

static const struct {
	const char *name, *help;
	size_t offset;
} page_limit_counts[] = {
	{"ringmain_rate_limit_granted_total", "Requests and connections that a limit let through",
		offsetof(struct limiter_counts, granted)},
	{"ringmain_rate_limited_total", "Requests and connections that a limit refused",
		offsetof(struct limiter_counts, refused)},
	{"ringmain_rate_limit_shadowed_total",
		"Requests and connections that a limit on trial would have refused",
		offsetof(struct limiter_counts, shadowed)},
	{"ringmain_rate_limit_crowded_total",
		"Requests of keys that had no place of their own: too many were in use",
		offsetof(struct limiter_counts, crowded)},
	{"ringmain_rate_limit_away_total",
		"Requests and connections that were decided without the store",
		offsetof(struct limiter_counts, away)},
};

/* One series of each for each limit of a service of this machine. */
void page_write_limits(const struct page_source *source, struct metric_text *out)
{
	const struct plan *plan = source->proxy->plan;
	uint32_t limit_count = plan ? plan->snapshot->limit_count : 0;
	for (size_t c = 0; c < ARRAY_LEN(page_limit_counts) && limit_count > 0; c++) {
		const char *name = page_limit_counts[c].name;
		metric_text_family(out, name, "counter", page_limit_counts[c].help);
		for (uint32_t i = 0; i < limit_count; i++) {
			const struct limit *limit = &plan->snapshot->limits[i];
			const struct limiter_counts *counts = limiter_counts_of_limit(plan, limit);
			char labels[512] = "";
			if (!counts ||
				!metric_label_add(
					labels, sizeof(labels), "service", limit->service->name) ||
				!metric_label_add(labels, sizeof(labels), "limit", limit->name))
				continue;
			metric_text_u64(out, name, labels,
				*(const _Atomic uint64_t *)((const char *)counts +
							    page_limit_counts[c].offset));
		}
	}
}
