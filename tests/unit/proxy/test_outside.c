/* SPDX-License-Identifier: Apache-2.0 */
/* What is outside of the mesh: which name leads where, who may, and what becomes of all else. */
#include "lab.h"

#include "codec/client_hello.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define OURS  "198.51.100.7"
#define OTHER "198.51.100.99"

#define AUDIT                                                               \
	{                                                                   \
		"user = \"web\"; ", "user = \"web\"; unknown = \"audit\"; " \
	}
#define ALLOW                                                               \
	{                                                                   \
		"user = \"web\"; ", "user = \"web\"; unknown = \"allow\"; " \
	}

static const char externals[] =
	"externals: ( { name = \"payments\"; hosts = [ \"api.payments.example\" ]; port = 443;\n"
	"   addresses = [ \"198.51.100.7\", \"198.51.101.0/24\" ]; from = [ \"web\" ]; },\n"
	" { name = \"cdn\"; hosts = [ \"*.cdn.example\" ]; port = 443; addresses = [ "
	"\"198.51.102.0/24\" ]; },\n"
	" { name = \"feed\"; hosts = [ \"feed.example\", \"news.feed.example\" ]; port = 80; tls = "
	"\"none\"; addresses = [ \"198.51.100.8\" ]; },\n"
	" { name = \"private\"; host = \"private.example\"; port = 80; tls = \"none\"; addresses = "
	"[ "
	"\"198.51.100.9\" ]; from = [ \"billing\" ]; },\n"
	" { name = \"wrapped\"; host = \"wrapped.example\"; port = 80; tls = \"originate\"; "
	"addresses = [ \"198.51.100.10\" ]; },\n"
	" { name = \"lost\"; host = \"lost.example\"; ports = [ 80, 443 ]; tls = \"none\"; },\n"
	" { name = \"sneak\"; host = \"sneak.example\"; port = 80; tls = \"none\"; addresses = [ "
	"\"10.77.0.0/16\", \"127.0.0.0/8\" ]; },\n"
	" { name = \"rows\"; port = 5432; tls = \"none\"; addresses = [ \"198.51.103.0/24\" ]; "
	"from = [ \"web\" ]; },\n"
	" { name = \"clock\"; port = 80; tls = \"none\"; addresses = [ \"169.254.169.254\" ]; } "
	");\n";

static struct lab lab;

static void start_with(const struct lab_edit *edits)
{
	lab_start(&lab, &(struct lab_options){.objects = externals, .edits = edits});
}

static void start(void)
{
	start_with(NULL);
}

static struct address at(const char *ip, uint16_t port)
{
	struct address a = lab_address_of(ip);
	a.port = port;
	return a;
}

static int dial(enum lab_workload who, const char *ip, uint16_t port)
{
	struct address to = at(ip, port);
	return lab_dial_address(&lab, who, &to);
}

static int connected(const char *ip, uint16_t port)
{
	struct address to = at(ip, port);
	return lab_connected(&to, 0);
}

static void say(int fd, const char *text)
{
	assert_int_not_equal(fd, -1);
	fake_peer_send_text(fd, text);
	lab_pump(&lab);
}

/* A ClientHello with this server name; "": none. */
static size_t hello(const char *name, uint8_t ret_bytes[512])
{
	size_t name_len = strlen(name);
	uint8_t message[512] = {[0] = 1, [4] = 3, [5] = 3};
	size_t len = 4 + 2 + 32;
	const uint8_t fixed[] = {0, 0, 2, 0x13, 1, 1, 0}; /* session, suites, compression */
	memcpy(message + len, fixed, sizeof(fixed));
	len += sizeof(fixed);
	size_t extensions = name_len > 0 ? name_len + 9 : 0;
	message[len++] = (uint8_t)(extensions >> 8);
	message[len++] = (uint8_t)extensions;
	if (name_len > 0) {
		const uint8_t head[] = {0, 0, 0, (uint8_t)(name_len + 5), 0,
			(uint8_t)(name_len + 3), 0, 0, (uint8_t)name_len};
		memcpy(message + len, head, sizeof(head));
		memcpy(message + len + sizeof(head), name, name_len);
		len += sizeof(head) + name_len;
	}
	message[2] = (uint8_t)((len - 4) >> 8);
	message[3] = (uint8_t)(len - 4);
	const uint8_t record[] = {22, 3, 1, (uint8_t)(len >> 8), (uint8_t)len};
	memcpy(ret_bytes, record, sizeof(record));
	memcpy(ret_bytes + sizeof(record), message, len);
	return len + sizeof(record);
}

/* Dials and greets; the bytes arrive in pieces of `step`. */
static int greet_by(enum lab_workload who, const char *ip, const char *name, size_t step)
{
	uint8_t bytes[512];
	size_t len = hello(name, bytes);
	int client = dial(who, ip, 443);
	lab_pump(&lab);
	for (size_t i = 0; i < len; i += step) {
		fake_peer_send(client, bytes + i, len - i < step ? len - i : step);
		lab_pump(&lab);
	}
	return client;
}

static int greet(enum lab_workload who, const char *ip, const char *name)
{
	return greet_by(who, ip, name, 512);
}

static void expect_refused(int client, const char *reason)
{
	lab_pump(&lab);
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, 0, reason);
	assert_int_equal(fake_opened_count(), 0);
}

/* --- by server name --- */

static void test_the_server_name_leads_to_our_address(void **state)
{
	static const size_t steps[] = {512, 7, 1};
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		uint8_t bytes[512];
		start();
		size_t len = hello("api.payments.example", bytes);
		greet_by(LAB_WEB, OTHER, "api.payments.example", steps[i]);
		assert_int_equal(connected(OTHER, 443), -1);
		int server = connected(OURS, 443);
		assert_int_not_equal(server, -1);
		struct str got = fake_peer_received(server); /* untouched */
		assert_int_equal(got.len, len);
		assert_memory_equal(got.at, bytes, len);
		assert_string_equal(lab_last(&lab, 0)->service, "payments");
		lab_finish(&lab);
	}
}

static void test_a_dialled_address_that_is_declared_is_kept(void **state)
{
	start();
	greet(LAB_WEB, "198.51.101.3", "API.payments.example");
	assert_int_not_equal(connected("198.51.101.3", 443), -1);
	lab_finish(&lab);
	start();
	greet(LAB_WEB, "198.51.102.3", "a.b.cdn.example"); /* a wildcard's */
	assert_int_not_equal(connected("198.51.102.3", 443), -1);
	lab_finish(&lab);
}

static void test_a_wildcard_leads_nowhere_else(void **state)
{
	start();
	expect_refused(greet(LAB_WEB, OTHER, "a.cdn.example"), "EXTERNAL_UNRESOLVED");
	lab_finish(&lab);
}

