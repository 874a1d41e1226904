/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that share a connection between two machines. */
#include "far.h"

#include "net/channel.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK	  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"

#define ORDERS_NAME "8080.orders.prod.example"
#define ORDERS_ID   "spiffe://prod.example/service/orders"

#define TRUST	     "trust_domain = \"prod.example\";"
#define WITHOUT	     TRUST " channels = false;"
#define POOL_IDLE_NS (60 * CLOCK_S)
#define LEAF_S	     3600

static struct lab lab;

static void start_with(enum lab_serving serving, const char *node)
{
	lab_start(
		&lab, &(struct lab_options){.machine_count = 2, .serving = serving, .node = node});
}

static void start(enum lab_serving serving)
{
	start_with(serving, NULL);
}

static void replan(uint32_t machine, const char *from, const char *to)
{
	lab.edits[0] = (struct lab_edit){from, to};
	lab_replan(&lab, machine, NULL);
	lab_pump(&lab);
}

static void say(int fd, const char *text)
{
	fake_peer_send_text(fd, text);
	lab_pump(&lab);
}

static int ask(enum lab_workload from, const char *text)
{
	int client = lab_dial(&lab, from, LAB_ORDERS);
	say(client, text);
	return client;
}

static int orders(uint32_t index)
{
	int fd = lab_served(&lab, LAB_ORDERS, index);
	assert_int_not_equal(fd, -1);
	return fd;
}

static uint32_t trunks(uint32_t machine)
{
	return lab_alive(&lab, machine, TASK_TRUNK);
}

/* The near end of the nth connection to the other machine. */
static int shared(uint32_t index)
{
	struct address mesh = lab_mesh_address(1);
	return lab_connected(&mesh, index);
}

/* --- one connection --- */

static void test_many_requests_share_one_connection(void **state)
{
	int clients[64];
	start(LAB_BY_HAND);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		clients[i] = lab_dial(&lab, LAB_WEB, LAB_ORDERS);
		fake_peer_send_text(clients[i], GET("/x"));
	}
	lab_pump(&lab);
	/* those that came during the handshake waited for it */
	assert_int_equal(shared(1), -1);
	assert_int_equal(lab_values(&lab, 0)->pool_opened_total, 1);
	assert_int_equal(lab_values(&lab, 1)->handshakes_total, 1);
	assert_int_equal(lab_values(&lab, 1)->channels_total, 64);
	assert_int_equal(lab_values(&lab, 1)->channels_active, 64);
	assert_int_equal(lab_use(&lab, 1, LAB_ORDERS), 64);
	for (uint32_t i = 0; i < ARRAY_LEN(clients); i++)
		say(orders(i), OK);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		lab_expect_holds(clients[i], "\r\n\r\nx");
	/* and the next ones take the channels that there are */
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		say(clients[i], GET("/y"));
	assert_int_equal(lab_values(&lab, 0)->channels_total, 64);
	assert_int_equal(lab_values(&lab, 0)->pool_reused_total, 64);
	lab_finish(&lab);
}

static void test_one_batch_is_one_send(void **state)
{
	int clients[16];
	start(LAB_HTTP);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		clients[i] = ask(LAB_WEB, GET("/x"));
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		fake_peer_send_text(clients[i], GET("/y"));
	uint32_t before = fake_ops_count(FAKE_SEND);
	lab_pump(&lab);
	/* to each server and each client one, between the machines few */
	assert_in_range(fake_ops_count(FAKE_SEND) - before, 2 * ARRAY_LEN(clients) + 2,
		2 * ARRAY_LEN(clients) + 4);
	lab_finish(&lab);
}

static void test_another_one_when_it_is_full(void **state)
{
	start(LAB_BY_HAND);
	for (uint32_t i = 0; i < FRAME_CHANNELS; i++)
		ask(LAB_WEB, GET("/x"));
	assert_int_equal(trunks(0), 1);
	ask(LAB_WEB, GET("/x"));
	assert_int_equal(trunks(0), 2);
	assert_int_equal(lab_values(&lab, 1)->channels_active, FRAME_CHANNELS + 1);
	lab_finish(&lab);
}

