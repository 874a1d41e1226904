/* SPDX-License-Identifier: Apache-2.0 */
/* More bytes never change an answer, and 24 are enough for one. */
#include "codec/sniff.h"

#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	enum sniff sniff = sniff_bytes(bytes, len);
	ASSERT(sniff != SNIFF_MORE || len < 24);
	for (size_t n = 0; n < len && n < 32; n++) {
		enum sniff earlier = sniff_bytes(bytes, n);
		ASSERT(earlier == SNIFF_MORE || earlier == sniff);
	}
	return 0;
}
