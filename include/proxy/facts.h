/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan knows of the world outside: addresses of hosts, keys of issuers. Immutable, built by
 * the control thread from the keeper's bundle (keys in files) and from what the state process has
 * found out; shared by plans as long as it stays the same. */
#pragma once

#include "base/address.h"
#include "base/bundle.h"
#include "mesh/issuer.h"
#include "mesh/snapshot.h"

struct facts;
struct jwk_set;

struct facts_host {
	struct str name;
	struct address *addresses; /* ports 0 */
	uint32_t address_count;
};

/* How it stands with an issuer's keys. */
struct facts_issuer {
	struct str name;
	struct str url;		       /* where they come from; empty: a file */
	const struct jwk_set *keys;    /* NULL: none */
	uint64_t fetched_s, failing_s; /* seconds since the epoch; 0: never, not */
	struct str why;		       /* of a failure; empty */
};

/* `b`: the keeper's; `outside`: the state process's, NULL: there is none yet. One reference. NULL:
 * out of memory. What makes no sense in either is left out. */
struct facts *facts_new(const struct bundle *b, const struct bundle *outside);
struct facts *facts_ref(struct facts *f);
/* NULL is allowed. */
void facts_unref(struct facts *f);
/* Whether plans may go on with either. */
bool facts_same(const struct facts *a, const struct facts *b);

/* NULL: its addresses are not known (yet). `f` may be NULL. */
const struct facts_host *facts_host(const struct facts *f, struct str name);

/* The index-th; false: there are no more. For status. */
bool facts_issuer_at(const struct facts *f, uint32_t index, struct facts_issuer *ret);
/* The keys of an issuer that come from where it says now, or NULL. `f` may be NULL. */
const struct jwk_set *facts_keys(const struct facts *f, const struct issuer *issuer);

/* What the mesh wants to know of the world outside, into an initialised bundle, in one order. */
int facts_wanted(const struct snapshot *s, struct bundle *b, struct err *err) MUST_CHECK;
