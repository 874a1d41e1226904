/* SPDX-License-Identifier: Apache-2.0 */
/* /authz, /authz/check and /authz/why. The sample's service gets more rules here. */
#include "admin/page.h"
#include "json_check.h"
#include "page_ask.h"
#include "proxy/seen_view.h"
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sample sample;
static struct process_watch process;

static struct str gets[] = {{"GET", 3}, {"HEAD", 4}}, trusted[] = {{"corp", 4}},
		  meant[] = {{"shop", 4}};
static struct route_path secret = {ROUTE_PATH_PREFIX, {"/secret", 7}},
			 below = {ROUTE_PATH_TEMPLATE, {"/a/{x}", 6}};
static struct route_field team = {{"x-team", 6}, ROUTE_TEXT_EXACT, {"blue", 4}, false};
static struct route_field groups = {{"groups", 6}, ROUTE_TEXT_EXACT, {"staff", 5}, false};
static uint16_t port = 8080;
static struct source anybody = {.kind = SOURCE_ANY, .entry = {"*", 1}};
static struct source office = {
	.kind = SOURCE_RANGE, .entry = {"10.9.0.0/16", 11}, .range = {{AF_INET, {10, 9}}, 16}};
static struct policy policies[8], *pointers[8];

static void add(struct policy p)
{
	uint32_t i = sample.services[0].policy_count++;
	policies[i] = p;
	pointers[i] = &policies[i];
}

static int setup(void **state)
{
	sample_init(&sample);
	process_watch_init(&process, sample.proxy.start_wall_ns);
	sample.services[0].policies = pointers;
	sample.services[0].policy_count = 0;
	add((struct policy){.name = STR("reads"),
		.where = STR("mesh.conf:1"),
		.from = sample.from,
		.from_count = 1,
		.to = {.methods = gets, .method_count = 2}});
	add((struct policy){.name = STR("no-secrets"),
		.where = STR("mesh.conf:2"),
		.action = POLICY_DENY,
		.to = {.paths = &secret, .path_count = 1}});
	add((struct policy){.name = STR("team"),
		.where = STR("mesh.conf:3"),
		.from = &anybody,
		.from_count = 1,
		.not_to = {.paths = &below, .path_count = 1},
		.to = {.ports = &port, .port_count = 1},
		.headers = {&team, 1}});
	add((struct policy){.name = STR("trial"),
		.where = STR("mesh.conf:4"),
		.action = POLICY_DENY,
		.mode = POLICY_AUDITED,
		.from = sample.from,
		.from_count = 1,
		.to = {.methods = gets + 1, .method_count = 1}});
	add((struct policy){.name = STR("seen"),
		.where = STR("mesh.conf:5"),
		.action = POLICY_AUDIT,
		.from = &anybody,
		.from_count = 1});
	add((struct policy){.name = STR("staff"),
		.where = STR("mesh.conf:6"),
		.token = {.is_wanted = true,
			.issuers = trusted,
			.issuer_count = 1,
			.audiences = meant,
			.audience_count = 1,
			.claims = {&groups, 1}}});
	return 0;
}

static int teardown(void **state)
{
	sample_done(&sample);
	process_watch_done(&process);
	return 0;
}

static struct page_response ask_with(const char *path, const struct reports *reports)
{
	const struct page_source source = {&sample.proxy, &process, SAMPLE_NOW_NS, reports};
	return page_ask(&source, path);
}

static void expect_with(
	const char *path, const struct reports *reports, uint16_t status, const char *part)
{
	const struct page_source source = {&sample.proxy, &process, SAMPLE_NOW_NS, reports};
	page_ask_expect(&source, path, status, part);
}

static void expect(const char *path, uint16_t status, const char *part)
{
	expect_with(path, NULL, status, part);
}

#define CHECK "/authz/check?to=orders&from="

