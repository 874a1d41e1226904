/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures by a key that lives in another process: BoringSSL asks, the session pauses, the caller
 * brings the answer. */
#pragma once

#include "store.h"

/* Puts the identity's chain on the connection, with a key that asks. False: out of memory. */
bool signing_install(SSL *ssl, const struct tls_identity *identity);
