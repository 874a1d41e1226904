/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of requests for mirrors: whatever becomes of them, the caller sees the same. orders runs
 * here as v1 (the user shop), where the calls go, and on the other machine as v2, the mirror. */
#include "lab.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK	  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define MARK	  "x-ringmain-mirror: 1\r\n"

#define RULE(more)   "{ split = ( { version = \"v1\"; } ); " more " }"
#define ROUTES(rule) "routes: ( { service = \"orders\"; rules = ( " rule " ); } );\n"
#define TO_V2	     "mirror = ( { version = \"v2\"; } );"
#define MIRRORED     ROUTES(RULE(TO_V2))

static struct lab lab;

static void start(const char *routes, enum lab_serving serving, const char *node)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2,
				.edits = lab_two_versions,
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

static int dial(void)
{
	struct address a = lab_address_of(LAB_OWN_ORDERS);
	a.port = 8080;
	return lab_dial_address(&lab, LAB_WEB, &a);
}

static void say(int fd, const char *text)
{
	fake_peer_forget(fd);
	fake_peer_send_text(fd, text);
	lab_pump(&lab);
}

/* The workload that is called, and the mirror's; -1: none yet. */
static int service(void)
{
	return lab_served(&lab, LAB_SHOP, 0);
}

static int mirror(void)
{
	return lab_served(&lab, LAB_ORDERS, 0);
}

static uint64_t value(const _Atomic uint64_t *v)
{
	return atomic_load(v);
}

#define VALUE(name) value(&lab_values(&lab, 0)->name)

/* The last line of the access log of machine 0 that is, or is not, of a copy. */
static const struct lab_entry *line_of(bool is_mirror)
{
	const struct lab_entry *found = NULL;
	for (uint32_t i = 0; i < lab.machines[0].log.count; i++) {
		if (lab.machines[0].log.entries[i].is_mirror == is_mirror)
			found = &lab.machines[0].log.entries[i];
	}
	assert_non_null(found);
	return found;
}

static uint32_t lines_of(uint32_t machine, bool is_mirror)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < lab.machines[machine].log.count; i++)
		count += lab.machines[machine].log.entries[i].is_mirror == is_mirror;
	return count;
}

static uint32_t lines_of_code(uint32_t machine, uint16_t code)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < lab.machines[machine].log.count; i++)
		count += lab.machines[machine].log.entries[i].code == code;
	return count;
}

/* --- a copy --- */

static void test_a_copy_is_as_the_request(void **state)
{
	start(ROUTES(RULE(TO_V2 "rewrite = { path = \"/b\"; }; request_headers = { set = ( { name "
				"= \"x-set\"; value = \"1\"; } ); };")),
		LAB_BY_HAND, NULL);
	int client = dial();
	say(client, "PUT /a?q HTTP/1.1\r\nHost: h\r\ntraceparent: 00-1-2-01\r\nx-request-id: id\r\n"
		    "x-RINGMAIN-mirror: 2\r\nX-Ringmain-ROUTE: 3\r\nContent-Length: 3\r\n\r\nabc");
	lab_expect_holds(service(), "PUT /b?q HTTP/1.1\r\n");
	lab_expect_holds(service(), "\r\n\r\nabc");
	lab_expect_lacks(service(), "ingmain-mirror");
	lab_expect_lacks(service(), "INGMAIN-mirror");
	lab_expect_holds(mirror(), "PUT /b?q HTTP/1.1\r\n");
	lab_expect_holds(mirror(), "Host: h\r\n");
	lab_expect_holds(mirror(), "traceparent: 00-1-2-01\r\n");
	lab_expect_holds(mirror(), "x-request-id: id\r\n");
	lab_expect_holds(mirror(), "x-set: 1\r\n");
	lab_expect_holds(mirror(), MARK);
	lab_expect_lacks(mirror(), "mirror: 2");
	lab_expect_lacks(mirror(), "-ROUTE: 3");
	lab_expect_holds(mirror(),
		"x-forwarded-client-cert: By=spiffe://prod.example/service/orders"
		";URI=spiffe://prod.example/service/web\r\n");
	lab_expect_holds(mirror(), "\r\n\r\nabc");
	fake_peer_send_text(service(), OK);
	lab_pump(&lab);
	lab_expect_received(client, OK);
	fake_peer_send_text(mirror(), "HTTP/1.1 201 Made\r\nContent-Length: 4\r\n\r\nmade");
	lab_pump(&lab);
	lab_expect_received(client, OK);
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 0);
	lab_finish(&lab);
}

