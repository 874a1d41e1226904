/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates are made here from what the caller has decided, extension by extension; nothing is
 * ever copied from a request. */
#include "keys/cert.h"

#include <errno.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>

/* Bits of the KeyUsage BIT STRING, RFC 5280 4.2.1.3. */
enum cert_usage_bit { CERT_DIGITAL_SIGNATURE = 0, CERT_KEY_CERT_SIGN = 5, CERT_CRL_SIGN = 6 };

/* 127 random bits: positive, and not zero for all practical purposes (RFC 5280 4.1.2.2). */
static bool cert_set_serial(X509 *x)
{
	uint8_t bytes[16];
	RAND_bytes(bytes, sizeof(bytes));
	bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40);
	BIGNUM *n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
	BN_free(n);
	return ok;
}

static bool cert_set_dates(X509 *x, int64_t not_before_s, int64_t not_after_s)
{
	return ASN1_TIME_adj(X509_getm_notBefore(x), (time_t)not_before_s, 0, 0) &&
	       ASN1_TIME_adj(X509_getm_notAfter(x), (time_t)not_after_s, 0, 0);
}

bool cert_key_id(const X509 *x, uint8_t ret_id[CERT_KEY_ID_BYTES])
{
	const ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(x);
	if (!bits)
		return false;
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA256(ASN1_STRING_get0_data(bits), (size_t)ASN1_STRING_length(bits), digest);
	memcpy(ret_id, digest, CERT_KEY_ID_BYTES);
	return true;
}

static bool cert_add_subject_key_id(X509 *x)
{
	uint8_t id[CERT_KEY_ID_BYTES];
	ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
	bool ok = octets && cert_key_id(x, id) && ASN1_STRING_set(octets, id, sizeof(id)) &&
		  X509_add1_ext_i2d(x, NID_subject_key_identifier, octets, 0, X509V3_ADD_DEFAULT);
	ASN1_OCTET_STRING_free(octets);
	return ok;
}

static bool cert_add_authority_key_id(X509 *x, const X509 *issuer)
{
	uint8_t id[CERT_KEY_ID_BYTES];
	AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();
	if (!authority)
		return false;
	authority->keyid = ASN1_OCTET_STRING_new();
	bool ok = authority->keyid && cert_key_id(issuer, id) &&
		  ASN1_STRING_set(authority->keyid, id, sizeof(id)) &&
		  X509_add1_ext_i2d(
			  x, NID_authority_key_identifier, authority, 0, X509V3_ADD_DEFAULT);
	AUTHORITY_KEYID_free(authority);
	return ok;
}

/* Takes the name over. */
static bool cert_push_name(GENERAL_NAMES *names, GENERAL_NAME *name)
{
	if (name && sk_GENERAL_NAME_push(names, name))
		return true;
	GENERAL_NAME_free(name);
	return false;
}

static GENERAL_NAME *cert_uri_name(struct str id)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *uri = ASN1_IA5STRING_new();
	if (!name || !uri || !ASN1_STRING_set(uri, id.at, (int)id.len)) {
		GENERAL_NAME_free(name);
		ASN1_IA5STRING_free(uri);
		return NULL;
	}
	GENERAL_NAME_set0_value(name, GEN_URI, uri);
	return name;
}

static bool cert_add_uri(X509 *x, struct str id, bool critical)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	bool ok = names && cert_push_name(names, cert_uri_name(id)) &&
		  X509_add1_ext_i2d(x, NID_subject_alt_name, names, critical, X509V3_ADD_DEFAULT);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	return ok;
}

static bool cert_add_key_usage(X509 *x, enum cert_usage_bit bit, enum cert_usage_bit second_bit)
{
	ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
	bool ok = bits && ASN1_BIT_STRING_set_bit(bits, (int)bit, 1) &&
		  ASN1_BIT_STRING_set_bit(bits, (int)second_bit, 1) &&
		  X509_add1_ext_i2d(x, NID_key_usage, bits, 1, X509V3_ADD_DEFAULT);
	ASN1_BIT_STRING_free(bits);
	return ok;
}

/* The objects are the library's own constants. */
static bool cert_add_extended_usage(X509 *x, bool is_client)
{
	EXTENDED_KEY_USAGE *usages = sk_ASN1_OBJECT_new_null();
	bool ok = usages && sk_ASN1_OBJECT_push(usages, OBJ_nid2obj(NID_server_auth)) &&
		  (!is_client || sk_ASN1_OBJECT_push(usages, OBJ_nid2obj(NID_client_auth))) &&
		  X509_add1_ext_i2d(x, NID_ext_key_usage, usages, 0, X509V3_ADD_DEFAULT);
	sk_ASN1_OBJECT_free(usages);
	return ok;
}

/* `path_len` < 0: no authority. */
static BASIC_CONSTRAINTS *cert_constraints(int path_len)
{
	BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
	if (!constraints || path_len < 0)
		return constraints;
	constraints->ca = 0xff; /* DER knows one TRUE */
	constraints->pathlen = ASN1_INTEGER_new();
	if (constraints->pathlen && ASN1_INTEGER_set(constraints->pathlen, path_len))
		return constraints;
	BASIC_CONSTRAINTS_free(constraints);
	return NULL;
}

