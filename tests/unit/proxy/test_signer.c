/* SPDX-License-Identifier: Apache-2.0 */
/* The line to the keeper's keys: answers in any order, askers that go away, a keeper that does. */
#include "fake/ring_fake.h"
#include "fake/socket_fake.h"
#include "net/socket.h"
#include "proxy/signer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ASKER_COUNT 4

static struct place {
	struct loop loop;
	struct signer signer;
	struct task tasks[ASKER_COUNT];
	struct signature wanted[ASKER_COUNT];
	struct signature more[WIRE_SIGN_BATCH];
	uint32_t told[ASKER_COUNT]; /* steps of the asker */
	int fd;
} place;

enum { TASK_OF_SIGNER = 1, TASK_OF_ASKER };

static void place_step(struct task *t)
{
	if (t->kind == TASK_OF_SIGNER)
		signer_step(&place.signer);
	else
		place.told[t - place.tasks]++;
}

static void place_pump(void)
{
	fake_pump(&place.loop, place_step, NULL);
}

static void place_start(void)
{
	struct ring_limits limits = {.entries = 64, .completions = 256};
	struct err err;
	fake_init();
	place = (struct place){.fd = fake_socket()};
	fake_socket_packets(place.fd);
	assert_int_equal(loop_init(&place.loop, &limits, 1, &err), 0);
	signer_init(&place.signer, &place.loop, place.fd, TASK_OF_SIGNER);
	for (int i = 0; i < ASKER_COUNT; i++) {
		task_init(&place.tasks[i], TASK_OF_ASKER);
		signature_init(&place.wanted[i], &place.tasks[i]);
	}
	signer_start(&place.signer);
}

static void place_finish(void)
{
	(void)signer_close(&place.signer);
	fake_release();
	place_pump();
	assert_true(signer_close(&place.signer));
	place_pump();
	loop_done(&place.loop);
	socket_close(place.fd);
	fake_done();
}

static void ask(int asker, const char *text)
{
	struct tls_sign_request request = {.key_number = (uint32_t)asker + 10,
		.algorithm = 0x0403,
		.bytes = (const uint8_t *)text,
		.len = strlen(text)};
	signer_ask(&place.signer, &place.wanted[asker], &request);
}

static struct wire_sign question(uint32_t index)
{
	struct wire_sign q;
	struct str got = fake_peer_received(place.fd);
	assert_true(got.len >= (index + 1) * sizeof(q));
	memcpy(&q, got.at + index * sizeof(q), sizeof(q));
	return q;
}

static void answer(uint64_t number, const char *text)
{
	struct wire_signed a = {.head = {.magic = WIRE_MAGIC, .kind = WIRE_SIGNED},
		.request = number,
		.len = (uint32_t)strlen(text)};
	memcpy(a.bytes, text, a.len);
	fake_peer_send(place.fd, &a, sizeof(a));
	place_pump();
}

static void expect_answer(int asker, const char *text)
{
	const struct signature *s = &place.wanted[asker];
	assert_true(s->answered);
	assert_int_equal(s->len, strlen(text));
	assert_memory_equal(s->bytes, text, s->len);
	assert_int_equal(place.told[asker], 1);
}

static void test_answers_in_any_order(void **state)
{
	place_start();
	for (int i = 0; i < ASKER_COUNT; i++)
		ask(i, "to be signed");
	place_pump();
	for (uint32_t i = 0; i < ASKER_COUNT; i++) {
		struct wire_sign q = question(i);
		assert_int_equal(q.head.magic, WIRE_MAGIC);
		assert_int_equal(q.head.kind, WIRE_SIGN);
		assert_int_equal(q.key_number, i + 10);
		assert_int_equal(q.len, 12);
		assert_memory_equal(q.bytes, "to be signed", 12);
	}
	answer(question(2).request, "two");
	answer(question(0).request, "zero");
	answer(question(3).request, ""); /* refused */
	expect_answer(2, "two");
	expect_answer(0, "zero");
	expect_answer(3, "");
	assert_false(place.wanted[1].answered);
	place_finish();
	expect_answer(1, ""); /* the close refuses what is left */
}

static void test_one_message_for_all(void **state)
{
	struct wire_signed answers[WIRE_SIGN_BATCH];
	place_start();
	for (int i = 0; i < ASKER_COUNT; i++)
		ask(i, "to be signed");
	assert_false(place.signer.send.armed); /* others may ask in this turn, too */
	place_pump();
	assert_int_equal(place.signer.sending_count, ASKER_COUNT);
	assert_int_equal(fake_peer_received(place.fd).len, ASKER_COUNT * sizeof(struct wire_sign));
	for (uint32_t i = 0; i < ASKER_COUNT; i++) {
		answers[i] = (struct wire_signed){.head = {WIRE_MAGIC, WIRE_SIGNED},
			.request = question(ASKER_COUNT - 1 - i).request,
			.len = 1,
			.bytes = {(uint8_t)('0' + ASKER_COUNT - 1 - i)}};
	}
	fake_peer_send(place.fd, answers, ASKER_COUNT * sizeof(answers[0]));
	place_pump();
	for (int i = 0; i < ASKER_COUNT; i++)
		expect_answer(i, (char[]){(char)('0' + i), '\0'});
	place_finish();
}

