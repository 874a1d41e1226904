/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of one size, kept for reuse: the data path does not go to malloc once it is warm. One per
 * worker and type; no locks. */
#pragma once

#include "base/list.h"
#include <stddef.h>
#include <stdint.h>

struct pool {
	struct list idle;
	size_t object_bytes;
	uint32_t out_count; /* with users */
	uint32_t out_count_max;
	uint32_t idle_count;
};

void pool_init(struct pool *p, size_t object_bytes, uint32_t out_count_max);
/* Every object must have been given back. */
void pool_done(struct pool *p);
/* Zeroed; NULL when the cap or the memory is exhausted. */
void *pool_take(struct pool *p);
/* The same, but not zeroed: a fresh one or as it was left. */
void *pool_take_used(struct pool *p);
void pool_put(struct pool *p, void *object);
