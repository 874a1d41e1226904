/* SPDX-License-Identifier: Apache-2.0 */
#include "balance/wheel.h"

#include <stdlib.h>

struct wheel {
	uint32_t ref_count;
	uint64_t print;
	uint32_t point_count;
	uint64_t *points;  /* ascending: the place in the upper half, the index in the lower */
	uint16_t *slots;   /* of places among the members; NULL: it is a circle */
	uint32_t *indexes; /* of the members, by that place */
	uint32_t member_count;
};

/* (splitmix64) */
static uint64_t wheel_mix(uint64_t z)
{
	z += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* The number-th of a family of numbers that have nothing to do with each other. */
static uint64_t wheel_number(uint64_t key, uint32_t number)
{
	return wheel_mix(key ^ wheel_mix(number));
}

uint64_t wheel_print(enum balance kind, const struct wheel_member *members, uint32_t count)
{
	return hash_bytes(kind, members, count * sizeof(*members));
}

uint64_t wheel_print_of(const struct wheel *w)
{
	return w->print;
}

static int wheel_compare(const void *a, const void *b)
{
	const struct wheel_member *x = a, *y = b;
	return x->key < y->key ? -1 : x->key > y->key;
}

/* --- circle --- */

static uint64_t wheel_scaled(uint64_t weight, int scale)
{
	uint64_t points = scale >= 0 ? weight << scale : weight >> -scale;
	return points > 0 ? points : 1;
}

/* Twice or half as many, never anything between: so the number of an endpoint's points seldom
 * changes when others come and go, and then those that it had are among the new ones. */
static int wheel_scale(const struct wheel_member *members, uint32_t count)
{
	uint64_t sum = 0, max = 1024 * (uint64_t)count;
	int scale = 10;
	for (uint32_t i = 0; i < count; i++)
		sum += members[i].weight;
	if (max > WHEEL_POINTS_MAX)
		max = WHEEL_POINTS_MAX;
	while (scale > -10 && wheel_scaled(sum, scale) > max)
		scale--;
	return scale;
}

/* By the upper halves (radix sort); those alike stay in their order. */
static bool wheel_sort(uint64_t *points, uint32_t count)
{
	uint64_t *other = malloc(count * sizeof(*other));
	if (!other)
		return false;
	for (int shift = 32; shift < 64; shift += 8) {
		uint32_t starts[257] = {0};
		for (uint32_t i = 0; i < count; i++)
			starts[(points[i] >> shift & 255) + 1]++;
		for (int digit = 0; digit < 256; digit++)
			starts[digit + 1] += starts[digit];
		for (uint32_t i = 0; i < count; i++)
			other[starts[points[i] >> shift & 255]++] = points[i];
		memcpy(points, other, count * sizeof(*points));
	}
	free(other);
	return true;
}

static bool wheel_make_circle(struct wheel *w, const struct wheel_member *members, uint32_t count)
{
	int scale = wheel_scale(members, count);
	uint64_t total = 0;
	for (uint32_t i = 0; i < count; i++)
		total += wheel_scaled(members[i].weight, scale);
	w->points = malloc(total * sizeof(*w->points));
	if (!w->points)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t own = wheel_scaled(members[i].weight, scale);
		for (uint32_t k = 0; k < own; k++)
			w->points[w->point_count++] =
				(wheel_number(members[i].key, k) & ~UINT64_C(0xffffffff)) |
				members[i].index;
	}
	return wheel_sort(w->points, w->point_count);
}

static uint32_t wheel_on_circle(const struct wheel *w, uint64_t hash, uint32_t attempt)
{
	uint32_t low = 0, high = w->point_count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (w->points[middle] >> 32 >= hash >> 32)
			high = middle;
		else
			low = middle + 1;
	}
	return (uint32_t)w->points[((uint64_t)low + attempt) % w->point_count];
}

/* --- table --- */

/* An endpoint's walk over all slots. */
struct wheel_walk {
	uint32_t at, step;
	uint32_t credit; /* of its weight: whoever has the largest takes one slot each time */
};

static void wheel_claim(struct wheel *w, struct wheel_walk *walk, bool *is_taken, uint32_t place)
{
	while (is_taken[walk->at])
		walk->at = (walk->at + walk->step) % WHEEL_SLOTS;
	is_taken[walk->at] = true;
	w->slots[walk->at] = (uint16_t)place;
}

static void wheel_fill(struct wheel *w, const struct wheel_member *members, uint32_t count,
	struct wheel_walk *walks, bool *is_taken)
{
	uint32_t largest = 1, left = WHEEL_SLOTS;
	for (uint32_t i = 0; i < count; i++) {
		walks[i].at = (uint32_t)(wheel_number(members[i].key, 0) % WHEEL_SLOTS);
		walks[i].step = (uint32_t)(wheel_number(members[i].key, 1) % (WHEEL_SLOTS - 1)) + 1;
		largest = members[i].weight > largest ? members[i].weight : largest;
	}
	while (left > 0) {
		for (uint32_t i = 0; i < count && left > 0; i++) {
			walks[i].credit += members[i].weight;
			if (walks[i].credit < largest)
				continue;
			walks[i].credit -= largest;
			wheel_claim(w, &walks[i], is_taken, i);
			left--;
		}
	}
}

static bool wheel_make_table(struct wheel *w, const struct wheel_member *members, uint32_t count)
{
	struct wheel_walk *walks = calloc(count, sizeof(*walks));
	bool *is_taken = calloc(WHEEL_SLOTS, sizeof(*is_taken));
	w->slots = malloc(WHEEL_SLOTS * sizeof(*w->slots));
	w->indexes = malloc(count * sizeof(*w->indexes));
	bool fits = walks && is_taken && w->slots && w->indexes;
	for (uint32_t i = 0; fits && i < count; i++)
		w->indexes[i] = members[i].index;
	w->member_count = count;
	if (fits)
		wheel_fill(w, members, count, walks, is_taken);
	free(walks);
	free(is_taken);
	return fits;
}

/* --- life --- */

struct wheel *wheel_new(enum balance kind, struct wheel_member *members, uint32_t count)
{
	struct wheel *w = calloc(1, sizeof(*w));
	ASSERT(count > 0);
	if (!w)
		return NULL;
	w->ref_count = 1;
	w->print = wheel_print(kind, members, count);
	qsort(members, count, sizeof(*members), wheel_compare);
	bool is_table = kind == BALANCE_MAGLEV && count <= WHEEL_SLOT_MEMBERS_MAX;
	if (is_table ? wheel_make_table(w, members, count) : wheel_make_circle(w, members, count))
		return w;
	wheel_unref(w);
	return NULL;
}

struct wheel *wheel_ref(struct wheel *w)
{
	w->ref_count++;
	return w;
}

void wheel_unref(struct wheel *w)
{
	if (!w || --w->ref_count > 0)
		return;
	free(w->points);
	free(w->slots);
	free(w->indexes);
	free(w);
}

size_t wheel_bytes(const struct wheel *w)
{
	return sizeof(*w) + w->point_count * sizeof(*w->points) +
	       (w->slots ? WHEEL_SLOTS * sizeof(*w->slots) + w->member_count * sizeof(*w->indexes)
			 : 0);
}

uint32_t wheel_at(const struct wheel *w, uint64_t value, uint32_t attempt)
{
	if (!w->slots)
		return wheel_on_circle(w, wheel_mix(value), attempt);
	uint64_t hash = wheel_number(value, attempt);
	return w->indexes[w->slots[(unsigned __int128)hash * WHEEL_SLOTS >> 64]];
}
