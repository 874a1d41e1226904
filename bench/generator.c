/* SPDX-License-Identifier: Apache-2.0 */
#include "generator.h"

#include "base/clock.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t generator_cpu_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_S + (uint64_t)ts.tv_nsec;
}

/* When the next exchange is due: always, in the closed loop. */
static uint64_t generator_due_ns(const struct generator *g)
{
	if (g->rate == 0)
		return 0;
	uint64_t s = g->begun_count / g->rate, rest = g->begun_count % g->rate;
	return g->start_ns + s * CLOCK_S + rest * CLOCK_S / g->rate;
}

static void generator_begin(struct generator *g, struct client *c, uint64_t due_ns)
{
	struct crowd *w = g->crowd;
	uint64_t possible_ns = due_ns > c->free_ns ? due_ns : c->free_ns;
	uint64_t late_ns = w->now_ns - possible_ns;
	if (late_ns > w->tally->late_max_ns)
		w->tally->late_max_ns = late_ns;
	if (due_ns)
		c->since_ns = due_ns;
	g->begun_count++;
	crowd_begin(w, c);
}

/* Gives every exchange that is due to a client that is free. */
static void generator_dispatch(struct generator *g)
{
	struct crowd *w = g->crowd;
	while (!list_empty(&w->idle)) {
		uint64_t due_ns = generator_due_ns(g);
		w->now_ns = clock_monotonic_ns();
		if (due_ns > w->now_ns)
			break;
		generator_begin(g, CONTAINER_OF(w->idle.next, struct client, node), due_ns);
	}
}

static uint64_t generator_turn_end_ns(const struct generator *g, uint64_t end_ns)
{
	uint64_t due_ns = generator_due_ns(g);
	return list_empty(&g->crowd->idle) || due_ns > end_ns ? end_ns : due_ns;
}

static void generator_run_until(struct generator *g, uint64_t end_ns)
{
	while (g->crowd->now_ns < end_ns) {
		generator_dispatch(g);
		crowd_turn(g->crowd, generator_turn_end_ns(g, end_ns));
	}
}

static void generator_measure(struct generator *g)
{
	memset(g->crowd->tally, 0, sizeof(*g->crowd->tally));
	g->crowd->errand->bytes_in = 0;
	g->crowd->errand->bytes_out = 0;
	g->measure_ns = g->crowd->now_ns; /* as the end is: what was answered by then is known */
	g->cpu_ns = generator_cpu_ns();
	printf("{\"measuring\": true}\n");
	fflush(stdout);
}

/* Due by now, whether begun or not, and not answered. */
static uint64_t generator_unanswered(const struct generator *g)
{
	uint64_t elapsed_ns = g->crowd->now_ns - g->start_ns;
	uint64_t due = elapsed_ns / CLOCK_S * g->rate + elapsed_ns % CLOCK_S * g->rate / CLOCK_S;
	uint64_t waiting = due > g->begun_count ? due - g->begun_count : 0;
	return waiting + g->crowd->busy_count;
}

void generator_run(struct generator *g)
{
	g->start_ns = g->crowd->now_ns = clock_monotonic_ns();
	generator_run_until(g, g->start_ns + g->warmup_ns);
	generator_measure(g);
	generator_run_until(g, g->measure_ns + g->duration_ns);
	g->duration_ns = g->crowd->now_ns - g->measure_ns;
	g->cpu_ns = generator_cpu_ns() - g->cpu_ns;
	g->unanswered = generator_unanswered(g);
}
