/* SPDX-License-Identifier: Apache-2.0 */
/* May this caller do this? Pure. What is missing means deny.
 *
 * Each condition of a rule is so, is not so, or cannot be known: of opaque bytes no path is known,
 * of a caller without identity not who it is, of a request without a token no claim, of a header
 * that comes twice with different values not which of them the server will take. An allow rule
 * matches when all of its conditions are so; a deny rule unless one of them is not so. `not_` turns
 * an answer round, and what cannot be known stays so. Of a list that is given one item is enough,
 * and every list must be so; of a `not_` list none may be.
 *
 * Nor can be known what servers read differently, when it is not so to the letter:
 *   - a path that is the rule's for a server that decodes escapes (those of escapes too), takes
 *     "\" for "/", drops what follows ";" in a segment and an escaped "?" or "#", dots and spaces
 *     at the end of a segment, empty segments and letter case; of a template, whose segments have
 *     to be counted, any path that begins as it does once such things divide it otherwise;
 *   - a method in another letter case;
 *   - a host that is neither a plain name nor a plain address, with a port that is a number or
 *     none, or that is the rule's address written otherwise;
 *   - a header whose name has "_" for "-", and a value of which a part between commas is so, or
 *     that has more than some 256 such parts and blanks around them.
 *
 * Of the rules that match, the one whose `from` names the caller most exactly decides
 * (source_rank()); of equally exact ones any that denies; of those that say the same the first. A
 * deny rule without `from` is a guard: nothing is more exact. An allow rule without `from` is for
 * any verified identity, as one with "*" is: of whatever trust domain. Who has no identity may be
 * just the one whom a deny rule names: no address is more exact than that. Where no rule matches
 * the service's own default decides, then that of the mesh, which holds only for services that no
 * allow rule names. A default lets in identities of our own trust domain at most: to trust the
 * anchors of another one is to know its workloads, not to open anything to them. */
#pragma once

#include "mesh/route.h"
#include "mesh/snapshot.h"
#include "mesh/source.h"

/* Of each list of a rule, `from` and `paths` aside: by these it is found, and of others a request
 * is compared with each. */
#define POLICY_LIST_MAX 32

enum policy_action {
	POLICY_ALLOW,
	POLICY_DENY,
	POLICY_AUDIT, /* decides nothing: what matches is told */
};

/* What is written and what is done. AUDITED: what it would refuse is let through and told. */
enum policy_mode { POLICY_ENFORCED, POLICY_AUDITED };

/* Paths as in routes, without regular expressions; hosts in lower case, without port and without a
 * dot at the end. A list that is empty asks for nothing. */
struct policy_operations {
	struct route_path *paths;
	uint32_t path_count;
	struct str *methods;
	uint32_t method_count;
	struct str *hosts;
	uint32_t host_count;
	uint16_t *ports;
	uint32_t port_count;
};

/* Of a token that was verified. Claims are asked as headers are, but any one of the values that a
 * claim has is enough: they are a set. */
struct policy_token_rule {
	bool is_wanted;	     /* one of any issuer that is known */
	struct str *issuers; /* names of issuers */
	uint32_t issuer_count;
	struct str *audiences;
	uint32_t audience_count;
	struct route_fields claims;
};

struct policy {
	struct str name;  /* "policies[3]" unless named */
	struct str where; /* "mesh.conf:41"; of a published one "policy/web@12" */
	enum policy_action action;
	enum policy_mode mode;
	/* A guard in place of a published policy that cannot be read here: why. Else empty. */
	struct str fault;
	struct source *from, *not_from;
	uint32_t from_count, not_from_count;
	struct policy_operations to, not_to; /* what must be, and what must not be */
	struct route_fields headers;
	struct policy_token_rule token;
};

struct policy_claim {
	struct str name;  /* "groups", "realm_access.roles" */
	struct str value; /* of an array one after the other; numbers and bools as JSON has them */
};
/* What a token says, once its signature, its time and its issuer were found good. */
struct policy_token {
	struct str issuer; /* name of the issuer in the mesh */
	struct str subject;
	const struct policy_claim *claims; /* those of one name together; "aud" is one of them */
	uint32_t claim_count;
};

