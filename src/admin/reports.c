/* SPDX-License-Identifier: Apache-2.0 */
#include "reports.h"

#include "base/assert.h"
#include "proxy/seen_view.h"
#include <stdlib.h>

struct reports *reports_new(
	const struct proxy *p, const struct str *services, uint32_t service_count, struct str id)
{
	ASSERT(id.len <= DECISION_ID_MAX);
	struct reports *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->count = p->worker_count;
	r->of = calloc(r->count, sizeof(struct report *));
	r->asked = calloc(r->count, sizeof(struct report *));
	r->is_given = calloc(r->count, sizeof(*r->is_given));
	bool fits = r->of && r->asked && r->is_given;
	for (uint32_t i = 0; fits && i < r->count; i++)
		fits = (r->asked[i] = report_new(services, service_count));
	for (uint32_t i = 0; fits && i < r->count && id.len > 0; i++) {
		struct report_decisions *asked = &r->asked[i]->decisions;
		asked->id_len = (uint8_t)id.len;
		memcpy(asked->id, id.at, id.len);
	}
	if (fits)
		return r;
	reports_free(r);
	return NULL;
}

bool reports_want_seen(struct reports *r)
{
	for (uint32_t i = 0; i < r->count; i++) {
		r->asked[i]->seen = malloc(sizeof(struct seen_view));
		if (!r->asked[i]->seen)
			return false;
	}
	return true;
}

bool reports_look(struct reports *r, const struct proxy *p)
{
	bool is_whole = true;
	for (uint32_t i = 0; i < r->count; i++) {
		if (!r->is_given[i])
			r->is_given[i] = !r->of[i] && worker_ask(p->workers[i], r->asked[i]);
		else if (r->asked[i] && worker_has_answered(p->workers[i], r->asked[i])) {
			r->of[i] = r->asked[i];
			r->asked[i] = NULL;
		}
		is_whole = is_whole && r->of[i];
	}
	return is_whole;
}

uint32_t reports_answered(const struct reports *r)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < r->count; i++)
		count += r->of[i] != NULL;
	return count;
}

void reports_free(struct reports *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; r->asked && r->is_given && i < r->count; i++) {
		if (r->asked[i] && r->is_given[i])
			report_forget(r->asked[i]);
		else
			report_free(r->asked[i]);
	}
	for (uint32_t i = 0; r->of && i < r->count; i++)
		report_free(r->of[i]);
	free(r->of);
	free(r->asked);
	free(r->is_given);
	free(r);
}
