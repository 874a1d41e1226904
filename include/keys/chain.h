/* SPDX-License-Identifier: Apache-2.0 */
/* PEM texts with several certificates or revocation lists in them: taken apart and written anew, so
 * that what is kept or handed on holds these and nothing else, no key that stood beside them above
 * all. Touches no file. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include <openssl/base.h>

/* What is no chain of anybody's. */
#define CHAIN_CERTIFICATES_MAX 16
#define CHAIN_ROOTS_MAX	       256
#define CHAIN_CRLS_MAX	       256

/* The certificates of a text, in order, as PEM; the caller frees it with file_text_free().
 * *ret_first (unless NULL; X509_free()) is the first. -EINVAL: none, one that cannot be read, or
 * more than `max`. */
int chain_pem(struct str text, unsigned max, struct str *ret_pem, X509 **ret_first,
	struct err *err) MUST_CHECK;
/* The same for anchors: each has to be an authority's certificate. */
int chain_roots(struct str text, struct str *ret_pem, struct err *err) MUST_CHECK;
/* The same for revocation lists; a text without one gives an empty one. */
int chain_crls(struct str text, struct str *ret_pem, struct err *err) MUST_CHECK;
