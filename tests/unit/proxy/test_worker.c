/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's own life: plans that change under live connections, the pool with them, the drain. */
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

static uint32_t holders(uint32_t plan)
{
	return atomic_load(&lab.machines[0].plans[plan]->holder_count);
}

/* --- plans --- */

static void test_idle_worker_takes_a_plan_at_once(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	lab_pump(&lab);
	assert_int_equal(worker_generation(lab_worker(&lab, 0)), 1);
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	assert_int_equal(worker_generation(lab_worker(&lab, 0)), 2);
	assert_int_equal(holders(0), 0);
	assert_int_equal(holders(1), 1);
	lab_finish(&lab);
}

static void test_plan_that_was_never_taken_comes_back(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	lab_pump(&lab);
	lab_replan(&lab, 0, NULL);
	struct plan *second = worker_hand_plan(lab_worker(&lab, 0), lab.machines[0].plans[0]);
	assert_ptr_equal(second, lab.machines[0].plans[1]);
	assert_ptr_equal(worker_hand_plan(lab_worker(&lab, 0), second), lab.machines[0].plans[0]);
	lab_pump(&lab);
	lab_finish(&lab);
}

/* Neither those that say something nor those that keep still hold it. */
static void test_old_plan_is_let_go_of_at_once(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	int one = lab_dial(&lab, LAB_WEB, LAB_CACHE), two = lab_dial(&lab, LAB_WEB, LAB_CACHE);
	lab_pump(&lab);
	lab_replan(&lab, 0, NULL);
	int three = lab_dial(&lab, LAB_WEB, LAB_CACHE);
	lab_pump(&lab);
	assert_int_equal(holders(0), 0);
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 3); /* counts go on */
	fake_peer_send_text(one, "still here");
	lab_pump(&lab);
	lab_expect_received(lab_served(&lab, LAB_CACHE, 0), "still here");
	fake_peer_reset(one);
	fake_peer_reset(three);
	lab_pump(&lab);
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 1);
	fake_peer_reset(two);
	lab_pump(&lab);
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 0);
	lab_finish(&lab);
}

static void test_new_limits_hold_for_new_connections(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	lab_dial(&lab, LAB_WEB, LAB_CACHE);
	lab_pump(&lab);
	lab_replan(&lab, 0, "limits: { workload_connections_max = 1; };");
	lab_pump(&lab);
	lab_dial(&lab, LAB_WEB, LAB_CACHE);
	lab_pump(&lab);
	lab_expect_reason(&lab, 0, "CONNECTIONS_MAX");
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 1);
	lab_finish(&lab);
}

static void test_pool_outlives_a_plan(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	int client = ask(LAB_WEB, GET("/1"));
	say(shop(0), OK("1", "1"));
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 1);
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 1);
	assert_int_equal(holders(0), 0); /* an idle caller does not hold it either */
	say(client, GET("/2"));
	lab_expect_holds(shop(0), "GET /2 ");
	say(shop(0), OK("1", "2"));
	lab_expect_holds(client, "\r\n\r\n2");
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 1);
	lab_finish(&lab);
}

/* So that sessions and pooled connections outlive plans that change no certificate. */
static void test_certificates_are_shared_while_they_stay(void **state)
{
	struct certs_pair other = certs_make(&(struct certs_spec){
		.subject = "other", .ca = true, .until_s = CERTS_NOW + 100000});
	lab_start(&lab, &(struct lab_options){0});
	struct plan *const *plans = lab.machines[0].plans;
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	assert_ptr_equal(plans[1]->tls, plans[0]->tls);
	lab_replan(&lab, 0, "identity: { resumption = false; };\n");
	lab_pump(&lab);
	assert_ptr_not_equal(plans[2]->tls, plans[1]->tls);
	lab.root = &other;
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	assert_ptr_not_equal(plans[3]->tls, plans[2]->tls);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(plans[i]->number, i + 1);
	lab_finish(&lab);
	certs_done(&other);
}

