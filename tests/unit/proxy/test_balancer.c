/* SPDX-License-Identifier: Apache-2.0 */
/* How calls are shared out among endpoints, and which get none for a while. orders runs on both
 * machines, on the near one as the user shop. */
#include "lab.h"

#include "balance/wheel.h"
#include "proxy/report.h"
#include "proxy/routing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET	"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK	"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
#define BROKEN	"HTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\nx"
#define GATEWAY "HTTP/1.1 504 No\r\nContent-Length: 1\r\n\r\nx"
#define NEAR	"{ address = \"10.77.0.1\"; port = 8081; }"
#define SERVICE(how, near)                                                             \
	" { name = \"orders\"; port = 8080; protocol = \"http\"; " how                 \
	"address = \"10.96.0.1\"; endpoints = ( " near "{ address = \"10.77.0.2\"; } " \
	"); },\n"

enum { EDIT_SERVICE, EDIT_NEAR, EDIT_WORKLOAD, EDIT_POLICY };

static struct lab_edit edits[LAB_EDITS_MAX] = {
	[EDIT_SERVICE] = {" { name = \"orders\"; port = 8080; protocol = \"http\"; endpoints = ( "
			  "{ address = \"10.77.0.2\"; } ); },\n",
		NULL},
	[EDIT_NEAR] =
		{" { name = \"shop\"; port = 8081; protocol = \"http\"; endpoints = ( { address "
		 "= \"10.77.0.1\"; } ); },\n",
			" { name = \"shop\"; },\n"},
	[EDIT_WORKLOAD] = {" { service = \"shop\"; user = \"shop\"; port = 8081; },\n",
		" { service = \"orders\"; user = \"shop\"; port = 8081; },\n"},
};

static struct lab lab;
static int client;

static void start(enum lab_serving serving, const char *service)
{
	edits[EDIT_SERVICE].to = service;
	lab_start(&lab, &(struct lab_options){
				.machine_count = 2, .edits = edits, .seed = 1, .serving = serving});
	struct address a = lab_address_of("10.96.0.1");
	a.port = 8080;
	client = lab_dial_address(&lab, LAB_WEB, &a);
}

static void ask(void)
{
	fake_peer_send_text(client, GET);
	lab_pump(&lab);
}

static uint32_t far_count(void)
{
	return lab.machines[1].log.count;
}

static void let_mesh(int result)
{
	struct address mesh = lab_mesh_address(1);
	fake_connect_rule(&mesh, result);
}

static void let_mesh_again(void)
{
	struct address mesh = lab_mesh_address(1);
	fake_connect_listener(&mesh, lab.machines[1].listeners[WIRE_LISTENER_MESH].fd);
}

static uint32_t mesh_connects(void)
{
	struct address mesh = lab_mesh_address(1);
	uint32_t count = 0;
	while (lab_connected(&mesh, count) != -1)
		count++;
	return count;
}

static void expect_ejected(uint64_t times, uint64_t now)
{
	assert_int_equal(lab_values(&lab, 0)->ejections_total, times);
	assert_int_equal(lab_values(&lab, 0)->endpoints_ejected, now);
}

static void replan(const char *service)
{
	lab.edits[EDIT_SERVICE].to = service;
	lab_replan(&lab, 0, NULL);
	lab_pump(&lab);
}

static void test_round_robin_is_exact(void **state)
{
	start(LAB_HTTP, SERVICE("balance = \"round_robin\"; ", NEAR ", "));
	for (uint32_t i = 0; i < 20; i++) {
		uint32_t before = far_count();
		ask();
		ask();
		assert_int_equal(far_count() - before, 1);
	}
	lab_finish(&lab);
}

