/* SPDX-License-Identifier: Apache-2.0 */
/* Which of a service's rules may match a request, out of many: by caller first, then by path.
 *
 * Each way in which a rule can name a caller (exact id, beginning of an id, range of addresses, any
 * identity, nobody, everybody) is a place; in it rules lie by their paths (exact, beginning, none).
 * A request visits the few places that its caller has, and in each looks under its path and under
 * what its path begins with. All paths are taken as a lenient server reads them, in rules and
 * requests alike, so that one look-up is enough for rules that deny, which ask for no more, and for
 * those that allow, which ask for the letter besides.
 *
 * What is found is judged as ever (policy_judge()), by the one source and path for which it was
 * found: here nothing is decided, and a rule too many does no harm. Therefore keys are hashes and
 * nothing else, and what is too deep for the index is looked for where it is deepest.
 *
 * A template lies by the segments that it spells out, and where they stand: few such shapes are in
 * use. Of a path that another server may divide otherwise none can be told; so it lies once more by
 * what comes before its first brace, for those.
 *
 * Many rules may say the same to one caller: somebody without identity is to each rule that denies
 * a name just the one who is named. Of those that ask for no more than the path under which they
 * lie the first is enough.
 *
 *   places   hash of the caller -> struct policy_place
 *   lists    hash of place and path -> rules
 */
#include "policy_private.h"

#include "mesh/policy_explain.h"

#include <stdlib.h>

/* Below it a service's rules are asked one by one. */
#define POLICY_INDEX_MIN 8
/* Segments of a path and of an id that are looked at: the work for a request has a bound. */
#define POLICY_DEPTH_MAX 16
/* So many callers and paths are too many for that, of however few rules. */
#define POLICY_ITEMS_FEW 10
/* A rule with many callers and many paths lies under its callers alone. */
#define POLICY_CROSS_FEW 32
/* Of templates; with more of them the rest lies by what comes before the first brace. */
#define POLICY_SHAPES_MAX 16

enum policy_place_kind {
	PLACE_EVERYBODY = 1,
	PLACE_IDENTIFIED,
	PLACE_NOBODY,
	PLACE_UNNAMED,	/* may be anyone who is named */
	PLACE_UNPLACED, /* of no address that is known */
	PLACE_ID,
	PLACE_UNDER,
	PLACE_RANGE,
};
enum policy_list_kind {
	LIST_ALWAYS = 1,
	LIST_OPAQUE, /* of a request without a path, or whose path is none */
	LIST_CALLER, /* of what it may at best */
	LIST_EXACT,
	LIST_BELOW,
	LIST_ODD = LIST_BELOW + POLICY_DEPTH_MAX + 1,
	LIST_SHAPED = LIST_ODD + POLICY_DEPTH_MAX + 1,
};
/* In the place of a hash. */
#define LIST_CALLER_KEY 1

/* A rule, and for which of its sources and paths it lies there; NULL: for all. */
struct policy_hit {
	uint32_t rule;
	const struct source *source;
	const struct route_path *path;
};

/* What of a rule goes into one list of one place. */
struct policy_entry {
	uint64_t place, list;
	struct policy_hit hit;
	enum policy_list_kind kind;
	uint32_t depth; /* BELOW, ODD; of SHAPED which shape */
};

struct policy_list {
	uint64_t place, list;
	uint32_t first, count; /* count 0: free */
};
struct policy_place {
	uint64_t hash; /* 0: free */
	struct policy_list always, caller;
	uint32_t below, odd; /* bit by depth: that there are lists */
	uint32_t shaped;     /* bit by shape */
	bool has_exact, has_opaque;
};

struct policy_index {
	struct policy_place *places;
	struct policy_list *lists;
	uint32_t place_mask, list_mask;
	struct policy_hit *rules;
	uint32_t shapes[POLICY_SHAPES_MAX]; /* bit by segment: that it is spelt out */
	uint32_t shape_count;
	uint32_t under;		      /* bit by depth: that there are such places */
	struct address_range *ranges; /* one of each family and length */
	uint32_t range_count;
	struct policy_weighed empty; /* with what allow rules mean for the default */
	struct policy_wants wants;
};

/* --- hashes --- */

static uint64_t policy_mix(uint64_t h, uint64_t more)
{
	h = (h ^ more) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ (h >> 32);
}

