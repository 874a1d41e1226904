/* SPDX-License-Identifier: Apache-2.0 */
/* By which of its conditions a rule lies, and under what: by its paths, unless very many rules have
 * the same and something else tells them apart. */
#include "policy_build.h"

#include <stdlib.h>

/* A path comes before what else there is, unless so many more rules have the same. */
#define POLICY_RARER 8
/* With more of them, by each other, a rule lies in no place behind a list. */
#define POLICY_ITEMS_FEW 32

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

uint32_t policy_item_count(const struct policy *p, enum policy_by by)
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

bool policy_entry_of(struct policy_build *b, const struct policy *p, enum policy_by by, uint32_t i,
	struct policy_entry *entry)
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

static int policy_key_compare(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;
	return (one > other) - (one < other);
}

size_t policy_items_of(const struct policy *p)
{
	size_t count = 0;
	for (int by = 0; by < POLICY_BYS; by++)
		count += policy_item_count(p, (enum policy_by)by);
	return count;
}

bool policy_keys_collect(struct policy_build *b, const struct service *service)
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

size_t policy_key_share(const struct policy_build *b, uint64_t key)
{
	return policy_keys_below(b, key + 1) - policy_keys_below(b, key);
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
		size_t same = policy_key_share(b, entry.list);
		most = same > most ? same : most;
	}
	return most > 0 ? (uint32_t)most : UINT32_MAX;
}

/* Of very many paths none is compared in vain: by nothing else such a rule lies. */
void policy_share_of(struct policy_build *b, const struct policy *p)
{
	uint64_t product = 1;
	for (int by = 0; by < POLICY_BYS; by++) {
		uint32_t count = policy_item_count(p, (enum policy_by)by);
		b->shares[by] = policy_share(b, p, (enum policy_by)by);
		product *= count > 0 && product < POLICY_ITEMS_FEW ? count : 1;
	}
	b->has_few = product < POLICY_ITEMS_FEW;
	if (p->to.path_count > POLICY_LIST_MAX && b->shares[POLICY_BY_PATH] != UINT32_MAX)
		b->shares[POLICY_BY_PATH] = 0;
}

enum policy_by policy_choose(const struct policy_build *b, uint32_t left)
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
