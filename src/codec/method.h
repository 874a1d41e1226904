/* SPDX-License-Identifier: Apache-2.0 */
/* The request methods we pass on: RFC 9110, WebDAV and its relatives. */
#pragma once

#include "base/str.h"
#include <stdint.h>

#define METHOD_BYTES_MAX 24

/* Those that change how a message is framed or addressed have names of their own. */
enum method {
	METHOD_UNKNOWN,
	METHOD_OTHER, /* known, nothing special about it */
	METHOD_HEAD,
	METHOD_CONNECT,
	METHOD_OPTIONS,
	METHOD_TRACE,
};

enum method method_of(struct str name);

/* Whether `bytes` begin with a known method and a space. */
enum method_match { METHOD_MATCH_NO, METHOD_MATCH_YES, METHOD_MATCH_MORE };
enum method_match method_match(const uint8_t *bytes, size_t len);
