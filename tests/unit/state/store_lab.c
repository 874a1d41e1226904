/* SPDX-License-Identifier: Apache-2.0 */
#include "store_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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
		fail_msg("got:\n%.*s\nexpected:\n%.200s\n", (int)got.len, got.at ? got.at : "",
			bytes ? bytes : "nothing");
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

/* --- a primary that plays along --- */

/* The words of the next command; its length, or 0 when it has not come whole. */
static size_t lab_command(struct str bytes, struct str *ret_first)
{
	const char *at = bytes.at, *end = bytes.at + bytes.len;
	long words = 0;
	ret_first->at = NULL;
	for (long i = -1; i < words; i++) {
		const char *line = memmem(at, (size_t)(end - at), "\r\n", 2);
		if (!line)
			return 0;
		long number = strtol(at + 1, NULL, 10);
		at = line + 2;
		if (i < 0) {
			words = number;
			continue;
		}
		if (end - at < number + 2)
			return 0;
		if (!ret_first->at)
			*ret_first = (struct str){at, (size_t)number};
		at += number + 2;
	}
	return (size_t)(at - bytes.at);
}

static bool lab_serve_socket(struct lab *lab, uint32_t index)
{
	int fd = fake_opened(index);
	struct str got = fake_peer_received(fd), first;
	size_t *served = &lab->served[index];
	assert_true(index < ARRAY_LEN(lab->served));
	if (got.len == *served)
		return false;
	size_t len = lab_command((struct str){got.at + *served, got.len - *served}, &first);
	if (len == 0)
		return false;
	*served += len;
	if (!fake_is_open(fd))
		return true;
	if (str_eq(first, STR("ROLE")))
		fake_peer_send_text(fd, LAB_MASTER);
	else if (str_eq(first, STR("INFO")))
		fake_peer_send_text(fd, LAB_INFO);
	else
		fake_peer_send_text(fd, "+OK\r\n");
	return true;
}

void lab_serve(struct lab *lab)
{
	bool moved;
	do {
		moved = false;
		lab_pump(lab);
		for (uint32_t i = 0; i < fake_opened_count(); i++)
			moved |= lab_serve_socket(lab, i);
	} while (moved);
}

/* --- looking at it --- */

void lab_answer(struct lab *lab, uint64_t tag, enum store_failure failure, const char *text)
{
	struct store_answer answer;
	assert_true(store_answer(lab->store, &answer));
	assert_int_equal(answer.tag, tag);
	assert_string_equal(store_failure_name(answer.failure), store_failure_name(failure));
	if (text) {
		assert_non_null(answer.reply);
		assert_string_equal(answer.reply->str, text);
	} else {
		assert_null(answer.reply);
	}
	store_answer_done(lab->store, &answer);
}

void lab_no_answer(struct lab *lab)
{
	struct store_answer answer;
	assert_false(store_answer(lab->store, &answer));
}

void lab_why(struct lab *lab, const char *text)
{
	if (!strstr(store_why(lab->store), text))
		fprintf(stderr, "why: %s\n", store_why(lab->store));
	assert_non_null(strstr(store_why(lab->store), text));
}
