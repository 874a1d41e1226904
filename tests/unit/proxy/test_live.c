/* SPDX-License-Identifier: Apache-2.0 */
/* What runs and what waits when a new plan brings other policies: ended where they refuse it, and
 * left alone where they do not. */
#include "far.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK	  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
#define STREAM	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
#define DENY(more)                                                                     \
	"policies: ( { name = \"stop\"; service = [ \"shop\", \"orders\" ]; action = " \
	"\"deny\"; " more " } );\n"
#define DENY_WEB	DENY("from = [ \"web\" ];")
#define DENY_PATH(path) DENY("paths = [ \"" path "\" ];")
#define SOMEBODY_ELSE                                                                       \
	"policies: ( { name = \"other\"; service = \"cache\"; action = \"deny\"; from = [ " \
	"\"shop\" ]; } );\n"

static struct lab lab;

static void start(uint32_t machine_count, enum lab_serving serving)
{
	lab_start(&lab, &(struct lab_options){.machine_count = machine_count, .serving = serving});
}

static void replan(uint32_t machine, const char *objects)
{
	lab.objects = objects;
	lab_replan(&lab, machine, NULL);
	lab_pump(&lab);
}

static void expect_line(uint32_t machine, const char *reason, const char *policy)
{
	lab_expect_reason(&lab, machine, reason);
	assert_string_equal(lab_last(&lab, machine)->policy, policy);
}

static uint64_t ended(uint32_t machine)
{
	return lab_values(&lab, machine)->policy_sessions_ended_total;
}

/* On one machine and over the mesh: who is called, and who decides. */
static const struct {
	uint32_t machine_count, there;
	enum lab_workload to;
} ways[] = {{1, 0, LAB_SHOP}, {2, 1, LAB_ORDERS}};

/* --- what runs --- */

static void test_a_download_is_cut(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		start(ways[i].machine_count, LAB_BY_HAND);
		int client = lab_ask(&lab, LAB_WEB, ways[i].to, GET("/1"));
		lab_say(&lab, lab_got(&lab, ways[i].to, 0), STREAM);
		lab_expect_holds(client, "1\r\na\r\n");
		replan(ways[i].there, DENY_PATH("/1"));
		assert_true(fake_peer_saw_reset(client));
		lab_expect_lacks(client, "0\r\n\r\n");
		assert_true(fake_peer_saw_reset(lab_got(&lab, ways[i].to, 0)));
		expect_line(ways[i].there, "POLICY_DENIED", "stop");
		assert_string_equal(lab_last(&lab, ways[i].there)->where, "objects.conf:1");
		assert_int_equal(lab_values(&lab, ways[i].there)->policy_denied_total, 1);
		lab_finish(&lab);
	}
}

static void test_before_the_response_there_is_an_answer(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		start(ways[i].machine_count, LAB_BY_HAND);
		int client = lab_ask(&lab, LAB_WEB, ways[i].to, GET("/1"));
		assert_true(lab_got(&lab, ways[i].to, 0) >= 0);
		replan(ways[i].there, DENY_WEB);
		lab_expect_holds(client, "HTTP/1.1 403 Forbidden\r\n");
		assert_true(fake_peer_saw_reset(lab_got(&lab, ways[i].to, 0)));
		expect_line(ways[i].there, "POLICY_DENIED", "stop");
		lab_finish(&lab);
	}
}

static void test_an_upload_is_cut(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		start(ways[i].machine_count, LAB_BY_HAND);
		int client = lab_ask(&lab, LAB_WEB, ways[i].to,
			"POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
		lab_expect_holds(lab_got(&lab, ways[i].to, 0), "\r\n\r\nabc");
		replan(ways[i].there, DENY("methods = [ \"POST\" ];"));
		lab_expect_holds(client, "HTTP/1.1 403 Forbidden\r\n");
		if (i == 0)
			lab_expect_holds(client, "Connection: close\r\n");
		assert_true(fake_peer_saw_reset(lab_got(&lab, ways[i].to, 0)));
		lab_say(&lab, client, "defghij");
		lab_expect_lacks(lab_got(&lab, ways[i].to, 0), "defghij");
		expect_line(ways[i].there, "POLICY_DENIED", "stop");
		lab_finish(&lab);
	}
}

