/* SPDX-License-Identifier: Apache-2.0 */
/* Routes: what a row becomes, what is wrong with one, and what the rest of the mesh says to it. */
#include "conf_fixture.h"

#include "conf/objects.h"
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
	"\"10.96.0.1\"; endpoints = ( { address = \"10.0.0.1\"; version = \"v1\"; weight = 3; }, " \
	"{ address = \"10.0.0.2\"; version = \"v2\"; }, { address = \"10.0.0.3\"; version = "      \
	"\"v1\"; } ); }, { name = \"next\"; port = 80; protocol = \"http\"; address = "            \
	"\"10.96.0.2\"; endpoints = ( { address = \"10.0.0.4\"; } ); }, { name = \"cache\"; "      \
	"port = 6379; protocol = \"tcp\"; address = \"10.96.0.3\"; endpoints = ( { address = "     \
	"\"10.0.0.5\"; version = \"v1\"; } ); }, { name = \"web\"; } );\n"
#define ROUTE(rules) SERVICES "routes: ( { service = \"orders\"; rules = (\n" rules " ); } );\n"

static void parse_good(struct fixture *f, const char *mesh)
{
	fixture_init(f);
	fixture_parse_good(f, FIXTURE_NODE, mesh);
	if (f->report.text)
		fail_msg("%s", f->report.text);
}

static const struct route *route_of(const struct fixture *f, const char *service)
{
	const struct route *route = snapshot_service(f->snapshot, str_of(service))->route;
	assert_non_null(route);
	return route;
}

static void assert_text(struct str text, const char *expected)
{
	if (!str_eq(text, str_of(expected)))
		fail_msg("%.*s instead of %s", STR_ARG(text), expected);
}

static void test_a_whole_rule(void **state)
{
	struct fixture f;
	parse_good(&f,
		ROUTE("{ name = \"canary\"; match = { path = \"/a\"; path_prefix = \"/b/\"; "
		      "path_template = \"/c/{id}/*\"; methods = [ \"GET\", \"PUT\" ]; host = "
		      "\"*.example.com\"; headers = ( { name = \"X-A\"; exact = \"1\"; }, { name = "
		      "\"x-b\"; present = false; } ); query = ( { name = \"q\"; prefix = \"1\"; } "
		      "); "
		      "cookies = ( { name = \"c\"; suffix = \"z\"; invert = true; } ); from = "
		      "\"web\"; }; split = ( { version = \"v1\"; weight = 90; }, { service = "
		      "\"next\"; weight = 10; } ); timeout = \"2s\"; retries = { "
		      "attempts = 3; on = [ \"5xx\", \"reset\" ]; per_try_timeout = \"1s\"; }; "
		      "request_headers = { set = ( { "
		      "name = \"a\"; value = \"b\"; } ); add = ( { name = \"c\"; value = \"d\"; } "
		      "); "
		      "remove = \"d\"; }; response_headers = { remove = [ \"e\", \"f\" ]; }; "
		      "rewrite = { path = \"/x\"; host = \"h:80\"; }; }"));
	const struct route_rule *rule = &route_of(&f, "orders")->rules[0];
	assert_text(rule->name, "orders/canary");
	assert_int_equal(rule->when.path_count, 3);
	assert_text(rule->when.paths[1].text, "/b");
	assert_int_equal(rule->when.paths[2].kind, ROUTE_PATH_TEMPLATE);
	assert_int_equal(rule->when.method_count, 2);
	assert_int_equal(rule->when.headers.at[0].kind, ROUTE_TEXT_EXACT);
	assert_int_equal(rule->when.headers.at[1].kind, ROUTE_TEXT_PRESENT);
	assert_true(rule->when.headers.at[1].invert);
	assert_int_equal(rule->when.query.at[0].kind, ROUTE_TEXT_PREFIX);
	assert_true(rule->when.cookies.at[0].invert);
	assert_int_equal(rule->leg_count, 2);
	assert_text(rule->legs[0].service->name, "orders");
	assert_text(rule->legs[1].service->name, "next");
	assert_int_equal(rule->legs[0].weight, 90);
	assert_int_equal(rule->timeout_ms, 2000);
	assert_int_equal(rule->retry.on, ROUTE_RETRY_5XX | ROUTE_RETRY_RESET);
	assert_int_equal(rule->retry.attempts, 3);
	assert_int_equal(rule->retry.per_try_ms, 1000);
	assert_int_equal(rule->retry.backoff_ms, 25);
	assert_int_equal(rule->request.set_count + rule->request.added_count, 2);
	assert_int_equal(rule->response.removed_count, 2);
	assert_text(rule->target.host, "h:80");
	assert_int_equal(rule->action, ROUTE_FORWARD);
	const struct subset *v1 = service_subset(rule->legs[0].service, STR("v1"));
	assert_int_equal(v1->endpoint_count, 2);
	assert_int_equal(v1->up_sums[0], 3);
	assert_int_equal(v1->up_sums[1], 103);
	assert_null(service_subset(rule->legs[0].service, STR("v2")));
	fixture_done(&f);
}

