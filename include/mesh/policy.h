/* SPDX-License-Identifier: Apache-2.0 */
/* May this caller do this? Pure. What is missing means deny. */
#pragma once

#include "mesh/snapshot.h"

struct policy_request {
	struct str source_id; /* the caller's verified SPIFFE id; empty = none (plain text) */
	struct str method; /* empty for opaque TCP: rules with methods or paths then cannot allow */
	struct str path;   /* without the query, normalised by path_normalise() */
};

struct policy_verdict {
	bool allowed;
	const struct policy *policy; /* the rule that decided, NULL for the default */
};

/* Deny rules first, then allow rules, then the default: deny, unless snapshot.default_allow, the
 * caller has an identity and no allow rule names the service.
 *
 * What is unknown counts against the caller. An allow rule needs a certain match: methods or paths
 * never allow opaque TCP; without `from` it means any verified identity; a caller without identity
 * is allowed only by `from = ["anonymous"]`. A deny rule matches unless it certainly does not:
 * methods and paths match opaque TCP whatever they say, `from` matches a caller without identity
 * whoever it names, and paths are also compared as a lenient server might read them (escapes
 * decoded, path parameters removed). */
struct policy_verdict policy_check(const struct snapshot *s, const struct service *service,
	const struct policy_request *request);

/* Whether an entry of `from` names whoever has this id; an empty id is named by "anonymous" only.
 */
bool policy_names_source(const struct snapshot *s, struct str entry, struct str source_id);

/* Path for matching and forwarding alike, so that both see the same bytes: percent-encoded
 * unreserved characters decoded, other escapes in upper case, "." and ".." resolved, "//" merged.
 * Refused (false): %2F, %5C, %00, '\\', '#', broken escapes, anything but printable ASCII, a dot
 * segment with parameters ("..;x"), a ".." above the root, and what does not begin with "/" ("*"
 * alone is let through). Query kept as it is. `ret` has room for path.len bytes. */
bool path_normalise(struct str path, char *ret, size_t *ret_len);
/* True: path_normalise() would give back the same bytes, as with nearly all of them. False says
 * nothing. */
bool path_is_normal(struct str path);
