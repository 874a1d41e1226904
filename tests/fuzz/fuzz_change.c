/* SPDX-License-Identifier: Apache-2.0 */
/* A change's text: what can be read can be written, byte for byte; what can be carried out can be
 * undone; and what made one set of another is found again between the two. */
#include "state/object.h"

#include "fuzz/fuzz.h"
#include <stdlib.h>

#define FUZZ_CHANGES_MAX 64

static uint32_t fuzz_read(struct str text, struct change *changes)
{
	uint32_t count = 0;
	while (count < FUZZ_CHANGES_MAX && change_next(&text, &changes[count]) == 0)
		count++;
	return text.len == 0 ? count : 0;
}

static bool fuzz_has_twice(const struct change *changes, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t j = 0; j < i; j++) {
			if (str_eq(changes[i].key, changes[j].key))
				return true;
		}
	}
	return false;
}

/* What stood before; false: not all of it is an object. */
static bool fuzz_before(const struct change *changes, uint32_t count, struct object_set *set)
{
	struct err err;
	for (uint32_t i = 0; i < count; i++) {
		if (changes[i].before.at &&
			object_set_put(set, changes[i].key, changes[i].before, &err) < 0)
			return false;
	}
	return true;
}

static void fuzz_there_and_back(struct arena *arena, struct str text, struct object_set *set)
{
	struct object_set before;
	struct head head;
	struct err err;
	uint32_t count;
	if (object_set_copy(set, &before, &err) < 0)
		abort();
	if (change_apply(text, set, &err) == 0) {
		struct change *changes = change_between(arena, &before, set, &count);
		ASSERT(changes);
		struct str again = change_text(arena, changes, count);
		head_set(&head, &before);
		ASSERT(change_undo(text, set, &err) == 0);
		ASSERT(head_fits(&head, set));
		ASSERT(change_apply(again, set, &err) == 0);
		ASSERT(change_undo(again, set, &err) == 0);
		ASSERT(head_fits(&head, set));
	}
	object_set_done(&before);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct change changes[FUZZ_CHANGES_MAX];
	struct object_set set;
	struct arena arena;
	struct str text = {(const char *)bytes, len};
	uint32_t count = fuzz_read(text, changes);
	object_set_init(&set);
	arena_init(&arena, 16 << 20);
	if (count > 0) {
		struct change again[FUZZ_CHANGES_MAX];
		struct str written = change_text(&arena, changes, count);
		ASSERT(fuzz_read(written, again) == count);
		if (!fuzz_has_twice(changes, count) && fuzz_before(changes, count, &set))
			fuzz_there_and_back(&arena, written, &set);
	}
	arena_done(&arena);
	object_set_done(&set);
	return 0;
}
