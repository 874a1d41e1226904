/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY protocol version 2 header that opens an opaque TCP connection between two proxies: the
 * original addresses and, as authority TLV (0x02), the service. Specification: HAProxy
 * doc/proxy-protocol.txt 2.2. Pure; bytes from outside. */
#pragma once

#include "base/address.h"
#include "base/str.h"
#include <stddef.h>

#define PREAMBLE_BYTES_MAX 536

enum preamble_result { PREAMBLE_MORE, PREAMBLE_DONE, PREAMBLE_BAD };

struct preamble {
	struct address source, destination; /* family 0 with the LOCAL command or AF_UNSPEC */
	char authority[256];
	size_t authority_len;
};

/* DONE sets *ret_used to the header's length. BAD for version 1, datagram protocols, headers longer
 * than PREAMBLE_BYTES_MAX, TLVs that overrun, a second authority or one that is empty, longer than
 * 255 or not visible ASCII. Unknown TLVs are passed over; all of a LOCAL header is. */
enum preamble_result preamble_read(
	const uint8_t *bytes, size_t len, struct preamble *ret_preamble, size_t *ret_used);
/* Both addresses or none; of two families, both are written as IPv6. Returns the length. */
size_t preamble_write(const struct preamble *p, uint8_t ret_bytes[PREAMBLE_BYTES_MAX]);
