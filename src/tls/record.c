/* SPDX-License-Identifier: Apache-2.0 */
#include "record.h"

#include "record_12.h"
#include <openssl/digest.h>
#include <openssl/hkdf.h>
#include <openssl/mem.h>
#include <string.h>

#define RECORD_LABEL_MAX 32

struct record_suite {
	uint16_t number;
	const EVP_AEAD *(*aead)(void);
	const EVP_MD *(*hash)(void);
};

static const struct record_suite record_suites[] = {
	{0x1301, EVP_aead_aes_128_gcm, EVP_sha256},
	{0x1302, EVP_aead_aes_256_gcm, EVP_sha384},
	{0x1303, EVP_aead_chacha20_poly1305, EVP_sha256},
};

static const struct record_suite *record_suite_of(uint16_t number)
{
	for (size_t i = 0; i < ARRAY_LEN(record_suites); i++) {
		if (record_suites[i].number == number)
			return &record_suites[i];
	}
	return NULL;
}

/* HKDF-Expand-Label with an empty context (RFC 8446, 7.1). */
static bool record_expand(const struct record_key *k, const struct record_suite *suite,
	const char *label, uint8_t *ret_bytes, size_t len)
{
	static const char prefix[] = "tls13 ";
	uint8_t text[4 + RECORD_LABEL_MAX];
	size_t prefix_len = sizeof(prefix) - 1, label_len = strlen(label), at = 0;
	ASSERT(prefix_len + label_len <= RECORD_LABEL_MAX);
	text[at++] = (uint8_t)(len >> 8);
	text[at++] = (uint8_t)len;
	text[at++] = (uint8_t)(prefix_len + label_len);
	memcpy(text + at, prefix, prefix_len);
	at += prefix_len;
	memcpy(text + at, label, label_len);
	at += label_len;
	text[at++] = 0;
	return HKDF_expand(ret_bytes, len, suite->hash(), k->secret, k->secret_len, text, at);
}

/* Key and iv of the secret that is in place. */
static bool record_key_derive(struct record_key *k, const struct record_suite *suite)
{
	uint8_t key[EVP_AEAD_MAX_KEY_LENGTH];
	const EVP_AEAD *aead = suite->aead();
	size_t len = EVP_AEAD_key_length(aead);
	bool ok = record_expand(k, suite, "key", key, len) &&
		  record_expand(k, suite, "iv", k->iv, sizeof(k->iv)) &&
		  EVP_AEAD_CTX_init(&k->aead, aead, key, len, RECORD_TAG_BYTES, NULL);
	OPENSSL_cleanse(key, sizeof(key));
	return ok;
}

bool record_key_init(struct record_key *k, uint16_t suite_number, const uint8_t *secret, size_t len,
	uint64_t number)
{
	const struct record_suite *suite = record_suite_of(suite_number);
	memset(k, 0, sizeof(*k));
	if (!suite || len != EVP_MD_size(suite->hash()))
		return false;
	k->suite = suite_number;
	k->number = number;
	k->secret_len = (uint8_t)len;
	memcpy(k->secret, secret, len);
	if (record_key_derive(k, suite))
		return true;
	record_key_wipe(k);
	return false;
}

bool record_key_update(struct record_key *k)
{
	uint8_t secret[RECORD_SECRET_BYTES];
	uint16_t suite = k->suite;
	size_t len = k->secret_len;
	bool ok = record_expand(k, record_suite_of(suite), "traffic upd", secret, len);
	record_key_wipe(k);
	ok = ok && record_key_init(k, suite, secret, len, 0);
	OPENSSL_cleanse(secret, sizeof(secret));
	return ok;
}

void record_key_wipe(struct record_key *k)
{
	EVP_AEAD_CTX_cleanup(&k->aead);
	OPENSSL_cleanse(k, sizeof(*k));
}

