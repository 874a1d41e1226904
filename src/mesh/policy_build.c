/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the index of a service's rules: where each of them lies, sorted, and tables over that.
 *
 * Of its conditions on the request a rule lies by one, which it shares with the fewest other rules.
 * What cannot be known of a request matches each rule that does not allow: so those lie once more,
 * by what is left, where it is looked when that one is not known. */
#include "policy_index.h"

#include <stdlib.h>

/* Below it a service's rules are asked one by one. */
#define POLICY_INDEX_MIN 8
/* So many items are too many for that, of however few rules. */
#define POLICY_ITEMS_FEW 10
/* A rule with many callers and many of something else lies under its callers alone, and has a place
 * of its own for the rest. */
#define POLICY_CROSS_FEW 32
/* A path comes before what else there is, unless so many more rules have the same. */
#define POLICY_RARER 8

/* What of a rule goes into one list of one place. */
struct policy_entry {
	uint64_t place, list;
	struct policy_hit hit;
	const struct policy *policy;
	enum policy_list_kind kind;
	enum policy_by by;
	uint32_t depth; /* BELOW; of SHAPED and SPELT which shape */
	uint32_t start; /* SHAPED: depth of what comes before the first brace */
	bool is_odd;	/* in the place of an odd path, where one of a rule's templates is enough */
};

struct policy_build {
	struct policy_entry *entries; /* NULL: they are counted */
	size_t count;
	uint64_t *keys; /* of all items of all rules, sorted */
	size_t key_count;
	uint32_t shares[POLICY_BYS]; /* of the rule at hand: how many others lie by the same */
	struct address_range ranges[33 + 129];
	uint32_t range_count, under;
	uint32_t shapes[POLICY_SHAPES_MAX], shape_count;
};

/* --- what a rule may lie by --- */

/* POLICY_SHAPES_MAX: too many are there already. */
static uint32_t policy_shape_number(struct policy_build *b, uint32_t shape)
{
	uint32_t i = 0;
	while (i < b->shape_count && b->shapes[i] != shape)
		i++;
	if (i == b->shape_count && i < POLICY_SHAPES_MAX)
		b->shapes[b->shape_count++] = shape;
	return i;
}

/* By the segments that it spells out; it stays where it is when there are none. An allow rule wants
 * them to the letter, and so may have any path. */
static void policy_entry_template(
	struct policy_build *b, bool is_allow, struct str template, struct policy_entry *entry)
{
	struct policy_spelt spelt;
	if (!policy_spell_template(&spelt, template, is_allow))
		return;
	uint32_t shape = policy_shape_number(b, spelt.shape);
	if (shape == POLICY_SHAPES_MAX)
		return;
	entry->kind = is_allow ? LIST_SPELT : LIST_SHAPED;
	entry->start = entry->depth;
	entry->depth = shape;
	entry->list = policy_key_shape(spelt.segments, spelt.shape, entry->kind);
}

static void policy_entry_path(struct policy_build *b, bool is_allow, const struct route_path *path,
	struct policy_entry *entry)
{
	struct policy_key_path key;
	bool is_template = path->kind == ROUTE_PATH_TEMPLATE;
	policy_key_path(&key, is_template ? path_template_start(path->text) : path->text);
	entry->hit.path = path;
	entry->kind = path->kind == ROUTE_PATH_EXACT ? LIST_EXACT : LIST_BELOW;
	entry->depth = key.depth;
	entry->list = path->kind == ROUTE_PATH_EXACT
			      ? policy_key(key.whole, LIST_EXACT, 0)
			      : policy_key(key.below[key.depth], LIST_BELOW, key.depth);
	if (is_template)
		policy_entry_template(b, is_allow, path->text, entry);
}

static bool policy_entry_host(struct str host, struct policy_entry *entry)
{
	struct address address;
	struct policy_key_host key;
	entry->kind = LIST_DOMAIN;
	if (str_starts(host, STR("*.")))
		return policy_key_domain(host, &entry->list);
	entry->kind = LIST_HOST;
	policy_key_host(&key, host);
	entry->list = key.whole;
	if (policy_host_address(host, &address)) {
		entry->kind = LIST_ADDRESS;
		entry->list = policy_key_address(&address);
	}
	return true;
}

