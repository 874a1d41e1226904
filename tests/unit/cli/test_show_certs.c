/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CERT(name, state, serial, served, expires, renews, why)                                   \
	"{\"identity\":\"" name "\",\"state\":\"" state "\",\"source\":\"ca\",\"serial\":" serial \
	",\"served_serial\":" served ",\"expires_in_s\":" expires ",\"renews_in_s\":" renews      \
	",\"renewed\":1,\"failed\":0,\"why\":" why "}"
#define FRESH(name) CERT(name, "fresh", "\"4a1b2c3d4e5f60718293\"", "null", "1925", "125", "null")
#define TRUST(expires, next, failed, why)                                                       \
	"\"trust\":[{\"trust_domain\":\"prod.example\",\"anchors\":2,\"expires_in_s\":" expires \
	",\"crls\":1,\"revoked\":3,\"crl_next_update_in_s\":" next                              \
	",\"crl_age_s\":50,\"asks_in_s\":30,\"failed\":" failed ",\"why\":" why "}],"
#define WELL			 TRUST("86400", "550", "0", "null")
#define PAGE(certs, trust, skew) "{\"certificates\":[" certs "]," trust "\"clock_skew_s\":" skew "}"

static char *text;
static size_t text_len;
static struct arena arena;

static int shown(const char *answer)
{
	FILE *out = open_memstream(&text, &text_len);
	arena_init(&arena, 1 << 20);
	struct show_source source = {.status = json_tree_read(&arena, str_of(answer))};
	assert_non_null(source.status);
	int problem_count = show_certs(out, &source);
	fclose(out);
	assert_int_equal(show_certs_problems(&source), problem_count);
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
	assert_int_equal(shown(PAGE(FRESH("service/orders"), WELL, "0")), 0);
	assert_string_equal(text,
		"IDENTITY        STATE  SERIAL         EXPIRES    RENEWS    SOURCE  WHY\n"
		"service/orders  fresh  4a1b2c3d4e5f…  in 32m 5s  in 2m 5s  ca      -\n"
		"\n"
		"TRUST DOMAIN  ANCHORS  FIRST EXPIRES  CRLS  REVOKED  CRL AGE  NEXT CRL   WHY\n"
		"prod.example  2        in 1d 0h       1     3        50s      in 9m 10s  -\n");
}

static void what_is_not_well_is_marked_and_explained(void **state)
{
	int count = shown(
		PAGE(CERT("service/a", "expired", "\"0a\"", "null", "-61", "5",
			     "\"refused\"") "," CERT("service/b", "missing", "null", "null", "null",
			     "5", "\"refused\"") "," CERT("service/c", "failing", "\"0c\"", "null",
			     "1800", "5", "\"no answer\"") "," CERT("service/d", "ending", "\"0d\"",
			     "null", "90", "5", "null"),
			WELL, "0"));
	assert_int_equal(count, 4);
	assert_has("service/a  × expired  0a      1m 1s ago");
	assert_has("service/b  × missing  -       -");
	assert_has("service/c  ‼ failing  0c      in 30m 0s");
	assert_has("\n× the certificate of service/a has expired: refused\n");
	assert_has("\n× there is no certificate for service/b: refused\n");
	assert_has(
		"\n× the certificate of service/c expires in 30m 0s, and there is no next one: no "
		"answer\n");
}

static void another_certificate_served_is_a_problem(void **state)
{
	int count = shown(PAGE(
		CERT("service/a", "fresh", "\"0b\"", "\"0a\"", "1800", "5", "null"), WELL, "0"));
	assert_int_equal(count, 1);
	assert_has("× service/a has certificate 0b, but the mesh port serves 0a still\n");
}

static void trust_that_is_over_is_a_problem(void **state)
{
	int count = shown(PAGE(FRESH("service/a"), TRUST("-5", "-6", "2", "\"no route\""), "0"));
	assert_int_equal(count, 3);
	assert_has("× a trust anchor of prod.example has expired\n");
	assert_has("× the list of revoked certificates of prod.example is over its time\n");
	assert_has("× anchors of prod.example cannot be asked for: no route\n");
}

static void a_clock_that_is_wrong_is_noted(void **state)
{
	assert_int_equal(shown(PAGE(FRESH("service/a"), WELL, "-95")), 0);
	assert_has("‼ this machine's clock is 95s behind the authority's\n");
}

/* What a store, an authority or a newer proxy says is no reason to fall over. */
static void odd_answers_are_shown_as_they_are(void **state)
{
	assert_int_equal(shown("{}"), 0);
	assert_int_equal(teardown(NULL), 0);
	assert_int_equal(shown("{\"certificates\":[{}],\"trust\":[{}],\"clock_skew_s\":null}"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(all_is_well, teardown),
		cmocka_unit_test_teardown(what_is_not_well_is_marked_and_explained, teardown),
		cmocka_unit_test_teardown(another_certificate_served_is_a_problem, teardown),
		cmocka_unit_test_teardown(trust_that_is_over_is_a_problem, teardown),
		cmocka_unit_test_teardown(a_clock_that_is_wrong_is_noted, teardown),
		cmocka_unit_test_teardown(odd_answers_are_shown_as_they_are, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
