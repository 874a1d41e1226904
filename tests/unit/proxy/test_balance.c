/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to a service's own address: which endpoint gets them, and what happens when one does not.
 */
#include "lab.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET(path)  "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST(path) "POST " path " HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
#define OK	   "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"

/* orders (HTTP) and billing (TCP) run on both machines: on the near one as the users shop and
 * cache, at their ports. */
#define ORDERS	     "10.96.0.1"
#define BILLING	     "10.96.0.2"
#define NONE	     "10.96.0.3" /* http, without endpoints */
#define NEAR_ORDERS  "{ address = \"10.77.0.1\"; port = 8081; }"
#define NEAR_BILLING "{ address = \"10.77.0.1\"; port = 6379; }"
#define SERVICES(mtls, orders, billing)                                                      \
	"{ name = \"orders\"; port = 8080; protocol = \"http\"; " mtls "address = \"" ORDERS \
	"\"; endpoints = ( " orders " ); },\n"                                               \
	" { name = \"billing\"; port = 7000; protocol = \"tcp\"; address = \"" BILLING       \
	"\"; endpoints = ( " billing " ); },\n"                                              \
	" { name = \"empty\"; port = 80; protocol = \"http\"; address = \"" NONE "\"; },\n"
#define BOTH(near) near ", { address = \"10.77.0.2\"; }"

enum { EDIT_SERVICES, EDIT_NEAR, EDIT_WORKLOADS, EDIT_CALLER, EDIT_POLICY };

static const struct lab_edit edits[LAB_EDITS_MAX] = {
	[EDIT_SERVICES] =
		{" { name = \"orders\"; port = 8080; protocol = \"http\"; endpoints = ( { "
		 "address = \"10.77.0.2\"; } ); },\n"
		 " { name = \"billing\"; port = 7000; protocol = \"tcp\"; endpoints = ( { "
		 "address = \"10.77.0.2\"; } ); },\n",
			SERVICES("", BOTH(NEAR_ORDERS), BOTH(NEAR_BILLING))},
	[EDIT_NEAR] =
		{" { name = \"shop\"; port = 8081; protocol = \"http\"; endpoints = ( { address "
		 "= \"10.77.0.1\"; } ); },\n"
		 " { name = \"cache\"; port = 6379; protocol = \"tcp\"; endpoints = ( { address "
		 "= \"10.77.0.1\"; } ); },\n",
			" { name = \"shop\"; }, { name = \"cache\"; },\n"},
	[EDIT_WORKLOADS] = {" { service = \"shop\"; user = \"shop\"; port = 8081; },\n"
			    " { service = \"cache\"; user = \"cache\"; port = 6379; },\n",
		" { service = \"orders\"; user = \"shop\"; port = 8081; },\n"
		" { service = \"billing\"; user = \"cache\"; port = 6379; },\n"},
};

static struct lab lab;

static void start(uint64_t seed, enum lab_serving serving, const char *node)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2,
				.edits = edits,
				.seed = seed,
				.serving = serving,
				.node = node});
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

/* Connects to the mesh port of machine 1, or to the workload at a port of either, come to this. */
static void let_mesh(int result)
{
	struct address mesh = lab_mesh_address(1);
	fake_connect_rule(&mesh, result);
}

static void let_workload(uint16_t port, int result)
{
	struct address at = lab_address_of("127.0.0.1");
	at.port = port;
	fake_connect_rule(&at, result);
}

static uint64_t mesh_connects(void)
{
	struct address mesh = lab_mesh_address(1);
	uint32_t count = 0;
	while (lab_connected(&mesh, count) != -1)
		count++;
	return count;
}

/* Each request of one keep-alive connection is one of its own. */
static void test_requests_spread(void **state)
{
	start(1, LAB_HTTP, NULL);
	int client = dial(ORDERS, 8080);
	for (int i = 0; i < 40; i++)
		say(client, GET("/1"));
	const struct access_queue *near = &lab.machines[0].log, *far = &lab.machines[1].log;
	assert_int_equal(near->count, 40);
	assert_in_range(far->count, 10, 30);
	for (uint32_t i = 0; i < near->count; i++)
		assert_int_equal(near->entries[i].code, 200);
	assert_true(fake_is_open(client));
	/* one connection to each is enough */
	assert_int_equal(lab_values(&lab, 0)->pool_opened_total, 2);
	assert_int_equal(lab_values(&lab, 0)->retries_total, 0);
	lab_finish(&lab);
}

