/* SPDX-License-Identifier: Apache-2.0 */
/* A connection from its accept until it is handed over: who calls, whether it may, what it speaks,
 * and the limits. */
#include "far.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LEDGER_NAME "7000.billing.prod.example"
#define LEDGER_ID   "spiffe://prod.example/service/billing"
#define ORDERS_NAME "8080.orders.prod.example"
#define ORDERS_ID   "spiffe://prod.example/service/orders"

static struct lab lab;

static void start(const char *node)
{
	lab_start(&lab, &(struct lab_options){.node = node});
}

static void expect_refused(int client, const char *reason)
{
	lab_pump(&lab);
	assert_true(fake_peer_saw_reset(client));
	assert_false(fake_is_open(client));
	lab_expect_reason(&lab, 0, reason);
	assert_int_equal(lab_alive(&lab, 0, TASK_SESSION), 0);
}

/* --- who calls --- */

static void test_mark_tells_the_workload(void **state)
{
	static const enum lab_workload who[] = {LAB_WEB, LAB_BILLING, LAB_SHOP};
	for (size_t i = 0; i < ARRAY_LEN(who); i++) {
		start(NULL);
		lab_dial(&lab, who[i], LAB_LOOSE);
		lab_pump(&lab);
		assert_string_equal(lab_last(&lab, 0)->workload, lab_name(who[i]));
		assert_int_equal(lab_use(&lab, 0, who[i]), 1);
		assert_int_equal(lab_use(&lab, 0, LAB_LOOSE), 1);
		lab_finish(&lab);
	}
}

static void test_mark_bits_of_others_do_not_matter(void **state)
{
	start(NULL);
	int client = lab_dial(&lab, LAB_WEB, LAB_CACHE);
	fake_set_mark(client, 0xff000001u | LAB_WEB << 16);
	lab_pump(&lab);
	assert_string_equal(lab_last(&lab, 0)->workload, "web");
	lab_finish(&lab);
}

static void test_unattributed(void **state)
{
	static const enum lab_workload refused[] = {LAB_SHOP, LAB_CACHE, LAB_LEDGER};
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		start(NULL);
		expect_refused(lab_dial(&lab, LAB_NOBODY, refused[i]), "UNATTRIBUTED");
		assert_int_equal(lab_values(&lab, 0)->unattributed_total, 1);
		assert_int_equal(fake_opened_count(), 0);
		lab_finish(&lab);
	}
	start(NULL); /* a mark that nobody has */
	int client = lab_dial(&lab, LAB_WEB, LAB_CACHE);
	fake_set_mark(client, 200u << 16);
	expect_refused(client, "UNATTRIBUTED");
	lab_finish(&lab);

	start(NULL); /* a permissive service takes everybody: policy decides */
	lab_dial(&lab, LAB_NOBODY, LAB_LOOSE);
	lab_pump(&lab);
	assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 1);
	assert_string_equal(lab_last(&lab, 0)->source, "");
	lab_finish(&lab);
}

static void test_unknown_destination(void **state)
{
	struct address other = lab_address_of("198.51.100.1"),
		       passed = lab_address_of("203.0.113.7");
	other.port = passed.port = 443;
	start(NULL);
	expect_refused(lab_dial_address(&lab, LAB_WEB, &other), "NO_SERVICE");
	expect_refused(lab_dial_address(&lab, LAB_NOBODY, &passed), "UNATTRIBUTED");
	lab_dial_address(&lab, LAB_WEB, &passed);
	lab_pump(&lab);
	assert_int_not_equal(lab_connected(&passed, 0), -1);
	lab_finish(&lab);
}

static void test_direct_dial(void **state)
{
	for (int kind = 0; kind < 3; kind++) {
		start(NULL);
		struct address at = lab.machines[0].listeners[kind % 2].address;
		int client = kind % 2 ? lab_dial_plain(&lab, LAB_LOOSE)
				      : lab_dial(&lab, LAB_WEB, LAB_CACHE);
		fake_set_original_dst(client, kind == 2 ? NULL : &at);
		expect_refused(client, "DIRECT_DIAL");
		assert_int_equal(lab_values(&lab, 0)->direct_refused_total, 1);
		lab_finish(&lab);
	}
}

