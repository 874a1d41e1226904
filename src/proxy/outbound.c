/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that the redirect rules captured from a local workload: who it is, by the mark on
 * its SYN; where it wanted to go, by the original destination; what the mesh says about that. */
#include "call.h"

#include "balancer.h"
#include "mesh/route.h"
#include "net/socket.h"
#include "outside.h"
#include "plan_wheels.h"
#include "upstream.h"

static uint32_t outbound_mark(const struct conf *conf, int fd)
{
	unsigned shift = (unsigned)__builtin_ctz(conf->mark_mask);
	return (socket_mark(fd) & conf->mark_mask) >> shift;
}

void outbound_identify(struct call *c, const struct workload *source)
{
	c->source = source;
	c->source_service = NULL;
	c->source_id = STR("");
	if (!source)
		return;
	c->source_service = source->service;
	c->source_id = source->id;
}

/* Here nobody asks for a certificate, and so what one would be worth to another machine counts:
 * that the node file gives a workload an identity proves nothing. */
static bool outbound_is_proved(const struct call *c)
{
	return c->source && tls_store_prove(c->hold->plan->tls, c->source->identity,
				    worker_wall_s(c->hold->worker)) == TLS_FAILURE_NONE;
}

void outbound_prove(struct call *c)
{
	if (!outbound_is_proved(c))
		c->source_id = STR("");
}

enum reason outbound_check_proof(const struct call *c)
{
	if (c->source_id.len > 0)
		return outbound_is_proved(c) ? REASON_NONE : REASON_NO_IDENTITY;
	if (service_mtls(c->service, c->target->port) != MTLS_STRICT)
		return REASON_NONE;
	return c->source ? REASON_NO_IDENTITY : REASON_UNATTRIBUTED;
}

static enum reason outbound_to_local(struct call *c, const struct destination *to)
{
	c->way = CALL_WAY_LOCAL;
	c->target = to->workload;
	c->protocol = to->workload->protocol;
	c->upstream = to->workload->deliver;
	outbound_prove(c);
	enum reason reason = outbound_check_proof(c);
	if (reason != REASON_NONE)
		return reason;
	/* No other machine would take it for this service. */
	return to->workload->is_refused ? REASON_UPSTREAM_IDENTITY : REASON_NONE;
}

static enum reason outbound_to_remote(struct call *c, const struct destination *to)
{
	c->endpoint = to->endpoint;
	c->protocol = to->service->protocol;
	c->upstream = to->endpoint->address;
	if (service_mtls(to->service, to->endpoint->address.port) == MTLS_DISABLED) {
		c->way = CALL_WAY_PLAIN;
		return REASON_NONE;
	}
	c->way = CALL_WAY_MESH;
	c->upstream.port = c->hold->plan->conf->mesh_port;
	return c->source ? REASON_NONE : REASON_UNATTRIBUTED;
}

/* Who has no identity may still be let in by an endpoint of this machine. */
static enum reason outbound_to_service(struct call *c, const struct destination *to)
{
	c->way = CALL_WAY_PICK;
	c->picks = true;
	c->protocol = to->service->protocol;
	return c->source || !service_is_mtls(to->service, MTLS_STRICT) ? REASON_NONE
								       : REASON_UNATTRIBUTED;
}

enum reason outbound_settle(struct call *c, const struct workload *source)
{
	struct destination to = snapshot_destination(c->hold->plan->snapshot, &c->original);
	outbound_identify(c, source);
	c->dialled = c->service = to.service;
	switch (to.kind) {
	case DESTINATION_LOCAL:
		c->server_first = to.service->server_first;
		return outbound_to_local(c, &to);
	case DESTINATION_REMOTE:
		c->server_first = to.service->server_first;
		return outbound_to_remote(c, &to);
	case DESTINATION_SERVICE:
		c->server_first = to.service->server_first;
		return outbound_to_service(c, &to);
	case DESTINATION_UNKNOWN:
		return outside_settle(c);
	}
	return REASON_NO_SERVICE;
}

