/* SPDX-License-Identifier: Apache-2.0 */
/* Rollouts: what a row says, what is wrong with one, and what becomes of routes by one. */
#include "conf_fixture.h"

#include "balance/split.h"
#include "conf/objects.h"
#include "conf/rollouts.h"
#include "mesh/rollout.h"
#include "mesh/route.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SERVICES                                                                                   \
	"services: ( { name = \"orders\"; port = 80; protocol = \"http\"; address = "              \
	"\"10.96.0.1\"; endpoints = ( { address = \"10.0.0.1\"; version = \"v1\"; }, { address = " \
	"\"10.0.0.2\"; version = \"v2\"; }, { address = \"10.0.0.3\"; version = \"v3\"; } ); }, "  \
	"{ "                                                                                       \
	"name = \"next\"; port = 80; protocol = \"http\"; address = \"10.96.0.2\"; endpoints = ( " \
	"{ address = \"10.0.0.4\"; } ); }, { name = \"cache\"; port = 6379; protocol = \"tcp\"; "  \
	"address = \"10.96.0.3\"; endpoints = ( { address = \"10.0.0.5\"; version = \"v1\"; }, { " \
	"address = \"10.0.0.6\"; version = \"v2\"; } ); }, { name = \"web\"; } );\n"
#define RULE(more)                                                                      \
	"rollouts: ( { service = \"orders\"; from = \"v1\"; to = \"v2\"; attempt = 3; " \
	"steps = [ 1, 5, 25, 50, 100 ]; " more " } );\n"
#define ROUTE(rules) "routes: ( { service = \"orders\"; rules = (\n" rules " ); } );\n"
#define PROGRESS(state, step)                                                                \
	"rollout 1\nattempt 3\nfrom v1\nto v2\nstate " state "\nstep " step "\nsince 1000\n" \
	"node vm-a\nwhy 1 % was good\n"

static void parse(struct fixture *f, const char *rollout, const char *routes, const char *progress)
{
	fixture_init(f);
	fixture_tell(f, "mesh", "service/orders@1", SERVICES);
	fixture_tell(f, "mesh", "rollout/orders@1", rollout);
	if (routes)
		fixture_tell(f, "mesh", "route/orders@1", routes);
	if (progress)
		fixture_tell(f, "rollout", "orders", progress);
	fixture_parse_good(f, FIXTURE_STORE, NULL);
	if (f->report.text)
		fail_msg("%s", f->report.text);
}

static const struct service *service_of(const struct fixture *f, const char *name)
{
	const struct service *service = snapshot_service(f->snapshot, str_of(name));
	assert_non_null(service);
	return service;
}

static const struct route_rule *rule_of(const struct fixture *f, const char *name, uint32_t index)
{
	const struct route *route = service_of(f, name)->route;
	assert_non_null(route);
	assert_in_range(index, 0, route->rule_count - 1);
	return &route->rules[index];
}

static void assert_text(struct str text, const char *expected)
{
	if (!str_eq(text, str_of(expected)))
		fail_msg("\"%.*s\" instead of \"%s\"", STR_ARG(text), expected);
}

/* "v1 95, v2 5" */
static void assert_legs(const struct route_rule *rule, const char *expected)
{
	char text[512] = "";
	size_t len = 0;
	for (uint32_t i = 0; i < rule->leg_count; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%.*s %u", i ? ", " : "",
			STR_ARG(rule->legs[i].version.len ? rule->legs[i].version : STR("any")),
			rule->legs[i].weight);
	if (strcmp(text, expected) != 0)
		fail_msg("%.*s: %s instead of %s", STR_ARG(rule->name), text, expected);
}

/* --- shares --- */