static void test_faults(void **state)
{
	struct fixture f;
	parse_good(&f, ROUTE("{ match = { path = \"/a\"; }; fault = { delay = \"200ms\"; "
			     "delay_percent = 10; abort_status = "
			     "500; }; },\n{ match = { path = \"/b\"; }; fault = { delay = \"1s\"; "
			     "}; }, { }"));
	const struct route_rule *rules = route_of(&f, "orders")->rules;
	assert_int_equal(rules[0].fault.delay_ms, 200);
	assert_int_equal(rules[0].fault.delay_percent, 10);
	assert_int_equal(rules[0].fault.abort_status, 500);
	assert_int_equal(rules[0].fault.abort_percent, 100);
	assert_int_equal(rules[1].fault.delay_percent, 100);
	assert_int_equal(rules[1].fault.abort_percent, 0);
	assert_int_equal(rules[2].fault.delay_percent, 0);
	fixture_done(&f);
}

static void test_mirrors(void **state)
{
	struct fixture f;
	parse_good(&f, ROUTE("{ mirror = ( { version = \"v1\"; percent = 10; }, { service = "
			     "\"next\"; }, { version = \"v2\"; percent = 0; } ); }"));
	const struct route_rule *rule = route_of(&f, "orders")->rules;
	assert_int_equal(rule->mirror_count, 3);
	assert_int_equal(rule->mirrors[0].weight, 10);
	assert_int_equal(rule->mirrors[1].weight, 100);
	assert_text(rule->mirrors[1].service->name, "next");
	assert_int_equal(rule->mirrors[1].version.len, 0);
	assert_int_equal(rule->leg_count, 0);
	/* endpoints of a version are gathered for a mirror as for a leg */
	assert_int_equal(service_subset(rule->mirrors[0].service, STR("v1"))->endpoint_count, 2);
	fixture_done(&f);
}

static void test_answers(void **state)
{
	struct fixture f;
	parse_good(
		&f, ROUTE("{ match = { path_prefix = \"/old\"; }; redirect = { prefix = \"/new\"; "
			  "status = 308; }; },\n{ respond = { status = 404; body = \"no\"; }; "
			  "response_headers = { set = ( { name = \"x\"; value = \"y\"; } ); }; }"));
	const struct route_rule *rules = route_of(&f, "orders")->rules;
	assert_int_equal(rules[0].action, ROUTE_REDIRECT);
	assert_int_equal(rules[0].status, 308);
	assert_text(rules[0].name, "orders/rules[0]");
	assert_true(rules[0].target.has_prefix);
	assert_int_equal(rules[1].action, ROUTE_RESPOND);
	assert_text(rules[1].body, "no");
	fixture_done(&f);
}

