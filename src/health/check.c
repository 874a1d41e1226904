/* SPDX-License-Identifier: Apache-2.0 */
/* One check: when it asks, and what becomes of the results.
 *
 *      ┌──────────────────────────────────────────────────────────────┐
 *      ▼                          ┌─▶ CONNECTING ──▶ READING ──▶ DRAINING ──┐
 *     IDLE ── time ──▶ QUEUED ──▶─┤        └────────────┴────────────▼──────▶ ENDING
 *                                 └─▶ RUNNING ──────────────────────────────▶─┘
 *
 *   IDLE        waits for: the timer
 *   QUEUED      waits for: its turn among all checks
 *   CONNECTING  waits for: the connect, or the timer
 *   READING     waits for: recv, or the timer; the status is the result
 *   DRAINING    waits for: recv, or the timer; the rest of the answer, for politeness
 *   RUNNING     waits for: health_child(), or the timer
 *   ENDING      waits for: armed operations, or the killed program, to end
 *   CLOSING     the same, from any state, and for good: then the reaper frees
 *
 * A program that does not even end when it is killed (it hangs in the kernel, on a disk that is
 * gone) is not run a second time, and each time that it would have been is a failure. */
#include "inside.h"

#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK_LOOK_NS	(100 * CLOCK_MS) /* at a program that was killed */
#define CHECK_MERCY_NS	CLOCK_S		 /* for a killed program to end */
#define CHECK_SPREAD_NS (100 * CLOCK_MS) /* of the first times */

/* Allowed moves: a bit per target state. */
static const uint16_t check_moves[CHECK_STATE_COUNT] = {
	[CHECK_IDLE] = 1u << CHECK_QUEUED | 1u << CHECK_CLOSING,
	[CHECK_QUEUED] = 1u << CHECK_CONNECTING | 1u << CHECK_RUNNING | 1u << CHECK_ENDING |
			 1u << CHECK_CLOSING,
	[CHECK_CONNECTING] = 1u << CHECK_READING | 1u << CHECK_ENDING | 1u << CHECK_CLOSING,
	[CHECK_READING] = 1u << CHECK_DRAINING | 1u << CHECK_ENDING | 1u << CHECK_CLOSING,
	[CHECK_DRAINING] = 1u << CHECK_ENDING | 1u << CHECK_CLOSING,
	[CHECK_RUNNING] = 1u << CHECK_ENDING | 1u << CHECK_CLOSING,
	[CHECK_ENDING] = 1u << CHECK_IDLE | 1u << CHECK_CLOSING,
	[CHECK_CLOSING] = 0,
};

/* The only writer of the state. */
static void check_move(struct check *c, enum check_state state)
{
	ASSERT(check_moves[c->state] & 1u << state);
	c->state = state;
}

struct check *check_of(struct task *t)
{
	return CONTAINER_OF(t, struct check, task);
}

/* --- what it is --- */

static enum check_kind check_kind_of(const struct conf_health *health)
{
	return health->command_len > 0 ? CHECK_COMMAND : health->tcp ? CHECK_TCP : CHECK_HTTP;
}

static size_t check_text_bytes(const struct conf_workload *workload)
{
	const struct conf_health *health = &workload->health;
	size_t bytes = workload->service.len + 1 + health->http.len + 1;
	for (uint32_t i = 0; i < health->command_len; i++)
		bytes += health->command[i].len + 1;
	return bytes + (health->command_len + 1) * sizeof(char *);
}

static char *check_put_text(char **at, struct str text)
{
	char *start = *at;
	if (text.len > 0)
		memcpy(start, text.at, text.len);
	*at += text.len + 1; /* there is a NUL already */
	return start;
}

