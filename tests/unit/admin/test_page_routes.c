/* SPDX-License-Identifier: Apache-2.0 */
/* /routes and /routes/explain. The sample's route gets more rules here. */
#include "admin/page.h"

#include "balance/wheel.h"
#include "json_check.h"
#include "mesh/limit.h"
#include "page_ask.h"
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sample sample;
static struct process_watch process;
static const struct page_source source = {&sample.proxy, &process, SAMPLE_NOW_NS};

static struct route_path paths[] = {{ROUTE_PATH_PREFIX, {"/v2", 3}}, {ROUTE_PATH_EXACT, {"/x", 2}}};
static struct str methods[] = {{"PUT", 3}, {"DELETE", 6}}, froms[] = {{"guest", 5}};
static struct str hosts[] = {{"*.example.com", 13}};
static struct route_field header = {{"x-team", 6}, ROUTE_TEXT_EXACT, {"blue", 4}, false};
static struct route_field query = {{"v", 1}, ROUTE_TEXT_PRESENT, {"", 0}, false};
static struct route_field cookie = {{"beta", 4}, ROUTE_TEXT_PREFIX, {"b", 1}, true};
static struct endpoint *versioned[1];
static struct subset subset = {.version = {"v1", 2}, .endpoints = versioned, .endpoint_count = 1};
static struct route_rule rules[9];
static struct route_path denied_paths[] = {{ROUTE_PATH_EXACT, {"/secret", 7}}};
static struct policy denial;
static struct route_path limited_path = {ROUTE_PATH_EXACT, {"/other", 6}};
static struct limit limits[2], *limit_list[2];
static struct policy *policies[2];

static void fill_rules(void)
{
	const struct route_rule all[] = {
		{.name = STR("orders/from"), .when = {.from = froms, .from_count = 1}},
		{.name = STR("orders/path"), .when = {.paths = paths, .path_count = 2}},
		{.name = STR("orders/method"), .when = {.methods = methods, .method_count = 2}},
		{.name = STR("orders/host"), .when = {.hosts = hosts, .host_count = 1}},
		{.name = STR("orders/header"), .when = {.headers = {&header, 1}}},
		{.name = STR("orders/query"), .when = {.query = {&query, 1}}},
		{.name = STR("orders/cookie"), .when = {.cookies = {&cookie, 1}}},
		sample.rule,
		{.name = STR("orders/never")},
	};
	memcpy(rules, all, sizeof(all));
	rules[1].action = ROUTE_RESPOND;
	rules[1].status = 418;
	rules[6].target = (struct route_target){.path = STR("/secret"), .host = STR("other")};
	rules[7].sticky = (struct route_sticky){ROUTE_STICKY_HEADER, STR("x-user")};
	rules[7].timeout_ms = 1500;
	rules[7].fault = (struct route_fault){
		.delay_ms = 200, .delay_percent = 10, .abort_percent = 5, .abort_status = 503};
	static struct route_leg mirrors[2];
	mirrors[0] = (struct route_leg){rules[7].legs[0].service, STR("v2"), 10};
	mirrors[1] = (struct route_leg){.weight = 100};
	rules[7].mirrors = mirrors;
	rules[7].mirror_count = ARRAY_LEN(mirrors);
	rules[7].retry =
		(struct route_retry){.attempts = 2, .on = ROUTE_RETRY_CONNECT | ROUTE_RETRY_5XX};
}

static int setup(void **state)
{
	sample_init(&sample);
	process_watch_init(&process, sample.proxy.start_wall_ns);
	fill_rules();
	sample.route.rules = rules;
	sample.route.rule_count = ARRAY_LEN(rules);
	sample.services[0].route = &sample.route;
	versioned[0] = &sample.endpoints[0];
	sample.services[0].subsets = &subset;
	sample.services[0].subset_count = 1;
	sample.endpoints[1].health = ENDPOINT_DRAINED;
	denial = (struct policy){.name = STR("no-secrets"),
		.action = POLICY_DENY,
		.to = {.paths = denied_paths, .path_count = 1}};
	policies[0] = &sample.policy;
	policies[1] = &denial;
	sample.services[0].policies = policies;
	sample.services[0].policy_count = 2;
	limits[0] = (struct limit){.name = STR("some-paths")};
	limits[1] = (struct limit){
		.name = STR("other-paths"), .when = {.paths = &limited_path, .path_count = 1}};
	limit_list[0] = &limits[0];
	limit_list[1] = &limits[1];
	sample.services[0].limits = limit_list;
	sample.services[0].limit_count = 2;
	return 0;
}

