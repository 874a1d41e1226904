/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan knows of the world outside: addresses of hosts, keys of issuers. Immutable, built by
 * the control thread from the keeper's bundle (keys in files) and from what the state process has
 * found out; shared by plans as long as it stays the same. */
#pragma once

#include "base/address.h"
#include "base/bundle.h"
#include "mesh/snapshot.h"

struct facts;

struct facts_host {
	struct str name;
	struct address *addresses; /* ports 0 */
	uint32_t address_count;
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

/* What the mesh wants to know of the world outside, into an initialised bundle, in one order. */
int facts_wanted(const struct snapshot *s, struct bundle *b, struct err *err) MUST_CHECK;