/* Of what stands in mesh.conf:2, the only rule. */
static const struct {
	const char *rule, *said;
} wrong_rows[] = {
	{"{ match = { pth = \"/\"; }; }",
		"routes[0].rules[0].match.pth: unknown key; did you mean \"path\"?"},
	{"{ match = { path = \"a\"; }; }", "match.path: \"a\" is no path that a request can have"},
	{"{ match = { path = \"/a?b\"; }; }", "match.path: \"/a?b\" is no path"},
	{"{ match = { path_prefix = \"/a/../b\"; }; }",
		"match.path_prefix: \"/a/../b\" is no path"},
	{"{ match = { path = \"/%61\"; }; }", "match.path: \"/%61\" is no path"},
	{"{ match = { path_template = \"/a{b}\"; }; }",
		"match.path_template: \"/a{b}\" is no template"},
	{"{ match = { path_template = \"/{}\"; }; }", "match.path_template: \"/{}\" is no"},
	{"{ match = { path_template = \"/{a}b\"; }; }", "match.path_template: \"/{a}b\" is no"},
	{"{ match = { path_template = \"/{a/b}\"; }; }", "match.path_template: \"/{a/b}\" is no"},
	{"{ match = { path_template = \"/a*\"; }; }", "match.path_template: \"/a*\" is no"},
	{"{ match = { path_template = \"/*/b\"; }; }", "match.path_template: \"/*/b\" is no"},
	{"{ match = { path_template = \"/{a\"; }; }", "match.path_template: \"/{a\" is no"},
	{"{ match = { path_regex = \"/(a\"; }; }",
		"match.path_regex: \"/(a\" is no regular expression in RE2's syntax: missing ): "
		"/(a"},
	{"{ match = { path_regex = \"/.{1,900}\"; }; }",
		"match.path_regex: \"/.{1,900}\" is no regular expression in RE2's syntax: too "
		"large"},
	{"{ match = { path_regex = \"orders/.*\"; }; }",
		"match.path_regex: \"orders/.*\" matches no path"},
	{"{ match = { path_regex = \"/a/.*\"; path_prefix = \"/b\"; }; rewrite = { prefix = "
	 "\"/c\"; }; }",
		"rewrite.prefix: "},
	{"{ match = { method = \"get\"; }; }", "match.method: \"get\" is no HTTP method"},
	{"{ match = { host = \"Orders\"; }; }", "match.host: \"Orders\" is no host"},
	{"{ match = { host = \"orders:80\"; }; }", "match.host: \"orders:80\" is no host"},
	{"{ match = { host = \"a.*\"; }; }", "match.host: \"a.*\" is no host"},
	{"{ match = { from = \"wbe\"; }; }",
		"match.from: there is no service \"wbe\" in the mesh files; did you mean \"web\"?"},
	{"{ match = { headers = ( { name = \"x\"; } ); }; }",
		"match.headers[0]: one of exact, prefix, suffix and present is wanted, none is "
		"given"},
	{"{ match = { headers = ( { name = \"x\"; exact = \"1\"; prefix = \"1\"; } ); }; }",
		"match.headers[0]: one of exact, prefix, suffix and present is wanted, several are "
		"given"},
	{"{ match = { headers = ( { name = \"a b\"; exact = \"1\"; } ); }; }",
		"match.headers[0].name: \"a b\" is no name of a header"},
	{"{ match = { headers = ( { name = \"Host\"; exact = \"1\"; } ); }; }",
		"match.headers[0].name: \"Host\" is the proxies' own; see match.host"},
	{"{ match = { query = ( { name = \"\"; exact = \"1\"; } ); }; }",
		"match.query[0].name: empty"},
	{"{ split = ( { version = \"v3\"; } ); }",
		"split[0].version: no endpoint of \"orders\" has the version \"v3\"; there are "
		"\"v1\", \"v2\""},
	{"{ split = ( { service = \"next\"; version = \"v1\"; } ); }",
		"split[0].version: no endpoint of \"next\" has the version \"v1\", or any"},
	{"{ split = ( { service = \"nxt\"; } ); }", "split[0].service: there is no service \"nxt\" "
						    "in the mesh files; did you mean \"next\"?"},
	{"{ split = ( { service = \"cache\"; } ); }",
		"split[0].service: \"cache\" speaks tcp, and \"orders\" http"},
	{"{ split = ( { version = \"v1\"; weight = 0; } ); }",
		"split: nothing gets anything: every weight is 0"},
	{"{ split = (); }", "split: nothing gets anything"},
	{"{ split = ( { version = \"v1\"; weight = 1001; } ); }",
		"split[0].weight: 1001 is out of range, 0 to 1000"},
	{"{ split = ( { version = \"v 1\"; } ); }", "split[0].version: \"v 1\" is no version"},
	{"{ name = \"a b\"; }", "rules[0].name: \"a b\" is no name"},
	{"{ request_headers = { set = ( { name = \"Connection\"; value = \"1\"; } ); }; }",
		"request_headers.set[0].name: \"Connection\" is the proxies' own"},
	{"{ request_headers = { remove = \"X-Forwarded-Client-Cert\"; }; }",
		"request_headers.remove: \"X-Forwarded-Client-Cert\" is the proxies' own; see "
		"match.from"},
	{"{ response_headers = { add = ( { name = \"a\"; value = \"b\\nc\"; } ); }; }",
		"response_headers.add[0].value: no value of a header"},
	{"{ response_headers = { add = ( { name = \"a\"; value = \" b\"; } ); }; }",
		"response_headers.add[0].value: no value of a header"},
	{"{ rewrite = { path = \"b\"; }; }", "rewrite.path: \"b\" is no path"},
	{"{ rewrite = { prefix = \"/b\"; }; }", "rewrite.prefix: in place of which one?"},
	{"{ match = { path_prefix = \"/a\"; path = \"/b\"; }; rewrite = { prefix = \"/b\"; }; }",
		"rewrite.prefix: in place of which one?"},
	{"{ match = { path_prefix = \"/a\"; }; rewrite = { prefix = \"/b\"; path = \"/c\"; }; }",
		"rewrite.prefix: together with path"},
	{"{ rewrite = { host = \"A\"; }; }", "rewrite.host: \"A\" is no host"},
	{"{ retries = { on = \"conect-failure\"; }; }",
		"retries.on: \"conect-failure\" is no reason; did you mean \"connect-failure\"?"},
	{"{ retries = { on = \"often\"; }; }",
		"retries.on: \"often\" is no reason; there are \"connect-failure\", "},
	{"{ retries = { attempts = 2; }; }", "retries.on: missing"},
	{"{ retries = { on = \"5xx\"; attempts = 0; }; }", "retries.attempts: 0 is out of range"},
	{"{ split = ( { version = \"v1\"; }, { version = \"v2\"; } ); sticky = { header = \"x\"; "
	 "source = true; "
	 "}; }",
		"sticky: one of source, header and cookie is wanted"},
	{"{ split = ( { version = \"v1\"; }, { version = \"v2\"; } ); sticky = { header = "
	 "\"host\"; }; }",
		"sticky.header: \"host\" is the proxies' own"},
	{"{ fault = { }; }", "fault: which one? Give delay or abort_status"},
	{"{ fault = { delay = \"1s\"; abort_percent = 5; }; }", "fault.abort_percent: without"},
	{"{ fault = { abort_status = 500; delay_percent = 5; }; }",
		"fault.delay_percent: without delay"},
	{"{ fault = { abort_status = 100; }; }", "fault.abort_status: 100 is no status"},
	{"{ fault = { abort_status = 204; }; }", "fault.abort_status: 204 is no status"},
	{"{ fault = { abort_status = 503; abort_percent = 101; }; }",
		"fault.abort_percent: 101 is out of range"},
	{"{ fault = { delay = \"2m\"; }; }", "fault.delay: "},
	{"{ respond = { status = 404; }; fault = { delay = \"1s\"; }; }",
		"fault: not together with respond"},
	{"{ request_headers = { set = ( { name = \"x-a\"; value = \"1\"; }, { name = \"X-A\"; "
	 "value "
	 "= \"2\"; } ); }; }",
		"request_headers.set[1].name: \"X-A\" is set already"},
	{"{ response_headers = { add = ( { name = \"a0\"; value = \"1\"; }, { name = \"a1\"; value "
	 "= \"1\"; }, { name = \"a2\"; value = \"1\"; }, { name = \"a3\"; value = \"1\"; }, { name "
	 "= \"a4\"; value = \"1\"; }, { name = \"a5\"; value = \"1\"; }, { name = \"a6\"; value = "
	 "\"1\"; }, { name = \"a7\"; value = \"1\"; }, { name = \"a8\"; value = \"1\"; }, { name = "
	 "\"a9\"; value = \"1\"; }, { name = \"a10\"; value = \"1\"; }, { name = \"a11\"; value = "
	 "\"1\"; }, { name = \"a12\"; value = \"1\"; }, { name = \"a13\"; value = \"1\"; }, { name "
	 "= \"a14\"; value = \"1\"; }, { name = \"a15\"; value = \"1\"; }, { name = \"a16\"; value "
	 "= \"1\"; }, { name = \"a17\"; value = \"1\"; }, { name = \"a18\"; value = \"1\"; }, { "
	 "name = \"a19\"; value = \"1\"; }, { name = \"a20\"; value = \"1\"; }, { name = \"a21\"; "
	 "value = \"1\"; }, { name = \"a22\"; value = \"1\"; }, { name = \"a23\"; value = \"1\"; "
	 "}, { name = \"a24\"; value = \"1\"; } ); }; }",
		"response_headers: more than 24 headers"},
	{"{ mirror = ( { } ); }", "mirror[0]: to whom? Give service or version"},
	{"{ mirror = ( { version = \"v1\"; percent = 101; } ); }",
		"mirror[0].percent: 101 is out of range"},
	{"{ mirror = ( { version = \"v9\"; } ); }",
		"mirror[0].version: no endpoint of \"orders\" has the version \"v9\""},
	{"{ mirror = ( { service = \"nobody\"; } ); }", "mirror[0].service: "},
	{"{ mirror = ( { version = \"v1\"; }, { version = \"v1\"; }, { version = \"v1\"; }, { "
	 "version = \"v1\"; }, { version = \"v1\"; } ); }",
		"mirror: more than 4"},
	{"{ respond = { status = 404; }; mirror = ( { version = \"v1\"; } ); }",
		"mirror: not together with respond"},
	{"{ request_headers = { remove = \"X-Ringmain-Mirror\"; }; }",
		"\"X-Ringmain-Mirror\" is the proxies' own"},
	{"{ redirect = { }; }", "redirect: where to?"},
	{"{ redirect = { path = \"/\"; status = 304; }; }", "redirect.status: 304 is none of"},
	{"{ redirect = { scheme = \"ftp\"; }; }", "redirect.scheme: \"ftp\" is neither"},
	{"{ redirect = { path = \"/\"; }; split = ( { version = \"v1\"; } ); }",
		"split: not together with redirect"},
	{"{ respond = { body = \"x\"; }; }", "respond.status: missing"},
	{"{ respond = { status = 204; body = \"x\"; }; }",
		"respond.body: an answer with status 204"},
	{"{ respond = { status = 200; }; timeout = \"1s\"; }",
		"timeout: not together with respond"},
	{"{ respond = { status = 200; }; redirect = { path = \"/\"; }; }",
		"respond: not together with redirect"},
};