static uint64_t policy_finish(uint64_t h, unsigned kind)
{
	h = policy_mix(policy_mix(h, kind), kind);
	return h > LIST_CALLER_KEY ? h : LIST_CALLER_KEY + 1;
}

/* What is looked for: the first segments, as many as there are up to POLICY_DEPTH_MAX, and all of
 * it. */
struct policy_key {
	uint64_t below[POLICY_DEPTH_MAX + 1];
	uint32_t depth; /* of the last of them */
	uint64_t whole;
	uint64_t segments[POLICY_DEPTH_MAX];
};

static uint64_t policy_byte(uint64_t h, int c)
{
	h = (h ^ (uint64_t)c) * UINT64_C(0x100000001b3);
	return h ^ h >> 29;
}

static void policy_key_add(struct policy_key *key, uint64_t h, uint32_t depth)
{
	if (depth > POLICY_DEPTH_MAX)
		return;
	key->below[depth] = h;
	key->depth = depth;
}

/* Returns whether it is odd (path_is_odd()). */
static bool policy_key_path(struct policy_key *key, struct str path)
{
	struct path_lenient p = path_lenient_of(path);
	uint64_t h = 0, segment = 0;
	uint32_t depth = 0;
	for (int c; (c = path_lenient_next(&p)) >= 0;) {
		if (c == '/')
			policy_key_add(key, h, depth++);
		h = policy_byte(h, c);
		segment = c == '/' ? 0 : policy_byte(segment, c);
		if (depth > 0 && depth <= POLICY_DEPTH_MAX)
			key->segments[depth - 1] = segment;
	}
	policy_key_add(key, h, depth);
	key->whole = h;
	return p.is_odd;
}

/* A segment of an id ends with its slash. */
static void policy_key_id(struct policy_key *key, struct str id)
{
	uint64_t h = 0;
	uint32_t depth = 0;
	policy_key_add(key, h, depth++);
	for (size_t i = 0; i < id.len; i++) {
		h = policy_byte(h, (unsigned char)id.at[i]);
		if (id.at[i] == '/')
			policy_key_add(key, h, depth++);
	}
	key->whole = h;
}

/* `shape`: of segments that are there. */
static uint64_t policy_key_shape(const uint64_t *segments, uint32_t shape)
{
	uint64_t h = shape;
	for (uint32_t i = 0; shape >> i; i++) {
		if (shape >> i & 1)
			h = policy_mix(h, segments[i]);
	}
	return policy_finish(h, LIST_SHAPED);
}

static uint64_t policy_key_range(const struct address *a, uint32_t prefix_len)
{
	uint64_t h = policy_byte(policy_byte(0, a->family), (int)prefix_len);
	for (uint32_t bit = 0; bit < prefix_len; bit += 8) {
		uint32_t rest = prefix_len - bit;
		unsigned mask = rest >= 8 ? 0xffu : 0xffu << (8 - rest) & 0xffu;
		h = policy_byte(h, (int)(a->ip[bit / 8] & mask));
	}
	return policy_finish(h, PLACE_RANGE);
}

/* --- making one --- */

struct policy_build {
	struct policy_entry *entries; /* NULL: they are counted */
	size_t count;
	struct address_range ranges[33 + 129];
	uint32_t range_count, under;
	uint32_t shapes[POLICY_SHAPES_MAX], shape_count;
};

static void policy_put(struct policy_build *b, uint64_t place, const struct policy_entry *entry)
{
	if (b->entries) {
		b->entries[b->count] = *entry;
		b->entries[b->count].place = place;
	}
	b->count++;
}

/* What a template spells out. */
struct policy_spelt {
	uint64_t segments[POLICY_DEPTH_MAX];
	uint32_t at, shape;
	bool is_odd;
};

static void policy_spell(struct policy_spelt *spelt, struct str text)
{
	struct path_lenient p = path_lenient_of(text);
	uint32_t at = spelt->at;
	for (int c; (c = path_lenient_next(&p)) >= 0;) {
		at += c == '/';
		if (at == 0 || at > POLICY_DEPTH_MAX)
			continue;
		uint64_t *segment = &spelt->segments[at - 1];
		*segment = c == '/' ? 0 : policy_byte(*segment, c);
		spelt->shape |= 1u << (at - 1);
	}
	spelt->at = at;
	spelt->is_odd = spelt->is_odd || p.is_odd;
}