static int teardown(void **state)
{
	sample_done(&sample);
	process_watch_done(&process);
	return 0;
}

static void assert_part(const char *path, uint16_t status, const char *part)
{
	page_ask_expect(&source, path, status, part);
}

#define TO "/routes/explain?from=web&to=orders"

static void each_condition_is_told(void **state)
{
	assert_part(TO, 200,
		"\"name\":\"orders/from\",\"matches\":false,\"missed\":\"from\",\"wanted\":"
		"\"from guest\",\"has\":\"spiffe://prod.example/service/web\"");
	assert_part(TO, 200,
		"\"missed\":\"path\",\"wanted\":\"path_prefix /v2 or path /x\",\"has\":\"/\"");
	assert_part(TO, 200,
		"\"missed\":\"method\",\"wanted\":\"method PUT or DELETE\",\"has\":\"GET\"");
	assert_part(TO, 200,
		"\"missed\":\"host\",\"wanted\":\"host *.example.com\",\"has\":\"orders\"");
	assert_part(TO "&header=X-Team:%20red", 200,
		"\"missed\":\"header\",\"wanted\":\"header x-team exact \\\"blue\\\"\",\"has\":"
		"\"red\"");
	assert_part(TO, 200, "\"missed\":\"query\",\"wanted\":\"query v\",\"has\":null");
	assert_part(TO "&header=cookie:beta%3Db2", 200,
		"\"missed\":\"cookie\",\"wanted\":\"no cookie beta prefix \\\"b\\\"\",\"has\":\"b2"
		"\"},{\"name\":\"orders/canary\",\"matches\":true}],\"rule\":\"orders/canary\"");
	assert_part(TO "&tcp=1", 200, "\"missed\":\"tcp\",\"wanted\":\"an HTTP request\"");
}

static void the_first_that_matches_decides(void **state)
{
	static const struct {
		const char *more, *rule;
	} rows[] = {
		{"&path=/v2/x", "path"},
		{"&path=/%2e/v2%3fa", "path"}, /* as the proxy reads it, without the query */
		{"&method=PUT", "method"},
		{"&host=A.Example.COM:80", "host"},
		{"&host=a.example.com.", "host"}, /* the root's dot */
		{"&host=a.example.com.:80", "host"},
		{"&header=x-team:blue", "header"},
		{"&path=/a%3fv", "query"},
		{"", "cookie"},
		{"&header=cookie:beta%3Db", "canary"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char path[256], part[64];
		snprintf(path, sizeof(path), TO "%s", rows[i].more);
		snprintf(part, sizeof(part), "\"rule\":\"orders/%s\"", rows[i].rule);
		assert_part(path, 200, part);
	}
	assert_part("/routes/explain?from=guest&to=orders", 200, "\"rule\":\"orders/from\"");
	assert_part("/routes/explain?from=anonymous&to=orders&tcp=1", 200, "\"from\":null");
	assert_part(TO "&path=/v2", 200, "\"action\":\"respond\",\"status\":418");
}

/* Of what no proxy lets through there is no way to tell. */
static void a_host_that_is_none_is_refused(void **state)
{
	static const char *const bad[] = {"a..example.com", "a.example.com:0", "a.example.com:x",
		"a.example.com:70000", "a%20b", "a,b", "%5b::1", "%5bx%5d", "."};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char path[256];
		snprintf(path, sizeof(path), TO "&host=%s", bad[i]);
		assert_part(path, 400, "is none that a proxy would let through");
	}
	assert_part(TO "&host=%5b::1%5d:80", 200, "\"rule\":");
}

#define LAST TO "&header=cookie:beta%3Db"