/* Its machine is busy with the connection to the server meanwhile. */
static void test_a_request_that_waits_for_its_connection(void **state)
{
	struct address shop = lab_deliver(LAB_SHOP);
	start(1, LAB_BY_HAND);
	fake_connect_rule(&shop, FAKE_PENDING);
	int client = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/1"));
	replan(0, DENY_WEB);
	fake_connect_rule(&shop, 0);
	lab_pump(&lab);
	lab_expect_holds(client, "HTTP/1.1 403 Forbidden\r\n");
	lab_expect_lacks(lab_got(&lab, LAB_SHOP, 0), "GET");
	expect_line(0, "POLICY_DENIED", "stop");
	lab_finish(&lab);
}

/* Policies of others, and those of other paths: every byte comes, in twenty plans. */
static void test_what_is_allowed_goes_on(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		static const char *const objects[] = {
			SOMEBODY_ELSE, DENY_PATH("/2"), NULL, DENY("from = [ \"billing\" ];")};
		static const char rest[] = "1\r\nb\r\n";
		char want[512] = STREAM;
		start(ways[i].machine_count, LAB_BY_HAND);
		int client = lab_ask(&lab, LAB_WEB, ways[i].to, GET("/1"));
		int waits = lab_ask(&lab, LAB_WEB, ways[i].to, GET("/0"));
		lab_say(&lab, lab_got(&lab, ways[i].to, 0), STREAM);
		lab_say(&lab, lab_got(&lab, ways[i].to, 1), OK);
		for (uint32_t n = 0; n < 20; n++) {
			replan(ways[i].there, objects[n % ARRAY_LEN(objects)]);
			lab_say(&lab, lab_got(&lab, ways[i].to, 0), rest);
			strcat(want, rest);
		}
		lab_say(&lab, lab_got(&lab, ways[i].to, 0), "0\r\n\r\n");
		strcat(want, "0\r\n\r\n");
		struct str got = fake_peer_received(client);
		const char *body = memmem(got.at, got.len, "\r\n\r\n", 4);
		assert_non_null(body);
		const char *wanted = strstr(want, "\r\n\r\n");
		assert_int_equal(got.len - (size_t)(body - got.at), strlen(wanted));
		assert_memory_equal(body, wanted, strlen(wanted));
		lab_expect_reason(&lab, ways[i].there, "NONE");
		assert_int_equal(ended(ways[i].there), 0);
		fake_peer_forget(waits);
		lab_say(&lab, waits, GET("/3"));
		/* on whichever of the two connections that are free */
		bool is_first =
			lab_holds_text(fake_peer_received(lab_got(&lab, ways[i].to, 0)), "GET /3 ");
		int server = lab_got(&lab, ways[i].to, is_first ? 0 : 1);
		lab_expect_holds(server, "GET /3 ");
		lab_say(&lab, server, OK);
		lab_expect_holds(waits, "\r\n\r\nx");
		lab_finish(&lab);
	}
}

/* The rest of what it was let in for is not told under another rule. */
static void test_the_line_says_what_let_it_in(void **state)
{
	start(1, LAB_BY_HAND);
	lab.objects =
		"policies: ( { name = \"in\"; service = \"shop\"; action = \"allow\"; from = [ "
		"\"web\" ]; } );\n";
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	int client = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/1"));
	replan(0, SOMEBODY_ELSE);
	lab_say(&lab, lab_got(&lab, LAB_SHOP, 0), OK);
	lab_expect_holds(client, "\r\n\r\nx");
	expect_line(0, "NONE", "in");
	lab_finish(&lab);
}

/* --- what waits --- */

