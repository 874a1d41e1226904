/* SPDX-License-Identifier: Apache-2.0 */
/* A thousand rules of one service cost a request no more than a few, whatever they have in common
 * and whatever is asked: counted in rules that are judged and look-ups. */
#include "base/arena.h"
#include "mesh/policy.h"
#include "mesh/policy_explain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define MANY 1000
/* The most that any request may take, however many rules there are. */
#define STEPS_MAX 32

/* Texts with "%u" in them are other ones in each rule. `spread`: over so many of them; 0: all. */
struct cost_rule {
	enum policy_action action;
	const char *from, *not_from, *path, *not_path, *method, *host, *header;
	uint32_t ports, spread;
	uint32_t columns; /* paths go over so many, and all else over the rows */
};

struct cost_row {
	const char *name;
	struct cost_rule rule;
	uint32_t callers, paths; /* of one rule; else one of each, if any, of MANY rules */
};

static const struct cost_row cost_rows[] = {
	{"by caller", {.from = "team/app-%u"}, 0, 0},
	{"by caller, denied", {POLICY_DENY, .from = "team/app-%u"}, 0, 0},
	{"by path", {.path = "/p/%u"}, 0, 0},
	{"by path, denied", {POLICY_DENY, .path = "/p/%u"}, 0, 0},
	{"by beginning", {POLICY_DENY, .path = "/p/%u/*"}, 0, 0},
	{"by template", {.path = "/{tenant}/res%u"}, 0, 0},
	{"by template, denied", {POLICY_DENY, .path = "/{tenant}/res%u"}, 0, 0},
	{"by template, a method denied",
		{POLICY_DENY, .path = "/{tenant}/res%u", .method = "DELETE"}, 0, 0},
	{"by template, a method noted",
		{POLICY_AUDIT, .path = "/{tenant}/res%u", .method = "DELETE"}, 0, 0},
	{"by template, but for one's own",
		{POLICY_DENY, .path = "/{tenant}/res%u", .not_from = "team/app-%u"}, 0, 0},
	{"by template, a host denied",
		{POLICY_DENY, .path = "/{tenant}/res%u", .host = "h%u.example.org"}, 0, 0},
	{"by caller and template",
		{POLICY_DENY, .from = "team/app-%u", .path = "/{tenant}/res%u", .spread = 7}, 0, 0},
	{"by host", {.host = "h%u.example.org"}, 0, 0},
	{"by host, denied", {POLICY_DENY, .host = "h%u.example.org"}, 0, 0},
	{"by domain", {POLICY_DENY, .host = "*.h%u.example.org"}, 0, 0},
	{"by host, all of one path", {.path = "/api/*", .host = "h%u.example.org"}, 0, 0},
	{"by host, all of one path, denied",
		{POLICY_DENY, .path = "/api/*", .host = "h%u.example.org"}, 0, 0},
	{"by address", {POLICY_DENY, .host = "10.1.2.%u", .spread = 250}, 0, 0},
	{"by port", {POLICY_DENY, .ports = 1}, 0, 0},
	{"by port, allowed", {.from = "*", .ports = 1}, 0, 0},
	{"by method", {POLICY_DENY, .method = "M%u"}, 0, 0},
	{"by path and host", {.path = "/p/%u", .host = "h%u.example.org", .columns = 20}, 0, 0},
	{"by path and method, denied",
		{POLICY_DENY, .path = "/p/%u/*", .method = "M%u", .columns = 20}, 0, 0},
	{"by template and host, denied",
		{POLICY_DENY, .path = "/{tenant}/res%u", .host = "h%u.example.org", .columns = 20},
		0, 0},
	{"all the same", {.from = "*"}, 0, 0},
	{"all the same, denied", {POLICY_DENY, .method = "DELETE"}, 0, 0},
	{"all the same, on one path", {POLICY_DENY, .path = "/api/*", .header = "x-%u"}, 0, 0},
	{"one of many paths", {.path = "/p/%u"}, 1, MANY},
	{"one of many templates, denied",
		{POLICY_DENY, .path = "/{tenant}/res%u", .method = "DELETE"}, 1, MANY},
	{"one of many templates, denied elsewhere",
		{POLICY_DENY, .path = "/{tenant}/res%u", .not_path = "/acme/*"}, 1, MANY},
	{"one of many callers and paths", {.from = "team/app-%u", .path = "/p/%u"}, 300, 300},
	{"one of many callers and paths, denied",
		{POLICY_DENY, .from = "team/app-%u", .path = "/p/%u"}, 300, 300},
	{"one of many callers and templates, denied",
		{POLICY_DENY, .from = "team/app-%u", .path = "/{tenant}/res%u"}, 300, 300},
};