/* Returns which shape it has; POLICY_SHAPES_MAX: none, it lies by its start alone. */
static uint32_t policy_shape_of(struct policy_build *b, struct str template, uint64_t *ret_key)
{
	struct policy_spelt spelt = {0};
	struct str start = path_template_start(template);
	struct str rest = {template.at + start.len, template.len - start.len};
	policy_spell(&spelt, start);
	uint32_t of_start = spelt.shape;
	while (rest.len > 0) {
		const char *slash = memchr(rest.at, '/', rest.len);
		struct str part = {rest.at, slash ? (size_t)(slash - rest.at) : rest.len};
		size_t used = part.len + (slash ? 1 : 0);
		rest = (struct str){rest.at + used, rest.len - used};
		if (rest.len == 0 && part.len > 0 && part.at[part.len - 1] == '*')
			break;
		if (part.len > 0 && part.at[0] == '{')
			spelt.at++;
		else
			policy_spell(&spelt, part);
	}
	if (spelt.is_odd || spelt.shape == of_start)
		return POLICY_SHAPES_MAX;
	*ret_key = policy_key_shape(spelt.segments, spelt.shape);
	uint32_t i = 0;
	while (i < b->shape_count && b->shapes[i] != spelt.shape)
		i++;
	if (i == b->shape_count && i < POLICY_SHAPES_MAX)
		b->shapes[b->shape_count++] = spelt.shape;
	return i;
}

static void policy_put_template(struct policy_build *b, uint64_t place, struct policy_entry *entry)
{
	uint64_t key;
	uint32_t shape = policy_shape_of(b, entry->hit.path->text, &key);
	if (shape == POLICY_SHAPES_MAX) {
		policy_put(b, place, entry);
		return;
	}
	struct policy_entry shaped = *entry;
	shaped.kind = LIST_SHAPED;
	shaped.depth = shape;
	shaped.list = key;
	policy_put(b, place, &shaped);
	entry->kind = LIST_ODD;
	entry->list = policy_mix(entry->list, LIST_ODD);
	policy_put(b, place, entry);
}

static struct policy_entry policy_entry_of(const struct route_path *path)
{
	struct policy_key key;
	struct policy_entry entry = {.kind = LIST_ALWAYS};
	if (path->kind == ROUTE_PATH_REGEX)
		return entry;
	bool is_template = path->kind == ROUTE_PATH_TEMPLATE;
	policy_key_path(&key, is_template ? path_template_start(path->text) : path->text);
	if (path->kind == ROUTE_PATH_EXACT) {
		entry.kind = LIST_EXACT;
		entry.list = policy_finish(key.whole, LIST_EXACT);
	} else {
		entry.kind = LIST_BELOW;
		entry.depth = key.depth;
		entry.list = policy_finish(key.below[key.depth], LIST_BELOW + key.depth);
	}
	return entry;
}

/* Where one rule lies in one place. */
static void policy_put_paths(struct policy_build *b, uint64_t place, const struct policy *p,
	struct policy_hit hit, bool by_path)
{
	struct policy_entry entry = {.kind = LIST_CALLER, .list = LIST_CALLER_KEY, .hit = hit};
	if (policy_is_weighed_for_caller(p))
		policy_put(b, place, &entry);
	entry = (struct policy_entry){.kind = LIST_ALWAYS, .hit = hit};
	if (!by_path || p->to.path_count == 0) {
		policy_put(b, place, &entry);
		return;
	}
	for (uint32_t i = 0; i < p->to.path_count; i++) {
		entry = policy_entry_of(&p->to.paths[i]);
		entry.hit = hit;
		entry.hit.path = &p->to.paths[i];
		if (entry.hit.path->kind == ROUTE_PATH_TEMPLATE)
			policy_put_template(b, place, &entry);
		else
			policy_put(b, place, &entry);
	}
	entry = (struct policy_entry){
		.kind = LIST_OPAQUE, .list = policy_finish(0, LIST_OPAQUE), .hit = hit};
	if (p->action != POLICY_ALLOW)
		policy_put(b, place, &entry);
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
	struct policy_key key;
	if (source->kind == SOURCE_UNDECLARED && action != POLICY_ALLOW)
		return policy_finish(0, PLACE_IDENTIFIED);
	switch (source->kind) {
	case SOURCE_ANONYMOUS:
		return policy_finish(0, PLACE_NOBODY);
	case SOURCE_ANY:
		return policy_finish(0, PLACE_IDENTIFIED);
	case SOURCE_RANGE:
		policy_note_range(b, &source->range);
		return policy_key_range(&source->range.base, source->range.prefix_len);
	case SOURCE_UNDER:
		policy_key_id(&key, source->text);
		b->under |= 1u << key.depth;
		return policy_finish(key.below[key.depth], PLACE_UNDER + 16 * key.depth);
	case SOURCE_ID:
	case SOURCE_UNDECLARED:
		policy_key_id(&key, source->text);
		return policy_finish(key.whole, PLACE_ID);
	}
	return policy_finish(0, PLACE_EVERYBODY);
}

