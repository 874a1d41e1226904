/* SPDX-License-Identifier: Apache-2.0 */
/* Checks by HTTP and TCP: what is well, when it counts, and that nothing a workload sends, and no
 * moment at which it goes away, leaves anything behind. */
#include "ward.h"

#include "base/clock.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* To the moment at which the first check has sent its request. */
static int begin_http(void)
{
	ward_start();
	ward_add("http");
	ward_configure();
	ward_run(200 * CLOCK_MS);
	return ward_last();
}

static void answer(int fd, const char *text)
{
	fake_peer_send_text(fd, text);
	ward_pump();
}

static void expect_answer(const char *text, bool end, bool up, const char *why)
{
	int fd = begin_http();
	answer(fd, text);
	if (end)
		fake_peer_shutdown(fd);
	ward_pump();
	ward_expect(up, up ? 0 : 1, why);
	assert_false(fake_is_open(fd));
	ward_finish();
}

static void test_asks_as_it_should(void **state)
{
	int fd = begin_http();
	struct str got = fake_peer_received(fd);
	const char *wanted = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n";
	assert_true(got.len > strlen(wanted));
	assert_memory_equal(got.at, wanted, strlen(wanted));
	char text[512] = "";
	memcpy(text, got.at, got.len < sizeof(text) ? got.len : sizeof(text) - 1);
	assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
	assert_non_null(strstr(text, "\r\nUser-Agent: ringmain-health/"));
	assert_string_equal(text + got.len - 4, "\r\n\r\n");
	assert_false(ward_view(0).asked);
	assert_false(ward_view(0).up);
	answer(fd, OK_ANSWER);
	ward_expect(true, 0, "");
	assert_int_equal(ward.news, 1);
	assert_true(ward_view(0).changed_wall_ns > 0);
	ward_finish();
}

static void test_statuses(void **state)
{
	char text[128], why[32];
	static const int statuses[] = {200, 204, 301, 399, 400, 404, 500, 503, 599};
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		bool up = statuses[i] < 400;
		snprintf(text, sizeof(text), "HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n",
			statuses[i]);
		snprintf(why, sizeof(why), "status %d", statuses[i]);
		expect_answer(text, false, up, up ? "" : why);
	}
}

/* It is an answer like any other: what it points to is asked nothing. */
static void test_a_redirect_is_not_followed(void **state)
{
	static const char *const places[] = {"http://169.254.169.254/latest", "http://127.0.0.1:9/",
		"//10.0.0.1/", "/elsewhere", "https://127.0.0.1:8000/healthz"};
	char text[256];
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		int fd = begin_http();
		snprintf(text, sizeof(text),
			"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
			places[i]);
		uint32_t opened = fake_opened_count();
		answer(fd, text);
		ward_expect(true, 0, "");
		ward_run(CLOCK_S); /* the next check comes later */
		assert_int_equal(fake_opened_count(), opened);
		assert_false(fake_is_open(fd));
		ward_finish();
	}
}

static void test_answers(void **state)
{
	expect_answer("HTTP/1.0 200 OK\r\n\r\nuntil the end", true, true, "");
	expect_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		false, true, "");
	expect_answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" OK_ANSWER,
		false, true, "");
	/* The status is what counts, whatever the body does. */
	expect_answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", true, true, "");
	expect_answer(
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, true, "");
	expect_answer("", true, false, "connection closed without an answer");
	expect_answer("HTTP/1.1 20", true, false, "connection closed without an answer");
	expect_answer("HTTP/1.1 100 Continue\r\n\r\n", true, false,
		"connection closed without an answer");
}

static void test_garbage(void **state)
{
	static const char *const texts[] = {
		"SSH-2.0-OpenSSH_9.2\r\n",
		"\x16\x03\x01\x02\x01",
		"HTTP/1.1 abc\r\n\r\n",
		"HTTP/9.9 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok",
		"\r\n\r\n\r\n",
		"{\"status\":\"UP\"}",
	};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		int fd = begin_http();
		answer(fd, texts[i]);
		fake_peer_shutdown(fd);
		ward_run(3 * CLOCK_S);
		struct health_view v = ward_view(0);
		assert_true(v.asked && !v.up);
		assert_true(v.why[0]);
		assert_false(fake_is_open(fd));
		ward_finish();
	}
}