static void test_connections_spread(void **state)
{
	start(1, LAB_ECHO, NULL);
	for (int i = 0; i < 40; i++) {
		int client = dial(BILLING, 7000);
		say(client, "ping");
		lab_expect_received(client, "ping");
	}
	assert_in_range(lab.machines[1].log.count, 10, 30);
	assert_int_equal(lab_values(&lab, 0)->retries_total, 0);
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 40);
	assert_int_equal(lab_use(&lab, 0, LAB_CACHE) + lab_use(&lab, 1, LAB_LEDGER), 40);
	assert_int_equal(lab_serving_count(&lab, 0, LAB_CACHE), lab_use(&lab, 0, LAB_CACHE));
	lab_finish(&lab);
}

/* Whichever is picked first: nobody notices that one of them cannot be connected. */
static void test_a_request_moves_on(void **state)
{
	for (uint64_t seed = 0; seed < 16; seed++) {
		start(seed, LAB_HTTP, NULL);
		let_mesh(-ECONNREFUSED);
		int client = dial(ORDERS, 8080);
		for (int i = 0; i < 8; i++)
			say(client, POST("/1"));
		const struct access_queue *log = &lab.machines[0].log;
		uint64_t retries = 0;
		for (uint32_t i = 0; i < log->count; i++) {
			assert_int_equal(log->entries[i].code, 200);
			assert_string_equal(log->entries[i].details, "NONE");
			retries += log->entries[i].attempts - 1;
		}
		assert_int_equal(log->count, 8);
		assert_true(retries > 0);
		assert_int_equal(lab_values(&lab, 0)->retries_total, retries);
		/* the header that tells who called is that of the endpoint that got it */
		lab_expect_holds(lab_served(&lab, LAB_SHOP, 0),
			"x-forwarded-client-cert: By=spiffe://prod.example/service/orders;"
			"URI=spiffe://prod.example/service/web\r\n");
		lab_finish(&lab);
	}
}

static void test_a_request_moves_on_to_another_machine(void **state)
{
	uint64_t retries = 0;
	for (uint64_t seed = 0; seed < 8; seed++) {
		start(seed, LAB_HTTP, NULL);
		let_workload(8081, -ECONNREFUSED);
		int client = dial(ORDERS, 8080);
		say(client, POST("/1"));
		lab_expect_holds(client, "orders:/1");
		lab_expect_reason(&lab, 0, "NONE");
		retries += lab_values(&lab, 0)->retries_total;
		lab_finish(&lab);
	}
	assert_true(retries > 0);
}

/* The other machine is there, its workload is not: its proxy says that nothing was handed on. What
 * has a body has left our hands by then. */
