/* SPDX-License-Identifier: Apache-2.0 */
/* Limits: what a row becomes, what is wrong with one, and which never refuse anything. */
#include "conf_fixture.h"

#include "conf/objects.h"
#include "mesh/limit.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SERVICES                                                                                 \
	"services: ( { name = \"orders\"; port = 80; protocol = \"http\"; address = "            \
	"\"10.96.0.1\"; endpoints = ( { address = \"10.0.0.1\"; }, { address = \"10.0.0.2\"; } " \
	"); }, { name = \"cache\"; port = 6379; protocol = \"tcp\"; endpoints = ( { address = "  \
	"\"10.0.0.5\"; } ); }, { name = \"old\"; port = 81; protocol = \"http\"; mtls = "        \
	"\"disabled\"; endpoints = ( { address = \"10.0.0.6\"; } ); }, { name = \"web\"; } );\n" \
	"routes: ( { service = \"orders\"; rules = ( { name = \"all\"; } ); } );\n"
#define LIMITS(rows) SERVICES "limits: (\n" rows " );\n"
/* One that is good, and what else it says. */
#define LIMIT(...) LIMITS("{ name = \"x\"; service = \"orders\"; requests = 10; " __VA_ARGS__ " }")

static void test_a_whole_limit(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse_good(&f, FIXTURE_NODE,
		LIMITS("{ name = \"writes\"; service = \"orders\"; requests = 100; per = \"1m\"; "
		       "burst = 20; by = [ \"source\", \"client\", \"route\", \"method\", "
		       "\"host\", "
		       "\"path\", \"header:X-Key\", \"cookie:s\" ]; match = { methods = [ "
		       "\"POST\", "
		       "\"PUT\" ]; path_prefix = \"/v1\"; from = \"web\"; }; shadow = true; body = "
		       "\"slower\"; },\n{ name = \"plain\"; service = \"orders\"; requests = 7; "
		       "fair "
		       "= true; }"));
	if (f.report.text)
		fail_msg("%s", f.report.text);
	const struct service *orders = snapshot_service(f.snapshot, STR("orders"));
	assert_int_equal(orders->limit_count, 2);
	const struct limit *l = orders->limits[0];
	assert_true(str_eq(l->name, STR("writes")) && l->service == orders && l->index == 0);
	assert_int_equal(l->amount, 100);
	assert_int_equal(l->window_ms, 60000);
	assert_int_equal(l->burst, 20);
	assert_int_equal(l->scope, LIMIT_LOCAL);
	assert_true(l->is_shadow && !l->is_fair);
	assert_int_equal(l->part_count, 8);
	for (uint32_t i = 0; i < l->part_count; i++)
		assert_int_equal(l->parts[i].kind, i);
	assert_true(str_eq(l->parts[6].name, STR("X-Key")) && str_eq(l->parts[7].name, STR("s")));
	assert_int_equal(l->when.method_count, 2);
	assert_int_equal(l->when.path_count, 1);
	assert_true(str_eq(l->body, STR("slower")));
	l = orders->limits[1];
	assert_int_equal(l->burst, 7);
	assert_int_equal(l->window_ms, 1000);
	assert_true(l->is_fair && !l->is_shadow);
	assert_int_equal(l->part_count, 0);
	assert_int_equal(snapshot_service(f.snapshot, STR("cache"))->limit_count, 0);
	fixture_done(&f);
}

