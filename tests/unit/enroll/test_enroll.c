/* SPDX-License-Identifier: Apache-2.0 */
/* A machine, its keeper and its authority, for hours and weeks of virtual time. */
#include "lab.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct lab lab; /* large */

static void expect_why(const char *identity, const char *text)
{
	struct enroll_row row = lab_row(&lab, identity);
	if (!strstr(row.why, text))
		fprintf(stderr, "%s: %s\n", identity, row.why);
	assert_non_null(strstr(row.why, text));
}

static void expect_state(const char *identity, enum enroll_state state)
{
	struct enroll_row row = lab_row(&lab, identity);
	if (row.state != state)
		fprintf(stderr, "%s: state %d, why %s\n", identity, row.state, row.why);
	assert_int_equal(row.state, state);
}

/* --- a good life --- */

static void test_new_identities_are_asked_for_at_once(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab_start(&lab);
	expect_state("service/orders", ENROLL_FRESH);
	expect_state("service/web", ENROLL_FRESH);
	expect_state(LAB_NODE, ENROLL_FRESH);
	expect_state(LAB_DOMAIN, ENROLL_FRESH);
	assert_int_equal(lab.asked_enroll, 2); /* unique ones */
	assert_int_equal(lab.asked_reenroll, 0);
	assert_int_equal(lab.asked_anchors, 1);
	assert_int_equal(lab.trusts, 0); /* they are what was there */
	assert_int_equal(fake_opened_count(), 1);
	struct enroll_row row = lab_row(&lab, "service/orders");
	assert_int_equal(row.not_after_s, CERTS_NOW + 3600);
	assert_string_equal(row.why, "");
	assert_true(strlen(row.serial) > 0);
	lab_done(&lab);
}

static void test_a_day_of_renewals(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 3600);
	lab_start(&lab);
	for (int hour = 0; hour < 24; hour++) {
		lab_run_ms(&lab, 3600 * 1000, 5000);
		expect_state("service/orders", ENROLL_FRESH);
		expect_state("service/web", ENROLL_FRESH);
		expect_state(LAB_NODE, ENROLL_FRESH);
	}
	struct enroll_row row = lab_row(&lab, "service/orders");
	assert_true(row.renewed_count >= 43 && row.renewed_count <= 54);
	assert_true(lab.asked_reenroll >= 43 && lab.asked_reenroll <= 54);
	/* Once a minute, and it is the same. */
	assert_true(lab.asked_anchors > 1300 && lab.asked_anchors < 1600);
	assert_int_equal(lab.unchanged, lab.asked_anchors - 1);
	assert_int_equal(lab.requests, lab.certificates);
	lab_done(&lab);
}

static void test_lifetimes_of_seconds(void **state)
{
	lab_init(&lab);
	lab.life_s = 6;
	lab_join(&lab, 6);
	lab_start(&lab);
	for (int i = 0; i < 1200; i++) {
		lab_run_ms(&lab, 100, 20);
		struct enroll_row row = lab_row(&lab, "service/orders");
		assert_true(row.not_after_s > lab_wall_s(&lab));
		row = lab_row(&lab, LAB_NODE);
		assert_true(row.not_after_s > lab_wall_s(&lab));
	}
	struct enroll_row row = lab_row(&lab, "service/orders");
	assert_true(row.renewed_count > 30 && row.renewed_count < 70);
	lab_done(&lab);
}

static void test_connection_is_kept_for_a_while(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.conf.authority.refresh_ms = 10000;
	lab_start(&lab);
	uint32_t asked = lab.asked_anchors;
	lab_run_ms(&lab, 100 * 1000, 100);
	assert_true(lab.asked_anchors > asked + 8);
	assert_int_equal(fake_opened_count(), 1);
	lab.conf.authority.refresh_ms = 600000;
	lab_configure(&lab);
	lab_run_ms(&lab, 40 * 1000, 100);
	assert_int_equal(fake_open_count(), 0);
	lab_done(&lab);
}

/* --- workloads come and go --- */

