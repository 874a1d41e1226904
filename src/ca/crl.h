/* SPDX-License-Identifier: Apache-2.0 */
/* Revocation lists: crls/<issuer>.pem, one for each issuer whose certificates may still be shown,
 * and crls/number, the highest cRLNumber there ever was. Kept on disk, so that all instances of an
 * authority give the same and numbers only grow. */
#pragma once

#include "folder.h"
#include "issuer.h"
#include "ledger.h"

struct crl_order {
	int64_t now_s, lifetime_s, backdate_s;
	const struct ledger *revoked;
};
/* All lists, those renewed that are due, as one PEM text; file_text_free(). The caller has the
 * lock. */
int crl_collect(const struct folder *f, const struct crl_order *o, struct str *ret_pem,
	struct err *err) MUST_CHECK;