static void who_decides(void **state)
{
	expect(CHECK "web", 200,
		"\"allowed\":true,\"barrier\":\"none\",\"policy\":\"reads\",\"where\":"
		"\"mesh.conf:1\",\"action\":\"allow\",\"would_deny\":false,\"noted\":\"seen\","
		"\"noted_where\":\"mesh.conf:5\",\"mesh_audit\":false,\"service_default\":"
		"\"mesh\",\"mesh_default\":\"deny\",\"foreign\":false");
	expect(CHECK "spiffe://far.example/x", 200, "\"foreign\":true");
	expect(CHECK "web&method=HEAD", 200,
		"\"would_deny\":true,\"audited\":\"trial\",\"audited_where\":\"mesh.conf:4\"");
	expect(CHECK "web&path=/x/..//secret/y", 200,
		"\"path\":\"/secret/y\",\"asked_path\":\"/x/..//secret/y\"");
	expect(CHECK "web&path=/secret", 200,
		"\"allowed\":false,\"barrier\":\"none\",\"policy\":\"no-secrets\"");
	expect(CHECK "other&header=x-team:blue", 200,
		"\"allowed\":true,\"barrier\":\"none\","
		"\"policy\":\"team\"");
	expect(CHECK "other&method=PUT", 200,
		"\"allowed\":false,\"barrier\":\"none\",\"policy\":\"default\",\"where\":"
		"\"mesh.default_policy\",\"would_deny\"");
	expect(CHECK "shop/x&claim=groups%3Dstaff&claim=aud%3Dshop", 200,
		"\"from\":\"spiffe://prod.example/shop/x\"");
	/* the only issuer that there is */
	expect(CHECK "shop/x&claim=groups%3Dstaff&claim=aud%3Dshop", 200, "\"policy\":\"staff\"");
	expect(CHECK "shop/x&claim=groups%3Dstaff&claim=aud%3Dshop&claim=iss%3Dx", 200,
		"\"missed\":\"token.issuers\",\"unknown\":false,\"wanted\":\"issuer corp\","
		"\"has\":\"x\"");
}

/* As the data path has it, which looks at none then: one that is good is as none. */
static void a_token_that_cannot_help(void **state)
{
	sample.services[0].policy_count = 1; /* the first of them alone, and one more */
	add((struct policy){.name = STR("banned"),
		.where = STR("mesh.conf:9"),
		.action = POLICY_DENY,
		.token = {.is_wanted = true, .claims = {&groups, 1}}});
	expect(CHECK "other&method=PUT", 200,
		"\"allowed\":false,\"barrier\":\"none\",\"policy\":\"banned\"");
	expect(CHECK "other&method=PUT&claim=groups%3Dx", 200, "\"policy\":\"banned\"");
	expect(CHECK "web", 200, "\"allowed\":false,\"barrier\":\"none\",\"policy\":\"banned\"");
	expect(CHECK "web&claim=groups%3Dx", 200,
		"\"allowed\":true,\"barrier\":\"none\",\"policy\":\"reads\"");
}

