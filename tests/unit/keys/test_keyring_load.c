/* SPDX-License-Identifier: Apache-2.0 */
/* Certificate directories as other programs write them, and what is half-written in them. */
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
#include <openssl/bio.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TD	    STR("prod.example")
#define P256_SHA256 0x0403

/* Pairs of web and orders from an authority in "ca", at first in "out"; "certs" is empty. */
struct scene {
	struct place p;
	struct keyring *k;
	struct bundle b;
	struct keyring_faults faults;
	struct err err;
	struct keyring_numbers next;
};

static void issue(struct scene *s, const char *ca_name, const char *out_name)
{
	struct err err;
	char ca[100], out[100];
	snprintf(ca, sizeof(ca), "%s/%s", s->p.dir, ca_name);
	snprintf(out, sizeof(out), "%s/%s", s->p.dir, out_name);
	if (access(ca, F_OK) != 0)
		assert_int_equal(ca_init(ca, TD, 86400, &err), 0);
	assert_int_equal(ca_issue(ca, STR("service/web"), 3600, out, &err), 0);
	assert_int_equal(ca_issue(ca, STR("service/orders"), 3600, out, &err), 0);
}

static void scene_init(struct scene *s)
{
	*s = (struct scene){.next = {.next = 1}};
	place_init(&s->p);
	bundle_init(&s->b);
	issue(s, "ca", "out");
	mkdir(place_path(&s->p, "certs"), 0755);
}

static void scene_done(struct scene *s)
{
	keyring_free(s->k);
	bundle_done(&s->b);
	place_done(&s->p);
}

static void put(struct scene *s, const char *to, const char *text, mode_t mode)
{
	place_write(&s->p, to, str_of(text), mode);
}

static void copy(struct scene *s, const char *from, const char *to, mode_t mode)
{
	char *text = place_read(&s->p, from);
	put(s, to, text, mode);
	free(text);
}

/* Two files one after the other in a third. */
static void join(struct scene *s, const char *first, const char *second, const char *to)
{
	char *a = place_read(&s->p, first), *b = place_read(&s->p, second), text[16384];
	snprintf(text, sizeof(text), "%s%s", a, b);
	put(s, to, text, 0600);
	free(a);
	free(b);
}

static void directory(struct scene *s, const char *name)
{
	mkdir(place_path(&s->p, name), 0755);
}

static int load(struct scene *s)
{
	return keyring_load(place_path(&s->p, "certs"), TD, &s->next, &s->k, &s->b, &s->err);
}

typedef int (*read_how)(const char *dir, struct str trust_domain,
	const struct keyring_in_force *in_force, struct keyring_numbers *numbers,
	struct keyring **ret_keyring, struct bundle *b, struct keyring_faults *faults,
	struct err *err);

/* Reads the directory again, on what is in force. */
static int read_again(struct scene *s, read_how read)
{
	struct keyring *old = s->k;
	struct bundle fresh;
	bundle_init(&fresh);
	struct keyring *k = NULL;
	int r = read(place_path(&s->p, "certs"), TD, &(struct keyring_in_force){old, &s->b},
		&s->next, &k, &fresh, &s->faults, &s->err);
	if (r < 0) {
		bundle_done(&fresh);
		return r;
	}
	keyring_free(old);
	bundle_done(&s->b);
	s->k = k;
	bundle_init(&s->b);
	LIST_EACH (&fresh.items, it) {
		const struct bundle_item *item = CONTAINER_OF(it, struct bundle_item, node);
		assert_int_equal(bundle_add(&s->b, item->kind, item->name, item->text, &s->err), 0);
	}
	bundle_done(&fresh);
	return 0;
}

static int renew(struct scene *s)
{
	return read_again(s, keyring_renew);
}

static bool has(const struct scene *s, const char *identity)
{
	return bundle_find(&s->b, "chain", str_of(identity)) != NULL;
}

