/* SPDX-License-Identifier: Apache-2.0 */
#include "pair.h"

#include "tls/store.h"
#include "tls/trust_view.h"
#include <openssl/nid.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants those above first */
#include <cmocka.h>

static struct pair_mesh mesh;
static struct bundle bundle;

static int store_setup(void **state)
{
	pair_mesh_bundle(&mesh, &bundle);
	return 0;
}

static int store_teardown(void **state)
{
	bundle_done(&bundle);
	return 0;
}

static void store_add(const char *kind, const char *name, const char *text)
{
	struct err err;
	assert_int_equal(bundle_add(&bundle, str_of(kind), str_of(name), str_of(text), &err), 0);
}

static void store_add_certificates(const char *kind, const char *name, X509 *const *certificates)
{
	char *pem = certs_pem(certificates);
	store_add(kind, name, pem);
	free(pem);
}

static void store_remove(const char *kind, const char *name)
{
	struct bundle_item *item = (struct bundle_item *)bundle_find(&bundle, kind, str_of(name));
	assert_non_null(item);
	list_remove(&item->node);
	free(item);
}

/* Building fails, and the text says all of these. */
static void store_refused(const char *what, const char *why)
{
	struct tls_store *s = NULL;
	struct err err = {{0}};
	assert_true(tls_store_new(&bundle, STR("prod.example"), 1, &s, &err) < 0);
	assert_null(s);
	if (!strstr(err.text, what) || !strstr(err.text, why))
		fail_msg("\"%s\" does not say \"%s\" and \"%s\"", err.text, what, why);
}

static void test_view(void **state)
{
	struct tls_store *s;
	struct err err;
	struct tls_identity_view view;
	assert_int_equal(tls_store_new(&bundle, STR("prod.example"), 1, &s, &err), 0);
	static const enum pair_identity sorted[] = {PAIR_BILLING, PAIR_ORDERS, PAIR_WEB};
	for (size_t i = 0; i < ARRAY_LEN(sorted); i++) {
		assert_true(tls_store_identity(s, i, &view));
		assert_true(str_eq(view.path, str_of(pair_paths[sorted[i]])));
		assert_true(str_eq(view.id, str_of(pair_ids[sorted[i]])));
		assert_int_equal(view.key_number, sorted[i] + 1);
		assert_int_equal(view.not_before_s, CERTS_NOW - 1000);
		assert_int_equal(view.not_after_s, CERTS_NOW + 3600);
		assert_true(strlen(view.serial) >= 4);
		assert_non_null(store_identity(s, view.path));
	}
	assert_false(tls_store_identity(s, ARRAY_LEN(sorted), &view));
	assert_null(store_identity(s, STR("service/a")));
	assert_null(store_identity(s, STR("service/webb")));
	assert_null(store_identity(s, STR("service/we")));
	assert_null(store_identity(s, STR("")));
	assert_ptr_equal(tls_store_ref(s), s);
	tls_store_unref(s);
	tls_store_unref(s);
}

/* What one identity's ticket key seals, another's does not open. */
static void store_keys_differ(const struct tls_identity *a, const struct tls_identity *b)
{
	static const uint8_t nonce[12], text[16];
	uint8_t sealed[64], opened[64];
	size_t len, opened_len;
	assert_true(EVP_AEAD_CTX_seal(a->ticket_key, sealed, &len, sizeof(sealed), nonce,
		sizeof(nonce), text, sizeof(text), NULL, 0));
	assert_true(EVP_AEAD_CTX_open(a->ticket_key, opened, &opened_len, sizeof(opened), nonce,
		sizeof(nonce), sealed, len, NULL, 0));
	assert_false(EVP_AEAD_CTX_open(b->ticket_key, opened, &opened_len, sizeof(opened), nonce,
		sizeof(nonce), sealed, len, NULL, 0));
}

static void test_apart(void **state)
{
	struct tls_store *one = pair_mesh_store(&mesh, 1), *two = pair_mesh_store(&mesh, 2);
	const struct tls_identity *all[] = {store_identity(one, STR("service/web")),
		store_identity(one, STR("service/orders")),
		store_identity(two, STR("service/web"))};
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		for (size_t k = 0; k < i; k++) {
			assert_memory_not_equal(all[i]->scope, all[k]->scope, 32);
			store_keys_differ(all[i], all[k]);
		}
	}
	tls_store_unref(one);
	tls_store_unref(two);
}

static void test_no_roots(void **state)
{
	store_remove("roots", "prod.example");
	store_refused("roots of prod.example", "no certificate");
	store_add("roots", "prod.example", " \n");
	store_refused("roots of prod.example", "no certificate");
}