/* Who has no identity may be anyone who is named, if he is to be kept out. */
static void policy_put_rule(struct policy_build *b, const struct policy *p, uint32_t rule)
{
	uint64_t callers = p->from_count, paths = p->to.path_count;
	bool by_path = callers * paths <= POLICY_CROSS_FEW * (callers + paths + 1);
	bool is_allow = p->action == POLICY_ALLOW;
	struct policy_hit hit = {.rule = rule}, named = hit, placed = hit;
	for (uint32_t i = 0; i < p->from_count; i++) {
		enum source_kind kind = p->from[i].kind;
		hit.source = &p->from[i];
		if (kind == SOURCE_RANGE)
			placed.source = hit.source;
		else if (kind != SOURCE_ANONYMOUS)
			named.source = hit.source;
		policy_put_paths(b, policy_place_of(b, hit.source, p->action), p, hit, by_path);
	}
	if (p->from_count == 0)
		policy_put_paths(b, policy_finish(0, is_allow ? PLACE_IDENTIFIED : PLACE_EVERYBODY),
			p, hit, by_path);
	if (named.source && !is_allow)
		policy_put_paths(b, policy_finish(0, PLACE_UNNAMED), p, named, by_path);
	if (placed.source && !is_allow)
		policy_put_paths(b, policy_finish(0, PLACE_UNPLACED), p, placed, by_path);
}

static int policy_entry_compare(const void *a, const void *b)
{
	const struct policy_entry *one = a, *other = b;
	if (one->place != other->place)
		return one->place < other->place ? -1 : 1;
	if (one->list != other->list)
		return one->list < other->list ? -1 : 1;
	return (one->hit.rule > other->hit.rule) - (one->hit.rule < other->hit.rule);
}

static uint32_t policy_table_size(uint32_t count)
{
	uint32_t size = 4;
	while (size < 2 * count)
		size *= 2;
	return size;
}

static struct policy_place *policy_place_at(const struct policy_index *x, uint64_t hash)
{
	uint64_t at = hash & x->place_mask;
	while (x->places[at].hash != hash && x->places[at].hash != 0)
		at = (at + 1) & x->place_mask;
	return &x->places[at];
}

static struct policy_list *policy_list_at(
	const struct policy_index *x, uint64_t place, uint64_t list)
{
	uint64_t at = policy_mix(place, list) & x->list_mask;
	for (struct policy_list *l = &x->lists[at];; l = &x->lists[at]) {
		if (l->count == 0 || (l->place == place && l->list == list))
			return l;
		at = (at + 1) & x->list_mask;
	}
}

/* --- what says the same as a rule before it --- */

/* Whether it denies all who ask for its path. */
static bool policy_asks_path_alone(const struct policy *p)
{
	for (int c = POLICY_NOT_FROM; c < POLICY_CONDITIONS; c++) {
		if (c != POLICY_PATHS && policy_condition_count(p, (enum policy_condition)c) > 0)
			return false;
	}
	return p->action == POLICY_DENY;
}

static bool policy_is_same_source(const struct source *a, const struct source *b)
{
	if (!a || !b || a->kind != b->kind)
		return a == b;
	return a->kind == SOURCE_RANGE
		       ? a->range.prefix_len == b->range.prefix_len &&
				 memcmp(&a->range.base, &b->range.base, sizeof(a->range.base)) == 0
		       : str_eq(a->text, b->text);
}

