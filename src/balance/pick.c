/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of endpoints, by how much they are wanted: instances before their other addresses before
 * what was tried, in each of them up before down before drained. Within the best class that has
 * any, a draw by weight: by the sums that the snapshot brings along, or, when these do not tell
 * because something was tried or nothing is up, by looking at all. */
#include "balance/pick.h"

enum pick_class {
	PICK_UP,
	PICK_DOWN,
	PICK_DRAINED,
	PICK_ALTERNATE, /* and the same again, of other addresses, and of those that were tried */
	PICK_TRIED = 2 * PICK_ALTERNATE,
	PICK_CLASS_COUNT = 3 * PICK_ALTERNATE
};

static enum pick_class pick_class_of(
	const struct endpoint *e, const struct endpoint *const *tried, uint32_t tried_count)
{
	enum pick_class class = PICK_UP;
	switch (e->health) {
	case ENDPOINT_UP:
		break;
	case ENDPOINT_DOWN:
		class = PICK_DOWN;
		break;
	case ENDPOINT_DRAINED:
		class = PICK_DRAINED;
		break;
	}
	for (uint32_t i = 0; i < tried_count; i++) {
		if (tried[i] == e)
			return class + PICK_TRIED;
	}
	return e->alternate ? class + PICK_ALTERNATE : class;
}

/* The upper half of a product: as good as a division, for sums this small. */
static uint64_t pick_draw(uint64_t random, uint64_t sum)
{
	return (uint64_t)((unsigned __int128)random * sum >> 64);
}

/* What is picked from. */
struct pick_set {
	const struct endpoint *all;   /* `count` of them in a row, or: */
	struct endpoint *const *some; /* so many pointers */
	uint32_t count;
	const uint64_t *up_sums;
};

static struct pick_set pick_set_of(const struct service *service, const struct subset *subset)
{
	if (subset)
		return (struct pick_set){.some = subset->endpoints,
			.count = subset->endpoint_count,
			.up_sums = subset->up_sums};
	return (struct pick_set){.all = service->endpoints,
		.count = service->endpoint_count,
		.up_sums = service->up_sums};
}

static const struct endpoint *pick_at(const struct pick_set *set, uint32_t index)
{
	return set->some ? set->some[index] : &set->all[index];
}

/* The first whose sum is beyond the draw. */
static const struct endpoint *pick_by_sums(const struct pick_set *set, uint64_t random)
{
	uint32_t low = 0, high = set->count - 1;
	uint64_t draw = pick_draw(random, set->up_sums[high]);
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (set->up_sums[middle] > draw)
			high = middle;
		else
			low = middle + 1;
	}
	return pick_at(set, low);
}

static const struct endpoint *pick_by_class(const struct pick_set *set,
	const struct endpoint *const *tried, uint32_t tried_count, uint64_t random)
{
	uint64_t weights[PICK_CLASS_COUNT] = {0};
	for (uint32_t i = 0; i < set->count; i++) {
		const struct endpoint *e = pick_at(set, i);
		weights[pick_class_of(e, tried, tried_count)] += e->weight;
	}
	unsigned class = 0;
	while (class < PICK_CLASS_COUNT && weights[class] == 0)
		class ++;
	if (class == PICK_CLASS_COUNT)
		return NULL;
	uint64_t left = pick_draw(random, weights[class]);
	for (uint32_t i = 0; i < set->count; i++) {
		const struct endpoint *e = pick_at(set, i);
		if (pick_class_of(e, tried, tried_count) != class)
			continue;
		if (left < e->weight)
			return e;
		left -= e->weight;
	}
	return NULL;
}

const struct endpoint *pick_endpoint(const struct service *service, const struct subset *subset,
	const struct endpoint *const *tried, uint32_t tried_count, uint64_t random)
{
	struct pick_set set = pick_set_of(service, subset);
	if (tried_count == 0 && set.count > 0 && set.up_sums && set.up_sums[set.count - 1] > 0)
		return pick_by_sums(&set, random);
	return pick_by_class(&set, tried, tried_count, random);
}