/* Neither anchors nor certificates: it runs, and lets nobody in. */
static void test_not_joined(void **state)
{
	struct bundle empty;
	struct tls_store *s;
	struct err err;
	bundle_init(&empty);
	assert_int_equal(tls_store_new(&empty, STR("prod.example"), 1, &s, &err), 0);
	assert_false(tls_store_has_identity(s, STR("service/web")));
	assert_null(store_anchors(s, STR("prod.example")));
	tls_store_unref(s);
	bundle_done(&empty);
}

static void test_trust_view(void **state)
{
	struct tls_trust_view view;
	struct certs_list list = {.issuer = &mesh.middle,
		.revoked = {mesh.leaf[PAIR_WEB].certificate, mesh.leaf[PAIR_ORDERS].certificate}};
	char *pem = certs_list_pem(&list);
	assert_true(tls_trust_view(&bundle, 0, &view));
	assert_true(str_eq(view.trust_domain, STR("prod.example")));
	assert_int_equal(view.anchor_count, 1);
	assert_true(view.anchor_not_after_s > CERTS_NOW);
	assert_int_equal(view.crl_count, 0);
	assert_int_equal(view.crl_this_update_s, 0);
	store_add("crl", "prod.example", pem);
	assert_true(tls_trust_view(&bundle, 0, &view));
	assert_int_equal(view.crl_count, 1);
	assert_int_equal(view.revoked_count, 2);
	assert_true(view.crl_this_update_s != 0);
	assert_false(tls_trust_view(&bundle, 1, &view));
	free(pem);
}