static const struct {
	const char *mesh, *said;
} wrong_rows[] = {
	{LIMITS("{ service = \"orders\"; requests = 1; }"), "limits[0].name: missing"},
	{LIMITS("{ name = \"a b\"; service = \"orders\"; requests = 1; }"),
		"limits[0].name: \"a b\" is no name"},
	{LIMITS("{ name = \"x\"; requests = 1; }"), "limits[0].service: missing"},
	{LIMITS("{ name = \"x\"; service = \"ordres\"; requests = 1; }"),
		"limits[0].service: there is no service \"ordres\" in the mesh files; did you mean "
		"\"orders\"?"},
	{LIMITS("{ name = \"x\"; service = \"Orders!\"; requests = 1; }"),
		"limits[0].service: \"Orders!\" is no service name"},
	{LIMITS("{ name = \"x\"; service = \"orders\"; }"), "limits[0].requests: missing"},
	{LIMITS("{ name = \"x\"; service = \"orders\"; requests = 0; }"), "limits[0].requests: "},
	{LIMIT("per = \"1ms\";"), "limits[0].per: "},
	{LIMIT("per = \"25h\";"), "limits[0].per: "},
	{LIMIT("per = \"24h\"; burst = 71;"),
		"limits[0].burst: it would take more than a week until so many may come at once "
		"again"},
	{LIMIT("by = \"sorce\";"), "limits[0].by: \"sorce\" is nothing to tell requests apart by; "
				   "did you mean \"source\"?"},
	{LIMIT("by = \"banana\";"),
		"limits[0].by: \"banana\" is nothing to tell requests apart by; "
		"there are \"source\", \"client\""},
	{LIMIT("by = \"header:\";"), "limits[0].by: \"\" is no name of a header"},
	{LIMIT("by = \"header:a b\";"), "limits[0].by: \"a b\" is no name of a header"},
	{LIMIT("by = \"header:host\";"), "limits[0].by: \"host\" is the proxies' own"},
	{LIMIT("by = \"cookie:\";"), "limits[0].by: \"cookie:\" of which name?"},
	{LIMIT("by = [ \"path\", \"path\" ];"), "limits[0].by: \"path\" is given twice"},
	{LIMIT("by = [ \"header:A\", \"header:a\" ];"),
		"limits[0].by: \"header:a\" is given twice"},
	{LIMIT("by = [ \"header:1\", \"header:2\", \"header:3\", \"header:4\", \"header:5\", "
	       "\"header:6\", \"header:7\", \"header:8\", \"header:9\" ];"),
		"limits[0].by: more than 8"},
	{LIMIT("scope = \"mesh\";"), "limits[0].scope: \"mesh\" without a store"},
	{LIMIT("when_away = \"deny\";"), "limits[0].when_away: for scope \"mesh\" only"},
	{LIMIT("by = \"source\"; fair = true;"), "limits[0].fair: by \"source\" each caller has"},
	{LIMIT("match = { path = \"nowhere\"; };"), "limits[0].match.path: \"nowhere\" is no path"},
	{LIMIT("match = { from = \"wbe\"; };"),
		"limits[0].match.from: there is no service \"wbe\" in the mesh files"},
	{LIMIT("match = { pth = \"/\"; };"), "limits[0].match.pth: unknown key"},
	{LIMIT("},\n{ name = \"x\"; service = \"cache\"; requests = 1;"),
		"mesh.conf:5: limits[1].name: \"x\" is a limit's name already, at mesh.conf:4"},
};

static void parse_says(const char *mesh, int result, const char *said)
{
	struct fixture f;
	fixture_init(&f);
	fixture_parse(&f, FIXTURE_NODE, mesh);
	if (f.result != result ||
		(said ? !f.report.text || !strstr(f.report.text, said) : f.report.text != NULL))
		fail_msg("%s\nsaid %s", mesh, f.report.text ? f.report.text : "nothing");
	fixture_done(&f);
}

static void test_wrong_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(wrong_rows); i++)
		parse_says(wrong_rows[i].mesh, -EINVAL, wrong_rows[i].said);
}

static void test_too_many(void **state)
{
	char mesh[8192];
	size_t len = (size_t)snprintf(mesh, sizeof(mesh), "%slimits: (", SERVICES);
	for (int i = 0; i < LIMITS_PER_SERVICE + 1; i++)
		len += (size_t)snprintf(mesh + len, sizeof(mesh) - len,
			"%s{ name = \"x%d\"; service = \"orders\"; requests = %d; }", i ? ", " : "",
			i, 100 - i);
	snprintf(mesh + len, sizeof(mesh) - len, " );\n");
	parse_says(mesh, -EINVAL, "limits[16].service: \"orders\" has more than 16 limits");
}

static void test_a_long_body(void **state)
{
	static char mesh[8192];
	size_t len = (size_t)snprintf(mesh, sizeof(mesh),
		"%slimits: ( { name = \"x\"; service = \"orders\"; requests = 1; body = \"",
		SERVICES);
	memset(mesh + len, 'x', ROUTE_BODY_BYTES_MAX + 1);
	strcpy(mesh + len + ROUTE_BODY_BYTES_MAX + 1, "\"; } );\n");
	parse_says(mesh, -EINVAL, "limits[0].body: longer than 4096 bytes");
}

