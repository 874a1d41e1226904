/* SPDX-License-Identifier: Apache-2.0 */
/* X.509 in memory: makes roots, issuers, SVIDs, servers' certificates and requests, reads what a
 * certificate says about itself. Touches no file. */
#pragma once

#include "base/address.h"
#include "base/error.h"
#include "base/str.h"
#include <openssl/base.h>
#include <openssl/stack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a certificate was issued earlier than it is valid, for machines whose clocks differ. */
#define CERT_CLOCK_SKEW_S 60
#define CERT_SERIAL_TEXT  41 /* hexadecimal, RFC 5280's 20 bytes, and the NUL */
#define CERT_KEY_ID_BYTES 20
#define CERT_ID_MAX	  2049 /* SPIFFE-ID 2.3: 2048 bytes; and the NUL */

/* A new P-256 key; NULL when memory is exhausted. */
EVP_PKEY *cert_key_new(void);
/* Nothing else is taken for roots and leaves: what every TLS 1.3 implementation verifies. */
bool cert_key_is_p256(const EVP_PKEY *key);

/* Who signs: a root or an issuer below it. */
struct cert_issuer {
	X509 *cert;
	EVP_PKEY *key;
};
/* From now_s - backdate_s to now_s + lifetime_s. */
struct cert_life {
	int64_t now_s, lifetime_s, backdate_s;
};

/* A self-signed root for a trust domain (valid, ≤ 255 characters). Below it stands one issuer. */
int cert_root_new(EVP_PKEY *key, struct str trust_domain, struct cert_life life, X509 **ret_root,
	struct err *err) MUST_CHECK;
/* An issuer of leaves for a trust domain, signed by its root (path length 0: no further authority).
 * What follows ends with its signer at the latest; -EKEYEXPIRED when that is over already. */
int cert_issuer_new(EVP_PKEY *key, struct str trust_domain, const struct cert_issuer *root,
	struct cert_life life, X509 **ret_issuer, struct err *err) MUST_CHECK;
/* A request of the same, for somebody else's root: PEM, file_text_free(). */
int cert_issuer_request(
	EVP_PKEY *key, struct str trust_domain, struct str *ret_text, struct err *err) MUST_CHECK;
/* An SVID for `id` and a key (its public half is enough). */
int cert_leaf_new(EVP_PKEY *key, struct str id, const struct cert_issuer *issuer,
	struct cert_life life, X509 **ret_leaf, struct err *err) MUST_CHECK;
/* Of a TLS server that is no workload: it has addresses and DNS names, and no SPIFFE id. */
struct cert_names {
	const struct address *addresses;
	uint32_t address_count;
	const struct str *names; /* a DNS name or an address each */
	uint32_t name_count;
};
int cert_server_new(EVP_PKEY *key, const struct cert_names *names, const struct cert_issuer *issuer,
	struct cert_life life, X509 **ret_leaf, struct err *err) MUST_CHECK;

/* The only URI in the SAN extension, copied into `id` (size bytes, NUL behind). -ENOENT: none,
 * -ENOTUNIQ: several, -EMSGSIZE: longer than that. */
int cert_uri(X509 *cert, char *id, size_t size) MUST_CHECK;
/* Lower-case hexadecimal. False: longer than RFC 5280 allows, or not positive. */
bool cert_serial_text(const X509 *cert, char text[CERT_SERIAL_TEXT]);
/* RFC 7093 method 1: the first 160 bits of a SHA-256 over the public key. */
bool cert_key_id(const X509 *cert, uint8_t ret_id[CERT_KEY_ID_BYTES]);
/* Seconds since 1970; 0: unreadable. */
int64_t cert_not_before(const X509 *cert);
int64_t cert_not_after(const X509 *cert);

/* PEM text; the caller frees it with file_text_free(). -ENOMEM. */
int cert_pem(X509 *cert, struct str *ret_text) MUST_CHECK;
int cert_key_pem(EVP_PKEY *key, struct str *ret_text) MUST_CHECK;
/* The first certificate of a PEM text, which must hold certificates and nothing broken; their
 * number in *ret_count. NULL when there is none or one cannot be read. */
X509 *cert_from_pem(struct str text, unsigned *ret_count);
/* All of them; NULL as above. The caller frees with sk_X509_pop_free(). */
STACK_OF(X509) * cert_list_from_pem(struct str text);
/* NULL: no key in it. */
EVP_PKEY *cert_key_from_pem(struct str text);