static void test_wrong_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(wrong_rows); i++) {
		char mesh[4096], said[512];
		struct fixture f;
		snprintf(mesh, sizeof(mesh), ROUTE("%s"), wrong_rows[i].rule);
		fixture_init(&f);
		fixture_parse(&f, FIXTURE_NODE, mesh);
		snprintf(said, sizeof(said), "%s", wrong_rows[i].said);
		if (f.result != -EINVAL || !strstr(f.report.text, said) ||
			!strstr(f.report.text, "mesh.conf:3: routes[0].rules[0]"))
			fail_msg("%s\nsaid %s", wrong_rows[i].rule,
				f.report.text ? f.report.text : "nothing");
		fixture_done(&f);
	}
}

static void parse_says(const char *mesh, int result, const char *said)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse(&f, FIXTURE_NODE, mesh);
	if (f.result != result || !f.report.text || !strstr(f.report.text, said))
		fail_msg("%s\nsaid %s", mesh, f.report.text ? f.report.text : "nothing");
	fixture_done(&f);
}

static void test_wrong_routes(void **state)
{
	parse_says(SERVICES "routes: ( { service = \"ordres\"; rules = ( { } ); } );\n", -EINVAL,
		"routes[0].service: there is no service \"ordres\" in the mesh files; did you mean "
		"\"orders\"?");
	parse_says(SERVICES "routes: ( { service = \"orders\"; rules = ( { } ); },\n{ service = "
			    "\"orders\"; rules = ( { } ); } );\n",
		-EINVAL,
		"mesh.conf:3: routes[1].service: \"orders\" has a route already, at mesh.conf:2");
	parse_says(SERVICES "routes: ( { service = \"orders\"; rules = ( ); } );\n", -EINVAL,
		"routes[0].rules: none");
	parse_says(SERVICES "routes: ( { service = \"orders\"; } );\n", -EINVAL,
		"routes[0].rules: missing");
}

