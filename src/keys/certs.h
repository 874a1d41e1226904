/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of certificates as files hold them. Only certificates are taken out of a text: a private
 * key that stands in the same file never gets further than here. */
#pragma once

#include "base/assert.h"
#include "base/str.h"
#include <openssl/base.h>
#include <openssl/x509.h>
#include <stdbool.h>

/* All certificates of a PEM text; NULL: none in it, a broken one, or no memory. Free with
 * certs_free(). */
STACK_OF(X509) * certs_from_pem(struct str text);
void certs_free(STACK_OF(X509) * chain);
/* The text of them and of nothing else; free with file_text_free(). -ENOMEM. */
int certs_pem(const STACK_OF(X509) * chain, struct str *ret_text) MUST_CHECK;

/* Whether each is in the other. */
bool certs_same_set(const STACK_OF(X509) * a, const STACK_OF(X509) * b);
/* Whether each may sign certificates. */
bool certs_all_authorities(const STACK_OF(X509) * chain);
/* Whether signatures lead from the first to one of the anchors, whatever the dates are. */
bool certs_lead_to(const STACK_OF(X509) * chain, const STACK_OF(X509) * anchors);
