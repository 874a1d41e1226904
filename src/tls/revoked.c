/* SPDX-License-Identifier: Apache-2.0 */
/* The lists come from the authorities by way of our own keeper, and one may have 100 000 entries:
 * the library's parser reads them once, at load; a handshake looks a number up by halving. */
#include "revoked.h"

#include "pem.h"
#include "verify.h"
#include <errno.h>
#include <openssl/bytestring.h>
#include <openssl/digest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>

#define REVOKED_LIST_COUNT_MAX	    256
#define REVOKED_SERIAL_OCTETS	    20 /* RFC 5280, 4.1.2.2 and 5.2.3 */
#define REVOKED_EXTENSION_COUNT_MAX 32
#define REVOKED_ISSUER_SLOT_COUNT   64 /* a power of two */
#define REVOKED_PROBE_MAX	    8

/* A number as bytes that compare as memcmp() does: its sign, then its value, filled up in front. */
struct revoked_number {
	uint8_t bytes[1 + REVOKED_SERIAL_OCTETS];
};

struct revoked_list {
	X509_NAME *issuer;
	int64_t from_s, until_s; /* thisUpdate; nextUpdate, INT64_MAX when there is none */
	bool numbered;		 /* a list of version 1 has no number */
	struct revoked_number number;
	const EVP_MD *digest_kind;
	int key_kind;
	uint8_t digest[EVP_MAX_MD_SIZE], *signature;
	size_t digest_len, signature_len;
	struct revoked_number *serials; /* sorted */
	size_t serial_count;
};

/* What was found about an issuer: never changed after it is there. */
struct revoked_issuer {
	uint8_t digest[32];		 /* of its certificate */
	const struct revoked_list *list; /* NULL: none of the lists is its */
};

struct revoked {
	struct revoked_list lists[REVOKED_LIST_COUNT_MAX];
	size_t list_count;
	_Atomic(struct revoked_issuer *) issuers[REVOKED_ISSUER_SLOT_COUNT];
};

/* --- numbers --- */

static bool revoked_read_number(const ASN1_INTEGER *from, struct revoked_number *ret)
{
	const uint8_t *bytes = ASN1_STRING_get0_data(from);
	size_t len = (size_t)ASN1_STRING_length(from);
	while (len > 0 && bytes[0] == 0) {
		bytes++;
		len--;
	}
	memset(ret, 0, sizeof(*ret));
	if (len > REVOKED_SERIAL_OCTETS)
		return false;
	ret->bytes[0] = ASN1_STRING_type(from) == V_ASN1_NEG_INTEGER;
	if (len > 0)
		memcpy(ret->bytes + sizeof(ret->bytes) - len, bytes, len);
	return true;
}

static int revoked_compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct revoked_number));
}

static bool revoked_lists(const struct revoked_list *list, const X509 *certificate)
{
	struct revoked_number serial;
	/* One that is too long can stand on no list. */
	return revoked_read_number(X509_get0_serialNumber(certificate), &serial) &&
	       list->serial_count > 0 &&
	       bsearch(&serial, list->serials, list->serial_count, sizeof(serial), revoked_compare);
}

/* --- loading --- */

/* NULL, or what is wrong. */
static const char *revoked_load_extensions(const X509_CRL *crl)
{
	int count = X509_CRL_get_ext_count(crl);
	if (count > REVOKED_EXTENSION_COUNT_MAX)
		return "too many extensions";
	if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0)
		return "only the changes to another list (delta CRL): whole ones are needed";
	if (X509_CRL_get_ext_by_NID(crl, NID_issuing_distribution_point, -1) >= 0)
		return "only a part of what is revoked (issuing distribution point): whole ones "
		       "are needed";
	for (int i = 0; i < count; i++) {
		X509_EXTENSION *it = X509_CRL_get_ext(crl, i);
		if (X509_EXTENSION_get_critical(it))
			return "an unknown critical extension";
		if (X509_CRL_get_ext_by_OBJ(crl, X509_EXTENSION_get_object(it), i) >= 0)
			return "an extension twice";
	}
	return NULL;
}

static const char *revoked_load_number(struct revoked_list *list, const X509_CRL *crl)
{
	if (X509_CRL_get_ext_by_NID(crl, NID_crl_number, -1) < 0)
		return NULL;
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
	bool ok =
		number && revoked_read_number(number, &list->number) && list->number.bytes[0] == 0;
	ASN1_INTEGER_free(number);
	list->numbered = true;
	return ok ? NULL : "a malformed number";
}

static const char *revoked_load_dates(struct revoked_list *list, const X509_CRL *crl)
{
	const ASN1_TIME *until = X509_CRL_get0_nextUpdate(crl);
	list->until_s = INT64_MAX;
	if (!verify_time(X509_CRL_get0_lastUpdate(crl), &list->from_s) ||
		(until && !verify_time(until, &list->until_s)))
		return "unreadable dates";
	return NULL;
}

