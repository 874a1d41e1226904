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
#include <openssl/bytestring.h>
#include <openssl/ec.h>
#include <openssl/nid.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#define VERIFY_SAN_BYTES_MAX	   8192
#define VERIFY_EXTENSION_COUNT_MAX 32
#define VERIFY_RSA_BITS_MIN	   2048
#define VERIFY_RSA_BITS_MAX	   8192
/* GeneralName's uniformResourceIdentifier, [6] IMPLICIT IA5String. */
#define VERIFY_TAG_URI (CBS_ASN1_CONTEXT_SPECIFIC | 6)

/* --- one certificate --- */

bool verify_dates(X509 *certificate, int64_t *ret_from_s, int64_t *ret_until_s)
{
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	int from_days, from_s, until_days, until_s;
	bool ok = epoch &&
		  ASN1_TIME_diff(&from_days, &from_s, epoch, X509_get0_notBefore(certificate)) &&
		  ASN1_TIME_diff(&until_days, &until_s, epoch, X509_get0_notAfter(certificate));
	ASN1_TIME_free(epoch);
	if (!ok)
		return false;
	*ret_from_s = (int64_t)from_days * 86400 + from_s;
	*ret_until_s = (int64_t)until_days * 86400 + until_s;
	return true;
}

/* The extension when it stands there exactly once. */
static X509_EXTENSION *verify_extension(const X509 *certificate, int nid)
{
	int at = X509_get_ext_by_NID(certificate, nid, -1);
	if (at < 0 || X509_get_ext_by_NID(certificate, nid, at) >= 0)
		return NULL;
	return X509_get_ext(certificate, at);
}

bool verify_extensions_sound(X509 *certificate)
{
	int count = X509_get_ext_count(certificate);
	if (count > VERIFY_EXTENSION_COUNT_MAX)
		return false;
	for (int i = 0; i < count; i++) {
		const ASN1_OBJECT *kind = X509_EXTENSION_get_object(X509_get_ext(certificate, i));
		if (X509_get_ext_by_OBJ(certificate, kind, i) >= 0)
			return false;
	}
	return !(X509_get_extension_flags(certificate) & EXFLAG_INVALID);
}

/* The one URI of a SAN extension. The value is read by its length: a NUL inside is a character like
 * any other, which the SPIFFE grammar then refuses. */
static enum tls_failure verify_san(X509_EXTENSION *san, struct str *ret_id)
{
	const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(san);
	CBS bytes, names, name;
	CBS_init(&bytes, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
	if (CBS_len(&bytes) > VERIFY_SAN_BYTES_MAX)
		return TLS_FAILURE_CHAIN_LENGTH;
	if (!CBS_get_asn1(&bytes, &names, CBS_ASN1_SEQUENCE) || CBS_len(&bytes) != 0)
		return TLS_FAILURE_SAN_COUNT;
	size_t uri_count = 0;
	while (CBS_len(&names) > 0) {
		unsigned tag;
		if (!CBS_get_any_asn1(&names, &name, &tag))
			return TLS_FAILURE_SAN_COUNT;
		if (tag != VERIFY_TAG_URI)
			continue;
		uri_count++;
		*ret_id = (struct str){(const char *)CBS_data(&name), CBS_len(&name)};
	}
	return uri_count == 1 ? TLS_FAILURE_NONE : TLS_FAILURE_SAN_COUNT;
}

static enum tls_failure verify_id(X509 *leaf, struct str *ret_id, struct str *ret_trust_domain)
{
	X509_EXTENSION *san = verify_extension(leaf, NID_subject_alt_name);
	if (!san)
		return TLS_FAILURE_SAN_COUNT;
	enum tls_failure failure = verify_san(san, ret_id);
	if (failure)
		return failure;
	struct str path;
	if (!spiffe_parse(*ret_id, ret_trust_domain, &path))
		return TLS_FAILURE_SAN_ID;
	if (X509_NAME_entry_count(X509_get_subject_name(leaf)) == 0 &&
		!X509_EXTENSION_get_critical(san))
		return TLS_FAILURE_SUBJECT;
	return TLS_FAILURE_NONE;
}

static enum tls_failure verify_usage(X509 *leaf)
{
	X509_EXTENSION *usage = verify_extension(leaf, NID_key_usage);
	uint32_t bits = X509_get_key_usage(leaf);
	if (!usage || !X509_EXTENSION_get_critical(usage) || !(bits & KU_DIGITAL_SIGNATURE) ||
		(bits & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)))
		return TLS_FAILURE_KEY_USAGE;
	uint32_t both = XKU_SSL_SERVER | XKU_SSL_CLIENT;
	if (X509_get_ext_by_NID(leaf, NID_ext_key_usage, -1) >= 0 &&
		(X509_get_extended_key_usage(leaf) & both) != both)
		return TLS_FAILURE_EXTENDED_KEY_USAGE;
	return TLS_FAILURE_NONE;
}

