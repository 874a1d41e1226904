/* SPDX-License-Identifier: Apache-2.0 */
/* Random rules and random requests: with an index, without one, and as the text of mesh/policy.h
 * has it, the answer is the same in every part. Names are few and alike, so that things match.
 *
 *     test_mesh_policy_random [SEED [CASES]] */
#include "policy_reference.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define RULES_MAX     64
#define RULES_USUAL   24
#define WIDE_MIN      70 /* callers and paths of a rule that has many of both */
#define ASKED_OF_EACH 25
#define PATH_MAX_LEN  256

static uint64_t random_seed = 20261127, random_cases = 150000;
static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((z ^ (z >> 31)) % n);
}

static bool random_is(uint32_t percent)
{
	return random_below(100) < percent;
}

#define RANDOM_OF(list) str_of((list)[random_below(ARRAY_LEN(list))])

static const char *const random_entries[] = {"web", "web", "db", "shop/web", "shop/*", "shop/*",
	"shop/a/*", "shop/a/b", "spiffe://td/shop/a/*", "spiffe://p.x/*", "spiffe://p.x/shop/*",
	"spiffe://p.x/shop/web", "*", "anonymous", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32",
	"10.1.2.0/23", "::ffff:10.1.2.3", "fd00::/8", "fd00::1", "0.0.0.0/0",
	"spiffe://td/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/*"};
static const char *const random_ids[] = {"spiffe://td/service/web", "spiffe://td/service/web-old",
	"spiffe://td/service/db", "spiffe://td/shop/web", "spiffe://td/shop/a/b",
	"spiffe://td/shop/a/b/c", "spiffe://p.x/shop/web", "spiffe://p.x/other", "spiffe://td/shop",
	"spiffe://td/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a", "spiffe://td/shopping/web"};
static const char *const random_clients[] = {
	"10.1.2.3", "10.1.3.4", "10.2.0.1", "192.0.2.1", "fd00::1", "fe80::1", "::ffff:10.1.2.3"};
static const char *const random_parts[] = {"a", "a", "a", "b", "b", "c", "A", "B", "a;x", ";y",
	"a%3Bq", "%2561", "a%253Bz", "a.", "b%20", "b%3Fz", "b%253Fz", "b%23z", "a%252Fb", "...",
	"a%3Ab", "a:b", "%C3%A9", "%20", "a%2Fb", "..%3B", ".", ".."};
/* What no request comes with, once its path is in normal form. */
static const char *const random_raw[] = {
	"", "*", "/a\\b", "/b\\a/b", "/a?b/a", "/a/b#b", "/b\\b\\a", "a/b", "//a/./b"};
static const char *const random_methods[] = {"GET", "GET", "POST", "DELETE", "get", ""};
static const char *const random_hosts[] = {"orders", "orders", "a.x.org", "b.a.x.org", "x.org",
	"10.0.0.1", "[::1]", "[fd00::a]", "2fa", "[::ffff:10.0.0.1]"};
static const char *const random_authorities[] = {"orders", "orders:80", "orders.", "orders.:80",
	"orders..", "a.x.org", "b.a.x.org:443", "x.org", ".x.org", "10.0.0.1", "10.0.0.1:80",
	"10.0.1", "0x0a000001", "a.7", "[::1]:80", "[::1]", "[0:0::1]", "[fd00::A]", "[fd00::a]x",
	"u@orders", "orders:x", "orders:80:80", "orders:", "", ".", ":80", "2fa", "a.0xfg", "a_b",
	"[::ffff:a00:1]", "[::1%25eth0]", "a..x.org"};
static const char *const random_names[] = {"x-a", "X-A", "x_a", "x-b", "x-ab"};
static const char *const random_values[] = {
	"u", "v", "uv", "vu", "u,v", "v , u", "", ",u", "u,", " u ", "u,,v"};
