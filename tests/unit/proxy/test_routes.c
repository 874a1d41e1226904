/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and connections by the rules of a route. orders runs here as v1 (the user shop) and on
 * the other machine as v2, billing as v1 (cache) and v2. */
#include "lab.h"

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

#define SPLIT(a, b)                                                                          \
	"{ split = ( { version = \"v1\"; weight = " a "; }, { version = \"v2\"; weight = " b \
	"; } ); }"
#define TO(version)	"split = ( { version = \"" version "\"; } ); "
#define ROUTES(rules)	"routes: ( { service = \"orders\"; rules = ( " rules " ); } );\n"
#define TO_V2(match)	ROUTES("{ match = { " match " }; " TO("v2") "}, { " TO("v1") "}")
#define BILLED(rules)	"routes: ( { service = \"billing\"; rules = ( " rules " ); } );\n"
#define FIELD(key, ...) TO_V2(key " = ( { " __VA_ARGS__ " } );")

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

static void start_with(const char *routes, enum lab_serving serving, const char *node)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2,
				.edits = edits,
				.objects = routes,
				.serving = serving,
				.node = node,
				.seed = 1});
}

static void start(const char *routes, enum lab_serving serving)
{
	start_with(routes, serving, NULL);
}

static void replan(const char *routes)
{
	lab.objects = routes;
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
}

static int dial_from(enum lab_workload from, const char *ip, uint16_t port)
{
	struct address a = lab_address_of(ip);
	a.port = port;
	return lab_dial_address(&lab, from, &a);
}

static int dial(const char *ip, uint16_t port)
{
	return dial_from(LAB_WEB, ip, port);
}

static void say(int fd, const char *text)
{
	fake_peer_forget(fd);
	fake_peer_send_text(fd, text);
	lab_pump(&lab);
}

/* Which version a request gets, by the log. */
static const char *version_of(int client, const char *request)
{
	say(client, request);
	lab_expect_reason(&lab, 0, "NONE");
	return lab_last(&lab, 0)->version;
}

static uint32_t count_v2(int client, uint32_t count)
{
	uint32_t got = 0;
	for (uint32_t i = 0; i < count; i++)
		got += strcmp(version_of(client, GET("/1")), "v2") == 0;
	return got;
}

/* --- which rule, which leg --- */

static void test_a_split_is_exact(void **state)
{
	start(ROUTES(SPLIT("90", "10")), LAB_HTTP);
	int client = dial(ORDERS, 8080), other = dial(ORDERS, 8080);
	for (int round = 0; round < 5; round++)
		assert_int_equal(count_v2(client, 7) + count_v2(other, 13), 2);
	assert_string_equal(lab_last(&lab, 0)->route, "orders/rules[0]");
	assert_string_equal(lab_last(&lab, 0)->service, "orders");
	assert_int_equal(lab_values(&lab, 0)->pool_opened_total, 2);
	lab_finish(&lab);
}

/* On the same connection, from the next request on, and it goes on where it was. */
static void test_other_weights(void **state)
{
	static const struct {
		const char *routes;
		uint32_t v2;
	} rows[] = {
		{ROUTES(SPLIT("90", "10")), 2},
		{ROUTES(SPLIT("90", "10")) "\n", 2},
		{ROUTES(SPLIT("50", "50")), 10},
		{ROUTES(SPLIT("0", "100")), 20},
		{ROUTES(SPLIT("1", "0")), 0},
	};
	start(rows[0].routes, LAB_HTTP);
	int client = dial(ORDERS, 8080);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		replan(rows[i].routes);
		assert_int_equal(count_v2(client, 20), rows[i].v2);
	}
	replan(NULL);
	assert_in_range(count_v2(client, 40), 10, 30);
	assert_string_equal(lab_last(&lab, 0)->route, "");
	lab_finish(&lab);
}

/* Two plans, each of which changes something else: ten requests in a row are nine and one. */
static void test_plans_do_not_disturb_a_split(void **state)
{
	start(ROUTES(SPLIT("90", "10")), LAB_HTTP);
	int client = dial(ORDERS, 8080);
	uint32_t v2 = 0;
	for (int i = 0; i < 20; i++) {
		v2 += count_v2(client, 1);
		if (i % 3 == 0 && lab.machines[0].plan_count < LAB_PLANS_MAX)
			replan(lab.objects);
	}
	assert_int_equal(v2, 2);
	lab_finish(&lab);
}

