/* SPDX-License-Identifier: Apache-2.0 */
/* X.509 in memory: makes roots and SVIDs, reads what a leaf says about itself. Touches no file. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include <openssl/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a certificate was issued earlier than it is valid, for machines whose clocks differ. */
#define CERT_CLOCK_SKEW_S 60

/* A new P-256 key; NULL when memory is exhausted. */
EVP_PKEY *cert_key_new(void);
/* Nothing else is taken for roots and leaves: what every TLS 1.3 implementation verifies. */
bool cert_key_is_p256(const EVP_PKEY *key);

/* A self-signed root for a trust domain (valid, ≤ 255 characters). */
int cert_root_new(EVP_PKEY *key, struct str trust_domain, int64_t now_s, int64_t lifetime_s,
	X509 **ret_root, struct err *err) MUST_CHECK;
/* An SVID for `id`, signed by the root. Ends with the root at the latest; -EKEYEXPIRED when that is
 * over already. */
int cert_leaf_new(EVP_PKEY *key, struct str id, X509 *root, EVP_PKEY *root_key, int64_t now_s,
	int64_t lifetime_s, X509 **ret_leaf, struct err *err) MUST_CHECK;

/* The only URI in the SAN extension, copied into `id` (size bytes, NUL behind). -ENOENT: none,
 * -ENOTUNIQ: several, -EMSGSIZE: longer than that. */
int cert_uri(X509 *cert, char *id, size_t size) MUST_CHECK;

/* PEM text; the caller frees it with file_text_free(). -ENOMEM. */
int cert_pem(X509 *cert, struct str *ret_text) MUST_CHECK;
int cert_key_pem(EVP_PKEY *key, struct str *ret_text) MUST_CHECK;
/* The first certificate of a PEM text, which must hold certificates and nothing broken; their
 * number in *ret_count. NULL when there is none or one cannot be read. */
X509 *cert_from_pem(struct str text, unsigned *ret_count);
/* NULL: no key in it. */
EVP_PKEY *cert_key_from_pem(struct str text);
