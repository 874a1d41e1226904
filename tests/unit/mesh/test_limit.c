/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests a limit is about, and which of them have one key. */
#include "mesh/limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

struct asked {
	struct route_header headers[4];
	struct limit_request request;
};

static struct limit_request *asked_init(struct asked *a)
{
	*a = (struct asked){
		.headers = {{STR("x-key"), STR("one")}, {STR("Cookie"), STR("a=1; s=me")},
			{STR("X-Key"), STR("two")}, {STR("empty"), STR("")}}};
	a->request =
		(struct limit_request){.client = STR("10.0.0.1"), .route = STR("orders/canary")};
	a->request.asks = (struct route_request){.source_id = STR("spiffe://t/service/web"),
		.is_http = true,
		.method = STR("GET"),
		.path = STR("/a"),
		.query = STR(""),
		.authority = STR("orders:80"),
		.headers = a->headers,
		.header_bytes = sizeof(a->headers[0]),
		.header_count = 4};
	return &a->request;
}

static struct str key_of(const struct limit *limit, const struct limit_request *r, char *text)
{
	size_t len = limit_key_bytes(limit, r);
	assert_in_range(len, 0, 255);
	assert_int_equal(limit_key_write(limit, r, text), len);
	return (struct str){text, len};
}

static void check_key(enum limit_part_kind kind, const char *name, const char *value)
{
	struct asked a;
	char text[256];
	struct limit limit = {.parts = {{kind, str_of(name)}}, .part_count = 1};
	struct str key = key_of(&limit, asked_init(&a), text);
	assert_int_equal(key.len, strlen(value) + 4);
	assert_int_equal(key.at[0], strlen(value));
	if (memcmp(key.at + 4, value, strlen(value)) != 0)
		fail_msg("%.*s instead of %s", (int)key.len - 4, key.at + 4, value);
}

static void test_values(void **state)
{
	check_key(LIMIT_BY_SOURCE, "", "spiffe://t/service/web");
	check_key(LIMIT_BY_CLIENT, "", "10.0.0.1");
	check_key(LIMIT_BY_ROUTE, "", "orders/canary");
	check_key(LIMIT_BY_METHOD, "", "GET");
	check_key(LIMIT_BY_HOST, "", "orders");
	check_key(LIMIT_BY_PATH, "", "/a");
	check_key(LIMIT_BY_HEADER, "X-KEY", "one,two");
	check_key(LIMIT_BY_HEADER, "empty", "");
	check_key(LIMIT_BY_HEADER, "none", "");
	check_key(LIMIT_BY_COOKIE, "s", "me");
	check_key(LIMIT_BY_COOKIE, "none", "");
}

static void test_no_parts_no_key(void **state)
{
	struct asked a;
	struct limit limit = {0};
	assert_int_equal(limit_key_bytes(&limit, asked_init(&a)), 0);
}

static void test_copies_have_other_keys(void **state)
{
	struct asked a;
	char text[256], copy_text[256];
	struct limit limits[] = {
		{.part_count = 0}, {.parts = {{LIMIT_BY_PATH, STR("")}}, .part_count = 1}};
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		struct str key = key_of(&limits[i], asked_init(&a), text);
		a.request.is_mirror = true;
		struct str copy = key_of(&limits[i], &a.request, copy_text);
		assert_false(str_eq(key, copy));
		assert_true(key.len == 0 || memcmp(key.at, copy.at, key.len) == 0);
	}
}

/* What ends one value does not begin the next. */
static void test_values_do_not_run_together(void **state)
{
	struct asked a, b;
	char text[2][256];
	struct limit limit = {
		.parts = {{LIMIT_BY_METHOD, STR("")}, {LIMIT_BY_PATH, STR("")}}, .part_count = 2};
	asked_init(&a)->asks.method = STR("GET");
	a.request.asks.path = STR("/ab");
	asked_init(&b)->asks.method = STR("GET/");
	b.request.asks.path = STR("ab");
	assert_false(
		str_eq(key_of(&limit, &a.request, text[0]), key_of(&limit, &b.request, text[1])));
}

