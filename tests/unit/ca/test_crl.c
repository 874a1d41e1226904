/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "keys/cert.h"
#include "realm.h"
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define ORDERS "spiffe://" REALM_TD "/service/orders"
#define VM_A   "spiffe://" REALM_TD "/node/vm-a"

struct lists {
	X509_CRL *at[4];
	int count;
	char etag[72];
};

static struct lists ask(struct realm *r)
{
	struct lists l = {0};
	struct str pem;
	struct err err;
	if (authority_crls(r->authority, r->now_s, &pem, l.etag, &err) != 0)
		fail_msg("%s", err.text);
	BIO *bio = BIO_new_mem_buf(pem.at, (int)pem.len);
	while (l.count < 4 && (l.at[l.count] = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)))
		l.count++;
	BIO_free(bio);
	free((char *)(uintptr_t)pem.at);
	return l;
}

static void lists_done(struct lists *l)
{
	for (int i = 0; i < l->count; i++)
		X509_CRL_free(l->at[i]);
}

static int entry_count(X509_CRL *crl)
{
	STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
	return entries ? (int)sk_X509_REVOKED_num(entries) : 0;
}

static bool lists_has(const struct lists *l, int index, X509 *cert)
{
	X509_REVOKED *found;
	return X509_CRL_get0_by_serial(l->at[index], &found, X509_get_serialNumber(cert)) != 0;
}

static uint64_t number_of(X509_CRL *crl)
{
	uint64_t number = 0;
	ASN1_INTEGER *n = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
	assert_non_null(n);
	assert_true(ASN1_INTEGER_get_uint64(&number, n));
	ASN1_INTEGER_free(n);
	return number;
}

static X509 *issuer_of(struct realm *r)
{
	unsigned count;
	char *text = realm_read(r, "issuer.crt");
	X509 *x = cert_from_pem(str_of(text), &count);
	free(text);
	assert_non_null(x);
	return x;
}

static void a_list_is_its_issuers(void **state)
{
	struct realm r;
	realm_init(&r, "lifetimes: { crl = \"1h\"; };");
	struct lists l = ask(&r);
	X509 *issuer = issuer_of(&r);
	EVP_PKEY *key = X509_get_pubkey(issuer);
	int days, seconds;
	assert_int_equal(l.count, 1);
	assert_int_equal(X509_CRL_verify(l.at[0], key), 1);
	assert_int_equal(
		X509_NAME_cmp(X509_CRL_get_issuer(l.at[0]), X509_get_subject_name(issuer)), 0);
	assert_int_equal(X509_CRL_get_version(l.at[0]), X509_CRL_VERSION_2);
	assert_true(X509_CRL_get_ext_by_NID(l.at[0], NID_authority_key_identifier, -1) >= 0);
	assert_true(ASN1_TIME_diff(&days, &seconds, X509_CRL_get0_lastUpdate(l.at[0]),
		X509_CRL_get0_nextUpdate(l.at[0])));
	assert_int_equal(days * 86400 + seconds, 3660);
	assert_int_equal(entry_count(l.at[0]), 0);
	lists_done(&l);
	EVP_PKEY_free(key);
	X509_free(issuer);
	realm_done(&r);
}

static void a_list_is_made_anew_after_a_quarter_of_its_time(void **state)
{
	struct realm r;
	realm_init(&r, "lifetimes: { crl = \"1h\"; };");
	struct lists first = ask(&r);
	r.now_s += 899;
	struct lists same = ask(&r);
	assert_string_equal(first.etag, same.etag);
	r.now_s += 1;
	struct lists next = ask(&r);
	assert_string_not_equal(first.etag, next.etag);
	assert_true(number_of(next.at[0]) > number_of(first.at[0]));
	/* Another instance gives the same. */
	struct authority *mine = r.authority;
	struct err err;
	assert_int_equal(authority_open(r.dir, &r.authority, &err), 0);
	struct lists other = ask(&r);
	assert_string_equal(next.etag, other.etag);
	authority_close(r.authority);
	r.authority = mine;
	lists_done(&first);
	lists_done(&same);
	lists_done(&next);
	lists_done(&other);
	realm_done(&r);
}

