/* SPDX-License-Identifier: Apache-2.0 */
/* All rules of a service in the order in which they count. Rows of one caller stand together, so
 * that what hides another row is found beside it. */
#include "mesh/policy_explain.h"

#include "policy_private.h"
#include <stdlib.h>

/* Whether it asks for a caller and nothing more. */
static bool policy_is_plain(const struct policy *p)
{
	for (int c = POLICY_NOT_FROM; c < POLICY_CONDITIONS; c++) {
		if (policy_condition_count(p, (enum policy_condition)c) > 0)
			return false;
	}
	return true;
}

static bool policy_decides(const struct policy *p)
{
	return p->action != POLICY_AUDIT && p->mode == POLICY_ENFORCED;
}

static int policy_compare_u32(uint32_t a, uint32_t b)
{
	return a < b ? -1 : a > b;
}

static int policy_compare_text(struct str a, struct str b)
{
	size_t least = a.len < b.len ? a.len : b.len;
	int order = least > 0 ? memcmp(a.at, b.at, least) : 0;
	return order ? order : policy_compare_u32((uint32_t)a.len, (uint32_t)b.len);
}

/* 0: they name the same callers, for all that can be told. An allow rule without `from` is for any
 * identity. */
static int policy_compare_sources(const struct policy_row *a, const struct policy_row *b)
{
	static const struct source any = {.kind = SOURCE_ANY};
	const struct source *x = a->source ? a->source : &any, *y = b->source ? b->source : &any;
	if (x->kind != y->kind)
		return policy_compare_u32(x->kind, y->kind);
	if (x->kind != SOURCE_RANGE)
		return policy_compare_text(x->text, y->text);
	int order = memcmp(x->range.base.ip, y->range.base.ip, sizeof(x->range.base.ip));
	if (order)
		return order;
	order = policy_compare_u32(x->range.base.family, y->range.base.family);
	return order ? order : policy_compare_u32(x->range.prefix_len, y->range.prefix_len);
}

static bool policy_is_same_caller(const struct policy_row *a, const struct policy_row *b)
{
	return a->rank == b->rank && policy_compare_sources(a, b) == 0;
}

static int policy_compare_rows(const void *a, const void *b)
{
	const struct policy_row *x = a, *y = b;
	bool x_notes = x->policy->action == POLICY_AUDIT,
	     y_notes = y->policy->action == POLICY_AUDIT;
	bool x_allows = x->policy->action == POLICY_ALLOW,
	     y_allows = y->policy->action == POLICY_ALLOW;
	if (x_notes != y_notes)
		return x_notes ? 1 : -1;
	if (x->rank != y->rank)
		return x->rank > y->rank ? -1 : 1;
	int order = policy_compare_sources(x, y);
	if (order)
		return order;
	if (x_allows != y_allows)
		return x_allows ? 1 : -1;
	order = policy_compare_u32(x->number, y->number);
	return order ? order : policy_compare_u32(x->is_more, y->is_more);
}

/* --- what never decides --- */

static bool policy_needs_identity(const struct policy_row *row)
{
	bool is_address = row->source && (row->source->kind == SOURCE_ANONYMOUS ||
						 row->source->kind == SOURCE_RANGE);
	return !is_address && (row->source || row->policy->action == POLICY_ALLOW);
}

/* By what the service is. */
static enum policy_never policy_never_here(
	const struct service *service, const struct policy_row *row)
{
	const struct policy *p = row->policy;
	bool is_address = row->source && !policy_needs_identity(row);
	if (p->action == POLICY_ALLOW && service->protocol == PROTOCOL_TCP && policy_asks_http(p))
		return POLICY_NEVER_HTTP;
	if (is_address && service_is_mtls(service, MTLS_STRICT))
		return POLICY_NEVER_STRICT;
	if (p->action == POLICY_ALLOW && policy_needs_identity(row) &&
		service_is_mtls(service, MTLS_DISABLED))
		return POLICY_NEVER_DISABLED;
	return POLICY_NEVER_NOT;
}

