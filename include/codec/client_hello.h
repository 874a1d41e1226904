/* SPDX-License-Identifier: Apache-2.0 */
/* Which server a TLS client asks for, read from its first message without answering it (RFC 8446
 * 4.1.2, RFC 6066 3). Pure. What it says is the client's word alone: with Encrypted Client Hello it
 * is the outer name, and the inner one is not seen. */
#pragma once

#include "base/str.h"
#include <stdint.h>

#define CLIENT_HELLO_NAME_MAX  255
#define CLIENT_HELLO_BYTES_MAX 16384 /* of the message, without record headers */

enum client_hello {
	CLIENT_HELLO_MORE, /* not all of it is there yet */
	CLIENT_HELLO_DONE,
	CLIENT_HELLO_BAD, /* none, or too large, or not as it has to be */
};

/* `bytes`: from the first of the connection on, whole records or parts of them; the message may be
 * cut into records anywhere. *ret_len: bytes of the name, as it stands there; 0: none is asked for.
 * Nothing but its length has been looked at. */
enum client_hello client_hello_read(const uint8_t *bytes, size_t len,
	char ret_name[CLIENT_HELLO_NAME_MAX + 1], size_t *ret_len);
