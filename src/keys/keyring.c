/* SPDX-License-Identifier: Apache-2.0 */
/* Loading is all or nothing: everything is read and checked into a bundle of its own, and only then
 * handed on.
 *
 * What is kept of a key is its 32-byte scalar, in pages that are locked, left out of core dumps and
 * empty in a forked child (the proxy process never holds a key, not even between fork and exec).
 * For a signature the scalar is made a BoringSSL key for as long as that takes; BoringSSL
 * overwrites what it frees. */
#include "keyring_private.h"

#include "keys/cert.h"
#include "keys/chain.h"
#include "keys/file.h"
#include "tls/spiffe.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define KEYRING_PAIRS_MAX	  4096
#define KEYRING_ID_MAX		  2049	  /* SPIFFE-ID 2.3: 2048 bytes; and the NUL */
#define KEYRING_ECDSA_P256_SHA256 0x0403u /* RFC 8446 4.2.3 */

/* --- memory --- */

int keyring_new(uint32_t count, struct keyring **ret_keyring, struct err *err)
{
	struct keyring *k = calloc(1, sizeof(*k));
	if (!k)
		return err_set(err, ENOMEM, "out of memory");
	k->scalars_size = (size_t)(count ? count : 1) * KEYRING_SCALAR_BYTES;
	k->scalars = mmap(
		NULL, k->scalars_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (k->scalars == MAP_FAILED) {
		free(k);
		return err_set(err, ENOMEM, "out of memory");
	}
	/* Best effort: a machine without swap or dumps has nothing to gain, so no reason to stop.
	 */
	(void)mlock(k->scalars, k->scalars_size);
	(void)madvise(k->scalars, k->scalars_size, MADV_DONTDUMP);
	(void)madvise(k->scalars, k->scalars_size, MADV_WIPEONFORK);
	*ret_keyring = k;
	return 0;
}

void keyring_free(struct keyring *k)
{
	if (!k)
		return;
	explicit_bzero(k->scalars, k->scalars_size);
	munmap(k->scalars, k->scalars_size);
	free(k);
}

uint32_t keyring_key_count(const struct keyring *k)
{
	return k->count;
}

/* --- loading --- */

int keyring_path(
	char path[PATH_MAX], const char *dir, struct str name, const char *ending, struct err *err)
{
	int n = snprintf(path, PATH_MAX, "%s/" STR_FMT "%s", dir, STR_ARG(name), ending);
	if (n < 0 || n >= PATH_MAX)
		return err_set(err, ENAMETOOLONG, "%s: name too long", dir);
	return 0;
}

static bool keyring_ends(const char *name, const char *ending)
{
	size_t len = strlen(name), ending_len = strlen(ending);
	return name[0] != '.' && len > ending_len && strcmp(name + len - ending_len, ending) == 0;
}

static int keyring_is_cert(const struct dirent *entry)
{
	return keyring_ends(entry->d_name, ".crt");
}

int keyring_is_pem(const struct dirent *entry)
{
	return keyring_ends(entry->d_name, ".pem");
}

struct str keyring_stem(const struct dirent *entry)
{
	return (struct str){entry->d_name, strlen(entry->d_name) - 4};
}

void keyring_entries_free(struct dirent **entries, int count)
{
	for (int i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
}

/* The leaf's identity path, checked against our trust domain; points into `id`. */
static int keyring_leaf_path(const struct keyring_load *l, const char *file, X509 *leaf,
	char id[KEYRING_ID_MAX], struct str *ret_path, struct err *err)
{
	struct str trust_domain;
	if (X509_check_ca(leaf))
		return err_set(err, EINVAL,
			"%s: is an authority's certificate, not a service's; keep it elsewhere",
			file);
	int r = cert_uri(leaf, id, KEYRING_ID_MAX);
	if (r == -ENOENT || r == -ENOTUNIQ)
		return err_set(err, EINVAL,
			"%s: has %s URI in its SAN; a SPIFFE leaf has exactly one", file,
			r == -ENOENT ? "no" : "more than one");
	if (r < 0 || !spiffe_parse(str_of(id), &trust_domain, ret_path))
		return err_set(
			err, EINVAL, "%s: its URI is no valid SPIFFE id of a workload", file);
	if (!str_eq(trust_domain, l->trust_domain))
		return err_set(err, EINVAL,
			"%s: is for trust domain " STR_FMT ", this machine's is " STR_FMT, file,
			STR_ARG(trust_domain), STR_ARG(l->trust_domain));
	return 0;
}

static int keyring_check_twice(
	struct keyring_load *l, const char *file, struct str path, struct err *err)
{
	const struct bundle_item *item = NULL;
	for (int i = 0; (item = bundle_next(&l->staged, "chain", item)); i++) {
		if (str_eq(item->name, path))
			return err_set(err, EEXIST,
				"%s: spiffe://" STR_FMT "/" STR_FMT " is in %s too", file,
				STR_ARG(l->trust_domain), STR_ARG(path), l->entries[i]->d_name);
	}
	return 0;
}

int keyring_keep_key(
	struct keyring_load *l, const char *file, X509 *leaf, struct str text, struct err *err)
{
	EVP_PKEY *key = cert_key_from_pem(text);
	int r = 0;
	if (!key)
		r = err_set(
			err, EINVAL, "%s: no readable private key (PEM, without a password)", file);
	else if (!cert_key_is_p256(key))
		r = err_set(err, EINVAL, "%s: not a P-256 key, and no other kind is taken", file);
	else if (!X509_check_private_key(leaf, key))
		r = err_set(err, EINVAL, "%s: not the key of the certificate beside it", file);
	else if (!BN_bn2bin_padded(l->k->scalars[l->k->count], KEYRING_SCALAR_BYTES,
			 EC_KEY_get0_private_key(EVP_PKEY_get0_EC_KEY(key))))
		r = err_set(err, EINVAL, "%s: not a private key", file);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return r;
}

static int keyring_stage(struct keyring_load *l, struct str path, struct str chain, struct err *err)
{
	char number[16];
	snprintf(number, sizeof(number), "%u", l->k->first_number + l->k->count);
	int r = bundle_add(&l->staged, STR("chain"), path, chain, err);
	if (r == 0)
		r = bundle_add(&l->staged, STR("key"), path, str_of(number), err);
	if (r == 0)
		l->k->count++;
	return r;
}

static int keyring_load_leaf(struct keyring_load *l, const char *cert_file, const char *key_file,
	struct str chain, X509 *leaf, struct err *err)
{
	char id[KEYRING_ID_MAX];
	struct str path, key_text = STR_NONE;
	int r = keyring_leaf_path(l, cert_file, leaf, id, &path, err);
	if (r == 0)
		r = keyring_check_twice(l, cert_file, path, err);
	if (r == 0)
		r = file_read(key_file, FILE_SECRET, &key_text, err);
	if (r == 0)
		r = keyring_keep_key(l, key_file, leaf, key_text, err);
	file_text_free(key_text);
	return r < 0 ? r : keyring_stage(l, path, chain, err);
}

static int keyring_load_pair(struct keyring_load *l, struct str name, struct err *err)
{
	char cert_file[PATH_MAX], key_file[PATH_MAX];
	struct str chain;
	unsigned count = 0;
	int r = keyring_path(cert_file, l->dir, name, ".crt", err);
	if (r == 0)
		r = keyring_path(key_file, l->dir, name, ".key", err);
	if (r == 0)
		r = file_read(cert_file, FILE_PUBLIC, &chain, err);
	if (r < 0)
		return r;
	X509 *leaf = cert_from_pem(chain, &count);
	r = leaf ? keyring_load_leaf(l, cert_file, key_file, chain, leaf, err)
		 : err_set(err, EINVAL, "%s: no certificate in it, or a broken one", cert_file);
	X509_free(leaf);
	file_text_free(chain);
	return r;
}

static int keyring_load_roots(
	struct keyring_load *l, const char *file, struct str trust_domain, struct err *err)
{
	struct str text;
	unsigned count = 0;
	int r = file_read(file, FILE_PUBLIC, &text, err);
	if (r < 0)
		return r;
	X509 *first = cert_from_pem(text, &count);
	r = first ? bundle_add(&l->staged, STR("roots"), trust_domain, text, err)
		  : err_set(err, EINVAL, "%s: no certificate in it, or a broken one", file);
	X509_free(first);
	file_text_free(text);
	return r;
}

/* No file, no list. */
static int keyring_load_crls(
	struct keyring_load *l, const char *file, struct str trust_domain, struct err *err)
{
	struct str text, crls;
	struct err why;
	int r = file_read(file, FILE_PUBLIC, &text, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = chain_crls(text, &crls, &why);
	if (r < 0)
		r = err_set(err, -r, "%s: %s", file, why.text);
	else if (crls.len > 0)
		r = bundle_add(&l->staged, STR("crl"), trust_domain, crls, err);
	if (r == 0)
		file_text_free(crls);
	file_text_free(text);
	return r;
}

/* The files <trust domain>.pem of a directory of other trust domains' anchors, or of lists; without
 * it there are none. */
static int keyring_load_foreign(
	struct keyring_load *l, const char *name, const char *own, struct err *err)
{
	char dir[PATH_MAX], file[PATH_MAX];
	struct dirent **entries;
	int r = keyring_path(dir, l->dir, str_of(name), "", err);
	if (r < 0)
		return r;
	int count = scandir(dir, &entries, keyring_is_pem, alphasort);
	if (count < 0)
		return errno == ENOENT ? 0 : err_set(err, errno, "%s: %m", dir);
	for (int i = 0; i < count && r == 0; i++) {
		struct str trust_domain = keyring_stem(entries[i]);
		r = keyring_path(file, dir, trust_domain, ".pem", err);
		if (r == 0 && (!spiffe_trust_domain_valid(trust_domain) ||
				      str_eq(trust_domain, l->trust_domain)))
			r = err_set(err, EINVAL,
				"%s: not named after a foreign trust domain (our own is in %s)",
				file, own);
		if (r == 0)
			r = strcmp(name, "roots") == 0
				    ? keyring_load_roots(l, file, trust_domain, err)
				    : keyring_load_crls(l, file, trust_domain, err);
	}
	keyring_entries_free(entries, count);
	return r;
}

static int keyring_load_all(struct keyring_load *l, struct err *err)
{
	char file[PATH_MAX];
	int r = keyring_path(file, l->dir, STR("roots"), ".pem", err);
	if (r == 0)
		r = keyring_load_roots(l, file, l->trust_domain, err);
	if (r == 0)
		r = keyring_load_foreign(l, "roots", "roots.pem", err);
	if (r == 0)
		r = keyring_path(file, l->dir, STR("crl"), ".pem", err);
	if (r == 0)
		r = keyring_load_crls(l, file, l->trust_domain, err);
	if (r == 0)
		r = keyring_load_foreign(l, "crls", "crl.pem", err);
	for (int i = 0; i < l->entry_count && r == 0; i++)
		r = keyring_load_pair(l, keyring_stem(l->entries[i]), err);
	return r;
}

int keyring_hand_on(const struct bundle *staged, struct bundle *b, struct err *err)
{
	LIST_EACH (&staged->items, it) {
		const struct bundle_item *item = CONTAINER_OF(it, struct bundle_item, node);
		int r = bundle_add(b, item->kind, item->name, item->text, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int keyring_load(const char *dir, struct str trust_domain, uint32_t *next_key_number,
	struct keyring **ret_keyring, struct bundle *b, struct err *err)
{
	struct keyring_load l = {.dir = dir, .trust_domain = trust_domain};
	l.entry_count = scandir(dir, &l.entries, keyring_is_cert, alphasort);
	if (l.entry_count < 0)
		return err_set(err, errno, "%s: %m", dir);
	int r = l.entry_count <= KEYRING_PAIRS_MAX
			? keyring_new((uint32_t)l.entry_count, &l.k, err)
			: err_set(err, E2BIG, "%s: more than %d certificates", dir,
				  KEYRING_PAIRS_MAX);
	bundle_init(&l.staged);
	if (r == 0) {
		l.k->first_number = *next_key_number;
		r = keyring_load_all(&l, err);
	}
	if (r == 0)
		r = keyring_hand_on(&l.staged, b, err);
	bundle_done(&l.staged);
	keyring_entries_free(l.entries, l.entry_count);
	if (r < 0) {
		keyring_free(l.k);
		return r;
	}
	*next_key_number += l.k->count;
	*ret_keyring = l.k;
	return 0;
}

/* --- a pair outside the directory --- */

static int keyring_pki_stage(struct keyring_load *l, struct str chain, struct err *err)
{
	char number[16];
	snprintf(number, sizeof(number), "%u", l->k->first_number);
	int r = bundle_add(&l->staged, STR("pki"), STR("chain"), chain, err);
	if (r == 0)
		r = bundle_add(&l->staged, STR("pki-key"), STR("store"), str_of(number), err);
	if (r == 0)
		l->k->count = 1;
	return r;
}

static int keyring_pki_pair(
	struct keyring_load *l, const char *cert_file, const char *key_file, struct err *err)
{
	struct str chain = STR_NONE, key_text = STR_NONE;
	unsigned count = 0;
	int r = file_read(cert_file, FILE_PUBLIC, &chain, err);
	if (r < 0)
		return r;
	X509 *leaf = cert_from_pem(chain, &count);
	if (!leaf)
		r = err_set(err, EINVAL, "%s: no certificate in it, or a broken one", cert_file);
	if (r == 0)
		r = file_read(key_file, FILE_SECRET, &key_text, err);
	if (r == 0)
		r = keyring_keep_key(l, key_file, leaf, key_text, err);
	if (r == 0)
		r = keyring_pki_stage(l, chain, err);
	X509_free(leaf);
	file_text_free(key_text);
	file_text_free(chain);
	return r;
}

int keyring_load_pki(const char *cert_file, const char *key_file, uint32_t *next_key_number,
	struct keyring **ret_keyring, struct bundle *b, struct err *err)
{
	struct keyring_load l = {0};
	int r = keyring_new(1, &l.k, err);
	if (r < 0)
		return r;
	l.k->first_number = *next_key_number;
	bundle_init(&l.staged);
	r = keyring_pki_pair(&l, cert_file, key_file, err);
	if (r == 0)
		r = keyring_hand_on(&l.staged, b, err);
	bundle_done(&l.staged);
	if (r < 0) {
		keyring_free(l.k);
		return r;
	}
	*next_key_number += l.k->count;
	*ret_keyring = l.k;
	return 0;
}

/* --- signing --- */

/* RFC 8446 4.4.3: 64 spaces, the context, a zero, the transcript's hash (SHA-256 or SHA-384). Made
 * so that no other protocol's signed bytes look like it: a stolen proxy cannot use the key for
 * certificates, JWTs or TLS 1.2. */
static bool keyring_is_certificate_verify(const uint8_t *bytes, size_t len)
{
	static const char *const contexts[] = {
		"TLS 1.3, server CertificateVerify", "TLS 1.3, client CertificateVerify"};
	for (size_t i = 0; i < ARRAY_LEN(contexts); i++) {
		size_t context_len = strlen(contexts[i]) + 1, before_hash = 64 + context_len;
		if (len != before_hash + 32 && len != before_hash + 48)
			continue;
		size_t spaces = 0;
		while (spaces < 64 && bytes[spaces] == ' ')
			spaces++;
		if (spaces == 64 && memcmp(bytes + 64, contexts[i], context_len) == 0)
			return true;
	}
	return false;
}

static int keyring_ecdsa(const uint8_t scalar[KEYRING_SCALAR_BYTES], const uint8_t *bytes,
	size_t len, uint8_t ret_signature[KEYRING_SIGNATURE_MAX], size_t *ret_len)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	unsigned signature_len = 0;
	SHA256(bytes, len, digest);
	EC_KEY *key = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
	BIGNUM *number = BN_bin2bn(scalar, KEYRING_SCALAR_BYTES, NULL);
	bool ok = key && number && EC_KEY_set_private_key(key, number) &&
		  ECDSA_size(key) <= KEYRING_SIGNATURE_MAX &&
		  ECDSA_sign(0, digest, sizeof(digest), ret_signature, &signature_len, key);
	BN_clear_free(number);
	EC_KEY_free(key);
	ERR_clear_error();
	if (!ok)
		return -EIO;
	*ret_len = signature_len;
	return 0;
}

int keyring_sign(const struct keyring *k, uint32_t key_number, uint16_t algorithm,
	const uint8_t *bytes, size_t len, uint8_t ret_signature[KEYRING_SIGNATURE_MAX],
	size_t *ret_len)
{
	if (!keyring_is_certificate_verify(bytes, len))
		return -EPERM;
	if (algorithm != KEYRING_ECDSA_P256_SHA256)
		return -ENOTSUP;
	if (key_number < k->first_number || key_number - k->first_number >= k->count)
		return -ENOENT;
	return keyring_ecdsa(
		k->scalars[key_number - k->first_number], bytes, len, ret_signature, ret_len);
}
