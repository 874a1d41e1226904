/* SPDX-License-Identifier: Apache-2.0 */
/* A request may say one thing only: "this key, for this one SPIFFE id". Whatever else it asks for
 * is refused rather than left out, so that nobody believes to have got it: other names
 * (CVE-2022-40716 began so), further extensions, attributes. The subject means nothing and is not
 * looked at. */
#include "request.h"

#include "authority.h"
#include "tls/spiffe.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static int request_bad(struct err *err, const char *text)
{
	err_set(err, EINVAL, "%s", text);
	return AUTHORITY_BAD;
}

static int request_names(const GENERAL_NAMES *names, struct request *r, struct err *err)
{
	if (sk_GENERAL_NAME_num(names) != 1)
		return request_bad(err, "the request must have exactly one name, a SPIFFE id");
	const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, 0);
	if (name->type != GEN_URI)
		return request_bad(err, "the request's name must be a URI, a SPIFFE id");
	const ASN1_STRING *uri = name->d.uniformResourceIdentifier;
	size_t len = (size_t)ASN1_STRING_length(uri);
	if (len >= sizeof(r->id))
		return request_bad(err, "the request's name is longer than 2048 bytes");
	memcpy(r->id, ASN1_STRING_get0_data(uri), len);
	r->id[len] = '\0';
	if (!spiffe_parse((struct str){r->id, len}, &r->trust_domain, &r->identity))
		return request_bad(err, "the request's name is no valid SPIFFE id");
	return 0;
}

static int request_extensions(
	const STACK_OF(X509_EXTENSION) * list, struct request *r, struct err *err)
{
	if (!list || sk_X509_EXTENSION_num(list) == 0)
		return request_bad(err, "the request has no subjectAltName");
	if (sk_X509_EXTENSION_num(list) != 1)
		return request_bad(err, "the request asks for more extensions than subjectAltName");
	X509_EXTENSION *extension = sk_X509_EXTENSION_value(list, 0);
	if (OBJ_obj2nid(X509_EXTENSION_get_object(extension)) != NID_subject_alt_name)
		return request_bad(
			err, "the request asks for an extension other than subjectAltName");
	GENERAL_NAMES *names = X509V3_EXT_d2i(extension);
	if (!names)
		return request_bad(err, "the request's subjectAltName cannot be read");
	int result = request_names(names, r, err);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	return result;
}

/* One attribute, extensionRequest of PKCS#9, with one value. */
static int request_attributes(X509_REQ *x, struct request *r, struct err *err)
{
	if (X509_REQ_get_attr_count(x) != 1 || X509_REQ_get_attr_by_NID(x, NID_ext_req, -1) != 0 ||
		X509_ATTRIBUTE_count(X509_REQ_get_attr(x, 0)) != 1)
		return request_bad(
			err, "the request must have one attribute, extensionRequest, and no other");
	STACK_OF(X509_EXTENSION) *list = X509_REQ_get_extensions(x);
	int result = request_extensions(list, r, err);
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	return result;
}

static int request_key(X509_REQ *x, struct request *r, struct err *err)
{
	r->key = X509_REQ_get_pubkey(x);
	if (!r->key || !cert_key_is_p256(r->key))
		return request_bad(err, "the request's key must be P-256");
	if (X509_REQ_get_signature_nid(x) != NID_ecdsa_with_SHA256)
		return request_bad(err, "the request must be signed by ECDSA with SHA-256");
	if (X509_REQ_verify(x, r->key) != 1)
		return request_bad(err, "the request is not signed by its own key");
	uint8_t *der = NULL, digest[SHA256_DIGEST_LENGTH];
	int len = i2d_PUBKEY(r->key, &der);
	if (len <= 0)
		return err_set(err, ENOMEM, "out of memory");
	SHA256(der, (size_t)len, digest);
	OPENSSL_free(der);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(r->key_hash + 2 * i, 3, "%02x", digest[i]);
	return 0;
}

int request_read(struct str der, struct request *ret_request, struct err *err)
{
	const uint8_t *at = (const uint8_t *)der.at;
	X509_REQ *x = der.len > 0 && der.len <= (1u << 16) ? d2i_X509_REQ(NULL, &at, (long)der.len)
							   : NULL;
	*ret_request = (struct request){0};
	int result = 0;
	if (!x || at != (const uint8_t *)der.at + der.len)
		result = request_bad(err, "no readable PKCS#10 request");
	if (result == 0)
		result = request_key(x, ret_request, err);
	if (result == 0)
		result = request_attributes(x, ret_request, err);
	X509_REQ_free(x);
	ERR_clear_error();
	if (result != 0)
		request_done(ret_request);
	return result;
}

void request_done(struct request *r)
{
	EVP_PKEY_free(r->key);
	r->key = NULL;
}