static void test_workloads_come_and_go(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.conf.workload_count = 1;
	lab_start(&lab);
	assert_int_equal(lab.asked_enroll, 1);
	lab.conf.workload_count = 2;
	lab_configure(&lab);
	lab_turn(&lab);
	expect_state("service/web", ENROLL_FRESH);
	lab.conf.workload_count = 1;
	lab_configure(&lab);
	struct enroll_row row;
	uint32_t count = 0;
	while (enroll_row(lab.enroll, count, &row))
		count++;
	assert_int_equal(count, 3);
	/* In the middle of asking. */
	lab.mode = LAB_SILENT;
	lab.conf.workload_count = 2;
	free(lab.keys[2].chain);
	lab.keys[2].chain = NULL;
	lab_configure(&lab);
	lab_turn(&lab);
	expect_state("service/web", ENROLL_MISSING);
	lab.conf.workload_count = 1;
	lab_configure(&lab);
	lab_run_ms(&lab, 1000, 100);
	lab_done(&lab);
}

/* What is asked for is what the machine's own file says, whatever the service is called. */
static void test_a_path_of_its_own(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.conf.workload_count = 2;
	lab.workloads[1].identity = STR("shop/web");
	lab_start(&lab);
	lab_turn(&lab);
	expect_state("shop/web", ENROLL_FRESH);
	struct enroll_row row;
	for (uint32_t i = 0; enroll_row(lab.enroll, i, &row); i++)
		assert_false(str_eq(row.identity, STR("service/web")));
	/* It gets another one: asked for anew, and the one before is let go of. */
	lab.workloads[1].identity = STR("shop/front");
	free(lab.keys[2].chain);
	lab.keys[2].chain = NULL;
	lab_configure(&lab);
	lab_turn(&lab);
	expect_state("shop/front", ENROLL_FRESH);
	for (uint32_t i = 0; enroll_row(lab.enroll, i, &row); i++)
		assert_false(str_eq(row.identity, STR("shop/web")));
	lab_done(&lab);
}

static void test_a_machine_that_has_not_joined(void **state)
{
	lab_init(&lab);
	lab_start(&lab);
	lab_run_ms(&lab, 60 * 1000, 1000);
	expect_state("service/orders", ENROLL_MISSING);
	expect_why("service/orders", "ringmain join");
	assert_int_equal(fake_opened_count(), 0);
	lab_join(&lab, 3600);
	lab_configure(&lab);
	lab_turn(&lab);
	expect_state("service/orders", ENROLL_FRESH);
	lab_done(&lab);
}

/* --- an authority that is away --- */

static void test_hours_without_the_authority(void **state)
{
	struct address server;
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.life_s = 43200;
	lab_start(&lab);
	assert_true(address_port_parse(STR("10.0.0.1:8443"), &server));
	fake_connect_rule(&server, -111);
	lab_run_ms(&lab, 5 * 3600 * 1000, 10000);
	expect_state("service/orders", ENROLL_FRESH);
	expect_state(LAB_DOMAIN, ENROLL_FAILING);
	lab_run_ms(&lab, 3 * 3600 * 1000, 10000);
	expect_state("service/orders", ENROLL_FAILING);
	expect_why("service/orders", "10.0.0.1:8443: Connection refused");
	lab_run_ms(&lab, 90 * 60 * 1000, 10000);
	expect_state("service/orders", ENROLL_ENDING);
	lab_run_ms(&lab, 3 * 3600 * 1000, 10000);
	expect_state("service/orders", ENROLL_EXPIRED);
	struct enroll_row row = lab_row(&lab, "service/orders");
	assert_true(row.failed_count > 20);
	/* Nobody asked more often than the waits allow: about once a minute each. */
	assert_true(fake_opened_count() < 3000);
	fake_connect_rule(&server, 0);
	lab_run_ms(&lab, 120 * 1000, 1000);
	expect_state("service/orders", ENROLL_FRESH);
	expect_state("service/web", ENROLL_FRESH);
	expect_state(LAB_DOMAIN, ENROLL_FRESH);
	lab_done(&lab);
}

/* What was silent for long answers one thing, and then all that had failed are asked for within two
 * seconds, though each of them may wait for a minute and more by itself. */
static void test_all_is_asked_for_soon_after_the_first_answer(void **state)
{
	struct address server;
	lab_init(&lab);
	lab_join(&lab, 3600);
	lab.life_s = 300;
	lab_start(&lab);
	assert_true(address_port_parse(STR("10.0.0.1:8443"), &server));
	for (int round = 0; round < 20; round++) {
		fake_connect_rule(&server, -111);
		lab_run_ms(&lab, (uint64_t)(200 + 13 * round) * 1000, 1000);
		expect_state(LAB_DOMAIN, ENROLL_FAILING);
		fake_connect_rule(&server, 0);
		uint32_t before = lab.asked_anchors + lab.asked_enroll + lab.asked_reenroll;
		for (int i = 0; before == lab.asked_anchors + lab.asked_enroll + lab.asked_reenroll;
			i++) {
			assert_true(i < 3000);
			lab_run_ms(&lab, 100, 10);
		}
		lab_run_ms(&lab, 2000, 10);
		struct enroll_row row;
		for (uint32_t i = 0; enroll_row(lab.enroll, i, &row); i++)
			assert_int_equal(row.failed_count, 0);
		expect_state(LAB_DOMAIN, ENROLL_FRESH);
	}
	lab_done(&lab);
}