static void test_progress_decides(void **state)
{
	static const struct {
		const char *more, *progress, *legs, *state;
	} rows[] = {
		{"", NULL, "v1 1, v2 0", "waiting"},
		{"", PROGRESS("stepping", "0"), "v1 99, v2 1", "stepping"},
		{"", PROGRESS("stepping", "1"), "v1 19, v2 1", "stepping"},
		{"", PROGRESS("held", "2"), "v1 3, v2 1", "held"},
		{"", PROGRESS("paused", "3"), "v1 1, v2 1", "paused"},
		{"", PROGRESS("stepping", "4"), "v1 0, v2 1", "stepping"},
		{"", PROGRESS("done", "4"), "v1 0, v2 1", "done"},
		{"", PROGRESS("rolled-back", "2"), "v1 1, v2 0", "rolled-back"},
		/* of another attempt, or of more steps than there are */
		{"", "rollout 1\nattempt 2\nfrom v1\nto v2\nstate done\nstep 1\nsince 1\n",
			"v1 1, v2 0", "waiting"},
		{"", PROGRESS("stepping", "5"), "v1 1, v2 0", "waiting"},
		/* the operator's word counts whatever it says */
		{"order = \"abort\";", PROGRESS("done", "4"), "v1 1, v2 0", "done"},
		{"order = \"promote\";", NULL, "v1 0, v2 1", "waiting"},
		{"order = \"pause\";", NULL, "v1 1, v2 0", "waiting"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture f;
		char rollout[1024];
		snprintf(rollout, sizeof(rollout), "%.*s%s } );\n", (int)strlen(RULE("")) - 6,
			RULE(""), rows[i].more);
		parse(&f, rollout, NULL, rows[i].progress);
		const struct route_rule *rule = rule_of(&f, "orders", 0);
		assert_legs(rule, rows[i].legs);
		assert_text(rule->name, "orders/rollout");
		assert_text(f.snapshot->rollouts[0].state, rows[i].state);
		assert_ptr_equal(rule->legs[0].rollout, &f.snapshot->rollouts[0]);
		assert_ptr_equal(service_of(&f, "orders")->rollout, &f.snapshot->rollouts[0]);
		/* what the legs lead to is there */
		assert_int_equal(
			service_subset(rule->legs[0].service, STR("v2"))->endpoint_count, 1);
		fixture_done(&f);
	}
}

/* What the store says and is none: the new version gets nothing, and it is said. */
static void test_hostile_progress(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "service/orders@1", SERVICES);
	fixture_tell(&f, "mesh", "rollout/orders@1", RULE(""));
	fixture_tell(&f, "rollout", "orders", "rollout 1\nattempt 3\nstate mad\n");
	fixture_parse_good(&f, FIXTURE_STORE, NULL);
	assert_legs(rule_of(&f, "orders", 0), "v1 1, v2 0");
	if (!f.report.text || !strstr(f.report.text, "its progress in the store is not taken, so "
						     "\"v2\" gets nothing: line 3, \"state mad\""))
		fail_msg("%s", f.report.text);
	fixture_done(&f);
}

static void test_legs_of_rules(void **state)
{
	struct fixture f;
	parse(&f, RULE(""),
		ROUTE("{ name = \"a\"; match = { path = \"/a\"; }; split = ( { version = \"v1\"; "
		      "weight = 80; }, { version = \"v3\"; weight = 10; }, { version = \"v2\"; "
		      "weight = 10; } ); }, { name = \"b\"; match = { path = \"/b\"; }; timeout = "
		      "\"2s\"; }, { name = \"c\"; match = { path = \"/c\"; }; split = ( { service "
		      "= "
		      "\"next\"; weight = 1; }, { weight = 1; } ); }, { name = \"d\"; match = { "
		      "path "
		      "= \"/d\"; }; respond = { status = 404; }; }"),
		PROGRESS("stepping", "2"));
	assert_legs(rule_of(&f, "orders", 0), "v1 6, v2 2, v3 1, v2 1");
	assert_null(rule_of(&f, "orders", 0)->legs[3].rollout);
	assert_legs(rule_of(&f, "orders", 1), "v1 3, v2 1");
	assert_int_equal(rule_of(&f, "orders", 1)->timeout_ms, 2000);
	assert_legs(rule_of(&f, "orders", 2), "any 4, v1 3, v2 1");
	assert_int_equal(rule_of(&f, "orders", 3)->leg_count, 0);
	/* what none of them matches */
	assert_legs(rule_of(&f, "orders", 4), "v1 3, v2 1");
	assert_text(rule_of(&f, "orders", 4)->name, "orders/rollout");
	assert_int_equal(rule_of(&f, "orders", 4)->index, ROUTE_INDEX_ROLLOUT);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(rule_of(&f, "orders", i)->index, i);
	assert_int_equal(service_of(&f, "orders")->route->rule_count, 5);
	fixture_done(&f);
	/* nothing is left for it when a rule takes all */
	parse(&f, RULE(""), ROUTE("{ timeout = \"2s\"; }"), PROGRESS("stepping", "2"));
	assert_int_equal(service_of(&f, "orders")->route->rule_count, 1);
	fixture_done(&f);
}