static void test_plain_text_from_other_machines(void **state)
{
	start(NULL);
	expect_refused(lab_dial_plain(&lab, LAB_CACHE), "PLAINTEXT");
	int client = lab_dial_plain(&lab, LAB_LOOSE);
	lab_pump(&lab);
	fake_peer_send_text(client, "hello");
	lab_pump(&lab);
	lab_expect_received(lab_served(&lab, LAB_LOOSE, 0), "hello");
	assert_string_equal(lab_last(&lab, 0)->source, "");
	struct address other = lab_address(LAB_LOOSE);
	other.port = 1;
	client = lab_dial_plain(&lab, LAB_LOOSE);
	fake_set_original_dst(client, &other);
	expect_refused(client, "NO_SERVICE");
	lab_finish(&lab);
}

/* --- what it speaks --- */

static int detect(const char *text)
{
	start(NULL);
	int client = lab_dial(&lab, LAB_WEB, LAB_ANY);
	if (text)
		fake_peer_send_text(client, text);
	lab_pump(&lab);
	return client;
}

static void test_detects_http(void **state)
{
	detect("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_int_equal(lab_values(&lab, 0)->detect_http_total, 1);
	assert_int_equal(lab_alive(&lab, 0, TASK_EXCHANGE), 1);
	lab_expect_holds(lab_served(&lab, LAB_ANY, 0), "x-request-id: ");
	lab_finish(&lab);
}

static void test_detects_http_in_pieces(void **state)
{
	int client = detect("GE");
	assert_int_equal(lab_alive(&lab, 0, TASK_SESSION), 1);
	fake_peer_send_text(client, "T / HTTP/1.1\r\nHost: h\r\n\r\n");
	lab_pump(&lab);
	lab_expect_holds(lab_served(&lab, LAB_ANY, 0), "GET / HTTP/1.1\r\n");
	lab_finish(&lab);
}

static void test_detects_others(void **state)
{
	static const char *const rows[] = {
		"SSH-2.0-x\r\n", "\x16\x03\x01\x02", "GETTY", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		detect(rows[i]);
		assert_int_equal(lab_values(&lab, 0)->detect_tcp_total, 1);
		lab_expect_received(lab_served(&lab, LAB_ANY, 0), rows[i]);
		lab_finish(&lab);
	}
}

static void test_detection_ends_with_the_stream(void **state)
{
	for (int some = 0; some < 2; some++) {
		int client = detect(some ? "GE" : NULL);
		fake_peer_shutdown(client);
		lab_pump(&lab);
		assert_int_equal(lab_values(&lab, 0)->detect_tcp_total, 1);
		int server = lab_served(&lab, LAB_ANY, 0);
		lab_expect_received(server, some ? "GE" : "");
		assert_true(fake_peer_saw_end(server));
		lab_finish(&lab);
	}
}

static void test_detection_timeout(void **state)
{
	for (int some = 0; some < 2; some++) {
		int client = detect(some ? "GE" : NULL);
		lab_run(&lab, 900 * CLOCK_MS);
		assert_int_equal(lab_alive(&lab, 0, TASK_SESSION), 1);
		lab_run(&lab, 200 * CLOCK_MS);
		assert_int_equal(lab_values(&lab, 0)->detect_timeout_total, 1);
		int server = lab_served(&lab, LAB_ANY, 0);
		fake_peer_send_text(server, "server speaks");
		fake_peer_send_text(client, "T");
		lab_pump(&lab);
		lab_expect_received(client, "server speaks");
		lab_expect_received(server, some ? "GET" : "T");
		lab_finish(&lab);
	}
}

static void test_client_resets_while_it_is_detected(void **state)
{
	int client = detect("GE");
	fake_peer_reset(client);
	lab_pump(&lab);
	lab_expect_reason(&lab, 0, "DOWNSTREAM_CLOSED");
	assert_int_equal(lab_alive(&lab, 0, TASK_SESSION), 0);
	lab_finish(&lab);
}

static void test_server_first_never_waits(void **state)
{
	start(NULL);
	int client = lab_dial(&lab, LAB_WEB, LAB_MAIL);
	lab_pump(&lab); /* no time passes */
	int server = lab_served(&lab, LAB_MAIL, 0);
	assert_int_not_equal(server, -1);
	fake_peer_send_text(server, "220 hello\r\n");
	lab_pump(&lab);
	lab_expect_received(client, "220 hello\r\n");
	assert_int_equal(lab_values(&lab, 0)->detect_tcp_total, 0);
	lab_finish(&lab);
}

/* --- mutual TLS --- */

static void start_mesh(
	struct far *f, const char *node, const char *name, enum tls_alpn alpn, const char *id)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2, .node = node});
	far_dial(f, &lab, 1, name, alpn, id);
}

