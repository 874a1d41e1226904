/* SPDX-License-Identifier: Apache-2.0 */
#include "ward.h"

#include "base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define WARD_KIND  7
#define WARD_OWNER 1

struct ward ward;
static uint32_t ward_starve_in;
static size_t ward_starve_bytes;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
	if (ward_starve_in > 0 && count * size >= ward_starve_bytes && --ward_starve_in == 0)
		return NULL;
	return __real_calloc(count, size);
}

void ward_starve(uint32_t nth, size_t bytes)
{
	ward_starve_in = nth;
	ward_starve_bytes = bytes;
}

static void ward_step(struct task *t)
{
	if (t->kind == WARD_OWNER)
		ward.news++;
	else
		health_step(t);
}

void ward_start(void)
{
	const struct ring_limits limits = {
		.entries = 64, .completions = 256, .block_bytes = 4096, .block_count = 16};
	struct err err;
	ward = (struct ward){0};
	fake_init();
	assert_int_equal(loop_init(&ward.loop, &limits, 1, &err), 0);
	task_init(&ward.owner, WARD_OWNER);
	ward.health = health_new(&ward.loop, WARD_KIND, &ward.owner);
	assert_non_null(ward.health);
}

static void ward_free_commands(void)
{
	for (uint32_t i = 0; i < ward.workload_count; i++)
		free(ward.workloads[i].health.command);
}

void ward_finish(void)
{
	health_close(ward.health);
	health_close(ward.health);
	fake_release();
	for (int i = 0; i < 5000 && !health_idle(ward.health); i++) {
		health_child(ward.health);
		ward_run(CLOCK_S);
	}
	assert_true(health_idle(ward.health));
	health_free(ward.health);
	ward_free_commands();
	loop_done(&ward.loop);
	fake_done();
}

struct conf_workload *ward_add(const char *what)
{
	uint32_t index = ward.workload_count++;
	assert_true(index < WARD_WORKLOADS_MAX);
	struct conf_workload *w = &ward.workloads[index];
	*w = (struct conf_workload){
		.service = STR("orders"),
		.uid = 1000 + index,
		.port = (uint16_t)(8000 + index),
		.health = {.interval_ms = 5000,
			.timeout_ms = 2000,
			.unhealthy_count = 3,
			.healthy_count = 2},
	};
	assert_true(address_parse(STR("127.0.0.1"), &w->deliver));
	w->deliver.port = w->port;
	w->health.tcp = strcmp(what, "tcp") == 0;
	if (strcmp(what, "http") == 0)
		w->health.http = STR("/healthz");
	return w;
}

struct conf_workload *ward_add_command(const char *path, const char *argument)
{
	struct conf_workload *w = ward_add("command");
	w->health.command = calloc(2, sizeof(struct str));
	assert_non_null(w->health.command);
	w->health.command[0] = str_of(path);
	w->health.command[1] = str_of(argument);
	w->health.command_len = argument ? 2 : 1;
	return w;
}

void ward_configure(void)
{
	const struct conf conf = {
		.workloads = ward.workloads, .workload_count = ward.workload_count};
	assert_true(health_configure(ward.health, &conf));
}

/* Answers those that have asked. */
static bool ward_answer(void)
{
	bool any = false;
	for (; ward.answer && ward.answered_count < fake_opened_count(); ward.answered_count++) {
		int fd = fake_opened(ward.answered_count);
		if (fake_is_open(fd) && fake_peer_received(fd).len == 0)
			break;
		any = true;
		if (fake_is_open(fd))
			fake_peer_send_text(fd, ward.answer);
		if (fake_is_open(fd))
			fake_peer_shutdown(fd);
	}
	return any;
}

void ward_pump(void)
{
	do
		fake_pump(&ward.loop, ward_step, health_reap);
	while (ward_answer());
}

/* In steps: so that answers come in time. */
void ward_run(uint64_t ns)
{
	uint64_t end = ward.loop.now_ns + ns;
	ward_pump();
	while (ward.loop.now_ns < end) {
		uint64_t left = end - ward.loop.now_ns;
		fake_run(&ward.loop, ward_step, health_reap,
			left < 10 * CLOCK_MS ? left : 10 * CLOCK_MS);
		ward_pump();
	}
}

struct health_view ward_view(uint32_t index)
{
	return health_of(ward.health, index);
}

struct check *ward_check(uint32_t index)
{
	return ward.health->places[index].check;
}

int ward_last(void)
{
	assert_true(fake_opened_count() > 0);
	return fake_opened(fake_opened_count() - 1);
}

void ward_expect(bool up, uint32_t failure_count, const char *why)
{
	struct health_view v = ward_view(0);
	assert_true(v.checked && v.asked);
	assert_string_equal(v.why, why);
	assert_int_equal(v.up, up);
	assert_int_equal(v.failure_count, failure_count);
}
