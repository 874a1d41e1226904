/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/trust_view.h"

#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

/* 0: none, or none that can be read. */
static int64_t trust_time_s(const ASN1_TIME *time)
{
	int days = 0, seconds = 0;
	ASN1_TIME *epoch = time ? ASN1_TIME_set(NULL, 0) : NULL;
	bool ok = epoch && ASN1_TIME_diff(&days, &seconds, epoch, time);
	ASN1_TIME_free(epoch);
	return ok ? (int64_t)days * 86400 + seconds : 0;
}

static int64_t trust_earlier(int64_t a_s, int64_t b_s)
{
	return a_s == 0 || (b_s != 0 && b_s < a_s) ? b_s : a_s;
}

static BIO *trust_open(struct str text)
{
	return text.len > 0 && text.len <= INT_MAX ? BIO_new_mem_buf(text.at, (int)text.len) : NULL;
}

static void trust_look_at_anchors(struct str text, struct tls_trust_view *view)
{
	X509 *anchor;
	BIO *bio = trust_open(text);
	while (bio && (anchor = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		view->anchor_count++;
		view->anchor_not_after_s = trust_earlier(
			view->anchor_not_after_s, trust_time_s(X509_get0_notAfter(anchor)));
		X509_free(anchor);
	}
	BIO_free(bio);
	ERR_clear_error();
}

static void trust_look_at_lists(struct str text, struct tls_trust_view *view)
{
	X509_CRL *crl;
	BIO *bio = trust_open(text);
	while (bio && (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL))) {
		view->crl_count++;
		view->revoked_count += sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl));
		view->crl_this_update_s = trust_earlier(
			view->crl_this_update_s, trust_time_s(X509_CRL_get0_lastUpdate(crl)));
		view->crl_next_update_s = trust_earlier(
			view->crl_next_update_s, trust_time_s(X509_CRL_get0_nextUpdate(crl)));
		X509_CRL_free(crl);
	}
	BIO_free(bio);
	ERR_clear_error();
}

bool tls_trust_view(const struct bundle *b, uint32_t index, struct tls_trust_view *ret_view)
{
	const struct bundle_item *roots = bundle_next(b, "roots", NULL);
	while (roots && index-- > 0)
		roots = bundle_next(b, "roots", roots);
	if (!roots)
		return false;
	const struct bundle_item *crl = bundle_find(b, "crl", roots->name);
	*ret_view = (struct tls_trust_view){.trust_domain = roots->name};
	trust_look_at_anchors(roots->text, ret_view);
	if (crl)
		trust_look_at_lists(crl->text, ret_view);
	return true;
}