/* The workload is reached at another place now, or is another service. */
static void test_pool_of_another_place_is_emptied(void **state)
{
	static const struct lab_edit edits[] = {
		{"service = \"shop\"; user = \"shop\"; port = 8081;",
			"service = \"shop\"; user = \"shop\"; port = 8081; deliver = "
			"\"127.0.0.1:9999\";"},
		{"{ service = \"shop\"; user = \"shop\"; port = 8081; },", ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(edits); i++) {
		lab_start(&lab, &(struct lab_options){0});
		ask(LAB_WEB, GET("/1"));
		say(shop(0), OK("1", "1"));
		assert_int_equal(lab_values(&lab, 0)->pool_idle, 1);
		lab.edits[0] = edits[i];
		lab_replan(&lab, 0, NULL);
		lab_pump(&lab);
		assert_int_equal(lab_values(&lab, 0)->pool_idle, 0);
		assert_false(fake_is_open(shop(0)));
		lab_finish(&lab);
	}
}

/* One that was in use when its place went is closed when it comes back. */
static void test_upstream_in_use_is_kept_if_it_still_leads_somewhere(void **state)
{
	for (int changed = 0; changed < 2; changed++) {
		lab_start(&lab, &(struct lab_options){.machine_count = 2});
		int client = lab_dial(&lab, LAB_WEB, LAB_ORDERS);
		say(client, GET("/1"));
		if (changed)
			lab.edits[0] = (struct lab_edit){"name = \"orders\"; port",
				"name = \"orders\"; identities = \"shop\"; port"};
		lab_replan(&lab, 0, NULL);
		lab_replan(&lab, 1, NULL);
		lab_pump(&lab);
		say(lab_served(&lab, LAB_ORDERS, 0), OK("1", "1"));
		lab_expect_holds(client, "\r\n\r\n1");
		assert_int_equal(lab_values(&lab, 0)->pool_idle, !changed);
		fake_peer_shutdown(client);
		lab_pump(&lab);
		for (uint32_t m = 0; m < 2; m++)
			assert_int_equal(atomic_load(&lab.machines[m].plans[0]->holder_count), 0);
		lab_finish(&lab);
	}
}

/* Many plans, while a request and a tunnel last through all of them: none is kept. */
static void test_plans_are_not_kept_for_what_lasts(void **state)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2});
	int client = lab_dial(&lab, LAB_WEB, LAB_ORDERS);
	int near = lab_dial(&lab, LAB_WEB, LAB_CACHE), far = lab_dial(&lab, LAB_WEB, LAB_LEDGER);
	say(client, GET("/1"));
	say(near, "1");
	say(far, "1");
	for (uint32_t i = 0; i < 4; i++) {
		for (uint32_t m = 0; m < 2; m++)
			lab_replan(&lab, m, NULL);
		lab_pump(&lab);
		for (uint32_t m = 0; m < 2; m++)
			assert_int_equal(atomic_load(&lab.machines[m].plans[i]->holder_count), 0);
	}
	say(near, "2");
	say(far, "2");
	lab_expect_received(lab_served(&lab, LAB_CACHE, 0), "12");
	lab_expect_received(lab_served(&lab, LAB_LEDGER, 0), "12");
	say(lab_served(&lab, LAB_ORDERS, 0), OK("1", "1"));
	lab_expect_holds(client, "\r\n\r\n1");
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 3);
	lab_finish(&lab);
}

static void test_plan_changes_in_the_middle_of_a_handshake(void **state)
{
	for (uint32_t machine = 0; machine < 2; machine++) {
		lab_start(&lab, &(struct lab_options){.machine_count = 2});
		lab.machines[machine].signing = LAB_SILENT;
		int client = lab_dial(&lab, LAB_WEB, LAB_LEDGER);
		fake_peer_send_text(client, "hello");
		lab_pump(&lab);
		lab_replan(&lab, machine, NULL);
		lab_pump(&lab);
		lab.machines[machine].signing = LAB_SIGNS;
		lab_pump(&lab);
		lab_expect_received(lab_served(&lab, LAB_LEDGER, 0), "hello");
		lab_finish(&lab);
	}
}

/* --- drain --- */

static bool ended(void)
{
	for (int i = 0; i < 4; i++) {
		if (worker_ended(lab_worker(&lab, 0)))
			return true;
		lab_pump(&lab);
	}
	return false;
}

static void test_drain_of_an_idle_worker_ends_at_once(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	lab_pump(&lab);
	assert_false(ended());
	lab_drain(&lab, 0);
	lab_pump(&lab);
	assert_true(ended());
	lab_finish(&lab);
}

static void test_drain_closes_what_is_idle(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	int client = ask(LAB_WEB, GET("/1"));
	say(shop(0), OK("1", "1"));
	lab_run(&lab, 2 * CLOCK_S);
	lab_drain(&lab, 0);
	lab_pump(&lab);
	assert_false(fake_is_open(client));
	assert_false(fake_peer_saw_reset(client));
	assert_false(fake_is_open(shop(0)));
	assert_true(ended());
	lab_finish(&lab);
}

