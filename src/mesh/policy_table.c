/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of an index, from sorted entries. */
#include "policy_build.h"

#include <stdlib.h>

/* For each place in the table of lists. With 64 / POLICY_FILTER_BITS such places at least. */
#define POLICY_FILTER_BITS UINT64_C(4)
#define POLICY_TABLE_MIN   16

static int policy_compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static uint32_t policy_kind(const struct policy_entry *e)
{
	return (uint32_t)e->policy->action << 1 | (uint32_t)e->policy->mode;
}

/* Those of one list of one place follow each other; of these the ones that say the same, the more
 * exact first. Where what rules lie by has the same key by chance or by design, it is one list,
 * whatever it is: else the one would hide the other. */
static int policy_entry_compare(const void *a, const void *b)
{
	const struct policy_entry *one = a, *other = b;
	int order = policy_compare(one->place, other->place);
	order = order ? order : policy_compare(one->list, other->list);
	order = order || one->list != 0 ? order : policy_compare(one->kind, other->kind);
	order = order ? order : policy_compare(policy_kind(one), policy_kind(other));
	order = order ? order : policy_compare(other->hit.rank, one->hit.rank);
	return order ? order : policy_compare(one->hit.rule, other->hit.rule);
}

static bool policy_is_same_place(const struct policy_entry *a, const struct policy_entry *b)
{
	return a && b && a->place == b->place;
}

static bool policy_is_same_list(const struct policy_entry *a, const struct policy_entry *b)
{
	return policy_is_same_place(a, b) && a->list == b->list &&
	       (a->list != 0 || a->kind == b->kind);
}

/* Of those that are found by the same beginning each may be what is asked for, as the others. */
static bool policy_is_said(const struct policy_entry *e, const struct policy_entry *last)
{
	return e->is_odd && policy_is_same_list(e, last) && e->hit.rule == last->hit.rule &&
	       e->hit.source == last->hit.source;
}

static void policy_place_note(struct policy_place *place, const struct policy_entry *e)
{
	place->hash = e->place;
	place->by |= e->by < POLICY_BYS ? 1u << e->by : 0;
	place->has_exact = place->has_exact || e->kind == LIST_EXACT;
	place->below |= e->kind == LIST_BELOW ? 1u << e->depth : 0;
	place->shaped |= e->kind == LIST_SHAPED ? 1u << e->depth : 0;
	place->spelt |= e->kind == LIST_SPELT ? 1u << e->depth : 0;
	place->odd |= e->kind == LIST_SHAPED ? 1u << e->start : 0;
}

static uint64_t policy_list_hash(uint64_t place, uint64_t list)
{
	return policy_key(place ^ list, 0, 0);
}

static uint64_t policy_filter_bit(const struct policy_index *x, uint64_t place, uint64_t list)
{
	return (policy_list_hash(place, list) >> 32) &
	       (POLICY_FILTER_BITS * (x->list_mask + 1) - 1);
}

bool policy_list_may_be(const struct policy_index *x, uint64_t place, uint64_t list)
{
	uint64_t bit = policy_filter_bit(x, place, list);
	return x->filter[bit / 64] >> bit % 64 & 1;
}

static struct policy_hits *policy_hits_of(
	struct policy_index *x, struct policy_place *place, const struct policy_entry *e)
{
	if (e->kind == LIST_ALWAYS)
		return &place->always;
	if (e->kind == LIST_MANY)
		return &place->many;
	struct policy_list *list = policy_list_at(x, e->place, e->list);
	uint64_t bit = policy_filter_bit(x, e->place, e->list);
	x->filter[bit / 64] |= UINT64_C(1) << bit % 64;
	list->place = e->place;
	list->list = e->list;
	list->is_taken = true;
	list->is_door = list->is_door || e->is_door;
	return &list->hits;
}

