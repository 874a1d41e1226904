/* SPDX-License-Identifier: Apache-2.0 */
/* Where a service's rules lie in its index.
 *
 * Of its conditions on the request a rule lies by one. What cannot be known of a request matches
 * each rule that does not allow: so those lie once more, by what is left, in a place within the
 * first where it is looked when that one is not known. */
#include "policy_build.h"

#include <stdlib.h>

/* Below it a service's rules are asked one by one. */
#define POLICY_INDEX_MIN 8
/* So many items are too many for that, of however few rules. */
#define POLICY_ITEMS_FEW 10
/* A rule with many callers and many of something else lies under its callers alone, and has a place
 * of its own for the rest. */
#define POLICY_CROSS_FEW 32
/* Where so many lie by the same, they lie by something else besides. */
#define POLICY_SHARED_MANY 8

/* --- where it lies --- */

static void policy_put(struct policy_build *b, const struct policy_entry *entry)
{
	if (b->entries)
		b->entries[b->count] = *entry;
	b->count++;
}

static void policy_put_by(struct policy_build *b, uint64_t place, const struct policy *p,
	const struct policy_entry *as, uint32_t left);

/* Of a template that denies: where paths are looked for that another server may divide otherwise.
 * `last`: where the one before it was put, which is as good. */
static void policy_put_odd(struct policy_build *b, const struct policy_entry *shaped,
	const struct policy_entry *as, uint32_t left, uint64_t *last)
{
	struct policy_key_path key;
	struct policy_entry odd = *as;
	policy_key_path(&key, path_template_start(shaped->hit.path->text));
	uint64_t place = policy_key_odd(shaped->place, key.below[key.depth], key.depth);
	odd.is_odd = true;
	odd.hit.path = shaped->hit.path;
	if (place != *last)
		policy_put_by(b, place, shaped->policy, &odd, left);
	*last = place;
}

/* Under one of its items; in a place behind that where many others lie under the same. */
static void policy_put_item(struct policy_build *b, struct policy_entry *entry,
	const struct policy_entry *as, uint32_t left)
{
	struct policy_entry behind = *as;
	entry->is_door = b->has_few && policy_choose(b, left) != POLICY_BYS &&
			 policy_key_share(b, entry->list) >= POLICY_SHARED_MANY;
	policy_put(b, entry);
	behind.hit.path = entry->hit.path;
	if (entry->is_door)
		policy_put_by(b, policy_key_behind(entry->place, entry->list), entry->policy,
			&behind, left);
}

/* What a rule lies by in one place. Each is left out in the places within this one, so that there
 * are no more than a few of these in each other. */
static void policy_put_by(struct policy_build *b, uint64_t place, const struct policy *p,
	const struct policy_entry *as, uint32_t left)
{
	enum policy_by by = policy_choose(b, left);
	uint32_t count = policy_item_count(p, by), rest = left & ~(1u << by);
	struct policy_entry entry = *as;
	uint64_t last_odd = 0;
	entry.place = place;
	entry.policy = p;
	entry.is_door = false;
	if (count == 0) {
		entry.kind = LIST_ALWAYS;
		entry.by = POLICY_BYS;
		policy_put(b, &entry);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		policy_entry_of(b, p, by, i, &entry);
		policy_put_item(b, &entry, as, rest);
		if (entry.kind == LIST_SHAPED)
			policy_put_odd(b, &entry, as, rest, &last_odd);
	}
	if (p->action != POLICY_ALLOW)
		policy_put_by(b, policy_key(place, PLACE_UNKNOWN, by), p, as, rest);
}

static void policy_put_in(struct policy_build *b, uint64_t place, const struct policy *p,
	struct policy_hit hit, bool is_many)
{
	struct policy_entry entry = {
		.place = place, .hit = hit, .policy = p, .kind = LIST_MANY, .by = POLICY_BYS};
	if (policy_is_weighed_for_caller(p))
		policy_put_by(
			b, policy_key(place, PLACE_CALLER, 0), p, &entry, 1u << POLICY_BY_PORT);
	if (is_many)
		policy_put(b, &entry);
	else
		policy_put_by(b, place, p, &entry, POLICY_BY_ALL);
}

static void policy_note_range(struct policy_build *b, const struct address_range *range)
{
	for (uint32_t i = 0; i < b->range_count; i++) {
		if (b->ranges[i].prefix_len == range->prefix_len &&
			b->ranges[i].base.family == range->base.family)
			return;
	}
	b->ranges[b->range_count++] = *range;
}