/* Digest and algorithm of the signature, for later. RFC 5280, 5.1.1.2: what is named inside must be
 * what is named outside. */
static const char *revoked_load_signature(
	struct revoked_list *list, const X509_CRL *crl, const uint8_t *der, size_t len)
{
	CBS outer, whole, tbs, outside, rest, inside;
	const ASN1_BIT_STRING *signature;
	int digest_nid, key_nid;
	unsigned digest_len;
	CBS_init(&outer, der, len);
	if (!CBS_get_asn1(&outer, &whole, CBS_ASN1_SEQUENCE) ||
		!CBS_get_asn1_element(&whole, &tbs, CBS_ASN1_SEQUENCE) ||
		!CBS_get_asn1_element(&whole, &outside, CBS_ASN1_SEQUENCE))
		return "malformed";
	rest = tbs;
	if (!CBS_get_asn1(&rest, &rest, CBS_ASN1_SEQUENCE) ||
		!CBS_get_optional_asn1(&rest, NULL, NULL, CBS_ASN1_INTEGER) ||
		!CBS_get_asn1_element(&rest, &inside, CBS_ASN1_SEQUENCE) ||
		!CBS_mem_equal(&inside, CBS_data(&outside), CBS_len(&outside)))
		return "two different signature algorithms";
	int nid = X509_CRL_get_signature_nid(crl);
	if (!verify_algorithm_strong(nid) || !OBJ_find_sigid_algs(nid, &digest_nid, &key_nid))
		return "weak or unsupported signature algorithm";
	X509_CRL_get0_signature(crl, &signature, NULL);
	list->digest_kind = EVP_get_digestbynid(digest_nid);
	list->key_kind = key_nid == NID_rsaEncryption ? EVP_PKEY_RSA : EVP_PKEY_EC;
	list->signature_len = (size_t)ASN1_STRING_length(signature);
	list->signature = OPENSSL_memdup(ASN1_STRING_get0_data(signature), list->signature_len);
	if (!list->signature || !EVP_Digest(CBS_data(&tbs), CBS_len(&tbs), list->digest,
					&digest_len, list->digest_kind, NULL))
		return "no readable signature";
	list->digest_len = digest_len;
	return NULL;
}

static const char *revoked_load_serials(struct revoked_list *list, X509_CRL *crl)
{
	STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
	size_t count = entries ? sk_X509_REVOKED_num(entries) : 0;
	list->serials = malloc((count + 1) * sizeof(*list->serials));
	if (!list->serials)
		return "out of memory";
	for (size_t i = 0; i < count; i++) {
		const X509_REVOKED *it = sk_X509_REVOKED_value(entries, i);
		/* As that it is the certificate of another issuer. */
		if (X509_REVOKED_get_ext_by_critical(it, 1, -1) >= 0)
			return "an entry with a critical extension";
		if (!revoked_read_number(X509_REVOKED_get0_serialNumber(it), &list->serials[i]))
			return "a serial number of more than 20 octets";
	}
	list->serial_count = count;
	qsort(list->serials, count, sizeof(*list->serials), revoked_compare);
	return NULL;
}

static const char *revoked_load_list(
	struct revoked_list *list, const uint8_t *der, size_t len, X509_CRL *crl)
{
	const char *fault = revoked_load_extensions(crl);
	if (!fault)
		fault = revoked_load_number(list, crl);
	if (!fault)
		fault = revoked_load_dates(list, crl);
	if (!fault)
		fault = revoked_load_signature(list, crl, der, len);
	if (!fault)
		fault = revoked_load_serials(list, crl);
	if (fault)
		return fault;
	list->issuer = X509_NAME_dup(X509_CRL_get_issuer(crl));
	return list->issuer ? NULL : "out of memory";
}

static int revoked_load_block(struct revoked *r, const struct bundle_item *item, const uint8_t *der,
	size_t len, struct err *err)
{
	if (r->list_count == REVOKED_LIST_COUNT_MAX)
		return err_set(err, E2BIG, "crl of " STR_FMT ": more than %d lists",
			STR_ARG(item->name), REVOKED_LIST_COUNT_MAX);
	const uint8_t *end = der;
	X509_CRL *crl = d2i_X509_CRL(NULL, &end, (long)len);
	const char *fault = crl && end == der + len
				    ? revoked_load_list(&r->lists[r->list_count], der, len, crl)
				    : "malformed";
	r->list_count++; /* also with a part of it, which is freed then */
	X509_CRL_free(crl);
	ERR_clear_error();
	return fault ? err_set(err, EINVAL, "crl of " STR_FMT ": list %zu: %s", STR_ARG(item->name),
			       r->list_count, fault)
		     : 0;
}

