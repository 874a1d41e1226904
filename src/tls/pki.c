/* SPDX-License-Identifier: Apache-2.0 */
/* X509_verify_cert does the path (signatures, dates, name constraints, unknown critical extensions,
 * extended key usage down to the leaf), the rest is checked on the path it found. What is laxer
 * than for the mesh's own certificates: key usage may be missing, as it often is where people make
 * an authority with one line of openssl, and a server's own certificate may stand among the
 * authorities. */
#include "pki.h"

#include "base/address.h"
#include "verify.h"
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define PKI_NAMES_BYTES_MAX 300

bool pki_is_address(struct str host)
{
	struct address address;
	return address_parse(host, &address);
}

/* --- loading --- */

/* NULL: it can stand as one. */
static const char *pki_authority_fault(X509 *authority)
{
	if (X509_get_version(authority) != X509_VERSION_3)
		return "not an X.509 version 3 certificate";
	if (!verify_extensions_sound(authority))
		return "a malformed or repeated extension";
	return verify_key_strong(authority) ? NULL : "weak or unsupported key";
}

static int pki_load_authority(struct tls_store *s, X509 *authority, size_t number, struct err *err)
{
	const char *fault = pki_authority_fault(authority);
	if (fault)
		return err_set(err, EINVAL, "authorities: certificate %zu: %s", number, fault);
	return trust_add(&s->authorities, authority) ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int pki_load_authorities(struct tls_store *s, const struct bundle_item *item,
	STACK_OF(X509) * certificates, struct err *err)
{
	int r = store_load_pem(item, certificates, err);
	if (r == 0 && sk_X509_num(certificates) == 0)
		return err_set(err, EINVAL, "authorities: no certificate");
	for (size_t i = 0; r == 0 && i < sk_X509_num(certificates); i++)
		r = pki_load_authority(s, sk_X509_value(certificates, i), i + 1, err);
	return r;
}

static int pki_load_some(
	struct tls_store *s, STACK_OF(X509) * certificates, uint32_t *ret_left_out, struct err *err)
{
	size_t count = sk_X509_num(certificates);
	for (size_t i = 0; i < count; i++) {
		X509 *authority = sk_X509_value(certificates, i);
		if (pki_authority_fault(authority))
			(*ret_left_out)++;
		else if (!trust_add(&s->authorities, authority))
			return err_set(err, ENOMEM, "out of memory");
	}
	ERR_clear_error();
	if (*ret_left_out == count)
		return err_set(err, EINVAL, "no certificate of an authority that can be used");
	return 0;
}

int store_load_outside(struct tls_store *s, struct str pem, uint32_t *ret_left_out, struct err *err)
{
	const struct bundle_item item = {
		.kind = STR("authorities"), .name = STR("servers outside"), .text = pem};
	STACK_OF(X509) *certificates = sk_X509_new_null();
	int r = certificates ? store_load_pem(&item, certificates, err)
			     : err_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = pki_load_some(s, certificates, ret_left_out, err);
	sk_X509_pop_free(certificates, X509_free);
	return r;
}

static bool pki_is_p256(X509 *leaf)
{
	EVP_PKEY *key = X509_get_pubkey(leaf);
	const EC_KEY *curve = key ? EVP_PKEY_get0_EC_KEY(key) : NULL;
	bool is =
		curve && EC_GROUP_get_curve_name(EC_KEY_get0_group(curve)) == NID_X9_62_prime256v1;
	EVP_PKEY_free(key);
	ERR_clear_error();
	return is;
}

/* Our own chain is for the server to judge; only what would make signing impossible is looked at.
 */
static int pki_load_own(struct tls_store *s, const struct bundle *b, const struct bundle_item *item,
	STACK_OF(X509) * certificates, struct err *err)
{
	const struct bundle_item *key = bundle_next(b, "pki-key", NULL); /* there is one at most */
	uint64_t number;
	int r = store_load_pem(item, certificates, err);
	if (r < 0)
		return r;
	size_t count = sk_X509_num(certificates);
	if (count == 0 || count > STORE_CHAIN_COUNT_MAX)
		return err_set(err, EINVAL, "our own certificate: %zu certificates, not 1 to %d",
			count, STORE_CHAIN_COUNT_MAX);
	if (!pki_is_p256(sk_X509_value(certificates, 0)))
		return err_set(err, EINVAL, "our own certificate: the key is not of type P-256");
	if (!key || !str_to_u64(key->text, &number) || number > UINT32_MAX)
		return err_set(err, EINVAL, "key of our own certificate: missing or not a number");
	s->identities = calloc(1, sizeof(*s->identities));
	if (!s->identities)
		return err_set(err, ENOMEM, "out of memory");
	s->identity_count = 1;
	s->identities[0].key_number = (uint32_t)number;
	return store_load_chain(s, item, &s->identities[0], certificates, err);
}

int store_load_pki(struct tls_store *s, const struct bundle *b, struct err *err)
{
	const struct bundle_item *roots = bundle_find(b, "pki", STR("roots"));
	const struct bundle_item *chain = bundle_find(b, "pki", STR("chain"));
	STACK_OF(X509) *theirs = sk_X509_new_null(), *ours = sk_X509_new_null();
	int r = 0;
	if (!theirs || !ours)
		r = err_set(err, ENOMEM, "out of memory");
	else if (!roots)
		r = err_set(err, EINVAL, "authorities: missing");
	if (r == 0)
		r = pki_load_authorities(s, roots, theirs, err);
	if (r == 0 && chain)
		r = pki_load_own(s, b, chain, ours, err);
	sk_X509_pop_free(theirs, X509_free);
	sk_X509_pop_free(ours, X509_free);
	return r;
}

int store_load_est(struct tls_store *s, const struct bundle *b, struct err *err)
{
	const struct bundle_item *chain = bundle_find(b, "pki", STR("chain"));
	STACK_OF(X509) *ours = sk_X509_new_null();
	int r = ours ? 0 : err_set(err, ENOMEM, "out of memory");
	if (r == 0 && !chain)
		r = err_set(err, EINVAL, "our own certificate: missing");
	if (r == 0)
		r = store_load_trust(s, b, err);
	if (r == 0)
		r = pki_load_own(s, b, chain, ours, err);
	sk_X509_pop_free(ours, X509_free);
	return r;
}

/* --- judging --- */

static enum tls_failure pki_issuers(STACK_OF(X509) * path)
{
	size_t count = sk_X509_num(path);
	long below = 0; /* issuers between this one and the leaf that are not self-issued */
	for (size_t i = 0; i < count; i++) {
		X509 *it = sk_X509_value(path, i);
		if (!verify_key_strong(it) || (i + 1 < count && !verify_signature_strong(it)))
			return TLS_FAILURE_WEAK;
		if (!verify_extensions_sound(it))
			return TLS_FAILURE_CHAIN;
		if (i == 0)
			continue;
		uint32_t flags = X509_get_extension_flags(it);
		long allowed = X509_get_pathlen(it);
		if (!(flags & EXFLAG_CA) || !(X509_get_key_usage(it) & KU_KEY_CERT_SIGN) ||
			(allowed >= 0 && below > allowed))
			return TLS_FAILURE_CHAIN;
		if (!(flags & EXFLAG_SI))
			below++;
	}
	return TLS_FAILURE_NONE;
}

static enum tls_failure pki_path(const struct tls_store *s, STACK_OF(X509) * chain, int64_t wall_s)
{
	enum tls_failure first = TLS_FAILURE_CHAIN;
	for (size_t i = 0; i < s->authorities.group_count; i++) {
		STACK_OF(X509) * path;
		enum tls_failure failure = trust_find(
			s->authorities.groups[i], chain, wall_s, X509_PURPOSE_SSL_SERVER, &path);
		if (!failure)
			failure = pki_issuers(path);
		sk_X509_pop_free(path, X509_free);
		if (!trust_goes_on(failure))
			return failure;
		if (first == TLS_FAILURE_CHAIN)
			first = failure;
	}
	return first;
}

/* Where the extensions are not there, the library says that all is allowed. */
static enum tls_failure pki_leaf(X509 *leaf)
{
	if (!(X509_get_extended_key_usage(leaf) & XKU_SSL_SERVER))
		return TLS_FAILURE_EXTENDED_KEY_USAGE;
	return X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE ? TLS_FAILURE_NONE
							       : TLS_FAILURE_KEY_USAGE;
}

static bool pki_named(X509 *leaf, struct str host)
{
	struct address address;
	if (!address_parse(host, &address))
		return X509_check_host(leaf, host.at, host.len, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
			       NULL) == 1;
	return X509_check_ip(leaf, address.ip, address.family == AF_INET ? 4 : 16, 0) == 1;
}

static size_t pki_show_name(const GENERAL_NAME *name, char *text, size_t size)
{
	int kind;
	const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &kind);
	if (kind != GEN_DNS && kind != GEN_IPADD && kind != GEN_URI)
		return 0;
	const uint8_t *bytes = ASN1_STRING_get0_data(value);
	int len = ASN1_STRING_length(value);
	if (kind == GEN_IPADD) {
		char ip[ADDRESS_TEXT_MAX];
		struct address address = {.family = len == 4 ? AF_INET : AF_INET6};
		if (len != 4 && len != 16)
			return 0;
		memcpy(address.ip, bytes, (size_t)len);
		return (size_t)snprintf(text, size, "IP:%s", address_ip_text(&address, ip));
	}
	int used = snprintf(
		text, size, "%s:%.*s", kind == GEN_DNS ? "DNS" : "URI", len, (const char *)bytes);
	for (char *c = text; *c; c++) {
		if (*c < ' ' || *c > '~')
			*c = '?';
	}
	return (size_t)used;
}

