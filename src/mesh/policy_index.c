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
 * What is found is judged as ever (policy_judge()): here nothing is decided, and a rule too many
 * does no harm. Therefore keys are hashes and nothing else, and what is too deep for the index is
 * looked for where it is deepest.
 *
 *   places   hash of the caller -> struct policy_place
 *   lists    hash of place and path -> rules
 */
#include "policy_private.h"

#include <stdlib.h>

/* Below it a service's rules are asked one by one. */
#define POLICY_INDEX_MIN 8
/* Segments of a path and of an id that are looked at: the work for a request has a bound. */
#define POLICY_DEPTH_MAX 16
/* A rule with many callers and many paths lies under its callers alone. */
#define POLICY_CROSS_FEW 16

enum policy_place_kind {
	PLACE_EVERYBODY = 1,
	PLACE_IDENTIFIED,
	PLACE_NOBODY,
	PLACE_UNPLACED, /* of no address that is known */
	PLACE_ID,
	PLACE_UNDER,
	PLACE_RANGE,
};
enum policy_list_kind {
	LIST_ALWAYS = 1,
	LIST_OPAQUE, /* of a request without a path, or whose path is none */
	LIST_EXACT,
	LIST_BELOW,
};

/* What of a rule goes into one list of one place. */
struct policy_entry {
	uint64_t place, list;
	uint32_t rule;
	enum policy_list_kind kind;
	uint32_t depth; /* BELOW */
};

struct policy_list {
	uint64_t place, list;
	uint32_t first, count; /* count 0: free */
};
struct policy_place {
	uint64_t hash; /* 0: free */
	struct policy_list always;
	uint32_t below; /* bit by depth: that there are lists */
	bool has_exact, has_opaque;
};

struct policy_index {
	struct policy_place *places;
	struct policy_list *lists;
	uint32_t place_mask, list_mask;
	uint32_t *rules;
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
	return h ? h : 1;
}

/* What is looked for: the first segments, as many as there are up to POLICY_DEPTH_MAX, and all of
 * it. */
