/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP through the proxy: one request and its response, and what joins them. */
#include "lab.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET(path)	   "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK(body_len, body) "HTTP/1.1 200 OK\r\nContent-Length: " body_len "\r\n\r\n" body

static struct lab lab;

static void start(const char *node)
{
	lab_start(&lab, &(struct lab_options){.node = node});
}

static int ask(enum lab_workload from, const char *text)
{
	int client = lab_dial(&lab, from, LAB_SHOP);
	fake_peer_send_text(client, text);
	lab_pump(&lab);
	return client;
}

static int shop(uint32_t index)
{
	return lab_served(&lab, LAB_SHOP, index);
}

static void say(int fd, const char *text)
{
	fake_peer_send_text(fd, text);
	lab_pump(&lab);
}

/* --- the plain way --- */

static void test_request_and_response(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, "GET /a?b=c HTTP/1.1\r\nHost: Shop\r\nX-Mine: 1\r\n\r\n");
	lab_expect_holds(shop(0), "GET /a?b=c HTTP/1.1\r\n");
	lab_expect_holds(shop(0), "X-Mine: 1\r\n");
	say(shop(0), "HTTP/1.1 200 OK\r\nX-Yours: 2\r\nContent-Length: 5\r\n\r\nhello");
	lab_expect_holds(client, "HTTP/1.1 200 OK\r\n");
	lab_expect_holds(client, "X-Yours: 2\r\n");
	lab_expect_holds(client, "\r\n\r\nhello");
	const struct lab_entry *line = lab_last(&lab, 0);
	assert_int_equal(line->code, 200);
	assert_string_equal(line->details, "NONE");
	assert_string_equal(line->path, "/a?b=c");
	assert_string_equal(line->source, "spiffe://prod.example/service/web");
	assert_int_equal(line->sent, 5);
	lab_finish(&lab);
}

static void test_mesh(void **state)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2});
	int client = lab_dial(&lab, LAB_WEB, LAB_ORDERS);
	fake_peer_send_text(client, "GET /a HTTP/1.1\r\nHost: h\r\nX-Request-Id: r-1\r\n"
				    "X-Forwarded-Client-Cert: forged\r\n\r\n");
	lab_pump(&lab);
	int server = lab_served(&lab, LAB_ORDERS, 0);
	lab_expect_holds(server, "GET /a HTTP/1.1\r\n");
	lab_expect_holds(server, "r-1\r\n");
	lab_expect_lacks(server, "forged");
	lab_expect_holds(server, "x-forwarded-client-cert: By=spiffe://prod.example/service/orders;"
				 "URI=spiffe://prod.example/service/web\r\n");
	say(server, OK("5", "hello"));
	lab_expect_holds(client, "\r\n\r\nhello");
	for (uint32_t m = 0; m < 2; m++) {
		assert_int_equal(lab_last(&lab, m)->code, 200);
		assert_string_equal(lab_last(&lab, m)->source, "spiffe://prod.example/service/web");
	}
	assert_int_equal(lab.machines[0].signed_count, 1);
	assert_int_equal(lab.machines[1].signed_count, 1);
	lab_finish(&lab);
}

static void test_headers_that_the_proxy_writes(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, "GET / HTTP/1.1\r\nHost: h\r\nx-forwarded-client-cert: "
				  "By=a;URI=spiffe://prod.example/service/admin\r\n"
				  "X-Forwarded-Client-Cert: more\r\n\r\n");
	lab_expect_lacks(shop(0), "admin");
	lab_expect_lacks(shop(0), "more");
	lab_expect_holds(shop(0), "x-forwarded-client-cert: By=spiffe://prod.example/service/shop;"
				  "URI=spiffe://prod.example/service/web\r\n");
	lab_expect_holds(shop(0), "x-request-id: ");
	say(shop(0), OK("0", ""));
	say(client, "GET / HTTP/1.1\r\nHost: h\r\nX-Request-ID: mine\r\n\r\n");
	lab_expect_holds(shop(0), "X-Request-ID: mine\r\n");
	lab_finish(&lab);
}

static void test_keep_alive_reuses_both_connections(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/1"));
	say(shop(0), OK("1", "1"));
	say(client, GET("/2"));
	lab_expect_holds(shop(0), "GET /2 ");
	say(shop(0), OK("1", "2"));
	assert_int_equal(fake_opened_count(), 1);
	assert_int_equal(lab_values(&lab, 0)->pool_reused_total, 1);
	lab_expect_holds(client, "\r\n\r\n2");
	/* another connection of the same workload uses it too */
	int other = ask(LAB_WEB, GET("/3"));
	lab_expect_holds(shop(0), "GET /3 ");
	say(shop(0), OK("1", "3"));
	lab_expect_holds(other, "\r\n\r\n3");
	assert_int_equal(fake_opened_count(), 1);
	lab_finish(&lab);
}

