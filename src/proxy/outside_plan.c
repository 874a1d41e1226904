/* SPDX-License-Identifier: Apache-2.0 */
/* The authorities of servers outside, one store for each file of them, shared from plan to plan as
 * long as the file is the same. */
#include "outside.h"

#include <stdio.h>
#include <stdlib.h>

static void outside_warn(struct plan *plan, const struct external *e, const char *what)
{
	char *lines = NULL;
	const char *before = plan->warnings ? plan->warnings : "";
	if (asprintf(&lines, "%swarning: " STR_FMT ": external \"" STR_FMT "\": %s\n", before,
		    STR_ARG(e->where), STR_ARG(e->name), what) < 0)
		return; /* it is said again with the next plan */
	free(plan->warnings);
	plan->warnings = lines;
}

/* Another external of the plan, up to `count`, that has them, too. */
static struct tls_store *outside_find(const struct plan *plan, uint32_t count, struct str ca)
{
	for (uint32_t i = 0; plan && i < count; i++) {
		if (plan->outside_tls[i] && str_eq(plan->snapshot->externals[i].ca, ca))
			return plan->outside_tls[i];
	}
	return NULL;
}

static void outside_load(struct plan *plan, const struct external *e, const struct bundle *b,
	const struct plan *before)
{
	struct err err;
	char what[700];
	uint32_t left_out;
	const struct bundle_item *item = bundle_find(b, "outside", e->ca);
	struct tls_store *shared = outside_find(plan, e->index, e->ca);
	if (shared) {
		plan->outside_tls[e->index] = tls_store_ref(shared);
		return;
	}
	if (!item) {
		outside_warn(plan, e,
			e->ca.len ? "its `ca` is no file of outside.directory on this machine: "
				    "nothing of it is reached from here"
				  : "outside.roots cannot be read on this machine: nothing of it "
				    "is reached from here");
		return;
	}
	shared = outside_find(before, before ? before->snapshot->external_count : 0, e->ca);
	if (tls_store_new_outside(
		    item->text, shared, &plan->outside_tls[e->index], &left_out, &err) == 0)
		return;
	plan->outside_tls[e->index] = NULL;
	snprintf(what, sizeof(what), "%s: nothing of it is reached from here", err.text);
	outside_warn(plan, e, what);
}

bool outside_build(struct plan *plan, const struct bundle *b, const struct plan *before)
{
	const struct snapshot *s = plan->snapshot;
	plan->outside_tls = calloc(s->external_count + 1, sizeof(struct tls_store *));
	for (uint32_t i = 0; plan->outside_tls && i < s->external_count; i++) {
		if (s->externals[i].tls == EXTERNAL_ORIGINATE)
			outside_load(plan, &s->externals[i], b, before);
	}
	return plan->outside_tls;
}

void outside_done(struct plan *plan)
{
	for (uint32_t i = 0; plan->outside_tls && i < plan->snapshot->external_count; i++) {
		if (plan->outside_tls[i])
			tls_store_unref(plan->outside_tls[i]);
	}
	free(plan->outside_tls);
}
