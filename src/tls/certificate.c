/* SPDX-License-Identifier: Apache-2.0 */
/* The rules for one certificate by itself, as a leaf and as an issuer. */
#include "verify.h"

#include "tls/spiffe.h"
#include <openssl/bytestring.h>
#include <openssl/ec.h>
#include <openssl/nid.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#define VERIFY_SAN_BYTES_MAX	   8192
#define VERIFY_EXTENSION_COUNT_MAX 32
#define VERIFY_RSA_BITS_MIN	   2048
#define VERIFY_RSA_BITS_MAX	   8192
/* GeneralName's uniformResourceIdentifier, [6] IMPLICIT IA5String. */
#define VERIFY_TAG_URI (CBS_ASN1_CONTEXT_SPECIFIC | 6)

bool verify_time(const ASN1_TIME *time, int64_t *ret_s)
{
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	int days, s;
	bool ok = epoch && ASN1_TIME_diff(&days, &s, epoch, time);
	ASN1_TIME_free(epoch);
	if (ok)
		*ret_s = (int64_t)days * 86400 + s;
	return ok;
}

bool verify_dates(X509 *certificate, int64_t *ret_from_s, int64_t *ret_until_s)
{
	return verify_time(X509_get0_notBefore(certificate), ret_from_s) &&
	       verify_time(X509_get0_notAfter(certificate), ret_until_s);
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
	return verify_algorithm_strong(X509_get_signature_nid(certificate));
}

bool verify_algorithm_strong(int nid)
{
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
