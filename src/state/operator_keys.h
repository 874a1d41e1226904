/* SPDX-License-Identifier: Apache-2.0 */
/* Operators' keys as bytes, inside the state room: for heads only. */
#pragma once

#include "state/object.h"
#include <openssl/curve25519.h>

struct operator_public {
	uint8_t bytes[ED25519_PUBLIC_KEY_LEN];
	char id[HEAD_KEY_ID + 1];
};

struct operator_keys {
	struct operator_public *keys;
	uint32_t count;
};

struct operator_key {
	uint8_t bytes[ED25519_PRIVATE_KEY_LEN]; /* seed and public key */
	struct operator_public public;
};

/* By its id, or NULL. */
const struct operator_public *operator_keys_find(const struct operator_keys *keys, const char *id);
