/* SPDX-License-Identifier: Apache-2.0 */
#include "proven.h"

#include <openssl/sha.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PROVEN_SLOT_COUNT 1024 /* a power of two */
#define PROVEN_PROBE_MAX  8

struct proven {
	_Atomic uint32_t count;
	_Atomic(struct proven_chain *) slots[PROVEN_SLOT_COUNT];
};

struct proven *proven_new(void)
{
	return calloc(1, sizeof(struct proven));
}

void proven_free(struct proven *p)
{
	for (size_t i = 0; p && i < PROVEN_SLOT_COUNT; i++)
		free(atomic_load_explicit(&p->slots[i], memory_order_relaxed));
	free(p);
}

bool proven_is_full(const struct proven *p)
{
	return atomic_load_explicit(&p->count, memory_order_relaxed) > PROVEN_SLOT_COUNT / 2;
}

void proven_digest(const STACK_OF(CRYPTO_BUFFER) * chain, uint8_t ret_digest[static 32])
{
	SHA256_CTX digest;
	SHA256_Init(&digest);
	for (size_t i = 0; i < sk_CRYPTO_BUFFER_num(chain); i++) {
		const CRYPTO_BUFFER *certificate = sk_CRYPTO_BUFFER_value(chain, i);
		uint64_t len = CRYPTO_BUFFER_len(certificate);
		SHA256_Update(&digest, &len, sizeof(len));
		SHA256_Update(&digest, CRYPTO_BUFFER_data(certificate), len);
	}
	SHA256_Final(ret_digest, &digest);
}

static size_t proven_slot(const uint8_t digest[static 32], size_t probe)
{
	uint32_t start;
	memcpy(&start, digest, sizeof(start));
	return (start + probe) & (PROVEN_SLOT_COUNT - 1);
}

const struct proven_chain *proven_find(const struct proven *p, const uint8_t digest[static 32])
{
	for (size_t probe = 0; probe < PROVEN_PROBE_MAX; probe++) {
		const struct proven_chain *chain = atomic_load_explicit(
			&p->slots[proven_slot(digest, probe)], memory_order_acquire);
		if (!chain)
			return NULL;
		if (memcmp(chain->digest, digest, sizeof(chain->digest)) == 0)
			return chain;
	}
	return NULL;
}

void proven_add(struct proven *p, const struct proven_chain *chain)
{
	struct proven_chain *copy = malloc(sizeof(*copy) + chain->id.len);
	if (!copy)
		return;
	*copy = *chain;
	copy->id.at = (const char *)(copy + 1);
	if (chain->id.len > 0)
		memcpy(copy + 1, chain->id.at, chain->id.len);
	for (size_t probe = 0; probe < PROVEN_PROBE_MAX; probe++) {
		struct proven_chain *there = NULL;
		if (atomic_compare_exchange_strong_explicit(
			    &p->slots[proven_slot(chain->digest, probe)], &there, copy,
			    memory_order_acq_rel, memory_order_acquire)) {
			atomic_fetch_add_explicit(&p->count, 1, memory_order_relaxed);
			return;
		}
		if (memcmp(there->digest, chain->digest, sizeof(chain->digest)) == 0)
			break; /* another thread was first */
	}
	free(copy);
}