/* The identity's chain is the file's, and its key signs for it. */
static void in_force_is(struct scene *s, const char *identity, const char *cert_file)
{
	static const char context[] = "TLS 1.3, server CertificateVerify";
	uint8_t input[256], signature[KEYRING_SIGNATURE_MAX], digest[SHA256_DIGEST_LENGTH];
	size_t len = 64 + sizeof(context) + 32, signature_len = 0;
	uint64_t number;
	unsigned count;
	char *text = place_read(&s->p, cert_file);
	const struct bundle_item *chain = bundle_find(&s->b, "chain", str_of(identity)),
				 *key = bundle_find(&s->b, "key", str_of(identity));
	assert_true(chain && key && str_to_u64(key->text, &number));
	assert_string_equal(chain->text.at, text);
	memset(input, ' ', sizeof(input));
	memcpy(input + 64, context, sizeof(context));
	assert_int_equal(keyring_sign(s->k, (uint32_t)number, P256_SHA256, input, len, signature,
				 &signature_len),
		0);
	SHA256(input, len, digest);
	X509 *leaf = cert_from_pem(chain->text, &count);
	EVP_PKEY *public_key = X509_get_pubkey(leaf);
	assert_true(ECDSA_verify(0, digest, sizeof(digest), signature, signature_len,
		EVP_PKEY_get0_EC_KEY(public_key)));
	EVP_PKEY_free(public_key);
	X509_free(leaf);
	free(text);
}

static void nothing_secret(const struct scene *s)
{
	LIST_EACH (&s->b.items, it)
		assert_null(strstr(CONTAINER_OF(it, struct bundle_item, node)->text.at, "PRIVATE"));
}

static void fault_says(struct scene *s, const char *text)
{
	if (!strstr(s->faults.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, s->faults.text);
}

/* --- layouts --- */

static void sec1(struct scene *s, const char *from, const char *to)
{
	char *text = place_read(&s->p, from);
	EVP_PKEY *key = cert_key_from_pem(str_of(text));
	BIO *bio = BIO_new(BIO_s_mem());
	const uint8_t *bytes;
	size_t len;
	assert_true(PEM_write_bio_ECPrivateKey(
		bio, EVP_PKEY_get0_EC_KEY(key), NULL, NULL, 0, NULL, NULL));
	assert_true(BIO_mem_contents(bio, &bytes, &len));
	place_write(&s->p, to, (struct str){(const char *)bytes, len}, 0600);
	BIO_free(bio);
	EVP_PKEY_free(key);
	free(text);
}

static void pair_with_a_sec1_key(struct scene *s)
{
	copy(s, "out/roots.pem", "certs/roots.pem", 0644);
	copy(s, "out/web.crt", "certs/web.crt", 0644);
	sec1(s, "out/web.key", "certs/web.key");
}

static void key_before_chain_in_one_file(struct scene *s)
{
	copy(s, "out/roots.pem", "certs/roots.pem", 0644);
	join(s, "out/web.key", "out/web.crt", "certs/web.pem");
}

static void chain_before_key_in_one_file(struct scene *s)
{
	copy(s, "out/roots.pem", "certs/roots.pem", 0644);
	copy(s, "out/roots.pem", "certs/ca.pem", 0644); /* nobody's pair, and no fault */
	join(s, "out/web.crt", "out/web.key", "certs/web.pem");
}

static void secret(struct scene *s, const char *version)
{
	char name[100];
	directory(s, "certs/web");
	snprintf(name, sizeof(name), "certs/web/%s", version);
	directory(s, name);
	snprintf(name, sizeof(name), "certs/web/%s/tls.crt", version);
	copy(s, "out/web.crt", name, 0644);
	snprintf(name, sizeof(name), "certs/web/%s/tls.key", version);
	copy(s, "out/web.key", name, 0600);
	snprintf(name, sizeof(name), "certs/web/%s/ca.crt", version);
	copy(s, "out/roots.pem", name, 0644);
	unlink(place_path(&s->p, "certs/web/..new"));
	assert_int_equal(symlink(version, place_path(&s->p, "certs/web/..new")), 0);
	assert_int_equal(
		rename(place_path(&s->p, "certs/web/..new"), place_path(&s->p, "certs/web/..data")),
		0);
	(void)!symlink("..data/tls.crt", place_path(&s->p, "certs/web/tls.crt"));
	(void)!symlink("..data/tls.key", place_path(&s->p, "certs/web/tls.key"));
	(void)!symlink("..data/ca.crt", place_path(&s->p, "certs/web/ca.crt"));
}

static void secret_behind_links(struct scene *s)
{
	secret(s, "..2026_11_27");
}

static void spire(struct scene *s, const char *bundle_name)
{
	directory(s, "certs/web");
	copy(s, "out/web.crt", "certs/web/svid.pem", 0644);
	copy(s, "out/web.key", "certs/web/svid_key.pem", 0600);
	copy(s, "out/roots.pem", bundle_name, 0644);
}

static void spire_directory(struct scene *s)
{
	spire(s, "certs/web/bundle.pem");
}

static void spire_directory_other_name(struct scene *s)
{
	spire(s, "certs/web/svid_bundle.pem");
}

static void key_in_the_chain_file(struct scene *s)
{
	copy(s, "out/roots.pem", "certs/roots.pem", 0644);
	join(s, "out/web.crt", "out/web.key", "certs/web.crt");
	copy(s, "out/web.key", "certs/web.key", 0600);
}

static const struct {
	const char *name;
	void (*make)(struct scene *s);
} layouts[] = {
	{"SEC1", pair_with_a_sec1_key},
	{"one file, key first", key_before_chain_in_one_file},
	{"one file, chain first", chain_before_key_in_one_file},
	{"secret", secret_behind_links},
	{"SPIRE", spire_directory},
	{"SPIRE, other name", spire_directory_other_name},
	{"key beside the chain", key_in_the_chain_file},
};

static void each_layout_is_read(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(layouts); i++) {
		struct scene s;
		scene_init(&s);
		layouts[i].make(&s);
		if (load(&s) < 0)
			fail_msg("%s: %s", layouts[i].name, s.err.text);
		assert_int_equal(keyring_key_count(s.k), 1);
		in_force_is(&s, "service/web", "out/web.crt");
		char *roots = place_read(&s.p, "out/roots.pem");
		assert_string_equal(bundle_find(&s.b, "roots", TD)->text.at, roots);
		free(roots);
		nothing_secret(&s);
		scene_done(&s);
	}
}

