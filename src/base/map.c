/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/assert.h"
#include <stdlib.h>

void map_init(struct map *m)
{
	*m = (struct map){0};
}

void map_done(struct map *m)
{
	free(m->slots);
	map_init(m);
}

static void map_link(struct map_node **slots, size_t slot_count, struct map_node *node)
{
	struct map_node **slot = &slots[node->hash & (slot_count - 1)];
	node->next = *slot;
	*slot = node;
}

static bool map_grow(struct map *m)
{
	size_t slot_count = m->slot_count ? m->slot_count * 2 : 16;
	struct map_node **slots = calloc(slot_count, sizeof(*slots));
	if (!slots)
		return false;
	for (size_t i = 0; i < m->slot_count; i++) {
		struct map_node *node = m->slots[i];
		while (node) {
			struct map_node *next = node->next;
			map_link(slots, slot_count, node);
			node = next;
		}
	}
	free(m->slots);
	m->slots = slots;
	m->slot_count = slot_count;
	return true;
}

bool map_add(struct map *m, struct map_node *node, uint64_t hash)
{
	if (m->count >= m->slot_count && !map_grow(m))
		return false;
	node->hash = hash;
	map_link(m->slots, m->slot_count, node);
	m->count++;
	return true;
}

static struct map_node *map_match(struct map_node *node, uint64_t hash)
{
	while (node && node->hash != hash)
		node = node->next;
	return node;
}

struct map_node *map_first(const struct map *m, uint64_t hash)
{
	return m->slot_count ? map_match(m->slots[hash & (m->slot_count - 1)], hash) : NULL;
}

struct map_node *map_next(const struct map_node *node)
{
	return map_match(node->next, node->hash);
}

void map_remove(struct map *m, struct map_node *node)
{
	ASSERT(m->slot_count);
	struct map_node **at = &m->slots[node->hash & (m->slot_count - 1)];
	while (*at && *at != node)
		at = &(*at)->next;
	ASSERT(*at == node);
	*at = node->next;
	m->count--;
}

/* A multiply-xor hash in the manner of FNV with a stronger finish: fast for short keys. */
uint64_t hash_bytes(uint64_t seed, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;
	uint64_t h = seed ^ (0x9e3779b97f4a7c15ull * (len + 1));
	for (size_t i = 0; i < len; i++) {
		h ^= p[i];
		h *= 0x100000001b3ull;
		h ^= h >> 29;
	}
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ull;
	return h ^ (h >> 32);
}
