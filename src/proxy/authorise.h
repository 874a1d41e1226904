/* SPDX-License-Identifier: Apache-2.0 */
/* Where policy is asked: of every request and every opaque connection that is for a workload of
 * this machine, wherever it comes from. What is for another machine is that machine's to decide. */
#pragma once

#include "base/arena.h"
#include "call.h"
#include "mesh/policy.h"

struct tokens_carried;

struct authorise_rule {
	struct str name;  /* empty: there is none */
	struct str where; /* file and line; of a default which one: "mesh.default_policy" */
};

/* What policy said, and by which rule. Texts are those of the plan that the call holds: whoever
 * keeps them longer keeps a copy. */
struct authorisation {
	enum reason reason;	       /* NONE: it may */
	struct authorise_rule decided; /* the rule, or "default"; none: nobody was asked here */
	struct authorise_rule audited; /* let in, though this one would refuse it, or "default" */
	struct authorise_rule noted;   /* of an audit rule that matches */
};

struct authorise_asks {
	const struct route_request *http; /* as it is forwarded; NULL: opaque bytes */
	/* Verified if anything depends on it, by the worker; NULL: none was carried. */
	struct tokens_carried *token;
	struct worker *worker;
};

/* Nobody has been asked. */
struct authorisation authorisation_none(void);
/* Returns its reason, too. Nothing is allocated. */
enum reason authorise(
	const struct call *c, const struct authorise_asks *asks, struct authorisation *ret);
/* The same under the worker's current plan, of a call to a workload of this machine that was
 * settled under an older one: for a request that runs, or a session that waits for its next one.
 * Besides policy's reasons UNATTRIBUTED, PLAINTEXT, NO_SERVICE: it would not get as far as to be
 * asked. Texts are those of that plan. NONE for calls to other machines. */
enum reason authorise_again(struct worker *w, const struct call *c,
	const struct authorise_asks *asks, struct authorisation *ret);
/* The same for a session that waits for its next request. `last`: what it asked last; NULL: not
 * known. Where that is not known, or needed a token, NONE as long as there is something that its
 * caller may. */
enum reason authorise_session(
	struct worker *w, const struct call *c, const struct route_request *last);
/* The same rules said the same. */
bool authorisation_equal(const struct authorisation *a, const struct authorisation *b);
/* With texts of its own. What there is no memory for is left out. */
struct authorisation authorisation_copy(const struct authorisation *from, struct arena *arena);
/* Refused by policy, whatever the reason is called. */
bool authorise_is_denial(enum reason reason);
