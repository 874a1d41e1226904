/* SPDX-License-Identifier: Apache-2.0 */
/* In the index a path and a host may have the same key, by chance or because somebody looked for
 * such a host long enough: neither hides the rule that the other one leads to. */
#include "mesh/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* Found by search. */
#define SAME_PATH "/axtksifpxkj2f"
#define SAME_HOST "p7jhgny7uwe7v"
#define OTHERS	  8

static struct route_path guarded_path[] = {
	{ROUTE_PATH_EXACT, {SAME_PATH, sizeof(SAME_PATH) - 1}, NULL}};
static struct str guarded_host[] = {{SAME_HOST, sizeof(SAME_HOST) - 1}};
static struct str other_method[] = {{"PURGE", 5}};

/* The rule that decides. */
static const struct policy *decider(
	struct policy *const *policies, uint32_t count, const char *path, const char *host)
{
	struct str id = STR("spiffe://td/service/orders");
	struct snapshot s = {.trust_domain = STR("td")};
	struct service service = {.name = STR("orders"),
		.ids = &id,
		.id_count = 1,
		.policies = (struct policy **)policies,
		.policy_count = count};
	struct route_request http = {.is_http = true,
		.method = STR("GET"),
		.path = str_of(path),
		.authority = str_of(host)};
	struct policy_request request = {
		.source_id = STR("spiffe://td/service/web"), .port = 80, .http = &http};
	arena_init(&s.arena, 1u << 16);
	assert_true(policy_index_build(&s, &service));
	assert_non_null(service.policy_index);
	struct policy_verdict v = policy_check(&s, &service, &request);
	assert_ptr_equal(v.policy, policy_check_each(&s, &service, &request).policy);
	arena_done(&s.arena);
	return v.policy;
}

static void test_what_has_the_same_key_hides_nothing(void **state)
{
	struct policy path_guard = {
		.action = POLICY_DENY, .to = {.paths = guarded_path, .path_count = 1}};
	struct policy host_guard = {
		.action = POLICY_DENY, .to = {.hosts = guarded_host, .host_count = 1}};
	struct policy all = {.action = POLICY_ALLOW};
	struct policy other = {
		.action = POLICY_DENY, .to = {.methods = other_method, .method_count = 1}};
	struct policy *policies[3 + OTHERS] = {&path_guard, &host_guard, &all};
	for (uint32_t i = 0; i < OTHERS; i++)
		policies[3 + i] = &other;
	for (int i = 0; i < 2; i++) {
		uint32_t count = ARRAY_LEN(policies);
		assert_ptr_equal(decider(policies, count, SAME_PATH, "orders"), &path_guard);
		assert_ptr_equal(decider(policies, count, "/", SAME_HOST), &host_guard);
		assert_ptr_equal(decider(policies, count, "/", "orders"), &all);
		policies[0] = &host_guard;
		policies[1] = &path_guard;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_has_the_same_key_hides_nothing)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