static void test_warnings(void **state)
{
	parse_says(LIMITS("{ name = \"x\"; service = \"cache\"; requests = 1; match = { path = "
			  "\"/\"; }; }"),
		0, "warning: limits[0].match: a tcp service has no more to ask for than `from`");
	parse_says(LIMITS("{ name = \"x\"; service = \"cache\"; requests = 1; by = \"path\"; }"), 0,
		"warning: limits[0].by: of a tcp service \"source\" and \"client\" are known");
	parse_says(LIMITS("{ name = \"x\"; service = \"cache\"; requests = 1; body = \"no\"; }"), 0,
		"warning: limits[0].body: does nothing for a tcp service");
	parse_says(LIMITS("{ name = \"x\"; service = \"old\"; requests = 1; by = \"source\"; }"), 0,
		"warning: limits[0].by: \"old\" has mtls \"disabled\"");
	parse_says(LIMITS("{ name = \"x\"; service = \"old\"; requests = 1; fair = true; }"), 0,
		"warning: limits[0].fair: \"old\" has mtls \"disabled\"");
	parse_says(LIMITS("{ name = \"x\"; service = \"old\"; requests = 1; by = \"route\"; }"), 0,
		"warning: limits[0].by: no route leads to \"old\"");
	parse_says(LIMITS("{ name = \"x\"; service = \"cache\"; requests = 1; by = [ \"source\", "
			  "\"client\" ]; match = { from = \"web\"; }; }"),
		0, NULL);
}

/* Two limits of one service, and whether the first leaves the second anything to refuse. */
static void test_limits_that_never_refuse(void **state)
{
	static const struct {
		const char *first, *second;
		bool covered;
	} rows[] = {
		{"requests = 10;", "requests = 10;", true},
		{"requests = 10;", "requests = 11;", true},
		{"requests = 10;", "requests = 9;", false},
		{"requests = 60; per = \"1m\"; burst = 5;", "requests = 1; burst = 5;", true},
		{"requests = 60; per = \"1m\";", "requests = 1;", false},
		{"requests = 10; burst = 20;", "requests = 10;", false},
		{"requests = 10; by = \"source\";", "requests = 10;", false},
		{"requests = 10;", "requests = 10; by = \"source\";", true},
		{"requests = 10; by = \"header:A\";",
			"requests = 10; by = [ \"source\", \"header:a\" ];", true},
		{"requests = 10; match = { method = \"GET\"; };", "requests = 10;", false},
		{"requests = 10; match = { method = \"GET\"; };",
			"requests = 10; match = { method = \"GET\"; path = \"/\"; };", true},
		{"requests = 10; shadow = true;", "requests = 10;", false},
		{"requests = 10; shadow = true;", "requests = 10; shadow = true;", true},
		{"requests = 10;", "requests = 20; fair = true;", false},
		{"requests = 10; fair = true;", "requests = 20; fair = true;", true},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char mesh[4096];
		struct fixture f;
		snprintf(mesh, sizeof(mesh),
			LIMITS("{ name = \"a\"; service = \"orders\"; %s },\n{ name = \"b\"; "
			       "service "
			       "= \"orders\"; %s }"),
			rows[i].first, rows[i].second);
		fixture_init(&f);
		fixture_parse_good(&f, FIXTURE_NODE, mesh);
		bool is_said = f.report.text &&
			       strstr(f.report.text,
				       "mesh.conf:5: warning: limits[1]: never refuses anything: "
				       "\"a\" has no more for all of it, at mesh.conf:4");
		if (is_said != rows[i].covered)
			fail_msg("row %zu: %s", i, f.report.text ? f.report.text : "nothing");
		fixture_done(&f);
	}
}

/* --- with a store --- */

#define RECORD(node, address)                                                       \
	"ringmain 1\nnode " node "\nstart 1\nnumber 1\nversion 0.1.0\nrevision 1\n" \
	"endpoint orders - up 100 " address ":9000\nendpoint orders - up 100 " address ":9001\n"