static void test_every_kind_of_match(void **state)
{
	static const struct {
		const char *routes, *matches, *other;
	} rows[] = {
		{TO_V2("path = \"/a\";"), GET("/%61?x"), GET("/a/")},
		{TO_V2("path_prefix = \"/a\";"), GET("//a/./b"), GET("/ab")},
		{TO_V2("path_template = \"/o/{id}/*\";"), GET("/o/1/x"), GET("/o/1")},
		{TO_V2("method = \"PUT\";"), "PUT /1 HTTP/1.1\r\nHost: h\r\n\r\n", GET("/1")},
		{TO_V2("host = \"b.example\";"), "GET / HTTP/1.1\r\nHost: B.example:80\r\n\r\n",
			GET("/1")},
		{FIELD("headers", "name = \"x-a\"; exact = \"1\";"),
			"GET / HTTP/1.1\r\nHost: h\r\nX-A: 0\r\nX-A: 1\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nX-A: 12\r\n\r\n"},
		{FIELD("query", "name = \"q\"; prefix = \"a b\";"), GET("/?q=a%20bc"),
			GET("/?q=ab")},
		{FIELD("cookies", "name = \"c\"; present = true;"),
			"GET / HTTP/1.1\r\nHost: h\r\nCookie: a=1; c=2\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nCookie: a=c\r\n\r\n"},
	};
	start(rows[0].routes, LAB_HTTP);
	int client = dial(ORDERS, 8080);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (lab.machines[0].plan_count == LAB_PLANS_MAX) {
			lab_finish(&lab);
			start(rows[i].routes, LAB_HTTP);
			client = dial(ORDERS, 8080);
		}
		replan(rows[i].routes);
		assert_string_equal(version_of(client, rows[i].matches), "v2");
		assert_string_equal(lab_last(&lab, 0)->route, "orders/rules[0]");
		assert_string_equal(version_of(client, rows[i].other), "v1");
		assert_string_equal(lab_last(&lab, 0)->route, "orders/rules[1]");
	}
	lab_finish(&lab);
}

/* The same value, the same version: on any connection, under any plan. Others take turns. */
static void test_sticky(void **state)
{
#define STICKY(by) \
	"{ split = ( { version = \"v1\"; }, { version = \"v2\"; } ); sticky = { " by " }; }"
	char first[16][16], request[128];
	start(ROUTES(STICKY("header = \"x-user\";")), LAB_HTTP);
	uint32_t v2 = 0;
	for (int round = 0; round < 3; round++) {
		int client = dial(ORDERS, 8080);
		for (int i = 0; i < 16; i++) {
			snprintf(request, sizeof(request),
				"GET / HTTP/1.1\r\nHost: h\r\nX-User: %d\r\n\r\n", i);
			const char *version = version_of(client, request);
			if (round == 0)
				snprintf(first[i], sizeof(first[i]), "%s", version);
			assert_string_equal(version, first[i]);
			v2 += round == 0 && strcmp(version, "v2") == 0;
		}
		assert_int_equal(count_v2(client, 10), 5);
		replan(lab.objects);
	}
	assert_in_range(v2, 3, 13);
	replan(ROUTES(STICKY("source = true;")));
	v2 = count_v2(dial(ORDERS, 8080), 10);
	assert_true(v2 == 0 || v2 == 10);
	lab_finish(&lab);
}

static void test_by_who_calls(void **state)
{
	start(TO_V2("from = \"billing\";"), LAB_HTTP);
	int web = dial_from(LAB_WEB, ORDERS, 8080), billing = dial_from(LAB_BILLING, ORDERS, 8080);
	for (int i = 0; i < 4; i++) {
		assert_string_equal(version_of(web, GET("/1")), "v1");
		assert_string_equal(version_of(billing, GET("/1")), "v2");
	}
	lab_finish(&lab);
}

/* It goes on as without a route, in any version. */
static void test_what_no_rule_matches(void **state)
{
	start(ROUTES("{ match = { path = \"/2\"; }; " TO("v2") "}"), LAB_HTTP);
	int client = dial(ORDERS, 8080);
	assert_in_range(count_v2(client, 40), 10, 30);
	assert_string_equal(lab_last(&lab, 0)->route, "");
	lab_finish(&lab);
}

/* Who dials an endpoint means that one. */
static void test_an_endpoint_by_its_own_address(void **state)
{
	start(ROUTES("{ respond = { status = 404; }; }"), LAB_HTTP);
	int client = dial("10.77.0.2", 8080);
	say(client, GET("/1"));
	lab_expect_holds(client, "orders:/1");
	assert_string_equal(lab_last(&lab, 0)->route, "");
	lab_finish(&lab);
}

static void test_a_leg_of_another_service(void **state)
{
	start(ROUTES("{ match = { path = \"/1\"; }; split = ( { service = \"any\"; } ); }, { " TO(
		      "v1") "}"),
		LAB_HTTP);
	int client = dial(ORDERS, 8080);
	for (int i = 0; i < 3; i++) {
		say(client, GET("/1"));
		lab_expect_holds(client, "any:/1");
		assert_string_equal(lab_last(&lab, 0)->service, "any");
		lab_expect_holds(lab_served(&lab, LAB_ANY, 0),
			"x-forwarded-client-cert: By=spiffe://prod.example/service/any;");
		assert_string_equal(version_of(client, GET("/2")), "v1");
		assert_string_equal(lab_last(&lab, 0)->service, "orders");
		replan(lab.objects);
	}
	lab_finish(&lab);
}

/* Only the workload says that there is a v3; nobody can dial it. */
static void test_a_version_without_endpoints(void **state)
{
	start(ROUTES("{ " TO("v1") "}"), LAB_HTTP);
	lab.edits[2].to =
		" { service = \"orders\"; user = \"shop\"; port = 8081; version = \"v3\"; },\n"
		" { service = \"billing\"; user = \"cache\"; port = 6379; version = \"v3\"; },\n";
	replan("routes: ( { service = \"orders\"; rules = ( { " TO(
		"v3") "} ); }, { service = \"billing\"; rules = ( { " TO("v3") "} ); } );\n");
	int client = dial(ORDERS, 8080);
	say(client, GET("/1"));
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "ROUTE_NO_VERSION");
	assert_string_equal(lab_last(&lab, 0)->flags, "UH");
	assert_true(fake_is_open(client));
	int other = dial(BILLING, 7000);
	say(other, "x");
	assert_true(fake_peer_saw_reset(other));
	lab_expect_reason(&lab, 0, "ROUTE_NO_VERSION");
	lab_finish(&lab);
}