static void test_expired_node_tries_with_what_it_has(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 10);
	fake_set_wall((CERTS_NOW + 86400) * CLOCK_S);
	lab_start(&lab);
	assert_int_equal(lab.asked_reenroll, 1);
	expect_state(LAB_NODE, ENROLL_FRESH);
	expect_state("service/web", ENROLL_FRESH);
	lab_done(&lab);
}

static void test_the_other_server(void **state)
{
	struct address server;
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.conf.authority.server_count = 2;
	assert_true(address_port_parse(STR("10.0.0.1:8443"), &server));
	fake_connect_rule(&server, -111);
	lab_start(&lab);
	expect_state("service/orders", ENROLL_FRESH);
	lab_done(&lab);
}

/* Others' tries take all the time: that is a reason, too. */
static void test_nothing_ends_without_a_reason(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 120);
	lab.conf.workload_count = 2;
	lab_start(&lab);
	expect_state("service/web", ENROLL_FRESH);
	lab.mode = LAB_SILENT;
	for (int i = 0; i < 900; i++) {
		struct enroll_row row;
		lab_run_ms(&lab, 1000, 1000);
		for (uint32_t j = 0; enroll_row(lab.enroll, j, &row); j++)
			assert_true((row.state != ENROLL_ENDING && row.state != ENROLL_EXPIRED) ||
				    row.why[0]);
	}
	lab_done(&lab);
}

static void test_server_that_says_nothing(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.mode = LAB_SILENT;
	lab_start(&lab);
	lab_run_ms(&lab, 11000, 100);
	expect_why(LAB_DOMAIN, "no answer within 10 s");
	lab_run_ms(&lab, 25000, 100);
	expect_why("service/orders", "no answer within 10 s");
	lab.mode = LAB_GOOD;
	lab_run_ms(&lab, 120 * 1000, 1000);
	expect_state("service/orders", ENROLL_FRESH);
	lab_done(&lab);
}

static void test_server_that_closes(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.mode = LAB_CLOSES;
	lab_start(&lab);
	expect_why("service/orders", "closed the connection");
	lab_done(&lab);
}

/* --- what it says --- */

struct said {
	const char *text;
	const char *why;
};

