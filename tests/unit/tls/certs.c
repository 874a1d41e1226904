/* SPDX-License-Identifier: Apache-2.0 */
#include "certs.h"

#include "base/assert.h"
#include <openssl/bytestring.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#define CERTS_TAG_CONTEXT (CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED)

static EVP_PKEY *certs_key(const struct certs_spec *spec)
{
	EVP_PKEY *key = EVP_PKEY_new();
	if (spec->rsa_bits) {
		RSA *rsa = RSA_new();
		BIGNUM *exponent = BN_new();
		ASSERT(BN_set_word(exponent, RSA_F4) &&
			RSA_generate_key_ex(rsa, spec->rsa_bits, exponent, NULL));
		BN_free(exponent);
		ASSERT(EVP_PKEY_assign_RSA(key, rsa));
		return key;
	}
	EC_KEY *ec = EC_KEY_new_by_curve_name(spec->curve ? spec->curve : NID_X9_62_prime256v1);
	ASSERT(ec && EC_KEY_generate_key(ec) && EVP_PKEY_assign_EC_KEY(key, ec));
	return key;
}

static void certs_add(X509 *certificate, const char *oid, bool critical, CBB *der)
{
	ASN1_OBJECT *kind = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	ASSERT(CBB_flush(der) && ASN1_OCTET_STRING_set(value, CBB_data(der), (int)CBB_len(der)));
	X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, kind, critical, value);
	ASSERT(X509_add_ext(certificate, extension, -1));
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(value);
	ASN1_OBJECT_free(kind);
	CBB_cleanup(der);
}

static void certs_san(X509 *certificate, const struct certs_spec *spec)
{
	CBB der, list, name;
	ASSERT(CBB_init(&der, 256) && CBB_add_asn1(&der, &list, CBS_ASN1_SEQUENCE));
	for (size_t i = 0; i < CERTS_NAME_COUNT_MAX && spec->names[i].tag; i++) {
		const struct certs_name *n = &spec->names[i];
		ASSERT(CBB_add_asn1(&list, &name, CBS_ASN1_CONTEXT_SPECIFIC | (n->tag & 0x1f)) &&
			CBB_add_bytes(&name, (const uint8_t *)n->text.at, n->text.len) &&
			CBB_flush(&list));
	}
	certs_add(certificate, "2.5.29.17", !spec->san_plain, &der);
}

static void certs_basic(X509 *certificate, const struct certs_spec *spec)
{
	CBB der, list;
	ASSERT(CBB_init(&der, 32) && CBB_add_asn1(&der, &list, CBS_ASN1_SEQUENCE));
	if (spec->ca)
		ASSERT(CBB_add_asn1_bool(&list, 1));
	if (spec->path_len_plus_1)
		ASSERT(CBB_add_asn1_uint64(&list, (uint64_t)spec->path_len_plus_1 - 1));
	certs_add(certificate, "2.5.29.19", true, &der);
}

static void certs_usage(X509 *certificate, const struct certs_spec *spec)
{
	uint16_t usage = spec->usage ? spec->usage
			 : spec->ca  ? KU_KEY_CERT_SIGN | KU_CRL_SIGN
				     : KU_DIGITAL_SIGNATURE;
	CBB der, bits;
	int unused = 0;
	while (!((usage >> unused) & 1))
		unused++;
	ASSERT(CBB_init(&der, 32) && CBB_add_asn1(&der, &bits, CBS_ASN1_BITSTRING) &&
		CBB_add_u8(&bits, (uint8_t)unused) && CBB_add_u8(&bits, (uint8_t)usage));
	certs_add(certificate, "2.5.29.15", !spec->usage_plain, &der);
}

static void certs_extended(X509 *certificate, const char *letters)
{
	CBB der, list;
	ASSERT(CBB_init(&der, 32) && CBB_add_asn1(&der, &list, CBS_ASN1_SEQUENCE));
	for (const char *c = letters; *c; c++) {
		int nid = *c == 's' ? NID_server_auth : *c == 'c' ? NID_client_auth : NID_code_sign;
		ASSERT(OBJ_nid2cbb(&list, nid));
	}
	certs_add(certificate, "2.5.29.37", false, &der);
}