static void policy_index_fill(struct policy_index *x, const struct policy_build *b)
{
	const struct policy_entry *last = NULL;
	uint32_t count = 0, group = 0;
	for (size_t i = 0; i < b->count; last = &b->entries[i++]) {
		const struct policy_entry *e = &b->entries[i];
		struct policy_place *place = policy_place_at(x, e->place);
		policy_place_note(place, e);
		if (policy_is_said(e, last))
			continue;
		bool is_new = !policy_is_same_list(e, last);
		bool is_other = is_new || policy_kind(e) != policy_kind(last) ||
				e->hit.rank != last->hit.rank;
		if (is_other) {
			for (uint32_t k = group; k < count; k++)
				x->hits[k].next = count;
			group = count;
		}
		struct policy_hits *hits = policy_hits_of(x, place, e);
		if (is_new)
			hits->first = count;
		if (e->is_door)
			continue;
		hits->count++;
		x->hits[count++] = e->hit;
	}
	for (uint32_t k = group; k < count; k++)
		x->hits[k].next = count;
}

struct policy_place *policy_place_at(const struct policy_index *x, uint64_t hash)
{
	uint64_t at = hash & x->place_mask;
	while (x->places[at].hash != hash && x->places[at].hash != 0)
		at = (at + 1) & x->place_mask;
	return &x->places[at];
}

struct policy_list *policy_list_at(const struct policy_index *x, uint64_t place, uint64_t list)
{
	uint64_t at = policy_list_hash(place, list) & x->list_mask;
	for (struct policy_list *l = &x->lists[at];; l = &x->lists[at]) {
		if (!l->is_taken || (l->place == place && l->list == list))
			return l;
		at = (at + 1) & x->list_mask;
	}
}

uint64_t *policy_header_at(const struct policy_index *x, uint64_t key)
{
	uint64_t at = key & x->header_mask;
	while (x->headers[at] != key && x->headers[at] != 0)
		at = (at + 1) & x->header_mask;
	return &x->headers[at];
}

static uint32_t policy_table_size(size_t count)
{
	uint32_t size = POLICY_TABLE_MIN;
	while (size < 2 * count)
		size *= 2;
	return size;
}

static bool policy_index_tables(struct policy_index *x, struct arena *arena,
	const struct policy_build *b, const struct service *service)
{
	size_t places = 0, lists = 0, headers = 0;
	for (size_t i = 0; i < b->count; i++) {
		const struct policy_entry *e = &b->entries[i], *last = i ? e - 1 : NULL;
		places += !policy_is_same_place(e, last);
		lists += !policy_is_same_list(e, last);
	}
	for (uint32_t i = 0; i < service->policy_count; i++)
		headers += service->policies[i]->headers.count;
	x->place_mask = policy_table_size(places) - 1;
	x->list_mask = policy_table_size(lists) - 1;
	x->header_mask = policy_table_size(headers) - 1;
	x->places = arena_take(arena, ((size_t)x->place_mask + 1) * sizeof(*x->places));
	x->lists = arena_take(arena, ((size_t)x->list_mask + 1) * sizeof(*x->lists));
	x->filter = arena_take(arena, ((size_t)x->list_mask + 1) * POLICY_FILTER_BITS / 8);
	x->headers = arena_take(arena, ((size_t)x->header_mask + 1) * sizeof(*x->headers));
	x->hits = arena_take(arena, (b->count + 1) * sizeof(*x->hits));
	x->ranges = arena_take(arena, (b->range_count + 1u) * sizeof(*x->ranges));
	return x->places && x->lists && x->filter && x->headers && x->hits && x->ranges;
}

struct policy_index *policy_index_new(
	struct arena *arena, const struct service *service, struct policy_build *b)
{
	qsort(b->entries, b->count, sizeof(*b->entries), policy_entry_compare);
	struct policy_index *x = arena_take(arena, sizeof(*x));
	if (!x || !policy_index_tables(x, arena, b, service))
		return NULL;
	x->under = b->under;
	x->range_count = b->range_count;
	memcpy(x->ranges, b->ranges, b->range_count * sizeof(*x->ranges));
	x->shape_count = b->shape_count;
	memcpy(x->shapes, b->shapes, sizeof(x->shapes));
	policy_index_fill(x, b);
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct route_fields *headers = &service->policies[i]->headers;
		policy_count_allows(&x->empty, service->policies[i]);
		for (uint32_t k = 0; k < headers->count; k++) {
			uint64_t key = policy_key_header(headers->at[k].name);
			*policy_header_at(x, key) = key;
		}
	}
	x->wants = policy_wants_of(service);
	return x;
}