/* A connection that cannot be made: five times, and then not for half a minute. */
static void test_an_unreachable_one_is_left_alone(void **state)
{
	start(LAB_HTTP, SERVICE("", NEAR ", "));
	let_mesh(-ECONNREFUSED);
	for (int i = 0; i < 40; i++)
		ask();
	assert_int_equal(mesh_connects(), 5);
	expect_ejected(1, 1);
	assert_int_equal(lab.machines[0].log.count, 40);
	for (uint32_t i = 0; i < 40; i++)
		assert_int_equal(lab.machines[0].log.entries[i].code, 200);
	/* the probe fails: a minute, in which there is no other */
	lab_run(&lab, 31 * CLOCK_S);
	for (int i = 0; i < 20; i++)
		ask();
	assert_int_equal(mesh_connects(), 6);
	expect_ejected(2, 1);
	lab_run(&lab, 31 * CLOCK_S);
	for (int i = 0; i < 20; i++)
		ask();
	assert_int_equal(mesh_connects(), 6);
	/* and it is well again */
	let_mesh_again();
	lab_run(&lab, 30 * CLOCK_S);
	for (int i = 0; i < 40; i++)
		ask();
	assert_in_range(far_count(), 10, 30);
	expect_ejected(2, 0);
	lab_finish(&lab);
}

static size_t got(int server)
{
	return server == -1 ? 0 : fake_peer_received(server).len;
}

/* What the far server answers to its share of so many requests; the near one is well. */
static uint32_t answer(const char *text, uint32_t count)
{
	uint32_t asked = 0;
	size_t before = 0;
	for (uint32_t i = 0; i < count; i++) {
		ask();
		int far = lab_served(&lab, LAB_ORDERS, 0);
		bool at_far = got(far) > before;
		before = got(far);
		asked += at_far;
		fake_peer_send_text(
			at_far ? far : lab_served(&lab, LAB_SHOP, 0), at_far ? text : OK);
		lab_pump(&lab);
	}
	assert_int_equal(lab.machines[0].log.count, count);
	assert_int_equal(far_count(), asked);
	return asked;
}

static void test_gateway_errors_eject(void **state)
{
	start(LAB_BY_HAND, SERVICE("", NEAR ", "));
	assert_int_equal(answer(GATEWAY, 40), 5);
	expect_ejected(1, 1);
	lab_finish(&lab);
}

/* The application's own errors are answers like any other. */
static void test_a_500_does_not_eject(void **state)
{
	start(LAB_BY_HAND, SERVICE("", NEAR ", "));
	assert_in_range(answer(BROKEN, 40), 10, 30);
	expect_ejected(0, 0);
	lab_finish(&lab);
}

static void test_the_only_one_is_never_ejected(void **state)
{
	start(LAB_HTTP, SERVICE("", ""));
	let_mesh(-ECONNREFUSED);
	for (int i = 0; i < 10; i++)
		ask();
	expect_ejected(0, 0);
	lab_finish(&lab);
}

static void test_no_ejection_unless_wanted(void **state)
{
	start(LAB_HTTP, SERVICE("outlier = { connect_errors = 0; }; ", NEAR ", "));
	let_mesh(-ECONNREFUSED);
	for (int i = 0; i < 40; i++)
		ask();
	assert_true(mesh_connects() > 10);
	expect_ejected(0, 0);
	lab_finish(&lab);
}

/* A new plan keeps it out; one without the endpoint, or the service, forgets it. */
static void test_an_ejection_outlives_a_plan(void **state)
{
	start(LAB_HTTP, SERVICE("", NEAR ", "));
	let_mesh(-ECONNREFUSED);
	for (int i = 0; i < 40; i++)
		ask();
	replan(SERVICE("balance = \"random\"; ", NEAR ", "));
	for (int i = 0; i < 40; i++)
		ask();
	assert_int_equal(mesh_connects(), 5);
	expect_ejected(1, 1);
	replan(SERVICE("outlier = { ejected_percent = 0; }; ", NEAR ", "));
	expect_ejected(1, 0);
	for (int i = 0; i < 20; i++)
		ask();
	assert_true(mesh_connects() > 5);
	lab_finish(&lab);
}

static int one_more(void)
{
	struct address a = lab_address_of("10.96.0.1");
	a.port = 8080;
	int fd = lab_dial_address(&lab, LAB_WEB, &a);
	fake_peer_send_text(fd, GET);
	lab_pump(&lab);
	return fd;
}

