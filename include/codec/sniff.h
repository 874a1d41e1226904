/* SPDX-License-Identifier: Apache-2.0 */
/* Which protocol the first bytes of a connection are. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum sniff {
	SNIFF_MORE,  /* could still be HTTP: needs more bytes */
	SNIFF_HTTP1, /* a method and a space, RFC 9112 */
	SNIFF_HTTP2, /* the client preface, RFC 9113 3.4 */
	SNIFF_TLS,   /* a handshake record */
	SNIFF_OTHER,
};

/* Never needs more than 24 bytes. */
enum sniff sniff_bytes(const uint8_t *bytes, size_t len);