static size_t write_preamble(uint8_t bytes[PREAMBLE_BYTES_MAX])
{
	struct preamble p = {.source = lab_address_of("192.0.2.77"),
		.destination = lab_address(LAB_LEDGER),
		.authority = "billing",
		.authority_len = 7};
	p.source.port = 4242;
	return preamble_write(&p, bytes);
}

static void finish_far(struct far *f)
{
	far_done(f);
	lab_finish(&lab);
}

static void test_preamble_and_bytes(void **state)
{
	struct far f;
	uint8_t bytes[PREAMBLE_BYTES_MAX + 4];
	start_mesh(&f, NULL, LEDGER_NAME, TLS_ALPN_TCP, LEDGER_ID);
	assert_true(far_handshake(&f));
	size_t len = write_preamble(bytes);
	memcpy(bytes + len, "ping", 4);
	far_send(&f, bytes, len + 4);
	lab_pump(&lab);
	int server = lab_served(&lab, LAB_LEDGER, 0);
	lab_expect_received(server, "ping");
	fake_peer_send_text(server, "pong");
	lab_pump(&lab);
	assert_true(str_eq(far_received(&f), STR("pong")));
	assert_string_equal(lab_last(&lab, 1)->source, "spiffe://prod.example/service/web");
	finish_far(&f);
}

static void test_preamble_byte_by_byte(void **state)
{
	struct far f;
	uint8_t bytes[PREAMBLE_BYTES_MAX];
	start_mesh(&f, NULL, LEDGER_NAME, TLS_ALPN_TCP, LEDGER_ID);
	assert_true(far_handshake(&f));
	size_t len = write_preamble(bytes);
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(lab_served(&lab, LAB_LEDGER, 0), -1);
		far_send(&f, bytes + i, 1);
		lab_pump(&lab);
	}
	assert_int_not_equal(lab_served(&lab, LAB_LEDGER, 0), -1);
	finish_far(&f);
}

