/* SPDX-License-Identifier: Apache-2.0 */
#include "call.h"
#include "limiter.h"
#include "outside.h"
#include "service_use.h"

#include "plan_wheels.h"
#include "proxy/facts.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static struct workload_use *plan_use_of(struct plan *plan, uint32_t uid)
{
	struct workload_use *use = plan->last_use;
	while (use && use->uid != uid)
		use = use->before;
	if (use)
		return use;
	use = calloc(1, sizeof(*use));
	if (!use)
		return NULL;
	use->uid = uid;
	use->before = plan->last_use;
	plan->last_use = use;
	return use;
}

/* Counts go on from one generation to the next. A workload's counter is never freed: what it serves
 * may go on when it has left the configuration, and it may come back meanwhile. */
static bool plan_link_uses(struct plan *plan, const struct plan *before)
{
	const struct snapshot *s = plan->snapshot;
	plan->last_use = before ? before->last_use : NULL;
	plan->uses = calloc(s->workload_count + 1, sizeof(struct workload_use *));
	if (!plan->uses)
		return false;
	for (uint32_t i = 0; i < s->workload_count; i++) {
		plan->uses[i] = plan_use_of(plan, s->workloads[i].uid);
		if (!plan->uses[i])
			return false;
	}
	return true;
}

static int plan_parse(struct plan *plan, const struct bundle *b, const struct bundle *picture,
	char *text, size_t size)
{
	struct conf_report report;
	conf_report_init(&report);
	int r = conf_parse(b, picture, plan->generation, &plan->conf, &plan->snapshot, &report);
	if (r < 0) {
		snprintf(text, size, "%.*s", (int)report.text_len, report.text ? report.text : "");
	} else {
		plan->warnings = report.text;
		report.text = NULL;
	}
	conf_report_done(&report);
	return r;
}

/* The store before as long as nothing of it has changed, as with a new picture of the mesh; else
 * one that goes on with what has not: of other identities and trust domains than those that have
 * become new, sessions may be resumed and pooled connections used again. */
static int plan_take_certificates(struct plan *plan, const struct bundle *b,
	const struct plan *before, char *text, size_t size)
{
	struct err err;
	const struct conf *conf = plan->conf;
	if (before && before->conf->resumption == conf->resumption &&
		before->conf->refuse_stale_crls == conf->refuse_stale_crls &&
		tls_store_made_of(before->tls, b, conf->trust_domain)) {
		plan->tls = tls_store_ref(before->tls);
		return 0;
	}
	int r = tls_store_renew(before ? before->tls : NULL, b, conf->trust_domain,
		plan->generation, &plan->tls, &err);
	if (r < 0) {
		snprintf(text, size, "%s", err.text);
		return r;
	}
	tls_store_refuse_stale_crls(plan->tls, conf->refuse_stale_crls);
	if (!conf->resumption)
		tls_store_resume_nothing(plan->tls);
	return 0;
}

static bool plan_link_limiters(struct plan *plan, const struct plan *before)
{
	if (before)
		plan->limit_seed = before->limit_seed;
	else if (getrandom(&plan->limit_seed, sizeof(plan->limit_seed), 0) < 0)
		return false;
	return limiters_link(plan, before);
}

int plan_build(const struct bundle *b, const struct bundle *picture, uint64_t generation,
	const struct plan *before, struct plan **ret_plan, char *text, size_t size)
{
	struct plan *plan = calloc(1, sizeof(*plan));
	if (!plan) {
		snprintf(text, size, "out of memory");
		return -ENOMEM;
	}
	plan->generation = generation;
	plan->number = before ? before->number + 1 : 1;
	int r = plan_parse(plan, b, picture, text, size);
	if (r == 0)
		r = plan_take_certificates(plan, b, before, text, size);
	if (r == 0)
		plan->figure_ids = figures_ids(plan->snapshot);
	if (r == 0 &&
		(!plan->figure_ids || !plan_link_uses(plan, before) ||
			!plan_link_limiters(plan, before) || !outside_build(plan, b, before) ||
			!service_uses_link(plan, before) || !plan_wheels_build(plan, before))) {
		snprintf(text, size, "out of memory");
		r = -ENOMEM;
	}
	if (r < 0) {
		plan_free(plan);
		return r;
	}
	*ret_plan = plan;
	return 0;
}

uint32_t plan_serving(const struct plan *plan, uint32_t workload_index)
{
	return atomic_load_explicit(
		&plan->uses[workload_index]->serving_count, memory_order_relaxed);
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	ASSERT(atomic_load(&plan->holder_count) == 0);
	if (plan->tls)
		tls_store_unref(plan->tls);
	facts_unref(plan->facts);
	plan_wheels_done(plan);
	limiters_done(plan);
	outside_done(plan);
	service_uses_leave(plan);
	conf_snapshot_free(plan->snapshot);
	conf_free(plan->conf);
	free(plan->warnings);
	free(plan->figure_ids);
	free(plan->uses);
	free(plan);
}
