/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "ca/ca.h"
#include "keys/cert.h"
#include "keys/file.h"
#include "keys/keyring.h"
#include "unit/ca/place.h"
#include <errno.h>
#include <openssl/asn1.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TD STR("prod.example")

/* An authority and, in "certs", the pairs of web and orders. */
static void set_up(struct place *p)
{
	struct err err;
	char ca[100], out[100];
	place_init(p);
	snprintf(ca, sizeof(ca), "%s/ca", p->dir);
	snprintf(out, sizeof(out), "%s/certs", p->dir);
	assert_int_equal(ca_init(ca, TD, 86400, &err), 0);
	assert_int_equal(ca_issue(ca, STR("service/web"), 3600, out, &err), 0);
	assert_int_equal(ca_issue(ca, STR("service/orders"), 3600, out, &err), 0);
}

static void item_is(const struct bundle *b, const char *kind, const char *name, const char *text)
{
	const struct bundle_item *item = bundle_find(b, kind, str_of(name));
	assert_non_null(item);
	assert_string_equal(item->text.at, text);
}

static void a_directory_becomes_items_and_keys(void **state)
{
	struct place p;
	struct bundle b;
	struct keyring *k;
	struct err err;
	struct keyring_numbers next = {.next = 7};
	set_up(&p);
	mkdir(place_path(&p, "certs/roots"), 0755);
	char *root = place_read(&p, "certs/roots.pem"), *chain = place_read(&p, "certs/web.crt");
	place_write(&p, "certs/roots/far.example.pem", str_of(root), 0644);
	place_write(&p, "certs/.hidden.crt", STR("not looked at"), 0644);
	bundle_init(&b);
	assert_int_equal(keyring_load(place_path(&p, "certs"), TD, &next, &k, &b, &err), 0);
	assert_int_equal(next.next, 9);
	assert_int_equal(keyring_key_count(k), 2);
	item_is(&b, "roots", "prod.example", root);
	item_is(&b, "roots", "far.example", root);
	item_is(&b, "chain", "service/web", chain);
	item_is(&b, "key", "service/orders", "7");
	item_is(&b, "key", "service/web", "8");
	LIST_EACH (&b.items, it)
		assert_null(strstr(CONTAINER_OF(it, struct bundle_item, node)->text.at, "PRIVATE"));
	keyring_free(k);

	/* Without one before it, a load's numbers are new. */
	bundle_done(&b);
	assert_int_equal(keyring_load(place_path(&p, "certs"), TD, &next, &k, &b, &err), 0);
	assert_int_equal(next.next, 11);
	item_is(&b, "key", "service/orders", "9");
	keyring_free(k);
	bundle_done(&b);
	free(root);
	free(chain);
	place_done(&p);
}

static void a_machine_may_have_no_identity_yet(void **state)
{
	struct place p;
	struct bundle b;
	struct keyring *k;
	struct err err;
	struct keyring_numbers next = {.next = 1};
	set_up(&p);
	char *root = place_read(&p, "certs/roots.pem");
	mkdir(place_path(&p, "bare"), 0755);
	place_write(&p, "bare/roots.pem", str_of(root), 0644);
	bundle_init(&b);
	assert_int_equal(keyring_load(place_path(&p, "bare"), TD, &next, &k, &b, &err), 0);
	assert_int_equal(keyring_key_count(k), 0);
	keyring_free(k);
	bundle_done(&b);
	free(root);
	place_done(&p);
}

/* One that has revoked nothing, of the directory's authority. */
static struct str crl_text(struct place *p)
{
	char *cert_text = place_read(p, "ca/root.crt"), *key_text = place_read(p, "ca/root.key");
	unsigned count;
	X509 *root = cert_from_pem(str_of(cert_text), &count);
	EVP_PKEY *key = cert_key_from_pem(str_of(key_text));
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *t = ASN1_TIME_adj(NULL, (time_t)(clock_wall_ns() / CLOCK_S), 0, 0);
	BIO *bio = BIO_new(BIO_s_mem());
	const uint8_t *bytes;
	size_t len;
	assert_true(X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
		    X509_CRL_set_issuer_name(crl, X509_get_subject_name(root)) &&
		    X509_CRL_set1_lastUpdate(crl, t) && X509_CRL_set1_nextUpdate(crl, t) &&
		    X509_CRL_sign(crl, key, EVP_sha256()) && PEM_write_bio_X509_CRL(bio, crl) &&
		    BIO_mem_contents(bio, &bytes, &len));
	struct str text = {strndup((const char *)bytes, len), len};
	BIO_free(bio);
	ASN1_TIME_free(t);
	X509_CRL_free(crl);
	EVP_PKEY_free(key);
	X509_free(root);
	free(cert_text);
	free(key_text);
	return text;
}