/* Each end has a line of it, which says so; the caller's request has its own. */
static void test_a_copy_is_recorded_by_itself(void **state)
{
	start(MIRRORED, LAB_BY_HAND, NULL);
	int client = dial();
	say(client, GET("/1"));
	fake_peer_send_text(mirror(), "HTTP/1.1 201 Made\r\nContent-Length: 4\r\n\r\nmade");
	fake_peer_send_text(service(), OK);
	lab_pump(&lab);
	assert_int_equal(lines_of(0, false), 1);
	assert_int_equal(lines_of(0, true), 1);
	assert_int_equal(lines_of(1, true), 1);
	assert_int_equal(lines_of(1, false), 0);
	const struct lab_entry *e = line_of(true);
	assert_int_equal(e->code, 201);
	assert_string_equal(e->version, "v2");
	assert_string_equal(e->route, "orders/rules[0]");
	assert_string_equal(e->path, "/1");
	assert_string_equal(e->source, "spiffe://prod.example/service/web");
	assert_int_equal(e->sent, 4);
	assert_int_equal(e->attempts, 1);
	assert_int_equal(line_of(false)->code, 200);
	assert_string_equal(line_of(false)->version, "v1");
	struct metric_totals totals;
	metrics_totals(&lab.machines[0].metrics, 1, &totals);
	assert_int_equal(totals.requests_total, 2); /* both ends of the one on this machine */
	metrics_totals(&lab.machines[1].metrics, 1, &totals);
	assert_int_equal(totals.requests_total, 0);
	lab_finish(&lab);
}

static void test_the_percentage_is_exact(void **state)
{
	start(ROUTES(RULE("mirror = ( { version = \"v2\"; percent = 10; }, { service = \"any\"; "
			  "percent = 5; }, { version = \"v2\"; percent = 0; } );")),
		LAB_HTTP, NULL);
	int clients[] = {dial(), dial(), dial()};
	for (int round = 0; round < 3; round++) {
		uint32_t far = lines_of(1, true), all = lines_of(0, true);
		for (int i = 0; i < 20; i++) {
			say(clients[i % 3], GET("/1"));
			lab_expect_holds(clients[i % 3], "shop:/1");
		}
		assert_int_equal(lines_of(1, true) - far, 2);
		assert_int_equal(lines_of(0, true) - all, 3);
		replan(lab.objects);
	}
	assert_int_equal(VALUE(mirrors_total), 9);
	assert_int_equal(lines_of(0, false), 60);
	lab_finish(&lab);
}

/* To this machine: in one pass, and by the same policy. */
static void test_a_mirror_on_this_machine(void **state)
{
	start(ROUTES("{ split = ( { version = \"v2\"; } ); mirror = ( { version = \"v1\"; }, { "
		     "service = \"any\"; } ); }"),
		LAB_HTTP, NULL);
	int client = dial();
	say(client, GET("/1"));
	lab_expect_holds(client, "orders:/1");
	lab_expect_holds(service(), MARK);
	lab_expect_holds(
		service(), "x-forwarded-client-cert: By=spiffe://prod.example/service/orders");
	lab_expect_holds(lab_served(&lab, LAB_ANY, 0), MARK);
	assert_int_equal(lab_use(&lab, 0, LAB_SHOP), 0);
	assert_int_equal(lab_serving_count(&lab, 0, LAB_SHOP), 0);
	say(client, GET("/secret"));
	lab_expect_holds(client, "HTTP/1.1 403 ");
	lab_expect_lacks(service(), "/secret"); /* denied here as there */
	lab_finish(&lab);
}

/* A mirror that is balanced by a value of the request gets each value's copies at one endpoint, as
 * it would get the requests. */
