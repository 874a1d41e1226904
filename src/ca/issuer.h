/* SPDX-License-Identifier: Apache-2.0 */
/* An issuer on disk: <name>.crt, its chain without the root, and <name>.key. */
#pragma once

#include "folder.h"
#include "keys/cert.h"
#include "ledger.h"

struct issuer {
	struct cert_issuer signer;
	struct str chain;	/* PEM */
	char trust_domain[256]; /* of the URI in its SAN */
	char key_id[LEDGER_ISSUER_TEXT];
	int64_t not_before_s, not_after_s;
};

/* -EINVAL: unreadable, or not a pair; -ENOENT. *ret_issuer is whole or as it was. */
int issuer_load(const struct folder *f, const char *name, struct issuer *ret_issuer,
	struct err *err) MUST_CHECK;
void issuer_done(struct issuer *i);
/* The key first: who comes between the two finds a pair that does not fit, and never a certificate
 * whose key is yet to come. */
int issuer_write(const struct folder *f, const char *name, EVP_PKEY *key, struct str chain,
	struct err *err) MUST_CHECK;
/* The trust domain of an authority's certificate; false: it names none. */
bool issuer_trust_domain(X509 *cert, char trust_domain[256]);

/* The key of a root: in `dir`, root.key or root-<part of its key id>.key, whichever fits. */
int issuer_find_root_key(
	const char *dir, X509 *root, EVP_PKEY **ret_key, struct err *err) MUST_CHECK;
/* "root-1a2b3c4d", what the files of a root are called beside another's. */
void issuer_root_name(X509 *root, char name[32]);
