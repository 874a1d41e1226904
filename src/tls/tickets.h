/* SPDX-License-Identifier: Apache-2.0 */
/* Session tickets of a server: sealed with the key of the identity that the connection was served
 * with, so that no other identity and no other generation can open them. */
#pragma once

#include <openssl/ssl.h>

void tickets_install(SSL_CTX *server);
