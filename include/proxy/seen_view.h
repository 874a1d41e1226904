/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker has let in to this machine's workloads, by who called and what was asked: a copy
 * for whoever makes policies of it. Paths are general: ids in them are "{id}", and of callers who
 * ask for many paths there are only beginnings ("/img/" + "*"), at worst "/" + "*" with any method.
 */
#pragma once

#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

#define SEEN_KEYS_MAX 4096
/* Bytes of a caller, and of all four texts together. */
#define SEEN_SOURCE_MAX 160
#define SEEN_PATH_MAX	128
#define SEEN_TEXT_MAX	376

struct seen_entry {
	uint64_t count;
	uint16_t port; /* of the workload */
	bool is_http;  /* else opaque bytes, without method and path */
	uint8_t source_len, service_len, method_len, path_len;
	char text[SEEN_TEXT_MAX]; /* the four of them */
};
/* A SPIFFE id, or the range of addresses of a caller without identity: "10.1.2.0/24". */
static inline struct str seen_source(const struct seen_entry *e)
{
	return (struct str){e->text, e->source_len};
}
static inline struct str seen_service(const struct seen_entry *e)
{
	return (struct str){e->text + e->source_len, e->service_len};
}
/* Empty: any. */
static inline struct str seen_method(const struct seen_entry *e)
{
	return (struct str){e->text + e->source_len + e->service_len, e->method_len};
}
static inline struct str seen_path(const struct seen_entry *e)
{
	size_t before = (size_t)e->source_len + e->service_len + e->method_len;
	return (struct str){e->text + before, e->path_len};
}

struct seen_view {
	uint64_t since_wall_ns;
	uint64_t let_in; /* requests and opaque connections */
	uint64_t coarse; /* of these, in entries of any method and path for want of room */
	uint64_t lost;	 /* in none: no room, or no policy can say it */
	uint32_t count;
	struct seen_entry entries[SEEN_KEYS_MAX];
};
