/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what: the order of rules, every kind of match, and above all that what is missing or
 * unclear denies. */
#include "mesh/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ORDERS "spiffe://td/service/orders"
#define WEB    "spiffe://td/service/web"
#define OLD    "spiffe://td/service/web-old"
#define OTHER  "spiffe://td/service/other"

#define LIST_MAX 3

/* A rule as a table row; lists end at the first NULL. */
struct policy_rule {
	enum policy_action action;
	const char *from[LIST_MAX], *methods[LIST_MAX], *paths[LIST_MAX];
};

struct policy_row {
	const char *name;
	struct policy_rule rules[3];
	uint32_t rule_count;
	bool default_allow;
	const char *source, *method, *path; /* NULL: none */
	bool is_allowed;
	int decided_by; /* rule, or -1 for the default */
};

#define ALLOW(...)                        \
	{                                 \
		POLICY_ALLOW, __VA_ARGS__ \
	}
#define DENY(...)                        \
	{                                \
		POLICY_DENY, __VA_ARGS__ \
	}
#define FROM(...)    .from = {__VA_ARGS__}
#define METHODS(...) .methods = {__VA_ARGS__}
#define PATHS(...)   .paths = {__VA_ARGS__}

static const struct policy_row policy_rows[] = {
	/* the default */
	{"no rule", .source = WEB, .decided_by = -1},
	{"no rule, authenticated", .default_allow = true, .source = WEB, .is_allowed = true,
		.decided_by = -1},
	{"no rule, authenticated, no identity", .default_allow = true, .decided_by = -1},
	{"no rule, authenticated, of another trust domain", .default_allow = true,
		.source = "spiffe://partner/service/web", .decided_by = -1},
	{"no rule, authenticated, of one that begins as ours", .default_allow = true,
		.source = "spiffe://td.evil/service/web", .decided_by = -1},
	{"star is of any trust domain", {ALLOW(FROM("*"))}, 1, false,
		"spiffe://partner/service/web", NULL, NULL, true, 0},
	{"another trust domain, named", {ALLOW(FROM("spiffe://partner/*"))}, 1, false,
		"spiffe://partner/shop/web", NULL, NULL, true, 0},
	{"an allow rule closes the default", {ALLOW(FROM("web"))}, 1, true, OTHER, NULL, NULL,
		false, -1},
	{"a deny rule leaves the default", {DENY(FROM("web"))}, 1, true, OTHER, NULL, NULL, true,
		-1},
	/* from */
	{"service", {ALLOW(FROM("web"))}, 1, false, WEB, NULL, NULL, true, 0},
	{"any id of the service", {ALLOW(FROM("web"))}, 1, false, OLD, NULL, NULL, true, 0},
	{"another service", {ALLOW(FROM("web"))}, 1, false, OTHER, NULL, NULL, false, -1},
	{"service is no prefix", {ALLOW(FROM("web"))}, 1, false, WEB "x", NULL, NULL, false, -1},
	{"id", {ALLOW(FROM(OTHER))}, 1, false, OTHER, NULL, NULL, true, 0},
	{"id is compared whole", {ALLOW(FROM(OTHER))}, 1, false, OTHER "/x", NULL, NULL, false, -1},
	{"second of the list", {ALLOW(FROM("web", OTHER))}, 1, false, OTHER, NULL, NULL, true, 0},
	{"star is any identity", {ALLOW(FROM("*"))}, 1, false, OTHER, NULL, NULL, true, 0},
	{"star is not nobody", {ALLOW(FROM("*"))}, 1, false, NULL, NULL, NULL, false, -1},
	{"no from is any identity", {ALLOW(FROM(NULL))}, 1, false, OTHER, NULL, NULL, true, 0},
	{"no from is not nobody", {ALLOW(FROM(NULL))}, 1, false, NULL, NULL, NULL, false, -1},
	{"anonymous", {ALLOW(FROM("anonymous"))}, 1, false, NULL, NULL, NULL, true, 0},
	{"anonymous is not everybody", {ALLOW(FROM("anonymous"))}, 1, false, WEB, NULL, NULL, false,
		-1},
	{"undeclared service has the identity of its name", {ALLOW(FROM("other"))}, 1, false, OTHER,
		NULL, NULL, true, 0},
	{"undeclared service, whole name", {ALLOW(FROM("othe"))}, 1, false, OTHER, NULL, NULL,
		false, -1},
	{"undeclared service, denied", {DENY(FROM("other"))}, 1, true, OTHER, NULL, NULL, false, 0},
	{"undeclared service, other trust domain", {ALLOW(FROM("other"))}, 1, false,
		"spiffe://tda/service/other", NULL, NULL, false, -1},
	{"undeclared service cannot allow another", {ALLOW(FROM("gone"))}, 1, false, WEB, NULL,
		NULL, false, -1},
	{"undeclared service denies no other", {DENY(FROM("gone"))}, 1, true, WEB, NULL, NULL, true,
		-1},
	/* deny before allow, whatever the order */
	{"deny wins", {ALLOW(FROM("*")), DENY(FROM("web"))}, 2, false, WEB, NULL, NULL, false, 1},
	{"deny misses", {ALLOW(FROM("*")), DENY(FROM("web"))}, 2, false, OTHER, NULL, NULL, true,
		0},
	{"deny without from is for all", {DENY(FROM(NULL)), ALLOW(FROM("*"))}, 2, false, WEB, NULL,
		NULL, false, 0},
	{"deny without from is for nobody too", {DENY(FROM(NULL)), ALLOW(FROM("anonymous"))}, 2,
		false, NULL, NULL, NULL, false, 0},
	{"no identity may be the denied one", {DENY(FROM("web")), ALLOW(FROM("anonymous"))}, 2,
		false, NULL, NULL, NULL, false, 0},
	{"deny anonymous", {DENY(FROM("anonymous")), ALLOW(FROM("*"))}, 2, false, WEB, NULL, NULL,
		true, 1},
	/* methods */
	{"method", {ALLOW(METHODS("GET", "HEAD"))}, 1, false, WEB, "HEAD", "/", true, 0},
	{"another method", {ALLOW(METHODS("GET"))}, 1, false, WEB, "POST", "/", false, -1},
	{"method in its own case", {ALLOW(METHODS("GET"))}, 1, false, WEB, "get", "/", false, -1},
	{"method is no prefix", {ALLOW(METHODS("GET"))}, 1, false, WEB, "GETX", "/", false, -1},
	/* opaque TCP */
	{"methods cannot allow tcp", {ALLOW(METHODS("GET"))}, 1, false, WEB, NULL, NULL, false, -1},
	{"paths cannot allow tcp", {ALLOW(PATHS("*"))}, 1, false, WEB, NULL, NULL, false, -1},
	{"methods deny tcp", {DENY(METHODS("POST")), ALLOW(FROM("*"))}, 2, false, WEB, NULL, NULL,
		false, 0},
	{"paths deny tcp", {DENY(PATHS("/a")), ALLOW(FROM("*"))}, 2, false, WEB, NULL, NULL, false,
		0},
	{"of other callers not", {DENY(FROM(OTHER), PATHS("/a")), ALLOW(FROM("*"))}, 2, false, WEB,
		NULL, NULL, true, 1},
	/* paths */
	{"exact", {ALLOW(PATHS("/a"))}, 1, false, WEB, "GET", "/a", true, 0},
	{"exact is whole", {ALLOW(PATHS("/a"))}, 1, false, WEB, "GET", "/a/", false, -1},
	{"exact has a case", {ALLOW(PATHS("/a"))}, 1, false, WEB, "GET", "/A", false, -1},
	{"prefix", {ALLOW(PATHS("/a/*"))}, 1, false, WEB, "GET", "/a/b/c", true, 0},
	{"prefix, empty rest", {ALLOW(PATHS("/a/*"))}, 1, false, WEB, "GET", "/a/", true, 0},
	{"prefix is the segment itself too", {ALLOW(PATHS("/a/*"))}, 1, false, WEB, "GET", "/a",
		true, 0},
	{"prefix is of segments", {ALLOW(PATHS("/a/*"))}, 1, false, WEB, "GET", "/ab", false, -1},
	{"star", {ALLOW(PATHS("*"))}, 1, false, WEB, "GET", "/", true, 0},
	{"no path at all", {ALLOW(PATHS("/a"))}, 1, false, WEB, "GET", "", false, -1},
	{"every list must match", {ALLOW(FROM("web"), METHODS("GET"), PATHS("/a"))}, 1, false, WEB,
		"GET", "/b", false, -1},
	{"second rule", {ALLOW(PATHS("/a")), ALLOW(PATHS("/b"))}, 2, false, WEB, "GET", "/b", true,
		1},
	/* deny as a lenient server would read the path; allow only to the letter */
	{"deny, parameter", {DENY(PATHS("/admin/*")), ALLOW(FROM("*"))}, 2, false, WEB, "GET",
		"/admin;x=1/a", false, 0},
	{"deny, empty parameter segment", {DENY(PATHS("/admin/*")), ALLOW(FROM("*"))}, 2, false,
		WEB, "GET", "/;x/admin/a", false, 0},
	{"deny, parameter at the end", {DENY(PATHS("/admin")), ALLOW(FROM("*"))}, 2, false, WEB,
		"GET", "/admin;x", false, 0},
	{"deny, escape", {DENY(PATHS("/a:b")), ALLOW(FROM("*"))}, 2, false, WEB, "GET", "/a%3Ab",
		false, 0},
	{"deny, parameter as written", {DENY(PATHS("/a;b")), ALLOW(FROM("*"))}, 2, false, WEB,
		"GET", "/a;b", false, 0},
	{"deny, another path", {DENY(PATHS("/admin/*")), ALLOW(FROM("*"))}, 2, false, WEB, "GET",
		"/x;/admin", true, 1},
	{"allow, parameter", {ALLOW(PATHS("/a"))}, 1, false, WEB, "GET", "/a;x", false, -1},
	{"allow, escape", {ALLOW(PATHS("/a:b"))}, 1, false, WEB, "GET", "/a%3Ab", false, -1},
};

