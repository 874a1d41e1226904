/* SPDX-License-Identifier: Apache-2.0 */
/* What holds callers back when a service is slow, fails, or says when it wants to be asked again;
 * and what they are told. orders runs here as the user shop, and on the other machine. */
#include "lab.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OWN	  "10.96.0.1"
#define BILLS	  "10.96.0.2"
#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST	  "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
#define GRPC(path)                                                                      \
	"POST " path " HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc+proto\r\n" \
	"TE: trailers\r\nContent-Length: 0\r\n\r\n"
#define OK		   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define FAIL(status, more) "HTTP/1.1 " status "\r\n" more "Content-Length: 3\r\n\r\nbad"
#define GRPC_ENDS(more) \
	"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n" more "Content-Length: 0\r\n\r\n"

#define NEAR "{ address = \"10.77.0.1\"; port = 8081; }"
#define FAR  "{ address = \"10.77.0.2\"; }"
#define ORDERS(how, endpoints)                                                                \
	" { name = \"orders\"; port = 8080; protocol = \"http\"; address = \"" OWN "\"; " how \
	" endpoints = ( " endpoints " ); },\n"
#define BILLING(how, endpoints)                                                                 \
	" { name = \"billing\"; port = 7000; protocol = \"tcp\"; address = \"" BILLS "\"; " how \
	" endpoints = ( " endpoints " ); },\n"
#define ROUTE(rule)   "routes: ( { service = \"orders\"; rules = ( { " rule " } ); } );\n"
#define RETRIES(more) "retries = { backoff = \"10ms\"; " more " };"

enum { EDIT_ORDERS, EDIT_SERVICES, EDIT_WORKLOADS, EDIT_BILLING };

static struct lab_edit edits[LAB_EDITS_MAX] = {
	[EDIT_ORDERS] = {" { name = \"orders\"; port = 8080; protocol = \"http\"; endpoints = ( { "
			 "address = \"10.77.0.2\"; } ); },\n",
		NULL},
	[EDIT_SERVICES] =
		{" { name = \"shop\"; port = 8081; protocol = \"http\"; endpoints = ( { address "
		 "= \"10.77.0.1\"; } ); },\n"
		 " { name = \"cache\"; port = 6379; protocol = \"tcp\"; endpoints = ( { address "
		 "= \"10.77.0.1\"; } ); },\n",
			" { name = \"shop\"; }, { name = \"cache\"; },\n"},
	[EDIT_WORKLOADS] = {" { service = \"shop\"; user = \"shop\"; port = 8081; },\n"
			    " { service = \"cache\"; user = \"cache\"; port = 6379; },\n",
		" { service = \"orders\"; user = \"shop\"; port = 8081; },\n"
		" { service = \"billing\"; user = \"cache\"; port = 6379; },\n"},
	[EDIT_BILLING] = {" { name = \"billing\"; port = 7000; protocol = \"tcp\"; endpoints = ( { "
			  "address = \"10.77.0.2\"; } ); },\n",
		NULL},
};

static struct lab lab;

static void start(const char *orders, const char *routes, enum lab_serving serving)
{
	edits[EDIT_ORDERS].to = orders;
	edits[EDIT_BILLING].to =
		edits[EDIT_BILLING].to ? edits[EDIT_BILLING].to : edits[EDIT_BILLING].from;
	lab_start(&lab, &(struct lab_options){.machine_count = 2,
				.edits = edits,
				.objects = routes,
				.serving = serving,
				.seed = 3});
}

static void start_bills(const char *billing)
{
	edits[EDIT_BILLING].to = billing;
	start(edits[EDIT_ORDERS].from, NULL, LAB_ECHO);
	edits[EDIT_BILLING].to = NULL;
}

static void replan(const char *orders)
{
	lab.edits[EDIT_ORDERS].to = orders;
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
}

static int dial(const char *ip, uint16_t port)
{
	struct address a = lab_address_of(ip);
	a.port = port;
	return lab_dial_address(&lab, LAB_WEB, &a);
}

static int say(int fd, const char *text)
{
	fake_peer_forget(fd);
	fake_peer_send_text(fd, text);
	lab_pump(&lab);
	return fd;
}

