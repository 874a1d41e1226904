/* SPDX-License-Identifier: Apache-2.0 */
/* The guard before llhttp: reads a head or a trailer section byte by byte, finds its end, and
 * refuses whatever two parsers could read in two ways: line ends other than CRLF, folded lines,
 * control characters, space around names, odd start lines. llhttp sees only what came through here,
 * so how strict we are does not depend on its version.
 *
 * It keeps no bytes, may be given any split of the input, and gives the same answer for each. */
#pragma once

#include "codec/http.h"

enum h1_scan_kind {
	H1_SCAN_REQUEST,
	H1_SCAN_RESPONSE,
	H1_SCAN_REQUEST_TRAILER,
	H1_SCAN_RESPONSE_TRAILER
};

enum h1_scan_state {
	H1_SCAN_METHOD,
	H1_SCAN_TARGET,
	H1_SCAN_VERSION,
	H1_SCAN_STATUS, /* "HTTP/1.1 200" */
	H1_SCAN_REASON,
	H1_SCAN_START_LF, /* the start line's CR was read */
	H1_SCAN_LINE,	  /* first byte of a field line or of the end */
	H1_SCAN_NAME,
	H1_SCAN_VALUE,
	H1_SCAN_VALUE_LF,
	H1_SCAN_END_LF,
	H1_SCAN_DONE,
	H1_SCAN_BAD,
};

struct h1_scan {
	enum h1_scan_state state;
	enum http_bad bad; /* H1_SCAN_BAD */
	bool underscore_refused;
	uint8_t literal_at; /* VERSION, STATUS: place in the expected text */
	uint16_t field_count;
	uint32_t bytes;	       /* read so far */
	uint32_t method_bytes; /* the start line of a request: where its parts end */
	uint32_t target_bytes;
};

void h1_scan_init(struct h1_scan *s, enum h1_scan_kind kind);
/* Returns how many bytes belong to the section; all of them unless the state is DONE or BAD. */
size_t h1_scan_read(
	struct h1_scan *s, const struct http_limits *limits, const uint8_t *bytes, size_t len);

/* A byte that may stand in a token (RFC 9110 5.6.2), or in a field value. */
bool h1_byte_is_token(uint8_t byte);
bool h1_byte_is_value(uint8_t byte);