/* What `ringmain drain` waits for: requests, not the connections that are kept for the next. */
static void test_requests_in_progress_are_counted_where_they_are_served(void **state)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2});
	int client = lab_dial(&lab, LAB_WEB, LAB_ORDERS), local = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	say(client, GET("/1"));
	say(local, GET("/1"));
	assert_int_equal(lab_serving_count(&lab, 0, LAB_WEB), 0);
	assert_int_equal(lab_serving_count(&lab, 0, LAB_SHOP), 1);
	assert_int_equal(lab_serving_count(&lab, 1, LAB_ORDERS), 1);
	say(lab_served(&lab, LAB_ORDERS, 0), OK("1", "1"));
	say(shop(0), OK("1", "1"));
	assert_int_equal(lab_serving_count(&lab, 0, LAB_SHOP), 0);
	assert_int_equal(lab_serving_count(&lab, 1, LAB_ORDERS), 0);
	assert_int_equal(lab_use(&lab, 1, LAB_ORDERS), 1);

	/* One that is given up ends, too; and a new plan does not change what is counted. */
	say(client, GET("/2"));
	lab_replan(&lab, 1, NULL);
	lab_pump(&lab);
	assert_int_equal(lab_serving_count(&lab, 1, LAB_ORDERS), 1);
	fake_peer_reset(client);
	lab_pump(&lab);
	assert_int_equal(lab_serving_count(&lab, 1, LAB_ORDERS), 0);
	lab_finish(&lab);
}

/* Each send is a system call, and over TLS a record. */
static void test_head_body_and_end_leave_together(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/1"));
	say(shop(0), OK("1", "1"));
	uint32_t before = fake_ops_count(FAKE_SEND);
	say(client, "POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
		    "3\r\nabc\r\n0\r\n\r\n");
	lab_expect_holds(shop(0), "\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
	assert_int_equal(fake_ops_count(FAKE_SEND), before + 1);
	say(shop(0), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		     "3\r\ndef\r\n0\r\n\r\n");
	lab_expect_holds(client, "3\r\ndef\r\n0\r\n\r\n");
	assert_int_equal(fake_ops_count(FAKE_SEND), before + 2);
	assert_int_equal(fake_opened_count(), 1);
	lab_finish(&lab);
}

/* A pipelined request that stands behind the end of the one before must wait for that one's own
 * end, though its response is written already. */
static void test_pipelined_behind_a_chunked_response(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/1") GET("/2"));
	say(shop(0), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		     "3\r\ndef\r\n0\r\n\r\n");
	lab_expect_holds(shop(0), "GET /2 ");
	say(shop(0), OK("3", "two"));
	lab_expect_holds(client, "def\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n");
	lab_expect_holds(client, "two");
	say(client, GET("/3"));
	lab_expect_holds(shop(0), "GET /3 ");
	lab_finish(&lab);
}

/* --- a new plan --- */

/* The requests of a connection that was there before are settled by the plan of now; pooled
 * connections that nothing has changed for go on. */
static void test_new_plan_holds_for_the_next_request(void **state)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2, .serving = LAB_HTTP});
	int client = lab_dial(&lab, LAB_WEB, LAB_ORDERS);
	say(client, GET("/1"));
	for (uint32_t m = 0; m < 2; m++) {
		lab_replan(&lab, m, NULL);
		lab_pump(&lab);
	}
	say(client, GET("/2"));
	assert_int_equal(lab_values(&lab, 0)->pool_opened_total, 1);
	assert_int_equal(atomic_load(&lab.machines[0].plans[0]->holder_count), 0);
	lab_replan(&lab, 1, NULL);
	lab_pump(&lab);
	say(client, GET("/3"));
	say(client, GET("/4"));
	lab_expect_holds(client, "orders:/4");
	assert_int_equal(lab_values(&lab, 0)->pool_opened_total, 1);
	assert_int_equal(lab_values(&lab, 1)->pool_opened_total, 1);
	assert_int_equal(lab_values(&lab, 1)->pool_reused_total, 3);
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 1);
	assert_int_equal(lab_use(&lab, 1, LAB_ORDERS), 1);
	lab_finish(&lab);
}

static void test_two_callers_never_share(void **state)
{
	start(NULL);
	ask(LAB_WEB, GET("/web"));
	say(shop(0), OK("1", "1"));
	ask(LAB_BILLING, GET("/billing"));
	assert_int_equal(fake_opened_count(), 2);
	lab_expect_lacks(shop(0), "billing");
	lab_expect_holds(shop(1), "GET /billing ");
	lab_finish(&lab);
}

static void test_two_callers_never_share_over_the_mesh(void **state)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2, .serving = LAB_HTTP});
	static const enum lab_workload who[] = {LAB_WEB, LAB_BILLING, LAB_WEB, LAB_BILLING};
	for (size_t i = 0; i < ARRAY_LEN(who); i++) {
		int client = lab_dial(&lab, who[i], LAB_ORDERS);
		fake_peer_send_text(client, who[i] == LAB_WEB ? GET("/web") : GET("/billing"));
		lab_pump(&lab);
		lab_expect_holds(client, who[i] == LAB_WEB ? "orders:/web" : "orders:/billing");
	}
	assert_int_equal(lab_values(&lab, 0)->pool_opened_total, 2);
	assert_int_equal(lab_values(&lab, 0)->pool_reused_total, 2);
	for (uint32_t i = 0; i < 2; i++) {
		int server = lab_served(&lab, LAB_ORDERS, i);
		assert_true(lab_holds_text(fake_peer_received(server), "GET /web ") !=
			    lab_holds_text(fake_peer_received(server), "GET /billing "));
	}
	lab_finish(&lab);
}

/* --- pooled connections that have gone stale --- */

