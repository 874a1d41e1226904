/* SPDX-License-Identifier: Apache-2.0 */
#include "keys/cert.h"

#include <errno.h>
#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define CERT_KEY_ID_BYTES 20

/* Bits of the KeyUsage BIT STRING, RFC 5280 4.2.1.3. */
enum cert_usage_bit { CERT_DIGITAL_SIGNATURE = 0, CERT_KEY_CERT_SIGN = 5, CERT_CRL_SIGN = 6 };

EVP_PKEY *cert_key_new(void)
{
	EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
	EVP_PKEY *key = EVP_PKEY_new();
	if (ec && key && EC_KEY_generate_key(ec) && EVP_PKEY_set1_EC_KEY(key, ec)) {
		EC_KEY_free(ec);
		return key;
	}
	EC_KEY_free(ec);
	EVP_PKEY_free(key);
	return NULL;
}

bool cert_key_is_p256(const EVP_PKEY *key)
{
	if (EVP_PKEY_id(key) != EVP_PKEY_EC)
		return false;
	const EC_KEY *ec = EVP_PKEY_get0_EC_KEY(key);
	return EC_GROUP_get_curve_name(EC_KEY_get0_group(ec)) == NID_X9_62_prime256v1;
}

/* --- making --- */

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

/* RFC 7093 method 1: the first 160 bits of a SHA-256 over the public key. */
static bool cert_key_id(const X509 *x, uint8_t ret_id[CERT_KEY_ID_BYTES])
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

/* Every workload is a client and a server. The objects are the library's own constants. */
static bool cert_add_extended_usage(X509 *x)
{
	EXTENDED_KEY_USAGE *usages = sk_ASN1_OBJECT_new_null();
	bool ok = usages && sk_ASN1_OBJECT_push(usages, OBJ_nid2obj(NID_server_auth)) &&
		  sk_ASN1_OBJECT_push(usages, OBJ_nid2obj(NID_client_auth)) &&
		  X509_add1_ext_i2d(x, NID_ext_key_usage, usages, 0, X509V3_ADD_DEFAULT);
	sk_ASN1_OBJECT_free(usages);
	return ok;
}

static bool cert_add_constraints(X509 *x, bool is_ca)
{
	BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
	if (!constraints)
		return false;
	constraints->ca = is_ca ? 0xff : 0; /* DER knows one TRUE */
	bool ok = true;
	if (is_ca) {
		/* Path length 0: below this root stand leaves, no further authority. */
		constraints->pathlen = ASN1_INTEGER_new();
		ok = constraints->pathlen && ASN1_INTEGER_set(constraints->pathlen, 0);
	}
	ok = ok && X509_add1_ext_i2d(x, NID_basic_constraints, constraints, 1, X509V3_ADD_DEFAULT);
	BASIC_CONSTRAINTS_free(constraints);
	return ok;
}

static bool cert_begin(X509 *x, EVP_PKEY *key, int64_t not_before_s, int64_t not_after_s)
{
	return X509_set_version(x, X509_VERSION_3) && cert_set_serial(x) &&
	       X509_set_pubkey(x, key) && cert_set_dates(x, not_before_s, not_after_s);
}

/* The name carries a part of the key's id, so that two roots of a rotation never have one name. */
static bool cert_set_root_name(X509 *x)
{
	uint8_t id[CERT_KEY_ID_BYTES];
	char text[64];
	if (!cert_key_id(x, id))
		return false;
	int len = snprintf(
		text, sizeof(text), "ringmain root %02x%02x%02x%02x", id[0], id[1], id[2], id[3]);
	X509_NAME *name = X509_get_subject_name(x);
	return X509_NAME_add_entry_by_NID(
		       name, NID_commonName, MBSTRING_UTF8, (const uint8_t *)text, len, -1, 0) &&
	       X509_set_issuer_name(x, name);
}

int cert_root_new(EVP_PKEY *key, struct str trust_domain, int64_t now_s, int64_t lifetime_s,
	X509 **ret_root, struct err *err)
{
	char id[300];
	int len = snprintf(id, sizeof(id), "spiffe://" STR_FMT, STR_ARG(trust_domain));
	ASSERT(len > 0 && (size_t)len < sizeof(id));
	X509 *x = X509_new();
	if (x && cert_begin(x, key, now_s - CERT_CLOCK_SKEW_S, now_s + lifetime_s) &&
		cert_set_root_name(x) && cert_add_constraints(x, true) &&
		cert_add_key_usage(x, CERT_KEY_CERT_SIGN, CERT_CRL_SIGN) &&
		cert_add_uri(x, str_of(id), false) && cert_add_subject_key_id(x) &&
		cert_add_authority_key_id(x, x) && X509_sign(x, key, EVP_sha256())) {
		*ret_root = x;
		return 0;
	}
	X509_free(x);
	ERR_clear_error();
	return err_set(err, ENOMEM, "the root certificate could not be made");
}