static void test_warnings(void **state)
{
	parse_says(SERVICES "routes: ( { service = \"web\"; rules = ( { } ); } );\n", 0,
		"warning: routes[0].service: \"web\" has no address of its own");
	parse_says(
		ROUTE("{ split = ( { version = \"v1\"; }, { version = \"v9\"; weight = 0; } ); }"),
		0,
		"warning: routes[0].rules[0].split[1].version: no endpoint of \"orders\" has the");
	parse_says(SERVICES
		"routes: ( { service = \"cache\"; rules = ( { match = { path = \"/\"; }; "
		"} ); } );\n",
		0, "warning: routes[0].rules[0].match: a tcp service has no more to ask for");
	parse_says(SERVICES
		"routes: ( { service = \"cache\"; rules = ( { timeout = \"1s\"; } ); } );\n",
		0, "warning: routes[0].rules[0].timeout: does nothing for a tcp service");
	parse_says(ROUTE("{ sticky = { header = \"x\"; }; }"), 0,
		"warning: routes[0].rules[0].sticky: does something during a rollout only");
}

/* The second rule of two, and whether the first leaves it anything. */
static void test_rules_that_never_match(void **state)
{
	static const struct {
		const char *first, *second;
		bool covered;
	} rows[] = {
		{"", "path = \"/a\";", true},
		{"path_prefix = \"/\";", "path = \"/a\";", true},
		{"path_prefix = \"/a\";", "path = \"/a\";", true},
		{"path_prefix = \"/a\";", "path_prefix = \"/a/b\";", true},
		{"path_prefix = \"/a\";", "path_prefix = \"/ab\";", false},
		{"path_prefix = \"/a/b\";", "path_prefix = \"/a\";", false},
		{"path_prefix = \"/a\";", "path_template = \"/a/{x}/*\";", true},
		{"path_prefix = \"/a/b\";", "path_template = \"/a/{x}\";", false},
		{"path_template = \"/a/{x}\";", "path = \"/a/b\";", true},
		{"path_template = \"/a/{x}\";", "path = \"/b\";", false},
		{"path_regex = \"/a.*\";", "path = \"/ab\";", true},
		{"path_regex = \"/a.*\";", "path = \"/b\";", false},
		{"path_regex = \"/a.*\";", "path_regex = \"/a.*\";", true},
		{"path_regex = \"/a.*\";", "path_regex = \"/ab\";", false},
		{"path_regex = \"/.*\";", "path_prefix = \"/a\";", false},
		{"path_prefix = \"/\";", "path_regex = \"/.*\";", true},
		{"path_prefix = \"/a\";", "path_regex = \"/a/b\";", false},
		{"path = \"/a\";", "paths = [ \"/a\", \"/b\" ];", false},
		{"paths = [ \"/a\", \"/b\" ];", "path = \"/b\";", true},
		{"path_prefix = \"/a\";", "method = \"GET\";", false},
		{"method = \"GET\";", "method = \"GET\"; path = \"/a\";", true},
		{"method = \"GET\";", "methods = [ \"GET\", \"PUT\" ];", false},
		{"from = \"*\";", "from = \"web\";", true},
		{"from = \"*\";", "from = \"anonymous\";", false},
		{"from = \"web\";", "", false},
		{"headers = ( { name = \"a\"; exact = \"1\"; } );", "", false},
		{"headers = ( { name = \"a\"; exact = \"1\"; } );",
			"headers = ( { name = \"a\"; exact = \"1\"; }, { name = \"b\"; exact = "
			"\"1\"; "
			"} );",
			true},
		{"headers = ( { name = \"a\"; exact = \"1\"; } );",
			"headers = ( { name = \"a\"; exact = \"1\"; invert = true; } );", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char mesh[4096];
		struct fixture f;
		snprintf(mesh, sizeof(mesh),
			ROUTE("{ name = \"x\"; match = { %s }; },\n{ match = { %s }; }"),
			rows[i].first, rows[i].second);
		fixture_init(&f);
		fixture_parse_good(&f, FIXTURE_NODE, mesh);
		bool is_said =
			f.report.text &&
			strstr(f.report.text, "mesh.conf:4: warning: routes[0].rules[1]: "
					      "never matches: \"orders/x\" before it matches "
					      "all of it, at mesh.conf:3");
		if (is_said != rows[i].covered)
			fail_msg("row %zu: %s", i, f.report.text ? f.report.text : "nothing");
		fixture_done(&f);
	}
}

/* With a store the mesh goes on whatever one route says. */
static void test_unknown_names_on_a_node_with_a_store(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "route/orders (revision 3)",
		ROUTE("{ split = ( { version = \"v7\"; }, { service = \"gone\"; } ); }"));
	fixture_tell(&f, "mesh", "route/gone (revision 3)",
		"routes: ( { service = \"gone\"; rules = ( { } ); } );\n");
	fixture_parse_good(&f, FIXTURE_STORE, NULL);
	const struct route_rule *rule = &route_of(&f, "orders")->rules[0];
	assert_int_equal(service_subset(rule->legs[0].service, STR("v7"))->endpoint_count, 0);
	assert_null(rule->legs[1].service);
	assert_int_equal(f.snapshot->route_count, 1);
	assert_non_null(strstr(f.report.text, "no endpoint of \"orders\" has the version \"v7\""));
	assert_non_null(strstr(f.report.text, "there is no service \"gone\" in the mesh"));
	fixture_done(&f);
}

