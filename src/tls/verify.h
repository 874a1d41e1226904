/* SPDX-License-Identifier: Apache-2.0 */
/* The rules for X.509-SVIDs, and X.509 path validation to the trust anchors of the leaf's own trust
 * domain. Results are a failure or TLS_FAILURE_NONE. */
#pragma once

#include "store.h"

/* What the handshake wants to know of an accepted peer. */
struct verify_peer {
	char *id; /* its owner frees it */
	/* When every certificate of the verified path is valid, the anchor included: from
	 * TRUST_SKEW_S before the first second to before the last, which is how BoringSSL reads
	 * notAfter. */
	int64_t valid_from_s, valid_until_s;
	/* When the first of the lists of revoked certificates is over that it is on none of. */
	int64_t listed_until_s;
};

/* A chain off the wire, at wall time `wall_s`. */
enum tls_failure verify_chain(const struct tls_store *s, const STACK_OF(CRYPTO_BUFFER) * chain,
	int64_t wall_s, struct verify_peer *ret_peer);
/* A chain that was verified before, against these very anchors: leaf rules, dates and lists of
 * revoked certificates again. Takes the validity that was found then from `peer`, fills its id. */
enum tls_failure verify_again(const struct tls_store *s, const STACK_OF(CRYPTO_BUFFER) * chain,
	int64_t wall_s, struct verify_peer *peer);

/* Our own chain, as a peer would judge it that has the same anchors and lists. Any thread. */
enum tls_failure verify_own(
	const struct tls_store *s, struct tls_identity *identity, int64_t wall_s);

/* One that a machine shows to its authority: of the store's own trust domain, with any path, and it
 * may have expired, but everything else has to be as it was in its last second. */
enum tls_failure verify_shown(const struct tls_store *s, const STACK_OF(CRYPTO_BUFFER) * chain,
	int64_t wall_s, struct verify_peer *ret_peer, enum tls_shown *ret_shown);

/* The leaf's own rules; the texts point into the certificate. */
enum tls_failure verify_leaf(X509 *leaf, struct str *ret_id, struct str *ret_trust_domain);
/* Whether a certificate may stand as issuer: for anchors at load. NULL, or what is wrong. */
const char *verify_anchor_fault(X509 *anchor);

/* Validity in seconds of wall time; false when a date is unreadable. */
bool verify_dates(X509 *certificate, int64_t *ret_from_s, int64_t *ret_until_s);
/* One date. */
bool verify_time(const ASN1_TIME *time, int64_t *ret_s);
/* The alert that tells the peer. */
uint8_t verify_alert(enum tls_failure failure);

/* --- for pki.c, which judges by other rules --- */

/* No extension twice, known to the library or not, and none of the known ones malformed. */
bool verify_extensions_sound(X509 *certificate);
/* P-256, P-384, or RSA of 2048 bits and more; SHA-2. */
bool verify_key_strong(X509 *certificate);
bool verify_signature_strong(const X509 *certificate);
bool verify_algorithm_strong(int signature_nid);
/* A chain off the wire, appended to `certificates`. */
enum tls_failure verify_parse(const STACK_OF(CRYPTO_BUFFER) * chain, STACK_OF(X509) * certificates);
