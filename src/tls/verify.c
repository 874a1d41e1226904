/* SPDX-License-Identifier: Apache-2.0 */
/* Order matters: the leaf's own rules come first, because they give the trust domain, and only then
 * are the anchors chosen. There is one X509_STORE per trust domain and no other, so a certificate
 * authority of domain A can never vouch for spiffe://B/.
 *
 * The path itself is X509_verify_cert's work (signatures, dates, CA flags, path length, name
 * constraints, unknown critical extensions). What it leaves open is checked on the path it found:
 * the anchor's own constraints, explicit key usage on every issuer, and the strength of keys and
 * signatures. */
#include "verify.h"

#include "tls/spiffe.h"
#include <openssl/x509v3.h>
#include <stdlib.h>

/* --- the path --- */

/* Issuers of the path, anchor included. BoringSSL does not hold a trusted certificate to its own
 * path length, and takes a missing key usage for consent. */
static enum tls_failure verify_issuers(STACK_OF(X509) * path)
{
	size_t count = sk_X509_num(path);
	long below = 0; /* issuers between this one and the leaf that are not self-issued */
	for (size_t i = 1; i < count; i++) {
		X509 *issuer = sk_X509_value(path, i);
		if (!verify_key_strong(issuer))
			return TLS_FAILURE_WEAK;
		if (verify_anchor_fault(issuer))
			return TLS_FAILURE_CHAIN;
		if (i + 1 < count && !verify_signature_strong(issuer))
			return TLS_FAILURE_WEAK;
		long allowed = X509_get_pathlen(issuer);
		if (allowed >= 0 && below > allowed)
			return TLS_FAILURE_CHAIN;
		if (!(X509_get_extension_flags(issuer) & EXFLAG_SI))
			below++;
	}
	return TLS_FAILURE_NONE;
}

static enum tls_failure verify_path_found(
	const struct tls_anchors *anchors, STACK_OF(X509) * path, struct verify_peer *peer)
{
	peer->valid_from_s = INT64_MIN;
	peer->valid_until_s = INT64_MAX;
	for (size_t i = 0; i < sk_X509_num(path); i++) {
		int64_t from_s, until_s;
		if (!verify_dates(sk_X509_value(path, i), &from_s, &until_s))
			return TLS_FAILURE_CHAIN;
		if (from_s - TRUST_SKEW_S > peer->valid_from_s)
			peer->valid_from_s = from_s - TRUST_SKEW_S;
		if (until_s < peer->valid_until_s)
			peer->valid_until_s = until_s;
	}
	enum tls_failure failure = verify_issuers(path);
	peer->listed_until_s = INT64_MAX;
	if (!failure && anchors->revoked &&
		revoked_path(anchors->revoked, path, &peer->listed_until_s))
		failure = TLS_FAILURE_REVOKED;
	return failure;
}

static enum tls_failure verify_path_of(const struct tls_anchors *anchors, X509_STORE *group,
	STACK_OF(X509) * chain, int64_t wall_s, struct verify_peer *peer)
{
	STACK_OF(X509) * path;
	enum tls_failure failure = trust_find(group, chain, wall_s, 0, &path);
	if (!failure)
		failure = verify_path_found(anchors, path, peer);
	sk_X509_pop_free(path, X509_free);
	return failure;
}

/* Another certificate of the chain, but the leaf, has the name of this one. */
static bool verify_is_doubled(STACK_OF(X509) * chain, size_t at)
{
	X509_NAME *name = X509_get_subject_name(sk_X509_value(chain, at));
	for (size_t i = 1; i < sk_X509_num(chain); i++) {
		if (i != at &&
			X509_NAME_cmp(name, X509_get_subject_name(sk_X509_value(chain, i))) == 0)
			return true;
	}
	return false;
}

/* The library takes the first issuer of a name and never comes back to another one, such as the
 * same intermediate's certificate by another root. So each of those is left out in turn. */
static enum tls_failure verify_path_in(const struct tls_anchors *anchors, X509_STORE *group,
	STACK_OF(X509) * chain, int64_t wall_s, struct verify_peer *peer)
{
	enum tls_failure failure = verify_path_of(anchors, group, chain, wall_s, peer);
	for (size_t i = 1; failure == TLS_FAILURE_CHAIN && i < sk_X509_num(chain); i++) {
		if (!verify_is_doubled(chain, i))
			continue;
		STACK_OF(X509) *rest = sk_X509_dup(chain);
		if (!rest)
			return TLS_FAILURE_MEMORY;
		(void)sk_X509_delete(rest, i);
		failure = verify_path_of(anchors, group, rest, wall_s, peer);
		sk_X509_free(rest);
	}
	return failure;
}

