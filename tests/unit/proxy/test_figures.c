/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted of the two versions of a rollout, and what of it as failed. orders runs here as
 * v1 (the user shop) and on the other machine as v2, billing as v1 (cache) and v2. */
#include "lab.h"
#include "ledger/figure_id.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET	"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
#define ORDERS	"10.96.0.1"
#define BILLING "10.96.0.2"

/* All calls to v1, or to v2. */
#define ROLLOUT(service, order)                                                              \
	"rollouts: ( { service = \"" service                                                 \
	"\"; from = \"v1\"; to = \"v2\"; attempt = 7; steps = [ 10, 100 ]; order = \"" order \
	"\"; } );\n"
#define TO_V1	     ROLLOUT("orders", "abort")
#define TO_V2	     ROLLOUT("orders", "promote")
#define ROUTED(rule) TO_V1 "routes: ( { service = \"orders\"; rules = ( { " rule " } ); } );\n"

static const struct lab_edit edits[LAB_EDITS_MAX] = {
	{" { name = \"orders\"; port = 8080; protocol = \"http\"; endpoints = ( { "
	 "address = \"10.77.0.2\"; } ); },\n"
	 " { name = \"billing\"; port = 7000; protocol = \"tcp\"; endpoints = ( { "
	 "address = \"10.77.0.2\"; } ); },\n",
		" { name = \"orders\"; port = 8080; protocol = \"http\"; address = \"" ORDERS
		"\"; endpoints = ( { address = \"10.77.0.1\"; port = 8081; version = \"v1\"; }, { "
		"address = \"10.77.0.2\"; version = \"v2\"; } ); },\n"
		" { name = \"billing\"; port = 7000; protocol = \"tcp\"; address = \"" BILLING
		"\"; endpoints = ( { address = \"10.77.0.1\"; port = 6379; version = \"v1\"; }, { "
		"address = \"10.77.0.2\"; version = \"v2\"; } ); },\n"},
	{" { name = \"shop\"; port = 8081; protocol = \"http\"; endpoints = ( { address "
	 "= \"10.77.0.1\"; } ); },\n"
	 " { name = \"cache\"; port = 6379; protocol = \"tcp\"; endpoints = ( { address "
	 "= \"10.77.0.1\"; } ); },\n",
		" { name = \"shop\"; }, { name = \"cache\"; },\n"},
	{" { service = \"shop\"; user = \"shop\"; port = 8081; },\n"
	 " { service = \"cache\"; user = \"cache\"; port = 6379; },\n",
		" { service = \"orders\"; user = \"shop\"; port = 8081; version = \"v1\"; },\n"
		" { service = \"billing\"; user = \"cache\"; port = 6379; version = \"v1\"; },\n"},
};

static struct lab lab;

static void start(const char *objects, enum lab_serving serving)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2,
				.edits = edits,
				.objects = objects,
				.with_store = true,
				.node = "state = { redis = \"10.77.0.9:6379\"; operators = "
					"\"/o.pub\"; };\n",
				.serving = serving,
				.seed = 1});
}

static int dial(const char *ip, uint16_t port)
{
	struct address a = lab_address_of(ip);
	a.port = port;
	return lab_dial_address(&lab, LAB_WEB, &a);
}

static void say(int fd, const char *text)
{
	fake_peer_send_text(fd, text);
	lab_pump(&lab);
}

static struct ledger_sums sums_of(const char *service, const char *version)
{
	struct ledger_sums sums = {0};
	struct ledger_id id =
		ledger_figure_id(str_of(service), STR("v1"), STR("v2"), 7, str_of(version));
	(void)ledger_figure_read(lab.machines[0].ledger, &id, &sums);
	return sums;
}

static void expect(const char *service, const char *version, uint64_t calls, uint64_t failed)
{
	struct ledger_sums sums = sums_of(service, version);
	if (sums.calls != calls || sums.failed != failed)
		fail_msg("%s %s: %llu calls, %llu failed", service, version,
			(unsigned long long)sums.calls, (unsigned long long)sums.failed);
}

/* One request to v1, which waits for its server. */
static int ask(int *ret_server)
{
	int client = dial(ORDERS, 8080);
	say(client, GET);
	*ret_server = lab_served(&lab, LAB_SHOP, 0);
	assert_true(*ret_server >= 0);
	return client;
}

/* --- answers --- */

