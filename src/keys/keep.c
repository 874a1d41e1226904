/* SPDX-License-Identifier: Apache-2.0 */
/* What a crash can leave, and what becomes of it:
 *
 *   <file>.new-XXXXXX          torn; overwritten and removed when the directory is opened next
 *   <identity>.pem.next        a key without a certificate; the next request is made for it
 *   .next and .pem of one key  the certificate was taken, the pending key not yet removed; the next
 *                              request replaces it by a new one */
#include "accept.h"
#include "keep_name.h"
#include "keep_private.h"

#include "keys/cert.h"
#include "keys/chain.h"
#include "request.h"
#include "tls/spiffe.h"
#include "tls/tls.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

/* --- files --- */

static int keep_path(const struct keep *k, struct str identity, const char *ending,
	char path[PATH_MAX], struct err *err)
{
	char name[KEEP_NAME_MAX];
	if (!keep_name(identity, name))
		return err_set(err, EINVAL, "\"" STR_FMT "\": no identity that keys are kept for",
			STR_ARG(identity));
	return keep_join(path, k->dir, name, ending, err);
}

/* The key in a file of ours. NULL: no file, or none that can be used; that costs nothing but a new
 * key. */
static EVP_PKEY *keep_read_key(const char *path)
{
	struct str text;
	struct err err;
	if (file_read(path, FILE_SECRET, &text, &err) < 0)
		return NULL;
	EVP_PKEY *key = cert_key_from_pem(text);
	file_text_free(text);
	if (key && cert_key_is_p256(key))
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

/* --- requests --- */

static int keep_make_key(
	const struct keep *k, const char *path, EVP_PKEY **ret_key, struct err *err)
{
	struct str text = STR_NONE;
	EVP_PKEY *key = cert_key_new();
	int r = key ? cert_key_pem(key, &text) : -ENOMEM;
	r = r < 0 ? err_set(err, -r, "the key could not be made")
		  : keep_write(k, path, FILE_SECRET, text, err);
	file_text_free(text);
	if (r < 0)
		EVP_PKEY_free(key);
	else
		*ret_key = key;
	return r;
}

/* The pending key of an identity; one that has become the key in force is pending no longer. */
static int keep_pending(
	const struct keep *k, struct str identity, EVP_PKEY **ret_key, struct err *err)
{
	char now[PATH_MAX], next[PATH_MAX];
	int r = keep_path(k, identity, ".pem", now, err);
	if (r == 0)
		r = keep_path(k, identity, ".pem.next", next, err);
	if (r < 0)
		return r;
	EVP_PKEY *pending = keep_read_key(next), *current = keep_read_key(now);
	bool is_taken = pending && current && EVP_PKEY_cmp(pending, current) == 1;
	EVP_PKEY_free(current);
	ERR_clear_error();
	if (pending && !is_taken) {
		*ret_key = pending;
		return 0;
	}
	EVP_PKEY_free(pending);
	return keep_make_key(k, next, ret_key, err);
}

static int keep_id(const struct keep *k, struct str identity, char id[TLS_ID_MAX + 1])
{
	return snprintf(
		id, TLS_ID_MAX + 1, "spiffe://%s/" STR_FMT, k->trust_domain, STR_ARG(identity));
}

int keep_request(struct keep *k, struct str identity, struct str *ret_der, struct err *err)
{
	char id[TLS_ID_MAX + 1];
	EVP_PKEY *key;
	int r = keep_pending(k, identity, &key, err);
	if (r < 0)
		return r;
	keep_id(k, identity, id);
	r = request_der(key, str_of(id), ret_der);
	EVP_PKEY_free(key);
	return r < 0 ? err_set(err, -r, "the request could not be made") : 0;
}

/* --- certificates --- */

static int keep_check_leaf(const struct keep *k, struct str identity, X509 *leaf, EVP_PKEY *key,
	int64_t now_s, struct err *err)
{
	char wanted[TLS_ID_MAX + 1], id[TLS_ID_MAX + 1];
	time_t now = (time_t)now_s;
	keep_id(k, identity, wanted);
	if (!X509_check_private_key(leaf, key))
		return err_set(err, EKEYREJECTED,
			"the certificate is not for the key that was made for " STR_FMT,
			STR_ARG(identity));
	if (X509_check_ca(leaf))
		return err_set(err, EKEYREJECTED, "the certificate is an authority's, not for use");
	if (cert_uri(leaf, id, sizeof(id)) < 0 || strcmp(id, wanted) != 0)
		return err_set(err, EKEYREJECTED, "the certificate is not for %s alone", wanted);
	if (X509_cmp_time(X509_get0_notBefore(leaf), &now) > 0)
		return err_set(err, EKEYREJECTED,
			"the certificate is not valid yet: is this machine's clock behind?");
	if (X509_cmp_time(X509_get0_notAfter(leaf), &now) <= 0)
		return err_set(err, EKEYREJECTED,
			"the certificate is over already: is this machine's clock ahead?");
	return 0;
}

/* Key and chain as one text. */
static int keep_pair(EVP_PKEY *key, struct str chain, struct str *ret_text)
{
	struct str key_text;
	int r = cert_key_pem(key, &key_text);
	if (r < 0)
		return r;
	char *text = malloc(key_text.len + chain.len + 1);
	if (text) {
		memcpy(text, key_text.at, key_text.len);
		memcpy(text + key_text.len, chain.at, chain.len);
		text[key_text.len + chain.len] = '\0';
		*ret_text = (struct str){text, key_text.len + chain.len};
	}
	file_text_free(key_text);
	return text ? 0 : -ENOMEM;
}

/* The order makes the crash harmless: first the pair, then the pending key goes. */
static int keep_put(
	const struct keep *k, struct str identity, EVP_PKEY *key, struct str chain, struct err *err)
{
	char now[PATH_MAX], next[PATH_MAX];
	struct str text = STR_NONE;
	int r = keep_path(k, identity, ".pem", now, err);
	if (r == 0)
		r = keep_path(k, identity, ".pem.next", next, err);
	if (r == 0 && keep_pair(key, chain, &text) < 0)
		r = err_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = keep_write(k, now, FILE_SECRET, text, err);
	if (r == 0)
		r = keep_remove(next, err);
	file_text_free(text);
	return r;
}

/* The key that a leaf is for: the pending one, or, when that is gone because the same chain was
 * taken a moment ago and the answer was lost, the one in force. */
static EVP_PKEY *keep_key_of(const struct keep *k, struct str identity, X509 *leaf)
{
	static const char *const endings[] = {".pem.next", ".pem"};
	char path[PATH_MAX];
	struct err err;
	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		EVP_PKEY *key = keep_path(k, identity, endings[i], path, &err) == 0
					? keep_read_key(path)
					: NULL;
		if (key && X509_check_private_key(leaf, key))
			return key;
		EVP_PKEY_free(key);
		ERR_clear_error();
	}
	return NULL;
}

