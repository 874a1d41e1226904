/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"

#include <errno.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

static GENERAL_NAME *request_uri(struct str id)
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

static GENERAL_NAMES *request_names(struct str id)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *name = request_uri(id);
	if (names && name && sk_GENERAL_NAME_push(names, name))
		return names;
	GENERAL_NAME_free(name);
	sk_GENERAL_NAME_free(names);
	return NULL;
}

/* Critical, because there is no subject. */
static X509_EXTENSION *request_san(struct str id)
{
	GENERAL_NAMES *names = request_names(id);
	X509_EXTENSION *san = names ? X509V3_EXT_i2d(NID_subject_alt_name, 1, names) : NULL;
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	return san;
}

static bool request_add_id(X509_REQ *request, struct str id)
{
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
	X509_EXTENSION *san = request_san(id);
	bool pushed = extensions && san && sk_X509_EXTENSION_push(extensions, san);
	if (!pushed)
		X509_EXTENSION_free(san);
	bool ok = pushed && X509_REQ_add_extensions(request, extensions);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	return ok;
}

static int request_bytes(X509_REQ *request, struct str *ret_der)
{
	uint8_t *bytes = NULL;
	int len = i2d_X509_REQ(request, &bytes);
	char *copy = len > 0 ? malloc((size_t)len) : NULL;
	if (copy) {
		memcpy(copy, bytes, (size_t)len);
		*ret_der = (struct str){copy, (size_t)len};
	}
	OPENSSL_free(bytes);
	return copy ? 0 : -ENOMEM;
}

int request_der(EVP_PKEY *key, struct str id, struct str *ret_der)
{
	X509_REQ *request = X509_REQ_new();
	int r = -ENOMEM;
	if (request && X509_REQ_set_version(request, X509_REQ_VERSION_1) &&
		X509_REQ_set_pubkey(request, key) && request_add_id(request, id) &&
		X509_REQ_sign(request, key, EVP_sha256()))
		r = request_bytes(request, ret_der);
	X509_REQ_free(request);
	ERR_clear_error();
	return r;
}