/* `plain` asks for nothing but the caller, and stands before the row. */
static enum policy_never policy_never_by(
	const struct policy_row *row, const struct policy_row *plain)
{
	if (!plain || plain->policy == row->policy)
		return POLICY_NEVER_NOT;
	return plain->policy->action == row->policy->action ? POLICY_NEVER_LATER
							    : POLICY_NEVER_OUTVOTED;
}

/* The first that denies an identity whatever is asked; NULL: none does. */
static const struct policy_row *policy_find_stranger(const struct policy_row *rows, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct policy_row *row = &rows[i];
		if (policy_decides(row->policy) && row->policy->action == POLICY_DENY &&
			row->source && policy_needs_identity(row) && policy_is_plain(row->policy))
			return row;
	}
	return NULL;
}

/* Rows that deny stand before those of the same caller that allow, and so each is hidden by the
 * first one before it that asks for nothing more; all of them by a guard that does not either. */
static void policy_find_never(
	const struct service *service, struct policy_row *rows, uint32_t count)
{
	const struct policy_row *guard = NULL, *plain = NULL;
	const struct policy_row *stranger = policy_find_stranger(rows, count);
	for (uint32_t i = 0; i < count; i++) {
		struct policy_row *row = &rows[i];
		if (i == 0 || !policy_is_same_caller(row, &rows[i - 1]))
			plain = NULL;
		if (!policy_decides(row->policy))
			continue;
		const struct policy_row *by = guard ? guard : plain;
		row->never = policy_never_by(row, by);
		if (row->never != POLICY_NEVER_NOT) {
			row->by = by->policy;
		} else if (stranger && row->policy->action == POLICY_ALLOW &&
			   !policy_needs_identity(row)) {
			row->never = POLICY_NEVER_UNKNOWN;
			row->by = stranger->policy;
		}
		if (row->never == POLICY_NEVER_NOT)
			row->never = policy_never_here(service, row);
		if (!plain && policy_is_plain(row->policy))
			plain = row;
		if (!guard && row->rank == POLICY_RANK_GUARD && plain == row)
			guard = row;
	}
}

/* --- the rows --- */

static uint32_t policy_row_count(const struct service *service)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct policy *p = service->policies[i];
		count += p->from_count > 0 ? p->from_count : 1;
	}
	return count;
}

static struct policy_row policy_row_of(
	const struct policy *p, uint32_t number, uint32_t from, uint32_t entry, bool is_more)
{
	const struct source *source = p->from_count > 0 ? &p->from[from] : NULL;
	bool is_guard = p->action == POLICY_DENY && !source;
	return (struct policy_row){
		.policy = p,
		.source = source,
		.number = number,
		.entry = entry,
		.is_more = is_more,
		.rank = is_guard ? POLICY_RANK_GUARD
			: source ? source_rank(source)
				 : SOURCE_RANK_LEAST,
	};
}

bool policy_rows(const struct service *service, struct arena *arena, struct policy_row **ret_rows,
	uint32_t *ret_count)
{
	uint32_t count = policy_row_count(service), used = 0, entry = 0;
	bool *may_decide = arena_take(arena, count + 1);
	struct policy_row *rows = arena_take(arena, (count + 1) * sizeof(*rows));
	if (!rows || !may_decide)
		return false;
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct policy *p = service->policies[i];
		for (uint32_t k = 0; k < (p->from_count > 0 ? p->from_count : 1); k++) {
			bool is_more = k > 0 && str_eq(p->from[k].entry, p->from[k - 1].entry);
			entry += used > 0 && !is_more;
			rows[used++] = policy_row_of(p, i, k, entry, is_more);
		}
	}
	qsort(rows, count, sizeof(*rows), policy_compare_rows);
	policy_find_never(service, rows, count);
	for (uint32_t i = 0; i < count; i++)
		may_decide[rows[i].entry] |= rows[i].never == POLICY_NEVER_NOT;
	for (uint32_t i = 0; i < count; i++)
		rows[i].never = may_decide[rows[i].entry] ? POLICY_NEVER_NOT : rows[i].never;
	*ret_rows = rows;
	*ret_count = count;
	return true;
}
