/* SPDX-License-Identifier: Apache-2.0 */
/* What the workers know of endpoints, and what they will do with that: each by itself, added up for
 * whoever asks. */
#include "balance/pick.h"
#include "base/clock.h"
#include "mesh/route.h"
#include "page.h"
#include <stdio.h>
#include <stdlib.h>

bool page_asks_workers(const struct page_source *source, struct page_response *response)
{
	const struct proxy *p = source->proxy;
	if (source->reports || !p->plan || !p->workers || p->worker_count == 0)
		return false;
	*response = (struct page_response){.await_reports = true};
	return true;
}

void page_asks_about(struct page_response *response, const struct service *service)
{
	for (uint32_t i = 0; i < response->asked_count; i++) {
		if (str_eq(response->asked[i], service->name))
			return;
	}
	if (response->asked_count < REPORT_SERVICES_MAX)
		response->asked[response->asked_count++] = service->name;
}

/* One endpoint, all workers together. */
struct page_load {
	uint32_t calls;
	bool is_known;
	uint64_t latency_ns; /* the longest that a worker has seen */
	uint32_t out_count;  /* workers that have ejected it */
	uint64_t left_ns;    /* until the last of them may send a probe */
	enum outlier_cause cause;
	uint64_t share; /* of a million, times the workers that were looked at */
};

static const char *page_cause_name(enum outlier_cause cause)
{
	switch (cause) {
	case OUTLIER_BY_ERRORS:
		return "errors in a row";
	case OUTLIER_BY_CONNECT_ERRORS:
		return "connect errors in a row";
	case OUTLIER_BY_SHARE:
		return "too few calls served";
	case OUTLIER_BY_PROBE:
		return "its probe failed";
	}
	return "?";
}

static void page_load_add(struct page_load *load, const struct report_row *row)
{
	load->calls += row->calls;
	load->is_known = load->is_known || row->is_known;
	if (row->is_known && row->latency_ns > load->latency_ns)
		load->latency_ns = row->latency_ns;
	if (row->state == OUTLIER_IN)
		return;
	load->out_count++;
	load->cause = row->cause;
	if (row->left_ns > load->left_ns)
		load->left_ns = row->left_ns;
}

/* The endpoint of the service that a row is about, in the plan in force; NULL: it has left. */
static const struct endpoint *page_row_endpoint(
	const struct snapshot *s, const struct service *service, const struct report_row *row)
{
	const struct endpoint *e = snapshot_endpoint(s, &row->address);
	bool is_of_it = str_eq(service->name, (struct str){row->service, row->service_len}) && e &&
			e->service == service;
	return is_of_it ? e : NULL;
}

/* --- what is to be expected --- */

struct page_outlook {
	const struct page_source *source;
	const struct snapshot *snapshot;
	struct pick pick;
	uint32_t *shares;	 /* of one worker, by index in the subset */
	struct page_load *loads; /* by index among the service's endpoints */
	uint32_t looked_count;	 /* workers */
	enum pick_way way;
};

static const struct endpoint *page_outlook_at(const struct page_outlook *o, uint32_t index)
{
	const struct pick *p = &o->pick;
	return p->subset ? p->subset->endpoints[index] : &p->service->endpoints[index];
}

static uint32_t page_outlook_count(const struct page_outlook *o)
{
	const struct pick *p = &o->pick;
	return p->subset ? p->subset->endpoint_count : p->service->endpoint_count;
}

/* In the eyes of one worker; NULL: of one that has ejected nothing. False: out of memory. */
static bool page_look_out(struct page_outlook *o, const struct report *report)
{
	const struct service *service = o->pick.service;
	struct crowd *crowd = crowd_new(service->name);
	bool fits = crowd && crowd_follow(crowd, service, 1, 0, 1);
	for (uint32_t i = 0; fits && report && i < report->row_count; i++) {
		const struct report_row *row = &report->rows[i];
		const struct endpoint *e = page_row_endpoint(o->snapshot, service, row);
		if (!e || row->state == OUTLIER_IN)
			continue;
		struct outlier *outlier = &crowd->loads[e - service->endpoints]->outlier;
		*outlier = (struct outlier){.state = OUTLIER_OUT, .until_ns = UINT64_MAX};
	}
	if (fits && report) {
		crowd->fingerprint = 0; /* count anew */
		fits = crowd_follow(crowd, service, 2, 0, 1);
	}
	if (fits) {
		o->pick.crowd = crowd;
		o->way = pick_outlook(&o->pick, o->shares);
		o->pick.crowd = NULL;
	}
	crowd_free(crowd);
	return fits;
}

static bool page_has_ejected(const struct page_outlook *o, const struct report *report)
{
	for (uint32_t i = 0; i < report->row_count; i++) {
		if (report->rows[i].state != OUTLIER_IN &&
			page_row_endpoint(o->snapshot, o->pick.service, &report->rows[i]))
			return true;
	}
	return false;
}

