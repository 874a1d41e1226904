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
	*a = (struct arena){.max_bytes = max_bytes};
}

void arena_lend(struct arena *a, void *memory, size_t bytes)
{
	a->first = memory;
	a->first_bytes = bytes;
}

void arena_done(struct arena *a)
{
	struct arena_chunk *chunk = a->chunks;
	while (chunk) {
		struct arena_chunk *next = chunk->next;
		free(chunk);
		chunk = next;
	}
	arena_init(a, a->max_bytes);
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

static void *arena_take_first(struct arena *a, size_t bytes)
{
	void *p = a->first;
	a->first += bytes;
	a->first_bytes -= bytes;
	return p;
}

static void *arena_take_chunk(struct arena *a, size_t bytes)
{
	struct arena_chunk *chunk = a->chunks;
	if (!chunk || chunk->size - chunk->used < bytes)
		chunk = arena_grow(a, bytes);
	if (!chunk)
		return NULL;
	void *p = chunk->bytes + chunk->used;
	chunk->used += bytes;
	return p;
}

/* Not zeroed. */
static void *arena_take_used(struct arena *a, size_t bytes)
{
	if (bytes > a->max_bytes)
		return NULL;
	bytes = (bytes + 15) & ~(size_t)15;
	if (a->used_bytes + bytes > a->max_bytes)
		return NULL;
	void *p = a->first_bytes >= bytes ? arena_take_first(a, bytes) : arena_take_chunk(a, bytes);
	if (p)
		a->used_bytes += bytes;
	return p;
}

void *arena_take(struct arena *a, size_t bytes)
{
	void *p = arena_take_used(a, bytes);
	if (p)
		memset(p, 0, bytes);
	return p;
}

struct str arena_str(struct arena *a, struct str s)
{
	return arena_join(a, &s, 1);
}

struct str arena_join(struct arena *a, const struct str *parts, size_t part_count)
{
	size_t len = 0;
	for (size_t i = 0; i < part_count; i++)
		len += parts[i].len;
	char *text = arena_take_used(a, len + 1), *at = text;
	if (!text)
		return STR_NONE;
	for (size_t i = 0; i < part_count; i++) {
		if (parts[i].len > 0)
			memcpy(at, parts[i].at, parts[i].len);
		at += parts[i].len;
	}
	*at = '\0';
	return (struct str){text, len};
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
