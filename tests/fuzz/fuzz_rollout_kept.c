/* SPDX-License-Identifier: Apache-2.0 */
/* How far a rollout is, as it is kept on disk: the item's name up to the first line end, then its
 * text. What is taken is kept as the same; its place never goes back. */
#include "fuzz/fuzz.h"

#include "state/mirror.h"

static const struct bundle_item *fuzz_kept(const struct mirror *m, struct bundle *b)
{
	struct err err;
	bundle_init(b);
	ASSERT(mirror_keep(m, STR_NONE, b, &err) == 0);
	return bundle_next(b, "rollout", NULL);
}

static void fuzz_again(const struct mirror *m)
{
	struct mirror other;
	struct bundle b, again;
	struct err err;
	const struct bundle_item *item = fuzz_kept(m, &b);
	ASSERT(item);
	mirror_init(&other);
	ASSERT(mirror_load_rollout(&other, item, &err) == MIRROR_TAKEN);
	ASSERT(mirror_load_rollout(&other, item, &err) == MIRROR_SAME);
	const struct bundle_item *same = fuzz_kept(&other, &again);
	ASSERT(same && str_eq(same->name, item->name) && str_eq(same->text, item->text));
	bundle_done(&again);
	bundle_done(&b);
	mirror_done(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct mirror m;
	struct err err;
	const char *at = (const char *)bytes, *end = len ? memchr(at, '\n', len) : NULL;
	if (!end)
		return 0;
	struct bundle_item item = {
		.name = {at, (size_t)(end - at)}, .text = {end + 1, len - (size_t)(end + 1 - at)}};
	mirror_init(&m);
	int r = mirror_load_rollout(&m, &item, &err);
	ASSERT(r < 0 || r == MIRROR_TAKEN || r == MIRROR_SAME);
	if (r == MIRROR_TAKEN)
		fuzz_again(&m);
	mirror_done(&m);
	return 0;
}
