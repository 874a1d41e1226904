/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of revoked certificates (RFC 5280, 5) of one trust domain's authorities. Of each list
 * its serial numbers are kept, sorted, and a digest of what was signed: whose list it is, is known
 * only when a path brings the issuer's key along, and then costs one signature, once.
 *
 * A list is somebody's when it has the issuer's name and the issuer's signature. Whether the
 * issuer's key usage allows for lists is not asked: one who may issue certificates may as well
 * withdraw them, and to pass over such a list would let in whom it names. For the same reason a
 * list counts that is from the future.
 *
 * Constant once loaded, but for what was found about issuers, which threads share without a lock.
 */
#pragma once

#include "base/bundle.h"
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

struct revoked;

/* From an item of kind `crl`. A list that holds only a part of what is revoked (a delta, one of a
 * distribution point) or that has a critical extension is refused: read as if it were whole, it
 * would let in whom the others name. A list with a signature that nobody makes today, too. */
int revoked_new(
	const struct bundle_item *item, struct revoked **ret_revoked, struct err *err) MUST_CHECK;
void revoked_free(struct revoked *r);

/* Whether a certificate of a verified path (leaf first) is on the list of its issuer; the path's
 * last one is an anchor, which is trusted by other means. *ret_until_s: when the first of the lists
 * used is over, INT64_MAX for never, INT64_MIN when there are some, but none of the leaf's issuer.
 */
bool revoked_path(struct revoked *r, STACK_OF(X509) * path, int64_t *ret_until_s);