/* An unasked-for switch of protocols: no more bytes are read as HTTP, and it is not well. */
static void test_switching(void **state)
{
	int fd = begin_http();
	answer(fd, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
		   "Upgrade: websocket\r\n\r\nraw bytes");
	struct health_view v = ward_view(0);
	assert_true(v.asked && !v.up);
	assert_false(fake_is_open(fd));
	ward_finish();
}

static void test_split_answer(void **state)
{
	const char *text = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK_ANSWER;
	for (size_t cut = 1; cut < strlen(text); cut++) {
		int fd = begin_http();
		fake_peer_send(fd, text, cut);
		ward_pump();
		fake_peer_send(fd, text + cut, strlen(text) - cut);
		ward_pump();
		ward_expect(true, 0, "");
		assert_false(fake_is_open(fd));
		ward_finish();
	}
	int fd = begin_http();
	for (size_t i = 0; i < strlen(text); i++) {
		fake_peer_send(fd, text + i, 1);
		ward_pump();
	}
	ward_expect(true, 0, "");
	ward_finish();
}

/* Until the body is there, the workload can send it; but not for ever, and not without end. */
static void test_body_is_taken_within_bounds(void **state)
{
	static char bytes[200000];
	int fd = begin_http();
	answer(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
	ward_expect(true, 0, "");
	assert_true(fake_is_open(fd));
	fake_peer_send(fd, bytes, 1000);
	ward_run(CLOCK_S);
	assert_true(fake_is_open(fd));
	ward_run(CLOCK_S);
	assert_false(fake_is_open(fd)); /* its time is over */
	ward_expect(true, 0, "");
	ward_finish();

	fd = begin_http();
	answer(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
	fake_peer_send(fd, bytes, sizeof(bytes));
	ward_pump();
	assert_false(fake_is_open(fd));
	ward_expect(true, 0, "");
	ward_finish();
}

static void test_heads_are_bounded(void **state)
{
	static char bytes[70000];
	memset(bytes, 'a', sizeof(bytes));
	int fd = begin_http();
	answer(fd, "HTTP/1.1 200 OK\r\nX: ");
	fake_peer_send(fd, bytes, sizeof(bytes));
	ward_pump();
	ward_expect(false, 1, "answer not understood: header section too large");
	ward_finish();

	fd = begin_http();
	for (int i = 0; i < 3; i++) {
		fake_peer_send_text(fd, "HTTP/1.1 103 Early Hints\r\nX: ");
		fake_peer_send(fd, bytes, 30000);
		fake_peer_send_text(fd, "\r\n\r\n");
		ward_pump();
	}
	ward_expect(false, 1, "no status in the first 64 KiB");
	assert_false(fake_is_open(fd));
	ward_finish();
}

static void test_timeouts(void **state)
{
	ward_start();
	ward_add("http");
	fake_connect_rule(NULL, FAKE_PENDING);
	ward_configure();
	ward_run(1900 * CLOCK_MS);
	assert_false(ward_view(0).asked);
	ward_run(300 * CLOCK_MS);
	ward_expect(false, 1, "no connection to 127.0.0.1:8000 in 2 s");
	assert_false(fake_is_open(ward_last()));
	ward_finish();

	int fd = begin_http(); /* no byte of an answer */
	ward_run(2 * CLOCK_S);
	ward_expect(false, 1, "no answer in 2 s");
	assert_false(fake_is_open(fd));
	ward_finish();

	fd = begin_http(); /* half of one, drop by drop */
	for (const char *at = "HTTP/1.1 2"; *at; at++) {
		fake_peer_send(fd, at, 1);
		ward_run(180 * CLOCK_MS);
	}
	assert_false(ward_view(0).asked);
	ward_run(200 * CLOCK_MS);
	ward_expect(false, 1, "no answer in 2 s");
	ward_finish();

	ward_start(); /* the request is not taken */
	ward_add("http")->health.timeout_ms = 250;
	fake_connect_rule(NULL, FAKE_PENDING);
	ward_configure();
	ward_run(150 * CLOCK_MS);
	fake_peer_window(ward_last(), 0);
	fake_connect_rule(NULL, 0);
	ward_run(CLOCK_S);
	ward_expect(false, 1, "no answer in 250 ms");
	assert_false(fake_is_open(ward_last()));
	ward_finish();
}

static void test_tcp(void **state)
{
	ward_start();
	ward_add("tcp");
	ward_configure();
	ward_run(200 * CLOCK_MS);
	ward_expect(true, 0, "");
	assert_int_equal(fake_opened_count(), 1);
	assert_false(fake_is_open(ward_last()));
	assert_true(fake_peer_saw_end(ward_last()));
	assert_int_equal(fake_peer_received(ward_last()).len, 0);
	fake_connect_rule(NULL, -ECONNREFUSED);
	ward_run(11 * CLOCK_S);
	ward_expect(true, 2, "connection refused by 127.0.0.1:8000");
	ward_run(5 * CLOCK_S);
	ward_expect(false, 3, "connection refused by 127.0.0.1:8000");
	fake_connect_rule(NULL, -EHOSTUNREACH);
	ward_run(5 * CLOCK_S);
	ward_expect(false, 4, "no connection to 127.0.0.1:8000: No route to host");
	fake_connect_rule(NULL, FAKE_PENDING);
	ward_run(7 * CLOCK_S);
	ward_expect(false, 5, "no connection to 127.0.0.1:8000 in 2 s");
	ward_finish();
}

static void test_talking_to_itself_is_no_answer(void **state)
{
	ward_start();
	struct conf_workload *w = ward_add("tcp");
	fake_connect_rule(NULL, FAKE_PENDING);
	ward_configure();
	ward_run(200 * CLOCK_MS);
	fake_set_local(ward_last(), &w->deliver);
	fake_connect_rule(NULL, 0);
	ward_pump();
	ward_expect(false, 1, "connection refused by 127.0.0.1:8000");
	ward_finish();
}

/* Three failures in a row turn it down, two good results in a row turn it up. */
static void test_thresholds(void **state)
{
	ward_start();
	ward_add("tcp");
	ward_configure();
	ward_run(200 * CLOCK_MS);
	ward_expect(true, 0, "");
	uint64_t up_since = ward_view(0).changed_wall_ns;
	static const char outcomes[] = "BBGBBGBBBBGBGGB";
	static const char ups[] = "UUUUUUUUDDDDDUU";
	uint32_t news = ward.news;
	for (size_t i = 0; outcomes[i]; i++) {
		uint32_t count = fake_opened_count();
		fake_connect_rule(NULL, outcomes[i] == 'B' ? -ECONNREFUSED : 0);
		while (fake_opened_count() == count)
			ward_run(100 * CLOCK_MS);
		assert_int_equal(ward_view(0).up, ups[i] == 'U');
	}
	assert_int_equal(ward.news, news + 2);
	assert_true(ward_view(0).changed_wall_ns > up_since);
	ward_finish();
}

static void test_first_result_counts_at_once(void **state)
{
	ward_start();
	ward_add("tcp");
	fake_connect_rule(NULL, -ECONNREFUSED);
	ward_configure();
	assert_false(ward_view(0).asked || ward_view(0).up);
	ward_run(200 * CLOCK_MS);
	ward_expect(false, 1, "connection refused by 127.0.0.1:8000");
	assert_int_equal(ward_view(0).changed_wall_ns, 0);
	fake_connect_rule(NULL, 0);
	ward_run(6 * CLOCK_S);
	assert_false(ward_view(0).up); /* the first good one is not enough any more */
	assert_string_equal(ward_view(0).why, "connection refused by 127.0.0.1:8000");
	ward_run(6 * CLOCK_S);
	ward_expect(true, 0, "");
	ward_finish();
}

static void test_interval_has_jitter(void **state)
{
	uint64_t shortest = UINT64_MAX, longest = 0, last = 0;
	ward_start();
	ward_add("tcp");
	ward_configure();
	for (int i = 0; i < 60; i++) {
		uint32_t count = fake_opened_count();
		while (fake_opened_count() == count)
			ward_run(10 * CLOCK_MS);
		uint64_t between = ward.loop.now_ns - last;
		last = ward.loop.now_ns;
		if (i == 0)
			continue;
		shortest = between < shortest ? between : shortest;
		longest = between > longest ? between : longest;
	}
	assert_in_range(shortest, 4480 * CLOCK_MS, 4800 * CLOCK_MS);
	assert_in_range(longest, 5200 * CLOCK_MS, 5520 * CLOCK_MS);
	ward_finish();
}

/* 256 workloads that all hang: never more than so many at once, and all get their turn. */
static void test_few_ask_at_once(void **state)
{
	ward_start();
	for (int i = 0; i < 256; i++) {
		struct conf_workload *w = ward_add("tcp");
		w->health.timeout_ms = 200;
	}
	fake_connect_rule(NULL, FAKE_PENDING);
	ward_configure();
	for (int i = 0; i < 200; i++) {
		ward_run(10 * CLOCK_MS);
		assert_true(fake_open_count() <= HEALTH_ASKING_MAX);
	}
	for (uint32_t i = 0; i < 256; i++)
		assert_true(ward_view(i).asked && !ward_view(i).up);
	fake_connect_rule(NULL, 0);
	ward_run(12 * CLOCK_S);
	for (uint32_t i = 0; i < 256; i++)
		assert_true(ward_view(i).up);
	ward_finish();
}

/* What we have not got is not the workload's fault. */
static void test_shortage_is_no_failure(void **state)
{
	ward_start();
	ward_add("tcp");
	fake_open_fails(1, -EMFILE);
	ward_configure();
	ward_run(CLOCK_S);
	assert_false(ward_view(0).asked);
	assert_string_equal(ward_view(0).why, "no socket: Too many open files");
	ward_run(5 * CLOCK_S);
	ward_expect(true, 0, "");
	fake_open_fails(5, -EMFILE);
	ward_run(22 * CLOCK_S);
	ward_expect(true, 0, "no socket: Too many open files");
	ward_run(10 * CLOCK_S);
	ward_expect(true, 0, "");
	fake_connect_rule(NULL, -EADDRNOTAVAIL);
	ward_run(60 * CLOCK_S);
	assert_true(ward_view(0).up);
	ward_finish();
}

static void test_unchecked_is_up(void **state)
{
	ward_start();
	ward_add("none");
	ward_configure();
	ward_run(10 * CLOCK_S);
	struct health_view v = ward_view(0);
	assert_true(v.up && !v.checked && !v.asked);
	assert_string_equal(v.why, "");
	assert_int_equal(fake_opened_count(), 0);
	ward_finish();
}

/* --- new configurations --- */

static void test_same_checks_go_on(void **state)
{
	int fd = begin_http();
	struct conf_workload first = ward.workloads[0];
	ward.workload_count = 0; /* it comes second now */
	ward_add("tcp")->uid = 2000;
	ward_add("none");
	ward.workloads[1] = first;
	ward_configure();
	ward_run(200 * CLOCK_MS);
	assert_true(fake_is_open(fd));
	answer(fd, OK_ANSWER);
	assert_true(ward_view(1).up && ward_view(1).asked);
	assert_true(ward_view(0).up && ward_view(0).asked);
	uint32_t count = fake_opened_count();
	ward_configure();
	ward_run(CLOCK_S);
	assert_int_equal(fake_opened_count(), count);
	ward_finish();
}

/* Every part of what a check is makes it another one; what is known of the workload stays. */
static void test_changed_check_keeps_what_is_known(void **state)
{
	for (int part = 0; part < 8; part++) {
		ward_start();
		struct conf_workload *w = ward_add("tcp");
		ward_configure();
		ward_run(200 * CLOCK_MS);
		ward_expect(true, 0, "");
		struct check *before = ward_check(0);
		struct conf_health *health = &w->health;
		health->interval_ms += part == 0;
		health->timeout_ms += part == 1;
		health->unhealthy_count += part == 2;
		health->healthy_count += part == 3;
		w->deliver.port = (uint16_t)(w->deliver.port + (part == 4));
		if (part == 5)
			w->service = STR("ledger");
		if (part == 6) {
			health->tcp = false;
			health->http = STR("/x");
		}
		ward_configure();
		assert_int_equal(ward_check(0) == before, part == 7);
		assert_true(ward_view(0).up);
		fake_connect_rule(NULL, -ECONNREFUSED);
		ward_run(2 * CLOCK_S);
		assert_true(ward_view(0).up); /* one failure is not enough */
		ward_finish();
	}
}

static void test_first_check_of_a_known_workload(void **state)
{
	ward_start();
	struct conf_workload *w = ward_add("none");
	ward_configure();
	w->health.tcp = true;
	fake_connect_rule(NULL, FAKE_PENDING);
	ward_configure();
	ward_run(CLOCK_S);
	assert_true(ward_view(0).up && !ward_view(0).asked);
	fake_connect_rule(NULL, -ECONNREFUSED);
	ward_pump();
	ward_expect(false, 1, "connection refused by 127.0.0.1:8000");
	w->uid++; /* another workload */
	ward_configure();
	assert_false(ward_view(0).up || ward_view(0).asked);
	fake_connect_rule(NULL, 0);
	ward_run(CLOCK_S);
	ward_expect(true, 0, "");
	ward_finish();
}

static void test_configured_while_asking(void **state)
{
	int fd = begin_http();
	ward.workload_count = 0;
	ward_configure();
	ward_pump();
	assert_false(fake_is_open(fd));
	assert_true(list_empty(&ward.health->closing));
	ward_add("http");
	ward_configure();
	ward_configure();
	ward_run(200 * CLOCK_MS);
	assert_int_not_equal(ward_last(), fd);
	ward.workloads[0].health.http = STR("/other");
	ward_configure();
	ward_run(200 * CLOCK_MS);
	answer(ward_last(), OK_ANSWER);
	ward_expect(true, 0, "");
	ward_finish();
}

static void test_out_of_memory_changes_nothing(void **state)
{
	for (uint32_t nth = 1;; nth++) {
		ward_start();
		ward_add("tcp");
		ward_configure();
		ward_run(200 * CLOCK_MS);
		struct check *before = ward_check(0);
		ward_add("tcp");
		ward_add("http");
		const struct conf conf = {
			.workloads = ward.workloads, .workload_count = ward.workload_count};
		ward_starve(nth, 0);
		bool ok = health_configure(ward.health, &conf);
		ward_starve(0, 0);
		assert_ptr_equal(ward_check(0), before);
		ward_run(5 * CLOCK_S);
		ward_expect(true, 0, "");
		ward_finish();
		if (ok)
			break;
		assert_true(nth < 10);
	}
}

/* No memory for the answer's codec: asked again, later. */
static void test_out_of_memory_while_asking(void **state)
{
	ward_start();
	ward_add("http");
	ward.answer = OK_ANSWER;
	fake_connect_rule(NULL, FAKE_PENDING);
	ward_configure();
	ward_run(200 * CLOCK_MS);
	fake_connect_rule(NULL, 0);
	ward_starve(1, 160); /* the simulated kernel takes small pieces */
	ward_pump();
	ward_starve(0, 0);
	assert_false(ward_view(0).asked);
	assert_string_equal(ward_view(0).why, "no request: Cannot allocate memory");
	ward_run(6 * CLOCK_S);
	ward_expect(true, 0, "");
	ward_finish();
}

/* --- the end, and everything that can go wrong --- */

static void test_closed_at_every_stage(void **state)
{
	for (int stage = 0; stage < 6; stage++) {
		ward_start();
		ward_add("http");
		if (stage == 1)
			fake_connect_rule(NULL, FAKE_PENDING);
		ward_configure();
		if (stage > 0)
			ward_run(200 * CLOCK_MS);
		if (stage == 3)
			answer(ward_last(), "HTTP/1.1 20");
		if (stage == 4)
			answer(ward_last(), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
		if (stage == 5)
			answer(ward_last(), OK_ANSWER);
		ward_finish();
	}
}

static void test_reset(void **state)
{
	int fd = begin_http();
	fake_peer_reset(fd);
	ward_pump();
	ward_expect(false, 1, "connection reset without an answer");
	ward_finish();
	fd = begin_http(); /* after the answer */
	fake_peer_send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
	fake_peer_reset(fd);
	ward_pump();
	ward_expect(true, 0, "");
	ward_finish();
}

/* Each operation of a check, with each fault: it comes to a result, or is cut short by its time;
 * the next check is well again, and nothing is left behind. */
static void test_faults(void **state)
{
	static const enum fake_kind kinds[] = {FAKE_CONNECT, FAKE_SEND, FAKE_RECV};
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		for (int fault = FAKE_FAULT_SHORT; fault < FAKE_FAULT_COUNT; fault++) {
			ward_start();
			ward_add("http");
			ward.answer = OK_ANSWER;
			fake_fault(kinds[k], 1, (enum fake_fault)fault);
			ward_configure();
			ward_run(3 * CLOCK_S);
			fake_release();
			ward_run(13 * CLOCK_S);
			assert_int_equal(fake_faults_left(), 0);
			ward_expect(true, 0, "");
			ward_finish();
		}
	}
}

/* The same, and closed at once. */
static void test_faults_while_closing(void **state)
{
	static const enum fake_kind kinds[] = {FAKE_CONNECT, FAKE_SEND, FAKE_RECV};
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		for (int fault = FAKE_FAULT_SHORT; fault < FAKE_FAULT_COUNT; fault++) {
			ward_start();
			ward_add("http");
			fake_fault(kinds[k], 1, (enum fake_fault)fault);
			ward_configure();
			ward_run(200 * CLOCK_MS);
			ward_finish();
		}
	}
}

static void test_chaos(void **state)
{
	for (uint64_t seed = 1; seed <= 30; seed++) {
		ward_start();
		for (int i = 0; i < 20; i++)
			ward_add(i % 3 == 0 ? "tcp" : "http");
		ward.answer = OK_ANSWER;
		fake_chaos(seed);
		ward_configure();
		ward_run(2 * CLOCK_S);
		ward.workload_count = 10;
		ward_configure();
		ward_run(20 * CLOCK_S);
		for (uint32_t i = 0; i < 10; i++)
			assert_true(ward_view(i).up);
		ward_finish();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_asks_as_it_should),
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_a_redirect_is_not_followed),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_switching),
		cmocka_unit_test(test_split_answer),
		cmocka_unit_test(test_body_is_taken_within_bounds),
		cmocka_unit_test(test_heads_are_bounded),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_talking_to_itself_is_no_answer),
		cmocka_unit_test(test_thresholds),
		cmocka_unit_test(test_first_result_counts_at_once),
		cmocka_unit_test(test_interval_has_jitter),
		cmocka_unit_test(test_few_ask_at_once),
		cmocka_unit_test(test_shortage_is_no_failure),
		cmocka_unit_test(test_unchecked_is_up),
		cmocka_unit_test(test_same_checks_go_on),
		cmocka_unit_test(test_changed_check_keeps_what_is_known),
		cmocka_unit_test(test_first_check_of_a_known_workload),
		cmocka_unit_test(test_configured_while_asking),
		cmocka_unit_test(test_out_of_memory_changes_nothing),
		cmocka_unit_test(test_out_of_memory_while_asking),
		cmocka_unit_test(test_closed_at_every_stage),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_faults_while_closing),
		cmocka_unit_test(test_chaos),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