static void test_pooled_connection_that_ended_is_let_go(void **state)
{
	start(NULL);
	ask(LAB_WEB, GET("/1"));
	say(shop(0), OK("1", "1"));
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 1);
	fake_peer_close(shop(0));
	lab_pump(&lab);
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 0);
	assert_false(fake_is_open(shop(0)));
	lab_finish(&lab);
}

static struct conn *up_conn(void)
{
	LIST_EACH (&lab_worker(&lab, 0)->live, it) {
		struct carrier *c = CONTAINER_OF(it, struct carrier, being.live);
		if (c->being.task.kind == TASK_CARRIER && c->side == UP)
			return &c->line->conn;
	}
	fail_msg("no upstream connection");
	return NULL;
}

/* Its end is on the way when the next request is sent: as an end, or as a reset. */
static void test_stale_connection_is_tried_again_for_get(void **state)
{
	static const int32_t ends[] = {0, -ECONNRESET};
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		start(NULL);
		int client = ask(LAB_WEB, GET("/1"));
		say(shop(0), OK("1", "1"));
		fake_peer_forget(client);
		fake_socket_script(shop(0));
		say(client, GET("/2"));
		struct conn *up = up_conn();
		fake_complete(&up->recv, ends[i]);
		if (up->send.armed)
			fake_fail(&up->send, -EPIPE);
		lab_pump(&lab);
		assert_int_equal(fake_opened_count(), 2);
		lab_expect_holds(shop(1), "GET /2 ");
		say(shop(1), OK("1", "2"));
		lab_expect_holds(client, "\r\n\r\n2");
		assert_int_equal(lab_values(&lab, 0)->retries_total, 1);
		assert_int_equal(lab_last(&lab, 0)->attempts, 2);
		lab_finish(&lab);
	}
}

static void test_stale_connection_is_not_tried_again_for_post(void **state)
{
	static const char *const posts[] = {
		"POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab",
		"POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
		"PUT /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"};
	for (size_t i = 0; i < ARRAY_LEN(posts); i++) {
		start(NULL);
		int client = ask(LAB_WEB, GET("/1"));
		say(shop(0), OK("1", "1"));
		fake_peer_forget(client);
		fake_fault(FAKE_SEND, 1, FAKE_FAULT_RESET);
		say(client, posts[i]);
		assert_int_equal(fake_opened_count(), 1);
		lab_expect_holds(client, "HTTP/1.1 503 ");
		lab_expect_reason(&lab, 0, "UPSTREAM_CLOSED");
		lab_finish(&lab);
	}
}

static void test_fresh_connection_is_not_tried_again(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/1"));
	fake_peer_close(shop(0));
	lab_pump(&lab);
	lab_expect_holds(client, "HTTP/1.1 503 ");
	assert_int_equal(fake_opened_count(), 1);
	lab_expect_reason(&lab, 0, "UPSTREAM_CLOSED");
	lab_finish(&lab);
}

/* --- shapes of messages --- */

static void test_early_response(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nab");
	say(shop(0), "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
	lab_expect_holds(client, "HTTP/1.1 413 ");
	lab_expect_holds(client, "\r\n\r\nno");
	say(client, "cdefgh");
	assert_int_equal(lab_last(&lab, 0)->code, 413);
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 0);
	fake_peer_shutdown(client);
	lab_run(&lab, 3 * CLOCK_S);
	assert_int_equal(lab_alive(&lab, 0, TASK_CARRIER), 0);
	lab_finish(&lab);
}

static void test_head(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
	say(shop(0), "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
	lab_expect_holds(client, "Content-Length: 1000\r\n");
	fake_peer_forget(client);
	say(client, GET("/2"));
	say(shop(0), OK("1", "2"));
	lab_expect_holds(client, "HTTP/1.1 200 OK\r\n");
	lab_expect_holds(client, "\r\n\r\n2");
	assert_int_equal(fake_opened_count(), 1);
	lab_finish(&lab);
}

static void test_no_body_statuses(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/1"));
	say(shop(0), "HTTP/1.1 204 No Content\r\n\r\n");
	lab_expect_holds(client, "HTTP/1.1 204 ");
	say(client, GET("/2"));
	say(shop(0), "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n");
	lab_expect_holds(client, "HTTP/1.1 304 ");
	say(client, GET("/3"));
	say(shop(0), OK("1", "3"));
	lab_expect_holds(client, "\r\n\r\n3");
	lab_finish(&lab);
}

static void test_interim_responses(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/1"));
	say(shop(0), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
		     "HTTP/1.1 102 Processing\r\n\r\n" OK("1", "1"));
	lab_expect_holds(client, "HTTP/1.1 103 ");
	lab_expect_holds(client, "Link: </a>\r\n");
	lab_expect_holds(client, "HTTP/1.1 102 ");
	lab_expect_holds(client, "\r\n\r\n1");
	assert_int_equal(lab_last(&lab, 0)->code, 200);
	lab_finish(&lab);
}

static void test_expect_continue(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n"
				  "Expect: 100-continue\r\n\r\n");
	lab_expect_holds(shop(0), "100-continue\r\n");
	say(shop(0), "HTTP/1.1 100 Continue\r\n\r\n");
	lab_expect_holds(client, "HTTP/1.1 100 ");
	say(client, "body");
	lab_expect_holds(shop(0), "\r\n\r\nbody");
	say(shop(0), OK("1", "1"));
	lab_expect_holds(client, "\r\n\r\n1");
	lab_finish(&lab);
}

