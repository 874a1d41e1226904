/* SPDX-License-Identifier: Apache-2.0 */
/* The type of a record stands in its head and nothing else is sealed with the content. AES-GCM has
 * the half of its nonce that changes in each record, ChaCha20 has it from the number, as TLS 1.3.
 */
#include "record_12.h"

#include <openssl/mem.h>
#include <string.h>

#define RECORD_12_ADDITIONAL_BYTES 13

struct record_12_suite {
	uint16_t number;
	enum record_form form;
	const EVP_AEAD *(*aead)(void);
};

static const struct record_12_suite record_12_suites[] = {
	{0xc02b, RECORD_12_EXPLICIT, EVP_aead_aes_128_gcm}, /* ECDHE_ECDSA */
	{0xc02f, RECORD_12_EXPLICIT, EVP_aead_aes_128_gcm}, /* ECDHE_RSA */
	{0xc02c, RECORD_12_EXPLICIT, EVP_aead_aes_256_gcm},
	{0xc030, RECORD_12_EXPLICIT, EVP_aead_aes_256_gcm},
	{0xcca9, RECORD_12_IMPLICIT, EVP_aead_chacha20_poly1305},
	{0xcca8, RECORD_12_IMPLICIT, EVP_aead_chacha20_poly1305},
};

static const struct record_12_suite *record_12_suite_of(uint16_t number)
{
	for (size_t i = 0; i < ARRAY_LEN(record_12_suites); i++) {
		if (record_12_suites[i].number == number)
			return &record_12_suites[i];
	}
	return NULL;
}

/* Of a nonce, in each record. */
static size_t record_12_explicit(const struct record_key *k)
{
	return k->form == RECORD_12_EXPLICIT ? RECORD_EXPLICIT_BYTES : 0;
}

static bool record_12_key_init(struct record_key *k, const struct record_12_suite *suite,
	const uint8_t *key, const uint8_t *iv, size_t iv_len)
{
	memset(k, 0, sizeof(*k));
	k->suite = suite->number;
	k->form = suite->form;
	memcpy(k->iv, iv, iv_len);
	const EVP_AEAD *aead = suite->aead();
	return EVP_AEAD_CTX_init(
		&k->aead, aead, key, EVP_AEAD_key_length(aead), RECORD_TAG_BYTES, NULL);
}

/* RFC 5246, 6.3: both keys, then both ivs. */
bool record_12_keys(struct record_key *client, struct record_key *server, uint16_t suite_number,
	const uint8_t *block, size_t len)
{
	const struct record_12_suite *suite = record_12_suite_of(suite_number);
	if (!suite)
		return false;
	size_t key_len = EVP_AEAD_key_length(suite->aead()), iv_len = RECORD_NONCE_BYTES;
	if (suite->form == RECORD_12_EXPLICIT)
		iv_len -= RECORD_EXPLICIT_BYTES;
	if (len != 2 * (key_len + iv_len))
		return false;
	const uint8_t *ivs = block + 2 * key_len;
	return record_12_key_init(client, suite, block, ivs, iv_len) &&
	       record_12_key_init(server, suite, block + key_len, ivs + iv_len, iv_len);
}

static void record_12_put_u64(uint8_t *out, uint64_t value)
{
	value = __builtin_bswap64(value);
	memcpy(out, &value, sizeof(value));
}

/* `changing`: what a record has of the nonce in itself. */
static void record_12_nonce(const struct record_key *k, const uint8_t *changing,
	uint8_t ret_nonce[static RECORD_NONCE_BYTES])
{
	size_t fixed = RECORD_NONCE_BYTES - RECORD_EXPLICIT_BYTES;
	uint8_t number[RECORD_EXPLICIT_BYTES];
	memcpy(ret_nonce, k->iv, RECORD_NONCE_BYTES);
	if (k->form == RECORD_12_EXPLICIT) {
		memcpy(ret_nonce + fixed, changing, RECORD_EXPLICIT_BYTES);
		return;
	}
	record_12_put_u64(number, k->number);
	for (size_t i = 0; i < sizeof(number); i++)
		ret_nonce[fixed + i] ^= number[i];
}