static void test_a_copy_goes_by_its_value(void **state)
{
	char text[128];
	uint32_t far_total = 0;
	start(ROUTES(RULE("mirror = ( { service = \"orders\"; } );")), LAB_HTTP, NULL);
	lab.edits[0].to =
		" { name = \"orders\"; port = 8080; protocol = \"http\"; address = "
		"\"" LAB_OWN_ORDERS
		"\"; balance = \"maglev\"; balance_by = \"header:x-user\"; endpoints = ( { address "
		"= \"10.77.0.1\"; port = 8081; version = \"v1\"; }, { address = \"10.77.0.2\"; "
		"version = \"v2\"; } ); },\n";
	replan(lab.objects);
	int client = dial();
	for (int user = 0; user < 12; user++) {
		uint32_t far = lines_of(1, true);
		snprintf(text, sizeof(text), "GET /1 HTTP/1.1\r\nHost: h\r\nx-user: %d\r\n\r\n",
			user);
		for (int i = 0; i < 6; i++)
			say(client, text);
		assert_true(lines_of(1, true) == far || lines_of(1, true) == far + 6);
		far_total += lines_of(1, true) - far;
	}
	assert_in_range(far_total, 6, 11 * 6);
	assert_int_equal(VALUE(mirrors_total), 12 * 6);
	lab_finish(&lab);
}

/* The connections to a mirror are kept, and used again. */
static void test_connections_are_used_again(void **state)
{
	start(MIRRORED, LAB_HTTP, NULL);
	int client = dial();
	for (int i = 0; i < 10; i++)
		say(client, GET("/1"));
	assert_int_equal(VALUE(mirrors_total), 10);
	assert_int_equal(VALUE(pool_opened_total), 2);
	assert_int_equal(lab_alive(&lab, 0, TASK_TRUNK), 1);
	assert_int_equal(lab_served(&lab, LAB_ORDERS, 1), -1);
	lab_finish(&lab);
}

/* What becomes a tunnel, or was not sent at all, is nobody else's. */
static void test_what_is_not_mirrored(void **state)
{
	start(ROUTES("{ match = { path = \"/no\"; }; fault = { abort_status = 500; }; " TO_V2
		     " }, { match = { path = \"/404\"; }; respond = { status = 404; }; }, " RULE(
			     TO_V2)),
		LAB_BY_HAND, NULL);
	int client = dial();
	say(client, GET("/no"));
	say(client, GET("/404"));
	say(client, "GET /1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		    "Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n");
	lab_expect_holds(service(), "Upgrade: websocket\r\n");
	assert_int_equal(mirror(), -1);
	assert_int_equal(VALUE(mirrors_total), 0);
	lab_finish(&lab);
}

/* One more of a mirror that is held back is one when it goes. */
static void test_a_delayed_request_is_mirrored_once(void **state)
{
	start(ROUTES(RULE(TO_V2 "fault = { delay = \"1s\"; };")), LAB_HTTP, NULL);
	int client = dial();
	say(client, GET("/1"));
	assert_int_equal(mirror(), -1);
	lab_run(&lab, 1100 * CLOCK_MS);
	lab_expect_holds(client, "shop:/1");
	assert_int_equal(lines_of(1, true), 1);
	lab_finish(&lab);
}

/* A retry of the request is no further copy. */
static void test_a_retry_is_mirrored_once(void **state)
{
	start(ROUTES(RULE(TO_V2 "retries = { on = \"5xx\"; backoff = \"1ms\"; };")), LAB_BY_HAND,
		NULL);
	int client = dial();
	say(client, GET("/1"));
	fake_peer_send_text(service(), "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
	lab_run(&lab, 10 * CLOCK_MS);
	int second = lab_served(&lab, LAB_SHOP, 1);
	fake_peer_send_text(second != -1 ? second : service(), OK);
	lab_pump(&lab);
	lab_expect_received(client, OK);
	assert_int_equal(VALUE(mirrors_total), 1);
	assert_int_equal(line_of(false)->attempts, 2);
	lab_finish(&lab);
}

/* --- bodies --- */

/* It goes when all of it is there, not before. */
static void test_a_mirror_sees_whole_requests(void **state)
{
	start(MIRRORED, LAB_BY_HAND, NULL);
	int client = dial();
	say(client, "POST /1 HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: "
		    "chunked\r\nTE: trailers\r\n\r\n");
	fake_peer_send_text(client, "3\r\nabc\r\n");
	lab_pump(&lab);
	lab_expect_holds(service(), "3\r\nabc\r\n");
	assert_int_equal(mirror(), -1);
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 1);
	fake_peer_send_text(client, "2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n");
	lab_pump(&lab);
	lab_expect_holds(mirror(), "\r\n\r\n5\r\nabcde\r\n0\r\nx-sum: 5\r\n\r\n");
	lab_expect_lacks(mirror(), "xpect");
	lab_finish(&lab);
}

static void post(int client, size_t bytes, bool is_chunked)
{
	char head[128], *body = malloc(bytes);
	memset(body, 'b', bytes);
	if (is_chunked)
		snprintf(head, sizeof(head),
			"POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n",
			bytes);
	else
		snprintf(head, sizeof(head),
			"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", bytes);
	fake_peer_forget(client);
	fake_peer_send_text(client, head);
	fake_peer_send(client, body, bytes);
	if (is_chunked)
		fake_peer_send_text(client, "\r\n0\r\n\r\n");
	lab_pump(&lab);
	free(body);
}

static void test_bodies_up_to_the_limit(void **state)
{
	static const struct {
		size_t bytes;
		bool is_mirrored;
	} rows[] = {
		{0, true}, {1, true}, {5000, true}, {10000, true}, {10001, false}, {300000, false}};
	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		size_t bytes = rows[i / 2].bytes;
		if (bytes == 0 && i % 2)
			continue;
		start(MIRRORED, LAB_BY_HAND, "limits: { mirror_body_max = 10000; };\n");
		int client = dial();
		post(client, bytes, i % 2);
		assert_true(fake_peer_received(service()).len >= bytes);
		assert_int_equal(mirror() != -1, rows[i / 2].is_mirrored);
		if (rows[i / 2].is_mirrored) {
			struct str got = fake_peer_received(mirror());
			size_t seen = 0;
			const char *at = memmem(got.at, got.len, "\r\n\r\n", 4);
			for (size_t k = (size_t)(at - got.at); k < got.len; k++)
				seen += got.at[k] == 'b';
			assert_int_equal(seen, bytes);
		}
		assert_int_equal(VALUE(mirrors_large_total), !rows[i / 2].is_mirrored);
		assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), rows[i / 2].is_mirrored);
		lab_finish(&lab);
	}
}

