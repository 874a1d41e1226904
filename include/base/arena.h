/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is given back all at once: for one exchange's text or one configuration. Grows by
 * chunks up to a cap, after what its owner gave it to begin with. */
#pragma once

#include "base/str.h"
#include <stddef.h>

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks;
	unsigned char *first; /* the owner's, unused part */
	size_t first_bytes;
	size_t used_bytes; /* given out in all */
	size_t max_bytes;
};

void arena_init(struct arena *a, size_t max_bytes);
/* Before anything is taken: memory of the owner's, aligned to 16, to be used first. */
void arena_lend(struct arena *a, void *memory, size_t bytes);
/* Frees everything; the arena can be used again. */
void arena_done(struct arena *a);
/* Zeroed, aligned to 16; NULL when the cap or the memory is exhausted. */
void *arena_take(struct arena *a, size_t bytes);
/* A copy with a NUL behind it (not counted in len); at == NULL on exhaustion. */
struct str arena_str(struct arena *a, struct str s);
/* Some texts one after the other, with a NUL behind them. */
struct str arena_join(struct arena *a, const struct str *parts, size_t part_count);
struct str arena_printf(struct arena *a, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