/* One that cannot be connected is left for others of its version, never for another version. */
static void test_tries_stay_in_the_version(void **state)
{
	start(ROUTES("{ " TO("v2") "}"), LAB_HTTP);
	struct address mesh = lab_mesh_address(1);
	fake_connect_rule(&mesh, -ECONNREFUSED);
	int client = dial(ORDERS, 8080);
	say(client, GET("/1"));
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_FAILED");
	assert_int_equal(lab_last(&lab, 0)->attempts, 3);
	assert_int_equal(lab_served(&lab, LAB_SHOP, 0), -1);
	lab_finish(&lab);
}

/* --- what is changed on the way --- */

#define EDITS                                                                           \
	"request_headers = { remove = [ \"X-Gone\" ]; set = ( { name = \"x-set\"; "     \
	"value = \"new\"; } ); add = ( { name = \"X-Set\"; value = \"more\"; } ); }; "  \
	"response_headers = { remove = \"Server\"; set = ( { name = \"x-by\"; value = " \
	"\"rule\"; } ); };"

static void test_headers(void **state)
{
	for (int v = 1; v <= 2; v++) {
		start(v == 1 ? ROUTES("{ " TO("v1") EDITS "}") : ROUTES("{ " TO("v2") EDITS "}"),
			LAB_BY_HAND);
		int client = dial(ORDERS, 8080);
		say(client, "GET /1 HTTP/1.1\r\nHost: h\r\nX-GONE: 1\r\nx-stays: 2\r\nX-Set: 3\r\n"
			    "x-gone: 4\r\nX-SET: 5\r\n\r\n");
		int server = lab_served(&lab, v == 1 ? LAB_SHOP : LAB_ORDERS, 0);
		lab_expect_holds(server, "x-stays: 2\r\n");
		lab_expect_holds(server, "x-set: new\r\n");
		lab_expect_holds(server, "X-Set: more\r\n");
		lab_expect_lacks(server, "GONE: 1");
		lab_expect_lacks(server, "x-gone");
		lab_expect_lacks(server, ": 3");
		lab_expect_lacks(server, ": 5");
		/* the plan of the rule has gone meanwhile */
		replan(NULL);
		replan(NULL);
		fake_peer_send_text(server, "HTTP/1.1 200 OK\r\nServer: s\r\nX-By: me\r\n"
					    "Content-Length: 1\r\n\r\nx");
		lab_pump(&lab);
		lab_expect_holds(client, "x-by: rule\r\n");
		lab_expect_lacks(client, "Server");
		lab_expect_lacks(client, "X-By");
		lab_finish(&lab);
	}
}

/* By which rule a request went is the proxies' to say: what a caller says of it goes nowhere,
 * whether the service has limits or not, nor to whoever is no part of the mesh. */
static void test_a_caller_names_no_rule(void **state)
{
	static const struct {
		const char *ip;
		uint16_t port;
		enum lab_workload to;
	} rows[] = {{ORDERS, 8080, LAB_SHOP}, {ORDERS, 8080, LAB_ORDERS},
		{"10.77.0.2", 8080, LAB_ORDERS}, {"10.77.0.1", 8081, LAB_SHOP}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		start(rows[i].to == LAB_SHOP ? ROUTES("{ " TO("v1") "}")
					     : ROUTES("{ " TO("v2") "}"),
			LAB_BY_HAND);
		say(dial(rows[i].ip, rows[i].port),
			"GET /1 HTTP/1.1\r\nHost: h\r\nx-ringmain-route: orders/rules[0]\r\n"
			"X-RINGMAIN-ROUTE: orders/rules[0]\r\n\r\n");
		int server = lab_served(&lab, rows[i].to, 0);
		lab_expect_holds(server, "GET /1 ");
		lab_expect_lacks(server, "ringmain-route");
		lab_expect_lacks(server, "RINGMAIN-ROUTE");
		lab_finish(&lab);
	}
}

/* Policy is about what the service sees, on this machine as on another. */
static void test_rewritten_paths(void **state)
{
	for (int v = 1; v <= 2; v++) {
		start(v == 1 ? ROUTES("{ match = { path_prefix = \"/a\"; }; rewrite = { prefix = "
				      "\"/\"; host = \"new:81\"; }; " TO("v1") "}")
			     : ROUTES("{ match = { path_prefix = \"/a\"; }; rewrite = { prefix = "
				      "\"/\"; host = \"new:81\"; }; " TO("v2") "}"),
			LAB_HTTP);
		int client = dial(ORDERS, 8080);
		say(client, GET("/a/b?c=/a"));
		lab_expect_holds(client, v == 1 ? "shop:/b" : "orders:/b");
		int server = lab_served(&lab, v == 1 ? LAB_SHOP : LAB_ORDERS, 0);
		lab_expect_holds(server, "GET /b?c=/a HTTP/1.1\r\n");
		lab_expect_holds(server, "Host: new:81\r\n");
		assert_string_equal(lab_last(&lab, 0)->path, "/a/b?c=/a");
		if (v == 2)
			assert_string_equal(lab_last(&lab, 1)->path, "/b?c=/a");
		say(client, GET("/a/secret"));
		lab_expect_holds(client, "HTTP/1.1 403 ");
		say(client, GET("/secret"));
		lab_expect_holds(client, "HTTP/1.1 403 ");
		lab_finish(&lab);
	}
}

