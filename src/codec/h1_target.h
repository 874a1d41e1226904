/* SPDX-License-Identifier: Apache-2.0 */
/* The request target in its four forms (RFC 9112 3.2), taken apart into path and authority. */
#pragma once

#include "codec/http.h"
#include "method.h"

/* Fills head->path and head->authority. `target` and `host` (the Host field's value; at NULL: there
 * was none) lie in writable memory: the authority is lowered in place, and "http://a?b" gets its
 * "/" there. The target's authority wins over Host, which must be valid all the same. */
enum http_bad h1_target_read(
	struct http_head *head, enum method method, struct str target, struct str host) MUST_CHECK;
