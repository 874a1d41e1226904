/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that looks at the certificates which its mesh port serves: seen, counted apart, and
 * nothing ever comes of such a connection. */
#include "far.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LEDGER_NAME "7000.billing.prod.example"
#define LEDGER_ID   "spiffe://prod.example/service/billing"
#define ORDERS_NAME "8080.orders.prod.example"

static struct lab lab;

static void start(const char *node)
{
	lab_start(&lab, &(struct lab_options){.machine_count = 2, .node = node});
}

static void from(struct far *f, const char *ip)
{
	struct address peer = lab_address_of(ip);
	peer.port = 40000;
	fake_set_peer(f->fd, &peer);
}

static void look(struct far *f, const char *name)
{
	far_dial_check(f, &lab, 1, name);
	from(f, "127.0.0.1");
}

static void finish(struct far *f)
{
	far_done(f);
	lab_finish(&lab);
}

static void expect_counts(uint64_t checks, uint64_t failures)
{
	lab_pump(&lab);
	assert_int_equal(lab_values(&lab, 1)->handshake_checks_total, checks);
	assert_int_equal(lab_values(&lab, 1)->handshake_failures_total, failures);
	assert_int_equal(lab_values(&lab, 1)->handshakes_total, 0);
	assert_int_equal(lab.machines[1].log.count, failures);
	assert_int_equal(lab_alive(&lab, 1, TASK_SESSION), 0);
	assert_int_equal(lab_alive(&lab, 1, TASK_TUNNEL), 0);
	assert_int_equal(lab_worker(&lab, 1)->handshake_count, 0);
	assert_int_equal(fake_opened_count(), 0);
}

static struct str serial_of(const char *path)
{
	static struct tls_identity_view view;
	const struct lab_machine *m = &lab.machines[1];
	const struct tls_store *store = m->plans[m->plan_count - 1]->tls;
	for (size_t i = 0; tls_store_identity(store, i, &view); i++) {
		if (str_eq(view.path, str_of(path)))
			return str_of(view.serial);
	}
	fail_msg("no certificate of %s", path);
	return STR_NONE;
}

static void test_the_certificate_is_seen(void **state)
{
	static const char *const names[][2] = {
		{LEDGER_NAME, "service/billing"}, {ORDERS_NAME, "service/orders"}};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct far f;
		start(NULL);
		look(&f, names[i][0]);
		assert_true(far_handshake(&f));
		assert_true(tls_peer_serial(f.tls).len > 0);
		assert_true(str_eq(tls_peer_serial(f.tls), serial_of(names[i][1])));
		expect_counts(1, 0);
		assert_false(fake_is_open(f.fd));
		finish(&f);
	}
}

static void test_over_ipv6(void **state)
{
	struct far f;
	start(NULL);
	look(&f, LEDGER_NAME);
	from(&f, "::1");
	assert_true(far_handshake(&f));
	expect_counts(1, 0);
	finish(&f);
}

static void test_who_goes_after_the_servers_part(void **state)
{
	for (int how = 0; how < 3; how++) {
		struct far f;
		start(NULL);
		look(&f, LEDGER_NAME);
		assert_int_equal(tls_handshake(f.tls, CERTS_NOW), TLS_MORE);
		fake_peer_send(f.fd, buf_at(&f.wire), buf_len(&f.wire));
		buf_clear(&f.wire);
		lab_pump(&lab);
		if (how == 0)
			fake_peer_reset(f.fd);
		else if (how == 1)
			fake_peer_shutdown(f.fd);
		else
			fake_peer_close(f.fd);
		expect_counts(1, 0);
		finish(&f);
	}
}

/* Even one who has a certificate of the mesh, and goes on. */
static void test_nothing_is_delivered(void **state)
{
	struct preamble p = {.source = lab_address_of("192.0.2.77"),
		.destination = lab_address(LAB_LEDGER),
		.authority = "billing",
		.authority_len = 7};
	uint8_t bytes[PREAMBLE_BYTES_MAX + 4];
	struct far f;
	start(NULL);
	p.source.port = 4242;
	size_t len = preamble_write(&p, bytes);
	memcpy(bytes + len, "ping", 4);
	far_dial(&f, &lab, 1, LEDGER_NAME, TLS_ALPN_CHECK, LEDGER_ID);
	from(&f, "127.0.0.1");
	assert_true(far_handshake(&f));
	far_send(&f, bytes, len + 4);
	expect_counts(1, 0);
	assert_false(fake_is_open(f.fd));
	finish(&f);
}

/* A stranger does not hide behind it. */
static void test_not_from_elsewhere(void **state)
{
	static const char *const ips[] = {"192.0.2.1", "10.77.0.2", "10.77.0.1", "2001:db8::1"};
	for (size_t i = 0; i < ARRAY_LEN(ips); i++) {
		struct far f;
		start(NULL);
		look(&f, LEDGER_NAME);
		from(&f, ips[i]);
		assert_false(far_handshake(&f));
		assert_int_equal(tls_peer_serial(f.tls).len, 0);
		lab_expect_reason(&lab, 1, "ALPN");
		expect_counts(0, 1);
		finish(&f);
	}
}

static void test_what_fails_is_a_failure(void **state)
{
	struct far f;
	start(NULL);
	look(&f, "7001.billing.prod.example");
	assert_false(far_handshake(&f));
	lab_expect_reason(&lab, 1, "UNKNOWN_NAME");
	expect_counts(0, 1);
	finish(&f);

	start(NULL);
	lab.machines[1].signing = LAB_REFUSES;
	look(&f, LEDGER_NAME);
	assert_false(far_handshake(&f));
	lab_expect_reason(&lab, 1, "SIGNATURE");
	expect_counts(0, 1);
	finish(&f);
}

/* Holding the handshake up is no look. */
static void test_a_handshake_that_takes_too_long(void **state)
{
	struct far f;
	start("timeouts: { handshake = \"3s\"; };");
	look(&f, LEDGER_NAME);
	assert_int_equal(tls_handshake(f.tls, CERTS_NOW), TLS_MORE);
	fake_peer_send(f.fd, buf_at(&f.wire), buf_len(&f.wire));
	buf_clear(&f.wire);
	lab_run(&lab, 3100 * CLOCK_MS);
	lab_expect_reason(&lab, 1, "HANDSHAKE_TIMEOUT");
	expect_counts(0, 1);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_certificate_is_seen),
		cmocka_unit_test(test_over_ipv6),
		cmocka_unit_test(test_who_goes_after_the_servers_part),
		cmocka_unit_test(test_nothing_is_delivered),
		cmocka_unit_test(test_not_from_elsewhere),
		cmocka_unit_test(test_what_fails_is_a_failure),
		cmocka_unit_test(test_a_handshake_that_takes_too_long),
	};
	return cmocka_run_group_tests(tests, lab_group_setup, lab_group_teardown);
}