static void test_a_timeout(void **state)
{
	start_with(ROUTES("{ match = { path = \"/slow\"; }; timeout = \"3s\"; " TO(
			   "v1") "}, { timeout = \"1s\"; " TO("v2") "}"),
		LAB_BY_HAND, "timeouts: { request = \"2s\"; };\n");
	int client = dial(ORDERS, 8080), slow = dial(ORDERS, 8080);
	say(client, GET("/1"));
	say(slow, GET("/slow"));
	lab_run(&lab, 900 * CLOCK_MS);
	lab_expect_received(client, "");
	lab_run(&lab, 200 * CLOCK_MS);
	lab_expect_holds(client, "HTTP/1.1 504 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_TIMEOUT");
	assert_string_equal(lab_last(&lab, 0)->route, "orders/rules[1]");
	lab_run(&lab, 1800 * CLOCK_MS);
	lab_expect_received(slow, "");
	lab_run(&lab, 200 * CLOCK_MS);
	lab_expect_holds(slow, "HTTP/1.1 504 ");
	lab_finish(&lab);
}

/* --- answers --- */

static void test_responds(void **state)
{
	start(ROUTES("{ match = { path = \"/none\"; }; respond = { status = 204; }; }, { match = { "
		     "path = \"/no\"; }; respond = { status = 410; body = \"tea\"; }; "
		     "response_headers = { set = ( { name = \"x-a\"; value = \"b\"; } ); }; }"),
		LAB_HTTP);
	int client = dial(ORDERS, 8080);
	say(client, GET("/1"));
	say(client, GET("/no"));
	lab_expect_received(client, "HTTP/1.1 410 Gone\r\nContent-Type: text/plain\r\nx-a: "
				    "b\r\nContent-Length: 3\r\n\r\ntea");
	const struct lab_entry *e = lab_last(&lab, 0);
	assert_int_equal(e->code, 410);
	assert_string_equal(e->details, "NONE");
	assert_string_equal(e->route, "orders/rules[1]");
	assert_string_equal(e->version, "");
	assert_string_equal(e->service, "orders");
	assert_int_equal(e->attempts, 0);
	assert_int_equal(lab_use(&lab, 0, LAB_SHOP), 0);
	say(client, "HEAD /no HTTP/1.1\r\nHost: h\r\n\r\n");
	lab_expect_lacks(client, "tea\r\n");
	say(client, GET("/none"));
	lab_expect_holds(client, "HTTP/1.1 204 No Content\r\n");
	say(client, GET("/1"));
	lab_expect_holds(client, ":/1");
	assert_true(fake_is_open(client));
	lab_finish(&lab);
}

/* Some at once; a body is taken to its end, or ends the connection. */
static void test_responds_to_many(void **state)
{
	start(ROUTES("{ match = { path = \"/no\"; }; respond = { status = 404; body = \"n\"; }; }"),
		LAB_HTTP);
	int client = dial(ORDERS, 8080);
	say(client, GET("/no") GET("/no") "POST /no HTTP/1.1\r\nHost: h\r\nContent-Length: "
					  "3\r\n\r\nabc" GET("/no"));
	assert_true(lab.machines[0].log.count >= 3);
	for (uint32_t i = 0; i < lab.machines[0].log.count; i++)
		assert_int_equal(lab.machines[0].log.entries[i].code, 404);
	int other = dial(ORDERS, 8080);
	say(other, "POST /no HTTP/1.1\r\nHost: h\r\nContent-Length: 3000\r\n\r\nabc");
	lab_expect_holds(other, "HTTP/1.1 404 ");
	lab_expect_holds(other, "Connection: close\r\n");
	lab_finish(&lab);
}

/* Who does not read gets its answers when it does. */
static void test_an_answer_waits_for_room(void **state)
{
	static char routes[8192], body[4001];
	memset(body, 'b', 4000);
	snprintf(routes, sizeof(routes), ROUTES("{ respond = { status = 200; body = \"%s\"; }; }"),
		body);
	start(routes, LAB_HTTP);
	int client = dial(ORDERS, 8080);
	fake_peer_forget(client);
	fake_peer_window(client, 1000);
	for (int i = 0; i < 20; i++)
		fake_peer_send_text(client, GET("/1"));
	lab_pump(&lab);
	for (int i = 0; i < 200; i++) {
		fake_peer_window(client, 1000);
		lab_pump(&lab);
	}
	fake_peer_window(client, 1 << 20);
	lab_pump(&lab);
	assert_int_equal(lab.machines[0].log.count, 20);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(lab.machines[0].log.entries[i].code, 200);
	assert_true(fake_peer_received(client).len > 20 * 4000);
	lab_finish(&lab);
}