static void test_preamble_is_bad(void **state)
{
	struct far f;
	start_mesh(&f, NULL, LEDGER_NAME, TLS_ALPN_TCP, LEDGER_ID);
	assert_true(far_handshake(&f));
	far_send(&f, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", 32);
	lab_pump(&lab);
	lab_expect_reason(&lab, 1, "BAD_PREAMBLE");
	assert_true(fake_peer_saw_reset(f.fd));
	assert_int_equal(lab_served(&lab, LAB_LEDGER, 0), -1);
	finish_far(&f);
}

static void test_preamble_is_missing(void **state)
{
	struct far f;
	start_mesh(&f, NULL, LEDGER_NAME, TLS_ALPN_TCP, LEDGER_ID);
	assert_true(far_handshake(&f));
	assert_int_equal(tls_close_notify(f.tls), TLS_DONE);
	fake_peer_send(f.fd, buf_at(&f.wire), buf_len(&f.wire));
	buf_clear(&f.wire);
	fake_peer_shutdown(f.fd);
	lab_pump(&lab);
	lab_expect_reason(&lab, 1, "BAD_PREAMBLE");
	finish_far(&f);
}

static void test_preamble_timeout(void **state)
{
	struct far f;
	uint8_t bytes[PREAMBLE_BYTES_MAX];
	for (int some = 0; some < 2; some++) {
		start_mesh(&f, "timeouts: { header = \"3s\"; };", LEDGER_NAME, TLS_ALPN_TCP,
			LEDGER_ID);
		assert_true(far_handshake(&f));
		(void)write_preamble(bytes);
		if (some)
			far_send(&f, bytes, 7);
		lab_run(&lab, 2 * CLOCK_S);
		assert_int_equal(lab_alive(&lab, 1, TASK_SESSION), 1);
		lab_run(&lab, 2 * CLOCK_S);
		lab_expect_reason(&lab, 1, "HEADER_TIMEOUT");
		assert_int_equal(lab_alive(&lab, 1, TASK_SESSION), 0);
		finish_far(&f);
	}
}

static void test_protocols_that_do_not_fit(void **state)
{
	struct far f;
	start_mesh(&f, NULL, LEDGER_NAME, TLS_ALPN_HTTP1, LEDGER_ID);
	assert_false(far_handshake(&f));
	lab_expect_reason(&lab, 1, "ALPN");
	finish_far(&f);
	start_mesh(&f, NULL, ORDERS_NAME, TLS_ALPN_TCP, ORDERS_ID);
	assert_false(far_handshake(&f));
	lab_expect_reason(&lab, 1, "ALPN");
	finish_far(&f);
}

static void test_names_that_nobody_has(void **state)
{
	static const char *const names[] = {"1.billing.prod.example", "billing", "",
		"7000.billing.prod.example.", "8080.web.prod.example"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct far f;
		start_mesh(&f, NULL, names[i], TLS_ALPN_TCP, LEDGER_ID);
		assert_false(far_handshake(&f));
		lab_expect_reason(&lab, 1, "UNKNOWN_NAME");
		assert_int_equal(lab_values(&lab, 1)->handshake_failures_total, 1);
		finish_far(&f);
	}
}

static void test_http_over_mutual_tls(void **state)
{
	struct far f;
	start_mesh(&f, NULL, ORDERS_NAME, TLS_ALPN_HTTP1, ORDERS_ID);
	assert_true(far_handshake(&f));
	far_send(&f, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27);
	lab_pump(&lab);
	lab_expect_holds(lab_served(&lab, LAB_ORDERS, 0), "URI=spiffe://prod.example/service/web");
	finish_far(&f);
}

static void test_handshake_fails(void **state)
{
	start(NULL);
	int client = lab_dial_mesh(&lab, 0);
	fake_peer_send_text(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
	lab_pump(&lab);
	assert_false(fake_is_open(client));
	assert_int_equal(lab_values(&lab, 0)->handshake_failures_total, 1);
	assert_int_equal(lab_worker(&lab, 0)->handshake_count, 0);
	lab_finish(&lab);
}

static void test_handshake_timeout(void **state)
{
	start("timeouts: { handshake = \"3s\"; };");
	int client = lab_dial_mesh(&lab, 0);
	lab_run(&lab, 2900 * CLOCK_MS);
	assert_true(fake_is_open(client));
	lab_run(&lab, 200 * CLOCK_MS);
	assert_false(fake_is_open(client));
	lab_expect_reason(&lab, 0, "HANDSHAKE_TIMEOUT");
	assert_int_equal(lab_worker(&lab, 0)->handshake_count, 0);
	lab_finish(&lab);
}

static void test_client_goes_during_the_handshake(void **state)
{
	for (int reset = 0; reset < 2; reset++) {
		start(NULL);
		int client = lab_dial_mesh(&lab, 0);
		lab_pump(&lab);
		if (reset)
			fake_peer_reset(client);
		else
			fake_peer_close(client);
		lab_pump(&lab);
		assert_false(fake_is_open(client));
		assert_int_equal(lab_worker(&lab, 0)->handshake_count, 0);
		lab_finish(&lab);
	}
}

/* --- signatures --- */

static void test_signature_refused_wrong_or_late(void **state)
{
	for (int signing = LAB_SILENT; signing <= LAB_WRONG; signing++) {
		for (uint32_t machine = 0; machine < 2; machine++) {
			lab_start(&lab, &(struct lab_options){.machine_count = 2});
			lab.machines[machine].signing = (enum lab_signing)signing;
			int client = lab_dial(&lab, LAB_WEB, LAB_LEDGER);
			lab_run(&lab, 11 * CLOCK_S);
			assert_true(fake_peer_saw_reset(client));
			assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 0);
			assert_int_equal(lab_alive(&lab, 1, TASK_SESSION), 0);
			lab.machines[machine].signing = LAB_SIGNS; /* late answers are dropped */
			lab_pump(&lab);
			client = lab_dial(&lab, LAB_WEB, LAB_LEDGER);
			lab_pump(&lab);
			assert_int_equal(lab_alive(&lab, 1, TASK_TUNNEL), 1);
			lab_finish(&lab);
		}
	}
}

static void test_keeper_goes_away(void **state)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2});
	lab.machines[0].signing = LAB_SILENT;
	int client = lab_dial(&lab, LAB_WEB, LAB_LEDGER);
	lab_pump(&lab);
	fake_peer_close(lab.machines[0].signer);
	lab_pump(&lab);
	assert_true(fake_peer_saw_reset(client));
	lab_expect_reason(&lab, 0, "SIGNATURE");
	client = lab_dial(&lab, LAB_WEB, LAB_LEDGER); /* at once */
	lab_pump(&lab);
	assert_true(fake_peer_saw_reset(client));
	lab_finish(&lab);
}