static int one_more(const char *text)
{
	return say(dial(OWN, 8080), text);
}

static void answer(int fd, const char *text)
{
	fake_peer_send_text(fd, text);
	lab_pump(&lab);
}

static uint64_t refused(enum breaker_limit limit)
{
	const struct metric_values *v = lab_values(&lab, 0);
	const uint64_t values[] = {v->breaker_connections_refused_total,
		v->breaker_pending_refused_total, v->breaker_requests_refused_total,
		v->breaker_retries_refused_total};
	return values[limit];
}

static void expect_used(uint64_t connections, uint64_t pending, uint64_t requests)
{
	const struct metric_values *v = lab_values(&lab, 0);
	assert_int_equal(v->breaker_connections, connections);
	assert_int_equal(v->breaker_pending, pending);
	assert_int_equal(v->breaker_requests, requests);
}

/* --- limits --- */

/* Whichever way the service is reached; told apart from what the service says; never tried again.
 */
static void test_requests(void **state)
{
	start(ORDERS("breaker = { requests = 2; };", NEAR ", " FAR),
		ROUTE(RETRIES("on = [ \"5xx\", \"gateway-error\", \"connect-failure\" ];")),
		LAB_BY_HAND);
	int first = one_more(GET("/1"));
	int second = say(dial("10.77.0.2", 8080), GET("/1"));
	assert_int_equal(lab_values(&lab, 0)->breaker_requests, 2);
	int third = one_more(GET("/1"));
	lab_expect_holds(third, "HTTP/1.1 503 ");
	lab_expect_holds(third, "x-ringmain-overloaded: true\r\n");
	lab_expect_reason(&lab, 0, "BREAKER_REQUESTS");
	assert_string_equal(lab_last(&lab, 0)->flags, "UO");
	assert_int_equal(lab_last(&lab, 0)->attempts, 0);
	assert_int_equal(lab_values(&lab, 0)->retries_total, 0);
	lab_expect_holds(say(dial("10.77.0.2", 8080), GET("/1")), "HTTP/1.1 503 ");
	assert_int_equal(refused(BREAKER_REQUESTS), 2);
	fake_peer_reset(first);
	lab_pump(&lab);
	assert_int_equal(lab_values(&lab, 0)->breaker_requests, 1);
	lab_expect_lacks(say(third, GET("/1")), "503");
	fake_peer_reset(second);
	fake_peer_reset(third);
	lab_pump(&lab);
	assert_int_equal(lab_values(&lab, 0)->breaker_requests, 0);
	lab_finish(&lab);
}

/* Only a machine's own workloads count: what it serves to others does not. */
static void test_what_is_served_does_not_count(void **state)
{
	start(ORDERS("breaker = { requests = 1; connections = 1; pending = 1; };", FAR), NULL,
		LAB_BY_HAND);
	one_more(GET("/1"));
	assert_int_equal(lab_values(&lab, 1)->breaker_requests, 0);
	assert_int_equal(lab_values(&lab, 1)->breaker_connections, 0);
	expect_used(1, 0, 1);
	lab_finish(&lab);
}

static void test_opaque_connections(void **state)
{
	int fds[3];
	start_bills(BILLING("breaker = { connections = 3; requests = 1; };", FAR));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		lab_expect_received(fds[i] = say(dial(BILLS, 7000), "x"), "x");
	int late = say(dial(BILLS, 7000), "x");
	assert_true(fake_peer_saw_reset(late));
	lab_expect_reason(&lab, 0, "BREAKER_CONNECTIONS");
	assert_int_equal(refused(BREAKER_CONNECTIONS), 1);
	fake_peer_close(fds[1]);
	lab_pump(&lab);
	lab_expect_received(say(dial(BILLS, 7000), "x"), "x");
	assert_int_equal(refused(BREAKER_CONNECTIONS), 1);
	lab_finish(&lab);
}

