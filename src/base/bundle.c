/* SPDX-License-Identifier: Apache-2.0 */
/* In the memfd: a magic, then per item three lengths and the three texts. Both ends are the same
 * program; the reader still checks every length. */
#include "base/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUNDLE_BYTES_MAX      (64u << 20)
#define BUNDLE_FILE_BYTES_MAX (16u << 20)
#define BUNDLE_MAGIC	      0x72696e67u

struct bundle_head {
	uint32_t magic, item_count;
};

struct bundle_lengths {
	uint32_t kind, name, text;
};

void bundle_init(struct bundle *b)
{
	list_init(&b->items);
	b->bytes = 0;
}

void bundle_done(struct bundle *b)
{
	struct list *node;
	while ((node = list_pop(&b->items))) {
		struct bundle_item *item = CONTAINER_OF(node, struct bundle_item, node);
		explicit_bzero((char *)(uintptr_t)item->text.at, item->text.len);
		free(item);
	}
	b->bytes = 0;
}

static struct str bundle_copy(char **at, struct str s)
{
	struct str copy = {*at, s.len};
	if (s.len > 0)
		memcpy(*at, s.at, s.len);
	(*at)[s.len] = '\0';
	*at += s.len + 1;
	return copy;
}

int bundle_add(struct bundle *b, struct str kind, struct str name, struct str text, struct err *err)
{
	size_t bytes = kind.len + name.len + text.len;
	if (bytes > BUNDLE_BYTES_MAX - b->bytes)
		return err_set(err, EFBIG, "configuration is larger than %u MiB in all",
			BUNDLE_BYTES_MAX >> 20);
	struct bundle_item *item = malloc(sizeof(*item) + bytes + 3);
	if (!item)
		return err_set(err, ENOMEM, "out of memory");
	char *at = (char *)(item + 1);
	item->kind = bundle_copy(&at, kind);
	item->name = bundle_copy(&at, name);
	item->text = bundle_copy(&at, text);
	list_add_last(&b->items, &item->node);
	b->bytes += bytes;
	return 0;
}

/* Reads up to `size` bytes; the count, or -errno. */
static ssize_t bundle_read_all(int fd, char *bytes, size_t size)
{
	size_t len = 0;
	while (len < size) {
		ssize_t n = read(fd, bytes + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

static int bundle_add_open_file(
	struct bundle *b, struct str kind, const char *path, int fd, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_set(err, errno, "%s: %m", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s: not a regular file", path);
	if (st.st_size > BUNDLE_FILE_BYTES_MAX)
		return err_set(
			err, EFBIG, "%s: larger than %u MiB", path, BUNDLE_FILE_BYTES_MAX >> 20);
	size_t size = (size_t)st.st_size;
	char *text = malloc(size + 1);
	if (!text)
		return err_set(err, ENOMEM, "%s: out of memory", path);
	ssize_t n = bundle_read_all(fd, text, size);
	int r = n < 0 ? err_set(err, (int)-n, "%s: %s", path, strerror((int)-n))
		      : bundle_add(b, kind, str_of(path), (struct str){text, (size_t)n}, err);
	free(text);
	return r;
}

int bundle_add_file(struct bundle *b, struct str kind, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(err, errno, "%s: %m", path);
	int r = bundle_add_open_file(b, kind, path, fd, err);
	close(fd);
	return r;
}

const struct bundle_item *bundle_next(
	const struct bundle *b, const char *kind, const struct bundle_item *after)
{
	const struct list *it = after ? after->node.next : b->items.next;
	for (; it != &b->items; it = it->next) {
		const struct bundle_item *item = CONTAINER_OF(it, struct bundle_item, node);
		if (str_eq(item->kind, str_of(kind)))
			return item;
	}
	return NULL;
}

const struct bundle_item *bundle_find(const struct bundle *b, const char *kind, struct str name)
{
	const struct bundle_item *item = NULL;
	while ((item = bundle_next(b, kind, item))) {
		if (str_eq(item->name, name))
			return item;
	}
	return NULL;
}

static bool bundle_write_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;
	while (len > 0) {
		ssize_t n = write(fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static bool bundle_write_items(const struct bundle *b, int fd)
{
	struct bundle_head head = {.magic = BUNDLE_MAGIC};
	LIST_EACH (&b->items, it)
		head.item_count++;
	if (!bundle_write_all(fd, &head, sizeof(head)))
		return false;
	LIST_EACH (&b->items, it) {
		const struct bundle_item *item = CONTAINER_OF(it, struct bundle_item, node);
		struct bundle_lengths lengths = {(uint32_t)item->kind.len, (uint32_t)item->name.len,
			(uint32_t)item->text.len};
		if (!bundle_write_all(fd, &lengths, sizeof(lengths)) ||
			!bundle_write_all(fd, item->kind.at, item->kind.len) ||
			!bundle_write_all(fd, item->name.at, item->name.len) ||
			!bundle_write_all(fd, item->text.at, item->text.len))
			return false;
	}
	return true;
}

int bundle_to_memfd(const struct bundle *b, struct err *err)
{
	int fd = memfd_create("ringmain-bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_set(err, errno, "memfd_create: %m");
	if (!bundle_write_items(b, fd) || lseek(fd, 0, SEEK_SET) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) <
			0) {
		int r = err_set(err, errno ? errno : EIO, "writing the configuration memfd: %m");
		close(fd);
		return r;
	}
	return fd;
}

static bool bundle_cut(const char **at, size_t *left, void *ret, size_t len)
{
	if (*left < len)
		return false;
	memcpy(ret, *at, len);
	*at += len;
	*left -= len;
	return true;
}

static int bundle_parse(struct bundle *b, const char *at, size_t left, struct err *err)
{
	struct bundle_head head;
	if (!bundle_cut(&at, &left, &head, sizeof(head)) || head.magic != BUNDLE_MAGIC)
		return err_set(err, EBADMSG, "configuration memfd: not a bundle");
	for (uint32_t i = 0; i < head.item_count; i++) {
		struct bundle_lengths n;
		if (!bundle_cut(&at, &left, &n, sizeof(n)) ||
			(uint64_t)n.kind + n.name + n.text > left)
			return err_set(err, EBADMSG, "configuration memfd: item %u is cut off", i);
		struct str kind = {at, n.kind}, name = {at + n.kind, n.name},
			   text = {at + n.kind + n.name, n.text};
		int r = bundle_add(b, kind, name, text, err);
		if (r < 0)
			return r;
		size_t bytes = (size_t)n.kind + n.name + n.text;
		at += bytes;
		left -= bytes;
	}
	return left == 0 ? 0
			 : err_set(err, EBADMSG, "configuration memfd: %zu bytes too many", left);
}

int bundle_from_memfd(struct bundle *b, int fd, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_set(err, errno, "configuration memfd: %m");
	if (st.st_size <= 0 || (uint64_t)st.st_size > 2ull * BUNDLE_BYTES_MAX)
		return err_set(err, EBADMSG, "configuration memfd: impossible size");
	size_t size = (size_t)st.st_size;
	void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return err_set(err, errno, "configuration memfd: %m");
	int r = bundle_from_bytes(b, bytes, size, err);
	munmap(bytes, size);
	return r;
}

int bundle_from_bytes(struct bundle *b, const void *bytes, size_t len, struct err *err)
{
	int r = bundle_parse(b, bytes, len, err);
	if (r < 0)
		bundle_done(b);
	return r;
}
