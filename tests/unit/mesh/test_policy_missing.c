/* SPDX-License-Identifier: Apache-2.0 */
/* Each thing that a rule may ask for, and the request that does not have it: then no rule allows by
 * it, and every rule denies by it, with an index of the rules and without one. */
#include "mesh/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define WEB "spiffe://td/service/web"

/* What of a request is not there. */
enum missing {
	MISSING_NOTHING,
	MISSING_PORT,	 /* of a connection that is not settled */
	MISSING_HTTP,	 /* opaque bytes, or what cannot be read */
	MISSING_HOST,	 /* HTTP/1.0 */
	MISSING_TOKEN,	 /* none, not good any more, or of keys that did not come */
	MISSING_CALLER,	 /* no identity */
	MISSING_ADDRESS, /* nor whence it comes */
};

static struct str list_methods[] = {{"GET", 3}}, list_other_methods[] = {{"DELETE", 6}};
static struct str list_hosts[] = {{"shop.example", 12}},
		  list_other_hosts[] = {{"internal.example", 16}};
static struct route_path list_paths[] = {{ROUTE_PATH_PREFIX, {"/public", 7}, NULL}};
static struct route_path list_other_paths[] = {{ROUTE_PATH_EXACT, {"/admin", 6}, NULL}};
static uint16_t list_ports[] = {8080}, list_other_ports[] = {9090};
static struct source list_web[] = {{SOURCE_ID, {"web", 3}, {WEB, sizeof(WEB) - 1}, {{0}}}};
static struct source list_partner[] = {{SOURCE_UNDER, {"x", 1}, {"spiffe://partner/", 17}, {{0}}}};
static struct source list_anybody[] = {{SOURCE_ANY, {"*", 1}, {NULL, 0}, {{0}}}};
static struct source list_range[1], list_other_range[1];
static struct source list_nobody[] = {{SOURCE_ANONYMOUS, {"anonymous", 9}, {NULL, 0}, {{0}}}};
static struct route_field list_team[] = {{{"x-team", 6}, ROUTE_TEXT_EXACT, {"a", 1}, false}};
static struct route_field list_not_role[] = {{{"x-role", 6}, ROUTE_TEXT_EXACT, {"admin", 5}, true}};
static struct str list_issuers[] = {{"corp", 4}}, list_audiences[] = {{"orders", 6}};
static struct route_field list_claims[] = {{{"team", 4}, ROUTE_TEXT_EXACT, {"a", 1}, false}};
static struct route_field list_not_claims[] = {{{"team", 4}, ROUTE_TEXT_EXACT, {"b", 1}, true}};

/* Rules that match the whole request, and what has to be missing for nobody to know. */
static const struct missing_row {
	const char *name;
	enum missing missing[3]; /* up to MISSING_NOTHING */
	bool is_nobodys;	 /* of a caller without identity */
	struct policy rule;
} missing_rows[] = {
	{"ports", {MISSING_PORT}, false, {.to = {.ports = list_ports, .port_count = 1}}},
	{"not_ports", {MISSING_PORT}, false,
		{.not_to = {.ports = list_other_ports, .port_count = 1}}},
	{"methods", {MISSING_HTTP}, false, {.to = {.methods = list_methods, .method_count = 1}}},
	{"not_methods", {MISSING_HTTP}, false,
		{.not_to = {.methods = list_other_methods, .method_count = 1}}},
	{"paths", {MISSING_HTTP}, false, {.to = {.paths = list_paths, .path_count = 1}}},
	{"not_paths", {MISSING_HTTP}, false,
		{.not_to = {.paths = list_other_paths, .path_count = 1}}},
	{"hosts", {MISSING_HTTP, MISSING_HOST}, false,
		{.to = {.hosts = list_hosts, .host_count = 1}}},
	{"not_hosts", {MISSING_HTTP, MISSING_HOST}, false,
		{.not_to = {.hosts = list_other_hosts, .host_count = 1}}},
	{"headers", {MISSING_HTTP}, false, {.headers = {list_team, 1}}},
	{"headers, inverted", {MISSING_HTTP}, false, {.headers = {list_not_role, 1}}},
	{"token", {MISSING_TOKEN}, false, {.token = {.is_wanted = true}}},
	{"token of issuers", {MISSING_TOKEN}, false,
		{.token = {.is_wanted = true, .issuers = list_issuers, .issuer_count = 1}}},
	{"token for audiences", {MISSING_TOKEN}, false,
		{.token = {.is_wanted = true, .audiences = list_audiences, .audience_count = 1}}},
	{"claims", {MISSING_TOKEN}, false,
		{.token = {.is_wanted = true, .claims = {list_claims, 1}}}},
	{"claims, inverted", {MISSING_TOKEN}, false,
		{.token = {.is_wanted = true, .claims = {list_not_claims, 1}}}},
	{"from an id", {MISSING_CALLER}, false, {.from = list_web, .from_count = 1}},
	{"from anybody", {MISSING_CALLER}, false, {.from = list_anybody, .from_count = 1}},
	{"not_from others", {MISSING_CALLER}, false,
		{.not_from = list_partner, .not_from_count = 1}},
	{"from a range", {MISSING_ADDRESS}, true, {.from = list_range, .from_count = 1}},
	{"not_from a range", {MISSING_ADDRESS}, true,
		{.from = list_nobody,
			.from_count = 1,
			.not_from = list_other_range,
			.not_from_count = 1}},
};