static const char *const random_texts[] = {"u", "v", "u,v", "uv"};
static const char *const random_claims[] = {"groups", "aud", "scope"};
static const char *const random_issuers[] = {"i", "j"};

/* --- paths --- */

static struct str random_path(struct arena *arena)
{
	char text[PATH_MAX_LEN], normal[PATH_MAX_LEN];
	for (;;) {
		uint32_t count = random_is(3) ? 14 + random_below(8) : random_below(5);
		bool is_deep = count > 8;
		size_t len = 0, normal_len;
		for (uint32_t i = 0; i < count; i++)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "/%s",
				is_deep && random_is(97)
					? "a"
					: random_parts[random_below(ARRAY_LEN(random_parts))]);
		if (count == 0 || random_is(10))
			text[len++] = '/';
		if (path_normalise((struct str){text, len}, normal, &normal_len))
			return arena_str(arena, (struct str){normal, normal_len});
	}
}

/* What all rules of a world have in common, so that they lie by something else. */
enum random_flavour { RANDOM_ANY, RANDOM_TEMPLATES, RANDOM_ONE_PATH };
static enum random_flavour random_flavour;

static struct route_path random_rule_path(struct arena *arena)
{
	struct route_path p = {.text = random_path(arena)};
	if (random_flavour == RANDOM_ONE_PATH)
		return (struct route_path){.kind = ROUTE_PATH_PREFIX, .text = STR("/a")};
	if (random_is(random_flavour == RANDOM_TEMPLATES ? 90 : 20)) {
		char text[PATH_MAX_LEN];
		size_t len = 0;
		uint32_t count = 1 + random_below(random_is(20) ? 7 : 4);
		bool is_bare = random_flavour == RANDOM_TEMPLATES;
		p.kind = ROUTE_PATH_TEMPLATE;
		for (uint32_t i = 0; i < count; i++)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "/%s",
				random_is(50) || (is_bare && i == 0)
					? "{id}"
					: random_parts[random_below(12)]);
		if (random_is(30))
			len += (size_t)snprintf(text + len, sizeof(text) - len, "/*");
		p.text = arena_str(arena, (struct str){text, len});
	} else if (random_is(50)) {
		p.kind = ROUTE_PATH_PREFIX;
		p.text.len -= p.text.at[p.text.len - 1] == '/';
	}
	return p;
}

/* --- rules --- */

static struct source *random_sources(struct snapshot *s, uint32_t entries, uint32_t *ret_count)
{
	struct source *sources = arena_take(&s->arena, (2 * entries + 1) * sizeof(*sources));
	for (uint32_t i = 0; i < entries; i++) {
		struct str entry = RANDOM_OF(random_entries);
		assert_true(source_read(s, entry, &s->arena, &sources[*ret_count]));
		*ret_count += source_count(s, entry);
	}
	return sources;
}

static struct str *random_list(
	struct arena *arena, const char *const *texts, uint32_t text_count, uint32_t count)
{
	struct str *list = arena_take(arena, (count + 1) * sizeof(*list));
	for (uint32_t i = 0; i < count; i++)
		list[i] = str_of(texts[random_below(text_count)]);
	return list;
}

/* Most lists of most rules are empty. */
static uint32_t random_count(uint32_t percent)
{
	return random_is(percent) ? 1 + random_below(2) : 0;
}

static void random_operations(
	struct arena *arena, struct policy_operations *o, uint32_t percent, uint32_t path_count)
{
	o->path_count = path_count;
	o->paths = arena_take(arena, (o->path_count + 1) * sizeof(*o->paths));
	for (uint32_t i = 0; i < o->path_count; i++)
		o->paths[i] = random_rule_path(arena);
	o->method_count = random_count(percent);
	o->methods = random_list(arena, random_methods, 4, o->method_count);
	o->host_count = random_count(percent / 2);
	o->hosts =
		random_list(arena, random_hosts, (uint32_t)ARRAY_LEN(random_hosts), o->host_count);
	if (o->host_count && random_is(30))
		o->hosts[0] = STR("*.x.org");
	o->port_count = random_count(percent / 2);
	o->ports = arena_take(arena, 2 * sizeof(*o->ports));
	for (uint32_t i = 0; i < o->port_count; i++)
		o->ports[i] = (uint16_t)(80 + random_below(3));
}

