/* SPDX-License-Identifier: Apache-2.0 */
#include "decisions.h"

#include "worker_private.h"
#include <stdlib.h>

struct decisions *decisions_new(void)
{
	return calloc(1, sizeof(struct decisions));
}

void decisions_free(struct decisions *decisions)
{
	free(decisions);
}

void decision_put(struct decision *d, enum decision_text which, struct str value)
{
	size_t most = which == DECISION_ID ? DECISION_ID_MAX : DECISION_TEXT_MAX;
	if (most > sizeof(d->text) - d->used)
		most = sizeof(d->text) - d->used;
	if (value.len > most) {
		d->is_cut = d->is_cut || which == DECISION_SERVICE ||
			    (which >= DECISION_SOURCE && which <= DECISION_PATH);
		value.len = most;
	}
	if (value.len == 0)
		return;
	d->lens[which] = (uint8_t)value.len;
	/* not memcpy(): with the bound that it sees the compiler makes a string instruction of it,
	 * which takes twice the time of the whole for such short texts */
	memmove(d->text + d->used, value.at, value.len);
	d->used = (uint16_t)(d->used + value.len);
}

/* --- writing --- */

/* Refused for what it is, and not for want of a place to go to. */
static bool decision_is_refusal(enum reason reason)
{
	return authorise_is_denial(reason) || reason == REASON_PATH_INVALID ||
	       reason == REASON_BAD_REQUEST ||
	       str_eq(str_of(reason_row(reason)->flag), STR("UAEX"));
}

static bool decision_is_told(const struct authorisation *a)
{
	return a && (a->audited.name.len > 0 || a->noted.name.len > 0);
}

static struct decision *decision_next(struct decision_ring *ring)
{
	return &ring->at[ring->count++ % DECISION_KEPT_MAX];
}

static void decision_begin(
	struct decision *d, struct worker *w, const struct call *c, enum reason reason)
{
	d->wall_ns = w->loop.wall_ns;
	d->connection = c->number;
	d->plan_number = c->hold ? c->hold->plan->number : 0;
	d->client = c->client;
	d->upstream = c->upstream;
	d->port = c->way == CALL_WAY_LOCAL && c->target ? c->target->port : 0;
	d->status = 0;
	d->reason = reason_row(reason)->name;
	d->reason_text = reason_row(reason)->text;
	d->is_http = d->is_mirror = d->is_cut = false;
	d->is_outbound = c->direction == CALL_OUTBOUND;
	d->is_refused = decision_is_refusal(reason);
	d->is_here = c->way == CALL_WAY_LOCAL || d->is_refused;
	d->used = 0;
	memset(d->lens, 0, sizeof(d->lens));
}

static void decision_put_rules(struct decision *d, const struct authorisation *a)
{
	if (!a)
		return;
	decision_put(d, DECISION_POLICY, a->decided.name);
	decision_put(d, DECISION_WHERE, a->decided.where);
	decision_put(d, DECISION_AUDITED, a->audited.name);
	decision_put(d, DECISION_AUDITED_WHERE, a->audited.where);
	decision_put(d, DECISION_NOTED, a->noted.name);
	decision_put(d, DECISION_NOTED_WHERE, a->noted.where);
}

static struct str decision_path(struct str path)
{
	const char *query = path.len > 0 ? memchr(path.at, '?', path.len) : NULL;
	return query ? (struct str){path.at, (size_t)(query - path.at)} : path;
}

void decisions_add_http(struct worker *w, const struct call *c, const struct record_http *r)
{
	bool is_other = decision_is_refusal(r->reason) || decision_is_told(r->authorisation) ||
			r->status == 403;
	struct decision *d =
		decision_next(is_other ? &w->decisions->others : &w->decisions->let_in);
	decision_begin(d, w, c, r->reason);
	d->is_http = true;
	d->is_mirror = r->is_mirror;
	d->status = r->status;
	decision_put(d, DECISION_ID, r->request_id);
	decision_put(d, DECISION_SERVICE, c->service ? c->service->name : STR(""));
	decision_put_rules(d, r->authorisation);
	decision_put(d, DECISION_SOURCE, c->source_id);
	decision_put(d, DECISION_METHOD, r->method);
	decision_put(d, DECISION_HOST, r->authority);
	decision_put(d, DECISION_PATH, decision_path(r->path));
	decision_put(d, DECISION_DETAILS, str_of(r->details ? r->details : ""));
}

void decisions_add_tcp(struct worker *w, const struct call *c, const struct record_tcp *r)
{
	bool is_other = decision_is_refusal(r->reason) || decision_is_told(r->authorisation);
	struct decision *d =
		decision_next(is_other ? &w->decisions->others : &w->decisions->let_in);
	decision_begin(d, w, c, r->reason);
	decision_put(d, DECISION_SERVICE, c->service ? c->service->name : STR(""));
	decision_put_rules(d, r->authorisation);
	decision_put(d, DECISION_SOURCE, c->source_id);
	decision_put(d, DECISION_DETAILS, str_of(r->details ? r->details : ""));
}

/* --- reading --- */

/* Of bytes the number of their connection. */
static bool decision_has_id(const struct decision *d, struct str id)
{
	uint64_t number;
	if (!d->is_http)
		return str_to_u64(id, &number) && number == d->connection;
	return str_eq(decision_text(d, DECISION_ID), id);
}

static void decision_ring_report(
	const struct decision_ring *ring, struct report_decisions *told, struct str id)
{
	uint64_t kept = ring->count < DECISION_KEPT_MAX ? ring->count : DECISION_KEPT_MAX;
	for (uint64_t i = 0; i < kept; i++) {
		const struct decision *d = &ring->at[(ring->count - 1 - i) % DECISION_KEPT_MAX];
		if (decision_has_id(d, id) && told->found_count < DECISION_FOUND_MAX)
			told->found[told->found_count++] = *d;
	}
}

static uint64_t decision_ring_since(const struct decision_ring *ring)
{
	return ring->count > DECISION_KEPT_MAX ? ring->at[ring->count % DECISION_KEPT_MAX].wall_ns
					       : 0;
}

void decisions_report(const struct worker *w, struct report *report)
{
	struct report_decisions *told = &report->decisions;
	struct str id = {told->id, told->id_len};
	if (id.len == 0)
		return;
	decision_ring_report(&w->decisions->others, told, id);
	decision_ring_report(&w->decisions->let_in, told, id);
	told->since_ns = decision_ring_since(&w->decisions->others);
	told->let_in_since_ns = decision_ring_since(&w->decisions->let_in);
}