static void layouts_stand_beside_each_other(void **state)
{
	struct scene s;
	scene_init(&s);
	secret(&s, "..1");
	copy(&s, "out/orders.crt", "certs/orders.crt", 0644);
	copy(&s, "out/orders.key", "certs/orders.key", 0600);
	assert_int_equal(load(&s), 0);
	assert_int_equal(keyring_key_count(s.k), 2);
	in_force_is(&s, "service/web", "out/web.crt");
	in_force_is(&s, "service/orders", "out/orders.crt");
	scene_done(&s);
}

static void what_is_no_pair_is_left_alone(void **state)
{
	struct scene s;
	scene_init(&s);
	copy(&s, "out/roots.pem", "certs/roots.pem", 0644);
	copy(&s, "out/web.key", "certs/web.key", 0600); /* its certificate is still to come */
	copy(&s, "out/orders.key", "certs/orders.pem", 0600);
	directory(&s, "certs/lost+found");
	directory(&s, "certs/web");
	copy(&s, "out/web.key", "certs/web/tls.key", 0600);
	assert_int_equal(load(&s), 0);
	assert_int_equal(keyring_key_count(s.k), 0);
	scene_done(&s);
}

/* --- refusals at a start --- */

static void a_combined_file_is_a_key_file(void **state)
{
	struct scene s;
	scene_init(&s);
	key_before_chain_in_one_file(&s);
	chmod(place_path(&s.p, "certs/web.pem"), 0644);
	assert_int_equal(load(&s), -EACCES);
	assert_non_null(strstr(s.err.text, "chmod 600"));
	scene_done(&s);
}

static void an_identity_in_two_layouts_is_one_too_many(void **state)
{
	struct scene s;
	scene_init(&s);
	pair_with_a_sec1_key(&s);
	secret(&s, "..1");
	assert_int_equal(load(&s), -EEXIST);
	assert_non_null(strstr(s.err.text, "web"));
	scene_done(&s);
}