/* Calls that come by another service's route are calls, too. */
static void test_legs_from_another_route(void **state)
{
	struct fixture f;
	parse(&f, RULE(""),
		"routes: ( { service = \"next\"; rules = ( { split = ( { service = \"orders\"; "
		"weight "
		"= 1; }, { weight = 3; } ); } ); } );\n",
		PROGRESS("stepping", "3"));
	assert_legs(rule_of(&f, "next", 0), "v1 1, v2 1, any 6");
	assert_legs(rule_of(&f, "orders", 0), "v1 1, v2 1");
	fixture_done(&f);
}

static void test_tcp(void **state)
{
	struct fixture f;
	parse(&f,
		"rollouts: ( { service = \"cache\"; from = \"v1\"; to = \"v2\"; attempt = 3; steps "
		"= "
		"100; order = \"promote\"; } );\n",
		NULL, NULL);
	const struct route_request opaque = {.is_http = false};
	size_t prefix_len;
	const struct route_rule *rule =
		route_match(f.snapshot, service_of(&f, "cache")->route, &opaque, &prefix_len);
	assert_legs(rule, "v1 0, v2 1");
	fixture_done(&f);
}

/* --- availability --- */

#define RECORD(v1, v2)                                                    \
	"ringmain 1\nnode vm-b\nstart 1\nnumber 1\nendpoint stock v1 " v1 \
	" 100 10.77.0.2:8080\nendpoint stock v2 " v2 " 100 10.77.0.3:8080\n"