static uint32_t policy_list(const char *const *texts, struct str *ret_list)
{
	uint32_t count = 0;
	while (count < LIST_MAX && texts[count]) {
		ret_list[count] = str_of(texts[count]);
		count++;
	}
	return count;
}

/* As the configuration reads it. */
static struct route_path policy_path_of(const char *text)
{
	size_t len = strlen(text);
	if (strcmp(text, "*") == 0)
		return (struct route_path){ROUTE_PATH_PREFIX, STR("")};
	if (text[len - 1] == '*')
		return (struct route_path){ROUTE_PATH_PREFIX, {text, len - 2}};
	return (struct route_path){ROUTE_PATH_EXACT, {text, len}};
}

struct policy_lists {
	struct source from[2 * LIST_MAX];
	struct str methods[LIST_MAX];
	struct route_path paths[LIST_MAX];
};

static void policy_make(struct snapshot *s, const struct policy_rule *rule,
	struct policy_lists *lists, struct policy *policy)
{
	*policy = (struct policy){.action = rule->action, .from = lists->from};
	policy->to.methods = lists->methods;
	policy->to.method_count = policy_list(rule->methods, lists->methods);
	policy->to.paths = lists->paths;
	for (size_t i = 0; i < LIST_MAX && rule->from[i]; i++) {
		struct str entry = str_of(rule->from[i]);
		uint32_t count = source_count(s, entry);
		assert_true(count > 0);
		assert_true(source_read(s, entry, &s->arena, &lists->from[policy->from_count]));
		policy->from_count += count;
	}
	for (size_t i = 0; i < LIST_MAX && rule->paths[i]; i++)
		lists->paths[policy->to.path_count++] = policy_path_of(rule->paths[i]);
}

