/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show.h"

#include "base/assert.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_shown(const char *answer, const char *expected)
{
	char *text;
	size_t len;
	struct arena arena;
	FILE *out = open_memstream(&text, &len);
	arena_init(&arena, 1 << 20);
	const struct json_tree *tree = json_tree_read(&arena, str_of(answer));
	assert_non_null(tree);
	show_limits(out, tree);
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
	arena_done(&arena);
}

static void test_limits(void **state)
{
	expect_shown(
		"{\"limits\":[{\"name\":\"writes\",\"service\":\"orders\",\"requests\":100,"
		"\"per_ms\":60000,\"burst\":20,\"scope\":\"local\",\"fair\":true,\"shadow\":false,"
		"\"by\":[],\"match\":[\"method PUT\",\"from web\"],\"here\":true,\"granted\":9,"
		"\"refused\":2,\"shadowed\":0,\"keys\":1,\"remaining\":11,\"quota\":20},"
		"{\"name\":\"each\",\"service\":\"orders\",\"requests\":5,\"per_ms\":90000,"
		"\"burst\":5,\"scope\":\"local\",\"fair\":false,\"shadow\":true,\"by\":[\"source\","
		"\"header:X-Key\"],\"match\":[],\"here\":true,\"granted\":3,\"refused\":0,"
		"\"shadowed\":8,\"keys\":4},"
		"{\"name\":\"wide\",\"service\":\"orders\",\"requests\":5,\"per_ms\":90000,"
		"\"burst\":5,\"scope\":\"mesh\",\"fair\":false,\"shadow\":false,\"by\":[\"source\"]"
		","
		"\"match\":[],\"here\":true,\"granted\":3,\"refused\":0,\"shadowed\":8},"
		"{\"name\":\"far\",\"service\":\"stock\",\"requests\":1,\"per_ms\":250,\"burst\":1,"
		"\"scope\":\"mesh\",\"fair\":false,\"shadow\":false,\"by\":[],\"match\":[],"
		"\"here\":false}]}",
		"LIMIT   SERVICE  ALLOWS                      BY                    MATCHES     "
		"          SCOPE  LEFT       GRANTED  REFUSED\n"
		"writes  orders   100 per 1m, burst 20, fair  all together          method PUT, "
		"from web  local  11 of 20   9        2\n"
		"each    orders   5 per 90s, shadow           source, header:X-Key  -           "
		"          local  4 keys     3        8\n"
		"wide    orders   5 per 90s                   source                -           "
		"          mesh   -          3        -\n"
		"far     stock    1 per 250ms                 all together          -           "
		"          mesh   elsewhere  -        -\n");
}

static void test_none(void **state)
{
	expect_shown("{\"limits\":[]}", "no limits\n");
	expect_shown("{}", "no limits\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