static void test_a_request_moves_on_from_a_dead_workload(void **state)
{
	uint64_t retries = 0;
	uint32_t refused = 0;
	for (uint64_t seed = 0; seed < 8; seed++) {
		start(seed, LAB_HTTP, NULL);
		let_workload(8080, -ECONNREFUSED);
		int client = dial(ORDERS, 8080);
		for (int i = 0; i < 4; i++) {
			fake_peer_forget(client);
			say(client, GET("/1"));
			lab_expect_received(
				client, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nshop:/1");
		}
		retries += lab_values(&lab, 0)->retries_total;
		for (uint32_t i = 0; i < lab.machines[1].log.count; i++)
			assert_string_equal(
				lab.machines[1].log.entries[i].details, "UPSTREAM_CONNECT_FAILED");
		fake_peer_forget(client);
		say(client, POST("/2"));
		refused += lab_last(&lab, 0)->code == 503;
		lab_expect_lacks(client, "unsent");
		assert_true(fake_is_open(client));
		lab_finish(&lab);
	}
	assert_true(retries > 0 && refused > 0 && refused < 8);
}

/* Trailers that came while the request was on its way to the other machine, whose proxy judges by
 * its own policies: when it is tried here after that, they are filtered by those of here. */
static void test_trailers_of_a_request_that_moves_on(void **state)
{
	uint32_t moved = 0;
	for (uint64_t seed = 0; seed < 8; seed++) {
		start(seed, LAB_BY_HAND, NULL);
		lab.objects = "routes: ( { service = \"orders\"; rules = ( { retries = { on = [ "
			      "\"5xx\" ]; }; } ); } );\npolicies: ( { name = \"role\"; service = "
			      "\"orders\"; action = \"deny\"; headers = ( { name = \"x-role\"; "
			      "exact = \"guest\"; } ); } );\n";
		lab_replan(&lab, 0, NULL);
		lab_pump(&lab);
		int client = dial(ORDERS, 8080);
		say(client, "PUT /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
			    "X-Role: guest\r\nX-Sum: 1\r\n\r\n");
		int far = lab_served(&lab, LAB_ORDERS, 0);
		if (far >= 0) {
			/* to those there it means nothing */
			lab_expect_holds(far, "X-Role: guest\r\n");
			say(far, "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n");
			lab_run(&lab, CLOCK_S);
			moved++;
		}
		lab_expect_holds(lab_served(&lab, LAB_SHOP, 0), "0\r\nX-Sum: 1\r\n\r\n");
		lab_expect_lacks(lab_served(&lab, LAB_SHOP, 0), "guest");
		lab_finish(&lab);
	}
	assert_in_range(moved, 1, 7);
}

/* Dialled by itself, the answer is the caller's, without what the proxies told each other. */
static void test_a_dead_workload_by_its_own_address(void **state)
{
	start(1, LAB_HTTP, NULL);
	let_workload(8080, -ECONNREFUSED);
	int client = dial("10.77.0.2", 8080);
	say(client, GET("/1"));
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_holds(client, reason_row(REASON_UPSTREAM_CONNECT_FAILED)->text);
	lab_expect_lacks(client, "unsent");
	assert_int_equal(lab_last(&lab, 0)->attempts, 1);
	say(client, "HEAD /1 HTTP/1.1\r\nHost: h\r\n\r\n");
	let_workload(8080, 0);
	say(client, GET("/2"));
	lab_expect_holds(client, "orders:/2");
	lab_finish(&lab);
}

/* What proxies tell each other is not believed of a workload's server, nor passed on. */
static void test_a_server_cannot_say_that_it_was_unsent(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 503 No\r\nX-Ringmain-Unsent: 1\r\nContent-Length: 3\r\n\r\nyes",
		"HTTP/1.1 200 OK\r\nx-ringmain-unsent: 1\r\nContent-Length: 3\r\n\r\nyes",
		"HTTP/1.1 503 No\r\nX-RINGMAIN-reset: 1\r\nContent-Length: 3\r\n\r\nyes",
	};
	bool near_seen = false, far_seen = false;
	for (uint64_t seed = 0; seed < 12; seed++) {
		start(seed, LAB_BY_HAND, NULL);
		int client = dial(seed < 8 ? ORDERS : "10.77.0.2", 8080);
		say(client, "DELETE /1 HTTP/1.1\r\nHost: h\r\n\r\n");
		int near = lab_served(&lab, LAB_SHOP, 0), far = lab_served(&lab, LAB_ORDERS, 0);
		assert_true((near == -1) != (far == -1));
		say(near != -1 ? near : far, answers[seed % ARRAY_LEN(answers)]);
		lab_expect_holds(client, "\r\n\r\nyes");
		lab_expect_lacks(client, "nsent");
		lab_expect_lacks(client, "eset: ");
		assert_int_equal(lab_values(&lab, 0)->retries_total, 0);
		near_seen |= near != -1;
		far_seen |= far != -1 && seed < 8;
		lab_finish(&lab);
	}
	assert_true(near_seen && far_seen);
}

/* A connect that nobody answers is given up after the timeout, a handshake that fails at once. */
static void test_a_request_moves_on_from_a_silent_one(void **state)
{
	for (uint64_t seed = 0; seed < 8; seed++) {
		start(seed, LAB_HTTP, "timeouts: { connect = \"1s\"; };\n");
		let_mesh(FAKE_PENDING);
		int client = dial(ORDERS, 8080);
		say(client, GET("/1"));
		lab_run(&lab, 1100 * CLOCK_MS);
		lab_expect_holds(client, "HTTP/1.1 200 ");
		lab_finish(&lab);
	}
}

