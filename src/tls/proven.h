/* SPDX-License-Identifier: Apache-2.0 */
/* Chains whose path to an anchor this generation has verified already. A peer's certificate lives
 * for an hour and is seen thousands of times; signatures and leaf rules need to be checked once,
 * its dates every time. Found by a digest over every byte of the chain, so that "the same chain"
 * means just that; gone with the anchors that it was verified against and the lists that it was
 * on none of, which several generations in a row may share.
 *
 * Shared by all threads without a lock: entries are never changed or removed, and when the slots of
 * a digest are taken, the chain is simply verified in full each time. */
#pragma once

#include "base/str.h"
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

struct proven;

/* So many slots are taken that the next chains may find none. */
bool proven_is_full(const struct proven *p);

struct proven_chain {
	uint8_t digest[32];
	int64_t valid_from_s, valid_until_s, listed_until_s;
	struct str id; /* of the leaf */
};

/* NULL when memory is exhausted. */
struct proven *proven_new(void);
void proven_free(struct proven *p);

void proven_digest(const STACK_OF(CRYPTO_BUFFER) * chain, uint8_t ret_digest[static 32]);
/* NULL: not verified yet. */
const struct proven_chain *proven_find(const struct proven *p, const uint8_t digest[static 32]);
/* Copies it, and its id. */
void proven_add(struct proven *p, const struct proven_chain *chain);
