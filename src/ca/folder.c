/* SPDX-License-Identifier: Apache-2.0 */
#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/uio.h>
#include <unistd.h>

#define FOLDER_BYTES_MAX (1u << 30)

static int folder_check(const char *dir, struct err *err)
{
	struct stat st;
	if (stat(dir, &st) < 0 && errno == ENOENT)
		return err_set(err, ENOENT,
			"%s: there is no such directory; make an authority in it: ringmain ca init",
			dir);
	if (stat(dir, &st) < 0)
		return err_set(err, errno, "%s: %m", dir);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ENOTDIR, "%s: no directory", dir);
	if (st.st_mode & 077)
		return err_set(err, EACCES,
			"%s: others may look into it (mode %04o); run: chmod 700 %s", dir,
			(unsigned)st.st_mode & 07777, dir);
	/* What root wrote there, 0600, the authority's server could not read. */
	if (st.st_uid != geteuid()) {
		const struct passwd *owner = getpwuid(st.st_uid);
		return err_set(err, EPERM,
			"%s: belongs to %s; run this as that user: runuser -u %s "
			"-- ringmain ca ...",
			dir, owner ? owner->pw_name : "another user",
			owner ? owner->pw_name : "USER");
	}
	return 0;
}

int folder_open(const char *dir, struct folder *p, struct err *err)
{
	*p = (struct folder){.lock_fd = -1};
	if ((size_t)snprintf(p->dir, sizeof(p->dir), "%s", dir) >= sizeof(p->dir))
		return err_set(err, ENAMETOOLONG, "%s: name too long", dir);
	int r = folder_check(dir, err);
	if (r < 0)
		return r;
	char path[PATH_MAX];
	folder_path(p, path, "lock");
	p->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return p->lock_fd < 0 ? err_set(err, errno, "%s: %m", path) : 0;
}

void folder_close(struct folder *p)
{
	if (p->lock_fd >= 0)
		close(p->lock_fd);
	p->lock_fd = -1;
}

int folder_make(const char *dir, struct err *err)
{
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(err, errno, "%s: %m", dir);
	return folder_check(dir, err);
}

int folder_lock(struct folder *p, struct err *err)
{
	while (p->lock_depth == 0 && flock(p->lock_fd, LOCK_EX) < 0) {
		if (errno != EINTR)
			return err_set(err, errno, "%s/lock: %m", p->dir);
	}
	p->lock_depth++;
	return 0;
}

void folder_unlock(struct folder *p)
{
	ASSERT(p->lock_depth > 0);
	if (--p->lock_depth == 0)
		flock(p->lock_fd, LOCK_UN);
}

void folder_path(const struct folder *p, char path[PATH_MAX], const char *format, ...)
{
	int len = snprintf(path, PATH_MAX, "%s/", p->dir);
	va_list args;
	va_start(args, format);
	int more = vsnprintf(path + len, (size_t)(PATH_MAX - len), format, args);
	va_end(args);
	ASSERT(more >= 0 && len + more < PATH_MAX);
}

bool folder_has(const struct folder *p, const char *name)
{
	char path[PATH_MAX];
	struct stat st;
	folder_path(p, path, "%s", name);
	return lstat(path, &st) == 0;
}

int folder_read(const struct folder *p, const char *name, enum file_secrecy secrecy,
	struct str *ret_text, struct err *err)
{
	char path[PATH_MAX];
	folder_path(p, path, "%s", name);
	return file_read(path, secrecy, ret_text, err);
}

static int folder_fill(int fd, size_t size, struct str *ret_text)
{
	char *text = malloc(size + 1);
	size_t len = 0;
	while (text && len < size) {
		ssize_t n = read(fd, text + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			free(text);
			return -errno;
		}
		if (n == 0)
			break;
		len += (size_t)n;
	}
	if (!text)
		return -ENOMEM;
	text[len] = '\0';
	*ret_text = (struct str){text, len};
	return 0;
}

int folder_read_long(
	const struct folder *p, const char *name, struct str *ret_text, struct err *err)
{
	char path[PATH_MAX];
	struct stat st;
	folder_path(p, path, "%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno != ENOENT)
		return err_set(err, errno, "%s: %m", path);
	int r = 0;
	if (fd < 0)
		r = (*ret_text = (struct str){calloc(1, 1), 0}).at ? 0 : -ENOMEM;
	else if (fstat(fd, &st) < 0)
		r = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_size > FOLDER_BYTES_MAX)
		r = -EFBIG;
	else
		r = folder_fill(fd, (size_t)st.st_size, ret_text);
	if (fd >= 0)
		close(fd);
	return r < 0 ? err_set(err, -r, "%s: %s", path, strerror(-r)) : 0;
}