/* --- limits --- */

static void test_connections_of_the_worker(void **state)
{
	int clients[20];
	start("limits: { connections_max = 16; };");
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		clients[i] = lab_dial(&lab, LAB_WEB, LAB_CACHE);
		lab_pump(&lab);
	}
	assert_int_equal(lab_worker(&lab, 0)->connection_count, 17); /* one to spare */
	assert_int_equal(lab_values(&lab, 0)->limit_refused_total, 3);
	assert_true(fake_peer_saw_reset(clients[19]));
	fake_peer_reset(clients[0]);
	lab_pump(&lab);
	lab_dial(&lab, LAB_WEB, LAB_CACHE);
	lab_pump(&lab);
	assert_int_equal(lab_worker(&lab, 0)->connection_count, 17);
	lab_finish(&lab);
}

static void test_connections_of_a_workload(void **state)
{
	int clients[3];
	start("limits: { workload_connections_max = 2; };");
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		clients[i] = lab_dial(&lab, LAB_WEB, LAB_LEDGER);
		lab_pump(&lab);
	}
	lab_expect_reason(&lab, 0, "CONNECTIONS_MAX");
	assert_true(fake_peer_saw_reset(clients[2]));
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 2);
	lab_dial(&lab, LAB_BILLING, LAB_CACHE); /* a neighbour is not concerned */
	lab_pump(&lab);
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 2);
	fake_peer_reset(clients[0]);
	lab_pump(&lab);
	assert_int_equal(lab_use(&lab, 0, LAB_WEB), 1);
	lab_finish(&lab);
}

