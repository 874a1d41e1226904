/* SPDX-License-Identifier: Apache-2.0 */
/* Whom an entry of `from` names, in policies, routes and limits alike. Pure. ("x/" + "*" is one
 * word.)
 *
 *   anonymous                          a caller without identity
 *   10.0.0.0/8                         the same, from these addresses: an address says nothing of
 *                                      a caller who has an identity
 *   *                                  any verified identity, of whatever trust domain
 *   spiffe://partner.example/ + *      all of one trust domain
 *   shop/ + *                          those of our own trust domain whose identity path begins so
 *   spiffe://partner.example/shop/ + * the same of another one
 *   shop/web                           an identity path of our own trust domain
 *   spiffe://partner.example/x         exactly this id
 *   web                                a service: the ids that its servers may have
 *
 * A service that nobody has declared has the identity of its name for all that is known here, and
 * perhaps others: its object may have been lost, or not have come yet, and would say so. Whether a
 * caller is of it cannot be known, then, unless it has the identity of a declared service, which is
 * no other's. */
#pragma once

#include "base/address.h"
#include "base/arena.h"
#include "base/str.h"
#include "mesh/snapshot.h"

enum source_kind {
	SOURCE_ANONYMOUS,
	SOURCE_RANGE,
	SOURCE_ANY,
	SOURCE_UNDER,	   /* `text`: how the id begins, with the slash at its end */
	SOURCE_ID,	   /* `text`: the whole id */
	SOURCE_UNDECLARED, /* a service's name; `text`: the id that is surely of it */
};

struct source {
	enum source_kind kind;
	struct str entry; /* as it was written */
	struct str text;
	struct address_range range;  /* RANGE */
	const struct snapshot *mesh; /* UNDECLARED: where the declared ones are; not owned */
};

/* How exactly it names somebody: of two that name the same caller the higher one is the more exact.
 * Never 0. A longer prefix is more exact, of ids and of addresses; a whole id is the most. */
#define SOURCE_RANK_LEAST 1
#define SOURCE_RANK_ID	  (UINT32_MAX - 1)
uint32_t source_rank(const struct source *source);

/* How many sources an entry stands for: one, or as many as the declared service that it names has
 * ids. 0: it is no entry. */
uint32_t source_count(const struct snapshot *s, struct str entry);
/* Into `ret`, which has room for source_count(). Text that has to be made is the arena's; false: no
 * memory. They must not outlive the snapshot. */
bool source_read(const struct snapshot *s, struct str entry, struct arena *arena,
	struct source *ret) MUST_CHECK;
/* Whether it names this caller. `id`: verified; empty: none. `client`: whence it came; family 0:
 * not known. */
bool source_names(const struct source *source, struct str id, const struct address *client);
/* Whether it may name this caller, whom it does not name for all that is known: who must be kept
 * out must be kept out then, too. `id`: verified, not empty. */
bool source_may_name(const struct source *source, struct str id);
/* Whether it is one of our own trust domain. */
bool source_is_own(const struct snapshot *s, struct str id);
/* The same as source_names() for an entry as it is written, which need not have been read. */
bool source_entry_names(const struct snapshot *s, struct str entry, struct str id);