static void test_a_request_moves_on_from_a_wrong_identity(void **state)
{
	uint64_t wrong = 0;
	for (uint64_t seed = 0; seed < 8; seed++) {
		start(seed, LAB_HTTP, NULL);
		lab.machines[1].signing = LAB_WRONG;
		int client = dial(ORDERS, 8080);
		say(client, GET("/1"));
		lab_expect_holds(client, "HTTP/1.1 200 ");
		lab_expect_reason(&lab, 0, "NONE");
		wrong += lab_values(&lab, 0)->retries_total;
		lab_finish(&lab);
	}
	assert_true(wrong > 0);
}

/* Three tries, then the last one's reason. */
static void test_a_request_gives_up(void **state)
{
	start(3, LAB_HTTP, NULL);
	let_mesh(-ECONNREFUSED);
	let_workload(8081, -ECONNREFUSED);
	int client = dial(ORDERS, 8080);
	say(client, GET("/1"));
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_FAILED");
	assert_int_equal(lab_last(&lab, 0)->attempts, 3);
	assert_int_equal(lab_values(&lab, 0)->retries_total, 2);
	assert_true(fake_is_open(client));
	lab_finish(&lab);
}

/* At an endpoint's own address that endpoint is meant, and no other. */
static void test_an_endpoint_by_its_own_address(void **state)
{
	start(3, LAB_HTTP, NULL);
	let_mesh(-ECONNREFUSED);
	int client = dial("10.77.0.2", 8080);
	say(client, GET("/1"));
	lab_expect_holds(client, "HTTP/1.1 503 ");
	assert_int_equal(lab_last(&lab, 0)->attempts, 1);
	lab_finish(&lab);
}

/* What was sent once is not sent twice, unless it does no harm. */
static void test_a_request_that_was_sent_stays(void **state)
{
	for (uint64_t seed = 0; seed < 4; seed++) {
		start(seed, LAB_BY_HAND, NULL);
		int client = dial(ORDERS, 8080);
		say(client, POST("/1"));
		int near = lab_served(&lab, LAB_SHOP, 0), far = lab_served(&lab, LAB_ORDERS, 0);
		int server = near != -1 ? near : far;
		assert_true((near == -1) != (far == -1));
		fake_peer_close(server);
		lab_pump(&lab);
		lab_expect_holds(client, "HTTP/1.1 503 ");
		assert_int_equal(lab_values(&lab, 0)->retries_total, 0);
		lab_finish(&lab);
	}
}

static void test_a_connection_moves_on(void **state)
{
	for (uint64_t seed = 0; seed < 16; seed++) {
		start(seed, LAB_ECHO, NULL);
		let_mesh(-ECONNREFUSED);
		int client = dial(BILLING, 7000);
		say(client, "ping");
		lab_expect_received(client, "ping");
		lab_expect_reason(&lab, 0, "NONE");
		assert_int_equal(lab_values(&lab, 0)->retries_total, mesh_connects());
		assert_int_equal(lab_use(&lab, 0, LAB_CACHE), 1);
		lab_finish(&lab);
	}
}

static void test_a_connection_gives_up(void **state)
{
	start(5, LAB_ECHO, "timeouts: { connect = \"1s\"; };\n");
	let_mesh(FAKE_PENDING);
	let_workload(6379, -ECONNREFUSED);
	int client = dial(BILLING, 7000);
	say(client, "ping");
	lab_run(&lab, 3 * CLOCK_S);
	assert_true(fake_peer_saw_reset(client));
	assert_int_equal(lab_values(&lab, 0)->retries_total, 2);
	assert_int_equal(lab_use(&lab, 0, LAB_CACHE), 0);
	lab_finish(&lab);
}

/* The caller goes while the next endpoint is being tried. */
static void test_a_caller_that_goes_meanwhile(void **state)
{
	for (uint32_t turns = 1; turns < 12; turns++) {
		start(5, LAB_ECHO, NULL);
		let_mesh(-ECONNREFUSED);
		let_workload(6379, -ECONNREFUSED);
		int client = dial(BILLING, 7000);
		fake_peer_send_text(client, "ping");
		lab_turns(&lab, turns);
		fake_peer_reset(client);
		lab_pump(&lab);
		lab_finish(&lab);
	}
}