/* A machine that was stolen: nothing of it holds, and it comes back neither by its certificate nor
 * by a token. */
static void what_is_revoked_is_listed_at_once(void **state)
{
	struct realm r;
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a"), *other = realm_join(&r, "vm-b");
	EVP_PKEY *key = realm_key();
	struct authority_client client = realm_client(node, r.now_s);
	struct realm_answer a = realm_enroll(&r, &client, key, ORDERS);
	assert_int_equal(a.result, 0);
	X509 *leaf = sk_X509_value(a.chain, 0);
	struct lists before = ask(&r);
	char line[400], text[400];
	snprintf(line, sizeof(line), "revoke --dir DIR --node vm-a --why stolen");
	assert_int_equal(realm_run_text(&r, line, text, sizeof(text)), 0);
	assert_non_null(strstr(text, "revoked 2 certificates"));
	struct lists after = ask(&r);
	assert_string_not_equal(before.etag, after.etag);
	assert_true(number_of(after.at[0]) > number_of(before.at[0]));
	assert_int_equal(entry_count(after.at[0]), 2);
	assert_true(lists_has(&after, 0, node) && lists_has(&after, 0, leaf));
	assert_false(lists_has(&after, 0, other));
	realm_answer_done(&a);
	a = realm_enroll(&r, &client, key, VM_A);
	assert_int_equal(a.result, 403);
	assert_non_null(strstr(a.err.text, "revoked"));
	/* Nor later, when it has expired. */
	r.now_s += 2 * 86400;
	client = realm_client(node, r.now_s);
	assert_true(client.expired);
	a = realm_enroll(&r, &client, key, VM_A);
	assert_int_equal(a.result, 403);
	assert_non_null(strstr(a.err.text, "revoked"));
	assert_int_equal(realm_run(&r, line), 1);
	lists_done(&before);
	lists_done(&after);
	EVP_PKEY_free(key);
	X509_free(node);
	X509_free(other);
	realm_done(&r);
}

