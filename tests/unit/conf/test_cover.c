/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of rules that decide nothing is true: random rules, each of those that a warning
 * names taken away, and random requests, which must come to the same. */
#include "conf_fixture.h"

#include "conf/objects.h"
#include "mesh/policy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COVER_ROUNDS   1200
#define COVER_RULES    6
#define COVER_REQUESTS 150

static uint64_t cover_seed;

static unsigned cover_below(unsigned most)
{
	cover_seed = cover_seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(cover_seed >> 33) % most;
}

#define COVER_ANY(words) (words)[cover_below(ARRAY_LEN(words))]

/* One part of a rule, now and then; `key` with a word of the list. */
static size_t cover_part(char *text, size_t size, const char *key, const char *word, unsigned odds)
{
	if (cover_below(odds) != 0)
		return 0;
	return (size_t)snprintf(text, size, "%s = %s; ", key, word);
}

static void cover_rule(char *text, size_t size)
{
	static const char *const actions[] = {"\"allow\"", "\"deny\""};
	static const char *const from[] = {"\"*\"", "\"b\"", "\"shop/*\"", "\"shop/web\"",
		"\"anonymous\"", "\"10.0.0.0/8\"", "\"10.1.0.0/16\"", "[ \"b\", \"shop/web\" ]",
		"[ \"shop/*\", \"anonymous\" ]", "\"spiffe://x.example/*\""};
	static const char *const paths[] = {
		"\"/x/*\"", "\"/x/y\"", "\"/x/{id}\"", "[ \"/x/y\", \"/z\" ]", "\"*\"", "\"/x\""};
	static const char *const methods[] = {"\"GET\"", "[ \"GET\", \"PUT\" ]"};
	static const char *const ports[] = {"80", "[ 80, 81 ]"};
	static const char *const hosts[] = {"\"a.example\"", "\"*.example\""};
	static const char *const headers[] = {
		"( { name = \"h\"; exact = \"1\"; } )", "( { name = \"h\"; present = true; } )"};
	size_t len =
		(size_t)snprintf(text, size, "service = \"a\"; action = %s; ", COVER_ANY(actions));
	len += cover_part(text + len, size - len, "mode", "\"audit\"", 6);
	if (cover_below(6) != 0)
		len += cover_part(text + len, size - len, "from", COVER_ANY(from), 1);
	len += cover_part(text + len, size - len, "not_from", COVER_ANY(from), 8);
	len += cover_part(text + len, size - len, "paths", COVER_ANY(paths), 2);
	len += cover_part(text + len, size - len, "not_paths", COVER_ANY(paths), 8);
	len += cover_part(text + len, size - len, "methods", COVER_ANY(methods), 4);
	len += cover_part(text + len, size - len, "not_methods", COVER_ANY(methods), 10);
	len += cover_part(text + len, size - len, "ports", COVER_ANY(ports), 6);
	len += cover_part(text + len, size - len, "not_ports", COVER_ANY(ports), 12);
	len += cover_part(text + len, size - len, "hosts", COVER_ANY(hosts), 8);
	len += cover_part(text + len, size - len, "not_hosts", COVER_ANY(hosts), 12);
	len += cover_part(text + len, size - len, "headers", COVER_ANY(headers), 8);
	cover_part(text + len, size - len, "token", "{ }", 16);
}

static void cover_mesh(char *text, size_t size, char rules[COVER_RULES][512], unsigned left_out,
	bool is_permissive)
{
	size_t len = (size_t)snprintf(text, size,
		"services: ( { name = \"a\"; mtls = \"%s\"; }, { name = \"b\"; } ); policies: (\n",
		is_permissive ? "permissive" : "strict");
	const char *comma = "";
	for (unsigned i = 0; i < COVER_RULES; i++) {
		if (i == left_out)
			continue;
		len += (size_t)snprintf(
			text + len, size - len, "%s{ name = \"r%u\"; %s }", comma, i, rules[i]);
		comma = ",\n";
	}
	snprintf(text + len, size - len, " );\n");
}

/* --- requests --- */

