/* SPDX-License-Identifier: Apache-2.0 */
/* What a complete head means, and whether we take it: method, target and Host, framing,
 * expectation, upgrade; and the removal of the fields that are for this hop only. Works on the
 * fields of an h1_section, in place. */
#pragma once

#include "h1_section.h"
#include "method.h"

/* What a response is read against. */
struct h1_asked {
	enum method method;
	struct str upgrade; /* empty: none */
};

/* The start line's parts come from the scan of the same text. *ret_method and *ret_persist (may
 * the connection carry another message after this one) are only set when nothing is bad. */
enum http_bad h1_check_request(struct h1_section *s, const struct h1_scan *scan,
	enum method *ret_method, bool *ret_persist) MUST_CHECK;
enum http_bad h1_check_response(
	struct h1_section *s, const struct h1_asked *asked, bool *ret_persist) MUST_CHECK;
enum http_bad h1_check_trailers(struct h1_section *s) MUST_CHECK;
