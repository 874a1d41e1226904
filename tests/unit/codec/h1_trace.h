/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds bytes to an HTTP/1 codec in pieces and writes down the events as text, so that tests and
 * fuzzers can compare what different splits of the same bytes lead to. Neighbouring body events are
 * one piece of text: where they are cut is the only thing that may depend on the split. */
#pragma once

#include "codec/http.h"

#define H1_TRACE_BYTES_MAX (1024 * 1024)

struct h1_trace {
	enum http_side side;
	const struct http_limits *limits;
	/* Client: the request the bytes answer. Server: answers each request with a 200 without
	 * body, or with the tunnel it asks for. */
	const char *method;
	const char *upgrade;
	bool eof; /* the connection ends after the bytes */

	/* How the bytes are cut: [0, cut), then pieces of `step`; step 0: the rest in one. */
	size_t cut, step;

	size_t len;
	char text[H1_TRACE_BYTES_MAX];
};

/* Fills `text`, ended by NUL. */
void h1_trace_run(struct h1_trace *t, const uint8_t *bytes, size_t len);
/* "GET /a host 1.1 length:3 {Name:value}" */
void h1_trace_head(struct h1_trace *t, const struct http_head *head);