static void the_way_is_told(void **state)
{
	assert_part(LAST, 200,
		"\"action\":\"forward\",\"timeout_ms\":1500,\"retries\":\"2 more tries on "
		"connect-failure or 5xx\",\"fault\":\"delay 200ms for 10 %, abort with 503 for 5 "
		"%\",\"mirror\":\"10 % to orders v2, 100 % to a service that is not known\","
		"\"sticky\":\"header x-user\",\"rollouts\":[],\"split\":[{\"service\":"
		"\"orders\",\"version\":\"v1\",\"weight\":90,\"allowed\":true,\"policy\":\"policies"
		"[0]\",\"policy_where\":\"mesh.conf:1\",\"would_deny\":false,"
		"\"identity\":true,\"policies\":[\"policies[0]\",\"no-secrets\"],\"limits\":["
		"\"some-paths\"],"
		"\"balance\":{\"way\":\"least_request\",\"zones\":\"ignore\",\"zone\":null,"
		"\"panic\":0,\"choice\":\"well\",\"calls\":0,\"requests_max\":0,\"workers\":0,"
		"\"workers_answered\":0},\"endpoints\":[{\"address\":\"10.77.0.1:8080\",\"health\":"
		"\"up\",\"version\":"
		"\"v1\"");
	assert_part(LAST, 200,
		"\"local\":true,\"alternate\":false,\"calls\":0,\"share\":0}]},{\"service\":"
		"null,\"version\":null,"
		"\"weight\":"
		"10}]}");
	assert_part(LAST "&header=x-user:ann", 200, "\"sticks_by\":\"ann\",\"sticks_to\":");
	/* the rule gives the request another path, and policies see that one */
	assert_part(TO, 200, "\"becomes_path\":\"/secret\",\"becomes_host\":\"other\"");
	assert_part(TO, 200, "\"allowed\":false,\"policy\":\"no-secrets\"");
	assert_part(TO, 200, "\"address\":\"10.77.0.2:8080\",\"health\":\"drained\"");
	assert_part("/routes/explain?from=other&to=orders&path=/a&header=cookie:beta%3Db", 200,
		"\"allowed\":false,\"policy\":\"default\"");
	assert_part("/routes/explain?from=orders&to=web", 200,
		"\"has_route\":false,\"rules\":[],\"rule\":null,\"split\":[{\"service\":\"web\"");
	denial.mode = POLICY_AUDITED;
	denial.where = STR("mesh.conf:9");
	assert_part(TO, 200,
		"\"would_deny\":true,\"audited\":\"no-secrets\",\"audited_where\":"
		"\"mesh.conf:9\"");
	/* in the plain nobody knows who calls */
	sample.services[0].mtls = MTLS_DISABLED;
	assert_part(LAST, 200,
		"\"allowed\":false,\"policy\":\"default\",\"policy_where\":"
		"\"mesh.default_policy\",\"would_deny\":false,\"identity\":false,"
		"\"neighbour\":{\"allowed\":true,\"policy\":\"policies[0]\",\"policy_where\":"
		"\"mesh.conf:1\"},\"policies\":");
	assert_part("/routes/explain?from=anonymous&to=orders&header=cookie:beta%3Db", 200,
		"\"identity\":false,\"policies\":");
}

static struct report told[2];
static struct report *of[3] = {&told[0], NULL, &told[1]};
static struct reports reports = {.count = 3, .of = of};

static struct report_row row_of(size_t endpoint, uint32_t calls, enum outlier_state state)
{
	return (struct report_row){.service_len = 6,
		.service = "orders",
		.address = sample.endpoints[endpoint].address,
		.calls = calls,
		.is_known = true,
		.latency_ns = (1 + calls) * 1000000ull,
		.state = state,
		.cause = OUTLIER_BY_SHARE,
		.left_ns = 1500000000};
}

static void assert_told(const char *path, const char *part)
{
	struct page_source asked = source;
	struct page_request request = {.method = STR("GET"), .path = str_of(path), .is_unix = true};
	struct page_response response;
	asked.reports = &reports;
	page_answer(&asked, &request, &response);
	assert_int_equal(response.status, 200);
	assert_true(json_valid(response.body, response.body_len));
	if (!memmem(response.body, response.body_len, part, strlen(part)))
		fail_msg("missing %s in:\n%.*s", part, (int)response.body_len, response.body);
	page_response_done(&response);
}

