/* SPDX-License-Identifier: Apache-2.0 */
#include "balance/share.h"

#include <stddef.h>

/* The level is looked at no more often: what comes in between is there a moment later. */
#define SHARE_TURN_NS 20000

static uint64_t share_load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static uint64_t share_stays_ns(const struct bucket_rate *r)
{
	uint64_t fill_ns = r->depth / r->ticks;
	return fill_ns < SHARE_STAYS_NS_MIN   ? SHARE_STAYS_NS_MIN
	       : fill_ns > SHARE_STAYS_NS_MAX ? SHARE_STAYS_NS_MAX
					      : fill_ns;
}

/* Another thread's clock may be a little ahead. */
static bool share_is_member(
	const struct share_member *m, const struct bucket_rate *r, uint64_t now_ns)
{
	uint64_t asked_ns = share_load(&m->asked_ns);
	return asked_ns > 0 && (asked_ns >= now_ns || now_ns - asked_ns < share_stays_ns(r));
}

/* --- members --- */

struct share_member *share_find(struct share *s, uint64_t id)
{
	for (size_t i = 0; i < SHARE_MEMBERS; i++) {
		if (atomic_load_explicit(&s->members[i].id, memory_order_acquire) == id)
			return &s->members[i];
	}
	return NULL;
}

struct share_member *share_join(
	struct share *s, const struct bucket_rate *r, uint64_t id, uint64_t now_ns)
{
	struct share_member *m = share_find(s, id);
	for (size_t i = 0; i < SHARE_MEMBERS && !m; i++) {
		m = &s->members[i];
		if (share_is_member(m, r, now_ns)) {
			m = NULL;
			continue;
		}
		/* it holds nothing yet: what nobody holds is there for it */
		atomic_store_explicit(&m->mark, share_load(&s->level), memory_order_relaxed);
		atomic_store_explicit(&m->asked_ns, now_ns, memory_order_relaxed);
		atomic_store_explicit(&m->id, id, memory_order_release);
	}
	if (m)
		return m;
	atomic_fetch_add_explicit(&s->rest_count, 1, memory_order_relaxed);
	return &s->members[SHARE_MEMBERS];
}

uint32_t share_count(const struct share *s, const struct bucket_rate *r, uint64_t now_ns)
{
	uint32_t count = 0;
	for (size_t i = 0; i <= SHARE_MEMBERS; i++)
		count += share_is_member(&s->members[i], r, now_ns);
	return count;
}

/* --- the level --- */

/* What one of so many may hold: one token at least. */
static uint64_t share_part(const struct bucket_rate *r, uint32_t count)
{
	uint64_t part = count > 0 ? r->depth / count : r->depth;
	return part < r->cost ? r->cost : part;
}

static uint64_t share_holds(const struct share_member *m, uint64_t level, uint64_t part)
{
	uint64_t mark = share_load(&m->mark);
	uint64_t holds = mark < level ? level - mark : 0;
	return holds < part ? holds : part;
}

/* Of those that hold less than their part at this level: how many, and what the one that lacks
 * least still lacks. */
static uint32_t share_wanting(const struct share *s, const struct bucket_rate *r, uint64_t now_ns,
	uint64_t level, uint64_t part, uint64_t *ret_least)
{
	uint32_t count = 0;
	*ret_least = UINT64_MAX;
	for (size_t i = 0; i <= SHARE_MEMBERS; i++) {
		const struct share_member *m = &s->members[i];
		uint64_t lacks = part - share_holds(m, level, part);
		if (lacks == 0 || !share_is_member(m, r, now_ns))
			continue;
		/* one that has used more than it was given */
		uint64_t mark = share_load(&m->mark);
		lacks += mark > level ? mark - level : 0;
		*ret_least = lacks < *ret_least ? lacks : *ret_least;
		count++;
	}
	return count;
}

/* Divides what has come in, step by step: at the end of each one of them has its part. */
static uint64_t share_rise(const struct share *s, const struct bucket_rate *r, uint64_t now_ns,
	uint64_t level, uint64_t part, uint64_t ticks)
{
	uint64_t risen = 0;
	for (size_t i = 0; i <= SHARE_MEMBERS && ticks > 0; i++) {
		uint64_t least;
		uint32_t count = share_wanting(s, r, now_ns, level + risen, part, &least);
		if (count == 0)
			break; /* all have their parts: nobody wants what comes in */
		uint64_t each = ticks / count;
		if (each <= least)
			return risen + each;
		risen += least;
		ticks -= least * count;
	}
	return risen;
}

