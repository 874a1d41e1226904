/* SPDX-License-Identifier: Apache-2.0 */
/* The decisions that need no disk: what a request may ask for, who gets what, how often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../../src/ca/issue.h"
#include "../../../src/ca/rate.h"
#include "../../../src/ca/request.h"
#include "realm.h"
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

/* --- requests --- */

struct wanted {
	const char *uris[3]; /* NULL: no more */
	const char *dns;
	enum { KEY_P256, KEY_P384, KEY_RSA, KEY_ED25519 } key;
	bool is_authority;  /* basicConstraints too */
	bool has_challenge; /* challengePassword too */
	bool has_no_extensions;
	bool has_trailer;
	bool has_sha384;
	const char *why; /* NULL: it is good */
};

static EVP_PKEY *key_of(const struct wanted *w)
{
	EVP_PKEY *key = EVP_PKEY_new();
	if (w->key == KEY_RSA) {
		RSA *rsa = RSA_new();
		BIGNUM *e = BN_new();
		assert_true(BN_set_word(e, RSA_F4) && RSA_generate_key_ex(rsa, 2048, e, NULL));
		assert_true(EVP_PKEY_assign_RSA(key, rsa));
		BN_free(e);
	} else if (w->key == KEY_P384) {
		EC_KEY *ec = EC_KEY_new_by_curve_name(NID_secp384r1);
		assert_true(EC_KEY_generate_key(ec) && EVP_PKEY_assign_EC_KEY(key, ec));
	} else if (w->key == KEY_ED25519) {
		uint8_t seed[32] = {7};
		EVP_PKEY_free(key);
		key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof(seed));
	} else {
		EVP_PKEY_free(key);
		key = realm_key();
	}
	assert_non_null(key);
	return key;
}

static void push_name(GENERAL_NAMES *names, int kind, const char *text)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *value = ASN1_IA5STRING_new();
	assert_true(ASN1_STRING_set(value, text, (int)strlen(text)));
	GENERAL_NAME_set0_value(name, kind, value);
	assert_true(sk_GENERAL_NAME_push(names, name));
}

static void add_extensions(X509_REQ *x, const struct wanted *w)
{
	STACK_OF(X509_EXTENSION) *list = NULL;
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	for (size_t i = 0; i < 3 && w->uris[i]; i++)
		push_name(names, GEN_URI, w->uris[i]);
	if (w->dns)
		push_name(names, GEN_DNS, w->dns);
	if (sk_GENERAL_NAME_num(names) > 0)
		assert_int_equal(X509V3_add1_i2d(&list, NID_subject_alt_name, names, 1, 0), 1);
	if (w->is_authority) {
		BASIC_CONSTRAINTS *b = BASIC_CONSTRAINTS_new();
		b->ca = 0xff;
		assert_int_equal(X509V3_add1_i2d(&list, NID_basic_constraints, b, 1, 0), 1);
		BASIC_CONSTRAINTS_free(b);
	}
	if (list)
		assert_true(X509_REQ_add_extensions(x, list));
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
}

static struct str request_of(const struct wanted *w)
{
	X509_REQ *x = X509_REQ_new();
	EVP_PKEY *key = key_of(w);
	assert_true(X509_REQ_set_version(x, 0) && X509_REQ_set_pubkey(x, key));
	if (!w->has_no_extensions)
		add_extensions(x, w);
	if (w->has_challenge)
		assert_true(X509_REQ_add1_attr_by_NID(x, NID_pkcs9_challengePassword, MBSTRING_ASC,
			(const uint8_t *)"open sesame", 11));
	const EVP_MD *md = w->has_sha384 ? EVP_sha384() : EVP_sha256();
	assert_true(X509_REQ_sign(x, key, w->key == KEY_ED25519 ? NULL : md));
	uint8_t *der = NULL;
	int len = i2d_X509_REQ(x, &der);
	char *copy = malloc((size_t)len + 1);
	memcpy(copy, der, (size_t)len);
	copy[len] = 0;
	OPENSSL_free(der);
	X509_REQ_free(x);
	EVP_PKEY_free(key);
	return (struct str){copy, (size_t)len + w->has_trailer};
}