/* A caller that goes, or a service that answers before, leaves nothing of it. */
static void test_half_a_request_is_not_mirrored(void **state)
{
	for (int early = 0; early < 2; early++) {
		start(MIRRORED, LAB_BY_HAND, NULL);
		int client = dial();
		say(client, "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
		assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 1);
		if (early)
			fake_peer_send_text(service(), OK);
		else
			fake_peer_reset(client);
		lab_pump(&lab);
		assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 0);
		assert_int_equal(VALUE(mirrors_cut_total), 1);
		assert_int_equal(mirror(), -1);
		lab_finish(&lab);
	}
}

/* --- what becomes of it --- */

struct fate {
	const char *name;
	void (*meet)(void);
	const char *details; /* of its line; NULL: none yet */
	uint16_t code;
};

static void answers(const char *text)
{
	if (mirror() != -1)
		fake_peer_send_text(mirror(), text);
}

static void fate_is_served(void)
{
	answers("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno");
}

static void fate_is_silent(void)
{
}

static void fate_answers_garbage(void)
{
	answers("\x16\x03garbage\r\n\r\n");
}

static void fate_closes(void)
{
	fake_peer_close(mirror());
}

static void fate_resets(void)
{
	fake_peer_reset(mirror());
}

static void fate_answers_half(void)
{
	answers("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf");
	lab_pump(&lab);
	fake_peer_reset(mirror());
}

static void fate_switches(void)
{
	answers("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
}

static const struct fate fates[] = {
	{"served", fate_is_served, "NONE", 503},
	{"silent", fate_is_silent, NULL, 0},
	{"garbage", fate_answers_garbage, "NONE", 502},
	{"closes", fate_closes, "NONE", 503},
	{"resets", fate_resets, "NONE", 503},
	{"half", fate_answers_half, "UPSTREAM_ABORTED", 200},
	{"switches", fate_switches, "NONE", 502},
};

/* What the caller gets of three requests is the same, byte for byte; a slow body among them. */
static void test_no_fate_touches_the_caller(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(fates); i++) {
		start(MIRRORED, LAB_BY_HAND, NULL);
		int client = dial();
		say(client, GET("/1"));
		fates[i].meet();
		lab_pump(&lab);
		lab_expect_received(client, "");
		fake_peer_send_text(service(), OK);
		lab_pump(&lab);
		lab_expect_received(client, OK);
		if (fates[i].details) {
			assert_string_equal(line_of(true)->details, fates[i].details);
			assert_int_equal(line_of(true)->code, fates[i].code);
		}
		assert_int_equal(lines_of(0, true), fates[i].details != NULL);
		say(client, GET("/2"));
		fake_peer_send_text(service(), OK);
		lab_pump(&lab);
		lab_expect_received(client, OK);
		assert_string_equal(line_of(false)->details, "NONE");
		assert_int_equal(VALUE(ejections_total), 0);
		lab_finish(&lab);
	}
}

