/* SPDX-License-Identifier: Apache-2.0 */
/* Where a host was lately found. Resolvers give a few of many addresses in turns: what they say
 * adds up, and is no news in another order. Pure. */
#pragma once

#include "fetch/fetch.h"
#include "fetch/lookup.h"

#define FETCH_HOST_KEPT_MS 120000 /* an address that is not found any more */

struct fetch_place {
	struct address at;
	uint64_t found_ns; /* last */
};

struct fetch_places {
	struct fetch_place at[FETCH_HOST_ADDRESSES_MAX]; /* in one order */
	uint32_t count;
};

/* It was found there, and is not any more where it was found for the last time too long ago. Of too
 * many, those go first. */
void fetch_places_found(
	struct fetch_places *p, const struct address *found, uint32_t count, uint64_t now_ns);
/* One to a line. Returns the length. */
#define FETCH_PLACES_TEXT_MAX (FETCH_HOST_ADDRESSES_MAX * ADDRESS_TEXT_MAX)
size_t fetch_places_text(const struct fetch_places *p, char ret_text[FETCH_PLACES_TEXT_MAX]);
/* What another process wrote so: found now. */
void fetch_places_recall(struct fetch_places *p, struct str text, uint64_t now_ns);