static void a_request_may_ask_for_one_id_and_no_more(void **state)
{
	static const struct wanted rows[] = {
		{.uris = {"spiffe://prod.example/service/orders"}},
		{.uris = {"spiffe://other.example/node/x"}}, /* not this one's to judge */
		{.uris = {"spiffe://prod.example/a", "spiffe://prod.example/b"},
			.why = "exactly one name"},
		{.uris = {"spiffe://prod.example/a"},
			.dns = "prod.example",
			.why = "exactly one name"},
		{.dns = "prod.example", .why = "must be a URI"},
		{.uris = {"https://prod.example/a"}, .why = "no valid SPIFFE id"},
		{.uris = {"spiffe://prod.example"}, .why = "no valid SPIFFE id"},
		{.uris = {"spiffe://prod.example/a/../b"}, .why = "no valid SPIFFE id"},
		{.uris = {"spiffe://Prod.example/a"}, .why = "no valid SPIFFE id"},
		{.uris = {"spiffe://prod.example/a%2fb"}, .why = "no valid SPIFFE id"},
		{.uris = {""}, .why = "no valid SPIFFE id"},
		{.uris = {"spiffe://prod.example/a"},
			.is_authority = true,
			.why = "more extensions"},
		{.is_authority = true, .why = "other than subjectAltName"},
		{.has_no_extensions = true, .why = "must have one attribute"},
		{.uris = {"spiffe://prod.example/a"},
			.has_challenge = true,
			.why = "must have one attribute"},
		{.uris = {"spiffe://prod.example/a"}, .key = KEY_P384, .why = "must be P-256"},
		{.uris = {"spiffe://prod.example/a"}, .key = KEY_RSA, .why = "must be P-256"},
		{.uris = {"spiffe://prod.example/a"}, .key = KEY_ED25519, .why = "must be P-256"},
		{.uris = {"spiffe://prod.example/a"}, .has_sha384 = true, .why = "SHA-256"},
		{.uris = {"spiffe://prod.example/a"},
			.has_trailer = true,
			.why = "no readable PKCS#10"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str der = request_of(&rows[i]);
		struct request r;
		struct err err = {""};
		int result = request_read(der, &r, &err);
		if (result != (rows[i].why ? AUTHORITY_BAD : 0))
			fail_msg("row %zu: %d, \"%s\"", i, result, err.text);
		if (rows[i].why && !strstr(err.text, rows[i].why))
			fail_msg("row %zu: \"%s\"", i, err.text);
		if (!rows[i].why) {
			assert_string_equal(r.id, rows[i].uris[0]);
			assert_int_equal(strlen(r.key_hash), 64);
			request_done(&r);
		}
		free((char *)(uintptr_t)der.at);
	}
}

/* Every byte of it changed once, every length: never a crash, and never taken for good with
 * another key or name. */
static void a_request_that_was_changed_is_refused(void **state)
{
	struct wanted w = {.uris = {"spiffe://prod.example/service/orders"}};
	struct str der = request_of(&w);
	struct request r, good;
	struct err err;
	assert_int_equal(request_read(der, &good, &err), 0);
	for (size_t i = 0; i < der.len; i++) {
		char *byte = (char *)(uintptr_t)der.at + i;
		*byte ^= 1;
		if (request_read(der, &r, &err) == 0) {
			assert_string_equal(r.id, good.id);
			assert_string_equal(r.key_hash, good.key_hash);
			request_done(&r);
		}
		*byte ^= 1;
		assert_int_not_equal(request_read((struct str){der.at, i}, &r, &err), 0);
	}
	request_done(&good);
	free((char *)(uintptr_t)der.at);
}

/* A NUL inside a name does not cut it. */
static void a_nul_in_a_name_is_no_end(void **state)
{
	struct wanted w = {.uris = {"spiffe://prod.example/service/orders%x"}};
	struct str der = request_of(&w);
	struct request r;
	struct err err;
	char *at = memmem(der.at, der.len, "%x", 2);
	assert_non_null(at);
	at[0] = '\0';
	assert_int_equal(request_read(der, &r, &err), AUTHORITY_BAD);
	free((char *)(uintptr_t)der.at);
}

/* --- judging --- */

static struct str vm_a_identities[] = {{"service/orders", 14}, {"job/nightly", 11}};
static struct address_range vm_b_addresses[1];
static struct conf_registered judge_nodes[] = {
	{.name = {"vm-a", 4}, .identities = vm_a_identities, .identity_count = 2},
	{.name = {"vm-b", 4}, .addresses = vm_b_addresses, .address_count = 1},
};

static void the_registration_decides(void **state)
{
	static const struct {
		enum issue_proof proof;
		enum issue_standing standing;
		const char *domain, *shown; /* certificate, or token's node */
		const char *address;
		const char *wanted_domain, *wanted;
		int result;
	} rows[] = {
#define OURS "prod.example"
		/* nothing shown */
		{ISSUE_NOTHING, 0, "", "", "", OURS, "node/vm-a", 401},
		{ISSUE_BAD_TOKEN, 0, "", "vm-a", "", OURS, "node/vm-a", 401},
		/* tokens */
		{ISSUE_TOKEN, 0, "", "vm-a", "", OURS, "node/vm-a", 0},
		{ISSUE_TOKEN, 0, "", "vm-a", "", OURS, "service/orders", 403},
		{ISSUE_TOKEN, 0, "", "vm-a", "", OURS, "node/vm-b", 403},
		{ISSUE_TOKEN, 0, "", "vm-x", "", OURS, "node/vm-x", 403},
		{ISSUE_TOKEN, 0, "", "vm-a", "", "other.example", "node/vm-a", 403},
		/* a node's certificate */
		{ISSUE_CERTIFICATE, ISSUE_GOOD, OURS, "node/vm-a", "", OURS, "node/vm-a", 0},
		{ISSUE_CERTIFICATE, ISSUE_GOOD, OURS, "node/vm-a", "", OURS, "service/orders", 0},
		{ISSUE_CERTIFICATE, ISSUE_GOOD, OURS, "node/vm-a", "", OURS, "job/nightly", 0},
		{ISSUE_CERTIFICATE, ISSUE_GOOD, OURS, "node/vm-a", "", OURS, "service/web", 403},
		{ISSUE_CERTIFICATE, ISSUE_GOOD, OURS, "node/vm-a", "", OURS, "node/vm-b", 403},
		{ISSUE_CERTIFICATE, ISSUE_GOOD, OURS, "node/vm-a", "", OURS, "node/vm-a/x", 403},
		{ISSUE_CERTIFICATE, ISSUE_GOOD, OURS, "node/vm-a", "", "other.example",
			"service/orders", 403},
		{ISSUE_CERTIFICATE, ISSUE_GOOD, "other.example", "node/vm-a", "", OURS, "node/vm-a",
			403},
		{ISSUE_CERTIFICATE, ISSUE_GOOD, OURS, "node/vm-x", "", OURS, "node/vm-x", 403},
		{ISSUE_CERTIFICATE, ISSUE_GOOD, OURS, "node/vm-a/x", "", OURS, "node/vm-a", 403},
		{ISSUE_CERTIFICATE, ISSUE_EXPIRED, OURS, "node/vm-a", "", OURS, "node/vm-a", 0},
		{ISSUE_CERTIFICATE, ISSUE_EXPIRED, OURS, "node/vm-a", "", OURS, "service/orders",
			403},
		{ISSUE_CERTIFICATE, ISSUE_OVER, OURS, "node/vm-a", "", OURS, "node/vm-a", 403},
		{ISSUE_CERTIFICATE, ISSUE_REVOKED, OURS, "node/vm-a", "", OURS, "node/vm-a", 403},
		/* a workload's certificate */
		{ISSUE_CERTIFICATE, ISSUE_GOOD, OURS, "service/orders", "", OURS, "service/orders",
			403},
		/* from where */
		{ISSUE_CERTIFICATE, ISSUE_GOOD, OURS, "node/vm-b", "10.1.2.3", OURS, "node/vm-b",
			0},
		{ISSUE_CERTIFICATE, ISSUE_GOOD, OURS, "node/vm-b", "10.2.2.3", OURS, "node/vm-b",
			403},
		{ISSUE_TOKEN, 0, "", "vm-b", "", OURS, "node/vm-b", 403},
	};
	assert_true(address_range_parse(STR("10.1.0.0/16"), &vm_b_addresses[0]));
	struct conf_registration r = {.nodes = judge_nodes, .node_count = 2};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = {""};
		struct issue_client c = {.proof = rows[i].proof,
			.standing = rows[i].standing,
			.trust_domain = str_of(rows[i].domain),
			.identity = str_of(rows[i].shown),
			.node = str_of(rows[i].shown)};
		if (!address_parse(str_of(rows[i].address), &c.address))
			c.address.family = 0;
		int result = issue_judge(&r, STR(OURS), &c, str_of(rows[i].wanted_domain),
			str_of(rows[i].wanted), &err);
		if (result != rows[i].result)
			fail_msg("row %zu: %d, \"%s\"", i, result, err.text);
		if (result && err.text[0] == '\0')
			fail_msg("row %zu: refused without a word", i);
	}
}

