/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* 2026-11-23T20:00:00Z */
#define NOW_S 1795464000ull

#define HEAD                                                                                 \
	"{\"version\":\"0.1.0\",\"node\":\"vm-a\",\"trust_domain\":\"prod.example\","        \
	"\"start_time\":\"2026-11-23T18:00:00.000Z\",\"uptime_s\":7200,\"restart_count\":0," \
	"\"workers\":2,\"generation\":3,\"ready\":true,\"draining\":false,"
#define RELOADED \
	"\"last_reload\":{\"time\":\"2026-11-23T19:55:00.000Z\",\"ok\":true,\"text\":null},"
#define LISTENERS                                                                              \
	"\"listeners\":[{\"kind\":\"outbound\",\"address\":\"127.0.0.1:15100\",\"worker\":0}," \
	"{\"kind\":\"mesh\",\"address\":\"10.77.0.1:15008\",\"worker\":0},"                    \
	"{\"kind\":\"outbound\",\"address\":\"127.0.0.1:15101\",\"worker\":1},"                \
	"{\"kind\":\"outbound\",\"address\":\"[::1]:15100\",\"worker\":0},"                    \
	"{\"kind\":\"mesh\",\"address\":\"10.77.0.1:15008\",\"worker\":1},"                    \
	"{\"kind\":\"admin\",\"address\":\"/run/ringmain/admin.sock\"}],"
#define WORKLOADS                                                                            \
	"\"workloads\":[{\"service\":\"orders\",\"identity\":\"service/orders\","            \
	"\"refused\":false,\"version\":\"v1\",\"user\":\"orders\","                          \
	"\"uid\":1001,\"mark\":1,\"port\":8080,\"protocol\":\"http\",\"mtls\":\"strict\"},"  \
	"{\"service\":\"web\",\"identity\":\"shop/"                                          \
	"web\",\"refused\":false,\"version\":null,\"user\":\"web\",\"uid\":1002,\"mark\":2," \
	"\"port\":0,\"protocol\":\"detect\",\"mtls\":\"strict\"}],"
#define IDENTITY(name, left)                                                                    \
	"{\"identity\":\"service/" name "\",\"serial\":\"0a:1b\","                              \
	"\"not_after\":\"2026-11-23T20:50:00.000Z\",\"lifetime_s\":3600,\"expires_in_s\":" left \
	"}"
#define IDENTITIES "\"identities\":[" IDENTITY("orders", "3000") "," IDENTITY("web", "3000") "],"
#define COUNTERS                                                                          \
	"\"counters\":{\"requests_total\":12345,\"connections_active\":3,"                \
	"\"connections_total\":77,\"handshakes_total\":9,\"handshakes_resumed_total\":4," \
	"\"pool_opened_total\":9,\"pool_reused_total\":12336,\"unattributed_total\":0}}"

static char *text;
static size_t text_len;
static struct arena arena;

/* With a store: what differs from one that is well, `more` comes first. */
#define STATE(connected, age, more)                                                             \
	"\"state\":{\"mode\":\"redis\",\"lease_s\":15,\"silent_s\":1,\"connected\":" connected  \
	",\"loaded\":true,\"store\":\"10.77.0.10:6379\",\"revision\":41,\"store_revision\":41," \
	"\"age_s\":" age ",\"nodes\":4,\"endpoints\":20,\"objects\":9,\"held\":0," more "},"
#define OWN(service, health, more) "{\"service\":\"" service "\",\"health\":\"" health "\"" more "}"
#define WITH(state)		   HEAD RELOADED IDENTITIES LISTENERS WORKLOADS state COUNTERS

static int shown(const char *status, const char *redirect)
{
	FILE *out = open_memstream(&text, &text_len);
	arena_init(&arena, 1 << 20);
	struct show_source source = {.status = json_tree_read(&arena, str_of(status)),
		.redirect = redirect ? json_tree_read(&arena, str_of(redirect)) : NULL,
		.now_s = NOW_S};
	assert_non_null(source.status);
	int problem_count = show_status(out, &source);
	fclose(out);
	assert_int_equal(show_problems(&source), problem_count);
	return problem_count;
}

static int teardown(void **state)
{
	free(text);
	text = NULL;
	arena_done(&arena);
	return 0;
}

