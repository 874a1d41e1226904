/* SPDX-License-Identifier: Apache-2.0 */
#include "hold.h"

#include "base/clock.h"
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

/* Exchanges at once, and how long nothing may happen before the rest is given up. */
#define HOLD_BUSY_MAX	 64
#define HOLD_PATIENCE_NS (10 * CLOCK_S)

/* Everybody who has had fewer exchanges than `round` begins one. The others wait in `held`. */
static void hold_dispatch(struct crowd *w, struct list *held, uint32_t round)
{
	struct list *node;
	while (w->busy_count < HOLD_BUSY_MAX && (node = list_pop(&w->idle))) {
		struct client *c = CONTAINER_OF(node, struct client, node);
		if (c->exchanges >= round) {
			list_add_last(held, node);
			continue;
		}
		c->since_ns = w->now_ns;
		crowd_begin(w, c);
	}
}

static bool hold_is_settled(const struct crowd *w)
{
	return list_empty(&w->idle) && list_empty(&w->absent) && w->dialling_count == 0 &&
	       w->busy_count == 0;
}

/* Ends with all that are connected in `held`. */
static void hold_round(struct crowd *w, struct list *held, uint32_t round)
{
	uint64_t answered = w->tally->requests, patience_ns = w->now_ns + HOLD_PATIENCE_NS;
	for (;;) {
		hold_dispatch(w, held, round);
		if (hold_is_settled(w) || w->now_ns >= patience_ns)
			break;
		crowd_turn(w, patience_ns);
		if (w->tally->requests == answered)
			continue;
		answered = w->tally->requests;
		patience_ns = w->now_ns + HOLD_PATIENCE_NS;
	}
	w->tally->errors += w->busy_count;
}

static bool hold_input_ended(void)
{
	char ignored[256];
	return read(STDIN_FILENO, ignored, sizeof(ignored)) <= 0;
}

static void hold_until_input_ends(struct crowd *w)
{
	struct pollfd files[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = w->errand->epoll, .events = POLLIN},
	};
	for (;;) {
		if (poll(files, ARRAY_LEN(files), -1) < 0)
			return;
		if (files[1].revents)
			crowd_turn(w, 0);
		if (files[0].revents && hold_input_ended())
			return;
	}
}

static void hold_announce(const struct list *held)
{
	uint32_t count = 0;
	LIST_EACH (held, it)
		count++;
	printf("{\"holding\": %u}\n", count);
	fflush(stdout);
}

static void hold_move_all(struct list *from, struct list *to)
{
	struct list *node;
	while ((node = list_pop(from)))
		list_add_last(to, node);
}

void hold_run(struct crowd *w)
{
	struct list held;
	list_init(&held);
	/* What is behind a relay may take longer than the relay: dialling ahead of it would pile up
	 * there and time out. */
	w->proves = true;
	hold_round(w, &held, 1);
	w->keeps = true;
	hold_announce(&held);
	hold_until_input_ends(w);
	hold_move_all(&held, &w->idle);
	hold_round(w, &held, 2);
}