static bool policy_reads_alike(struct str a, struct str b)
{
	struct path_lenient p = path_lenient_of(a), q = path_lenient_of(b);
	int c;
	do {
		c = path_lenient_next(&p);
		if (path_lenient_next(&q) != c)
			return false;
	} while (c >= 0);
	return true;
}

/* Two of one list, of which neither asks for more: whether the paths that find one are the other's
 * too. */
static bool policy_is_same_path(const struct policy_entry *a, const struct policy_entry *b)
{
	const struct route_path *one = a->hit.path, *other = b->hit.path;
	if (a->kind == LIST_OPAQUE)
		return true;
	if (!one || !other)
		return one == other;
	if (a->kind == LIST_ODD)
		return policy_reads_alike(
			path_template_start(one->text), path_template_start(other->text));
	return one->kind == other->kind &&
	       (one->kind == ROUTE_PATH_EXACT || one->kind == ROUTE_PATH_PREFIX) &&
	       policy_reads_alike(one->text, other->text);
}

/* The first of a list that may stand for others, one of each kind. */
struct policy_firsts {
	const struct policy_entry *of[2];
};

/* Whether nothing is lost without it. Entries come in the order of the rules. */
static bool policy_is_said(
	struct policy_firsts *firsts, const struct service *service, const struct policy_entry *e)
{
	const struct policy *p = service->policies[e->hit.rule];
	bool is_caller = e->kind == LIST_CALLER;
	bool is_unnamed = e->place == policy_finish(0, PLACE_UNNAMED);
	bool is_whole = !e->hit.path && p->to.path_count > 0 && e->kind != LIST_OPAQUE;
	bool is_plain = is_caller    ? policy_is_for_caller(p)
			: is_unnamed ? policy_asks_path_alone(p) && !is_whole
				     : false;
	if (!is_plain)
		return false;
	bool is_second = is_caller ? p->action == POLICY_DENY : p->mode == POLICY_AUDITED;
	const struct policy_entry **first = &firsts->of[is_second];
	if (!*first) {
		*first = e;
		return false;
	}
	if (is_caller)
		return is_unnamed || policy_is_same_source((*first)->hit.source, e->hit.source);
	return policy_is_same_path(*first, e);
}

static void policy_place_note(struct policy_place *place, const struct policy_entry *e)
{
	place->hash = e->place;
	place->has_exact = place->has_exact || e->kind == LIST_EXACT;
	place->has_opaque = place->has_opaque || e->kind == LIST_OPAQUE;
	place->below |= e->kind == LIST_BELOW ? 1u << e->depth : 0;
	place->odd |= e->kind == LIST_ODD ? 1u << e->depth : 0;
	place->shaped |= e->kind == LIST_SHAPED ? 1u << e->depth : 0;
}

/* Entries are sorted: those of one list of one place follow each other. */
static void policy_index_fill(
	struct policy_index *x, const struct service *service, const struct policy_build *b)
{
	struct policy_list *list = NULL;
	struct policy_firsts firsts = {{NULL}};
	uint32_t count = 0;
	for (size_t i = 0; i < b->count; i++) {
		const struct policy_entry *e = &b->entries[i], *last = i ? e - 1 : NULL;
		bool is_same = last && e->place == last->place && e->list == last->list;
		struct policy_place *place = policy_place_at(x, e->place);
		policy_place_note(place, e);
		if (!is_same) {
			list = e->kind == LIST_ALWAYS	? &place->always
			       : e->kind == LIST_CALLER ? &place->caller
							: policy_list_at(x, e->place, e->list);
			*list = (struct policy_list){e->place, e->list, count, 0};
			firsts = (struct policy_firsts){{NULL}};
		}
		if (policy_is_said(&firsts, service, e))
			continue;
		list->count++;
		x->rules[count++] = e->hit;
	}
}

