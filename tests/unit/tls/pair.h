/* SPDX-License-Identifier: Apache-2.0 */
/* A small mesh of identities, and two sessions back to back through their buffers. */
#pragma once

#include "certs.h"
#include "tls/tls.h"

enum pair_identity { PAIR_WEB, PAIR_ORDERS, PAIR_BILLING, PAIR_IDENTITY_COUNT };

/* Certificates and keys of trust domain prod.example. */
struct pair_mesh {
	struct certs_pair root, middle, leaf[PAIR_IDENTITY_COUNT];
};

extern const char *const pair_paths[PAIR_IDENTITY_COUNT];
extern const char *const pair_ids[PAIR_IDENTITY_COUNT];

void pair_mesh_init(struct pair_mesh *m);
void pair_mesh_done(struct pair_mesh *m);
/* A bundle of all identities; `b` is initialised here. */
void pair_mesh_bundle(const struct pair_mesh *m, struct bundle *b);
struct tls_store *pair_mesh_store(const struct pair_mesh *m, uint64_t generation);
/* Lets an identity present something else than the store would accept. */
void pair_present(struct tls_store *s, enum pair_identity identity, X509 *const *chain);

enum { PAIR_CLIENT, PAIR_SERVER };

struct pair_end {
	struct tls *tls;
	struct buf_pool pool;
	struct buf wire, plain;
	uint8_t input[1 << 16];
	enum tls_result result; /* of the last call */
	bool refuse_signature;
	uint32_t sign_count;
};

struct pair {
	struct pair_end ends[2];
	const struct pair_mesh *mesh;
	size_t chunk;	  /* bytes carried at a time; 0: as many as there are */
	struct str serve; /* identity that the server chooses */
	uint32_t alpn_mask;
	EVP_PKEY *server_key; /* instead of the identity's own */
	EVP_PKEY *client_key;
	int64_t wall_s;
};

/* Buffers of `block_bytes`; defaults: web calls orders, ringmain-tcp/1. */
void pair_init(struct pair *p, const struct pair_mesh *m, uint32_t block_bytes);
struct tls_client_want pair_want(void);
/* Both may be of one store or of two. */
void pair_start(struct pair *p, struct tls_store *client, struct tls_store *server,
	struct tls_sessions *sessions, const struct tls_client_want *want);
/* Runs until both have ended their handshake, well or badly. True: well. */
bool pair_handshake(struct pair *p);
/* Answers an end that waits for a signature. */
void pair_sign(struct pair *p, int end);
/* Carries bytes from one end to the other's input; false when there was nothing to carry. */
bool pair_carry(struct pair *p, int from);
/* Reads whatever arrives at an end, carrying until nothing moves. */
enum tls_result pair_drain(struct pair *p, int end);
void pair_stop(struct pair *p);
void pair_done(struct pair *p);