/* It has a time of its own, after which nothing is left. */
static void test_a_silent_mirror_is_given_up(void **state)
{
	start(MIRRORED, LAB_BY_HAND, "timeouts: { mirror = \"3s\"; };\n");
	int client = dial();
	say(client, GET("/1"));
	fake_peer_send_text(service(), OK);
	lab_run(&lab, 2900 * CLOCK_MS);
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 1);
	lab_run(&lab, 200 * CLOCK_MS);
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 0);
	assert_string_equal(line_of(true)->details, "UPSTREAM_TIMEOUT");
	assert_true(fake_is_open(client));
	lab_finish(&lab);
}

/* Away, or not who it should be: no further try, no word of it to anybody. */
static void test_a_mirror_that_is_away(void **state)
{
	start(MIRRORED, LAB_HTTP, NULL);
	struct address mesh = lab_mesh_address(1);
	fake_connect_rule(&mesh, -ECONNREFUSED);
	int client = dial();
	for (int i = 0; i < 20; i++) {
		say(client, GET("/1"));
		lab_expect_holds(client, "shop:/1");
	}
	assert_int_equal(lines_of(0, true), 20);
	assert_string_equal(line_of(true)->details, "UPSTREAM_CONNECT_FAILED");
	assert_int_equal(VALUE(retries_total), 0);
	assert_int_equal(VALUE(ejections_total), 0);
	fake_connect_rule(&mesh, FAKE_PENDING);
	say(client, GET("/2"));
	lab_expect_holds(client, "shop:/2");
	lab_run(&lab, 6 * CLOCK_S);
	assert_string_equal(line_of(true)->details, "UPSTREAM_CONNECT_TIMEOUT");
	lab_finish(&lab);
}

static void test_a_mirror_that_is_unknown(void **state)
{
	start(MIRRORED, LAB_HTTP, NULL);
	int client = dial();
	lab.edits[0].to = " { name = \"orders\"; port = 8080; protocol = \"http\"; address = "
			  "\"" LAB_OWN_ORDERS
			  "\"; endpoints = ( { address = \"10.77.0.1\"; port = 8081; version = "
			  "\"v1\"; } ); },\n";
	lab.edits[3] = (struct lab_edit){
		" { service = \"any\"; user", " { service = \"any\"; version = \"v2\"; user"};
	replan(ROUTES(RULE("mirror = ( { service = \"any\"; version = \"v2\"; } );")));
	say(client, GET("/1"));
	lab_expect_holds(client, "shop:/1");
	assert_string_equal(line_of(true)->details, "ROUTE_NO_VERSION");
	assert_int_equal(line_of(true)->attempts, 0);
	lab_finish(&lab);
}

/* More of an answer than anybody throws away: it ends there. */
static void test_an_answer_without_end(void **state)
{
	static char chunk[50000];
	start(MIRRORED, LAB_BY_HAND, NULL);
	int client = dial();
	say(client, GET("/1"));
	fake_peer_send_text(mirror(), "HTTP/1.1 200 OK\r\n\r\n");
	memset(chunk, 'x', sizeof(chunk));
	for (int i = 0; i < 30 && lab_alive(&lab, 0, TASK_MIRROR) > 0; i++) {
		fake_peer_send(mirror(), chunk, sizeof(chunk));
		lab_pump(&lab);
	}
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 0);
	assert_int_equal(line_of(true)->code, 200);
	assert_in_range(line_of(true)->sent, 1 << 20, (1 << 20) + 2 * sizeof(chunk));
	fake_peer_send_text(service(), OK);
	lab_pump(&lab);
	lab_expect_received(client, OK);
	lab_finish(&lab);
}