static void test_no_endpoint(void **state)
{
	start(1, LAB_HTTP, NULL);
	int client = dial(NONE, 80);
	say(client, GET("/1"));
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "NO_ENDPOINT");
	assert_string_equal(lab_last(&lab, 0)->flags, "UH");
	assert_true(fake_is_open(client));
	lab_finish(&lab);
}

static void test_policy_holds_at_every_endpoint(void **state)
{
	for (uint64_t seed = 0; seed < 8; seed++) {
		start(seed, LAB_HTTP, NULL);
		int client = dial(ORDERS, 8080);
		say(client, GET("/secret"));
		lab_expect_holds(client, "HTTP/1.1 403 ");
		say(client, GET("/open"));
		lab_expect_holds(client, "HTTP/1.1 200 ");
		lab_finish(&lab);
	}
}

/* Without an identity nothing of a strict service is to be had, by whatever address. */
static void test_nobody_is_refused(void **state)
{
	start(1, LAB_HTTP, NULL);
	struct address a = lab_address_of(ORDERS);
	a.port = 8080;
	int client = lab_dial_address(&lab, LAB_NOBODY, &a);
	say(client, GET("/1"));
	lab_expect_reason(&lab, 0, "UNATTRIBUTED");
	assert_false(fake_is_open(client));
	lab_finish(&lab);
}

/* Of a permissive service the endpoint of this machine lets it in, another machine's cannot: each
 * request is asked anew. */
static void test_nobody_at_a_permissive_service(void **state)
{
	start(1, LAB_HTTP, NULL);
	lab.edits[EDIT_SERVICES].to =
		SERVICES("mtls = \"permissive\"; ", BOTH(NEAR_ORDERS), BOTH(NEAR_BILLING));
	lab.edits[EDIT_POLICY] = (struct lab_edit){"policies: (",
		"policies: ( { service = \"orders\"; action = \"allow\"; from = [ \"anonymous\" "
		"]; },\n"};
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	struct address a = lab_address_of(ORDERS);
	a.port = 8080;
	int client = lab_dial_address(&lab, LAB_NOBODY, &a);
	uint32_t let_in = 0, refused = 0;
	for (int i = 0; i < 20 && fake_is_open(client); i++) {
		say(client, GET("/1"));
		const struct lab_entry *e = lab_last(&lab, 0);
		let_in += strcmp(e->details, "UNATTRIBUTED") != 0;
		refused += strcmp(e->details, "UNATTRIBUTED") == 0;
	}
	assert_true(let_in > 0 && refused > 0);
	assert_int_equal(mesh_connects(), 0);
	lab_finish(&lab);
}

/* --- a new plan --- */

static void replan_without_far(void)
{
	lab.edits[EDIT_SERVICES].to = SERVICES("", NEAR_ORDERS, NEAR_BILLING);
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
}

static void test_an_endpoint_that_is_gone_gets_no_request(void **state)
{
	start(1, LAB_HTTP, NULL);
	int client = dial(ORDERS, 8080);
	for (int i = 0; i < 10; i++)
		say(client, GET("/1"));
	uint32_t before = lab.machines[1].log.count;
	assert_true(before > 0);
	replan_without_far();
	for (int i = 0; i < 10; i++)
		say(client, GET("/2"));
	assert_int_equal(lab.machines[1].log.count, before);
	assert_int_equal(lab.machines[0].log.count, 20);
	assert_int_equal(lab_alive(&lab, 0, TASK_TRUNK), 0);
	assert_int_equal(atomic_load(&lab.machines[0].plans[0]->holder_count), 0);
	lab_finish(&lab);
}

/* It may have fallen silent for want of the store: what runs goes on, to either of the two. */
static void test_a_connection_outlives_its_endpoint(void **state)
{
	for (int own = 0; own < 2; own++) {
		start(1, LAB_ECHO, NULL);
		int clients[8];
		for (int i = 0; i < 8; i++) {
			clients[i] = own ? dial("10.77.0.2", 7000) : dial(BILLING, 7000);
			say(clients[i], "1");
		}
		assert_true(mesh_connects() > 0);
		replan_without_far();
		for (int i = 0; i < 8; i++) {
			say(clients[i], "2");
			lab_expect_received(clients[i], "12");
		}
		lab_finish(&lab);
	}
}