static void assert_has(const char *part)
{
	if (!strstr(text, part)) {
		print_error("missing: %s\nin:\n%s\n", part, text);
		fail();
	}
}

static void all_is_well(void **state)
{
	int problem_count = shown(HEAD RELOADED IDENTITIES LISTENERS WORKLOADS COUNTERS,
		"{\"state\":\"in place\",\"last_check\":\"2026-11-23T19:59:58.000Z\","
		"\"mended_count\":0,\"detail\":\"\"}");
	assert_int_equal(problem_count, 0);
	assert_string_equal(text,
		"node        vm-a\n"
		"mesh        prod.example\n"
		"version     0.1.0\n"
		"up          2h 0m, since 2026-11-23 18:00:00Z\n"
		"generation  3, in force since 2026-11-23 19:55:00Z (5m 0s ago)\n"
		"redirect    rules in place, checked 2s ago\n"
		"state       ready\n"
		"\n"
		"IDENTITY        EXPIRES IN  NOT AFTER             SERIAL\n"
		"service/orders  50m 0s      2026-11-23 20:50:00Z  0a:1b\n"
		"service/web     50m 0s      2026-11-23 20:50:00Z  0a:1b\n"
		"\n"
		"LISTENER  ADDRESS                   WORKER\n"
		"outbound  127.0.0.1:15100-15101     0-1\n"
		"mesh      10.77.0.1:15008           0-1\n"
		"outbound  [::1]:15100               0\n"
		"admin     /run/ringmain/admin.sock  -\n"
		"\n"
		"WORKLOAD  IDENTITY        VERSION  USER    UID   MARK  PORT  "
		"PROTOCOL  MTLS\n"
		"orders    service/orders  v1       orders  1001  1     8080  http "
		"     strict\n"
		"web       shop/web        -        web     1002  2     -     -    "
		"     -\n"
		"\n"
		"COUNTER                     VALUE\n"
		"requests                    12345\n"
		"connections open now        3\n"
		"connections accepted        77\n"
		"TLS handshakes              9\n"
		"  of them resumed           4\n"
		"upstream connections        9\n"
		"  requests that reused one  12336\n");
}

/* Its own file and what is published do not agree. */
static void a_workload_that_is_refused(void **state)
{
	int problem_count = shown(HEAD RELOADED IDENTITIES LISTENERS
		"\"workloads\":[{\"service\":\"web\",\"identity\":\"shop/web\",\"refused\":true,"
		"\"mark\":1,\"uid\":1}]," COUNTERS,
		NULL);
	assert_int_equal(problem_count, 1);
	assert_has("\nweb       × shop/web ");
	assert_has("\n× the identity shop/web is none that the service web may have: nobody is led "
		   "to the workload\n");
}

#define CERTIFICATE(state, renews)                                                    \
	"{\"identity\":\"service/orders\",\"state\":\"" state "\",\"source\":\"ca\"," \
	"\"renews_in_s\":" renews "}"

static void certificates_are_one_line(void **state)
{
	int problem_count =
		shown(WITH("\"certificates\":[" CERTIFICATE("fresh", "130") "],"), NULL);
	assert_int_equal(problem_count, 0);
	assert_has("\ncerts       1, all well, the next renewal in 2m 10s\n");
	teardown(NULL);
	problem_count = shown(WITH("\"certificates\":[" CERTIFICATE("failing", "5") "],"), NULL);
	assert_int_equal(problem_count, 1);
	assert_has("\ncerts       1, × 1 of them not well (`ringmain certs`)\n");
	assert_has("\n× 1 certificate cannot be renewed: `ringmain certs` says why\n");
}

static void refused_reload_is_shown_with_its_reasons(void **state)
{
	int problem_count = shown(HEAD
		"\"last_reload\":{\"time\":\"2026-11-23T19:59:50.000Z\",\"ok\":false,"
		"\"text\":\"a.conf:3: one\\u000aa.conf:4: two\\u001b[31m\"}," IDENTITIES LISTENERS
			WORKLOADS COUNTERS,
		NULL);
	assert_int_equal(problem_count, 1);
	assert_has("generation  3; a reload was refused 2026-11-23 19:59:50Z (10s ago)\n");
	assert_has("\n× the last reload was refused; the configuration before it stays in force:\n"
		   "    a.conf:3: one\n    a.conf:4: two?[31m\n");
	assert_null(strstr(text, "redirect "));
}

