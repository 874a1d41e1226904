/* SPDX-License-Identifier: Apache-2.0 */
#include "keys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (1u << 20) /* a certificate chain or a list of roots is far smaller */

static int file_check(
	const char *path, int fd, enum file_secrecy secrecy, struct stat *ret_st, struct err *err)
{
	if (fstat(fd, ret_st) < 0)
		return err_set(err, errno, "%s: %m", path);
	if (!S_ISREG(ret_st->st_mode))
		return err_set(err, EINVAL, "%s: not a regular file", path);
	if (ret_st->st_size > FILE_BYTES_MAX)
		return err_set(err, EFBIG, "%s: larger than %u KiB", path, FILE_BYTES_MAX >> 10);
	if (secrecy == FILE_SECRET && (ret_st->st_mode & 077))
		return err_set(err, EACCES,
			"%s: others than its owner may use it (mode %04o); run: chmod 600 %s", path,
			(unsigned)ret_st->st_mode & 07777, path);
	return 0;
}

static int file_read_open(
	const char *path, int fd, enum file_secrecy secrecy, struct str *ret_text, struct err *err)
{
	struct stat st;
	int r = file_check(path, fd, secrecy, &st, err);
	if (r < 0)
		return r;
	size_t size = (size_t)st.st_size, len = 0;
	char *text = malloc(size + 1);
	if (!text)
		return err_set(err, ENOMEM, "%s: out of memory", path);
	while (len < size) {
		ssize_t n = read(fd, text + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = err_set(err, errno, "%s: %m", path);
			file_text_free((struct str){text, len});
			return r;
		}
		if (n == 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	*ret_text = (struct str){text, len};
	return 0;
}

int file_read(const char *path, enum file_secrecy secrecy, struct str *ret_text, struct err *err)
{
	/* O_NONBLOCK: a FIFO in the directory must not hold the keeper up. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(err, errno, "%s: %m", path);
	int r = file_read_open(path, fd, secrecy, ret_text, err);
	close(fd);
	return r;
}

void file_text_free(struct str text)
{
	char *at = (char *)(uintptr_t)text.at;
	if (at)
		explicit_bzero(at, text.len);
	free(at);
}

static int file_fill(int fd, struct str text)
{
	while (text.len > 0) {
		ssize_t n = write(fd, text.at, text.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text.at += n;
		text.len -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

int file_sync_directory(const char *path)
{
	char directory[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	if (len >= sizeof(directory))
		return -ENAMETOOLONG;
	memcpy(directory, path, len);
	directory[len] = '\0';
	int fd = open(len ? directory : slash ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* EINVAL: a file system on which a directory cannot be written out by itself. */
	int r = fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
	close(fd);
	return r;
}

int file_write(const char *path, enum file_secrecy secrecy, enum file_presence presence,
	struct str text, struct err *err)
{
	char temporary[PATH_MAX];
	int n = snprintf(temporary, sizeof(temporary), "%s.new-XXXXXX", path);
	if (n < 0 || (size_t)n >= sizeof(temporary))
		return err_set(err, ENAMETOOLONG, "%s: name too long", path);
	int fd = mkostemp(temporary, O_CLOEXEC); /* made with 0600 */
	if (fd < 0)
		return err_set(err, errno, "%s: %m", temporary);
	int r = file_fill(fd, text);
	if (r == 0 && fchmod(fd, secrecy == FILE_SECRET ? 0600 : 0644) < 0)
		r = -errno;
	close(fd);
	unsigned flags = presence == FILE_NEW ? RENAME_NOREPLACE : 0;
	if (r == 0 && renameat2(AT_FDCWD, temporary, AT_FDCWD, path, flags) < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	else
		r = file_sync_directory(path);
	return r < 0 ? err_set(err, -r, "%s: %s", path, strerror(-r)) : 0;
}