static void test_redirects(void **state)
{
	static const struct {
		const char *rule, *path, *answer;
	} rows[] = {
		{"{ match = { path_prefix = \"/a\"; }; redirect = { prefix = \"/b\"; }; }",
			"/a/x?y", "HTTP/1.1 302 Found\r\nLocation: /b/x?y\r\n"},
		{"{ redirect = { path = \"/p\"; status = 301; }; }", "/a?q",
			"HTTP/1.1 301 Moved Permanently\r\nLocation: /p?q\r\n"},
		{"{ redirect = { host = \"n:81\"; status = 307; }; }", "/a/%2e./b",
			"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://n:81/b\r\n"},
		{"{ redirect = { scheme = \"https\"; status = 308; }; }", "/a",
			"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://h/a\r\n"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char routes[512], request[256];
		snprintf(routes, sizeof(routes), ROUTES("%s"), rows[i].rule);
		snprintf(request, sizeof(request), GET("%s"), rows[i].path);
		start(routes, LAB_HTTP);
		int client = dial(ORDERS, 8080);
		say(client, request);
		lab_expect_holds(client, rows[i].answer);
		lab_expect_holds(client, "Content-Length: 0\r\n");
		assert_true(fake_is_open(client));
		lab_finish(&lab);
	}
}

/* --- again --- */

#define RETRIES(more) "retries = { backoff = \"10ms\"; " more " };"
#define OK	      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define FAIL(status)  "HTTP/1.1 " status " No\r\nContent-Length: 3\r\n\r\nbad"

/* The one that has the request now: here or on the other machine, by turns. */
static int server_of(uint32_t here, uint32_t there)
{
	int near = lab_served(&lab, LAB_SHOP, here), far = lab_served(&lab, LAB_ORDERS, there);
	assert_true((near == -1) != (far == -1));
	return near != -1 ? near : far;
}

/* What fails is tried elsewhere, after a moment, and its answer is nobody's. */
static void test_a_failed_request_goes_elsewhere(void **state)
{
	static const struct {
		const char *on, *answer; /* NULL: it closes */
	} rows[] = {
		{"gateway-error", FAIL("502")},
		{"gateway-error", FAIL("503")},
		{"gateway-error", FAIL("504")},
		{"5xx", FAIL("500")},
		{"5xx", NULL},
		{"retriable-4xx", FAIL("409")},
		{"reset", NULL},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char routes[512];
		snprintf(routes, sizeof(routes), ROUTES("{ " RETRIES("on = \"%s\";") " }"),
			rows[i].on);
		start(routes, LAB_BY_HAND);
		int client = dial(ORDERS, 8080);
		say(client, "PUT /1 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n");
		int first = server_of(0, 0);
		bool was_near = first == lab_served(&lab, LAB_SHOP, 0);
		if (rows[i].answer)
			fake_peer_send_text(first, rows[i].answer);
		else
			fake_peer_close(first);
		lab_pump(&lab);
		/* not at once */
		assert_int_equal(lab_served(&lab, was_near ? LAB_ORDERS : LAB_SHOP, 0), -1);
		lab_expect_received(client, "");
		lab_run(&lab, 11 * CLOCK_MS);
		int second = lab_served(&lab, was_near ? LAB_ORDERS : LAB_SHOP, 0);
		assert_int_not_equal(second, -1);
		lab_expect_holds(second, "PUT /1 HTTP/1.1\r\n");
		lab_expect_holds(second, "X-A: 1\r\n");
		fake_peer_send_text(second, OK);
		lab_pump(&lab);
		lab_expect_received(client, OK);
		assert_int_equal(lab_last(&lab, 0)->attempts, 2);
		assert_int_equal(lab_values(&lab, 0)->retries_total, 1);
		lab_finish(&lab);
	}
}

/* One answer of the server, and whether the request is tried again. */
static bool is_tried_again(const char *retries, const char *request, const char *answer)
{
	char routes[512];
	snprintf(routes, sizeof(routes), ROUTES("{ %s }"), retries);
	start(routes, LAB_BY_HAND);
	int client = dial(ORDERS, 8080);
	say(client, request);
	int first = server_of(0, 0);
	fake_peer_send_text(first, answer);
	lab_run(&lab, 300 * CLOCK_MS);
	bool is_again = lab_values(&lab, 0)->retries_total > 0;
	assert_int_equal(fake_peer_received(client).len == 0, is_again);
	lab_finish(&lab);
	return is_again;
}

static void test_what_is_not_tried_again(void **state)
{
#define POST_EMPTY "POST / HTTP/1.1\r\nHost: h\r\n\r\n"
#define PUT_BODY   "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
	assert_true(is_tried_again(RETRIES("on = \"5xx\";"), GET("/"), FAIL("500")));
	assert_false(is_tried_again(RETRIES("on = \"5xx\";"), GET("/"), FAIL("404")));
	assert_false(is_tried_again(RETRIES("on = \"gateway-error\";"), GET("/"), FAIL("500")));
	assert_false(is_tried_again(RETRIES("on = \"connect-failure\";"), GET("/"), FAIL("503")));
	assert_false(is_tried_again(RETRIES("on = \"5xx\";"), POST_EMPTY, FAIL("500")));
	assert_true(is_tried_again(
		RETRIES("on = \"5xx\"; any_method = true;"), POST_EMPTY, FAIL("500")));
	assert_false(
		is_tried_again(RETRIES("on = \"5xx\"; any_method = true;"), PUT_BODY, FAIL("500")));
	assert_false(is_tried_again("", GET("/"), FAIL("500")));
}

/* The last one's answer is the caller's, with what the rule makes of it. */
static void test_attempts_are_counted(void **state)
{
	start(ROUTES("{ " RETRIES("on = \"5xx\"; attempts = 2;") EDITS " }"), LAB_BY_HAND);
	int client = dial(ORDERS, 8080);
	say(client, GET("/1"));
	for (int i = 0; i < 3; i++) {
		for (enum lab_workload w = LAB_SHOP; w <= LAB_ORDERS; w += LAB_ORDERS - LAB_SHOP) {
			int server = -1;
			for (uint32_t n = 0; lab_served(&lab, w, n) != -1; n++)
				server = lab_served(&lab, w, n);
			if (server != -1 && fake_is_open(server) &&
				fake_peer_received(server).len > 0) {
				fake_peer_forget(server);
				fake_peer_send_text(server, FAIL("500"));
			}
		}
		lab_run(&lab, 100 * CLOCK_MS);
	}
	lab_expect_holds(client, "HTTP/1.1 500 ");
	lab_expect_holds(client, "x-by: rule\r\n");
	assert_int_equal(lab_last(&lab, 0)->attempts, 3);
	assert_int_equal(lab_values(&lab, 0)->retries_total, 2);
	assert_int_equal(lab_values(&lab, 0)->retries_refused_total, 0);
	lab_finish(&lab);
}

static void test_a_try_that_takes_too_long(void **state)
{
	start(ROUTES("{ " RETRIES("on = \"gateway-error\"; per_try_timeout = \"1s\";") " }"),
		LAB_BY_HAND);
	int client = dial(ORDERS, 8080);
	say(client, GET("/1"));
	int first = server_of(0, 0);
	lab_run(&lab, 1100 * CLOCK_MS);
	assert_int_equal(lab_values(&lab, 0)->retries_total, 1);
	int near = lab_served(&lab, LAB_SHOP, 0), far = lab_served(&lab, LAB_ORDERS, 0);
	int second = near == first ? far : near;
	fake_peer_send_text(second, OK);
	lab_pump(&lab);
	lab_expect_received(client, OK);
	/* and when all of them do: */
	say(client, GET("/2"));
	lab_run(&lab, 5 * CLOCK_S);
	lab_expect_holds(client, "HTTP/1.1 504 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_TIMEOUT");
	assert_int_equal(lab_last(&lab, 0)->attempts, 3);
	lab_finish(&lab);
}

/* The whole has its own time, tries or not. */
static void test_a_timeout_over_all_tries(void **state)
{
	start(ROUTES("{ timeout = \"1500ms\"; " RETRIES("on = \"gateway-error\"; per_try_timeout = "
							"\"1s\"; attempts = 10;") " }"),
		LAB_BY_HAND);
	int client = dial(ORDERS, 8080);
	say(client, GET("/1"));
	lab_run(&lab, 1400 * CLOCK_MS);
	lab_expect_received(client, "");
	lab_run(&lab, 200 * CLOCK_MS);
	lab_expect_holds(client, "HTTP/1.1 504 ");
	assert_int_equal(lab_last(&lab, 0)->attempts, 2);
	lab_finish(&lab);
}

/* Nothing was sent, so anything may be sent again: beyond the three that are tried anyway. */
static void test_connects_again(void **state)
{
	start(ROUTES("{ " RETRIES("on = \"connect-failure\"; attempts = 3;") " }"), LAB_HTTP);
	struct address mesh = lab_mesh_address(1), shop = lab_address_of("127.0.0.1");
	shop.port = 8081;
	fake_connect_rule(&mesh, -ECONNREFUSED);
	fake_connect_rule(&shop, -ECONNREFUSED);
	int client = dial(ORDERS, 8080);
	say(client, "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
	lab_expect_received(client, "");
	lab_run(&lab, 11 * CLOCK_MS);
	fake_connect_rule(&shop, 0);
	lab_run(&lab, 100 * CLOCK_MS);
	lab_expect_holds(client, "shop:/1");
	assert_in_range(lab_last(&lab, 0)->attempts, 4, 6);
	lab_finish(&lab);
}

/* When everything fails, retries stay what the budget allows. */
static void test_a_budget(void **state)
{
	start(ROUTES("{ " RETRIES("on = \"connect-failure\"; attempts = 10;") " }"), LAB_HTTP);
	struct address mesh = lab_mesh_address(1), shop = lab_address_of("127.0.0.1");
	shop.port = 8081;
	fake_connect_rule(&mesh, -ECONNREFUSED);
	fake_connect_rule(&shop, -ECONNREFUSED);
	int clients[20];
	for (int i = 0; i < 20; i++) {
		clients[i] = dial(ORDERS, 8080);
		fake_peer_send_text(clients[i], GET("/1"));
	}
	lab_run(&lab, 900 * CLOCK_MS);
	for (int i = 0; i < 20; i++)
		lab_expect_holds(clients[i], "HTTP/1.1 503 ");
	/* 40 of the proxies' own, 3 that are free, 2 more in that time, a fifth of 20 */
	assert_in_range(lab_values(&lab, 0)->retries_total, 40 + 7, 40 + 9);
	assert_true(lab_values(&lab, 0)->retries_refused_total > 0);
	lab_finish(&lab);
}

/* The caller goes while its request waits to be tried again. */
static void test_a_caller_that_goes_meanwhile(void **state)
{
	start(ROUTES("{ " RETRIES("on = \"5xx\"; ") " }"), LAB_BY_HAND);
	int client = dial(ORDERS, 8080);
	say(client, GET("/1"));
	fake_peer_send_text(server_of(0, 0), FAIL("500"));
	lab_pump(&lab);
	fake_peer_reset(client);
	lab_run(&lab, 100 * CLOCK_MS);
	lab_expect_reason(&lab, 0, "DOWNSTREAM_CLOSED");
	lab_finish(&lab);
}

/* --- faults --- */

#define FAULT(...) ROUTES("{ fault = { " __VA_ARGS__ " }; }")

static void test_aborts_are_exact(void **state)
{
	start(FAULT("abort_status = 418; abort_percent = 5;"), LAB_HTTP);
	int client = dial(ORDERS, 8080), other = dial(ORDERS, 8080);
	for (int round = 0; round < 3; round++) {
		uint32_t aborted = 0;
		for (int i = 0; i < 20; i++) {
			say(i % 3 ? client : other, GET("/1"));
			bool is_aborted = lab_last(&lab, 0)->code == 418;
			lab_expect_reason(&lab, 0, is_aborted ? "FAULT_INJECTED" : "NONE");
			aborted += is_aborted;
		}
		assert_int_equal(aborted, 1);
	}
	assert_int_equal(lab_values(&lab, 0)->faults_aborted_total, 3);
	assert_string_equal(lab_last(&lab, 0)->route, "orders/rules[0]");
	lab_finish(&lab);
}

/* No endpoint has had it, and the connection is as good as before. */
static void test_an_abort_reaches_nobody(void **state)
{
	start(ROUTES("{ match = { path = \"/a\"; }; fault = { abort_status = 503; }; " RETRIES(
		      "on = \"5xx\";") " }, { }"),
		LAB_HTTP);
	int client = dial(ORDERS, 8080);
	say(client, GET("/a"));
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "FAULT_INJECTED");
	assert_int_equal(lab_values(&lab, 0)->pool_opened_total, 0);
	assert_int_equal(lab_values(&lab, 0)->retries_total, 0);
	assert_string_equal(lab_last(&lab, 0)->service, "orders");
	say(client, GET("/b"));
	lab_expect_reason(&lab, 0, "NONE");
	lab_finish(&lab);
}

static void test_delays(void **state)
{
	start(FAULT("delay = \"1s\"; delay_percent = 50;"), LAB_HTTP);
	int client = dial(ORDERS, 8080);
	for (int round = 0; round < 3; round++) {
		uint32_t delayed = 0;
		for (int i = 0; i < 2; i++) {
			say(client, GET("/1"));
			bool is_held = fake_peer_received(client).len == 0;
			lab_run(&lab, 900 * CLOCK_MS);
			assert_int_equal(fake_peer_received(client).len == 0, is_held);
			lab_run(&lab, 200 * CLOCK_MS);
			lab_expect_holds(client, "HTTP/1.1 200 ");
			lab_expect_reason(&lab, 0, is_held ? "DELAY_INJECTED" : "NONE");
			assert_int_equal(lab_last(&lab, 0)->attempts, 1);
			delayed += is_held;
		}
		assert_int_equal(delayed, 1);
	}
	assert_int_equal(lab_values(&lab, 0)->faults_delayed_total, 3);
	lab_finish(&lab);
}

/* The rule is asked once, its rewrite done once, its body waits; the plan goes meanwhile. */
static void test_a_delayed_request_is_whole(void **state)
{
	start(ROUTES("{ match = { path_prefix = \"/a\"; }; rewrite = { prefix = \"/a/b\"; }; " TO(
		      "v2") "fault = { delay = \"1s\"; }; }"),
		LAB_HTTP);
	int client = dial(ORDERS, 8080);
	say(client, "POST /a/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz");
	lab_run(&lab, 500 * CLOCK_MS);
	replan(ROUTES(SPLIT("1", "0")));
	lab_expect_received(client, "");
	lab_run(&lab, 600 * CLOCK_MS);
	lab_expect_holds(client, "orders:/a/b/x");
	assert_string_equal(lab_last(&lab, 0)->version, "v2");
	assert_string_equal(lab_last(&lab, 0)->path, "/a/x");
	lab_finish(&lab);
}

static void test_a_delay_then_an_abort(void **state)
{
	start(FAULT("delay = \"1s\"; abort_status = 500;"), LAB_HTTP);
	int client = dial(ORDERS, 8080);
	say(client, GET("/1"));
	lab_run(&lab, 900 * CLOCK_MS);
	lab_expect_received(client, "");
	lab_run(&lab, 200 * CLOCK_MS);
	lab_expect_holds(client, "HTTP/1.1 500 ");
	lab_expect_reason(&lab, 0, "FAULT_INJECTED");
	lab_finish(&lab);
}

/* Timeouts go on, and a caller that goes leaves nothing behind. */
static void test_a_delay_that_is_cut(void **state)
{
	start(ROUTES("{ timeout = \"500ms\"; fault = { delay = \"1s\"; }; }"), LAB_HTTP);
	int client = dial(ORDERS, 8080), other = dial(ORDERS, 8080);
	say(client, GET("/1"));
	say(other, GET("/1"));
	fake_peer_reset(other);
	lab_pump(&lab);
	lab_expect_reason(&lab, 0, "DOWNSTREAM_CLOSED");
	lab_run(&lab, 600 * CLOCK_MS);
	lab_expect_holds(client, "HTTP/1.1 504 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_TIMEOUT");
	assert_int_equal(lab_values(&lab, 0)->pool_opened_total, 0);
	lab_finish(&lab);
}

/* --- opaque bytes --- */

static void test_connections_split(void **state)
{
	start(BILLED(SPLIT("3", "1")), LAB_ECHO);
	int clients[20];
	for (int i = 0; i < 20; i++) {
		clients[i] = dial(BILLING, 7000);
		say(clients[i], "1");
		lab_expect_received(clients[i], "1");
		assert_string_equal(lab_last(&lab, 0)->route, "billing/rules[0]");
	}
	assert_int_equal(lab.machines[1].log.count, 5);
	assert_int_equal(lab_use(&lab, 0, LAB_CACHE), 15);
	/* those that are open stay, new ones go by what is in force */
	replan(BILLED(SPLIT("0", "1")));
	for (int i = 0; i < 20; i++) {
		say(clients[i], "2");
		lab_expect_received(clients[i], "2");
	}
	int client = dial(BILLING, 7000);
	say(client, "3");
	assert_int_equal(lab_use(&lab, 0, LAB_CACHE), 15);
	assert_int_equal(lab.machines[1].log.count, 6);
	lab_finish(&lab);
}

static void test_connections_by_who_calls(void **state)
{
	start(BILLED("{ match = { path = \"/\"; }; respond = { status = 404; }; }, { match = { "
		     "from "
		     "= \"web\"; }; " TO("v2") "}, { " TO("v1") "}"),
		LAB_ECHO);
	for (int i = 0; i < 4; i++) {
		say(dial_from(LAB_WEB, BILLING, 7000), "1");
		assert_string_equal(lab_last(&lab, 0)->version, "v2");
		say(dial_from(LAB_BILLING, BILLING, 7000), "1");
		assert_string_equal(lab_last(&lab, 0)->version, "v1");
	}
	lab_finish(&lab);
}

/* To a service that was not dialled: it stays under every plan, until that service is gone. */
static void test_a_connection_to_another_service(void **state)
{
	start(BILLED("{ split = ( { service = \"any\"; } ); }"), LAB_ECHO);
	int client = dial(BILLING, 7000);
	say(client, "1");
	lab_expect_received(client, "1");
	assert_string_equal(lab_last(&lab, 0)->service, "any");
	for (int i = 0; i < 3; i++) {
		replan(i == 1 ? NULL : lab.objects);
		say(client, "2");
		lab_expect_received(client, "2");
		assert_int_equal(lab_use(&lab, 0, LAB_ANY), 1);
	}
	lab_finish(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_split_is_exact),
		cmocka_unit_test(test_other_weights),
		cmocka_unit_test(test_plans_do_not_disturb_a_split),
		cmocka_unit_test(test_every_kind_of_match),
		cmocka_unit_test(test_sticky),
		cmocka_unit_test(test_by_who_calls),
		cmocka_unit_test(test_what_no_rule_matches),
		cmocka_unit_test(test_an_endpoint_by_its_own_address),
		cmocka_unit_test(test_a_leg_of_another_service),
		cmocka_unit_test(test_a_version_without_endpoints),
		cmocka_unit_test(test_tries_stay_in_the_version),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_a_caller_names_no_rule),
		cmocka_unit_test(test_rewritten_paths),
		cmocka_unit_test(test_a_timeout),
		cmocka_unit_test(test_responds),
		cmocka_unit_test(test_responds_to_many),
		cmocka_unit_test(test_an_answer_waits_for_room),
		cmocka_unit_test(test_redirects),
		cmocka_unit_test(test_a_failed_request_goes_elsewhere),
		cmocka_unit_test(test_what_is_not_tried_again),
		cmocka_unit_test(test_attempts_are_counted),
		cmocka_unit_test(test_a_try_that_takes_too_long),
		cmocka_unit_test(test_a_timeout_over_all_tries),
		cmocka_unit_test(test_connects_again),
		cmocka_unit_test(test_a_budget),
		cmocka_unit_test(test_a_caller_that_goes_meanwhile),
		cmocka_unit_test(test_aborts_are_exact),
		cmocka_unit_test(test_an_abort_reaches_nobody),
		cmocka_unit_test(test_delays),
		cmocka_unit_test(test_a_delayed_request_is_whole),
		cmocka_unit_test(test_a_delay_then_an_abort),
		cmocka_unit_test(test_a_delay_that_is_cut),
		cmocka_unit_test(test_connections_split),
		cmocka_unit_test(test_connections_by_who_calls),
		cmocka_unit_test(test_a_connection_to_another_service),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
