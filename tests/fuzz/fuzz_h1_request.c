/* SPDX-License-Identifier: Apache-2.0 */
/* The split-invariance property: the events do not depend on how the bytes come in pieces. */
#include "fuzz/fuzz.h"
#include "unit/codec/h1_trace.h"

static struct h1_trace whole, pieces;

static void check_split(const uint8_t *bytes, size_t len, size_t cut, size_t step)
{
	pieces.side = HTTP_SERVER;
	pieces.limits = whole.limits;
	pieces.eof = true;
	pieces.cut = cut;
	pieces.step = step;
	h1_trace_run(&pieces, bytes, len);
	ASSERT(whole.len == pieces.len && memcmp(whole.text, pieces.text, whole.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const struct http_limits small = {
		.head_bytes_max = 256,
		.target_bytes_max = 32,
		.header_count_max = 6,
		.chunk_ext_bytes_max = 8,
		.chunk_bytes_max = 64,
	};
	/* One byte in front says how it is cut. */
	if (len == 0)
		return 0;
	size_t knob = bytes[0];
	whole.side = HTTP_SERVER;
	whole.limits = knob % 2 ? &http_limits_default : &small;
	whole.eof = true;
	h1_trace_run(&whole, bytes + 1, len - 1);
	check_split(bytes + 1, len - 1, 0, 1);
	check_split(bytes + 1, len - 1, knob * len / 256, 0);
	check_split(bytes + 1, len - 1, knob / 16, 1 + knob % 16);
	return 0;
}