static int keep_take(struct keep *k, struct str identity, X509 *leaf, struct str chain,
	int64_t now_s, struct err *err)
{
	EVP_PKEY *key = keep_key_of(k, identity, leaf);
	if (!key)
		return err_set(err, EKEYREJECTED,
			"the certificate is not for the key that was made for " STR_FMT,
			STR_ARG(identity));
	int r = keep_check_leaf(k, identity, leaf, key, now_s, err);
	if (r == 0)
		r = keep_put(k, identity, key, chain, err);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return r;
}

/* What our own TLS would not load must not become the certificate that all the others are loaded
 * with. Without anchors nothing is loaded at all. */
static int keep_check_use(
	const struct keep *k, struct str identity, struct str chain, struct err *err)
{
	char path[PATH_MAX];
	struct str roots;
	struct err why;
	int r = keep_join(path, k->dir, "roots", ".pem", err);
	if (r < 0 || file_read(path, FILE_PUBLIC, &roots, &why) < 0)
		return r;
	if (accept_trust(ACCEPT_ROOTS, str_of(k->trust_domain), roots, &why) == 0 &&
		accept_chain(str_of(k->trust_domain), identity, chain, roots, &why) < 0)
		r = err_set(err, EKEYREJECTED, "the certificate cannot be used: %s", why.text);
	file_text_free(roots);
	return r;
}

int keep_certificate(
	struct keep *k, struct str identity, struct str chain, int64_t now_s, struct err *err)
{
	char path[PATH_MAX];
	struct str pem;
	struct err why;
	X509 *leaf = NULL;
	int r = keep_path(k, identity, ".pem", path, err);
	if (r < 0)
		return r;
	if (chain_pem(chain, CHAIN_CERTIFICATES_MAX, &pem, &leaf, &why) < 0)
		return err_set(err, EKEYREJECTED, "the chain: %s", why.text);
	r = keep_check_use(k, identity, pem, err);
	if (r == 0)
		r = keep_take(k, identity, leaf, pem, now_s, err);
	X509_free(leaf);
	file_text_free(pem);
	return r;
}