static void why_not_the_others(void **state)
{
	expect(CHECK "web&method=PUT", 200,
		"{\"name\":\"reads\",\"where\":\"mesh.conf:1\",\"action\":\"allow\",\"mode\":"
		"\"enforce\",\"matches\":false,\"part\":\"missed\",\"missed\":\"methods\","
		"\"unknown\":false,\"wanted\":\"methods GET or HEAD\",\"has\":\"PUT\"}");
	expect(CHECK "web", 200, "\"wanted\":\"paths /secret/*\",\"has\":\"/\"");
	expect(CHECK "web&path=/a/7", 200,
		"\"missed\":\"not_paths\",\"unknown\":false,\"wanted\":"
		"\"not_paths /a/{x}\",\"has\":\"/a/7\"");
	expect(CHECK "web", 200,
		"\"missed\":\"headers\",\"unknown\":false,\"wanted\":\"header x-team exact "
		"\\\"blue\\\"\",\"has\":null");
	expect(CHECK "web&header=x-team:red", 200, "\"has\":\"\\\"red\\\"\"");
	expect(CHECK "web&header=x-team:blue", 200,
		"\"name\":\"team\",\"where\":\"mesh.conf:3\",\"action\":\"allow\",\"mode\":"
		"\"enforce\",\"matches\":true,\"part\":\"less exact\"}");
	expect(CHECK "web", 200, "\"missed\":\"token\",\"unknown\":true,\"wanted\":\"a token\"");
	expect(CHECK "web&claim=groups%3Dx&claim=aud%3Dshop", 200,
		"\"wanted\":\"claim groups exact \\\"staff\\\"\",\"has\":\"\\\"x\\\"\"");
	expect(CHECK "web&method=HEAD", 200, "\"part\":\"audited\"}");
	expect(CHECK "web", 200, "\"part\":\"noted\"}");
	expect(CHECK "web&port=9000", 200, "\"wanted\":\"ports 8080\",\"has\":\"9000\"");
	expect(CHECK "10.9.1.2", 200, "\"wanted\":\"from web\",\"has\":\"anonymous at 10.9.1.2\"");
	policies[2] = (struct policy){.name = STR("also"), .action = POLICY_ALLOW};
	policies[5] = (struct policy){.name = STR("nobody"), .action = POLICY_DENY};
	expect(CHECK "web&path=/secret", 200, "\"part\":\"later\"");
	policies[5].from = &anybody;
	policies[5].from_count = 1;
	expect(CHECK "other", 200, "\"part\":\"outvoted\"");
}

static void what_comes_before_the_rules(void **state)
{
	expect(CHECK "web&path=/a%252fb", 200,
		"\"allowed\":false,\"barrier\":\"path\",\"policy\":");
	expect(CHECK "web&path=/a%252fb", 200, "\"rules\":[]");
	expect(CHECK "anonymous", 200, "\"allowed\":false,\"barrier\":\"mtls\"");
	expect(CHECK "10.9.1.2&client=10.8.0.1", 200, "\"client\":\"10.9.1.2\"");
	expect(CHECK "web&tcp=1", 200,
		"\"allowed\":false,\"barrier\":\"http\",\"barrier_policy\":\"no-secrets\","
		"\"barrier_where\":\"mesh.conf:2\"");
	sample.snapshot.is_audited = true;
	expect(CHECK "web&tcp=1", 200, "\"allowed\":true,\"barrier\":\"none\"");
	expect(CHECK "web&tcp=1", 200, "\"would_deny\":true");
	sample.services[0].mtls = MTLS_DISABLED;
	expect(CHECK "web", 200, "\"identity\":false,\"mtls\":\"disabled\"");
}

/* In the plain nobody is seen; but on the same machine no text goes anywhere. */
static void callers_beside_a_service_in_the_plain(void **state)
{
	sample.services[0].mtls = MTLS_DISABLED;
	sample.services[0].mtls_port_count = 0;
	expect(CHECK "web", 200,
		"\"otherwise\":[{\"from\":\"spiffe://prod.example/service/web\",\"neighbour\":true,"
		"\"allowed\":true,\"policy\":\"reads\",\"where\":\"mesh.conf:1\"}],"
		"\"allowed\":false");
	expect(CHECK "web&path=/secret", 200, "\"otherwise\":[],\"allowed\":false");
	expect(CHECK "anonymous", 200, "\"otherwise\":[],\"allowed\":false");
}

/* Of a service that no file or store knows an endpoint of the workload here is asked all the same.
 */
static void a_workload_that_is_no_endpoint(void **state)
{
	sample.services[0].endpoint_count = 0;
	expect(CHECK "web", 200, "\"port\":8080");
	expect(CHECK "web", 200, "\"machines\":[],\"machine_count\":0,\"here\":true");
	expect("/authz?service=orders", 200, "\"here\":true");
	sample.workloads[0].port = 0; /* it serves nothing */
	expect(CHECK "web", 200, "\"machine_count\":0,\"here\":false");
	expect("/authz?service=orders", 200, "\"here\":false");
}