/* As many names as there is room for. */
static char *pki_show_names(X509 *leaf)
{
	char text[PKI_NAMES_BYTES_MAX] = "no alternative name";
	size_t at = 0;
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	for (size_t i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		char one[PKI_NAMES_BYTES_MAX] = "";
		size_t len = pki_show_name(sk_GENERAL_NAME_value(names, i), one, sizeof(one));
		if (len == 0)
			continue;
		if (at + len + 8 > sizeof(text)) {
			snprintf(text + at, sizeof(text) - at, ", ...");
			break;
		}
		at += (size_t)snprintf(
			text + at, sizeof(text) - at, "%s%s", at > 0 ? ", " : "", one);
	}
	GENERAL_NAMES_free(names);
	return strdup(text);
}

enum tls_failure pki_verify(const struct tls_store *s, const STACK_OF(CRYPTO_BUFFER) * chain,
	struct str host, int64_t wall_s, char **ret_names)
{
	size_t count = chain ? sk_CRYPTO_BUFFER_num(chain) : 0;
	if (count == 0)
		return TLS_FAILURE_NO_CERTIFICATE;
	if (count > STORE_CHAIN_COUNT_MAX)
		return TLS_FAILURE_CHAIN_LENGTH;
	STACK_OF(X509) *certificates = sk_X509_new_null();
	if (!certificates)
		return TLS_FAILURE_MEMORY;
	enum tls_failure failure = verify_parse(chain, certificates);
	X509 *leaf = failure ? NULL : sk_X509_value(certificates, 0);
	if (!failure)
		failure = pki_path(s, certificates, wall_s);
	if (!failure)
		failure = pki_leaf(leaf);
	if (!failure && !pki_named(leaf, host)) {
		failure = TLS_FAILURE_NAME;
		*ret_names = pki_show_names(leaf);
	}
	sk_X509_pop_free(certificates, X509_free);
	return failure;
}

