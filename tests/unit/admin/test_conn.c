/* SPDX-License-Identifier: Apache-2.0 */
/* The admin API's connections in simulated time: time limits, and every fault at every operation.
 */
#include "admin/admin.h"

#include "base/clock.h"
#include "fake/ring_fake.h"
#include "fake/socket_fake.h"
#include "net/socket.h"
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sample sample;
static struct loop loop;
static struct admin *admin;
static int listener;

static int setup(void **state)
{
	struct err err;
	const struct ring_limits limits = {.entries = 64, .completions = 256};
	fake_init();
	sample_init(&sample);
	if (loop_init(&loop, &limits, 1, &err) < 0 || ring_enable(&loop.ring, &err) < 0)
		return -1;
	listener = fake_listener();
	if (admin_new(&loop, &sample.proxy, &admin, &err) < 0 ||
		admin_listen(admin, listener, true, &err) < 0)
		return -1;
	return 0;
}

static void pump(void)
{
	fake_pump(&loop, admin_step, admin_reap);
}

static void run(uint64_t ns)
{
	fake_run(&loop, admin_step, admin_reap, ns);
}

static int teardown(void **state)
{
	fake_release();
	admin_close(admin);
	pump();
	if (!admin_idle(admin))
		return -1;
	admin_free(admin);
	socket_close(listener);
	loop_done(&loop);
	fake_done();
	sample_done(&sample);
	return 0;
}

static int dial(void)
{
	int fd = fake_dial(listener);
	pump();
	return fd;
}

static bool heard(int fd, const char *part)
{
	struct str text = fake_peer_received(fd);
	return text.len && memmem(text.at, text.len, part, strlen(part));
}

static void a_request_has_ten_seconds_however_it_drips(void **state)
{
	static const char request[] = "GET /livez HTTP/1.1\r\nHost: x\r\n";
	int fd = dial();
	for (int i = 0; i < 9; i++) {
		fake_peer_send(fd, request + i, 1);
		run(CLOCK_S);
	}
	assert_true(fake_is_open(fd));
	fake_peer_send(fd, request + 9, 1);
	run(2 * CLOCK_S);
	assert_false(fake_is_open(fd));
}

static void silence_after_connecting_ends_too(void **state)
{
	int fd = dial();
	run(11 * CLOCK_S);
	assert_false(fake_is_open(fd));
}

static void an_idle_connection_is_kept_for_the_next_scrape(void **state)
{
	int fd = dial();
	for (int i = 0; i < 3; i++) {
		fake_peer_send_text(fd, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
		run(60 * CLOCK_S);
		assert_true(fake_is_open(fd));
		assert_true(heard(fd, "\r\n\r\nok\n"));
		fake_peer_forget(fd);
	}
	run(16 * CLOCK_S);
	assert_false(fake_is_open(fd));
}

static void who_does_not_take_the_answer_is_cut(void **state)
{
	int fd = dial();
	fake_peer_window(fd, 100);
	fake_peer_send_text(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	run(29 * CLOCK_S);
	assert_true(fake_is_open(fd));
	run(2 * CLOCK_S);
	assert_false(fake_is_open(fd));
}

static void a_reload_that_never_ends_is_answered(void **state)
{
	int fd = dial();
	fake_peer_send_text(fd, "POST /reload HTTP/1.1\r\nHost: x\r\n\r\n");
	run(14 * CLOCK_S);
	assert_false(heard(fd, "HTTP/1.1"));
	run(2 * CLOCK_S);
	assert_true(heard(fd, "HTTP/1.1 202 Accepted\r\n"));
}

static void one_fault(enum fake_kind kind, uint32_t nth, enum fake_fault fault)
{
	int fd = fake_dial(listener);
	fake_peer_send_text(fd, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n");
	fake_fault(kind, nth, fault);
	run(CLOCK_S);
	if (fake_is_open(fd) && fault != FAKE_FAULT_RESET)
		fake_peer_close(fd);
	run(CLOCK_S);
	assert_int_equal(teardown(NULL), 0); /* nothing is left behind */
	assert_int_equal(setup(NULL), 0);
}

static void every_fault_at_every_operation(void **state)
{
	for (int kind = 0; kind < FAKE_KIND_COUNT; kind++)
		for (int fault = 0; fault < FAKE_FAULT_COUNT; fault++)
			for (uint32_t nth = 1; nth <= 4; nth++)
				one_fault((enum fake_kind)kind, nth, (enum fake_fault)fault);
}

/* Completions late and out of order, receives short: the answers come all the same. */
static void answers_survive_chaos(void **state)
{
	for (uint64_t seed = 1; seed <= 30; seed++) {
		fake_chaos(seed);
		int fd = dial();
		fake_peer_send_text(fd, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
					"GET /version HTTP/1.1\r\nHost: x\r\n"
					"Connection: close\r\n\r\n");
		run(CLOCK_S);
		assert_true(heard(fd, "\r\n\r\nok\n"));
		assert_true(heard(fd, "{\"version\":\"" RINGMAIN_VERSION "\"}\n"));
		assert_false(fake_is_open(fd));
		fake_chaos(0);
		assert_int_equal(teardown(NULL), 0);
		assert_int_equal(setup(NULL), 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_has_ten_seconds_however_it_drips),
		TEST(silence_after_connecting_ends_too),
		TEST(an_idle_connection_is_kept_for_the_next_scrape),
		TEST(who_does_not_take_the_answer_is_cut),
		TEST(a_reload_that_never_ends_is_answered),
		TEST(every_fault_at_every_operation),
		TEST(answers_survive_chaos),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