/* A busy client's next request, or a new one's first, is on its way while the drain begins. */
static void test_drain_answers_the_request_that_crosses_it(void **state)
{
	lab_start(&lab, &(struct lab_options){.serving = LAB_HTTP});
	int busy = ask(LAB_WEB, GET("/1"));
	int fresh = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	int silent = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	lab_pump(&lab);
	lab_drain(&lab, 0);
	lab_pump(&lab);
	say(busy, GET("/2"));
	say(fresh, GET("/3"));
	lab_expect_holds(busy, "shop:/2");
	lab_expect_holds(busy, "Connection: close\r\n");
	lab_expect_holds(fresh, "shop:/3");
	lab_expect_holds(fresh, "Connection: close\r\n");
	fake_peer_shutdown(busy);
	fake_peer_shutdown(fresh);
	lab_run(&lab, 1100 * CLOCK_MS);
	assert_false(fake_is_open(silent));
	assert_false(fake_peer_saw_reset(silent));
	assert_true(ended());
	lab_finish(&lab);
}

static void test_drain_finishes_requests(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	int client = ask(LAB_WEB, GET("/1"));
	int begun = ask(LAB_WEB, "GET /2 HTT");
	lab_drain(&lab, 0);
	lab_pump(&lab);
	assert_false(ended());
	say(shop(0), OK("1", "1"));
	lab_expect_holds(client, "Connection: close\r\n");
	lab_expect_holds(client, "\r\n\r\n1");
	assert_true(fake_peer_saw_end(client));
	say(begun, "P/1.1\r\nHost: h\r\n\r\n");
	say(shop(1), OK("1", "2"));
	lab_expect_holds(begun, "Connection: close\r\n");
	fake_peer_shutdown(client);
	fake_peer_shutdown(begun);
	lab_pump(&lab);
	assert_false(fake_peer_saw_reset(client));
	assert_false(fake_peer_saw_reset(begun));
	assert_true(ended());
	lab_finish(&lab);
}

/* The response is made, the client has not read it yet. */
static void test_drain_sends_responses_to_their_end(void **state)
{
	static char answer[12000];
	lab_start(&lab, &(struct lab_options){0});
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	fake_peer_window(client, 10);
	say(client, GET("/1"));
	int len = snprintf(
		answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n");
	memset(answer + len, 'x', 10000);
	fake_peer_send(shop(0), answer, (size_t)len + 10000);
	lab_pump(&lab);
	assert_int_equal(lab_alive(&lab, 0, TASK_EXCHANGE), 0);
	lab_drain(&lab, 0);
	for (int i = 0; i < 10; i++) { /* slow, but it moves */
		lab_run(&lab, CLOCK_S);
		fake_peer_window(client, 500);
	}
	fake_peer_window(client, SIZE_MAX);
	lab_pump(&lab);
	assert_int_equal(fake_peer_received(client).len, (size_t)len + 10000);
	assert_true(fake_peer_saw_end(client));
	assert_false(fake_peer_saw_reset(client));
	lab_finish(&lab);
}

static void test_drain_cuts_at_its_timeout(void **state)
{
	lab_start(&lab, &(struct lab_options){.node = "timeouts: { drain = \"5s\"; };"});
	int tunnel = lab_dial(&lab, LAB_WEB, LAB_CACHE);
	int stuck = ask(LAB_WEB, GET("/1"));
	int silent = lab_dial_mesh(&lab, 0);
	lab_drain(&lab, 0);
	lab_run(&lab, 4900 * CLOCK_MS);
	assert_true(fake_is_open(tunnel) && fake_is_open(stuck));
	assert_false(ended());
	lab_run(&lab, 200 * CLOCK_MS);
	assert_false(fake_is_open(tunnel) || fake_is_open(stuck) || fake_is_open(silent));
	assert_true(ended());
	lab_finish(&lab);
}

static void test_drain_lets_tunnels_end_by_themselves(void **state)
{
	lab_start(&lab, &(struct lab_options){.serving = LAB_ECHO});
	int client = lab_dial(&lab, LAB_WEB, LAB_CACHE);
	lab_pump(&lab);
	lab_drain(&lab, 0);
	say(client, "still");
	lab_expect_received(client, "still");
	fake_peer_shutdown(client);
	lab_pump(&lab);
	assert_true(fake_peer_saw_end(client));
	assert_true(ended());
	lab_finish(&lab);
}

static void test_new_connections_stay_in_the_queue(void **state)
{
	lab_start(&lab, &(struct lab_options){0});
	lab_pump(&lab);
	lab_drain(&lab, 0);
	lab_pump(&lab);
	int client = lab_dial(&lab, LAB_WEB, LAB_CACHE); /* for the proxy that comes next */
	lab_pump(&lab);
	assert_true(fake_is_open(client));
	assert_true(ended());
	lab_finish(&lab);
}

/* What the kernel had handed over before the cancel reached it is ours to serve: nobody else can.
 */
static void test_connection_accepted_while_the_drain_begins(void **state)
{
	lab_start(&lab, &(struct lab_options){.serving = LAB_HTTP});
	lab_pump(&lab);
	struct listener *l = &lab_worker(&lab, 0)->listeners[0];
	fake_socket_script(l->as.fd);
	lab_drain(&lab, 0);
	lab_pump(&lab);
	int client = fake_socket();
	struct address to = lab_address(LAB_SHOP);
	fake_set_mark(client, LAB_WEB << 16);
	fake_set_original_dst(client, &to);
	fake_set_local(client, &l->as.address);
	fake_accept(&l->accept, client);
	fake_fail(&l->accept, -ECANCELED);
	say(client, GET("/1"));
	lab_expect_holds(client, "\r\n\r\nshop:/1");
	lab_expect_holds(client, "Connection: close\r\n");
	fake_peer_shutdown(client);
	lab_pump(&lab);
	assert_true(ended());
	lab_finish(&lab);
}

/* --- pool --- */

static void test_pool_has_a_limit(void **state)
{
	int clients[4];
	lab_start(&lab, &(struct lab_options){.node = "limits: { pool_idle_max = 2; };"});
	for (uint32_t i = 0; i < ARRAY_LEN(clients); i++)
		clients[i] = ask(LAB_WEB, GET("/"));
	for (uint32_t i = 0; i < ARRAY_LEN(clients); i++)
		say(shop(i), OK("1", "1"));
	for (uint32_t i = 0; i < ARRAY_LEN(clients); i++)
		lab_expect_holds(clients[i], "\r\n\r\n1");
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 2);
	lab_finish(&lab);
}

