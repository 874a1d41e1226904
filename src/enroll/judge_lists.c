/* SPDX-License-Identifier: Apache-2.0 */
/* What is published for all: anchors and CRLs. */
#include "judge_private.h"

#include "base/bundle.h"
#include "tls/tls.h"
#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define JUDGE_CRLS_MAX	256
#define JUDGE_HEX_BYTES (2 * SHA256_DIGEST_LENGTH)
#define JUDGE_SHOWN_MAX 4 /* fingerprints in an error */

/* --- anchors --- */

/* What every process would refuse at its next plan. `kind`: "roots" or "crl". */
static int judge_try(const char *kind, struct str text, struct str trust_domain, struct err *err)
{
	struct bundle b;
	struct tls_store *store = NULL;
	bundle_init(&b);
	int r = bundle_add(&b, str_of(kind), trust_domain, text, err);
	if (r == 0)
		r = tls_store_new(&b, trust_domain, 1, &store, err);
	tls_store_unref(store);
	bundle_done(&b);
	return r < 0 ? -EBADMSG : 0;
}

static int judge_part(STACK_OF(X509) * all, BIO *anchors, BIO *others, struct err *err)
{
	size_t count = 0;
	for (size_t i = 0; i < sk_X509_num(all); i++) {
		X509 *it = sk_X509_value(all, i);
		bool is_anchor = judge_signs_itself(it);
		if (!judge_append(is_anchor ? anchors : others, it))
			return err_set(err, ENOMEM, "out of memory");
		count += is_anchor;
	}
	return count > 0
		       ? 0
		       : err_set(err, EBADMSG,
				 "no trust anchor came: none of the %zu certificates signs itself",
				 sk_X509_num(all));
}

int judge_anchors(struct str pem, struct str trust_domain, struct str *ret_anchors,
	struct str *ret_others, struct err *err)
{
	STACK_OF(X509) *all = judge_read(pem);
	BIO *anchors = BIO_new(BIO_s_mem()), *others = BIO_new(BIO_s_mem());
	struct str first = STR_NONE, second = STR_NONE;
	int r = all && anchors && others ? judge_part(all, anchors, others, err)
					 : err_set(err, EBADMSG, "anchors that cannot be read");
	if (r == 0 && (judge_text(anchors, &first) < 0 || judge_text(others, &second) < 0))
		r = err_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = judge_try("roots", first, trust_domain, err);
	sk_X509_pop_free(all, X509_free);
	BIO_free(anchors);
	BIO_free(others);
	ERR_clear_error();
	if (r < 0) {
		free((char *)first.at);
		free((char *)second.at);
		return r;
	}
	*ret_anchors = first;
	*ret_others = second;
	return 0;
}

bool judge_anchors_view(struct str pem, struct judge_view *ret_view)
{
	struct judge_view view = {.from_s = INT64_MAX, .until_s = INT64_MIN};
	STACK_OF(X509) *all = judge_read(pem);
	size_t count = all ? sk_X509_num(all) : 0;
	for (size_t i = 0; i < count; i++) {
		int64_t from_s, until_s;
		X509 *it = sk_X509_value(all, i);
		if (!judge_time(X509_get0_notBefore(it), &from_s) ||
			!judge_time(X509_get0_notAfter(it), &until_s))
			continue;
		view.from_s = from_s < view.from_s ? from_s : view.from_s;
		view.until_s = until_s > view.until_s ? until_s : view.until_s;
	}
	sk_X509_pop_free(all, X509_free);
	if (view.until_s == INT64_MIN)
		return false;
	*ret_view = view;
	return true;
}

/* --- the same? --- */

struct judge_digests {
	uint8_t (*at)[SHA256_DIGEST_LENGTH];
	size_t count;
};

static int judge_compare_digests(const void *a, const void *b)
{
	return memcmp(a, b, SHA256_DIGEST_LENGTH);
}