static bool cert_add_constraints(X509 *x, int path_len)
{
	BASIC_CONSTRAINTS *constraints = cert_constraints(path_len);
	bool ok = constraints &&
		  X509_add1_ext_i2d(x, NID_basic_constraints, constraints, 1, X509V3_ADD_DEFAULT);
	BASIC_CONSTRAINTS_free(constraints);
	return ok;
}

static bool cert_begin(X509 *x, EVP_PKEY *key, struct cert_life life)
{
	return X509_set_version(x, X509_VERSION_3) && cert_set_serial(x) &&
	       X509_set_pubkey(x, key) &&
	       cert_set_dates(x, life.now_s - life.backdate_s, life.now_s + life.lifetime_s);
}

/* Names of authorities carry a part of the key's id, so that the two of a rotation never have one
 * name. */
static bool cert_set_name(X509_NAME *name, const char *what, const uint8_t id[CERT_KEY_ID_BYTES])
{
	char text[64];
	int len = snprintf(text, sizeof(text), "ringmain %s %02x%02x%02x%02x", what, id[0], id[1],
		id[2], id[3]);
	return X509_NAME_add_entry_by_NID(
		name, NID_commonName, MBSTRING_UTF8, (const uint8_t *)text, len, -1, 0);
}

static bool cert_set_subject(X509 *x, const char *what)
{
	uint8_t id[CERT_KEY_ID_BYTES];
	return cert_key_id(x, id) && cert_set_name(X509_get_subject_name(x), what, id);
}

static struct str cert_domain_id(struct str trust_domain, char id[300])
{
	int len = snprintf(id, 300, "spiffe://" STR_FMT, STR_ARG(trust_domain));
	ASSERT(len > 0 && len < 300);
	return (struct str){id, (size_t)len};
}

static int cert_failed(X509 *x, const char *what, struct err *err)
{
	X509_free(x);
	ERR_clear_error();
	return err_set(err, ENOMEM, "the %s could not be made", what);
}

int cert_root_new(EVP_PKEY *key, struct str trust_domain, struct cert_life life, X509 **ret_root,
	struct err *err)
{
	char id[300];
	X509 *x = X509_new();
	if (!x || !cert_begin(x, key, life) || !cert_set_subject(x, "root") ||
		!X509_set_issuer_name(x, X509_get_subject_name(x)) || !cert_add_constraints(x, 1) ||
		!cert_add_key_usage(x, CERT_KEY_CERT_SIGN, CERT_CRL_SIGN) ||
		!cert_add_uri(x, cert_domain_id(trust_domain, id), false) ||
		!cert_add_subject_key_id(x) || !cert_add_authority_key_id(x, x) ||
		!X509_sign(x, key, EVP_sha256()))
		return cert_failed(x, "root certificate", err);
	*ret_root = x;
	return 0;
}

/* Nothing outlives its signer. */
static int cert_limit(const struct cert_issuer *signer, struct cert_life *life, struct err *err)
{
	int64_t left_s = cert_not_after(signer->cert) - life->now_s;
	if (left_s <= 0)
		return err_set(err, EKEYEXPIRED, "the signing certificate has expired");
	if (life->lifetime_s > left_s)
		life->lifetime_s = left_s;
	return 0;
}

int cert_issuer_new(EVP_PKEY *key, struct str trust_domain, const struct cert_issuer *root,
	struct cert_life life, X509 **ret_issuer, struct err *err)
{
	char id[300];
	int r = cert_limit(root, &life, err);
	if (r < 0)
		return r;
	X509 *x = X509_new();
	if (!x || !cert_begin(x, key, life) || !cert_set_subject(x, "issuer") ||
		!X509_set_issuer_name(x, X509_get_subject_name(root->cert)) ||
		!cert_add_constraints(x, 0) ||
		!cert_add_key_usage(x, CERT_KEY_CERT_SIGN, CERT_CRL_SIGN) ||
		!cert_add_uri(x, cert_domain_id(trust_domain, id), false) ||
		!cert_add_subject_key_id(x) || !cert_add_authority_key_id(x, root->cert) ||
		!X509_sign(x, root->key, EVP_sha256()))
		return cert_failed(x, "issuer's certificate", err);
	*ret_issuer = x;
	return 0;
}

int cert_leaf_new(EVP_PKEY *key, struct str id, const struct cert_issuer *issuer,
	struct cert_life life, X509 **ret_leaf, struct err *err)
{
	int r = cert_limit(issuer, &life, err);
	if (r < 0)
		return r;
	X509 *x = X509_new();
	/* No subject: the identity is the URI alone, which makes that extension critical. */
	if (!x || !cert_begin(x, key, life) ||
		!X509_set_issuer_name(x, X509_get_subject_name(issuer->cert)) ||
		!cert_add_constraints(x, -1) ||
		!cert_add_key_usage(x, CERT_DIGITAL_SIGNATURE, CERT_DIGITAL_SIGNATURE) ||
		!cert_add_extended_usage(x, true) || !cert_add_uri(x, id, true) ||
		!cert_add_subject_key_id(x) || !cert_add_authority_key_id(x, issuer->cert) ||
		!X509_sign(x, issuer->key, EVP_sha256()))
		return cert_failed(x, "certificate", err);
	*ret_leaf = x;
	return 0;
}