static void anchors_that_differ_need_somebody_to_decide(void **state)
{
	struct scene s;
	scene_init(&s);
	secret(&s, "..1");
	issue(&s, "ca2", "out2");
	directory(&s, "certs/orders");
	copy(&s, "out2/orders.crt", "certs/orders/svid.pem", 0644);
	copy(&s, "out2/orders.key", "certs/orders/svid_key.pem", 0600);
	copy(&s, "out2/roots.pem", "certs/orders/bundle.pem", 0644);
	assert_int_equal(load(&s), -EINVAL);
	assert_non_null(strstr(s.err.text, "other trust anchors"));
	assert_non_null(strstr(s.err.text, "roots.pem"));

	/* The same ones in another order are the same. */
	join(&s, "out/roots.pem", "out2/roots.pem", "certs/orders/bundle.pem");
	unlink(place_path(&s.p, "certs/web/ca.crt"));
	join(&s, "out2/roots.pem", "out/roots.pem", "certs/web/ca.crt");
	assert_int_equal(load(&s), 0);
	scene_done(&s);

	/* roots.pem decides. */
	scene_init(&s);
	secret(&s, "..1");
	issue(&s, "ca2", "out2");
	copy(&s, "out2/roots.pem", "certs/roots.pem", 0644);
	assert_int_equal(load(&s), 0);
	char *roots = place_read(&s.p, "out2/roots.pem");
	assert_string_equal(bundle_find(&s.b, "roots", TD)->text.at, roots);
	free(roots);
	scene_done(&s);
}

static void no_anchors_at_all(void **state)
{
	struct scene s;
	scene_init(&s);
	copy(&s, "out/web.crt", "certs/web.crt", 0644);
	copy(&s, "out/web.key", "certs/web.key", 0600);
	assert_int_equal(load(&s), -ENOENT);
	assert_non_null(strstr(s.err.text, "roots.pem"));
	copy(&s, "out/web.crt", "certs/roots.pem", 0644);
	assert_int_equal(load(&s), -EINVAL);
	assert_non_null(strstr(s.err.text, "no authority's"));
	scene_done(&s);
}

/* --- renewing --- */

/* web and orders in force, from "out"; then new ones are in "out". */
static void in_force(struct scene *s)
{
	scene_init(s);
	copy(s, "out/roots.pem", "certs/roots.pem", 0644);
	copy(s, "out/web.crt", "certs/web.crt", 0644);
	copy(s, "out/web.key", "certs/web.key", 0600);
	copy(s, "out/orders.crt", "certs/orders.crt", 0644);
	copy(s, "out/orders.key", "certs/orders.key", 0600);
	copy(s, "out/web.crt", "old-web.crt", 0644);
	copy(s, "out/roots.pem", "old-roots.pem", 0644);
	assert_int_equal(load(s), 0);
	issue(s, "ca", "out");
	copy(s, "out/orders.crt", "certs/orders.crt", 0644);
	copy(s, "out/orders.key", "certs/orders.key", 0600);
}

static void key_only(struct scene *s)
{
	copy(s, "out/web.key", "certs/web.key", 0600);
}

static void chain_only(struct scene *s)
{
	copy(s, "out/web.crt", "certs/web.crt", 0644);
}

static void chain_gone(struct scene *s)
{
	unlink(place_path(&s->p, "certs/web.crt"));
}

static void key_gone(struct scene *s)
{
	unlink(place_path(&s->p, "certs/web.key"));
}

static void chain_empty(struct scene *s)
{
	put(s, "certs/web.crt", "", 0644);
}

/* The first half of a new file. */
static void half(struct scene *s, const char *from, const char *to, mode_t mode)
{
	char *text = place_read(&s->p, from);
	text[strlen(text) / 2] = '\0';
	put(s, to, text, mode);
	free(text);
}

static void chain_half(struct scene *s)
{
	half(s, "out/web.crt", "certs/web.crt", 0644);
	copy(s, "out/web.key", "certs/web.key", 0600);
}

static void key_half(struct scene *s)
{
	copy(s, "out/web.crt", "certs/web.crt", 0644);
	half(s, "out/web.key", "certs/web.key", 0600);
}

static void key_for_all(struct scene *s)
{
	copy(s, "out/web.crt", "certs/web.crt", 0644);
	copy(s, "out/web.key", "certs/web.key", 0644);
	chmod(place_path(&s->p, "certs/web.key"), 0644);
}

