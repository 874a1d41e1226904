/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of documents that are fetched by https. Strict: what two readers could take for two
 * different places is none. Pure. */
#pragma once

#include "base/str.h"

#define URL_BYTES_MAX 2048

struct url {
	struct str host; /* a name, or an address without brackets */
	uint16_t port;	 /* 443 unless given */
	bool is_address;
};

/* "https://host[:port][/path][?query]": a host of letters, digits, '-' and '.', or an address; no
 * user, no fragment, printable ASCII without quotes, backslash and braces. NULL, or what is wrong
 * with it. `ret` points into the text. */
const char *url_https(struct str text, struct url *ret);
