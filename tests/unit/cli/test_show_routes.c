/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *text;
static size_t text_len;
static struct arena arena;

static const struct json_tree *tree_of(const char *answer)
{
	arena_init(&arena, 1 << 20);
	const struct json_tree *tree = json_tree_read(&arena, str_of(answer));
	assert_non_null(tree);
	return tree;
}

static int explained(const char *answer)
{
	FILE *out = open_memstream(&text, &text_len);
	const struct json_tree *tree = tree_of(answer);
	show_explain(out, tree);
	fclose(out);
	return show_explain_problems(tree);
}

static int teardown(void **state)
{
	free(text);
	text = NULL;
	arena_done(&arena);
	return 0;
}

#define UP(address)                                                                         \
	"{\"address\":\"" address "\",\"health\":\"up\",\"version\":\"v1\",\"weight\":100," \
	"\"node\":\"vm-b\",\"zone\":\"eu-1a\",\"local\":false,\"alternate\":false,"         \
	"\"calls\":3,\"latency_us\":1234,\"share\":1000000}"
#define ALSO                                                                                 \
	"{\"address\":\"[fd00::b]:80\",\"health\":\"up\",\"version\":\"v1\",\"weight\":100," \
	"\"node\":\"vm-b\",\"zone\":\"eu-1a\",\"local\":false,\"alternate\":true}"
#define DOWN                                                                                \
	"{\"address\":\"10.0.0.3:80\",\"health\":\"down\",\"version\":\"v2\",\"weight\":1," \
	"\"node\":\"vm-c\",\"zone\":null,\"local\":true,\"alternate\":false}"
#define LEG(version, weight, allowed, policy, endpoints)                                        \
	"{\"service\":\"orders\",\"version\":" version ",\"weight\":" weight                    \
	",\"allowed\":" allowed ",\"policy\":\"" policy                                         \
	"\",\"balance\":{\"way\":\"maglev\",\"by\":\"header:x-user\",\"has_value\":true,"       \
	"\"zones\":\"strict\",\"zone\":\"eu-1a\",\"calls\":3,\"requests_max\":9,\"workers\":2," \
	"\"workers_answered\":1},\"endpoints\":[" endpoints "]}"
#define ASKED                                               \
	"\"from\":\"spiffe://prod.example/service/"         \
	"web\",\"to\":\"orders\",\"http\":true,\"method\":" \
	"\"GET\",\"path\":\"/x?y\",\"host\":\"orders\",\"addresses\":1,"

static void a_neighbour_of_a_service_in_the_plain(void **state)
{
	explained("{" ASKED "\"has_route\":false,\"rules\":[],\"split\":[{\"service\":\"orders\","
		  "\"weight\":1,\"allowed\":false,\"policy\":\"default\",\"neighbour\":{"
		  "\"allowed\":true,\"policy\":\"web\",\"policy_where\":\"mesh.conf:1\"}}]}");
	assert_non_null(strstr(text, "\n‼ on the service's own machine leg 1 would be allowed by "
				     "web (mesh.conf:1)\n"));
}

