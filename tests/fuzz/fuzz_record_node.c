/* SPDX-License-Identifier: Apache-2.0 */
/* A node's record: whatever is taken is valid in all its parts, and its text is taken as the same
 * record again. */
#include "fuzz/fuzz.h"

#include "mesh/identity.h"
#include "mesh/record.h"
#include <stdlib.h>

static void fuzz_check_endpoint(const struct record_endpoint *e)
{
	ASSERT(identity_service_valid(e->service));
	ASSERT(e->version.len == 0 || record_word_valid(e->version));
	ASSERT(e->weight >= 1 && e->weight <= 1000);
	ASSERT(e->address_count >= 1 && e->address_count <= RECORD_ADDRESSES_MAX);
	for (uint32_t i = 0; i < e->address_count; i++)
		ASSERT(e->addresses[i].family && e->addresses[i].port);
}

static void fuzz_check(const struct record *r)
{
	ASSERT(record_node_valid(r->node));
	ASSERT(r->zone.len == 0 || record_word_valid(r->zone));
	ASSERT(r->version.len == 0 || record_word_valid(r->version));
	ASSERT(r->endpoint_count <= RECORD_ENDPOINTS_MAX);
	for (uint32_t i = 0; i < r->endpoint_count; i++)
		fuzz_check_endpoint(&r->endpoints[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct arena arena;
	struct record record, again;
	struct err err;
	arena_init(&arena, 1 << 20);
	if (record_parse((struct str){(const char *)bytes, len}, &arena, &record, &err) == 0) {
		fuzz_check(&record);
		struct str text = record_text(&arena, &record);
		ASSERT(text.at || len > RECORD_BYTES_MAX / 2); /* ports may have been in brackets */
		if (text.at) {
			if (record_parse(text, &arena, &again, &err) < 0)
				abort();
			ASSERT(str_eq(record_text(&arena, &again), text));
			ASSERT(!record_newer(&record, &again) && !record_newer(&again, &record));
		}
	}
	arena_done(&arena);
	return 0;
}