/* An idle one elsewhere makes room, and one that is busy does not. */
static void test_idle_connections_make_room(void **state)
{
	start(ORDERS("balance = \"round_robin\"; breaker = { connections = 1; };", NEAR ", " FAR),
		NULL, LAB_HTTP);
	int client = dial(OWN, 8080);
	for (int i = 0; i < 6; i++) {
		lab_expect_holds(say(client, GET("/1")), "HTTP/1.1 200 ");
		expect_used(1, 0, 0);
	}
	assert_int_equal(lab_values(&lab, 0)->pool_opened_total, 6);
	assert_int_equal(refused(BREAKER_CONNECTIONS), 0);
	lab_finish(&lab);
	start(ORDERS("breaker = { connections = 1; };", NEAR), NULL, LAB_BY_HAND);
	one_more(GET("/1"));
	int late = one_more(GET("/1"));
	lab_expect_holds(late, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "BREAKER_CONNECTIONS");
	answer(lab_served(&lab, LAB_SHOP, 0), OK);
	say(late, GET("/1")); /* somebody was refused: it was not kept */
	answer(lab_served(&lab, LAB_SHOP, 1), OK);
	lab_expect_received(late, OK);
	lab_finish(&lab);
}

#define PLACES 600

static void place_text(int i, char ip[16])
{
	snprintf(ip, 16, "10.78.%d.%d", i / 200 & 255, i % 200 + 1);
}

/* With an idle connection to each place of another service. */
static void start_with_places(const char *orders)
{
	char text[PLACES * 40], ip[16];
	int len = snprintf(text, sizeof(text),
		"services: ( { name = \"many\"; port = 8082; protocol = \"http\"; "
		"mtls = \"disabled\"; endpoints = (");
	for (int i = 0; i < PLACES; i++) {
		place_text(i, ip);
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%s { address = \"%s\"; }",
			i > 0 ? "," : "", ip);
	}
	snprintf(text + len, sizeof(text) - (size_t)len, " ); } );\n");
	start(orders, text, LAB_HTTP);
	for (int i = 0; i < PLACES; i++) {
		place_text(i, ip);
		struct address to = lab_address_of(ip);
		to.port = 8082;
		int client = say(dial(ip, to.port), GET("/1"));
		answer(lab_connected(&to, 0), OK);
		lab_expect_received(client, OK);
		fake_peer_close(client);
		lab_pump(&lab);
	}
	assert_int_equal(lab_values(&lab, 0)->pool_idle, PLACES);
}

/* Some of the places are looked at for each refused request, and further ones for the next. */
static void test_many_idle_connections(void **state)
{
	start_with_places(ORDERS("breaker = { connections = 1; };", NEAR ", " FAR));
	lab_expect_holds(say(dial("10.77.0.1", 8081), GET("/1")), "HTTP/1.1 200 ");
	expect_used(PLACES + 1, 0, 0);
	for (uint64_t i = 1; i <= 2; i++) {
		lab_expect_holds(say(dial("10.77.0.2", 8080), GET("/1")), "HTTP/1.1 503 ");
		assert_int_equal(refused(BREAKER_CONNECTIONS), i);
	}
	lab_expect_holds(say(dial("10.77.0.2", 8080), GET("/1")), "HTTP/1.1 200 ");
	assert_int_equal(refused(BREAKER_CONNECTIONS), 2);
	lab_finish(&lab);
}

/* Those that wait for the one shared connection; once it is open nobody has to wait. */
static void test_waiting_callers(void **state)
{
	start(ORDERS("breaker = { pending = 2; };", FAR), NULL, LAB_HTTP);
	int fds[4];
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial(OWN, 8080);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fake_peer_send_text(fds[i], GET("/1"));
	lab_pump(&lab);
	uint32_t served = 0;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		served += lab_holds_text(fake_peer_received(fds[i]), "HTTP/1.1 200 ");
	assert_int_equal(served, 2);
	assert_int_equal(refused(BREAKER_PENDING), 2);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fake_peer_forget(fds[i]);
		fake_peer_send_text(fds[i], GET("/1"));
	}
	lab_pump(&lab);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		lab_expect_holds(fds[i], "HTTP/1.1 200 ");
	assert_int_equal(refused(BREAKER_PENDING), 2);
	expect_used(1, 0, 0);
	lab_finish(&lab);
}