static void callers_of_no_service(void **state)
{
	expect(CHECK "wbe", 200,
		"\"from\":\"spiffe://prod.example/service/wbe\",\"undeclared\":\"wbe\","
		"\"like\":\"web\"");
	expect(CHECK "somebody", 200, "\"undeclared\":\"somebody\",\"like\":null");
	expect(CHECK "web", 200, "\"from\":\"spiffe://prod.example/service/web\",\"to\":");
	expect(CHECK "shop/x", 200, "\"from\":\"spiffe://prod.example/shop/x\",\"to\":");
}

/* What the data path refuses is not said to be let in. */
static void what_no_proxy_lets_through(void **state)
{
	static const char *const methods[] = {
		"get", "Get", "CONNECT", "TRACE", "FOO", "", "GET%20X"};
	static const char *const names[] = {"x_team", "x%20team", "%C3%A9"};
	static const char *const own[] = {
		"Connection", "Transfer-Encoding", "x-ringmain-route", "X-Forwarded-Client-Cert"};
	char path[128];
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		snprintf(path, sizeof(path), CHECK "web&method=%s", methods[i]);
		expect(path, 400, "is none that a proxy would let through: one that is known");
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), CHECK "web&header=%s:1", names[i]);
		expect(path, 400, "is no name that a proxy would let through");
	}
	for (size_t i = 0; i < ARRAY_LEN(own); i++) {
		snprintf(path, sizeof(path), CHECK "web&header=%s:1", own[i]);
		expect(path, 400, "is the proxies' own, and no rule sees it");
	}
	expect(CHECK "web&header=Host:x", 400, "give the host as host");
	expect(CHECK "web&path=*", 200, "\"allowed\":false,\"barrier\":\"path\"");
	expect(CHECK "web&path=*&method=OPTIONS", 200, "\"barrier\":\"none\"");
	expect(CHECK "web&method=PURGE", 200, "\"barrier\":\"none\"");
}

static void who_is_asked(void **state)
{
	struct str ids[] = {STR("spiffe://prod.example/service/web-old"),
		STR("spiffe://prod.example/service/web")};
	expect(CHECK "web", 200,
		"\"machines\":[\"10.77.0.2\"],\"machine_count\":1,\"here\":true,\"otherwise\":[]");
	sample.endpoints[0].local = NULL;
	sample.workloads[0].port = 0;
	expect(CHECK "web", 200, "\"machine_count\":2,\"here\":false");
	sample.services[1].ids = ids;
	sample.services[1].id_count = 2;
	expect(CHECK "web", 200,
		"\"otherwise\":[{\"from\":\"spiffe://prod.example/service/"
		"web\",\"neighbour\":false,"
		"\"allowed\":true,\"policy\":\"reads\",\"where\":\"mesh.conf:1\"}]");
}

static void what_is_no_question(void **state)
{
	expect("/authz/check?from=web", 400, "to which service?");
	expect("/authz/check?from=web&to=none", 404, "no service \"none\"");
	expect(CHECK "*", 400, "\"*\" is many callers");
	expect(CHECK "shop/*", 400, "is many callers");
	expect(CHECK "10.0.0.0/8", 400, "which address of 10.0.0.0/8?");
	expect(CHECK "Web", 400, "\"Web\" is no service, identity or address");
	expect(CHECK "web&port=0", 400, "port: 1 to 65535");
	expect(CHECK "web&host=a%20b", 400, "\"a b\" is none that a proxy would let through");
	expect(CHECK "web&client=x", 400, "client: an address");
	expect(CHECK "web&claim=x", 400, "is no claim");
	expect("/authz?x=orders", 400, "?service=NAME");
	expect("/authz?service=", 400, "?service=NAME");
	expect("/authz?service=none", 404, "no service \"none\"");
	expect("/authz?service=no%20ne", 404, "no service \"no ne\" is known here\n");
	expect("/authz?service=oders", 404, "is known here; did you mean \"orders\"?\n");
	expect("/authz/check?from=web&to=oders", 404, "did you mean \"orders\"?");
	expect("/authz/seen?x=orders", 400, "?service=NAME");
	expect("/authz/seen?service=", 400, "?service=NAME");
	expect("/authz/seen?service=none", 404, "no service \"none\"");
	expect("/authz/why", 400, "?id=ID");
	expect("/authz/why?id=", 400, "?id=ID");
	expect("/authz/why?id=%zz", 400, "?id=ID");
	sample.proxy.plan = NULL;
	expect(CHECK "web", 503, "no configuration");
	expect("/authz", 503, "no configuration");
	expect("/authz/seen", 503, "no configuration");
	expect("/authz/why?id=x", 503, "no configuration");
}