static void lists_of_revoked_certificates_become_items(void **state)
{
	struct place p;
	struct bundle b;
	struct keyring *k;
	struct err err;
	struct keyring_numbers next = {.next = 1};
	set_up(&p);
	struct str crl = crl_text(&p);
	mkdir(place_path(&p, "certs/crls"), 0755);
	place_write(&p, "certs/crl.pem", crl, 0644);
	place_write(&p, "certs/crls/far.example.pem", crl, 0644);
	bundle_init(&b);
	assert_int_equal(keyring_load(place_path(&p, "certs"), TD, &next, &k, &b, &err), 0);
	item_is(&b, "crl", "prod.example", crl.at);
	item_is(&b, "crl", "far.example", crl.at);
	keyring_free(k);
	bundle_done(&b);

	/* One that cannot be read might revoke anything. */
	place_write(&p, "certs/crl.pem",
		STR("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"), 0644);
	assert_int_equal(keyring_load(place_path(&p, "certs"), TD, &next, &k, &b, &err), -EINVAL);
	assert_non_null(strstr(err.text, "crl.pem: a broken revocation list"));
	bundle_done(&b);
	file_text_free(crl);
	place_done(&p);
}

/* --- refusals --- */

static void key_readable(struct place *p)
{
	chmod(place_path(p, "certs/web.key"), 0640);
}

static void key_missing(struct place *p)
{
	unlink(place_path(p, "certs/web.key"));
}

static void key_foreign(struct place *p)
{
	char *key = place_read(p, "certs/orders.key");
	place_write(p, "certs/web.key", str_of(key), 0600);
	free(key);
}

static void key_garbage(struct place *p)
{
	place_write(p, "certs/web.key", STR("-----BEGIN PRIVATE KEY-----\nAAAA\n"), 0600);
}

static void key_p384(struct place *p)
{
	EC_KEY *ec = EC_KEY_new_by_curve_name(NID_secp384r1);
	EVP_PKEY *key = EVP_PKEY_new();
	assert_true(ec && EC_KEY_generate_key(ec) && EVP_PKEY_set1_EC_KEY(key, ec));
	struct str text;
	assert_int_equal(cert_key_pem(key, &text), 0);
	place_write(p, "certs/web.key", text, 0600);
	file_text_free(text);
	EVP_PKEY_free(key);
	EC_KEY_free(ec);
}

static void key_is_fifo(struct place *p)
{
	unlink(place_path(p, "certs/web.key"));
	assert_int_equal(mkfifo(place_path(p, "certs/web.key"), 0600), 0);
}

static void cert_garbage(struct place *p)
{
	place_write(p, "certs/web.crt", STR("hello"), 0644);
}

static void chain_broken_behind_the_leaf(struct place *p)
{
	char *chain = place_read(p, "certs/web.crt");
	char text[8192];
	snprintf(text, sizeof(text),
		"%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", chain);
	place_write(p, "certs/web.crt", str_of(text), 0644);
	free(chain);
}

static void cert_is_authority(struct place *p)
{
	char *cert = place_read(p, "ca/root.crt"), *key = place_read(p, "ca/root.key");
	place_write(p, "certs/ca.crt", str_of(cert), 0644);
	place_write(p, "certs/ca.key", str_of(key), 0600);
	free(cert);
	free(key);
}

static void identity_twice(struct place *p)
{
	char *cert = place_read(p, "certs/web.crt"), *key = place_read(p, "certs/web.key");
	place_write(p, "certs/www.crt", str_of(cert), 0644);
	place_write(p, "certs/www.key", str_of(key), 0600);
	free(cert);
	free(key);
}

