/* SPDX-License-Identifier: Apache-2.0 */
#include "keys/chain.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

/* One text under way: what is left of it, and what was written of it. */
struct chain {
	BIO *in, *out;
	unsigned count, max;
};

/* There is nobody who could type one. */
static int chain_no_password(char *text, int size, int writing, void *unused)
{
	return -1;
}

static int chain_begin(struct chain *c, struct str text, unsigned max, struct err *err)
{
	*c = (struct chain){.max = max};
	if (text.len > INT_MAX)
		return err_set(err, EFBIG, "too large");
	/* BoringSSL takes an empty text without a pointer for a mistake. */
	c->in = BIO_new_mem_buf(text.at ? text.at : "", (int)text.len);
	c->out = BIO_new(BIO_s_mem());
	ERR_clear_error();
	return c->in && c->out ? 0 : err_set(err, ENOMEM, "out of memory");
}

static void chain_done(struct chain *c)
{
	BIO_free(c->in);
	BIO_free(c->out);
	ERR_clear_error();
}

/* Whether reading stopped because nothing was left, rather than at something broken. */
static int chain_check_end(const char *what, struct err *err)
{
	uint32_t error = ERR_peek_last_error();
	if (ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE)
		return 0;
	return err_set(err, EINVAL, "a broken %s in it", what);
}

static int chain_take(struct chain *c, bool written, const char *what, struct err *err)
{
	if (++c->count > c->max)
		return err_set(err, EINVAL, "more than %u %ss in it", c->max, what);
	return written ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int chain_text(const struct chain *c, struct str *ret_pem, struct err *err)
{
	const uint8_t *bytes = NULL;
	size_t len = 0;
	char *text = BIO_mem_contents(c->out, &bytes, &len) ? malloc(len + 1) : NULL;
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	if (len > 0)
		memcpy(text, bytes, len);
	text[len] = '\0';
	*ret_pem = (struct str){text, len};
	return 0;
}

/* --- certificates --- */

enum chain_kind { CHAIN_ANY, CHAIN_AUTHORITIES };

static int chain_take_certificate(
	struct chain *c, X509 *cert, enum chain_kind kind, struct err *err)
{
	if (kind == CHAIN_AUTHORITIES && !X509_check_ca(cert))
		return err_set(err, EINVAL, "a certificate in it is no authority's");
	return chain_take(c, PEM_write_bio_X509(c->out, cert), "certificate", err);
}

static int chain_read(struct chain *c, enum chain_kind kind, X509 **ret_first, struct err *err)
{
	X509 *cert;
	int r = 0;
	while (r == 0 && (cert = PEM_read_bio_X509(c->in, NULL, chain_no_password, NULL))) {
		r = chain_take_certificate(c, cert, kind, err);
		if (r == 0 && c->count == 1)
			*ret_first = cert;
		else
			X509_free(cert);
	}
	if (r == 0)
		r = chain_check_end("certificate", err);
	if (r == 0 && c->count == 0)
		r = err_set(err, EINVAL, "no certificate in it");
	return r;
}

static int chain_certificates(struct str text, unsigned max, enum chain_kind kind,
	struct str *ret_pem, X509 **ret_first, struct err *err)
{
	struct chain c;
	X509 *first = NULL;
	int r = chain_begin(&c, text, max, err);
	if (r == 0)
		r = chain_read(&c, kind, &first, err);
	if (r == 0)
		r = chain_text(&c, ret_pem, err);
	chain_done(&c);
	if (r < 0 || !ret_first)
		X509_free(first);
	else
		*ret_first = first;
	return r;
}

int chain_pem(struct str text, unsigned max, struct str *ret_pem, X509 **ret_first, struct err *err)
{
	return chain_certificates(text, max, CHAIN_ANY, ret_pem, ret_first, err);
}

int chain_roots(struct str text, struct str *ret_pem, struct err *err)
{
	return chain_certificates(text, CHAIN_ROOTS_MAX, CHAIN_AUTHORITIES, ret_pem, NULL, err);
}

/* --- revocation lists --- */

static int chain_read_crls(struct chain *c, struct err *err)
{
	X509_CRL *crl;
	int r = 0;
	while (r == 0 && (crl = PEM_read_bio_X509_CRL(c->in, NULL, chain_no_password, NULL))) {
		r = chain_take(c, PEM_write_bio_X509_CRL(c->out, crl), "revocation list", err);
		X509_CRL_free(crl);
	}
	return r == 0 ? chain_check_end("revocation list", err) : r;
}

int chain_crls(struct str text, struct str *ret_pem, struct err *err)
{
	struct chain c;
	int r = chain_begin(&c, text, CHAIN_CRLS_MAX, err);
	if (r == 0)
		r = chain_read_crls(&c, err);
	if (r == 0)
		r = chain_text(&c, ret_pem, err);
	chain_done(&c);
	return r;
}
