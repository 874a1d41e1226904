/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void text_init(struct text *t)
{
	*t = (struct text){0};
}

void text_done(struct text *t)
{
	free(t->at);
	text_init(t);
}

static bool text_room(struct text *t, size_t len)
{
	if (t->failed)
		return false;
	if (t->len + len + 1 <= t->size)
		return true;
	size_t size = t->size ? t->size : 1024;
	while (size < t->len + len + 1)
		size *= 2;
	char *at = realloc(t->at, size);
	if (!at) {
		t->failed = true;
		return false;
	}
	t->at = at;
	t->size = size;
	return true;
}

void text_add_bytes(struct text *t, const char *bytes, size_t len)
{
	if (!text_room(t, len))
		return;
	memcpy(t->at + t->len, bytes, len);
	t->len += len;
	t->at[t->len] = '\0';
}

void text_add(struct text *t, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		t->failed = true;
	else if (text_room(t, (size_t)len)) {
		vsnprintf(t->at + t->len, (size_t)len + 1, format, again);
		t->len += (size_t)len;
	}
	va_end(again);
}

const char *text_at(const struct text *t)
{
	return t->at ? t->at : "";
}

int text_read_fd(struct text *t, int fd, const char *name, struct err *err)
{
	char chunk[8192];
	for (;;) {
		ssize_t got = read(fd, chunk, sizeof(chunk));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set(err, errno, "cannot read %s: %s", name, strerror(errno));
		if (got == 0)
			break;
		text_add_bytes(t, chunk, (size_t)got);
		if (t->len > TEXT_FILE_BYTES_MAX)
			return err_set(err, EFBIG, "%s is larger than %u bytes", name,
				TEXT_FILE_BYTES_MAX);
	}
	if (t->failed)
		return err_set(err, ENOMEM, "no memory to read %s", name);
	return 0;
}

int text_read_file(struct text *t, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	if (fd < 0)
		return err_set(err, errno, "cannot open %s: %s", path, strerror(errno));
	int r = text_read_fd(t, fd, path, err);
	close(fd);
	return r;
}

static int text_write_fd(const struct text *t, int fd)
{
	for (size_t at = 0; at < t->len;) {
		ssize_t put = write(fd, t->at + at, t->len - at);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		at += (size_t)put;
	}
	return 0;
}

int text_write_file(const struct text *t, const char *path, struct err *err)
{
	char new_path[PATH_MAX];
	if (t->failed)
		return err_set(err, ENOMEM, "no memory to write %s", path);
	if ((size_t)snprintf(new_path, sizeof(new_path), "%s.new", path) >= sizeof(new_path))
		return err_set(err, ENAMETOOLONG, "%s: path too long", path);
	int fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_set(err, errno, "cannot write %s: %s", new_path, strerror(errno));
	int r = text_write_fd(t, fd);
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(new_path, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(new_path);
		return err_set(err, -r, "cannot write %s: %s", path, strerror(-r));
	}
	return 0;
}
