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
	struct str text, header; /* empty: no token, or several */
};

/* When policies of the call's service, as they are in this plan, ask for tokens, and it is for a
 * workload of this machine: looks into the head, once, and takes headers off it that the workload
 * is not to get. Out of memory there is no token. */
void tokens_take(const struct call *c, const struct plan *plan, struct http_head *head,
	struct arena *arena, struct tokens_carried *carried);
/* By the issuers and keys of this plan. NULL: none that is good. Valid until the next question. */
const struct policy_token *tokens_verified(
	struct worker *w, const struct plan *plan, const struct tokens_carried *carried);
/* NULL is allowed. */
void tokens_free(struct tokens *t);