/* RFC 8446, 5.3: the number, counted from the right, over the iv. */
static void record_nonce(const struct record_key *k, uint8_t ret_nonce[static RECORD_NONCE_BYTES])
{
	uint64_t number = __builtin_bswap64(k->number), low;
	memcpy(ret_nonce, k->iv, RECORD_NONCE_BYTES);
	memcpy(&low, ret_nonce + 4, sizeof(low));
	low ^= number;
	memcpy(ret_nonce + 4, &low, sizeof(low));
}

size_t record_seal(
	struct record_key *k, uint8_t type, const uint8_t *bytes, size_t len, uint8_t *out)
{
	if (k->form != RECORD_13)
		return record_12_seal(k, type, bytes, len, out);
	uint8_t nonce[RECORD_NONCE_BYTES];
	size_t rest_len, inner = len + 1 + RECORD_TAG_BYTES;
	ASSERT(len <= RECORD_PLAIN_MAX && k->number < UINT64_MAX);
	out[0] = SSL3_RT_APPLICATION_DATA;
	out[1] = 3;
	out[2] = 3;
	out[3] = (uint8_t)(inner >> 8);
	out[4] = (uint8_t)inner;
	uint8_t *content = out + RECORD_HEAD_BYTES;
	record_nonce(k, nonce);
	k->number++;
	/* The type is sealed as the first byte of what is written behind the content. */
	int ok = EVP_AEAD_CTX_seal_scatter(&k->aead, content, content + len, &rest_len,
		1 + RECORD_TAG_BYTES, nonce, sizeof(nonce), bytes, len, &type, 1, out,
		RECORD_HEAD_BYTES);
	ASSERT(ok && rest_len == 1 + RECORD_TAG_BYTES);
	return RECORD_HEAD_BYTES + inner;
}

int record_measure(const struct record_key *k, const uint8_t head[static RECORD_HEAD_BYTES],
	size_t *ret_record_len)
{
	if (k->form != RECORD_13)
		return record_12_measure(k, head, ret_record_len);
	size_t len = (size_t)head[3] << 8 | head[4];
	/* An alert or a ChangeCipherSpec in the clear has no place after the handshake. */
	if (head[0] != SSL3_RT_APPLICATION_DATA)
		return SSL_AD_UNEXPECTED_MESSAGE;
	if (head[1] != 3 || head[2] != 3)
		return SSL_AD_PROTOCOL_VERSION;
	if (len > RECORD_BYTES_MAX - RECORD_HEAD_BYTES)
		return SSL_AD_RECORD_OVERFLOW;
	/* Nothing that short can have been sealed. */
	if (len < 1 + RECORD_TAG_BYTES)
		return SSL_AD_BAD_RECORD_MAC;
	*ret_record_len = RECORD_HEAD_BYTES + len;
	return 0;
}

int record_open(struct record_key *k, const uint8_t *record, size_t record_len, uint8_t *out,
	struct record_content *ret_content)
{
	if (k->form != RECORD_13)
		return record_12_open(k, record, record_len, out, ret_content);
	uint8_t nonce[RECORD_NONCE_BYTES];
	const uint8_t *sealed = record + RECORD_HEAD_BYTES;
	size_t len = record_inner_len(record_len);
	if (k->number == UINT64_MAX)
		return SSL_AD_INTERNAL_ERROR;
	record_nonce(k, nonce);
	if (!EVP_AEAD_CTX_open_gather(&k->aead, out, nonce, sizeof(nonce), sealed, len,
		    sealed + len, RECORD_TAG_BYTES, record, RECORD_HEAD_BYTES))
		return SSL_AD_BAD_RECORD_MAC;
	k->number++;
	/* Content and type may be this long, however much padding there is. */
	if (len > RECORD_PLAIN_MAX + 1)
		return SSL_AD_RECORD_OVERFLOW;
	while (len > 0 && out[len - 1] == 0)
		len--;
	if (len == 0)
		return SSL_AD_UNEXPECTED_MESSAGE; /* padding alone: no type */
	*ret_content = (struct record_content){out, len - 1, out[len - 1]};
	return 0;
}
