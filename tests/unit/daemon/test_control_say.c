/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper is told with each tick, and again when it was behind. The workers are played. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/control_private.h"
#include <stdio.h>
#include <string.h>

enum { WORKERS = 2 };

static struct control c;
static struct plan plan;
static struct control_worker threads[WORKERS];
static struct worker *workers[WORKERS];
static struct metrics *metrics[WORKERS];
static struct metric_values values;
static uint64_t generation, turns[WORKERS];
static unsigned room; /* for so many messages the keeper has room */
static char told[1024];

uint64_t worker_generation(const struct worker *w)
{
	return generation;
}

void worker_ping(struct worker *w)
{
}

struct metric_values *metrics_values(struct metrics *m)
{
	return &values;
}

void control_tell_unsaid(struct control *control)
{
}

struct wire_head control_head(enum wire_kind kind)
{
	return (struct wire_head){.magic = WIRE_MAGIC, .kind = (uint32_t)kind};
}

bool control_tell(struct control *control, const void *message, size_t len)
{
	const struct wire_head *head = message;
	size_t at = strlen(told);
	unsigned long long number = 0;
	if (room == 0)
		return false;
	room--;
	if (head->kind == WIRE_READY)
		number = ((const struct wire_ready *)message)->generation;
	else if (head->kind == WIRE_PONG)
		number = ((const struct wire_ping *)message)->number;
	else if (head->kind == WIRE_TAKE_OUT)
		number = (unsigned long long)((const struct wire_take_out *)message)->service[0];
	snprintf(told + at, sizeof(told) - at, "%u %llu\n", head->kind, number);
	return true;
}

static void assert_told(const char *format, ...) PRINTF_LIKE(1, 2);
static void assert_told(const char *format, ...)
{
	char text[256];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	assert_string_equal(told, text);
	told[0] = 0;
}

static void tick(unsigned messages)
{
	room = messages;
	control_say(&c, turns);
}

static int setup(void **state)
{
	memset(turns, 0, sizeof(turns));
	memset(&values, 0, sizeof(values));
	told[0] = 0;
	plan = (struct plan){.generation = 7};
	generation = 7;
	c = (struct control){.threads = threads,
		.told_generation = 7,
		.proxy = {.plan = &plan,
			.workers = workers,
			.metrics = metrics,
			.worker_count = WORKERS}};
	return 0;
}

static void a_generation_is_told_once_all_have_it(void **state)
{
	plan.generation = 8;
	tick(9);
	assert_told("%s", "");
	generation = 8;
	tick(0);
	tick(9);
	assert_told("%d 8\n", WIRE_READY);
	tick(9);
	assert_told("%s", "");
}

static void a_ping_is_answered_though_the_keeper_was_behind(void **state)
{
	c.ping_number = 5;
	tick(9);
	assert_told("%s", ""); /* no worker has taken a turn */
	values.loop_turns_total++;
	tick(0);
	tick(9);
	assert_told("%d 5\n", WIRE_PONG);
	tick(9);
	assert_told("%s", "");
	assert_int_equal(turns[0], 0); /* for the next ping */
}

static void what_the_admin_room_asked_for_is_asked_until_it_is_heard(void **state)
{
	c.proxy.reload_asked = c.proxy.drain_asked = true;
	tick(0);
	tick(1);
	assert_told("%d 0\n", WIRE_RELOAD);
	tick(9);
	assert_told("%d 0\n", WIRE_STOP);
	tick(9);
	assert_told("%s", "");
}

static void what_is_to_be_taken_out_is_told_in_order_and_once(void **state)
{
	c.proxy.take_out_count = 3;
	for (uint32_t i = 0; i < 3; i++)
		c.proxy.take_outs[i].service[0] = (char)(1 + i);
	tick(2);
	assert_told("%d 1\n%d 2\n", WIRE_TAKE_OUT, WIRE_TAKE_OUT);
	assert_int_equal(c.proxy.take_out_count, 1);
	tick(9);
	assert_told("%d 3\n", WIRE_TAKE_OUT);
	tick(9);
	assert_told("%s", "");
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_generation_is_told_once_all_have_it),
		TEST(a_ping_is_answered_though_the_keeper_was_behind),
		TEST(what_the_admin_room_asked_for_is_asked_until_it_is_heard),
		TEST(what_is_to_be_taken_out_is_told_in_order_and_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