/* The same for an instance of this machine, under however many plans. */
static void test_a_connection_outlives_its_endpoint_here(void **state)
{
	int clients[8];
	start(1, LAB_ECHO, NULL);
	for (int i = 0; i < 8; i++) {
		clients[i] = dial(BILLING, 7000);
		say(clients[i], "1");
	}
	assert_in_range(mesh_connects(), 1, 7);
	for (int round = 0; round < 3; round++) {
		lab.edits[EDIT_SERVICES].to = SERVICES("", BOTH(NEAR_ORDERS), "");
		lab_replan(&lab, 0, NULL);
		lab_pump(&lab);
	}
	for (int i = 0; i < 8; i++) {
		say(clients[i], "2");
		lab_expect_received(clients[i], "12");
	}
	lab_finish(&lab);
}

static void test_a_connection_ends_with_its_service(void **state)
{
	start(1, LAB_ECHO, NULL);
	int clients[8];
	for (int i = 0; i < 8; i++) {
		clients[i] = dial(BILLING, 7000);
		say(clients[i], "1");
	}
	lab.edits[EDIT_SERVICES].to = "{ name = \"orders\"; port = 8080; },";
	lab.edits[EDIT_WORKLOADS].to = "";
	lab.edits[EDIT_POLICY] = (struct lab_edit){"from = [ \"billing\" ]", "from = [ \"web\" ]"};
	lab.edits[EDIT_CALLER] =
		(struct lab_edit){"{ service = \"billing\"; user = \"billing\"; },", ""};
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	for (int i = 0; i < 8; i++)
		assert_true(fake_peer_saw_reset(clients[i]));
	lab_expect_reason(&lab, 0, "NO_SERVICE");
	lab_finish(&lab);
}

/* The address is another service's now, with other endpoints: what was reached there before is
 * gone, or its service takes plain text only. */
static void test_a_connection_ends_when_its_address_is_given_away(void **state)
{
	static const char *const after[] = {
		"{ name = \"orders\"; }, { name = \"other\"; port = 7000; protocol = \"tcp\"; "
		"address "
		"= \"" BILLING "\"; endpoints = ( { address = \"10.77.0.9\"; } ); },\n",
		"{ name = \"orders\"; }, { name = \"billing\"; port = 7000; protocol = \"tcp\"; "
		"mtls = "
		"\"disabled\"; address = \"" BILLING
		"\"; endpoints = ( { address = \"10.77.0.9\"; } ); },\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(after); i++) {
		start(1, LAB_ECHO, NULL);
		lab.edits[EDIT_SERVICES].to =
			SERVICES("", BOTH(NEAR_ORDERS), "{ address = \"10.77.0.2\"; }");
		lab.edits[EDIT_WORKLOADS].to = "";
		lab_replan(&lab, 0, NULL);
		lab_pump(&lab);
		int client = dial(BILLING, 7000);
		say(client, "1");
		lab_expect_received(client, "1");
		lab.edits[EDIT_SERVICES].to = after[i];
		if (i == 0) {
			lab.edits[EDIT_POLICY] =
				(struct lab_edit){"from = [ \"billing\" ]", "from = [ \"web\" ]"};
			lab.edits[EDIT_CALLER] = (struct lab_edit){
				"{ service = \"billing\"; user = \"billing\"; },", ""};
		}
		lab_replan(&lab, 0, NULL);
		lab_pump(&lab);
		assert_true(fake_peer_saw_reset(client));
		lab_expect_reason(&lab, 0, "NO_SERVICE");
		lab_finish(&lab);
	}
}

/* A connection that finds no other endpoint under a new plan was let through by no policy of it,
 * and by none of the plan that has gone. */
