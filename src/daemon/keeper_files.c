/* SPDX-License-Identifier: Apache-2.0 */
/* What the state process gets of the disk, which it cannot read itself: the store's passwords, the
 * authorities of its certificate, the operators' public keys; and one directory to write to. */
#include "keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEPER_SECRET_BYTES_MAX 1024
#define KEEPER_FILE_BYTES_MAX	(1u << 20)

/* --- files --- */

/* Where a key's file is: a name without "/" is a credential of the service manager's. False: there
 * are none. */
static bool keeper_file_path(struct str name, char path[PATH_MAX])
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	bool is_path = memchr(name.at, '/', name.len) != NULL;
	int len = is_path ? snprintf(path, PATH_MAX, STR_FMT, STR_ARG(name))
			  : snprintf(path, PATH_MAX, "%s/" STR_FMT, dir ? dir : "", STR_ARG(name));
	return len > 0 && len < PATH_MAX && (is_path || dir);
}

/* The bytes in malloc()ed memory of KEEPER_FILE_BYTES_MAX at most. */
static int keeper_file_read_open(
	const char *path, int fd, mode_t mode_forbidden, struct str *ret_text, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_set(err, errno, "%s: %m", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s: not a regular file", path);
	if (st.st_mode & mode_forbidden)
		return err_set(err, EACCES,
			"%s: others than its owner may read it (mode %04o); run: chmod 600 %s",
			path, (unsigned)st.st_mode & 07777, path);
	if (st.st_size > (off_t)KEEPER_FILE_BYTES_MAX)
		return err_set(
			err, EFBIG, "%s: larger than %u KiB", path, KEEPER_FILE_BYTES_MAX >> 10);
	size_t size = (size_t)st.st_size;
	char *text = malloc(size + 1);
	if (!text)
		return err_set(err, ENOMEM, "%s: out of memory", path);
	ssize_t n = pread(fd, text, size, 0);
	if (n < 0) {
		free(text);
		return err_set(err, errno, "%s: %m", path);
	}
	*ret_text = (struct str){text, (size_t)n};
	return 0;
}

static int keeper_file_read(
	const char *path, mode_t mode_forbidden, struct str *ret_text, struct err *err)
{
	/* O_NONBLOCK: a FIFO must not hold the keeper up. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(err, errno, "%s: %m", path);
	int r = keeper_file_read_open(path, fd, mode_forbidden, ret_text, err);
	close(fd);
	return r;
}

static void keeper_file_free(struct str text)
{
	explicit_bzero((char *)(uintptr_t)text.at, text.len);
	free((char *)(uintptr_t)text.at);
}

int keeper_files_add_public(
	struct bundle *b, const char *kind, struct str name, struct str file, struct err *err)
{
	char path[PATH_MAX];
	struct str text;
	if (!keeper_file_path(file, path))
		return err_set(err, EINVAL, "\"" STR_FMT "\": no path, and no credential either",
			STR_ARG(file));
	int r = keeper_file_read(path, 0, &text, err);
	if (r < 0)
		return r;
	r = bundle_add(b, str_of(kind), name, text, err);
	keeper_file_free(text);
	return r;
}

static int keeper_add_secret(
	struct bundle *b, const char *name, const char *key, struct str file, struct err *err)
{
	char path[PATH_MAX];
	struct str text;
	if (file.len == 0)
		return 0;
	if (!keeper_file_path(file, path))
		return err_set(err, EINVAL,
			"state.%s is the credential \"" STR_FMT "\", but the service manager has "
			"given none (LoadCredential=" STR_FMT ":FILE in the unit); without one, "
			"name a file with its whole path",
			key, STR_ARG(file), STR_ARG(file));
	/* The service manager gives a credential to a service's group, too. */
	bool is_credential = memchr(file.at, '/', file.len) == NULL;
	int r = keeper_file_read(path, is_credential ? 007 : 077, &text, err);
	if (r < 0)
		return r;
	struct str secret = text;
	if (secret.len > 0 && secret.at[secret.len - 1] == '\n')
		secret.len--;
	if (secret.len == 0)
		r = err_set(err, EINVAL, "%s: empty; state.%s wants a password in it", path, key);
	else if (secret.len > KEEPER_SECRET_BYTES_MAX)
		r = err_set(err, EFBIG, "%s: longer than %d bytes, which is no password", path,
			KEEPER_SECRET_BYTES_MAX);
	else
		r = bundle_add(b, STR("secret"), str_of(name), secret, err);
	keeper_file_free(text);
	return r;
}

static bool keeper_is_key_file(const char *name, struct str *ret_issuer)
{
	struct str text = str_of(name), end = STR(".json");
	if (name[0] == '.' || text.len <= end.len ||
		memcmp(text.at + text.len - end.len, end.at, end.len) != 0)
		return false;
	*ret_issuer = (struct str){text.at, text.len - end.len};
	return true;
}

/* One file that cannot be read is no reason not to start: without its keys tokens of its issuer are
 * no good ones, and nobody is let in by them. */
static int keeper_add_keys(struct bundle *b, struct str issuer, const char *path, struct err *err)
{
	struct err why;
	int r = keeper_files_add_public(b, "jwks", issuer, str_of(path), &why);
	if (r == -ENOMEM)
		return err_set(err, ENOMEM, "%s", why.text);
	if (r < 0)
		log_warning("keeper", "keys of issuer " STR_FMT ": %s", STR_ARG(issuer), why.text);
	return 0;
}

int keeper_files_add_issuers(struct str dir, struct bundle *b, struct err *err)
{
	char path[PATH_MAX];
	const struct dirent *entry;
	struct str issuer;
	int r = 0;
	snprintf(path, sizeof(path), STR_FMT, STR_ARG(dir));
	DIR *list = opendir(path);
	if (!list)
		return errno == ENOENT ? 0 : err_set(err, errno, "tokens.dir: %s: %m", path);
	while (r == 0 && (entry = readdir(list))) {
		int len = snprintf(path, sizeof(path), STR_FMT "/%s", STR_ARG(dir), entry->d_name);
		if (keeper_is_key_file(entry->d_name, &issuer) && len < (int)sizeof(path))
			r = keeper_add_keys(b, issuer, path, err);
	}
	closedir(list);
	return r;
}

int keeper_files_add(const struct conf_state *s, struct bundle *b, struct err *err)
{
	int r = keeper_add_secret(b, "password", "password_file", s->password_file, err);
	if (r == 0)
		r = keeper_add_secret(b, "sentinel-password", "sentinel_password_file",
			s->sentinel_password_file, err);
	for (uint32_t i = 0; i < s->operator_count && r == 0; i++)
		r = keeper_files_add_public(b, "operator", s->operators[i], s->operators[i], err);
	if (r == 0 && s->tls_ca.len > 0)
		r = keeper_files_add_public(b, "pki", STR("roots"), s->tls_ca, err);
	return r;
}

uint64_t keeper_files_mark(const struct conf_state *s, uint64_t mark)
{
	const struct str files[] = {s->password_file, s->sentinel_password_file, s->tls_ca,
		s->tls_certificate, s->tls_key};
	char path[PATH_MAX];
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		if (files[i].len > 0 && keeper_file_path(files[i], path))
			mark = keeper_mark_file(mark, AT_FDCWD, path);
	}
	for (uint32_t i = 0; i < s->operator_count; i++) {
		if (s->operators[i].len > 0 && keeper_file_path(s->operators[i], path))
			mark = keeper_mark_file(mark, AT_FDCWD, path);
	}
	return mark;
}