static void test_calls_go_where_somebody_is(void **state)
{
	static const struct {
		const char *record, *progress, *legs;
	} rows[] = {
		{RECORD("up", "up"), PROGRESS("stepping", "2"), "v1 3, v2 1"},
		{RECORD("up", "down"), PROGRESS("stepping", "2"), "v1 1, v2 0"},
		{RECORD("up", "drained"), PROGRESS("done", "4"), "v1 1, v2 0"},
		{RECORD("down", "up"), PROGRESS("rolled-back", "2"), "v1 0, v2 1"},
		{RECORD("down", "up"), NULL, "v1 0, v2 1"},
		{RECORD("down", "down"), PROGRESS("stepping", "2"), "v1 3, v2 1"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture f;
		fixture_init(&f);
		fixture_tell(&f, "mesh", "service/stock@1",
			"services: ( { name = \"stock\"; port = 8080; protocol = \"http\"; address "
			"= \"10.96.0.9\"; } );\n");
		fixture_tell(&f, "mesh", "rollout/stock@1",
			"rollouts: ( { service = \"stock\"; from = \"v1\"; to = \"v2\"; attempt = "
			"3; "
			"steps = [ 1, 5, 25, 50, 100 ]; preview = { headers = ( { name = \"x\"; "
			"present "
			"= true; } ); }; } );\n");
		fixture_tell(&f, "node", "vm-b", rows[i].record);
		if (rows[i].progress)
			fixture_tell(&f, "rollout", "stock", rows[i].progress);
		fixture_parse_good(&f, FIXTURE_STORE, NULL);
		/* testers get what they have asked for, or nothing */
		assert_legs(rule_of(&f, "stock", 0), "v2 1");
		assert_legs(rule_of(&f, "stock", 1), rows[i].legs);
		fixture_done(&f);
	}
}

#define ZONED(node, zone, version, health, address)                                            \
	"ringmain 1\nnode " node "\nstart 1\nnumber 1\nzone " zone "\nendpoint stock " version \
	" " health " 100 " address ":8080\n"
#define STORE_IN(zone)                                                           \
	"node: { name = \"vm-a\"; address = \"10.77.0.1\"; zone = \"" zone       \
	"\"; };\nmesh: { trust_domain = \"prod.example\"; };\nstate: { redis = " \
	"\"10.77.0.10:6379\"; operators = \"/etc/ringmain/alice.pub\"; };\n"

/* Where no call may leave its zone, who is elsewhere is not there. */
static void test_calls_that_stay_in_their_zone(void **state)
{
	static const struct {
		const char *zones, *node, *legs;
	} rows[] = {
		{"strict", STORE_IN("a"), "v1 1, v2 0"}, /* v2 is in zone b only */
		{"strict", STORE_IN("b"), "v1 3, v2 1"}, /* both are there */
		{"strict", STORE_IN("c"), "v1 3, v2 1"}, /* nobody is: no share is better */
		{"prefer", STORE_IN("a"), "v1 3, v2 1"},
		{"ignore", STORE_IN("a"), "v1 3, v2 1"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture f;
		char service[256];
		snprintf(service, sizeof(service),
			"services: ( { name = \"stock\"; port = 8080; protocol = \"http\"; "
			"address = \"10.96.0.9\"; zones = \"%s\"; } );\n",
			rows[i].zones);
		fixture_init(&f);
		fixture_tell(&f, "mesh", "service/stock@1", service);
		fixture_tell(&f, "mesh", "rollout/stock@1",
			"rollouts: ( { service = \"stock\"; from = \"v1\"; to = \"v2\"; attempt = "
			"3; steps = [ 1, 5, 25, 50, 100 ]; } );\n");
		fixture_tell(&f, "node", "vm-b", ZONED("vm-b", "a", "v1", "up", "10.77.0.2"));
		fixture_tell(&f, "node", "vm-c", ZONED("vm-c", "b", "v2", "up", "10.77.0.3"));
		fixture_tell(&f, "node", "vm-d", ZONED("vm-d", "b", "v1", "up", "10.77.0.4"));
		fixture_tell(&f, "rollout", "stock", PROGRESS("stepping", "2"));
		fixture_parse_good(&f, rows[i].node, NULL);
		assert_legs(rule_of(&f, "stock", 0), rows[i].legs);
		fixture_done(&f);
	}
}

/* --- preview --- */

static void test_preview(void **state)
{
	struct fixture f;
	parse(&f,
		RULE("preview = { headers = ( { name = \"X-Canary\"; exact = \"yes\"; } ); cookies "
		     "= ( "
		     "{ name = \"who\"; exact = \"qa\"; } ); };"),
		ROUTE("{ name = \"other\"; match = { path = \"/x\"; }; split = ( { service = "
		      "\"next\"; } ); }, { name = \"a\"; match = { path_prefix = \"/a\"; headers = "
		      "( { "
		      "name = \"b\"; exact = \"1\"; } ); }; split = ( { service = \"next\"; }, { "
		      "version = \"v1\"; weight = 3; } ); timeout = \"3s\"; }"),
		NULL);
	/* a rule that has nothing to do with it stays before it */
	assert_text(rule_of(&f, "orders", 0)->name, "orders/other");
	const struct route_rule *preview = rule_of(&f, "orders", 1);
	assert_text(preview->name, "orders/a:preview");
	assert_true(preview->is_preview);
	assert_int_equal(preview->index, 1 + ROUTE_INDEX_PREVIEW);
	assert_legs(preview, "any 1, v2 3");
	assert_int_equal(preview->timeout_ms, 3000);
	assert_int_equal(preview->when.headers.count, 2);
	assert_int_equal(preview->when.cookies.count, 1);
	assert_legs(rule_of(&f, "orders", 2), "any 1, v1 3, v2 0");
	assert_text(rule_of(&f, "orders", 3)->name, "orders/rollout:preview");
	assert_legs(rule_of(&f, "orders", 3), "v2 1");
	assert_legs(rule_of(&f, "orders", 4), "v1 1, v2 0");

	struct route_header headers[] = {
		{STR("x-canary"), STR("yes")}, {STR("cookie"), STR("a=b; who=qa")}};
	struct route_request request = {.is_http = true,
		.method = STR("GET"),
		.path = STR("/"),
		.authority = STR("orders"),
		.headers = headers,
		.header_bytes = sizeof(headers[0]),
		.header_count = 2};
	size_t prefix_len;
	const struct route *route = service_of(&f, "orders")->route;
	assert_ptr_equal(
		route_match(f.snapshot, route, &request, &prefix_len), rule_of(&f, "orders", 3));
	request.header_count = 1;
	assert_ptr_equal(
		route_match(f.snapshot, route, &request, &prefix_len), rule_of(&f, "orders", 4));
	fixture_done(&f);
}

/* --- exactly, and for whom --- */

static void test_shares_are_exact(void **state)
{
	for (uint32_t percent = 0; percent <= 100; percent++) {
		struct fixture f;
		char rollout[512];
		snprintf(rollout, sizeof(rollout),
			"rollouts: ( { service = \"orders\"; from = \"v1\"; to = \"v2\"; attempt = "
			"3; "
			"steps = [ %u%s ]; } );\n",
			percent ? percent : 1, percent == 100 ? "" : ", 100");
		parse(&f, rollout, NULL, percent ? PROGRESS("stepping", "0") : NULL);
		const struct route_rule *rule = rule_of(&f, "orders", 0);
		struct split split;
		uint32_t counts[2] = {0};
		split_init(&split, 12345 + percent);
		for (int i = 0; i < 1000; i++)
			counts[split_next(&split, rule->legs, rule->leg_count)]++;
		assert_int_equal(counts[1], percent * 10);
		fixture_done(&f);
	}
}

/* With each step only those values move that must, all of them from the old version to the new. */
static void sticky_values_move_once(const char *route, uint32_t tenths)
{
	bool moved[20000] = {0};
	static const char *const steps[] = {"0", "1", "2", "3", "4"};
	for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
		struct fixture f;
		char progress[256];
		uint32_t count = 0;
		snprintf(progress, sizeof(progress),
			"rollout 1\nattempt 3\nfrom v1\nto v2\nstate stepping\nstep %s\nsince 1\n",
			steps[s]);
		parse(&f, RULE(""), route, progress);
		const struct route_rule *rule = rule_of(&f, "orders", 0);
		for (uint32_t i = 0; i < ARRAY_LEN(moved); i++) {
			char value[16];
			int len = snprintf(value, sizeof(value), "user-%u", i);
			uint32_t leg = split_sticky(
				(struct str){value, (size_t)len}, rule->legs, rule->leg_count);
			bool is_new = str_eq(rule->legs[leg].version, STR("v2"));
			assert_false(moved[i] && !is_new);
			moved[i] = is_new;
			count += is_new;
		}
		static const uint32_t expected[] = {1, 5, 25, 50, 100};
		uint32_t wanted = (uint32_t)ARRAY_LEN(moved) * tenths / 10 * expected[s] / 100;
		assert_in_range(count, wanted - wanted / 10 - 40, wanted + wanted / 10 + 40);
		fixture_done(&f);
	}
}

static void test_sticky_values_move_once(void **state)
{
	sticky_values_move_once(
		ROUTE("{ split = ( { version = \"v1\"; weight = 90; }, { version = \"v3\"; "
		      "weight = 10; } ); sticky = { header = \"user\"; }; }"),
		9);
	sticky_values_move_once(ROUTE("{ sticky = { header = \"user\"; }; }"), 10);
}

/* --- what is wrong --- */

static const struct {
	const char *rollout, *said;
} wrong_rows[] = {
	{"{ from = \"v1\"; to = \"v2\"; steps = 100; }", "rollouts[0].service: missing"},
	{"{ service = \"orders\"; to = \"v2\"; steps = 100; }", "rollouts[0].from: missing"},
	{"{ service = \"orders\"; from = \"v1\"; steps = 100; }", "rollouts[0].to: missing"},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v2\"; }", "rollouts[0].steps: missing"},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v1\"; steps = 100; }",
		"rollouts[0].to: \"v1\" is what it comes from"},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v 2\"; steps = 100; }",
		"rollouts[0].to: \"v 2\" is no version: at most 63 printable bytes without space"},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v2\"; steps = [ 5, 5, 100 ]; }",
		"rollouts[0].steps: 5 is not above 5, the step before it: they rise"},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v2\"; steps = [ 1, 50 ]; }",
		"rollouts[0].steps: the last is 50: a rollout ends with 100, and `order` = "
		"\"pause\" "
		"stops it before"},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v2\"; steps = [ 0, 100 ]; }",
		"rollouts[0].steps[0]: 0 is out of range, 1 to 100"},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v2\"; steps = [ 1, 101 ]; }",
		"rollouts[0].steps[1]: 101 is out of range, 1 to 100"},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v2\"; steps = 100; success = \"100.5\"; }",
		"rollouts[0].success: 100.5 is out of range, 0 to 100"},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v2\"; steps = 100; success = \"99.55\"; }",
		"rollouts[0].success: expected a percentage such as 99 or \"99.5\""},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v2\"; steps = 100; p99 = \"1m\"; }",
		"rollouts[0].p99: 1m is out of range, 0s to 5s"},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v2\"; steps = 100; every = \"1ms\"; }",
		"rollouts[0].every: 1ms is out of range, 1s to 7d"},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v2\"; steps = 100; order = \"stop\"; }",
		"rollouts[0].order: \"stop\" is none of \"run\", \"pause\", \"promote\", "
		"\"abort\""},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v2\"; steps = 100; preview = { }; }",
		"rollouts[0].preview: whose requests? Give headers or cookies"},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v2\"; steps = 100; preview = { headers = ( "
	 "{ "
	 "name = \"host\"; exact = \"x\"; } ); }; }",
		"rollouts[0].preview.headers[0].name: \"host\" is the proxies' own"},
	{"{ service = \"order\"; from = \"v1\"; to = \"v2\"; steps = 100; }",
		"rollouts[0].service: there is no service \"order\" in the mesh; did you mean "
		"\"orders\"?"},
	{"{ service = \"orders\"; from = \"v1\"; to = \"v2\"; steps = 100; }, { service = "
	 "\"orders\"; from = \"v1\"; to = \"v3\"; steps = 100; }",
		"rollouts[1].service: \"orders\" has a rollout already, at mesh.conf:2"},
	/* only said */
	{"{ service = \"orders\"; from = \"v1\"; to = \"v9\"; steps = 100; }",
		"warning: rollouts[0].to: no endpoint of \"orders\" has the version \"v9\"; there "
		"are "
		"\"v1\", \"v2\", \"v3\""},
	{"{ service = \"cache\"; from = \"v1\"; to = \"v2\"; steps = 100; preview = { headers = ( "
	 "{ "
	 "name = \"a\"; exact = \"x\"; } ); }; }",
		"warning: rollouts[0].preview: does nothing for a tcp service"},
	{"{ service = \"web\"; from = \"v1\"; to = \"v2\"; steps = 100; }",
		"warning: rollouts[0].service: \"web\" has no address of its own: who dials an "
		"endpoint gets that one, whatever the rollout says"},
};