bool verify_key_strong(X509 *certificate)
{
	EVP_PKEY *key = X509_get_pubkey(certificate);
	bool strong = false;
	if (key && EVP_PKEY_id(key) == EVP_PKEY_EC) {
		int curve = EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key)));
		strong = curve == NID_X9_62_prime256v1 || curve == NID_secp384r1;
	} else if (key && EVP_PKEY_id(key) == EVP_PKEY_RSA) {
		int bits = EVP_PKEY_bits(key);
		strong = bits >= VERIFY_RSA_BITS_MIN && bits <= VERIFY_RSA_BITS_MAX;
	}
	EVP_PKEY_free(key);
	return strong;
}

bool verify_signature_strong(const X509 *certificate)
{
	int nid = X509_get_signature_nid(certificate);
	return nid == NID_ecdsa_with_SHA256 || nid == NID_ecdsa_with_SHA384 ||
	       nid == NID_ecdsa_with_SHA512 || nid == NID_sha256WithRSAEncryption ||
	       nid == NID_sha384WithRSAEncryption || nid == NID_sha512WithRSAEncryption;
}

enum tls_failure verify_leaf(X509 *leaf, struct str *ret_id, struct str *ret_trust_domain)
{
	enum tls_failure failure = verify_id(leaf, ret_id, ret_trust_domain);
	if (failure)
		return failure;
	if (X509_get_extension_flags(leaf) & EXFLAG_CA)
		return TLS_FAILURE_CA_LEAF;
	failure = verify_usage(leaf);
	if (failure)
		return failure;
	if (!verify_extensions_sound(leaf))
		return TLS_FAILURE_CHAIN;
	if (!verify_key_strong(leaf) || !verify_signature_strong(leaf))
		return TLS_FAILURE_WEAK;
	return TLS_FAILURE_NONE;
}

/* Whether its one URI name is the id of a workload: an issuer's SPIFFE id has no path. */
static bool verify_is_workload(const X509 *certificate)
{
	struct str id, trust_domain, path;
	X509_EXTENSION *san = verify_extension(certificate, NID_subject_alt_name);
	return san && verify_san(san, &id) == TLS_FAILURE_NONE &&
	       spiffe_parse(id, &trust_domain, &path);
}

const char *verify_anchor_fault(X509 *anchor)
{
	if (X509_get_version(anchor) != X509_VERSION_3)
		return "not an X.509 version 3 certificate";
	if (!verify_extensions_sound(anchor))
		return "a malformed or repeated extension";
	if (!(X509_get_extension_flags(anchor) & EXFLAG_CA))
		return "not a CA certificate";
	X509_EXTENSION *usage = verify_extension(anchor, NID_key_usage);
	if (!usage || !X509_EXTENSION_get_critical(usage) ||
		!(X509_get_key_usage(anchor) & KU_KEY_CERT_SIGN))
		return "key usage missing, not critical, or without keyCertSign";
	if (verify_is_workload(anchor))
		return "a SPIFFE id with a path, which only a workload has";
	if (!verify_key_strong(anchor))
		return "weak or unsupported key";
	return NULL;
}

/* --- the path --- */

enum tls_failure verify_error(int x509_error)
{
	switch (x509_error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return TLS_FAILURE_EXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_FAILURE_NOT_YET_VALID;
	case X509_V_ERR_CERT_CHAIN_TOO_LONG:
		return TLS_FAILURE_CHAIN_LENGTH;
	case X509_V_ERR_OUT_OF_MEM:
		return TLS_FAILURE_MEMORY;
	default:
		return TLS_FAILURE_CHAIN;
	}
}

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

static enum tls_failure verify_path_found(STACK_OF(X509) * path, struct verify_peer *peer)
{
	peer->valid_from_s = INT64_MIN;
	peer->valid_until_s = INT64_MAX;
	for (size_t i = 0; i < sk_X509_num(path); i++) {
		int64_t from_s, until_s;
		if (!verify_dates(sk_X509_value(path, i), &from_s, &until_s))
			return TLS_FAILURE_CHAIN;
		if (from_s > peer->valid_from_s)
			peer->valid_from_s = from_s;
		if (until_s < peer->valid_until_s)
			peer->valid_until_s = until_s;
	}
	return verify_issuers(path);
}

