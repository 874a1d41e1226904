/* SPDX-License-Identifier: Apache-2.0 */
/* Less of a good header asks for more, less of a bad one does that or is bad; what was read can be
 * written, and is read the same again. */
#include "codec/preamble.h"

#include "fuzz/fuzz.h"

static void check_prefixes(
	const uint8_t *bytes, size_t len, enum preamble_result result, size_t used)
{
	struct preamble p;
	size_t ignored;
	for (size_t n = 0; n < len; n++) {
		enum preamble_result earlier = preamble_read(bytes, n, &p, &ignored);
		if (result == PREAMBLE_DONE)
			ASSERT(earlier == (n < used ? PREAMBLE_MORE : PREAMBLE_DONE));
		else
			ASSERT(earlier == PREAMBLE_MORE || earlier == result);
	}
}

static void check_round_trip(const struct preamble *p)
{
	uint8_t bytes[PREAMBLE_BYTES_MAX];
	struct preamble again;
	size_t used, len = preamble_write(p, bytes);
	ASSERT(preamble_read(bytes, len, &again, &used) == PREAMBLE_DONE);
	ASSERT(used == len);
	ASSERT(address_equal(&p->source, &again.source));
	ASSERT(address_equal(&p->destination, &again.destination));
	ASSERT(p->authority_len == again.authority_len);
	ASSERT(memcmp(p->authority, again.authority, p->authority_len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct preamble p;
	size_t used = 0;
	enum preamble_result result = preamble_read(bytes, len, &p, &used);
	ASSERT(result != PREAMBLE_MORE || len < PREAMBLE_BYTES_MAX);
	ASSERT(used <= len);
	check_prefixes(bytes, len, result, used);
	if (result == PREAMBLE_DONE)
		check_round_trip(&p);
	return 0;
}