static void a_rule_with_a_split(void **state)
{
	assert_int_equal(
		explained(
			"{" ASKED
			"\"has_route\":true,\"rules\":[{\"name\":\"orders/testers\",\"matches\":"
			"false,\"missed\":\"header\",\"wanted\":\"header x-a exact \\\"1\\\"\","
			"\"has\":null},{\"name\":\"orders/guests\",\"matches\":false,\"missed\":"
			"\"path\",\"wanted\":\"path /g\",\"has\":\"/x\"},{\"name\":"
			"\"orders/canary\",\"matches\":true}],\"rule\":\"orders/canary\","
			"\"action\":\"forward\",\"timeout_ms\":2000,\"retries\":\"1 more try on "
			"reset\",\"sticky\":\"cookie user\",\"becomes_path\":\"/z\",\"sticks_by\":"
			"\"7\",\"sticks_to\":2,\"split\":[" LEG("\"v1\"", "2", "true", "web",
				UP("10.0.0.2:80") "," ALSO) "," LEG("\"v2\"", "1", "true", "web",
				DOWN) "]}"),
		0);
	assert_string_equal(text,
		"GET /x?y of orders (host orders)\n"
		"from spiffe://prod.example/service/web\n"
		"\n"
		"  RULE            MATCHES  WHY\n"
		"  orders/testers  no       wants header x-a exact \"1\"; there is none\n"
		"  orders/guests   no       wants path /g; it is /x\n"
		"  orders/canary   yes      -\n"
		"\n"
		"orders/canary decides\n"
		"  the path becomes /z\n"
		"  at most 2s until a response begins\n"
		"  after a failure 1 more try on reset\n"
		"  stays with a leg by cookie user\n"
		"  its value \"7\" has leg 2\n"
		"\n"
		"LEG  SERVICE  VERSION  WEIGHT  SHARE    ENDPOINTS    POLICY\n"
		"1    orders   v1       2       66.66 %  1 up of 1    allowed by web\n"
		"2    orders   v2       1       33.33 %  ‼ 0 up of 1  allowed by web\n"
		"\n"
		"leg 1: maglev by header:x-user; zones strict, this one is eu-1a; 3 of at most 9 "
		"calls under way (‼ 1 of 2 workers have answered)\n"
		"leg 2: maglev by header:x-user; zones strict, this one is eu-1a; 3 of at most 9 "
		"calls under way (‼ 1 of 2 workers have answered)\n"
		"\n"
		"LEG  ENDPOINT             HEALTH  VERSION  WEIGHT  NODE          ZONE   CALLS  "
		"LATENCY  GETS\n"
		"1    10.0.0.2:80          up      v1       100     vm-b          eu-1a  3      "
		"1.2ms    100 %\n"
		"1    [fd00::b]:80 (also)  up      v1       100     vm-b          eu-1a  -      -  "
		"   "
		"   nothing\n"
		"2    10.0.0.3:80          ‼ down  v2       1       this machine  -      -      -  "
		"   "
		"   nothing\n");
}

static void assert_has(const char *part)
{
	if (!strstr(text, part))
		fail_msg("missing: %s\nin:\n%s\n", part, text);
}

#define BALANCED(balance, endpoints)                                                            \
	"{\"has_route\":false,\"addresses\":1,\"split\":[{\"service\":\"orders\",\"weight\":1," \
	"\"allowed\":true,\"policy\":\"w\",\"balance\":{" balance "},\"endpoints\":[" endpoints \
	"]}]}"

static void how_it_is_balanced(void **state)
{
	explained(BALANCED("\"way\":\"ring_hash\",\"by\":\"cookie:u\",\"has_value\":false,"
			   "\"zones\":\"ignore\",\"panic\":40,\"choice\":\"panic\",\"calls\":1,"
			   "\"workers\":2,\"workers_answered\":2",
		"{\"address\":\"10.0.0.9:80\",\"health\":\"up\",\"weight\":100,\"share\":333333,"
		"\"latency_us\":25000,\"ejected\":{\"workers\":2,\"why\":\"errors in a row\","
		"\"left_ms\":23001}}"));
	assert_has("leg 1: ring_hash by cookie:u, which it has not: least_request; panic below 40 "
		   "%; 1 call under way\n");
	assert_has("‼ too few are well");
	assert_has("‼ ejected by 2 workers for 24s: errors in a row  ");
	assert_has("  25ms     33.33 %\n");
	teardown(NULL);
	explained(BALANCED("\"way\":\"least_request\",\"zones\":\"prefer\",\"zone\":\"eu\","
			   "\"choice\":\"other-zone\"",
		""));
	assert_has("leg 1: least_request; zones prefer, this one is eu\n");
	assert_has("‼ most calls leave the zone");
}

