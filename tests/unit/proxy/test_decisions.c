/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker keeps of its decisions, and what it says when it is asked about one. */
#include "lab.h"
#include "proxy/decisions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REQUEST(path, id) "GET " path " HTTP/1.1\r\nHost: H:80\r\nX-Request-Id: " id "\r\n\r\n"

static struct lab lab;
static struct report *report;

/* What the worker of a machine says of an id; valid until it is asked again. */
static const struct report_decisions *told(uint32_t machine, const char *id)
{
	struct worker *w = lab_worker(&lab, machine);
	report_free(report);
	report = report_new(NULL, 0);
	assert_non_null(report);
	report->decisions.id_len = (uint8_t)strlen(id);
	memcpy(report->decisions.id, id, strlen(id));
	assert_true(worker_ask(w, report));
	loop_ready(&w->loop, &w->wake); /* the simulated kernel knows no eventfd */
	lab_pump(&lab);
	assert_true(worker_has_answered(w, report));
	return &report->decisions;
}

static const struct decision *only(uint32_t machine, const char *id)
{
	const struct report_decisions *t = told(machine, id);
	assert_int_equal(t->found_count, 1);
	return &t->found[0];
}

static void expect_text(const struct decision *d, enum decision_text which, const char *text)
{
	struct str value = decision_text(d, which);
	if (!str_eq(value, str_of(text)))
		fail_msg("text %d is \"%.*s\", not \"%s\"", (int)which, STR_ARG(value), text);
}

static int teardown(void **state)
{
	report_free(report);
	report = NULL;
	return 0;
}

static void refused_and_let_in(void **state)
{
	lab_start(&lab, &(struct lab_options){.serving = LAB_HTTP});
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	fake_peer_send_text(client, REQUEST("/a/../secret?word", "r1"));
	lab_pump(&lab);
	const struct decision *d = only(0, "r1");
	expect_text(d, DECISION_SERVICE, "shop");
	expect_text(d, DECISION_POLICY, "no-secret");
	assert_true(decision_text(d, DECISION_WHERE).len > 0);
	expect_text(d, DECISION_SOURCE, "spiffe://prod.example/service/web");
	expect_text(d, DECISION_METHOD, "GET");
	expect_text(d, DECISION_PATH, "/secret");
	assert_string_equal(d->reason, "POLICY_DENIED");
	assert_true(d->is_http && d->is_here && d->is_refused && !d->is_cut);
	assert_int_equal(d->status, 403);
	assert_int_equal(d->port, 8081);
	assert_int_equal(d->plan_number, lab_worker(&lab, 0)->current->plan->number);
	fake_peer_send_text(client, REQUEST("/open", "r2"));
	lab_pump(&lab);
	d = only(0, "r2");
	expect_text(d, DECISION_POLICY, "default");
	expect_text(d, DECISION_WHERE, "mesh.default_policy");
	assert_true(d->is_here && !d->is_refused);
	assert_int_equal(d->status, 200);
	assert_int_equal(told(0, "r3")->found_count, 0);
	assert_int_equal(told(0, "r")->found_count, 0);
	lab_finish(&lab);
}

/* One and the same request on both machines of its way. */
static void on_both_machines(void **state)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2});
	int client = lab_dial(&lab, LAB_WEB, LAB_ORDERS);
	fake_peer_send_text(client, REQUEST("/secret", "r1"));
	lab_pump(&lab);
	const struct decision *d = only(0, "r1");
	struct address far = lab_mesh_address(1);
	assert_false(d->is_here || d->is_refused);
	assert_int_equal(d->status, 403);
	assert_true(d->is_outbound && address_equal(&d->upstream, &far));
	expect_text(d, DECISION_POLICY, "");
	d = only(1, "r1");
	assert_true(d->is_here && d->is_refused && !d->is_outbound);
	expect_text(d, DECISION_POLICY, "no-secret");
	lab_finish(&lab);
}

static void opaque_bytes_go_by_their_number(void **state)
{
	char number[32];
	lab_start(&lab, &(struct lab_options){.serving = LAB_ECHO});
	lab_dial(&lab, LAB_BILLING, LAB_CACHE);
	lab_pump(&lab);
	lab_expect_reason(&lab, 0, "POLICY_DENIED");
	const struct decision *d = &lab_worker(&lab, 0)->decisions->others.at[0];
	snprintf(number, sizeof(number), "%llu", (unsigned long long)d->connection);
	d = only(0, number);
	assert_true(d->is_refused && !d->is_http);
	expect_text(d, DECISION_POLICY, "no-billing");
	expect_text(d, DECISION_SERVICE, "cache");
	lab_finish(&lab);
}

