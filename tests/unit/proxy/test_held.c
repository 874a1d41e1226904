/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that their own proxy holds back, answers, or cannot place: what they keep meanwhile, and
 * what the two proxies of a request tell each other. orders runs here as v1 (the user shop) and on
 * the other machine as v2; billing on the other machine alone, and lets anybody in. */
#include "far.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define ORDERS	  "10.96.0.1"
#define BILLING	  "10.96.0.2"

#define ROUTES(rules) "routes: ( { service = \"orders\"; rules = ( " rules " ); } );\n"
#define BILLED(rules) "routes: ( { service = \"billing\"; rules = ( " rules " ); } );\n"
#define OK	      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define FAIL	      "HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbad"
#define NEAR	      "{ address = \"10.77.0.1\"; port = 8081; version = \"v1\"; }"
#define FAR	      "{ address = \"10.77.0.2\"; version = \"v2\"; }"
#define SERVICES(orders)                                                              \
	" { name = \"orders\"; port = 8080; protocol = \"http\"; address = \"" ORDERS \
	"\"; endpoints = ( " orders " ); },\n"                                        \
	" { name = \"billing\"; port = 7000; protocol = \"http\"; mtls = "            \
	"\"permissive\"; address = \"" BILLING                                        \
	"\"; endpoints = ( { address = \"10.77.0.2\"; } ); },\n"

static const struct lab_edit edits[LAB_EDITS_MAX] = {
	{" { name = \"orders\"; port = 8080; protocol = \"http\"; endpoints = ( { "
	 "address = \"10.77.0.2\"; } ); },\n"
	 " { name = \"billing\"; port = 7000; protocol = \"tcp\"; endpoints = ( { "
	 "address = \"10.77.0.2\"; } ); },\n",
		SERVICES(NEAR ", " FAR)},
	{" { name = \"shop\"; port = 8081; protocol = \"http\"; endpoints = ( { address "
	 "= \"10.77.0.1\"; } ); },\n",
		" { name = \"shop\"; },\n"},
	{" { service = \"shop\"; user = \"shop\"; port = 8081; },\n",
		" { service = \"orders\"; user = \"shop\"; port = 8081; version = \"v1\"; },\n"},
};

static struct lab lab;

static void start(const char *routes, enum lab_serving serving, const char *node)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2,
				.edits = edits,
				.objects = routes,
				.serving = serving,
				.node = node,
				.seed = 1});
}

static void replan(const char *routes)
{
	lab.objects = routes;
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
}

static uint32_t first_plan_holders(void)
{
	return atomic_load(&lab.machines[0].plans[0]->holder_count);
}

static int dial_from(enum lab_workload from, const char *ip, uint16_t port)
{
	struct address a = lab_address_of(ip);
	a.port = port;
	return lab_dial_address(&lab, from, &a);
}

static int dial(void)
{
	return dial_from(LAB_WEB, ORDERS, 8080);
}

static void say(int fd, const char *text)
{
	fake_peer_forget(fd);
	fake_peer_send_text(fd, text);
	lab_pump(&lab);
}

/* The one that has the request now, and how many such there were before it. */
static int server_of(uint32_t here, uint32_t there)
{
	int near = lab_served(&lab, LAB_SHOP, here), far = lab_served(&lab, LAB_ORDERS, there);
	assert_true((near == -1) != (far == -1));
	return near != -1 ? near : far;
}

/* --- plans --- */

static void test_a_delay_keeps_no_plan(void **state)
{
	start(ROUTES("{ fault = { delay = \"10s\"; }; }"), LAB_HTTP, NULL);
	int client = dial();
	say(client, GET("/1"));
	say(client, GET("/2")); /* pipelined: it waits for the first one's end */
	replan(lab.objects);
	assert_int_equal(first_plan_holders(), 0);
	replan(NULL);
	assert_int_equal(atomic_load(&lab.machines[0].plans[1]->holder_count), 0);
	lab_expect_received(client, "");
	lab_run(&lab, 11 * CLOCK_S);
	lab_expect_holds(client, ":/1");
	lab_expect_holds(client, ":/2");
	lab_finish(&lab);
}

