/* SPDX-License-Identifier: Apache-2.0 */
/* A client is in one of two lists, `idle` or `absent`, or in none while its socket is at work.
 * One that had trouble waits a little before it dials again, so that a far end that is gone costs
 * little and is counted for what it is. */
#include "crowd.h"

#include "base/clock.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Never more at once on their way: they would overflow the far end's accept queue. */
#define CROWD_DIALLING_MAX 64
#define CROWD_PAUSE_NS	   (10 * CLOCK_MS)
#define CROWD_EVENTS_MAX   64
#define CROWD_SCRATCH	   (128 * 1024)

int crowd_init(struct crowd *w, struct errand *errand, uint32_t count, struct err *err)
{
	*w = (struct crowd){.errand = errand, .count = count};
	list_init(&w->idle);
	list_init(&w->absent);
	/* Sleeps end when they should; the default is 50 us later. */
	(void)prctl(PR_SET_TIMERSLACK, 1);
	errand->scratch_len = CROWD_SCRATCH;
	errand->scratch = malloc(CROWD_SCRATCH);
	w->clients = calloc(count, sizeof(w->clients[0]));
	w->tally = calloc(1, sizeof(*w->tally));
	errand->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!errand->scratch || !w->clients || !w->tally || errand->epoll < 0)
		return err_set(err, ENOMEM, "no memory for %u connections", count);
	for (uint32_t i = 0; i < count; i++) {
		client_init(&w->clients[i], errand);
		list_add_last(&w->absent, &w->clients[i].node);
	}
	w->now_ns = clock_monotonic_ns();
	return 0;
}

void crowd_done(struct crowd *w)
{
	for (uint32_t i = 0; i < w->count; i++)
		client_close(&w->clients[i]);
	close(w->errand->epoll);
	free(w->errand->scratch);
	free(w->clients);
	free(w->tally);
}

static void crowd_count_error(struct crowd *w, const struct client *c, enum client_news news)
{
	w->tally->errors++;
	if (w->trouble[0])
		return;
	if (news == CLIENT_REJECTED)
		snprintf(w->trouble, sizeof(w->trouble), "an answer of status %u with %llu bytes",
			c->message.status, (unsigned long long)c->message.body_bytes);
	else
		snprintf(w->trouble, sizeof(w->trouble), "%s", c->trouble);
}

static void crowd_send_away(struct crowd *w, struct client *c, uint64_t pause_ns)
{
	list_remove(&c->node);
	c->since_ns = w->now_ns + pause_ns;
	if (w->keeps)
		return;
	if (pause_ns)
		list_add_last(&w->absent, &c->node);
	else
		list_add_first(&w->absent, &c->node);
}

static void crowd_free(struct crowd *w, struct client *c)
{
	c->free_ns = w->now_ns;
	if (c->state != CLIENT_IDLE)
		return;
	if (c->ended || (w->exchanges_max && c->exchanges >= w->exchanges_max)) {
		client_close(c);
		crowd_send_away(w, c, 0);
	} else {
		list_add_last(&w->idle, &c->node);
	}
}

static void crowd_answered(struct crowd *w, struct client *c)
{
	w->tally->requests++;
	histogram_record(&w->tally->histogram, w->now_ns - c->since_ns);
	c->since_ns = w->now_ns;
	crowd_free(w, c);
}

static void crowd_hear(struct crowd *w, struct client *c, enum client_news news)
{
	switch (news) {
	case CLIENT_NOTHING:
		break;
	case CLIENT_CONNECTED:
		w->tally->connections_opened++;
		crowd_free(w, c);
		break;
	case CLIENT_ANSWERED:
		crowd_answered(w, c);
		break;
	case CLIENT_REJECTED:
		crowd_count_error(w, c, news);
		c->since_ns = w->now_ns;
		crowd_free(w, c);
		break;
	case CLIENT_LEFT:
		if (w->keeps)
			crowd_count_error(w, c, news);
		crowd_send_away(w, c, c->exchanges > 0 ? 0 : CROWD_PAUSE_NS);
		break;
	case CLIENT_LOST:
		crowd_count_error(w, c, news);
		crowd_send_away(w, c, CROWD_PAUSE_NS);
		break;
	}
}

static void crowd_step(struct crowd *w, struct client *c, uint32_t events)
{
	enum client_state before = c->state;
	enum client_news news = client_step(c, events);
	if (news == CLIENT_NOTHING)
		return;
	w->dialling_count -= before == CLIENT_DIALLING;
	w->busy_count -= before == CLIENT_BUSY;
	w->now_ns = clock_monotonic_ns();
	crowd_hear(w, c, news);
}

static struct client *crowd_first_absent(const struct crowd *w)
{
	uint32_t under_way = w->dialling_count + (w->proves ? w->busy_count : 0);
	if (list_empty(&w->absent) || under_way >= CROWD_DIALLING_MAX)
		return NULL;
	return CONTAINER_OF(w->absent.next, struct client, node);
}

static void crowd_dial(struct crowd *w)
{
	struct client *c;
	while ((c = crowd_first_absent(w)) && c->since_ns <= w->now_ns) {
		list_remove(&c->node);
		c->since_ns = w->now_ns;
		enum client_news news = client_dial(c);
		w->dialling_count += news == CLIENT_NOTHING;
		crowd_hear(w, c, news);
	}
}

static int crowd_wait(struct crowd *w, struct epoll_event *events, uint64_t until_ns)
{
	struct client *absent = crowd_first_absent(w);
	if (absent && absent->since_ns < until_ns)
		until_ns = absent->since_ns;
	w->now_ns = clock_monotonic_ns();
	uint64_t ns = until_ns > w->now_ns ? until_ns - w->now_ns : 0;
	struct timespec timeout = {(time_t)(ns / CLOCK_S), (long)(ns % CLOCK_S)};
	int count = epoll_pwait2(w->errand->epoll, events, CROWD_EVENTS_MAX, &timeout, NULL);
	w->now_ns = clock_monotonic_ns();
	return count;
}

void crowd_turn(struct crowd *w, uint64_t until_ns)
{
	struct epoll_event events[CROWD_EVENTS_MAX];
	crowd_dial(w);
	int count = crowd_wait(w, events, until_ns);
	for (int i = 0; i < count; i++)
		crowd_step(w, events[i].data.ptr, events[i].events);
}

void crowd_begin(struct crowd *w, struct client *c)
{
	list_remove(&c->node);
	w->busy_count++;
	client_begin(c);
}