/* As another worker of this machine does when it finds no connection left for orders. */
static void another_worker_is_refused(void)
{
	const struct lab_machine *m = &lab.machines[0];
	const struct plan *plan = m->plans[m->plan_count - 1];
	breaker_lack(&plan->service_uses[snapshot_service(plan->snapshot, STR("orders"))->index]
			      ->breaker);
}

/* A shared connection makes room for another worker when the last of its channels has nothing to
 * do, and once only. */
static void test_a_shared_connection_makes_room(void **state)
{
	start(ORDERS("breaker = { connections = 1; };", FAR), NULL, LAB_BY_HAND);
	int first = one_more(GET("/1")), second = one_more(GET("/2"));
	int servers[] = {lab_served(&lab, LAB_ORDERS, 0), lab_served(&lab, LAB_ORDERS, 1)};
	another_worker_is_refused();
	answer(servers[0], OK);
	lab_expect_received(first, OK);
	assert_int_equal(lab_alive(&lab, 0, TASK_TRUNK), 1);
	expect_used(1, 0, 1);
	answer(servers[1], OK);
	lab_expect_received(second, OK);
	assert_int_equal(lab_alive(&lab, 0, TASK_TRUNK), 0);
	assert_int_equal(lab_values(&lab, 0)->pool_idle, 0);
	expect_used(0, 0, 0);
	say(first, GET("/3"));
	answer(lab_served(&lab, LAB_ORDERS, 0), OK);
	answer(lab_served(&lab, LAB_ORDERS, 1), OK);
	lab_expect_received(first, OK);
	assert_int_equal(lab_alive(&lab, 0, TASK_TRUNK), 1);
	expect_used(1, 0, 0);
	lab_finish(&lab);
}

/* A service that goes, with calls under way, and comes back: they count still. */
static void test_plans_come_and_go(void **state)
{
	static const char with[] = ORDERS("breaker = { requests = 1; };", NEAR ", " FAR);
	start(with, NULL, LAB_BY_HAND);
	int first = one_more(GET("/1"));
	replan(ORDERS("breaker = { requests = 2; };", NEAR ", " FAR));
	int second = one_more(GET("/1"));
	lab_expect_lacks(second, "503");
	replan(with);
	lab_expect_holds(one_more(GET("/1")), "HTTP/1.1 503 ");
	fake_peer_reset(second);
	lab_pump(&lab);
	lab_expect_holds(one_more(GET("/1")), "HTTP/1.1 503 ");
	fake_peer_reset(first);
	lab_pump(&lab);
	lab_expect_lacks(one_more(GET("/1")), "503");
	lab_finish(&lab);
}

/* A connection of opaque bytes that fails under a newer plan than it came under goes on by that. */
static void test_opaque_bytes_follow_the_plan(void **state)
{
	struct address mesh = lab_mesh_address(1);
	start_bills(BILLING("", FAR));
	fake_connect_rule(&mesh, FAKE_PENDING);
	int client = say(dial(BILLS, 7000), "x");
	expect_used(1, 1, 0);
	lab.edits[EDIT_BILLING].to = BILLING("breaker = { connections = 1; };",
		FAR ", { address = \"10.77.0.1\"; port = 6379; }");
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	fake_connect_rule(&mesh, -ECONNREFUSED);
	lab_pump(&lab);
	lab_expect_received(client, "x");
	assert_int_not_equal(lab_served(&lab, LAB_CACHE, 0), -1);
	expect_used(1, 0, 0);
	assert_true(fake_peer_saw_reset(say(dial(BILLS, 7000), "x")));
	lab_finish(&lab);
}

/* --- retries --- */