static void test_two_callers_never_share(void **state)
{
	start(LAB_BY_HAND);
	int web = ask(LAB_WEB, GET("/web")), billing = ask(LAB_BILLING, GET("/billing"));
	assert_int_equal(trunks(1), 2);
	lab_expect_holds(orders(0), "URI=spiffe://prod.example/service/web\r\n");
	lab_expect_holds(orders(1), "URI=spiffe://prod.example/service/billing\r\n");
	say(orders(1), OK);
	say(orders(0), OK);
	for (int i = 0; i < 10; i++) {
		say(web, GET("/web"));
		say(orders(0), OK);
		say(billing, GET("/billing"));
		say(orders(1), OK);
	}
	lab_expect_lacks(orders(0), "billing");
	lab_expect_lacks(orders(1), "service/web");
	assert_int_equal(trunks(1), 2);
	lab_finish(&lab);
}

static void test_policy_is_asked_for_each_request(void **state)
{
	start(LAB_HTTP);
	int client = ask(LAB_WEB, GET("/1"));
	say(client, GET("/secret"));
	lab_expect_holds(client, "HTTP/1.1 403 ");
	lab_expect_reason(&lab, 1, "POLICY_DENIED");
	say(client, GET("/2"));
	lab_expect_holds(client, "orders:/2");
	assert_int_equal(lab_values(&lab, 0)->channels_total, 1);
	lab_finish(&lab);
}

/* --- HTTP/1.1 instead --- */

static void test_a_far_end_without_channels(void **state)
{
	start(LAB_HTTP);
	replan(1, TRUST, WITHOUT);
	int clients[8];
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		clients[i] = lab_dial(&lab, LAB_WEB, LAB_ORDERS);
		fake_peer_send_text(clients[i], GET("/x"));
	}
	lab_pump(&lab);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		lab_expect_holds(clients[i], "orders:/x");
	assert_int_equal(lab_values(&lab, 0)->pool_opened_total, ARRAY_LEN(clients));
	assert_int_equal(lab_values(&lab, 0)->channels_total, 0);
	assert_int_equal(trunks(0), 0);
	assert_int_equal(trunks(1), 0);
	lab_finish(&lab);
}

static void test_switched_off_here(void **state)
{
	start(LAB_HTTP);
	replan(0, TRUST, WITHOUT);
	lab_expect_holds(ask(LAB_WEB, GET("/x")), "orders:/x");
	lab_expect_holds(ask(LAB_WEB, GET("/x")), "orders:/x");
	assert_int_equal(lab_values(&lab, 0)->channels_total, 0);
	assert_int_equal(lab_values(&lab, 1)->channels_total, 0);
	lab_finish(&lab);
}

/* --- trouble --- */