static void test_no_policy_of_an_old_plan(void **state)
{
	start(1, LAB_ECHO, "timeouts: { connect = \"1s\"; };\n");
	lab.edits[EDIT_SERVICES].to = SERVICES("", NEAR_ORDERS, NEAR_BILLING);
	lab.edits[EDIT_POLICY] =
		(struct lab_edit){"service = \"cache\"; action = \"deny\"; from = [ \"billing\" ]",
			"service = \"billing\"; action = \"allow\"; from = [ \"web\" ]"};
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	say(dial(BILLING, 7000), "ping");
	assert_string_equal(lab_last(&lab, 0)->policy, "no-billing");
	let_workload(6379, FAKE_PENDING);
	say(dial(BILLING, 7000), "ping");
	lab.edits[EDIT_SERVICES].to = SERVICES("", NEAR_ORDERS, "");
	lab.edits[EDIT_WORKLOADS].to =
		" { service = \"orders\"; user = \"shop\"; port = 8081; },\n";
	lab_replan(&lab, 0, NULL);
	lab_run(&lab, 1100 * CLOCK_MS);
	lab_expect_reason(&lab, 0, "NO_ENDPOINT");
	assert_string_equal(lab_last(&lab, 0)->policy, "");
	lab_finish(&lab);
}

/* The plan changes in the middle of the tries. */
static void test_a_new_plan_between_tries(void **state)
{
	for (uint32_t turns = 1; turns < 16; turns++) {
		start(turns, LAB_HTTP, NULL);
		let_mesh(-ECONNREFUSED);
		int client = dial(ORDERS, 8080), other = dial(BILLING, 7000);
		fake_peer_send_text(client, GET("/1"));
		fake_peer_send_text(other, GET("/tcp"));
		lab_turns(&lab, turns);
		replan_without_far();
		lab_pump(&lab);
		lab_expect_holds(client, "HTTP/1.1 200 ");
		lab_expect_holds(other, "HTTP/1.1 200 ");
		lab_finish(&lab);
	}
}

static void test_chaos(void **state)
{
	for (uint64_t seed = 1; seed < 24; seed++) {
		lab_start(&lab, &(struct lab_options){.machine_count = 2,
					.edits = edits,
					.seed = seed,
					.chaos = seed,
					.serving = LAB_HTTP});
		if (seed & 1)
			let_mesh(-ECONNREFUSED);
		for (int i = 0; i < 6; i++) {
			int client = dial(ORDERS, 8080);
			fake_peer_send_text(client, GET("/1"));
			fake_peer_send_text(dial(BILLING, 7000), GET("/2"));
			lab_turns(&lab, 3);
			if (i == 3)
				replan_without_far();
		}
		lab_pump(&lab);
		lab_finish(&lab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_spread),
		cmocka_unit_test(test_connections_spread),
		cmocka_unit_test(test_a_request_moves_on),
		cmocka_unit_test(test_a_request_moves_on_to_another_machine),
		cmocka_unit_test(test_a_request_moves_on_from_a_dead_workload),
		cmocka_unit_test(test_trailers_of_a_request_that_moves_on),
		cmocka_unit_test(test_a_dead_workload_by_its_own_address),
		cmocka_unit_test(test_a_server_cannot_say_that_it_was_unsent),
		cmocka_unit_test(test_a_request_moves_on_from_a_silent_one),
		cmocka_unit_test(test_a_request_moves_on_from_a_wrong_identity),
		cmocka_unit_test(test_a_request_gives_up),
		cmocka_unit_test(test_an_endpoint_by_its_own_address),
		cmocka_unit_test(test_a_request_that_was_sent_stays),
		cmocka_unit_test(test_a_connection_moves_on),
		cmocka_unit_test(test_a_connection_gives_up),
		cmocka_unit_test(test_a_caller_that_goes_meanwhile),
		cmocka_unit_test(test_no_endpoint),
		cmocka_unit_test(test_policy_holds_at_every_endpoint),
		cmocka_unit_test(test_nobody_is_refused),
		cmocka_unit_test(test_nobody_at_a_permissive_service),
		cmocka_unit_test(test_an_endpoint_that_is_gone_gets_no_request),
		cmocka_unit_test(test_a_connection_outlives_its_endpoint),
		cmocka_unit_test(test_a_connection_outlives_its_endpoint_here),
		cmocka_unit_test(test_a_connection_ends_with_its_service),
		cmocka_unit_test(test_a_connection_ends_when_its_address_is_given_away),
		cmocka_unit_test(test_no_policy_of_an_old_plan),
		cmocka_unit_test(test_a_new_plan_between_tries),
		cmocka_unit_test(test_chaos),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
