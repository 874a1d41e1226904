/* SPDX-License-Identifier: Apache-2.0 */
#include "certs.h"

#include "keys/cert.h"
#include "keys/file.h"
#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

static bool certs_push(STACK_OF(X509) * chain, X509 *certificate)
{
	if (sk_X509_push(chain, certificate))
		return true;
	X509_free(certificate);
	return false;
}

static int certs_no_password(char *text, int size, int writing, void *unused)
{
	return -1;
}

/* Whether reading stopped because nothing was left, rather than at something broken. */
static bool certs_read_all(BIO *bio, STACK_OF(X509) * chain)
{
	X509 *next;
	ERR_clear_error();
	while ((next = PEM_read_bio_X509(bio, NULL, certs_no_password, NULL))) {
		if (!certs_push(chain, next))
			return false;
	}
	uint32_t error = ERR_peek_last_error();
	ERR_clear_error();
	return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

STACK_OF(X509) * certs_from_pem(struct str text)
{
	BIO *bio = text.len <= INT_MAX ? BIO_new_mem_buf(text.at, (int)text.len) : NULL;
	STACK_OF(X509) *chain = sk_X509_new_null();
	bool ok = bio && chain && certs_read_all(bio, chain) && sk_X509_num(chain) > 0;
	BIO_free(bio);
	if (ok)
		return chain;
	certs_free(chain);
	return NULL;
}

void certs_free(STACK_OF(X509) * chain)
{
	sk_X509_pop_free(chain, X509_free);
}

static int certs_bio_text(BIO *bio, struct str *ret_text)
{
	const uint8_t *bytes;
	size_t len;
	char *text = BIO_mem_contents(bio, &bytes, &len) ? malloc(len + 1) : NULL;
	if (!text)
		return -ENOMEM;
	memcpy(text, bytes, len);
	text[len] = '\0';
	*ret_text = (struct str){text, len};
	return 0;
}

int certs_pem(const STACK_OF(X509) * chain, struct str *ret_text)
{
	BIO *bio = BIO_new(BIO_s_mem());
	bool ok = bio != NULL;
	for (size_t i = 0; ok && i < sk_X509_num(chain); i++)
		ok = PEM_write_bio_X509(bio, sk_X509_value(chain, i));
	int r = ok ? certs_bio_text(bio, ret_text) : -ENOMEM;
	BIO_free(bio);
	return r;
}

static bool certs_has(const STACK_OF(X509) * chain, const X509 *wanted)
{
	for (size_t i = 0; i < sk_X509_num(chain); i++) {
		if (X509_cmp(sk_X509_value(chain, i), wanted) == 0)
			return true;
	}
	return false;
}

static bool certs_within(const STACK_OF(X509) * part, const STACK_OF(X509) * whole)
{
	for (size_t i = 0; i < sk_X509_num(part); i++) {
		if (!certs_has(whole, sk_X509_value(part, i)))
			return false;
	}
	return true;
}

bool certs_same_set(const STACK_OF(X509) * a, const STACK_OF(X509) * b)
{
	return certs_within(a, b) && certs_within(b, a);
}

bool certs_all_authorities(const STACK_OF(X509) * chain)
{
	for (size_t i = 0; i < sk_X509_num(chain); i++) {
		if (!X509_check_ca(sk_X509_value(chain, i)))
			return false;
	}
	return true;
}

/* The one of `among` that has signed it; NULL: none. */
static X509 *certs_issuer(X509 *certificate, const STACK_OF(X509) * among)
{
	for (size_t i = 0; i < sk_X509_num(among); i++) {
		X509 *it = sk_X509_value(among, i);
		if (X509_check_issued(it, certificate) != X509_V_OK)
			continue;
		EVP_PKEY *key = X509_get_pubkey(it);
		bool signed_it = key && X509_verify(certificate, key) == 1;
		EVP_PKEY_free(key);
		if (signed_it)
			return it;
	}
	return NULL;
}

bool certs_lead_to(const STACK_OF(X509) * chain, const STACK_OF(X509) * anchors)
{
	X509 *at = sk_X509_value(chain, 0);
	bool leads = false;
	/* No path is longer than the chain; that ends circles, too. */
	for (size_t i = 0; i < sk_X509_num(chain) && at && !leads; i++) {
		leads = certs_has(anchors, at) || certs_issuer(at, anchors);
		if (!leads)
			at = certs_issuer(at, chain);
	}
	ERR_clear_error();
	return leads;
}