static void test_chunks_and_trailers(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
				  "TE: trailers\r\n\r\n3\r\nabc\r\n");
	lab_expect_holds(shop(0), "abc");
	say(client, "2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n");
	lab_expect_holds(shop(0), "de");
	lab_expect_holds(shop(0), "X-Sum: 5\r\n");
	say(shop(0), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n");
	lab_expect_holds(client, "four");
	say(shop(0), "0\r\nX-End: yes\r\n\r\n");
	lab_expect_holds(client, "X-End: yes\r\n");
	assert_int_equal(lab_last(&lab, 0)->received, 5);
	assert_int_equal(lab_last(&lab, 0)->sent, 4);
	say(client, GET("/2"));
	lab_expect_holds(shop(0), "GET /2 ");
	lab_finish(&lab);
}

static void test_body_until_close(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/1"));
	say(shop(0), "HTTP/1.1 200 OK\r\n\r\nall of ");
	say(shop(0), "it");
	fake_peer_shutdown(shop(0));
	lab_pump(&lab);
	lab_expect_holds(client, "it");
	assert_int_equal(lab_last(&lab, 0)->sent, 9);
	lab_expect_reason(&lab, 0, "NONE");
	fake_peer_forget(client);
	say(client, GET("/2")); /* chunked towards the client, so the connection lives on */
	lab_expect_holds(shop(1), "GET /2 ");
	lab_finish(&lab);
}

static void test_http_1_0_client(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, "GET / HTTP/1.0\r\n\r\n");
	say(shop(0), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "
		     "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
	lab_expect_holds(shop(0), "\r\nHost: 10.77.0.1:8081\r\n");
	lab_expect_lacks(client, "100");
	lab_expect_holds(client, "\r\n\r\nabc");
	assert_true(fake_peer_saw_end(client));
	lab_finish(&lab);
}

static void test_upgrade(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n"
				  "Upgrade: websocket\r\n\r\n");
	lab_expect_holds(shop(0), "websocket");
	say(shop(0), "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: "
		     "websocket\r\n\r\nright behind");
	lab_expect_holds(client, "HTTP/1.1 101 ");
	lab_expect_holds(client, "\r\n\r\nright behind");
	fake_peer_forget(client);
	fake_peer_forget(shop(0));
	say(client, "GET / HTTP/1.1\r\n\r\n");
	lab_expect_received(shop(0), "GET / HTTP/1.1\r\n\r\n"); /* only bytes now */
	say(shop(0), "raw");
	lab_expect_received(client, "raw");
	fake_peer_shutdown(client);
	lab_pump(&lab);
	assert_true(fake_peer_saw_end(shop(0)));
	say(shop(0), "!");
	lab_expect_received(client, "raw!");
	fake_peer_shutdown(shop(0));
	lab_pump(&lab);
	assert_true(fake_peer_saw_end(client));
	assert_int_equal(lab_last(&lab, 0)->code, 101);
	lab_expect_reason(&lab, 0, "NONE");
	lab_finish(&lab);
}

static void test_upgrade_then_reset(void **state)
{
	for (int side = DOWN; side <= UP; side++) {
		start(NULL);
		int client = ask(LAB_WEB, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n"
					  "Upgrade: websocket\r\n\r\n");
		say(shop(0), "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
			     "Upgrade: websocket\r\n\r\n");
		fake_peer_reset(side == DOWN ? client : shop(0));
		lab_pump(&lab);
		assert_true(fake_peer_saw_reset(side == DOWN ? shop(0) : client));
		assert_int_equal(lab_alive(&lab, 0, TASK_EXCHANGE), 0);
		lab_finish(&lab);
	}
}

static void test_upgrade_refused(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n"
				  "Upgrade: websocket\r\n\r\n");
	say(shop(0), OK("2", "no"));
	lab_expect_holds(client, "\r\n\r\nno");
	say(client, GET("/2"));
	lab_expect_holds(shop(0), "GET /2 ");
	lab_finish(&lab);
}

static void test_connect_is_refused(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, "CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n");
	lab_expect_holds(client, "HTTP/1.1 405 ");
	assert_int_equal(fake_opened_count(), 0);
	assert_true(fake_peer_saw_end(client));
	lab_finish(&lab);
}

static void test_pipelining_keeps_the_order(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/1") GET("/2") GET("/3"));
	lab_expect_holds(shop(0), "GET /1 ");
	lab_expect_lacks(shop(0), "GET /2 ");
	say(shop(0), OK("1", "1"));
	lab_expect_holds(shop(0), "GET /2 ");
	say(shop(0), OK("1", "2"));
	say(shop(0), OK("1", "3"));
	struct str got = fake_peer_received(client);
	const char *one = memmem(got.at, got.len, "\r\n\r\n1", 5);
	const char *two = memmem(got.at, got.len, "\r\n\r\n2", 5);
	const char *three = memmem(got.at, got.len, "\r\n\r\n3", 5);
	assert_true(one && two && three && one < two && two < three);
	lab_finish(&lab);
}

/* --- what is wrong with a message --- */