static void policy_run(const struct policy_row *row)
{
	struct str ids[3] = {STR(ORDERS), STR(WEB), STR(OLD)};
	struct service services[] = {{.name = STR("orders"), .ids = ids, .id_count = 1},
		{.name = STR("web"), .ids = ids + 1, .id_count = 2}};
	struct snapshot s = {.trust_domain = STR("td"),
		.default_allow = row->default_allow,
		.services = services,
		.service_count = 2};
	arena_init(&s.arena, 4096);
	for (uint32_t i = 0; i < s.service_count; i++)
		assert_true(snapshot_add_service(&s, &services[i]));
	struct policy_lists lists[3];
	struct policy policies[3], *pointers[3];
	for (uint32_t i = 0; i < row->rule_count; i++) {
		policy_make(&s, &row->rules[i], &lists[i], &policies[i]);
		pointers[i] = &policies[i];
	}
	services[0].policies = pointers;
	services[0].policy_count = row->rule_count;
	const struct route_request http = {
		.is_http = true, .method = str_of(row->method), .path = str_of(row->path)};
	struct policy_request request = {
		.source_id = str_of(row->source), .http = row->method ? &http : NULL};
	struct policy_verdict verdict = policy_check(&s, &services[0], &request);
	const struct policy *want = row->decided_by >= 0 ? &policies[row->decided_by] : NULL;
	if (verdict.allowed != row->is_allowed)
		fail_msg("%s: %s", row->name, verdict.allowed ? "allowed" : "denied");
	if (verdict.policy != want)
		fail_msg("%s: decided by another rule", row->name);
	snapshot_done(&s);
}

static void test_policy_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(policy_rows); i++)
		policy_run(&policy_rows[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_policy_rows)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
