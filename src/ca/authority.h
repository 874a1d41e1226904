/* SPDX-License-Identifier: Apache-2.0 */
/* An authority in a directory, as its server and its commands use it. It decides who gets which
 * certificate, by its own registration alone: never by what the request asks for beyond that, nor
 * by anything from the mesh's store.
 *
 * The directory (of a user of its own, 0700), the same for every instance of the authority that
 * shares it:
 *
 *   ca.conf               settings (conf/authority.h): addresses, names, lifetimes, limits
 *   registration.conf     which node may hold which identities; rewritten by `ca allow` and the
 * like root.crt, root.key    the root in force; the key is needed by `ca rotate` only: keep it
 * elsewhere issuer.crt, .key      chain of the issuer in force, without the root roots.pem anchors
 * that are published federation/<td>.pem   others' anchors, published under the label of that name
 *   index, revoked        what was issued and may still be used; what was revoked (ledger.h)
 *   issued.log            audit: one JSON line for each certificate, refusal, command
 *   tokens/<hash>         a join token: node, until when, the public key that used it
 *   nodes/<name>          what that node has shown last: ETags of anchors and CRLs
 *   crls/                 revocation lists in force
 *   rotation, next-*, old/, old-root.crt    a rotation under way (rotate.h)
 *
 * Several processes may have it open at once (flock on `lock`); each call sees what the others have
 * written before it. Calls block on disk, for milliseconds. One thread per struct authority. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

struct authority;
struct conf_ca;

int authority_open(const char *dir, struct authority **ret_authority, struct err *err) MUST_CHECK;
void authority_close(struct authority *a);
/* As of the last call; never NULL. */
const struct conf_ca *authority_settings(const struct authority *a);
/* What needs attention: 0 all is well; 1 with a text to warn of (the issuer nears its end,
 * ca.conf is broken and the settings before it hold on); -errno: nothing can be issued, and why (a
 * broken registration, an issuer that has expired). */
int authority_health(struct authority *a, int64_t now_s, struct err *err) MUST_CHECK;

/* Who asks, as TLS and HTTP have proved it. */
struct authority_client {
	/* shown certificate; `id` "" when none */
	struct str id;	   /* SPIFFE id */
	struct str serial; /* hexadecimal */
	bool expired;
	/* HTTP Basic; empty: none */
	struct str user, password;
	struct str address; /* for the audit log */
};

/* Outcomes other than 0 and -errno (no fault of the client's): documented refusals, > 0, which are
 * the HTTP status to answer with. `err` has the text for the client, without secrets. */
enum authority_refusal {
	AUTHORITY_BAD = 400,	   /* no readable request, bad self-signature, weak or wrong key */
	AUTHORITY_UNKNOWN = 401,   /* nobody proved; the answer asks for Basic */
	AUTHORITY_FORBIDDEN = 403, /* proved, but the registration does not allow this */
	AUTHORITY_TOO_MANY = 429,  /* the node's rate; *ret_retry_s */
	AUTHORITY_BUSY = 503,	   /* all nodes' rate; *ret_retry_s */
};
/* simpleenroll and simplereenroll. `request`: DER of PKCS#10. The chain as PEM, leaf first, without
 * the root; the caller frees it. The same request key with the same token is answered again, as
 * long as the token lives; another key is refused. A renewal must be for the identity of a
 * certificate that the node may have; the node's own certificate asks for any identity that is
 * registered for the node. */
int authority_enroll(struct authority *a, const struct authority_client *client, struct str request,
	int64_t now_s, struct str *ret_chain, uint32_t *ret_retry_s, struct err *err) MUST_CHECK;
/* What is published: PEM, and its ETag (quoted, by contents). `label` "": our own trust domain;
 * otherwise -ENOENT unless it is a federated one. CRLs are made anew when a quarter of their time
 * is over, or something was revoked. */
int authority_anchors(struct authority *a, struct str label, struct str *ret_pem, char ret_etag[72],
	struct err *err) MUST_CHECK;
int authority_crls(struct authority *a, int64_t now_s, struct str *ret_pem, char ret_etag[72],
	struct err *err) MUST_CHECK;
/* A node's If-None-Match: what it has in force. `node`: its name or its SPIFFE id; one that is not
 * registered is passed over. `is_crls`: of CRLs, not of anchors. */
int authority_seen(struct authority *a, struct str node, bool is_crls, struct str etag,
	int64_t now_s, struct err *err) MUST_CHECK;
/* The server's own certificate for its addresses and names, made anew when half its life is over:
 * chain as PEM, and the key (PEM; both the caller's, file_text_free()). */
int authority_server(struct authority *a, int64_t now_s, struct str *ret_chain, struct str *ret_key,
	struct err *err) MUST_CHECK;