struct policy_request {
	struct str source_id;  /* the caller's verified SPIFFE id; empty = none (plain text) */
	struct address client; /* whence it came; family 0: not known */
	uint16_t port;	       /* of the service's workload; 0: not known */
	/* As it is forwarded: path in normal form, without query; NULL: opaque bytes. Its
	 * `source_id` is not looked at. */
	const struct route_request *http;
	const struct policy_token *token; /* NULL: none that is good */
};

struct policy_verdict {
	bool allowed;		     /* what is to be done */
	const struct policy *policy; /* the rule that decided, NULL for a default */
	enum policy_default by;	     /* policy NULL: whose: MESH, or the service's own */
	/* What would have been refused, were nothing audited: let through, and told. `audited` is
	 * the rule that would have; NULL: a default. */
	bool would_deny;
	const struct policy *audited;
	const struct policy *noted; /* the first audit rule that matches, or NULL */
};

struct policy_verdict policy_check(const struct snapshot *s, const struct service *service,
	const struct policy_request *request);

/* Whether it is worth verifying the token that came with this request, which has none yet: whether
 * what it says may count. `ret_verdict`: without it. False: that is the verdict, whatever it says.
 * Who is refused with any token is refused as without one; who is let in is by the same rule, and
 * noted by the same. True: a good one is to be asked about with policy_check(). */
bool policy_wants_token(const struct snapshot *s, const struct service *service,
	const struct policy_request *request, struct policy_verdict *ret_verdict);

/* Made once the service's policies are final, so that many of them cost hardly more than a few.
 * Memory is the snapshot's. False: there is none. Without it they are asked one by one. */
bool policy_index_build(struct snapshot *s, struct service *service) MUST_CHECK;

/* The same rule by rule, without any index: what policy_check() is compared with. */
struct policy_verdict policy_check_each(const struct snapshot *s, const struct service *service,
	const struct policy_request *request);

/* Whether it asks for more of a request than bytes have. */
bool policy_asks_http(const struct policy *p);
/* What becomes of opaque bytes about which policy_check() said this: of them nobody can say what a
 * rule about paths or the like would have said. With one in force they stay out, and it is
 * returned: the verdict is a refusal then, that tells nothing else. With one on trial they pass,
 * and that is told in the verdict. NULL: as the verdict says. Rules that only note ask nothing of
 * anybody. */
const struct policy *policy_check_bytes(
	const struct snapshot *s, const struct service *service, struct policy_verdict *verdict);
/* Whether something that this caller might ask of the port would be allowed. What the request asks
 * itself is not looked at. False: nothing would. */
bool policy_might_allow(const struct snapshot *s, const struct service *service,
	const struct policy_request *request);
/* Whether any asks for this header, letter case aside. */
bool policy_asks_header(const struct service *service, struct str name);
/* Whether any asks for a token. */
bool policy_asks_token(const struct service *service);

/* Path for matching and forwarding alike, so that both see the same bytes: percent-encoded
 * unreserved characters decoded, other escapes in upper case, "." and ".." resolved, "//" merged.
 * Refused (false): %2F, %5C, '\\', '#', broken escapes, those of control characters and of UTF-8
 * that is longer than it must be (%C0%AF), anything but printable ASCII, a dot segment with
 * parameters ("..;x"), what becomes a dot segment when it is decoded once more or cut at an escaped
 * character ("%252e%252e", "..%3B", "..%20"), a ".." above the root, and what does not begin with
 * "/" ("*" alone is let through). Query kept as it is. `ret` has room for path.len bytes. */
bool path_normalise(struct str path, char *ret, size_t *ret_len);
/* True: path_normalise() would give back the same bytes, as with nearly all of them. False says
 * nothing. */
bool path_is_normal(struct str path);
