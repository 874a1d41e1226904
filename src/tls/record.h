/* SPDX-License-Identifier: Apache-2.0 */
/* Records of TLS 1.3 (RFC 8446, 5), or of 1.2 (record_12.h), under one direction's key: sealed from
 * the plaintext straight into the wire, opened where they stand or into their destination. The
 * cryptography is BoringSSL's EVP_AEAD; nothing here allocates, keeps a byte or knows what the
 * bytes mean. */
#pragma once

#include "base/assert.h"
#include <openssl/aead.h>
#include <openssl/ssl.h>
#include <stdbool.h>

#define RECORD_HEAD_BYTES   5
#define RECORD_TAG_BYTES    16
#define RECORD_PLAIN_MAX    16384
#define RECORD_OVERHEAD	    (RECORD_HEAD_BYTES + 1 + RECORD_TAG_BYTES) /* without padding */
#define RECORD_BYTES_MAX    (RECORD_HEAD_BYTES + RECORD_PLAIN_MAX + 256)
#define RECORD_SECRET_BYTES 48
#define RECORD_NONCE_BYTES  12
/* TLS 1.2 has a part of the nonce in the record, and no type behind the content. */
#define RECORD_EXPLICIT_BYTES 8
#define RECORD_OVERHEAD_MAX   (RECORD_HEAD_BYTES + RECORD_EXPLICIT_BYTES + RECORD_TAG_BYTES)

enum record_form { RECORD_13, RECORD_12_EXPLICIT, RECORD_12_IMPLICIT };

/* One direction. Zero is a key that record_key_wipe() takes. */
struct record_key {
	uint64_t number; /* of the next record */
	uint8_t iv[RECORD_NONCE_BYTES];
	enum record_form form;
	uint8_t secret_len;
	uint16_t suite; /* TLS cipher suite */
	uint8_t secret[RECORD_SECRET_BYTES];
	EVP_AEAD_CTX aead;
};

/* What a record held. */
struct record_content {
	uint8_t *at;
	size_t len;
	uint8_t type; /* SSL3_RT_* */
};

/* The key of a traffic secret of TLS 1.3; false: not a suite of TLS 1.3, or out of memory. */
bool record_key_init(struct record_key *k, uint16_t suite, const uint8_t *secret, size_t len,
	uint64_t number) MUST_CHECK;
/* The next generation (RFC 8446, 7.2); false: out of memory, and the key is wiped. */
bool record_key_update(struct record_key *k) MUST_CHECK;
void record_key_wipe(struct record_key *k);

/* Writes a whole record; `out` has RECORD_OVERHEAD_MAX more room than `len`, which is at most
 * RECORD_PLAIN_MAX. `bytes` may not overlap it. Returns its length. */
size_t record_seal(
	struct record_key *k, uint8_t type, const uint8_t *bytes, size_t len, uint8_t *out);

/* Judges the head of a record: 0 and the length of the whole, or the alert it deserves. */
int record_measure(const struct record_key *k, const uint8_t head[static RECORD_HEAD_BYTES],
	size_t *ret_record_len);
/* How much room record_open() needs at most for a record of that length: content, type, padding. */
static inline size_t record_inner_len(size_t record_len)
{
	return record_len - RECORD_HEAD_BYTES - RECORD_TAG_BYTES;
}
/* Opens a whole record that record_measure() has passed into `out`: behind its own head, which is
 * in place, or elsewhere. 0, or the alert it deserves; `out` is zeroed then. */
int record_open(struct record_key *k, const uint8_t *record, size_t record_len, uint8_t *out,
	struct record_content *ret_content);