/* --- a key in hand --- */

struct tls_key {
	EC_KEY *key;
};

int tls_key_new(
	struct str pem, const struct tls_store *s, struct tls_key **ret_key, struct err *err)
{
	ASSERT((s->kind == STORE_PKI || s->kind == STORE_EST) && s->identity_count == 1);
	struct tls_key *k = calloc(1, sizeof(*k));
	BIO *text = BIO_new_mem_buf(pem.at, (int)pem.len);
	X509 *leaf = X509_parse_from_buffer(s->identities[0].chain[0]);
	EVP_PKEY *key = NULL;
	char nobody[] = ""; /* instead of asking the terminal for a password */
	int r = 0;
	if (k && text && leaf)
		key = PEM_read_bio_PrivateKey(text, NULL, NULL, nobody);
	if (!k || !text || !leaf)
		r = err_set(err, ENOMEM, "out of memory");
	else if (!key)
		r = err_set(err, EINVAL, "no readable private key (PEM, without a password)");
	else if (!X509_check_private_key(leaf, key))
		r = err_set(err, EINVAL, "not the key of the certificate");
	else
		k->key = EVP_PKEY_get1_EC_KEY(key); /* the certificate's is one */
	EVP_PKEY_free(key);
	X509_free(leaf);
	BIO_free(text);
	ERR_clear_error();
	if (r < 0)
		tls_key_free(k);
	else
		*ret_key = k;
	return r;
}

void tls_key_free(struct tls_key *k)
{
	if (k)
		EC_KEY_free(k->key);
	free(k);
}

size_t tls_key_sign(const struct tls_key *k, const struct tls_sign_request *request,
	uint8_t ret_signature[TLS_SIGNATURE_MAX])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	unsigned len = 0;
	SHA256(request->bytes, request->len, digest);
	bool ok = request->algorithm == SSL_SIGN_ECDSA_SECP256R1_SHA256 &&
		  ECDSA_size(k->key) <= TLS_SIGNATURE_MAX &&
		  ECDSA_sign(0, digest, sizeof(digest), ret_signature, &len, k->key);
	ERR_clear_error();
	return ok ? len : 0;
}