/* Of every block of a PEM text, sorted. */
static bool judge_digests_of(struct str pem, struct judge_digests *d)
{
	char *kind, *header;
	uint8_t *der;
	long len;
	*d = (struct judge_digests){0};
	BIO *in = pem.len <= INT_MAX ? BIO_new_mem_buf(pem.at ? pem.at : "", (int)pem.len) : NULL;
	bool ok = in;
	while (ok && PEM_read_bio(in, &kind, &header, &der, &len)) {
		void *grown = reallocarray(d->at, d->count + 1, sizeof(*d->at));
		ok = grown;
		if (grown) {
			d->at = grown;
			SHA256(der, (size_t)len, d->at[d->count++]);
		}
		OPENSSL_free(kind);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	BIO_free(in);
	ERR_clear_error();
	if (d->count > 0)
		qsort(d->at, d->count, sizeof(*d->at), judge_compare_digests);
	return ok;
}

bool judge_same(struct str a, struct str b)
{
	struct judge_digests x, y;
	if (str_eq(a, b))
		return true;
	bool ok = judge_digests_of(a, &x),
	     same = judge_digests_of(b, &y) && ok && x.count == y.count &&
		    (x.count == 0 || memcmp(x.at, y.at, x.count * sizeof(*x.at)) == 0);
	free(x.at);
	free(y.at);
	return same;
}

/* --- fingerprints --- */

static bool judge_hex(struct str text, uint8_t ret_digest[SHA256_DIGEST_LENGTH])
{
	size_t digits = 0;
	text = str_trim(text);
	for (size_t i = 0; i < text.len; i++) {
		int value = str_hex(text.at[i]);
		if (text.at[i] == ':' && digits % 2 == 0)
			continue;
		if (value < 0 || digits >= JUDGE_HEX_BYTES)
			return false;
		uint8_t *byte = &ret_digest[digits / 2];
		*byte = (uint8_t)(digits % 2 == 0 ? value << 4 : *byte | value);
		digits++;
	}
	return digits == JUDGE_HEX_BYTES;
}

static void judge_show_digest(const uint8_t digest[SHA256_DIGEST_LENGTH], struct err *err)
{
	size_t len = strlen(err->text);
	for (size_t i = 0; i < SHA256_DIGEST_LENGTH && len + 4 < sizeof(err->text); i++)
		len += (size_t)snprintf(err->text + len, sizeof(err->text) - len, "%s%02x",
			i == 0 ? " " : "", digest[i]);
}

/* The one with that digest, or NULL and the others' digests in `err`. */
static X509 *judge_find_anchor(
	STACK_OF(X509) * all, const uint8_t wanted[SHA256_DIGEST_LENGTH], struct err *err)
{
	unsigned shown = 0, len;
	uint8_t digest[SHA256_DIGEST_LENGTH];
	err_set(err, ENOENT, "no trust anchor of that fingerprint; there is");
	for (size_t i = 0; i < sk_X509_num(all); i++) {
		X509 *it = sk_X509_value(all, i);
		if (!judge_signs_itself(it) || !X509_digest(it, EVP_sha256(), digest, &len))
			continue;
		if (memcmp(digest, wanted, sizeof(digest)) == 0)
			return it;
		if (shown++ < JUDGE_SHOWN_MAX)
			judge_show_digest(digest, err);
	}
	if (shown == 0)
		err_set(err, ENOENT, "no trust anchor at all");
	return NULL;
}

int judge_fingerprint(
	struct str pem, struct str fingerprint, struct str *ret_anchor, struct err *err)
{
	uint8_t wanted[SHA256_DIGEST_LENGTH];
	if (!judge_hex(fingerprint, wanted))
		return err_set(err, EINVAL,
			"the fingerprint is not a SHA-256: 64 hexadecimal digits, with colons or "
			"without");
	STACK_OF(X509) *all = judge_read(pem);
	BIO *out = BIO_new(BIO_s_mem());
	int r = -ENOENT;
	X509 *found = all ? judge_find_anchor(all, wanted, err) : NULL;
	if (!all || !out)
		r = err_set(err, ENOENT, "anchors that cannot be read");
	else if (found)
		r = judge_append(out, found) && judge_text(out, ret_anchor) == 0
			    ? 0
			    : err_set(err, ENOMEM, "out of memory");
	sk_X509_pop_free(all, X509_free);
	BIO_free(out);
	ERR_clear_error();
	return r;
}

/* --- CRLs --- */

static int judge_no_password(char *text, int size, int writing, void *unused)
{
	return -1;
}

STACK_OF(X509_CRL) * judge_read_crls(struct str pem)
{
	ERR_clear_error();
	BIO *in = pem.len <= INT_MAX ? BIO_new_mem_buf(pem.at ? pem.at : "", (int)pem.len) : NULL;
	STACK_OF(X509_CRL) *all = sk_X509_CRL_new_null();
	X509_CRL *one;
	bool ok = in && all;
	while (ok && (one = PEM_read_bio_X509_CRL(in, NULL, judge_no_password, NULL))) {
		ok = sk_X509_CRL_num(all) < JUDGE_CRLS_MAX && sk_X509_CRL_push(all, one);
		if (!ok)
			X509_CRL_free(one);
	}
	uint32_t error = ERR_peek_last_error();
	ok = ok && ERR_GET_LIB(error) == ERR_LIB_PEM &&
	     ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
	BIO_free(in);
	ERR_clear_error();
	if (ok)
		return all;
	sk_X509_CRL_pop_free(all, X509_CRL_free);
	return NULL;
}

enum judge_signer {
	JUDGE_SIGNER_UNKNOWN, /* no authority of that name */
	JUDGE_SIGNER_KNOWN,
	JUDGE_SIGNER_FALSE, /* one of that name, and another key */
};

static enum judge_signer judge_signer_of(X509_CRL *crl, STACK_OF(X509) * authorities)
{
	enum judge_signer signer = JUDGE_SIGNER_UNKNOWN;
	for (size_t i = 0; signer != JUDGE_SIGNER_KNOWN && i < sk_X509_num(authorities); i++) {
		X509 *it = sk_X509_value(authorities, i);
		if (X509_NAME_cmp(X509_get_subject_name(it), X509_CRL_get_issuer(crl)) != 0)
			continue;
		EVP_PKEY *key = X509_get_pubkey(it);
		signer = key && X509_CRL_verify(crl, key) == 1 ? JUDGE_SIGNER_KNOWN
							       : JUDGE_SIGNER_FALSE;
		EVP_PKEY_free(key);
	}
	ERR_clear_error();
	return signer;
}

/* Negative, zero or positive, as the number of `a` is lower, the same, or higher. One without a
 * number is older than any. */
static int judge_compare_numbers(const X509_CRL *a, const X509_CRL *b)
{
	ASN1_INTEGER *x = X509_CRL_get_ext_d2i(a, NID_crl_number, NULL, NULL);
	ASN1_INTEGER *y = X509_CRL_get_ext_d2i(b, NID_crl_number, NULL, NULL);
	int order = x && y ? ASN1_INTEGER_cmp(x, y) : (x != NULL) - (y != NULL);
	ASN1_INTEGER_free(x);
	ASN1_INTEGER_free(y);
	ERR_clear_error();
	return order;
}

/* By name, and by key as far as both say which. */
static bool judge_same_issuer(const X509_CRL *a, const X509_CRL *b)
{
	if (X509_NAME_cmp(X509_CRL_get_issuer(a), X509_CRL_get_issuer(b)) != 0)
		return false;
	AUTHORITY_KEYID *x = X509_CRL_get_ext_d2i(a, NID_authority_key_identifier, NULL, NULL);
	AUTHORITY_KEYID *y = X509_CRL_get_ext_d2i(b, NID_authority_key_identifier, NULL, NULL);
	bool same = !x || !y || !x->keyid || !y->keyid ||
		    ASN1_OCTET_STRING_cmp(x->keyid, y->keyid) == 0;
	AUTHORITY_KEYID_free(x);
	AUTHORITY_KEYID_free(y);
	ERR_clear_error();
	return same;
}

/* The one of the same authority in a stack, or NULL. */
static X509_CRL *judge_counterpart(STACK_OF(X509_CRL) * all, const X509_CRL *crl)
{
	for (size_t i = 0; i < sk_X509_CRL_num(all); i++) {
		X509_CRL *it = sk_X509_CRL_value(all, i);
		if (judge_same_issuer(it, crl))
			return it;
	}
	return NULL;
}

struct judge_merge {
	STACK_OF(X509_CRL) * came, *held;
	STACK_OF(X509) * authorities;
	BIO *out;
	int64_t now_s;
	struct judge_lists lists;
};

static bool judge_put(struct judge_merge *m, X509_CRL *crl)
{
	int64_t until_s;
	if (judge_time(X509_CRL_get0_nextUpdate(crl), &until_s)) {
		m->lists.is_stale |= until_s <= m->now_s;
		if (m->lists.until_s == 0 || until_s < m->lists.until_s)
			m->lists.until_s = until_s;
	}
	return PEM_write_bio_X509_CRL(m->out, crl);
}

/* There is a newer one of its authority in the same answer, or the same one before it. */
static bool judge_surpassed(STACK_OF(X509_CRL) * all, size_t index)
{
	X509_CRL *crl = sk_X509_CRL_value(all, index);
	for (size_t i = 0; i < sk_X509_CRL_num(all); i++) {
		X509_CRL *it = sk_X509_CRL_value(all, i);
		if (i == index || !judge_same_issuer(it, crl))
			continue;
		int order = judge_compare_numbers(it, crl);
		if (order > 0 || (order == 0 && i < index))
			return true;
	}
	return false;
}

static int judge_merge_came(struct judge_merge *m, struct err *err)
{
	for (size_t i = 0; i < sk_X509_CRL_num(m->came); i++) {
		X509_CRL *it = sk_X509_CRL_value(m->came, i);
		if (judge_signer_of(it, m->authorities) == JUDGE_SIGNER_FALSE)
			return err_set(err, EBADMSG,
				"a list of revoked certificates that its authority has not signed");
		if (judge_surpassed(m->came, i))
			continue;
		X509_CRL *held = judge_counterpart(m->held, it);
		bool older = held && judge_compare_numbers(it, held) < 0 &&
			     judge_signer_of(held, m->authorities) != JUDGE_SIGNER_FALSE;
		m->lists.is_older |= older;
		if (!judge_put(m, older ? held : it))
			return err_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

/* One that is no longer published: an authority that we know may not take it back by saying
 * nothing; of one that we do not know it stays for its time. */
static bool judge_holds_on(const struct judge_merge *m, X509_CRL *crl)
{
	int64_t until_s;
	switch (judge_signer_of(crl, m->authorities)) {
	case JUDGE_SIGNER_KNOWN:
		return true;
	case JUDGE_SIGNER_UNKNOWN:
		return judge_time(X509_CRL_get0_nextUpdate(crl), &until_s) && until_s > m->now_s;
	case JUDGE_SIGNER_FALSE:
		return false;
	}
	return false;
}

static int judge_merge_held(struct judge_merge *m, struct err *err)
{
	for (size_t i = 0; i < sk_X509_CRL_num(m->held); i++) {
		X509_CRL *it = sk_X509_CRL_value(m->held, i);
		if (judge_counterpart(m->came, it) || !judge_holds_on(m, it))
			continue;
		if (!judge_put(m, it))
			return err_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

int judge_crls(struct str pem, struct str in_force, struct str authorities, int64_t now_s,
	struct str *ret_pem, struct judge_lists *ret_lists, struct err *err)
{
	struct judge_merge m = {.came = judge_read_crls(pem),
		.held = judge_read_crls(in_force),
		.authorities = judge_read(authorities),
		.out = BIO_new(BIO_s_mem()),
		.now_s = now_s};
	struct str text = STR_NONE;
	int r = m.came && m.held && m.authorities && m.out
			? judge_merge_came(&m, err)
			: err_set(err, EBADMSG,
				  "lists of revoked certificates that cannot be read");
	if (r == 0)
		r = judge_merge_held(&m, err);
	if (r == 0 && judge_text(m.out, &text) < 0)
		r = err_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = judge_try("crl", text, STR("lists"), err);
	if (r < 0)
		free((char *)text.at);
	sk_X509_CRL_pop_free(m.came, X509_CRL_free);
	sk_X509_CRL_pop_free(m.held, X509_CRL_free);
	sk_X509_pop_free(m.authorities, X509_free);
	BIO_free(m.out);
	ERR_clear_error();
	if (r < 0)
		return r;
	*ret_pem = text;
	*ret_lists = m.lists;
	return 0;
}

/* --- revoked --- */

bool judge_revoked(struct str chain, struct str crls)
{
	STACK_OF(X509) *certificates = judge_read(chain);
	STACK_OF(X509_CRL) *lists = judge_read_crls(crls);
	bool is_revoked = false;
	for (size_t i = 0; certificates && lists && i < sk_X509_CRL_num(lists); i++) {
		X509_CRL *list = sk_X509_CRL_value(lists, i);
		X509 *leaf = sk_X509_value(certificates, 0);
		X509_REVOKED *row = NULL;
		is_revoked = is_revoked || (X509_NAME_cmp(X509_CRL_get_issuer(list),
						    X509_get_issuer_name(leaf)) == 0 &&
						   X509_CRL_get0_by_serial(list, &row,
							   X509_get_serialNumber(leaf)) == 1);
	}
	sk_X509_pop_free(certificates, X509_free);
	sk_X509_CRL_pop_free(lists, X509_CRL_free);
	ERR_clear_error();
	return is_revoked;
}
