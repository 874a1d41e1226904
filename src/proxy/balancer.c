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

/* Of the service as a whole; what a zone or a version is short of is seen in its calls. */
static void balancer_look_for_panic(struct worker *w, struct crowd *crowd)
{
	const struct load_set *all = crowd_set(crowd, 0, LOAD_ALL);
	bool panics = load_set_panics(all, crowd->panic_percent);
	if (panics == crowd->panics)
		return;
	crowd->panics = panics;
	metric_add(&w->values->services_in_panic, panics ? 1 : -1);
	if (panics)
		log_warning("proxy",
			"worker %u: calls to %.*s go to all endpoints, however they are: of %u "
			"only "
			"%u are well",
			w->index, STR_ARG(crowd->name), all->up_count + all->down_count,
			all->up_count - all->out_count);
	else
		log_info("proxy",
			"worker %u: calls to %.*s go to those endpoints again that are well",
			w->index, STR_ARG(crowd->name));
}

static bool balancer_follow(struct worker *w, struct crowd *crowd, const struct service *service)
{
	uint32_t before = crowd->instances.out;
	bool follows = crowd_follow(
		crowd, service, w->current->plan->number, loop_random(&w->loop), w->loop.now_ns);
	balancer_count_out(w, crowd, before);
	if (follows) {
		crowd->panic_percent = service->panic_percent;
		balancer_look_for_panic(w, crowd);
	}
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
	balancer_look_for_panic(w, crowd);
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

/* --- told to the control thread --- */

static void balancer_report_load(
	const struct worker *w, struct report *report, const struct crowd *crowd, struct load *l)
{
	if (report->row_count == REPORT_ROWS_MAX) {
		report->is_cut = true;
		return;
	}
	struct report_row *row = &report->rows[report->row_count++];
	*row = (struct report_row){.service_len = (uint8_t)crowd->name.len,
		.address = l->address,
		.calls = l->under_way,
		.is_known = load_is_known(l),
		.latency_ns = load_latency_ns(l, w->loop.now_ns),
		.state = l->outlier.state,
		.cause = l->outlier.cause,
		.left_ns = l->outlier.until_ns > w->loop.now_ns
				   ? l->outlier.until_ns - w->loop.now_ns
				   : 0};
	memcpy(row->service, crowd->name.at, crowd->name.len);
}

/* Of those that there is something to tell of. */
static void balancer_report_crowd(
	const struct worker *w, struct report *report, const struct crowd *crowd, bool only_ejected)
{
	for (uint32_t i = 0; i < crowd->load_count; i++) {
		struct load *l = crowd->loads[i];
		bool is_out = l->outlier.state != OUTLIER_IN;
		if (is_out || (!only_ejected && (l->under_way > 0 || load_is_known(l))))
			balancer_report_load(w, report, crowd, l);
	}
}

static void balancer_report_ejected(
	const struct worker *w, struct report *report, const struct list *crowds)
{
	LIST_EACH (crowds, node) {
		const struct crowd *crowd = CONTAINER_OF(node, struct crowd, listed);
		if (crowd->instances.out > 0)
			balancer_report_crowd(w, report, crowd, true);
	}
}

void balancer_report(struct worker *w, struct report *report)
{
	for (uint32_t i = 0; i < report->service_count; i++) {
		struct report_service *s = &report->services[i];
		const struct crowd *crowd = balancer_find(w, (struct str){s->name, s->len});
		if (!crowd)
			continue;
		s->calls = crowd->under_way;
		balancer_report_crowd(w, report, crowd, false);
	}
	if (report->service_count > 0)
		return;
	balancer_report_ejected(w, report, &w->live_crowds);
	balancer_report_ejected(w, report, &w->stale_crowds);
}

/* --- under a newer plan --- */

static void balancer_drop(struct worker *w, struct crowd *crowd)
{
	metric_add(&w->values->endpoints_ejected, -(int64_t)crowd->instances.out);
	metric_add(&w->values->services_in_panic, crowd->panics ? -1 : 0);
	map_remove(&w->crowds, &crowd->node);
	list_remove(&crowd->listed);
	crowd_free(crowd);
}

/* Returns how many endpoints were looked at. */
static uint32_t balancer_look(struct worker *w, struct crowd *crowd)
{
	const struct service *service = snapshot_service(w->current->plan->snapshot, crowd->name);
	uint32_t before = crowd->load_count;
	if (!service) {
		balancer_drop(w, crowd);
		return before;
	}
	if (crowd->plan_number == w->current->plan->number)
		return 0;
	bool is_same = crowd_is_same(crowd, service);
	(void)balancer_follow(w, crowd, service); /* else with its next call */
	return is_same ? 0 : before + service->endpoint_count;
}

void balancer_look_again(struct worker *w, uint32_t max, uint32_t endpoint_max)
{
	struct list *node;
	uint32_t looked = 0;
	for (uint32_t i = 0; i < max && looked < endpoint_max; i++) {
		node = list_pop(&w->stale_crowds);
		if (!node)
			return;
		list_add_last(&w->live_crowds, node);
		looked += balancer_look(w, CONTAINER_OF(node, struct crowd, listed));
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
