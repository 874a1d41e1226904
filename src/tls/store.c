/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a generation and its two SSL_CTXs, one for each side of a handshake. There is none
 * per identity, because a server has to begin before the name is known: the identity's chain, key
 * and session scope are put on the single connection, and nothing that identities could come to
 * share (a session cache, a ticket key) exists in the SSL_CTX. */
#include "store.h"

#include "bio.h"
#include "handshake.h"
#include "tickets.h"
#include "verify.h"
#include <errno.h>
#include <openssl/nid.h>
#include <openssl/sha.h>
#include <stdlib.h>

/* How long a ticket may be used. The peer's certificate bounds it further. */
#define STORE_TICKET_LIFE_S 3600

static const uint16_t store_sign_algorithms[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256};

static const uint16_t store_verify_algorithms[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256,
	SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA384,
	SSL_SIGN_RSA_PSS_RSAE_SHA512};

/* Named one by one, so that a library's other defaults change nothing. */
static const int store_groups[] = {NID_X25519, NID_X9_62_prime256v1};

static bool store_settings(struct tls_store *s, SSL_CTX *side)
{
	SSL_CTX_set0_buffer_pool(side, s->pool->certificates);
	SSL_CTX_set_mode(side, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_psk_dhe_timeout(side, STORE_TICKET_LIFE_S);
	SSL_CTX_set_early_data_enabled(side, 0);
	SSL_CTX_set_max_cert_list(side, STORE_CHAIN_BYTES_MAX);
	return SSL_CTX_set_min_proto_version(side, TLS1_3_VERSION) &&
	       SSL_CTX_set_max_proto_version(side, TLS1_3_VERSION) &&
	       SSL_CTX_set1_curves(side, store_groups, ARRAY_LEN(store_groups)) &&
	       SSL_CTX_set_signing_algorithm_prefs(
		       side, store_sign_algorithms, ARRAY_LEN(store_sign_algorithms)) &&
	       SSL_CTX_set_verify_algorithm_prefs(
		       side, store_verify_algorithms, ARRAY_LEN(store_verify_algorithms)) &&
	       SSL_CTX_set_num_tickets(side, 1);
}

static struct store_pool *store_pool_new(void)
{
	struct store_pool *pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	atomic_init(&pool->ref_count, 1);
	pool->certificates = CRYPTO_BUFFER_POOL_new();
	if (pool->certificates)
		return pool;
	free(pool);
	return NULL;
}

static struct store_pool *store_pool_ref(struct store_pool *pool)
{
	atomic_fetch_add_explicit(&pool->ref_count, 1, memory_order_relaxed);
	return pool;
}

static void store_pool_unref(struct store_pool *pool)
{
	if (!pool || atomic_fetch_sub_explicit(&pool->ref_count, 1, memory_order_acq_rel) != 1)
		return;
	CRYPTO_BUFFER_POOL_free(pool->certificates);
	free(pool);
}

static bool store_sides(struct tls_store *s, const struct tls_store *before)
{
	s->pool = before ? store_pool_ref(before->pool) : store_pool_new();
	s->wire = bio_method_new();
	s->client = SSL_CTX_new(TLS_with_buffers_method());
	s->server = SSL_CTX_new(TLS_with_buffers_method());
	if (!s->pool || !s->wire || !s->client || !s->server)
		return false;
	handshake_install_client(s->client);
	handshake_install_server(s->server);
	tickets_install(s->server);
	return store_settings(s, s->client) && store_settings(s, s->server);
}

struct tls_store *store_alloc(enum store_kind kind, struct str trust_domain, uint64_t generation,
	const struct tls_store *before)
{
	struct tls_store *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	atomic_init(&s->ref_count, 1);
	s->kind = kind;
	s->generation = generation;
	s->trust_domain = strndup(trust_domain.at, trust_domain.len);
	if (s->trust_domain && store_sides(s, before))
		return s;
	tls_store_unref(s);
	return NULL;
}

static int store_loaded(struct tls_store *s, int r, struct tls_store **ret_store)
{
	if (r < 0)
		tls_store_unref(s);
	else
		*ret_store = s;
	return r;
}

int tls_store_renew(const struct tls_store *before, const struct bundle *b, struct str trust_domain,
	uint64_t generation, struct tls_store **ret_store, struct err *err)
{
	if (before && !str_eq(str_of(before->trust_domain), trust_domain))
		before = NULL;
	struct tls_store *s = store_alloc(STORE_MESH, trust_domain, generation, before);
	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	store_source_digest(b, s->source_digest);
	return store_loaded(s, store_load(s, b, before, err), ret_store);
}

int tls_store_new(const struct bundle *b, struct str trust_domain, uint64_t generation,
	struct tls_store **ret_store, struct err *err)
{
	return tls_store_renew(NULL, b, trust_domain, generation, ret_store, err);
}

int tls_store_new_pki(const struct bundle *b, struct tls_store **ret_store, struct err *err)
{
	struct tls_store *s = store_alloc(STORE_PKI, STR(""), 0, NULL);
	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	s->resume_nothing = true;
	return store_loaded(s, store_load_pki(s, b, err), ret_store);
}

int tls_store_new_outside(struct str pem, struct tls_store *before, struct tls_store **ret_store,
	uint32_t *ret_left_out, struct err *err)
{
	uint8_t digest[32];
	*ret_left_out = 0;
	SHA256((const uint8_t *)pem.at, pem.len, digest);
	if (before && memcmp(before->source_digest, digest, sizeof(digest)) == 0) {
		*ret_store = tls_store_ref(before);
		return 0;
	}
	struct tls_store *s = store_alloc(STORE_PKI, STR(""), 0, NULL);
	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	s->resume_nothing = true;
	memcpy(s->source_digest, digest, sizeof(digest));
	return store_loaded(s, store_load_outside(s, pem, ret_left_out, err), ret_store);
}

int tls_store_new_est(const struct bundle *b, struct str trust_domain, struct tls_store **ret_store,
	struct err *err)
{
	struct tls_store *s = store_alloc(STORE_EST, trust_domain, 0, NULL);
	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	tls_store_resume_nothing(s);
	return store_loaded(s, store_load_est(s, b, err), ret_store);
}

bool tls_store_made_of(const struct tls_store *s, const struct bundle *b, struct str trust_domain)
{
	uint8_t digest[32];
	store_source_digest(b, digest);
	return str_eq(str_of(s->trust_domain), trust_domain) &&
	       memcmp(s->source_digest, digest, sizeof(digest)) == 0;
}

void tls_store_resume_nothing(struct tls_store *s)
{
	s->resume_nothing = true;
	SSL_CTX_set_options(s->server, SSL_OP_NO_TICKET);
}

void tls_store_refuse_stale_crls(struct tls_store *s, bool refuse)
{
	s->refuse_stale_crls = refuse;
}

struct tls_store *tls_store_ref(struct tls_store *s)
{
	atomic_fetch_add_explicit(&s->ref_count, 1, memory_order_relaxed);
	return s;
}

void tls_store_unref(struct tls_store *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->ref_count, 1, memory_order_acq_rel) != 1)
		return;
	store_unload(s);
	SSL_CTX_free(s->client);
	SSL_CTX_free(s->server);
	bio_method_free(s->wire);
	/* Last: every certificate buffer points at the pool it came from. */
	store_pool_unref(s->pool);
	free(s->trust_domain);
	free(s);
}