static void test_opaque_bytes(void **state)
{
	struct asked a;
	char text[256];
	struct limit limit = {
		.parts = {{LIMIT_BY_PATH, STR("")}, {LIMIT_BY_SOURCE, STR("")}}, .part_count = 2};
	asked_init(&a)->asks.is_http = false;
	struct str key = key_of(&limit, &a.request, text);
	assert_int_equal(key.at[0], 0);
	assert_int_equal(key.len, 8 + strlen("spiffe://t/service/web"));
	assert_true(limit_matches(NULL, &limit, &a.request));
	struct route_path path = {ROUTE_PATH_PREFIX, STR("")};
	limit.when.paths = &path;
	limit.when.path_count = 1;
	assert_false(limit_matches(NULL, &limit, &a.request));
	a.request.asks.is_http = true;
	assert_true(limit_matches(NULL, &limit, &a.request));
}

static void test_matches_as_a_rule(void **state)
{
	struct asked a;
	struct str method = STR("PUT");
	struct limit limit = {.when = {.methods = &method, .method_count = 1}};
	assert_false(limit_matches(NULL, &limit, asked_init(&a)));
	a.request.asks.method = STR("PUT");
	assert_true(limit_matches(NULL, &limit, &a.request));
}

static void test_only_rules_that_there_are(void **state)
{
	struct service other = {.name = STR("other")};
	struct route_leg away = {.service = &other, .weight = 1};
	struct route_rule rules[] = {{.name = STR("orders/a")}, {.name = STR("orders/b")},
		{.name = STR("orders/away"), .legs = &away, .leg_count = 1},
		{.name = STR("orders/no"), .action = ROUTE_RESPOND}};
	struct route route = {.rules = rules, .rule_count = ARRAY_LEN(rules)};
	struct service service = {.name = STR("orders"), .route = &route};
	struct snapshot s = {.service_count = 1};
	map_init(&s.services_by_name);
	assert_true(snapshot_add_service(&s, &service));
	assert_true(str_eq(limit_route_known(&s, &service, STR("orders/b")), STR("orders/b")));
	assert_true(str_eq(limit_route_known(&s, &other, STR("orders/away")), STR("orders/away")));
	assert_int_equal(limit_route_known(&s, &other, STR("orders/b")).len, 0);
	assert_int_equal(limit_route_known(&s, &service, STR("orders/away")).len, 0);
	assert_int_equal(limit_route_known(&s, &service, STR("orders/no")).len, 0);
	assert_int_equal(limit_route_known(&s, &service, STR("orders/c")).len, 0);
	assert_int_equal(limit_route_known(&s, &service, STR("other/a")).len, 0);
	assert_int_equal(limit_route_known(&s, &service, STR("orders")).len, 0);
	assert_int_equal(limit_route_known(&s, &service, STR("")).len, 0);
	map_done(&s.services_by_name);
}

static void test_who_wants_the_route(void **state)
{
	struct limit limits[] = {{.parts = {{LIMIT_BY_SOURCE, STR("")}, {LIMIT_BY_ROUTE, STR("")}},
		.part_count = 1}};
	struct limit *list[] = {&limits[0]};
	struct service service = {.limits = list, .limit_count = 1};
	assert_false(limit_wants_route(&service));
	limits[0].part_count = 2;
	assert_true(limit_wants_route(&service));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_no_parts_no_key),
		cmocka_unit_test(test_copies_have_other_keys),
		cmocka_unit_test(test_values_do_not_run_together),
		cmocka_unit_test(test_opaque_bytes),
		cmocka_unit_test(test_matches_as_a_rule),
		cmocka_unit_test(test_only_rules_that_there_are),
		cmocka_unit_test(test_who_wants_the_route),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