static void page_outlook_add(struct page_outlook *o, uint32_t times)
{
	for (uint32_t i = 0; i < page_outlook_count(o); i++)
		o->loads[page_outlook_at(o, i) - o->pick.service->endpoints].share +=
			(uint64_t)o->shares[i] * times;
	o->looked_count += times;
}

static bool page_look_out_all(struct page_outlook *o)
{
	const struct reports *r = o->source->reports;
	uint32_t plain = 0;
	for (uint32_t i = 0; r && i < r->count; i++) {
		const struct report *report = r->of[i];
		if (report && page_has_ejected(o, report)) {
			if (!page_look_out(o, report))
				return false;
			page_outlook_add(o, 1);
		} else {
			plain += report != NULL;
		}
	}
	if (plain > 0 || o->looked_count == 0) {
		if (!page_look_out(o, NULL))
			return false;
		page_outlook_add(o, plain > 0 ? plain : 1);
	}
	return true;
}

/* --- the page --- */

static const char *page_way_name(enum pick_way way)
{
	switch (way) {
	case PICK_WAY_ALL:
		return "well";
	case PICK_WAY_NEAR:
		return "own-zone";
	case PICK_WAY_FAR:
	case PICK_WAY_SPILL:
		return "other-zone";
	case PICK_WAY_PANIC:
		return "panic";
	case PICK_WAY_ILL:
		return "none-well";
	}
	return "?";
}

static const char *page_balance_name(enum balance b)
{
	switch (b) {
	case BALANCE_LEAST_REQUEST:
		return "least_request";
	case BALANCE_PEAK_EWMA:
		return "peak_ewma";
	case BALANCE_ROUND_ROBIN:
		return "round_robin";
	case BALANCE_RANDOM:
		return "random";
	case BALANCE_RING_HASH:
		return "ring_hash";
	case BALANCE_MAGLEV:
		return "maglev";
	}
	return "?";
}

