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

/* The first whose sum is beyond the draw. */
static const struct endpoint *pick_by_sums(const struct service *service, uint64_t random)
{
	uint32_t low = 0, high = service->endpoint_count - 1;
	uint64_t draw = pick_draw(random, service->up_sums[high]);
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (service->up_sums[middle] > draw)
			high = middle;
		else
			low = middle + 1;
	}
	return &service->endpoints[low];
}

const struct endpoint *pick_endpoint(const struct service *service,
	const struct endpoint *const *tried, uint32_t tried_count, uint64_t random)
{
	uint64_t weights[PICK_CLASS_COUNT] = {0};
	uint32_t count = service->endpoint_count;
	if (tried_count == 0 && count > 0 && service->up_sums && service->up_sums[count - 1] > 0)
		return pick_by_sums(service, random);
	for (uint32_t i = 0; i < count; i++) {
		const struct endpoint *e = &service->endpoints[i];
		weights[pick_class_of(e, tried, tried_count)] += e->weight;
	}
	unsigned class = 0;
	while (class < PICK_CLASS_COUNT && weights[class] == 0)
		class ++;
	if (class == PICK_CLASS_COUNT)
		return NULL;
	uint64_t left = pick_draw(random, weights[class]);
	for (uint32_t i = 0; i < count; i++) {
		const struct endpoint *e = &service->endpoints[i];
		if (pick_class_of(e, tried, tried_count) != class)
			continue;
		if (left < e->weight)
			return e;
		left -= e->weight;
	}
	return NULL;
}