static void certs_subtree(CBB *list, unsigned number, const char *base)
{
	CBB subtrees, subtree, name;
	if (!base)
		return;
	ASSERT(CBB_add_asn1(list, &subtrees, CERTS_TAG_CONTEXT | number) &&
		CBB_add_asn1(&subtrees, &subtree, CBS_ASN1_SEQUENCE) &&
		CBB_add_asn1(&subtree, &name, CBS_ASN1_CONTEXT_SPECIFIC | 6) &&
		CBB_add_bytes(&name, (const uint8_t *)base, strlen(base)) && CBB_flush(list));
}

static void certs_name_constraints(X509 *certificate, const struct certs_spec *spec)
{
	CBB der, list;
	ASSERT(CBB_init(&der, 64) && CBB_add_asn1(&der, &list, CBS_ASN1_SEQUENCE));
	certs_subtree(&list, 0, spec->permitted_uri);
	certs_subtree(&list, 1, spec->excluded_uri);
	certs_add(certificate, "2.5.29.30", true, &der);
}

static void certs_unknown(X509 *certificate, bool critical, size_t bytes)
{
	CBB der, value;
	uint8_t *at;
	ASSERT(CBB_init(&der, 64) && CBB_add_asn1(&der, &value, CBS_ASN1_OCTETSTRING) &&
		CBB_add_space(&value, &at, bytes));
	memset(at, 'p', bytes);
	certs_add(certificate, "1.3.6.1.4.1.55555.1", critical, &der);
}

static void certs_extensions(X509 *certificate, const struct certs_spec *spec)
{
	if (spec->names[0].tag)
		certs_san(certificate, spec);
	if (spec->san_twice)
		certs_san(certificate, spec);
	if (!spec->no_constraints)
		certs_basic(certificate, spec);
	if (!spec->no_usage)
		certs_usage(certificate, spec);
	if (spec->extended ? spec->extended[0] != '-' : !spec->ca)
		certs_extended(certificate, spec->extended ? spec->extended : "sc");
	if (spec->permitted_uri || spec->excluded_uri)
		certs_name_constraints(certificate, spec);
	if (spec->unknown_critical || spec->padding)
		certs_unknown(certificate, spec->unknown_critical, spec->padding);
	if (spec->unknown_twice) {
		certs_unknown(certificate, false, 1);
		certs_unknown(certificate, false, 2);
	}
}

struct certs_pair certs_make(const struct certs_spec *spec)
{
	static int64_t serial = 1000;
	struct certs_pair pair = {X509_new(), certs_key(spec)};
	X509 *c = pair.certificate;
	ASSERT(X509_set_version(c, spec->version_1 ? X509_VERSION_1 : X509_VERSION_3));
	ASSERT(ASN1_INTEGER_set(X509_get_serialNumber(c), ++serial));
	int64_t from_s = spec->from_s ? spec->from_s : CERTS_NOW - 1000;
	int64_t until_s = spec->until_s ? spec->until_s : CERTS_NOW + 3600;
	ASSERT(ASN1_TIME_set(X509_getm_notBefore(c), from_s) &&
		ASN1_TIME_set(X509_getm_notAfter(c), until_s));
	if (spec->subject)
		ASSERT(X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_ASC,
			(const uint8_t *)spec->subject, -1, -1, 0));
	const struct certs_pair *issuer = spec->issuer ? spec->issuer : &pair;
	ASSERT(X509_set_issuer_name(c, X509_get_subject_name(issuer->certificate)));
	ASSERT(X509_set_pubkey(c, pair.key));
	if (!spec->version_1)
		certs_extensions(c, spec);
	ASSERT(X509_sign(c, issuer->key, spec->sha1 ? EVP_sha1() : EVP_sha256()));
	return pair;
}

void certs_done(struct certs_pair *pair)
{
	X509_free(pair->certificate);
	EVP_PKEY_free(pair->key);
	*pair = (struct certs_pair){0};
}

CRYPTO_BUFFER *certs_buffer(X509 *certificate)
{
	uint8_t *der = NULL;
	int len = i2d_X509(certificate, &der);
	ASSERT(len > 0);
	CRYPTO_BUFFER *buffer = CRYPTO_BUFFER_new(der, (size_t)len, NULL);
	OPENSSL_free(der);
	return buffer;
}

char *certs_pem(X509 *const *certificates)
{
	BIO *text = BIO_new(BIO_s_mem());
	for (; *certificates; certificates++)
		ASSERT(PEM_write_bio_X509(text, *certificates));
	const uint8_t *bytes;
	size_t len;
	ASSERT(BIO_mem_contents(text, &bytes, &len));
	char *copy = strndup((const char *)bytes, len);
	BIO_free(text);
	return copy;
}
