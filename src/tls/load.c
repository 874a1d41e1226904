/* SPDX-License-Identifier: Apache-2.0 */
/* From bundle items to identities and trust anchors. The bundle is made by our own keeper, but its
 * texts come from files that other programs write, so every fault names the item and the cure. */
#include "store.h"

#include "pem.h"
#include "tls/spiffe.h"
#include "verify.h"
#include <errno.h>
#include <openssl/digest.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/hkdf.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#define LOAD_ANCHOR_COUNT_MAX 256
#define LOAD_TICKET_KEY_BYTES 16

static int load_certificate(const struct pem *block, STACK_OF(X509) * certificates, struct err *err)
{
	const uint8_t *end = block->der;
	X509 *certificate = d2i_X509(NULL, &end, (long)block->len);
	bool whole = certificate && end == block->der + block->len;
	ERR_clear_error();
	if (whole && sk_X509_push(certificates, certificate))
		return 0;
	X509_free(certificate);
	if (whole)
		return err_set(err, ENOMEM, "out of memory");
	return err_set(err, EINVAL, STR_FMT " of " STR_FMT ": certificate %zu is malformed",
		STR_ARG(block->item->kind), STR_ARG(block->item->name), block->number);
}

int store_load_pem(const struct bundle_item *item, STACK_OF(X509) * certificates, struct err *err)
{
	struct pem pem = {.item = item, .kind = PEM_STRING_X509, .word = "certificate"};
	int r = 0;
	while (r == 0 && (r = pem_next(&pem, err)) > 0)
		r = load_certificate(&pem, certificates, err);
	pem_done(&pem);
	return r;
}

/* --- identities --- */

static int load_leaf(const struct tls_store *s, const struct bundle_item *item,
	struct tls_identity *identity, X509 *leaf, struct err *err)
{
	struct str id, trust_domain;
	enum tls_failure failure = verify_leaf(leaf, &id, &trust_domain);
	if (failure)
		return err_set(err, EINVAL, "chain of " STR_FMT ": %s", STR_ARG(item->name),
			tls_failure_text(failure));
	if (asprintf(&identity->id, "spiffe://%s/%s", s->trust_domain, identity->path) < 0) {
		identity->id = NULL;
		return err_set(err, ENOMEM, "out of memory");
	}
	if (!str_eq(id, str_of(identity->id)))
		return err_set(err, EINVAL, "chain of " STR_FMT ": is for " STR_FMT ", not for %s",
			STR_ARG(item->name), STR_ARG(id), identity->id);
	EVP_PKEY *key = X509_get_pubkey(leaf);
	EC_KEY *curve = key ? EVP_PKEY_get0_EC_KEY(key) : NULL;
	bool p256 =
		curve && EC_GROUP_get_curve_name(EC_KEY_get0_group(curve)) == NID_X9_62_prime256v1;
	EVP_PKEY_free(key);
	if (!p256)
		return err_set(err, EINVAL, "chain of " STR_FMT ": the key is not of type P-256",
			STR_ARG(item->name));
	if (!verify_dates(leaf, &identity->not_before_s, &identity->not_after_s))
		return err_set(
			err, EINVAL, "chain of " STR_FMT ": unreadable dates", STR_ARG(item->name));
	return 0;
}

void store_serial(const X509 *leaf, char serial[static STORE_SERIAL_BYTES])
{
	const ASN1_INTEGER *number = X509_get0_serialNumber(leaf);
	const uint8_t *bytes = ASN1_STRING_get0_data(number);
	int len = ASN1_STRING_length(number);
	serial[0] = '\0';
	for (int i = 0; i < len && i < 31; i++)
		snprintf(serial + 2 * i, 3, "%02x", bytes[i]);
}

int store_load_chain(struct tls_store *s, const struct bundle_item *item,
	struct tls_identity *identity, STACK_OF(X509) * certificates, struct err *err)
{
	size_t count = sk_X509_num(certificates);
	store_serial(sk_X509_value(certificates, 0), identity->serial);
	size_t bytes = 0;
	for (size_t i = 0; i < count; i++) {
		uint8_t *der = NULL;
		int len = i2d_X509(sk_X509_value(certificates, i), &der);
		if (len > 0)
			identity->chain[i] =
				CRYPTO_BUFFER_new(der, (size_t)len, s->pool->certificates);
		OPENSSL_free(der);
		if (!identity->chain[i])
			return err_set(err, ENOMEM, "out of memory");
		identity->chain_count++;
		bytes += (size_t)len;
	}
	if (bytes > STORE_CHAIN_BYTES_MAX / 2)
		return err_set(err, EFBIG, STR_FMT " of " STR_FMT ": larger than %u KiB",
			STR_ARG(item->kind), STR_ARG(item->name), STORE_CHAIN_BYTES_MAX / 2 >> 10);
	return 0;
}

