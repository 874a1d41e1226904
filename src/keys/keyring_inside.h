/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the keyring, shared by its files:
 *
 *   keyring.c        memory, single keys, signatures
 *   keyring_load.c   a directory into a keyring and a bundle */
#pragma once

#include "keys/keyring.h"
#include <openssl/base.h>

#define KEYRING_SCALAR_BYTES 32

struct keyring {
	uint32_t first_number; /* key i has the number first_number + i */
	uint32_t count, size;
	size_t scalars_size; /* of the mapping */
	uint8_t (*scalars)[KEYRING_SCALAR_BYTES];
	char **sources; /* the directory entry of key i; NULL: none */
};

/* Room for `size` keys. */
int keyring_new(uint32_t size, struct keyring **ret_keyring, struct err *err) MUST_CHECK;
/* Checks that the key in `text` is what a TLS 1.3 peer will accept from this leaf, and puts its
 * scalar behind the others; `count` is the caller's to raise. */
int keyring_keep_key(struct keyring *k, const char *file, X509 *leaf, struct str text,
	struct err *err) MUST_CHECK;
/* Adds all of `staged` to `b`. */
int keyring_hand_on(const struct bundle *staged, struct bundle *b, struct err *err) MUST_CHECK;
