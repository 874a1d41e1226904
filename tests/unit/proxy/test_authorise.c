/* SPDX-License-Identifier: Apache-2.0 */
/* What policy is asked, and what is told of its answer: of requests exactly as the server gets
 * them, on one machine and over the mesh, and of bytes that cannot be read. */
#include "far.h"
#include "mesh/header.h"
#include "proxy/authorise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET(path)	"GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define POLICIES(rules) "policies: ( " rules " );\n"

static struct lab lab;

static void start(const char *objects, const struct lab_edit *edits, enum lab_serving serving)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2,
				.objects = objects,
				.edits = edits,
				.serving = serving});
}

static void replan(uint32_t machine, const char *objects)
{
	lab.objects = objects;
	lab_replan(&lab, machine, NULL);
	lab_pump(&lab);
}

static void expect_decided(uint32_t machine, const char *policy, const char *where)
{
	assert_string_equal(lab_last(&lab, machine)->policy, policy);
	assert_string_equal(lab_last(&lab, machine)->where, where);
}

static uint64_t denied(uint32_t machine)
{
	return lab_values(&lab, machine)->policy_denied_total;
}

static uint64_t would(uint32_t machine)
{
	return lab_values(&lab, machine)->policy_would_deny_total;
}

/* HTTP and opaque, here and there: who is called, and whose machine decides. */
static const struct {
	enum lab_workload to;
	uint32_t there;
	const char *name;
} ways[] = {{LAB_SHOP, 0, "shop"}, {LAB_ORDERS, 1, "orders"}, {LAB_CACHE, 0, "cache"},
	{LAB_LEDGER, 1, "billing"}};

/* --- what is told --- */

static void test_the_rule_that_decided_is_told(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		start(POLICIES("{ name = \"in\"; service = [ \"shop\", \"orders\", \"cache\", "
			       "\"billing\" ]; action = \"allow\"; from = [ \"web\" ]; }"),
			NULL, LAB_HTTP);
		lab_ask(&lab, LAB_WEB, ways[i].to, GET("/"));
		uint32_t there = ways[i].there;
		lab_expect_reason(&lab, there, "NONE");
		expect_decided(there, "in", "objects.conf:1");
		int refused = lab_ask(&lab, LAB_BILLING, ways[i].to, GET("/"));
		if (i < 2)
			lab_expect_holds(refused, "HTTP/1.1 403 ");
		else
			assert_true(fake_peer_saw_reset(refused));
		lab_expect_reason(&lab, there, "POLICY_DENIED");
		if (ways[i].to == LAB_CACHE)
			expect_decided(there, "no-billing", "mesh.conf:11");
		else
			expect_decided(there, "default", "mesh.default_policy");
		assert_int_equal(denied(there), 1);
		lab_finish(&lab);
	}
}

static void test_which_default_is_told(void **state)
{
	static const struct lab_edit edits[LAB_EDITS_MAX] = {
		{"{ name = \"cache\"; port = 6379;",
			"{ name = \"cache\"; default_policy = \"deny\"; port = 6379;"},
		{"{ name = \"shop\"; port = 8081;",
			"{ name = \"shop\"; default_policy = \"authenticated\"; port = 8081;"}};
	start(NULL, edits, LAB_HTTP);
	lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/"));
	lab_expect_reason(&lab, 0, "NONE");
	expect_decided(0, "default", "services.default_policy");
	lab_ask(&lab, LAB_WEB, LAB_CACHE, "x");
	lab_expect_reason(&lab, 0, "POLICY_DENIED");
	expect_decided(0, "default", "services.default_policy");
	lab_ask(&lab, LAB_WEB, LAB_ORDERS, GET("/"));
	expect_decided(1, "default", "mesh.default_policy");
	/* the caller's machine decides nothing */
	expect_decided(0, "", "");
	lab_finish(&lab);
}