static const struct route_header request_headers[] = {{{"x-team", 6}, {"a", 1}}};
static const struct policy_claim request_claims[] = {
	{{"aud", 3}, {"orders", 6}}, {{"team", 4}, {"a", 1}}};
static const struct policy_token request_token = {
	.issuer = {"corp", 4}, .subject = {"ann", 3}, .claims = request_claims, .claim_count = 2};

static struct address client_address(const char *text)
{
	struct address a;
	assert_true(address_parse(str_of(text), &a));
	return a;
}

/* As many rules as an index needs, which have to do with nobody, come after the row's own. */
#define OTHERS 8

/* Allowed or not, which must be the same with an index. */
static bool ask(const struct policy *rules, uint32_t count, enum missing missing, bool is_nobodys)
{
	struct route_request http = {.is_http = true,
		.method = STR("GET"),
		.path = STR("/public/x"),
		.authority = STR("shop.example"),
		.headers = request_headers,
		.header_bytes = sizeof(request_headers[0]),
		.header_count = 1};
	struct policy_request request = {.source_id = STR(WEB),
		.client = client_address("10.0.0.1"),
		.port = 8080,
		.http = &http,
		.token = &request_token};
	if (missing == MISSING_PORT)
		request.port = 0;
	if (missing == MISSING_HTTP)
		request.http = NULL;
	if (missing == MISSING_HOST)
		http.authority = STR("");
	if (missing == MISSING_TOKEN)
		request.token = NULL;
	if (missing == MISSING_CALLER || is_nobodys)
		request.source_id = STR("");
	if (missing == MISSING_ADDRESS)
		request.client = (struct address){0};

	struct policy nobody = {.action = POLICY_AUDIT,
		.from = list_nobody,
		.from_count = 1,
		.not_from = list_nobody,
		.not_from_count = 1};
	struct policy *pointers[4 + OTHERS];
	for (uint32_t i = 0; i < count + OTHERS; i++)
		pointers[i] = i < count ? (struct policy *)&rules[i] : &nobody;
	struct str id = STR("spiffe://td/service/orders");
	struct snapshot s = {.trust_domain = STR("td"), .default_allow = true};
	struct service service = {.name = STR("orders"),
		.ids = &id,
		.id_count = 1,
		.policies = pointers,
		.policy_count = count};
	bool allowed = policy_check(&s, &service, &request).allowed; /* no memory for an index */
	arena_init(&s.arena, 1u << 16);
	service.policy_count += OTHERS;
	assert_true(policy_index_build(&s, &service));
	assert_non_null(service.policy_index);
	assert_int_equal(policy_check(&s, &service, &request).allowed, allowed);
	assert_int_equal(policy_check_each(&s, &service, &request).allowed, allowed);
	arena_done(&s.arena);
	return allowed;
}

static int ranges_setup(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct source *source = i ? list_other_range : list_range;
		*source = (struct source){.kind = SOURCE_RANGE,
			.entry = i ? STR("192.168.0.0/16") : STR("10.0.0.0/8")};
		assert_true(address_range_parse(source->entry, &source->range));
	}
	return 0;
}

static void test_nothing_is_allowed_by_what_is_missing(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(missing_rows); i++) {
		const struct missing_row *row = &missing_rows[i];
		struct policy rule = row->rule;
		rule.action = POLICY_ALLOW;
		if (!ask(&rule, 1, MISSING_NOTHING, row->is_nobodys))
			fail_msg("%s: does not allow what it is about", row->name);
		for (size_t j = 0; row->missing[j] != MISSING_NOTHING; j++) {
			if (ask(&rule, 1, row->missing[j], row->is_nobodys))
				fail_msg("%s: allowed without", row->name);
		}
	}
}

static void test_what_is_missing_is_denied(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(missing_rows); i++) {
		const struct missing_row *row = &missing_rows[i];
		struct policy rules[] = {row->rule, {.action = POLICY_ALLOW},
			{.action = POLICY_ALLOW, .from = list_nobody, .from_count = 1}};
		rules[0].action = POLICY_DENY;
		for (size_t j = 0; row->missing[j] != MISSING_NOTHING; j++) {
			if (ask(rules, 3, row->missing[j], row->is_nobodys))
				fail_msg("%s: not denied without", row->name);
		}
	}
}

/* A header that is not there is known not to be: it allows nothing, and is what no rule about
 * another value of it means. */