static uint32_t policy_item_count(const struct policy *p, enum policy_by by)
{
	switch (by) {
	case POLICY_BY_PATH:
		return p->to.path_count;
	case POLICY_BY_HOST:
		return p->to.host_count;
	case POLICY_BY_PORT:
		return p->to.port_count;
	case POLICY_BY_METHOD:
		return p->to.method_count;
	case POLICY_BYS:
		break;
	}
	return 0;
}

/* Under what one of them lies; false: it cannot be told. */
static bool policy_entry_of(struct policy_build *b, const struct policy *p, enum policy_by by,
	uint32_t i, struct policy_entry *entry)
{
	entry->by = by;
	switch (by) {
	case POLICY_BY_PATH:
		policy_entry_path(b, p->action == POLICY_ALLOW, &p->to.paths[i], entry);
		return p->to.paths[i].kind != ROUTE_PATH_REGEX;
	case POLICY_BY_HOST:
		return policy_entry_host(p->to.hosts[i], entry);
	case POLICY_BY_PORT:
		entry->kind = LIST_PORT;
		entry->list = policy_key_port(p->to.ports[i]);
		return true;
	case POLICY_BY_METHOD:
		entry->kind = LIST_METHOD;
		entry->list = policy_key_method(p->to.methods[i]);
		return true;
	case POLICY_BYS:
		break;
	}
	return false;
}

/* --- which of it --- */

static int policy_compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int policy_key_compare(const void *a, const void *b)
{
	return policy_compare(*(const uint64_t *)a, *(const uint64_t *)b);
}

static size_t policy_items_of(const struct policy *p)
{
	size_t count = 0;
	for (int by = 0; by < POLICY_BYS; by++)
		count += policy_item_count(p, (enum policy_by)by);
	return count;
}

/* False: no memory. */
static bool policy_keys_collect(struct policy_build *b, const struct service *service)
{
	size_t count = 0;
	for (uint32_t r = 0; r < service->policy_count; r++)
		count += policy_items_of(service->policies[r]);
	b->keys = calloc(count + 1, sizeof(*b->keys));
	if (!b->keys)
		return false;
	for (uint32_t r = 0; r < service->policy_count; r++) {
		const struct policy *p = service->policies[r];
		for (int by = 0; by < POLICY_BYS; by++) {
			for (uint32_t i = 0; i < policy_item_count(p, (enum policy_by)by); i++) {
				struct policy_entry entry = {.list = 0};
				policy_entry_of(b, p, (enum policy_by)by, i, &entry);
				b->keys[b->key_count++] = entry.list;
			}
		}
	}
	qsort(b->keys, b->key_count, sizeof(*b->keys), policy_key_compare);
	return true;
}

