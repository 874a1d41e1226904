/* SPDX-License-Identifier: Apache-2.0 */
#include "certs.h"

#include "keys/cert.h"
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

static void certs_free(STACK_OF(X509) * certs)
{
	sk_X509_pop_free(certs, X509_free);
}

/* NULL: none in it, a broken one, or no memory. */
static STACK_OF(X509) * certs_read(struct str text)
{
	BIO *bio = text.len <= INT_MAX ? BIO_new_mem_buf(text.at, (int)text.len) : NULL;
	STACK_OF(X509) *certs = sk_X509_new_null();
	bool ok = bio && certs && certs_read_all(bio, certs) && sk_X509_num(certs) > 0;
	BIO_free(bio);
	if (ok)
		return certs;
	certs_free(certs);
	return NULL;
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

bool certs_same_set(struct str a, struct str b)
{
	STACK_OF(X509) *first = certs_read(a), *second = certs_read(b);
	bool same = first && second && certs_within(first, second) && certs_within(second, first);
	certs_free(first);
	certs_free(second);
	return same;
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

static bool certs_path(const STACK_OF(X509) * chain, const STACK_OF(X509) * anchors)
{
	X509 *at = sk_X509_value(chain, 0);
	/* No path is longer than the chain; that ends circles, too. */
	for (size_t i = 0; i < sk_X509_num(chain) && at; i++) {
		if (certs_has(anchors, at) || certs_issuer(at, anchors))
			return true;
		at = certs_issuer(at, chain);
	}
	return false;
}

bool certs_lead_to(struct str chain, struct str anchors)
{
	STACK_OF(X509) *path = certs_read(chain), *ends = certs_read(anchors);
	bool leads = path && ends && certs_path(path, ends);
	certs_free(path);
	certs_free(ends);
	ERR_clear_error();
	return leads;
}

enum certs_dates certs_dates(const X509 *certificate, int64_t wall_s)
{
	if (wall_s + CERTS_SKEW_S < cert_not_before(certificate))
		return CERTS_EARLY;
	return wall_s < cert_not_after(certificate) ? CERTS_VALID : CERTS_OVER;
}