static struct policy_index *policy_index_new(
	struct arena *arena, const struct service *service, const struct policy_build *b)
{
	uint32_t places = 0, lists = 0;
	for (size_t i = 0; i < b->count; i++) {
		const struct policy_entry *e = &b->entries[i], *last = i ? e - 1 : NULL;
		bool is_place = !last || e->place != last->place;
		places += is_place;
		lists += is_place || e->list != last->list;
	}
	struct policy_index *x = arena_take(arena, sizeof(*x));
	if (!x)
		return NULL;
	x->place_mask = policy_table_size(places) - 1;
	x->list_mask = policy_table_size(lists) - 1;
	x->places = arena_take(arena, ((size_t)x->place_mask + 1) * sizeof(*x->places));
	x->lists = arena_take(arena, ((size_t)x->list_mask + 1) * sizeof(*x->lists));
	x->rules = arena_take(arena, (b->count + 1) * sizeof(*x->rules));
	x->ranges = arena_take(arena, (b->range_count + 1u) * sizeof(*x->ranges));
	if (!x->places || !x->lists || !x->rules || !x->ranges)
		return NULL;
	x->under = b->under;
	x->range_count = b->range_count;
	memcpy(x->ranges, b->ranges, b->range_count * sizeof(*x->ranges));
	x->shape_count = b->shape_count;
	memcpy(x->shapes, b->shapes, sizeof(x->shapes));
	policy_index_fill(x, service, b);
	return x;
}