/* Where it would stand among them. */
static size_t policy_keys_below(const struct policy_build *b, uint64_t key)
{
	size_t low = 0, high = b->key_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (b->keys[middle] < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* UINT32_MAX: it cannot lie by that. */
static uint32_t policy_share(struct policy_build *b, const struct policy *p, enum policy_by by)
{
	size_t most = 0;
	uint32_t count = policy_item_count(p, by);
	for (uint32_t i = 0; i < count; i++) {
		struct policy_entry entry = {.list = 0};
		if (!policy_entry_of(b, p, by, i, &entry))
			return UINT32_MAX;
		size_t same =
			policy_keys_below(b, entry.list + 1) - policy_keys_below(b, entry.list);
		most = same > most ? same : most;
	}
	return most > 0 ? (uint32_t)most : UINT32_MAX;
}

/* POLICY_BYS: by none of those that are left (bit by POLICY_BY). */
static enum policy_by policy_choose(const struct policy_build *b, uint32_t left)
{
	enum policy_by best = POLICY_BYS;
	for (int by = 0; by < POLICY_BYS; by++) {
		uint64_t share = b->shares[by];
		if (!(left >> by & 1) || share == UINT32_MAX)
			continue;
		if (best == POLICY_BYS || share * POLICY_RARER <= b->shares[best])
			best = (enum policy_by)by;
	}
	return best;
}

/* --- where it lies --- */

static void policy_put(struct policy_build *b, const struct policy_entry *entry)
{
	if (b->entries)
		b->entries[b->count] = *entry;
	b->count++;
}

/* What a rule lies by in one place. Each is left out in the places within this one, so that there
 * are no more than a few of these in each other. */
static void policy_put_by(struct policy_build *b, uint64_t place, const struct policy *p,
	const struct policy_entry *as, uint32_t left)
{
	enum policy_by by = policy_choose(b, left);
	uint32_t count = policy_item_count(p, by), rest = left & ~(1u << by);
	struct policy_entry entry = *as;
	entry.place = place;
	entry.policy = p;
	if (count == 0) {
		entry.kind = LIST_ALWAYS;
		entry.by = POLICY_BYS;
		policy_put(b, &entry);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		entry.hit.path = NULL;
		policy_entry_of(b, p, by, i, &entry);
		policy_put(b, &entry);
		if (entry.kind != LIST_SHAPED)
			continue;
		struct policy_entry odd = *as;
		struct policy_key_path key;
		odd.is_odd = true;
		odd.hit.path = entry.hit.path;
		policy_key_path(&key, path_template_start(entry.hit.path->text));
		policy_put_by(
			b, policy_key_odd(place, key.below[key.depth], key.depth), p, &odd, rest);
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
	for (int by = 0; by < POLICY_BYS; by++)
		b->shares[by] = policy_share(b, p, (enum policy_by)by);
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

/* --- tables --- */

static uint32_t policy_kind(const struct policy_entry *e)
{
	return (uint32_t)e->policy->action << 1 | (uint32_t)e->policy->mode;
}

/* Those of one list of one place follow each other; of these the ones that say the same, the more
 * exact first. */
static int policy_entry_compare(const void *a, const void *b)
{
	const struct policy_entry *one = a, *other = b;
	int order = policy_compare(one->place, other->place);
	order = order ? order : policy_compare(one->kind, other->kind);
	order = order ? order : policy_compare(one->list, other->list);
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
	return policy_is_same_place(a, b) && a->kind == b->kind && a->list == b->list;
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
	place->below |= e->kind == LIST_BELOW ? 1u << e->depth : 0;
	place->shaped |= e->kind == LIST_SHAPED ? 1u << e->depth : 0;
	place->spelt |= e->kind == LIST_SPELT ? 1u << e->depth : 0;
	place->odd |= e->kind == LIST_SHAPED ? 1u << e->start : 0;
}

static struct policy_hits *policy_hits_of(
	struct policy_index *x, struct policy_place *place, const struct policy_entry *e)
{
	if (e->kind == LIST_ALWAYS)
		return &place->always;
	if (e->kind == LIST_MANY)
		return &place->many;
	struct policy_list *list = policy_list_at(x, e->place, e->list);
	list->place = e->place;
	list->list = e->list;
	return &list->hits;
}

static void policy_index_fill(struct policy_index *x, const struct policy_build *b)
{
	const struct policy_entry *last = NULL;
	struct policy_hits *hits = NULL;
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
		if (is_new) {
			hits = policy_hits_of(x, place, e);
			hits->first = count;
		}
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
	uint64_t at = policy_key(place ^ list, 0, 0) & x->list_mask;
	for (struct policy_list *l = &x->lists[at];; l = &x->lists[at]) {
		if (l->hits.count == 0 || (l->place == place && l->list == list))
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
	uint32_t size = 4;
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
	x->headers = arena_take(arena, ((size_t)x->header_mask + 1) * sizeof(*x->headers));
	x->hits = arena_take(arena, (b->count + 1) * sizeof(*x->hits));
	x->ranges = arena_take(arena, (b->range_count + 1u) * sizeof(*x->ranges));
	return x->places && x->lists && x->headers && x->hits && x->ranges;
}

static struct policy_index *policy_index_new(
	struct arena *arena, const struct service *service, const struct policy_build *b)
{
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
		qsort(b.entries, b.count, sizeof(*b.entries), policy_entry_compare);
		service->policy_index = policy_index_new(&s->arena, service, &b);
	}
	free(b.entries);
	free(b.keys);
	return service->policy_index;
}