/* Between two tries: whether the plan comes then, or came while the first one ran. */
static void test_a_backoff_keeps_no_plan(void **state)
{
	for (int early = 0; early < 2; early++) {
		start(ROUTES("{ split = ( { version = \"v2\"; } ); retries = { backoff = \"20s\"; "
			     "on = \"5xx\"; }; }"),
			LAB_BY_HAND, NULL);
		int client = dial();
		say(client, GET("/1"));
		int first = server_of(0, 0);
		if (early) { /* its endpoint has gone, so that it cannot follow while it runs */
			lab.edits[0].to = SERVICES(NEAR);
			replan(NULL);
			assert_int_equal(first_plan_holders(), 1);
		}
		fake_peer_send_text(first, FAIL);
		lab_pump(&lab);
		if (!early)
			replan(NULL);
		assert_int_equal(first_plan_holders(), 0);
		lab_run(&lab, 21 * CLOCK_S);
		int near = lab_served(&lab, LAB_SHOP, 0);
		assert_true(!early || near != -1);
		fake_peer_send_text(near != -1 ? near : first, OK);
		lab_pump(&lab);
		lab_expect_received(client, OK);
		assert_int_equal(lab_last(&lab, 0)->attempts, 2);
		lab_finish(&lab);
	}
}

/* Refused under the new plan: told when its time comes. */
static void test_a_held_request_that_is_refused_meanwhile(void **state)
{
	start(BILLED("{ fault = { delay = \"5s\"; }; }"), LAB_HTTP, NULL);
	int client = dial_from(LAB_NOBODY, BILLING, 7000);
	say(client, GET("/1"));
	lab.edits[0].to =
		" { name = \"orders\"; port = 8080; protocol = \"http\"; address = \"" ORDERS
		"\"; endpoints = ( " NEAR " ); },\n"
		" { name = \"billing\"; port = 7000; protocol = \"http\"; address = \"" BILLING
		"\"; endpoints = ( { address = \"10.77.0.2\"; } ); },\n";
	replan(NULL);
	lab_run(&lab, 6 * CLOCK_S);
	lab_expect_holds(client, "HTTP/1.1 403 ");
	lab_expect_reason(&lab, 0, "UNATTRIBUTED");
	lab_finish(&lab);
}

/* A plan that comes while it waits for its connection is followed once it has it. */
static void test_a_connected_request_keeps_no_plan(void **state)
{
	start(ROUTES("{ split = ( { version = \"v1\"; } ); }"), LAB_BY_HAND, NULL);
	struct address shop = lab_deliver(LAB_SHOP);
	fake_connect_rule(&shop, FAKE_PENDING);
	int client = dial();
	say(client, GET("/1"));
	replan(NULL);
	assert_int_equal(first_plan_holders(), 1);
	fake_connect_rule(&shop, 0);
	lab_pump(&lab);
	int server = lab_served(&lab, LAB_SHOP, 0);
	lab_expect_holds(server, "GET /1 ");
	assert_int_equal(first_plan_holders(), 0);
	fake_peer_send_text(server, OK);
	lab_pump(&lab);
	lab_expect_received(client, OK);
	lab_finish(&lab);
}

/* --- time --- */

static void test_a_delay_is_not_idle_time(void **state)
{
	start(ROUTES("{ fault = { delay = \"30s\"; }; }"), LAB_HTTP,
		"timeouts: { stream_idle = \"2s\"; };\n");
	int client = dial();
	say(client, GET("/1"));
	lab_run(&lab, 31 * CLOCK_S);
	lab_expect_holds(client, "HTTP/1.1 200 ");
	lab_expect_reason(&lab, 0, "DELAY_INJECTED");
	lab_finish(&lab);
}

static void test_a_backoff_is_not_idle_time(void **state)
{
	start(ROUTES("{ retries = { backoff = \"20s\"; on = \"5xx\"; attempts = 1; }; }"),
		LAB_BY_HAND, "timeouts: { stream_idle = \"2s\"; };\n");
	int client = dial();
	say(client, GET("/1"));
	fake_peer_send_text(server_of(0, 0), FAIL);
	lab_run(&lab, 21 * CLOCK_S);
	assert_int_equal(lab_values(&lab, 0)->retries_total, 1);
	int near = lab_served(&lab, LAB_SHOP, 0), far = lab_served(&lab, LAB_ORDERS, 0);
	assert_true(near != -1 && far != -1);
	lab_finish(&lab);
}

