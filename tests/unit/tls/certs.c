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

/* "spiffe://ddd/service/web", with as many of that letter as are wanted, or "…/ppp". */
static void certs_long_name(CBB *list, size_t domain_bytes, size_t bytes)
{
	CBB name;
	uint8_t *at;
	const char *scheme = "spiffe://", *path = domain_bytes ? "/service/web" : "d/";
	size_t fill = domain_bytes ? domain_bytes : bytes - strlen(scheme) - strlen(path);
	ASSERT(CBB_add_asn1(list, &name, CBS_ASN1_CONTEXT_SPECIFIC | 6) &&
		CBB_add_bytes(&name, (const uint8_t *)scheme, strlen(scheme)));
	if (bytes)
		ASSERT(CBB_add_bytes(&name, (const uint8_t *)path, strlen(path)));
	ASSERT(CBB_add_space(&name, &at, fill));
	memset(at, 'd', fill);
	if (domain_bytes)
		ASSERT(CBB_add_bytes(&name, (const uint8_t *)path, strlen(path)));
	ASSERT(CBB_flush(list));
}

static void certs_san(X509 *certificate, const struct certs_spec *spec)
{
	CBB der, list, name;
	ASSERT(CBB_init(&der, 256) && CBB_add_asn1(&der, &list, CBS_ASN1_SEQUENCE));
	for (size_t i = 0; i < CERTS_NAME_COUNT_MAX && spec->names[i].tag; i++) {
		const struct certs_name *n = &spec->names[i];
		unsigned whole = n->tag & 0x20 ? CBS_ASN1_CONSTRUCTED : 0;
		ASSERT(CBB_add_asn1(
			       &list, &name, CBS_ASN1_CONTEXT_SPECIFIC | whole | (n->tag & 0x1f)) &&
			CBB_add_bytes(&name, (const uint8_t *)n->text.at, n->text.len) &&
			CBB_flush(&list));
	}
	if (spec->name_bytes || spec->domain_bytes)
		certs_long_name(&list, spec->domain_bytes, spec->name_bytes);
	for (size_t i = 0; i < spec->san_count; i++)
		ASSERT(CBB_add_asn1(&list, &name, CBS_ASN1_CONTEXT_SPECIFIC | 2) &&
			CBB_add_bytes(&name, (const uint8_t *)"a.example", 9) && CBB_flush(&list));
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

static void certs_subtree(CBB *list, unsigned number, unsigned kind, const char *base)
{
	CBB subtrees, subtree, name;
	if (!base)
		return;
	ASSERT(CBB_add_asn1(list, &subtrees, CERTS_TAG_CONTEXT | number) &&
		CBB_add_asn1(&subtrees, &subtree, CBS_ASN1_SEQUENCE) &&
		CBB_add_asn1(&subtree, &name, CBS_ASN1_CONTEXT_SPECIFIC | kind) &&
		CBB_add_bytes(&name, (const uint8_t *)base, strlen(base)) && CBB_flush(list));
}

static void certs_name_constraints(X509 *certificate, const struct certs_spec *spec)
{
	CBB der, list;
	ASSERT(CBB_init(&der, 64) && CBB_add_asn1(&der, &list, CBS_ASN1_SEQUENCE));
	certs_subtree(&list, 0, 6, spec->permitted_uri);
	certs_subtree(&list, 0, 2, spec->permitted_dns);
	certs_subtree(&list, 0, 8, spec->permitted_id ? "\x2a\x03" : NULL);
	certs_subtree(&list, 1, 6, spec->excluded_uri);
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
	if (spec->names[0].tag || spec->name_bytes || spec->domain_bytes)
		certs_san(certificate, spec);
	if (spec->san_twice)
		certs_san(certificate, spec);
	if (!spec->no_constraints)
		certs_basic(certificate, spec);
	if (!spec->no_usage)
		certs_usage(certificate, spec);
	if (spec->usage_twice)
		certs_usage(certificate, spec);
	if (spec->extended ? spec->extended[0] != '-' : !spec->ca)
		certs_extended(certificate, spec->extended ? spec->extended : "sc");
	if (spec->permitted_uri || spec->excluded_uri || spec->permitted_dns || spec->permitted_id)
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
	ASSERT(X509_sign(c, issuer->key,
		spec->sha1  ? EVP_sha1()
		: spec->md5 ? EVP_md5()
			    : EVP_sha256()));
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

/* Changes the last byte of the last such name. */
static void certs_rename(uint8_t *der, size_t len, const uint8_t name[8], uint8_t last)
{
	size_t at = len - 8;
	while (at > 0 && memcmp(der + at, name, 8) != 0)
		at--;
	ASSERT(at > 0);
	der[at + 7] = last;
}

static const uint8_t certs_ecdsa_sha256[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2};
static const uint8_t certs_p256[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};

CRYPTO_BUFFER *certs_sent(X509 *certificate, const struct certs_spec *spec)
{
	uint8_t *der = NULL;
	int len = i2d_X509(certificate, &der);
	ASSERT(len > 8);
	if (spec->outer_sha384)
		certs_rename(der, (size_t)len, certs_ecdsa_sha256, 3);
	if (spec->curve_p192)
		certs_rename(der, (size_t)len, certs_p256, 1);
	CRYPTO_BUFFER *buffer = CRYPTO_BUFFER_new(der, (size_t)len, NULL);
	OPENSSL_free(der);
	return buffer;
}

/* --- lists --- */

static void certs_list_algorithm(CBB *into, const struct certs_pair *signer, bool sha1)
{
	static const uint8_t rsa[] = {
		0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0};
	static const uint8_t ec[] = {0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2};
	static const uint8_t ec_sha1[] = {0x30, 9, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1};
	if (EVP_PKEY_id(signer->key) == EVP_PKEY_RSA)
		ASSERT(CBB_add_bytes(into, rsa, sizeof(rsa)));
	else if (sha1)
		ASSERT(CBB_add_bytes(into, ec_sha1, sizeof(ec_sha1)));
	else
		ASSERT(CBB_add_bytes(into, ec, sizeof(ec)));
}

static void certs_list_time(CBB *into, int64_t s)
{
	ASN1_TIME *time = ASN1_TIME_set(NULL, s);
	uint8_t *der = NULL;
	int len = i2d_ASN1_TIME(time, &der);
	ASSERT(len > 0 && CBB_add_bytes(into, der, (size_t)len));
	OPENSSL_free(der);
	ASN1_TIME_free(time);
}

static void certs_list_extension(
	CBB *into, uint8_t arc, bool critical, const uint8_t *value, size_t len)
{
	const uint8_t kind[] = {0x55, 0x1d, arc};
	CBB one, id, text;
	ASSERT(CBB_add_asn1(into, &one, CBS_ASN1_SEQUENCE) &&
		CBB_add_asn1(&one, &id, CBS_ASN1_OBJECT) &&
		CBB_add_bytes(&id, kind, sizeof(kind)) &&
		(!critical || CBB_add_asn1_bool(&one, 1)) &&
		CBB_add_asn1(&one, &text, CBS_ASN1_OCTETSTRING) &&
		CBB_add_bytes(&text, value, len) && CBB_flush(into));
}

static void certs_list_entry(CBB *into, const uint8_t *serial, size_t len, bool critical)
{
	static const uint8_t reason[] = {10, 1, 1};
	CBB one, number, extensions;
	ASSERT(CBB_add_asn1(into, &one, CBS_ASN1_SEQUENCE) &&
		CBB_add_asn1(&one, &number, CBS_ASN1_INTEGER) &&
		(serial[0] < 0x80 || CBB_add_u8(&number, 0)) &&
		CBB_add_bytes(&number, serial, len) && CBB_flush(&one));
	certs_list_time(&one, CERTS_NOW - 100);
	if (critical) {
		ASSERT(CBB_add_asn1(&one, &extensions, CBS_ASN1_SEQUENCE));
		certs_list_extension(&extensions, 21, true, reason, sizeof(reason));
	}
	ASSERT(CBB_flush(into));
}

static void certs_list_entries(CBB *tbs, const struct certs_list *list)
{
	static const uint8_t long_serial[21] = {1};
	CBB entries;
	if (!list->revoked[0] && !list->more_count && !list->long_serial)
		return;
	ASSERT(CBB_add_asn1(tbs, &entries, CBS_ASN1_SEQUENCE));
	for (size_t i = 0; i < list->more_count; i++) {
		/* In no order. */
		uint32_t mixed = (uint32_t)i * 2654435761u;
		uint8_t serial[9] = {0x40, (uint8_t)(mixed >> 24), (uint8_t)(mixed >> 16),
			(uint8_t)(mixed >> 8), (uint8_t)mixed};
		certs_list_entry(&entries, serial, sizeof(serial), false);
	}
	for (size_t i = 0; i < 4 && list->revoked[i]; i++) {
		const ASN1_INTEGER *serial = X509_get0_serialNumber(list->revoked[i]);
		certs_list_entry(&entries, ASN1_STRING_get0_data(serial),
			(size_t)ASN1_STRING_length(serial), list->entry_critical);
	}
	if (list->long_serial)
		certs_list_entry(&entries, long_serial, sizeof(long_serial), false);
	ASSERT(CBB_flush(tbs));
}

static void certs_list_extensions(CBB *tbs, const struct certs_list *list)
{
	uint8_t number[] = {2, 1, (uint8_t)(list->number ? list->number : 1)};
	static const uint8_t part[] = {0x30, 3, 0x81, 1, 0xff}; /* onlyContainsUserCerts */
	CBB explicit, all;
	if (list->version_1)
		return;
	ASSERT(CBB_add_asn1(tbs, &explicit, CERTS_TAG_CONTEXT | 0) &&
		CBB_add_asn1(&explicit, &all, CBS_ASN1_SEQUENCE));
	if (list->number >= 0)
		certs_list_extension(&all, 20, false, number, sizeof(number));
	if (list->number_twice)
		certs_list_extension(&all, 20, false, number, sizeof(number));
	if (list->delta)
		certs_list_extension(&all, 27, true, number, sizeof(number));
	if (list->part)
		certs_list_extension(&all, 28, true, part, sizeof(part));
	if (list->unknown_critical)
		certs_list_extension(&all, 99, true, number, sizeof(number));
	ASSERT(CBB_flush(tbs));
}

static void certs_list_tbs(CBB *tbs, const struct certs_list *list, const struct certs_pair *signer)
{
	uint8_t *name = NULL;
	int len = i2d_X509_NAME(X509_get_subject_name(list->issuer->certificate), &name);
	ASSERT(list->version_1 || CBB_add_asn1_uint64(tbs, 1));
	certs_list_algorithm(tbs, signer, list->sha1);
	ASSERT(len > 0 && CBB_add_bytes(tbs, name, (size_t)len));
	OPENSSL_free(name);
	certs_list_time(tbs, list->from_s ? list->from_s : CERTS_NOW - 100);
	if (list->until_s >= 0)
		certs_list_time(tbs, list->until_s ? list->until_s : CERTS_NOW + 3600);
	certs_list_entries(tbs, list);
	certs_list_extensions(tbs, list);
}

void certs_list_der(const struct certs_list *list, uint8_t **ret_der, size_t *ret_len)
{
	const struct certs_pair *signer = list->signer ? list->signer : list->issuer;
	uint8_t *signed_bytes, signature[512];
	size_t signed_len, signature_len = sizeof(signature);
	CBB inner, tbs, whole, outer, bits;
	ASSERT(CBB_init(&inner, 256) && CBB_add_asn1(&inner, &tbs, CBS_ASN1_SEQUENCE));
	certs_list_tbs(&tbs, list, signer);
	ASSERT(CBB_finish(&inner, &signed_bytes, &signed_len));
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	ASSERT(EVP_DigestSignInit(
		       digest, NULL, list->sha1 ? EVP_sha1() : EVP_sha256(), NULL, signer->key) &&
		EVP_DigestSign(digest, signature, &signature_len, signed_bytes, signed_len));
	EVP_MD_CTX_free(digest);
	ASSERT(CBB_init(&whole, 256) && CBB_add_asn1(&whole, &outer, CBS_ASN1_SEQUENCE) &&
		CBB_add_bytes(&outer, signed_bytes, signed_len));
	certs_list_algorithm(&outer, signer, list->sha1);
	ASSERT(CBB_add_asn1(&outer, &bits, CBS_ASN1_BITSTRING) && CBB_add_u8(&bits, 0) &&
		CBB_add_bytes(&bits, signature, signature_len) &&
		CBB_finish(&whole, ret_der, ret_len));
	OPENSSL_free(signed_bytes);
	if (list->outer_sha384)
		certs_rename(*ret_der, *ret_len, certs_ecdsa_sha256, 3);
}

char *certs_list_pem(const struct certs_list *list)
{
	uint8_t *der;
	const uint8_t *bytes;
	size_t der_len, len;
	certs_list_der(list, &der, &der_len);
	BIO *text = BIO_new(BIO_s_mem());
	ASSERT(PEM_write_bio(text, PEM_STRING_X509_CRL, "", der, (long)der_len) &&
		BIO_mem_contents(text, &bytes, &len));
	char *copy = strndup((const char *)bytes, len);
	BIO_free(text);
	OPENSSL_free(der);
	return copy;
}

/* --- texts --- */

char *certs_pem(X509 *const *certificates)
{
	BIO *text = BIO_new(BIO_s_mem());
	for (; *certificates; certificates++)
		ASSERT(PEM_write_bio_X509(text, *certificates));
	const uint8_t *bytes;
	size_t len;
	ASSERT(BIO_mem_contents(text, &bytes, &len));
	char *copy = len ? strndup((const char *)bytes, len) : strdup("");
	BIO_free(text);
	return copy;
}
