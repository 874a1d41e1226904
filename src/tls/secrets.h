/* SPDX-License-Identifier: Apache-2.0 */
/* BoringSSL tells a connection's traffic secrets to C++ only. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRETS_BYTES_MAX 48

struct secrets {
	uint8_t read[SECRETS_BYTES_MAX], write[SECRETS_BYTES_MAX];
	size_t len; /* of each */
};

/* After a handshake of TLS 1.3; the caller wipes them. False: not such a session. */
bool secrets_of(const SSL *ssl, struct secrets *ret_secrets);