static void test_no_buffers_left(void **state)
{
	lab_start(&lab, &(struct lab_options){.serving = LAB_HTTP});
	lab_worker(&lab, 0)->buffers.block_count_max = 0;
	int client = ask(LAB_WEB, GET("/1"));
	lab_run(&lab, CLOCK_S);
	assert_true(fake_peer_saw_reset(client) || fake_peer_saw_end(client));
	assert_int_equal(lab_alive(&lab, 0, TASK_EXCHANGE), 0);
	lab_worker(&lab, 0)->buffers.block_count_max = 100;
	client = ask(LAB_WEB, GET("/2"));
	lab_expect_holds(client, "shop:/2");
	lab_finish(&lab);
}

static void test_no_receive_blocks_left(void **state)
{
	lab_start(&lab, &(struct lab_options){.serving = LAB_ECHO});
	int clients[600];
	static char bytes[4096];
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		clients[i] = lab_dial(&lab, LAB_WEB, LAB_CACHE);
		if (i % 64 == 63)
			lab_pump(&lab);
	}
	lab_pump(&lab);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		fake_peer_send(clients[i], bytes, sizeof(bytes));
	lab_pump(&lab);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		assert_int_equal(fake_peer_received(clients[i]).len, sizeof(bytes));
	lab_finish(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_worker_takes_a_plan_at_once),
		cmocka_unit_test(test_plan_that_was_never_taken_comes_back),
		cmocka_unit_test(test_old_plan_is_let_go_of_at_once),
		cmocka_unit_test(test_new_limits_hold_for_new_connections),
		cmocka_unit_test(test_certificates_are_shared_while_they_stay),
		cmocka_unit_test(test_pool_outlives_a_plan),
		cmocka_unit_test(test_pool_of_another_place_is_emptied),
		cmocka_unit_test(test_upstream_in_use_is_kept_if_it_still_leads_somewhere),
		cmocka_unit_test(test_plans_are_not_kept_for_what_lasts),
		cmocka_unit_test(test_plan_changes_in_the_middle_of_a_handshake),
		cmocka_unit_test(test_drain_of_an_idle_worker_ends_at_once),
		cmocka_unit_test(test_drain_closes_what_is_idle),
		cmocka_unit_test(test_drain_answers_the_request_that_crosses_it),
		cmocka_unit_test(test_drain_finishes_requests),
		cmocka_unit_test(test_drain_sends_responses_to_their_end),
		cmocka_unit_test(test_drain_cuts_at_its_timeout),
		cmocka_unit_test(test_drain_lets_tunnels_end_by_themselves),
		cmocka_unit_test(test_new_connections_stay_in_the_queue),
		cmocka_unit_test(test_connection_accepted_while_the_drain_begins),
		cmocka_unit_test(test_pool_has_a_limit),
		cmocka_unit_test(test_no_buffers_left),
		cmocka_unit_test(test_no_receive_blocks_left),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