static void test_a_limit_of_the_whole_mesh(void **state)
{
	struct fixture f;
	fixture_init(&f);
	fixture_tell(&f, "mesh", "limit/x (revision 3)",
		"limits: ( { name = \"x\"; service = \"orders\"; requests = 100; scope = \"mesh\"; "
		"when_away = \"deny\"; fair = true; } );\n");
	fixture_tell(&f, "mesh", "service/orders (revision 1)",
		"services: ( { name = \"orders\"; port = 80; endpoints = ( { address = "
		"\"10.0.0.9\"; } ); } );\n");
	fixture_tell(&f, "mesh", "limit/y (revision 4)",
		"limits: ( { name = \"y\"; service = \"gone\"; requests = 1; } );\n");
	fixture_tell(&f, "node", "vm-b", RECORD("vm-b", "10.77.0.2"));
	fixture_tell(&f, "node", "vm-c", RECORD("vm-c", "10.77.0.3"));
	fixture_parse_good(&f, FIXTURE_STORE, NULL);
	assert_int_equal(f.snapshot->limit_count, 1);
	const struct limit *l = snapshot_service(f.snapshot, STR("orders"))->limits[0];
	assert_int_equal(l->scope, LIMIT_MESH);
	assert_int_equal(l->away, LIMIT_AWAY_DENY);
	/* two nodes, and the one of the object */
	assert_int_equal(l->node_count, 3);
	assert_non_null(strstr(f.report.text, "there is no service \"gone\" in the mesh"));
	fixture_done(&f);
}

static void check_objects(const char *mesh, int result, const char *said)
{
	struct bundle b;
	struct err err;
	struct conf_report report;
	bundle_init(&b);
	conf_report_init(&report);
	assert_int_equal(bundle_add(&b, STR("mesh"), STR("x.conf"), str_of(mesh), &err), 0);
	int got = conf_objects_check(&b, STR("prod.example"), &report);
	if (got != result ||
		(said ? !report.text || !strstr(report.text, said) : report.text != NULL))
		fail_msg("%d %s", got, report.text ? report.text : "nothing");
	conf_report_done(&report);
	bundle_done(&b);
}

static void test_published(void **state)
{
	check_objects(LIMIT("scope = \"mesh\";"), 0, NULL);
	check_objects(LIMIT("scope = \"mesh\"; burst = 5;"), -EINVAL,
		"x.conf:4: limits[0].burst: for scope \"local\" only");
	check_objects(LIMIT("scope = \"mesh\"; per = \"100ms\";"), -EINVAL,
		"limits[0].per: at least 1s for scope \"mesh\"");
	check_objects(LIMITS("{ name = \"x\"; service = \"gone\"; requests = 1; }"), -EINVAL,
		"limits[0].service: there is no service \"gone\" in the mesh");
	check_objects(
		LIMIT("scope = \"mesh\"; },\n{ name = \"y\"; service = \"orders\"; requests = "
		      "20; scope = \"mesh\";"),
		0, "x.conf:5: warning: limits[1]: never refuses anything");
	check_objects(
		LIMIT("scope = \"mesh\"; },\n{ name = \"y\"; service = \"orders\"; requests = "
		      "20; "),
		0, NULL);
	check_objects(
		LIMIT("scope = \"mesh\"; },\n{ name = \"y\"; service = \"orders\"; requests = "
		      "20; scope = \"mesh\"; per = \"2s\";"),
		0, NULL);
}

static void test_a_limit_is_an_object(void **state)
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
	assert_int_equal(bundle_add(&b, STR("mesh"), STR("x.conf"),
				 STR("limits: ( { per = \"1m\"; by = ( \"source\" ); requests = 5; "
				     "service = \"orders\"; name = \"slow\"; match = { method = "
				     "\"GET\"; }; } );\n"),
				 &err),
		0);
	assert_int_equal(conf_objects_read(&b, &arena, &objects, &count, &report), 0);
	assert_int_equal(count, 1);
	assert_true(str_eq(objects[0].key, STR("limit/slow")));
	assert_true(str_eq(objects[0].text,
		STR("limits = ( {\n    name = \"slow\";\n    service = \"orders\";\n    requests = "
		    "5;\n    per = \"1m\";\n    by = [ \"source\" ];\n    match = {\n      method "
		    "= "
		    "\"GET\";\n    };\n  } );\n")));
	conf_report_done(&report);
	arena_done(&arena);
	bundle_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_whole_limit),
		cmocka_unit_test(test_wrong_rows),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_a_long_body),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_limits_that_never_refuse),
		cmocka_unit_test(test_a_limit_of_the_whole_mesh),
		cmocka_unit_test(test_published),
		cmocka_unit_test(test_a_limit_is_an_object),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