/* It takes nothing: the caller's uploads are as fast as without it. */
static void test_a_mirror_that_does_not_read(void **state)
{
	start(ROUTES("{ split = ( { version = \"v2\"; } ); mirror = ( { version = \"v1\"; } ); }"),
		LAB_BY_HAND, NULL);
	int client = dial();
	post(client, 100, false);
	int slow = service();
	assert_int_not_equal(slow, -1);
	fake_peer_send_text(slow, OK);
	fake_peer_send_text(mirror(), OK); /* here the service */
	lab_pump(&lab);
	fake_peer_window(slow, 0);
	for (int i = 0; i < 5; i++) {
		fake_peer_forget(mirror());
		post(client, 60000, i % 2);
		assert_true(fake_peer_received(mirror()).len > 60000);
		fake_peer_send_text(mirror(), OK);
		lab_pump(&lab);
		lab_expect_received(client, OK);
	}
	assert_in_range(lab_alive(&lab, 0, TASK_MIRROR), 1, 5);
	lab_run(&lab, 20 * CLOCK_S);
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 0);
	lab_finish(&lab);
}

/* --- limits --- */

static void test_so_many_at_once(void **state)
{
	start(MIRRORED, LAB_BY_HAND, "limits: { mirrors_max = 2; };\n");
	int clients[4];
	for (int i = 0; i < 4; i++) {
		clients[i] = dial();
		say(clients[i], GET("/1"));
		lab_expect_holds(lab_served(&lab, LAB_SHOP, (uint32_t)i), "GET /1 ");
	}
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 2);
	assert_int_equal(VALUE(mirrors_active), 2);
	assert_int_equal(VALUE(mirrors_total), 4);
	assert_int_equal(VALUE(mirrors_dropped_total), 2);
	lab_finish(&lab);
}

static void test_none_at_all(void **state)
{
	start(MIRRORED, LAB_HTTP, "limits: { mirrors_max = 0; };\n");
	int client = dial();
	say(client, GET("/1"));
	lab_expect_holds(client, "shop:/1");
	assert_int_equal(VALUE(mirrors_dropped_total), 1);
	lab_finish(&lab);
}

/* Of the connections that a workload may have, mirrors leave the last quarter. */
static void test_a_workload_near_its_limit(void **state)
{
	start(ROUTES("{ split = ( { version = \"v2\"; } ); mirror = ( { version = \"v1\"; } ); }"),
		LAB_BY_HAND, "limits: { workload_connections_max = 8; };\n");
	for (int i = 0; i < 8; i++) {
		int client = dial();
		say(client, GET("/1"));
		lab_expect_received(client, "");
	}
	assert_int_equal(lab_use(&lab, 0, LAB_SHOP), 6);
	assert_int_equal(VALUE(mirrors_dropped_total), 2);
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 8); /* callers alone */
	lab_finish(&lab);
}

/* Nor do they take the last quarter of what the service may have under way here. */
static void test_a_breaker(void **state)
{
	struct lab_edit with_breaker[LAB_EDITS_MAX];
	memcpy(with_breaker, lab_two_versions, sizeof(with_breaker));
	with_breaker[0].to =
		" { name = \"orders\"; port = 8080; protocol = \"http\"; address = "
		"\"" LAB_OWN_ORDERS "\"; breaker = { requests = 8; }; endpoints = ( { address = "
		"\"10.77.0.1\"; port = 8081; version = \"v1\"; }, { address = "
		"\"10.77.0.2\"; version = \"v2\"; } ); },\n";
	lab_start(&lab, &(struct lab_options){.machine_count = 2,
				.edits = with_breaker,
				.objects = MIRRORED,
				.serving = LAB_BY_HAND,
				.seed = 1});
	int clients[5];
	for (int i = 0; i < 5; i++) {
		clients[i] = dial();
		say(clients[i], GET("/1"));
		lab_expect_holds(lab_served(&lab, LAB_SHOP, (uint32_t)i), "GET /1 ");
	}
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 3);
	assert_int_equal(VALUE(mirrors_dropped_total), 2);
	assert_int_equal(VALUE(breaker_requests), 8);
	assert_int_equal(VALUE(breaker_requests_refused_total), 0);
	lab_finish(&lab);
}

/* Copies spend nothing of what there is to callers: they have as much for themselves. */
static void test_a_limit(void **state)
{
	start(MIRRORED "limits: ( { name = \"few\"; service = \"orders\"; requests = 3; per = "
		       "\"1h\"; } );\n",
		LAB_HTTP, NULL);
	int client = dial();
	for (int i = 0; i < 4; i++)
		say(client, GET("/1"));
	lab_expect_holds(client, "HTTP/1.1 429 ");
	assert_int_equal(lines_of(1, true), 3); /* what was refused was not sent, nor copied */
	struct address far = lab_address(LAB_ORDERS);
	int other = lab_dial_address(&lab, LAB_WEB, &far);
	for (int i = 0; i < 3; i++) {
		say(other, GET("/2"));
		lab_expect_holds(other, "orders:/2"); /* all three are there still */
	}
	say(other, GET("/2"));
	lab_expect_holds(other, "HTTP/1.1 429 ");
	lab_finish(&lab);
}

