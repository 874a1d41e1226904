/* SPDX-License-Identifier: Apache-2.0 */
/* How an index is made: entries first, which say what lies where, and then tables of them. */
#pragma once

#include "policy_index.h"

/* What of a rule goes into one list of one place. */
struct policy_entry {
	uint64_t place, list; /* list 0: ALWAYS, MANY */
	struct policy_hit hit;
	const struct policy *policy;
	enum policy_list_kind kind;
	enum policy_by by;
	uint32_t depth; /* BELOW; of SHAPED and SPELT which shape */
	uint32_t start; /* SHAPED: depth of what comes before the first brace */
	bool is_odd;	/* in the place of an odd path, where one of a rule's templates is enough */
	bool is_door;	/* it lies in a place behind that list */
};

struct policy_build {
	struct policy_entry *entries; /* NULL: they are counted */
	size_t count;
	uint64_t *keys; /* of all items of all rules, sorted */
	size_t key_count;
	/* Of the rule at hand: how many lie by the same, and whether it has few items. */
	uint32_t shares[POLICY_BYS];
	bool has_few;
	struct address_range ranges[33 + 129];
	uint32_t range_count, under;
	uint32_t shapes[POLICY_SHAPES_MAX], shape_count;
};

/* --- policy_choice.c --- */

uint32_t policy_item_count(const struct policy *p, enum policy_by by);
/* Of all kinds. */
size_t policy_items_of(const struct policy *p);
/* Under what one of them lies; false: it cannot be told. */
bool policy_entry_of(struct policy_build *b, const struct policy *p, enum policy_by by, uint32_t i,
	struct policy_entry *entry);
/* Counts how many rules lie by the same, of which `shares` are. False: no memory. */
bool policy_keys_collect(struct policy_build *b, const struct service *service);
void policy_share_of(struct policy_build *b, const struct policy *p);
/* How many there are by one key. */
size_t policy_key_share(const struct policy_build *b, uint64_t key);
/* POLICY_BYS: by none of those that are left (bit by POLICY_BY). */
enum policy_by policy_choose(const struct policy_build *b, uint32_t left);

/* --- policy_table.c --- */

/* Sorts the entries. NULL: no memory. */
struct policy_index *policy_index_new(
	struct arena *arena, const struct service *service, struct policy_build *b);