/* --- what was let in --- */

static void add_seen(struct seen_view *v, const char *source, const char *path, uint64_t count)
{
	struct seen_entry *e = &v->entries[v->count++];
	int len = snprintf(e->text, sizeof(e->text), "%sorders%s%s", source, path ? "GET" : "",
		path ? path : "");
	assert_in_range(len, 1, sizeof(e->text));
	e->source_len = (uint8_t)strlen(source);
	e->service_len = 6;
	e->is_http = path != NULL;
	e->method_len = path ? 3 : 0;
	e->path_len = path ? (uint8_t)strlen(path) : 0;
	e->port = 8080;
	e->count = count;
	v->let_in += count;
}

/* Two of three workers answer. */
static void what_was_let_in(void **state)
{
	static struct seen_view views[2];
	static struct report of[2] = {{.seen = &views[0]}, {.seen = &views[1]}};
	struct report *all[3] = {&of[0], NULL, &of[1]};
	const struct reports reports = {.count = 3, .of = all};
	memset(views, 0, sizeof(views));
	views[0].since_wall_ns = SAMPLE_NOW_NS;
	views[1].since_wall_ns = SAMPLE_NOW_NS + 1;
	views[1].lost = 4;
	views[1].coarse = 5;
	add_seen(&views[0], "spiffe://prod.example/service/web", "/a/{id}", 2);
	add_seen(&views[1], "10.1.2.0/24", NULL, 1);
	add_seen(&views[1], "spiffe://prod.example/shop/x", "/b", 1);
	add_seen(&views[1], "spiffe://other.example/shop/x", "/b", 1);
	add_seen(&views[1], "spiffe://prod.example/service/web", "/a/{id}", 3);
	const char *path = "/authz/seen?service=orders";
	expect_with(path, &reports, 200,
		"\"let_in\":8,\"coarse\":5,\"lost\":4,\"workers\":3,\"workers_answered\":2,"
		"\"seen\":[{\"service\":\"orders\",\"port\":8080,\"from\":\"10.1.2.0/24\","
		"\"http\":false,\"count\":1},{");
	expect_with(path, &reports, 200,
		"\"from\":\"web\",\"http\":true,\"method\":\"GET\",\"path\":\"/a/{id}\","
		"\"count\":5}");
	expect_with(path, &reports, 200, "\"from\":\"shop/x\"");
	expect_with(path, &reports, 200, "\"from\":\"spiffe://other.example/shop/x\"");
	expect_with("/authz/seen?service=web", &reports, 200, "\"seen\":[]");
	expect("/authz/seen", 200, "\"seen\":[]");
	expect("/authz/seen", 200, "{\"node\":\"vm-a\",");
}

