/* SPDX-License-Identifier: Apache-2.0 */
/* A head, read: whatever it is, nobody signed it. What is read is within the bounds, and written
 * with a signature it is read the same and verifies. */
#include "state/object.h"

#include "base/bundle.h"
#include "fuzz/fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct fuzz_pair {
	struct operator_key *key;
	struct operator_keys *keys;
};

static struct fuzz_pair fuzz_pair_new(void)
{
	struct fuzz_pair pair = {0};
	char dir[] = "/tmp/ringmain-fuzz-XXXXXX", path[64], public_path[80];
	struct bundle b;
	struct err err;
	bundle_init(&b);
	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof(path), "%s/k", dir);
	snprintf(public_path, sizeof(public_path), "%s/k.pub", dir);
	if (operator_key_new(path, &err) < 0 || operator_key_load(path, &pair.key, &err) < 0 ||
		bundle_add_file(&b, STR("operator"), public_path, &err) < 0 ||
		operator_keys_new(&b, &pair.keys, &err) < 0)
		abort();
	unlink(path);
	unlink(public_path);
	rmdir(dir);
	bundle_done(&b);
	return pair;
}

static void fuzz_again(const struct head *head, const struct fuzz_pair *pair)
{
	struct arena arena;
	struct head again;
	struct err err;
	arena_init(&arena, 65536);
	struct str text = head_sign(&arena, head, pair->key);
	ASSERT(text.at);
	/* A signature makes a head of nearly the greatest length too long. */
	if (text.len <= HEAD_TEXT_MAX) {
		ASSERT(head_verify(text, head->mesh, pair->keys, &again, &err) == 0);
		ASSERT(again.revision == head->revision && again.time_s == head->time_s);
		ASSERT(str_eq(again.who, head->who) && str_eq(again.why, head->why));
		ASSERT(again.count == head->count);
		ASSERT(memcmp(again.digest, head->digest, sizeof(head->digest)) == 0);
		ASSERT(str_eq(head->mesh, STR("another mesh")) ||
			head_verify(text, STR("another mesh"), pair->keys, &again, &err) < 0);
	}
	arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct fuzz_pair pair;
	struct str text = {(const char *)bytes, len};
	struct head head;
	struct err err;
	if (!pair.key)
		pair = fuzz_pair_new();
	ASSERT(head_verify(text, STR("prod.example"), pair.keys, &head, &err) < 0);
	if (head_parse(text, &head, &err) == 0)
		fuzz_again(&head, &pair);
	return 0;
}
