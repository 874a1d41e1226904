/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a generation: what sessions, tickets and verification read of it. All but the
 * proven chains (of each trust domain) is constant once built, and threads share it without a lock.
 */
#pragma once

#include "proven.h"
#include "revoked.h"
#include "tls/tls.h"
#include "trust.h"
#include <openssl/aead.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdatomic.h>

#define STORE_CHAIN_COUNT_MAX 8
#define STORE_CHAIN_BYTES_MAX (32u << 10)
#define STORE_SERIAL_BYTES    64

/* One identity's certificate context: its chain, whose key signs for it, and what keeps its
 * sessions apart from those of every other identity and generation. */
struct tls_identity {
	char *path, *id;
	CRYPTO_BUFFER *chain[STORE_CHAIN_COUNT_MAX]; /* leaf first */
	size_t chain_count;
	uint32_t key_number;
	int64_t not_before_s, not_after_s;
	char serial[STORE_SERIAL_BYTES];
	uint8_t made_of[32];	  /* of id, chain and all anchors */
	uint8_t scope[32];	  /* session id context, made of that with the ticket key */
	EVP_AEAD_CTX *ticket_key; /* of this identity with this chain and these anchors */
	/* What verify_own() has found of it, once it was good; any thread. */
	_Atomic bool is_proved;
	_Atomic int64_t proved_from_s, proved_until_s, proved_listed_until_s;
};

/* Trust anchors of one trust domain. An empty set is valid and means: trust nobody there. Of all
 * generations that have the same texts. */
struct tls_anchors {
	_Atomic uint32_t ref_count;
	uint8_t digest[32]; /* of the texts of anchors and lists */
	char *trust_domain;
	struct proven *proven; /* the one part that grows; see there */
	struct trust trust;
	struct revoked *revoked; /* NULL: there are no lists */
};

/* One copy of each certificate, ours and peers'; of all generations that were made one after the
 * other, because sessions are kept from one to the next. */
struct store_pool {
	_Atomic uint32_t ref_count;
	CRYPTO_BUFFER_POOL *certificates;
};

/* Whose sessions a store is for. */
enum store_kind {
	STORE_MESH,	   /* workloads */
	STORE_PKI,	   /* servers outside of the mesh */
	STORE_EST,	   /* the server of an authority, for machines */
	STORE_PROVISIONAL, /* one session, with anybody */
};

struct tls_store {
	_Atomic uint32_t ref_count;
	enum store_kind kind;
	uint64_t generation;
	char *trust_domain;
	struct tls_identity *identities; /* sorted by path */
	size_t identity_count;
	struct tls_anchors **anchors;
	size_t anchors_count;
	uint8_t anchors_digest[32], revoked_digest[32]; /* of the texts */
	uint8_t source_digest[32];			/* of all items that it was made of */
	uint8_t ticket_secret[32]; /* the keeper's, for all generations of an hour; or our own */
	struct store_pool *pool;
	BIO_METHOD *wire;
	SSL_CTX *client, *server;
	bool resume_nothing, refuse_stale_crls;
	struct trust authorities; /* of a store for servers outside of the mesh */
};

/* NULL when memory is exhausted. Without identities and anchors yet. With the pool of `before`,
 * unless that is NULL. */
struct tls_store *store_alloc(enum store_kind kind, struct str trust_domain, uint64_t generation,
	const struct tls_store *before);

/* Fills identities and anchors from the bundle (load.c); anchors that are those of `before` (may be
 * NULL) are shared with it. */
int store_load(struct tls_store *s, const struct bundle *b, const struct tls_store *before,
	struct err *err) MUST_CHECK;
/* Only the anchors, with the lists of what is revoked. */
int store_load_trust(struct tls_store *s, const struct bundle *b, struct err *err) MUST_CHECK;
void store_unload(struct tls_store *s);
/* The same for servers outside of the mesh: authorities and our own chain, if there is one. */
int store_load_pki(struct tls_store *s, const struct bundle *b, struct err *err) MUST_CHECK;
/* Many authorities, some of which may be of no use. */
int store_load_outside(
	struct tls_store *s, struct str pem, uint32_t *ret_left_out, struct err *err) MUST_CHECK;
/* For the server of an authority: our own chain, and the anchors of the mesh. */
int store_load_est(struct tls_store *s, const struct bundle *b, struct err *err) MUST_CHECK;
/* All certificates of a PEM text. None is fine here; anything else than certificates is not. */
int store_load_pem(
	const struct bundle_item *item, STACK_OF(X509) * certificates, struct err *err) MUST_CHECK;
/* An identity's chain as it goes over the wire, from certificates that were looked at. */
int store_load_chain(struct tls_store *s, const struct bundle_item *item,
	struct tls_identity *identity, STACK_OF(X509) * certificates, struct err *err) MUST_CHECK;
/* Hexadecimal. */
void store_serial(const X509 *leaf, char serial[static STORE_SERIAL_BYTES]);
/* Of the items of a bundle that a store is made of. */
void store_source_digest(const struct bundle *b, uint8_t ret_digest[32]);

/* NULL: no such identity, or no such trust domain. */
const struct tls_identity *store_identity(const struct tls_store *s, struct str path);
const struct tls_anchors *store_anchors(const struct tls_store *s, struct str trust_domain);
/* Whether any trust domain has lists of what is revoked. */
bool store_has_lists(const struct tls_store *s);
/* Anchors and lists of the same texts: two that trust alike, but were written differently, are not
 * the same. */
bool store_same_trust(const struct tls_store *a, const struct tls_store *b);