struct cover_request {
	struct policy_request policy;
	struct route_request http;
	struct route_header headers[2];
	struct policy_token token;
};

static void cover_request(struct cover_request *q)
{
	static const char *const ids[] = {"", "", "spiffe://prod.example/service/b",
		"spiffe://prod.example/shop/web", "spiffe://prod.example/shop/till",
		"spiffe://x.example/shop/web", "spiffe://prod.example/service/c"};
	static const char *const clients[] = {"10.1.2.3", "10.2.2.3", "192.0.2.1"};
	static const char *const paths[] = {
		"/x/y", "/x", "/x/y/z", "/x/w", "/z", "/X/y", "/x/y;a=1", "/q"};
	static const char *const methods[] = {"GET", "PUT", "POST", "get"};
	static const char *const hosts[] = {"a.example", "b.example:80", "c", "A.example", ""};
	static const char *const values[] = {"1", "2", "1,2"};
	*q = (struct cover_request){.token = {.issuer = STR("i")}};
	q->policy.source_id = str_of(COVER_ANY(ids));
	if (cover_below(8) != 0)
		assert_true(address_parse(str_of(COVER_ANY(clients)), &q->policy.client));
	q->policy.port = (uint16_t)(80 + cover_below(3));
	q->policy.token = cover_below(3) == 0 ? &q->token : NULL;
	q->http = (struct route_request){.is_http = true,
		.method = str_of(COVER_ANY(methods)),
		.path = str_of(COVER_ANY(paths)),
		.authority = str_of(COVER_ANY(hosts)),
		.headers = q->headers,
		.header_bytes = sizeof(q->headers[0]),
		.header_count = cover_below(3)};
	for (unsigned i = 0; i < 2; i++)
		q->headers[i] = (struct route_header){STR("h"), str_of(COVER_ANY(values))};
	q->policy.http = cover_below(6) == 0 ? NULL : &q->http;
}

/* --- with and without --- */

static void cover_parse(struct fixture *f, const char *text, bool is_open)
{
	fixture_init(f);
	fixture_parse_good(f,
		is_open ? "node: { name = \"vm-a\"; address = \"10.77.0.1\"; };\nmesh: { "
			  "trust_domain = \"prod.example\"; default_policy = \"authenticated\"; "
			  "};\n"
			: FIXTURE_NODE,
		text);
}

static void cover_hold(const char *text, const char *rest, unsigned rule, bool never_allows)
{
	bool is_open = cover_below(2) == 0;
	struct fixture with, without;
	char name[8];
	snprintf(name, sizeof(name), "r%u", rule);
	cover_parse(&with, text, is_open);
	cover_parse(&without, rest, is_open);
	for (unsigned i = 0; i < COVER_REQUESTS; i++) {
		struct cover_request q;
		cover_request(&q);
		struct policy_verdict a = policy_check(
			with.snapshot, snapshot_service(with.snapshot, STR("a")), &q.policy);
		struct policy_verdict b = policy_check(
			without.snapshot, snapshot_service(without.snapshot, STR("a")), &q.policy);
		bool is_its = a.policy && str_eq(a.policy->name, str_of(name)) && a.allowed;
		if (never_allows ? is_its : a.allowed != b.allowed || a.would_deny != b.would_deny)
			fail_msg("%s\n%s decides about " STR_FMT " " STR_FMT " " STR_FMT, text,
				name, STR_ARG(q.policy.source_id), STR_ARG(q.http.method),
				STR_ARG(q.http.path));
	}
	fixture_done(&with);
	fixture_done(&without);
}

