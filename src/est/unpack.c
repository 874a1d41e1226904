/* SPDX-License-Identifier: Apache-2.0 */
/* A PKCS#7 SignedData → PEM texts. BoringSSL takes DER, and the BER of indefinite length that
 * others write. */
#include "est/est.h"

#include "base64.h"
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>
#include <stdlib.h>

/* The text that a memory BIO has gathered, with a NUL behind. */
static int unpack_text(BIO *text, struct str *ret_pem, struct err *err)
{
	const uint8_t *bytes;
	size_t len;
	char *copy = NULL;
	if (BIO_mem_contents(text, &bytes, &len) && (copy = malloc(len + 1))) {
		memcpy(copy, bytes, len);
		copy[len] = '\0';
		*ret_pem = (struct str){copy, len};
		return 0;
	}
	return err_set(err, ENOMEM, "out of memory");
}

static int unpack_count(size_t count, const char *what, struct err *err)
{
	if (count == 0)
		return err_set(err, EBADMSG, "an answer without any %s", what);
	if (count > EST_CERTIFICATES_MAX)
		return err_set(
			err, EBADMSG, "more than %d %ss in one answer", EST_CERTIFICATES_MAX, what);
	return 0;
}

static int unpack_certificates(CBS *der, BIO *text, struct err *err)
{
	STACK_OF(X509) *stack = sk_X509_new_null();
	int r = 0;
	if (!stack)
		return err_set(err, ENOMEM, "out of memory");
	if (!PKCS7_get_certificates(stack, der) || CBS_len(der) != 0)
		r = err_set(err, EBADMSG, "no PKCS#7 of certificates, or bytes behind it");
	if (r == 0)
		r = unpack_count(sk_X509_num(stack), "certificate", err);
	for (size_t i = 0; r == 0 && i < sk_X509_num(stack); i++) {
		if (!PEM_write_bio_X509(text, sk_X509_value(stack, i)))
			r = err_set(err, ENOMEM, "out of memory");
	}
	sk_X509_pop_free(stack, X509_free);
	return r;
}

static int unpack_crls(CBS *der, BIO *text, struct err *err)
{
	STACK_OF(X509_CRL) *stack = sk_X509_CRL_new_null();
	int r = 0;
	if (!stack)
		return err_set(err, ENOMEM, "out of memory");
	if (!PKCS7_get_CRLs(stack, der) || CBS_len(der) != 0)
		r = err_set(err, EBADMSG, "no PKCS#7 of CRLs, or bytes behind it");
	if (r == 0)
		r = unpack_count(sk_X509_CRL_num(stack), "CRL", err);
	for (size_t i = 0; r == 0 && i < sk_X509_CRL_num(stack); i++) {
		if (!PEM_write_bio_X509_CRL(text, sk_X509_CRL_value(stack, i)))
			r = err_set(err, ENOMEM, "out of memory");
	}
	sk_X509_CRL_pop_free(stack, X509_CRL_free);
	return r;
}

static int unpack_body(struct str body, struct str *ret_pem, struct err *err,
	int (*members)(CBS *der, BIO *text, struct err *err))
{
	struct str bytes;
	if (body.len > EST_BODY_BYTES_MAX)
		return err_set(err, EBADMSG, "an answer of more than %u bytes", EST_BODY_BYTES_MAX);
	int r = base64_read(body, BASE64_LINES, &bytes, err);
	if (r < 0)
		return r;
	BIO *text = BIO_new(BIO_s_mem());
	CBS der;
	CBS_init(&der, (const uint8_t *)bytes.at, bytes.len);
	r = text ? members(&der, text, err) : err_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = unpack_text(text, ret_pem, err);
	ERR_clear_error();
	BIO_free(text);
	base64_free(bytes);
	return r;
}

int est_certificates_read(struct str body, struct str *ret_pem, struct err *err)
{
	return unpack_body(body, ret_pem, err, unpack_certificates);
}

int est_crls_read(struct str body, struct str *ret_pem, struct err *err)
{
	return unpack_body(body, ret_pem, err, unpack_crls);
}
