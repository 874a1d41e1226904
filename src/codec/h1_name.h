/* SPDX-License-Identifier: Apache-2.0 */
/* The field names HTTP/1 acts on; all others are the peers' own business. */
#pragma once

#include "base/str.h"
#include <stdbool.h>

enum h1_name {
	H1_NAME_OTHER,
	H1_NAME_CONNECTION,
	H1_NAME_CONTENT_LENGTH,
	H1_NAME_EXPECT,
	H1_NAME_HOST,
	H1_NAME_HTTP2_SETTINGS,
	H1_NAME_KEEP_ALIVE,
	H1_NAME_PROXY_CONNECTION,
	H1_NAME_TE,
	H1_NAME_TRAILER,
	H1_NAME_TRANSFER_ENCODING,
	H1_NAME_UPGRADE,
};

enum h1_name h1_name_of(struct str name);
/* Framing, routing, authentication, content format: not allowed in a trailer (RFC 9110 6.5.1). */
bool h1_name_refused_in_trailer(struct str name);
