/* SPDX-License-Identifier: Apache-2.0 */
/* What founding an authority and taking an issuer for it have in common. */
#pragma once

#include "base/error.h"
#include <openssl/base.h>

/* SHA-256 of a certificate, hexadecimal; `text` NULL: not asked. */
int found_fingerprint(X509 *cert, char *text, struct err *err) MUST_CHECK;