static void test_an_idle_session_ends(void **state)
{
	static const char *const denials[] = {DENY_WEB, DENY_PATH("/1"),
		DENY("headers = ( { name = \"x-role\"; exact = \"guest\"; } );"),
		DENY("hosts = [ \"h\" ];"), DENY("methods = [ \"GET\" ];")};
	for (size_t i = 0; i < ARRAY_LEN(denials); i++) {
		start(1, LAB_HTTP);
		int client = lab_ask(&lab, LAB_WEB, LAB_SHOP,
			"GET /1 HTTP/1.1\r\nHost: h\r\nX-Role: guest\r\n\r\n");
		int other = lab_ask(&lab, LAB_BILLING, LAB_SHOP,
			"HEAD /2 HTTP/1.1\r\nHost: g\r\nX-Role: admin\r\n\r\n");
		lab_expect_holds(client, "shop:/1");
		replan(0, denials[i]);
		assert_true(fake_peer_saw_end(client));
		assert_false(fake_peer_saw_end(other));
		assert_int_equal(ended(0), 1);
		lab_finish(&lab);
	}
}

/* A request of another path was its last; what it asked before does not matter. */
static void test_an_idle_session_that_is_allowed_stays(void **state)
{
	start(1, LAB_HTTP);
	int client = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/1"));
	lab_say(&lab, client, GET("/2"));
	replan(0, DENY_PATH("/1"));
	lab_say(&lab, client, GET("/3"));
	lab_expect_holds(client, "shop:/3");
	lab_say(&lab, client, GET("/1"));
	lab_expect_holds(client, "HTTP/1.1 403 ");
	assert_int_equal(ended(0), 0);
	/* what was refused tells nothing of the session */
	replan(0, DENY_PATH("/1"));
	lab_say(&lab, client, GET("/4"));
	lab_expect_holds(client, "shop:/4");
	lab_finish(&lab);
}

/* Nothing is known of what it will ask; of who it is, all. */
static void test_a_session_before_its_first_request(void **state)
{
	start(1, LAB_HTTP);
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	lab_pump(&lab);
	replan(0, DENY_PATH("/1"));
	assert_false(fake_peer_saw_end(client));
	replan(0, DENY_WEB);
	assert_true(fake_peer_saw_end(client));
	lab_finish(&lab);
}

/* Longer than what is kept of a request. */
static void test_a_session_with_a_long_request(void **state)
{
	char text[8192] = "GET /1 HTTP/1.1\r\nHost: h\r\nX-Long: ";
	memset(text + strlen(text), 'x', 5000);
	strcat(text, "\r\n\r\n");
	start(1, LAB_HTTP);
	int client = lab_ask(&lab, LAB_WEB, LAB_SHOP, text);
	lab_expect_holds(client, "shop:/1");
	replan(0, DENY_PATH("/1"));
	assert_false(fake_peer_saw_end(client));
	replan(0, DENY_WEB);
	assert_true(fake_peer_saw_end(client));
	lab_finish(&lab);
}

/* The channel ends, the connection between the proxies goes on for others. */
static void test_a_channel_of_a_shared_connection(void **state)
{
	start(2, LAB_HTTP);
	int one = lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/1"));
	lab_expect_holds(one, "orders:/1");
	assert_int_equal(lab_alive(&lab, 1, TASK_TRUNK), 1);
	replan(1, DENY_PATH("/1"));
	assert_int_equal(ended(1), 1);
	assert_int_equal(lab_alive(&lab, 1, TASK_TRUNK), 1);
	assert_int_equal(lab_values(&lab, 0)->channels_active, 0);
	lab_say(&lab, one, GET("/1"));
	lab_expect_holds(one, "HTTP/1.1 403 ");
	lab_say(&lab, one, GET("/2"));
	lab_expect_holds(one, "orders:/2");
	lab_finish(&lab);
}