/* An entry that would be read as another caller opens a door to him. */
static void callers_are_named_for_what_they_are(void **state)
{
	static struct seen_view view;
	static struct report of = {.seen = &view};
	struct report *all[1] = {&of};
	const struct reports reports = {.count = 1, .of = all};
	static const char *const whole[] = {"spiffe://prod.example/web",
		"spiffe://prod.example/anonymous", "spiffe://prod.example/10.0.0.0/8"};
	memset(&view, 0, sizeof(view));
	for (size_t i = 0; i < ARRAY_LEN(whole); i++)
		add_seen(&view, whole[i], "/a", 1);
	add_seen(&view, "spiffe://prod.example/service/gone", "/a", 1);
	for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
		char part[128];
		snprintf(part, sizeof(part), "\"from\":\"%s\"", whole[i]);
		expect_with("/authz/seen", &reports, 200, part);
	}
	expect_with("/authz/seen", &reports, 200, "\"from\":\"service/gone\"");
}

/* --- list --- */

static void rows_as_they_count(void **state)
{
	struct page_response r = ask_with("/authz?service=orders", NULL);
	static const char *const names[] = {
		"no-secrets", "trial", "reads", "team", "staff", "seen"};
	const char *at = r.body;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char part[64];
		int len = snprintf(part, sizeof(part), "\"name\":\"%s\"", names[i]);
		at = memmem(at, (size_t)(r.body + r.body_len - at), part, (size_t)len);
		if (!at)
			fail_msg("%s is not in its place in:\n%s", names[i], r.body);
	}
	assert_true(json_valid(r.body, r.body_len));
	page_response_done(&r);
	expect("/authz?service=orders", 200,
		"{\"from\":\"*\",\"not_from\":null,\"name\":\"team\",\"action\":\"allow\",\"mode\":"
		"\"enforce\",\"when\":[\"ports 8080\",\"not_paths /a/{x}\",\"header x-team exact "
		"\\\"blue\\\"\"],\"where\":\"mesh.conf:3\"}");
	expect("/authz?service=orders", 200,
		"\"when\":[\"issuer corp\",\"audience shop\",\"claim groups exact "
		"\\\"staff\\\"\"]");
	expect("/authz?service=orders", 200,
		"\"service\":\"orders\",\"protocol\":\"http\",\"mtls\":\"strict\",");
	expect("/authz?service=orders", 200,
		"\"here\":true,\"default\":\"deny\",\"default_where\":\"mesh.default_policy\","
		"\"default_closed\":false");
	sample.snapshot.default_allow = true;
	expect("/authz?service=orders", 200,
		"\"default\":\"deny\",\"default_where\":\"mesh."
		"default_policy\",\"default_closed\":true");
	sample.services[0].policy_default = POLICY_DEFAULT_AUTHENTICATED;
	expect("/authz?service=orders", 200,
		"\"default\":\"authenticated\",\"default_where\":\"services.default_policy\"");
}

/* Makes a second rule of the sample one that `never` decides. */
static void expect_never(struct policy plain, struct policy hidden, const char *never)
{
	char part[64];
	sample.services[0].policy_count = 0;
	plain.name = STR("plain");
	hidden.name = STR("hidden");
	add(plain);
	add(hidden);
	if (never) {
		snprintf(part, sizeof(part), "\"never\":\"%s\"", never);
		expect("/authz?service=orders", 200, part);
		return;
	}
	struct page_response r = ask_with("/authz?service=orders", NULL);
	if (memmem(r.body, r.body_len, "\"never\"", 7))
		fail_msg("%s", r.body);
	page_response_done(&r);
}