static void check(struct conf_report *report, const char *mesh)
{
	struct bundle b;
	struct err err;
	bundle_init(&b);
	conf_report_init(report);
	assert_int_equal(bundle_add(&b, STR("mesh"), STR("mesh.conf"), str_of(mesh), &err), 0);
	int r = conf_objects_check(&b, STR("prod.example"), report);
	assert_int_equal(r == 0, report->error_count == 0);
	bundle_done(&b);
}

static void test_wrong_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(wrong_rows); i++) {
		struct conf_report report;
		char mesh[4096];
		snprintf(mesh, sizeof(mesh), SERVICES "rollouts: ( %s );\n", wrong_rows[i].rollout);
		check(&report, mesh);
		if (!report.text || !strstr(report.text, wrong_rows[i].said))
			fail_msg("\"%s\" instead of \"%s\"", report.text, wrong_rows[i].said);
		if (!strstr(wrong_rows[i].said, "warning") != !!report.error_count)
			fail_msg("%u errors: %s", report.error_count, report.text);
		conf_report_done(&report);
	}
}

static void test_good_rollout_says_nothing(void **state)
{
	struct conf_report report;
	check(&report, SERVICES RULE("success = \"99.5\"; p99 = \"300ms\";"));
	if (report.text)
		fail_msg("%s", report.text);
	conf_report_done(&report);
}

