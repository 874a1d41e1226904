/* SPDX-License-Identifier: Apache-2.0 */
/* Limits that another one leaves nothing to refuse: one that counts every request that they count,
 * in no more buckets than they have, and has never more in a bucket than they. */
#include "build_routes.h"

static bool conf_limit_part_same(const struct limit_part *a, const struct limit_part *b)
{
	return a->kind == b->kind && (a->kind == LIMIT_BY_HEADER ? str_eq_nocase(a->name, b->name)
								 : str_eq(a->name, b->name));
}

/* Requests that `limit` puts into one bucket are in one of `by`, too. */
static bool conf_limit_parts_covered(const struct limit *by, const struct limit *limit)
{
	for (uint32_t i = 0; i < by->part_count; i++) {
		bool is_there = false;
		for (uint32_t k = 0; k < limit->part_count && !is_there; k++)
			is_there = conf_limit_part_same(&by->parts[i], &limit->parts[k]);
		if (!is_there)
			return false;
	}
	return true;
}

static bool conf_limit_is_tighter(const struct limit *by, const struct limit *limit)
{
	uint64_t by_rate = (uint64_t)by->amount * limit->window_ms;
	uint64_t rate = (uint64_t)limit->amount * by->window_ms;
	if (by->scope != limit->scope)
		return false;
	if (by->scope == LIMIT_MESH && by->window_ms != limit->window_ms)
		return false; /* windows that do not begin together */
	return by_rate <= rate && by->burst <= limit->burst;
}

static bool conf_limit_covers(const struct limit *by, const struct limit *limit)
{
	return (!by->is_shadow || limit->is_shadow) && !(limit->is_fair && !by->is_fair) &&
	       conf_limit_is_tighter(by, limit) && conf_limit_parts_covered(by, limit) &&
	       conf_when_covers(&by->when, &limit->when);
}

/* Of two that cover each other the later one is superfluous. More than may be of one service are an
 * error, said already. */
static const struct limit *conf_limit_covered_by(const struct limit *limit)
{
	const struct service *service = limit->service;
	for (uint32_t i = 0; i < service->limit_count && i < LIMITS_PER_SERVICE; i++) {
		const struct limit *by = service->limits[i];
		if (by != limit && conf_limit_covers(by, limit) &&
			(by < limit || !conf_limit_covers(limit, by)))
			return by;
	}
	return NULL;
}

void conf_limits_cover(struct conf_parser *p, const struct conf_limit_row **rows)
{
	const struct snapshot *s = p->snapshot;
	for (uint32_t i = 0; i < s->limit_count; i++) {
		const struct limit *by = conf_limit_covered_by(&s->limits[i]);
		char place[512];
		if (by)
			conf_warning(p, rows[i]->rule.setting, NULL,
				"never refuses anything: \"%.*s\" has no more for all of it, at %s",
				STR_ARG(by->name),
				conf_place_text(
					p, rows[by->index]->rule.setting, place, sizeof(place)));
	}
}