static void test_names_that_are_nobody_s(void **state)
{
	static const char *const names[] = {"", "cdn.example", "api.payments.example.evil.example",
		"xapi.payments.example", "payments.example", "127.0.0.1", OURS, "orders",
		"8080.orders.prod.example", "feed.example", "lost.example", "..", "*.cdn.example",
		"api.payments.example/", "api.payments.example:443"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		start();
		expect_refused(greet(LAB_WEB, OURS, names[i]), "UNKNOWN_DESTINATION");
		lab_finish(&lab);
	}
}

static void test_who_may(void **state)
{
	start();
	int client = greet(LAB_BILLING, OURS, "api.payments.example");
	expect_refused(client, "EXTERNAL_DENIED");
	assert_string_equal(lab_last(&lab, 0)->service, "payments");
	lab_finish(&lab);
	start();
	expect_refused(greet(LAB_NOBODY, OURS, "api.payments.example"), "UNATTRIBUTED");
	lab_finish(&lab);
}

/* What is no TLS has no name there, and takes what asks for TLS for nothing else. */
static void test_other_bytes_do_not_pass_for_tls(void **state)
{
	start();
	int client = dial(LAB_WEB, OURS, 443);
	say(client, "SSH-2.0-x\r\n");
	expect_refused(client, "UNKNOWN_DESTINATION");
	lab_finish(&lab);
	start();
	client = dial(LAB_WEB, OURS, 443);
	say(client, "GET / HTTP/1.1\r\nHost: api.payments.example\r\n\r\n");
	lab_expect_holds(client, "HTTP/1.1 403 ");
	assert_int_equal(fake_opened_count(), 0);
	lab_finish(&lab);
}

static void test_a_greeting_that_never_ends(void **state)
{
	uint8_t bytes[512];
	start();
	hello("api.payments.example", bytes);
	int client = dial(LAB_WEB, OURS, 443);
	fake_peer_send(client, bytes, 20);
	lab_run(&lab, 2 * CLOCK_S);
	expect_refused(client, "UNKNOWN_DESTINATION");
	lab_finish(&lab);
}

/* --- by host --- */

static const char feed_get[] = "GET /a HTTP/1.1\r\nHost: Feed.example.:80\r\n\r\n";

