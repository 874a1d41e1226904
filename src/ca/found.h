/* SPDX-License-Identifier: Apache-2.0 */
/* What founding an authority and taking an issuer for it have in common. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include <openssl/base.h>

struct ca_setup;

/* SHA-256 of a certificate, hexadecimal; `text` NULL: not asked. */
int found_fingerprint(X509 *cert, char *text, struct err *err) MUST_CHECK;
/* As ca_install(), for the issuer that comes next: next-issuer.csr becomes next-issuer.crt. */
int install_next(const char *dir, const char *chain, const char *root, struct err *err) MUST_CHECK;
/* What ca.conf will be. Not judged: names and addresses stand in it as they were given. */
int found_settings_text(
	const struct ca_setup *setup, struct str *ret_text, struct err *err) MUST_CHECK;
