/* SPDX-License-Identifier: Apache-2.0 */
/* Named texts that travel together: what the keeper read from disk and looked up (configuration
 * files, mesh objects, certificate chains, user ids, marks, local addresses), handed to the proxy
 * process as one sealed memfd. The proxy therefore never opens a file.
 *
 * Kinds in use:
 *   conf     node configuration file; name = its path
 *   mesh     mesh object file; name = its path
 *   user     name = user name, text = decimal uid
 *   mark     name = decimal uid, text = decimal mark number (before shifting into the mask)
 *   address  name = an address of this machine in text form
 *   chain    name = identity path ("service/orders"), text = PEM chain, leaf first
 *   key      name = identity path, text = decimal key number to ask signatures for
 *   roots    name = trust domain, text = PEM of its trust anchors
 *   crl      name = trust domain, text = PEM of the CRLs of its authorities
 *   outside  name = "" or a file's, without ".pem"; text = PEM of authorities of servers outside
 *   tickets  name = "secret", text = 32 bytes that ticket keys are made of
 * For the state process only:
 *   operator name = path, text = PEM public key of an operator
 *   secret   name = "password" or "sentinel-password", text = what the file held, without line end
 *   pki      name = "roots" or "chain", text = PEM for the connection to the store
 *   pki-key  name = "store", text = decimal key number to ask signatures for
 *   est      name = "roots" or "chain", text = PEM: the authority's anchors, the machine's own
 * chain est-key  name = "node", text = decimal key number to ask signatures for From the state
 * process, for the proxy process (a bundle of its own): mesh     name = "service/orders@41": the
 * object and its revision; text = its libconfig text node     name = a node's name, text = its
 * record (mesh/record.h) rollout  name = a service, text = how far its rollout is
 * (rollout/rollout.h) revision name = "objects", text = decimal revision of the mesh objects
 * What the proxy process wants to know of the world outside, and what the state process tells it
 * (bundles of their own):
 *   host     name = a host's name; text = nothing, and in the answer its addresses, one to a line
 *   jwks     name = an issuer's name; text = the URL of its keys, and in the answer the JWK Set
 * The second also in the keeper's bundle, where the keys are a file.
 *
 * Private keys are never in a bundle. */
#pragma once

#include "base/error.h"
#include "base/list.h"
#include "base/str.h"

struct bundle_item {
	struct list node;
	struct str kind, name, text; /* NUL behind each, not counted */
};

struct bundle {
	struct list items; /* of struct bundle_item, in order of adding */
	size_t bytes;	   /* of all texts */
};

void bundle_init(struct bundle *b);
void bundle_done(struct bundle *b);
/* Copies all three. Fails with EFBIG beyond 64 MiB in all. */
int bundle_add(struct bundle *b, struct str kind, struct str name, struct str text,
	struct err *err) MUST_CHECK;
/* Reads a regular file (at most 16 MiB) into the bundle with its path as name. Blocks on disk. */
int bundle_add_file(
	struct bundle *b, struct str kind, const char *path, struct err *err) MUST_CHECK;
/* Next item of a kind after `after` (NULL = first), or NULL. */
const struct bundle_item *bundle_next(
	const struct bundle *b, const char *kind, const struct bundle_item *after);
/* Item by kind and name, or NULL. */
const struct bundle_item *bundle_find(const struct bundle *b, const char *kind, struct str name);

/* A sealed memfd with everything in it; the caller closes it. -errno on failure. */
int bundle_to_memfd(const struct bundle *b, struct err *err) MUST_CHECK;
/* Fills an initialised bundle; bounds-checked, so a torn one is an error, never a crash. */
int bundle_from_memfd(struct bundle *b, int fd, struct err *err) MUST_CHECK;
/* The same from what such a memfd held. */
int bundle_from_bytes(struct bundle *b, const void *bytes, size_t len, struct err *err) MUST_CHECK;