static void test_the_dial_fails_for_all_who_wait(void **state)
{
	struct address mesh = lab_mesh_address(1);
	start(LAB_HTTP);
	fake_connect_rule(&mesh, FAKE_PENDING);
	int a = ask(LAB_WEB, GET("/a")), b = ask(LAB_WEB, GET("/b"));
	assert_int_equal(trunks(0), 1);
	fake_connect_rule(&mesh, -ECONNREFUSED);
	lab_pump(&lab);
	lab_expect_holds(a, "HTTP/1.1 503 ");
	lab_expect_holds(b, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_FAILED");
	assert_int_equal(trunks(0), 0);
	lab_finish(&lab);
}

static void test_nobody_waits_longer_than_for_a_connect(void **state)
{
	struct address mesh = lab_mesh_address(1);
	start_with(LAB_HTTP, "timeouts: { connect = \"2s\"; };\n");
	fake_connect_rule(&mesh, FAKE_PENDING);
	int client = ask(LAB_WEB, GET("/a"));
	lab_run(&lab, 2 * CLOCK_S);
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_TIMEOUT");
	assert_int_equal(trunks(0), 0);
	lab_finish(&lab);
}

static void test_a_handshake_that_fails(void **state)
{
	start(LAB_HTTP);
	lab.machines[1].signing = LAB_REFUSES;
	lab_expect_holds(ask(LAB_WEB, GET("/a")), "HTTP/1.1 503 ");
	assert_int_equal(trunks(0), 0);
	lab.machines[1].signing = LAB_SIGNS;
	lab_expect_holds(ask(LAB_WEB, GET("/a")), "orders:/a");
	lab_finish(&lab);
}

/* Whoever can be asked again is; the rest is told. */
static void test_loss_in_the_middle(void **state)
{
	start(LAB_BY_HAND);
	int first = ask(LAB_WEB, GET("/1"));
	say(orders(0), OK);
	say(first, GET("/2"));
	int post = ask(LAB_WEB, "POST /3 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(trunks(0), 1);
	fake_peer_reset(shared(0));
	lab_pump(&lab);
	lab_expect_holds(post, "HTTP/1.1 503 ");
	lab_expect_holds(orders(2), "GET /2 ");
	say(orders(2), OK);
	lab_expect_holds(first, OK);
	assert_int_equal(lab_values(&lab, 0)->retries_total, 1);
	assert_int_equal(lab_values(&lab, 0)->pool_opened_total, 2);
	lab_finish(&lab);
}

static void test_a_slow_client_stops_nobody_else(void **state)
{
	static char bytes[65536];
	start(LAB_BY_HAND);
	int slow = ask(LAB_WEB, GET("/slow")), quick = ask(LAB_WEB, GET("/quick"));
	fake_peer_window(slow, 0);
	say(orders(0), "HTTP/1.1 200 OK\r\nContent-Length: 655360\r\n\r\n");
	for (int i = 0; i < 10; i++)
		fake_peer_send(orders(0), bytes, sizeof(bytes));
	lab_pump(&lab);
	assert_true(fake_unread(orders(0)) > 4 * sizeof(bytes));
	assert_true(lab_worker(&lab, 0)->buffers.block_count <= FRAME_WINDOW / 20480 + 6);
	for (int i = 0; i < 10; i++) {
		say(orders(1), OK);
		lab_expect_reason(&lab, 0, "NONE");
		say(quick, GET("/again"));
	}
	fake_peer_window(slow, SIZE_MAX);
	lab_pump(&lab);
	assert_int_equal(fake_unread(orders(0)), 0);
	assert_true(fake_peer_received(slow).len > 655360);
	assert_int_equal(trunks(0), 1);
	lab_finish(&lab);
}

static void test_a_slow_server_stops_nobody_else(void **state)
{
	static char bytes[65536];
	start(LAB_BY_HAND);
	int slow = ask(LAB_WEB, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 655360\r\n\r\n");
	int quick = ask(LAB_WEB, GET("/quick"));
	fake_peer_window(orders(0), 0);
	for (int i = 0; i < 10; i++)
		fake_peer_send(slow, bytes, sizeof(bytes));
	lab_pump(&lab);
	assert_true(fake_unread(slow) > 4 * sizeof(bytes));
	say(orders(1), OK);
	lab_expect_holds(quick, OK);
	fake_peer_window(orders(0), SIZE_MAX);
	lab_pump(&lab);
	assert_int_equal(fake_unread(slow), 0);
	assert_true(fake_peer_received(orders(0)).len > 655360);
	lab_finish(&lab);
}

static void test_a_client_that_goes_takes_its_channel_with_it(void **state)
{
	start(LAB_BY_HAND);
	int client = ask(LAB_WEB, GET("/1")), other = ask(LAB_WEB, GET("/2"));
	fake_peer_reset(client);
	lab_pump(&lab);
	assert_int_equal(lab_values(&lab, 0)->channels_active, 1);
	assert_int_equal(lab_values(&lab, 1)->channels_active, 1);
	assert_false(fake_is_open(orders(0)));
	say(orders(1), OK);
	lab_expect_holds(other, OK);
	assert_int_equal(trunks(0), 1);
	lab_finish(&lab);
}

static void test_upgraded_bytes_go_both_ways(void **state)
{
	start(LAB_BY_HAND);
	int client = ask(LAB_WEB, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n"
				  "Upgrade: websocket\r\n\r\n");
	say(orders(0), "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
		       "Upgrade: websocket\r\n\r\n");
	say(client, "from the client");
	say(orders(0), "from the server");
	lab_expect_holds(orders(0), "from the client");
	lab_expect_holds(client, "from the server");
	fake_peer_shutdown(client);
	lab_pump(&lab);
	assert_true(fake_peer_saw_end(orders(0)));
	say(orders(0), "and more");
	lab_expect_holds(client, "and more");
	fake_peer_shutdown(orders(0));
	lab_pump(&lab);
	assert_true(fake_peer_saw_end(client));
	assert_int_equal(lab_values(&lab, 0)->channels_active, 0);
	lab_finish(&lab);
}

/* --- limits --- */

static void test_a_limit_refuses_a_channel_not_the_connection(void **state)
{
	start_with(LAB_BY_HAND, "limits: { workload_connections_max = 2; };\n");
	int web = ask(LAB_WEB, GET("/1"));
	ask(LAB_WEB, GET("/2"));
	int third = ask(LAB_BILLING, GET("/3"));
	lab_expect_holds(third, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 1, "CONNECTIONS_MAX");
	assert_int_equal(lab_use(&lab, 1, LAB_ORDERS), 2);
	say(orders(0), OK);
	lab_expect_holds(web, OK);
	assert_int_equal(trunks(1), 2);
	lab_finish(&lab);
}

static void test_the_proxy_wide_limit_counts_channels(void **state)
{
	start_with(LAB_BY_HAND, NULL);
	for (int i = 0; i < 3; i++)
		ask(LAB_WEB, GET("/1"));
	assert_int_equal(lab_worker(&lab, 1)->connection_count, 3);
	lab_finish(&lab);
}

/* --- another proxy that breaks the rules --- */

static void test_broken_rules_end_the_connection(void **state)
{
	struct far far;
	start(LAB_HTTP);
	far_dial(&far, &lab, 1, ORDERS_NAME, TLS_ALPN_CHANNELS, ORDERS_ID);
	assert_true(far_handshake(&far));
	lab_pump(&lab);
	assert_int_equal(trunks(1), 1);
	uint8_t bytes[FRAME_BYTES + 128];
	const char *request = GET("/far");
	frame_write(&(struct frame){1, FRAME_DATA, (uint32_t)strlen(request)}, bytes);
	memcpy(bytes + FRAME_BYTES, request, strlen(request));
	far_send(&far, bytes, FRAME_BYTES + strlen(request));
	lab_pump(&lab);
	assert_true(lab_holds_text(far_received(&far), "orders:/far"));
	far_send(&far, "\0\0\0\7\3\0\0\0", 8); /* resets what was never opened */
	lab_pump(&lab);
	assert_int_equal(trunks(1), 0);
	assert_int_equal(lab_alive(&lab, 1, TASK_CARRIER), 1); /* to orders, idle */
	lab_expect_reason(&lab, 1, "UNOPENED");
	assert_string_equal(lab_last(&lab, 1)->flags, "DPE");
	far_done(&far);
	lab_finish(&lab);
}

/* --- idle, expired, reload, drain --- */

static void test_an_idle_one_closes(void **state)
{
	start(LAB_HTTP);
	ask(LAB_WEB, GET("/1"));
	lab_run(&lab, POOL_IDLE_NS / 2);
	assert_int_equal(trunks(0), 1);
	lab_run(&lab, 2 * POOL_IDLE_NS);
	assert_int_equal(trunks(0), 0);
	assert_int_equal(trunks(1), 0);
	lab_finish(&lab);
}

static void test_none_is_begun_on_an_expired_certificate(void **state)
{
	start_with(LAB_BY_HAND,
		"timeouts: { pool_idle = \"24h\"; idle = \"24h\"; stream_idle = \"24h\"; };\n");
	ask(LAB_WEB, GET("/1"));
	assert_int_equal(trunks(0), 1);
	lab_run(&lab, (LEAF_S + 1) * CLOCK_S);
	ask(LAB_WEB, GET("/2"));
	assert_true(shared(1) != -1); /* it tried another */
	lab_finish(&lab);
}

static void test_one_outlives_a_plan_that_changes_nothing_for_it(void **state)
{
	start(LAB_BY_HAND);
	int client = ask(LAB_WEB, GET("/1"));
	replan(0, "name = \"no-billing\"", "name = \"nothing-of-billing\"");
	int other = ask(LAB_WEB, GET("/2"));
	assert_int_equal(trunks(0), 1);
	say(orders(0), OK);
	say(orders(1), OK);
	lab_expect_holds(client, OK);
	lab_expect_holds(other, OK);
	replan(0, NULL, NULL);
	assert_int_equal(trunks(0), 1);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(atomic_load(&lab.machines[0].plans[i]->holder_count), 0);
	lab_finish(&lab);
}

/* Other identities of the service: what was proved before may not be enough now. */
static void test_other_identities_begin_a_new_one(void **state)
{
	start(LAB_BY_HAND);
	int client = ask(LAB_WEB, GET("/1"));
	replan(0, "name = \"orders\"; port", "name = \"orders\"; identities = \"shop\"; port");
	assert_int_equal(trunks(0), 1); /* a request is on it */
	int other = ask(LAB_WEB, GET("/2"));
	assert_int_equal(trunks(0), 2);
	say(orders(0), OK);
	lab_expect_holds(client, OK);
	assert_int_equal(trunks(0), 1); /* the old one had no more to do */
	say(orders(1), OK);
	lab_expect_holds(other, OK);
	assert_int_equal(atomic_load(&lab.machines[0].plans[0]->holder_count), 0);
	lab_finish(&lab);
}

static void test_an_idle_one_that_nothing_leads_to_closes(void **state)
{
	static const struct lab_edit edits[] = {
		{"name = \"orders\"; port", "name = \"orders\"; identities = \"shop\"; port"},
		{"name = \"orders\"; port", "name = \"orders\"; mtls = \"disabled\"; port"},
		{"{ name = \"orders\"; port = 8080; protocol = \"http\"; endpoints = ( { address = "
		 "\"10.77.0.2\"; } ); }",
			"{ name = \"orders\"; port = 8080; protocol = \"http\"; endpoints = ( { "
			"address = \"10.77.0.3\"; } ); }"},
		{"{ name = \"orders\"; port = 8080;", "{ name = \"orders\"; port = 8088;"},
		{"{ service = \"web\"; user = \"web\"; },", ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(edits); i++) {
		start(LAB_HTTP);
		ask(LAB_WEB, GET("/1"));
		assert_int_equal(trunks(0), 1);
		replan(0, NULL, NULL);
		assert_int_equal(trunks(0), 1);
		replan(0, edits[i].from, edits[i].to);
		assert_int_equal(trunks(0), 0);
		assert_int_equal(trunks(1), 0);
		lab_finish(&lab);
	}
}

static void test_a_new_plan_there_is_asked_at_once(void **state)
{
	start(LAB_HTTP);
	int client = ask(LAB_WEB, GET("/1"));
	replan(1, "policies: (",
		"policies: ( { name = \"nobody\"; service = \"*\"; action = \"deny\"; },\n");
	say(client, GET("/2"));
	lab_expect_holds(client, "HTTP/1.1 403 ");
	assert_int_equal(lab_values(&lab, 0)->pool_opened_total, 1);
	lab_finish(&lab);
}

static void test_a_drain_there(void **state)
{
	start(LAB_BY_HAND);
	int client = ask(LAB_WEB, GET("/1"));
	lab_drain(&lab, 1);
	lab_pump(&lab);
	assert_int_equal(trunks(1), 1); /* a request is on it */
	/* no new ones there: nobody listens any more */
	int other = ask(LAB_WEB, GET("/2"));
	lab_expect_lacks(other, "200 OK");
	say(orders(0), OK);
	lab_expect_holds(client, OK);
	lab_run(&lab, 2 * CLOCK_S);
	assert_int_equal(trunks(1), 0);
	lab_finish(&lab);
}

static void test_a_drain_here(void **state)
{
	start(LAB_BY_HAND);
	int client = ask(LAB_WEB, GET("/1"));
	ask(LAB_BILLING, GET("/2"));
	say(orders(1), OK);
	lab_drain(&lab, 0);
	lab_run(&lab, 2 * CLOCK_S);
	assert_int_equal(trunks(0), 1); /* billing's had no more to do */
	say(orders(0), OK);
	lab_expect_holds(client, "\r\n\r\nx");
	lab_run(&lab, 2 * CLOCK_S);
	assert_int_equal(trunks(0), 0);
	lab_finish(&lab);
}

/* --- any order of things --- */

static void test_chaos(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		int clients[24];
		lab_start(&lab, &(struct lab_options){.machine_count = 2,
					.serving = LAB_HTTP,
					.seed = seed,
					.chaos = seed});
		for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
			clients[i] = lab_dial(&lab, i % 2 ? LAB_WEB : LAB_BILLING, LAB_ORDERS);
			fake_peer_send_text(clients[i], i % 2 ? GET("/web") : GET("/billing"));
			lab_turns(&lab, (uint32_t)(seed * i % 5));
		}
		lab_pump(&lab);
		for (size_t i = 0; i < ARRAY_LEN(clients); i++)
			lab_expect_holds(clients[i], i % 2 ? "orders:/web" : "orders:/billing");
		assert_int_equal(trunks(0), 2);
		lab_finish(&lab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_requests_share_one_connection),
		cmocka_unit_test(test_one_batch_is_one_send),
		cmocka_unit_test(test_another_one_when_it_is_full),
		cmocka_unit_test(test_two_callers_never_share),
		cmocka_unit_test(test_policy_is_asked_for_each_request),
		cmocka_unit_test(test_a_far_end_without_channels),
		cmocka_unit_test(test_switched_off_here),
		cmocka_unit_test(test_the_dial_fails_for_all_who_wait),
		cmocka_unit_test(test_nobody_waits_longer_than_for_a_connect),
		cmocka_unit_test(test_a_handshake_that_fails),
		cmocka_unit_test(test_loss_in_the_middle),
		cmocka_unit_test(test_a_slow_client_stops_nobody_else),
		cmocka_unit_test(test_a_slow_server_stops_nobody_else),
		cmocka_unit_test(test_a_client_that_goes_takes_its_channel_with_it),
		cmocka_unit_test(test_upgraded_bytes_go_both_ways),
		cmocka_unit_test(test_a_limit_refuses_a_channel_not_the_connection),
		cmocka_unit_test(test_the_proxy_wide_limit_counts_channels),
		cmocka_unit_test(test_broken_rules_end_the_connection),
		cmocka_unit_test(test_an_idle_one_closes),
		cmocka_unit_test(test_none_is_begun_on_an_expired_certificate),
		cmocka_unit_test(test_one_outlives_a_plan_that_changes_nothing_for_it),
		cmocka_unit_test(test_other_identities_begin_a_new_one),
		cmocka_unit_test(test_an_idle_one_that_nothing_leads_to_closes),
		cmocka_unit_test(test_a_new_plan_there_is_asked_at_once),
		cmocka_unit_test(test_a_drain_there),
		cmocka_unit_test(test_a_drain_here),
		cmocka_unit_test(test_chaos),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