static void test_what_it_says_instead(void **state)
{
	static const struct said rows[] = {
		{"HTTP/1.1 403 Forbidden\r\nContent-Length: 34\r\n\r\nservice/orders is not "
		 "registered\n\t",
			"10.0.0.1:8443 refuses (403): service/orders is not registered"},
		{"HTTP/1.1 400 Bad Request\r\nContent-Length: 8\r\n\r\n\x1b[31mbad",
			"refuses (400): ?[31mbad"},
		{"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "refuses (401)"},
		{"HTTP/1.1 302 Found\r\nLocation: https://10.0.0.9/\r\nContent-Length: 0\r\n\r\n",
			"refuses (302)"},
		{"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "refuses (500)"},
		{"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
			"answers with \"text/html\": no EST server?"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "answers with \"\""},
		{"HTTP/1.1 200 OK\r\nContent-Type: application/pkcs7-mime; "
		 "smime-type=CMC-response\r\nContent-Length: 2\r\n\r\nhi",
			"no EST server?"},
		{"HTTP/1.1 200 OK\r\nContent-Type: application/pkcs7-mime\r\nContent-Length: "
		 "6\r\n\r\nQUJDRA",
			""},
		{"HTTP/1.1 200 OK\r\nContent-Type: application/pkcs7-mime\r\nContent-Length: "
		 "9999999\r\n\r\nQUJDRA",
			"no answer within"},
		{"SSH-2.0-OpenSSH_9.2\r\n", "answer not understood"},
		{"HTTP/1.1 202 Accepted\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",
			"waits for approval (202)"},
		{"HTTP/1.1 503 Busy\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",
			"has too much to do (503)"},
		{"HTTP/1.1 304 Not Modified\r\n\r\n", "refuses (304)"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		lab_init(&lab);
		lab_join(&lab, 86400);
		lab.mode = LAB_RAW_ENROLL;
		lab.raw = rows[i].text;
		lab.conf.workload_count = 1;
		lab_start(&lab);
		lab_run_ms(&lab, 10100, 100);
		expect_why("service/orders", rows[i].why);
		expect_state("service/orders", ENROLL_MISSING);
		assert_true(strlen(lab_row(&lab, "service/orders").why) > 0);
		assert_int_equal(lab.certificates, 0);
		lab.mode = LAB_GOOD;
		lab_run_ms(&lab, 120 * 1000, 1000);
		expect_state("service/orders", ENROLL_FRESH);
		lab_done(&lab);
	}
}

/* The same request again, and not before its time. */
static void test_approval_by_hand(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.mode = LAB_RAW_ENROLL;
	lab.raw = "HTTP/1.1 202 Accepted\r\nRetry-After: 300\r\nContent-Length: 0\r\n\r\n";
	lab.conf.workload_count = 1;
	lab_start(&lab);
	lab_run_ms(&lab, 299 * 1000, 1000);
	assert_int_equal(lab.asked_enroll, 1);
	lab_run_ms(&lab, 2 * 1000, 1000);
	assert_int_equal(lab.asked_enroll, 2);
	assert_int_equal(lab.requests, 1);
	lab.mode = LAB_GOOD;
	lab_run_ms(&lab, 300 * 1000, 1000);
	expect_state("service/orders", ENROLL_FRESH);
	assert_int_equal(lab.requests, 1);
	lab_done(&lab);
}

/* --- what it gives --- */

static void test_wrong_certificates_are_not_handed_on(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.conf.workload_count = 1;
	lab.id = "spiffe://" LAB_DOMAIN "/service/billing";
	lab_start(&lab);
	expect_why("service/orders", "is for spiffe://prod.example/service/billing and not for "
				     "spiffe://prod.example/service/orders");
	lab.id = NULL;
	lab.other_key = true;
	lab_run_ms(&lab, 5000, 100);
	expect_why("service/orders", "is for another key");
	lab.other_key = false;
	lab.signer = &lab.next_root;
	lab_run_ms(&lab, 10000, 100);
	expect_why("service/orders", "does not lead to a trust anchor");
	assert_int_equal(lab.certificates, 0);
	lab.signer = &lab.issuer;
	lab_run_ms(&lab, 120 * 1000, 1000);
	expect_state("service/orders", ENROLL_FRESH);
	lab_done(&lab);
}

/* RFC 7030 4.2.3: the answer is the certificate alone. */
static void test_leaf_alone_is_completed(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.with_issuer = false;
	free(lab.anchors);
	lab.anchors = certs_pem((X509 *[]){lab.issuer.certificate, lab.root.certificate, NULL});
	lab_start(&lab);
	expect_state("service/orders", ENROLL_FRESH);
	const char *second = strstr(lab.keys[1].chain + 1, "-----BEGIN");
	assert_non_null(second);
	assert_null(strstr(second + 1, "-----BEGIN"));
	assert_int_equal(lab.trusts, 0); /* the anchors are the same: the issuer is none */
	lab_done(&lab);
}

static void test_clocks_that_differ(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.conf.workload_count = 1;
	lab.clock_s = 600;
	lab_start(&lab);
	assert_int_equal(enroll_skew_s(lab.enroll), -600);
	expect_why("service/orders", "is not valid yet: our clock is 600 s behind the authority's");
	assert_int_equal(lab.certificates, 0);
	lab.clock_s = -7200;
	lab_run_ms(&lab, 120 * 1000, 1000);
	expect_why("service/orders", "has expired already: our clock is 7200 s ahead of");
	lab.clock_s = 0;
	lab_run_ms(&lab, 120 * 1000, 1000);
	expect_state("service/orders", ENROLL_FRESH);
	lab_done(&lab);
}

/* --- the keeper --- */

static void test_keeper_that_does_not_answer(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab_start(&lab);
	lab.keeper_silent = true;
	lab_run_ms(&lab, 2000 * 1000, 1000);
	expect_state("service/orders", ENROLL_FAILING);
	expect_why("service/orders", "the keeper does not answer");
	lab.keeper_silent = false;
	lab_run_ms(&lab, 600 * 1000, 1000);
	expect_state("service/orders", ENROLL_FRESH);
	lab_done(&lab);
}

static void test_keeper_that_does_not_take_it(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.keeper_refuses = true;
	lab_start(&lab);
	expect_why("service/orders", "the keeper does not take it: the disk is full");
	lab.keeper_refuses = false;
	lab.keeper_forgets = true;
	lab_run_ms(&lab, 60 * 1000, 1000);
	expect_why("service/orders", "does not use it");
	lab.keeper_forgets = false;
	lab_run_ms(&lab, 120 * 1000, 1000);
	expect_state("service/orders", ENROLL_FRESH);
	lab_done(&lab);
}

/* --- trust --- */

static void test_new_anchors_come_before_new_certificates(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.conf.workload_count = 1;
	lab_start(&lab);
	free(lab.anchors);
	lab.anchors = certs_pem((X509 *[]){lab.root.certificate, lab.next_root.certificate, NULL});
	snprintf(lab.etag, sizeof(lab.etag), "\"two\"");
	lab.signer = &lab.next_root;
	lab.with_issuer = false;
	/* A certificate under the new root comes before anybody has asked for anchors. */
	lab.conf.workload_count = 2;
	lab_configure(&lab);
	lab_turn(&lab);
	assert_int_equal(lab.trusts, 1);
	lab_run_ms(&lab, 5000, 100);
	expect_state("service/web", ENROLL_FRESH);
	assert_string_equal(lab_row(&lab, "service/web").why, "");
	/* The authority hears of it with the next question. */
	lab_run_ms(&lab, 70 * 1000, 1000);
	uint32_t unchanged = lab.unchanged;
	lab_run_ms(&lab, 70 * 1000, 1000);
	assert_true(lab.unchanged > unchanged);
	lab_done(&lab);
}

static void test_bad_anchors_change_nothing(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab_start(&lab);
	free(lab.anchors);
	lab.anchors = lab_pem(lab.issuer.certificate);
	snprintf(lab.etag, sizeof(lab.etag), "\"two\"");
	lab_run_ms(&lab, 70 * 1000, 1000);
	expect_why(LAB_DOMAIN, "no trust anchor came");
	expect_state(LAB_DOMAIN, ENROLL_FAILING);
	assert_int_equal(lab.trusts, 0);
	free(lab.anchors);
	lab.anchors = lab_pem(lab.server.certificate);
	lab_run_ms(&lab, 70 * 1000, 1000);
	assert_int_equal(lab.trusts, 0);
	free(lab.anchors);
	lab.anchors = lab_pem(lab.root.certificate);
	lab_run_ms(&lab, 70 * 1000, 1000);
	expect_state(LAB_DOMAIN, ENROLL_FRESH);
	lab_done(&lab);
}

static void test_federated_anchors(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab.conf.authority.federate_count = 1;
	lab_start(&lab);
	expect_state("other.example", ENROLL_FRESH);
	assert_non_null(lab.other_roots);
	assert_int_equal(lab.trusts, 1);
	lab.conf.authority.federate_count = 0;
	lab_configure(&lab);
	lab_turn(&lab);
	lab_done(&lab);
}

static void publish_crl_of(
	const struct certs_pair *issuer, int64_t number, const char *etag, const char *revoked)
{
	int64_t now_s = lab_wall_s(&lab);
	free(lab.lists);
	lab.lists = lab_crl(issuer, number, now_s - 60, now_s + 600, revoked);
	snprintf(lab.lists_etag, sizeof(lab.lists_etag), "%s", etag);
	lab_run_ms(&lab, 90 * 1000, 1000);
}

static void publish_crl(const struct certs_pair *issuer, int64_t number, const char *etag)
{
	publish_crl_of(issuer, number, etag, NULL);
}

static void test_revoked_certificates(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab_start(&lab);
	publish_crl(&lab.issuer, 5, "\"five\"");
	assert_int_equal(lab.trusts, 1);
	assert_true(lab.crls && strstr(lab.crls, "X509 CRL"));
	char *five = strdup(lab.crls);
	publish_crl(&lab.issuer, 4, "\"four\"");
	expect_why(LAB_DOMAIN, "older than the one in force");
	assert_string_equal(lab.crls, five);
	/* In the name of the issuer. */
	struct certs_pair forger =
		certs_make(&(struct certs_spec){.subject = "issuer", .ca = true});
	publish_crl(&forger, 9, "\"forged\"");
	expect_why(LAB_DOMAIN, "its authority has not signed");
	assert_string_equal(lab.crls, five);
	certs_done(&forger);
	/* Of one that we do not know, beside the issuer's, which it does not take back. */
	publish_crl(&lab.other, 9, "\"other\"");
	assert_string_equal(lab_row(&lab, LAB_DOMAIN).why, "");
	assert_non_null(strstr(lab.crls, five));
	assert_true(strlen(lab.crls) > strlen(five));
	publish_crl(&lab.issuer, 6, "\"six\"");
	assert_string_equal(lab_row(&lab, LAB_DOMAIN).why, "");
	assert_string_not_equal(lab.crls, five);
	lab_run_ms(&lab, 700 * 1000, 1000);
	expect_why(LAB_DOMAIN, "over its time");
	free(five);
	lab_done(&lab);
}

/* Nobody lets it in any more: the next is not waited for until half of its life is over. */
static void test_revoked_certificate_is_replaced_at_once(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab_start(&lab);
	struct enroll_row before = lab_row(&lab, "service/orders"),
			  other = lab_row(&lab, "service/web");
	lab_run_ms(&lab, 60 * 1000, 1000);
	assert_string_equal(lab_row(&lab, "service/orders").serial, before.serial);
	publish_crl_of(&lab.issuer, 7, "\"seven\"", before.serial);
	assert_string_not_equal(lab_row(&lab, "service/orders").serial, before.serial);
	assert_string_equal(lab_row(&lab, "service/web").serial, other.serial);
	assert_int_equal(lab_row(&lab, "service/orders").renewed_count, 2); /* once is enough */
	lab_done(&lab);
}

/* It finds itself in the list: that is said, and a new one is had at once. */
static void test_own_certificate_is_revoked(void **state)
{
	lab_init(&lab);
	lab_join(&lab, 86400);
	lab_start(&lab);
	expect_state("service/orders", ENROLL_FRESH);
	char serial[64];
	snprintf(serial, sizeof(serial), "%s", lab_row(&lab, "service/orders").serial);
	uint32_t renewed = lab_row(&lab, "service/orders").renewed_count;
	lab.keeper_silent = false;
	int64_t now_s = lab_wall_s(&lab);
	free(lab.crls);
	lab.crls = lab_crl(&lab.issuer, 5, now_s - 60, now_s + 600, serial);
	lab_configure(&lab);
	assert_int_equal(lab_row(&lab, "service/orders").state, ENROLL_REVOKED);
	expect_why("service/orders", "revoked by the authority");
	assert_int_equal(lab_row(&lab, "node/vm-a").state, ENROLL_FRESH);
	lab_run_ms(&lab, 5 * 1000, 1000);
	expect_state("service/orders", ENROLL_FRESH);
	assert_int_equal(lab_row(&lab, "service/orders").renewed_count, renewed + 1);
	assert_string_not_equal(lab_row(&lab, "service/orders").serial, serial);
	assert_string_equal(lab_row(&lab, "service/orders").why, "");
	lab_done(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_identities_are_asked_for_at_once),
		cmocka_unit_test(test_a_day_of_renewals),
		cmocka_unit_test(test_lifetimes_of_seconds),
		cmocka_unit_test(test_connection_is_kept_for_a_while),
		cmocka_unit_test(test_workloads_come_and_go),
		cmocka_unit_test(test_a_path_of_its_own),
		cmocka_unit_test(test_a_machine_that_has_not_joined),
		cmocka_unit_test(test_hours_without_the_authority),
		cmocka_unit_test(test_all_is_asked_for_soon_after_the_first_answer),
		cmocka_unit_test(test_expired_node_tries_with_what_it_has),
		cmocka_unit_test(test_the_other_server),
		cmocka_unit_test(test_nothing_ends_without_a_reason),
		cmocka_unit_test(test_server_that_says_nothing),
		cmocka_unit_test(test_server_that_closes),
		cmocka_unit_test(test_what_it_says_instead),
		cmocka_unit_test(test_approval_by_hand),
		cmocka_unit_test(test_wrong_certificates_are_not_handed_on),
		cmocka_unit_test(test_leaf_alone_is_completed),
		cmocka_unit_test(test_clocks_that_differ),
		cmocka_unit_test(test_keeper_that_does_not_answer),
		cmocka_unit_test(test_keeper_that_does_not_take_it),
		cmocka_unit_test(test_new_anchors_come_before_new_certificates),
		cmocka_unit_test(test_bad_anchors_change_nothing),
		cmocka_unit_test(test_federated_anchors),
		cmocka_unit_test(test_revoked_certificates),
		cmocka_unit_test(test_revoked_certificate_is_replaced_at_once),
		cmocka_unit_test(test_own_certificate_is_revoked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