static void identities_in_trouble(void **state)
{
	int problem_count = shown(HEAD RELOADED
		"\"identities\":[" IDENTITY("a", "-120") "," IDENTITY("b", "719") "," IDENTITY(
			"c", "720") "],"
				    "\"identities_missing\":[\"service/d\"]," LISTENERS WORKLOADS
					    COUNTERS,
		NULL);
	assert_int_equal(problem_count, 2); /* a and d; b is a note */
	assert_has("service/a  × expired 2m 0s ago  2026-11-23 20:50:00Z  0a:1b\n");
	assert_has("service/b  ‼ 11m 59s            2026-11-23");
	assert_has("service/c  12m 0s               2026-11-23");
	assert_has("service/d  × no certificate     -                     -\n");
	assert_has("× the certificate of service/a has expired\n");
	assert_has("‼ the certificate of service/b expires in 11m 59s and was not renewed\n");
	assert_has("× there is no certificate for service/d");
}

static void redirect_in_trouble(void **state)
{
	assert_int_equal(shown(HEAD RELOADED IDENTITIES LISTENERS WORKLOADS COUNTERS,
				 "{\"state\":\"drifted\",\"last_check\":"
				 "\"2026-11-23T19:59:00.000Z\",\"mended_count\":2,"
				 "\"detail\":\"a rule is gone\"}"),
		1);
	assert_has("redirect    rules drifted, checked 1m 0s ago, mended 2 times\n");
	assert_has("× the redirect rules are not as they should be: a rule is gone\n");
	assert_has("‼ `ringmain redirect watch` has not looked for 60s\n");
}

static void notes_are_no_problems(void **state)
{
	int problem_count = shown(HEAD RELOADED IDENTITIES LISTENERS
		"\"workloads\":[{\"service\":\"web\",\"mark\":0,\"uid\":1}],"
		"\"counters\":{\"unattributed_total\":1}}",
		NULL);
	assert_int_equal(problem_count, 0);
	assert_has("\nunattributed connections    1\n");
	assert_has("‼ web has no mark");
	assert_has("‼ 1 captured connection had no known caller");
}

static void answers_of_another_version_have_gaps(void **state)
{
	assert_int_equal(shown("{}", NULL), 2); /* no configuration, no listeners */
	assert_has("node        -\n");
	assert_null(strstr(text, "IDENTITY"));
	teardown(NULL);
	assert_int_equal(shown("{\"listeners\":[1,\"x\",{\"kind\":5,\"address\":\":\"}],"
			       "\"identities\":[null],\"workloads\":[[]],\"generation\":\"x\"}",
				 NULL),
		2); /* the identity counts as expired */
}