/* Never more at once, and as soon as one has ended the next may. */
static void test_no_more_requests_than_a_service_may_have(void **state)
{
	int fds[3];
	start(LAB_BY_HAND, SERVICE("breaker = { requests = 3; }; ", NEAR ", "));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = one_more();
	for (int round = 0; round < 3; round++) {
		int refused = one_more();
		lab_expect_holds(refused, "HTTP/1.1 503 ");
		lab_expect_reason(&lab, 0, "BREAKER_REQUESTS");
		assert_int_equal(lab_values(&lab, 0)->breaker_requests_refused_total, round + 1);
	}
	fake_peer_reset(fds[1]); /* its caller goes */
	lab_pump(&lab);
	lab_expect_lacks(one_more(), "503");
	lab_expect_holds(one_more(), "HTTP/1.1 503 ");
	/* what a new plan allows holds for the calls under way as well */
	replan(SERVICE("breaker = { requests = 4; }; ", NEAR ", "));
	lab_expect_lacks(one_more(), "503");
	lab_expect_holds(one_more(), "HTTP/1.1 503 ");
	lab_finish(&lab);
}

/* The service goes while one of its endpoints is ejected, and calls are under way. */
static void test_a_service_that_goes(void **state)
{
	start(LAB_HTTP, SERVICE("", NEAR ", "));
	let_mesh(-ECONNREFUSED);
	for (int i = 0; i < 40; i++)
		ask();
	expect_ejected(1, 1);
	fake_peer_send_text(client, GET);
	lab_turns(&lab, 1);
	lab.edits[EDIT_WORKLOAD].to = "";
	lab.edits[EDIT_POLICY] = (struct lab_edit){"[ \"shop\", \"orders\" ]", "[ \"shop\" ]"};
	replan("");
	expect_ejected(1, 0);
	lab_finish(&lab);
}

/* --- by a value --- */

static bool goes_far(const char *user)
{
	char text[256];
	uint32_t before = far_count();
	snprintf(text, sizeof(text), "GET /1 HTTP/1.1\r\nHost: h\r\nx-user: %s\r\n\r\n", user);
	fake_peer_send_text(client, text);
	lab_pump(&lab);
	return far_count() > before;
}

/* Under every plan, and whatever else there is to do. */
static void test_a_value_keeps_its_endpoint(void **state)
{
	static const char *const ways[] = {
		SERVICE("balance = \"ring_hash\"; balance_by = \"header:x-user\"; ", NEAR ", "),
		SERVICE("balance = \"maglev\"; balance_by = \"header:X-User\"; ", NEAR ", ")};
	for (size_t k = 0; k < ARRAY_LEN(ways); k++) {
		bool far[20];
		uint32_t far_total = 0;
		start(LAB_HTTP, ways[k]);
		const struct wheel *wheel = NULL;
		for (int round = 0; round < 3; round++) {
			const struct plan *plan = lab_worker(&lab, 0)->current->plan;
			const struct service *orders =
				snapshot_service(plan->snapshot, STR("orders"));
			/* what has not changed is not made again */
			assert_true(round == 0 || plan_wheel(plan, orders, NULL) == wheel);
			wheel = plan_wheel(plan, orders, NULL);
			assert_non_null(wheel);
			for (uint32_t i = 0; i < 20; i++) {
				char user[16];
				snprintf(user, sizeof(user), "user-%u", i);
				bool is_far = goes_far(user);
				assert_true(round == 0 || is_far == far[i]);
				far[i] = is_far;
				far_total += is_far;
			}
			replan(ways[k]);
		}
		assert_in_range(far_total, 3 * 4, 3 * 16);
		lab_finish(&lab);
	}
}

/* --- told to the control thread --- */

static struct report *reported(const char *service)
{
	struct str name = str_of(service);
	struct worker *w = lab_worker(&lab, 0);
	struct report *report = report_new(&name, name.len > 0);
	assert_non_null(report);
	assert_true(worker_ask(w, report));
	assert_false(worker_ask(w, report)); /* one at a time */
	assert_false(worker_has_answered(w, report));
	loop_ready(&w->loop, &w->wake); /* the simulated kernel knows no eventfd */
	lab_pump(&lab);
	assert_true(worker_has_answered(w, report));
	assert_false(worker_has_answered(w, report));
	return report;
}

