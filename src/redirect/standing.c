/* SPDX-License-Identifier: Apache-2.0 */
#include "standing.h"

#include "text.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* One switch for IPv4 and IPv6, per network namespace. */
#define STANDING_SYSCTL "/proc/sys/net/ipv4/tcp_fwmark_accept"
#define STANDING_FILE	"redirect.up" /* holds the sysctl's earlier value */
#define STANDING_LOCK	"redirect.lock"

static int standing_path(
	char path[PATH_MAX], const char *run_dir, const char *name, struct err *err)
{
	if ((size_t)snprintf(path, PATH_MAX, "%s/%s", run_dir, name) >= PATH_MAX)
		return err_set(err, ENAMETOOLONG, "%s: path too long", run_dir);
	return 0;
}

int standing_lock(const char *run_dir, bool wait, struct err *err)
{
	char path[PATH_MAX];
	int r = standing_path(path, run_dir, STANDING_LOCK, err);
	if (r < 0)
		return r;
	if (mkdir(run_dir, 0755) < 0 && errno != EEXIST)
		return err_set(err, errno, "cannot make %s: %s", run_dir, strerror(errno));
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(err, errno, "cannot open %s: %s", path, strerror(errno));
	while (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0) {
		if (errno == EINTR)
			continue;
		int number = errno == EWOULDBLOCK ? EBUSY : errno;
		close(fd);
		return err_set(err, number, "%s: %s", path, strerror(number));
	}
	return fd;
}

static int standing_sysctl_read(char *ret_value, struct err *err)
{
	struct text text;
	text_init(&text);
	int r = text_read_file(&text, STANDING_SYSCTL, err);
	if (r == -ENOENT)
		err_set(err, ENOENT,
			"this kernel has no " STANDING_SYSCTL
			" (4.0 and later have it); workloads cannot be told apart");
	*ret_value = r == 0 && text.len > 0 ? text.at[0] : '0';
	text_done(&text);
	return r;
}

static int standing_sysctl_write(char value, struct err *err)
{
	int fd = open(STANDING_SYSCTL, O_WRONLY | O_CLOEXEC);
	int r = 0;
	if (fd < 0 || write(fd, &value, 1) != 1)
		r = err_set(err, errno, "cannot write " STANDING_SYSCTL ": %s%s", strerror(errno),
			errno == EACCES || errno == EPERM || errno == EROFS
				? "; run it as root with a writable /proc/sys"
				: "");
	if (fd >= 0)
		close(fd);
	return r;
}

bool standing_accepts_marks(void)
{
	struct err err;
	char value;
	return standing_sysctl_read(&value, &err) == 0 && value != '0';
}

bool standing_is_raised(const char *run_dir)
{
	char path[PATH_MAX];
	struct err err;
	return standing_path(path, run_dir, STANDING_FILE, &err) == 0 && access(path, F_OK) == 0;
}

int standing_raise(const char *run_dir, struct err *err)
{
	char path[PATH_MAX], value;
	int r = standing_path(path, run_dir, STANDING_FILE, err);
	if (r == 0)
		r = standing_sysctl_read(&value, err);
	if (r == 0 && !standing_is_raised(run_dir)) {
		struct text text;
		text_init(&text);
		text_add(&text, "tcp_fwmark_accept %c\n", value);
		r = text_write_file(&text, path, err);
		text_done(&text);
	}
	if (r == 0 && value == '0')
		r = standing_sysctl_write('1', err);
	return r;
}

int standing_lower(const char *run_dir, bool *ret_restore, struct err *err)
{
	char path[PATH_MAX];
	struct text text;
	*ret_restore = false;
	int r = standing_path(path, run_dir, STANDING_FILE, err);
	if (r < 0)
		return r;
	text_init(&text);
	r = text_read_file(&text, path, err);
	if (r == 0) {
		*ret_restore = strcmp(text_at(&text), "tcp_fwmark_accept 0\n") == 0;
		if (unlink(path) < 0)
			r = err_set(err, errno, "cannot remove %s: %s", path, strerror(errno));
	}
	text_done(&text);
	return r == -ENOENT ? 0 : r;
}

int standing_restore(struct err *err)
{
	return standing_sysctl_write('0', err);
}