static enum tls_failure verify_path(const struct tls_anchors *anchors, STACK_OF(X509) * chain,
	int64_t wall_s, struct verify_peer *peer)
{
	X509_STORE_CTX *search = X509_STORE_CTX_new();
	if (!search || !X509_STORE_CTX_init(
			       search, anchors->certificates, sk_X509_value(chain, 0), chain)) {
		X509_STORE_CTX_free(search);
		return TLS_FAILURE_MEMORY;
	}
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(search);
	X509_VERIFY_PARAM_set_time(param, (time_t)wall_s);
	X509_VERIFY_PARAM_set_depth(param, STORE_CHAIN_COUNT_MAX);
	/* Each certificate of the bundle is an anchor in its own right, self-signed or not. */
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
	enum tls_failure failure;
	if (X509_verify_cert(search) == 1)
		failure = verify_path_found(X509_STORE_CTX_get0_chain(search), peer);
	else
		failure = verify_error(X509_STORE_CTX_get_error(search));
	X509_STORE_CTX_free(search);
	return failure;
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

static enum tls_failure verify_parsed(
	const struct tls_store *s, STACK_OF(X509) * chain, int64_t wall_s, struct verify_peer *peer)
{
	struct str id, trust_domain;
	enum tls_failure failure = verify_leaf(sk_X509_value(chain, 0), &id, &trust_domain);
	if (failure)
		return failure;
	const struct tls_anchors *anchors = store_anchors(s, trust_domain);
	if (!anchors || !anchors->certificates)
		return TLS_FAILURE_TRUST_DOMAIN;
	failure = verify_path(anchors, chain, wall_s, peer);
	if (failure)
		return failure;
	peer->id = strndup(id.at, id.len);
	return peer->id ? TLS_FAILURE_NONE : TLS_FAILURE_MEMORY;
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

static enum tls_failure verify_now(const struct verify_peer *peer, int64_t wall_s)
{
	if (wall_s >= peer->valid_until_s)
		return TLS_FAILURE_EXPIRED;
	return wall_s < peer->valid_from_s ? TLS_FAILURE_NOT_YET_VALID : TLS_FAILURE_NONE;
}

static enum tls_failure verify_keep_id(struct verify_peer *peer, struct str id)
{
	peer->id = strndup(id.at, id.len);
	return peer->id ? TLS_FAILURE_NONE : TLS_FAILURE_MEMORY;
}

/* These very bytes have passed before: what was found then holds, but for the time. */
static enum tls_failure verify_known(
	const struct proven_chain *known, int64_t wall_s, struct verify_peer *ret_peer)
{
	ret_peer->valid_from_s = known->valid_from_s;
	ret_peer->valid_until_s = known->valid_until_s;
	enum tls_failure failure = verify_now(ret_peer, wall_s);
	return failure ? failure : verify_keep_id(ret_peer, known->id);
}

enum tls_failure verify_chain(const struct tls_store *s, const STACK_OF(CRYPTO_BUFFER) * chain,
	int64_t wall_s, struct verify_peer *ret_peer)
{
	size_t count = chain ? sk_CRYPTO_BUFFER_num(chain) : 0;
	if (count == 0)
		return TLS_FAILURE_NO_CERTIFICATE;
	if (count > STORE_CHAIN_COUNT_MAX)
		return TLS_FAILURE_CHAIN_LENGTH;
	struct proven_chain proven;
	proven_digest(chain, proven.digest);
	const struct proven_chain *known = proven_find(s->proven, proven.digest);
	if (known)
		return verify_known(known, wall_s, ret_peer);
	enum tls_failure failure = verify_whole(s, chain, wall_s, ret_peer);
	if (failure)
		return failure;
	proven.valid_from_s = ret_peer->valid_from_s;
	proven.valid_until_s = ret_peer->valid_until_s;
	proven.id = str_of(ret_peer->id);
	proven_add(s->proven, &proven);
	return TLS_FAILURE_NONE;
}

static enum tls_failure verify_leaf_again(CRYPTO_BUFFER *bytes, struct verify_peer *peer)
{
	X509 *leaf = X509_parse_from_buffer(bytes);
	if (!leaf)
		return TLS_FAILURE_CHAIN;
	struct str id, trust_domain;
	enum tls_failure failure = verify_leaf(leaf, &id, &trust_domain);
	if (!failure)
		failure = verify_keep_id(peer, id);
	X509_free(leaf);
	return failure;
}

enum tls_failure verify_again(const struct tls_store *s, const STACK_OF(CRYPTO_BUFFER) * chain,
	int64_t wall_s, struct verify_peer *peer)
{
	if (!chain || sk_CRYPTO_BUFFER_num(chain) == 0)
		return TLS_FAILURE_NO_CERTIFICATE;
	enum tls_failure failure = verify_now(peer, wall_s);
	if (failure)
		return failure;
	uint8_t digest[32];
	proven_digest(chain, digest);
	const struct proven_chain *known = proven_find(s->proven, digest);
	return known ? verify_keep_id(peer, known->id)
		     : verify_leaf_again(sk_CRYPTO_BUFFER_value(chain, 0), peer);
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