static enum tls_failure verify_path(const struct tls_anchors *anchors, STACK_OF(X509) * chain,
	int64_t wall_s, struct verify_peer *peer)
{
	enum tls_failure first = TLS_FAILURE_CHAIN;
	for (size_t i = 0; i < anchors->trust.group_count; i++) {
		enum tls_failure failure =
			verify_path_in(anchors, anchors->trust.groups[i], chain, wall_s, peer);
		if (!trust_goes_on(failure))
			return failure;
		if (first == TLS_FAILURE_CHAIN)
			first = failure;
	}
	return first;
}

/* --- a chain --- */

enum tls_failure verify_parse(const STACK_OF(CRYPTO_BUFFER) * chain, STACK_OF(X509) * certificates)
{
	for (size_t i = 0; i < sk_CRYPTO_BUFFER_num(chain); i++) {
		X509 *certificate = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, i));
		if (!certificate)
			return TLS_FAILURE_CHAIN;
		if (!sk_X509_push(certificates, certificate)) {
			X509_free(certificate);
			return TLS_FAILURE_MEMORY;
		}
	}
	return TLS_FAILURE_NONE;
}

static enum tls_failure verify_keep_id(struct verify_peer *peer, struct str id)
{
	peer->id = strndup(id.at, id.len);
	return peer->id ? TLS_FAILURE_NONE : TLS_FAILURE_MEMORY;
}

/* The leaf's own rules, and whether it is one of those that the store's sessions are for. */
static enum tls_failure verify_fits(
	const struct tls_store *s, X509 *leaf, struct str *ret_id, struct str *ret_trust_domain)
{
	struct str path;
	enum tls_failure failure = verify_leaf(leaf, ret_id, ret_trust_domain);
	if (failure)
		return failure;
	if (s->kind == STORE_EST)
		return str_eq(*ret_trust_domain, str_of(s->trust_domain))
			       ? TLS_FAILURE_NONE
			       : TLS_FAILURE_TRUST_DOMAIN;
	bool reserved =
		spiffe_parse(*ret_id, ret_trust_domain, &path) && spiffe_path_reserved(path);
	return reserved ? TLS_FAILURE_MACHINE : TLS_FAILURE_NONE;
}

static enum tls_failure verify_parsed(
	const struct tls_store *s, STACK_OF(X509) * chain, int64_t wall_s, struct verify_peer *peer)
{
	struct str id, trust_domain;
	enum tls_failure failure = verify_fits(s, sk_X509_value(chain, 0), &id, &trust_domain);
	if (failure)
		return failure;
	const struct tls_anchors *anchors = store_anchors(s, trust_domain);
	if (!anchors || anchors->trust.group_count == 0)
		return TLS_FAILURE_TRUST_DOMAIN;
	failure = verify_path(anchors, chain, wall_s, peer);
	return failure ? failure : verify_keep_id(peer, id);
}

static enum tls_failure verify_whole(const struct tls_store *s,
	const STACK_OF(CRYPTO_BUFFER) * chain, int64_t wall_s, struct verify_peer *peer)
{
	STACK_OF(X509) *certificates = sk_X509_new_null();
	if (!certificates)
		return TLS_FAILURE_MEMORY;
	enum tls_failure failure = verify_parse(chain, certificates);
	if (!failure)
		failure = verify_parsed(s, certificates, wall_s, peer);
	sk_X509_pop_free(certificates, X509_free);
	return failure;
}

static enum tls_failure verify_now(
	const struct tls_store *s, const struct verify_peer *peer, int64_t wall_s)
{
	if (wall_s >= peer->valid_until_s)
		return TLS_FAILURE_EXPIRED;
	if (wall_s < peer->valid_from_s)
		return TLS_FAILURE_NOT_YET_VALID;
	return s->refuse_stale_crls && wall_s >= peer->listed_until_s
		       ? TLS_FAILURE_REVOCATION_UNKNOWN
		       : TLS_FAILURE_NONE;
}

/* These very bytes have passed before: what was found then holds, but for the time. */
static enum tls_failure verify_known(const struct tls_store *s, const struct proven_chain *known,
	int64_t wall_s, struct verify_peer *ret_peer)
{
	ret_peer->valid_from_s = known->valid_from_s;
	ret_peer->valid_until_s = known->valid_until_s;
	ret_peer->listed_until_s = known->listed_until_s;
	enum tls_failure failure = verify_now(s, ret_peer, wall_s);
	return failure ? failure : verify_keep_id(ret_peer, known->id);
}

