/* SPDX-License-Identifier: Apache-2.0 */
#include "keys/cert.h"

#include <errno.h>
#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/stack.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

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

bool cert_serial_text(const X509 *cert, char text[CERT_SERIAL_TEXT])
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
	size_t len = (size_t)ASN1_STRING_length(serial);
	if (ASN1_STRING_type(serial) != V_ASN1_INTEGER || len == 0 || len > 20)
		return false;
	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", ASN1_STRING_get0_data(serial)[i]);
	return true;
}

static int64_t cert_seconds(const ASN1_TIME *time)
{
	int days = 0, seconds = 0;
	ASN1_TIME *epoch = ASN1_TIME_adj(NULL, 0, 0, 0);
	bool ok = epoch && ASN1_TIME_diff(&days, &seconds, epoch, time);
	ASN1_TIME_free(epoch);
	ERR_clear_error();
	return ok ? (int64_t)days * 86400 + seconds : 0;
}

int64_t cert_not_before(const X509 *cert)
{
	return cert_seconds(X509_get0_notBefore(cert));
}

int64_t cert_not_after(const X509 *cert)
{
	return cert_seconds(X509_get0_notAfter(cert));
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

STACK_OF(X509) * cert_list_from_pem(struct str text)
{
	BIO *bio = text.len <= INT_MAX ? BIO_new_mem_buf(text.at, (int)text.len) : NULL;
	STACK_OF(X509) *list = sk_X509_new_null();
	bool ok = bio && list;
	ERR_clear_error();
	while (ok) {
		X509 *next = PEM_read_bio_X509(bio, NULL, cert_no_password, NULL);
		if (!next)
			break;
		ok = sk_X509_push(list, next) > 0;
		if (!ok)
			X509_free(next);
	}
	BIO_free(bio);
	if (ok && cert_pem_ended() && sk_X509_num(list) > 0)
		return list;
	sk_X509_pop_free(list, X509_free);
	return NULL;
}

X509 *cert_from_pem(struct str text, unsigned *ret_count)
{
	STACK_OF(X509) *list = cert_list_from_pem(text);
	*ret_count = list ? (unsigned)sk_X509_num(list) : 0;
	X509 *first = list ? sk_X509_shift(list) : NULL;
	sk_X509_pop_free(list, X509_free);
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