/* --- the directory --- */

static bool keeper_directory_empty(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	if (!dir) {
		if (copy >= 0)
			close(copy);
		return false;
	}
	unsigned count = 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count <= 2;
}

/* As it was made just now, or as a service manager leaves it: root's, and empty. Nothing else is
 * given away: the path may be a mistake. */
static int keeper_directory_give(
	const char *path, int fd, const struct keeper_user *user, struct err *err)
{
	int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_set(err, errno, "%s: %m", path);
	int r = 0;
	if (!keeper_directory_empty(dir))
		r = err_set(err, EEXIST,
			"state.dir %s: belongs to root and is not empty; name another one, or run: "
			"chown -R %u:%u %s",
			path, user->uid, user->gid, path);
	else if (fchmod(dir, 0700) < 0 || fchown(dir, user->uid, user->gid) < 0)
		r = err_set(err, errno, "state.dir %s: giving it to the state process: %m", path);
	close(dir);
	return r;
}

static int keeper_directory_check(
	const char *path, int fd, const struct keeper_user *user, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_set(err, errno, "state.dir %s: %m", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ENOTDIR,
			"state.dir %s: %s; name the directory itself, or remove it", path,
			S_ISLNK(st.st_mode) ? "a symbolic link" : "no directory");
	if (st.st_uid == 0 && user->uid != 0 && geteuid() == 0)
		return keeper_directory_give(path, fd, user, err);
	if (st.st_uid != user->uid)
		return err_set(err, EPERM,
			"state.dir %s: belongs to user %u, and the state process runs as %u; name "
			"another one, or run: chown -R %u:%u %s",
			path, st.st_uid, user->uid, user->uid, user->gid, path);
	if (st.st_mode & 077)
		return err_set(err, EACCES,
			"state.dir %s: others may use it (mode %04o); run: chmod 700 %s", path,
			(unsigned)st.st_mode & 07777, path);
	return 0;
}

int keeper_directory_open(const char *path, const struct keeper_user *user, struct err *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(err, errno, "state.dir %s: making it: %m", path);
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, errno, "state.dir %s: %m", path);
	int r = keeper_directory_check(path, fd, user, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}
