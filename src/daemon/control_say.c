/* SPDX-License-Identifier: Apache-2.0 */
/* What the control thread tells the keeper by itself, with each tick. A keeper that is behind takes
 * nothing for a while: then it is told with a later tick, and nothing is lost. */
#include "control_private.h"

#include <string.h>

static void control_tell_ready(struct control *c)
{
	struct proxy *p = &c->proxy;
	if (c->told_generation == p->plan->generation)
		return;
	for (uint32_t i = 0; i < p->worker_count; i++) {
		if (worker_generation(p->workers[i]) != p->plan->generation)
			return;
	}
	struct wire_ready ready = {
		.head = control_head(WIRE_READY), .generation = p->plan->generation};
	if (control_tell(c, &ready, sizeof(ready)))
		c->told_generation = p->plan->generation;
}

/* Turns of a worker, as it counts them itself. */
static uint64_t control_turns(const struct control *c, uint32_t i)
{
	return atomic_load_explicit(
		&metrics_values(c->proxy.metrics[i])->loop_turns_total, memory_order_relaxed);
}

/* A ping is answered when every worker has taken a turn since: a stuck one leaves it open. */
static void control_answer_ping(struct control *c, uint64_t *turns)
{
	if (c->ping_number == 0)
		return;
	bool waiting = false;
	for (uint32_t i = 0; i < c->proxy.worker_count; i++) {
		bool ended = atomic_load(&c->threads[i].ended);
		if (turns[i] == 0) {
			turns[i] = control_turns(c, i) + 1;
			worker_ping(c->proxy.workers[i]);
		}
		waiting = waiting || (!ended && control_turns(c, i) < turns[i]);
	}
	if (waiting)
		return;
	struct wire_ping pong = {.head = control_head(WIRE_PONG), .number = c->ping_number};
	if (!control_tell(c, &pong, sizeof(pong)))
		return; /* with the next tick */
	c->ping_number = 0;
	for (uint32_t i = 0; i < c->proxy.worker_count; i++)
		turns[i] = 0;
}

static void control_tell_take_outs(struct control *c)
{
	struct proxy *p = &c->proxy;
	uint32_t told = 0;
	while (told < p->take_out_count) {
		struct wire_take_out m = p->take_outs[told];
		m.head = control_head(WIRE_TAKE_OUT);
		if (!control_tell(c, &m, sizeof(m)))
			break;
		told++;
	}
	p->take_out_count -= told;
	memmove(p->take_outs, p->take_outs + told, p->take_out_count * sizeof(*p->take_outs));
}

static bool control_tell_kind(struct control *c, enum wire_kind kind)
{
	struct wire_head head = control_head(kind);
	return control_tell(c, &head, sizeof(head));
}

void control_say(struct control *c, uint64_t *turns)
{
	control_tell_unsaid(c);
	control_tell_ready(c);
	control_answer_ping(c, turns);
	if (c->proxy.reload_asked)
		c->proxy.reload_asked = !control_tell_kind(c, WIRE_RELOAD);
	if (c->proxy.drain_asked)
		c->proxy.drain_asked = !control_tell_kind(c, WIRE_STOP);
	control_tell_take_outs(c);
}
