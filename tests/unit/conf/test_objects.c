/* SPDX-License-Identifier: Apache-2.0 */
/* Mesh files as objects: their rows, the text that a row has, and what a set of them has wrong. */
#include "conf/objects.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct bundle bundle;
	struct conf_report report;
	struct arena arena;
	struct conf_object *objects;
	uint32_t count;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	bundle_init(&f->bundle);
	conf_report_init(&f->report);
	arena_init(&f->arena, 16 << 20);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	bundle_done(&f->bundle);
	conf_report_done(&f->report);
	arena_done(&f->arena);
	free(f);
	return 0;
}

static void add(struct fixture *f, const char *kind, const char *name, const char *text)
{
	struct err err;
	assert_int_equal(bundle_add(&f->bundle, str_of(kind), str_of(name), str_of(text), &err), 0);
}

static int read_objects(struct fixture *f)
{
	return conf_objects_read(&f->bundle, &f->arena, &f->objects, &f->count, &f->report);
}

static void assert_said(const struct fixture *f, const char *line)
{
	if (!f->report.text || !strstr(f->report.text, line))
		fail_msg(
			"not said: %s\nbut: %s", line, f->report.text ? f->report.text : "nothing");
}

static int check(struct fixture *f)
{
	return conf_objects_check(&f->bundle, STR("prod.example"), &f->report);
}

static void check_good(struct fixture *f)
{
	if (check(f) != 0 || f->report.text)
		fail_msg("%s", f->report.text ? f->report.text : "no report");
}

static void check_bad(struct fixture *f, const char *line)
{
	assert_int_equal(check(f), -EINVAL);
	assert_said(f, line);
}

static void check_warns(struct fixture *f, const char *line)
{
	if (check(f) != 0)
		fail_msg("%s", f->report.text);
	assert_said(f, line);
}

#define ORDERS	  "services: ( { name = \"orders\"; port = 8080; protocol = \"http\"; } );\n"
#define WEB	  "services: ( { name = \"web\"; } );\n"
#define RULE(...) "policies: ( { name = \"r\"; service = \"orders\"; " __VA_ARGS__ " } );\n"
#define RECORD                                                                  \
	"ringmain 1\nnode vm-a\nstart 1\nnumber 1\nversion 0.1.0\nrevision 1\n" \
	"endpoint billing v1 up 100 10.77.0.1:9000\n"

/* --- rows --- */

static void test_rows_become_objects(void **state)
{
	struct fixture *f = *state;
	add(f, "mesh", "a.conf",
		"# a comment\nservices: ( { name = \"orders\";\n    port = 8080; },\n"
		"  { name = \"web\"; } );\n");
	add(f, "mesh", "b.conf", RULE("action = \"allow\"; from = \"web\";"));
	assert_int_equal(read_objects(f), 0);
	assert_int_equal(f->count, 3);
	assert_string_equal(f->objects[0].key.at, "service/orders");
	assert_string_equal(f->objects[0].source.at, "a.conf:2");
	assert_string_equal(f->objects[0].text.at,
		"services = ( {\n    name = \"orders\";\n    port = 8080;\n  } );\n");
	assert_string_equal(f->objects[1].key.at, "service/web");
	assert_string_equal(f->objects[1].source.at, "a.conf:4");
	assert_string_equal(f->objects[2].key.at, "policy/r");
	assert_string_equal(f->objects[2].source.at, "b.conf:1");
}

static void test_same_content_has_the_same_text(void **state)
{
	static const char *const rows[] = {
		"services: ( { name = \"a\"; port = 80; addresses = [ \"10.9.0.1\", \"10.9.0.2\" "
		"]; "
		"endpoints = ( { address = \"10.0.0.1\"; weight = 7; } ); } );",
		"services = (\n# why\n{ endpoints: ( { weight: 7, address: \"10.0.0.1\" } ),\n"
		"address = ( \"10.9.0.1\", \"10.9.0.2\" ); port = 80; name = \"a\"; } )"};
	struct str first = STR_NONE;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture *f = *state;
		bundle_done(&f->bundle);
		add(f, "mesh", "x.conf", rows[i]);
		assert_int_equal(read_objects(f), 0);
		if (i == 0)
			first = f->objects[0].text;
		assert_string_equal(f->objects[0].text.at, first.at);
	}
}

static void test_text_is_read_to_the_same_text(void **state)
{
	struct fixture *f = *state;
	add(f, "mesh", "x.conf",
		"services: ( { name = \"a\"; port = 0x50; server_first = true; protocol = \"tcp\"; "
		"identities = [ \"q\\\"\\\\\\n\\x01\xc3\xa9\" ]; } );");
	assert_int_equal(read_objects(f), 0);
	struct str text = f->objects[0].text;
	bundle_done(&f->bundle);
	add(f, "mesh", "y.conf", text.at);
	assert_int_equal(read_objects(f), 0);
	assert_string_equal(f->objects[0].text.at, text.at);
}

#define ISSUER "issuers: ( { name = \"staff\"; issuer = \"https://id\"; } );\n"
#define USERS                                                                                      \
	RULE("action = \"allow\"; from = \"web\"; token = { issuers = [ \"staff\", \"guests\" ]; " \
	     "}; ")