static void test_bad_request_is_answered_and_ended(void **state)
{
	static const struct {
		const char *text, *status;
	} rows[] = {
		{"GET / HTTP/1.1\r\n\r\n", "400"},
		{"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: "
		 "chunked\r\n\r\n",
			"400"},
		{"GET / HTTP/3.1\r\nHost: h\r\n\r\n", "505"},
		{"\x16\x03\x01\x02\x01", "400"},
		{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
		{"GET /%2f HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
		{"GET /../../a HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char expected[32];
		start(NULL);
		int client = ask(LAB_WEB, rows[i].text);
		lab_run(&lab, 10 * CLOCK_MS);
		snprintf(expected, sizeof(expected), "HTTP/1.1 %s ", rows[i].status);
		lab_expect_holds(client, expected);
		assert_true(fake_peer_saw_end(client));
		fake_peer_shutdown(client);
		lab_pump(&lab);
		assert_int_equal(lab_worker(&lab, 0)->connection_count, 0);
		assert_int_equal(lab_last(&lab, 0)->code, atoi(rows[i].status));
		lab_finish(&lab);
	}
}

static void test_bad_request_behind_a_good_one(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/1") "nonsense\r\n\r\n");
	say(shop(0), OK("1", "1"));
	struct str got = fake_peer_received(client);
	const char *good = memmem(got.at, got.len, "HTTP/1.1 200", 12);
	const char *bad = memmem(got.at, got.len, "HTTP/1.1 400", 12);
	assert_true(good && bad && good < bad);
	assert_true(fake_peer_saw_end(client));
	lab_finish(&lab);
}

static void test_client_that_stays_after_its_last_answer_is_cut(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, "nonsense\r\n\r\n");
	assert_true(fake_is_open(client));
	lab_run(&lab, 5 * CLOCK_S);
	assert_false(fake_is_open(client));
	lab_finish(&lab);
}

static void test_bad_response(void **state)
{
	static const char *const rows[] = {
		"SSH-2.0-x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
		"upgrade\r\n\r\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		start(NULL);
		int client = ask(LAB_WEB, GET("/1"));
		say(shop(0), rows[i]);
		lab_expect_holds(client, "HTTP/1.1 502 ");
		assert_string_equal(lab_last(&lab, 0)->flags, "UPE");
		assert_false(fake_is_open(shop(0)));
		say(client, GET("/2")); /* the client's connection is still good */
		lab_expect_holds(shop(1), "GET /2 ");
		lab_finish(&lab);
	}
}

static void test_surplus_bytes_keep_the_connection_from_reuse(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/1"));
	say(shop(0), OK("1", "1") "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
	lab_expect_holds(client, "\r\n\r\n1");
	lab_expect_lacks(client, "poison");
	say(client, GET("/2"));
	lab_expect_holds(shop(1), "GET /2 ");
	lab_expect_lacks(client, "poison");
	lab_finish(&lab);
}

static void test_answer_nobody_asked_for(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/1"));
	say(shop(0), OK("1", "1"));
	fake_peer_forget(client);
	say(shop(0), OK("6", "poison")); /* while it is pooled */
	say(client, GET("/2"));
	lab_expect_lacks(client, "poison");
	lab_expect_holds(shop(1), "GET /2 ");
	lab_finish(&lab);
}

static void test_upstream_ends_in_the_middle(void **state)
{
	static const char *const rows[] = {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (int reset = 0; reset < 2; reset++) {
			start(NULL);
			int client = ask(LAB_WEB, GET("/1"));
			say(shop(0), rows[i]);
			lab_expect_holds(client, "half");
			if (reset)
				fake_peer_reset(shop(0));
			else
				fake_peer_close(shop(0));
			lab_pump(&lab);
			assert_true(fake_peer_saw_reset(client));
			lab_expect_reason(&lab, 0, reset ? "UPSTREAM_ABORTED" : "TRUNCATED");
			assert_int_equal(lab_worker(&lab, 0)->connection_count, 0);
			lab_finish(&lab);
		}
	}
}

static void test_client_goes_in_the_middle(void **state)
{
	for (int what = 0; what < 3; what++) {
		start(NULL);
		int client = ask(
			LAB_WEB, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
		lab_expect_holds(shop(0), "half");
		if (what == 0)
			fake_peer_reset(client);
		else
			fake_peer_shutdown(client);
		if (what == 2)
			fake_peer_close(client);
		lab_pump(&lab);
		assert_true(fake_peer_saw_reset(shop(0))); /* it must not take it for whole */
		assert_int_equal(lab_alive(&lab, 0, TASK_CARRIER), 0);
		assert_string_equal(lab_last(&lab, 0)->flags, "DC");
		lab_finish(&lab);
	}
}

static void test_client_goes_before_the_response(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/1"));
	fake_peer_reset(client);
	lab_pump(&lab);
	assert_int_equal(lab_alive(&lab, 0, TASK_CARRIER), 0);
	lab_expect_reason(&lab, 0, "DOWNSTREAM_CLOSED");
	lab_finish(&lab);
}

/* One that has finished sending still waits for its answer. */
static void test_half_closed_client_gets_its_answer(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/1"));
	fake_peer_shutdown(client);
	lab_pump(&lab);
	say(shop(0), OK("1", "1"));
	lab_expect_holds(client, "\r\n\r\n1");
	assert_true(fake_peer_saw_end(client));
	assert_false(fake_peer_saw_reset(client));
	assert_int_equal(lab_worker(&lab, 0)->connection_count, 0);
	lab_finish(&lab);
}

/* The same, when the end comes after the answer was made but before it was read. */
static void test_half_closed_client_reads_slowly(void **state)
{
	static char answer[12000];
	start(NULL);
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	fake_peer_window(client, 10);
	say(client, GET("/1"));
	int len = snprintf(
		answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n");
	memset(answer + len, 'x', 10000);
	fake_peer_send(shop(0), answer, (size_t)len + 10000);
	lab_pump(&lab);
	assert_int_equal(lab_alive(&lab, 0, TASK_EXCHANGE), 0); /* all in the buffers */
	fake_peer_shutdown(client);
	lab_pump(&lab);
	fake_peer_window(client, SIZE_MAX);
	lab_pump(&lab);
	assert_int_equal(fake_peer_received(client).len, (size_t)len + 10000);
	assert_true(fake_peer_saw_end(client));
	assert_false(fake_peer_saw_reset(client));
	lab_finish(&lab);
}

/* --- refusals --- */

static void test_policy_keeps_the_connection(void **state)
{
	start(NULL);
	int client = ask(LAB_WEB, GET("/secret?x"));
	lab_expect_holds(client, "HTTP/1.1 403 ");
	assert_string_equal(lab_last(&lab, 0)->policy, "no-secret");
	lab_expect_reason(&lab, 0, "POLICY_DENIED");
	assert_int_equal(fake_opened_count(), 0);
	say(client, GET("/open"));
	lab_expect_holds(shop(0), "GET /open ");
	say(shop(0), OK("1", "1"));
	lab_expect_holds(client, "\r\n\r\n1");
	lab_finish(&lab);
}

static void test_policy_sees_the_path_that_is_sent(void **state)
{
	static const char *const rows[] = {
		GET("/a/../secret"), GET("/%73ecret"), GET("//secret"), GET("/./secret")};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		start(NULL);
		int client = ask(LAB_WEB, rows[i]);
		lab_expect_holds(client, "HTTP/1.1 403 ");
		lab_finish(&lab);
	}
}

static void test_policy_at_the_far_end_of_the_mesh(void **state)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2});
	int client = lab_dial(&lab, LAB_WEB, LAB_ORDERS);
	say(client, GET("/secret"));
	lab_expect_holds(client, "HTTP/1.1 403 ");
	assert_int_equal(lab_served(&lab, LAB_ORDERS, 0), -1);
	say(client, GET("/open"));
	lab_expect_holds(lab_served(&lab, LAB_ORDERS, 0), "GET /open ");
	lab_finish(&lab);
}

static void test_upstream_refuses(void **state)
{
	start(NULL);
	struct address to = lab_deliver(LAB_SHOP);
	fake_connect_rule(&to, -ECONNREFUSED);
	int client = ask(LAB_WEB, GET("/1"));
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_FAILED");
	fake_connect_rule(&to, 0);
	say(client, GET("/2"));
	lab_expect_holds(shop(1), "GET /2 ");
	lab_finish(&lab);
}

static void test_upstream_connect_times_out(void **state)
{
	start("timeouts: { connect = \"2s\"; };");
	struct address to = lab_deliver(LAB_SHOP);
	fake_connect_rule(&to, FAKE_PENDING);
	int client = ask(LAB_WEB, GET("/1"));
	lab_run(&lab, 2100 * CLOCK_MS);
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_TIMEOUT");
	lab_finish(&lab);
}

static void test_no_certificate(void **state)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2});
	int client = lab_dial(&lab, LAB_NOCERT, LAB_ORDERS);
	say(client, GET("/1"));
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "NO_IDENTITY");
	lab_finish(&lab);
}