static void test_a_leg_of_its_own(void **state)
{
	struct conf_report report;
	check(&report, SERVICES RULE("")
			       ROUTE("{ split = ( { version = \"v1\"; weight = 9; }, { version = "
				     "\"v2\"; weight = 1; } ); }"));
	assert_int_equal(report.error_count, 0);
	if (!report.text || !strstr(report.text, "warning: routes[0].rules[0].split[1].version: "
						 "the rollout of \"orders\" leaves "
						 "this leg as it is: it names \"v2\" by itself"))
		fail_msg("%s", report.text);
	conf_report_done(&report);
}

static void test_standalone(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse(&f, FIXTURE_NODE, SERVICES RULE(""));
	assert_int_equal(f.result, -EINVAL);
	if (!strstr(f.report.text, "mesh.conf:2: rollouts[0]: a rollout needs a store "
				   "(state.redis), in which nodes "
				   "agree on how far it is; without one, give weights in a route"))
		fail_msg("%s", f.report.text);
	fixture_done(&f);
}

/* --- objects --- */

static void test_object_to_rule(void **state)
{
	struct arena arena;
	struct rollout_rule rule;
	struct err err;
	arena_init(&arena, 1 << 20);
	struct str text = STR(
		RULE("success = \"99.5\"; p99 = \"300ms\"; every = \"2m\"; order = \"pause\";"));
	assert_int_equal(conf_rollout_rule(text, &arena, &rule, &err), 0);
	assert_text(rule.service, "orders");
	assert_text(rule.to, "v2");
	assert_int_equal(rule.attempt, 3);
	assert_int_equal(rule.step_count, 5);
	assert_int_equal(rule.steps[2], 25);
	assert_int_equal(rule.success_tenths, 995);
	assert_int_equal(rule.p99_ms, 300);
	assert_int_equal(rule.every_ms, 120000);
	assert_int_equal(rule.calls_min, 50);
	assert_int_equal(rule.order, ROLLOUT_PAUSE);
	struct str ordered = conf_rollout_ordered(text, ROLLOUT_ABORT, &arena);
	assert_int_equal(conf_rollout_rule(ordered, &arena, &rule, &err), 0);
	assert_int_equal(rule.order, ROLLOUT_ABORT);
	assert_int_equal(rule.p99_ms, 300);
	assert_int_equal(
		conf_rollout_rule(STR("rollouts: ( { } );"), &arena, &rule, &err), -EINVAL);
	assert_int_equal(conf_rollout_rule(STR("rollouts: ("), &arena, &rule, &err), -EINVAL);
	assert_int_equal(conf_rollout_rule(STR("services: ();"), &arena, &rule, &err), -EINVAL);
	assert_int_equal(conf_rollout_rule(STR(""), &arena, &rule, &err), -EINVAL);
	assert_null(conf_rollout_ordered(STR("services: ();"), ROLLOUT_RUN, &arena).at);
	assert_null(conf_rollout_ordered(STR("rollouts = ( 1 );"), ROLLOUT_RUN, &arena).at);
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_progress_decides),
		cmocka_unit_test(test_hostile_progress),
		cmocka_unit_test(test_legs_of_rules),
		cmocka_unit_test(test_legs_from_another_route),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_calls_go_where_somebody_is),
		cmocka_unit_test(test_calls_that_stay_in_their_zone),
		cmocka_unit_test(test_preview),
		cmocka_unit_test(test_shares_are_exact),
		cmocka_unit_test(test_sticky_values_move_once),
		cmocka_unit_test(test_wrong_rows),
		cmocka_unit_test(test_good_rollout_says_nothing),
		cmocka_unit_test(test_a_leg_of_its_own),
		cmocka_unit_test(test_standalone),
		cmocka_unit_test(test_object_to_rule),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