static struct route_fields random_fields(
	struct arena *arena, uint32_t percent, const char *const *names, uint32_t name_count)
{
	struct route_fields fields = {.count = random_count(percent)};
	fields.at = arena_take(arena, 2 * sizeof(*fields.at));
	for (uint32_t i = 0; i < fields.count; i++) {
		struct route_field *f = &fields.at[i];
		f->name = str_of(names[random_below(name_count)]);
		f->kind = (enum route_text_kind)random_below(4);
		f->text = f->kind == ROUTE_TEXT_PRESENT ? STR_NONE : RANDOM_OF(random_texts);
		f->invert = random_is(30);
	}
	return fields;
}

static void random_rule(struct snapshot *s, struct policy *p, bool is_wide)
{
	struct arena *arena = &s->arena;
	p->name = arena_printf(arena, "p%u", (unsigned)(p - s->policies));
	p->action = (enum policy_action)(random_is(10) ? 2 : random_below(2));
	p->mode = random_is(20) ? POLICY_AUDITED : POLICY_ENFORCED;
	uint32_t callers = random_below(random_is(5) ? 5 : 3), paths = random_count(60);
	if (is_wide && random_is(70))
		callers = WIDE_MIN + random_below(WIDE_MIN);
	if (is_wide && random_is(70))
		paths = WIDE_MIN + random_below(WIDE_MIN);
	p->from = random_sources(s, callers, &p->from_count);
	p->not_from = random_sources(s, random_is(10) ? random_below(3) : 0, &p->not_from_count);
	random_operations(arena, &p->to, 30, paths);
	random_operations(arena, &p->not_to, 6, random_count(12));
	p->headers = random_fields(arena, 10, random_names, 4);
	p->token.is_wanted = random_is(8);
	if (!p->token.is_wanted)
		return;
	p->token.issuer_count = random_count(30);
	p->token.issuers = random_list(arena, random_issuers, 2, p->token.issuer_count);
	p->token.audience_count = random_count(30);
	p->token.audiences = random_list(arena, random_values, 4, p->token.audience_count);
	p->token.claims = random_fields(arena, 50, random_claims, 3);
}

struct random_world {
	struct snapshot s;
	struct service services[2];
	struct str ids[3];
	struct policy policies[RULES_MAX], *pointers[RULES_MAX];
};

static void random_world_init(struct random_world *w)
{
	*w = (struct random_world){
		.s = {.trust_domain = STR("td"), .services = w->services, .service_count = 2}};
	struct snapshot *s = &w->s;
	w->ids[0] = STR("spiffe://td/service/orders");
	w->ids[1] = STR("spiffe://td/service/web");
	w->ids[2] = STR("spiffe://td/service/web-old");
	arena_init(&s->arena, 1u << 24);
	w->services[0] = (struct service){.name = STR("orders"), .ids = w->ids, .id_count = 1};
	w->services[1] = (struct service){.name = STR("web"), .ids = w->ids + 1, .id_count = 2};
	w->services[1].is_implicit = random_is(20);
	for (int i = 0; i < 2; i++) {
		assert_true(snapshot_add_service(s, &w->services[i]));
		assert_true(snapshot_add_service_id(s, &w->services[i]));
	}
	s->default_allow = random_is(50);
	s->is_audited = random_is(10);
	s->policies = w->policies;
	bool has_wide = random_is(1);
	random_flavour = random_is(20) ? (enum random_flavour)(1 + random_below(2)) : RANDOM_ANY;
	s->policy_count = random_is(10)	 ? random_below(3)
			  : random_is(3) ? RULES_USUAL + random_below(RULES_MAX - RULES_USUAL)
					 : 8 + random_below(RULES_USUAL - 8);
	struct service *orders = &w->services[0];
	orders->policy_default = (enum policy_default)random_below(3);
	orders->policies = w->pointers;
	orders->policy_count = s->policy_count;
	for (uint32_t i = 0; i < s->policy_count; i++) {
		random_rule(s, &w->policies[i], has_wide && random_is(60));
		w->pointers[i] = &w->policies[i];
	}
	assert_true(policy_index_build(s, orders));
}