/* Whole, and leading to none of the anchors: as one whose intermediates are still to come. */
static void chain_of_nobody(struct scene *s)
{
	issue(s, "ca3", "out3");
	copy(s, "out3/web.crt", "certs/web.crt", 0644);
	copy(s, "out3/web.key", "certs/web.key", 0600);
}

static const struct {
	const char *name;
	void (*spoil)(struct scene *s);
	const char *text;
} halves[] = {
	{"key before chain", key_only, "certs/web.key: not the key of"},
	{"chain before key", chain_only, "certs/web.key: not the key of"},
	{"chain gone", chain_gone, "certs/web.crt: No such file"},
	{"key gone", key_gone, "certs/web.key: No such file"},
	{"chain empty", chain_empty, "certs/web.crt: no certificate"},
	{"chain half", chain_half, "certs/web.crt: a broken certificate"},
	{"key half", key_half, "certs/web.key: no readable private key"},
	{"key for all", key_for_all, "chmod 600"},
	{"chain to nowhere", chain_of_nobody, "leads to none of the trust anchors"},
};

static void half_written_pairs_stay_as_they_are_in_force(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(halves); i++) {
		struct scene s;
		in_force(&s);
		halves[i].spoil(&s);
		for (int again = 0; again < 2; again++) {
			assert_int_equal(renew(&s), 0);
			if (s.faults.count != 1 || !strstr(s.faults.text, halves[i].text) ||
				!strstr(s.faults.text, "the certificate in force stays"))
				fail_msg("%s: %u: %s", halves[i].name, s.faults.count,
					s.faults.text);
			in_force_is(&s, "service/web", "old-web.crt");
			in_force_is(&s, "service/orders", "out/orders.crt");
		}
		/* And when it is whole: */
		copy(&s, "out/web.crt", "certs/web.crt", 0644);
		unlink(place_path(&s.p, "certs/web.key"));
		copy(&s, "out/web.key", "certs/web.key", 0600);
		assert_int_equal(renew(&s), 0);
		assert_int_equal(s.faults.count, 0);
		in_force_is(&s, "service/web", "out/web.crt");
		scene_done(&s);
	}
}

static void a_swapped_link_renews(void **state)
{
	struct scene s;
	scene_init(&s);
	secret(&s, "..1");
	assert_int_equal(load(&s), 0);
	copy(&s, "out/web.crt", "old-web.crt", 0644);
	issue(&s, "ca", "out");
	secret(&s, "..2");
	assert_int_equal(renew(&s), 0);
	assert_int_equal(s.faults.count, 0);
	in_force_is(&s, "service/web", "out/web.crt");

	/* A link that leads nowhere is a file that is still to come. */
	unlink(place_path(&s.p, "certs/web/..data"));
	assert_int_equal(renew(&s), 0);
	assert_int_equal(s.faults.count, 2);
	fault_says(&s, "what is in force stays");
	fault_says(&s, "the certificate in force stays");
	in_force_is(&s, "service/web", "out/web.crt");
	scene_done(&s);
}

static void a_combined_file_in_pieces_stays(void **state)
{
	struct scene s;
	scene_init(&s);
	key_before_chain_in_one_file(&s);
	assert_int_equal(load(&s), 0);
	copy(&s, "out/web.crt", "old-web.crt", 0644);
	issue(&s, "ca", "out");
	copy(&s, "out/web.key", "certs/web.pem", 0600);
	assert_int_equal(renew(&s), 0);
	fault_says(&s, "web.pem: not both a private key and a certificate");
	in_force_is(&s, "service/web", "old-web.crt");
	join(&s, "out/web.key", "out/web.crt", "certs/web.pem");
	assert_int_equal(renew(&s), 0);
	in_force_is(&s, "service/web", "out/web.crt");
	scene_done(&s);
}

static void what_was_removed_is_gone(void **state)
{
	struct scene s;
	in_force(&s);
	unlink(place_path(&s.p, "certs/web.crt"));
	unlink(place_path(&s.p, "certs/web.key"));
	assert_int_equal(renew(&s), 0);
	assert_int_equal(s.faults.count, 0);
	assert_false(has(&s, "service/web"));
	assert_true(has(&s, "service/orders"));
	scene_done(&s);
}

