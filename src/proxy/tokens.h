/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of end users in requests for this machine's workloads: found in the head as it came,
 * verified once, and remembered by the worker until they expire or the plan is another. Only what
 * is verified is ever seen by policy; of a request with more than one token nobody knows which the
 * workload will take, so it has none. */
#pragma once

#include "base/arena.h"
#include "codec/http.h"
#include "mesh/policy.h"

struct call;
struct plan;
struct worker;
struct tokens;

/* What a head carried; texts in the arena. */
struct tokens_carried {
	bool is_looked_at;
	struct str text, header;     /* empty: no token, or several */
	struct http_header *removed; /* that the workload is not to get; in the arena */
	uint16_t removed_count;
	uint64_t judged_s; /* as of then: when it was found */
	uint64_t until_s;  /* it is good, as far as time goes; 0: it is not, or that is over */
};

/* When policies of the call's service, as they are in this plan, ask for tokens, and it is for a
 * workload of this machine: looks into the head, once, and takes headers off it that the workload
 * is not to get. Out of memory there is no token. */
void tokens_take(struct worker *w, const struct call *c, const struct plan *plan,
	struct http_head *head, struct arena *arena, struct tokens_carried *carried);
/* The head, or a copy of it, goes on to another machine after all, or to somebody else: gives it
 * what tokens_take() took off, copied into the arena. False: no room, or out of memory. */
bool tokens_put_back(const struct tokens_carried *carried, struct http_head *head,
	struct arena *arena) MUST_CHECK;
/* Whether requests for the call's service carry tokens in headers of this name. */
bool tokens_are_in(const struct call *c, struct str header);
/* By the issuers and keys of this plan, as of when it was found: a request that runs
 * has the token that it came with. NULL: none that is good. Valid until the next question. */
const struct policy_token *tokens_verified(
	struct worker *w, const struct plan *plan, struct tokens_carried *carried);
/* When it ends, in the loop's time; UINT64_MAX: there is none, or it has ended. */
uint64_t tokens_end_ns(const struct worker *w, const struct tokens_carried *carried);
/* True, once: it has ended. From then on it is judged as of now. */
bool tokens_end(const struct worker *w, struct tokens_carried *carried);
/* NULL is allowed. */
void tokens_free(struct tokens *t);
