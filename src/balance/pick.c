/* SPDX-License-Identifier: Apache-2.0 */
/* Four classes of endpoints, by how much they are wanted: those that were not tried yet before
 * those that were, in each of them up before down before drained. Within the best class that has
 * any, a draw by weight. */
#include "balance/pick.h"

enum pick_class {
	PICK_UP,
	PICK_DOWN,
	PICK_DRAINED,
	PICK_TRIED, /* and the same again, of those that were tried */
	PICK_CLASS_COUNT = 2 * PICK_TRIED
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
	return class;
}

const struct endpoint *pick_endpoint(const struct service *service,
	const struct endpoint *const *tried, uint32_t tried_count, uint64_t random)
{
	uint64_t weights[PICK_CLASS_COUNT] = {0};
	for (uint32_t i = 0; i < service->endpoint_count; i++) {
		const struct endpoint *e = &service->endpoints[i];
		weights[pick_class_of(e, tried, tried_count)] += e->weight;
	}
	unsigned class = 0;
	while (class < PICK_CLASS_COUNT && weights[class] == 0)
		class ++;
	if (class == PICK_CLASS_COUNT)
		return NULL;
	/* the upper half of a product: as good as a division, for sums this small */
	uint64_t left = (uint64_t)((unsigned __int128)random * weights[class] >> 64);
	for (uint32_t i = 0; i < service->endpoint_count; i++) {
		const struct endpoint *e = &service->endpoints[i];
		if (pick_class_of(e, tried, tried_count) != class)
			continue;
		if (left < e->weight)
			return e;
		left -= e->weight;
	}
	return NULL;
}
