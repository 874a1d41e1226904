/* SPDX-License-Identifier: Apache-2.0 */
/* A response from anybody, to each kind of request, whole and in pieces. */
#include "fuzz/fuzz.h"
#include "unit/codec/h1_trace.h"

static struct h1_trace whole, pieces;

static void response_ask(struct h1_trace *t, size_t knob)
{
	static const char *const methods[] = {"GET", "HEAD", "CONNECT", "GET"};
	t->side = HTTP_CLIENT;
	t->limits = &http_limits_default;
	t->method = methods[knob % 4];
	t->upgrade = knob % 4 == 3 ? "websocket" : NULL;
	t->eof = knob % 8 >= 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	/* One byte in front says what was asked, and how the answer is cut. */
	if (len == 0)
		return 0;
	size_t knob = bytes[0];
	response_ask(&whole, knob);
	response_ask(&pieces, knob);
	h1_trace_run(&whole, bytes + 1, len - 1);
	pieces.cut = knob * len / 256;
	pieces.step = knob % 3;
	h1_trace_run(&pieces, bytes + 1, len - 1);
	ASSERT(whole.len == pieces.len && memcmp(whole.text, pieces.text, whole.len) == 0);
	return 0;
}