/* --- as objects --- */

#define RECORD                                                                  \
	"ringmain 1\nnode vm-a\nstart 1\nnumber 1\nversion 0.1.0\nrevision 1\n" \
	"endpoint orders v5 up 100 10.77.0.1:9000\n"

static void check_objects(const char *mesh, const char *record, int result, const char *said)
{
	struct bundle b;
	struct err err;
	struct conf_report report;
	bundle_init(&b);
	conf_report_init(&report);
	assert_int_equal(bundle_add(&b, STR("mesh"), STR("x.conf"), str_of(mesh), &err), 0);
	if (record)
		assert_int_equal(bundle_add(&b, STR("node"), STR("vm-a"), str_of(record), &err), 0);
	int got = conf_objects_check(&b, STR("prod.example"), &report);
	if (got != result ||
		(said ? !report.text || !strstr(report.text, said) : report.text != NULL))
		fail_msg("%d %s", got, report.text ? report.text : "nothing");
	conf_report_done(&report);
	bundle_done(&b);
}

static void test_versions_of_the_whole_mesh(void **state)
{
	check_objects(ROUTE("{ split = ( { version = \"v5\"; } ); }"), RECORD, 0, NULL);
	check_objects(ROUTE("{ split = ( { version = \"v5\"; } ); }"), NULL, -EINVAL,
		"x.conf:3: routes[0].rules[0].split[0].version: no endpoint of \"orders\" has the "
		"version \"v5\"; there are \"v1\", \"v2\"");
	check_objects(ROUTE("{ split = ( { version = \"v6\"; } ); }"), RECORD, -EINVAL,
		"there are \"v1\", \"v2\", \"v5\"");
	check_objects(
		ROUTE("{ split = ( { version = \"v1\"; }, { version = \"v6\"; weight = 0; } ); "
		      "}"),
		RECORD, 0, "warning: routes[0].rules[0].split[1].version");
	check_objects(ROUTE("{ split = ( { service = \"gone\"; } ); }"), RECORD, -EINVAL,
		"split[0].service: there is no service \"gone\" in the mesh");
}