int folder_write(const struct folder *p, const char *name, enum file_secrecy secrecy,
	struct str text, struct err *err)
{
	char path[PATH_MAX];
	folder_path(p, path, "%s", name);
	return file_write(path, secrecy, FILE_REPLACE, text, err);
}

/* Whether a file of that size ends in the middle of a line: something was cut off while it wrote.
 */
static bool folder_is_torn(int fd, off_t size)
{
	char last = '\n';
	return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

static int folder_append_all(const char *path, int fd, struct str text, bool is_durable)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* One write: lines of several processes do not mix. A line that was cut off gets its end
	 * first, so that it spoils no other. */
	struct iovec parts[2] = {{(char *)(uintptr_t) "\n", folder_is_torn(fd, st.st_size) ? 1 : 0},
		{(char *)(uintptr_t)text.at, text.len}};
	ssize_t n = writev(fd, parts, 2);
	if (n < 0)
		return -errno;
	if ((size_t)n < parts[0].iov_len + text.len)
		return -ENOSPC;
	if (!is_durable)
		return 0;
	if (fdatasync(fd) < 0)
		return -errno;
	/* The first line: the file's name has to be on the disk, too. */
	return st.st_size == 0 ? file_sync_directory(path) : 0;
}

int folder_append(
	const struct folder *p, const char *name, struct str text, bool is_durable, struct err *err)
{
	char path[PATH_MAX];
	folder_path(p, path, "%s", name);
	int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(err, errno, "%s: %m", path);
	int r = folder_append_all(path, fd, text, is_durable);
	close(fd);
	return r < 0 ? err_set(err, -r, "%s: %s", path, strerror(-r)) : 0;
}

int folder_remove(const struct folder *p, const char *name, struct err *err)
{
	char path[PATH_MAX];
	folder_path(p, path, "%s", name);
	if (unlink(path) < 0)
		return errno == ENOENT ? 0 : err_set(err, errno, "%s: %m", path);
	int r = file_sync_directory(path);
	return r < 0 ? err_set(err, -r, "%s: %s", path, strerror(-r)) : 0;
}

/* "issuer.key.new-a1b2c3", as file_write() calls what it will rename. */
static bool folder_is_unfinished(const char *name)
{
	struct str text = str_of(name), middle = STR(".new-");
	size_t end = middle.len + 6;
	return text.len > end && memcmp(text.at + text.len - end, middle.at, middle.len) == 0;
}

static void folder_sweep_one(const struct folder *p, const char *name)
{
	char path[PATH_MAX];
	folder_path(p, path, "%s", name);
	DIR *directory = opendir(path);
	struct dirent *entry;
	while (directory && (entry = readdir(directory))) {
		if (folder_is_unfinished(entry->d_name))
			(void)unlinkat(dirfd(directory), entry->d_name, 0);
	}
	if (directory)
		closedir(directory);
}

void folder_sweep(const struct folder *p)
{
	/* Not in nodes/: a machine may be called so. */
	static const char *const names[] = {".", "tokens", "crls", "old", "federation"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		folder_sweep_one(p, names[i]);
}

int folder_subdirectory(const struct folder *p, const char *name, struct err *err)
{
	char path[PATH_MAX];
	folder_path(p, path, "%s", name);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(err, errno, "%s: %m", path);
	return 0;
}

bool folder_changed(const struct folder *p, const char *name, struct folder_stamp *stamp)
{
	char path[PATH_MAX];
	struct stat st;
	struct folder_stamp now = {0};
	folder_path(p, path, "%s", name);
	if (stat(path, &st) == 0)
		now = (struct folder_stamp){st.st_ino, st.st_size, st.st_ctim};
	bool is_changed = now.inode != stamp->inode || now.size != stamp->size ||
			  now.changed.tv_sec != stamp->changed.tv_sec ||
			  now.changed.tv_nsec != stamp->changed.tv_nsec;
	*stamp = now;
	return is_changed;
}

unsigned folder_words(struct str line, struct str *words, unsigned max)
{
	unsigned count = 0;
	while (line.len > 0 && count < max) {
		const char *space = count + 1 < max ? memchr(line.at, ' ', line.len) : NULL;
		size_t len = space ? (size_t)(space - line.at) : line.len;
		words[count++] = (struct str){line.at, len};
		line = space ? (struct str){space + 1, line.len - len - 1} : STR_NONE;
	}
	return count;
}

bool folder_line(struct str *text, struct str *ret_line)
{
	const char *end = text->len > 0 ? memchr(text->at, '\n', text->len) : NULL;
	if (!end)
		return false;
	*ret_line = (struct str){text->at, (size_t)(end - text->at)};
	*text = (struct str){end + 1, text->len - ret_line->len - 1};
	return true;
}
