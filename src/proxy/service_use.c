/* SPDX-License-Identifier: Apache-2.0 */
/* None is ever freed, for a call may outlive the plans that know its service. One that no plan
 * knows any more, and that has nothing under way, becomes that of the next service that is new:
 * nobody can count there meanwhile, since whoever does comes through a plan. */
#include "service_use.h"

#include "call.h"
#include <stdlib.h>

static bool service_use_is_of(const struct service_use *use, struct str name)
{
	return str_eq((struct str){use->name, use->name_len}, name);
}

static struct service_use *service_use_new(struct plan *plan, struct service_use *unused)
{
	struct service_use *use = unused ? unused : calloc(1, sizeof(*use));
	if (!use)
		return NULL;
	if (unused) {
		*use = (struct service_use){.before = unused->before};
	} else {
		use->before = plan->last_service_use;
		plan->last_service_use = use;
	}
	return use;
}

/* It may have been away for some plans, with calls that go on. What was made for this plan is of
 * its other services: to look through that too would take long for very many new ones. */
static struct service_use *service_use_find(
	struct plan *plan, const struct plan *before, struct str name)
{
	struct service_use *unused = NULL, *use = before ? before->last_service_use : NULL;
	for (; use && !service_use_is_of(use, name); use = use->before) {
		if (use->plan_count == 0 && breaker_is_unused(&use->breaker))
			unused = use;
	}
	if (use)
		return use;
	use = service_use_new(plan, unused);
	if (!use)
		return NULL;
	ASSERT(name.len <= sizeof(use->name));
	memcpy(use->name, name.at, name.len);
	use->name_len = (uint8_t)name.len;
	return use;
}

/* Mostly the plan before has it. */
static struct service_use *service_use_of(
	struct plan *plan, const struct plan *before, struct str name)
{
	const struct service *service = before ? snapshot_service(before->snapshot, name) : NULL;
	return service ? before->service_uses[service->index]
		       : service_use_find(plan, before, name);
}

bool service_uses_link(struct plan *plan, const struct plan *before)
{
	const struct snapshot *s = plan->snapshot;
	plan->last_service_use = before ? before->last_service_use : NULL;
	plan->service_uses = calloc(s->service_count + 1, sizeof(struct service_use *));
	for (uint32_t i = 0; plan->service_uses && i < s->service_count; i++) {
		struct service_use *use = service_use_of(plan, before, s->services[i].name);
		if (!use)
			return false;
		use->plan_count++;
		plan->service_uses[i] = use;
	}
	return plan->service_uses;
}

void service_uses_leave(struct plan *plan)
{
	for (uint32_t i = 0; plan->service_uses && i < plan->snapshot->service_count; i++) {
		if (plan->service_uses[i])
			plan->service_uses[i]->plan_count--;
	}
	free(plan->service_uses);
}

/* --- limits --- */

struct service_limit_row {
	size_t used, refused; /* in struct metric_values */
};

static const struct service_limit_row service_limits[] = {
	[BREAKER_CONNECTIONS] = {offsetof(struct metric_values, breaker_connections),
		offsetof(struct metric_values, breaker_connections_refused_total)},
	[BREAKER_PENDING] = {offsetof(struct metric_values, breaker_pending),
		offsetof(struct metric_values, breaker_pending_refused_total)},
	[BREAKER_REQUESTS] = {offsetof(struct metric_values, breaker_requests),
		offsetof(struct metric_values, breaker_requests_refused_total)},
	[BREAKER_RETRIES] = {offsetof(struct metric_values, breaker_retries),
		offsetof(struct metric_values, breaker_retries_refused_total)},
};

static void service_count(struct worker *w, size_t at, int64_t n)
{
	metric_add((_Atomic uint64_t *)((char *)w->values + at), n);
}

bool service_hold_try(struct service_hold *h, struct worker *w, const struct call *c,
	const struct service *service, enum breaker_limit limit)
{
	ASSERT(!h->use);
	if (c->direction != CALL_OUTBOUND || !service)
		return true;
	struct service_use *use = c->hold->plan->service_uses[service->index];
	if (!breaker_take(&use->breaker, limit, service->breaker[limit]))
		return false;
	*h = (struct service_hold){use, w};
	service_count(w, service_limits[limit].used, 1);
	return true;
}

bool service_hold_take(struct service_hold *h, struct worker *w, const struct call *c,
	const struct service *service, enum breaker_limit limit)
{
	if (service_hold_try(h, w, c, service, limit))
		return true;
	service_count(w, service_limits[limit].refused, 1);
	if (limit == BREAKER_CONNECTIONS)
		breaker_lack(&c->hold->plan->service_uses[service->index]->breaker);
	return false;
}

void service_hold_give(struct service_hold *h, enum breaker_limit limit)
{
	if (!h->use)
		return;
	service_count(h->worker, service_limits[limit].used, -1);
	breaker_give(&h->use->breaker, limit);
	*h = (struct service_hold){0};
}