static void test_an_audit_rule_is_told(void **state)
{
	start(POLICIES("{ name = \"see\"; service = [ \"shop\", \"orders\" ]; action = \"audit\"; "
		       "paths = [ \"/a/*\" ]; }, { name = \"bytes\"; service = [ \"cache\", "
		       "\"billing\" ]; action = \"audit\"; }"),
		NULL, LAB_HTTP);
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		uint64_t before = lab_values(&lab, ways[i].there)->policy_noted_total;
		lab_ask(&lab, LAB_WEB, ways[i].to, GET("/a/b"));
		assert_string_equal(lab_last(&lab, ways[i].there)->noted, i < 2 ? "see" : "bytes");
		assert_int_equal(lab_values(&lab, ways[i].there)->policy_noted_total, before + 1);
		assert_string_equal(lab_last(&lab, ways[i].there)->details, "NONE");
	}
	lab_ask(&lab, LAB_WEB, LAB_SHOP, GET("/b"));
	assert_string_equal(lab_last(&lab, 0)->noted, "");
	assert_int_equal(denied(0) + would(0) + denied(1) + would(1), 0);
	lab_finish(&lab);
}

/* --- on trial --- */

static void test_a_rule_on_trial_lets_through_and_tells(void **state)
{
	start(POLICIES("{ name = \"try\"; service = [ \"shop\", \"orders\", \"cache\", \"billing\" "
		       "]; action = \"deny\"; mode = \"audit\"; from = [ \"web\" ]; }"),
		NULL, LAB_HTTP);
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		uint32_t there = ways[i].there;
		uint64_t before = would(there);
		lab_ask(&lab, LAB_WEB, ways[i].to, GET("/"));
		lab_expect_reason(&lab, there, "NONE");
		assert_string_equal(lab_last(&lab, there)->would_deny, "try");
		assert_int_equal(would(there), before + 1);
		if (ways[i].to == LAB_CACHE)
			continue; /* which billing may not */
		lab_ask(&lab, LAB_BILLING, ways[i].to, GET("/"));
		lab_expect_reason(&lab, there, "NONE");
		assert_string_equal(lab_last(&lab, there)->would_deny, "");
	}
	assert_int_equal(denied(0) + denied(1), 0);
	lab_finish(&lab);
}

/* The whole mesh on trial: policy lets everybody in, and mutual TLS whom it did before. */
static void test_a_mesh_on_trial(void **state)
{
	static const struct lab_edit edits[LAB_EDITS_MAX] = {{"default_policy = \"authenticated\"",
		"default_policy = \"deny\"; policy_mode = \"audit\""}};
	start(POLICIES("{ name = \"no\"; service = \"orders\"; action = \"deny\"; }"), edits,
		LAB_HTTP);
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		uint32_t there = ways[i].there;
		lab_ask(&lab, LAB_WEB, ways[i].to, GET("/"));
		lab_expect_reason(&lab, there, "NONE");
		assert_string_equal(lab_last(&lab, there)->would_deny,
			ways[i].to == LAB_ORDERS ? "no" : "default");
	}
	assert_int_equal(would(0), 2);
	assert_int_equal(would(1), 2);
	lab_say(&lab, lab_dial_plain(&lab, LAB_CACHE), "x");
	lab_expect_reason(&lab, 0, "PLAINTEXT");
	lab_ask(&lab, LAB_NOBODY, LAB_CACHE, "x");
	lab_expect_reason(&lab, 0, "UNATTRIBUTED");
	assert_int_equal(would(0), 2);
	assert_int_equal(denied(0) + denied(1), 0);
	lab_finish(&lab);
}

/* --- what cannot be read --- */

static const char *const unread[] = {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-x\r\n", "get / http/1.1\r\n\r\n",
	"\x00\x01\x02\x03"};

