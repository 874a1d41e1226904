/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the world outside, over and over and never on anybody's path: the addresses of hosts, and
 * documents by https. What was once known stays known while a later try fails. Runs in the state
 * process.
 *
 * A document is fetched by curl(1) as a child, from an address that was looked up and judged here:
 * no redirect is followed, and nothing is asked of this machine, its neighbours on the link or a
 * cloud's metadata unless the rules allow that address.
 *
 *     IDLE ── time ──▶ LOOKING (up the host) ── a document ──▶ RUNNING (the program) ──▶ IDLE
 *
 * Bundles, wanted and known (base/bundle.h): `host` and `jwks`; what is known has beside a document
 *   jwks-of     name = its name; text = the URL that it came from
 *   jwks-state  name = its name; text = when it was fetched last, since when that fails (seconds
 *               since the epoch, 0: never, not), and why: "1764270000 0 " */
#pragma once

#include "base/address.h"
#include "base/bundle.h"
#include "base/error.h"
#include "ring/loop.h"

#define FETCH_HOSTS_MAX 256
/* Of one host, all that it was lately found at: resolvers give them in turns. */
#define FETCH_HOST_ADDRESSES_MAX 32
#define FETCH_DOCUMENTS_MAX	 32
#define FETCH_DOCUMENT_BYTES_MAX (256u << 10)

struct fetch;

struct fetch_rules {
	const char *program;		     /* curl */
	struct str ca;			     /* PEM file; empty: the system's */
	const struct address_range *allowed; /* although they may not be asked otherwise */
	uint32_t allowed_count;
	uint32_t refresh_ms;	  /* of documents, give or take a tenth */
	uint32_t host_refresh_ms; /* of hosts, likewise */
	/* Whether a document is one; NULL: all are. */
	bool (*is_good)(struct str text, struct err *why);
};

/* `kind`: the room's one kind of task. `owner` is made ready when there are new facts, and when all
 * has ended after fetch_close(). NULL: out of memory. */
struct fetch *fetch_new(struct loop *loop, uint16_t kind, struct task *owner);
/* Copied from, but for is_good. False: out of memory, the rules before stay. */
bool fetch_configure(struct fetch *f, const struct fetch_rules *rules) MUST_CHECK;
/* What another process knew, as fetch_facts() told it: before the first fetch_want(), which begins
 * with that of what is still wanted. Copied. False: out of memory. */
bool fetch_remember(struct fetch *f, const struct bundle *known) MUST_CHECK;
/* What is wanted from now on; of what was wanted before, the same by kind, name and text, all that
 * is known stays. What is beyond the maxima is left out. False: out of memory, nothing changed. */
bool fetch_want(struct fetch *f, const struct bundle *wanted) MUST_CHECK;
/* True once after each change: all that is known, into an initialised bundle. */
bool fetch_facts(struct fetch *f, struct bundle *b) MUST_CHECK;
void fetch_step(struct task *t);
/* Programs are killed. */
void fetch_close(struct fetch *f);
bool fetch_idle(const struct fetch *f);
/* Idle, or never stepped. NULL is allowed. */
void fetch_free(struct fetch *f);

/* Whether an address may be asked: not loopback, link-local, multicast, "any", a cloud's metadata,
 * unless it is in one of `allowed`. Pure. */
bool fetch_may_ask(
	const struct address *a, const struct address_range *allowed, uint32_t allowed_count);
