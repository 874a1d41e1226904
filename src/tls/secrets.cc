/* SPDX-License-Identifier: Apache-2.0 */
/* In C++, because BoringSSL's own interface for this is. */
#include <cstring>
#include <openssl/ssl.h>

extern "C" {
#include "secrets.h"
}

bool secrets_of(const SSL *ssl, struct secrets *ret_secrets)
{
	bssl::Span<const uint8_t> read, write;
	if (!bssl::SSL_get_traffic_secrets(ssl, &read, &write) || read.size() != write.size() ||
		read.size() > SECRETS_BYTES_MAX)
		return false;
	memcpy(ret_secrets->read, read.data(), read.size());
	memcpy(ret_secrets->write, write.data(), write.size());
	ret_secrets->len = read.size();
	return true;
}
