/* SPDX-License-Identifier: Apache-2.0 */
#include "record.h"

#include "decisions.h"
#include "outside.h"
#include "seen.h"

static struct str record_service_name(const struct service *s)
{
	return s ? s->name : STR("");
}

static struct str record_destination(const struct call *c)
{
	return c->external ? c->external->name : record_service_name(c->service);
}

/* That of the endpoint, by which routes choose; else what its own machine says. */
static struct str record_version(const struct call *c)
{
	if (c->endpoint && c->endpoint->version.len > 0)
		return c->endpoint->version;
	return c->target ? c->target->version : STR("");
}

static struct str record_choice(const struct call *c)
{
	switch (c->pick_way) {
	case PICK_WAY_ALL:
		break;
	case PICK_WAY_NEAR:
		return STR("own-zone");
	case PICK_WAY_FAR:
		return STR("other-zone");
	case PICK_WAY_SPILL:
		return STR("other-zone-load");
	case PICK_WAY_PANIC:
		return STR("panic");
	case PICK_WAY_ILL:
		return STR("none-well");
	}
	return STR("");
}

/* Of this machine's workload that it came to; else the one that the service is known by. */
static struct str record_destination_id(const struct call *c)
{
	if (c->way == CALL_WAY_LOCAL && c->target)
		return c->target->id;
	return c->service ? c->service->ids[0] : STR("");
}

static bool record_is_local(const struct call *c)
{
	return c->hold && c->direction == CALL_OUTBOUND && c->way == CALL_WAY_LOCAL;
}

/* Labels as seen from one end. A pass on one machine is reported from both, as two proxies would.
 */
static struct metric_labels record_labels(const struct call *c, bool at_source)
{
	struct metric_labels l = {
		.at_source = at_source,
		.source_workload = record_service_name(c->source_service),
		.source_principal = c->source_id,
		.source_version = c->source ? c->source->version : STR(""),
		.destination_workload = record_destination(c),
		.destination_principal = record_destination_id(c),
		.destination_service = record_destination(c),
		.destination_version = record_version(c),
		.mutual_tls = c->mutual_tls || c->way == CALL_WAY_MESH,
		.local = record_is_local(c),
	};
	return l;
}

static bool record_is_source(const struct call *c)
{
	return c->direction == CALL_OUTBOUND;
}

static bool record_is_destination(const struct call *c)
{
	return c->way == CALL_WAY_LOCAL;
}

static struct metric_series *record_series_of(
	struct worker *w, const struct call *c, const struct record_http *r, bool at_source)
{
	struct metric_labels l = record_labels(c, at_source);
	l.protocol = STR("http");
	l.response_code = r->status;
	l.response_flags = str_of(reason_row(r->reason)->flag);
	l.is_mirror = r->is_mirror;
	return metrics_request_series(w->metrics, &l);
}

static void record_request_series(
	struct worker *w, struct call *c, const struct record_http *r, bool at_source)
{
	struct record_series *s = &c->series;
	if (s->status != r->status || s->reason != r->reason || s->is_mirror != r->is_mirror)
		*s = (struct record_series){
			.status = r->status, .reason = r->reason, .is_mirror = r->is_mirror};
	if (!s->ends[at_source])
		s->ends[at_source] = record_series_of(w, c, r, at_source);
	metric_series_request(s->ends[at_source], w->loop.now_ns - r->start_ns, r->request_bytes,
		r->response_bytes);
}

static struct str record_security(const struct call *c, bool is_connected)
{
	if (c->mutual_tls || c->way == CALL_WAY_MESH)
		return STR("mutual_tls");
	if (record_is_local(c))
		return STR("local");
	if (c->direction == CALL_OUTBOUND && !c->service)
		return is_connected ? outside_security(c) : STR("");
	return STR("plaintext");
}

static struct access_entry record_entry(struct worker *w, const struct call *c,
	enum access_kind kind, enum reason reason, const char *details)
{
	const struct workload *workload = c->direction == CALL_OUTBOUND ? c->source : c->target;
	return (struct access_entry){
		.kind = kind,
		.outbound = c->direction == CALL_OUTBOUND,
		.start_wall_ns = w->loop.wall_ns,
		.workload = workload ? workload->service->name : STR(""),
		.source_identity = c->source_id,
		.destination_identity = record_destination_id(c),
		.destination_service = record_destination(c),
		.destination_version = record_version(c),
		.outside = outside_word(c),
		.server_name = c->speech == EXTERNAL_TLS ? str_of(c->host) : STR(""),
		.choice = record_choice(c),
		.downstream_remote = c->client,
		.downstream_local = c->original,
		.upstream_remote = c->upstream,
		.response_flags = str_of(reason_row(reason)->flag),
		.response_details =
			str_of(details && *details ? details : reason_row(reason)->name),
		.tls_resumed = c->tls_resumed,
		.connection_number = c->number,
		.config_generation = c->hold ? c->hold->plan->generation : 0,
	};
}