static void test_header_that_is_not_there(void **state)
{
	static struct route_field wanted[] = {{{"x-key", 5}, ROUTE_TEXT_EXACT, {"k", 1}, false}};
	static struct route_field others[] = {{{"x-key", 5}, ROUTE_TEXT_EXACT, {"k", 1}, true}};
	struct policy allow = {.action = POLICY_ALLOW, .headers = {wanted, 1}};
	struct policy deny[] = {
		{.action = POLICY_DENY, .headers = {others, 1}}, {.action = POLICY_ALLOW}};
	assert_false(ask(&allow, 1, MISSING_NOTHING, false));
	assert_false(ask(deny, 2, MISSING_NOTHING, false));
}

/* Of a header with more commas than are worth looking at nobody knows whether a part is so: that
 * allows nothing, and is denied. */
static void test_header_of_too_many_parts(void **state)
{
	static struct route_field wanted[] = {{{"x-key", 5}, ROUTE_TEXT_EXACT, {"k", 1}, false}};
	static char commas[4096];
	struct route_header header = {STR("x-key"), {commas, 0}};
	struct route_request http = {.is_http = true,
		.method = STR("GET"),
		.path = STR("/"),
		.headers = &header,
		.header_bytes = sizeof(header),
		.header_count = 1};
	struct policy_request request = {.source_id = STR(WEB), .http = &http};
	struct policy rules[] = {
		{.action = POLICY_DENY, .headers = {wanted, 1}}, {.action = POLICY_ALLOW}};
	struct policy *pointers[] = {&rules[0], &rules[1]};
	struct snapshot s = {.trust_domain = STR("td")};
	struct service service = {.policies = pointers, .policy_count = 2};
	memset(commas, ',', sizeof(commas));
	header.value.len = 16;
	assert_true(policy_check(&s, &service, &request).allowed);
	header.value.len = sizeof(commas);
	assert_ptr_equal(policy_check(&s, &service, &request).policy, &rules[0]);
	memset(commas, '\xa0', sizeof(commas));
	assert_ptr_equal(policy_check(&s, &service, &request).policy, &rules[0]);
	rules[0].action = POLICY_ALLOW;
	service.policy_count = 1;
	assert_false(policy_check(&s, &service, &request).allowed);
}

/* Of several all together: each rule looks at them, and a hundred of them would keep everybody else
 * waiting for seconds. */
static void test_headers_of_too_many_parts_together(void **state)
{
	static struct route_field wanted[] = {{{"x-key", 5}, ROUTE_TEXT_EXACT, {"k", 1}, false}};
	static char commas[150];
	struct route_header headers[4];
	struct route_request http = {.is_http = true,
		.method = STR("GET"),
		.path = STR("/"),
		.headers = headers,
		.header_bytes = sizeof(headers[0])};
	struct policy_request request = {.source_id = STR(WEB), .http = &http};
	struct policy rules[] = {
		{.action = POLICY_DENY, .headers = {wanted, 1}}, {.action = POLICY_ALLOW}};
	struct policy *pointers[] = {&rules[0], &rules[1]};
	struct snapshot s = {.trust_domain = STR("td")};
	struct service service = {.policies = pointers, .policy_count = 2};
	memset(commas, ',', sizeof(commas));
	for (size_t i = 0; i < ARRAY_LEN(headers); i++)
		headers[i] = (struct route_header){STR("x-key"), {commas, sizeof(commas)}};
	http.header_count = 1;
	assert_true(policy_check(&s, &service, &request).allowed);
	for (http.header_count = 2; http.header_count <= ARRAY_LEN(headers); http.header_count++)
		assert_ptr_equal(policy_check(&s, &service, &request).policy, &rules[0]);
	headers[1].name = STR("x-kez"); /* of another one nothing is counted */
	http.header_count = 2;
	assert_true(policy_check(&s, &service, &request).allowed);
}

/* Not even by the default, which is for whoever is known; and with nothing at all to go by. */
static void test_nothing_known_at_all(void **state)
{
	struct snapshot s = {.trust_domain = STR("td"), .default_allow = true};
	struct service service = {.name = STR("orders")};
	struct policy_request request = {.port = 0};
	assert_false(policy_check(&s, &service, &request).allowed);
	s.default_allow = false;
	request.source_id = STR(WEB);
	assert_false(policy_check(&s, &service, &request).allowed);
	service.policy_default = POLICY_DEFAULT_DENY;
	s.default_allow = true;
	assert_false(policy_check(&s, &service, &request).allowed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_allowed_by_what_is_missing),
		cmocka_unit_test(test_what_is_missing_is_denied),
		cmocka_unit_test(test_header_that_is_not_there),
		cmocka_unit_test(test_header_of_too_many_parts),
		cmocka_unit_test(test_headers_of_too_many_parts_together),
		cmocka_unit_test(test_nothing_known_at_all),
	};
	return cmocka_run_group_tests(tests, ranges_setup, NULL);
}