/* Seconds from `now_s` to the certificate's end; negative when it is over. */
static int64_t cert_seconds_left(const X509 *x, int64_t now_s)
{
	int days = 0, seconds = 0;
	ASN1_TIME *now = ASN1_TIME_adj(NULL, (time_t)now_s, 0, 0);
	bool ok = now && ASN1_TIME_diff(&days, &seconds, now, X509_get0_notAfter(x));
	ASN1_TIME_free(now);
	return ok ? (int64_t)days * 86400 + seconds : -1;
}

int cert_leaf_new(EVP_PKEY *key, struct str id, X509 *root, EVP_PKEY *root_key, int64_t now_s,
	int64_t lifetime_s, X509 **ret_leaf, struct err *err)
{
	int64_t left_s = cert_seconds_left(root, now_s);
	if (left_s <= 0)
		return err_set(err, EKEYEXPIRED, "the root certificate has expired");
	if (lifetime_s > left_s)
		lifetime_s = left_s;
	X509 *x = X509_new();
	/* No subject: the identity is the URI alone, which makes that extension critical. */
	if (x && cert_begin(x, key, now_s - CERT_CLOCK_SKEW_S, now_s + lifetime_s) &&
		X509_set_issuer_name(x, X509_get_subject_name(root)) &&
		cert_add_constraints(x, false) &&
		cert_add_key_usage(x, CERT_DIGITAL_SIGNATURE, CERT_DIGITAL_SIGNATURE) &&
		cert_add_extended_usage(x) && cert_add_uri(x, id, true) &&
		cert_add_subject_key_id(x) && cert_add_authority_key_id(x, root) &&
		X509_sign(x, root_key, EVP_sha256())) {
		*ret_leaf = x;
		return 0;
	}
	X509_free(x);
	ERR_clear_error();
	return err_set(err, ENOMEM, "the certificate could not be made");
}

/* --- reading --- */

static int cert_uri_copy(const GENERAL_NAMES *names, char *id, size_t size)
{
	const ASN1_STRING *found = NULL;
	for (size_t i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type != GEN_URI)
			continue;
		if (found)
			return -ENOTUNIQ;
		found = name->d.uniformResourceIdentifier;
	}
	if (!found)
		return -ENOENT;
	size_t len = (size_t)ASN1_STRING_length(found);
	if (len >= size)
		return -EMSGSIZE;
	memcpy(id, ASN1_STRING_get0_data(found), len);
	id[len] = '\0';
	/* A NUL inside would make the text end earlier than the certificate's. */
	return strlen(id) == len ? 0 : -EMSGSIZE;
}

int cert_uri(X509 *cert, char *id, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int r = cert_uri_copy(names, id, size);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	ERR_clear_error();
	return r;
}

static int cert_bio_text(BIO *bio, struct str *ret_text)
{
	const uint8_t *bytes;
	size_t len;
	if (!BIO_mem_contents(bio, &bytes, &len))
		return -ENOMEM;
	char *text = malloc(len + 1);
	if (!text)
		return -ENOMEM;
	memcpy(text, bytes, len);
	text[len] = '\0';
	*ret_text = (struct str){text, len};
	return 0;
}

int cert_pem(X509 *cert, struct str *ret_text)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int r = bio && PEM_write_bio_X509(bio, cert) ? cert_bio_text(bio, ret_text) : -ENOMEM;
	BIO_free(bio);
	return r;
}

int cert_key_pem(EVP_PKEY *key, struct str *ret_text)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int r = bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)
			? cert_bio_text(bio, ret_text)
			: -ENOMEM;
	BIO_free(bio);
	return r;
}

/* An encrypted PEM has no password that anybody could type here. */
static int cert_no_password(char *text, int size, int writing, void *unused)
{
	return -1;
}

/* Whether reading stopped because nothing was left, rather than at something broken. */
static bool cert_pem_ended(void)
{
	uint32_t error = ERR_peek_last_error();
	bool ended =
		ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
	ERR_clear_error();
	return ended;
}

X509 *cert_from_pem(struct str text, unsigned *ret_count)
{
	BIO *bio = text.len <= INT_MAX ? BIO_new_mem_buf(text.at, (int)text.len) : NULL;
	if (!bio)
		return NULL;
	ERR_clear_error();
	X509 *first = NULL, *next;
	unsigned count = 0;
	while ((next = PEM_read_bio_X509(bio, NULL, cert_no_password, NULL))) {
		if (count++ == 0)
			first = next;
		else
			X509_free(next);
	}
	BIO_free(bio);
	if (!cert_pem_ended()) {
		X509_free(first);
		return NULL;
	}
	*ret_count = count;
	return first;
}

EVP_PKEY *cert_key_from_pem(struct str text)
{
	BIO *bio = text.len <= INT_MAX ? BIO_new_mem_buf(text.at, (int)text.len) : NULL;
	if (!bio)
		return NULL;
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, cert_no_password, NULL);
	BIO_free(bio);
	ERR_clear_error();
	return key;
}