static void test_bytes_to_a_service_with_rules_about_paths(void **state)
{
	static const char *const rules[] = {
		"{ name = \"in\"; service = \"any\"; action = \"allow\"; from = [ \"web\" ]; }, { "
		"name = \"l7\"; service = \"any\"; action = \"allow\"; from = [ \"billing\" ]; "
		"paths = [ \"/x\" ]; }",
		"{ name = \"in\"; service = \"any\"; action = \"allow\"; from = [ \"web\" ]; }, { "
		"name = \"l7\"; service = \"any\"; action = \"deny\"; from = [ \"billing\" ]; "
		"not_methods = [ \"GET\" ]; }",
		"{ name = \"l7\"; service = \"any\"; action = \"deny\"; headers = ( { name = "
		"\"x-a\"; present = true; } ); }",
		"{ name = \"l7\"; service = \"any\"; action = \"allow\"; from = [ \"web\" ]; hosts "
		"= [ \"h\" ]; }"};
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		char objects[1024];
		snprintf(objects, sizeof(objects), POLICIES("%s"), rules[i]);
		start(objects, NULL, LAB_HTTP);
		for (size_t n = 0; n < ARRAY_LEN(unread); n++) {
			int client = lab_dial(&lab, LAB_WEB, LAB_ANY);
			fake_peer_send(client, unread[n], n == 4 ? 4 : strlen(unread[n]));
			lab_run(&lab, 5 * CLOCK_S); /* detection may wait for more */
			assert_true(fake_peer_saw_reset(client));
			lab_expect_reason(&lab, 0, "POLICY_NEEDS_HTTP");
			assert_string_equal(lab_last(&lab, 0)->policy, "l7");
			assert_int_equal(denied(0), n + 1);
		}
		assert_int_equal(lab_served(&lab, LAB_ANY, 0), -1);
		lab_expect_holds(lab_ask(&lab, LAB_WEB, LAB_ANY, GET("/x")), "any:/x");
		lab_finish(&lab);
	}
}

/* Whoever waits for the server to speak is told nothing, and so is who dials through the mesh. */
static void test_bytes_of_all_kinds(void **state)
{
	static const struct {
		enum lab_workload to;
		uint32_t there;
	} rows[] = {{LAB_MAIL, 0}, {LAB_CACHE, 0}, {LAB_LEDGER, 1}};
	start(POLICIES("{ name = \"l7\"; service = [ \"mail\", \"cache\", \"billing\" ]; action = "
		       "\"allow\"; from = [ \"web\" ]; methods = [ \"GET\" ]; }, { service = [ "
		       "\"mail\", \"cache\", \"billing\" ]; action = \"allow\"; from = [ \"web\" "
		       "]; }"),
		NULL, LAB_ECHO);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int client =
			lab_ask(&lab, LAB_WEB, rows[i].to, rows[i].to == LAB_MAIL ? "" : "GET");
		assert_true(fake_peer_saw_reset(client));
		assert_int_equal(lab_served(&lab, rows[i].to, 0), -1);
		lab_expect_reason(&lab, rows[i].there, "POLICY_NEEDS_HTTP");
	}
	lab_finish(&lab);
}

/* Plain words of a denial where the bytes are not the reason. */
static void test_bytes_of_one_who_may_nothing(void **state)
{
	start(POLICIES("{ name = \"no\"; service = \"any\"; action = \"deny\"; from = [ \"web\" ]; "
		       "}, { name = \"l7\"; service = \"any\"; action = \"allow\"; paths = [ "
		       "\"/\" ]; }"),
		NULL, LAB_ECHO);
	lab_ask(&lab, LAB_WEB, LAB_ANY, "SSH-2.0-x\r\n");
	lab_expect_reason(&lab, 0, "POLICY_DENIED");
	assert_string_equal(lab_last(&lab, 0)->policy, "no");
	lab_finish(&lab);
}

static void test_bytes_and_rules_that_are_not_in_force(void **state)
{
	start(POLICIES("{ name = \"see\"; service = \"any\"; action = \"audit\"; paths = [ \"/x\" "
		       "]; }"),
		NULL, LAB_ECHO);
	lab_expect_received(lab_ask(&lab, LAB_WEB, LAB_ANY, "SSH-2.0-x\r\n"), "SSH-2.0-x\r\n");
	assert_string_equal(lab_last(&lab, 0)->would_deny, "");
	replan(0, POLICIES("{ name = \"try\"; service = \"any\"; action = \"allow\"; mode = "
			   "\"audit\"; from = [ \"*\" ]; paths = [ \"/x\" ]; }"));
	lab_expect_received(lab_ask(&lab, LAB_WEB, LAB_ANY, "SSH-2.0-x\r\n"), "SSH-2.0-x\r\n");
	assert_string_not_equal(lab_last(&lab, 0)->would_deny, "");
	assert_int_equal(would(0), 1);
	assert_int_equal(denied(0), 0);
	lab_finish(&lab);
}

