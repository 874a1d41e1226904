/* SPDX-License-Identifier: Apache-2.0 */
/* /limits, and what /metrics says of limits. */
#include "admin/page.h"

#include "page_ask.h"
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sample sample;
static struct process_watch process;
static const struct page_source source = {&sample.proxy, &process, SAMPLE_NOW_NS};
static struct limiter_counts counts;
static struct str methods[] = {{"PUT", 3}};
static struct limit limits[2];

static int setup(void **state)
{
	sample_init(&sample);
	process_watch_init(&process, sample.proxy.start_wall_ns);
	counts = (struct limiter_counts){
		.granted = 11, .refused = 12, .shadowed = 13, .crowded = 14, .away = 15};
	limits[0] = (struct limit){.name = STR("writes"),
		.service = &sample.services[0],
		.amount = 10,
		.window_ms = 60000,
		.burst = 20,
		.is_fair = true,
		.when = {.methods = methods, .method_count = 1}};
	limits[1] = (struct limit){.index = 1,
		.name = STR("of-\"all\""),
		.service = &sample.services[1],
		.amount = 5,
		.window_ms = 1000,
		.burst = 5,
		.scope = LIMIT_MESH,
		.away = LIMIT_AWAY_DENY,
		.is_shadow = true,
		.parts = {{LIMIT_BY_SOURCE, STR("")}, {LIMIT_BY_HEADER, STR("X-Key")}},
		.part_count = 2};
	sample.snapshot.limits = limits;
	sample.snapshot.limit_count = 2;
	sample.limit_counts = &counts;
	return 0;
}

static int teardown(void **state)
{
	sample_done(&sample);
	process_watch_done(&process);
	return 0;
}

static void assert_part(const char *path, uint16_t status, const char *part)
{
	page_ask_expect(&source, path, status, part);
}

static void limits_are_told(void **state)
{
	assert_part("/limits", 200,
		"{\"name\":\"writes\",\"service\":\"orders\",\"requests\":10,\"per_ms\":60000,"
		"\"burst\":20,\"scope\":\"local\",\"fair\":true,\"shadow\":false,\"by\":[],"
		"\"match\":[\"method PUT\"],\"here\":true,\"granted\":11,\"refused\":12,"
		"\"shadowed\":13,\"crowded\":14,\"away\":15,\"keys\":2,\"keys_max\":1,"
		"\"remaining\":7,\"quota\":10}");
	assert_part("/limits", 200,
		"\"scope\":\"mesh\",\"when_away\":\"deny\",\"fair\":false,\"shadow\":true,\"by\":["
		"\"source\",\"header:X-Key\"],\"match\":[],\"here\":true,\"granted\":11,"
		"\"refused\":12,\"shadowed\":13,\"crowded\":14,\"away\":15}");
}

static void limits_of_one_service(void **state)
{
	assert_part("/limits?service=orders", 200, "\"limits\":[{\"name\":\"writes\"");
	assert_part("/limits?service=nobody", 200, "\"limits\":[]}");
	assert_part("/limits?service=", 400, "?service=NAME");
	assert_part("/limits?servce=orders", 400, "?service=NAME");
}

static void limits_of_services_elsewhere(void **state)
{
	sample.limit_counts = NULL;
	assert_part("/limits?service=orders", 200, "\"match\":[\"method PUT\"],\"here\":false}");
	assert_part("/metrics", 200, "ringmain_rate_limited_total");
}

static void limits_are_counted(void **state)
{
	assert_part("/metrics", 200,
		"ringmain_rate_limit_granted_total{service=\"orders\",limit=\"writes\"} 11\n");
	assert_part("/metrics", 200,
		"ringmain_rate_limited_total{service=\"web\",limit=\"of-\\\"all\\\"\"} 12\n");
	assert_part("/metrics", 200, "ringmain_rate_limit_shadowed_total{service=\"orders\"");
	assert_part("/metrics", 200, "# TYPE ringmain_rate_limit_crowded_total counter\n");
	assert_part("/metrics", 200, "ringmain_rate_limit_away_total{service=\"orders\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(limits_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(limits_of_one_service, setup, teardown),
		cmocka_unit_test_setup_teardown(limits_of_services_elsewhere, setup, teardown),
		cmocka_unit_test_setup_teardown(limits_are_counted, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