/* --- timeouts --- */

static void test_header_timeout(void **state)
{
	start("timeouts: { header = \"5s\"; };");
	int client = ask(LAB_WEB, "GET / HT");
	lab_run(&lab, 3 * CLOCK_S);
	say(client, "TP/1.1\r\nHo"); /* dribbling does not help */
	lab_run(&lab, 1900 * CLOCK_MS);
	assert_int_equal(fake_peer_received(client).len, 0);
	lab_run(&lab, 200 * CLOCK_MS);
	lab_expect_holds(client, "HTTP/1.1 408 ");
	assert_true(fake_peer_saw_end(client));
	lab_expect_reason(&lab, 0, "HEADER_TIMEOUT");
	lab_finish(&lab);
}

static void test_header_timeout_of_the_second_request(void **state)
{
	start("timeouts: { header = \"5s\"; };");
	int client = ask(LAB_WEB, GET("/1"));
	say(shop(0), OK("1", "1"));
	lab_run(&lab, 60 * CLOCK_S);
	say(client, "GET");
	lab_run(&lab, 4900 * CLOCK_MS);
	lab_expect_lacks(client, "408");
	lab_run(&lab, 200 * CLOCK_MS);
	lab_expect_holds(client, "HTTP/1.1 408 ");
	lab_finish(&lab);
}

static void test_idle_connection_is_closed(void **state)
{
	start("timeouts: { idle = \"60s\"; pool_idle = \"10s\"; };");
	int client = ask(LAB_WEB, GET("/1"));
	say(shop(0), OK("1", "1"));
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 1);
	lab_run(&lab, 11 * CLOCK_S);
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 0);
	assert_false(fake_is_open(shop(0)));
	assert_true(fake_is_open(client));
	lab_run(&lab, 50 * CLOCK_S);
	assert_false(fake_is_open(client));
	assert_false(fake_peer_saw_reset(client));
	lab_finish(&lab);
}