/* --- modes of ports --- */

static void test_a_mode_is_of_a_port(void **state)
{
	static const struct {
		const char *mtls, *plain, *nobody;
	} rows[] = {
		{"mtls = \"strict\"; mtls_ports = ( { port = 7100; mtls = \"permissive\"; } );",
			"NONE", "NONE"},
		{"mtls = \"strict\"; mtls_ports = ( { port = 7100; mtls = \"disabled\"; } );",
			"NONE", "NONE"},
		{"mtls = \"permissive\"; mtls_ports = ( { port = 7100; mtls = \"strict\"; } );",
			"PLAINTEXT", "UNATTRIBUTED"},
		{"mtls = \"strict\"; mtls_ports = ( { port = 7101; mtls = \"permissive\"; } );",
			"PLAINTEXT", "UNATTRIBUTED"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct lab_edit edits[LAB_EDITS_MAX] = {
			{"mtls = \"permissive\";", rows[i].mtls}};
		start(NULL, edits, LAB_ECHO);
		lab_say(&lab, lab_dial_plain(&lab, LAB_LOOSE), "x");
		lab_expect_reason(&lab, 0, rows[i].plain);
		lab_ask(&lab, LAB_NOBODY, LAB_LOOSE, "x");
		lab_expect_reason(&lab, 0, rows[i].nobody);
		lab_ask(&lab, LAB_WEB, LAB_LOOSE, "x");
		lab_expect_reason(&lab, 0, "NONE");
		lab_finish(&lab);
	}
}

/* In the plain nobody is seen, but here nothing goes over a wire. */
static void test_who_calls_here_is_known_in_the_plain(void **state)
{
	static const struct lab_edit edits[LAB_EDITS_MAX] = {
		{"mtls = \"permissive\";", "mtls = \"disabled\";"}};
	start(POLICIES("{ name = \"web\"; service = \"loose\"; action = \"allow\"; from = \"web\"; "
		       "}, { name = \"no-shop\"; service = \"loose\"; action = \"deny\"; from = "
		       "\"shop\"; }"),
		edits, LAB_ECHO);
	lab_ask(&lab, LAB_WEB, LAB_LOOSE, "x");
	lab_expect_reason(&lab, 0, "NONE");
	expect_decided(0, "web", "objects.conf:1");
	lab_ask(&lab, LAB_SHOP, LAB_LOOSE, "x");
	lab_expect_reason(&lab, 0, "POLICY_DENIED");
	expect_decided(0, "no-shop", "objects.conf:1");
	lab_finish(&lab);
}

/* What goes out to such a port is plain, and to the others it is not. */
static void test_a_mode_of_a_port_elsewhere(void **state)
{
	static const struct lab_edit edits[LAB_EDITS_MAX] = {{"mtls = \"disabled\";",
		"mtls = \"strict\"; mtls_ports = ( { port = 7200; mtls = \"disabled\"; } );"}};
	start(NULL, edits, LAB_ECHO);
	lab_ask(&lab, LAB_WEB, LAB_PLAIN, "x");
	struct address to = lab_address(LAB_PLAIN);
	assert_int_not_equal(lab_connected(&to, 0), -1);
	lab_finish(&lab);
}

/* --- as it is forwarded --- */

#define ORDERS_OWN "10.96.0.1"
#define SHOP_EDIT                                                                                  \
	{                                                                                          \
		" { name = \"shop\"; port = 8081; protocol = \"http\"; endpoints = ( { address = " \
		"\"10.77.0.1\"; } ); },\n",                                                        \
			" { name = \"shop\"; port = 8081; protocol = \"http\"; address = \""       \
			"10.96.0.2\"; endpoints = ( { address = \"10.77.0.1\"; } ); },\n"          \
	}
#define ORDERS_EDIT                                                                                \
	{                                                                                          \
		" { name = \"orders\"; port = 8080; protocol = \"http\"; endpoints = ( { address " \
		"= \"10.77.0.2\"; } ); },\n",                                                      \
			" { name = \"orders\"; port = 8080; protocol = \"http\"; address = "       \
			"\"10.96.0.1\"; endpoints = ( { address = \"10.77.0.2\"; } ); },\n"        \
	}
#define ROUTE                                                                                      \
	"routes: ( { service = \"%s\"; rules = ( { match = { path_prefix = \"/moved\"; }; "        \
	"rewrite = { "                                                                             \
	"prefix = \"/to\"; host = \"inside.example\"; }; request_headers = { set = ( { name = "    \
	"\"x-set\"; value = \"1\"; } ); add = ( { name = \"x-added\"; value = \"2\"; } ); remove " \
	"= [ \"x-gone\" ]; }; } ); } );\n"

static const char *const sent[] = {
	"GET /a/../b//c/%41?q=/../x HTTP/1.1\r\nHost: EXAMPLE.com.:8080\r\nx-request-id: 1\r\n\r\n",
	"GET http://A.Example./x?y HTTP/1.1\r\nHost: other\r\nX-Request-Id: 1\r\n\r\n",
	"GET http://a.example?y HTTP/1.1\r\nHost: other\r\nX-Request-Id: 1\r\n\r\n",
	"DELETE /%7Euser/./x/ HTTP/1.1\r\nHost: h\r\nX-Request-Id: 1\r\nX-One:  a b \r\nAccept: "
	"*/*\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 3\r\n\r\n",
	"POST /moved/x/../y HTTP/1.1\r\nHost: h\r\nX-Request-Id: 1\r\nX-Gone: secret\r\nX-Set: "
	"0\r\nX-Set: 00\r\nContent-Length: 3\r\n\r\nabc",
	"GET /moved HTTP/1.1\r\nHost: h\r\nX-Request-Id: 1\r\nX-Ringmain-Any: "
	"1\r\nx-forwarded-client-cert: URI=spiffe://prod.example/service/billing\r\n\r\n",
};

/* The line after `at` without its end; the rest is *ret_rest. */
static struct str line_at(struct str *rest)
{
	const char *end = memmem(rest->at, rest->len, "\r\n", 2);
	assert_non_null(end);
	struct str line = {rest->at, (size_t)(end - rest->at)};
	*rest = (struct str){end + 2, rest->len - line.len - 2};
	return line;
}

static void put(char *text, size_t size, const char *format, struct str value)
{
	size_t len = strlen(text);
	snprintf(text + len, size - len, format, (int)value.len, value.at);
}

/* A rule for exactly what the server got: its method, path, host and every header that rules may
 * ask for. */
static void rule_of(struct str got, const char *service, char *text, size_t size)
{
	struct str line = line_at(&got), host = STR("");
	const char *path = memchr(line.at, ' ', line.len);
	struct str method = {line.at, (size_t)(path - line.at)};
	path++;
	size_t path_len = strcspn(path, " ?");
	char headers[4096] = "";
	while ((line = line_at(&got)).len > 0) {
		const char *colon = memchr(line.at, ':', line.len);
		struct str name = {line.at, (size_t)(colon - line.at)};
		struct str value = {colon + 2, line.len - name.len - 2};
		if (str_eq_nocase(name, STR("host")))
			host = value;
		if (header_is_hop(name) || header_is_ours(name))
			continue;
		put(headers, sizeof(headers),
			headers[0] ? ", { name = \"%.*s\"; " : "{ name = \"%.*s\"; ", name);
		put(headers, sizeof(headers), "exact = \"%.*s\"; }", value);
	}
	size_t host_len = host.at[0] == '[' ? host.len : strcspn(host.at, ":\r");
	snprintf(text, size,
		"policies: ( { name = \"exactly\"; service = \"%s\"; action = \"allow\"; from = [ "
		"\"web\" ]; methods = [ \"%.*s\" ]; paths = [ \"%.*s\" ]; hosts = [ \"%.*s\" ]; "
		"headers = ( %s ); } );\n",
		service, (int)method.len, method.at, (int)path_len, path, (int)host_len, host.at,
		headers);
}

/* Sends each, sees what the server gets, allows exactly that and nothing else, and sends it again;
 * then everything but that. */
static void as_forwarded(enum lab_workload to, uint32_t there, const char *own, const char *service)
{
	static const struct lab_edit edits[LAB_EDITS_MAX] = {SHOP_EDIT, ORDERS_EDIT};
	char route[2048], objects[8192];
	struct address address = lab_address_of(own);
	address.port = lab_address(to).port;
	snprintf(route, sizeof(route), ROUTE, service);
	for (size_t i = 0; i < ARRAY_LEN(sent); i++) {
		start(route, edits, LAB_BY_HAND);
		int client = lab_dial_address(&lab, LAB_WEB, &address);
		lab_say(&lab, client, sent[i]);
		struct str got = fake_peer_received(lab_served(&lab, to, 0));
		size_t len = strlen(strcpy(objects, route));
		rule_of(got, service, objects + len, sizeof(objects) - len);
		lab.objects = objects;
		lab_replan(&lab, there, NULL);
		if (there == 1) {
			lab.objects = route;
			lab_replan(&lab, 0, NULL);
		}
		lab_pump(&lab);
		assert_int_equal(lab_alive(&lab, there, TASK_EXCHANGE), 1); /* it still runs */
		client = lab_dial_address(&lab, LAB_WEB, &address);
		lab_say(&lab, client, sent[i]);
		struct str again = fake_peer_received(lab_served(&lab, to, 1));
		got = fake_peer_received(lab_served(&lab, to, 0));
		assert_int_equal(again.len, got.len);
		assert_memory_equal(again.at, got.at, got.len);
		memcpy(strstr(objects, "\"allow\""), "\"deny\" ", 7);
		lab.objects = objects;
		lab_replan(&lab, there, NULL);
		lab_pump(&lab);
		lab_expect_reason(&lab, there, "POLICY_DENIED");
		assert_string_equal(lab_last(&lab, there)->policy, "exactly");
		client = lab_dial_address(&lab, LAB_WEB, &address);
		lab_say(&lab, client, sent[i]);
		lab_expect_holds(client, "HTTP/1.1 403 ");
		assert_int_equal(lab_served(&lab, to, 2), -1);
		lab_finish(&lab);
	}
}

static void test_what_is_judged_is_what_the_server_gets(void **state)
{
	as_forwarded(LAB_SHOP, 0, "10.96.0.2", "shop");
	as_forwarded(LAB_ORDERS, 1, "10.96.0.1", "orders");
}

/* Of a header that comes twice no value is passed over. */
static void test_every_value_of_a_header(void **state)
{
	static const char *const twice[] = {"X-Role: guest\r\nX-Role: admin\r\n",
		"X-Role: admin\r\nx-role: guest\r\n", "X-Role: admin, guest\r\n",
		"x-role: guest\r\nX-Other: 1\r\nX-ROLE: admin\r\n"};
	for (size_t i = 0; i < 2 * ARRAY_LEN(twice); i++) {
		char text[256];
		start(POLICIES(
			      "{ name = \"no\"; service = \"shop\"; action = \"deny\"; headers = "
			      "( { name = \"x-role\"; exact = \"guest\"; } ); }, { name = \"yes\"; "
			      "service = \"orders\"; action = \"allow\"; from = [ \"web\" ]; "
			      "headers = ( { name = \"x-role\"; exact = \"admin\"; } ); }"),
			NULL, LAB_HTTP);
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", twice[i / 2]);
		lab_expect_holds(lab_ask(&lab, LAB_WEB, i % 2 ? LAB_SHOP : LAB_ORDERS, text),
			"HTTP/1.1 403 ");
		lab_finish(&lab);
	}
}

/* --- our own headers --- */

static const char *const ours[] = {"X-Forwarded-Client-Cert: URI=spiffe://prod.example/service/ca",
	"x-FORWARDED-client-cert: URI=spiffe://prod.example/service/ca", "X-Ringmain-Mirror: ca",
	"X-Ringmain-Route: ca", "X-RINGMAIN-unsent: ca", "X-Ringmain-Reset: ca",
	"x-ringmain-overloaded: ca", "x-ringmain-identity: service/ca", "X-Ringmain-: service/ca"};

static void test_nobody_speaks_for_the_proxies(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		for (size_t n = 0; n < 2; n++) {
			char text[512];
			start(NULL, NULL, LAB_BY_HAND);
			snprintf(text, sizeof(text),
				"GET / HTTP/1.1\r\nHost: h\r\nX-Before: 1\r\n%s\r\nX-After: "
				"2\r\n\r\n",
				ours[i]);
			int client = lab_ask(&lab, LAB_WEB, ways[n].to, text);
			int server = lab_served(&lab, ways[n].to, 0);
			lab_expect_lacks(server, "ca\r\n");
			lab_expect_holds(server, "X-Before: 1\r\nX-After: 2\r\n");
			lab_expect_holds(server, ";URI=spiffe://prod.example/service/web\r\n");
			/* nor does a server */
			snprintf(text, sizeof(text),
				"HTTP/1.1 103 Early Hints\r\n%s\r\n\r\nHTTP/1.1 200 OK\r\n%s\r\n"
				"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n\r\n",
				ours[i], ours[i]);
			lab_say(&lab, server, text);
			lab_expect_holds(client, "HTTP/1.1 200 OK");
			lab_expect_lacks(client, "ca\r\n");
			lab_finish(&lab);
		}
	}
}

