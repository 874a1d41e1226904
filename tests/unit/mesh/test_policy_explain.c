/* SPDX-License-Identifier: Apache-2.0 */
/* Why a rule matches or not: each condition by its name, and over random rules and requests that
 * what is said agrees with what is decided. */
#include "mesh/policy_explain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define WEB    "spiffe://td/service/web"
#define ROUNDS 20000
#define RULES  5

static struct str all_methods[] = {{"GET", 3}, {"PUT", 3}, {"PURGE", 5}};
static struct str all_hosts[] = {{"a.example", 9}, {"*.b.example", 11}, {"c", 1}};
static struct route_path all_paths[] = {{ROUTE_PATH_EXACT, {"/a", 2}},
	{ROUTE_PATH_PREFIX, {"/b", 2}}, {ROUTE_PATH_TEMPLATE, {"/a/{x}", 6}}};
static uint16_t all_ports[] = {80, 443, 9000};
static struct source all_sources[] = {
	{.kind = SOURCE_ID, .text = {WEB, sizeof(WEB) - 1}},
	{.kind = SOURCE_UNDER, .text = {"spiffe://td/service/", 20}},
	{.kind = SOURCE_ANY},
	{.kind = SOURCE_ANONYMOUS},
	{.kind = SOURCE_RANGE, .range = {{.family = AF_INET, .ip = {10}}, 8}},
};
static struct route_field all_headers[] = {
	{{"x-team", 6}, ROUTE_TEXT_EXACT, {"blue", 4}, false},
	{{"x-team", 6}, ROUTE_TEXT_PREFIX, {"b", 1}, true},
	{{"x-key", 5}, ROUTE_TEXT_PRESENT, {"", 0}, true},
};
static struct str all_issuers[] = {{"corp", 4}, {"other", 5}};
static struct str all_audiences[] = {{"shop", 4}, {"bank", 4}};
static struct route_field all_claims[] = {
	{{"groups", 6}, ROUTE_TEXT_EXACT, {"admin", 5}, false},
	{{"sub", 3}, ROUTE_TEXT_PREFIX, {"x", 1}, true},
};

static uint64_t seed = 42;