/* What one was given beyond its part was for the others: it does not come back when parts grow. */
static void share_trim(struct share *s, uint64_t level, uint64_t part)
{
	for (size_t i = 0; i <= SHARE_MEMBERS; i++) {
		uint64_t mark = share_load(&s->members[i].mark);
		if (mark + part < level)
			atomic_compare_exchange_strong_explicit(&s->members[i].mark, &mark,
				level - part, memory_order_relaxed, memory_order_relaxed);
	}
}

/* Whoever moves the clock on divides what came in meanwhile. */
static void share_turn(struct share *s, const struct bucket_rate *r, uint64_t now_ns)
{
	uint64_t turned_ns = share_load(&s->turned_ns);
	if (now_ns < turned_ns + SHARE_TURN_NS && turned_ns > 0)
		return;
	if (!atomic_compare_exchange_strong_explicit(&s->turned_ns, &turned_ns, now_ns,
		    memory_order_acq_rel, memory_order_relaxed) ||
		turned_ns == 0)
		return;
	uint64_t ticks = (now_ns - turned_ns) * r->ticks;
	uint64_t part = share_part(r, share_count(s, r, now_ns));
	if (ticks > r->depth)
		ticks = r->depth; /* there is room for no more */
	uint64_t level = share_load(&s->level);
	uint64_t risen = share_rise(s, r, now_ns, level, part, ticks);
	atomic_fetch_add_explicit(&s->level, risen, memory_order_acq_rel);
	share_trim(s, level + risen, part);
}

/* --- tokens --- */

static bool share_take_own(struct share_member *m, const struct bucket_rate *r, uint64_t level,
	uint64_t part, struct share_taking *ret_taking)
{
	uint64_t before = share_load(&m->mark), after;
	do {
		uint64_t mark = before;
		if (mark > level || level - mark < r->cost)
			return false;
		if (level - mark > part)
			mark = level - part;
		after = mark + r->cost;
	} while (!atomic_compare_exchange_weak_explicit(
		&m->mark, &before, after, memory_order_acq_rel, memory_order_relaxed));
	*ret_taking = (struct share_taking){m, before, after};
	return true;
}

/* What the others hold, of what is there. */
static bool share_is_free(const struct share *s, const struct bucket_rate *r,
	const struct share_member *member, uint64_t part, uint64_t there, uint64_t now_ns)
{
	uint64_t level = share_load(&s->level), held = 0;
	for (size_t i = 0; i <= SHARE_MEMBERS; i++) {
		const struct share_member *m = &s->members[i];
		if (m != member && share_is_member(m, r, now_ns))
			held += share_holds(m, level, part);
	}
	return there >= held + r->cost;
}

/* One that comes back after a while begins anew. */
static void share_ask(
	struct share *s, const struct bucket_rate *r, struct share_member *member, uint64_t now_ns)
{
	if (!share_is_member(member, r, now_ns))
		atomic_store_explicit(&member->mark, share_load(&s->level), memory_order_relaxed);
	atomic_store_explicit(&member->asked_ns, now_ns, memory_order_relaxed);
}

bool share_take(struct share *s, const struct bucket_rate *r, struct share_member *member,
	uint64_t there, uint64_t now_ns, struct share_taking *ret_taking)
{
	share_turn(s, r, now_ns);
	share_ask(s, r, member, now_ns);
	uint64_t part = share_part(r, share_count(s, r, now_ns));
	if (share_take_own(member, r, share_load(&s->level), part, ret_taking))
		return true;
	*ret_taking = (struct share_taking){.member = member};
	return share_is_free(s, r, member, part, there * r->cost, now_ns);
}

void share_put_back(const struct share_taking *taking)
{
	uint64_t after = taking->after;
	if (taking->before != taking->after)
		atomic_compare_exchange_strong_explicit(&taking->member->mark, &after,
			taking->before, memory_order_acq_rel, memory_order_relaxed);
}