static void record_authorisation(struct access_entry *e, const struct authorisation *a)
{
	if (!a)
		return;
	e->policy = a->decided.name;
	e->policy_where = a->decided.where;
	e->would_deny = a->audited.name;
	e->would_deny_where = a->audited.where;
	e->noted = a->noted.name;
	e->noted_where = a->noted.where;
}

/* One request, or one connection when it is opened or turned away, counts once. */
static void record_count(struct worker *w, const struct authorisation *a, enum reason reason)
{
	if (authorise_is_denial(reason))
		metric_add(&w->values->policy_denied_total, 1);
	if (a && a->audited.name.len > 0)
		metric_add(&w->values->policy_would_deny_total, 1);
	if (a && a->noted.name.len > 0)
		metric_add(&w->values->policy_noted_total, 1);
}

static void record_count_unknown(struct worker *w, const struct call *c)
{
	if (outside_is_audited(c))
		metric_add(&w->values->unknown_audited_total, 1);
}

static void record_write(struct worker *w, const struct access_entry *entry)
{
	if (w->access && !access_write(w->access, entry))
		metric_add(&w->values->log_dropped_total, 1);
}

void record_request(struct worker *w, struct call *c, const struct record_http *r)
{
	if (record_is_source(c))
		record_request_series(w, c, r, true);
	if (record_is_destination(c))
		record_request_series(w, c, r, false);
	record_count(w, r->authorisation, r->reason);
	decisions_add_http(w, c, r);
	record_count_unknown(w, c);
	if (!w->access)
		return;
	struct access_entry e = record_entry(w, c, ACCESS_HTTP, r->reason, r->details);
	e.start_wall_ns = r->start_wall_ns;
	e.duration_ns = w->loop.now_ns - r->start_ns;
	e.protocol = STR("http");
	e.method = r->method;
	e.path = r->path;
	e.authority = r->authority;
	e.user_agent = r->user_agent;
	e.request_id = r->request_id;
	record_authorisation(&e, r->authorisation);
	e.route = r->route;
	e.limit = r->limit;
	e.shadow_limit = r->shadow_limit;
	e.response_code = r->status;
	e.bytes_received = r->request_bytes;
	e.bytes_sent = r->response_bytes;
	e.attempt_count = r->attempt_count;
	e.security = record_security(c, r->is_sent);
	e.is_mirror = r->is_mirror;
	record_write(w, &e);
}

void record_let_in(struct worker *w, const struct call *c, const struct route_request *http)
{
	if (record_is_destination(c))
		seen_add(w->seen, &(struct seen_call){.source_id = c->source_id,
					  .client = &c->client,
					  .service = c->service->name,
					  .port = c->target->port,
					  .http = http});
}

static void record_tcp_series(struct worker *w, const struct call *c, const struct record_tcp *r,
	uint64_t opened, uint64_t closed)
{
	for (int at_source = 0; at_source < 2; at_source++) {
		if (at_source ? !record_is_source(c) : !record_is_destination(c))
			continue;
		struct metric_labels l = record_labels(c, at_source);
		l.protocol = STR("tcp");
		l.response_flags = str_of(reason_row(r->reason)->flag);
		metrics_tcp(w->metrics, &l, opened, closed, r->sent_bytes - r->told_sent_bytes,
			r->received_bytes - r->told_received_bytes);
	}
}

static void record_tcp_line(struct worker *w, const struct call *c, const struct record_tcp *r,
	enum access_kind kind, bool is_connected)
{
	struct access_entry e = record_entry(w, c, kind, r->reason, r->details);
	e.start_wall_ns = r->start_wall_ns;
	e.duration_ns = w->loop.now_ns - r->start_ns;
	e.protocol = STR("tcp");
	e.security = record_security(c, is_connected);
	record_authorisation(&e, r->authorisation);
	e.route = r->route;
	e.limit = r->limit;
	e.shadow_limit = r->shadow_limit;
	e.bytes_received = r->received_bytes;
	e.bytes_sent = r->sent_bytes;
	record_write(w, &e);
}

void record_tcp_open(struct worker *w, const struct call *c, const struct record_tcp *r)
{
	record_tcp_series(w, c, r, 1, 0);
	record_count(w, r->authorisation, r->reason);
	decisions_add_tcp(w, c, r);
	record_count_unknown(w, c);
	record_tcp_line(w, c, r, ACCESS_TCP_OPEN, true);
}

void record_tcp_bytes(struct worker *w, const struct call *c, const struct record_tcp *r)
{
	record_tcp_series(w, c, r, 0, 0);
}

void record_tcp_close(struct worker *w, const struct call *c, const struct record_tcp *r)
{
	record_tcp_series(w, c, r, 0, 1);
	record_count(w, NULL, r->reason);
	if (authorise_is_denial(r->reason)) /* it was let in before */
		decisions_add_tcp(w, c, r);
	record_tcp_line(w, c, r, ACCESS_TCP_CLOSE, true);
}

void record_refused(struct worker *w, const struct call *c, const struct record_tcp *r)
{
	record_count(w, r->authorisation, r->reason);
	decisions_add_tcp(w, c, r);
	record_tcp_line(w, c, r, ACCESS_TCP_CLOSE, false);
}