static void test_broken_roots(void **state)
{
	struct certs_pair leaf_like = certs_make(&(struct certs_spec){.subject = "x"});
	struct certs_pair no_sign =
		certs_make(&(struct certs_spec){.subject = "x", .ca = true, .usage = KU_CRL_SIGN});
	struct certs_pair weak =
		certs_make(&(struct certs_spec){.subject = "x", .ca = true, .rsa_bits = 1024});
	struct certs_pair old = certs_make(&(struct certs_spec){.subject = "x", .version_1 = true});
	struct {
		X509 *certificate;
		const char *why;
	} rows[] = {{leaf_like.certificate, "not a CA"}, {no_sign.certificate, "keyCertSign"},
		{weak.certificate, "weak"}, {old.certificate, "version 3"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		store_add_certificates("roots", "other.example",
			(X509 *[]){mesh.root.certificate, rows[i].certificate, NULL});
		store_refused("roots of other.example: certificate 2", rows[i].why);
		store_remove("roots", "other.example");
	}
	certs_done(&leaf_like);
	certs_done(&no_sign);
	certs_done(&weak);
	certs_done(&old);
}

static void test_broken_pem(void **state)
{
	static const char *const texts[] = {"no certificate at all\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n",
		"-----BEGIN CERTIFICATE-----\n!!\n-----END "
		"CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		store_add("roots", "other.example", texts[i]);
		store_refused("roots of other.example", "");
		store_remove("roots", "other.example");
		store_remove("chain", "service/web");
		store_add("chain", "service/web", texts[i]);
		store_refused("chain of service/web", "");
	}
}

/* A private key in the bundle is a fault of whoever made it, never silently passed over. */
static void test_private_key(void **state)
{
	char *pem = certs_pem((X509 *[]){mesh.root.certificate, NULL});
	char *text;
	assert_true(
		asprintf(&text, "%s-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
			pem) > 0);
	store_add("roots", "other.example", text);
	store_refused("roots of other.example", "PRIVATE KEY");
	free(text);
	free(pem);
}

static void test_names(void **state)
{
	store_add("roots", "Other.example", "");
	store_refused("Other.example", "not a trust domain");
	store_remove("roots", "Other.example");
	struct tls_store *s;
	struct err err;
	assert_true(tls_store_new(&bundle, STR("Prod"), 1, &s, &err) < 0);
	store_add("roots", "prod.example", "");
	store_refused("roots of prod.example", "twice");
}

static void test_keys(void **state)
{
	store_remove("key", "service/web");
	store_refused("key of service/web", "missing");
	store_add("key", "service/web", "one");
	store_refused("key of service/web", "not a number");
	store_remove("key", "service/web");
	store_add("key", "service/web", "4294967296");
	store_refused("key of service/web", "not a number");
}

static void test_chains(void **state)
{
	static const struct {
		struct certs_spec spec;
		const char *why;
	} rows[] = {
		{{.names = {{0x86, STR("spiffe://prod.example/service/orders")}}},
			"is for spiffe://prod.example/service/orders"},
		{{.names = {{0x86, STR("spiffe://other.example/service/web")}}},
			"is for spiffe://other.example/service/web"},
		{{.curve = NID_secp384r1,
			 .names = {{0x86, STR("spiffe://prod.example/service/web")}}},
			"P-256"},
		{{.rsa_bits = 2048, .names = {{0x86, STR("spiffe://prod.example/service/web")}}},
			"P-256"},
		{{.no_usage = true, .names = {{0x86, STR("spiffe://prod.example/service/web")}}},
			"key usage"},
		{{.subject = "x"}, "URI SAN"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct certs_spec spec = rows[i].spec;
		spec.issuer = &mesh.middle;
		struct certs_pair leaf = certs_make(&spec);
		store_remove("chain", "service/web");
		store_add_certificates("chain", "service/web", (X509 *[]){leaf.certificate, NULL});
		store_refused("chain of service/web", rows[i].why);
		certs_done(&leaf);
	}
	X509 *many[] = {mesh.leaf[0].certificate, mesh.middle.certificate, mesh.middle.certificate,
		mesh.middle.certificate, mesh.middle.certificate, mesh.middle.certificate,
		mesh.middle.certificate, mesh.middle.certificate, mesh.middle.certificate, NULL};
	store_remove("chain", "service/web");
	store_add_certificates("chain", "service/web", many);
	store_refused("chain of service/web", "9 certificates");
	store_remove("chain", "service/web");
	store_add("chain", "service/web", "");
	store_refused("chain of service/web", "0 certificates");
}

static void test_chain_twice(void **state)
{
	store_add_certificates("chain", "service/web",
		(X509 *[]){mesh.leaf[PAIR_WEB].certificate, mesh.middle.certificate, NULL});
	store_refused("chain of service/web", "twice");
}

static void test_root_twice_is_fine(void **state)
{
	struct tls_store *s;
	struct err err;
	store_add_certificates("roots", "other.example",
		(X509 *[]){mesh.root.certificate, mesh.root.certificate, NULL});
	assert_int_equal(tls_store_new(&bundle, STR("prod.example"), 1, &s, &err), 0);
	tls_store_unref(s);
}

/* A machine's certificate is not for workloads' sessions, whoever has put it there. */
static void test_machine(void **state)
{
	struct certs_pair leaf = certs_make(&(struct certs_spec){
		.issuer = &mesh.middle, .names = {{0x86, STR("spiffe://prod.example/node/vm-a")}}});
	store_add_certificates("chain", "node/vm-a", (X509 *[]){leaf.certificate, NULL});
	store_add("key", "node/vm-a", "9");
	store_refused("chain of node/vm-a", "a machine's");
	certs_done(&leaf);
}

/* Of the same items it would be the same; of any other it would not. */
static void test_made_of(void **state)
{
	static const struct {
		const char *kind, *name;
	} rows[] = {{"chain", "service/web"}, {"key", "service/orders"}, {"roots", "prod.example"}};
	struct tls_store *s = pair_mesh_store(&mesh, 1);
	struct str domain = STR("prod.example");
	assert_true(tls_store_made_of(s, &bundle, domain));
	store_add("conf", "node.conf", "another");
	store_add("mesh", "mesh.conf", "another");
	assert_true(tls_store_made_of(s, &bundle, domain));
	assert_false(tls_store_made_of(s, &bundle, STR("other.example")));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct bundle_item *item = (struct bundle_item *)bundle_find(
			&bundle, rows[i].kind, str_of(rows[i].name));
		char *last = (char *)(uintptr_t)item->text.at + item->text.len - 1;
		(*last)++;
		assert_false(tls_store_made_of(s, &bundle, domain));
		(*last)--;
		assert_true(tls_store_made_of(s, &bundle, domain));
	}
	store_add("tickets", "secret", "01234567890123456789012345678901");
	assert_false(tls_store_made_of(s, &bundle, domain));
	store_remove("tickets", "secret");
	store_remove("chain", "service/web");
	assert_false(tls_store_made_of(s, &bundle, domain));
	tls_store_unref(s);
}

static void test_failure_texts(void **state)
{
	assert_string_equal(tls_failure_name(TLS_FAILURE_SAN_COUNT), "SAN_COUNT");
	assert_string_equal(tls_failure_text(TLS_FAILURE_NONE), "");
	assert_string_equal(tls_failure_text(TLS_FAILURE_MEMORY), "out of memory");
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_view),
		STORE_TEST(test_apart),
		STORE_TEST(test_no_roots),
		STORE_TEST(test_not_joined),
		STORE_TEST(test_trust_view),
		STORE_TEST(test_broken_roots),
		STORE_TEST(test_broken_pem),
		STORE_TEST(test_private_key),
		STORE_TEST(test_names),
		STORE_TEST(test_keys),
		STORE_TEST(test_chains),
		STORE_TEST(test_chain_twice),
		STORE_TEST(test_root_twice_is_fine),
		STORE_TEST(test_machine),
		STORE_TEST(test_made_of),
		STORE_TEST(test_failure_texts),
	};
	pair_mesh_init(&mesh);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	pair_mesh_done(&mesh);
	return failed;
}
