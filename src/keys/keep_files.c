/* SPDX-License-Identifier: Apache-2.0 */
/* The directory itself. Who writes holds a shared lock on it, who opens it an exclusive one while
 * torn files are tidied away: `ringmain join` and the keeper may be at it at once. */
#include "keep_private.h"

#include "base/log.h"
#include "tls/spiffe.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEP_TEMPORARY ".new-" /* as file_write() names them; six characters follow */

/* --- opening --- */

static int keep_check_directory(const char *path, struct err *err)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return err_set(err, errno, "%s: %m", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ENOTDIR, "%s: %s; name the directory itself, or remove it",
			path, S_ISLNK(st.st_mode) ? "a symbolic link" : "no directory");
	if (st.st_uid != geteuid())
		return err_set(err, EPERM,
			"%s: belongs to user %u; private keys are kept in it, run: chown %u %s",
			path, st.st_uid, geteuid(), path);
	if (st.st_mode & 077)
		return err_set(err, EACCES,
			"%s: others may use it (mode %04o), and private keys are kept in it; run: "
			"chmod 700 %s",
			path, (unsigned)st.st_mode & 07777, path);
	return 0;
}

/* Who owns the directory above can put another in this one's place. */
static int keep_check_above(const char *path, struct err *err)
{
	char above[PATH_MAX];
	struct stat st;
	if (snprintf(above, sizeof(above), "%s/..", path) >= (int)sizeof(above))
		return err_set(err, ENAMETOOLONG, "%s: name too long", path);
	if (stat(above, &st) < 0)
		return err_set(err, errno, "%s: %m", above);
	if ((st.st_uid != 0 && st.st_uid != geteuid()) ||
		((st.st_mode & 022) && !(st.st_mode & S_ISVTX)))
		return err_set(err, EPERM,
			"%s: the directory above it belongs to user %u, mode %04o, who could put "
			"another in its place; keep private keys below one that is root's alone",
			path, st.st_uid, (unsigned)st.st_mode & 07777);
	return 0;
}

int keep_join(
	char path[PATH_MAX], const char *dir, const char *name, const char *ending, struct err *err)
{
	int len = snprintf(path, PATH_MAX, "%s/%s%s", dir, name, ending);
	return len < PATH_MAX ? 0 : err_set(err, ENAMETOOLONG, "%s: name too long", dir);
}

/* A name is on the disk when its directory is. */
static int keep_sync(const char *dir, struct err *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 || fsync(fd) < 0 ? err_set(err, errno, "%s: %m", dir) : 0;
	if (fd >= 0)
		close(fd);
	return r;
}

static int keep_make_directory(const char *path, struct err *err)
{
	char above[PATH_MAX];
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? keep_check_directory(path, err)
				       : err_set(err, errno, "%s: making it: %m", path);
	int r = keep_join(above, path, "..", "", err);
	return r < 0 ? r : keep_sync(above, err);
}

static const char *const keep_directories[] = {"service", "identity", "roots", "crls"};

static int keep_make_directories(const struct keep *k, struct err *err)
{
	char path[PATH_MAX];
	int r = keep_make_directory(k->dir, err);
	if (r == 0)
		r = keep_check_above(k->dir, err);
	for (size_t i = 0; i < ARRAY_LEN(keep_directories) && r == 0; i++) {
		r = keep_join(path, k->dir, keep_directories[i], "", err);
		if (r == 0)
			r = keep_make_directory(path, err);
	}
	return r;
}

/* The directory that a file of ours is in. */
static void keep_above(const char *path, char dir[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	ASSERT(slash && slash - path < PATH_MAX);
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
}

/* Best effort: where a file system keeps old blocks, they stay for a while. */
static void keep_overwrite(int fd)
{
	static const char zeros[4096];
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	off_t at = 0;
	while (at < st.st_size) {
		off_t left = st.st_size - at;
		ssize_t n = pwrite(
			fd, zeros, left < (off_t)sizeof(zeros) ? (size_t)left : sizeof(zeros), at);
		if (n <= 0)
			return;
		at += n;
	}
	(void)fsync(fd);
}

int keep_remove(const char *path, struct err *err)
{
	char dir[PATH_MAX];
	int fd = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0) {
		keep_overwrite(fd);
		close(fd);
	}
	if (unlink(path) < 0)
		return errno == ENOENT ? 0 : err_set(err, errno, "%s: %m", path);
	keep_above(path, dir);
	return keep_sync(dir, err);
}

