/* SPDX-License-Identifier: Apache-2.0 */
/* May this caller do this? Pure. Missing data means deny. */
#pragma once

#include "mesh/snapshot.h"

struct policy_request {
	struct str source_id; /* the caller's verified SPIFFE id; empty = none (plain text) */
	struct str method;    /* empty for opaque TCP: rules with methods or paths then cannot allow */
	struct str path;      /* without the query, normalised by path_normalise() */
};

struct policy_verdict {
	bool allowed;
	const struct policy *policy; /* the rule that decided, NULL for the default */
};

/* Deny rules first, then allow rules, then the default (deny, unless snapshot.default_allow and the
 * caller has an identity). A deny rule with methods or paths matches opaque TCP whatever they say. */
struct policy_verdict policy_check(const struct snapshot *s, const struct service *service,
	const struct policy_request *request);

/* Path for matching and forwarding alike, so that both see the same bytes: percent-encoded
 * unreserved characters decoded, "." and ".." resolved, "//" merged; %2F, %5C, '\\' and a ".." above
 * the root are refused (false). Query kept as it is. `ret` has room for path.len bytes. */
bool path_normalise(struct str path, char *ret, size_t *ret_len);