/* A mode is no policy, and holds as one does. */
static void test_plain_text_that_is_no_longer_taken(void **state)
{
	static const char plain[] =
		"services: ( { name = \"any\"; port = 9000; mtls = \"permissive\"; endpoints = ( { "
		"address = \"10.77.0.1\"; } ); } );\npolicies: ( { service = \"any\"; action = "
		"\"allow\"; from = [ \"anonymous\" ]; } );\n";
	static const struct lab_edit edits[LAB_EDITS_MAX] = {
		{" { name = \"any\"; port = 9000; endpoints = ( { address = \"10.77.0.1\"; } ); "
		 "},\n",
			""}};
	char strict[512];
	snprintf(strict, sizeof(strict), "%s", plain);
	memcpy(strstr(strict, "\"permissive\""), "\"strict\"    ", 12);
	lab_start(
		&lab, &(struct lab_options){.objects = plain, .edits = edits, .serving = LAB_HTTP});
	int waits = lab_dial_plain(&lab, LAB_ANY), runs = lab_dial_plain(&lab, LAB_ANY);
	lab_say(&lab, waits, GET("/1"));
	lab_expect_holds(waits, "any:/1");
	lab_leave_server(&lab, lab_got(&lab, LAB_ANY, 0));
	lab_say(&lab, runs, GET("/2"));
	replan(0, strict);
	assert_true(fake_peer_saw_end(waits));
	lab_expect_lacks(runs, "HTTP/1.1 200");
	assert_true(fake_peer_saw_end(runs) || fake_peer_saw_reset(runs));
	lab_expect_reason(&lab, 0, "PLAINTEXT");
	lab_finish(&lab);
}

/* Each turn looks at a few; those who have work to do are served meanwhile. */
static void test_many_sessions_take_many_turns(void **state)
{
	enum { COUNT = 200 };
	int clients[COUNT];
	start(1, LAB_HTTP);
	for (size_t i = 0; i < COUNT; i++)
		clients[i] = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/1"));
	int busy = lab_ask(&lab, LAB_BILLING, LAB_SHOP, GET("/2"));
	lab.objects = DENY_WEB;
	lab_replan(&lab, 0, NULL);
	fake_peer_send_text(busy, GET("/3"));
	for (uint64_t before = 0; ended(0) < COUNT; before = ended(0)) {
		assert_true(lab_turns(&lab, 1));
		assert_in_range(ended(0) - before, 0, WORKER_SWAP_STEPS);
		if (before >= COUNT / 2 && before < COUNT * 3 / 4)
			lab_expect_holds(busy, "shop:/3");
	}
	lab_pump(&lab);
	for (size_t i = 0; i < COUNT; i++)
		assert_true(fake_peer_saw_end(clients[i]));
	lab_finish(&lab);
}

/* --- several endpoints --- */

/* orders has an endpoint on each machine: v1 here, which the user shop runs, v2 there. */
static const struct lab_edit both[LAB_EDITS_MAX] = {
	{" { name = \"orders\"; port = 8080; protocol = \"http\"; endpoints = ( { address = "
	 "\"10.77.0.2\"; } ); },\n",
		" { name = \"orders\"; port = 8080; protocol = \"http\"; address = \"10.96.0.1\"; "
		"endpoints = ( { address = \"10.77.0.1\"; port = 8081; version = \"v1\"; }, { "
		"address = \"10.77.0.2\"; version = \"v2\"; } ); },\n"},
	{" { name = \"shop\"; port = 8081; protocol = \"http\"; endpoints = ( { address = "
	 "\"10.77.0.1\"; } ); },\n",
		" { name = \"shop\"; },\n"},
	{" { service = \"shop\"; user = \"shop\"; port = 8081; },\n",
		" { service = \"orders\"; user = \"shop\"; port = 8081; version = \"v1\"; },\n"},
};
#define BY(rule)  "routes: ( { service = \"orders\"; rules = ( " rule " ); } );\n"
#define MIRRORED  BY("{ split = ( { version = \"v2\"; } ); mirror = ( { version = \"v1\"; } ); }")
#define NO_ORDERS "policies: ( { name = \"stop\"; service = \"orders\"; action = \"deny\"; } );\n"

static int dial_orders(void)
{
	struct address a = lab_address_of("10.96.0.1");
	a.port = 8080;
	return lab_dial_address(&lab, LAB_WEB, &a);
}