int keep_forget(struct keep *k, struct str identity, struct err *err)
{
	char path[PATH_MAX];
	int r = keep_path(k, identity, ".pem.next", path, err);
	if (r == 0)
		r = keep_remove(path, err);
	if (r == 0)
		r = keep_path(k, identity, ".pem", path, err);
	return r < 0 ? r : keep_remove(path, err);
}

/* --- trust --- */

/* "<kind>.pem" for our own trust domain, "<kind>/<trust domain>.pem" for another. */
static int keep_trust_path(const struct keep *k, const char *kind, struct str trust_domain,
	char path[PATH_MAX], struct err *err)
{
	char name[KEEP_TRUST_DOMAIN_MAX + 16];
	if (!spiffe_trust_domain_valid(trust_domain) || trust_domain.len > KEEP_TRUST_DOMAIN_MAX ||
		trust_domain.at[0] == '.')
		return err_set(
			err, EINVAL, "\"" STR_FMT "\" is no trust domain", STR_ARG(trust_domain));
	bool is_ours = str_eq(trust_domain, str_of(k->trust_domain));
	snprintf(name, sizeof(name), is_ours ? "%s" : "%s/" STR_FMT, kind, STR_ARG(trust_domain));
	return keep_join(path, k->dir, name, ".pem", err);
}

/* 0: it is another now; -EALREADY: it is what was there. An empty text: no file. */
static int keep_replace(const struct keep *k, const char *path, struct str text, struct err *err)
{
	struct str before = STR_NONE;
	struct err unread;
	int r = file_read(path, FILE_PUBLIC, &before, &unread);
	bool same = r == 0 ? str_eq(before, text) : text.len == 0 && r == -ENOENT;
	file_text_free(before);
	if (same)
		return -EALREADY;
	return text.len == 0 ? keep_remove(path, err) : keep_write(k, path, FILE_PUBLIC, text, err);
}

static int keep_put_trust(const struct keep *k, struct str trust_domain, struct str roots,
	struct str crls, struct err *err)
{
	char roots_path[PATH_MAX], crls_path[PATH_MAX];
	int r = keep_trust_path(k, "roots", trust_domain, roots_path, err);
	if (r == 0)
		r = keep_trust_path(k, "crls", trust_domain, crls_path, err);
	if (r < 0)
		return r;
	/* Anchors first: a list of an authority that is not known yet is of no use. */
	int roots_r = keep_replace(k, roots_path, roots, err);
	if (roots_r < 0 && roots_r != -EALREADY)
		return roots_r;
	int crls_r = keep_replace(k, crls_path, crls, err);
	return crls_r == -EALREADY ? roots_r : crls_r;
}

/* The caller frees the text, also of an error. */
static int keep_check_roots(
	struct str trust_domain, struct str roots, struct str *ret_pem, struct err *err)
{
	struct err why;
	int r = chain_roots(roots, ret_pem, &why);
	if (r < 0)
		return err_set(
			err, -r, "anchors of " STR_FMT ": %s", STR_ARG(trust_domain), why.text);
	return accept_trust(ACCEPT_ROOTS, trust_domain, *ret_pem, err);
}

int keep_anchors(struct keep *k, struct str trust_domain, struct str roots, struct err *err)
{
	char path[PATH_MAX];
	struct str pem = STR_NONE;
	int r = keep_check_roots(trust_domain, roots, &pem, err);
	if (r == 0)
		r = keep_trust_path(k, "roots", trust_domain, path, err);
	if (r == 0)
		r = keep_replace(k, path, pem, err);
	file_text_free(pem);
	return r;
}

int keep_trust(
	struct keep *k, struct str trust_domain, struct str roots, struct str crls, struct err *err)
{
	struct str roots_pem = STR_NONE, crls_pem = STR_NONE;
	struct err why;
	int r = keep_check_roots(trust_domain, roots, &roots_pem, err);
	if (r == 0) {
		r = chain_crls(crls, &crls_pem, &why);
		if (r < 0)
			err_set(err, -r, "revocation lists of " STR_FMT ": %s",
				STR_ARG(trust_domain), why.text);
	}
	if (r == 0 && crls_pem.len > 0)
		r = accept_trust(ACCEPT_CRLS, trust_domain, crls_pem, err);
	if (r == 0)
		r = keep_put_trust(k, trust_domain, roots_pem, crls_pem, err);
	file_text_free(roots_pem);
	file_text_free(crls_pem);
	return r;
}
