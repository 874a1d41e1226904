/* SPDX-License-Identifier: Apache-2.0 */
/* Few policies that allow what was seen. Pure. */
#pragma once

#include "base/arena.h"
#include "base/assert.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* One thing that somebody did, any number of times. Texts are the caller's. */
struct suggest_seen {
	struct str service, from;
	uint16_t port;
	bool is_http;	   /* else method and path are empty */
	struct str method; /* empty: any */
	struct str path;   /* exact, "/below/" + "*", or a template */
};

/* Whoever is in `from` may, at one of the ports, do each of the methods with each of the paths. */
struct suggest_policy {
	struct str service;
	bool is_http;
	struct str *from, *methods, *paths; /* methods none: any. Of opaque bytes none of both */
	uint32_t from_count, method_count, path_count;
	uint16_t *ports;
	uint32_t port_count;
};

/* In order of services; memory is the arena's. Together they allow all that was seen, and nothing
 * else but what a general path or opaque bytes stand for. Of few things seen they are the fewest
 * that do. NULL: no memory. */
struct suggest_policy *suggest_policies(struct arena *arena, const struct suggest_seen *seen,
	uint32_t seen_count, uint32_t *ret_count) MUST_CHECK;
/* As a configuration has them: one of more ports or methods than a policy may have is several
 * there. Their names have the node's, so that what several machines of one service saw stands side
 * by side. */
void suggest_print(
	FILE *out, struct str node, const struct suggest_policy *policies, uint32_t count);