/* --- requests --- */

struct random_asked {
	struct policy_request request;
	struct route_request http;
	struct route_header headers[4];
	struct policy_token token;
	struct policy_claim claims[3];
};

static void random_http(struct arena *arena, struct random_asked *a)
{
	struct route_request *http = &a->http;
	*http = (struct route_request){.is_http = true,
		.method = RANDOM_OF(random_methods),
		.path = random_path(arena),
		.authority = random_is(50) ? STR("orders") : RANDOM_OF(random_authorities),
		.headers = a->headers,
		.header_bytes = sizeof(a->headers[0]),
		.header_count = random_is(50) ? random_below(5) : 0};
	if (random_is(4))
		http->path = RANDOM_OF(random_raw);
	for (uint32_t i = 0; i < http->header_count; i++)
		a->headers[i] =
			(struct route_header){RANDOM_OF(random_names), RANDOM_OF(random_values)};
}

static void random_ask(struct arena *arena, struct random_asked *a)
{
	struct policy_request *r = &a->request;
	*r = (struct policy_request){.port = (uint16_t)(random_is(3) ? 0 : 80 + random_below(3))};
	if (random_is(65))
		r->source_id = RANDOM_OF(random_ids);
	if (random_is(90))
		assert_true(address_parse(RANDOM_OF(random_clients), &r->client));
	if (random_is(88)) {
		random_http(arena, a);
		r->http = &a->http;
	}
	if (random_is(60))
		return;
	r->token = &a->token;
	a->token = (struct policy_token){.issuer = RANDOM_OF(random_issuers),
		.claims = a->claims,
		.claim_count = random_below(4)};
	for (uint32_t i = 0; i < a->token.claim_count; i++)
		a->claims[i] =
			(struct policy_claim){RANDOM_OF(random_claims), RANDOM_OF(random_values)};
}

static int random_place(const struct policy *policy, const struct policy *all)
{
	return policy ? (int)(policy - all) : -1;
}

static void random_compare(const char *what, const struct random_world *w,
	const struct policy_request *r, const struct policy_verdict *a,
	const struct policy_verdict *b)
{
	if (a->allowed == b->allowed && a->policy == b->policy && a->by == b->by &&
		a->would_deny == b->would_deny && a->audited == b->audited && a->noted == b->noted)
		return;
	fail_msg("seed %" PRIu64 ": %s: %d by %d (%d by %d, noted %d), want %d by %d (%d by %d, "
		 "noted %d): source '%.*s' path '%.*s' method '%.*s' host '%.*s'",
		random_seed, what, a->allowed, random_place(a->policy, w->policies), a->would_deny,
		random_place(a->audited, w->policies), random_place(a->noted, w->policies),
		b->allowed, random_place(b->policy, w->policies), b->would_deny,
		random_place(b->audited, w->policies), random_place(b->noted, w->policies),
		STR_ARG(r->source_id), STR_ARG(r->http ? r->http->path : STR("-")),
		STR_ARG(r->http ? r->http->method : STR("-")),
		STR_ARG(r->http ? r->http->authority : STR("-")));
}