const struct tls_identity *store_identity(const struct tls_store *s, struct str path)
{
	size_t low = 0, high = s->identity_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct str at = str_of(s->identities[middle].path);
		size_t common = at.len < path.len ? at.len : path.len;
		int order = common > 0 ? memcmp(at.at, path.at, common) : 0;
		if (order == 0 && at.len == path.len)
			return &s->identities[middle];
		if (order < 0 || (order == 0 && at.len < path.len))
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

const struct tls_anchors *store_anchors(const struct tls_store *s, struct str trust_domain)
{
	for (size_t i = 0; i < s->anchors_count; i++) {
		if (str_eq(str_of(s->anchors[i]->trust_domain), trust_domain))
			return s->anchors[i];
	}
	return NULL;
}

bool store_has_lists(const struct tls_store *s)
{
	for (size_t i = 0; i < s->anchors_count; i++) {
		if (s->anchors[i]->revoked)
			return true;
	}
	return false;
}

bool store_same_trust(const struct tls_store *a, const struct tls_store *b)
{
	return memcmp(a->anchors_digest, b->anchors_digest, sizeof(a->anchors_digest)) == 0 &&
	       memcmp(a->revoked_digest, b->revoked_digest, sizeof(a->revoked_digest)) == 0;
}

static const struct tls_identity *store_identity_of(const struct tls_store *s, struct str id)
{
	for (size_t i = 0; i < s->identity_count; i++) {
		if (str_eq(str_of(s->identities[i].id), id))
			return &s->identities[i];
	}
	return NULL;
}

bool tls_store_same_for(const struct tls_store *a, const struct tls_store *b, struct str id)
{
	if (a == b)
		return true;
	if (a->refuse_stale_crls != b->refuse_stale_crls ||
		a->resume_nothing != b->resume_nothing || !store_same_trust(a, b))
		return false;
	const struct tls_identity *one = store_identity_of(a, id),
				  *other = store_identity_of(b, id);
	return one && other && memcmp(one->made_of, other->made_of, sizeof(one->made_of)) == 0;
}

bool tls_store_has_identity(const struct tls_store *s, struct str path)
{
	return store_identity(s, path) != NULL;
}

enum tls_failure tls_store_prove(const struct tls_store *s, struct str path, int64_t wall_s)
{
	struct tls_identity *identity = (struct tls_identity *)store_identity(s, path);
	return identity ? verify_own(s, identity, wall_s) : TLS_FAILURE_NO_IDENTITY;
}

bool tls_store_identity(const struct tls_store *s, size_t index, struct tls_identity_view *ret_view)
{
	if (index >= s->identity_count)
		return false;
	const struct tls_identity *identity = &s->identities[index];
	*ret_view = (struct tls_identity_view){
		.path = str_of(identity->path),
		.id = str_of(identity->id),
		.not_before_s = identity->not_before_s,
		.not_after_s = identity->not_after_s,
		.key_number = identity->key_number,
	};
	memcpy(ret_view->serial, identity->serial, sizeof(ret_view->serial));
	return true;
}
