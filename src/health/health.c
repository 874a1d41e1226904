/* SPDX-License-Identifier: Apache-2.0 */
/* All checks of this machine: which there are, and whose turn it is. */
#include "inside.h"

#include <stdlib.h>

#define HEALTH_BUF_BYTES 20480
#define HEALTH_BUFS_MAX	 (4 * HEALTH_ASKING_MAX)

struct health *health_new(struct loop *loop, uint16_t kind_first, struct task *owner)
{
	struct health *h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->loop = loop;
	h->kind = kind_first;
	h->owner = owner;
	buf_pool_init(&h->pool, HEALTH_BUF_BYTES, HEALTH_BUFS_MAX);
	list_init(&h->queue);
	list_init(&h->checks);
	list_init(&h->closing);
	return h;
}

void health_step(struct task *t)
{
	check_step(check_of(t));
}

void health_reap(struct task *t)
{
	struct check *c = check_of(t);
	struct health *h = c->health;
	check_free(c);
	if (health_idle(h))
		loop_ready(h->loop, h->owner);
}

/* --- turns --- */

static void health_admit(struct health *h)
{
	while (h->asking_count < HEALTH_ASKING_MAX && !list_empty(&h->queue)) {
		struct check *c = CONTAINER_OF(list_pop(&h->queue), struct check, queued);
		c->turn = true;
		h->asking_count++;
		loop_ready(h->loop, &c->task);
	}
}

void health_queue(struct check *c)
{
	list_add_last(&c->health->queue, &c->queued);
	health_admit(c->health);
}

void health_unqueue(struct check *c)
{
	struct health *h = c->health;
	list_remove(&c->queued);
	if (!c->turn)
		return;
	c->turn = false;
	h->asking_count--;
	health_admit(h);
}

/* --- configuration --- */

static bool health_is_checked(const struct conf_workload *workload)
{
	const struct conf_health *health = &workload->health;
	return health->http.len > 0 || health->tcp || health->command_len > 0;
}

static struct check *health_kept(const struct health *h, const struct conf_workload *workload)
{
	LIST_EACH (&h->checks, node) {
		struct check *c = CONTAINER_OF(node, struct check, node);
		if (check_same(c, workload))
			return c;
	}
	return NULL;
}

/* Until a fresh check of a workload that is known already has a result, what was known holds:
 * otherwise a new interval, or a first check, would take the workload out for a moment. */
static void health_inherit(const struct health *h, struct check *fresh)
{
	for (uint32_t i = 0; i < h->place_count; i++) {
		const struct place *place = &h->places[i];
		if (place->uid != fresh->uid || place->port != fresh->port)
			continue;
		fresh->up = !place->check || place->check->up;
		fresh->asked = place->check && place->check->asked;
		fresh->changed_wall_ns = place->check ? place->check->changed_wall_ns : 0;
		return;
	}
}

static void health_retire(struct health *h, struct list *checks)
{
	struct list *node;
	while ((node = list_pop(checks))) {
		list_add_last(&h->closing, node);
		check_close(CONTAINER_OF(node, struct check, node));
	}
}

static void health_change(
	struct health *h, struct list *fresh, struct place *places, uint32_t place_count)
{
	struct list before;
	list_init(&before);
	LIST_EACH (fresh, node) {
		struct check *c = CONTAINER_OF(node, struct check, node);
		health_inherit(h, c);
		check_start(c);
	}
	list_move_all(&h->checks, &before);
	for (uint32_t i = 0; i < place_count; i++) {
		if (!places[i].check)
			continue;
		list_remove(&places[i].check->node);
		list_add_last(&h->checks, &places[i].check->node);
	}
	health_retire(h, &before);
	free(h->places);
	h->places = places;
	h->place_count = place_count;
}

/* False: out of memory. */
static bool health_plan(
	struct health *h, const struct conf *conf, struct place *places, struct list *fresh)
{
	for (uint32_t i = 0; i < conf->workload_count; i++) {
		const struct conf_workload *workload = &conf->workloads[i];
		struct place *place = &places[i];
		place->uid = workload->uid;
		place->port = workload->port;
		if (!health_is_checked(workload))
			continue;
		place->check = health_kept(h, workload);
		if (place->check)
			continue;
		place->check = check_new(h, workload);
		if (!place->check)
			return false;
		list_add_last(fresh, &place->check->node);
	}
	return true;
}

bool health_configure(struct health *h, const struct conf *conf)
{
	struct list fresh, *node;
	struct place *places = calloc(conf->workload_count + 1, sizeof(struct place));
	list_init(&fresh);
	ASSERT(!h->closed);
	if (places && health_plan(h, conf, places, &fresh)) {
		health_change(h, &fresh, places, conf->workload_count);
		return true;
	}
	while ((node = list_pop(&fresh)))
		check_free(CONTAINER_OF(node, struct check, node));
	free(places);
	return false;
}

/* --- looking --- */

struct health_view health_of(const struct health *h, uint32_t index)
{
	ASSERT(index < h->place_count);
	const struct check *c = h->places[index].check;
	if (!c)
		return (struct health_view){.up = true, .why = ""};
	return (struct health_view){
		.checked = true,
		.up = c->up,
		.asked = c->asked,
		.failure_count = c->failure_count,
		.changed_wall_ns = c->changed_wall_ns,
		.why = c->why,
	};
}

static void health_wake_programs(struct health *h, struct list *checks)
{
	LIST_EACH (checks, node) {
		struct check *c = CONTAINER_OF(node, struct check, node);
		if (c->pid > 0)
			loop_ready(h->loop, &c->task);
	}
}

void health_child(struct health *h)
{
	health_wake_programs(h, &h->checks);
	health_wake_programs(h, &h->closing);
}

/* --- the end --- */

void health_close(struct health *h)
{
	h->closed = true;
	health_retire(h, &h->checks);
	for (uint32_t i = 0; i < h->place_count; i++)
		h->places[i].check = NULL; /* they are freed one by one */
	loop_ready(h->loop, h->owner);
}

bool health_idle(const struct health *h)
{
	return list_empty(&h->checks) && list_empty(&h->closing);
}

void health_free(struct health *h)
{
	if (!h)
		return;
	ASSERT(health_idle(h));
	buf_pool_done(&h->pool);
	free(h->places);
	free(h);
}
