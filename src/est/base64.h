/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 of RFC 4648 section 4, as bodies and credentials have it. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include <stddef.h>
#include <stdint.h>

enum base64_space {
	BASE64_ONE_LINE, /* nothing but the alphabet and its padding */
	BASE64_LINES,	 /* white space anywhere (RFC 8951 3.2); written in lines of 64 */
};

/* The text, to be freed by the caller, with a NUL behind (not counted). -ENOMEM. */
int base64_write(const uint8_t *bytes, size_t len, enum base64_space space, struct str *ret_text,
	struct err *err) MUST_CHECK;
/* The bytes, to be freed by the caller, with a NUL behind (not counted); never none. -EBADMSG. */
int base64_read(struct str text, enum base64_space space, struct str *ret_bytes,
	struct err *err) MUST_CHECK;
/* Overwrites, then frees: credentials pass through here. */
void base64_free(struct str bytes);