static void what_does_not_arrive_is_a_problem(void **state)
{
	assert_int_equal(
		explained("{" ASKED "\"has_route\":true,\"rules\":[],\"rule\":null,\"split\":[" LEG(
			"null", "1", "false", "no-web", UP("10.0.0.2:80")) "]}"),
		1);
	assert_has("no rule matches");
	assert_has("× denied by no-web");
	teardown(NULL);
	assert_int_equal(
		explained("{\"to\":\"orders\",\"http\":false,\"addresses\":0,\"has_route\":true,"
			  "\"rule\":\"orders/a\",\"action\":\"forward\",\"split\":[{\"service\":"
			  "null,\"version\":null,\"weight\":1}," LEG("\"v3\"", "1", "true", "w",
				  "") "," LEG("\"v4\"", "0", "true", "w", "") "]}"),
		2);
	assert_has("opaque bytes to orders\nfrom somebody without an identity\n");
	assert_has("× none");
	assert_has("‼ the service has no address of its own");
	assert_has("× not known here");
	teardown(NULL);
	assert_int_equal(
		explained("{\"split\":[{\"service\":\"orders\",\"weight\":1,\"allowed\":true,"
			  "\"policy\":\"web\",\"policy_where\":\"mesh.conf:7\","
			  "\"would_deny\":true,\"audited\":\"trial\","
			  "\"audited_where\":\"mesh.conf:9\",\"endpoints\":[{}]}]}"),
		0);
	assert_has("allowed by web (mesh.conf:7); ‼ trial (mesh.conf:9) would deny it\n");
}

static void answers_of_the_proxy_s_own(void **state)
{
	assert_int_equal(explained("{" ASKED "\"has_route\":true,\"rule\":\"orders/gone\","
				   "\"action\":\"respond\",\"status\":410}"),
		0);
	assert_has("orders/gone decides: answered 410 by the caller's proxy (respond)\n");
	teardown(NULL);
	assert_int_equal(explained("{" ASKED "\"has_route\":false,\"split\":[" LEG(
				 "null", "1", "true", "w", UP("10.0.0.2:80")) "]}"),
		0);
	assert_has("there is no route: it goes to the service\n");
}

static void an_answer_with_gaps_is_shown(void **state)
{
	assert_int_equal(explained("{}"), 0);
}

static void a_list(void **state)
{
	FILE *out = open_memstream(&text, &text_len);
	show_routes(
		out, tree_of("{\"routes\":[{\"service\":\"orders\",\"rules\":["
			     "{\"name\":\"orders/gone\",\"match\":[\"path /g\",\"method GET\"],"
			     "\"action\":\"respond\",\"status\":410,\"split\":[]},"
			     "{\"name\":\"orders/canary\",\"match\":[],\"action\":\"forward\","
			     "\"sticky\":\"source\",\"retries\":\"1 more try on reset\",\"split\":["
			     "{\"service\":\"orders\",\"version\":\"v1\",\"weight\":9},"
			     "{\"service\":\"stock\",\"version\":\"v2\",\"weight\":1}]},"
			     "{\"name\":\"orders/rules[2]\",\"match\":[],\"action\":\"forward\","
			     "\"fault\":\"delay 1000ms for 5 %\",\"mirror\":\"10 % to orders v2\","
			     "\"split\":[]}]}]}"));
	fclose(out);
	assert_string_equal(text, "RULE             MATCHES              LEADS TO                "
				  "STICKY  RETRIES      "
				  "        FAULT                 MIRROR\n"
				  "orders/gone      path /g, method GET  respond 410             - "
				  "      -            "
				  "        -                     -\n"
				  "orders/canary    -                    v1 90 %, stock v2 10 %  "
				  "source  1 more try on"
				  " reset  -                     -\n"
				  "orders/rules[2]  -                    the service             - "
				  "      -            "
				  "        delay 1000ms for 5 %  10 % to orders v2\n");
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_rule_with_a_split),
		TEST(a_neighbour_of_a_service_in_the_plain),
		TEST(how_it_is_balanced),
		TEST(what_does_not_arrive_is_a_problem),
		TEST(answers_of_the_proxy_s_own),
		TEST(an_answer_with_gaps_is_shown),
		TEST(a_list),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