static enum tls_failure verify_count(const STACK_OF(CRYPTO_BUFFER) * chain)
{
	size_t count = chain ? sk_CRYPTO_BUFFER_num(chain) : 0;
	if (count == 0)
		return TLS_FAILURE_NO_CERTIFICATE;
	return count > STORE_CHAIN_COUNT_MAX ? TLS_FAILURE_CHAIN_LENGTH : TLS_FAILURE_NONE;
}

/* What is known of these bytes; of whatever trust domain, which only their leaf would say. */
static const struct proven_chain *verify_find(const struct tls_store *s, const uint8_t digest[32])
{
	const struct proven_chain *known = NULL;
	for (size_t i = 0; i < s->anchors_count && !known; i++)
		known = proven_find(s->anchors[i]->proven, digest);
	return known;
}

/* With the anchors that it was verified against. */
static void verify_remember(const struct tls_store *s, const struct proven_chain *chain)
{
	struct str trust_domain, path;
	const struct tls_anchors *anchors = spiffe_parse(chain->id, &trust_domain, &path)
						    ? store_anchors(s, trust_domain)
						    : NULL;
	if (anchors)
		proven_add(anchors->proven, chain);
}

enum tls_failure verify_chain(const struct tls_store *s, const STACK_OF(CRYPTO_BUFFER) * chain,
	int64_t wall_s, struct verify_peer *ret_peer)
{
	struct proven_chain proven;
	enum tls_failure failure = verify_count(chain);
	if (failure)
		return failure;
	proven_digest(chain, proven.digest);
	const struct proven_chain *known = verify_find(s, proven.digest);
	if (known)
		return verify_known(s, known, wall_s, ret_peer);
	failure = verify_whole(s, chain, wall_s, ret_peer);
	if (failure)
		return failure;
	proven.valid_from_s = ret_peer->valid_from_s;
	proven.valid_until_s = ret_peer->valid_until_s;
	proven.listed_until_s = ret_peer->listed_until_s;
	proven.id = str_of(ret_peer->id);
	verify_remember(s, &proven);
	return verify_now(s, ret_peer, wall_s);
}

static STACK_OF(CRYPTO_BUFFER) * verify_own_chain(const struct tls_identity *identity)
{
	STACK_OF(CRYPTO_BUFFER) *chain = sk_CRYPTO_BUFFER_new_null();
	for (size_t i = 0; chain && i < identity->chain_count; i++) {
		if (sk_CRYPTO_BUFFER_push(chain, identity->chain[i])) {
			CRYPTO_BUFFER_up_ref(identity->chain[i]);
			continue;
		}
		sk_CRYPTO_BUFFER_pop_free(chain, CRYPTO_BUFFER_free);
		chain = NULL;
	}
	return chain;
}

static enum tls_failure verify_own_whole(
	const struct tls_store *s, struct tls_identity *identity, int64_t wall_s)
{
	struct verify_peer found = {.id = NULL};
	STACK_OF(CRYPTO_BUFFER) *chain = verify_own_chain(identity);
	if (!chain)
		return TLS_FAILURE_MEMORY;
	enum tls_failure failure = verify_chain(s, chain, wall_s, &found);
	sk_CRYPTO_BUFFER_pop_free(chain, CRYPTO_BUFFER_free);
	free(found.id);
	if (failure)
		return failure;
	atomic_store_explicit(&identity->proved_from_s, found.valid_from_s, memory_order_relaxed);
	atomic_store_explicit(&identity->proved_until_s, found.valid_until_s, memory_order_relaxed);
	atomic_store_explicit(
		&identity->proved_listed_until_s, found.listed_until_s, memory_order_relaxed);
	atomic_store_explicit(&identity->is_proved, true, memory_order_release);
	return TLS_FAILURE_NONE;
}

enum tls_failure verify_own(
	const struct tls_store *s, struct tls_identity *identity, int64_t wall_s)
{
	if (!atomic_load_explicit(&identity->is_proved, memory_order_acquire))
		return verify_own_whole(s, identity, wall_s);
	const struct verify_peer found = {.valid_from_s = atomic_load_explicit(
						  &identity->proved_from_s, memory_order_relaxed),
		.valid_until_s =
			atomic_load_explicit(&identity->proved_until_s, memory_order_relaxed),
		.listed_until_s = atomic_load_explicit(
			&identity->proved_listed_until_s, memory_order_relaxed)};
	return verify_now(s, &found, wall_s);
}

/* When to judge the leaf: now, or in its last second. */
static enum tls_failure verify_shown_when(CRYPTO_BUFFER *bytes, int64_t *when_s)
{
	int64_t from_s, until_s;
	X509 *leaf = X509_parse_from_buffer(bytes);
	bool ok = leaf && verify_dates(leaf, &from_s, &until_s);
	X509_free(leaf);
	if (ok && *when_s >= until_s)
		*when_s = until_s - 1;
	return ok ? TLS_FAILURE_NONE : TLS_FAILURE_CHAIN;
}