/* Returns how many rules were said to decide nothing. */
static unsigned cover_round(void)
{
	char rules[COVER_RULES][512], text[4096], rest[4096];
	bool is_permissive = cover_below(2) == 0;
	struct conf_report report;
	struct bundle b;
	struct err err;
	unsigned count = 0;
	for (unsigned i = 0; i < COVER_RULES; i++)
		cover_rule(rules[i], sizeof(rules[i]));
	cover_mesh(text, sizeof(text), rules, COVER_RULES, is_permissive);
	conf_report_init(&report);
	bundle_init(&b);
	assert_int_equal(bundle_add(&b, STR("mesh"), STR("x.conf"), str_of(text), &err), 0);
	if (conf_objects_check(&b, STR("prod.example"), &report) != 0)
		fail_msg("%s%s", text, report.text);
	for (unsigned i = 0; i < COVER_RULES; i++) {
		char nothing[64], never[64];
		snprintf(nothing, sizeof(nothing), "policies[%u]: decides nothing", i);
		snprintf(never, sizeof(never), "policies[%u]: never allows anything", i);
		bool is_nothing = report.text && strstr(report.text, nothing);
		bool is_never = report.text && strstr(report.text, never);
		if (!is_nothing && !is_never)
			continue;
		count++;
		cover_mesh(rest, sizeof(rest), rules, i, is_permissive);
		cover_hold(text, rest, i, is_never);
	}
	bundle_done(&b);
	conf_report_done(&report);
	return count;
}

static void test_what_is_said_is_true(void **state)
{
	unsigned count = 0;
	cover_seed = 7;
	for (unsigned i = 0; i < COVER_ROUNDS; i++)
		count += cover_round();
	assert_true(count > COVER_ROUNDS / 10);
}

/* --- paths that no request can have --- */

#define COVER_LONG 8000

static void cover_add(struct bundle *b, const char *kind, const char *name, const char *text)
{
	struct err err;
	assert_int_equal(bundle_add(b, str_of(kind), str_of(name), str_of(text), &err), 0);
}

/* A path longer than any other: an error, also of what stands in the store and was said before. */
static void test_a_path_of_any_length(void **state)
{
	char path[COVER_LONG + 1], text[2 * COVER_LONG + 512];
	struct conf_report standing, report;
	struct bundle b;
	memset(path, 'x', COVER_LONG);
	path[COVER_LONG] = '\0';
	snprintf(text, sizeof(text),
		"policies: ( { name = \"r\"; service = \"a\"; action = \"deny\"; from = \"b\"; "
		"paths = [ \"/%s\", \"/%s/*\" ]; } );\n",
		path, path);
	conf_report_init(&standing);
	conf_report_init(&report);
	bundle_init(&b);
	cover_add(&b, "object", "service/a (revision 1)", "services: ( { name = \"a\"; } );\n");
	cover_add(&b, "object", "service/b (revision 1)", "services: ( { name = \"b\"; } );\n");
	cover_add(&b, "object", "policy/r (revision 1)", text);
	assert_int_not_equal(conf_objects_check(&b, STR("prod.example"), &standing), 0);
	assert_non_null(strstr(standing.text, "policy/r (revision 1): paths"));
	report.known = &standing;
	assert_int_equal(conf_objects_check(&b, STR("prod.example"), &report), 0);
	assert_null(report.text);
	bundle_done(&b);
	conf_report_done(&report);
	conf_report_done(&standing);
}

/* What rules come to is not known while some of them are wrong. */
static void test_rules_are_not_compared_after_errors(void **state)
{
	struct conf_report report;
	struct bundle b;
	conf_report_init(&report);
	bundle_init(&b);
	cover_add(&b, "mesh", "x.conf",
		"services: ( { name = \"a\"; }, { name = \"b\"; } ); policies: (\n"
		"{ name = \"one\"; service = \"a\"; action = \"allow\"; from = \"b\"; },\n"
		"{ name = \"two\"; service = \"a\"; action = \"allow\"; from = \"b\"; },\n"
		"{ name = \"bad\"; service = \"a\"; action = \"deny\"; paths = \"x\"; } );\n");
	assert_int_not_equal(conf_objects_check(&b, STR("prod.example"), &report), 0);
	assert_non_null(strstr(report.text, "policies[2].paths"));
	assert_null(strstr(report.text, "decides nothing"));
	bundle_done(&b);
	conf_report_done(&report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_said_is_true),
		cmocka_unit_test(test_a_path_of_any_length),
		cmocka_unit_test(test_rules_are_not_compared_after_errors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
