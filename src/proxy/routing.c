/* SPDX-License-Identifier: Apache-2.0 */
/* A rule's turn goes on from one plan to the next, whatever else has changed, so that its split
 * stays exact: it is kept by the service's name and the rule's place. When there are many, those of
 * rules that are gone are let go of. */
#include "routing.h"

#include "balance/split.h"
#include "mesh/identity.h"
#include <stdlib.h>

#define ROUTING_TURNS_MIN 4096

struct routing_turn {
	struct map_node node; /* in worker.turns */
	struct split split;   /* of a rule, and of its fault: */
	struct split delays, aborts;
	struct split mirrors[ROUTE_MIRRORS_MAX]; /* once it has had any */
	bool has_mirrors;
	uint32_t rule_index;
	uint8_t service_len;
	char service[IDENTITY_SERVICE_MAX];
};

void routing_done(struct worker *w)
{
	for (size_t i = 0; i < w->turns.slot_count; i++) {
		struct map_node *node = w->turns.slots[i];
		while (node) {
			struct routing_turn *t = CONTAINER_OF(node, struct routing_turn, node);
			node = node->next;
			free(t);
		}
	}
	map_done(&w->turns);
}

/* Some call may still ask for it. */
static bool routing_is_wanted(const struct worker *w, const struct routing_turn *t)
{
	const struct service *service = snapshot_service(
		w->current->plan->snapshot, (struct str){t->service, t->service_len});
	return service && service->route && t->rule_index < service->route->rule_count;
}

/* The next time when there are twice as many as are left. */
static void routing_sweep(struct worker *w)
{
	for (size_t i = 0; i < w->turns.slot_count; i++) {
		struct map_node *node = w->turns.slots[i];
		while (node) {
			struct routing_turn *t = CONTAINER_OF(node, struct routing_turn, node);
			node = node->next;
			if (routing_is_wanted(w, t))
				continue;
			map_remove(&w->turns, &t->node);
			free(t);
		}
	}
	w->turns_max = 2 * w->turns.count;
	if (w->turns_max < ROUTING_TURNS_MIN)
		w->turns_max = ROUTING_TURNS_MIN;
}

static uint64_t routing_hash(struct str service, uint32_t rule_index)
{
	return hash_bytes(0x74726e5f6b6579ull + rule_index, service.at, service.len);
}

static struct routing_turn *routing_new(struct worker *w, struct str service, uint32_t rule_index)
{
	if (w->turns.count >= ROUTING_TURNS_MIN && w->turns.count >= w->turns_max)
		routing_sweep(w);
	struct routing_turn *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	ASSERT(service.len <= sizeof(t->service));
	memcpy(t->service, service.at, service.len);
	t->service_len = (uint8_t)service.len;
	t->rule_index = rule_index;
	split_init(&t->split, loop_random(&w->loop));
	split_init(&t->delays, loop_random(&w->loop));
	split_init(&t->aborts, loop_random(&w->loop));
	if (map_add(&w->turns, &t->node, routing_hash(service, rule_index)))
		return t;
	free(t);
	return NULL;
}

static struct routing_turn *routing_turn(struct worker *w, struct str service, uint32_t rule_index)
{
	struct map_node *node = map_first(&w->turns, routing_hash(service, rule_index));
	for (; node; node = map_next(node)) {
		struct routing_turn *t = CONTAINER_OF(node, struct routing_turn, node);
		if (t->rule_index == rule_index &&
			str_eq((struct str){t->service, t->service_len}, service))
			return t;
	}
	return routing_new(w, service, rule_index);
}

static uint32_t routing_next(
	struct worker *w, const struct route *route, const struct route_rule *rule)
{
	struct split by_chance;
	struct routing_turn *turn = routing_turn(w, route->service->name, rule->index);
	if (!turn) /* out of memory */
		split_init(&by_chance, loop_random(&w->loop));
	return split_next(turn ? &turn->split : &by_chance, rule->legs, rule->leg_count);
}

const struct route_leg *routing_leg(struct worker *w, const struct route *route,
	const struct route_rule *rule, const struct route_request *request)
{
	if (rule->leg_count <= 1)
		return rule->leg_count ? &rule->legs[0] : NULL;
	struct str value = route_sticky_value(&rule->sticky, request);
	uint32_t leg = value.len > 0 ? split_sticky(value, rule->legs, rule->leg_count)
				     : routing_next(w, route, rule);
	ASSERT(leg < rule->leg_count); /* the configuration's checks: some weight is not 0 */
	return &rule->legs[leg];
}

/* Whether it is one of so many of a hundred. */
static bool routing_is_one_of(struct split *s, uint32_t percent)
{
	const struct route_leg legs[] = {{.weight = percent}, {.weight = 100 - percent}};
	return percent > 0 && split_next(s, legs, ARRAY_LEN(legs)) == 0;
}

struct routing_fault routing_fault(
	struct worker *w, const struct route *route, const struct route_rule *rule)
{
	struct routing_fault fault = {0};
	const struct route_fault *f = &rule->fault;
	if (f->delay_percent + f->abort_percent == 0)
		return fault;
	struct routing_turn *turn = routing_turn(w, route->service->name, rule->index);
	if (!turn) /* out of memory: no fault is the better one */
		return fault;
	if (routing_is_one_of(&turn->delays, f->delay_percent))
		fault.delay_ms = f->delay_ms;
	if (routing_is_one_of(&turn->aborts, f->abort_percent))
		fault.abort_status = f->abort_status;
	return fault;
}

uint32_t routing_mirrors(struct worker *w, const struct route *route, const struct route_rule *rule)
{
	uint32_t mask = 0;
	struct routing_turn *turn = NULL;
	if (rule->mirror_count > 0)
		turn = routing_turn(w, route->service->name, rule->index);
	for (size_t i = 0; turn && !turn->has_mirrors && i < ARRAY_LEN(turn->mirrors); i++)
		split_init(&turn->mirrors[i], loop_random(&w->loop));
	if (turn)
		turn->has_mirrors = true;
	for (uint32_t i = 0; turn && i < rule->mirror_count; i++) {
		if (routing_is_one_of(&turn->mirrors[i], rule->mirrors[i].weight))
			mask |= 1u << i;
	}
	return mask; /* none when out of memory */
}

static struct budget *routing_budget(const struct call *c)
{
	return &c->hold->plan->service_uses[c->dialled->index]->budget;
}

void routing_count_request(struct worker *w, const struct call *c)
{
	budget_request(routing_budget(c), c->dialled->retry_budget.percent, w->loop.now_ns);
}

bool routing_may_retry(struct worker *w, const struct call *c)
{
	return c->dialled &&
	       budget_retry(routing_budget(c), c->dialled->retry_budget.per_second, w->loop.now_ns);
}

struct call_lead routing_lead(const struct call *c, const struct route_leg *leg)
{
	struct call_lead lead = {.service = STR(""), .version = STR("")};
	if (!leg)
		return lead;
	lead.is_nowhere = !leg->service;
	if (leg->service && leg->service != c->dialled)
		lead.service = leg->service->name;
	lead.version = leg->version;
	return lead;
}
