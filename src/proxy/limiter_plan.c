/* SPDX-License-Identifier: Apache-2.0 */
/* Limits from one plan to the next, and as they are seen from outside. Control thread. */
#include "limiter_table.h"

#include <stdio.h>
#include <stdlib.h>

/* --- counts --- */

/* What was made for this plan is of its other limits. */
static struct limiter_counts *limiter_counts_of(
	struct plan *plan, const struct plan *before, struct str name)
{
	struct limiter_counts *c = before ? before->last_counts : NULL;
	while (c && !str_eq(str_of(c->name), name))
		c = c->before;
	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	char *copy = c ? strndup(name.at, name.len) : NULL;
	if (!copy) {
		free(c);
		return NULL;
	}
	c->name = copy;
	c->before = plan->last_counts;
	plan->last_counts = c;
	return c;
}

/* --- what makes one another --- */

/* The same on every machine: the store's counters are named by it. */
static char *limiter_definition(const struct limit *limit)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	if (!out)
		return NULL;
	fprintf(out, STR_FMT " " STR_FMT " %u %u %u %u %u", STR_ARG(limit->service->name),
		STR_ARG(limit->name), limit->amount, limit->window_ms, limit->burst,
		(unsigned)limit->scope, limit->is_fair);
	for (uint32_t i = 0; i < limit->part_count; i++)
		fprintf(out, " %u:" STR_FMT, (unsigned)limit->parts[i].kind,
			STR_ARG(limit->parts[i].name));
	bool is_whole = !ferror(out);
	is_whole = fclose(out) == 0 && is_whole;
	if (is_whole)
		return text;
	free(text);
	return NULL;
}

/* The one of the plan before, when nothing of it has changed. */
static struct limiter *limiter_before(
	const struct plan *before, const struct limit *limit, const char *definition)
{
	for (uint32_t i = 0; before && i < before->snapshot->limit_count; i++) {
		struct limiter *l = before->limiters[i];
		if (l && strcmp(l->definition, definition) == 0 &&
			before->snapshot->limits[i].node_count == limit->node_count)
			return l;
	}
	return NULL;
}

/* --- of a plan --- */

static bool limiter_is_served(const struct snapshot *s, const struct limit *limit)
{
	for (uint32_t i = 0; i < s->workload_count; i++) {
		if (s->workloads[i].service == limit->service)
			return true;
	}
	return false;
}

static uint32_t limiter_keys(const struct snapshot *s, const struct limit *limit)
{
	uint32_t count = LIMITER_KEYS_MAX;
	if (limit->part_count == 0)
		return 1;
	while (count > LIMITER_KEYS_MIN && (uint64_t)count * s->limit_count > LIMITER_KEYS_ALL)
		count /= 2;
	return limit->is_fair && count > LIMITER_FAIR_KEYS ? LIMITER_FAIR_KEYS : count;
}

/* Takes `definition` over. */
static struct limiter *limiter_make(
	struct plan *plan, const struct plan *before, const struct limit *limit, char *definition)
{
	uint64_t seed = plan->limit_seed ^ (limit->index + 1) * 0x9e3779b97f4a7c15ull;
	struct limiter *l = limiter_new(limit, limiter_keys(plan->snapshot, limit), seed);
	if (!l) {
		free(definition);
		return NULL;
	}
	l->definition = definition;
	l->counts = limiter_counts_of(plan, before, limit->name);
	if (l->counts)
		return l;
	limiter_free(l);
	return NULL;
}

static bool limiter_link(struct plan *plan, const struct plan *before, uint32_t index)
{
	const struct limit *limit = &plan->snapshot->limits[index];
	char *definition = limiter_definition(limit);
	if (!definition)
		return false;
	struct limiter *l = limiter_before(before, limit, definition);
	if (l)
		free(definition);
	else
		l = limiter_make(plan, before, limit, definition);
	plan->limiters[index] = l;
	if (l)
		l->plan_count++;
	return l;
}

bool limiters_link(struct plan *plan, const struct plan *before)
{
	const struct snapshot *s = plan->snapshot;
	plan->last_counts = before ? before->last_counts : NULL;
	plan->limiters = calloc(s->limit_count + 1, sizeof(struct limiter *));
	if (!plan->limiters)
		return false;
	for (uint32_t i = 0; i < s->limit_count; i++) {
		if (limiter_is_served(s, &s->limits[i]) && !limiter_link(plan, before, i))
			return false;
	}
	return true;
}

void limiters_done(struct plan *plan)
{
	for (uint32_t i = 0; plan->limiters && i < plan->snapshot->limit_count; i++) {
		struct limiter *l = plan->limiters[i];
		if (l && --l->plan_count == 0)
			limiter_free(l);
	}
	free(plan->limiters);
}

/* --- a look --- */

bool limiter_look(const struct plan *plan, const struct limit *limit, uint64_t now_ns,
	struct limiter_view *ret_view)
{
	struct limiter *l = plan->limiters[limit->index];
	if (!l)
		return false;
	*ret_view = (struct limiter_view){.counts = l->counts,
		.has_keys = limit->scope == LIMIT_LOCAL,
		.key_max = l->slot_count,
		.quota = l->quota};
	for (uint32_t i = 0; i < l->slot_count; i++) {
		struct bucket_left left = bucket_look(&l->slots[i].bucket, &l->rate, now_ns);
		ret_view->key_count += left.full_ns > 0;
		ret_view->remaining = left.remaining;
	}
	ret_view->is_known = ret_view->has_keys && l->slot_count == 1;
	return true;
}

const struct limiter_counts *limiter_counts_of_limit(
	const struct plan *plan, const struct limit *limit)
{
	const struct limiter *l = plan->limiters[limit->index];
	return l ? l->counts : NULL;
}