/* --- how often --- */

static void a_bucket_fills_with_time(void **state)
{
	struct rate rate = {.per_minute = 60, .burst = 3};
	struct rate_bucket b = {0};
	uint32_t wait_s = 0;
	int64_t now_ms = 1000000;
	for (int i = 0; i < 3; i++)
		assert_true(rate_take(&b, rate, now_ms, &wait_s));
	assert_false(rate_take(&b, rate, now_ms, &wait_s));
	assert_int_equal(wait_s, 1);
	assert_false(rate_take(&b, rate, now_ms + 999, &wait_s));
	assert_true(rate_take(&b, rate, now_ms + 1000, &wait_s));
	assert_false(rate_take(&b, rate, now_ms + 1000, &wait_s));
	/* A clock that goes back gives nothing, and locks nobody out until the time it came from.
	 */
	assert_false(rate_take(&b, rate, now_ms - 500000, &wait_s));
	assert_false(rate_take(&b, rate, now_ms - 499001, &wait_s));
	assert_true(rate_take(&b, rate, now_ms - 499000, &wait_s));
	/* A long time fills it, and no more than that. */
	for (int i = 0; i < 3; i++)
		assert_true(rate_take(&b, rate, INT64_MAX / 2, &wait_s));
	assert_false(rate_take(&b, rate, INT64_MAX / 2, &wait_s));
}

static void a_slow_bucket_says_how_long(void **state)
{
	struct rate rate = {.per_minute = 1, .burst = 1};
	struct rate_bucket b = {0};
	uint32_t wait_s = 0;
	assert_true(rate_take(&b, rate, 5000, &wait_s));
	assert_false(rate_take(&b, rate, 5000, &wait_s));
	assert_int_equal(wait_s, 60);
	assert_false(rate_take(&b, rate, 35000, &wait_s));
	assert_int_equal(wait_s, 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_may_ask_for_one_id_and_no_more),
		cmocka_unit_test(a_request_that_was_changed_is_refused),
		cmocka_unit_test(a_nul_in_a_name_is_no_end),
		cmocka_unit_test(the_registration_decides),
		cmocka_unit_test(a_bucket_fills_with_time),
		cmocka_unit_test(a_slow_bucket_says_how_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