static void what_is_told_is_kept_apart(void **state)
{
	static const struct lab_edit trial[LAB_EDITS_MAX] = {
		{"name = \"no-secret\"; ", "name = \"no-secret\"; mode = \"audit\"; "}};
	lab_start(&lab, &(struct lab_options){.serving = LAB_HTTP, .edits = trial});
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	fake_peer_send_text(client, REQUEST("/secret", "r1"));
	lab_pump(&lab);
	const struct decision *d = only(0, "r1");
	expect_text(d, DECISION_POLICY, "default");
	expect_text(d, DECISION_AUDITED, "no-secret");
	assert_false(d->is_refused);
	const struct decisions *kept = lab_worker(&lab, 0)->decisions;
	assert_true(kept->others.count == 1 && kept->let_in.count == 0);
	lab_finish(&lab);
}

/* Those let in do not push out the others; of each so many are kept. */
static void the_oldest_are_forgotten(void **state)
{
	lab_start(&lab, &(struct lab_options){.serving = LAB_HTTP});
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	fake_peer_send_text(client, REQUEST("/secret", "refused"));
	lab_pump(&lab);
	for (int i = 0; i < DECISION_KEPT_MAX + 1; i++) {
		char text[128];
		snprintf(text, sizeof(text), REQUEST("/", "n%d"), i);
		fake_peer_send_text(client, text);
		lab_pump(&lab);
	}
	assert_int_equal(told(0, "refused")->found_count, 1);
	assert_int_equal(told(0, "n0")->found_count, 0);
	assert_true(report->decisions.let_in_since_ns > 0);
	assert_int_equal(report->decisions.since_ns, 0);
	assert_int_equal(told(0, "n1")->found_count, 1);
	assert_int_equal(told(0, "n1024")->found_count, 1);
	lab_finish(&lab);
}

static void many_of_one_id(void **state)
{
	lab_start(&lab, &(struct lab_options){.serving = LAB_HTTP});
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	for (int i = 0; i < DECISION_FOUND_MAX + 2; i++) {
		fake_peer_send_text(client, REQUEST("/", "same"));
		lab_pump(&lab);
	}
	assert_int_equal(told(0, "same")->found_count, DECISION_FOUND_MAX);
	lab_finish(&lab);
}

/* Longer than there is room for: cut, and known to be. */
static void long_texts_are_cut(void **state)
{
	static char text[8192], path[4096], id[512];
	memset(path, 'p', sizeof(path) - 1);
	memset(id, 'i', sizeof(id) - 1);
	path[0] = '/';
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: h\r\nX-Request-Id: %s\r\n\r\n", path,
		id);
	lab_start(&lab, &(struct lab_options){.serving = LAB_HTTP});
	int client = lab_dial(&lab, LAB_WEB, LAB_SHOP);
	fake_peer_send_text(client, text);
	lab_pump(&lab);
	id[DECISION_ID_MAX] = '\0';
	const struct decision *d = only(0, id);
	assert_true(d->is_cut);
	assert_true(decision_text(d, DECISION_PATH).len > 0);
	expect_text(d, DECISION_ID, id);
	lab_finish(&lab);
}

/* Whatever is put, no text leaves its room. */
static void texts_stay_in_their_room(void **state)
{
	static char bytes[DECISION_TEXT_MAX * 2];
	memset(bytes, 'x', sizeof(bytes));
	struct decision *d = calloc(1, sizeof(*d));
	assert_non_null(d);
	size_t sum = 0;
	for (int i = 0; i < DECISION_TEXTS; i++) {
		decision_put(d, (enum decision_text)i, (struct str){bytes, sizeof(bytes)});
		struct str value = decision_text(d, (enum decision_text)i);
		assert_true(
			value.at >= d->text && value.at + value.len <= d->text + DECISION_BYTES);
		sum += value.len;
	}
	assert_int_equal(sum, DECISION_BYTES);
	assert_true(d->is_cut);
	free(d);
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(refused_and_let_in),
		TEST(on_both_machines),
		TEST(opaque_bytes_go_by_their_number),
		TEST(what_is_told_is_kept_apart),
		TEST(the_oldest_are_forgotten),
		TEST(many_of_one_id),
		TEST(long_texts_are_cut),
		TEST(texts_stay_in_their_room),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