static void test_what_an_answer_says(void **state)
{
	static const struct {
		const char *answer;
		bool closes, failed;
	} rows[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, false},
		{"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", false, false},
		{"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false, false},
		{"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", false, false},
		{"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", false, true},
		{"HTTP/1.1 503 Oops\r\nContent-Length: 0\r\n\r\n", false, true},
		{"HTTP/1.1 200 OK\r\ngrpc-status: 0\r\nContent-Length: 0\r\n\r\n", false, false},
		{"HTTP/1.1 200 OK\r\ngrpc-status: 5\r\nContent-Length: 0\r\n\r\n", false, false},
		{"HTTP/1.1 200 OK\r\ngrpc-status: 8\r\nContent-Length: 0\r\n\r\n", false, false},
		{"HTTP/1.1 200 OK\r\ngrpc-status: 2\r\nContent-Length: 0\r\n\r\n", false, true},
		{"HTTP/1.1 200 OK\r\ngrpc-status: 4\r\nContent-Length: 0\r\n\r\n", false, true},
		{"HTTP/1.1 200 OK\r\ngrpc-status: 12\r\nContent-Length: 0\r\n\r\n", false, true},
		{"HTTP/1.1 200 OK\r\ngrpc-status: 14\r\nContent-Length: 0\r\n\r\n", false, true},
		{"HTTP/1.1 200 OK\r\ngrpc-status: 15\r\nContent-Length: 0\r\n\r\n", false, true},
		{"HTTP/1.1 200 OK\r\ngrpc-status: 16\r\nContent-Length: 0\r\n\r\n", false, false},
		{"HTTP/1.1 200 OK\r\ngrpc-status: 18\r\nContent-Length: 0\r\n\r\n", false, false},
		{"HTTP/1.1 200 OK\r\ngrpc-status: x\r\nContent-Length: 0\r\n\r\n", false, false},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
		 "grpc-status: 13\r\n\r\n",
			false, true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
		 "grpc-status: 0\r\n\r\n",
			false, false},
		{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", true, true},
		{"no HTTP at all\r\n\r\n", false, true},
		{"", true, true},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int server;
		start(TO_V1, LAB_BY_HAND);
		ask(&server);
		expect("orders", "v1", 0, 0);
		if (rows[i].answer[0])
			say(server, rows[i].answer);
		if (rows[i].closes)
			fake_peer_shutdown(server);
		lab_pump(&lab);
		expect("orders", "v1", 1, rows[i].failed);
		expect("orders", "v2", 0, 0);
		lab_finish(&lab);
	}
}