static void test_handshakes_wait_their_turn(void **state)
{
	start("limits: { handshakes_max = 2; }; timeouts: { handshake = \"10s\"; };");
	int clients[5];
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		clients[i] = lab_dial_mesh(&lab, 0);
	lab_pump(&lab);
	assert_int_equal(lab_worker(&lab, 0)->handshake_count, 2);
	fake_peer_reset(clients[0]);
	lab_pump(&lab);
	assert_int_equal(lab_worker(&lab, 0)->handshake_count, 2);
	assert_int_equal(lab_alive(&lab, 0, TASK_SESSION), 4);
	for (size_t i = 1; i < ARRAY_LEN(clients); i++)
		fake_peer_reset(clients[i]);
	lab_pump(&lab);
	assert_int_equal(lab_worker(&lab, 0)->handshake_count, 0);
	assert_int_equal(lab_alive(&lab, 0, TASK_SESSION), 0);
	lab_finish(&lab);
}

/* A turn is not lost with one that gives up waiting for it at that moment. */
static void test_a_turn_passes_on(void **state)
{
	start("limits: { handshakes_max = 1; }; timeouts: { handshake = \"10s\"; };");
	int first = lab_dial_mesh(&lab, 0);
	lab_dial_mesh(&lab, 0);
	lab_run(&lab, 5 * CLOCK_S);
	int late = lab_dial_mesh(&lab, 0);
	lab_pump(&lab);
	fake_peer_reset(first);
	fake_advance(5 * CLOCK_S); /* the second's time is up in the same turn */
	lab_pump(&lab);
	assert_true(fake_is_open(late));
	assert_int_equal(lab_alive(&lab, 0, TASK_SESSION), 1);
	assert_int_equal(lab_worker(&lab, 0)->handshake_count, 1);
	lab_finish(&lab);
}

static void test_out_of_descriptors(void **state)
{
	start(NULL);
	fake_fault(FAKE_ACCEPT, 1, FAKE_FAULT_END);
	/* the accept armed now ends with the next connection's cancel: force it */
	struct listener *l = &lab_worker(&lab, 0)->listeners[0];
	ring_cancel(&lab_worker(&lab, 0)->loop.ring, &l->accept);
	lab_pump(&lab);
	int client = lab_dial(&lab, LAB_WEB, LAB_CACHE);
	lab_pump(&lab);
	assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 0);
	lab_run(&lab, 200 * CLOCK_MS);
	assert_int_equal(lab_alive(&lab, 0, TASK_TUNNEL), 1);
	assert_true(fake_is_open(client));
	lab_finish(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mark_tells_the_workload),
		cmocka_unit_test(test_mark_bits_of_others_do_not_matter),
		cmocka_unit_test(test_unattributed),
		cmocka_unit_test(test_unknown_destination),
		cmocka_unit_test(test_direct_dial),
		cmocka_unit_test(test_plain_text_from_other_machines),
		cmocka_unit_test(test_detects_http),
		cmocka_unit_test(test_detects_http_in_pieces),
		cmocka_unit_test(test_detects_others),
		cmocka_unit_test(test_detection_ends_with_the_stream),
		cmocka_unit_test(test_detection_timeout),
		cmocka_unit_test(test_client_resets_while_it_is_detected),
		cmocka_unit_test(test_server_first_never_waits),
		cmocka_unit_test(test_preamble_and_bytes),
		cmocka_unit_test(test_preamble_byte_by_byte),
		cmocka_unit_test(test_preamble_is_bad),
		cmocka_unit_test(test_preamble_is_missing),
		cmocka_unit_test(test_preamble_timeout),
		cmocka_unit_test(test_protocols_that_do_not_fit),
		cmocka_unit_test(test_names_that_nobody_has),
		cmocka_unit_test(test_http_over_mutual_tls),
		cmocka_unit_test(test_handshake_fails),
		cmocka_unit_test(test_handshake_timeout),
		cmocka_unit_test(test_client_goes_during_the_handshake),
		cmocka_unit_test(test_signature_refused_wrong_or_late),
		cmocka_unit_test(test_keeper_goes_away),
		cmocka_unit_test(test_connections_of_the_worker),
		cmocka_unit_test(test_connections_of_a_workload),
		cmocka_unit_test(test_handshakes_wait_their_turn),
		cmocka_unit_test(test_a_turn_passes_on),
		cmocka_unit_test(test_out_of_descriptors),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
