/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker keeps of what it has let in: general paths, callers who ask for too many, a full
 * table; whatever comes, all is counted in some entry that covers it, or told to be lost. */
#include "proxy/seen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WEB "spiffe://td/service/web"

static struct seen_view view;

static void add(struct seen *seen, const char *id, const char *method, const char *path)
{
	const struct address nobody = {0};
	const struct route_request http = {
		.is_http = true, .method = str_of(method), .path = str_of(path)};
	seen_add(seen, &(struct seen_call){.source_id = str_of(id),
			       .client = &nobody,
			       .service = STR("orders"),
			       .port = 80,
			       .http = method ? &http : NULL});
}

static const struct seen_entry *find(const char *method, const char *path)
{
	for (uint32_t i = 0; i < view.count; i++) {
		const struct seen_entry *e = &view.entries[i];
		if (str_eq(seen_method(e), str_of(method)) && str_eq(seen_path(e), str_of(path)))
			return e;
	}
	return NULL;
}

static void assert_seen(const char *method, const char *path, uint64_t count)
{
	const struct seen_entry *e = find(method, path);
	if (!e || e->count != count)
		fail_msg("%s %s: %d times", method, path, e ? (int)e->count : 0);
}

static uint64_t view_sum(void)
{
	uint64_t sum = view.lost;
	for (uint32_t i = 0; i < view.count; i++)
		sum += view.entries[i].count;
	return sum;
}

static void test_paths_are_general(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"/", "/"},
		{"/api/orders", "/api/orders"},
		{"/api/orders/1042", "/api/orders/{id}"},
		{"/api/orders/1042/items/7", "/api/orders/{id}/items/{id}"},
		{"/api/v1/", "/api/v1/"},
		{"/7d8f2c1e-9b3a-45d0-a1c2-e3f405162738", "/{id}"},
		{"/7d8f2c1e9b3a45d0", "/{id}"},
		{"/deadbeefdeadbeef", "/deadbeefdeadbeef"},
		{"/abc123", "/abc123"},
		{"/01HV5K8Z3QJ9W2N7R4T6Y8X0AB/x", "/{id}/x"},
		{"/a-long-name-without-numbers", "/a-long-name-without-numbers"},
		{"/a{b}/*c", "/{id}/{id}"},
		{"/%C3%A9", "/%C3%A9"},
	};
	struct seen *seen = seen_new(7);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		add(seen, WEB, "GET", rows[i].in);
		seen_look(seen, &view);
		if (!find("GET", rows[i].out))
			fail_msg("%s is not %s", rows[i].in, rows[i].out);
	}
	assert_int_equal(view.since_wall_ns, 7);
	assert_int_equal(view_sum(), ARRAY_LEN(rows));
	seen_free(seen);
}

static void test_a_path_that_is_too_long_is_a_beginning(void **state)
{
	char path[400] = "/begin/";
	memset(path + 7, 'x', sizeof(path) - 8);
	struct seen *seen = seen_new(0);
	add(seen, WEB, "GET", path);
	seen_look(seen, &view);
	assert_seen("GET", "/begin/*", 1);
	seen_free(seen);
}

static void test_callers_are_told_apart(void **state)
{
	struct seen *seen = seen_new(0);
	struct seen_call call = {.client = &(struct address){0}, .service = STR("db"), .port = 1};
	struct address client;
	add(seen, WEB, "GET", "/a");
	add(seen, WEB, "GET", "/a");
	add(seen, "spiffe://td/service/we", "GET", "/a");
	add(seen, WEB, NULL, NULL);
	call.client = &client;
	assert_true(address_parse(STR("10.1.2.3"), &client));
	seen_add(seen, &call);
	assert_true(address_parse(STR("10.1.2.200"), &client));
	seen_add(seen, &call);
	assert_true(address_parse(STR("fd00::1:2:3:4"), &client));
	seen_add(seen, &call);
	seen_look(seen, &view);
	assert_int_equal(view.count, 5);
	assert_int_equal(view.entries[0].count, 2);
	assert_true(str_eq(seen_source(&view.entries[0]), STR(WEB)));
	assert_true(str_eq(seen_service(&view.entries[0]), STR("orders")));
	assert_false(view.entries[2].is_http);
	assert_true(str_eq(seen_source(&view.entries[3]), STR("10.1.2.0/24")));
	assert_int_equal(view.entries[3].count, 2);
	assert_true(str_eq(seen_source(&view.entries[4]), STR("fd00::/64")));
	assert_int_equal(view.lost, 0);
	seen_free(seen);
}

static void test_many_paths_become_beginnings(void **state)
{
	struct seen *seen = seen_new(0);
	char path[64];
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "/img/p%u", i);
		add(seen, WEB, "GET", path);
	}
	add(seen, WEB, "POST", "/img/p999");
	seen_look(seen, &view);
	assert_int_equal(view.count, 34);
	assert_seen("GET", "/img/p31", 1);
	assert_seen("GET", "/img/*", 1000 - 32);
	assert_seen("POST", "/img/p999", 1);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "/b%u/c", i);
		add(seen, WEB, "GET", path);
	}
	seen_look(seen, &view);
	assert_int_equal(view.count, 33 + 32 + 1);
	assert_seen("GET", "/*", 1000 - 31);
	assert_int_equal(view_sum(), 2001);
	assert_int_equal(view.coarse + view.lost, 0);
	seen_free(seen);
}

/* One who fills it leaves room for others, in the coarse. */
static void test_a_full_table_is_coarse_and_then_tells(void **state)
{
	struct seen *seen = seen_new(0);
	char id[64];
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(id, sizeof(id), "spiffe://td/app/a%u", i % 4500);
		add(seen, id, i & 1 ? "GET" : "POST", "/a");
	}
	seen_look(seen, &view);
	assert_true(view.coarse > 0);
	assert_true(view.lost > 0);
	assert_int_equal(view.let_in, 5000);
	assert_int_equal(view_sum(), 5000);
	assert_int_equal(view.count, SEEN_KEYS_MAX);
	assert_non_null(find("", "/*"));
	seen_free(seen);
}

static void test_what_no_policy_can_say_is_lost(void **state)
{
	char id[400] = "spiffe://td/";
	memset(id + 12, 'a', sizeof(id) - 13);
	struct seen *seen = seen_new(0);
	add(seen, WEB, "OPTIONS", "*");
	add(seen, WEB, "get", "/");
	add(seen, WEB, "", "/");
	add(seen, WEB, "GET", "");
	add(seen, id, "GET", "/");
	add(seen, "", "GET", "/"); /* of no address that is known */
	seen_look(seen, &view);
	assert_int_equal(view.lost, 6);
	assert_int_equal(view.let_in, 6);
	assert_int_equal(view.count, 0);
	seen_free(seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths_are_general),
		cmocka_unit_test(test_a_path_that_is_too_long_is_a_beginning),
		cmocka_unit_test(test_callers_are_told_apart),
		cmocka_unit_test(test_many_paths_become_beginnings),
		cmocka_unit_test(test_a_full_table_is_coarse_and_then_tells),
		cmocka_unit_test(test_what_no_policy_can_say_is_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