static void test_its_time_is_to_the_head(void **state)
{
	int server;
	start(TO_V1, LAB_BY_HAND);
	ask(&server);
	lab_run(&lab, 50 * CLOCK_MS);
	say(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
	lab_run(&lab, 2 * CLOCK_S);
	expect("orders", "v1", 0, 0);
	say(server, "b");
	struct ledger_sums sums = sums_of("orders", "v1");
	assert_int_equal(sums.calls, 1);
	for (uint32_t i = 0; i < LEDGER_LATENCIES; i++) {
		bool is_here = ledger_latency_bound_ns(i) >= 50 * CLOCK_MS &&
			       (i == 0 || ledger_latency_bound_ns(i - 1) < 50 * CLOCK_MS);
		assert_int_equal(sums.latencies[i], is_here);
	}
	lab_finish(&lab);
}

static void test_the_other_machine_s_version(void **state)
{
	start(TO_V2, LAB_HTTP);
	int client = dial(ORDERS, 8080);
	for (int i = 0; i < 5; i++)
		say(client, GET);
	expect("orders", "v2", 5, 0);
	expect("orders", "v1", 0, 0);
	lab_finish(&lab);
}

static void test_a_connection_that_changes_its_protocol_counts_at_once(void **state)
{
	int server;
	start(TO_V1, LAB_BY_HAND);
	int client = dial(ORDERS, 8080);
	say(client, "GET /1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		    "\r\n");
	server = lab_served(&lab, LAB_SHOP, 0);
	say(server, "HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	expect("orders", "v1", 1, 0);
	say(server, "bytes");
	fake_peer_reset(server);
	lab_pump(&lab);
	expect("orders", "v1", 1, 0);
	lab_finish(&lab);
}

/* --- nobody's fault, or somebody else's --- */

static void test_a_caller_who_goes_away(void **state)
{
	int server;
	start(TO_V1, LAB_BY_HAND);
	int client = ask(&server);
	fake_peer_reset(client);
	lab_pump(&lab);
	expect("orders", "v1", 0, 0);
	lab_finish(&lab);
}

/* What had come is what counts. */
static void test_a_caller_who_goes_away_in_the_middle_of_an_answer(void **state)
{
	int server;
	start(TO_V1, LAB_BY_HAND);
	int client = ask(&server);
	say(server, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
	fake_peer_reset(client);
	lab_pump(&lab);
	expect("orders", "v1", 1, 0);
	lab_finish(&lab);
}

static void test_a_fault_of_ours(void **state)
{
	start(ROUTED("fault = { abort_status = 503; };"), LAB_HTTP);
	int client = dial(ORDERS, 8080);
	say(client, GET);
	lab_expect_holds(client, "HTTP/1.1 503 ");
	expect("orders", "v1", 0, 0);
	lab_finish(&lab);
}

static void test_a_bad_request(void **state)
{
	start(TO_V1, LAB_HTTP);
	int client = dial(ORDERS, 8080);
	say(client, "GET /1 HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n");
	expect("orders", "v1", 0, 0);
	lab_finish(&lab);
}

/* --- tries --- */

static void test_each_try_counts(void **state)
{
	start(ROUTED("retries = { attempts = 2; on = [ \"5xx\" ]; };"), LAB_BY_HAND);
	int client = dial(ORDERS, 8080);
	say(client, GET);
	say(lab_served(&lab, LAB_SHOP, 0), "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
	lab_run(&lab, CLOCK_S);
	say(lab_served(&lab, LAB_SHOP, 1), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	lab_expect_holds(client, "HTTP/1.1 200 ");
	expect("orders", "v1", 2, 1);
	lab_finish(&lab);
}

static void test_no_answer_in_time(void **state)
{
	int server;
	start(ROUTED("timeout = \"1s\";"), LAB_BY_HAND);
	int client = ask(&server);
	lab_run(&lab, 2 * CLOCK_S);
	lab_expect_holds(client, "HTTP/1.1 504 ");
	expect("orders", "v1", 1, 1);
	lab_finish(&lab);
}

/* --- opaque connections --- */

static void test_connections_count_when_they_stand(void **state)
{
	start(ROLLOUT("billing", "abort"), LAB_ECHO);
	int client = dial(BILLING, 7000);
	say(client, "bytes");
	expect("billing", "v1", 1, 0);
	fake_peer_reset(lab_served(&lab, LAB_CACHE, 0));
	lab_pump(&lab);
	expect("billing", "v1", 1, 0);
	lab_finish(&lab);
}

static void test_a_server_that_cannot_be_reached(void **state)
{
	struct address shop = lab_deliver(LAB_SHOP), cache = lab_deliver(LAB_CACHE);
	start(ROLLOUT("billing", "abort"), LAB_ECHO);
	fake_connect_rule(&cache, -ECONNREFUSED);
	dial(BILLING, 7000);
	lab_run(&lab, CLOCK_S);
	struct ledger_sums sums = sums_of("billing", "v1");
	assert_true(sums.calls > 0 && sums.failed == sums.calls);
	lab_finish(&lab);
	start(TO_V1, LAB_HTTP);
	fake_connect_rule(&shop, -ECONNREFUSED);
	say(dial(ORDERS, 8080), GET);
	lab_run(&lab, CLOCK_S);
	sums = sums_of("orders", "v1");
	assert_true(sums.calls > 0 && sums.failed == sums.calls);
	lab_finish(&lab);
}

/* --- without a rollout --- */

static void test_nothing_is_counted_without_one(void **state)
{
	start(NULL, LAB_HTTP);
	say(dial(ORDERS, 8080), GET);
	expect("orders", "v1", 0, 0);
	expect("orders", "v2", 0, 0);
	lab_finish(&lab);
}

#define TEST(name) cmocka_unit_test(test_##name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_an_answer_says),
		TEST(its_time_is_to_the_head),
		TEST(the_other_machine_s_version),
		TEST(a_connection_that_changes_its_protocol_counts_at_once),
		TEST(a_caller_who_goes_away),
		TEST(a_caller_who_goes_away_in_the_middle_of_an_answer),
		TEST(a_fault_of_ours),
		TEST(a_bad_request),
		TEST(each_try_counts),
		TEST(no_answer_in_time),
		TEST(connections_count_when_they_stand),
		TEST(a_server_that_cannot_be_reached),
		TEST(nothing_is_counted_without_one),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
