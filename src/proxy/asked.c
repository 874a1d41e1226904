/* SPDX-License-Identifier: Apache-2.0 */
#include "asked.h"

#include "base/assert.h"
#include <stdlib.h>

/* Blocks grow by so much, that requests which are nearly alike take no memory anew. */
#define ASKED_STEP_BYTES 256

struct asked {
	size_t size;
	bool is_kept;
	struct route_request request;
	_Alignas(16) unsigned char bytes[]; /* the headers, then all text */
};

static size_t asked_bytes(const struct route_request *r)
{
	size_t bytes = r->header_count * sizeof(struct route_header) + r->source_id.len +
		       r->method.len + r->path.len + r->authority.len;
	for (uint32_t i = 0; i < r->header_count; i++) {
		const struct route_header *h = route_header_at(r, i);
		bytes += h->name.len + h->value.len;
	}
	return bytes;
}

static struct asked *asked_room(struct asked *a, size_t bytes)
{
	if (a && a->size >= bytes)
		return a;
	size_t size = (bytes + ASKED_STEP_BYTES - 1) / ASKED_STEP_BYTES * ASKED_STEP_BYTES;
	free(a);
	a = malloc(sizeof(*a) + size);
	if (a)
		a->size = size;
	return a;
}

static struct str asked_copy(unsigned char **at, struct str text)
{
	struct str copy = {(const char *)*at, text.len};
	if (text.len > 0)
		memcpy(*at, text.at, text.len);
	*at += text.len;
	return copy;
}

void asked_keep(struct asked **a, const struct route_request *request)
{
	size_t bytes = asked_bytes(request);
	if (*a)
		(*a)->is_kept = false;
	if (bytes > ASKED_BYTES_MAX)
		return;
	*a = asked_room(*a, bytes);
	if (!*a)
		return;
	struct route_header *headers = (struct route_header *)(void *)(*a)->bytes;
	unsigned char *at = (*a)->bytes + request->header_count * sizeof(*headers);
	struct route_request *kept = &(*a)->request;
	*kept = (struct route_request){.is_http = true,
		.source_id = asked_copy(&at, request->source_id),
		.method = asked_copy(&at, request->method),
		.path = asked_copy(&at, request->path),
		.authority = asked_copy(&at, request->authority),
		.headers = headers,
		.header_bytes = sizeof(*headers),
		.header_count = request->header_count};
	for (uint32_t i = 0; i < request->header_count; i++) {
		const struct route_header *h = route_header_at(request, i);
		headers[i].name = asked_copy(&at, h->name);
		headers[i].value = asked_copy(&at, h->value);
	}
	ASSERT(at == (*a)->bytes + bytes);
	(*a)->is_kept = true;
}

const struct route_request *asked_last(const struct asked *a)
{
	return a && a->is_kept ? &a->request : NULL;
}

void asked_free(struct asked *a)
{
	free(a);
}