static void other_trust_domain(struct place *p)
{
	struct err err;
	char ca[100], out[100];
	snprintf(ca, sizeof(ca), "%s/ca2", p->dir);
	snprintf(out, sizeof(out), "%s/out2", p->dir);
	assert_int_equal(ca_init(ca, STR("test.example"), 86400, &err), 0);
	assert_int_equal(ca_issue(ca, STR("service/web"), 3600, out, &err), 0);
	char *cert = place_read(p, "out2/web.crt"), *key = place_read(p, "out2/web.key");
	place_write(p, "certs/web.crt", str_of(cert), 0644);
	place_write(p, "certs/web.key", str_of(key), 0600);
	free(cert);
	free(key);
}

/* A leaf for web with the given names in its SAN instead. */
static void leaf_with_uris(struct place *p, const char *const *uris, size_t count)
{
	char *key_text = place_read(p, "certs/web.key"),
	     *cert_text = place_read(p, "certs/web.crt");
	unsigned certs;
	EVP_PKEY *key = cert_key_from_pem(str_of(key_text));
	X509 *x = cert_from_pem(str_of(cert_text), &certs);
	X509_EXTENSION_free(X509_delete_ext(x, X509_get_ext_by_NID(x, NID_subject_alt_name, -1)));
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	for (size_t i = 0; i < count; i++) {
		GENERAL_NAME *name = GENERAL_NAME_new();
		ASN1_IA5STRING *uri = ASN1_IA5STRING_new();
		assert_true(ASN1_STRING_set(uri, uris[i], (int)strlen(uris[i])));
		GENERAL_NAME_set0_value(name, GEN_URI, uri);
		assert_true(sk_GENERAL_NAME_push(names, name));
	}
	if (count > 0)
		assert_true(
			X509_add1_ext_i2d(x, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT));
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	assert_true(X509_sign(x, key, EVP_sha256()));
	struct str text;
	assert_int_equal(cert_pem(x, &text), 0);
	place_write(p, "certs/web.crt", text, 0644);
	file_text_free(text);
	X509_free(x);
	EVP_PKEY_free(key);
	free(key_text);
	free(cert_text);
}

static void no_uri(struct place *p)
{
	leaf_with_uris(p, NULL, 0);
}

static void two_uris(struct place *p)
{
	static const char *const uris[] = {
		"spiffe://prod.example/service/web", "spiffe://prod.example/service/orders"};
	leaf_with_uris(p, uris, 2);
}

static void uri_not_spiffe(struct place *p)
{
	static const char *const uris[] = {"https://prod.example/service/web"};
	leaf_with_uris(p, uris, 1);
}

static void uri_without_path(struct place *p)
{
	static const char *const uris[] = {"spiffe://prod.example"};
	leaf_with_uris(p, uris, 1);
}

static void roots_missing(struct place *p)
{
	unlink(place_path(p, "certs/roots.pem"));
}

static void roots_empty(struct place *p)
{
	place_write(p, "certs/roots.pem", STR("# none yet\n"), 0644);
}

static void foreign_roots_badly_named(struct place *p)
{
	mkdir(place_path(p, "certs/roots"), 0755);
	place_write(p, "certs/roots/Far Away.pem", STR("x"), 0644);
}

static void foreign_roots_for_ourselves(struct place *p)
{
	mkdir(place_path(p, "certs/roots"), 0755);
	place_write(p, "certs/roots/prod.example.pem", STR("x"), 0644);
}