/* --- a service's own address --- */

enum reason outbound_settle_endpoint(
	struct call *c, const struct endpoint *e, const struct workload *local)
{
	/* what the connection carries was settled with the service */
	enum protocol protocol = c->protocol;
	struct destination to = {.service = c->service, .workload = local, .endpoint = e};
	enum reason reason = local ? outbound_to_local(c, &to) : outbound_to_remote(c, &to);
	c->endpoint = e;
	c->protocol = protocol;
	return reason;
}

static void outbound_leave(struct call *c)
{
	c->way = CALL_WAY_PICK;
	c->endpoint = NULL;
	c->target = NULL;
	c->upstream = (struct address){0};
	c->series = (struct record_series){0};
	c->pick_way = PICK_WAY_ALL;
	upstream_done(c);
	outbound_identify(c, c->source); /* others ask for themselves who it is */
}

void outbound_unpick(struct worker *w, struct call *c)
{
	outbound_leave(c);
	c->service = c->dialled;
	(void)call_count_target(w, c); /* none: no limit can be reached */
}

/* Among which endpoints: of this service, and if not NULL, in this subset. */
static enum reason outbound_follow_lead(const struct call *c, const struct call_lead *lead,
	const struct service **ret_service, const struct subset **ret_subset)
{
	*ret_service = c->dialled;
	*ret_subset = NULL;
	if (!lead)
		return REASON_NONE;
	if (lead->is_nowhere)
		return REASON_ROUTE_NO_SERVICE;
	if (lead->service.len > 0)
		*ret_service = snapshot_service(c->hold->plan->snapshot, lead->service);
	if (!*ret_service)
		return REASON_ROUTE_NO_SERVICE;
	/* no subset: since its rule was chosen the route has gone, and with it what it asked for */
	if (lead->version.len > 0)
		*ret_subset = service_subset(*ret_service, lead->version);
	return *ret_subset && (*ret_subset)->endpoint_count == 0 ? REASON_ROUTE_NO_VERSION
								 : REASON_NONE;
}

void outbound_value(const struct call *c, struct call_tries *tries, const struct call_lead *lead,
	const struct route_request *request)
{
	const struct service *service;
	const struct subset *subset;
	if (!c->picks || outbound_follow_lead(c, lead, &service, &subset) != REASON_NONE ||
		!balance_is_by_value(service->balance))
		return;
	tries->has_value =
		route_balance_value(&service->balance_by, request, &c->client, &tries->value);
}

static void outbound_count_way(struct worker *w, enum pick_way way)
{
	switch (way) {
	case PICK_WAY_ALL:
	case PICK_WAY_NEAR:
	case PICK_WAY_ILL:
		return;
	case PICK_WAY_FAR:
	case PICK_WAY_SPILL:
		metric_add(&w->values->picks_other_zone_total, 1);
		return;
	case PICK_WAY_PANIC:
		metric_add(&w->values->picks_panic_total, 1);
		return;
	}
}

static enum reason outbound_draw(struct worker *w, const struct call *c,
	const struct service *service, const struct subset *subset, struct call_tries *tries,
	const struct endpoint **ret, enum pick_way *ret_way)
{
	const struct endpoint *tried[CALL_TRIES_MAX];
	uint32_t tried_count = 0;
	for (uint32_t i = 0; i < tries->count; i++) {
		const struct endpoint *e =
			snapshot_endpoint(c->hold->plan->snapshot, &tries->at[i]);
		if (e)
			tried[tried_count++] = e;
	}
	struct pick pick = {.service = service,
		.subset = subset,
		.tried = tried,
		.tried_count = tried_count,
		.crowd = balancer_crowd(w, c, service),
		.worker_count = w->worker_count,
		.has_value = tries->has_value,
		.value = tries->value,
		.wheel = plan_wheel(c->hold->plan, service, subset),
		.now_ns = w->loop.now_ns,
		.random = loop_random(&w->loop)};
	*ret = pick_endpoint(&pick, ret_way);
	outbound_count_way(w, *ret_way);
	if (*ret && pick.crowd)
		balancer_begin(w, &tries->last, pick.crowd, service, *ret);
	return *ret ? REASON_NONE : REASON_NO_ENDPOINT;
}

