/* SPDX-License-Identifier: Apache-2.0 */
#include "store_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { LAB_TASK_OWNER = 1, LAB_TASK_STORE };

static struct lab *lab_now; /* the loop's step has no argument for it */

static void lab_step(struct task *t)
{
	if (t->kind == LAB_TASK_STORE)
		store_step(store_of(t));
	else
		lab_now->news++;
}

void lab_init(struct lab *lab)
{
	struct ring_limits limits = {
		.entries = 64, .completions = 256, .block_bytes = 16384, .block_count = 16};
	struct err err;
	*lab = (struct lab){0};
	lab_now = lab;
	fake_init();
	assert_int_equal(loop_init(&lab->loop, &limits, 1, &err), 0);
	task_init(&lab->owner, LAB_TASK_OWNER);
	for (unsigned i = 0; i < ARRAY_LEN(lab->addresses); i++)
		lab->addresses[i] = (struct address){
			.family = AF_INET, .ip = {10, 0, 0, (uint8_t)(i + 1)}, .port = 6379};
	lab->settings = (struct store_settings){.addresses = lab->addresses,
		.address_count = 1,
		.timeout_ms = LAB_TIMEOUT_MS,
		.reply_bytes_max = LAB_REPLY_BYTES_MAX};
}

void lab_start(struct lab *lab)
{
	lab->store = store_new(&lab->loop, LAB_TASK_STORE, &lab->owner, &lab->settings);
	assert_non_null(lab->store);
	lab_pump(lab);
}

void lab_done(struct lab *lab)
{
	if (lab->store) {
		store_close(lab->store);
		fake_release();
		lab_pump(lab);
		assert_int_equal(store_state(lab->store), STORE_CLOSED);
		store_free(lab->store);
	}
	lab_pump(lab);
	loop_done(&lab->loop);
	fake_done();
}

void lab_pump(struct lab *lab)
{
	fake_pump(&lab->loop, lab_step, NULL);
}

void lab_run_ms(struct lab *lab, uint64_t ms)
{
	fake_run(&lab->loop, lab_step, NULL, ms * CLOCK_MS);
}

void lab_run_to_socket(struct lab *lab, uint32_t count)
{
	for (int i = 0; i < 60000 && fake_opened_count() < count; i++)
		lab_run_ms(lab, 1);
	assert_int_equal(fake_opened_count(), count);
}

int lab_fd(struct lab *lab)
{
	return fake_opened(fake_opened_count() - 1);
}

void lab_expect(struct lab *lab, const char *bytes)
{
	struct str got = fake_peer_received(lab_fd(lab));
	if (!str_eq(got, str_of(bytes)))
		fprintf(stderr, "got:\n" STR_FMT "\nexpected:\n%s\n", STR_ARG(got), bytes);
	assert_true(str_eq(got, str_of(bytes)));
	fake_peer_forget(lab_fd(lab));
}

void lab_say(struct lab *lab, const char *bytes)
{
	fake_peer_send_text(lab_fd(lab), bytes);
	lab_pump(lab);
}

void lab_greet(struct lab *lab)
{
	lab_pump(lab);
	lab_expect(lab, "*1\r\n$4\r\nROLE\r\n*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n");
	assert_int_equal(store_state(lab->store), STORE_GREETING);
	lab_say(lab, LAB_MASTER LAB_INFO);
	assert_int_equal(store_state(lab->store), STORE_READY);
}

void lab_ready(struct lab *lab)
{
	lab_init(lab);
	lab_start(lab);
	lab_greet(lab);
}
