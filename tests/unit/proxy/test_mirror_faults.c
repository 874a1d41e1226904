/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are mirrored, with every fault at every operation, with every mishap of the mirror
 * after every turn, and in chaos: what the callers get is byte for byte what they get without a
 * mirror, unless a fault was theirs, and nothing is left behind. The service is here and its mirror
 * on the other machine, or the other way round. */
#include "lab.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHAOS_SEEDS 40
#define CALLERS	    2

#define REQUESTS                                                                        \
	"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"                                            \
	"POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\na body of some bytes" \
	"PUT /3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

#define ROUTES(to, more)                                                            \
	"routes: ( { service = \"orders\"; rules = ( { split = ( { version = \"" to \
	"\"; } ); " more " } ); } );\n"
#define MIRROR(to) "mirror = ( { version = \"" to "\"; } );"

static const struct place {
	const char *name, *plain, *mirrored;
	enum lab_workload mirror;
} places[] = {
	{"far mirror", ROUTES("v1", ""), ROUTES("v1", MIRROR("v2")), LAB_ORDERS},
	{"near mirror", ROUTES("v2", ""), ROUTES("v2", MIRROR("v1")), LAB_SHOP},
};

static struct lab lab;
static int clients[CALLERS];
static int caller_count;
static char expected[CALLERS][4096];
static char label[128];

static int label_setup(void **state)
{
	label[0] = '\0';
	caller_count = CALLERS;
	return 0;
}

static int label_teardown(void **state)
{
	if (label[0])
		print_message("it was: %s\n", label);
	return 0;
}

static void start(const char *routes, uint64_t chaos)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2,
				.edits = lab_two_versions,
				.objects = routes,
				.serving = LAB_HTTP,
				.node = "timeouts: { mirror = \"3s\"; };\n",
				.seed = 1,
				.chaos = chaos,
				.no_log = true});
}

static void ask_for(const char *requests)
{
	struct address a = lab_address_of(LAB_OWN_ORDERS);
	a.port = 8080;
	for (int i = 0; i < caller_count; i++) {
		clients[i] = lab_dial_address(&lab, i ? LAB_BILLING : LAB_WEB, &a);
		fake_peer_send_text(clients[i], requests);
	}
}

static void ask(void)
{
	ask_for(REQUESTS);
}

/* What they get when nothing is mirrored and nothing goes wrong. */
static void expect_from(const struct place *p)
{
	start(p->plain, 0);
	ask();
	lab_run(&lab, CLOCK_S);
	for (int i = 0; i < caller_count; i++) {
		struct str got = fake_peer_received(clients[i]);
		assert_true(got.len > 0 && got.len < sizeof(expected[i]));
		memcpy(expected[i], got.at, got.len);
		expected[i][got.len] = '\0';
	}
	assert_non_null(strstr(expected[0], ":/3"));
	lab_finish(&lab);
}

/* `whole`: they must have all of it; else it is at least nothing else, as far as the answers of the
 * service go. */
static void check(bool whole)
{
	for (int i = 0; i < caller_count; i++) {
		struct str got = fake_peer_received(clients[i]);
		if (whole && (got.len != strlen(expected[i]) ||
				     memcmp(got.at, expected[i], got.len) != 0))
			fail_msg("not what it is without a mirror: \"%.*s\"", (int)got.len, got.at);
		if (lab_holds_text(got, "mirror"))
			fail_msg("a word of the mirror: \"%.*s\"", (int)got.len, got.at);
	}
	assert_int_equal(lab_alive(&lab, 0, TASK_MIRROR), 0);
}

/* --- every fault --- */

/* Of one caller: there are many operations. */
static void test_every_fault(void **state)
{
	caller_count = 1;
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		uint32_t before[FAKE_KIND_COUNT], counts[FAKE_KIND_COUNT];
		expect_from(&places[i]);
		start(places[i].mirrored, 0);
		for (int kind = 0; kind < FAKE_KIND_COUNT; kind++)
			before[kind] = fake_ops_count((enum fake_kind)kind);
		ask();
		lab_run(&lab, CLOCK_S);
		for (int kind = 0; kind < FAKE_KIND_COUNT; kind++)
			counts[kind] = fake_ops_count((enum fake_kind)kind) - before[kind];
		check(true);
		assert_int_equal(lab_values(&lab, 0)->mirrors_total, 3 * caller_count);
		lab_finish(&lab);
		for (int kind = 0; kind < FAKE_KIND_COUNT; kind++) {
			for (uint32_t nth = 1; nth <= counts[kind]; nth++) {
				for (int fault = 1; fault < FAKE_FAULT_COUNT; fault++) {
					snprintf(label, sizeof(label),
						"%s: kind %d nth %u fault %d", places[i].name, kind,
						nth, fault);
					start(places[i].mirrored, 0);
					fake_fault(
						(enum fake_kind)kind, nth, (enum fake_fault)fault);
					ask();
					lab_run(&lab, 12 * CLOCK_S);
					fake_release();
					lab_run(&lab, 5 * CLOCK_S);
					check(fault == FAKE_FAULT_CANCEL_LOSES ||
						fault == FAKE_FAULT_NO_BLOCK);
					lab_finish(&lab);
				}
			}
		}
	}
	label[0] = '\0';
}