/* Of three workers two have answered; one of these has ejected the second endpoint. */
static void what_workers_know_is_added_up(void **state)
{
	sample.services[0].route = NULL;
	sample.endpoints[0].weight = 300;
	sample.endpoints[1].weight = 100;
	sample.endpoints[1].health = ENDPOINT_UP;
	sample.services[0].outlier.ejected_percent = 50;
	for (size_t i = 0; i < 2; i++)
		assert_true(snapshot_add_endpoint(&sample.snapshot, &sample.endpoints[i]));
	memset(told, 0, sizeof(told));
	for (size_t i = 0; i < 2; i++) {
		told[i].service_count = 1;
		told[i].services[0] = (struct report_service){6, "orders", 5};
		told[i].row_count = 2;
		told[i].rows[0] = row_of(0, 2, OUTLIER_IN);
		told[i].rows[1] = row_of(1, 3 + (uint32_t)i, i ? OUTLIER_OUT : OUTLIER_IN);
	}
	const char *path = "/routes/explain?from=web&to=orders";
	assert_told(path, "\"choice\":\"well\",\"calls\":10,\"requests_max\":0,\"workers\":3,"
			  "\"workers_answered\":2}");
	/* three quarters, and all */
	assert_told(path, "\"alternate\":false,\"calls\":4,\"latency_us\":3000,\"share\":875000}");
	assert_told(path, "\"calls\":7,\"latency_us\":5000,\"ejected\":{\"workers\":1,\"why\":"
			  "\"too few calls "
			  "served\",\"left_ms\":1500},\"share\":125000}");
	told[0].row_count = 0;
	told[1].rows[0] = told[1].rows[1];
	told[1].row_count = 1;
	assert_told("/status", "\"ejected\":[{\"service\":\"orders\",\"endpoint\":\"10.77.0.2:"
			       "8080\",\"workers\":1,"
			       "\"why\":\"too few calls served\",\"left_ms\":1500}]");
}

/* The endpoint that the request's value has, and no other. */
static void by_value_one_gets_it(void **state)
{
	struct wheel_member members[] = {{7, 100, 0}, {8, 100, 1}};
	sample.services[0].route = NULL;
	sample.endpoints[1].health = ENDPOINT_UP;
	sample.endpoints[0].weight = sample.endpoints[1].weight = 100;
	sample.services[0].balance = BALANCE_RING_HASH;
	sample.services[0].balance_by = (struct balance_by){BALANCE_BY_HEADER, STR("x-user")};
	sample.wheel = wheel_new(BALANCE_RING_HASH, members, 2);
	assert_part("/routes/explain?from=web&to=orders", 200,
		"\"way\":\"ring_hash\",\"by\":\"header:x-user\",\"has_value\":false");
	assert_part("/routes/explain?from=web&to=orders", 200, "\"share\":500000}]");
	assert_part(
		"/routes/explain?from=web&to=orders&header=x-user:ann", 200, "\"has_value\":true");
	assert_part(
		"/routes/explain?from=web&to=orders&header=x-user:ann", 200, "\"share\":1000000}");
	assert_part("/routes/explain?from=web&to=orders&header=x-user:ann", 200, "\"share\":0}");
	wheel_unref(sample.wheel);
}

static void what_is_no_request_is_refused(void **state)
{
	assert_part("/routes/explain?from=web", 400, "to which service?");
	assert_part("/routes/explain?from=web&to=none", 404, "no service \"none\"");
	assert_part(TO "&path=x", 400, "\"x\" is no path");
	assert_part(TO "&path=/%252e%252e/a%252fb", 400, "is no path");
	assert_part(TO "&path=%0a", 400, "path: no text");
	assert_part(TO "&path=%2", 400, "path: no text");
	assert_part(TO "&header=x-user", 400, "\"x-user\" is no header");
	assert_part(TO "&header=:a", 400, "is no header");
	assert_part(TO "&pth=/", 400, "\"pth\" is none of");
	sample.proxy.plan = NULL;
	assert_part(TO, 503, "no configuration");
	assert_part("/routes", 503, "no configuration");
}

static void too_many_headers_are_refused(void **state)
{
	char path[2048] = TO;
	for (int i = 0; i < 65; i++)
		snprintf(path + strlen(path), sizeof(path) - strlen(path), "&header=a:b");
	assert_part(path, 400, "more than 64 headers");
}

static void routes_are_listed(void **state)
{
	assert_part("/routes", 200,
		"\"service\":\"orders\",\"rules\":[{\"name\":\"orders/from\",\"match\":[\"from "
		"guest\"],\"action\":\"forward\"");
	assert_part("/routes?service=orders", 200,
		"\"split\":[{\"service\":\"orders\",\"version\":\"v1\",\"weight\":90},");
	assert_part("/routes?service=web", 200, "\"routes\":[]");
	assert_part("/routes?servcie=web", 400, "?service=NAME");
	assert_part("/routes?service=", 400, "?service=NAME");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_condition_is_told),
		TEST(the_first_that_matches_decides),
		TEST(a_host_that_is_none_is_refused),
		TEST(the_way_is_told),
		TEST(what_workers_know_is_added_up),
		TEST(by_value_one_gets_it),
		TEST(what_is_no_request_is_refused),
		TEST(too_many_headers_are_refused),
		TEST(routes_are_listed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
