/* SPDX-License-Identifier: Apache-2.0 */
/* How BoringSSL reaches a session's ciphertext: reads take from the span that the caller gave,
 * writes append to the connection's own buffer. No memory BIO, which would move everything that
 * remains at every read. */
#pragma once

#include <openssl/bio.h>

struct tls;

/* NULL when memory is exhausted. */
BIO_METHOD *bio_method_new(void);
void bio_method_free(BIO_METHOD *method);
/* A BIO on the session; owned by the SSL it is given to. NULL when memory is exhausted. */
BIO *bio_new(const BIO_METHOD *method, struct tls *t);