static void a_new_identity_that_cannot_be_used_is_left_out(void **state)
{
	struct scene s;
	in_force(&s);
	copy(&s, "out/web.crt", "certs/web.crt", 0644);
	copy(&s, "out/web.key", "certs/web.key", 0600);
	put(&s, "certs/stock.crt", "not yet", 0644);
	assert_int_equal(renew(&s), 0);
	fault_says(&s, "stock.crt: no certificate in it; this identity is left out");
	in_force_is(&s, "service/web", "out/web.crt");
	scene_done(&s);
}

/* The old pair may not come back under another file's new one. */
static void an_identity_that_moved_is_not_doubled(void **state)
{
	struct scene s;
	in_force(&s);
	put(&s, "certs/web.crt", "", 0644);
	copy(&s, "out/web.crt", "certs/a.crt", 0644);
	copy(&s, "out/web.key", "certs/a.key", 0600);
	assert_int_equal(renew(&s), 0);
	assert_int_equal(s.faults.count, 1);
	assert_int_equal(keyring_key_count(s.k), 2);
	in_force_is(&s, "service/web", "out/web.crt");
	scene_done(&s);
}

static void anchors_that_cannot_be_used_stay(void **state)
{
	static const char *const texts[] = {"", "-----BEGIN CERTIFICATE-----\nMIIB\n", NULL};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct scene s;
		in_force(&s);
		if (texts[i])
			put(&s, "certs/roots.pem", texts[i], 0644);
		else
			unlink(place_path(&s.p, "certs/roots.pem"));
		directory(&s, "certs/roots");
		put(&s, "certs/roots/far.example.pem", "half", 0644);
		assert_int_equal(renew(&s), 0);
		assert_int_equal(s.faults.count, 2);
		fault_says(&s, "what is in force stays");
		fault_says(&s, "far.example.pem");
		char *roots = place_read(&s.p, "old-roots.pem");
		assert_string_equal(bundle_find(&s.b, "roots", TD)->text.at, roots);
		assert_null(bundle_find(&s.b, "roots", STR("far.example")));
		in_force_is(&s, "service/orders", "out/orders.crt");
		free(roots);
		scene_done(&s);
	}
}

static int64_t now_s(void)
{
	return (int64_t)(clock_wall_ns() / CLOCK_S);
}

/* web's pair anew, with dates so many seconds from now, in the place of the one before. */
static void put_dated(struct scene *s, int64_t from_s, int64_t until_s)
{
	unsigned count;
	struct str key_text, chain;
	char *signer_key = place_read(&s->p, "ca/issuer.key");
	char *signer = place_read(&s->p, "ca/issuer.crt");
	BIO *bio = BIO_new_mem_buf(signer_key, -1);
	EVP_PKEY *key = cert_key_new();
	X509 *leaf;
	struct cert_issuer by = {cert_from_pem(str_of(signer), &count),
		PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL)};
	struct cert_life life = {now_s(), until_s, -from_s};
	assert_int_equal(cert_leaf_new(key, STR("spiffe://prod.example/service/web"), &by, life,
				 &leaf, &s->err),
		0);
	assert_int_equal(cert_pem(leaf, &chain), 0);
	assert_int_equal(cert_key_pem(key, &key_text), 0);
	place_write(&s->p, "signer.crt", str_of(signer), 0644);
	place_write(&s->p, "leaf.crt", chain, 0644);
	join(s, "leaf.crt", "signer.crt", "out/web.crt");
	copy(s, "out/web.crt", "certs/web.crt", 0644);
	place_write(&s->p, "certs/web.key", key_text, 0600);
	file_text_free(chain);
	file_text_free(key_text);
	X509_free(leaf);
	X509_free(by.cert);
	EVP_PKEY_free(by.key);
	EVP_PKEY_free(key);
	BIO_free(bio);
	free(signer);
	free(signer_key);
}

static const read_how how_again[] = {keyring_renew, keyring_reload};

