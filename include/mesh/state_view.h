/* SPDX-License-Identifier: Apache-2.0 */
/* How this node stands with the store of the mesh's state: for status and metrics. */
#pragma once

#include "base/address.h"
#include <stdbool.h>
#include <stdint.h>

struct state_view {
	bool connected;		 /* the store answers */
	bool told;		 /* it has taken what this node tells of itself, all of it */
	bool loaded;		 /* there is a picture, from the store or from disk */
	uint64_t revision;	 /* of the objects in force */
	uint64_t store_revision; /* the newest that the store told of; 0: unknown */
	uint64_t agreed_wall_ns; /* when the picture was last known to be the store's; 0: never in
				    this life of the state process */
	uint32_t node_count, endpoint_count, object_count;
	uint32_t held_count;	/* nodes that fell silent and are kept for a while */
	uint64_t refused_total; /* revisions and records that were not taken */
	uint64_t reconnects_total, resyncs_total;
	uint64_t bytes_in, bytes_out;
	/* limits of the whole mesh */
	bool tokens_away;	       /* the store does not give any: limits do their when_away */
	uint64_t tokens_total;	       /* taken from the store; some may have gone back */
	uint64_t token_commands_total; /* asked for that */
	uint64_t tokens_refused_total; /* answered with an error */
	char store[ADDRESS_TEXT_MAX];  /* where; "" before the first try */
	char why[256];		       /* not connected, or objects refused: why; "": all is well */
};