static uint32_t draw(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

/* Some of a list, one after the other; mostly none. */
#define SOME(list, at, count)                                                              \
	do {                                                                               \
		uint32_t first_ = draw(ARRAY_LEN(list));                                   \
		(at) = &(list)[first_];                                                    \
		(count) = draw(3) == 0 ? 1 + draw((uint32_t)ARRAY_LEN(list) - first_) : 0; \
	} while (0)

static void draw_operations(struct policy_operations *o)
{
	SOME(all_ports, o->ports, o->port_count);
	SOME(all_methods, o->methods, o->method_count);
	SOME(all_paths, o->paths, o->path_count);
	SOME(all_hosts, o->hosts, o->host_count);
}

static struct policy draw_policy(void)
{
	struct policy p = {.action = (enum policy_action)draw(3),
		.mode = draw(4) == 0 ? POLICY_AUDITED : POLICY_ENFORCED};
	SOME(all_sources, p.from, p.from_count);
	SOME(all_sources, p.not_from, p.not_from_count);
	if (draw(2) == 0)
		draw_operations(&p.to);
	if (draw(3) == 0)
		draw_operations(&p.not_to);
	SOME(all_headers, p.headers.at, p.headers.count);
	p.token.is_wanted = draw(4) == 0;
	SOME(all_issuers, p.token.issuers, p.token.issuer_count);
	SOME(all_audiences, p.token.audiences, p.token.audience_count);
	SOME(all_claims, p.token.claims.at, p.token.claims.count);
	return p;
}

struct asked {
	struct policy_request request;
	struct route_request http;
	struct route_header headers[3];
	struct policy_token token;
	struct policy_claim claims[2];
};

static void draw_request(struct asked *a)
{
	static const char *const ids[] = {"", WEB, "spiffe://td/service/x", "spiffe://x/y"};
	static const char *const paths[] = {"/a", "/b/c", "/a/1", "/a;x", "/c"};
	static const char *const hosts[] = {"a.example", "x.b.example:80", "c.", ""};
	static const char *const values[] = {"blue", "brown", "red", "red, blue"};
	*a = (struct asked){0};
	a->request.source_id = str_of(ids[draw(ARRAY_LEN(ids))]);
	if (draw(2))
		a->request.client =
			(struct address){.family = AF_INET, .ip = {(uint8_t)(9 + draw(2))}};
	a->request.port = draw(3) ? all_ports[draw(ARRAY_LEN(all_ports))] : 0;
	a->http = (struct route_request){.is_http = true,
		.method = all_methods[draw(ARRAY_LEN(all_methods))],
		.path = str_of(paths[draw(ARRAY_LEN(paths))]),
		.authority = str_of(hosts[draw(ARRAY_LEN(hosts))]),
		.headers = a->headers,
		.header_bytes = sizeof(a->headers[0]),
		.header_count = draw(4)};
	for (uint32_t i = 0; i < a->http.header_count; i++)
		a->headers[i] = (struct route_header){draw(3) ? STR("X-Team") : STR("x-key"),
			str_of(values[draw(ARRAY_LEN(values))])};
	a->claims[0] = (struct policy_claim){STR("aud"), all_audiences[draw(2)]};
	a->claims[1] =
		draw(2) ? (struct policy_claim){STR("groups"), draw(2) ? STR("admin") : STR("x")}
			: (struct policy_claim){STR("sub"), draw(2) ? STR("xy") : STR("y")};
	a->token = (struct policy_token){
		.issuer = all_issuers[draw(2)], .claims = a->claims, .claim_count = 2};
	a->request.http = draw(4) ? &a->http : NULL;
	a->request.token = draw(2) ? &a->token : NULL;
}

static void check_finding(const struct policy *p, const struct policy_finding *f)
{
	bool is_false = f->missed != POLICY_NO_CONDITION && !f->is_unknown;
	bool want = p->action == POLICY_ALLOW ? f->missed == POLICY_NO_CONDITION : !is_false;
	if (want != f->matches)
		fail_msg("action %d %s, but condition %d is %s", (int)p->action,
			f->matches ? "matches" : "does not match", (int)f->missed,
			f->is_unknown ? "unknown" : "not so");
	if (f->missed != POLICY_NO_CONDITION)
		assert_true(f->index < policy_condition_count(p, f->missed));
}

static void check_part(const struct policy_verdict *v, const struct policy *p,
	const struct policy_finding *f, const struct policy_request *request)
{
	bool is_counted = f->matches && p->action != POLICY_AUDIT && p->mode == POLICY_ENFORCED;
	struct policy_finding best = {0};
	if (v->policy)
		best = policy_find(v->policy, request);
	switch (policy_part_of(v, p, f, request)) {
	case POLICY_PART_DECIDES:
		assert_ptr_equal(v->policy, p);
		assert_true(is_counted);
		return;
	case POLICY_PART_MISSED:
		assert_false(f->matches);
		return;
	case POLICY_PART_LESS_EXACT:
		assert_true(is_counted && f->rank < best.rank);
		return;
	case POLICY_PART_OUTVOTED:
		assert_true(is_counted && f->rank == best.rank);
		assert_true(p->action == POLICY_ALLOW && v->policy->action == POLICY_DENY);
		return;
	case POLICY_PART_LATER:
		assert_true(is_counted && f->rank == best.rank && p > v->policy);
		return;
	case POLICY_PART_AUDITED:
		assert_true(f->matches && p->mode == POLICY_AUDITED && p->action != POLICY_AUDIT);
		return;
	case POLICY_PART_NOTED:
		assert_true(f->matches && p->action == POLICY_AUDIT);
		return;
	}
	fail();
}

static void what_is_said_agrees_with_what_is_decided(void **state)
{
	uint32_t missed[POLICY_CONDITIONS] = {0}, unknown[POLICY_CONDITIONS] = {0};
	uint32_t parts[POLICY_PART_NOTED + 1] = {0};
	struct snapshot s = {.trust_domain = STR("td"), .default_allow = true};
	for (int round = 0; round < ROUNDS; round++) {
		struct policy policies[RULES], *pointers[RULES];
		struct service service = {.policies = pointers, .policy_count = 1 + draw(RULES)};
		struct asked a;
		for (uint32_t i = 0; i < service.policy_count; i++) {
			policies[i] = draw_policy();
			pointers[i] = &policies[i];
		}
		draw_request(&a);
		struct policy_verdict v = policy_check_each(&s, &service, &a.request);
		for (uint32_t i = 0; i < service.policy_count; i++) {
			struct policy_finding f = policy_find(&policies[i], &a.request);
			check_finding(&policies[i], &f);
			check_part(&v, &policies[i], &f, &a.request);
			(f.is_unknown ? unknown : missed)[f.missed]++;
			parts[policy_part_of(&v, &policies[i], &f, &a.request)]++;
		}
	}
	/* each was met */
	for (int i = 0; i < POLICY_CONDITIONS; i++)
		assert_true(missed[i] > 0 || i == POLICY_TOKEN);
	assert_true(unknown[POLICY_TOKEN] > 0 && unknown[POLICY_PORTS] > 0 &&
		    unknown[POLICY_PATHS] > 0 && unknown[POLICY_HEADER] > 0);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		assert_true(parts[i] > 0);
}

static void the_item_is_named(void **state)
{
	struct route_header header = {STR("x-team"), STR("brown")};
	const struct route_request http = {.is_http = true,
		.method = STR("PUT"),
		.path = STR("/b/c"),
		.authority = STR("c"),
		.headers = &header,
		.header_bytes = sizeof(header),
		.header_count = 1};
	struct policy_request request = {.source_id = STR(WEB), .port = 443, .http = &http};
	struct policy p = {.action = POLICY_ALLOW,
		.from = all_sources,
		.from_count = 1,
		.not_to = {.paths = all_paths, .path_count = 3},
		.headers = {all_headers, 3}};
	struct policy_finding f = policy_find(&p, &request);
	assert_int_equal(f.missed, POLICY_NOT_PATHS);
	assert_int_equal(f.index, 1);
	assert_false(f.matches || f.is_unknown);
	p.not_to.path_count = 1;
	f = policy_find(&p, &request);
	assert_int_equal(f.missed, POLICY_HEADER);
	assert_int_equal(f.index, 0);
	p.headers = (struct route_fields){all_headers + 1, 2};
	f = policy_find(&p, &request);
	assert_int_equal(f.missed, POLICY_HEADER);
	assert_int_equal(f.index, 0);
	p.headers = (struct route_fields){all_headers + 2, 1};
	f = policy_find(&p, &request);
	assert_int_equal(f.missed, POLICY_NO_CONDITION);
	assert_true(f.matches);
	assert_int_equal(f.rank, SOURCE_RANK_ID);
	/* what cannot be known comes after what is not so */
	p.to = (struct policy_operations){.ports = all_ports, .port_count = 1};
	request.http = NULL;
	f = policy_find(&p, &request);
	assert_int_equal(f.missed, POLICY_PORTS);
	assert_false(f.is_unknown);
	request.port = 80;
	f = policy_find(&p, &request);
	assert_int_equal(f.missed, POLICY_NOT_PATHS);
	assert_true(f.is_unknown && !f.matches);
	p.action = POLICY_DENY;
	assert_true(policy_find(&p, &request).matches);
}

static void nobody_named(void **state)
{
	struct policy p = {.action = POLICY_ALLOW};
	struct policy_request request = {.source_id = STR("")};
	struct policy_finding f = policy_find(&p, &request);
	assert_int_equal(f.missed, POLICY_FROM);
	assert_false(f.matches);
	p.action = POLICY_DENY;
	f = policy_find(&p, &request);
	assert_int_equal(f.missed, POLICY_NO_CONDITION);
	assert_true(f.matches);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_said_agrees_with_what_is_decided),
		cmocka_unit_test(the_item_is_named),
		cmocka_unit_test(nobody_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