/* --- servers --- */

static GENERAL_NAME *cert_general_name(int kind, int type, const void *bytes, size_t len)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_STRING *value = ASN1_STRING_type_new(type);
	if (!name || !value || !ASN1_STRING_set(value, bytes, (int)len)) {
		GENERAL_NAME_free(name);
		ASN1_STRING_free(value);
		return NULL;
	}
	GENERAL_NAME_set0_value(name, kind, value);
	return name;
}

static GENERAL_NAME *cert_address_name(const struct address *a)
{
	return cert_general_name(
		GEN_IPADD, V_ASN1_OCTET_STRING, a->ip, a->family == AF_INET ? 4 : 16);
}

static GENERAL_NAME *cert_text_name(struct str text)
{
	struct address address;
	if (address_parse(text, &address))
		return cert_address_name(&address);
	return cert_general_name(GEN_DNS, V_ASN1_IA5STRING, text.at, text.len);
}

static bool cert_address_is_any(const struct address *a)
{
	static const uint8_t zero[16];
	return memcmp(a->ip, zero, sizeof(zero)) == 0;
}

static bool cert_add_names(X509 *x, const struct cert_names *n)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	bool ok = names != NULL;
	for (uint32_t i = 0; ok && i < n->address_count; i++) {
		if (!cert_address_is_any(&n->addresses[i]))
			ok = cert_push_name(names, cert_address_name(&n->addresses[i]));
	}
	for (uint32_t i = 0; ok && i < n->name_count; i++)
		ok = cert_push_name(names, cert_text_name(n->names[i]));
	ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	return ok;
}

int cert_server_new(EVP_PKEY *key, const struct cert_names *names, const struct cert_issuer *issuer,
	struct cert_life life, X509 **ret_leaf, struct err *err)
{
	int r = cert_limit(issuer, &life, err);
	if (r < 0)
		return r;
	X509 *x = X509_new();
	if (!x || !cert_begin(x, key, life) ||
		!X509_set_issuer_name(x, X509_get_subject_name(issuer->cert)) ||
		!cert_add_constraints(x, -1) ||
		!cert_add_key_usage(x, CERT_DIGITAL_SIGNATURE, CERT_DIGITAL_SIGNATURE) ||
		!cert_add_extended_usage(x, false) || !cert_add_names(x, names) ||
		!cert_add_subject_key_id(x) || !cert_add_authority_key_id(x, issuer->cert) ||
		!X509_sign(x, issuer->key, EVP_sha256()))
		return cert_failed(x, "server's certificate", err);
	*ret_leaf = x;
	return 0;
}

/* --- a request for an issuer --- */

/* The extensions are put together on a certificate that is never signed, and copied from there. */
static bool cert_request_extensions(X509_REQ *request, const X509 *model)
{
	STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
	bool ok = list != NULL;
	for (int i = 0; ok && i < X509_get_ext_count(model); i++)
		ok = sk_X509_EXTENSION_push(list, X509_get_ext(model, i)) > 0;
	ok = ok && X509_REQ_add_extensions(request, list);
	sk_X509_EXTENSION_free(list);
	return ok;
}

static bool cert_request_fill(
	X509_REQ *request, X509 *model, EVP_PKEY *key, struct str trust_domain)
{
	char id[300];
	return X509_set_pubkey(model, key) && cert_set_subject(model, "issuer") &&
	       cert_add_constraints(model, 0) &&
	       cert_add_key_usage(model, CERT_KEY_CERT_SIGN, CERT_CRL_SIGN) &&
	       cert_add_uri(model, cert_domain_id(trust_domain, id), false) &&
	       X509_REQ_set_version(request, X509_REQ_VERSION_1) &&
	       X509_REQ_set_subject_name(request, X509_get_subject_name(model)) &&
	       X509_REQ_set_pubkey(request, key) && cert_request_extensions(request, model) &&
	       X509_REQ_sign(request, key, EVP_sha256());
}

int cert_issuer_request(
	EVP_PKEY *key, struct str trust_domain, struct str *ret_text, struct err *err)
{
	X509_REQ *request = X509_REQ_new();
	X509 *model = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());
	const uint8_t *bytes;
	size_t len;
	char *text = NULL;
	if (request && model && bio && cert_request_fill(request, model, key, trust_domain) &&
		PEM_write_bio_X509_REQ(bio, request) && BIO_mem_contents(bio, &bytes, &len) &&
		(text = strndup((const char *)bytes, len)))
		*ret_text = (struct str){text, len};
	X509_REQ_free(request);
	BIO_free(bio);
	if (!text)
		return cert_failed(model, "request", err);
	X509_free(model);
	return 0;
}