/* The copy is this machine's to judge, the request is the other's. */
static void test_a_copy_for_a_mirror_is_cut(void **state)
{
	lab_start(&lab,
		&(struct lab_options){.machine_count = 2, .edits = both, .objects = MIRRORED});
	int client = dial_orders();
	lab_say(&lab, client, GET("/1"));
	lab_expect_holds(lab_got(&lab, LAB_SHOP, 0), "x-ringmain-mirror: 1\r\n");
	replan(0, MIRRORED NO_ORDERS);
	assert_true(fake_peer_saw_reset(lab_got(&lab, LAB_SHOP, 0)));
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 0);
	assert_true(lab_last(&lab, 0)->is_mirror);
	expect_line(0, "POLICY_DENIED", "stop");
	lab_say(&lab, lab_got(&lab, LAB_ORDERS, 0), OK);
	lab_expect_holds(client, "\r\n\r\nx");
	lab_finish(&lab);
}

/* One endpoint cannot be reached; the other is on this machine, which judges for itself. */
static void test_each_try_is_judged(void **state)
{
	struct address there = lab_mesh_address(1);
	lab_start(&lab, &(struct lab_options){.machine_count = 2,
				.edits = both,
				.objects = NO_ORDERS,
				.serving = LAB_HTTP});
	lab.objects =
		BY("{ retries = { attempts = 3; on = [ \"connect-failure\" ]; }; }") NO_ORDERS;
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	fake_connect_rule(&there, -ECONNREFUSED);
	for (uint32_t i = 0; i < 8; i++) {
		int client = dial_orders();
		lab_say(&lab, client, GET("/1"));
		lab_run(&lab, CLOCK_S);
		lab_expect_holds(client, "HTTP/1.1 403 ");
		expect_line(0, "POLICY_DENIED", "stop");
	}
	assert_true(lab_values(&lab, 0)->retries_total > 0);
	assert_int_equal(lab_served(&lab, LAB_SHOP, 0), -1);
	lab_finish(&lab);
}

/* --- on trial --- */

static void test_a_policy_on_trial_ends_nothing(void **state)
{
	start(1, LAB_HTTP);
	int client = lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/1"));
	int bytes = lab_ask(&lab, LAB_WEB, LAB_CACHE, "1");
	replan(0, "policies: ( { name = \"try\"; service = \"*\"; action = \"deny\"; mode = "
		  "\"audit\"; } );\n");
	lab_say(&lab, client, GET("/2"));
	lab_expect_holds(client, "shop:/2");
	assert_string_equal(lab_last(&lab, 0)->would_deny, "try");
	lab_say(&lab, bytes, "2");
	assert_false(fake_peer_saw_reset(bytes));
	assert_int_equal(ended(0), 0);
	assert_int_equal(lab_values(&lab, 0)->policy_denied_total, 0);
	assert_int_equal(lab_values(&lab, 0)->policy_would_deny_total, 1);
	lab_finish(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_download_is_cut),
		cmocka_unit_test(test_before_the_response_there_is_an_answer),
		cmocka_unit_test(test_an_upload_is_cut),
		cmocka_unit_test(test_a_request_that_waits_for_its_connection),
		cmocka_unit_test(test_what_is_allowed_goes_on),
		cmocka_unit_test(test_the_line_says_what_let_it_in),
		cmocka_unit_test(test_an_idle_session_ends),
		cmocka_unit_test(test_an_idle_session_that_is_allowed_stays),
		cmocka_unit_test(test_a_session_before_its_first_request),
		cmocka_unit_test(test_a_session_with_a_long_request),
		cmocka_unit_test(test_a_channel_of_a_shared_connection),
		cmocka_unit_test(test_plain_text_that_is_no_longer_taken),
		cmocka_unit_test(test_many_sessions_take_many_turns),
		cmocka_unit_test(test_a_copy_for_a_mirror_is_cut),
		cmocka_unit_test(test_each_try_is_judged),
		cmocka_unit_test(test_a_policy_on_trial_ends_nothing),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
