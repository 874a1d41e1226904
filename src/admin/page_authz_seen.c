/* SPDX-License-Identifier: Apache-2.0 */
/* /authz/seen: what the workers have let in to this machine's workloads, theirs put together, with
 * callers as a policy would name them. */
#include "page_authz.h"
#include "page_service.h"
#include "proxy/seen_view.h"
#include <stdio.h>
#include <stdlib.h>

#define PAGE_SEEN_MAX (64u << 20)

static int page_compare_str(struct str a, struct str b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len ? memcmp(a.at, b.at, len) : 0;
	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int page_compare_seen(const void *a, const void *b)
{
	const struct seen_entry *one = *(struct seen_entry *const *)a;
	const struct seen_entry *other = *(struct seen_entry *const *)b;
	int order = page_compare_str(seen_service(one), seen_service(other));
	order = order ? order : page_compare_str(seen_source(one), seen_source(other));
	order = order ? order : one->port - other->port;
	order = order ? order : one->is_http - other->is_http;
	order = order ? order : page_compare_str(seen_path(one), seen_path(other));
	return order ? order : page_compare_str(seen_method(one), seen_method(other));
}

/* "web" of a service that has this id and no other; "shop/web" of another of our own trust domain;
 * the whole id where that would be read as another one's, as "web" without a service or a range. */
static void page_put_caller(struct json *j, const struct snapshot *s, struct str id)
{
	const struct str parts[] = {STR("spiffe://"), s->trust_domain, STR("/")};
	struct str path = id, prefix = STR("service/");
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (!str_starts(path, parts[i])) {
			page_put_str(j, "from", id);
			return;
		}
		path = (struct str){path.at + parts[i].len, path.len - parts[i].len};
	}
	struct str name = path;
	if (str_starts(path, prefix))
		name = (struct str){path.at + prefix.len, path.len - prefix.len};
	const struct service *service = snapshot_service(s, name);
	bool is_its = service && service->id_count == 1 && str_eq(service->ids[0], id);
	struct str entry = is_its ? name : path;
	page_put_str(j, "from", source_entry_names(s, entry, id) ? entry : id);
}

static void page_put_entry(
	struct json *j, const struct snapshot *s, const struct seen_entry *e, uint64_t count)
{
	json_open(j, '{');
	page_put_str(j, "service", seen_service(e));
	page_put_u64(j, "port", e->port);
	page_put_caller(j, s, seen_source(e));
	page_put_bool(j, "http", e->is_http);
	if (e->is_http) {
		page_put_str(j, "method", seen_method(e));
		page_put_str(j, "path", seen_path(e));
	}
	page_put_u64(j, "count", count);
	json_close(j, '}');
}

/* NULL: out of memory. Those of `service`, or all. */
static const struct seen_entry **page_gather_seen(
	const struct reports *r, struct str service, size_t *ret_count)
{
	size_t most = 1;
	for (uint32_t i = 0; i < r->count; i++)
		most += r->of[i] && r->of[i]->seen ? r->of[i]->seen->count : 0;
	const struct seen_entry **all = calloc(most, sizeof(struct seen_entry *));
	*ret_count = 0;
	for (uint32_t i = 0; all && i < r->count; i++) {
		const struct seen_view *v = r->of[i] ? r->of[i]->seen : NULL;
		for (uint32_t k = 0; v && k < v->count; k++) {
			if (service.len == 0 || str_eq(service, seen_service(&v->entries[k])))
				all[(*ret_count)++] = &v->entries[k];
		}
	}
	if (all)
		qsort(all, *ret_count, sizeof(struct seen_entry *), page_compare_seen);
	return all;
}

static void page_put_seen(
	struct json *j, const struct snapshot *s, const struct reports *r, struct str service)
{
	size_t count = 0;
	const struct seen_entry **all = page_gather_seen(r, service, &count);
	j->cut = j->cut || !all;
	json_key(j, "seen");
	json_open(j, '[');
	for (size_t i = 0; i < count;) {
		uint64_t times = 0;
		size_t first = i;
		for (; i < count && page_compare_seen(&all[first], &all[i]) == 0; i++)
			times += all[i]->count;
		page_put_entry(j, s, all[first], times);
	}
	json_close(j, ']');
	free(all);
}

static void page_put_seen_sums(struct json *j, const struct reports *r)
{
	uint64_t since_ns = UINT64_MAX, let_in = 0, coarse = 0, lost = 0;
	for (uint32_t i = 0; i < r->count; i++) {
		const struct seen_view *v = r->of[i] ? r->of[i]->seen : NULL;
		if (!v)
			continue;
		since_ns = v->since_wall_ns < since_ns ? v->since_wall_ns : since_ns;
		let_in += v->let_in;
		coarse += v->coarse;
		lost += v->lost;
	}
	if (since_ns != UINT64_MAX)
		page_put_time(j, "since", since_ns);
	page_put_u64(j, "let_in", let_in);
	page_put_u64(j, "coarse", coarse);
	page_put_u64(j, "lost", lost);
	page_put_u64(j, "workers", r->count);
	page_put_u64(j, "workers_answered", reports_answered(r));
}

void page_authz_seen(const struct page_source *source, const struct page_request *request,
	struct page_response *response)
{
	const struct plan *plan = source->proxy->plan;
	static const struct reports nobody;
	const struct service *service;
	struct json j;
	if (!plan) {
		page_text(response, 503, "no configuration in force\n");
		return;
	}
	if (!page_service_asked(response, plan->snapshot, request->path, &service))
		return;
	if (page_asks_workers(source, response)) {
		response->asks_seen = true;
		return;
	}
	const struct reports *r = source->reports ? source->reports : &nobody;
	json_init(&j, PAGE_SEEN_MAX);
	json_open(&j, '{');
	page_put_str(&j, "node", plan->conf->node_name);
	page_put_u64(&j, "generation", plan->snapshot->generation);
	page_put_seen_sums(&j, r);
	page_put_seen(&j, plan->snapshot, r, service ? service->name : STR(""));
	json_close(&j, '}');
	page_json(response, &j);
}
