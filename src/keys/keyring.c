/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a key is its 32-byte scalar, in pages that are locked, left out of core dumps and
 * empty in a forked child (the proxy process never holds a key, not even between fork and exec).
 * For a signature the scalar is made a BoringSSL key for as long as that takes; BoringSSL
 * overwrites what it frees. */
#include "keyring_private.h"

#include "keys/cert.h"
#include "keys/file.h"
#include <errno.h>
#include <limits.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define KEYRING_ECDSA_P256_SHA256 0x0403u /* RFC 8446 4.2.3 */

/* --- memory --- */

int keyring_new(uint32_t size, struct keyring **ret_keyring, struct err *err)
{
	struct keyring *k = calloc(1, sizeof(*k));
	if (!k)
		return err_set(err, ENOMEM, "out of memory");
	k->size = size;
	k->scalars_size = (size_t)(size ? size : 1) * KEYRING_SCALAR_BYTES;
	k->sources = calloc((size_t)size + 1, sizeof(*k->sources));
	k->numbers = calloc((size_t)size + 1, sizeof(*k->numbers));
	k->scalars = mmap(
		NULL, k->scalars_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (k->scalars == MAP_FAILED || !k->sources || !k->numbers) {
		if (k->scalars != MAP_FAILED)
			munmap(k->scalars, k->scalars_size);
		free(k->sources);
		free(k->numbers);
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
	for (uint32_t i = 0; i < k->size; i++)
		free(k->sources[i]);
	free(k->sources);
	free(k->numbers);
	free(k);
}

uint32_t keyring_key_count(const struct keyring *k)
{
	return k->count;
}

/* --- names --- */

int keyring_path(
	char path[PATH_MAX], const char *dir, struct str name, const char *ending, struct err *err)
{
	int n = snprintf(path, PATH_MAX, "%s/" STR_FMT "%s", dir, STR_ARG(name), ending);
	if (n < 0 || n >= PATH_MAX)
		return err_set(err, ENAMETOOLONG, "%s: name too long", dir);
	return 0;
}

int keyring_is_pem(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);
	return entry->d_name[0] != '.' && len > 4 && strcmp(entry->d_name + len - 4, ".pem") == 0;
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

/* --- one key --- */

int keyring_keep_key(
	struct keyring *k, const char *file, X509 *leaf, struct str text, struct err *err)
{
	ASSERT(k->count < k->size);
	EVP_PKEY *key = cert_key_from_pem(text);
	int r = 0;
	if (!key)
		r = err_set(
			err, EINVAL, "%s: no readable private key (PEM, without a password)", file);
	else if (!cert_key_is_p256(key))
		r = err_set(err, EINVAL, "%s: not a P-256 key, and no other kind is taken", file);
	else if (!X509_check_private_key(leaf, key))
		r = err_set(err, EINVAL, "%s: not the key of the certificate beside it", file);
	else if (!BN_bn2bin_padded(k->scalars[k->count], KEYRING_SCALAR_BYTES,
			 EC_KEY_get0_private_key(EVP_PKEY_get0_EC_KEY(key))))
		r = err_set(err, EINVAL, "%s: not a private key", file);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return r;
}

static bool keyring_has_number(const struct keyring *k, uint32_t number, uint32_t *ret_i)
{
	for (*ret_i = 0; *ret_i < k->count; (*ret_i)++) {
		if (k->numbers[*ret_i] == number)
			return true;
	}
	return false;
}

/* The number that the key in the next place had; false: it is a new one. By the key itself and
 * nothing else: whose it is, the certificate says. Who has given two identities one key gets two
 * numbers for it. */
static bool keyring_number_before(
	const struct keyring *k, const struct keyring *before, uint32_t *ret_number)
{
	uint32_t at;
	for (uint32_t i = 0; before && i < before->count; i++) {
		*ret_number = before->numbers[i];
		if (CRYPTO_memcmp(before->scalars[i], k->scalars[k->count], KEYRING_SCALAR_BYTES) ==
				0 &&
			!keyring_has_number(k, *ret_number, &at))
			return true;
	}
	return false;
}

struct str keyring_number(
	struct keyring *k, struct keyring_numbers *numbers, char text[KEYRING_NUMBER_TEXT])
{
	uint32_t number;
	ASSERT(k->count < k->size);
	if (!keyring_number_before(k, numbers->before, &number))
		number = numbers->next++;
	k->numbers[k->count] = number;
	snprintf(text, KEYRING_NUMBER_TEXT, "%u", number);
	return str_of(text);
}

static int keyring_hand_on(const struct bundle *staged, struct bundle *b, struct err *err)
{
	LIST_EACH (&staged->items, it) {
		const struct bundle_item *item = CONTAINER_OF(it, struct bundle_item, node);
		int r = bundle_add(b, item->kind, item->name, item->text, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int keyring_end(struct keyring_load *l, int r, struct keyring_numbers *numbers,
	struct keyring **ret_keyring, struct bundle *b, struct err *err)
{
	if (r == 0)
		r = keyring_hand_on(&l->staged, b, err);
	bundle_done(&l->staged);
	if (r < 0) {
		keyring_free(l->k);
		return r;
	}
	numbers->next = l->numbers.next;
	*ret_keyring = l->k;
	return 0;
}

/* --- a pair outside the directory --- */

static int keyring_pki_stage(struct keyring_load *l, struct str chain, struct err *err)
{
	char text[KEYRING_NUMBER_TEXT];
	struct str number = keyring_number(l->k, &l->numbers, text);
	struct bundle *staged = &l->staged;
	int r = bundle_add(staged, STR("pki"), STR("chain"), chain, err);
	if (r == 0)
		r = bundle_add(staged, STR("pki-key"), STR("store"), number, err);
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
		r = keyring_keep_key(l->k, key_file, leaf, key_text, err);
	if (r == 0)
		r = keyring_pki_stage(l, chain, err);
	X509_free(leaf);
	file_text_free(key_text);
	file_text_free(chain);
	return r;
}

int keyring_load_pki(const char *cert_file, const char *key_file, struct keyring_numbers *numbers,
	struct keyring **ret_keyring, struct bundle *b, struct err *err)
{
	struct keyring_load l = {.numbers = *numbers};
	int r = keyring_new(1, &l.k, err);
	if (r < 0)
		return r;
	bundle_init(&l.staged);
	r = keyring_pki_pair(&l, cert_file, key_file, err);
	return keyring_end(&l, r, numbers, ret_keyring, b, err);
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
	uint32_t i;
	if (!keyring_has_number(k, key_number, &i))
		return -ENOENT;
	return keyring_ecdsa(k->scalars[i], bytes, len, ret_signature, ret_len);
}