static void test_more_than_one_message(void **state)
{
	place_start();
	for (int i = 0; i < ASKER_COUNT; i++)
		ask(i, "first");
	for (int i = 0; i < WIRE_SIGN_BATCH; i++) {
		signature_init(&place.more[i], &place.tasks[0]);
		signer_ask(&place.signer, &place.more[i],
			&(struct tls_sign_request){10, 0x0403, (const uint8_t *)"more", 4});
	}
	place_pump();
	assert_int_equal(fake_peer_received(place.fd).len,
		(ASKER_COUNT + WIRE_SIGN_BATCH) * sizeof(struct wire_sign));
	assert_int_equal(place.signer.sending_count, ASKER_COUNT);
	for (uint32_t i = 0; i < ASKER_COUNT + WIRE_SIGN_BATCH; i++)
		answer(question(i).request, "x");
	for (int i = 0; i < WIRE_SIGN_BATCH; i++)
		assert_true(place.more[i].answered);
	place_finish();
}

static void test_asker_goes_away(void **state)
{
	place_start();
	ask(0, "a");
	ask(1, "b"); /* not even sent yet */
	signer_forget(&place.wanted[1]);
	place_pump();
	signer_forget(&place.wanted[0]);
	answer(question(0).request, "late");
	assert_int_equal(place.told[0], 0);
	assert_int_equal(place.told[1], 0);
	ask(0, "c"); /* the same one asks again: an old answer is not for it */
	place_pump();
	answer(question(0).request, "old");
	assert_false(place.wanted[0].answered);
	answer(question(1).request, "new");
	expect_answer(0, "new");
	place_finish();
}

static void test_answers_to_nobody(void **state)
{
	place_start();
	answer(77, "nobody asked");
	ask(0, "a");
	place_pump();
	answer(question(0).request + 1, "no");
	assert_false(place.wanted[0].answered);
	answer(question(0).request, "yes");
	answer(question(0).request, "again");
	expect_answer(0, "yes");
	place_finish();
}

static void test_too_long_a_question(void **state)
{
	static char text[WIRE_SIGN_BYTES_MAX + 2];
	memset(text, 'x', sizeof(text) - 1);
	place_start();
	ask(0, text);
	place_pump();
	expect_answer(0, "");
	assert_int_equal(fake_peer_received(place.fd).len, 0);
	place_finish();
}

static void test_keeper_that_answers_nonsense(void **state)
{
	struct wire_signed good = {
		.head = {.magic = WIRE_MAGIC, .kind = WIRE_SIGNED}, .request = 1};
	for (int what = 0; what < 5; what++) {
		struct wire_signed a = good;
		place_start();
		ask(0, "a");
		ask(1, "b");
		place_pump();
		if (what == 0)
			a.head.magic++;
		if (what == 1)
			a.head.kind = WIRE_SIGN;
		if (what == 2)
			a.len = sizeof(a.bytes) + 1;
		if (what < 4)
			fake_peer_send(place.fd, &a, what == 3 ? sizeof(a) - 1 : sizeof(a));
		else
			fake_peer_close(place.fd);
		place_pump();
		expect_answer(0, "");
		if (what != 2) { /* the line is of no more use */
			expect_answer(1, "");
			ask(2, "c");
			place_pump();
			expect_answer(2, "");
		}
		place_finish();
	}
}

static void test_every_fault(void **state)
{
	for (int kind = FAKE_READ; kind <= FAKE_SEND; kind++) {
		for (uint32_t nth = 1; nth <= 3; nth++) {
			for (int fault = 1; fault < FAKE_FAULT_COUNT; fault++) {
				place_start();
				fake_fault((enum fake_kind)kind, nth, (enum fake_fault)fault);
				for (int i = 0; i < ASKER_COUNT; i++)
					ask(i, "sign this");
				place_pump();
				size_t sent =
					fake_peer_received(place.fd).len / sizeof(struct wire_sign);
				for (uint32_t i = 0; i < sent && !place.signer.broken; i++)
					answer(question(i).request, "signed");
				place_finish();
				for (int i = 0; i < ASKER_COUNT; i++) {
					assert_true(place.wanted[i].answered);
					assert_int_equal(place.told[i], 1);
					assert_true(place.wanted[i].len == 0 ||
						    place.wanted[i].len == 6);
				}
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_in_any_order),
		cmocka_unit_test(test_one_message_for_all),
		cmocka_unit_test(test_more_than_one_message),
		cmocka_unit_test(test_asker_goes_away),
		cmocka_unit_test(test_answers_to_nobody),
		cmocka_unit_test(test_too_long_a_question),
		cmocka_unit_test(test_keeper_that_answers_nonsense),
		cmocka_unit_test(test_every_fault),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
