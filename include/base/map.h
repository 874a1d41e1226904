/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive hash map: the node lives in its owner, the caller compares keys. Grows by doubling. */
#pragma once

#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_node {
	struct map_node *next;
	uint64_t hash;
};

struct map {
	struct map_node **slots;
	size_t slot_count; /* a power of two, or 0 */
	size_t count;
};

void map_init(struct map *m);
/* Frees the slots, not the nodes. */
void map_done(struct map *m);
/* False when memory is exhausted (the node is not added). */
bool map_add(struct map *m, struct map_node *node, uint64_t hash);
/* First node with this hash, then the further ones: the caller compares keys. NULL at the end. */
struct map_node *map_first(const struct map *m, uint64_t hash);
struct map_node *map_next(const struct map_node *node);
/* The node must be in the map. */
void map_remove(struct map *m, struct map_node *node);

/* Keyed by a per-process random seed, so that a peer cannot choose collisions. */
uint64_t hash_bytes(uint64_t seed, const void *bytes, size_t len);