static void test_a_worker_tells_what_it_knows(void **state)
{
	start(LAB_HTTP, SERVICE("", NEAR ", "));
	struct report *report = reported("orders");
	assert_int_equal(report->row_count, 0); /* nobody has called it */
	report_free(report);
	let_mesh(-ECONNREFUSED);
	for (int i = 0; i < 20; i++)
		ask();
	report = reported("orders");
	assert_int_equal(report->row_count, 2);
	assert_int_equal(report->services[0].calls, 0);
	const struct report_row *far = &report->rows[report->rows[0].state == OUTLIER_IN];
	assert_int_equal(far->state, OUTLIER_OUT);
	assert_int_equal(far->cause, OUTLIER_BY_CONNECT_ERRORS);
	assert_in_range(far->left_ns, 29 * CLOCK_S, 30 * CLOCK_S);
	report_free(report);
	report = reported("");
	assert_int_equal(report->row_count, 1);
	assert_memory_equal(report->rows[0].service, "orders", 6);
	report_free(report);
	/* one that nobody waits for is let go of when the next one comes, or with the worker */
	for (int i = 0; i < 2; i++) {
		struct str name = STR("web");
		struct report *left = report_new(&name, 1);
		assert_non_null(left);
		assert_true(worker_ask(lab_worker(&lab, 0), left));
		report_forget(left);
		loop_ready(&lab_worker(&lab, 0)->loop, &lab_worker(&lab, 0)->wake);
		lab_pump(&lab);
	}
	lab_finish(&lab);
}

/* --- turns of rules --- */

/* Those of rules that are gone are let go of when there are many; those that are left go on where
 * they were. */
static void test_turns_outlive_a_sweep(void **state)
{
	const struct route_leg legs[] = {{.weight = 1}, {.weight = 1}};
	struct route_rule rule = {.legs = (struct route_leg *)(uintptr_t)legs, .leg_count = 2};
	const struct route_request request = {.source_id = STR("")};
	start(LAB_HTTP, SERVICE("", NEAR ", "));
	struct worker *w = lab_worker(&lab, 0);
	struct service *orders = (struct service *)(uintptr_t)snapshot_service(
		w->current->plan->snapshot, STR("orders"));
	struct route kept = {.service = orders, .rules = &rule, .rule_count = 1};
	orders->route = &kept;
	const struct route_leg *before = routing_leg(w, &kept, &rule, &request);
	for (uint32_t i = 0; i < 10001; i++) {
		char name[16];
		struct service gone = {.name = {name, 0}};
		struct route left = {.service = &gone, .rules = &rule, .rule_count = 1};
		gone.name.len = (size_t)snprintf(name, sizeof(name), "gone-%u", i);
		routing_leg(w, &left, &rule, &request);
		assert_true(w->turns.count <= 4097);
		const struct route_leg *after = routing_leg(w, &kept, &rule, &request);
		assert_true(after != before);
		before = after;
	}
	orders->route = NULL;
	lab_finish(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_value_keeps_its_endpoint),
		cmocka_unit_test(test_a_worker_tells_what_it_knows),
		cmocka_unit_test(test_turns_outlive_a_sweep),
		cmocka_unit_test(test_round_robin_is_exact),
		cmocka_unit_test(test_an_unreachable_one_is_left_alone),
		cmocka_unit_test(test_gateway_errors_eject),
		cmocka_unit_test(test_a_500_does_not_eject),
		cmocka_unit_test(test_the_only_one_is_never_ejected),
		cmocka_unit_test(test_no_ejection_unless_wanted),
		cmocka_unit_test(test_an_ejection_outlives_a_plan),
		cmocka_unit_test(test_no_more_requests_than_a_service_may_have),
		cmocka_unit_test(test_a_service_that_goes),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