/* --- what happens to a mirror, after every turn --- */

static void each_socket(const struct place *p, void (*meet)(int fd))
{
	int fd;
	for (uint32_t i = 0; (fd = lab_served(&lab, p->mirror, i)) != -1; i++) {
		if (!fake_is_open(fd))
			continue;
		lab_leave_server(&lab, fd);
		meet(fd);
	}
}

static void event_resets(const struct place *p)
{
	each_socket(p, fake_peer_reset);
}

static void event_closes(const struct place *p)
{
	each_socket(p, fake_peer_close);
}

static void say_garbage(int fd)
{
	fake_peer_send_text(fd, "\x16\x03 no answer\r\n\r\n");
}

static void event_says_garbage(const struct place *p)
{
	each_socket(p, say_garbage);
}

static void read_nothing(int fd)
{
	fake_peer_window(fd, 0);
}

static void event_reads_nothing(const struct place *p)
{
	each_socket(p, read_nothing);
}

static void event_is_away(const struct place *p)
{
	struct address at = lab_deliver(p->mirror);
	fake_connect_rule(&at, -ECONNREFUSED);
}

static void event_is_stalled(const struct place *p)
{
	struct address at = lab_deliver(p->mirror);
	fake_connect_rule(&at, FAKE_PENDING);
}

static void event_new_plan(const struct place *p)
{
	lab_replan(&lab, 0, NULL);
}

static void event_no_mirror_any_more(const struct place *p)
{
	lab.objects = p->plain;
	lab_replan(&lab, 0, NULL);
}

static const struct event {
	const char *name;
	void (*meet)(const struct place *p);
} events[] = {
	{"resets", event_resets},
	{"closes", event_closes},
	{"says garbage", event_says_garbage},
	{"reads nothing", event_reads_nothing},
	{"is away", event_is_away},
	{"is stalled", event_is_stalled},
	{"a new plan", event_new_plan},
	{"a plan without it", event_no_mirror_any_more},
};

static void test_every_event_after_every_turn(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		expect_from(&places[i]);
		for (size_t e = 0; e < ARRAY_LEN(events); e++) {
			bool is_busy = true;
			for (uint32_t turns = 0; is_busy; turns++) {
				snprintf(label, sizeof(label), "%s: %s after %u turns",
					places[i].name, events[e].name, turns);
				start(places[i].mirrored, 0);
				ask();
				is_busy = lab_turns(&lab, turns);
				events[e].meet(&places[i]);
				lab_run(&lab, 9 * CLOCK_S);
				check(true);
				lab_finish(&lab);
			}
		}
	}
	label[0] = '\0';
}

/* Drained, with an end in sight, after every turn. */
static void test_a_drain_after_every_turn(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		bool is_busy = true;
		for (uint32_t turns = 0; is_busy; turns++) {
			snprintf(label, sizeof(label), "%s: drained after %u turns", places[i].name,
				turns);
			start(places[i].mirrored, 0);
			ask_for("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n");
			is_busy = lab_turns(&lab, turns);
			lab_drain(&lab, 0);
			lab_run(&lab, 9 * CLOCK_S);
			check(false);
			/* who was there before it has been answered */
			for (int c = 0; c < caller_count && turns > 0; c++)
				lab_expect_holds(clients[c], ":/1");
			lab_finish(&lab);
		}
	}
	label[0] = '\0';
}

static void test_chaos(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		expect_from(&places[i]);
		for (uint64_t seed = 1; seed <= CHAOS_SEEDS; seed++) {
			snprintf(label, sizeof(label), "%s: seed %u", places[i].name,
				(unsigned)seed);
			start(places[i].mirrored, seed);
			ask();
			lab_run(&lab, 9 * CLOCK_S);
			check(true);
			lab_finish(&lab);
		}
	}
	label[0] = '\0';
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_fault, label_setup, label_teardown),
		cmocka_unit_test_setup_teardown(
			test_every_event_after_every_turn, label_setup, label_teardown),
		cmocka_unit_test_setup_teardown(
			test_a_drain_after_every_turn, label_setup, label_teardown),
		cmocka_unit_test_setup_teardown(test_chaos, label_setup, label_teardown),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
