/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"

#include "base/assert.h"
#include <stdlib.h>
#include <string.h>

/* A burst's objects beyond this go back to malloc. */
#define POOL_IDLE_MAX 1024

void pool_init(struct pool *p, size_t object_bytes, uint32_t out_count_max)
{
	ASSERT(object_bytes >= sizeof(struct list));
	list_init(&p->idle);
	p->object_bytes = object_bytes;
	p->out_count = p->idle_count = 0;
	p->out_count_max = out_count_max;
}

void pool_done(struct pool *p)
{
	ASSERT(p->out_count == 0);
	struct list *node;
	while ((node = list_pop(&p->idle)))
		free(node);
	p->idle_count = 0;
}

void *pool_take_used(struct pool *p)
{
	if (p->out_count >= p->out_count_max)
		return NULL;
	void *object = list_pop(&p->idle);
	if (object)
		p->idle_count--;
	else
		object = malloc(p->object_bytes);
	if (object)
		p->out_count++;
	return object;
}

void *pool_take(struct pool *p)
{
	void *object = pool_take_used(p);
	if (object)
		memset(object, 0, p->object_bytes);
	return object;
}

void pool_put(struct pool *p, void *object)
{
	ASSERT(p->out_count > 0);
	p->out_count--;
	if (p->idle_count >= POOL_IDLE_MAX) {
		free(object);
		return;
	}
	list_init(object);
	list_add_first(&p->idle, object);
	p->idle_count++;
}