/* "<anything>.new-" and six letters or digits. */
static bool keep_is_temporary(const char *name)
{
	size_t len = strlen(name), tail = strlen(KEEP_TEMPORARY) + 6;
	if (len <= tail || strncmp(name + len - tail, KEEP_TEMPORARY, strlen(KEEP_TEMPORARY)) != 0)
		return false;
	for (size_t i = len - 6; i < len; i++) {
		if (!isalnum((unsigned char)name[i]))
			return false;
	}
	return true;
}

static void keep_tidy_directory(const char *dir)
{
	char path[PATH_MAX];
	struct err err;
	const struct dirent *entry;
	DIR *d = opendir(dir);
	while (d && (entry = readdir(d))) {
		if (!keep_is_temporary(entry->d_name))
			continue;
		int r = keep_join(path, dir, entry->d_name, "", &err);
		if (r == 0)
			r = keep_remove(path, &err);
		/* The next opening tries again. */
		if (r < 0)
			log_warning("keys", "a torn file stays: %s", err.text);
	}
	if (d)
		closedir(d);
}

static void keep_tidy(const struct keep *k)
{
	char path[PATH_MAX];
	struct err err;
	/* Somebody is writing: its temporary file is not torn. */
	if (flock(k->fd, LOCK_EX | LOCK_NB) < 0)
		return;
	keep_tidy_directory(k->dir);
	for (size_t i = 0; i < ARRAY_LEN(keep_directories); i++) {
		if (keep_join(path, k->dir, keep_directories[i], "", &err) == 0)
			keep_tidy_directory(path);
	}
	(void)flock(k->fd, LOCK_UN);
}

static int keep_open_at(struct keep *k, struct err *err)
{
	int r = keep_make_directories(k, err);
	if (r < 0)
		return r;
	k->fd = open(k->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (k->fd < 0)
		return err_set(err, errno, "%s: %m", k->dir);
	keep_tidy(k);
	return 0;
}

int keep_open(const char *dir, struct str trust_domain, struct keep **ret_keep, struct err *err)
{
	if (strlen(dir) >= sizeof(((struct keep *)0)->dir))
		return err_set(err, ENAMETOOLONG, "%s: name too long", dir);
	if (!spiffe_trust_domain_valid(trust_domain) || trust_domain.len > KEEP_TRUST_DOMAIN_MAX)
		return err_set(
			err, EINVAL, "\"" STR_FMT "\" is no trust domain", STR_ARG(trust_domain));
	struct keep *k = calloc(1, sizeof(*k));
	if (!k)
		return err_set(err, ENOMEM, "out of memory");
	k->fd = -1;
	memcpy(k->dir, dir, strlen(dir) + 1);
	memcpy(k->trust_domain, trust_domain.at, trust_domain.len);
	int r = keep_open_at(k, err);
	if (r < 0)
		keep_close(k);
	else
		*ret_keep = k;
	return r;
}

void keep_close(struct keep *k)
{
	if (!k)
		return;
	if (k->fd >= 0)
		close(k->fd);
	free(k);
}

/* --- writing --- */

int keep_write(const struct keep *k, const char *path, enum file_secrecy secrecy, struct str text,
	struct err *err)
{
	char dir[PATH_MAX];
	keep_above(path, dir);
	int before = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	(void)flock(k->fd, LOCK_SH);
	int r = file_write(path, secrecy, FILE_REPLACE, text, err);
	(void)flock(k->fd, LOCK_UN);
	if (r == 0)
		r = keep_sync(dir, err);
	if (before >= 0) {
		if (r == 0 && secrecy == FILE_SECRET)
			keep_overwrite(before);
		close(before);
	}
	return r;
}
