/* SPDX-License-Identifier: Apache-2.0 */
/* A far end of plain BoringSSL that meets one of ours: it presents whatever chain it is given,
 * trusts anybody, and cheats in the handshake where it is told to. */
#pragma once

#include "pair.h"
#include <openssl/ssl.h>

enum rogue_trick {
	ROGUE_HONEST,
	ROGUE_WRONG_KEY,      /* CertificateVerify by another key */
	ROGUE_WRONG_BYTES,    /* by the right key, over something else */
	ROGUE_NO_SIGNATURE,   /* garbage for one */
	ROGUE_NO_CERTIFICATE, /* a client's empty Certificate */
	ROGUE_TLS_1_2,	      /* speaks nothing newer */
	ROGUE_COMPRESSION,    /* a client offers to compress records, as TLS 1.2 had it */
	ROGUE_CHANGED_HELLO, /* a byte of a client's hello changes on the way: another transcript */
};

struct rogue {
	CRYPTO_BUFFER *const *chain; /* leaf first */
	size_t chain_count;
	EVP_PKEY *key; /* of the leaf */
	enum rogue_trick trick;
	int64_t wall_s;
};

/* How it ended for both. */
struct rogue_end {
	enum tls_failure failure; /* of ours */
	bool done;		  /* ours has succeeded */
	int alert;		  /* what the rogue was sent; 0: nothing */
	size_t bytes;		  /* how much ours has read */
};

/* `end`: the rogue's, PAIR_CLIENT or PAIR_SERVER. Ours is web's far end: it serves orders, or calls
 * web as billing. */
struct rogue_end rogue_meet(
	const struct pair_mesh *mesh, struct tls_store *store, const struct rogue *rogue, int end);
