/* SPDX-License-Identifier: Apache-2.0 */
/* What a certificate directory holds, in the layouts that other programs write:
 *
 *   <name>.crt, <name>.key                  step-ca, a script, `ringmain ca issue`
 *   <name>.pem                              Vault agent's template: key and chain in one file
 *   <name>/tls.crt, tls.key, ca.crt         cert-manager's csi driver, Kubernetes secrets; usually
 *                                           symbolic links through ..data
 *   <name>/svid.pem, svid_key.pem, bundle.pem or svid_bundle.pem    spiffe-helper
 *
 * Names only: nothing is read here. */
#pragma once

#include "base/error.h"
#include <stdint.h>

struct directory_entry {
	char *name;  /* "web.crt", "web.pem", "web": names the entry from one look to the next */
	char *chain; /* paths; */
	char *key;   /* the same as chain: both in one file */
	char *roots; /* the anchors that came with it; NULL: none */
};

struct directory {
	struct directory_entry *list; /* in order of name */
	uint32_t count;
};

/* Entries of which only the key is there are listed, too. -E2BIG: more than `count_max`. */
int directory_list(
	const char *dir, uint32_t count_max, struct directory *ret, struct err *err) MUST_CHECK;
void directory_free(struct directory *d);