int revoked_new(const struct bundle_item *item, struct revoked **ret_revoked, struct err *err)
{
	struct revoked *r = calloc(1, sizeof(*r));
	struct pem pem = {.item = item, .kind = PEM_STRING_X509_CRL, .word = "CRL"};
	if (!r)
		return err_set(err, ENOMEM, "out of memory");
	int got;
	while ((got = pem_next(&pem, err)) > 0) {
		int failed = revoked_load_block(r, item, pem.der, pem.len, err);
		if (failed < 0) {
			got = failed;
			break;
		}
	}
	pem_done(&pem);
	if (got < 0)
		revoked_free(r);
	else
		*ret_revoked = r;
	return got;
}

void revoked_free(struct revoked *r)
{
	for (size_t i = 0; r && i < r->list_count; i++) {
		X509_NAME_free(r->lists[i].issuer);
		OPENSSL_free(r->lists[i].signature);
		free(r->lists[i].serials);
	}
	for (size_t i = 0; r && i < REVOKED_ISSUER_SLOT_COUNT; i++)
		free(atomic_load_explicit(&r->issuers[i], memory_order_relaxed));
	free(r);
}

/* --- whose list --- */

static bool revoked_signed_by(const struct revoked_list *list, EVP_PKEY *key)
{
	if (EVP_PKEY_id(key) != list->key_kind)
		return false;
	EVP_PKEY_CTX *check = EVP_PKEY_CTX_new(key, NULL);
	bool ok = check && EVP_PKEY_verify_init(check) &&
		  EVP_PKEY_CTX_set_signature_md(check, list->digest_kind) &&
		  EVP_PKEY_verify(check, list->signature, list->signature_len, list->digest,
			  list->digest_len);
	EVP_PKEY_CTX_free(check);
	ERR_clear_error();
	return ok;
}

/* The one with the higher number counts, or without numbers the later one. */
static bool revoked_newer(const struct revoked_list *a, const struct revoked_list *b)
{
	if (a->numbered != b->numbered)
		return a->numbered;
	int order = a->numbered ? revoked_compare(&a->number, &b->number) : 0;
	return order > 0 || (order == 0 && a->from_s > b->from_s);
}

static const struct revoked_list *revoked_search(const struct revoked *r, X509 *issuer)
{
	const struct revoked_list *newest = NULL;
	EVP_PKEY *key = X509_get_pubkey(issuer);
	for (size_t i = 0; key && i < r->list_count; i++) {
		const struct revoked_list *it = &r->lists[i];
		if (X509_NAME_cmp(it->issuer, X509_get_subject_name(issuer)) != 0 ||
			(newest && !revoked_newer(it, newest)))
			continue;
		if (revoked_signed_by(it, key))
			newest = it;
	}
	EVP_PKEY_free(key);
	return newest;
}

/* Keeps what was found, as long as a slot of its digest is free. */
static void revoked_remember(
	struct revoked *r, const uint8_t digest[32], const struct revoked_list *list)
{
	struct revoked_issuer *found = malloc(sizeof(*found));
	if (!found)
		return;
	memcpy(found->digest, digest, sizeof(found->digest));
	found->list = list;
	for (size_t probe = 0; probe < REVOKED_PROBE_MAX; probe++) {
		struct revoked_issuer *there = NULL;
		size_t slot = (digest[0] + probe) & (REVOKED_ISSUER_SLOT_COUNT - 1);
		if (atomic_compare_exchange_strong_explicit(&r->issuers[slot], &there, found,
			    memory_order_acq_rel, memory_order_acquire))
			return;
		if (memcmp(there->digest, digest, sizeof(there->digest)) == 0)
			break; /* another thread was first */
	}
	free(found);
}

static const struct revoked_list *revoked_list_of(struct revoked *r, X509 *issuer)
{
	uint8_t digest[32];
	if (!X509_digest(issuer, EVP_sha256(), digest, NULL))
		return revoked_search(r, issuer);
	for (size_t probe = 0; probe < REVOKED_PROBE_MAX; probe++) {
		size_t slot = (digest[0] + probe) & (REVOKED_ISSUER_SLOT_COUNT - 1);
		const struct revoked_issuer *it =
			atomic_load_explicit(&r->issuers[slot], memory_order_acquire);
		if (!it)
			break;
		if (memcmp(it->digest, digest, sizeof(digest)) == 0)
			return it->list;
	}
	const struct revoked_list *list = revoked_search(r, issuer);
	revoked_remember(r, digest, list);
	return list;
}

bool revoked_path(struct revoked *r, STACK_OF(X509) * path, int64_t *ret_until_s)
{
	*ret_until_s = INT64_MAX;
	for (size_t i = 0; i + 1 < sk_X509_num(path); i++) {
		const struct revoked_list *list = revoked_list_of(r, sk_X509_value(path, i + 1));
		if (list && revoked_lists(list, sk_X509_value(path, i)))
			return true;
		bool missing = !list && i == 0 && r->list_count > 0;
		int64_t until_s = list ? list->until_s : missing ? INT64_MIN : INT64_MAX;
		if (until_s < *ret_until_s)
			*ret_until_s = until_s;
	}
	return false;
}