/* Rule by rule what a caller may at best is the same. */
static void random_compare_might(
	struct random_world *w, const struct policy_request *request, bool might)
{
	struct policy_index *index = w->services[0].policy_index;
	w->services[0].policy_index = NULL;
	bool each = policy_might_allow(&w->s, &w->services[0], request);
	w->services[0].policy_index = index;
	if (might != each)
		fail_msg("seed %" PRIu64 ": source '%.*s' might %d, by the index %d", random_seed,
			STR_ARG(request->source_id), each, might);
}

/* Without its token: what policy_check() says of it, and whether a good one may count, by the index
 * and rule by rule. Where it may not, `with` is what it would be. */
static bool random_compare_open(struct random_world *w, const struct policy_request *request,
	const struct policy_verdict *with)
{
	struct service *orders = &w->services[0];
	struct policy_index *index = orders->policy_index;
	struct policy_request open = *request;
	open.token = NULL;
	struct policy_verdict want = policy_reference(&w->s, orders, &open), have, each;
	bool counts = policy_wants_token(&w->s, orders, &open, &have);
	orders->policy_index = NULL;
	bool counts_each = policy_wants_token(&w->s, orders, &open, &each);
	orders->policy_index = index;
	random_compare("without a token", w, request, &have, &want);
	random_compare("without a token, rule by rule", w, request, &each, &want);
	if (counts != counts_each)
		fail_msg("seed %" PRIu64 ": a token counts: %d, by the index %d", random_seed,
			counts_each, counts);
	if (!counts && have.allowed)
		random_compare("whatever the token", w, request, with, &have);
	if (!counts && with->allowed != have.allowed)
		fail_msg("seed %" PRIu64 ": a token counts that was not to", random_seed);
	return counts;
}

static void test_index_and_text_agree(void **state)
{
	static struct random_world w;
	uint64_t by_rule = 0, allowed = 0, audited = 0, indexed = 0, noted = 0, hopeless = 0,
		 open = 0;
	random_state = random_seed;
	for (uint64_t i = 0; i < random_cases;) {
		random_world_init(&w);
		struct service *orders = &w.services[0];
		for (int k = 0; k < ASKED_OF_EACH && i < random_cases; k++, i++) {
			struct random_asked a;
			random_ask(&w.s.arena, &a);
			struct policy_verdict want = policy_reference(&w.s, orders, &a.request);
			struct policy_verdict each = policy_check_each(&w.s, orders, &a.request);
			struct policy_verdict have = policy_check(&w.s, orders, &a.request);
			random_compare("rule by rule", &w, &a.request, &each, &want);
			random_compare("by the index", &w, &a.request, &have, &want);
			bool might = policy_might_allow(&w.s, orders, &a.request);
			random_compare_might(&w, &a.request, might);
			open += random_compare_open(&w, &a.request, &have);
			if (have.allowed && !might)
				fail_msg("seed %" PRIu64 ", case %" PRIu64
					 ": allowed, and nothing would be",
					random_seed, i);
			hopeless += !might;
			by_rule += have.policy != NULL;
			allowed += have.allowed;
			audited += have.would_deny;
			indexed += orders->policy_index != NULL;
			noted += have.noted != NULL;
		}
		snapshot_done(&w.s);
	}
	printf("seed %" PRIu64 ": %" PRIu64 " cases, %" PRIu64 " with an index, %" PRIu64
	       " decided by a rule, %" PRIu64 " allowed, %" PRIu64 " on trial, %" PRIu64
	       " noted, %" PRIu64 " hopeless, %" PRIu64 " by the token\n",
		random_seed, random_cases, indexed, by_rule, allowed, audited, noted, hopeless,
		open);
	assert_true(random_cases < 10000 ||
		    (by_rule > random_cases / 3 && allowed > random_cases / 10 &&
			    indexed > random_cases / 2 && hopeless > random_cases / 20 &&
			    hopeless < random_cases * 3 / 4 && open > random_cases / 50 &&
			    open < random_cases / 2));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_index_and_text_agree)};
	if (argc > 1)
		random_seed = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		random_cases = strtoull(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