/* Those that are being sent again, no more than so many at once; what fails then is the answer. */
static void test_retries_under_way(void **state)
{
	start(ORDERS("breaker = { retries = 1; }; outlier = { errors = 0; connect_errors = 0; };",
		      NEAR),
		ROUTE(RETRIES("on = \"5xx\"; attempts = 3;")), LAB_BY_HAND);
	int first = one_more(GET("/1")), second = one_more(GET("/2"));
	answer(lab_served(&lab, LAB_SHOP, 0), FAIL("500 Internal Server Error", ""));
	answer(lab_served(&lab, LAB_SHOP, 1), FAIL("500 Internal Server Error", ""));
	lab_expect_received(first, "");
	lab_expect_received(second, FAIL("500 Internal Server Error", ""));
	assert_int_equal(refused(BREAKER_RETRIES), 1);
	assert_int_equal(lab_values(&lab, 0)->retries_refused_total, 0);
	assert_int_equal(lab_values(&lab, 0)->breaker_retries, 1);
	lab_run(&lab, 20 * CLOCK_MS);
	answer(lab_served(&lab, LAB_SHOP, 2),
		FAIL("500 Internal Server Error", "")); /* its own place is enough for it */
	lab_expect_received(first, "");
	lab_run(&lab, 40 * CLOCK_MS);
	answer(lab_served(&lab, LAB_SHOP, 3), OK);
	lab_expect_received(first, OK);
	assert_int_equal(lab_values(&lab, 0)->breaker_retries, 0);
	lab_finish(&lab);
}

/* Besides the two that the proxy tries by itself when nothing could be connected. */
static void test_a_service_s_own_budget(void **state)
{
	static const struct {
		const char *budget;
		uint64_t granted;
	} rows[] = {{"percent = 0; per_second = 0;", 0}, {"percent = 50; per_second = 0;", 10},
		{"percent = 0; per_second = 7;", 7}, {"percent = 100; per_second = 1;", 20}};
	struct address shop = lab_deliver(LAB_SHOP);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char orders[512];
		snprintf(orders, sizeof(orders), ORDERS("retry_budget = { %s };", NEAR),
			rows[i].budget);
		start(orders, ROUTE(RETRIES("on = \"connect-failure\"; attempts = 1;")),
			LAB_BY_HAND);
		fake_connect_rule(&shop, -ECONNREFUSED);
		for (int n = 0; n < 20; n++)
			fake_peer_send_text(dial(OWN, 8080), GET("/1"));
		lab_run(&lab, 20 * CLOCK_MS);
		assert_int_equal(lab_values(&lab, 0)->retries_total, 40 + rows[i].granted);
		assert_int_equal(lab_values(&lab, 0)->retries_refused_total, 20 - rows[i].granted);
		lab_finish(&lab);
	}
}

/* Not before it says, and then once more; what is too long is passed on at once. */
static void test_a_server_that_says_when(void **state)
{
	static const struct {
		const char *answer;
		uint64_t wait_ms; /* 0: passed on */
	} rows[] = {
		{FAIL("503 Service Unavailable", "Retry-After: 2\r\n"), 2000},
		{FAIL("429 Too Many Requests", "Retry-After: 2\r\n"), 2000},
		{FAIL("503 Service Unavailable", "Retry-After: 11\r\n"), 0},
		{FAIL("503 Service Unavailable", "Retry-After: 99999999999999999999\r\n"), 0},
		{FAIL("503 Service Unavailable", "Retry-After: soon\r\n"), 1},
		{FAIL("503 Service Unavailable", ""), 1},
		{FAIL("500 Internal Server Error", "Retry-After: 2\r\n"), 1},
		{GRPC_ENDS("grpc-status: 14\r\ngrpc-retry-pushback-ms: 1500\r\n"), 1500},
		{GRPC_ENDS("grpc-status: 14\r\ngrpc-retry-pushback-ms: -1\r\n"), 0},
		{GRPC_ENDS("grpc-status: 14\r\ngrpc-retry-pushback-ms: x\r\n"), 0},
		{GRPC_ENDS("grpc-status: 14\r\ngrpc-retry-pushback-ms: 60000\r\n"), 0},
		{GRPC_ENDS("grpc-status: 14\r\n"), 1},
		{GRPC_ENDS("grpc-status: 14\r\nRetry-After: 2\r\n"), 2000},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		start(ORDERS("", NEAR),
			ROUTE(RETRIES("on = [ \"5xx\", \"rate-limited\", "
				      "\"unavailable\" ];")),
			LAB_BY_HAND);
		int client = one_more(GET("/1"));
		answer(lab_served(&lab, LAB_SHOP, 0), rows[i].answer);
		if (rows[i].wait_ms == 0) {
			lab_expect_received(client, rows[i].answer);
			assert_int_equal(lab_last(&lab, 0)->attempts, 1);
			lab_finish(&lab);
			continue;
		}
		lab_expect_received(client, "");
		lab_run(&lab, rows[i].wait_ms * CLOCK_MS - 1);
		assert_int_equal(lab_served(&lab, LAB_SHOP, 1), -1);
		lab_run(&lab, 12 * CLOCK_MS);
		answer(lab_served(&lab, LAB_SHOP, 1), OK);
		lab_expect_received(client, OK);
		assert_int_equal(lab_last(&lab, 0)->attempts, 2);
		lab_finish(&lab);
	}
}