/* Without identity nothing says who called. */
static void test_nobody_speaks_for_the_proxies_in_the_plain(void **state)
{
	static const struct lab_edit edits[LAB_EDITS_MAX] = {
		{" { name = \"any\"; port = 9000; endpoints",
			" { name = \"any\"; port = 9000; mtls = \"permissive\"; endpoints"}};
	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		char text[512];
		start(POLICIES("{ service = \"any\"; action = \"allow\"; from = [ \"anonymous\" ]; "
			       "}"),
			edits, LAB_BY_HAND);
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", ours[i]);
		lab_say(&lab, lab_dial_plain(&lab, LAB_ANY), text);
		int server = lab_served(&lab, LAB_ANY, 0);
		lab_expect_holds(server, "GET / HTTP/1.1\r\n");
		lab_expect_lacks(server, "ca\r\n");
		lab_expect_lacks(server, "URI=");
		lab_finish(&lab);
	}
}

/* What comes after the body is none of what was judged: what it says of that goes no further, and
 * what it says of ours neither. */
static void test_trailers_change_nothing(void **state)
{
	for (size_t n = 0; n < 2; n++) {
		start(POLICIES("{ name = \"no\"; service = [ \"shop\", \"orders\" ]; action = "
			       "\"deny\"; headers = ( { name = \"x-role\"; exact = \"admin\"; "
			       "invert = true; } ); }"),
			NULL, LAB_BY_HAND);
		int client = lab_ask(&lab, LAB_WEB, ways[n].to,
			"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
			"0\r\nX-Role: admin\r\n\r\n");
		lab_expect_holds(client, "HTTP/1.1 403 ");
		client = lab_ask(&lab, LAB_WEB, ways[n].to,
			"POST / HTTP/1.1\r\nHost: h\r\nX-Role: admin\r\nTransfer-Encoding: "
			"chunked\r\n\r\n1\r\nx\r\n0\r\nX-Role: guest\r\nX-Ringmain-Route: "
			"ca\r\nX-Sum: 1\r\n\r\n");
		int server = lab_served(&lab, ways[n].to, 0);
		lab_expect_holds(server, "0\r\nX-Sum: 1\r\n\r\n");
		lab_expect_lacks(server, "guest");
		lab_expect_lacks(server, "ca\r\n");
		lab_finish(&lab);
	}
}