static const struct {
	const char *name;
	void (*spoil)(struct place *p);
	int result;
	const char *text; /* must be in the message */
} refusals[] = {
	{"key others can read", key_readable, -EACCES, "chmod 600"},
	{"key missing", key_missing, -ENOENT, "web.key"},
	{"key of another certificate", key_foreign, -EINVAL, "web.key: not the key of"},
	{"key garbage", key_garbage, -EINVAL, "web.key: no readable private key"},
	{"key of another kind", key_p384, -EINVAL, "web.key: not a P-256 key"},
	{"key is a FIFO", key_is_fifo, -EINVAL, "not a regular file"},
	{"certificate garbage", cert_garbage, -EINVAL, "web.crt: no certificate"},
	{"broken chain", chain_broken_behind_the_leaf, -EINVAL, "web.crt: a broken certificate"},
	{"an authority's certificate", cert_is_authority, -EINVAL, "ca.crt: is an authority's"},
	{"identity twice", identity_twice, -EEXIST, "www.crt: spiffe://prod.example/service/web"},
	{"other trust domain", other_trust_domain, -EINVAL, "test.example"},
	{"no URI", no_uri, -EINVAL, "has no URI"},
	{"two URIs", two_uris, -EINVAL, "more than one URI"},
	{"not SPIFFE", uri_not_spiffe, -EINVAL, "no valid SPIFFE id"},
	{"no path", uri_without_path, -EINVAL, "no valid SPIFFE id"},
	{"no roots", roots_missing, -ENOENT, "roots.pem"},
	{"roots empty", roots_empty, -EINVAL, "roots.pem: no certificate"},
	{"foreign roots badly named", foreign_roots_badly_named, -EINVAL, "Far Away.pem"},
	{"foreign roots for ourselves", foreign_roots_for_ourselves, -EINVAL,
		"our own is in roots.pem"},
};

static void refusals_name_the_file_and_change_nothing(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		struct place p;
		struct bundle b;
		struct keyring *k = NULL;
		struct err err = {.text = ""};
		struct keyring_numbers next = {.next = 3};
		set_up(&p);
		refusals[i].spoil(&p);
		bundle_init(&b);
		int r = keyring_load(place_path(&p, "certs"), TD, &next, &k, &b, &err);
		if (r != refusals[i].result || !strstr(err.text, refusals[i].text))
			fail_msg("%s: %d \"%s\"", refusals[i].name, r, err.text);
		assert_null(k);
		assert_true(list_empty(&b.items));
		assert_int_equal(next.next, 3);
		place_done(&p);
	}
}

