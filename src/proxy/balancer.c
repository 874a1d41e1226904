/* SPDX-License-Identifier: Apache-2.0 */
#include "balancer.h"

#include "base/log.h"

static uint64_t balancer_hash(struct str name)
{
	return hash_bytes(0x63726f7764ull, name.at, name.len);
}

static struct crowd *balancer_find(const struct worker *w, struct str name)
{
	struct map_node *node = map_first(&w->crowds, balancer_hash(name));
	for (; node; node = map_next(node)) {
		struct crowd *crowd = CONTAINER_OF(node, struct crowd, node);
		if (str_eq(crowd->name, name))
			return crowd;
	}
	return NULL;
}

static struct crowd *balancer_new(struct worker *w, struct str name)
{
	struct crowd *crowd = crowd_new(name);
	if (!crowd)
		return NULL;
	if (!map_add(&w->crowds, &crowd->node, balancer_hash(name))) {
		crowd_free(crowd);
		return NULL;
	}
	list_add_last(&w->live_crowds, &crowd->listed);
	return crowd;
}

static void balancer_count_out(struct worker *w, const struct crowd *crowd, uint32_t before)
{
	metric_add(&w->values->endpoints_ejected, (int64_t)crowd->instances.out - before);
}

static bool balancer_follow(struct worker *w, struct crowd *crowd, const struct service *service)
{
	uint32_t before = crowd->instances.out;
	bool follows = crowd_follow(
		crowd, service, w->current->plan->number, loop_random(&w->loop), w->loop.now_ns);
	balancer_count_out(w, crowd, before);
	return follows;
}

struct crowd *balancer_crowd(struct worker *w, const struct call *c, const struct service *service)
{
	if (c->hold != w->current)
		return NULL;
	struct crowd *crowd = balancer_find(w, service->name);
	if (!crowd)
		crowd = balancer_new(w, service->name);
	if (!crowd)
		return NULL;
	if (crowd->follow_count > 0 && crowd->plan_number == w->current->plan->number)
		return crowd;
	return balancer_follow(w, crowd, service) ? crowd : NULL;
}

void balancer_begin(struct worker *w, struct load_call *call, struct crowd *crowd,
	const struct service *service, const struct endpoint *e)
{
	load_begin(call, crowd->loads[e - service->endpoints], w->loop.now_ns);
}

/* --- how it went --- */

static void balancer_tell(struct worker *w, const struct load *l, enum outlier_change change)
{
	char address[ADDRESS_TEXT_MAX];
	uint64_t seconds = (l->outlier.until_ns - w->loop.now_ns) / CLOCK_S;
	address_text(&l->address, address);
	if (change == OUTLIER_EJECTED)
		log_warning("proxy",
			"worker %u: endpoint %s of %.*s gets no calls for %llu s: they fail",
			w->index, address, STR_ARG(l->crowd->name), (unsigned long long)seconds);
	else
		log_info("proxy", "worker %u: endpoint %s of %.*s gets calls again", w->index,
			address, STR_ARG(l->crowd->name));
}

void balancer_judge(struct worker *w, struct load_call *call, enum outlier_verdict verdict)
{
	struct load *l = call->load;
	struct crowd *crowd = l ? l->crowd : NULL;
	uint32_t before = crowd ? crowd->instances.out : 0;
	enum outlier_change change = load_judge(call, verdict, w->loop.now_ns);
	if (change == OUTLIER_STAYS)
		return;
	if (change == OUTLIER_EJECTED)
		metric_add(&w->values->ejections_total, 1);
	balancer_count_out(w, crowd, before);
	balancer_tell(w, l, change);
}

static bool balancer_is_unreachable(enum reason reason)
{
	return reason == REASON_UPSTREAM_CONNECT_FAILED ||
	       reason == REASON_UPSTREAM_CONNECT_TIMEOUT ||
	       reason == REASON_UPSTREAM_HANDSHAKE_FAILED || reason == REASON_UPSTREAM_IDENTITY;
}

static bool balancer_is_error(enum reason reason)
{
	return reason == REASON_UPSTREAM_TIMEOUT || reason == REASON_UPSTREAM_CLOSED ||
	       reason == REASON_BAD_RESPONSE;
}

void balancer_judge_reason(struct worker *w, struct load_call *call, enum reason reason)
{
	if (balancer_is_unreachable(reason))
		balancer_judge(w, call, OUTLIER_UNREACHABLE);
	else if (balancer_is_error(reason))
		balancer_judge(w, call, OUTLIER_ERROR);
}

/* --- under a newer plan --- */

static void balancer_drop(struct worker *w, struct crowd *crowd)
{
	metric_add(&w->values->endpoints_ejected, -(int64_t)crowd->instances.out);
	map_remove(&w->crowds, &crowd->node);
	list_remove(&crowd->listed);
	crowd_free(crowd);
}

void balancer_look_again(struct worker *w, uint32_t max)
{
	struct list *node;
	for (uint32_t i = 0; i < max && (node = list_pop(&w->stale_crowds)); i++) {
		struct crowd *crowd = CONTAINER_OF(node, struct crowd, listed);
		const struct service *service =
			snapshot_service(w->current->plan->snapshot, crowd->name);
		list_add_last(&w->live_crowds, node);
		if (!service)
			balancer_drop(w, crowd);
		else if (crowd->plan_number != w->current->plan->number)
			(void)balancer_follow(w, crowd, service); /* else with its next call */
	}
}

void balancer_done(struct worker *w)
{
	struct list *node;
	list_move_all(&w->stale_crowds, &w->live_crowds);
	while ((node = list_pop(&w->live_crowds)))
		crowd_free(CONTAINER_OF(node, struct crowd, listed));
	map_done(&w->crowds);
}
