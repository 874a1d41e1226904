/* SPDX-License-Identifier: Apache-2.0 */
/* A byte queue of fixed size: written at the end, read from the start. The memory comes from a
 * buf_pool and is held only while there are bytes, so an idle connection holds none. */
#pragma once

#include "base/assert.h"
#include "base/list.h"
#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Blocks of one size, kept for reuse, with a cap on how many are out at once. One per worker; no
 * locks. */
struct buf_pool {
	struct list idle;
	uint32_t block_bytes;
	uint32_t block_count; /* out with users */
	uint32_t block_count_max;
	uint32_t idle_count;
	uint32_t idle_count_max; /* more than this go back to malloc */
	struct buf_pool *large;	 /* of larger blocks for bufs of this pool, or NULL */
	struct buf_pool *home;	 /* of a large pool: the one it belongs to */
};

void buf_pool_init(struct buf_pool *pool, uint32_t block_bytes, uint32_t block_count_max);
/* Makes `large` the pool of larger blocks for the bufs of `pool`; few are kept for reuse. */
void buf_pool_init_large(struct buf_pool *large, struct buf_pool *pool, uint32_t block_bytes,
	uint32_t block_count_max);
/* Every block must have been given back. */
void buf_pool_done(struct buf_pool *pool);

struct buf {
	struct buf_pool *pool;
	uint8_t *bytes; /* NULL while empty and released */
	uint32_t start, end;
};

void buf_init(struct buf *b, struct buf_pool *pool);
/* Gives the block back, whatever it holds. A large one was for once: the next is of the buf's own
 * pool again. */
void buf_clear(struct buf *b);
/* Gets a block if there is none. False: the pool's cap is reached. */
bool buf_hold(struct buf *b) MUST_CHECK;
/* Gets a large block; false when the buf has a block already, or none is to be had. */
bool buf_hold_large(struct buf *b);
static inline bool buf_is_large(const struct buf *b)
{
	return b->pool->home != NULL;
}
void buf_swap(struct buf *a, struct buf *b);
/* Gives the block back if it holds no bytes. */
void buf_release_if_empty(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}

/* NULL when it has no block: not even 0 may be added to that. */
static inline uint8_t *buf_at(const struct buf *b)
{
	return b->start > 0 ? b->bytes + b->start : b->bytes;
}

/* Room for more bytes, after moving what is left to the front; 0 when the pool is exhausted. */
size_t buf_space(struct buf *b);
/* Appends all or nothing; false when it does not fit. */
bool buf_put(struct buf *b, const void *bytes, size_t len) MUST_CHECK;
/* Appends as much as fits and returns how much that was. */
size_t buf_fill(struct buf *b, const void *bytes, size_t len);
/* The place for `buf_space()` bytes to be written directly, then taken with buf_wrote(). */
uint8_t *buf_tail(struct buf *b);
void buf_wrote(struct buf *b, size_t len);
void buf_consume(struct buf *b, size_t len);
