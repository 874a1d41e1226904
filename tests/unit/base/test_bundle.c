/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bundle.h"

#include "base/assert.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void fill(struct bundle *b)
{
	struct err err;
	bundle_init(b);
	assert_int_equal(bundle_add(b, STR("conf"), STR("/etc/a"), STR("node: {}"), &err), 0);
	assert_int_equal(bundle_add(b, STR("mesh"), STR("m1"), STR(""), &err), 0);
	assert_int_equal(bundle_add(b, STR("mesh"), STR("m2"), STR("with\0zero"), &err), 0);
}

/* An ordinary memfd with these bytes, as a torn or foreign one would be. */
static int memfd_of(const void *bytes, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	return fd;
}

static void test_items_by_kind_and_name(void **state)
{
	struct bundle b;
	fill(&b);
	const struct bundle_item *first = bundle_next(&b, "mesh", NULL);
	assert_true(str_eq(first->name, STR("m1")));
	const struct bundle_item *second = bundle_next(&b, "mesh", first);
	assert_true(str_eq(second->text, STR("with\0zero")));
	assert_null(bundle_next(&b, "mesh", second));
	assert_ptr_equal(bundle_find(&b, "mesh", STR("m2")), second);
	assert_null(bundle_find(&b, "mesh", STR("m3")));
	assert_null(bundle_find(&b, "conf", STR("m2")));
	assert_int_equal(first->name.at[first->name.len], '\0');
	bundle_done(&b);
}

static void test_through_a_memfd(void **state)
{
	struct bundle b, copy;
	struct err err;
	fill(&b);
	int fd = bundle_to_memfd(&b, &err);
	assert_true(fd >= 0);
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
	assert_int_equal(fcntl(fd, F_GET_SEALS), seals);
	bundle_init(&copy);
	assert_int_equal(bundle_from_memfd(&copy, fd, &err), 0);
	assert_int_equal(copy.bytes, b.bytes);
	const struct bundle_item *x = NULL, *y = NULL;
	for (int i = 0; i < 2; i++) {
		x = bundle_next(&b, "mesh", x);
		y = bundle_next(&copy, "mesh", y);
		assert_true(str_eq(x->name, y->name) && str_eq(x->text, y->text));
	}
	assert_true(str_eq(bundle_next(&copy, "conf", NULL)->text, STR("node: {}")));
	close(fd);
	bundle_done(&b);
	bundle_done(&copy);
}

static void test_every_cut_is_an_error(void **state)
{
	struct bundle b, copy;
	struct err err;
	fill(&b);
	int whole = bundle_to_memfd(&b, &err);
	off_t size = lseek(whole, 0, SEEK_END);
	char *bytes = malloc((size_t)size + 1);
	assert_int_equal(pread(whole, bytes, (size_t)size, 0), size);
	bundle_init(&copy);
	for (off_t cut = 0; cut < size; cut++) {
		int fd = memfd_of(bytes, (size_t)cut);
		assert_int_equal(bundle_from_memfd(&copy, fd, &err), -EBADMSG);
		assert_true(list_empty(&copy.items));
		close(fd);
	}
	bytes[size] = 'x';
	int fd = memfd_of(bytes, (size_t)size + 1);
	assert_int_equal(bundle_from_memfd(&copy, fd, &err), -EBADMSG);
	close(fd);
	close(whole);
	free(bytes);
	bundle_done(&b);
	bundle_done(&copy);
}

static void test_lengths_that_lie(void **state)
{
	/* magic, one item, lengths that would wrap 32 bits */
	uint32_t words[] = {0x72696e67, 1, 0xffffffff, 0xffffffff, 2, 0};
	struct bundle b;
	struct err err;
	bundle_init(&b);
	int fd = memfd_of(words, sizeof(words));
	assert_int_equal(bundle_from_memfd(&b, fd, &err), -EBADMSG);
	close(fd);
	words[0]++;
	fd = memfd_of(words, sizeof(words));
	assert_int_equal(bundle_from_memfd(&b, fd, &err), -EBADMSG);
	close(fd);
}

static void test_files(void **state)
{
	struct bundle b;
	struct err err;
	char path[] = "/tmp/test-bundle-XXXXXX", missing[] = "/nonexistent/file";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "text", 4), 4);
	close(fd);
	bundle_init(&b);
	assert_int_equal(bundle_add_file(&b, STR("conf"), path, &err), 0);
	assert_true(str_eq(bundle_find(&b, "conf", str_of(path))->text, STR("text")));
	unlink(path);
	assert_int_equal(bundle_add_file(&b, STR("conf"), missing, &err), -ENOENT);
	assert_non_null(strstr(err.text, missing));
	assert_int_equal(bundle_add_file(&b, STR("conf"), "/tmp", &err), -EINVAL);
	assert_int_equal(bundle_add_file(&b, STR("conf"), "/dev/zero", &err), -EINVAL);
	bundle_done(&b);
}

static void test_a_fifo_does_not_block(void **state)
{
	struct bundle b;
	struct err err;
	char directory[] = "/tmp/test-bundle-XXXXXX", path[64];
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/fifo", directory);
	assert_int_equal(mkfifo(path, 0600), 0);
	bundle_init(&b);
	assert_int_equal(bundle_add_file(&b, STR("conf"), path, &err), -EINVAL);
	unlink(path);
	rmdir(directory);
}

static void test_too_large(void **state)
{
	struct bundle b;
	struct err err;
	bundle_init(&b);
	size_t len = 33u << 20;
	char *text = calloc(1, len);
	assert_int_equal(bundle_add(&b, STR("mesh"), STR("a"), (struct str){text, len}, &err), 0);
	assert_int_equal(
		bundle_add(&b, STR("mesh"), STR("b"), (struct str){text, len}, &err), -EFBIG);
	free(text);
	bundle_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_items_by_kind_and_name),
		cmocka_unit_test(test_through_a_memfd),
		cmocka_unit_test(test_every_cut_is_an_error),
		cmocka_unit_test(test_lengths_that_lie),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_a_fifo_does_not_block),
		cmocka_unit_test(test_too_large),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