static void a_missing_directory_is_named(void **state)
{
	struct bundle b;
	struct keyring *k = NULL;
	struct err err;
	struct keyring_numbers next = {.next = 1};
	bundle_init(&b);
	assert_int_equal(keyring_load("/nonexistent/certs", TD, &next, &k, &b, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/certs"));
}

/* --- signing --- */

struct signing {
	struct place p;
	struct keyring *k;
	EVP_PKEY *public_key; /* of key 1, orders */
};

static void signing_begin(struct signing *s)
{
	struct bundle b;
	struct err err;
	struct keyring_numbers next = {.next = 1};
	unsigned count;
	set_up(&s->p);
	bundle_init(&b);
	assert_int_equal(keyring_load(place_path(&s->p, "certs"), TD, &next, &s->k, &b, &err), 0);
	X509 *x = cert_from_pem(bundle_find(&b, "chain", STR("service/orders"))->text, &count);
	s->public_key = X509_get_pubkey(x);
	X509_free(x);
	bundle_done(&b);
}

static void signing_end(struct signing *s)
{
	keyring_free(s->k);
	EVP_PKEY_free(s->public_key);
	place_done(&s->p);
}

/* 64 spaces, text, zero, `hash_len` bytes. */
static size_t input_make(uint8_t input[256], const char *text, size_t hash_len)
{
	size_t len = strlen(text);
	memset(input, ' ', 64);
	memcpy(input + 64, text, len + 1);
	memset(input + 64 + len + 1, 0xab, hash_len);
	return 64 + len + 1 + hash_len;
}

#define SERVER_CONTEXT "TLS 1.3, server CertificateVerify"
#define CLIENT_CONTEXT "TLS 1.3, client CertificateVerify"
#define P256_SHA256    0x0403

static void certificate_verify_is_signed(void **state)
{
	static const char *const contexts[] = {SERVER_CONTEXT, CLIENT_CONTEXT};
	struct signing s;
	signing_begin(&s);
	for (size_t i = 0; i < 4; i++) {
		uint8_t input[256], signature[KEYRING_SIGNATURE_MAX], digest[SHA256_DIGEST_LENGTH];
		size_t signature_len = 0;
		size_t len = input_make(input, contexts[i / 2], i % 2 ? 48 : 32);
		assert_int_equal(
			keyring_sign(s.k, 1, P256_SHA256, input, len, signature, &signature_len),
			0);
		SHA256(input, len, digest);
		assert_true(ECDSA_verify(0, digest, sizeof(digest), signature, signature_len,
			EVP_PKEY_get0_EC_KEY(s.public_key)));
	}
	signing_end(&s);
}

/* Whether key `number` is that of service/orders in `s`. */
static bool signs_as_orders(const struct signing *s, const struct keyring *k, uint32_t number)
{
	uint8_t input[256], signature[KEYRING_SIGNATURE_MAX], digest[SHA256_DIGEST_LENGTH];
	size_t n = 0, len = input_make(input, SERVER_CONTEXT, 32);
	SHA256(input, len, digest);
	return keyring_sign(k, number, P256_SHA256, input, len, signature, &n) == 0 &&
	       ECDSA_verify(0, digest, sizeof(digest), signature, n,
		       EVP_PKEY_get0_EC_KEY(s->public_key));
}

static void load_after(struct signing *s, const struct keyring *before, uint32_t next,
	const char *orders, const char *web, struct keyring **ret_keyring)
{
	struct keyring_numbers numbers = {.next = next, .before = before};
	struct bundle b;
	struct err err;
	bundle_init(&b);
	assert_int_equal(
		keyring_load(place_path(&s->p, "certs"), TD, &numbers, ret_keyring, &b, &err), 0);
	item_is(&b, "key", "service/orders", orders);
	item_is(&b, "key", "service/web", web);
	bundle_done(&b);
}

/* A renewal of one must leave the others as they are: their sessions live as long as their keys.
 * And whoever knows an old number gets the old key's signatures, or none. */
static void only_new_keys_get_new_numbers(void **state)
{
	struct signing s;
	struct keyring *second, *third;
	struct err err;
	char ca[100], out[100];
	signing_begin(&s);
	snprintf(ca, sizeof(ca), "%s/ca", s.p.dir);
	snprintf(out, sizeof(out), "%s/certs", s.p.dir);
	assert_int_equal(ca_issue(ca, STR("service/web"), 3600, out, &err), 0);
	load_after(&s, s.k, 3, "1", "3", &second);
	assert_true(signs_as_orders(&s, s.k, 1));
	assert_true(signs_as_orders(&s, second, 1));
	assert_false(signs_as_orders(&s, second, 2));
	assert_false(signs_as_orders(&s, second, 3));

	assert_int_equal(ca_issue(ca, STR("service/orders"), 3600, out, &err), 0);
	load_after(&s, second, 4, "4", "3", &third);
	assert_false(signs_as_orders(&s, third, 1));
	assert_false(signs_as_orders(&s, third, 4));

	keyring_free(second);
	keyring_free(third);
	signing_end(&s);
}

static void nothing_else_is_signed(void **state)
{
	struct signing s;
	uint8_t input[256], signature[KEYRING_SIGNATURE_MAX];
	size_t n;
	signing_begin(&s);
	static const struct {
		const char *text;
		size_t hash_len;
	} shapes[] = {
		{SERVER_CONTEXT, 0},
		{SERVER_CONTEXT, 20},
		{SERVER_CONTEXT, 31},
		{SERVER_CONTEXT, 33},
		{SERVER_CONTEXT, 64},
		{"TLS 1.3, server certificateVerify", 32},
		{"TLS 1.3, server CertificateVerif", 33},
		{"TLS 1.2, server CertificateVerify", 32},
		{"", 32},
	};
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
		size_t len = input_make(input, shapes[i].text, shapes[i].hash_len);
		assert_int_equal(
			keyring_sign(s.k, 1, P256_SHA256, input, len, signature, &n), -EPERM);
	}
	size_t len = input_make(input, SERVER_CONTEXT, 32);
	for (size_t i = 0; i < 64; i++) {
		input[i] = 0x21;
		assert_int_equal(
			keyring_sign(s.k, 1, P256_SHA256, input, len, signature, &n), -EPERM);
		input[i] = ' ';
	}
	input[64 + strlen(SERVER_CONTEXT)] = 1;
	assert_int_equal(keyring_sign(s.k, 1, P256_SHA256, input, len, signature, &n), -EPERM);
	assert_int_equal(keyring_sign(s.k, 1, P256_SHA256, input, 0, signature, &n), -EPERM);
	signing_end(&s);
}

static void unknown_keys_and_algorithms_are_refused(void **state)
{
	struct signing s;
	uint8_t input[256], signature[KEYRING_SIGNATURE_MAX];
	size_t n, len = input_make(input, SERVER_CONTEXT, 32);
	signing_begin(&s);
	assert_int_equal(keyring_sign(s.k, 0, P256_SHA256, input, len, signature, &n), -ENOENT);
	assert_int_equal(keyring_sign(s.k, 3, P256_SHA256, input, len, signature, &n), -ENOENT);
	assert_int_equal(
		keyring_sign(s.k, UINT32_MAX, P256_SHA256, input, len, signature, &n), -ENOENT);
	assert_int_equal(keyring_sign(s.k, 1, 0x0804, input, len, signature, &n), -ENOTSUP);
	assert_int_equal(keyring_sign(s.k, 1, 0x0503, input, len, signature, &n), -ENOTSUP);
	signing_end(&s);
}

static void a_forked_child_has_no_keys(void **state)
{
	struct signing s;
	signing_begin(&s);
	pid_t child = fork();
	if (child == 0) {
		uint8_t input[256], signature[KEYRING_SIGNATURE_MAX];
		size_t n, len = input_make(input, SERVER_CONTEXT, 32);
		uint8_t digest[SHA256_DIGEST_LENGTH];
		SHA256(input, len, digest);
		/* Refused, or signed with nothing; never with the key. */
		_exit(keyring_sign(s.k, 1, P256_SHA256, input, len, signature, &n) == 0 &&
			ECDSA_verify(0, digest, sizeof(digest), signature, n,
				EVP_PKEY_get0_EC_KEY(s.public_key)));
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	signing_end(&s);
}

/* The pair that is shown to the store of the mesh's state: nobody's identity. */
static void a_pair_outside_the_directory_is_loaded_alone(void **state)
{
	struct place p;
	struct bundle b;
	struct keyring *k = NULL;
	struct err err;
	struct keyring_numbers next = {.next = 7};
	char cert[200], key[200];
	set_up(&p);
	snprintf(cert, sizeof(cert), "%s/ca/root.crt", p.dir); /* an authority's: no matter here */
	snprintf(key, sizeof(key), "%s/ca/root.key", p.dir);
	bundle_init(&b);
	assert_int_equal(keyring_load_pki(cert, key, &next, &k, &b, &err), 0);
	assert_int_equal(next.next, 8);
	char *chain = place_read(&p, "ca/root.crt");
	item_is(&b, "pki", "chain", chain);
	item_is(&b, "pki-key", "store", "7");
	assert_null(bundle_next(&b, "key", NULL));
	free(chain);
	keyring_free(k);
	bundle_done(&b);

	k = NULL;
	snprintf(key, sizeof(key), "%s/certs/web.key", p.dir);
	assert_int_equal(keyring_load_pki(cert, key, &next, &k, &b, &err), -EINVAL);
	assert_non_null(strstr(err.text, "not the key of the certificate"));
	chmod(key, 0644);
	assert_int_equal(keyring_load_pki(cert, key, &next, &k, &b, &err), -EACCES);
	assert_int_equal(keyring_load_pki("/nonexistent", key, &next, &k, &b, &err), -ENOENT);
	assert_int_equal(keyring_load_pki(key, key, &next, &k, &b, &err), -EINVAL);
	assert_null(k);
	assert_int_equal(next.next, 8);
	assert_int_equal(b.bytes, 0);
	place_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_directory_becomes_items_and_keys),
		cmocka_unit_test(a_machine_may_have_no_identity_yet),
		cmocka_unit_test(lists_of_revoked_certificates_become_items),
		cmocka_unit_test(refusals_name_the_file_and_change_nothing),
		cmocka_unit_test(a_missing_directory_is_named),
		cmocka_unit_test(a_pair_outside_the_directory_is_loaded_alone),
		cmocka_unit_test(certificate_verify_is_signed),
		cmocka_unit_test(only_new_keys_get_new_numbers),
		cmocka_unit_test(nothing_else_is_signed),
		cmocka_unit_test(unknown_keys_and_algorithms_are_refused),
		cmocka_unit_test(a_forked_child_has_no_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
