/* SPDX-License-Identifier: Apache-2.0 */
/* The keys that the keeper makes itself, and the certificates that an authority has given for them:
 * a directory that only the keeper (or `ringmain join`, as root) touches, and that survives
 * everything.
 *
 *   node.pem                  the machine's own key and chain, spiffe://<trust domain>/node/<name>
 *   service/orders.pem        key and chain of spiffe://<trust domain>/service/orders
 *   identity/shop+web.pem     those of spiffe://<trust domain>/shop/web (src/keys/keep_name.h)
 *   <the same>.next           a new key that has no certificate yet
 *   roots.pem, roots/<trust domain>.pem     anchors, ours and others'
 *   crls.pem, crls/<trust domain>.pem       certificate revocation lists
 *
 * Every file is replaced as a whole, is on the disk when a call returns, and is 0600 (keys) in
 * directories 0700. Key and chain stand in one file, so no moment has a pair that does not fit. A
 * crash leaves the old file, or the new one, or a .next whose request can be made again for the
 * same key. What was replaced is overwritten. All of this blocks on disk. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include <stdint.h>

struct keep;

#define KEEP_IDENTITY_MAX 255 /* bytes of an identity path */

/* Opens it; makes it if need be, but not the one above it. A directory that others may use, or that
 * lies in one where others could put another in its place, is an error that names the cure. */
int keep_open(const char *dir, struct str trust_domain, struct keep **ret_keep,
	struct err *err) MUST_CHECK;
void keep_close(struct keep *k);

/* A PKCS#10 request (DER; the caller frees it) for spiffe://<trust domain>/<identity> as the only
 * SAN, signed with the identity's pending key, which is made unless there is one. */
int keep_request(
	struct keep *k, struct str identity, struct str *ret_der, struct err *err) MUST_CHECK;
/* Takes a chain (PEM, leaf first) for the pending key: it becomes <identity>.pem, and the pending
 * key is no longer pending. -EKEYREJECTED: the leaf is not for that key, that identity, or is not
 * an end-entity certificate that is valid at `now_s`, or our own TLS would not load it. What was
 * there before stays then. Giving the same chain again is no error, so that a lost answer costs
 * nothing. Only the certificates of the text are kept. */
int keep_certificate(struct keep *k, struct str identity, struct str chain, int64_t now_s,
	struct err *err) MUST_CHECK;
/* Takes anchors and CRLs of a trust domain (PEM; empty CRLs: none). No anchor at all is -EINVAL:
 * nothing comes from nothing. -EBADMSG: one that our own TLS would not load (a delta list, a weak
 * signature, an anchor that is none), and nothing of it is kept: what a handshake refuses must not
 * come to stand in the way of all others. -EALREADY (no error): it is what was there. */
int keep_trust(struct keep *k, struct str trust_domain, struct str roots, struct str crls,
	struct err *err) MUST_CHECK;
/* The same of anchors alone: CRLs that are there stay. */
int keep_anchors(
	struct keep *k, struct str trust_domain, struct str roots, struct err *err) MUST_CHECK;
/* Forgets an identity's key and chain, overwriting the key's bytes. 0 also when there is none. */
int keep_forget(struct keep *k, struct str identity, struct err *err) MUST_CHECK;