struct policy_key {
	uint64_t below[POLICY_DEPTH_MAX + 1];
	uint32_t depth; /* of the last of them */
	uint64_t whole;
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

static void policy_key_path(struct policy_key *key, struct str path)
{
	struct path_lenient p = path_lenient_of(path);
	uint64_t h = 0;
	uint32_t depth = 0;
	for (int c; (c = path_lenient_next(&p)) >= 0;) {
		if (c == '/')
			policy_key_add(key, h, depth++);
		h = policy_byte(h, c);
	}
	policy_key_add(key, h, depth);
	key->whole = h;
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
};

static void policy_put(struct policy_build *b, uint64_t place, const struct policy_entry *entry)
{
	if (b->entries) {
		b->entries[b->count] = *entry;
		b->entries[b->count].place = place;
	}
	b->count++;
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
static void policy_put_paths(
	struct policy_build *b, uint64_t place, const struct policy *p, uint32_t rule, bool by_path)
{
	struct policy_entry entry = {.kind = LIST_ALWAYS, .rule = rule};
	if (!by_path || p->to.path_count == 0) {
		policy_put(b, place, &entry);
		return;
	}
	for (uint32_t i = 0; i < p->to.path_count; i++) {
		entry = policy_entry_of(&p->to.paths[i]);
		entry.rule = rule;
		policy_put(b, place, &entry);
	}
	entry = (struct policy_entry){
		.kind = LIST_OPAQUE, .list = policy_finish(0, LIST_OPAQUE), .rule = rule};
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
	bool by_path = callers * paths <= 4 * (callers + paths) + POLICY_CROSS_FEW;
	bool is_allow = p->action == POLICY_ALLOW, is_named = false, is_placed = false;
	for (uint32_t i = 0; i < p->from_count; i++) {
		enum source_kind kind = p->from[i].kind;
		is_placed = is_placed || kind == SOURCE_RANGE;
		is_named = is_named || (kind != SOURCE_RANGE && kind != SOURCE_ANONYMOUS);
		policy_put_paths(b, policy_place_of(b, &p->from[i], p->action), p, rule, by_path);
	}
	if (p->from_count == 0)
		policy_put_paths(b, policy_finish(0, is_allow ? PLACE_IDENTIFIED : PLACE_EVERYBODY),
			p, rule, by_path);
	if (is_named && !is_allow)
		policy_put_paths(b, policy_finish(0, PLACE_NOBODY), p, rule, by_path);
	if (is_placed && !is_allow)
		policy_put_paths(b, policy_finish(0, PLACE_UNPLACED), p, rule, by_path);
}

static int policy_entry_compare(const void *a, const void *b)
{
	const struct policy_entry *one = a, *other = b;
	if (one->place != other->place)
		return one->place < other->place ? -1 : 1;
	if (one->list != other->list)
		return one->list < other->list ? -1 : 1;
	return (one->rule > other->rule) - (one->rule < other->rule);
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

/* Entries are sorted: those of one list of one place follow each other. */
static void policy_index_fill(struct policy_index *x, const struct policy_build *b)
{
	struct policy_list *list = NULL;
	uint32_t count = 0;
	for (size_t i = 0; i < b->count; i++) {
		const struct policy_entry *e = &b->entries[i], *last = i ? e - 1 : NULL;
		bool is_same = last && e->place == last->place && e->list == last->list;
		if (is_same && e->rule == last->rule)
			continue;
		struct policy_place *place = policy_place_at(x, e->place);
		place->hash = e->place;
		if (!is_same && e->kind == LIST_ALWAYS)
			list = &place->always;
		else if (!is_same)
			list = policy_list_at(x, e->place, e->list);
		if (!is_same)
			*list = (struct policy_list){e->place, e->list, count, 0};
		place->has_exact = place->has_exact || e->kind == LIST_EXACT;
		place->has_opaque = place->has_opaque || e->kind == LIST_OPAQUE;
		place->below |= e->kind == LIST_BELOW ? 1u << e->depth : 0;
		list->count++;
		x->rules[count++] = e->rule;
	}
}

static struct policy_index *policy_index_new(struct arena *arena, const struct policy_build *b)
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
	policy_index_fill(x, b);
	return x;
}

/* The same rules as the service before it, as with those that are for all services. */
static bool policy_is_as_before(const struct snapshot *s, const struct service *service)
{
	const struct service *before = service - 1;
	return service > s->services && service < s->services + s->service_count &&
	       before->policy_index && before->policy_count == service->policy_count &&
	       memcmp(before->policies, service->policies,
		       service->policy_count * sizeof(struct policy *)) == 0;
}

bool policy_index_build(struct snapshot *s, struct service *service)
{
	struct policy_build b = {0};
	service->policy_index = NULL;
	if (service->policy_count < POLICY_INDEX_MIN)
		return true;
	if (policy_is_as_before(s, service)) {
		service->policy_index = service[-1].policy_index;
		return true;
	}
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
	struct policy_index *x = policy_index_new(&s->arena, &b);
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
	const struct policy_request *request;
	bool has_path;
	struct policy_key path;
};

static void policy_ask_list(const struct policy_search *search, const struct policy_list *list)
{
	const uint32_t *rules = search->service->policy_index->rules + list->first;
	for (uint32_t i = 0; i < list->count; i++)
		policy_judge(search->weighed, search->service, rules[i], search->request);
}

static void policy_ask_place(const struct policy_search *search, uint64_t hash)
{
	const struct policy_index *x = search->service->policy_index;
	const struct policy_place *place = policy_place_at(x, hash);
	if (place->hash == 0)
		return;
	policy_ask_list(search, &place->always);
	if (!search->has_path) {
		uint64_t list = policy_finish(0, LIST_OPAQUE);
		if (place->has_opaque)
			policy_ask_list(search, policy_list_at(x, hash, list));
		return;
	}
	if (place->has_exact) {
		uint64_t list = policy_finish(search->path.whole, LIST_EXACT);
		policy_ask_list(search, policy_list_at(x, hash, list));
	}
	for (uint32_t depth = 0; place->below >> depth && depth <= search->path.depth; depth++) {
		if (!(place->below >> depth & 1))
			continue;
		uint64_t list = policy_finish(search->path.below[depth], LIST_BELOW + depth);
		policy_ask_list(search, policy_list_at(x, hash, list));
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
	if (client->family == 0)
		policy_ask_place(search, policy_finish(0, PLACE_UNPLACED));
	for (uint32_t i = 0; i < x->range_count; i++) {
		if (x->ranges[i].base.family == client->family)
			policy_ask_place(search, policy_key_range(client, x->ranges[i].prefix_len));
	}
}

void policy_index_ask(struct policy_weighed *weighed, const struct service *service,
	const struct policy_request *request)
{
	struct policy_search search;
	search.weighed = weighed;
	search.service = service;
	search.request = request;
	search.has_path = request->http && request->http->path.len > 0;
	if (search.has_path)
		policy_key_path(&search.path, request->http->path);
	*weighed = service->policy_index->empty;
	policy_ask_place(&search, policy_finish(0, PLACE_EVERYBODY));
	if (request->source_id.len > 0)
		policy_ask_identified(&search, request->source_id);
	else
		policy_ask_anonymous(&search, &request->client);
}