/* A wait that ends after the request does is none. */
static void test_no_wait_beyond_the_timeout(void **state)
{
	static const char *const rules[] = {"timeout = \"2s\"; " RETRIES("on = \"5xx\";"),
		RETRIES("on = \"5xx\"; wait_max = \"1s\";")};
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		char routes[512];
		snprintf(routes, sizeof(routes), ROUTE("%s"), rules[i]);
		start(ORDERS("", NEAR), routes, LAB_BY_HAND);
		int client = one_more(GET("/1"));
		answer(lab_served(&lab, LAB_SHOP, 0),
			FAIL("503 Service Unavailable", "Retry-After: 2\r\n"));
		lab_expect_received(client, FAIL("503 Service Unavailable", "Retry-After: 2\r\n"));
		lab_finish(&lab);
	}
}

/* Of gRPC, by what the end of a response says that has no body. */
static void test_statuses_of_grpc(void **state)
{
	static const struct {
		const char *on, *answer;
		bool again;
	} rows[] = {
		{"cancelled", GRPC_ENDS("grpc-status: 1\r\n"), true},
		{"deadline-exceeded", GRPC_ENDS("grpc-status: 4\r\n"), true},
		{"internal", GRPC_ENDS("grpc-status: 13\r\n"), true},
		{"resource-exhausted", GRPC_ENDS("grpc-status: 8\r\n"), true},
		{"unavailable", GRPC_ENDS("grpc-status: 14\r\n"), true},
		{"unavailable", GRPC_ENDS("grpc-status: 13\r\n"), false},
		{"unavailable", GRPC_ENDS("grpc-status: 0\r\n"), false},
		{"unavailable", GRPC_ENDS("grpc-status: 140\r\n"), false},
		{"unavailable", GRPC_ENDS(""), false},
		{"unavailable", FAIL("503 Service Unavailable", "grpc-status: 14\r\n"), false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char routes[512];
		snprintf(routes, sizeof(routes), ROUTE(RETRIES("on = \"%s\"; any_method = true;")),
			rows[i].on);
		start(ORDERS("", NEAR), routes, LAB_BY_HAND);
		int client = one_more(GRPC("/a.b/C"));
		answer(lab_served(&lab, LAB_SHOP, 0), rows[i].answer);
		lab_expect_received(client, rows[i].again ? "" : rows[i].answer);
		lab_finish(&lab);
	}
}

/* The far end has ended the connection after a byte of the request had left: that is no failure to
 * connect, and what might do harm twice is not sent again. */
static void test_what_has_left_is_not_unsent(void **state)
{
	struct certs_list list = {.issuer = &lab_mesh_certs()->middle,
		.revoked = {lab_mesh_certs()->leaf[PAIR_WEB].certificate}};
	char *pem = certs_list_pem(&list);
	start(ORDERS("", FAR), ROUTE(RETRIES("on = \"connect-failure\"; attempts = 5;")), LAB_HTTP);
	lab.list = pem;
	lab_replan(&lab, 1, NULL);
	lab.list = NULL;
	int client = one_more(POST);
	lab_run(&lab, CLOCK_S);
	lab_expect_holds(client, "HTTP/1.1 503 ");
	assert_int_equal(lab_last(&lab, 0)->attempts, 1);
	assert_int_equal(lab_values(&lab, 0)->retries_total, 0);
	lab_finish(&lab);
	free(pem);
}

/* --- what callers of gRPC are told --- */

/* A client that reads nothing asks twice; the second answer's head has to wait behind the first
 * answer's `bytes`. Then the service's connection is lost. True: so it was. */
static bool loses_a_waiting_head(size_t bytes)
{
	static char body[40000], head[9000], text[50000];
	memset(body, 'b', bytes);
	memset(head, 'h', sizeof(head) - 1);
	body[bytes] = '\0';
	int client = dial(OWN, 8080);
	fake_peer_window(client, 0);
	fake_peer_send_text(client, GET("/1") GET("/2"));
	lab_pump(&lab);
	int server = lab_served(&lab, LAB_SHOP, 0);
	snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", bytes,
		body);
	answer(server, text);
	if (!lab_holds_text(fake_peer_received(server), "GET /2"))
		return false;
	snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nX-Long: %s\r\nContent-Length: 3\r\n\r\n",
		head);
	answer(server, text);
	fake_peer_reset(server);
	lab_run(&lab, 100 * CLOCK_MS);
	return strcmp(lab_last(&lab, 0)->details, "UPSTREAM_CLOSED") == 0;
}