static void check_put_texts(struct check *c, const struct conf_workload *workload)
{
	const struct conf_health *health = &workload->health;
	c->argv = (char **)(c + 1);
	c->argv_count = health->command_len;
	char *at = (char *)(c->argv + health->command_len + 1);
	for (uint32_t i = 0; i < health->command_len; i++)
		c->argv[i] = check_put_text(&at, health->command[i]);
	c->service = (struct str){check_put_text(&at, workload->service), workload->service.len};
	c->path = (struct str){check_put_text(&at, health->http), health->http.len};
}

struct check *check_new(struct health *h, const struct conf_workload *workload)
{
	const struct conf_health *health = &workload->health;
	struct check *c = calloc(1, sizeof(*c) + check_text_bytes(workload));
	if (!c)
		return NULL;
	task_init(&c->task, h->kind);
	timer_init(&c->timer, &c->task);
	list_init(&c->node);
	list_init(&c->queued);
	c->health = h;
	c->kind = check_kind_of(health);
	c->uid = workload->uid;
	c->port = workload->port;
	c->deliver = workload->deliver;
	c->interval_ns = health->interval_ms * CLOCK_MS;
	c->timeout_ms = health->timeout_ms;
	c->unhealthy_count = health->unhealthy_count;
	c->healthy_count = health->healthy_count;
	check_put_texts(c, workload);
	return c;
}

static bool check_same_command(const struct check *c, const struct conf_health *health)
{
	if (c->argv_count != health->command_len)
		return false;
	for (uint32_t i = 0; i < c->argv_count; i++)
		if (!str_eq(str_of(c->argv[i]), health->command[i]))
			return false;
	return true;
}

bool check_same(const struct check *c, const struct conf_workload *workload)
{
	const struct conf_health *health = &workload->health;
	return c->uid == workload->uid && c->port == workload->port &&
	       str_eq(c->service, workload->service) &&
	       address_equal(&c->deliver, &workload->deliver) && c->kind == check_kind_of(health) &&
	       c->interval_ns == health->interval_ms * CLOCK_MS &&
	       c->timeout_ms == health->timeout_ms &&
	       c->unhealthy_count == health->unhealthy_count &&
	       c->healthy_count == health->healthy_count && str_eq(c->path, health->http) &&
	       check_same_command(c, health);
}

/* --- when it asks --- */

/* Not before that time, nor before now. */
static void check_wait_until(struct check *c, uint64_t ns)
{
	struct loop *l = c->health->loop;
	timer_set(l, &c->timer, ns > l->now_ns ? ns : l->now_ns);
}

/* An interval from now, give or take a tenth. */
static uint64_t check_next(struct check *c)
{
	struct loop *l = c->health->loop;
	return l->now_ns + c->interval_ns - c->interval_ns / 10 +
	       loop_random(l) % (c->interval_ns / 5 + 1);
}

void check_start(struct check *c)
{
	struct loop *l = c->health->loop;
	uint64_t spread = c->interval_ns < CHECK_SPREAD_NS ? c->interval_ns : CHECK_SPREAD_NS;
	check_wait_until(c, l->now_ns + loop_random(l) % (spread + 1));
}

/* --- results --- */

static void check_turn(struct check *c, bool up)
{
	struct health *h = c->health;
	bool turned = c->up != up;
	if (turned)
		c->changed_wall_ns = h->loop->wall_ns;
	c->up = up;
	if (turned || !c->asked) {
		if (up)
			log_info("health", STR_FMT " (uid %u) is up", STR_ARG(c->service), c->uid);
		else
			log_warning("health", STR_FMT " (uid %u) is down: %s", STR_ARG(c->service),
				c->uid, c->why);
		loop_ready(h->loop, h->owner);
	}
	c->asked = true;
}

void check_good(struct check *c)
{
	c->failure_count = 0;
	c->success_count++;
	if (c->up || !c->asked || c->success_count >= c->healthy_count) {
		c->why[0] = '\0';
		check_turn(c, true);
	}
}

static void check_count_failure(struct check *c)
{
	c->success_count = 0;
	c->failure_count++;
	if (!c->up || !c->asked || c->failure_count >= c->unhealthy_count)
		check_turn(c, false);
}