static void page_put_by(struct json *j, const struct balance_by *by)
{
	static const char *const kinds[] = {
		[BALANCE_BY_SOURCE] = "source",
		[BALANCE_BY_CLIENT] = "client",
		[BALANCE_BY_HEADER] = "header:",
		[BALANCE_BY_COOKIE] = "cookie:",
		[BALANCE_BY_QUERY] = "query:",
	};
	char text[512];
	if (by->kind == BALANCE_BY_NONE)
		return;
	int len = snprintf(text, sizeof(text), "%s" STR_FMT, kinds[by->kind], STR_ARG(by->name));
	page_put_str(j, "by",
		(struct str){text, (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1});
}

static uint64_t page_calls_of(const struct reports *r, const struct service *service)
{
	uint64_t calls = 0;
	for (uint32_t i = 0; r && i < r->count; i++) {
		for (uint32_t k = 0; r->of[i] && k < r->of[i]->service_count; k++) {
			const struct report_service *s = &r->of[i]->services[k];
			calls +=
				str_eq(service->name, (struct str){s->name, s->len}) ? s->calls : 0;
		}
	}
	return calls;
}

static void page_put_rules(const struct page_outlook *o, struct json *j)
{
	const struct service *service = o->pick.service;
	const struct reports *r = o->source->reports;
	json_key(j, "balance");
	json_open(j, '{');
	page_put_str(j, "way", str_of(page_balance_name(service->balance)));
	page_put_by(j, &service->balance_by);
	if (balance_is_by_value(service->balance))
		page_put_bool(j, "has_value", o->pick.has_value);
	page_put_str(j, "zones", str_of(zone_rule_name(service->zones)));
	page_put_str(j, "zone", o->snapshot->zone.len ? o->snapshot->zone : STR_NONE);
	page_put_u64(j, "panic", service->panic_percent);
	page_put_str(j, "choice", str_of(page_way_name(o->way)));
	page_put_u64(j, "calls", page_calls_of(r, service));
	page_put_u64(j, "requests_max", service->breaker[BREAKER_REQUESTS]);
	page_put_u64(j, "workers", r ? r->count : 0);
	page_put_u64(j, "workers_answered", r ? reports_answered(r) : 0);
	json_close(j, '}');
}

static void page_put_ejection(struct json *j, const struct page_load *load)
{
	json_key(j, "ejected");
	json_open(j, '{');
	page_put_u64(j, "workers", load->out_count);
	page_put_str(j, "why", str_of(page_cause_name(load->cause)));
	page_put_u64(j, "left_ms", load->left_ns / CLOCK_MS);
	json_close(j, '}');
}

static void page_put_candidate(
	const struct page_outlook *o, struct json *j, const struct endpoint *e)
{
	const struct page_load *load = &o->loads[e - o->pick.service->endpoints];
	json_open(j, '{');
	page_put_address(j, "address", &e->address);
	page_put_str(j, "health", str_of(endpoint_health_name(e->health)));
	page_put_str(j, "version", e->version.len ? e->version : STR_NONE);
	page_put_u64(j, "weight", e->weight);
	page_put_str(j, "node", e->node_name.len ? e->node_name : STR_NONE);
	page_put_str(j, "zone", e->zone.len ? e->zone : STR_NONE);
	page_put_bool(j, "near", e->is_near);
	page_put_bool(j, "local", e->local != NULL);
	page_put_bool(j, "alternate", e->alternate);
	page_put_u64(j, "calls", load->calls);
	if (load->is_known)
		page_put_u64(j, "latency_us", load->latency_ns / 1000);
	if (load->out_count > 0)
		page_put_ejection(j, load);
	page_put_u64(j, "share", load->share / o->looked_count); /* of a million */
	json_close(j, '}');
}

static void page_count_loads(struct page_outlook *o)
{
	const struct reports *r = o->source->reports;
	for (uint32_t i = 0; r && i < r->count; i++) {
		for (uint32_t k = 0; r->of[i] && k < r->of[i]->row_count; k++) {
			const struct report_row *row = &r->of[i]->rows[k];
			const struct endpoint *e =
				page_row_endpoint(o->snapshot, o->pick.service, row);
			if (e)
				page_load_add(&o->loads[e - o->pick.service->endpoints], row);
		}
	}
}

/* The value that the call would have; of an address nobody knows here. */
static void page_take_value(struct page_outlook *o, const struct route_request *request)
{
	const struct address nobody = {0};
	struct pick *p = &o->pick;
	if (!balance_is_by_value(p->service->balance))
		return;
	p->has_value = route_balance_value(&p->service->balance_by, request, &nobody, &p->value);
	p->wheel = plan_wheel(o->source->proxy->plan, p->service, p->subset);
}

void page_put_balance(const struct page_source *source, struct json *j,
	const struct service *service, struct str version, const struct route_request *request)
{
	struct page_outlook o = {.source = source,
		.snapshot = source->proxy->plan->snapshot,
		.pick = {.service = service,
			.subset = version.len ? service_subset(service, version) : NULL,
			.worker_count = source->proxy->worker_count,
			.now_ns = 1},
		.loads = calloc(service->endpoint_count + 1u, sizeof(*o.loads)),
		.shares = calloc(service->endpoint_count + 1u, sizeof(*o.shares))};
	bool fits = o.loads && o.shares;
	if (fits) {
		page_take_value(&o, request);
		page_count_loads(&o);
		fits = page_look_out_all(&o);
	}
	if (fits)
		page_put_rules(&o, j);
	else
		j->cut = true;
	json_key(j, "endpoints");
	json_open(j, '[');
	for (uint32_t i = 0; fits && i < page_outlook_count(&o); i++)
		page_put_candidate(&o, j, page_outlook_at(&o, i));
	json_close(j, ']');
	free(o.loads);
	free(o.shares);
}

/* --- what is ejected --- */

/* Whether some worker before this row has told of the same endpoint. */
static bool page_is_told(const struct reports *r, uint32_t worker, const struct report_row *row)
{
	for (uint32_t i = 0; i < worker; i++) {
		for (uint32_t k = 0; r->of[i] && k < r->of[i]->row_count; k++) {
			const struct report_row *other = &r->of[i]->rows[k];
			if (address_equal(&other->address, &row->address) &&
				str_eq((struct str){other->service, other->service_len},
					(struct str){row->service, row->service_len}))
				return true;
		}
	}
	return false;
}

static struct page_load page_load_of(const struct reports *r, const struct report_row *row)
{
	struct page_load load = {0};
	for (uint32_t i = 0; i < r->count; i++) {
		for (uint32_t k = 0; r->of[i] && k < r->of[i]->row_count; k++) {
			const struct report_row *other = &r->of[i]->rows[k];
			if (address_equal(&other->address, &row->address) &&
				str_eq((struct str){other->service, other->service_len},
					(struct str){row->service, row->service_len}))
				page_load_add(&load, other);
		}
	}
	return load;
}

#define PAGE_EJECTED_MAX 200

void page_put_ejected(const struct page_source *source, struct json *j)
{
	const struct reports *r = source->reports;
	uint32_t count = 0;
	json_key(j, "ejected");
	json_open(j, '[');
	for (uint32_t i = 0; r && i < r->count; i++) {
		for (uint32_t k = 0; r->of[i] && k < r->of[i]->row_count; k++) {
			const struct report_row *row = &r->of[i]->rows[k];
			if (count == PAGE_EJECTED_MAX || page_is_told(r, i, row))
				continue;
			struct page_load load = page_load_of(r, row);
			count++;
			json_open(j, '{');
			page_put_str(j, "service", (struct str){row->service, row->service_len});
			page_put_address(j, "endpoint", &row->address);
			page_put_u64(j, "workers", load.out_count);
			page_put_str(j, "why", str_of(page_cause_name(load.cause)));
			page_put_u64(j, "left_ms", load.left_ns / CLOCK_MS);
			json_close(j, '}');
		}
	}
	json_close(j, ']');
}