static int load_chain(struct tls_store *s, const struct bundle_item *item,
	struct tls_identity *identity, STACK_OF(X509) * certificates, struct err *err)
{
	size_t count = sk_X509_num(certificates);
	if (count == 0 || count > STORE_CHAIN_COUNT_MAX)
		return err_set(err, EINVAL, "chain of " STR_FMT ": %zu certificates, not 1 to %d",
			STR_ARG(item->name), count, STORE_CHAIN_COUNT_MAX);
	int r = load_leaf(s, item, identity, sk_X509_value(certificates, 0), err);
	return r < 0 ? r : store_load_chain(s, item, identity, certificates, err);
}

static void load_digest(SHA256_CTX *digest, struct str text)
{
	uint64_t len = text.len; /* so that no two lists of texts look alike */
	SHA256_Update(digest, &len, sizeof(len));
	if (text.len > 0)
		SHA256_Update(digest, text.at, text.len);
}

/* What keeps this identity's sessions apart from those of all others, and of itself with another
 * chain or other anchors: a session stands for verifications against these very ones. */
static int load_scope(const struct tls_store *s, struct tls_identity *identity, struct err *err)
{
	uint8_t what[32], bytes[LOAD_TICKET_KEY_BYTES + sizeof(identity->scope)];
	SHA256_CTX digest;
	SHA256_Init(&digest);
	SHA256_Update(&digest, s->anchors_digest, sizeof(s->anchors_digest));
	load_digest(&digest, str_of(identity->id));
	for (size_t i = 0; i < identity->chain_count; i++)
		load_digest(
			&digest, (struct str){(const char *)CRYPTO_BUFFER_data(identity->chain[i]),
					 CRYPTO_BUFFER_len(identity->chain[i])});
	SHA256_Final(what, &digest);
	if (HKDF_expand(bytes, sizeof(bytes), EVP_sha256(), s->ticket_secret,
		    sizeof(s->ticket_secret), what, sizeof(what)))
		identity->ticket_key = EVP_AEAD_CTX_new(EVP_aead_aes_128_gcm(), bytes,
			LOAD_TICKET_KEY_BYTES, EVP_AEAD_DEFAULT_TAG_LENGTH);
	memcpy(identity->scope, bytes + LOAD_TICKET_KEY_BYTES, sizeof(identity->scope));
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return identity->ticket_key ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int load_identity(struct tls_store *s, const struct bundle *b,
	const struct bundle_item *item, struct tls_identity *identity, struct err *err)
{
	const struct bundle_item *key = bundle_find(b, "key", item->name);
	uint64_t number;
	if (!spiffe_path_valid(item->name))
		return err_set(err, EINVAL, "chain of \"" STR_FMT "\": not an identity path",
			STR_ARG(item->name));
	if (spiffe_path_reserved(item->name))
		return err_set(err, EINVAL,
			"chain of " STR_FMT ": a machine's or an authority's, not a workload's",
			STR_ARG(item->name));
	if (!key || !str_to_u64(key->text, &number) || number > UINT32_MAX)
		return err_set(err, EINVAL, "key of " STR_FMT ": missing or not a number",
			STR_ARG(item->name));
	identity->key_number = (uint32_t)number;
	identity->path = strndup(item->name.at, item->name.len);
	STACK_OF(X509) *certificates = sk_X509_new_null();
	int r = identity->path && certificates ? store_load_pem(item, certificates, err)
					       : err_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = load_chain(s, item, identity, certificates, err);
	sk_X509_pop_free(certificates, X509_free);
	return r < 0 ? r : load_scope(s, identity, err);
}

static int load_compare(const void *a, const void *b)
{
	const struct tls_identity *left = a, *right = b;
	return strcmp(left->path, right->path);
}

/* --- trust anchors --- */

static void load_anchors_unref(struct tls_anchors *a)
{
	if (!a || atomic_fetch_sub_explicit(&a->ref_count, 1, memory_order_acq_rel) != 1)
		return;
	trust_done(&a->trust);
	revoked_free(a->revoked);
	proven_free(a->proven);
	free(a->trust_domain);
	free(a);
}

static struct tls_anchors *load_anchors_new(struct str trust_domain, const uint8_t digest[32])
{
	struct tls_anchors *a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	atomic_init(&a->ref_count, 1);
	memcpy(a->digest, digest, sizeof(a->digest));
	a->trust_domain = strndup(trust_domain.at, trust_domain.len);
	a->proven = proven_new();
	if (a->trust_domain && a->proven)
		return a;
	load_anchors_unref(a);
	return NULL;
}

static int load_anchors(struct tls_anchors *anchors, const struct bundle_item *item,
	STACK_OF(X509) * certificates, struct err *err)
{
	size_t count = sk_X509_num(certificates);
	if (count > LOAD_ANCHOR_COUNT_MAX)
		return err_set(err, E2BIG, "roots of " STR_FMT ": more than %d certificates",
			STR_ARG(item->name), LOAD_ANCHOR_COUNT_MAX);
	/* None at all says: nobody of that trust domain is to be trusted. */
	for (size_t i = 0; i < count; i++) {
		X509 *anchor = sk_X509_value(certificates, i);
		const char *fault = verify_anchor_fault(anchor);
		if (fault)
			return err_set(err, EINVAL, "roots of " STR_FMT ": certificate %zu: %s",
				STR_ARG(item->name), i + 1, fault);
		if (!trust_add(&anchors->trust, anchor))
			return err_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

static int load_new_anchors(
	struct tls_anchors *anchors, const struct bundle_item *item, struct err *err)
{
	STACK_OF(X509) *certificates = sk_X509_new_null();
	if (!certificates)
		return err_set(err, ENOMEM, "out of memory");
	int r = store_load_pem(item, certificates, err);
	if (r == 0)
		r = load_anchors(anchors, item, certificates, err);
	sk_X509_pop_free(certificates, X509_free);
	return r;
}

/* The same as those of the generation before: they go on, and so does what was verified against
 * them; unless there is so much of it that little more would find room. */
static struct tls_anchors *load_anchors_before(
	const struct tls_store *before, struct str trust_domain, const uint8_t digest[32])
{
	struct tls_anchors *a =
		before ? (struct tls_anchors *)store_anchors(before, trust_domain) : NULL;
	if (!a || memcmp(a->digest, digest, sizeof(a->digest)) != 0 || proven_is_full(a->proven))
		return NULL;
	atomic_fetch_add_explicit(&a->ref_count, 1, memory_order_relaxed);
	return a;
}

/* Anchors and lists of one trust domain. */
static void load_trust_digest(
	const struct bundle *b, const struct bundle_item *roots, uint8_t ret_digest[32])
{
	SHA256_CTX digest;
	SHA256_Init(&digest);
	load_digest(&digest, roots->text);
	const struct bundle_item *lists = bundle_find(b, "crl", roots->name);
	if (lists)
		load_digest(&digest, lists->text);
	SHA256_Final(ret_digest, &digest);
}

static int load_roots(struct tls_store *s, const struct bundle *b, const struct bundle_item *item,
	const struct tls_store *before, struct err *err)
{
	uint8_t digest[32];
	if (!spiffe_trust_domain_valid(item->name))
		return err_set(err, EINVAL, "roots of \"" STR_FMT "\": not a trust domain",
			STR_ARG(item->name));
	if (store_anchors(s, item->name))
		return err_set(
			err, EINVAL, "roots of " STR_FMT ": given twice", STR_ARG(item->name));
	load_trust_digest(b, item, digest);
	struct tls_anchors *a = load_anchors_before(before, item->name, digest);
	bool is_new = !a;
	if (is_new)
		a = load_anchors_new(item->name, digest);
	if (!a)
		return err_set(err, ENOMEM, "out of memory");
	s->anchors[s->anchors_count++] = a;
	return is_new ? load_new_anchors(a, item, err) : 0;
}

/* --- what is revoked --- */

/* Lists of a trust domain that has no anchors say nothing: nobody of it gets in. */
static int load_lists(struct tls_store *s, const struct bundle *b, const struct bundle_item *item,
	const struct tls_store *before, struct err *err)
{
	struct tls_anchors *anchors = (struct tls_anchors *)store_anchors(s, item->name);
	struct revoked *revoked = NULL;
	if (!spiffe_trust_domain_valid(item->name))
		return err_set(err, EINVAL, "crl of \"" STR_FMT "\": not a trust domain",
			STR_ARG(item->name));
	if (bundle_find(b, "crl", item->name) != item)
		return err_set(err, EINVAL, "crl of " STR_FMT ": given twice", STR_ARG(item->name));
	if (anchors && before && store_anchors(before, item->name) == anchors)
		return 0; /* they came with the anchors */
	int r = revoked_new(item, &revoked, err);
	if (r < 0)
		return r;
	if (anchors)
		anchors->revoked = revoked;
	else
		revoked_free(revoked);
	return 0;
}

static int load_all_lists(struct tls_store *s, const struct bundle *b,
	const struct tls_store *before, struct err *err)
{
	SHA256_CTX digest;
	SHA256_Init(&digest);
	for (const struct bundle_item *it = NULL; (it = bundle_next(b, "crl", it));) {
		int r = load_lists(s, b, it, before, err);
		if (r < 0)
			return r;
		load_digest(&digest, it->name);
		load_digest(&digest, it->text);
	}
	SHA256_Final(s->revoked_digest, &digest);
	return 0;
}

/* --- all of it --- */

static size_t load_count(const struct bundle *b, const char *kind)
{
	size_t count = 0;
	for (const struct bundle_item *it = NULL; (it = bundle_next(b, kind, it));)
		count++;
	return count;
}

static int load_all_roots(struct tls_store *s, const struct bundle *b,
	const struct tls_store *before, struct err *err)
{
	SHA256_CTX digest;
	SHA256_Init(&digest);
	s->anchors = calloc(load_count(b, "roots") + 1, sizeof(*s->anchors));
	if (!s->anchors)
		return err_set(err, ENOMEM, "out of memory");
	for (const struct bundle_item *it = NULL; (it = bundle_next(b, "roots", it));) {
		int r = load_roots(s, b, it, before, err);
		if (r < 0)
			return r;
		load_digest(&digest, it->name);
		load_digest(&digest, it->text);
	}
	SHA256_Final(s->anchors_digest, &digest);
	const struct tls_anchors *own = store_anchors(s, str_of(s->trust_domain));
	/* A machine that has not joined its mesh yet has neither anchors nor certificates: nobody
	 * is let in. */
	bool has_any = own || bundle_next(b, "chain", NULL) || bundle_next(b, "pki", NULL);
	if (has_any && (!own || own->trust.group_count == 0))
		return err_set(err, EINVAL, "roots of %s: no certificate for our own trust domain",
			s->trust_domain);
	return 0;
}

static int load_all_identities(struct tls_store *s, const struct bundle *b, struct err *err)
{
	s->identities = calloc(load_count(b, "chain") + 1, sizeof(*s->identities));
	if (!s->identities)
		return err_set(err, ENOMEM, "out of memory");
	for (const struct bundle_item *it = NULL; (it = bundle_next(b, "chain", it));) {
		int r = load_identity(s, b, it, &s->identities[s->identity_count++], err);
		if (r < 0)
			return r;
	}
	qsort(s->identities, s->identity_count, sizeof(*s->identities), load_compare);
	for (size_t i = 1; i < s->identity_count; i++) {
		if (load_compare(&s->identities[i - 1], &s->identities[i]) == 0)
			return err_set(
				err, EINVAL, "chain of %s: given twice", s->identities[i].path);
	}
	return 0;
}

static int load_ticket_secret(struct tls_store *s, const struct bundle *b, struct err *err)
{
	const struct bundle_item *item = bundle_find(b, "tickets", STR("secret"));
	if (!item) {
		RAND_bytes(s->ticket_secret, sizeof(s->ticket_secret));
		return 0;
	}
	if (item->text.len != sizeof(s->ticket_secret))
		return err_set(err, EINVAL, "tickets: not %zu bytes", sizeof(s->ticket_secret));
	memcpy(s->ticket_secret, item->text.at, sizeof(s->ticket_secret));
	return 0;
}

void store_source_digest(const struct bundle *b, uint8_t ret_digest[32])
{
	static const char *const kinds[] = {"chain", "key", "roots", "crl", "tickets"};
	SHA256_CTX digest;
	SHA256_Init(&digest);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		for (const struct bundle_item *it = NULL; (it = bundle_next(b, kinds[i], it));) {
			load_digest(&digest, it->kind);
			load_digest(&digest, it->name);
			load_digest(&digest, it->text);
		}
	}
	SHA256_Final(ret_digest, &digest);
}

static int load_trust(struct tls_store *s, const struct bundle *b, const struct tls_store *before,
	struct err *err)
{
	if (!spiffe_trust_domain_valid(str_of(s->trust_domain)))
		return err_set(err, EINVAL, "\"%s\" is not a trust domain", s->trust_domain);
	int r = load_all_roots(s, b, before, err);
	return r < 0 ? r : load_all_lists(s, b, before, err);
}

int store_load_trust(struct tls_store *s, const struct bundle *b, struct err *err)
{
	return load_trust(s, b, NULL, err);
}

int store_load(struct tls_store *s, const struct bundle *b, const struct tls_store *before,
	struct err *err)
{
	int r = load_ticket_secret(s, b, err);
	if (r == 0)
		r = load_trust(s, b, before, err);
	return r < 0 ? r : load_all_identities(s, b, err);
}

void store_unload(struct tls_store *s)
{
	OPENSSL_cleanse(s->ticket_secret, sizeof(s->ticket_secret));
	for (size_t i = 0; i < s->identity_count; i++) {
		struct tls_identity *identity = &s->identities[i];
		for (size_t k = 0; k < identity->chain_count; k++)
			CRYPTO_BUFFER_free(identity->chain[k]);
		EVP_AEAD_CTX_free(identity->ticket_key);
		free(identity->path);
		free(identity->id);
	}
	for (size_t i = 0; i < s->anchors_count; i++)
		load_anchors_unref(s->anchors[i]);
	trust_done(&s->authorities);
	free(s->identities);
	free(s->anchors);
}