/* The one that is good stays; another identity is renewed meanwhile. */
static void a_certificate_that_is_not_valid_yet_waits(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(how_again); i++) {
		struct scene s;
		in_force(&s);
		int64_t before_s = now_s();
		put_dated(&s, 100, 3600);
		assert_int_equal(read_again(&s, how_again[i]), 0);
		assert_int_equal(s.faults.count, 1);
		fault_says(&s, "web.crt: not valid before ");
		fault_says(&s, "UTC; the certificate in force stays");
		assert_in_range(s.faults.again_s, before_s + 90, now_s() + 90);
		in_force_is(&s, "service/web", "old-web.crt");
		in_force_is(&s, "service/orders", "out/orders.crt");
		/* and again, as it is still the same; then it is valid, for clocks differ a little
		 */
		assert_int_equal(read_again(&s, how_again[i]), 0);
		in_force_is(&s, "service/web", "old-web.crt");
		put_dated(&s, 9, 3600);
		assert_int_equal(read_again(&s, how_again[i]), 0);
		assert_int_equal(s.faults.count, 0);
		assert_int_equal(s.faults.again_s, 0);
		in_force_is(&s, "service/web", "out/web.crt");
		scene_done(&s);
	}
}

static void an_expired_certificate_takes_no_place(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(how_again); i++) {
		struct scene s;
		in_force(&s);
		put_dated(&s, -100, -1);
		assert_int_equal(read_again(&s, how_again[i]), 0);
		assert_int_equal(s.faults.count, 1);
		fault_says(&s, "web.crt: has expired on ");
		assert_int_equal(s.faults.again_s, 0); /* never by itself */
		in_force_is(&s, "service/web", "old-web.crt");
		scene_done(&s);
	}
}

/* Then it is as good as the other, and what was put there counts. */
static void a_bad_date_takes_the_place_of_a_bad_date(void **state)
{
	struct scene s;
	scene_init(&s);
	copy(&s, "out/roots.pem", "certs/roots.pem", 0644);
	put_dated(&s, -100, -1);
	assert_int_equal(load(&s), 0);
	put_dated(&s, 100, 3600);
	assert_int_equal(renew(&s), 0);
	assert_int_equal(s.faults.count, 0);
	in_force_is(&s, "service/web", "out/web.crt");
	scene_done(&s);
}

/* Whoever asks for it is told of every other fault, and nothing changes. */
static void a_reload_wants_all_else_whole(void **state)
{
	struct scene s;
	in_force(&s);
	put_dated(&s, 100, 3600);
	put(&s, "certs/orders.crt", "half", 0644);
	assert_true(read_again(&s, keyring_reload) < 0);
	assert_non_null(strstr(s.err.text, "orders.crt"));
	in_force_is(&s, "service/web", "old-web.crt");
	scene_done(&s);
}

static void many_faults_fit_somehow(void **state)
{
	struct scene s;
	in_force(&s);
	for (int i = 0; i < 100; i++) {
		char name[64];
		snprintf(name, sizeof(name), "certs/bad-%d.crt", i);
		put(&s, name, "x", 0644);
	}
	assert_int_equal(renew(&s), 0);
	assert_int_equal(s.faults.count, 100);
	assert_true(strlen(s.faults.text) < sizeof(s.faults.text));
	scene_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_layout_is_read),
		cmocka_unit_test(layouts_stand_beside_each_other),
		cmocka_unit_test(what_is_no_pair_is_left_alone),
		cmocka_unit_test(a_combined_file_is_a_key_file),
		cmocka_unit_test(an_identity_in_two_layouts_is_one_too_many),
		cmocka_unit_test(anchors_that_differ_need_somebody_to_decide),
		cmocka_unit_test(no_anchors_at_all),
		cmocka_unit_test(half_written_pairs_stay_as_they_are_in_force),
		cmocka_unit_test(a_swapped_link_renews),
		cmocka_unit_test(a_combined_file_in_pieces_stays),
		cmocka_unit_test(what_was_removed_is_gone),
		cmocka_unit_test(a_new_identity_that_cannot_be_used_is_left_out),
		cmocka_unit_test(an_identity_that_moved_is_not_doubled),
		cmocka_unit_test(anchors_that_cannot_be_used_stay),
		cmocka_unit_test(a_certificate_that_is_not_valid_yet_waits),
		cmocka_unit_test(an_expired_certificate_takes_no_place),
		cmocka_unit_test(a_bad_date_takes_the_place_of_a_bad_date),
		cmocka_unit_test(a_reload_wants_all_else_whole),
		cmocka_unit_test(many_faults_fit_somehow),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