/* Whoever says that a request is a copy gets as much of a limit as others do, and no more: a
 * machine that asks for no limit itself sends as many as it likes. */
static void test_a_limit_of_copies(void **state)
{
	static const char *const limits[] = {"", "by = [ \"source\" ]; ", "fair = true; "};
	char text[1000];
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		snprintf(text, sizeof(text),
			MIRRORED "limits: ( { name = \"few\"; service = \"orders\"; requests = 3; "
				 "per = \"1h\"; %s} );\n",
			limits[i]);
		start(text, LAB_HTTP, NULL);
		replan(MIRRORED);
		int client = dial();
		for (int k = 0; k < 5; k++) {
			say(client, GET("/1"));
			lab_expect_holds(client, "HTTP/1.1 200 ");
		}
		assert_int_equal(lines_of(1, true), 5);
		assert_int_equal(lab_last(&lab, 1)->code, 429);
		assert_int_equal(lines_of_code(1, 429), 2);
		struct address far = lab_address(LAB_ORDERS);
		int other = lab_dial_address(&lab, LAB_WEB, &far);
		for (int k = 0; k < 3; k++) {
			say(other, GET("/2"));
			lab_expect_holds(other, "orders:/2"); /* all three are there still */
		}
		say(other, GET("/2"));
		lab_expect_holds(other, "HTTP/1.1 429 ");
		lab_finish(&lab);
	}
}

/* What another machine refuses a copy is no refused request. */
static void test_a_refused_copy(void **state)
{
	start(ROUTES("{ match = { path = \"/1\"; }; split = ( { service = \"any\"; } ); rewrite = "
		     "{ "
		     "path = \"/secret\"; }; " TO_V2 " }"),
		LAB_HTTP, NULL);
	int client = dial();
	say(client, GET("/1"));
	lab_expect_holds(client, "any:/secret");
	assert_int_equal(lines_of(1, true), 1);
	assert_int_equal(lines_of(1, false), 0);
	assert_int_equal(lab_last(&lab, 1)->code, 403);
	assert_int_equal(line_of(true)->code, 403);
	lab_finish(&lab);
}

/* When three quarters of the buffers are in use, no copy is begun. */
static void test_few_buffers(void **state)
{
	start(MIRRORED, LAB_HTTP, NULL);
	struct buf_pool *pool = &lab_worker(&lab, 0)->buffers;
	uint32_t before = pool->block_count;
	int client = dial();
	pool->block_count = pool->block_count_max * 3 / 4 + 1;
	say(client, GET("/1"));
	pool->block_count -= pool->block_count_max * 3 / 4 + 1 - before;
	lab_expect_holds(client, "shop:/1");
	assert_int_equal(VALUE(mirrors_dropped_total), 1);
	assert_int_equal(lines_of(1, true), 0);
	lab_finish(&lab);
}

/* --- plans, and the end --- */

/* The plan goes while it is gathered, and while it waits. */
static void test_a_copy_keeps_no_plan(void **state)
{
	start(MIRRORED, LAB_BY_HAND, NULL);
	int client = dial();
	say(client, "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc");
	replan(lab.objects);
	assert_int_equal(atomic_load(&lab.machines[0].plans[0]->holder_count), 0);
	fake_peer_send_text(client, "def");
	lab_pump(&lab);
	lab_expect_holds(mirror(), "\r\n\r\nabcdef");
	replan(NULL);
	assert_int_equal(atomic_load(&lab.machines[0].plans[1]->holder_count), 0);
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 1);
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 1);
	fake_peer_send_text(mirror(), OK);
	lab_pump(&lab);
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 0);
	assert_int_equal(line_of(true)->code, 200);
	lab_finish(&lab);
}

/* The address becomes an endpoint's own, which has no rules, while an upload waits to be sent
 * again, or a request is held back. */
static void replan_to_endpoint(void)
{
	lab.edits[0].to =
		" { name = \"orders\"; port = 8080; protocol = \"http\"; mtls = "
		"\"disabled\"; endpoints = ( { address = \"" LAB_OWN_ORDERS "\"; } ); },\n";
	lab.edits[2].to = "";
	replan(NULL);
}

