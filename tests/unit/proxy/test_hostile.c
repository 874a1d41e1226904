/* SPDX-License-Identifier: Apache-2.0 */
/* Callers and servers that mean harm: nothing they send, and no moment at which they send it, may
 * hurt more than their own connection. */
#include "lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK	  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"

static struct lab lab;

static void start(const char *node)
{
	lab_start(&lab, &(struct lab_options){.node = node});
}

static void say(int fd, const char *text)
{
	fake_peer_send_text(fd, text);
	lab_pump(&lab);
}

static int shop(uint32_t index)
{
	return lab_served(&lab, LAB_SHOP, index);
}

/* A response head of about 9 KB: two of them fill a buffer. */
static const char *large_head(const char *line)
{
	static char text[9300];
	int len = snprintf(text, sizeof(text), "%s\r\nX-Large: ", line);
	memset(text + len, 'x', 9000);
	snprintf(text + len + 9000, sizeof(text) - (size_t)len - 9000, "\r\n\r\n");
	return text;
}

static size_t count(struct str in, const char *what)
{
	size_t found = 0;
	for (const char *at = in.at;
		at && (at = memmem(at, in.len - (size_t)(at - in.at), what, strlen(what))); at++)
		found++;
	return found;
}

/* Answers all requests that come; how many there have been. */
static size_t answer(const char *line, size_t answered)
{
	for (; count(fake_peer_received(shop(0)), "GET ") > answered; answered++)
		say(shop(0), large_head(line));
	return answered;
}

/* --- a client that doesn't read, and a head that waits for it --- */

static void test_interim_heads_to_a_client_that_does_not_read(void **state)
{
	start(NULL);
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	fake_peer_window(client, 0);
	say(client, GET("/"));
	for (int i = 0; i < 10; i++)
		say(shop(0), large_head("HTTP/1.1 103 Early Hints"));
	say(shop(0), OK);
	fake_peer_window(client, SIZE_MAX);
	lab_pump(&lab);
	assert_int_equal(
		count(fake_peer_received(client), "HTTP/1.1 103 Early Hints\r\nX-Large: x"), 10);
	lab_expect_holds(client, "HTTP/1.1 200 OK\r\n");
	lab_finish(&lab);
}

static void test_a_head_without_body_waits_for_a_client_that_does_not_read(void **state)
{
	static const char *const lines[] = {"HTTP/1.1 304 Not Modified", "HTTP/1.1 204 No Content",
		"HTTP/1.1 200 OK\r\nContent-Length: 0"};
	for (size_t k = 0; k < ARRAY_LEN(lines); k++) {
		start(NULL);
		int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
		fake_peer_window(client, 0);
		for (int i = 0; i < 8; i++)
			say(client, GET("/"));
		size_t answered = answer(lines[k], 0);
		assert_in_range(answered, 2, 7); /* the last one has no room */
		fake_peer_window(client, SIZE_MAX);
		lab_pump(&lab);
		assert_int_equal(answer(lines[k], answered), 8);
		assert_int_equal(count(fake_peer_received(client), "\r\nX-Large: xxx"), 8);
		lab_finish(&lab);
	}
}

/* --- timing --- */

/* Its completion is recorded, but the carrier's own step is still to come. */
static void test_a_pooled_connection_with_news_is_not_taken(void **state)
{
	for (int end = 0; end < 2; end++) {
		start(NULL);
		int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
		say(client, GET("/1"));
		say(shop(0), OK);
		struct worker *w = lab_worker(&lab, 0);
		struct carrier *down = NULL;
		LIST_EACH (&w->live, it) {
			struct carrier *c = CONTAINER_OF(it, struct carrier, being.live);
			down = c->being.task.kind == TASK_CARRIER && c->side == DOWN ? c : down;
		}
		assert_non_null(down);
		if (end)
			fake_peer_shutdown(shop(0));
		else
			fake_peer_send_text(shop(0), OK "poison");
		loop_wait(&w->loop);
		assert_null(upstream_take(w, &down->call));
		lab_pump(&lab);
		assert_int_equal(lab_values(&lab, 0)->pool_idle, 0);
		lab_finish(&lab);
	}
}

static void test_bytes_before_the_request_are_no_response_to_it(void **state)
{
	for (int order = 0; order < 2; order++) {
		start(NULL);
		int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
		say(client, GET("/1"));
		say(shop(0), OK);
		fake_peer_send_text(order ? client : shop(0), order ? GET("/2") : OK "poison");
		fake_peer_send_text(order ? shop(0) : client, order ? OK "poison" : GET("/2"));
		lab_pump(&lab);
		assert_int_equal(lab_values(&lab, 0)->pool_reused_total, 0);
		lab_expect_lacks(shop(0), "/2");
		lab_expect_holds(shop(1), "GET /2 ");
		say(shop(1), OK);
		assert_int_equal(count(fake_peer_received(client), "HTTP/1.1 200 OK"), 2);
		lab_expect_lacks(client, "poison");
		lab_finish(&lab);
	}
}

static void test_a_last_response_is_not_waited_for_without_end(void **state)
{
	start("timeouts: { stream_idle = \"5s\"; };\n");
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	fake_peer_window(client, 0);
	say(client, "nonsense\r\n\r\n");
	lab_expect_reason(&lab, 0, "SYNTAX");
	for (int i = 0; i < 10 && fake_is_open(client); i++) {
		say(client, "more");
		lab_run(&lab, CLOCK_S);
	}
	assert_false(fake_is_open(client));
	lab_finish(&lab);
}

/* --- limits --- */

static void test_as_many_headers_as_are_allowed(void **state)
{
	char text[4096] = "GET / HTTP/1.1\r\nHost: h\r\n";
	size_t len = strlen(text);
	for (int i = 1; i < 120; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "X-%d: y\r\n", i);
	snprintf(text + len, sizeof(text) - len, "\r\n");
	start("limits: { header_count_max = 120; };\n");
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	say(client, text);
	lab_expect_holds(shop(0), "X-119: y\r\n");
	lab_expect_holds(shop(0), "x-request-id: ");
	lab_expect_holds(shop(0), "x-forwarded-client-cert: ");
	say(shop(0), OK);
	lab_expect_reason(&lab, 0, "NONE");
	lab_finish(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interim_heads_to_a_client_that_does_not_read),
		cmocka_unit_test(test_a_head_without_body_waits_for_a_client_that_does_not_read),
		cmocka_unit_test(test_a_pooled_connection_with_news_is_not_taken),
		cmocka_unit_test(test_bytes_before_the_request_are_no_response_to_it),
		cmocka_unit_test(test_a_last_response_is_not_waited_for_without_end),
		cmocka_unit_test(test_as_many_headers_as_are_allowed),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