/* On a connection that was kept, or as a rule wants it. */
static void test_what_was_answered_is_not_sent_again(void **state)
{
	static const char *const routes[] = {NULL, ROUTE(RETRIES("on = \"reset\";"))};
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		uint32_t lost = 0;
		for (size_t bytes = 12000; bytes < 36000; bytes += 4000) {
			start(ORDERS("", NEAR), routes[i], LAB_BY_HAND);
			lost += loses_a_waiting_head(bytes);
			assert_int_equal(lab_served(&lab, LAB_SHOP, 1), -1);
			assert_int_equal(lab_values(&lab, 0)->retries_total, 0);
			lab_finish(&lab);
		}
		assert_true(lost > 0);
	}
}

static void expect_grpc(int client, const char *status, const char *reason)
{
	char header[64];
	snprintf(header, sizeof(header), "Grpc-Status: %s\r\n", status);
	lab_expect_holds(client, "HTTP/1.1 200 OK\r\n");
	lab_expect_holds(client, "Content-Type: application/grpc+proto\r\n");
	lab_expect_holds(client, header);
	lab_expect_holds(client, "Grpc-Message: ");
	lab_expect_holds(client, "Content-Length: 0\r\n");
	lab_expect_reason(&lab, 0, reason);
	assert_int_equal(lab_last(&lab, 0)->code, 200);
}

static void test_grpc_is_refused_its_way(void **state)
{
	struct address mesh = lab_mesh_address(1);
	start(ORDERS("breaker = { requests = 1; };", FAR), ROUTE("timeout = \"1s\";"), LAB_BY_HAND);
	fake_connect_rule(&mesh, -ECONNREFUSED);
	expect_grpc(one_more(GRPC("/a.b/C")), "14", "UPSTREAM_CONNECT_FAILED");
	expect_grpc(one_more(GRPC("/a/%00")), "3", "PATH_INVALID");
	fake_connect_rule(&mesh, FAKE_PENDING);
	int slow = one_more(GRPC("/a.b/C"));
	int late = one_more(GRPC("/a.b/C"));
	expect_grpc(late, "14", "BREAKER_REQUESTS");
	lab_expect_holds(late, "x-ringmain-overloaded: true\r\n");
	lab_run(&lab, 2 * CLOCK_S);
	expect_grpc(slow, "4", "UPSTREAM_TIMEOUT");
	lab_finish(&lab);
	start(ORDERS("", ""), NULL, LAB_BY_HAND);
	expect_grpc(one_more(GRPC("/a.b/C")), "14", "NO_ENDPOINT");
	lab_finish(&lab);
	start(ORDERS("", NEAR), NULL, LAB_BY_HAND);
	int broken = one_more(GRPC("/a.b/C"));
	answer(lab_served(&lab, LAB_SHOP, 0), "no HTTP\r\n\r\n");
	expect_grpc(broken, "13", "NOT_HTTP");
	lab_finish(&lab);
}