/* --- the rules --- */

struct cost_mesh {
	struct snapshot s;
	struct service service;
};

static struct str cost_text(struct arena *arena, const char *format, uint32_t number)
{
	const char *at = strstr(format, "%u");
	if (!at)
		return str_of(format);
	return arena_printf(
		arena, "%.*s%u%s", (int)(at - format), format, (unsigned)number, at + 2);
}

static struct source *cost_sources(
	struct snapshot *s, const char *format, uint32_t number, uint32_t count)
{
	struct source *sources = arena_take(&s->arena, count * sizeof(*sources));
	for (uint32_t i = 0; i < count; i++)
		assert_true(source_read(
			s, cost_text(&s->arena, format, number + i), &s->arena, &sources[i]));
	return sources;
}

static struct route_path *cost_paths(
	struct arena *arena, const char *format, uint32_t number, uint32_t count)
{
	struct route_path *paths = arena_take(arena, count * sizeof(*paths));
	for (uint32_t i = 0; i < count; i++) {
		struct str text = cost_text(arena, format, number + i);
		bool is_below = text.at[text.len - 1] == '*';
		paths[i].text = (struct str){text.at, text.len - (is_below ? 2 : 0)};
		paths[i].kind = strchr(format, '{') ? ROUTE_PATH_TEMPLATE
				: is_below	    ? ROUTE_PATH_PREFIX
						    : ROUTE_PATH_EXACT;
	}
	return paths;
}

static struct str *cost_words(struct arena *arena, const char *format, uint32_t number)
{
	struct str *word = arena_take(arena, sizeof(*word));
	*word = cost_text(arena, format, number);
	return word;
}

static void cost_rule(
	struct snapshot *s, struct policy *p, const struct cost_row *row, uint32_t number)
{
	const struct cost_rule *r = &row->rule;
	struct arena *arena = &s->arena;
	uint32_t callers = row->callers ? row->callers : 1, paths = row->paths ? row->paths : 1;
	*p = (struct policy){.name = STR("p"), .action = r->action};
	number = r->spread ? number % r->spread : number;
	uint32_t column = r->columns ? number % r->columns : number;
	number = r->columns ? number / r->columns : number;
	p->from_count = r->from ? callers : 0;
	p->from = r->from ? cost_sources(s, r->from, number, callers) : NULL;
	p->not_from_count = r->not_from ? 1 : 0;
	p->not_from = r->not_from ? cost_sources(s, r->not_from, number, 1) : NULL;
	p->to.path_count = r->path ? paths : 0;
	p->to.paths = r->path ? cost_paths(arena, r->path, column, paths) : NULL;
	p->not_to.path_count = r->not_path ? 1 : 0;
	p->not_to.paths = r->not_path ? cost_paths(arena, r->not_path, number, 1) : NULL;
	p->to.method_count = r->method ? 1 : 0;
	p->to.methods = r->method ? cost_words(arena, r->method, number) : NULL;
	p->to.host_count = r->host ? 1 : 0;
	p->to.hosts = r->host ? cost_words(arena, r->host, number) : NULL;
	p->to.port_count = r->ports;
	p->to.ports = arena_take(arena, sizeof(*p->to.ports));
	*p->to.ports = (uint16_t)(1000 + number);
	p->headers.count = r->header ? 1 : 0;
	p->headers.at = arena_take(arena, sizeof(*p->headers.at));
	if (r->header)
		*p->headers.at = (struct route_field){.name = cost_text(arena, r->header, number),
			.kind = ROUTE_TEXT_PRESENT,
			.invert = true};
}