static void test_an_issuer_is_published_as_a_whole(void **state)
{
	static const char text[] = "issuers = ( {\n"
				   "    name = \"staff\";\n"
				   "    issuer = \"https://id.example\";\n"
				   "    audiences = [ \"a\", \"b\" ];\n"
				   "    jwks_url = \"https://id.example/keys\";\n"
				   "    header = \"x-token\";\n"
				   "    leeway = \"10s\";\n"
				   "    forward = false;\n"
				   "  } );\n";
	struct fixture *f = *state;
	add(f, "mesh", "x.conf", text);
	assert_int_equal(read_objects(f), 0);
	assert_string_equal(f->objects[0].key.at, "issuer/staff");
	assert_string_equal(f->objects[0].text.at, text);
}

/* A policy that names an issuer keeps it from being taken away. */
static void test_issuers_are_there_that_policies_name(void **state)
{
	struct fixture *f = *state;
	add(f, "object", "service/orders (revision 1)", ORDERS);
	add(f, "object", "service/web (revision 1)", WEB);
	add(f, "object", "policy/r (revision 2)", USERS);
	add(f, "object", "issuer/staff (revision 1)", ISSUER);
	check_bad(f, "there is no issuer \"guests\" in the mesh");
	add(f, "mesh", "x.conf", "issuers: ( { name = \"guests\"; issuer = \"https://x\"; } );\n");
	conf_report_done(&f->report);
	conf_report_init(&f->report);
	check_good(f);
}

/* With all keys that there are, in whatever order, and lists of one as they come. */
static void test_a_policy_is_published_as_a_whole(void **state)
{
	static const char text[] = "policies = ( {\n"
				   "    name = \"r\";\n"
				   "    services = [ \"a\", \"b\" ];\n"
				   "    action = \"deny\";\n"
				   "    mode = \"audit\";\n"
				   "    from = [ \"a\", \"shop/*\", \"10.0.0.0/8\" ];\n"
				   "    not_from = \"b\";\n"
				   "    ports = [ 80, 8080 ];\n"
				   "    not_ports = 81;\n"
				   "    methods = [ \"GET\" ];\n"
				   "    not_methods = \"PUT\";\n"
				   "    paths = [ \"/a/{id}\", \"/b/*\" ];\n"
				   "    not_paths = \"/b/c\";\n"
				   "    hosts = \"*.example.com\";\n"
				   "    not_hosts = [ \"x.example.com\" ];\n"
				   "    headers = ( {\n"
				   "        name = \"x-a\";\n"
				   "        exact = \"1\";\n"
				   "      }, {\n"
				   "        name = \"x-b\";\n"
				   "        present = false;\n"
				   "        invert = true;\n"
				   "      } );\n"
				   "    token = {\n"
				   "      issuers = [ \"i\" ];\n"
				   "      audiences = \"x\";\n"
				   "      claims = ( {\n"
				   "          name = \"groups\";\n"
				   "          suffix = \"-admin\";\n"
				   "        } );\n"
				   "    };\n"
				   "  } );\n";
	static const char mixed[] =
		"policies: ( { token = { claims = ( { suffix = \"-admin\"; name = \"groups\" } ), "
		"audiences = \"x\"; issuers = ( \"i\" ); }; not_hosts = ( \"x.example.com\" ); "
		"hosts = \"*.example.com\"; not_paths = \"/b/c\"; paths = [ \"/a/{id}\", \"/b/*\" "
		"]; "
		"not_methods = \"PUT\"; methods = ( \"GET\" ); not_ports = 81; ports = ( 80, 8080 "
		"); "
		"headers = ( { exact = \"1\"; name = \"x-a\"; }, { invert = true; present = false; "
		"name = \"x-b\"; } ); not_from = \"b\"; from = [ \"a\", \"shop/*\", \"10.0.0.0/8\" "
		"]; "
		"mode = \"audit\"; action = \"deny\"; services = ( \"a\", \"b\" ); name = \"r\"; } "
		");";
	const char *const texts[] = {mixed, text};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct fixture *f = *state;
		bundle_done(&f->bundle);
		add(f, "mesh", "x.conf", texts[i]);
		assert_int_equal(read_objects(f), 0);
		assert_string_equal(f->objects[0].text.at, text);
	}
}

static void test_joined_texts_are_one_file(void **state)
{
	struct fixture *f = *state;
	const struct str texts[] = {STR(WEB), STR(RULE("action = \"deny\";")), STR(ORDERS)};
	struct str joined = conf_objects_join(&f->arena, texts, 3);
	assert_non_null(joined.at);
	add(f, "mesh", "all.conf", joined.at);
	assert_int_equal(read_objects(f), 0);
	assert_int_equal(f->count, 3);
	assert_null(conf_objects_join(&f->arena, (struct str[]){STR("{")}, 1).at);
	assert_int_equal(conf_objects_join(&f->arena, NULL, 0).len, 0);
}