static void rules_that_never_decide(void **state)
{
	struct policy deny = {.action = POLICY_DENY, .from = sample.from, .from_count = 1};
	struct policy allow = {.action = POLICY_ALLOW, .from = sample.from, .from_count = 1};
	struct policy some = allow, all = {.action = POLICY_DENY};
	some.to = (struct policy_operations){.methods = gets, .method_count = 1};
	expect_never(deny, allow, "outvoted");
	expect_never(allow, deny, "outvoted"); /* whatever their order */
	expect_never(allow, some, "later");
	expect_never(some, allow, NULL);
	expect_never(all, allow, "outvoted");
	expect_never(all, deny, "later");
	some.action = POLICY_DENY;
	expect_never(some, allow, NULL);
	struct policy any = allow;
	any.from = &anybody;
	expect_never(any, allow, NULL); /* the other one is more exact */
	expect_never(any, (struct policy){.action = POLICY_ALLOW}, "later");
	deny.mode = POLICY_AUDITED;
	expect_never(deny, allow, NULL);
	struct policy range = allow;
	range.from = &office;
	expect_never(range, any, NULL); /* a port of it is not strict */
	sample.services[0].mtls_port_count = 0;
	expect_never(range, any, "strict");
	sample.services[0].mtls = MTLS_PERMISSIVE;
	expect_never(range, any, NULL);
	deny.mode = POLICY_ENFORCED;
	expect_never(deny, range, "unknown");
	deny.to = (struct policy_operations){.methods = gets, .method_count = 1};
	expect_never(deny, range, NULL);
	sample.services[0].mtls = MTLS_DISABLED;
	expect_never(range, any, "disabled");
	sample.services[0].mtls = MTLS_STRICT;
	some.action = POLICY_ALLOW;
	sample.services[0].protocol = PROTOCOL_TCP;
	expect_never(any, some, "tcp");
}

static void services_in_short(void **state)
{
	expect("/authz", 200, "\"allow\":3,\"deny\":2,\"audit\":1,\"on_trial\":1}");
	expect("/authz", 200,
		"\"service\":\"web\",\"protocol\":\"detect\",\"mtls\":\"permissive\"");
}

/* A list that is cut says so. */
static void what_is_cut_says_so(void **state)
{
	static struct route_path many[300];
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (struct route_path){ROUTE_PATH_EXACT, {"/some/path", 10}};
	for (size_t len = 1; len <= 10; len++) {
		many[0].text.len = len;
		sample.services[0].policy_count = 0;
		add((struct policy){
			.name = STR("many"), .to = {.paths = many, .path_count = ARRAY_LEN(many)}});
		expect("/authz?service=orders", 200, " ...\"],\"where\"");
	}
}

/* --- why --- */

static struct report told[2];
static struct report *of[3] = {&told[0], NULL, &told[1]};
static const struct reports reports = {.count = 3, .of = of};

static void put(struct decision *d, enum decision_text which, const char *text)
{
	size_t start = 0, len = strlen(text);
	for (int i = 0; i < (int)which; i++)
		start += d->lens[i];
	d->lens[which] = (uint8_t)len;
	memcpy(d->text + start, text, len);
}

static struct decision decided(uint64_t wall_ns)
{
	struct decision d = {.wall_ns = wall_ns,
		.connection = 7,
		.plan_number = 4,
		.client = {.family = AF_INET, .ip = {10, 1, 1, 1}, .port = 99},
		.port = 8080,
		.status = 403,
		.reason = "POLICY_DENIED",
		.reason_text = "policy does not allow it",
		.is_http = true,
		.is_here = true,
		.is_refused = true};
	put(&d, DECISION_ID, "r1");
	put(&d, DECISION_SERVICE, "orders");
	put(&d, DECISION_POLICY, "gone");
	put(&d, DECISION_WHERE, "mesh.conf:77");
	put(&d, DECISION_SOURCE, "spiffe://prod.example/service/web");
	put(&d, DECISION_METHOD, "GET");
	put(&d, DECISION_HOST, "orders");
	put(&d, DECISION_PATH, "/x");
	return d;
}