static void record_12_additional(const struct record_key *k, uint8_t type, size_t len,
	uint8_t ret_bytes[static RECORD_12_ADDITIONAL_BYTES])
{
	record_12_put_u64(ret_bytes, k->number);
	const uint8_t rest[] = {type, 3, 3, (uint8_t)(len >> 8), (uint8_t)len};
	memcpy(ret_bytes + 8, rest, sizeof(rest));
}

size_t record_12_seal(
	struct record_key *k, uint8_t type, const uint8_t *bytes, size_t len, uint8_t *out)
{
	uint8_t nonce[RECORD_NONCE_BYTES], additional[RECORD_12_ADDITIONAL_BYTES];
	size_t tag_len, changing = record_12_explicit(k), inner = changing + len + RECORD_TAG_BYTES;
	ASSERT(len <= RECORD_PLAIN_MAX && k->number < UINT64_MAX);
	const uint8_t head[] = {type, 3, 3, (uint8_t)(inner >> 8), (uint8_t)inner};
	memcpy(out, head, sizeof(head));
	uint8_t *content = out + RECORD_HEAD_BYTES + changing;
	if (changing > 0)
		record_12_put_u64(out + RECORD_HEAD_BYTES, k->number);
	record_12_nonce(k, out + RECORD_HEAD_BYTES, nonce);
	record_12_additional(k, type, len, additional);
	k->number++;
	int ok = EVP_AEAD_CTX_seal_scatter(&k->aead, content, content + len, &tag_len,
		RECORD_TAG_BYTES, nonce, sizeof(nonce), bytes, len, NULL, 0, additional,
		sizeof(additional));
	ASSERT(ok && tag_len == RECORD_TAG_BYTES);
	return RECORD_HEAD_BYTES + inner;
}

int record_12_measure(const struct record_key *k, const uint8_t head[static RECORD_HEAD_BYTES],
	size_t *ret_record_len)
{
	size_t len = (size_t)head[3] << 8 | head[4];
	if (head[0] != SSL3_RT_APPLICATION_DATA && head[0] != SSL3_RT_ALERT &&
		head[0] != SSL3_RT_HANDSHAKE)
		return SSL_AD_UNEXPECTED_MESSAGE;
	if (head[1] != 3 || head[2] != 3)
		return SSL_AD_PROTOCOL_VERSION;
	if (len > RECORD_PLAIN_MAX + record_12_explicit(k) + RECORD_TAG_BYTES)
		return SSL_AD_RECORD_OVERFLOW;
	if (len < record_12_explicit(k) + RECORD_TAG_BYTES)
		return SSL_AD_BAD_RECORD_MAC;
	*ret_record_len = RECORD_HEAD_BYTES + len;
	return 0;
}

int record_12_open(struct record_key *k, const uint8_t *record, size_t record_len, uint8_t *out,
	struct record_content *ret_content)
{
	uint8_t nonce[RECORD_NONCE_BYTES], additional[RECORD_12_ADDITIONAL_BYTES];
	const uint8_t *changing = record + RECORD_HEAD_BYTES;
	const uint8_t *sealed = changing + record_12_explicit(k);
	size_t len = (size_t)(record + record_len - sealed) - RECORD_TAG_BYTES;
	if (k->number == UINT64_MAX)
		return SSL_AD_INTERNAL_ERROR;
	if (out == changing) /* where it stands */
		out += sealed - changing;
	record_12_nonce(k, changing, nonce);
	record_12_additional(k, record[0], len, additional);
	if (!EVP_AEAD_CTX_open_gather(&k->aead, out, nonce, sizeof(nonce), sealed, len,
		    sealed + len, RECORD_TAG_BYTES, additional, sizeof(additional)))
		return SSL_AD_BAD_RECORD_MAC;
	k->number++;
	*ret_content = (struct record_content){out, len, record[0]};
	return 0;
}