static void cost_mesh_init(struct cost_mesh *m, const struct cost_row *row)
{
	uint32_t count = row->paths ? 1 : MANY;
	*m = (struct cost_mesh){.s = {.trust_domain = STR("td")}};
	m->s.services = &m->service;
	m->s.service_count = 1;
	arena_init(&m->s.arena, 1u << 30);
	m->service.name = STR("orders");
	m->service.policy_count = count;
	m->service.policies = arena_take(&m->s.arena, count * sizeof(struct policy *));
	m->s.policies = arena_take(&m->s.arena, count * sizeof(struct policy));
	for (uint32_t i = 0; i < count; i++) {
		cost_rule(&m->s, &m->s.policies[i], row, i);
		m->service.policies[i] = &m->s.policies[i];
	}
	assert_true(policy_index_build(&m->s, &m->service));
	assert_non_null(m->service.policy_index);
}

/* --- the requests --- */

static const char *const cost_ids[] = {
	"", "spiffe://td/team/app-7", "spiffe://td/team/x", "spiffe://p/team/app-7"};
static const char *const cost_paths_asked[] = {"/", "/p/7", "/p/7/x", "/acme/res7", "/api/orders",
	"/acme/;x/res7", "/acme/a%3Fb", "/a%3Fb/res7", "/p/a%252Fb", "/api/x%20/..%20", "/other",
	"*", ""};
static const char *const cost_methods[] = {"GET", "DELETE", "delete", ""};
static const char *const cost_authorities[] = {
	"h7.example.org", "a.h7.example.org:80", "other", "10.1.2.7", "a..b", ""};

static void cost_ask(
	struct cost_mesh *m, const struct cost_row *row, struct policy_request *r, bool is_compared)
{
	uint32_t steps = policy_steps(&m->service, r, false);
	struct policy_verdict have = policy_check(&m->s, &m->service, r), want = have;
	if (is_compared)
		want = policy_check_each(&m->s, &m->service, r);
	if (have.allowed != want.allowed || have.policy != want.policy || have.noted != want.noted)
		fail_msg("%s: not as rule by rule: '%s'", row->name,
			r->http ? r->http->path.at : "");
	if (steps > STEPS_MAX)
		fail_msg("%s: %u steps: '%s' of '%s', path '%s', host '%s'", row->name, steps,
			r->http ? r->http->method.at : "bytes", r->source_id.at,
			r->http ? r->http->path.at : "", r->http ? r->http->authority.at : "");
	steps = policy_steps(&m->service, r, true);
	if (steps > STEPS_MAX)
		fail_msg("%s: %u steps for the caller '%s'", row->name, steps, r->source_id.at);
}

static void cost_ask_http(
	struct cost_mesh *m, const struct cost_row *row, struct policy_request *r, uint32_t i)
{
	struct route_request http = {
		.is_http = true, .path = str_of(cost_paths_asked[i % ARRAY_LEN(cost_paths_asked)])};
	for (size_t k = 0; k < ARRAY_LEN(cost_methods); k++) {
		http.method = str_of(cost_methods[k]);
		for (size_t h = 0; h < ARRAY_LEN(cost_authorities); h++) {
			http.authority = str_of(cost_authorities[h]);
			r->http = &http;
			cost_ask(m, row, r, h == (k + i) % ARRAY_LEN(cost_authorities));
		}
	}
}

static void cost_run(const struct cost_row *row)
{
	struct cost_mesh m;
	cost_mesh_init(&m, row);
	for (size_t i = 0; i < ARRAY_LEN(cost_ids); i++) {
		struct policy_request r = {.source_id = str_of(cost_ids[i]), .port = 1007};
		assert_true(address_parse(STR("10.0.0.1"), &r.client));
		cost_ask(&m, row, &r, true);
		r.port = 0;
		cost_ask(&m, row, &r, true);
		r.port = 1007;
		for (uint32_t k = 0; k < ARRAY_LEN(cost_paths_asked); k++)
			cost_ask_http(&m, row, &r, k);
	}
	snapshot_done(&m.s);
}

static void test_many_rules_cost_as_few(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(cost_rows); i++)
		cost_run(&cost_rows[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_many_rules_cost_as_few)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