/* So few that an index would not be worth its look-ups. */
static bool policy_are_few(const struct service *service)
{
	uint64_t items = 0;
	for (uint32_t i = 0; i < service->policy_count; i++)
		items += service->policies[i]->from_count + service->policies[i]->to.path_count;
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

bool policy_index_build(struct snapshot *s, struct service *service)
{
	struct policy_build b = {0};
	service->policy_index = NULL;
	if (policy_are_few(service))
		return true;
	service->policy_index = policy_index_of_same(s, service);
	if (service->policy_index)
		return true;
	for (uint32_t i = 0; i < service->policy_count; i++)
		policy_put_rule(&b, service->policies[i], i);
	if (b.count > UINT32_MAX / 4)
		return false;
	b.entries = calloc(b.count, sizeof(*b.entries));
	if (!b.entries)
		return false;
	b.count = 0;
	for (uint32_t i = 0; i < service->policy_count; i++)
		policy_put_rule(&b, service->policies[i], i);
	qsort(b.entries, b.count, sizeof(*b.entries), policy_entry_compare);
	struct policy_index *x = policy_index_new(&s->arena, service, &b);
	free(b.entries);
	for (uint32_t i = 0; x && i < service->policy_count; i++)
		policy_count_allows(&x->empty, service->policies[i]);
	if (x)
		x->wants = policy_wants_of(service);
	service->policy_index = x;
	return x;
}

struct policy_wants policy_wants(const struct service *service)
{
	return service->policy_index ? service->policy_index->wants : policy_wants_of(service);
}

/* --- asking --- */

struct policy_search {
	struct policy_weighed *weighed;
	const struct service *service;
	struct policy_asked asked;
	bool of_caller; /* what he may at best */
	bool has_path, is_odd;
	struct policy_key path;
	uint64_t shaped[POLICY_SHAPES_MAX];
	uint32_t shapes; /* bit by shape: that the path has so many segments */
};

static void policy_ask_list(const struct policy_search *search, const struct policy_list *list)
{
	const struct policy_hit *hits = search->service->policy_index->rules + list->first;
	struct policy_asked asked = search->asked;
	for (uint32_t i = 0; i < list->count; i++) {
		asked.source = hits[i].source;
		asked.path = hits[i].path;
		if (search->of_caller)
			policy_judge_caller(search->weighed, search->service, hits[i].rule, &asked);
		else
			policy_judge(search->weighed, search->service, hits[i].rule, &asked);
	}
}

static void policy_ask_key(const struct policy_search *search, uint64_t place, uint64_t list)
{
	policy_ask_list(search, policy_list_at(search->service->policy_index, place, list));
}

/* Those that lie under what the path begins with. */
static void policy_ask_below(const struct policy_search *search, const struct policy_place *place)
{
	uint32_t odd = search->is_odd ? place->odd : 0;
	for (uint32_t depth = 0; (place->below | odd) >> depth && depth <= search->path.depth;
		depth++) {
		uint64_t list = policy_finish(search->path.below[depth], LIST_BELOW + depth);
		if (place->below >> depth & 1)
			policy_ask_key(search, place->hash, list);
		if (odd >> depth & 1)
			policy_ask_key(search, place->hash, policy_mix(list, LIST_ODD));
	}
}

static void policy_ask_place(const struct policy_search *search, uint64_t hash)
{
	const struct policy_index *x = search->service->policy_index;
	const struct policy_place *place = policy_place_at(x, hash);
	if (place->hash == 0)
		return;
	if (search->of_caller) {
		policy_ask_list(search, &place->caller);
		return;
	}
	policy_ask_list(search, &place->always);
	if (!search->has_path) {
		if (place->has_opaque)
			policy_ask_key(search, hash, policy_finish(0, LIST_OPAQUE));
		return;
	}
	if (place->has_exact)
		policy_ask_key(search, hash, policy_finish(search->path.whole, LIST_EXACT));
	policy_ask_below(search, place);
	uint32_t shaped = search->is_odd ? 0 : place->shaped & search->shapes;
	for (uint32_t i = 0; shaped >> i; i++) {
		if (shaped >> i & 1)
			policy_ask_key(search, hash, search->shaped[i]);
	}
}

static void policy_ask_identified(const struct policy_search *search, struct str id)
{
	const struct policy_index *x = search->service->policy_index;
	struct policy_key key;
	policy_key_id(&key, id);
	policy_ask_place(search, policy_finish(0, PLACE_IDENTIFIED));
	policy_ask_place(search, policy_finish(key.whole, PLACE_ID));
	for (uint32_t depth = 0; x->under >> depth && depth <= key.depth; depth++) {
		if (x->under >> depth & 1)
			policy_ask_place(
				search, policy_finish(key.below[depth], PLACE_UNDER + 16 * depth));
	}
}

static void policy_ask_anonymous(const struct policy_search *search, const struct address *client)
{
	const struct policy_index *x = search->service->policy_index;
	policy_ask_place(search, policy_finish(0, PLACE_NOBODY));
	policy_ask_place(search, policy_finish(0, PLACE_UNNAMED));
	if (client->family == 0)
		policy_ask_place(search, policy_finish(0, PLACE_UNPLACED));
	for (uint32_t i = 0; i < x->range_count; i++) {
		if (x->ranges[i].base.family == client->family)
			policy_ask_place(search, policy_key_range(client, x->ranges[i].prefix_len));
	}
}

static void policy_ask_places(const struct policy_search *search)
{
	const struct policy_request *request = search->asked.request;
	*search->weighed = search->service->policy_index->empty;
	policy_ask_place(search, policy_finish(0, PLACE_EVERYBODY));
	if (request->source_id.len > 0)
		policy_ask_identified(search, request->source_id);
	else
		policy_ask_anonymous(search, &request->client);
}

/* What divides a path for the lenient reader and not for the one who takes it to the letter. None
 * of it is in a path in normal form. */
static bool policy_is_raw(struct str path)
{
	return memchr(path.at, '\\', path.len) || memchr(path.at, '?', path.len) ||
	       memchr(path.at, '#', path.len) || memchr(path.at, '\0', path.len);
}

static void policy_search_path(struct policy_search *search, struct str path)
{
	const struct policy_index *x = search->service->policy_index;
	search->asked.is_odd = policy_key_path(&search->path, path);
	search->is_odd = search->asked.is_odd || policy_is_raw(path);
	for (uint32_t i = 0; !search->is_odd && i < x->shape_count; i++) {
		if (x->shapes[i] >> search->path.depth)
			continue;
		search->shaped[i] = policy_key_shape(search->path.segments, x->shapes[i]);
		search->shapes |= 1u << i;
	}
}

void policy_index_ask(struct policy_weighed *weighed, const struct service *service,
	const struct policy_request *request)
{
	struct policy_search search;
	search.weighed = weighed;
	search.service = service;
	search.asked = (struct policy_asked){.request = request};
	search.of_caller = false;
	search.has_path = request->http && request->http->path.len > 0;
	search.shapes = 0;
	if (search.has_path)
		policy_search_path(&search, request->http->path);
	policy_ask_places(&search);
}

void policy_index_ask_caller(struct policy_weighed *weighed, const struct service *service,
	const struct policy_request *request)
{
	struct policy_search search;
	search.weighed = weighed;
	search.service = service;
	search.asked = (struct policy_asked){.request = request};
	search.of_caller = true;
	policy_ask_places(&search);
}
