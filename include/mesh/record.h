/* SPDX-License-Identifier: Apache-2.0 */
/* What a node tells the mesh of itself: its endpoints and how they are. Text of one fact a line, so
 * that an operator can read it in the store; bounded, and judged line by line, because whoever has
 * a node's password can write anything there. Pure.
 *
 *     ringmain 1                                    the format
 *     node vm-a
 *     start 1764236129123456789                     of this life of the node, wall ns: a later one
 *     number 17                                     is newer; within a life the higher number is
 *     zone eu-1a
 *     version 0.1.0
 *     revision 41                                   of the mesh objects that are in force there
 *     endpoint orders v1 up 100 10.77.0.1:8080 [fd00::1]:8080
 *     endpoint web - drained 100 10.77.0.1:9000     service, version or -, health, weight,
 * addresses
 *
 * Unknown words begin lines of newer versions: they are passed over. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "mesh/snapshot.h"

#define RECORD_NODE_MAX	     63	   /* bytes of a node's name */
#define RECORD_BYTES_MAX     65536 /* of a record */
#define RECORD_ENDPOINTS_MAX 256
#define RECORD_ADDRESSES_MAX 8	/* of one endpoint */
#define RECORD_WORD_MAX	     63 /* bytes of a zone or version */

struct record_endpoint {
	struct str service, version; /* version empty: none */
	enum endpoint_health health;
	uint32_t weight;
	struct address *addresses; /* with ports; at least one */
	uint32_t address_count;
};

struct record {
	struct str node;
	uint64_t start, number;
	struct str zone, version;
	uint64_t revision;
	struct record_endpoint *endpoints;
	uint32_t endpoint_count;
};

/* Letters, digits, '.', '-' and '_', at most RECORD_NODE_MAX: safe in a key and in an ACL pattern.
 */
bool record_node_valid(struct str name);
/* At most RECORD_WORD_MAX printable bytes without space, and not "-": a record's zone and versions.
 */
bool record_word_valid(struct str word);
/* Everything into the arena, the text included. -EINVAL with the line that is wrong, nothing taken
 * half; -ENOMEM. */
int record_parse(struct str text, struct arena *arena, struct record *ret_record,
	struct err *err) MUST_CHECK;
/* Its text, in the arena; at == NULL when the arena is exhausted or it is longer than
 * RECORD_BYTES_MAX. */
struct str record_text(struct arena *arena, const struct record *record);
/* Whether `a` is newer than `b`: by start, then by number. */
bool record_newer(const struct record *a, const struct record *b);
