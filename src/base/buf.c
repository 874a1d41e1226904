/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdlib.h>

#define BUF_IDLE_COUNT_MAX 256
#define BUF_IDLE_LARGE_MAX 4

void buf_pool_init(struct buf_pool *pool, uint32_t block_bytes, uint32_t block_count_max)
{
	ASSERT(block_bytes >= sizeof(struct list));
	list_init(&pool->idle);
	pool->block_bytes = block_bytes;
	pool->block_count = 0;
	pool->block_count_max = block_count_max;
	pool->idle_count = 0;
	pool->idle_count_max = BUF_IDLE_COUNT_MAX;
	pool->large = pool->home = NULL;
}

void buf_pool_init_large(struct buf_pool *large, struct buf_pool *pool, uint32_t block_bytes,
	uint32_t block_count_max)
{
	buf_pool_init(large, block_bytes, block_count_max);
	large->idle_count_max = BUF_IDLE_LARGE_MAX;
	large->home = pool;
	pool->large = large;
}

void buf_pool_done(struct buf_pool *pool)
{
	ASSERT(pool->block_count == 0);
	struct list *node;
	while ((node = list_pop(&pool->idle)))
		free(node);
	pool->idle_count = 0;
}

static void *buf_pool_take(struct buf_pool *pool)
{
	if (pool->block_count >= pool->block_count_max)
		return NULL;
	void *block = list_pop(&pool->idle);
	if (block)
		pool->idle_count--;
	else
		block = malloc(pool->block_bytes);
	if (block)
		pool->block_count++;
	return block;
}

static void buf_pool_put(struct buf_pool *pool, void *block)
{
	ASSERT(pool->block_count > 0);
	pool->block_count--;
	if (pool->idle_count >= pool->idle_count_max) {
		free(block);
		return;
	}
	list_init(block);
	list_add_first(&pool->idle, block);
	pool->idle_count++;
}

void buf_init(struct buf *b, struct buf_pool *pool)
{
	b->pool = pool;
	b->bytes = NULL;
	b->start = b->end = 0;
}

void buf_clear(struct buf *b)
{
	if (b->bytes)
		buf_pool_put(b->pool, b->bytes);
	if (buf_is_large(b))
		b->pool = b->pool->home;
	b->bytes = NULL;
	b->start = b->end = 0;
}

bool buf_hold_large(struct buf *b)
{
	if (b->bytes || !b->pool->large)
		return false;
	b->bytes = buf_pool_take(b->pool->large);
	if (b->bytes)
		b->pool = b->pool->large;
	return b->bytes != NULL;
}

bool buf_hold(struct buf *b)
{
	if (!b->bytes)
		b->bytes = buf_pool_take(b->pool);
	return b->bytes != NULL;
}

void buf_swap(struct buf *a, struct buf *b)
{
	struct buf t = *a;
	*a = *b;
	*b = t;
}

void buf_release_if_empty(struct buf *b)
{
	if (buf_len(b) == 0)
		buf_clear(b);
}

size_t buf_space(struct buf *b)
{
	if (!buf_hold(b))
		return 0;
	if (b->start > 0) {
		memmove(b->bytes, b->bytes + b->start, buf_len(b));
		b->end -= b->start;
		b->start = 0;
	}
	return b->pool->block_bytes - b->end;
}

bool buf_put(struct buf *b, const void *bytes, size_t len)
{
	if (len == 0)
		return true;
	if (buf_space(b) < len)
		return false;
	memcpy(b->bytes + b->end, bytes, len);
	b->end += (uint32_t)len;
	return true;
}

size_t buf_fill(struct buf *b, const void *bytes, size_t len)
{
	if (len == 0)
		return 0;
	size_t space = buf_space(b);
	size_t n = len < space ? len : space;
	if (n > 0)
		memcpy(b->bytes + b->end, bytes, n);
	b->end += (uint32_t)n;
	return n;
}

uint8_t *buf_tail(struct buf *b)
{
	ASSERT(b->bytes);
	return b->bytes + b->end;
}

void buf_wrote(struct buf *b, size_t len)
{
	ASSERT(b->bytes && len <= b->pool->block_bytes - b->end);
	b->end += (uint32_t)len;
}

void buf_consume(struct buf *b, size_t len)
{
	ASSERT(len <= buf_len(b));
	b->start += (uint32_t)len;
	if (b->start == b->end)
		b->start = b->end = 0;
}