static void test_an_address_that_becomes_an_endpoints(void **state)
{
	struct address shop = lab_deliver(LAB_SHOP), own = lab_address_of(LAB_OWN_ORDERS);
	own.port = 8080;
	start(MIRRORED, LAB_BY_HAND, "timeouts: { connect = \"1s\"; };\n");
	fake_connect_rule(&shop, FAKE_PENDING);
	int client = dial();
	say(client, "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 1);
	replan_to_endpoint();
	lab_run(&lab, 1100 * CLOCK_MS);
	say(client, "abc");
	lab_expect_holds(lab_connected(&own, 0), "\r\n\r\nabc");
	assert_int_equal(VALUE(mirrors_dropped_total), 1);
	lab_finish(&lab);
	start(ROUTES(RULE(TO_V2 "fault = { delay = \"1s\"; };")), LAB_BY_HAND, NULL);
	say(dial(), GET("/1"));
	replan_to_endpoint();
	lab_run(&lab, 1100 * CLOCK_MS);
	lab_expect_holds(lab_connected(&own, 0), "GET /1 ");
	assert_int_equal(VALUE(mirrors_dropped_total), 1);
	assert_int_equal(mirror(), -1);
	lab_finish(&lab);
}

/* A drain waits for it as long as its own time lasts. */
static void test_a_drain(void **state)
{
	start(MIRRORED, LAB_BY_HAND, "timeouts: { mirror = \"3s\"; drain = \"60s\"; };\n");
	int client = dial();
	say(client, GET("/1"));
	fake_peer_send_text(service(), OK);
	lab_pump(&lab);
	fake_peer_close(client);
	lab_drain(&lab, 0);
	lab_run(&lab, 2 * CLOCK_S);
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 1);
	assert_false(list_empty(&lab_worker(&lab, 0)->live));
	lab_run(&lab, 2 * CLOCK_S);
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 0);
	assert_true(list_empty(&lab_worker(&lab, 0)->live));
	lab_finish(&lab);
}

/* What is left at its end is cut, in whatever state. */
static void test_the_end_of_a_drain(void **state)
{
	start(MIRRORED, LAB_BY_HAND, "timeouts: { mirror = \"1h\"; drain = \"2s\"; };\n");
	int client = dial(), other = dial();
	say(client, GET("/1"));
	say(other, "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc");
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 2);
	lab_drain(&lab, 0);
	lab_run(&lab, 3 * CLOCK_S);
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 0);
	lab_finish(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_copy_is_as_the_request),
		cmocka_unit_test(test_a_copy_is_recorded_by_itself),
		cmocka_unit_test(test_the_percentage_is_exact),
		cmocka_unit_test(test_a_mirror_on_this_machine),
		cmocka_unit_test(test_a_copy_goes_by_its_value),
		cmocka_unit_test(test_connections_are_used_again),
		cmocka_unit_test(test_what_is_not_mirrored),
		cmocka_unit_test(test_a_delayed_request_is_mirrored_once),
		cmocka_unit_test(test_a_retry_is_mirrored_once),
		cmocka_unit_test(test_a_mirror_sees_whole_requests),
		cmocka_unit_test(test_bodies_up_to_the_limit),
		cmocka_unit_test(test_half_a_request_is_not_mirrored),
		cmocka_unit_test(test_no_fate_touches_the_caller),
		cmocka_unit_test(test_a_silent_mirror_is_given_up),
		cmocka_unit_test(test_a_mirror_that_is_away),
		cmocka_unit_test(test_a_mirror_that_is_unknown),
		cmocka_unit_test(test_an_answer_without_end),
		cmocka_unit_test(test_a_mirror_that_does_not_read),
		cmocka_unit_test(test_so_many_at_once),
		cmocka_unit_test(test_none_at_all),
		cmocka_unit_test(test_a_workload_near_its_limit),
		cmocka_unit_test(test_a_breaker),
		cmocka_unit_test(test_a_limit),
		cmocka_unit_test(test_a_limit_of_copies),
		cmocka_unit_test(test_a_refused_copy),
		cmocka_unit_test(test_few_buffers),
		cmocka_unit_test(test_a_copy_keeps_no_plan),
		cmocka_unit_test(test_an_address_that_becomes_an_endpoints),
		cmocka_unit_test(test_a_drain),
		cmocka_unit_test(test_the_end_of_a_drain),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