static void test_the_host_leads_to_our_address(void **state)
{
	start();
	int client = dial(LAB_WEB, OTHER, 80);
	say(client, feed_get);
	int server = connected("198.51.100.8", 80);
	lab_expect_holds(server, "GET /a HTTP/1.1\r\n");
	say(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	lab_expect_holds(client, "HTTP/1.1 200 OK");
	assert_string_equal(lab_last(&lab, 0)->service, "feed");
	lab_finish(&lab);
}

/* Each request is judged by itself, on a connection that has been let out before. */
static void test_another_host_on_the_same_connection(void **state)
{
	static const struct {
		const char *host, *status, *reason;
	} cases[] = {
		{"private.example", "HTTP/1.1 403 ", "EXTERNAL_DENIED"},
		{"nobody.example", "HTTP/1.1 403 ", "UNKNOWN_DESTINATION"},
		{"lost.example", "HTTP/1.1 503 ", "EXTERNAL_UNRESOLVED"},
		{"sneak.example", "HTTP/1.1 503 ", "EXTERNAL_UNRESOLVED"},
		{"api.payments.example", "HTTP/1.1 403 ", "UNKNOWN_DESTINATION"},
		{"127.0.0.1", "HTTP/1.1 403 ", "UNKNOWN_DESTINATION"},
		{"2130706433", "HTTP/1.1 403 ", "UNKNOWN_DESTINATION"},
		{"0x7f.1", "HTTP/1.1 403 ", "UNKNOWN_DESTINATION"},
		{"[::1]", "HTTP/1.1 403 ", "UNKNOWN_DESTINATION"},
		{"shop", "HTTP/1.1 403 ", "UNKNOWN_DESTINATION"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[200];
		start();
		int client = dial(LAB_WEB, OTHER, 80);
		say(client, feed_get);
		int server = connected("198.51.100.8", 80);
		say(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
		fake_peer_forget(client);
		snprintf(text, sizeof(text), "GET /b HTTP/1.1\r\nHost: %s\r\n\r\n", cases[i].host);
		say(client, text);
		lab_expect_holds(client, cases[i].status);
		lab_expect_reason(&lab, 0, cases[i].reason);
		lab_expect_lacks(server, "/b");
		assert_int_equal(fake_opened_count(), 1);
		fake_peer_forget(client); /* and what may goes on */
		say(client, "GET /c HTTP/1.1\r\nHost: news.feed.example\r\n\r\n");
		lab_expect_holds(server, "GET /c HTTP/1.1\r\n");
		lab_finish(&lab);
	}
}

/* The target is what is asked for, whatever a Host beside it says; and two of those are none. */
static void test_the_host_is_the_one_that_the_server_sees(void **state)
{
	start();
	int client = dial(LAB_WEB, OTHER, 80);
	say(client, "GET http://private.example/ HTTP/1.1\r\nHost: feed.example\r\n\r\n");
	lab_expect_holds(client, "HTTP/1.1 403 ");
	fake_peer_forget(client);
	say(client, "GET http://feed.example/x HTTP/1.1\r\nHost: private.example\r\n\r\n");
	lab_expect_holds(connected("198.51.100.8", 80), "Host: feed.example\r\n");
	lab_expect_lacks(connected("198.51.100.8", 80), "private");
	lab_finish(&lab);
	start();
	client = dial(LAB_WEB, OTHER, 80);
	say(client, "GET / HTTP/1.1\r\nHost: feed.example\r\nHost: private.example\r\n\r\n");
	lab_expect_holds(client, "HTTP/1.1 400 ");
	assert_int_equal(fake_opened_count(), 0);
	lab_finish(&lab);
}

/* What became of an upgrade has no further request: a new plan ends it. */
static void test_an_upgraded_connection_is_asked_again(void **state)
{
	start();
	int client = dial(LAB_WEB, OTHER, 80);
	say(client, "GET /ws HTTP/1.1\r\nHost: feed.example\r\nConnection: upgrade\r\n"
		    "Upgrade: websocket\r\n\r\n");
	int server = connected("198.51.100.8", 80);
	say(server, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
		    "Upgrade: websocket\r\n\r\n");
	say(server, "x");
	lab_replan(&lab, 0, NULL);
	say(server, "y");
	lab_expect_holds(client, "xy");
	lab.objects = "externals: ( { name = \"feed\"; host = \"feed.example\"; port = 80; tls = "
		      "\"none\"; addresses = [ \"198.51.100.8\" ]; from = [ \"billing\" ]; } );\n";
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	say(client, "z");
	lab_expect_reason(&lab, 0, "EXTERNAL_DENIED");
	assert_false(fake_is_open(client));
	lab_finish(&lab);
}

#define ONLY_BILLING                                                                 \
	"externals: ( { name = \"feed\"; host = \"feed.example\"; port = 80; tls = " \
	"\"none\"; addresses = [ \"198.51.100.8\" ]; from = [ \"billing\" ]; } );\n"

static void expect_cut(int client, const char *reason)
{
	lab_pump(&lab);
	assert_false(fake_is_open(client));
	lab_expect_reason(&lab, 0, reason);
}

/* So are requests that run: by name, by the address, and to what is unknown. */
static void test_a_running_request_is_asked_again(void **state)
{
	static const char stream[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	static const struct lab_edit edits[LAB_EDITS_MAX] = {ALLOW};
	for (int answered = 0; answered < 2; answered++) {
		start();
		int client = dial(LAB_WEB, OTHER, 80);
		say(client, feed_get);
		int server = connected("198.51.100.8", 80);
		if (answered)
			say(server, stream);
		lab_replan(&lab, 0, NULL);
		lab_pump(&lab);
		assert_true(fake_is_open(server));
		lab.objects = ONLY_BILLING;
		lab_replan(&lab, 0, NULL);
		lab_pump(&lab);
		if (!answered)
			lab_expect_holds(client, "HTTP/1.1 403 ");
		lab_expect_reason(&lab, 0, "EXTERNAL_DENIED");
		assert_false(fake_is_open(server));
		lab_finish(&lab);
	}
	start_with(edits);
	int client = dial(LAB_WEB, OTHER, 80);
	say(client, "GET /u HTTP/1.1\r\nHost: nobody.example\r\n\r\n");
	say(connected(OTHER, 80), stream);
	lab.edits[0].to = "user = \"web\"; unknown = \"refuse\"; ";
	lab_replan(&lab, 0, NULL);
	expect_cut(client, "UNKNOWN_DESTINATION");
	lab_finish(&lab);
}

/* And one that waits, when what it asked last would not be let out; not for what was refused. */
static void test_an_idle_session_to_the_outside_is_asked_again(void **state)
{
	start();
	int client = dial(LAB_WEB, OTHER, 80), other = dial(LAB_BILLING, OTHER, 80),
	    refused = dial(LAB_WEB, OTHER, 80);
	say(client, feed_get);
	say(connected("198.51.100.8", 80), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	say(other, feed_get);
	say(refused, "GET / HTTP/1.1\r\nHost: private.example\r\n\r\n");
	lab_expect_holds(refused, "HTTP/1.1 403 ");
	lab.objects = ONLY_BILLING;
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	assert_true(fake_peer_saw_end(client));
	assert_true(fake_is_open(other));
	assert_false(fake_peer_saw_end(refused));
	lab_finish(&lab);
}

static void test_pools_are_one_external_s(void **state)
{
	start();
	int client = dial(LAB_BILLING, OTHER, 80);
	say(client, feed_get);
	say(connected("198.51.100.8", 80), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	say(client, "GET /p HTTP/1.1\r\nHost: private.example\r\n\r\n");
	lab_expect_holds(connected("198.51.100.9", 80), "GET /p ");
	lab_expect_lacks(connected("198.51.100.8", 80), "/p");
	say(connected("198.51.100.9", 80), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	say(client, feed_get); /* the first connection again */
	assert_int_equal(fake_opened_count(), 2);
	lab_finish(&lab);
}

/* A name in a declared range that is the mesh's own, or this machine's, is no way in. */
static void test_no_way_into_the_mesh(void **state)
{
	static const char *const dialled[] = {"10.77.0.1", "10.77.0.2", "127.0.0.1"};
	for (size_t i = 0; i < ARRAY_LEN(dialled); i++) {
		start();
		int client = dial(LAB_WEB, dialled[i], 80);
		lab_pump(&lab);
		if (fake_is_open(client))
			say(client, "GET / HTTP/1.1\r\nHost: sneak.example\r\n\r\n");
		struct address ours = at(dialled[i], 80);
		if (i == 1) /* not known as a service's there: only what is declared counts */
			assert_int_equal(fake_opened_count(), 1);
		else
			assert_int_equal(lab_connected(&ours, 0), -1);
		lab_finish(&lab);
	}
}

/* --- looked up --- */

static void ask_lost(const char *const *hosts, const char *address)
{
	lab_start(&lab, &(struct lab_options){.objects = externals, .hosts = hosts});
	int client = dial(LAB_WEB, OTHER, 80);
	say(client, "GET /l HTTP/1.1\r\nHost: lost.example\r\n\r\n");
	if (address) {
		lab_expect_holds(connected(address, 80), "GET /l ");
	} else {
		lab_expect_holds(client, "HTTP/1.1 503 ");
		lab_expect_reason(&lab, 0, "EXTERNAL_UNRESOLVED");
		assert_int_equal(fake_opened_count(), 0);
	}
	lab_finish(&lab);
}

static void test_a_host_leads_to_what_it_was_looked_up_as(void **state)
{
	static const char *const other[] = {"other.example", "198.51.100.30", NULL};
	static const char *const found[] = {"lost.example", "2001:db8::1\n198.51.100.20", NULL};
	/* what whoever owns the name would like us to dial */
	static const char *const hostile[] = {"lost.example",
		"127.0.0.1\n10.77.0.1\n169.254.169.254\n0.0.0.0\n::1\nfe80::1\n224.0.0.1", NULL};
	ask_lost(other, NULL);
	ask_lost(found, "198.51.100.20");
	ask_lost(hostile, NULL);
}

/* A name that leads to a service of the mesh leads nowhere. */
static void test_a_host_does_not_lead_to_a_service(void **state)
{
	static const char *const hosts[] = {"lost.example", "10.77.0.2", NULL};
	lab_start(
		&lab, &(struct lab_options){
			      .objects = "externals: ( { name = \"lost\"; host = \"lost.example\"; "
					 "port = 8080; tls = \"none\"; } );\n",
			      .hosts = hosts});
	int client = dial(LAB_WEB, OTHER, 8080);
	say(client, "GET /l HTTP/1.1\r\nHost: lost.example\r\n\r\n");
	lab_expect_reason(&lab, 0, "EXTERNAL_UNRESOLVED");
	assert_int_equal(fake_opened_count(), 0);
	lab_finish(&lab);
}

/* --- an address that takes no connection --- */

#define FOUND(addresses)                                                                    \
	"externals: ( { name = \"found\"; host = \"found.example\"; ports = [ 80, 8000 ]; " \
	"tls = \"none\"; addresses = [ " addresses " ]; } );\n"
#define FIRST  "198.51.100.20"
#define SECOND "198.51.100.21"
#define THIRD  "198.51.100.22"
#define FOURTH "198.51.100.23"
#define SIXTH  "2001:db8::1"
#define TWO    "\"" FIRST "\", \"" SECOND "\""

#define ORIGINATED                                                                     \
	"externals: ( { name = \"found\"; host = \"found.example\"; port = 80; tls = " \
	"\"originate\"; addresses = [ " TWO " ]; } );\n"

static const char found_get[] = "GET /f HTTP/1.1\r\nHost: found.example\r\n\r\n";
static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static void start_found(const char *objects)
{
	lab_start(&lab, &(struct lab_options){.objects = objects});
}

static void rule(const char *ip, uint16_t port, int result)
{
	struct address a = at(ip, port);
	fake_connect_rule(&a, result);
}

/* Whatever the workload dialled: what it asks for is the name. */
static void test_another_address_takes_what_one_does_not(void **state)
{
	static const char *const looked_up[] = {"lost.example", FIRST "\n" SECOND, NULL};
	for (int i = 0; i < 2; i++) {
		if (i == 0)
			start_found(FOUND(TWO));
		else
			lab_start(&lab,
				&(struct lab_options){.objects = externals, .hosts = looked_up});
		rule(FIRST, 80, -ECONNREFUSED);
		int client = dial(LAB_WEB, FIRST, 80);
		say(client, i == 0 ? found_get : "GET /f HTTP/1.1\r\nHost: lost.example\r\n\r\n");
		say(connected(SECOND, 80), ok);
		lab_expect_received(client, ok);
		assert_int_equal(lab_last(&lab, 0)->attempts, 2);
		assert_int_equal(fake_opened_count(), 2);
		lab_finish(&lab);
	}
}

/* Where nobody takes it, the next request of the same client asks all of them anew. */
static void test_the_next_request_looks_for_an_address_again(void **state)
{
	start_found(FOUND(TWO));
	rule(FIRST, 80, -ECONNREFUSED);
	rule(SECOND, 80, -EHOSTUNREACH);
	int client = dial(LAB_WEB, FIRST, 80);
	say(client, found_get);
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_FAILED");
	assert_int_equal(fake_opened_count(), 2);
	rule(SECOND, 80, 0);
	struct address second = at(SECOND, 80);
	for (uint32_t i = 0; i < 2; i++) { /* and stays at what took it */
		fake_peer_forget(client);
		say(client, found_get);
		say(lab_connected(&second, 1), ok);
		lab_expect_received(client, ok);
		assert_int_equal(fake_opened_count(), 4);
	}
	rule(FIRST, 80, 0);
	fake_peer_reset(lab_connected(&second, 1));
	lab_pump(&lab);
	say(client, found_get);
	assert_int_not_equal(lab_connected(&second, 2), -1);
	lab_finish(&lab);
}

/* All of them together have the time of one connect. */
static void test_silent_addresses_share_the_time(void **state)
{
	start_found(FOUND(TWO));
	rule(FIRST, 80, FAKE_PENDING);
	int client = dial(LAB_WEB, FIRST, 80);
	say(client, found_get);
	assert_int_equal(fake_opened_count(), 1);
	lab_run(&lab, 3 * CLOCK_S);
	say(connected(SECOND, 80), ok);
	lab_expect_received(client, ok);
	lab_finish(&lab);

	start_found(FOUND(TWO ", \"" THIRD "\", \"" FOURTH "\""));
	fake_connect_rule(NULL, FAKE_PENDING);
	client = dial(LAB_WEB, FIRST, 80);
	say(client, found_get);
	lab_run(&lab, 4 * CLOCK_S);
	lab_expect_received(client, "");
	lab_run(&lab, 2 * CLOCK_S);
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_TIMEOUT");
	assert_int_equal(fake_opened_count(), CALL_TRIES_MAX);
	lab_finish(&lab);

	start_found(FOUND("\"" FIRST "\"")); /* whoever is alone has all of it */
	fake_connect_rule(NULL, FAKE_PENDING);
	client = dial(LAB_WEB, FIRST, 80);
	say(client, found_get);
	lab_run(&lab, 4 * CLOCK_S);
	lab_expect_received(client, "");
	lab_run(&lab, 2 * CLOCK_S);
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_TIMEOUT");
	assert_int_equal(fake_opened_count(), 1);
	lab_finish(&lab);
}

/* A family that there is no way for must not use up all tries. */
static void test_families_take_turns(void **state)
{
	start_found(FOUND("\"" FIRST "\", \"" SECOND "\", \"" THIRD "\", \"" SIXTH "\""));
	fake_connect_rule(NULL, -ENETUNREACH);
	rule(SIXTH, 80, 0);
	int client = dial(LAB_WEB, FIRST, 80);
	say(client, found_get);
	say(connected(SIXTH, 80), ok);
	lab_expect_received(client, ok);
	assert_int_equal(fake_opened_count(), 2);
	lab_finish(&lab);
}

/* What has been taken is not asked elsewhere: nobody knows what became of it. */
static void test_what_was_sent_is_not_sent_elsewhere(void **state)
{
	start_found(FOUND(TWO));
	int client = dial(LAB_WEB, FIRST, 80);
	say(client, found_get);
	fake_peer_reset(connected(FIRST, 80));
	lab_pump(&lab);
	lab_expect_holds(client, "HTTP/1.1 503 ");
	assert_int_equal(fake_opened_count(), 1);
	lab_finish(&lab);
}

static void test_tls_of_the_workload_goes_to_another_address(void **state)
{
	uint8_t bytes[512];
	size_t len = hello("found.example", bytes);
	start_found("externals: ( { name = \"found\"; host = \"found.example\"; port = 443;\n"
		    "   addresses = [ " TWO " ]; } );\n");
	rule(FIRST, 443, -ECONNREFUSED);
	greet(LAB_WEB, FIRST, "found.example");
	int server = connected(SECOND, 443);
	assert_int_not_equal(server, -1);
	struct str got = fake_peer_received(server);
	assert_int_equal(got.len, len);
	assert_memory_equal(got.at, bytes, len);
	lab_finish(&lab);
}

/* Without a name it is the address that is meant. */
static void test_bytes_without_a_name_go_nowhere_else(void **state)
{
	start_found(FOUND(TWO));
	rule(FIRST, 80, -ECONNREFUSED);
	int client = dial(LAB_WEB, FIRST, 80);
	say(client, "\x01\x02\x03");
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_FAILED");
	assert_int_equal(fake_opened_count(), 1);
	lab_finish(&lab);
}

/* Of the time that others wait for, a handshake may use all. */
static void test_a_slow_handshake_keeps_its_address(void **state)
{
	X509 *const roots[] = {lab_mesh_certs()->root.certificate, NULL};
	char *pem = certs_pem(roots);
	lab_start(&lab, &(struct lab_options){.objects = ORIGINATED, .outside = pem});
	int client = dial(LAB_WEB, FIRST, 80);
	say(client, found_get);
	int server = connected(FIRST, 443);
	assert_int_not_equal(server, -1);
	assert_int_not_equal(fake_peer_received(server).len, 0);
	lab_run(&lab, 4 * CLOCK_S);
	lab_expect_received(client, "");
	lab_run(&lab, 2 * CLOCK_S);
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_TIMEOUT");
	assert_int_equal(fake_opened_count(), 1);
	lab_finish(&lab);
	/* one that was refused begins elsewhere */
	lab_start(&lab, &(struct lab_options){.objects = ORIGINATED, .outside = pem});
	rule(FIRST, 443, -ECONNREFUSED);
	say(dial(LAB_WEB, FIRST, 80), found_get);
	server = connected(SECOND, 443);
	assert_int_not_equal(server, -1);
	assert_int_not_equal(fake_peer_received(server).len, 0);
	lab_finish(&lab);
	free(pem);
}

#define OF_BILLING                                                               \
	"externals: ( { name = \"found\"; host = \"found.example\"; port = 80; " \
	"tls = \"none\"; addresses = [ " TWO " ]; from = [ \"billing\" ]; } );\n"

/* What is declared while one address is asked is what the next try goes by. */
static void test_a_plan_that_comes_between_two_tries(void **state)
{
	X509 *const roots[] = {lab_mesh_certs()->root.certificate, NULL};
	char *pem = certs_pem(roots);
	const struct {
		const char *objects, *reason, *to; /* either of the two */
		uint16_t port;
		const char *began;
	} cases[] = {
		{OF_BILLING, "EXTERNAL_DENIED", NULL, 0, NULL},
		{NULL, "NO_SERVICE", NULL, 0, NULL},
		{externals, "UNKNOWN_DESTINATION", NULL, 0, NULL},
		{FOUND("\"" FIRST "\""), "UPSTREAM_CONNECT_FAILED", NULL, 0, NULL},
		{FOUND("\"" THIRD "\""), NULL, THIRD, 80, "GET /f"},
		{ORIGINATED, NULL, SECOND, 443, "\x16\x03\x01"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		lab_start(&lab, &(struct lab_options){.objects = FOUND(TWO), .outside = pem});
		rule(FIRST, 80, FAKE_PENDING);
		rule(FIRST, 443, -ECONNREFUSED);
		say(dial(LAB_WEB, FIRST, 80), found_get);
		lab.objects = cases[i].objects;
		lab_replan(&lab, 0, NULL);
		rule(FIRST, 80, -ECONNREFUSED);
		lab_pump(&lab);
		if (cases[i].reason) {
			lab_expect_reason(&lab, 0, cases[i].reason);
			assert_int_equal(connected(SECOND, 80), -1);
		} else {
			int server = connected(cases[i].to, cases[i].port);
			assert_int_not_equal(server, -1);
			lab_expect_holds(server, cases[i].began);
		}
		lab_finish(&lab);
	}
	free(pem);
}

#define AT_8080(name)                                                                           \
	"externals: ( { name = \"" name "\"; host = \"" name ".example\"; port = 8080; tls = " \
	"\"none\"; addresses = [ \"" FIRST "\" ]; } );\n"

/* A service's address is none any more while one of its endpoints is asked: what the name leads to
 * outside then has its own time to take the connection. */
static void test_a_service_that_becomes_an_external(void **state)
{
	const struct address vip = at(LAB_OWN_ORDERS, 8080);
	lab_start(&lab,
		&(struct lab_options){.objects = AT_8080("other"), .edits = lab_two_versions});
	fake_connect_rule(NULL, FAKE_PENDING);
	int client = lab_dial_address(&lab, LAB_WEB, &vip);
	say(client, found_get);
	lab.edits[0].to = lab.edits[0].from;
	lab.objects = AT_8080("found");
	lab_replan(&lab, 0, NULL);
	rule(FIRST, 8080, FAKE_PENDING);
	fake_connect_rule(NULL, -ECONNREFUSED);
	lab_run(&lab, CLOCK_S);
	lab_expect_received(client, "");
	rule(FIRST, 8080, 0);
	lab_pump(&lab);
	say(connected(FIRST, 8080), ok);
	lab_expect_received(client, ok);
	lab_finish(&lab);
}

/* --- by address --- */

static void test_an_address_alone(void **state)
{
	start();
	int client = dial(LAB_WEB, "198.51.103.9", 5432);
	lab_pump(&lab);
	int server = connected("198.51.103.9", 5432); /* nothing is waited for */
	assert_int_not_equal(server, -1);
	say(server, "welcome");
	lab_expect_received(client, "welcome");
	assert_string_equal(lab_last(&lab, 0)->service, "rows");
	lab_finish(&lab);
	start();
	expect_refused(dial(LAB_BILLING, "198.51.103.9", 5432), "EXTERNAL_DENIED");
	lab_finish(&lab);
	start();
	expect_refused(dial(LAB_WEB, "198.51.104.9", 5432), "NO_SERVICE");
	lab_finish(&lab);
}

/* Bytes without a name, at an address that is declared for one. */
static void test_bytes_without_a_name(void **state)
{
	start();
	int client = dial(LAB_WEB, "198.51.100.8", 80);
	say(client, "\x01\x02\x03");
	lab_expect_received(connected("198.51.100.8", 80), "\x01\x02\x03");
	assert_string_equal(lab_last(&lab, 0)->service, "feed");
	lab_finish(&lab);
	start();
	client = dial(LAB_WEB, "198.51.100.9", 80);
	say(client, "\x01\x02\x03");
	expect_refused(client, "EXTERNAL_DENIED");
	lab_finish(&lab);
}

/* An address of the machine's own link is reached only by being declared. */
static void test_declared_addresses_of_the_link(void **state)
{
	static const struct lab_edit edits[LAB_EDITS_MAX] = {ALLOW};
	start();
	dial(LAB_WEB, "169.254.169.254", 80);
	lab_pump(&lab);
	assert_int_not_equal(connected("169.254.169.254", 80), -1);
	lab_finish(&lab);
	start_with(edits);
	expect_refused(dial(LAB_WEB, "169.254.169.253", 8080), "NO_SERVICE");
	lab_finish(&lab);
}

/* --- something unknown --- */

static void test_unknown_destinations_by_mode(void **state)
{
	static const struct lab_edit audit[LAB_EDITS_MAX] = {AUDIT}, allow[LAB_EDITS_MAX] = {ALLOW};
	start();
	expect_refused(dial(LAB_WEB, OTHER, 9999), "NO_SERVICE");
	lab_finish(&lab);
	start_with(audit);
	dial(LAB_WEB, OTHER, 9999);
	lab_pump(&lab);
	assert_int_not_equal(connected(OTHER, 9999), -1);
	assert_int_equal(lab_values(&lab, 0)->unknown_audited_total, 1);
	assert_string_equal(lab_last(&lab, 0)->outside, "audited");
	lab_finish(&lab);
	start_with(allow);
	dial(LAB_WEB, OTHER, 9999);
	lab_pump(&lab);
	assert_int_not_equal(connected(OTHER, 9999), -1);
	assert_int_equal(lab_values(&lab, 0)->unknown_audited_total, 0);
	assert_string_equal(lab_last(&lab, 0)->outside, "allowed");
	lab_finish(&lab);
	start_with(allow); /* the mode is the workload's */
	expect_refused(dial(LAB_BILLING, OTHER, 9999), "NO_SERVICE");
	lab_finish(&lab);
}

static void test_the_node_s_mode(void **state)
{
	static const struct lab_edit edits[LAB_EDITS_MAX] = {
		{"redirect: { ", "redirect: { unknown = \"allow\"; "},
		{"user = \"billing\"; ", "user = \"billing\"; unknown = \"refuse\"; "}};
	start_with(edits);
	dial(LAB_WEB, OTHER, 9999);
	lab_pump(&lab);
	assert_int_not_equal(connected(OTHER, 9999), -1);
	lab_finish(&lab);
	start_with(edits);
	expect_refused(dial(LAB_BILLING, OTHER, 9999), "NO_SERVICE");
	lab_finish(&lab);
}

static void test_what_no_mode_lets_out(void **state)
{
	static const struct lab_edit allow[LAB_EDITS_MAX] = {ALLOW};
	static const struct {
		const char *ip;
		uint16_t port;
	} cases[] = {{"127.0.0.1", 9999}, {"10.77.0.1", 22}, {"10.77.0.1", 15000},
		{"10.77.0.2", 15008}, {OTHER, 15008}, {"10.77.0.2", 15101}, {"10.77.0.2", 15216},
		{"169.254.169.254", 8080}, {"168.63.129.16", 32526}, {"0.0.0.0", 9999},
		{"224.0.0.1", 9999}, {"255.255.255.255", 9999}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		start_with(allow);
		expect_refused(dial(LAB_WEB, cases[i].ip, cases[i].port), "NO_SERVICE");
		lab_finish(&lab);
	}
}

/* The machine got the address after the plan was made: nobody could know it. */
static void test_an_address_that_is_ours_by_now(void **state)
{
	static const struct lab_edit allow[LAB_EDITS_MAX] = {ALLOW};
	static const struct {
		const char *ip;
		uint16_t port;
	} cases[] = {{OTHER, 9999}, {"198.51.103.9", 5432}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct address to = at(cases[i].ip, cases[i].port);
		start_with(allow);
		fake_connect_rule(&to, FAKE_PENDING);
		int client = dial(LAB_WEB, cases[i].ip, cases[i].port);
		lab_pump(&lab);
		int server = fake_opened(0);
		fake_set_local(server, &to);
		fake_connect_rule(&to, 0);
		lab_pump(&lab);
		assert_true(fake_peer_saw_reset(client));
		assert_false(fake_is_open(server));
		lab_expect_reason(&lab, 0, "EXTERNAL_UNRESOLVED");
		lab_finish(&lab);
	}
}

/* Whom an external does not name is not let in by not saying its name. */
static void test_unknown_is_no_way_around_from(void **state)
{
	static const struct lab_edit audit[LAB_EDITS_MAX] = {
		{"user = \"billing\"; ", "user = \"billing\"; unknown = \"audit\"; "}};
	start_with(audit);
	expect_refused(greet(LAB_BILLING, OURS, ""), "EXTERNAL_DENIED");
	lab_finish(&lab);
	start_with(audit);
	expect_refused(greet(LAB_BILLING, OURS, "nobody.example"), "EXTERNAL_DENIED");
	lab_finish(&lab);
	start_with(audit);
	greet(LAB_BILLING, OTHER, "nobody.example");
	assert_int_not_equal(connected(OTHER, 443), -1);
	lab_finish(&lab);
}

/* Nor where the proxy would begin TLS for others. */
static void test_unknown_is_no_way_around_the_port_of_tls(void **state)
{
	static const struct lab_edit audit[LAB_EDITS_MAX] = {
		{"user = \"billing\"; ", "user = \"billing\"; unknown = \"audit\"; "}};
	static const struct {
		const char *more;
		uint16_t port;
		bool is_there;
	} cases[] = {{"", 443, true}, {"", 80, true}, {"", 8443, false},
		{"port_tls = 8443;", 8443, true}, {"port_tls = 8443;", 443, false}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char objects[300];
		snprintf(objects, sizeof(objects),
			"externals: ( { name = \"vault\"; host = \"vault.example\"; port = 80; tls "
			"= "
			"\"originate\"; addresses = [ \"198.51.100.7\" ]; from = [ \"web\" ]; %s } "
			");\n",
			cases[i].more);
		lab_start(&lab, &(struct lab_options){.objects = objects, .edits = audit});
		int client = dial(LAB_BILLING, OURS, cases[i].port);
		say(client, "\x01\x02\x03"); /* where there are names, it says none */
		if (cases[i].is_there)
			expect_refused(client, "EXTERNAL_DENIED");
		else
			assert_int_not_equal(connected(OURS, cases[i].port), -1);
		lab_finish(&lab);
	}
}

/* An idle connection out is a caller's own, and goes when he may not use it any more, whoever else
 * of this machine may. */
static void test_an_idle_connection_is_of_one_caller(void **state)
{
	static const struct lab_edit both[LAB_EDITS_MAX] = {
		ALLOW, {"user = \"billing\"; ", "user = \"billing\"; unknown = \"allow\"; "}};
	static const char get[] = "GET /u HTTP/1.1\r\nHost: nobody.example\r\n\r\n";
	const struct address there = at(OTHER, 80);
	start_with(both);
	int clients[] = {dial(LAB_WEB, OTHER, 80), dial(LAB_BILLING, OTHER, 80)};
	for (uint32_t i = 0; i < 2; i++) {
		say(clients[i], get);
		say(lab_connected(&there, i), ok);
	}
	lab.edits[0].to = "user = \"web\"; unknown = \"refuse\"; ";
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	assert_false(fake_is_open(lab_connected(&there, 0)));
	assert_true(fake_is_open(lab_connected(&there, 1)));
	lab_finish(&lab);
}

/* Endpoints of services stay the mesh's. */
static void test_services_stay_services(void **state)
{
	static const struct lab_edit allow[LAB_EDITS_MAX] = {ALLOW};
	start_with(allow);
	lab_dial(&lab, LAB_WEB, LAB_LEDGER);
	lab_pump(&lab);
	assert_int_not_equal(connected("10.77.0.2", 15008), -1);
	assert_int_equal(connected("10.77.0.2", 7000), -1);
	lab_finish(&lab);
}

/* Where names decide, a name that is nobody's is something unknown, and goes where it wanted to. */
static void test_unknown_names_by_mode(void **state)
{
	static const struct lab_edit audit[LAB_EDITS_MAX] = {AUDIT};
	start_with(audit);
	greet(LAB_WEB, OTHER, "nobody.example");
	assert_int_not_equal(connected(OTHER, 443), -1);
	assert_string_equal(lab_last(&lab, 0)->outside, "audited");
	lab_finish(&lab);
	start_with(audit);
	int client = dial(LAB_WEB, OTHER, 80);
	say(client, "GET /u HTTP/1.1\r\nHost: nobody.example\r\n\r\n");
	lab_expect_holds(connected(OTHER, 80), "GET /u ");
	say(connected(OTHER, 80), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(lab_values(&lab, 0)->unknown_audited_total, 1);
	say(client, "GET /p HTTP/1.1\r\nHost: private.example\r\n\r\n"); /* a refusal stays one */
	lab_expect_reason(&lab, 0, "EXTERNAL_DENIED");
	lab_finish(&lab);
}

/* --- TLS that begins here --- */

static void test_tls_begins_with_the_name(void **state)
{
	char name[CLIENT_HELLO_NAME_MAX + 1];
	size_t len;
	X509 *const roots[] = {lab_mesh_certs()->root.certificate, NULL};
	char *pem = certs_pem(roots);
	lab_start(&lab, &(struct lab_options){.objects = externals, .outside = pem});
	int client = dial(LAB_WEB, OTHER, 80);
	say(client, "GET / HTTP/1.1\r\nHost: wrapped.example\r\n\r\n");
	int server = connected("198.51.100.10", 443); /* the port of TLS */
	assert_int_not_equal(server, -1);
	struct str got = fake_peer_received(server);
	assert_int_equal(
		client_hello_read((const uint8_t *)got.at, got.len, name, &len), CLIENT_HELLO_DONE);
	assert_string_equal(name, "wrapped.example");
	const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 70}; /* protocol_version */
	fake_peer_send(server, alert, sizeof(alert));
	lab_pump(&lab);
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "VERSION");
	lab_finish(&lab);
	free(pem);
}

static void test_no_tls_without_authorities(void **state)
{
	start();
	int client = dial(LAB_WEB, OTHER, 80);
	say(client, "GET / HTTP/1.1\r\nHost: wrapped.example\r\n\r\n");
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "EXTERNAL_NO_ROOTS");
	lab_finish(&lab);
}

/* --- what the log says of how it travelled --- */

static void expect_security(const char *security)
{
	assert_string_equal(lab_last(&lab, 0)->security, security);
	lab_finish(&lab);
}

/* Nothing is claimed of what was never made: refused, not taken, or not proved. */
static void test_the_log_says_how_it_travelled(void **state)
{
	static const struct lab_edit allow[LAB_EDITS_MAX] = {ALLOW};
	X509 *const roots[] = {lab_mesh_certs()->root.certificate, NULL};
	char *pem = certs_pem(roots);
	start();
	greet(LAB_WEB, OURS, "api.payments.example");
	expect_security("passthrough");
	start();
	greet(LAB_BILLING, OURS, "api.payments.example");
	expect_security("");
	start();
	say(dial(LAB_WEB, OTHER, 80), feed_get);
	say(connected("198.51.100.8", 80), ok);
	expect_security("plaintext");
	start();
	rule("198.51.100.8", 80, -ECONNREFUSED);
	say(dial(LAB_WEB, OTHER, 80), feed_get);
	lab_expect_reason(&lab, 0, "UPSTREAM_CONNECT_FAILED");
	expect_security("");
	start();
	say(dial(LAB_WEB, OTHER, 80), "GET / HTTP/1.1\r\nHost: private.example\r\n\r\n");
	expect_security("");
	start_with(allow);
	dial(LAB_WEB, OTHER, 9999);
	lab_pump(&lab);
	expect_security("none");
	lab_start(&lab, &(struct lab_options){.objects = ORIGINATED, .outside = pem});
	say(dial(LAB_WEB, FIRST, 80), found_get);
	fake_peer_reset(connected(FIRST, 443)); /* in its handshake */
	lab_pump(&lab);
	lab_expect_reason(&lab, 0, "UPSTREAM_HANDSHAKE_FAILED");
	expect_security("");
	free(pem);
}

/* And what is declared meanwhile is for the next request. */
static void test_the_log_says_how_it_began_to_travel(void **state)
{
	start();
	int client = dial(LAB_WEB, OTHER, 80);
	say(client, feed_get);
	int server = connected("198.51.100.8", 80);
	say(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
	lab.objects = "externals: ( { name = \"feed\"; host = \"feed.example\"; port = 80; tls = "
		      "\"originate\"; port_tls = 80; addresses = [ \"198.51.100.8\" ]; } );\n";
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	say(server, "ok");
	lab_expect_received(client, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	expect_security("plaintext");
}

/* --- under a newer plan --- */

static void test_a_new_plan_ends_what_it_does_not_allow(void **state)
{
	start();
	int client = greet(LAB_WEB, OTHER, "api.payments.example");
	assert_int_not_equal(connected(OURS, 443), -1);
	lab_replan(&lab, 0, NULL); /* the same again */
	lab_pump(&lab);
	assert_false(fake_peer_saw_reset(client));
	lab.objects = "externals: ( { name = \"payments\"; host = \"api.payments.example\"; port = "
		      "443; addresses = [ \"198.51.100.7\" ]; from = [ \"billing\" ]; } );\n";
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, 0, "EXTERNAL_DENIED");
	lab_finish(&lab);
}

static void test_a_connection_outlives_its_address(void **state)
{
	start();
	int client = greet(LAB_WEB, OTHER, "api.payments.example");
	lab.objects = "externals: ( { name = \"payments\"; host = \"api.payments.example\"; port = "
		      "443; addresses = [ \"198.51.100.77\" ]; } );\n";
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	assert_false(fake_peer_saw_reset(client));
	say(connected(OURS, 443), "x");
	lab_expect_received(client, "x");
	greet(LAB_WEB, OTHER, "api.payments.example"); /* the next one goes to the new one */
	assert_int_not_equal(connected("198.51.100.77", 443), -1);
	lab_finish(&lab);
}

/* Else each answer of a resolver that turns them round would leave a plan behind. */
static void test_a_connection_follows_each_plan(void **state)
{
	start();
	int client = greet(LAB_WEB, OTHER, "api.payments.example");
	for (int i = 0; i < 4; i++) {
		char objects[300];
		snprintf(objects, sizeof(objects),
			"externals: ( { name = \"payments\"; host = \"api.payments.example\"; port "
			"= "
			"443; %s } );\n",
			i == 3	 ? ""
			: i == 2 ? "addresses = [ \"198.51.100.72\" ];"
			: i == 1 ? "addresses = [ \"198.51.100.71\" ];"
				 : "addresses = [ \"198.51.100.70\" ];");
		lab.objects = objects;
		lab_replan(&lab, 0, NULL);
		lab_pump(&lab);
		assert_int_equal(atomic_load(&lab.machines[0].plans[i]->holder_count), 0);
	}
	assert_false(fake_peer_saw_reset(client));
	say(connected(OURS, 443), "x");
	lab_expect_received(client, "x");
	lab_finish(&lab);
}

/* A download of hours, of a host that is found elsewhere meanwhile, and then nowhere. */
static void test_a_running_request_follows_each_plan(void **state)
{
	static const char *const looked_up[][3] = {{"lost.example", FIRST, NULL},
		{"lost.example", SECOND, NULL}, {"lost.example", THIRD, NULL}, {NULL}};
	static const char get[] = "GET /l HTTP/1.1\r\nHost: lost.example\r\n\r\n";
	lab_start(&lab, &(struct lab_options){.objects = externals, .hosts = looked_up[0]});
	int client = dial(LAB_WEB, OTHER, 80);
	say(client, get);
	int server = connected(FIRST, 80);
	say(server, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
	for (uint32_t i = 1; i < ARRAY_LEN(looked_up); i++) {
		lab.hosts = looked_up[i];
		lab_replan(&lab, 0, NULL);
		lab_pump(&lab);
		assert_int_equal(atomic_load(&lab.machines[0].plans[i - 1]->holder_count), 0);
		say(server, "x");
	}
	say(server, "y");
	lab_expect_holds(client, "\r\n\r\nxxxy");
	fake_peer_forget(client);
	say(client, get); /* the next one is for the plan of now */
	lab_expect_holds(client, "HTTP/1.1 503 ");
	lab_expect_reason(&lab, 0, "EXTERNAL_UNRESOLVED");
	lab_finish(&lab);
}

#define NAMED_9999                                                                     \
	"externals: ( { name = \"feed\"; host = \"feed.example\"; port = 9999; tls = " \
	"\"none\"; addresses = [ \"198.51.100.8\" ]; } );\n"

/* Nobody asked them for a name when they began: it is the address that is asked about. */
static void test_bytes_that_began_before_there_were_names(void **state)
{
	static const struct lab_edit edits[LAB_EDITS_MAX] = {ALLOW};
	start_with(edits);
	int client = dial(LAB_WEB, OTHER, 9999);
	lab_pump(&lab);
	lab.objects = NAMED_9999;
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	assert_int_equal(atomic_load(&lab.machines[0].plans[0]->holder_count), 0);
	say(connected(OTHER, 9999), "x");
	lab_expect_received(client, "x");
	lab.edits[0].to = "user = \"web\"; unknown = \"refuse\"; ";
	lab_replan(&lab, 0, NULL);
	expect_cut(client, "UNKNOWN_DESTINATION");
	lab_finish(&lab);
}

/* Requests to somewhere unknown are not one external's business. */
static void test_requests_outlive_the_last_name_of_their_port(void **state)
{
	static const struct lab_edit edits[LAB_EDITS_MAX] = {ALLOW};
	static const char get[] = "GET /u HTTP/1.1\r\nHost: nobody.example\r\n\r\n";
	start_with(edits);
	int client = dial(LAB_WEB, OTHER, 80);
	say(client, get);
	say(connected(OTHER, 80), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
	lab.objects = NULL;
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
	assert_int_equal(atomic_load(&lab.machines[0].plans[0]->holder_count), 0);
	say(connected(OTHER, 80), "ok");
	lab_expect_received(client, ok);
	fake_peer_forget(client);
	say(client, get);
	say(connected(OTHER, 80), ok);
	lab_expect_received(client, ok);
	lab_finish(&lab);
}

static void test_requests_follow_a_new_plan(void **state)
{
	start();
	int client = dial(LAB_WEB, OTHER, 80);
	say(client, feed_get);
	say(connected("198.51.100.8", 80), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	lab.objects = "externals: ( { name = \"feed\"; host = \"feed.example\"; port = 80; tls = "
		      "\"none\"; addresses = [ \"198.51.100.8\" ]; from = [ \"billing\" ]; } );\n";
	lab_replan(&lab, 0, NULL);
	fake_peer_forget(client);
	say(client, feed_get);
	lab_expect_holds(client, "HTTP/1.1 403 ");
	lab_expect_reason(&lab, 0, "EXTERNAL_DENIED");
	lab_finish(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_server_name_leads_to_our_address),
		cmocka_unit_test(test_a_dialled_address_that_is_declared_is_kept),
		cmocka_unit_test(test_a_wildcard_leads_nowhere_else),
		cmocka_unit_test(test_names_that_are_nobody_s),
		cmocka_unit_test(test_who_may),
		cmocka_unit_test(test_other_bytes_do_not_pass_for_tls),
		cmocka_unit_test(test_a_greeting_that_never_ends),
		cmocka_unit_test(test_the_host_leads_to_our_address),
		cmocka_unit_test(test_another_host_on_the_same_connection),
		cmocka_unit_test(test_the_host_is_the_one_that_the_server_sees),
		cmocka_unit_test(test_an_upgraded_connection_is_asked_again),
		cmocka_unit_test(test_a_running_request_is_asked_again),
		cmocka_unit_test(test_an_idle_session_to_the_outside_is_asked_again),
		cmocka_unit_test(test_pools_are_one_external_s),
		cmocka_unit_test(test_no_way_into_the_mesh),
		cmocka_unit_test(test_a_host_leads_to_what_it_was_looked_up_as),
		cmocka_unit_test(test_a_host_does_not_lead_to_a_service),
		cmocka_unit_test(test_another_address_takes_what_one_does_not),
		cmocka_unit_test(test_the_next_request_looks_for_an_address_again),
		cmocka_unit_test(test_silent_addresses_share_the_time),
		cmocka_unit_test(test_families_take_turns),
		cmocka_unit_test(test_what_was_sent_is_not_sent_elsewhere),
		cmocka_unit_test(test_tls_of_the_workload_goes_to_another_address),
		cmocka_unit_test(test_bytes_without_a_name_go_nowhere_else),
		cmocka_unit_test(test_a_slow_handshake_keeps_its_address),
		cmocka_unit_test(test_a_plan_that_comes_between_two_tries),
		cmocka_unit_test(test_a_service_that_becomes_an_external),
		cmocka_unit_test(test_an_address_alone),
		cmocka_unit_test(test_bytes_without_a_name),
		cmocka_unit_test(test_declared_addresses_of_the_link),
		cmocka_unit_test(test_unknown_destinations_by_mode),
		cmocka_unit_test(test_the_node_s_mode),
		cmocka_unit_test(test_what_no_mode_lets_out),
		cmocka_unit_test(test_an_address_that_is_ours_by_now),
		cmocka_unit_test(test_unknown_is_no_way_around_from),
		cmocka_unit_test(test_unknown_is_no_way_around_the_port_of_tls),
		cmocka_unit_test(test_an_idle_connection_is_of_one_caller),
		cmocka_unit_test(test_services_stay_services),
		cmocka_unit_test(test_unknown_names_by_mode),
		cmocka_unit_test(test_tls_begins_with_the_name),
		cmocka_unit_test(test_no_tls_without_authorities),
		cmocka_unit_test(test_the_log_says_how_it_travelled),
		cmocka_unit_test(test_the_log_says_how_it_began_to_travel),
		cmocka_unit_test(test_a_new_plan_ends_what_it_does_not_allow),
		cmocka_unit_test(test_a_connection_outlives_its_address),
		cmocka_unit_test(test_a_connection_follows_each_plan),
		cmocka_unit_test(test_a_running_request_follows_each_plan),
		cmocka_unit_test(test_bytes_that_began_before_there_were_names),
		cmocka_unit_test(test_requests_outlive_the_last_name_of_their_port),
		cmocka_unit_test(test_requests_follow_a_new_plan),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
