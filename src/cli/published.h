/* SPDX-License-Identifier: Apache-2.0 */
/* What the store holds of the mesh: the objects with their head, whether those are to be believed,
 * and what the nodes tell of themselves. */
#pragma once

#include "edit.h"
#include "mesh/record.h"
#include "publisher.h"

/* A record that tells of a higher revision than the head's by more than this is nonsense: whoever
 * has one node's password must not be able to use all numbers up. */
#define PUBLISHED_LEAD_MAX 1000000

enum published_trust {
	PUBLISHED_NOTHING, /* neither a head nor objects */
	PUBLISHED_GOOD,	   /* signed by a known key, and the set is the head's */
	PUBLISHED_UNKNOWN, /* nobody's key is known here: the set is the head's, whoever signed it
			    */
	PUBLISHED_BAD,	   /* why says what is wrong */
};

struct published_node {
	struct str name, text;
	bool is_readable; /* the record is one, and of this node */
	struct record record;
	uint64_t revision; /* in force there: its lease tells the newest, its record an older one */
	int64_t lease_ms;  /* until it ends; below 0: it has ended */
};

struct published {
	struct arena arena; /* of everything here but the set */
	enum published_trust trust;
	struct err why;
	struct str head_text; /* empty: none */
	struct head head;     /* zero unless a known key has signed it, or none is known */
	struct object_set set;
	struct str *fields; /* what the hash of the objects has, objects or not */
	uint32_t field_count;
	bool has_foreign_objects, has_foreign_changes; /* those keys are of another type */
	uint64_t newest; /* with `watch`: of the stream of changes; 0: it is empty */
	struct published_node *nodes;
	uint32_t node_count;
};

/* Objects and head as of one moment; with `watch` so that a transaction fails when the head has
 * changed since. -errno with err; published_done() is due if it is 0. */
int published_load(struct publisher *p, bool watch, struct published *ret_published,
	struct err *err) MUST_CHECK;
void published_done(struct published *s);
/* What the nodes tell, with their leases if wanted, by name. */
int published_load_nodes(
	struct publisher *p, struct published *s, bool leases, struct err *err) MUST_CHECK;
/* Entries of the stream from a revision on, or the newest `most`, newest first. In the arena. */
int published_load_entries(struct publisher *p, uint64_t from, uint32_t most, struct arena *arena,
	struct edit_entry **ret_entries, uint32_t *ret_count, struct err *err) MUST_CHECK;

/* The number after all that the store and the nodes have seen. `ret_absurd`: a node whose record
 * was passed over for its number, or NULL. */
uint64_t published_next_revision(
	const struct published *s, const struct published_node **ret_absurd);