/* "X_Role" would be "X-Role" to many a server. */
static void test_twins_of_a_header_are_refused(void **state)
{
	start(NULL, NULL, LAB_HTTP);
	for (size_t n = 0; n < 2; n++) {
		int client = lab_ask(&lab, LAB_WEB, ways[n].to,
			"GET / HTTP/1.1\r\nHost: h\r\nX_Forwarded_Client_Cert: 1\r\n\r\n");
		lab_expect_holds(client, "HTTP/1.1 400 ");
		assert_int_equal(lab_served(&lab, ways[n].to, 0), -1);
	}
	lab_finish(&lab);
}

/* The mesh's list of names and the codec's are about the same names. */
static void test_one_list_of_hop_headers(void **state)
{
	static const char *const names[] = {"connection", "Content-Length", "expect", "HOST",
		"http2-settings", "keep-alive", "proxy-connection", "te", "trailer",
		"transfer-encoding", "upgrade", "x-request-id", "user-agent", "accept",
		"x-forwarded-client-cert", "x-ringmain-mirror", "x-ringmain-route", "x-ringmain",
		"x-forwarded-for", "x", ""};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct str name = str_of(names[i]);
		enum http_name id = http_name_of(name);
		assert_int_equal(header_is_hop(name), http_name_is_hop(id));
		assert_int_equal(header_is_ours(name), id == HTTP_NAME_CLIENT_CERT ||
							       id == HTTP_NAME_MIRROR ||
							       id == HTTP_NAME_ROUTE);
	}
}

