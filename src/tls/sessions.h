/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's client sessions. The key is a digest of everything that a session depends on, our
 * chain and the anchors included; all entries belong to generations that were made one after the
 * other. */
#pragma once

#include "store.h"

struct sessions_key {
	uint8_t bytes[32];
};

struct sessions_key sessions_key_of(const struct tls_store *s, const struct tls_client_want *want);

/* What was found about the server when the session was made. */
struct sessions_entry {
	SSL_SESSION *session;
	int64_t valid_from_s, valid_until_s;
};

/* Takes over a reference to the session (or drops it, when it is not worth keeping). */
void sessions_put(struct tls_sessions *s, struct tls_store *store, const struct sessions_key *key,
	struct sessions_entry entry);
/* The newest usable session, taken out (a ticket serves once); `session` is NULL when there is
 * none. The caller owns the reference. */
struct sessions_entry sessions_take(struct tls_sessions *s, const struct tls_store *store,
	const struct sessions_key *key, int64_t wall_s);