static void test_wrong_rows_are_said_with_file_and_line(void **state)
{
	static const char *const rows[][2] = {
		{"policies: (\n{ service = \"a\"; action = \"deny\"; } );",
			"x.conf:2: policies[0].name: missing: what is published needs a name"},
		{"services: ( { name = \"a\"; },\n{ name = \"a\"; } );",
			"x.conf:2: services[1].name: \"a\" is declared already, at x.conf:1"},
		{"services: ( { name = \"a\"; prot = 1; } );",
			"x.conf:1: services[0].prot: unknown key"},
		{"services: ( { name = 5; } );", "x.conf:1: services[0].name: expected"},
		{"policies: ( { name = \"a/b\"; service = \"a\"; action = \"deny\"; } );",
			"x.conf:1: policies[0].name: \"a/b\" is no name to publish by"},
		{"policies: ( { name = \"\"; service = \"a\"; action = \"deny\"; } );",
			"x.conf:1: policies[0].name: \"\" is no name to publish by"},
		{"services: ( 5 );", "x.conf:1: services[0]: expected a group"},
		{"services: 5;", "x.conf:1: services: expected a list"},
		{"service: ();", "x.conf:1: service: unknown key; did you mean \"services\"?"},
		{"node: {};", "x.conf:1: node: unknown key"}, {"services: (", "x.conf:1: syntax"},
		{"@include \"y\"", "x.conf:1: @include is not taken"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture *f = *state;
		bundle_done(&f->bundle);
		conf_report_done(&f->report);
		add(f, "mesh", "x.conf", rows[i][0]);
		assert_int_equal(read_objects(f), -EINVAL);
		assert_said(f, rows[i][1]);
	}
}

static void test_kinds(void **state)
{
	char text[64];
	assert_string_equal(conf_kind_find(STR("service"))->list, "services");
	assert_string_equal(conf_kind_find(STR("policies"))->name, "policy");
	assert_string_equal(conf_kind_find(STR("route"))->key, "service");
	assert_null(conf_kind_find(STR("workload")));
	assert_string_equal(conf_kind_names(text, sizeof(text)),
		"service, policy, issuer, route, limit, rollout, external");
	size_t count = 0;
	while (conf_kind_at(count))
		count++;
	assert_int_equal(count, 7);
}

static void test_gathering(void **state)
{
	struct fixture *f = *state;
	char dir[] = "/tmp/ringmain-objects-XXXXXX", path[64];
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a.conf", dir);
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fputs(WEB, out);
	fclose(out);
	assert_int_equal(conf_objects_gather(dir, &f->bundle, &f->report), 0);
	assert_int_equal(conf_objects_gather(path, &f->bundle, &f->report), 0);
	assert_int_equal(read_objects(f), -EINVAL); /* given twice */
	unlink(path);
	rmdir(dir);
	assert_int_equal(conf_objects_gather(dir, &f->bundle, &f->report), -ENOENT);
	assert_said(f, "No such file");
}

/* --- a mesh of them --- */

static void test_a_good_mesh(void **state)
{
	struct fixture *f = *state;
	add(f, "mesh", "x.conf", ORDERS);
	add(f, "object", "service/web (revision 3)", WEB);
	add(f, "object", "policy/r (revision 3)", RULE("action = \"allow\"; from = \"web\";"));
	add(f, "node", "vm-a", RECORD);
	check_good(f);
}

static void test_unknown_services(void **state)
{
	struct fixture *f = *state;
	add(f, "object", "service/orders (revision 12)", ORDERS);
	add(f, "object", "policy/r (revision 12)", RULE("action = \"allow\"; from = \"ordres\";"));
	check_bad(f, "policy/r (revision 12): from: there is no service \"ordres\" in the mesh; "
		     "did you mean \"orders\"?");
}

static void test_unknown_services_in_files_have_a_line(void **state)
{
	struct fixture *f = *state;
	add(f, "mesh", "x.conf",
		"policies: (\n{ name = \"r\";\nservice = \"biling\"; action = \"deny\"; } );");
	add(f, "node", "vm-a", RECORD);
	check_bad(f, "x.conf:3: policies[0].service: there is no service \"biling\" in the mesh; "
		     "did you mean \"billing\"?");
}

static void test_services_of_records_are_known(void **state)
{
	struct fixture *f = *state;
	add(f, "object", "service/orders", ORDERS);
	add(f, "mesh", "x.conf", RULE("action = \"allow\"; from = \"billing\";"));
	add(f, "node", "vm-a", RECORD);
	add(f, "node", "vm-b", "nonsense");
	check_good(f);
}

static void test_what_is_taken_away_must_not_be_named(void **state)
{
	struct fixture *f = *state;
	add(f, "object", "policy/r (revision 2)",
		"policies: ( { name = \"r\"; service = \"billing\"; action = \"deny\"; } );");
	add(f, "gone", "service/billing", "");
	add(f, "node", "vm-a", RECORD);
	check_bad(f,
		"policy/r (revision 2): service: names the service \"billing\", which is to be "
		"taken away");
}

static void test_an_object_is_what_it_is_called(void **state)
{
	static const char *const texts[] = {WEB, "", WEB ORDERS,
		"services: ( { name = \"orders\"; }, { name = \"web\"; } );",
		"policies: ( { name = \"orders\"; service = \"*\"; action = \"deny\"; } );"};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct fixture *f = *state;
		bundle_done(&f->bundle);
		conf_report_done(&f->report);
		add(f, "object", "service/orders (revision 1)", texts[i]);
		assert_int_equal(check(f), -EINVAL);
	}
}