void outbound_tried(struct worker *w, struct call *c, struct call_tries *tries, enum reason reason)
{
	outside_tried(c, tries, reason);
	figures_tried(&tries->figure, reason);
	balancer_judge_reason(w, &tries->last, reason);
}

void outbound_answered(struct worker *w, struct call_tries *tries, bool is_error)
{
	balancer_judge(w, &tries->last, is_error ? OUTLIER_ERROR : OUTLIER_SERVED);
}

void outbound_let_rest(struct worker *w, struct call_tries *tries, uint64_t wait_ns)
{
	if (tries->last.load)
		load_let_rest(tries->last.load, w->loop.now_ns, wait_ns);
}

void outbound_connected(struct worker *w, struct call_tries *tries)
{
	figures_connected(&tries->figure);
	balancer_judge(w, &tries->last, OUTLIER_CONNECTED);
}

void outbound_leave_try(struct call_tries *tries)
{
	figures_end(&tries->figure);
	load_end(&tries->last);
	service_hold_give(&tries->request, BREAKER_REQUESTS);
}

static enum reason outbound_count_request(struct worker *w, const struct call *c,
	struct call_tries *tries, const struct service *service, enum call_carriage carriage)
{
	if (carriage == CALL_BYTES ||
		service_hold_take(&tries->request, w, c, service, BREAKER_REQUESTS))
		return REASON_NONE;
	return REASON_BREAKER_REQUESTS;
}

static enum reason outbound_settle_pick(struct worker *w, struct call *c, const struct endpoint *e)
{
	if (c->endpoint == e)
		return REASON_NONE;
	outbound_leave(c);
	c->service = e->service;
	enum reason reason = outbound_settle_endpoint(c, e, e->local);
	enum reason limit = call_count_target(w, c);
	if (reason == REASON_NONE)
		reason = limit;
	if (reason != REASON_NONE)
		outbound_unpick(w, c);
	return reason;
}

enum reason outbound_pick(struct worker *w, struct call *c, struct call_tries *tries,
	const struct call_lead *lead, enum call_carriage carriage)
{
	const struct service *service;
	const struct subset *subset;
	outbound_leave_try(tries);
	outside_pick(c, tries);
	if (!c->picks)
		return outbound_count_request(w, c, tries, c->service, carriage);
	enum reason reason = outbound_follow_lead(c, lead, &service, &subset);
	const struct endpoint *e = NULL;
	enum pick_way way = PICK_WAY_ALL;
	if (reason == REASON_NONE)
		reason = outbound_count_request(w, c, tries, service, carriage);
	if (reason == REASON_NONE)
		reason = outbound_draw(w, c, service, subset, tries, &e, &way);
	if (reason != REASON_NONE) {
		outbound_unpick(w, c);
		return reason;
	}
	if (tries->count == CALL_TRIES_MAX) { /* a route's rule may want more: the oldest goes */
		memmove(tries->at, tries->at + 1, (CALL_TRIES_MAX - 1) * sizeof(*tries->at));
		tries->count--;
	}
	tries->at[tries->count++] = e->address;
	figures_begin(w, &tries->figure, c, e);
	reason = outbound_settle_pick(w, c, e);
	c->pick_way = way;
	return reason;
}

enum reason outbound_admit(struct worker *w, int fd, uint8_t family, struct call *ret_call)
{
	struct call *c = ret_call;
	c->direction = CALL_OUTBOUND;
	if (!call_captured(w, c, fd, family))
		return REASON_DIRECT_DIAL;
	return outbound_settle(c, snapshot_workload_by_mark(c->hold->plan->snapshot,
					  outbound_mark(worker_conf(w), fd)));
}
