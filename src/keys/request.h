/* SPDX-License-Identifier: Apache-2.0 */
/* A PKCS#10 request (RFC 2986) for one SPIFFE id: no subject, the id as the only SAN. Pure. */
#pragma once

#include "base/assert.h"
#include "base/str.h"
#include <openssl/base.h>

/* DER; the caller frees it. -ENOMEM. */
int request_der(EVP_PKEY *key, struct str id, struct str *ret_der) MUST_CHECK;
