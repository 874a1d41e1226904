/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_CHUNK_BYTES 4096

struct arena_chunk {
	struct arena_chunk *next;
	size_t size, used;
	_Alignas(16) unsigned char bytes[];
};

void arena_init(struct arena *a, size_t max_bytes)
{
	a->chunks = NULL;
	a->used_bytes = 0;
	a->max_bytes = max_bytes;
}

void arena_done(struct arena *a)
{
	struct arena_chunk *chunk = a->chunks;
	while (chunk) {
		struct arena_chunk *next = chunk->next;
		free(chunk);
		chunk = next;
	}
	a->chunks = NULL;
	a->used_bytes = 0;
}

static struct arena_chunk *arena_grow(struct arena *a, size_t bytes)
{
	size_t size = bytes > ARENA_CHUNK_BYTES ? bytes : ARENA_CHUNK_BYTES;
	struct arena_chunk *chunk = malloc(sizeof(*chunk) + size);
	if (!chunk)
		return NULL;
	chunk->size = size;
	chunk->used = 0;
	chunk->next = a->chunks;
	a->chunks = chunk;
	return chunk;
}

void *arena_take(struct arena *a, size_t bytes)
{
	if (bytes > a->max_bytes)
		return NULL;
	bytes = (bytes + 15) & ~(size_t)15;
	if (a->used_bytes + bytes > a->max_bytes)
		return NULL;
	struct arena_chunk *chunk = a->chunks;
	if (!chunk || chunk->size - chunk->used < bytes)
		chunk = arena_grow(a, bytes);
	if (!chunk)
		return NULL;
	void *p = chunk->bytes + chunk->used;
	chunk->used += bytes;
	a->used_bytes += bytes;
	memset(p, 0, bytes);
	return p;
}

struct str arena_str(struct arena *a, struct str s)
{
	char *copy = arena_take(a, s.len + 1);
	if (!copy)
		return STR_NONE;
	if (s.len > 0)
		memcpy(copy, s.at, s.len);
	return (struct str){copy, s.len};
}

struct str arena_printf(struct arena *a, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	char *text = len < 0 ? NULL : arena_take(a, (size_t)len + 1);
	if (!text)
		return STR_NONE;
	va_start(args, format);
	vsnprintf(text, (size_t)len + 1, format, args);
	va_end(args);
	return (struct str){text, (size_t)len};
}
