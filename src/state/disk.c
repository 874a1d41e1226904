/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISK_MAGIC	"ringmain-state 1 "
#define DISK_BYTES_MAX	(160u << 20)
#define DISK_HEAD_MAX	128
#define DISK_DIGEST_HEX (2 * SHA256_DIGEST_LENGTH)

static void disk_digest(const void *bytes, size_t len, char ret_hex[DISK_DIGEST_HEX + 1])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA256(bytes, len, digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
}

/* --- writing --- */

static int disk_write(int fd, const char *name, struct str part, struct err *err)
{
	while (part.len > 0) {
		ssize_t n = write(fd, part.at, part.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(err, errno, "%s: %m", name);
		part.at += n;
		part.len -= (size_t)n;
	}
	return 0;
}

/* A new file of these parts, on disk when this returns; not yet under its name. */
static int disk_write_new(
	int dir_fd, const char *name, struct str head, struct str body, struct err *err)
{
	int fd = openat(dir_fd, name,
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return err_set(err, errno, "%s: %m", name);
	int r = disk_write(fd, name, head, err);
	if (r == 0)
		r = disk_write(fd, name, body, err);
	if (r == 0 && fsync(fd) < 0)
		r = err_set(err, errno, "%s: %m", name);
	close(fd);
	if (r < 0)
		unlinkat(dir_fd, name, 0);
	return r;
}

static int disk_rename(int dir_fd, const char *from, const char *to, struct err *err)
{
	if (renameat(dir_fd, from, dir_fd, to) < 0)
		return err_set(err, errno, "%s to %s: %m", from, to);
	return 0;
}

static int disk_save_bytes(int dir_fd, struct str body, struct err *err)
{
	char head[DISK_HEAD_MAX], hex[DISK_DIGEST_HEX + 1];
	disk_digest(body.at, body.len, hex);
	int len = snprintf(head, sizeof(head), DISK_MAGIC "%zu %s\n", body.len, hex);
	int r = disk_write_new(
		dir_fd, DISK_FILE ".new", (struct str){head, (size_t)len}, body, err);
	if (r == 0 && faccessat(dir_fd, DISK_FILE, F_OK, 0) == 0)
		r = disk_rename(dir_fd, DISK_FILE, DISK_FILE_OLD, err);
	if (r == 0)
		r = disk_rename(dir_fd, DISK_FILE ".new", DISK_FILE, err);
	if (r == 0 && fsync(dir_fd) < 0)
		r = err_set(err, errno, "the state directory: %m");
	return r;
}

int disk_save(int dir_fd, const struct bundle *b, struct err *err)
{
	struct stat st;
	int fd = bundle_to_memfd(b, err);
	if (fd < 0)
		return fd;
	void *bytes = MAP_FAILED;
	if (fstat(fd, &st) == 0)
		bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	int r = bytes == MAP_FAILED ? err_set(err, errno, "the state: %m") : 0;
	if (r == 0) {
		r = disk_save_bytes(dir_fd, (struct str){bytes, (size_t)st.st_size}, err);
		munmap(bytes, (size_t)st.st_size);
	}
	close(fd);
	return r;
}

int disk_save_text(int dir_fd, const char *name, struct str text, struct err *err)
{
	char fresh[64];
	snprintf(fresh, sizeof(fresh), "%s.new", name);
	int r = disk_write_new(dir_fd, fresh, text, STR_NONE, err);
	return r < 0 ? r : disk_rename(dir_fd, fresh, name, err);
}

/* --- reading --- */

int disk_read(struct str file, struct bundle *b, struct err *err)
{
	char hex[DISK_DIGEST_HEX + 1];
	const char *end =
		memchr(file.at, '\n', file.len < DISK_HEAD_MAX ? file.len : DISK_HEAD_MAX);
	if (!end || !str_starts(file, STR(DISK_MAGIC)))
		return err_set(err, EBADMSG, "not a state file of this version");
	struct str head = {file.at + sizeof(DISK_MAGIC) - 1, 0};
	head.len = (size_t)(end - head.at);
	struct str body = {end + 1, file.len - (size_t)(end + 1 - file.at)};
	const char *space = memchr(head.at, ' ', head.len);
	uint64_t len = 0;
	if (!space || !str_to_u64((struct str){head.at, (size_t)(space - head.at)}, &len))
		return err_set(err, EBADMSG, "not a state file of this version");
	if (len != body.len)
		return err_set(
			err, EBADMSG, "torn: %zu bytes of %llu", body.len, (unsigned long long)len);
	struct str said = {space + 1, (size_t)(end - space - 1)};
	disk_digest(body.at, body.len, hex);
	if (!str_eq(said, str_of(hex)))
		return err_set(err, EBADMSG, "damaged: its checksum is another");
	return bundle_from_bytes(b, body.at, body.len, err);
}

/* The whole file in memory of the caller's. */
static int disk_slurp(int fd, size_t bytes_max, char **ret_text, size_t *ret_len, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_set(err, errno, "%m");
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > bytes_max)
		return err_set(
			err, EFBIG, "not a regular file, or larger than %zu bytes", bytes_max);
	char *text = malloc((size_t)st.st_size + 1);
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	size_t len = 0;
	while (len < (size_t)st.st_size) {
		ssize_t n = read(fd, text + len, (size_t)st.st_size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	*ret_text = text;
	*ret_len = len;
	return 0;
}

static int disk_open(int dir_fd, const char *name, struct err *err)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd < 0 ? err_set(err, errno, "%s: %m", name) : fd;
}

int disk_load(int dir_fd, const char *name, struct bundle *b, struct err *err)
{
	char *text;
	size_t len;
	struct err why;
	int fd = disk_open(dir_fd, name, err);
	if (fd < 0)
		return fd;
	int r = disk_slurp(fd, DISK_BYTES_MAX, &text, &len, &why);
	close(fd);
	if (r == 0) {
		r = disk_read((struct str){text, len}, b, &why);
		free(text);
	}
	return r < 0 ? err_set(err, -r, "%s: %s", name, why.text) : 0;
}

int disk_load_text(int dir_fd, const char *name, char *text, size_t size, struct err *err)
{
	char *all;
	size_t len;
	struct err why;
	text[0] = '\0';
	int fd = disk_open(dir_fd, name, err);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	int r = disk_slurp(fd, size - 1, &all, &len, &why);
	close(fd);
	if (r < 0)
		return err_set(err, -r, "%s: %s", name, why.text);
	memcpy(text, all, len + 1);
	free(all);
	return 0;
}