static void test_upstream_does_not_answer(void **state)
{
	start("timeouts: { stream_idle = \"10s\"; };");
	int client = ask(LAB_WEB, GET("/1"));
	lab_run(&lab, 9 * CLOCK_S);
	assert_int_equal(fake_peer_received(client).len, 0);
	lab_run(&lab, 2 * CLOCK_S);
	lab_expect_holds(client, "HTTP/1.1 504 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_TIMEOUT");
	assert_false(fake_is_open(shop(0)));
	say(client, GET("/2"));
	lab_expect_holds(shop(1), "GET /2 ");
	lab_finish(&lab);
}

static void test_client_does_not_send_its_body(void **state)
{
	start("timeouts: { stream_idle = \"10s\"; };");
	int client = ask(LAB_WEB, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
	lab_run(&lab, 11 * CLOCK_S);
	lab_expect_holds(client, "HTTP/1.1 408 ");
	assert_true(fake_peer_saw_end(client));
	assert_true(fake_peer_saw_reset(shop(0)));
	lab_finish(&lab);
}

static void test_request_takes_too_long(void **state)
{
	start("timeouts: { request = \"3s\"; };");
	int client = ask(LAB_WEB, GET("/1"));
	lab_run(&lab, 2 * CLOCK_S);
	assert_int_equal(lab_alive(&lab, 0, TASK_EXCHANGE), 1);
	lab_run(&lab, 2 * CLOCK_S);
	lab_expect_holds(client, "HTTP/1.1 504 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_TIMEOUT");
	lab_finish(&lab);
}

/* It dribbles, so that no idle timer sees it; the upstream is not to blame. */
static void test_request_arrives_too_slowly(void **state)
{
	start("timeouts: { request = \"3s\"; stream_idle = \"2s\"; };");
	int client = ask(LAB_WEB, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n");
	for (int i = 0; i < 4; i++) {
		fake_peer_send_text(client, "x");
		lab_run(&lab, CLOCK_S);
	}
	lab_expect_holds(client, "HTTP/1.1 408 ");
	lab_expect_reason(&lab, 0, "REQUEST_TIMEOUT");
	lab_finish(&lab);
}

static void test_response_that_has_begun_may_take_its_time(void **state)
{
	start("timeouts: { request = \"3s\"; };");
	int client = ask(LAB_WEB, GET("/1"));
	say(shop(0), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
	lab_run(&lab, 20 * CLOCK_S);
	say(shop(0), "+ half");
	lab_expect_holds(client, "\r\n\r\nhalf+ half");
	assert_int_equal(lab_last(&lab, 0)->code, 200);
	lab_finish(&lab);
}

static void test_response_stalls(void **state)
{
	start("timeouts: { stream_idle = \"10s\"; };");
	int client = ask(LAB_WEB, GET("/1"));
	say(shop(0), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
	lab_run(&lab, 9 * CLOCK_S);
	say(shop(0), "x");
	lab_run(&lab, 9 * CLOCK_S);
	assert_int_equal(lab_alive(&lab, 0, TASK_EXCHANGE), 1);
	lab_run(&lab, 2 * CLOCK_S);
	assert_true(fake_peer_saw_reset(client));
	lab_finish(&lab);
}

/* --- room --- */

static void test_slow_client_stops_the_upstream(void **state)
{
	static char bytes[65536];
	start(NULL);
	int client = ask(LAB_WEB, GET("/1"));
	fake_peer_window(client, 0);
	say(shop(0), "HTTP/1.1 200 OK\r\nContent-Length: 655360\r\n\r\n");
	for (int i = 0; i < 10; i++)
		fake_peer_send(shop(0), bytes, sizeof(bytes));
	lab_pump(&lab);
	assert_true(fake_unread(shop(0)) > 8 * sizeof(bytes));
	assert_true(lab_worker(&lab, 0)->buffers.block_count <= 4);
	fake_peer_window(client, SIZE_MAX);
	lab_pump(&lab);
	assert_int_equal(fake_unread(shop(0)), 0);
	assert_int_equal(lab_last(&lab, 0)->sent, 655360);
	assert_int_equal(lab_worker(&lab, 0)->buffers.block_count, 0);
	lab_finish(&lab);
}

static void test_slow_upstream_stops_the_client(void **state)
{
	static char bytes[65536];
	for (int chunked = 0; chunked < 2; chunked++) {
		start(NULL);
		int client = ask(LAB_WEB,
			chunked ? "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
				  "A0000\r\n"
				: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 655360\r\n\r\n");
		fake_peer_window(shop(0), 0);
		for (int i = 0; i < 10; i++)
			fake_peer_send(client, bytes, sizeof(bytes));
		if (chunked)
			fake_peer_send_text(client, "\r\n0\r\n\r\n");
		lab_pump(&lab);
		assert_true(fake_unread(client) > 8 * sizeof(bytes));
		assert_true(lab_worker(&lab, 0)->buffers.block_count <= 4);
		fake_peer_window(shop(0), SIZE_MAX);
		lab_pump(&lab);
		assert_int_equal(fake_unread(client), 0);
		say(shop(0), OK("1", "1"));
		assert_int_equal(lab_last(&lab, 0)->received, 655360);
		lab_finish(&lab);
	}
}

static void test_large_bodies_over_the_mesh(void **state)
{
	static char bytes[65536];
	lab_start(&lab, &(struct lab_options){.machine_count = 2});
	int client = lab_dial(&lab, LAB_WEB, LAB_ORDERS);
	say(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 655360\r\n\r\n");
	for (int i = 0; i < 10; i++)
		fake_peer_send(client, bytes, sizeof(bytes));
	lab_pump(&lab);
	int server = lab_served(&lab, LAB_ORDERS, 0);
	assert_true(fake_peer_received(server).len > 655360);
	say(server, "HTTP/1.1 200 OK\r\nContent-Length: 655360\r\n\r\n");
	for (int i = 0; i < 10; i++)
		fake_peer_send(server, bytes, sizeof(bytes));
	lab_pump(&lab);
	assert_int_equal(lab_last(&lab, 0)->sent, 655360);
	assert_int_equal(lab_last(&lab, 1)->received, 655360);
	lab_finish(&lab);
}

static void test_large_head(void **state)
{
	static char text[16000];
	start(NULL);
	int at = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n");
	while (at < 15500)
		at += snprintf(text + at, sizeof(text) - (size_t)at, "X-%d: %0100d\r\n", at, 0);
	snprintf(text + at, sizeof(text) - (size_t)at, "\r\n");
	int client = ask(LAB_WEB, text);
	assert_int_equal(
		lab_alive(&lab, 0, TASK_EXCHANGE) +
			(uint32_t)lab_holds_text(fake_peer_received(client), "HTTP/1.1 431"),
		1);
	lab_finish(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_and_response),
		cmocka_unit_test(test_mesh),
		cmocka_unit_test(test_headers_that_the_proxy_writes),
		cmocka_unit_test(test_keep_alive_reuses_both_connections),
		cmocka_unit_test(test_requests_in_progress_are_counted_where_they_are_served),
		cmocka_unit_test(test_head_body_and_end_leave_together),
		cmocka_unit_test(test_pipelined_behind_a_chunked_response),
		cmocka_unit_test(test_new_plan_holds_for_the_next_request),
		cmocka_unit_test(test_two_callers_never_share),
		cmocka_unit_test(test_two_callers_never_share_over_the_mesh),
		cmocka_unit_test(test_pooled_connection_that_ended_is_let_go),
		cmocka_unit_test(test_stale_connection_is_tried_again_for_get),
		cmocka_unit_test(test_stale_connection_is_not_tried_again_for_post),
		cmocka_unit_test(test_fresh_connection_is_not_tried_again),
		cmocka_unit_test(test_early_response),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_no_body_statuses),
		cmocka_unit_test(test_interim_responses),
		cmocka_unit_test(test_expect_continue),
		cmocka_unit_test(test_chunks_and_trailers),
		cmocka_unit_test(test_body_until_close),
		cmocka_unit_test(test_http_1_0_client),
		cmocka_unit_test(test_upgrade),
		cmocka_unit_test(test_upgrade_then_reset),
		cmocka_unit_test(test_upgrade_refused),
		cmocka_unit_test(test_connect_is_refused),
		cmocka_unit_test(test_pipelining_keeps_the_order),
		cmocka_unit_test(test_bad_request_is_answered_and_ended),
		cmocka_unit_test(test_bad_request_behind_a_good_one),
		cmocka_unit_test(test_client_that_stays_after_its_last_answer_is_cut),
		cmocka_unit_test(test_bad_response),
		cmocka_unit_test(test_surplus_bytes_keep_the_connection_from_reuse),
		cmocka_unit_test(test_answer_nobody_asked_for),
		cmocka_unit_test(test_upstream_ends_in_the_middle),
		cmocka_unit_test(test_client_goes_in_the_middle),
		cmocka_unit_test(test_client_goes_before_the_response),
		cmocka_unit_test(test_half_closed_client_gets_its_answer),
		cmocka_unit_test(test_half_closed_client_reads_slowly),
		cmocka_unit_test(test_policy_keeps_the_connection),
		cmocka_unit_test(test_policy_sees_the_path_that_is_sent),
		cmocka_unit_test(test_policy_at_the_far_end_of_the_mesh),
		cmocka_unit_test(test_upstream_refuses),
		cmocka_unit_test(test_upstream_connect_times_out),
		cmocka_unit_test(test_no_certificate),
		cmocka_unit_test(test_header_timeout),
		cmocka_unit_test(test_header_timeout_of_the_second_request),
		cmocka_unit_test(test_idle_connection_is_closed),
		cmocka_unit_test(test_upstream_does_not_answer),
		cmocka_unit_test(test_client_does_not_send_its_body),
		cmocka_unit_test(test_request_takes_too_long),
		cmocka_unit_test(test_request_arrives_too_slowly),
		cmocka_unit_test(test_response_that_has_begun_may_take_its_time),
		cmocka_unit_test(test_response_stalls),
		cmocka_unit_test(test_slow_client_stops_the_upstream),
		cmocka_unit_test(test_slow_upstream_stops_the_client),
		cmocka_unit_test(test_large_bodies_over_the_mesh),
		cmocka_unit_test(test_large_head),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