static void test_grpc_and_rules_that_answer(void **state)
{
	start(ORDERS("", NEAR), ROUTE("fault = { abort_status = 503; };"), LAB_BY_HAND);
	expect_grpc(one_more(GRPC("/a.b/C")), "14", "FAULT_INJECTED");
	lab_expect_holds(one_more(POST), "HTTP/1.1 503 ");
	lab_finish(&lab);
	start(ORDERS("", NEAR), ROUTE("fault = { abort_status = 401; };"), LAB_BY_HAND);
	expect_grpc(one_more(GRPC("/a.b/C")), "16", "FAULT_INJECTED");
	lab_finish(&lab);
	start(ORDERS("", NEAR), ROUTE("respond = { status = 404; body = \"50% off\"; };"),
		LAB_BY_HAND);
	int client = one_more(GRPC("/a.b/C"));
	expect_grpc(client, "12", "NONE");
	lab_expect_holds(client, "Grpc-Message: 50%25 off\r\n");
	lab_expect_holds(one_more(POST), "HTTP/1.1 404 ");
	lab_finish(&lab);
}

/* By the far machine's proxy, which knows best; and tried elsewhere where it may be. */
static void test_grpc_refused_by_the_other_machine(void **state)
{
	struct address orders = lab_deliver(LAB_ORDERS);
	start(ORDERS("", FAR), NULL, LAB_BY_HAND);
	fake_connect_rule(&orders, -ECONNREFUSED);
	int client = one_more(GRPC("/a.b/C"));
	lab_expect_holds(client, "Grpc-Status: 14\r\n");
	lab_expect_lacks(client, "x-ringmain");
	lab_finish(&lab);
	start(ORDERS("", FAR ", " NEAR), NULL, LAB_BY_HAND);
	fake_connect_rule(&orders, -ECONNREFUSED);
	for (uint32_t i = 0; i < 6; i++) {
		client = one_more(GRPC("/a.b/C"));
		answer(lab_served(&lab, LAB_SHOP, i), GRPC_ENDS("grpc-status: 0\r\n"));
		lab_expect_received(client, GRPC_ENDS("grpc-status: 0\r\n"));
		fake_peer_close(client);
		fake_peer_close(lab_served(&lab, LAB_SHOP, i));
		lab_pump(&lab);
	}
	assert_true(lab_values(&lab, 0)->retries_total > 0);
	lab_finish(&lab);
}

/* Nobody else's word for it. */
static void test_a_server_cannot_say_overloaded(void **state)
{
	start(ORDERS("", NEAR), NULL, LAB_BY_HAND);
	int client = one_more(GET("/1"));
	answer(lab_served(&lab, LAB_SHOP, 0),
		FAIL("503 Service Unavailable", "X-Ringmain-Overloaded: true\r\n"));
	lab_expect_received(client, FAIL("503 Service Unavailable", ""));
	lab_finish(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_what_is_served_does_not_count),
		cmocka_unit_test(test_opaque_connections),
		cmocka_unit_test(test_idle_connections_make_room),
		cmocka_unit_test(test_many_idle_connections),
		cmocka_unit_test(test_waiting_callers),
		cmocka_unit_test(test_a_shared_connection_makes_room),
		cmocka_unit_test(test_plans_come_and_go),
		cmocka_unit_test(test_opaque_bytes_follow_the_plan),
		cmocka_unit_test(test_retries_under_way),
		cmocka_unit_test(test_a_service_s_own_budget),
		cmocka_unit_test(test_a_server_that_says_when),
		cmocka_unit_test(test_no_wait_beyond_the_timeout),
		cmocka_unit_test(test_statuses_of_grpc),
		cmocka_unit_test(test_what_has_left_is_not_unsent),
		cmocka_unit_test(test_what_was_answered_is_not_sent_again),
		cmocka_unit_test(test_grpc_is_refused_its_way),
		cmocka_unit_test(test_grpc_and_rules_that_answer),
		cmocka_unit_test(test_grpc_refused_by_the_other_machine),
		cmocka_unit_test(test_a_server_cannot_say_overloaded),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
