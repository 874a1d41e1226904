/* SPDX-License-Identifier: Apache-2.0 */
/* The two ways of a report: `asked` to the worker, `answered` back. The control thread alone puts
 * into the first and takes from the second. */
#include "proxy/report.h"

#include "balancer.h"
#include "decisions.h"
#include "seen.h"
#include "worker_private.h"
#include <stdlib.h>

struct report *report_new(const struct str *services, uint32_t count)
{
	struct report *r = malloc(sizeof(*r));
	if (!r)
		return NULL;
	memset(r, 0, offsetof(struct report, rows));
	r->is_abandoned = false;
	ASSERT(count <= REPORT_SERVICES_MAX);
	for (uint32_t i = 0; i < count; i++) {
		struct report_service *s = &r->services[r->service_count++];
		ASSERT(services[i].len <= sizeof(s->name));
		memcpy(s->name, services[i].at, services[i].len);
		s->len = (uint8_t)services[i].len;
	}
	return r;
}

void report_free(struct report *r)
{
	if (r)
		free(r->seen);
	free(r);
}

/* --- the control thread --- */

bool worker_ask(struct worker *w, struct report *report)
{
	struct report *old = atomic_load_explicit(&w->answered, memory_order_acquire);
	if (old && !old->is_abandoned)
		return false;
	if (old) {
		atomic_store_explicit(&w->answered, NULL, memory_order_relaxed);
		report_free(old);
		w->has_report = false;
	}
	if (w->has_report)
		return false;
	w->has_report = true;
	atomic_store_explicit(&w->asked, report, memory_order_release);
	worker_ping(w);
	return true;
}

bool worker_has_answered(struct worker *w, struct report *report)
{
	if (atomic_load_explicit(&w->answered, memory_order_acquire) != report)
		return false;
	atomic_store_explicit(&w->answered, NULL, memory_order_relaxed);
	w->has_report = false;
	return true;
}

void report_forget(struct report *r)
{
	r->is_abandoned = true;
}

/* --- the worker --- */

void report_answer(struct worker *w)
{
	struct report *report = atomic_exchange_explicit(&w->asked, NULL, memory_order_acquire);
	if (!report)
		return;
	if (report->seen)
		seen_look(w->seen, report->seen);
	if (report->decisions.id_len > 0)
		decisions_report(w, report);
	else
		balancer_report(w, report);
	atomic_store_explicit(&w->answered, report, memory_order_release);
}

void report_done(struct worker *w)
{
	report_free(atomic_load(&w->asked));
	report_free(atomic_load(&w->answered));
}