void check_bad(struct check *c, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(c->why, sizeof(c->why), format, arguments);
	va_end(arguments);
	check_count_failure(c);
}

/* What this process or this machine has not got says nothing of the workload: if it counted, all
 * workloads of the machine would be down at once. */
static bool check_is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS ||
	       error == EAGAIN || error == EADDRNOTAVAIL;
}

void check_failed(struct check *c, const char *what, int error)
{
	snprintf(c->why, sizeof(c->why), "%s: %s", what, strerror(error));
	if (!check_is_shortage(error))
		check_count_failure(c);
}

/* --- steps --- */

static void check_begin(struct check *c)
{
	struct loop *l = c->health->loop;
	c->next_ns = check_next(c);
	timer_set(l, &c->timer, l->now_ns + c->timeout_ms * CLOCK_MS);
	check_move(c, ask_begin(c));
}

static void check_end(struct check *c)
{
	struct loop *l = c->health->loop;
	if (c->pid > 0 && c->next_ns < l->now_ns + CHECK_MERCY_NS)
		c->next_ns = l->now_ns + CHECK_MERCY_NS;
	ask_cut(c);
	health_unqueue(c);
	timer_set(l, &c->timer, l->now_ns + CHECK_LOOK_NS);
}

static void check_look_again(struct check *c)
{
	struct loop *l = c->health->loop;
	if (c->pid > 0 && l->now_ns >= c->next_ns && c->state == CHECK_ENDING) {
		check_bad(c, "does not end, though it was killed");
		c->next_ns = check_next(c);
	}
	if (c->timer.fired)
		timer_set(l, &c->timer, l->now_ns + CHECK_LOOK_NS);
}

/* False: waits. */
static bool check_join(struct check *c)
{
	if (!ask_join(c)) {
		check_look_again(c);
		return false;
	}
	if (c->state == CHECK_CLOSING) {
		timer_clear(c->health->loop, &c->timer);
		loop_bury(c->health->loop, &c->task);
		return false;
	}
	check_move(c, CHECK_IDLE);
	check_wait_until(c, c->next_ns);
	return true;
}

/* False: waits. */
static bool check_went(struct check *c, enum check_state state)
{
	if (state == c->state)
		return false;
	check_move(c, state);
	if (state == CHECK_ENDING)
		check_end(c);
	return true;
}

static bool check_idle(struct check *c)
{
	if (!c->timer.fired)
		return false; /* waits for: the timer */
	check_move(c, CHECK_QUEUED);
	health_queue(c);
	return true;
}

static bool check_queued(struct check *c)
{
	if (!c->turn)
		return false; /* waits for: its turn */
	check_begin(c);
	if (c->state == CHECK_ENDING)
		check_end(c);
	return true;
}

void check_step(struct check *c)
{
	bool again = true;
	while (again) {
		switch (c->state) {
		case CHECK_IDLE:
			again = check_idle(c);
			break;
		case CHECK_QUEUED:
			again = check_queued(c);
			break;
		case CHECK_CONNECTING:
			again = check_went(c, ask_connecting(c));
			break;
		case CHECK_READING:
			again = check_went(c, ask_reading(c));
			break;
		case CHECK_DRAINING:
			again = check_went(c, ask_draining(c));
			break;
		case CHECK_RUNNING:
			again = check_went(c, ask_running(c));
			break;
		case CHECK_ENDING:
		case CHECK_CLOSING:
			again = check_join(c);
			break;
		case CHECK_STATE_COUNT:
			ASSERT(c->state < CHECK_STATE_COUNT);
			break;
		}
	}
}

/* --- the end --- */

void check_close(struct check *c)
{
	if (c->state == CHECK_CLOSING)
		return;
	check_move(c, CHECK_CLOSING);
	check_end(c);
	loop_ready(c->health->loop, &c->task);
}

void check_free(struct check *c)
{
	list_remove(&c->node);
	free(c);
}
