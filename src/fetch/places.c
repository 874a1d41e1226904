/* SPDX-License-Identifier: Apache-2.0 */
#include "places.h"

#include "base/clock.h"
#include <stdio.h>
#include <stdlib.h>

static int fetch_places_compare(const void *a, const void *b)
{
	const struct fetch_place *one = a, *two = b;
	if (one->at.family != two->at.family)
		return one->at.family < two->at.family ? -1 : 1;
	return memcmp(one->at.ip, two->at.ip, sizeof(one->at.ip));
}

static void fetch_places_forget(struct fetch_places *p, uint64_t now_ns)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < p->count; i++) {
		if (now_ns - p->at[i].found_ns < FETCH_HOST_KEPT_MS * CLOCK_MS)
			p->at[kept++] = p->at[i];
	}
	p->count = kept;
}

/* That of the address; a new one; or, when there are too many, the one that was not found for the
 * longest time. */
static struct fetch_place *fetch_places_place(struct fetch_places *p, const struct address *a)
{
	struct fetch_place *oldest = &p->at[0];
	for (uint32_t i = 0; i < p->count; i++) {
		if (address_same_ip(&p->at[i].at, a))
			return &p->at[i];
		if (p->at[i].found_ns < oldest->found_ns)
			oldest = &p->at[i];
	}
	return p->count < FETCH_HOST_ADDRESSES_MAX ? &p->at[p->count++] : oldest;
}

void fetch_places_found(
	struct fetch_places *p, const struct address *found, uint32_t count, uint64_t now_ns)
{
	fetch_places_forget(p, now_ns);
	for (uint32_t i = 0; i < count; i++)
		*fetch_places_place(p, &found[i]) = (struct fetch_place){found[i], now_ns};
	qsort(p->at, p->count, sizeof(p->at[0]), fetch_places_compare);
}

size_t fetch_places_text(const struct fetch_places *p, char ret_text[FETCH_PLACES_TEXT_MAX])
{
	char one[ADDRESS_TEXT_MAX];
	size_t len = 0;
	for (uint32_t i = 0; i < p->count; i++)
		len += (size_t)snprintf(ret_text + len, FETCH_PLACES_TEXT_MAX - len, "%s\n",
			address_ip_text(&p->at[i].at, one));
	return len;
}

void fetch_places_recall(struct fetch_places *p, struct str text, uint64_t now_ns)
{
	while (text.len > 0) {
		const char *end = memchr(text.at, '\n', text.len);
		struct str line = {text.at, end ? (size_t)(end - text.at) : text.len};
		struct address a;
		if (address_parse(line, &a))
			fetch_places_found(p, &a, 1, now_ns);
		text = (struct str){
			text.at + line.len + (end != NULL), text.len - line.len - (end != NULL)};
	}
}
