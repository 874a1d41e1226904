/* SPDX-License-Identifier: Apache-2.0 */
#include "figures.h"

#include "call.h"
#include "codec/grpc.h"
#include "ledger/figure_id.h"
#include "mesh/rollout.h"
#include "worker_private.h"
#include <stdlib.h>

enum { FIGURES_FROM, FIGURES_TO, FIGURES_VERSIONS };

struct ledger_id *figures_ids(const struct snapshot *s)
{
	struct ledger_id *ids = calloc(FIGURES_VERSIONS * (s->rollout_count + 1), sizeof(*ids));
	for (uint32_t i = 0; ids && i < s->rollout_count; i++) {
		const struct rollout *r = &s->rollouts[i];
		struct str name = r->service->name;
		struct ledger_id *of = &ids[FIGURES_VERSIONS * i];
		of[FIGURES_FROM] = ledger_figure_id(name, r->from, r->to, r->attempt, r->from);
		of[FIGURES_TO] = ledger_figure_id(name, r->from, r->to, r->attempt, r->to);
	}
	return ids;
}

/* NULL: calls to that version are not counted, nor is a copy for a mirror. */
static const struct ledger_id *figures_id(
	const struct call *c, const struct service *service, struct str version)
{
	const struct plan *plan = c->hold->plan;
	const struct rollout *r = service->rollout;
	if (!r || c->is_mirror)
		return NULL;
	const struct ledger_id *of =
		&plan->figure_ids[FIGURES_VERSIONS * (r - plan->snapshot->rollouts)];
	if (str_eq(version, r->to))
		return &of[FIGURES_TO];
	return str_eq(version, r->from) ? &of[FIGURES_FROM] : NULL;
}

static void figures_add(
	struct worker *w, const struct ledger_id *id, bool is_failed, uint64_t latency_ns)
{
	/* none free: so many versions cannot be rolled out at once, and these wait */
	(void)ledger_figure_add(w->ledger, id, is_failed, latency_ns, w->loop.now_ns);
}

void figures_begin(
	struct worker *w, struct figures_try *t, const struct call *c, const struct endpoint *e)
{
	const struct ledger_id *id = w->ledger ? figures_id(c, e->service, e->version) : NULL;
	*t = (struct figures_try){0};
	if (id)
		*t = (struct figures_try){.worker = w, .id = *id, .begin_ns = w->loop.now_ns};
}

void figures_picked(
	struct worker *w, const struct call *c, const struct call_lead *lead, enum reason reason)
{
	bool is_none = reason == REASON_NO_ENDPOINT || reason == REASON_ROUTE_NO_VERSION;
	if (!is_none || !lead || !w->ledger)
		return;
	const struct service *service =
		lead->service.len ? snapshot_service(c->hold->plan->snapshot, lead->service)
				  : c->dialled;
	const struct ledger_id *id = service ? figures_id(c, service, lead->version) : NULL;
	if (id)
		figures_add(w, id, true, 0);
}

/* --- gRPC --- */

/* Those that a server gives for its own faults. */
#define FIGURES_GRPC_FAULTS                                                             \
	(1u << GRPC_UNKNOWN | 1u << GRPC_DEADLINE_EXCEEDED | 1u << GRPC_UNIMPLEMENTED | \
		1u << GRPC_INTERNAL | 1u << GRPC_UNAVAILABLE | 1u << GRPC_DATA_LOSS)

static bool figures_is_grpc_fault(const struct http_head *head)
{
	enum grpc_status status;
	return grpc_status_read(http_header_get(head, "grpc-status"), &status) &&
	       (FIGURES_GRPC_FAULTS & 1u << status) != 0;
}

/* --- what came of it --- */

void figures_answered(struct figures_try *t, const struct http_head *head)
{
	if (!t->worker)
		return;
	t->answered_ns = t->worker->loop.now_ns;
	t->is_failed = head->status >= 500 || figures_is_grpc_fault(head);
}

void figures_trailers(struct figures_try *t, const struct http_head *trailers)
{
	if (t->worker)
		t->is_failed = t->is_failed || figures_is_grpc_fault(trailers);
}

static void figures_count(struct figures_try *t, bool is_failed, uint64_t until_ns)
{
	figures_add(t->worker, &t->id, is_failed, until_ns - t->begin_ns);
	t->worker = NULL;
}

void figures_connected(struct figures_try *t)
{
	if (t->worker)
		figures_count(t, false, t->worker->loop.now_ns);
}

static bool figures_is_fault(enum reason reason)
{
	return reason == REASON_UPSTREAM_CONNECT_FAILED ||
	       reason == REASON_UPSTREAM_CONNECT_TIMEOUT ||
	       reason == REASON_UPSTREAM_HANDSHAKE_FAILED || reason == REASON_UPSTREAM_IDENTITY ||
	       reason == REASON_UPSTREAM_TIMEOUT || reason == REASON_UPSTREAM_CLOSED ||
	       reason == REASON_UPSTREAM_ABORTED || reason == REASON_UPSTREAM_RESET ||
	       reason == REASON_BAD_RESPONSE;
}

void figures_tried(struct figures_try *t, enum reason reason)
{
	if (t->worker && figures_is_fault(reason))
		figures_count(t, true, t->answered_ns ? t->answered_ns : t->worker->loop.now_ns);
}

void figures_end(struct figures_try *t)
{
	if (t->worker && t->answered_ns)
		figures_count(t, t->is_failed, t->answered_ns);
	t->worker = NULL;
}
