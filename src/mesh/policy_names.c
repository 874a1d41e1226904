/* SPDX-License-Identifier: Apache-2.0 */
/* The headers that a service's rules ask for, each once and in order: whoever asks about a name
 * does not look at ten thousand rules. A request may have a hundred trailers, and who sends it
 * shares the proxy with others. */
#include "mesh/policy.h"

#include <stdlib.h>

static char policy_lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* By length first, letter case aside. */
static int policy_compare_names(const void *a, const void *b)
{
	const struct str *one = a, *other = b;
	int order = (one->len > other->len) - (one->len < other->len);
	for (size_t i = 0; i < one->len && order == 0; i++)
		order = policy_lower(one->at[i]) - policy_lower(other->at[i]);
	return order;
}

static uint32_t policy_count_headers(const struct service *service)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < service->policy_count; i++)
		count += service->policies[i]->headers.count;
	return count;
}

/* Returns how many are left of them, at the beginning. */
static uint32_t policy_once(struct str *names, uint32_t count)
{
	uint32_t kept = 0;
	qsort(names, count, sizeof(*names), policy_compare_names);
	for (uint32_t i = 0; i < count; i++) {
		if (kept == 0 || policy_compare_names(&names[kept - 1], &names[i]) != 0)
			names[kept++] = names[i];
	}
	return kept;
}

bool policy_names_build(struct snapshot *s, struct service *service)
{
	uint32_t count = 0;
	struct str *all = calloc(policy_count_headers(service) + 1u, sizeof(*all));
	if (!all)
		return false;
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct route_fields *headers = &service->policies[i]->headers;
		for (uint32_t k = 0; k < headers->count; k++)
			all[count++] = headers->at[k].name;
	}
	count = policy_once(all, count);
	service->policy_headers = arena_take(&s->arena, (count + 1u) * sizeof(*all));
	service->policy_header_count = count;
	if (service->policy_headers && count > 0)
		memcpy(service->policy_headers, all, count * sizeof(*all));
	free(all);
	return service->policy_headers;
}

/* Of a service for which they were not gathered. */
static bool policy_asks_header_each(const struct service *service, struct str name)
{
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct route_fields *headers = &service->policies[i]->headers;
		for (uint32_t k = 0; k < headers->count; k++) {
			if (str_eq_nocase(headers->at[k].name, name))
				return true;
		}
	}
	return false;
}

bool policy_asks_header(const struct service *service, struct str name)
{
	if (!service->policy_headers)
		return policy_asks_header_each(service, name);
	return service->policy_header_count > 0 &&
	       bsearch(&name, service->policy_headers, service->policy_header_count, sizeof(name),
		       policy_compare_names);
}