/* From when it goes on, that time counts again. */
static void test_idle_after_a_delay(void **state)
{
	start(ROUTES("{ fault = { delay = \"30s\"; }; }"), LAB_BY_HAND,
		"timeouts: { stream_idle = \"2s\"; };\n");
	int client = dial();
	say(client, GET("/1"));
	lab_run(&lab, 31 * CLOCK_S);
	assert_int_not_equal(server_of(0, 0), -1);
	lab_expect_received(client, "");
	lab_run(&lab, 2 * CLOCK_S);
	lab_expect_holds(client, "HTTP/1.1 504 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_TIMEOUT");
	lab_finish(&lab);
}

/* --- answers --- */

/* However often the caller has news, and does not read. */
static void test_an_answer_is_built_once(void **state)
{
	static char routes[8192], body[4001];
	memset(body, 'b', 4000);
	snprintf(routes, sizeof(routes), ROUTES("{ respond = { status = 200; body = \"%s\"; }; }"),
		body);
	start(routes, LAB_HTTP, NULL);
	int client = dial();
	fake_peer_forget(client);
	fake_peer_window(client, 1);
	for (int i = 0; i < 20; i++)
		fake_peer_send_text(client, GET("/1"));
	lab_pump(&lab);
	assert_in_range(lab.machines[0].log.count, 1, 19);
	fake_peer_send_text(client, "GET /2 HTTP/1.1\r\nHost: h\r\nX: ");
	for (int i = 0; i < 200; i++) {
		fake_peer_send_text(client, "x");
		lab_pump(&lab);
	}
	fake_peer_window(client, 1 << 20);
	lab_pump(&lab);
	assert_int_equal(lab.machines[0].log.count, 20);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(lab.machines[0].log.entries[i].code, 200);
	lab_finish(&lab);
}

