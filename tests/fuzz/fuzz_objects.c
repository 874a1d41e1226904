/* SPDX-License-Identifier: Apache-2.0 */
/* A mesh file as objects, and a node's record behind a line "----": what can be read has a text
 * that is read to the same object; all of them joined are the same objects; and they are checked,
 * as given and as standing, whatever they say. */
#include "conf/objects.h"

#include "fuzz/fuzz.h"
#include <stdlib.h>

/* libconfig 1.5 loses the texts in hand when its parser gives up: a few bytes for each broken file.
 */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig.so\n";
}

static void fuzz_add(struct bundle *b, const char *kind, struct str name, struct str text)
{
	struct err err;
	if (bundle_add(b, str_of(kind), name, text, &err) < 0)
		abort();
}

struct fuzz_rows {
	struct conf_object *rows;
	uint32_t count;
};

static bool fuzz_read(struct arena *arena, struct str text, struct fuzz_rows *ret)
{
	struct conf_report report;
	struct bundle b;
	bundle_init(&b);
	conf_report_init(&report);
	fuzz_add(&b, "mesh", STR("x.conf"), text);
	int r = conf_objects_read(&b, arena, &ret->rows, &ret->count, &report);
	ASSERT((r < 0) == (report.error_count > 0));
	conf_report_done(&report);
	bundle_done(&b);
	return r == 0;
}

static void fuzz_check(const struct bundle *b)
{
	struct conf_report report;
	conf_report_init(&report);
	int r = conf_objects_check(b, STR("prod.example"), &report);
	ASSERT((r < 0) == (report.error_count > 0));
	conf_report_done(&report);
}

static void fuzz_rows(struct arena *arena, const struct fuzz_rows *all, struct str record)
{
	struct bundle standing;
	struct fuzz_rows again;
	struct str *texts = arena_take(arena, (all->count + 1) * sizeof(*texts));
	bundle_init(&standing);
	fuzz_add(&standing, "node", STR("vm-a"), record);
	for (uint32_t i = 0; i < all->count; i++) {
		const struct conf_object *row = &all->rows[i];
		texts[i] = row->text;
		ASSERT(fuzz_read(arena, row->text, &again) && again.count == 1);
		ASSERT(str_eq(again.rows[0].key, row->key));
		ASSERT(str_eq(again.rows[0].text, row->text));
		fuzz_add(&standing, i % 4 == 3 ? "gone" : "object", row->key, row->text);
	}
	struct str joined = conf_objects_join(arena, texts, all->count);
	ASSERT(joined.at && fuzz_read(arena, joined, &again) && again.count == all->count);
	fuzz_check(&standing);
	bundle_done(&standing);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str text = {(const char *)bytes, len}, record = STR("");
	const char *cut = len ? memmem(bytes, len, "\n----\n", 6) : NULL;
	struct fuzz_rows all = {0};
	struct arena arena;
	struct bundle given;
	if (cut) {
		text.len = (size_t)(cut - text.at) + 1;
		record = (struct str){cut + 6, len - text.len - 5};
	}
	arena_init(&arena, 64 << 20);
	bundle_init(&given);
	fuzz_add(&given, "mesh", STR("x.conf"), text);
	fuzz_add(&given, "object", STR("service/standing"), text);
	fuzz_add(&given, "node", STR("vm-a"), record);
	fuzz_check(&given);
	if (fuzz_read(&arena, text, &all))
		fuzz_rows(&arena, &all, record);
	bundle_done(&given);
	arena_done(&arena);
	return 0;
}