static void test_a_route_is_an_object(void **state)
{
	struct bundle b;
	struct err err;
	struct arena arena;
	struct conf_report report;
	struct conf_object *objects;
	uint32_t count;
	bundle_init(&b);
	arena_init(&arena, 1 << 20);
	conf_report_init(&report);
	const char *mesh =
		"routes: ( { rules = ( { timeout = \"2s\"; match: { headers: ( { exact = "
		"\"1\", name = \"x\" } ); path = [\"/a\"] } } ); service = \"orders\"; } );";
	assert_int_equal(bundle_add(&b, STR("mesh"), STR("x.conf"), str_of(mesh), &err), 0);
	assert_int_equal(conf_objects_read(&b, &arena, &objects, &count, &report), 0);
	assert_int_equal(count, 1);
	assert_text(objects[0].key, "route/orders");
	struct str text = objects[0].text;
	bundle_done(&b);
	assert_int_equal(bundle_add(&b, STR("mesh"), STR("y.conf"), text, &err), 0);
	assert_int_equal(conf_objects_read(&b, &arena, &objects, &count, &report), 0);
	assert_text(objects[0].text, text.at);
	assert_non_null(strstr(text.at, "timeout = \"2s\""));
	assert_non_null(strstr(text.at, "name = \"x\""));
	bundle_done(&b);
	conf_report_done(&report);
	arena_done(&arena);
}