static void what_became_of_it(void **state)
{
	const char *path = "/authz/why?id=r1";
	memset(told, 0, sizeof(told));
	sample.plan.number = 4;
	sample.conf.access_log = STR("/var/log/access.log");
	expect_with(path, &reports, 200,
		"\"access_log\":\"/var/log/access.log\",\"decisions\":[],\"known\":false,"
		"\"started\":\"2026-11-23T18:00:00.000Z\",\"workers\":3,\"workers_answered\":2}");
	told[0].decisions.let_in_since_ns = SAMPLE_NOW_NS - 1000000000ull;
	told[1].decisions.let_in_since_ns = SAMPLE_NOW_NS - 2000000000ull;
	expect_with(path, &reports, 200, "\"let_in_since\":\"2026-11-23T19:59:59.000Z\"");
	told[1].decisions.found_count = 1;
	told[1].decisions.found[0] = decided(SAMPLE_NOW_NS);
	expect_with(path, &reports, 200,
		"\"decisions\":[{\"time\":\"2026-11-23T20:00:00.000Z\",\"http\":true,\"outbound\":"
		"false,\"mirror\":false,\"connection\":7,\"from\":\"spiffe://prod.example/service/"
		"web\",\"client\":\"10.1.1.1:99\",\"service\":\"orders\",\"port\":8080,\"method\":"
		"\"GET\",\"host\":\"orders\",\"path\":\"/x\",\"here\":true,\"refused\":true,"
		"\"status\":403,\"reason\":\"POLICY_DENIED\",\"reason_text\":\"policy does not "
		"allow it\",");
	expect_with(path, &reports, 200,
		"\"policy\":\"gone\",\"where\":\"mesh.conf:77\",\"cut\":false,\"is_old\":false}]");
	/* the one that went before comes first */
	told[0].decisions.found_count = 1;
	told[0].decisions.found[0] = decided(SAMPLE_NOW_NS - 1000000000ull);
	expect_with(path, &reports, 200, "\"decisions\":[{\"time\":\"2026-11-23T19:59:59.000Z\"");
}

static void what_it_would_be_now(void **state)
{
	const char *path = "/authz/why?id=r1";
	memset(told, 0, sizeof(told));
	told[0].decisions.found_count = 1;
	told[0].decisions.found[0] = decided(SAMPLE_NOW_NS);
	sample.plan.number = 5;
	expect_with(path, &reports, 200,
		"\"is_old\":true,\"now\":{\"identity\":true,\"allowed\":true,\"barrier\":\"none\","
		"\"policy\":\"reads\"");
	expect_with(path, &reports, 200, "\"unsure\":true}");
	sample.services[0].policy_count = 2;
	expect_with(path, &reports, 200, "\"unsure\":false}");
	told[0].decisions.found[0].is_cut = true;
	expect_with(path, &reports, 200, "\"cut\":true,\"is_old\":true}");
}

static void workers_are_asked(void **state)
{
	struct worker *workers[2] = {NULL, NULL};
	sample.proxy.workers = workers;
	struct page_response r = ask_with("/authz/why?id=a%20b", NULL);
	assert_true(r.await_reports);
	assert_int_equal(r.asked_id_len, 3);
	assert_memory_equal(r.asked_id, "a b", 3);
	page_response_done(&r);
	r = ask_with(
		"/authz/why?id=0123456789012345678901234567890123456789012345678901234567890123"
		"456789",
		NULL);
	assert_int_equal(r.asked_id_len, DECISION_ID_MAX);
	page_response_done(&r);
	r = ask_with("/authz/seen", NULL);
	assert_true(r.await_reports && r.asks_seen);
	page_response_done(&r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_decides),
		TEST(a_token_that_cannot_help),
		TEST(why_not_the_others),
		TEST(what_comes_before_the_rules),
		TEST(callers_beside_a_service_in_the_plain),
		TEST(a_workload_that_is_no_endpoint),
		TEST(callers_of_no_service),
		TEST(what_no_proxy_lets_through),
		TEST(who_is_asked),
		TEST(what_is_no_question),
		TEST(what_was_let_in),
		TEST(callers_are_named_for_what_they_are),
		TEST(rows_as_they_count),
		TEST(rules_that_never_decide),
		TEST(services_in_short),
		TEST(what_is_cut_says_so),
		TEST(what_became_of_it),
		TEST(what_it_would_be_now),
		TEST(workers_are_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