enum tls_failure verify_shown(const struct tls_store *s, const STACK_OF(CRYPTO_BUFFER) * chain,
	int64_t wall_s, struct verify_peer *ret_peer, enum tls_shown *ret_shown)
{
	int64_t when_s = wall_s;
	enum tls_failure failure = verify_count(chain);
	if (!failure)
		failure = verify_shown_when(sk_CRYPTO_BUFFER_value(chain, 0), &when_s);
	if (!failure)
		failure = verify_whole(s, chain, when_s, ret_peer);
	if (failure)
		return failure;
	*ret_shown = when_s < wall_s ? TLS_SHOWN_EXPIRED : TLS_SHOWN_GOOD;
	bool unknown = s->refuse_stale_crls && wall_s >= ret_peer->listed_until_s;
	return unknown ? TLS_FAILURE_REVOCATION_UNKNOWN : TLS_FAILURE_NONE;
}

static enum tls_failure verify_leaf_again(
	const struct tls_store *s, CRYPTO_BUFFER *bytes, struct verify_peer *peer)
{
	X509 *leaf = X509_parse_from_buffer(bytes);
	if (!leaf)
		return TLS_FAILURE_CHAIN;
	struct str id, trust_domain;
	enum tls_failure failure = verify_fits(s, leaf, &id, &trust_domain);
	if (!failure)
		failure = verify_keep_id(peer, id);
	X509_free(leaf);
	return failure;
}

/* A list may have come since then, so where there are any, the whole path is asked for again. */
enum tls_failure verify_again(const struct tls_store *s, const STACK_OF(CRYPTO_BUFFER) * chain,
	int64_t wall_s, struct verify_peer *peer)
{
	enum tls_failure failure = verify_count(chain);
	if (failure)
		return failure;
	peer->listed_until_s = INT64_MAX;
	failure = verify_now(s, peer, wall_s);
	if (failure)
		return failure;
	if (store_has_lists(s))
		return verify_chain(s, chain, wall_s, peer);
	uint8_t digest[32];
	proven_digest(chain, digest);
	const struct proven_chain *known = verify_find(s, digest);
	return known ? verify_keep_id(peer, known->id)
		     : verify_leaf_again(s, sk_CRYPTO_BUFFER_value(chain, 0), peer);
}

uint8_t verify_alert(enum tls_failure failure)
{
	switch (failure) {
	case TLS_FAILURE_EXPIRED:
		return SSL_AD_CERTIFICATE_EXPIRED;
	case TLS_FAILURE_CHAIN:
	case TLS_FAILURE_TRUST_DOMAIN:
		return SSL_AD_UNKNOWN_CA;
	case TLS_FAILURE_REVOKED:
		return SSL_AD_CERTIFICATE_REVOKED;
	case TLS_FAILURE_REVOCATION_UNKNOWN:
		return SSL_AD_CERTIFICATE_UNKNOWN;
	case TLS_FAILURE_NO_CERTIFICATE:
		return SSL_AD_CERTIFICATE_REQUIRED;
	case TLS_FAILURE_WEAK:
		return SSL_AD_UNSUPPORTED_CERTIFICATE;
	case TLS_FAILURE_UNKNOWN_NAME:
		return SSL_AD_UNRECOGNIZED_NAME;
	case TLS_FAILURE_ALPN:
		return SSL_AD_NO_APPLICATION_PROTOCOL;
	case TLS_FAILURE_NO_IDENTITY:
	case TLS_FAILURE_SIGNATURE:
	case TLS_FAILURE_MEMORY:
		return SSL_AD_INTERNAL_ERROR;
	case TLS_FAILURE_NONE:
	case TLS_FAILURE_PROTOCOL:
	case TLS_FAILURE_VERSION:
	case TLS_FAILURE_CLOSED:
	case TLS_FAILURE_ALERT:
	case TLS_FAILURE_NOT_YET_VALID:
	case TLS_FAILURE_SAN_COUNT:
	case TLS_FAILURE_SAN_ID:
	case TLS_FAILURE_CA_LEAF:
	case TLS_FAILURE_KEY_USAGE:
	case TLS_FAILURE_EXTENDED_KEY_USAGE:
	case TLS_FAILURE_SUBJECT:
	case TLS_FAILURE_CHAIN_LENGTH:
	case TLS_FAILURE_UNEXPECTED_ID:
	case TLS_FAILURE_NAME:
	case TLS_FAILURE_MACHINE:
		return SSL_AD_BAD_CERTIFICATE;
	}
	return SSL_AD_INTERNAL_ERROR;
}