/* --- denials --- */

/* That it may not, and nothing of the rules. */
static void test_a_denial_tells_no_rules(void **state)
{
	for (size_t n = 0; n < 2; n++) {
		start(POLICIES("{ name = \"secret-rule\"; service = [ \"shop\", \"orders\" ]; "
			       "action = \"deny\"; paths = [ \"/hidden/*\" ]; }"),
			NULL, LAB_HTTP);
		int client = lab_ask(&lab, LAB_WEB, ways[n].to, GET("/hidden/x"));
		lab_expect_holds(client, "HTTP/1.1 403 Forbidden\r\n");
		lab_expect_lacks(client, "secret-rule");
		lab_expect_lacks(client, "objects.conf");
		client = lab_ask(&lab, LAB_WEB, ways[n].to,
			"POST /hidden/Grpc HTTP/1.1\r\nHost: h\r\nContent-Type: "
			"application/grpc\r\nTE: trailers\r\nContent-Length: 0\r\n\r\n");
		lab_expect_holds(client, "Grpc-Status: 7\r\n");
		lab_expect_lacks(client, "secret-rule");
		lab_finish(&lab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_rule_that_decided_is_told),
		cmocka_unit_test(test_which_default_is_told),
		cmocka_unit_test(test_an_audit_rule_is_told),
		cmocka_unit_test(test_a_rule_on_trial_lets_through_and_tells),
		cmocka_unit_test(test_a_mesh_on_trial),
		cmocka_unit_test(test_bytes_to_a_service_with_rules_about_paths),
		cmocka_unit_test(test_bytes_of_all_kinds),
		cmocka_unit_test(test_bytes_of_one_who_may_nothing),
		cmocka_unit_test(test_bytes_and_rules_that_are_not_in_force),
		cmocka_unit_test(test_a_mode_is_of_a_port),
		cmocka_unit_test(test_who_calls_here_is_known_in_the_plain),
		cmocka_unit_test(test_a_mode_of_a_port_elsewhere),
		cmocka_unit_test(test_what_is_judged_is_what_the_server_gets),
		cmocka_unit_test(test_every_value_of_a_header),
		cmocka_unit_test(test_nobody_speaks_for_the_proxies),
		cmocka_unit_test(test_nobody_speaks_for_the_proxies_in_the_plain),
		cmocka_unit_test(test_trailers_change_nothing),
		cmocka_unit_test(test_twins_of_a_header_are_refused),
		cmocka_unit_test(test_one_list_of_hop_headers),
		cmocka_unit_test(test_a_denial_tells_no_rules),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
