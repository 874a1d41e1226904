/* SPDX-License-Identifier: Apache-2.0 */
/* The kept state: a file with a wrong checksum is refused whatever it holds, so the bundle behind
 * it is also read as if the checksum were right. What is taken can be kept, and is read back as the
 * same. */
#include "fuzz/fuzz.h"

#include "base/bundle.h"
#include "state/disk.h"
#include <unistd.h>

static void fuzz_check_same(const struct bundle *a, const struct bundle *b)
{
	struct list *it = b->items.next;
	LIST_EACH (&a->items, node) {
		ASSERT(it != &b->items);
		const struct bundle_item *x = CONTAINER_OF(node, struct bundle_item, node);
		const struct bundle_item *y = CONTAINER_OF(it, struct bundle_item, node);
		ASSERT(str_eq(x->kind, y->kind) && str_eq(x->name, y->name) &&
			str_eq(x->text, y->text));
		it = it->next;
	}
	ASSERT(it == &b->items);
}

static void fuzz_again(const struct bundle *b)
{
	struct bundle again;
	struct err err;
	int fd = bundle_to_memfd(b, &err);
	if (fd < 0)
		return; /* no descriptor, no memory */
	bundle_init(&again);
	ASSERT(bundle_from_memfd(&again, fd, &err) == 0);
	fuzz_check_same(b, &again);
	bundle_done(&again);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct bundle file, body;
	struct err err;
	bundle_init(&file);
	bundle_init(&body);
	if (disk_read((struct str){(const char *)bytes, len}, &file, &err) == 0)
		fuzz_again(&file);
	if (bundle_from_bytes(&body, bytes, len, &err) == 0)
		fuzz_again(&body);
	bundle_done(&file);
	bundle_done(&body);
	return 0;
}