/* A machine that is off, and whose certificate could still bring it back. */
static void an_expired_machine_is_revoked_too(void **state)
{
	struct realm r;
	realm_init(&r, "lifetimes: { leaf = \"1m\"; node = \"1m\"; };");
	r.now_s -= 3600;
	X509 *node = realm_join(&r, "vm-a");
	r.now_s += 3600;
	EVP_PKEY *key = realm_key();
	struct authority_client client = realm_client(node, r.now_s);
	assert_true(client.expired);
	assert_int_equal(realm_run(&r, "revoke --dir DIR --node vm-a"), 0);
	struct realm_answer a = realm_enroll(&r, &client, key, VM_A);
	assert_int_equal(a.result, 403);
	assert_non_null(strstr(a.err.text, "revoked"));
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

static void one_certificate_and_one_identity_are_revoked(void **state)
{
	struct realm r;
	realm_init(&r, "");
	X509 *node = realm_join(&r, "vm-a");
	EVP_PKEY *key = realm_key();
	struct authority_client client = realm_client(node, r.now_s);
	struct realm_answer a = realm_enroll(&r, &client, key, ORDERS);
	struct realm_answer b = realm_enroll(&r, &client, key, ORDERS);
	struct realm_answer c = realm_enroll(&r, &client, key, "spiffe://" REALM_TD "/service/web");
	char serial[CERT_SERIAL_TEXT], line[400];
	assert_true(cert_serial_text(sk_X509_value(a.chain, 0), serial));
	snprintf(line, sizeof(line), "revoke --dir DIR --serial %s", serial);
	assert_int_equal(realm_run(&r, line), 0);
	struct lists l = ask(&r);
	assert_int_equal(entry_count(l.at[0]), 1);
	assert_true(lists_has(&l, 0, sk_X509_value(a.chain, 0)));
	lists_done(&l);
	assert_int_equal(realm_run(&r, "revoke --dir DIR --identity orders"), 0);
	l = ask(&r);
	assert_int_equal(entry_count(l.at[0]), 2);
	assert_true(lists_has(&l, 0, sk_X509_value(b.chain, 0)));
	assert_false(lists_has(&l, 0, sk_X509_value(c.chain, 0)));
	lists_done(&l);
	realm_answer_done(&a);
	/* The node renews what it may. */
	a = realm_enroll(&r, &client, key, ORDERS);
	assert_int_equal(a.result, 0);
	realm_answer_done(&a);
	realm_answer_done(&b);
	realm_answer_done(&c);
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

static void what_has_ended_is_listed_no_longer(void **state)
{
	struct realm r;
	realm_init(&r, "lifetimes: { leaf = \"10m\"; comeback = \"1h\"; };");
	X509 *node = realm_join(&r, "vm-a");
	EVP_PKEY *key = realm_key();
	struct authority_client client = realm_client(node, r.now_s);
	struct realm_answer a = realm_enroll(&r, &client, key, ORDERS);
	realm_answer_done(&a);
	assert_int_equal(realm_run(&r, "revoke --dir DIR --identity orders"), 0);
	struct lists l = ask(&r);
	assert_int_equal(entry_count(l.at[0]), 1);
	lists_done(&l);
	r.now_s += 86400;
	l = ask(&r);
	assert_int_equal(entry_count(l.at[0]), 0);
	lists_done(&l);
	/* Nor is it kept: the node's own certificate is, which has the time to come back. */
	char *index = realm_read(&r, "index"), *revoked = realm_read(&r, "revoked");
	assert_null(strstr(index, "service/orders"));
	assert_non_null(strstr(index, "node/vm-a"));
	/* A clock that was a day ahead has forgotten no revocation. */
	assert_non_null(strstr(revoked, "service/orders"));
	free(index);
	free(revoked);
	r.now_s += 31 * 86400;
	l = ask(&r);
	lists_done(&l);
	revoked = realm_read(&r, "revoked");
	assert_string_equal(revoked, "");
	free(revoked);
	EVP_PKEY_free(key);
	X509_free(node);
	realm_done(&r);
}

/* A line that a crash has cut off is no line; the next one stands by itself. */
static void a_line_that_was_cut_off_hurts_nobody(void **state)
{
	struct realm r;
	realm_init(&r, "");
	realm_write(&r, "revoked", "0123 99");
	X509 *node = realm_join(&r, "vm-a");
	struct lists l = ask(&r);
	assert_int_equal(entry_count(l.at[0]), 0);
	lists_done(&l);
	assert_int_equal(realm_run(&r, "revoke --dir DIR --node vm-a"), 0);
	l = ask(&r);
	assert_int_equal(entry_count(l.at[0]), 1);
	lists_done(&l);
	realm_write(&r, "revoked", "nonsense\n\n 1 2 3 4 5\nzz 9999999999 x - y 1 why\n");
	r.now_s += 12 * 3600; /* the list is due anyway */
	l = ask(&r);
	assert_int_equal(entry_count(l.at[0]), 0);
	lists_done(&l);
	assert_int_equal(realm_run(&r, "revoke --dir DIR --node vm-a"), 0);
	l = ask(&r);
	assert_int_equal(entry_count(l.at[0]), 1);
	lists_done(&l);
	X509_free(node);
	realm_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_is_its_issuers),
		cmocka_unit_test(a_list_is_made_anew_after_a_quarter_of_its_time),
		cmocka_unit_test(what_is_revoked_is_listed_at_once),
		cmocka_unit_test(an_expired_machine_is_revoked_too),
		cmocka_unit_test(one_certificate_and_one_identity_are_revoked),
		cmocka_unit_test(what_has_ended_is_listed_no_longer),
		cmocka_unit_test(a_line_that_was_cut_off_hurts_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
