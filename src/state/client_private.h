/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a client: client.c asks, client_conf.c reads what it needs from files. */
#pragma once

#include "state/client.h"

struct client {
	struct loop loop;
	struct task owner;
	struct store *store;
	struct tls_key *key; /* which the store signs with */
	uint64_t tag;
	bool is_held;
	uint64_t held_life; /* of the store; 0: that of the next command */
};

/* As client_open(); takes the key over, whatever comes of it. */
int client_open_key(const struct store_settings *settings, struct tls_key *key,
	struct client **ret_client, struct err *err) MUST_CHECK;
