/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_wheels.h"

#include <stdlib.h>

struct plan_wheels {
	uint32_t count;
	struct wheel *at[]; /* of the service, then of its subsets; NULL: there is no endpoint */
};

const struct wheel *plan_wheel(
	const struct plan *plan, const struct service *service, const struct subset *subset)
{
	const struct plan_wheels *wheels = plan->wheels ? plan->wheels[service->index] : NULL;
	return wheels ? wheels->at[subset ? subset - service->subsets + 1 : 0] : NULL;
}

/* The wheel that the plan before had for the same. */
static struct wheel *plan_wheel_before(
	const struct plan *before, const struct service *service, const struct subset *subset)
{
	const struct service *old =
		before ? snapshot_service(before->snapshot, service->name) : NULL;
	const struct subset *old_subset =
		old && subset ? service_subset(old, subset->version) : NULL;
	if (!old || (subset && !old_subset))
		return NULL;
	return (struct wheel *)plan_wheel(before, old, old_subset);
}

static uint32_t plan_wheel_members(
	const struct service *service, const struct subset *subset, struct wheel_member *members)
{
	uint32_t count = subset ? subset->endpoint_count : service->endpoint_count, found = 0;
	for (uint32_t i = 0; i < count; i++) {
		const struct endpoint *e = subset ? subset->endpoints[i] : &service->endpoints[i];
		if (!e->alternate)
			members[found++] = (struct wheel_member){e->key, e->weight, i};
	}
	return found;
}

/* False: out of memory. */
static bool plan_wheel_make(const struct plan *before, const struct service *service,
	const struct subset *subset, struct wheel_member *members, struct wheel **ret)
{
	uint32_t count = plan_wheel_members(service, subset, members);
	struct wheel *old = plan_wheel_before(before, service, subset);
	*ret = NULL;
	if (count == 0)
		return true;
	if (old && wheel_print_of(old) == wheel_print(service->balance, members, count))
		*ret = wheel_ref(old);
	else
		*ret = wheel_new(service->balance, members, count);
	return *ret != NULL;
}

static struct plan_wheels *plan_wheels_of(const struct plan *before, const struct service *service)
{
	struct plan_wheels *wheels =
		calloc(1, sizeof(*wheels) + (service->subset_count + 1) * sizeof(struct wheel *));
	struct wheel_member *members = calloc(service->endpoint_count + 1u, sizeof(*members));
	bool fits = wheels && members;
	if (wheels)
		wheels->count = service->subset_count + 1;
	for (uint32_t i = 0; fits && i <= service->subset_count; i++)
		fits = plan_wheel_make(before, service, i > 0 ? &service->subsets[i - 1] : NULL,
			members, &wheels->at[i]);
	free(members);
	for (uint32_t i = 0; wheels && !fits && i < wheels->count; i++)
		wheel_unref(wheels->at[i]);
	if (!fits) {
		free(wheels);
		return NULL;
	}
	return wheels;
}

bool plan_wheels_build(struct plan *plan, const struct plan *before)
{
	const struct snapshot *s = plan->snapshot;
	plan->wheels = calloc(s->service_count + 1u, sizeof(*plan->wheels));
	if (!plan->wheels)
		return false;
	for (uint32_t i = 0; i < s->service_count; i++) {
		const struct service *service = &s->services[i];
		if (!balance_is_by_value(service->balance))
			continue;
		plan->wheels[i] = plan_wheels_of(before, service);
		if (!plan->wheels[i])
			return false;
	}
	return true;
}

void plan_wheels_done(struct plan *plan)
{
	for (uint32_t i = 0; plan->wheels && i < plan->snapshot->service_count; i++) {
		struct plan_wheels *wheels = plan->wheels[i];
		for (uint32_t k = 0; wheels && k < wheels->count; k++)
			wheel_unref(wheels->at[k]);
		free(wheels);
	}
	free(plan->wheels);
	plan->wheels = NULL;
}