static void durations(void **state)
{
	static const struct {
		int64_t seconds;
		const char *want;
	} rows[] = {{0, "0s"}, {59, "59s"}, {60, "1m 0s"}, {3599, "59m 59s"}, {3600, "1h 0m"},
		{86399, "23h 59m"}, {86400, "1d 0h"}, {31536000, "365d 0h"}};
	char duration[32];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(show_duration(rows[i].seconds, duration), rows[i].want);
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

static void a_store_that_is_well(void **state)
{
	assert_int_equal(
		shown(WITH(STATE("true", "2", "\"own\":[" OWN("orders", "up", "") "]")), NULL), 0);
	assert_has("\nstore       10.77.0.10:6379, connected, agreed 2s ago\n"
		   "knows       revision 41, 9 objects, 4 nodes, 20 endpoints\n");
	assert_has("\nENDPOINT OF  HEALTH  IN PROGRESS\norders       up      -\n");
	assert_null(strchr(strstr(text, "COUNTER"), '\xe2')); /* neither × nor ‼ */
}

static void a_standalone_machine_says_nothing_of_a_store(void **state)
{
	assert_int_equal(shown(WITH("\"state\":{\"mode\":\"standalone\"},"), NULL), 0);
	assert_null(strstr(text, "\nstore"));
	assert_null(strstr(text, "ENDPOINT OF"));
}

static void a_store_that_is_lost(void **state)
{
	assert_int_equal(
		shown(WITH(STATE("false", "44", "\"why\":\"10.77.0.10:6379: refused\"")), NULL), 1);
	assert_has("\nstore       10.77.0.10:6379, × not connected, agreed 44s ago\n");
	assert_has("× the store is not connected: 10.77.0.10:6379: refused; traffic goes on with "
		   "what was known 44s ago\n");
	teardown(NULL);
	assert_int_equal(shown(WITH(STATE("false", "46", "\"why\":\"refused\"")), NULL), 1);
	assert_has("× the store is not connected: refused; traffic goes on with what was known "
		   "46s ago, and other machines take this one for gone\n");
	teardown(NULL);
	assert_int_equal(shown(WITH(STATE("false", "null", "\"why\":\"refused\"")), NULL), 1);
	assert_has("not agreed since the start");
	teardown(NULL);
	assert_int_equal(shown(WITH(STATE("true", "3600", "\"why\":null")), NULL), 1);
	assert_has("× what is known of the mesh was last compared with the store 1h 0m ago\n");
}

static void warnings_are_noted(void **state)
{
	assert_int_equal(
		shown(WITH("\"warnings\":[\"policy/a@4:1: never allows anything\",\"b\\u001b[2J\"],"
			   "\"warning_count\":5,"),
			NULL),
		0);
	assert_has("‼ 5 warnings about what is in force:\n    policy/a@4:1: never allows anything\n"
		   "    b?[2J\n    and 3 more: `ringmain check` has all\n");
	teardown(NULL);
	assert_int_equal(shown(WITH("\"warnings\":[\"one\"],\"warning_count\":1,"), NULL), 0);
	assert_has("‼ 1 warning about what is in force:\n    one\n");
}

static void what_is_refused_is_loud(void **state)
{
	assert_int_equal(
		shown(WITH(STATE("true", "2", "\"why\":\"the head is not signed\"")), NULL), 1);
	assert_has("× not all is well with the mesh's state; what is in force stays: the head is "
		   "not signed\n");
	teardown(NULL);
	assert_int_equal(shown(WITH(STATE("true", "2", "\"why\":\"\\u001b[2J\"")), NULL), 1);
	assert_has("what is in force stays: ?[2J\n"); /* a store has no say in the terminal */
	teardown(NULL);
	assert_int_equal(shown(WITH(STATE("true", "2",
				       "\"not_taken\":\"service/orders@41:3: port: no\\nmore\"")),
				 NULL),
		1);
	assert_has("× mesh state not taken, the one before it stays in force:\n"
		   "    service/orders@41:3: port: no\n    more\n");
	teardown(NULL);
	assert_int_equal(
		shown(WITH("\"state\":{\"mode\":\"redis\",\"lease_s\":15,\"silent_s\":16,"
			   "\"connected\":true,\"loaded\":false,\"age_s\":1,\"revision\":41,"
			   "\"store_revision\":42,\"held\":3},"),
			NULL),
		2);
	assert_has("× the state process has said nothing for 16s");
	assert_has("× nothing is known of the mesh yet");
	assert_has("‼ the store has revision 42, in force here is 41\n");
	assert_has("‼ 3 nodes fell silent with many others and are kept");
}

static void endpoints_that_are_down_or_drained(void **state)
{
	assert_int_equal(shown(WITH(STATE("true", "2",
				       "\"own\":[" OWN("orders", "down",
					       ",\"why\":\"connection refused\"") "," OWN("web",
					       "drained", ",\"drained\":true") "," OWN("web",
					       "drained", ",\"drained\":true") "]")),
				 NULL),
		1);
	assert_has("\norders       × down     -\nweb          ‼ drained  -\n");
	assert_has("× orders is down: connection refused\n");
	assert_has("‼ web is drained: `ringmain drain --undo web` puts it back into the mesh\n");
	assert_null(strstr(strstr(text, "‼ web is") + 1, "‼ web is")); /* once */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_is_well),
		TEST(certificates_are_one_line),
		TEST(a_workload_that_is_refused),
		TEST(refused_reload_is_shown_with_its_reasons),
		TEST(identities_in_trouble),
		TEST(redirect_in_trouble),
		TEST(notes_are_no_problems),
		TEST(answers_of_another_version_have_gaps),
		TEST(a_store_that_is_well),
		TEST(a_standalone_machine_says_nothing_of_a_store),
		TEST(a_store_that_is_lost),
		TEST(warnings_are_noted),
		TEST(what_is_refused_is_loud),
		TEST(endpoints_that_are_down_or_drained),
		cmocka_unit_test(durations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
