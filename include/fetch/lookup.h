/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of a host's name. The system's resolver blocks, so it has a thread of its own for each
 * question; whoever asks looks now and then whether it has ended. A host that is an address needs
 * no thread. */
#pragma once

#include "base/address.h"
#include "base/assert.h"

#define LOOKUP_ADDRESSES_MAX 8
#define LOOKUP_LOOK_MS	     20 /* how often to look */

struct lookup;

struct lookup_found {
	struct address at[LOOKUP_ADDRESSES_MAX];
	uint32_t count; /* 0: `why` */
	const char *why;
};

/* "host:port", "[address]:port". False: it is not that. `ret_host` points into it, without
 * brackets. */
bool lookup_split(struct str server, struct str *ret_host, uint16_t *ret_port);

/* NULL: out of memory, or of threads. */
struct lookup *lookup_start(struct str host, uint16_t port);
/* False: not yet. */
bool lookup_look(struct lookup *l, struct lookup_found *ret_found);
/* Its thread, if it is still there, ends unseen. NULL is allowed. */
void lookup_drop(struct lookup *l);