static void test_what_a_node_refuses_is_refused(void **state)
{
	struct fixture *f = *state;
	add(f, "mesh", "x.conf", "services: ( { name = \"Orders\"; } );");
	check_bad(f, "x.conf:1: services[0].name: \"Orders\" is no service name");
}

#define TWO(first, second)                                                                       \
	"services: ( { name = \"a\"; port = 80; " first " }, { name = \"b\"; port = 80; " second \
	" } );\n"

static void test_addresses_meet(void **state)
{
	static const char *const rows[][2] = {
		{TWO("address = \"10.9.0.1\";", "address = \"10.9.0.1\";"),
			"10.9.0.1:80 is the address of \"a\" already"},
		{TWO("address = \"10.9.0.1\";", "endpoints = ( { address = \"10.9.0.1\"; } );"),
			"10.9.0.1:80 is an endpoint of \"b\"; take an address"},
		{TWO("endpoints = ( { address = \"10.9.0.1\"; } );",
			 "endpoints = ( { address = \"10.9.0.1\"; } );"),
			"10.9.0.1:80 is an endpoint of \"a\" already"},
		{TWO("endpoints = ( { address = \"10.77.0.1\"; port = 9000; } );", ""),
			"10.77.0.1:9000 is an endpoint of \"billing\" on the node vm-a"},
		{"services: ( { name = \"a\"; address = \"10.77.0.1\"; port = 9000; } );",
			"10.77.0.1:9000 is an endpoint of \"billing\" on the node vm-a; take an "
			"address"},
		{"services: ( { name = \"a\"; address = \"10.9.0.1\"; } );", "port: missing"},
		{TWO("address = \"127.0.0.1\";", ""), "is this machine's own"},
		{TWO("endpoints = ( { address = \"127.0.0.1\"; } );", ""), "a loopback address"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture *f = *state;
		bundle_done(&f->bundle);
		conf_report_done(&f->report);
		add(f, "mesh", "x.conf", rows[i][0]);
		add(f, "node", "vm-a", RECORD);
		check_bad(f, rows[i][1]);
	}
}

static void test_a_node_may_tell_what_is_declared(void **state)
{
	struct fixture *f = *state;
	add(f, "mesh", "x.conf",
		"services: ( { name = \"billing\"; endpoints = ( { address = \"10.77.0.1\"; port = "
		"9000; } ); } );");
	add(f, "node", "vm-a", RECORD);
	check_good(f);
}

static void test_callers_that_are_nowhere(void **state)
{
	struct fixture *f = *state;
	add(f, "object", "service/orders", ORDERS);
	add(f, "mesh", "x.conf",
		"services: ( { name = \"web\"; protocol = \"http\"; } );\n" RULE(
			"action = \"allow\"; from = \"web\";"));
	check_good(f); /* before there is any node */
	add(f, "node", "vm-a", RECORD);
	check_warns(f, "x.conf:2: warning: policies[0].from: \"web\" is no workload anywhere");
}

struct cover_row {
	const char *first, *second, *said; /* said of the second; NULL: nothing */
};

static const struct cover_row cover_rows[] = {
	{"service = \"a\"; action = \"allow\"; from = \"b\";",
		"service = \"a\"; action = \"allow\"; from = \"b\";",
		"decides nothing: \"one\" allows all of it already, at x.conf:2"},
	{"service = \"a\"; action = \"deny\"; from = \"b\"; paths = \"/x/*\";",
		"service = \"a\"; action = \"deny\"; from = \"b\"; paths = [ \"/x/y\", \"/x/z/*\", "
		"\"/x/{id}/w\" ];",
		"decides nothing: \"one\" denies all of it already, at x.conf:2"},
	{"service = \"a\"; action = \"deny\"; from = \"*\";",
		"service = \"a\"; action = \"allow\"; methods = \"GET\";",
		"never allows anything: \"one\" denies all of it, at x.conf:2"},
	{"service = \"a\"; action = \"deny\"; from = \"b\";",
		"service = \"a\"; action = \"allow\"; from = \"b\"; methods = \"GET\";",
		"never allows anything: \"one\" denies all of it, at x.conf:2"},
	{"service = \"*\"; action = \"deny\"; paths = \"/admin/*\";",
		"service = [ \"a\", \"b\" ]; action = \"allow\"; paths = \"/admin/x\";",
		"never allows anything: \"one\" denies all of it, at x.conf:2"},
	{"service = \"*\"; action = \"deny\"; from = \"b\";",
		"service = \"*\"; action = \"allow\"; from = \"b\"; paths = \"/x\";",
		"never allows anything: \"one\" denies all of it, at x.conf:2"},
	{"service = \"*\"; action = \"deny\";",
		"service = \"*\"; action = \"allow\"; from = \"b\";",
		"never allows anything: \"one\" denies all of it, at x.conf:2"},
	/* no deny rule stands between a rule and one for more callers */
	{"service = \"a\"; action = \"allow\"; paths = \"/x/{id}\";",
		"service = \"a\"; action = \"allow\"; from = \"b\"; paths = \"/x/y\";",
		"decides nothing: \"one\" allows all of it already, at x.conf:2"},
	{"service = \"a\"; action = \"allow\"; ",
		"service = \"a\"; action = \"allow\"; from = \"b\";",
		"decides nothing: \"one\" allows all of it already, at x.conf:2"},
	{"service = \"a\"; action = \"allow\"; from = \"shop/*\";",
		"service = \"a\"; action = \"allow\"; from = [ \"shop/web\", \"shop/eu/*\" ];",
		"decides nothing: \"one\" allows all of it already, at x.conf:2"},
	{"service = \"a\"; action = \"allow\"; from = \"spiffe://x.example/*\";",
		"service = \"a\"; action = \"allow\"; from = \"spiffe://x.example/shop/web\";",
		"decides nothing: \"one\" allows all of it already, at x.conf:2"},
	{"service = \"a\"; action = \"allow\"; from = \"anonymous\";",
		"service = \"a\"; action = \"allow\"; from = \"10.0.0.0/8\";",
		"decides nothing: \"one\" allows all of it already, at x.conf:2"},
	{"service = \"a\"; action = \"allow\"; from = \"10.0.0.0/8\";",
		"service = \"a\"; action = \"allow\"; from = [ \"10.1.0.0/16\", \"10.2.3.4\" ];",
		"decides nothing: \"one\" allows all of it already, at x.conf:2"},
	{"service = \"a\"; action = \"deny\"; ",
		"service = \"a\"; action = \"deny\"; from = \"b\"; ports = 80;",
		"decides nothing: \"one\" denies all of it already, at x.conf:2"},
	{"service = \"a\"; action = \"deny\"; from = \"*\";",
		"service = \"a\"; action = \"deny\"; from = \"b\";",
		"decides nothing: \"one\" denies all of it already, at x.conf:2"},
	/* who has no identity may be one that is named */
	{"service = \"a\"; action = \"deny\"; from = \"*\"; paths = \"/x\";",
		"service = \"a\"; action = \"deny\"; from = \"anonymous\"; paths = \"/x\";",
		"decides nothing: \"one\" denies all of it already, at x.conf:2"},
	{"service = \"a\"; action = \"deny\"; from = \"b\"; paths = \"/x\";",
		"service = \"a\"; action = \"allow\"; from = \"10.0.0.0/8\"; paths = \"/x\";",
		"never allows anything: \"one\" denies all of it, at x.conf:2"},
	/* whatever it asks besides */
	{"service = \"a\"; action = \"allow\"; from = \"b\"; ports = [ 80, 81 ];",
		"service = \"a\"; action = \"allow\"; from = \"b\"; ports = 80; hosts = \"x\"; "
		"not_methods = \"GET\"; not_from = \"a\"; headers = ( { name = \"h\"; exact = "
		"\"v\"; } ); token = { };",
		"decides nothing: \"one\" allows all of it already, at x.conf:2"},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; not_paths = \"/x/*\"; not_methods = "
	 "\"PUT\"; not_hosts = \"x\"; not_ports = 80; not_from = \"shop/web\";",
		"service = \"a\"; action = \"allow\"; from = \"b\"; not_paths = [ \"/y\", \"/x/*\" "
		"]; not_methods = [ \"GET\", \"PUT\" ]; not_hosts = [ \"x\", \"y\" ]; not_ports = "
		"[ 81, 80 ]; not_from = \"shop/*\";",
		"decides nothing: \"one\" allows all of it already, at x.conf:2"},
	{"service = \"a\"; action = \"allow\"; headers = ( { name = \"h\"; exact = \"v\"; } ); "
	 "token = { issuers = [ \"i\", \"j\" ]; claims = ( { name = \"c\"; exact = \"v\"; } ); };",
		"service = \"a\"; action = \"allow\"; headers = ( { name = \"H\"; present = true; "
		"}, { name = \"h\"; exact = \"v\"; } ); token = { issuers = \"i\"; audiences = "
		"\"x\"; claims = ( { name = \"c\"; exact = \"v\"; } ); };",
		"decides nothing: \"one\" allows all of it already, at x.conf:2"},
	/* on trial */
	{"service = \"a\"; action = \"allow\"; from = \"b\";",
		"service = \"a\"; action = \"allow\"; from = \"b\"; mode = \"audit\";",
		"decides nothing: \"one\" allows all of it already, at x.conf:2"},
	{"service = \"a\"; action = \"deny\"; from = \"b\"; mode = \"audit\";",
		"service = \"a\"; action = \"allow\"; from = \"b\"; mode = \"audit\"; paths = "
		"\"/x\";",
		"never allows anything: \"one\" denies all of it, at x.conf:2"},
	/* What is not covered. */
	{"service = \"a\"; action = \"deny\"; from = \"b\"; paths = \"/x/*\";",
		"service = \"a\"; action = \"allow\"; from = \"b\"; paths = [ \"/x/y\", \"/z\" ];",
		NULL},
	{"service = \"a\"; action = \"deny\"; from = \"b\";",
		"service = \"a\"; action = \"allow\"; from = [ \"a\", \"b\" ];", NULL},
	{"service = \"a\"; action = \"deny\"; from = \"b\";",
		"service = [ \"a\", \"b\" ]; action = \"allow\"; from = \"b\";", NULL},
	{"service = \"a\"; action = \"deny\"; from = \"b\";",
		"service = \"*\"; action = \"allow\"; from = \"b\";", NULL},
	{"service = \"a\"; action = \"deny\"; methods = \"GET\";",
		"service = \"a\"; action = \"allow\"; from = \"b\";", NULL},
	{"service = \"a\"; action = \"allow\"; ",
		"service = \"a\"; action = \"deny\"; from = \"b\";", NULL},
	{"service = \"a\"; action = \"allow\"; paths = \"/x/*\";",
		"service = \"a\"; action = \"allow\"; paths = \"/xy\";", NULL},
	{"service = \"a\"; action = \"allow\"; paths = \"/x/y\";",
		"service = \"a\"; action = \"allow\"; paths = \"/x/*\";", NULL},
	{"service = \"a\"; action = \"allow\"; paths = \"/x/{id}\";",
		"service = \"a\"; action = \"allow\"; paths = [ \"/x/y/z\", \"/x/y\" ];", NULL},
	/* the more exact one wins */
	{"service = \"a\"; action = \"deny\"; from = \"*\";",
		"service = \"a\"; action = \"allow\"; from = \"b\";", NULL},
	{"service = \"a\"; action = \"deny\"; from = \"shop/*\";",
		"service = \"a\"; action = \"allow\"; from = \"shop/web\";", NULL},
	{"service = \"a\"; action = \"deny\"; from = \"10.0.0.0/8\";",
		"service = \"a\"; action = \"allow\"; from = \"10.1.0.0/16\";", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"shop/*\";",
		"service = \"a\"; action = \"allow\"; from = \"shopping/web\";", NULL},
	/* on trial */
	{"service = \"a\"; action = \"deny\"; from = \"b\"; mode = \"audit\";",
		"service = \"a\"; action = \"allow\"; from = \"b\";", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; mode = \"audit\";",
		"service = \"a\"; action = \"allow\"; from = \"b\";", NULL},
	{"service = \"a\"; action = \"audit\";",
		"service = \"a\"; action = \"audit\"; from = \"b\";", NULL},
	{"service = \"a\"; action = \"audit\";",
		"service = \"a\"; action = \"allow\"; from = \"b\";", NULL},
	/* each of the other parts */
	{"service = \"a\"; action = \"allow\"; from = \"b\"; headers = ( { name = \"h\"; exact = "
	 "\"v\"; } );",
		"service = \"a\"; action = \"allow\"; from = \"b\"; headers = ( { name = \"h\"; "
		"prefix = \"v\"; } );",
		NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; token = { };",
		"service = \"a\"; action = \"allow\"; from = \"b\";", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; token = { issuers = \"i\"; };",
		"service = \"a\"; action = \"allow\"; from = \"b\"; token = { };", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; token = { audiences = \"i\"; };",
		"service = \"a\"; action = \"allow\"; from = \"b\"; token = { audiences = [ \"i\", "
		"\"j\" ]; };",
		NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; token = { claims = ( { name = \"c\"; "
	 "exact = \"v\"; } ); };",
		"service = \"a\"; action = \"allow\"; from = \"b\"; token = { claims = ( { name = "
		"\"c\"; exact = \"w\"; } ); };",
		NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; ports = 80;",
		"service = \"a\"; action = \"allow\"; from = \"b\";", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; ports = 80;",
		"service = \"a\"; action = \"allow\"; from = \"b\"; ports = [ 80, 81 ];", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; hosts = \"x\";",
		"service = \"a\"; action = \"allow\"; from = \"b\"; hosts = \"y\";", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; not_from = \"a\";",
		"service = \"a\"; action = \"allow\"; from = \"b\"; not_from = \"shop/c\";", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; not_methods = \"PUT\";",
		"service = \"a\"; action = \"allow\"; from = \"b\"; not_methods = \"GET\";", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; not_methods = \"PUT\";",
		"service = \"a\"; action = \"allow\"; from = \"b\";", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; not_paths = \"/x\";",
		"service = \"a\"; action = \"allow\"; from = \"b\"; not_paths = \"/x/y\";", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; not_paths = \"/x\";",
		"service = \"a\"; action = \"allow\"; from = \"b\";", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; not_hosts = \"x\";",
		"service = \"a\"; action = \"allow\"; from = \"b\"; not_hosts = \"y\";", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; not_hosts = \"x\";",
		"service = \"a\"; action = \"allow\"; from = \"b\";", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; not_ports = 80;",
		"service = \"a\"; action = \"allow\"; from = \"b\"; not_ports = 81;", NULL},
	{"service = \"a\"; action = \"allow\"; from = \"b\"; not_ports = 80;",
		"service = \"a\"; action = \"allow\"; from = \"b\";", NULL},
};

static void test_rules_that_decide_nothing(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(cover_rows); i++) {
		const struct cover_row *row = &cover_rows[i];
		struct fixture *f = *state;
		char text[1024];
		bundle_done(&f->bundle);
		conf_report_done(&f->report);
		snprintf(text, sizeof(text),
			"services: ( { name = \"a\"; mtls = \"permissive\"; }, { name = \"b\"; } "
			"); issuers: ( { name = \"i\"; issuer = \"i\"; }, { name = \"j\"; issuer = "
			"\"j\"; } ); policies: (\n{ name = \"one\"; %s },\n{ name = \"two\"; %s } "
			");",
			row->first, row->second);
		add(f, "mesh", "x.conf", text);
		if (!row->said) {
			assert_int_equal(check(f), 0);
			if (f->report.text && strstr(f->report.text, "policies[1]"))
				fail_msg("%s", f->report.text);
			continue;
		}
		check_warns(f, row->said);
		assert_said(f, "x.conf:3: warning: policies[1]: ");
		assert_int_equal(f->report.warning_count, 1);
	}
}

struct between_row {
	const char *first, *second, *third;
	bool is_said; /* of the second, that the first decides all of it */
};

/* A rule for fewer callers is needed where one that says the contrary stands between. */
static const struct between_row between_rows[] = {
	{"allow", "allow", "action = \"deny\"; from = \"shop/*\"; paths = \"/y\";", false},
	{"allow", "allow", "action = \"deny\"; from = \"*\"; paths = \"/y\";", false},
	{"allow", "allow", "action = \"deny\"; paths = \"/y\";", true},
	{"allow", "allow", "action = \"allow\"; from = \"b\"; paths = \"/y\";", true},
	{"deny", "deny", "action = \"allow\"; from = \"shop/*\"; paths = \"/y\";", false},
	{"deny", "deny", "action = \"allow\"; from = \"*\"; paths = \"/y\";", true},
	{"deny", "deny", "action = \"deny\"; from = \"b\"; paths = \"/y\";", true},
};

static void test_rules_between(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(between_rows); i++) {
		const struct between_row *row = &between_rows[i];
		struct fixture *f = *state;
		char text[1024];
		bundle_done(&f->bundle);
		conf_report_done(&f->report);
		snprintf(text, sizeof(text),
			"services: ( { name = \"a\"; }, { name = \"b\"; } ); policies: (\n"
			"{ name = \"one\"; service = \"a\"; action = \"%s\"; from = \"*\"; },\n"
			"{ name = \"two\"; service = \"a\"; action = \"%s\"; from = \"shop/web\"; "
			"},\n"
			"{ name = \"three\"; service = \"a\"; %s } );",
			row->first, row->second, row->third);
		add(f, "mesh", "x.conf", text);
		if (row->is_said)
			check_warns(f, "x.conf:3: warning: policies[1]: decides nothing: \"one\"");
		else
			check_good(f);
	}
}

/* So many that each is not compared with all others; then that is said. */
static void test_many_rules(void **state)
{
	struct fixture *f = *state;
	FILE *out;
	char *text = NULL;
	size_t len = 0;
	out = open_memstream(&text, &len);
	assert_non_null(out);
	fprintf(out, "services: ( { name = \"a\"; } ); policies: (\n");
	for (unsigned i = 0; i < 2500; i++)
		fprintf(out,
			"{ name = \"r%u\"; service = \"a\"; action = \"allow\"; from = \"shop/w\"; "
			"headers = ( { name = \"h\"; exact = \"%u\"; } ); },\n",
			i, i);
	fprintf(out, "{ name = \"last\"; service = \"a\"; action = \"audit\"; } );");
	fclose(out);
	add(f, "mesh", "x.conf", text);
	check_warns(f, "warning: policies are so many");
	free(text);
}

/* The same of a few that each name very many callers. */
static void test_many_callers(void **state)
{
	struct fixture *f = *state;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	assert_non_null(out);
	fprintf(out, "services: ( { name = \"a\"; } ); policies: (\n");
	for (unsigned i = 0; i < 30; i++) {
		fprintf(out, "{ name = \"r%u\"; service = \"a\"; action = \"allow\"; from = [ ", i);
		for (unsigned k = 0; k < 500; k++)
			fprintf(out, "\"shop/w%u\", ", k);
		fprintf(out, "\"shop/own%u\" ]; },\n", i);
	}
	fprintf(out, "{ name = \"last\"; service = \"a\"; action = \"audit\"; } );");
	fclose(out);
	add(f, "mesh", "x.conf", text);
	check_warns(f, "warning: policies are so many");
	free(text);
}

/* For each of its services another rule. */
static void test_what_several_rules_cover_is_said_of_all_of_them(void **state)
{
	static const struct {
		const char *second, *said;
	} rows[] = {
		{"deny",
			"policies[2]: never allows anything: \"one\" and others deny all of it, at "
			"x.conf:2"},
		{"allow", "policies[2]: decides nothing: \"one\" and others decide all of it "
			  "already"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture *f = *state;
		char text[1024];
		bundle_done(&f->bundle);
		conf_report_done(&f->report);
		snprintf(text, sizeof(text),
			"services: ( { name = \"a\"; }, { name = \"b\"; } ); policies: (\n"
			"{ name = \"one\"; service = \"a\"; action = \"deny\"; from = \"b\"; },\n"
			"{ name = \"two\"; service = \"b\"; action = \"%s\"; from = \"b\"; },\n"
			"{ name = \"three\"; service = [ \"a\", \"b\" ]; action = \"allow\"; from "
			"= "
			"\"b\"; } );",
			rows[i].second);
		add(f, "mesh", "x.conf", text);
		check_warns(f, rows[i].said);
		assert_int_equal(f->report.warning_count, 1);
	}
}

static void test_a_broader_rule_behind_covers_too(void **state)
{
	struct fixture *f = *state;
	add(f, "object", "service/orders", ORDERS);
	add(f, "mesh", "x.conf",
		"policies: ( { name = \"one\"; service = \"orders\"; action = \"allow\"; paths = "
		"\"/x\"; },\n{ name = \"two\"; service = \"orders\"; action = \"allow\"; } );");
	check_warns(f, "x.conf:1: warning: policies[0]: decides nothing: \"two\"");
	assert_int_equal(f->report.warning_count, 1);
}

static void test_what_the_build_warns_of_is_said_once(void **state)
{
	struct fixture *f = *state;
	add(f, "mesh", "x.conf",
		"services: ( { name = \"a\"; protocol = \"tcp\"; } ); policies: (\n"
		"{ name = \"one\"; service = \"a\"; action = \"deny\"; },\n"
		"{ name = \"two\"; service = \"a\"; action = \"allow\"; paths = \"/x\"; } );");
	check_warns(f, "x.conf:3: warning: policies[1].paths: \"a\" is a tcp service");
	assert_said(f, "x.conf:3: warning: policies[1]: never allows anything for \"a\": "
		       "\"one\" denies everybody");
	assert_int_equal(f->report.warning_count, 2);
}

static void test_what_stood_before_is_not_said_again(void **state)
{
	struct fixture *f = *state;
	struct conf_report standing;
	conf_report_init(&standing);
	add(f, "object", "service/orders (revision 1)", ORDERS);
	add(f, "object", "policy/r (revision 1)", RULE("action = \"allow\"; from = \"nobody\";"));
	assert_int_equal(conf_objects_check(&f->bundle, STR("prod.example"), &standing), -EINVAL);
	f->report.known = &standing;
	check_good(f);
	assert_int_equal(f->report.known_count, 1);
	add(f, "mesh", "x.conf", "services: ( { name = \"a\"; server_first = true; } );");
	check_bad(f, "server_first");
	assert_int_equal(f->report.error_count, 1);
	conf_report_done(&standing);
}

/* One that a newer version has published, or that is broken: the others are checked all the same.
 */
static void test_what_cannot_be_read_hides_nothing(void **state)
{
	static const char *const texts[] = {
		"policies: (", RULE("action = \"deny\"; of_a_newer_version = 1;"), "services: ();"};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct fixture *f = *state;
		struct conf_report standing;
		conf_report_init(&standing);
		bundle_done(&f->bundle);
		conf_report_done(&f->report);
		add(f, "object", "service/orders (revision 1)", ORDERS);
		add(f, "object", "policy/r (revision 1)", texts[i]);
		assert_int_equal(
			conf_objects_check(&f->bundle, STR("prod.example"), &standing), -EINVAL);
		f->report.known = &standing;
		check_good(f);
		add(f, "mesh", "x.conf", "services: ( { name = \"a\"; server_first = true; } );");
		check_bad(f, "server_first: only with protocol \"tcp\"");
		f->report.known = NULL;
		conf_report_done(&standing);
	}
}

/* An operator publishes none of them. */
static void test_what_cannot_be_read_is_refused(void **state)
{
	struct fixture *f = *state;
	add(f, "mesh", "x.conf", ORDERS RULE("action = \"deny\"; of_a_newer_version = 1;"));
	check_bad(f, "x.conf:2: policies[0].of_a_newer_version: unknown key");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rows_become_objects, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_same_content_has_the_same_text, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_text_is_read_to_the_same_text, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_an_issuer_is_published_as_a_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_issuers_are_there_that_policies_name, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_policy_is_published_as_a_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_joined_texts_are_one_file, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_wrong_rows_are_said_with_file_and_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gathering, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_good_mesh, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_services, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_unknown_services_in_files_have_a_line, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_services_of_records_are_known, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_is_taken_away_must_not_be_named, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_an_object_is_what_it_is_called, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_a_node_refuses_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_addresses_meet, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_node_may_tell_what_is_declared, setup, teardown),
		cmocka_unit_test_setup_teardown(test_callers_that_are_nowhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rules_that_decide_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rules_between, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_rules, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_callers, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_several_rules_cover_is_said_of_all_of_them, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_broader_rule_behind_covers_too, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_the_build_warns_of_is_said_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_stood_before_is_not_said_again, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_cannot_be_read_hides_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_what_cannot_be_read_is_refused, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