/* A port that is the other scheme's own does not go along. */
static void test_ports_of_schemes(void **state)
{
	static const struct {
		const char *scheme, *host, *location;
	} rows[] = {
		{"https", "h:80", "\r\nLocation: https://h/1\r\n"},
		{"https", "h:8080", "\r\nLocation: https://h:8080/1\r\n"},
		{"https", "[::1]:80", "\r\nLocation: https://[::1]/1\r\n"},
		{"http", "h:443", "\r\nLocation: http://h/1\r\n"},
		{"http", "h:80", "\r\nLocation: http://h:80/1\r\n"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char routes[512], request[256];
		snprintf(routes, sizeof(routes), ROUTES("{ redirect = { scheme = \"%s\"; }; }"),
			rows[i].scheme);
		snprintf(request, sizeof(request), "GET /1 HTTP/1.1\r\nHost: %s\r\n\r\n",
			rows[i].host);
		start(routes, LAB_HTTP, NULL);
		int client = dial();
		say(client, request);
		lab_expect_holds(client, rows[i].location);
		lab_finish(&lab);
	}
}

/* The server as a whole has no path. */
static void test_options_of_the_whole_server(void **state)
{
	static const struct {
		const char *rule, *answer;
	} rows[] = {
		{"{ redirect = { host = \"n:81\"; }; }", "\r\nLocation: http://n:81\r\n"},
		{"{ redirect = { scheme = \"https\"; }; }", "\r\nLocation: https://h\r\n"},
		{"{ redirect = { host = \"n\"; path = \"/p\"; }; }",
			"\r\nLocation: http://n/p\r\n"},
		{"{ redirect = { path = \"/p\"; }; }", "\r\nLocation: /p\r\n"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char routes[512];
		snprintf(routes, sizeof(routes), ROUTES("%s"), rows[i].rule);
		start(routes, LAB_HTTP, NULL);
		int client = dial();
		say(client, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
		lab_expect_holds(client, rows[i].answer);
		lab_finish(&lab);
	}
	start(ROUTES("{ split = ( { version = \"v1\"; } ); rewrite = { path = \"/p\"; }; }"),
		LAB_HTTP, NULL);
	int client = dial();
	say(client, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
	lab_expect_holds(lab_served(&lab, LAB_SHOP, 0), "OPTIONS * HTTP/1.1\r\n");
	lab_finish(&lab);
}

/* Who has no identity may call billing, but not what its route leads to: not counted there. */
static void test_a_refused_endpoint_counts_nothing(void **state)
{
	start(BILLED("{ split = ( { service = \"orders\"; version = \"v1\"; } ); }"), LAB_HTTP,
		NULL);
	int client = dial_from(LAB_NOBODY, BILLING, 7000);
	say(client, GET("/1"));
	lab_expect_holds(client, "HTTP/1.1 403 ");
	lab_expect_reason(&lab, 0, "UNATTRIBUTED");
	assert_true(fake_is_open(client));
	assert_int_equal(lab_use(&lab, 0, LAB_SHOP), 0);
	lab_finish(&lab);
}

/* --- what proxies tell each other --- */

static void far_ask(struct far *far, const char *request)
{
	far_send(far, request, strlen(request));
	lab_pump(&lab);
}

static void far_start(struct far *far)
{
	start(NULL, LAB_BY_HAND, NULL);
	far_dial(far, &lab, 1, "8080.orders.prod.example", TLS_ALPN_HTTP1,
		"spiffe://prod.example/service/orders");
	assert_true(far_handshake(far));
	lab_pump(&lab);
}

static void expect_told(struct far *far, const char *told, const char *not_told)
{
	struct str answer = far_received(far);
	assert_true(lab_holds_text(answer, "HTTP/1.1 503 "));
	assert_true(!told || lab_holds_text(answer, told));
	assert_false(lab_holds_text(answer, not_told));
}

static void test_a_workload_that_got_nothing(void **state)
{
	struct far far;
	struct address orders = lab_deliver(LAB_ORDERS);
	far_start(&far);
	fake_connect_rule(&orders, -ECONNREFUSED);
	far_ask(&far, GET("/1"));
	expect_told(&far, "x-ringmain-unsent: 1\r\n", "x-ringmain-reset");
	far_done(&far);
	lab_finish(&lab);
}

static void test_a_workload_that_got_it_and_closed(void **state)
{
	struct far far;
	far_start(&far);
	far_ask(&far, GET("/1"));
	fake_peer_close(lab_served(&lab, LAB_ORDERS, 0));
	lab_pump(&lab);
	expect_told(&far, "x-ringmain-reset: 1\r\n", "x-ringmain-unsent");
	far_done(&far);
	lab_finish(&lab);
}

/* The first try, on a pooled connection, may have had effect, whatever became of the second. */
static void test_a_workload_that_got_it_at_first(void **state)
{
	struct far far;
	struct address orders = lab_deliver(LAB_ORDERS);
	far_start(&far);
	far_ask(&far, GET("/1"));
	int server = lab_served(&lab, LAB_ORDERS, 0);
	fake_peer_send_text(server, OK);
	lab_pump(&lab);
	assert_true(lab_holds_text(far_received(&far), "200 OK"));
	fake_connect_rule(&orders, -ECONNREFUSED);
	far_ask(&far, GET("/2"));
	lab_expect_holds(server, "GET /2 ");
	fake_peer_close(server);
	lab_pump(&lab);
	assert_int_equal(lab_values(&lab, 1)->retries_total, 1);
	expect_told(&far, "x-ringmain-reset: 1\r\n", "x-ringmain-unsent");
	far_done(&far);
	lab_finish(&lab);
}

/* Of an upload nothing is told: it cannot be sent again. */
static void test_an_upload_that_nobody_got(void **state)
{
	struct far far;
	struct address orders = lab_deliver(LAB_ORDERS);
	far_start(&far);
	fake_connect_rule(&orders, -ECONNREFUSED);
	far_ask(&far, "PUT /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc");
	expect_told(&far, NULL, "x-ringmain-");
	far_done(&far);
	lab_finish(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_delay_keeps_no_plan),
		cmocka_unit_test(test_a_backoff_keeps_no_plan),
		cmocka_unit_test(test_a_held_request_that_is_refused_meanwhile),
		cmocka_unit_test(test_a_connected_request_keeps_no_plan),
		cmocka_unit_test(test_a_delay_is_not_idle_time),
		cmocka_unit_test(test_a_backoff_is_not_idle_time),
		cmocka_unit_test(test_idle_after_a_delay),
		cmocka_unit_test(test_an_answer_is_built_once),
		cmocka_unit_test(test_ports_of_schemes),
		cmocka_unit_test(test_options_of_the_whole_server),
		cmocka_unit_test(test_a_refused_endpoint_counts_nothing),
		cmocka_unit_test(test_a_workload_that_got_nothing),
		cmocka_unit_test(test_a_workload_that_got_it_and_closed),
		cmocka_unit_test(test_a_workload_that_got_it_at_first),
		cmocka_unit_test(test_an_upload_that_nobody_got),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