/* Who is of an undeclared service cannot be known: anybody may be kept out as one of it. */
static uint64_t policy_place_of(
	struct policy_build *b, const struct source *source, enum policy_action action)
{
	struct policy_key_path key;
	if (source->kind == SOURCE_UNDECLARED && action != POLICY_ALLOW)
		return policy_key(0, PLACE_IDENTIFIED, 0);
	switch (source->kind) {
	case SOURCE_ANONYMOUS:
		return policy_key(0, PLACE_NOBODY, 0);
	case SOURCE_ANY:
		return policy_key(0, PLACE_IDENTIFIED, 0);
	case SOURCE_RANGE:
		policy_note_range(b, &source->range);
		return policy_key_range(&source->range.base, source->range.prefix_len);
	case SOURCE_UNDER:
		policy_key_id(&key, source->text);
		b->under |= 1u << key.depth;
		return policy_key(key.below[key.depth], PLACE_UNDER, key.depth);
	case SOURCE_ID:
	case SOURCE_UNDECLARED:
		policy_key_id(&key, source->text);
		return policy_key(key.whole, PLACE_ID, 0);
	}
	return policy_key(0, PLACE_EVERYBODY, 0);
}

/* Who has no identity may be anyone who is named, if he is to be kept out, and exactly him. */
static void policy_put_rule(struct policy_build *b, const struct policy *p, uint32_t rule)
{
	uint64_t callers = p->from_count, items = policy_items_of(p);
	bool is_many = callers * items > POLICY_CROSS_FEW * (callers + items + 1);
	bool is_allow = p->action == POLICY_ALLOW;
	struct policy_hit hit = {.rule = rule}, named = {.rule = rule, .rank = SOURCE_RANK_ID};
	struct policy_hit placed = named;
	policy_share_of(b, p);
	for (uint32_t i = 0; i < p->from_count; i++) {
		enum source_kind kind = p->from[i].kind;
		hit.source = &p->from[i];
		hit.rank = source_rank(hit.source);
		if (kind == SOURCE_RANGE)
			placed.source = hit.source;
		else if (kind != SOURCE_ANONYMOUS)
			named.source = hit.source;
		policy_put_in(b, policy_place_of(b, hit.source, p->action), p, hit, is_many);
	}
	hit.rank = p->action == POLICY_DENY ? POLICY_RANK_GUARD : SOURCE_RANK_LEAST;
	if (p->from_count == 0)
		policy_put_in(b, policy_key(0, is_allow ? PLACE_IDENTIFIED : PLACE_EVERYBODY, 0), p,
			hit, is_many);
	if (named.source && !is_allow)
		policy_put_in(b, policy_key(0, PLACE_UNNAMED, 0), p, named, is_many);
	if (placed.source && !is_allow)
		policy_put_in(b, policy_key(0, PLACE_UNPLACED, 0), p, placed, is_many);
	const struct policy_entry own = {.hit = {.rule = rule}};
	if (is_many)
		policy_put_by(b, policy_key(rule, PLACE_RULE, 0), p, &own, POLICY_BY_ALL);
}

/* --- the whole --- */

/* So few that an index would not be worth its look-ups. */
static bool policy_are_few(const struct service *service)
{
	size_t items = 0;
	for (uint32_t i = 0; i < service->policy_count; i++)
		items += service->policies[i]->from_count + policy_items_of(service->policies[i]);
	return service->policy_count < POLICY_INDEX_MIN && items < POLICY_ITEMS_FEW;
}

/* The index of a service with the very same rules, as with those that are for all services; NULL:
 * there is none. */
static struct policy_index *policy_index_of_same(
	const struct snapshot *s, const struct service *service)
{
	for (uint32_t i = 0; i < s->service_count; i++) {
		const struct service *other = &s->services[i];
		if (other->policy_index && other->policy_count == service->policy_count &&
			memcmp(other->policies, service->policies,
				service->policy_count * sizeof(struct policy *)) == 0)
			return other->policy_index;
	}
	return NULL;
}

static void policy_put_rules(struct policy_build *b, const struct service *service)
{
	b->count = 0;
	for (uint32_t i = 0; i < service->policy_count; i++)
		policy_put_rule(b, service->policies[i], i);
}

bool policy_index_build(struct snapshot *s, struct service *service)
{
	struct policy_build b = {.entries = NULL};
	service->policy_index = NULL;
	if (policy_are_few(service))
		return true;
	service->policy_index = policy_index_of_same(s, service);
	if (service->policy_index)
		return true;
	if (policy_keys_collect(&b, service)) {
		policy_put_rules(&b, service);
		b.entries =
			b.count < UINT32_MAX / 4 ? calloc(b.count + 1, sizeof(*b.entries)) : NULL;
	}
	if (b.entries) {
		policy_put_rules(&b, service);
		service->policy_index = policy_index_new(&s->arena, service, &b);
	}
	free(b.entries);
	free(b.keys);
	return service->policy_index;
}
