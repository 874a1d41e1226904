/* SPDX-License-Identifier: Apache-2.0 */
#include "page_service.h"

#include "page_question.h"

#define PAGE_SERVICE_BYTES_MAX 65536

/* A third of the letters may be wrong, two at least, and never all. */
struct str page_service_like(const struct snapshot *s, struct str name)
{
	struct str best = STR("");
	size_t least = (name.len / 3 > 2 ? name.len / 3 : 2) + 1;
	for (uint32_t i = 0; i < s->service_count; i++) {
		struct str other = s->services[i].name;
		size_t apart = name.len > other.len ? name.len - other.len : other.len - name.len;
		if (apart >= least || str_eq(name, other))
			continue;
		unsigned distance = str_distance(name, other);
		if (distance >= least || distance >= other.len)
			continue;
		least = distance;
		best = other;
	}
	return best;
}

bool page_service_is_here(const struct snapshot *s, const struct service *service)
{
	for (uint32_t i = 0; i < s->workload_count; i++) {
		if (s->workloads[i].service == service && s->workloads[i].port != 0)
			return true;
	}
	for (uint32_t i = 0; i < service->endpoint_count; i++) {
		if (service->endpoints[i].local)
			return true;
	}
	return false;
}

void page_no_service(struct page_response *response, const struct snapshot *s, struct str name)
{
	struct str like = page_service_like(s, name);
	if (like.len > 0)
		page_text(response, 404,
			"no service \"" STR_FMT "\" is known here; did you mean \"" STR_FMT "\"?\n",
			STR_ARG(name), STR_ARG(like));
	else
		page_text(
			response, 404, "no service \"" STR_FMT "\" is known here\n", STR_ARG(name));
}

bool page_service_asked(struct page_response *response, const struct snapshot *s, struct str path,
	const struct service **ret_service)
{
	struct arena arena;
	struct str value = page_query(path), key = page_cut(&value, '=');
	*ret_service = NULL;
	if (key.len == 0)
		return true;
	arena_init(&arena, PAGE_SERVICE_BYTES_MAX);
	struct str name = page_decode(&arena, value);
	bool is_named = str_eq(key, STR("service")) && name.len > 0;
	*ret_service = is_named ? snapshot_service(s, name) : NULL;
	if (!is_named)
		page_text(response, 400, "?service=NAME, or no query for all\n");
	else if (!*ret_service)
		page_no_service(response, s, name);
	arena_done(&arena);
	return *ret_service;
}