/* Rules are compared with those before them, of very many the first thousand: each is one more time
 * the work. */
static void test_many_rules(void **state)
{
	struct fixture f;
	char *mesh = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&mesh, &len);
	assert_non_null(out);
	fprintf(out, "services: ( { name = \"a\"; protocol = \"http\"; port = 80; address = "
		     "\"10.96.0.1\";"
		     " endpoints = ( { address = \"10.0.0.1\"; } ); } );\n"
		     "routes: ( { service = \"a\"; rules: ( { timeout = \"1s\"; }");
	for (unsigned i = 1; i < 1200; i++)
		fprintf(out, ", { timeout = \"1s\"; }");
	fprintf(out, " ); } );\n");
	fclose(out);
	fixture_init(&f);
	fixture_parse_good(&f, FIXTURE_NODE, mesh);
	assert_int_equal(f.report.warning_count, 999);
	fixture_done(&f);
	free(mesh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_whole_rule),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_mirrors),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_wrong_rows),
		cmocka_unit_test(test_wrong_routes),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_rules_that_never_match),
		cmocka_unit_test(test_unknown_names_on_a_node_with_a_store),
		cmocka_unit_test(test_versions_of_the_whole_mesh),
		cmocka_unit_test(test_a_route_is_an_object),
		cmocka_unit_test(test_many_rules),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
