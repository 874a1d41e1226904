/* SPDX-License-Identifier: Apache-2.0 */
/* Rollouts as they are in force here: what share of the calls this machine's proxy sends to the new
 * version, and why. */
#include "mesh/rollout.h"
#include "page.h"
#include "rollout/rollout.h"

static const struct snapshot *page_snapshot(const struct page_source *source)
{
	const struct plan *plan = source->proxy->plan;
	return plan ? plan->snapshot : NULL;
}

void page_put_rollouts(const struct page_source *source, struct json *j)
{
	const struct snapshot *s = page_snapshot(source);
	json_key(j, "rollouts");
	json_open(j, '[');
	for (uint32_t i = 0; s && i < s->rollout_count; i++) {
		const struct rollout *r = &s->rollouts[i];
		json_open(j, '{');
		page_put_str(j, "service", r->service->name);
		page_put_str(j, "from", r->from);
		page_put_str(j, "to", r->to);
		page_put_u64(j, "attempt", r->attempt);
		page_put_u64(j, "percent", r->percent);
		page_put_u64(j, "share", r->share);
		page_put_str(j, "state", r->state);
		page_put_u64(j, "step", r->step);
		page_put_u64(j, "steps", r->step_count);
		page_put_str(j, "order", r->order);
		page_put_str(j, "why", r->why);
		json_close(j, '}');
	}
	json_close(j, ']');
}

/* --- metrics --- */

static void page_write_percent(const struct snapshot *s, struct metric_text *out)
{
	static const char name[] = "ringmain_rollout_percent";
	metric_text_family(out, name, "gauge",
		"Share of the calls to a service that the version which is rolled out is to get");
	for (uint32_t i = 0; i < s->rollout_count; i++) {
		const struct rollout *r = &s->rollouts[i];
		char labels[512] = "";
		if (metric_label_add(labels, sizeof(labels), "service", r->service->name) &&
			metric_label_add(labels, sizeof(labels), "from", r->from) &&
			metric_label_add(labels, sizeof(labels), "to", r->to))
			metric_text_u64(out, name, labels, r->percent);
	}
}

static void page_write_rollout_state(const struct rollout *r, struct metric_text *out)
{
	static const enum rollout_state states[] = {
		ROLLOUT_STEPPING, ROLLOUT_PAUSED, ROLLOUT_HELD, ROLLOUT_DONE, ROLLOUT_ROLLED_BACK};
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		char labels[256] = "";
		struct str state = str_of(rollout_state_name(states[i]));
		if (metric_label_add(labels, sizeof(labels), "service", r->service->name) &&
			metric_label_add(labels, sizeof(labels), "state", state))
			metric_text_u64(
				out, "ringmain_rollout_state", labels, str_eq(state, r->state));
	}
}

void page_write_rollouts(const struct page_source *source, struct metric_text *out)
{
	const struct snapshot *s = page_snapshot(source);
	if (!s || s->rollout_count == 0)
		return;
	page_write_percent(s, out);
	metric_text_family(out, "ringmain_rollout_state", "gauge",
		"1 for the state that a rollout is in; 0 for all before it has begun");
	for (uint32_t i = 0; i < s->rollout_count; i++)
		page_write_rollout_state(&s->rollouts[i], out);
}
