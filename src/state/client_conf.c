/* SPDX-License-Identifier: Apache-2.0 */
/* The files of an operator's `state` group. Secrets are overwritten before their memory is freed,
 * but for the copies that a connection makes of them. */
#include "client_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLIENT_FILE_BYTES_MAX  (1u << 20)
#define CLIENT_REPLY_BYTES_MAX (256u << 20)

/* Texts of files, each in malloc()ed memory or none. */
struct client_files {
	struct str password, sentinel_password, roots, chain, key;
};

static int client_path(struct str name, const char *key, char path[PATH_MAX], struct err *err)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	bool is_path = memchr(name.at, '/', name.len);
	if (!is_path && !dir)
		return err_set(err, EINVAL,
			"state.%s: \"" STR_FMT "\" is a credential, but the service manager has "
			"given none; without one, name a file with its whole path",
			key, STR_ARG(name));
	int len = is_path ? snprintf(path, PATH_MAX, STR_FMT, STR_ARG(name))
			  : snprintf(path, PATH_MAX, "%s/" STR_FMT, dir, STR_ARG(name));
	return len < PATH_MAX ? 0 : err_set(err, ENAMETOOLONG, "state.%s: too long a path", key);
}

static int client_read_open(
	const char *path, int fd, mode_t forbidden, struct str *ret_text, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_set(err, errno, "%s: %m", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s: not a regular file", path);
	if (st.st_mode & forbidden)
		return err_set(err, EACCES,
			"%s: others than its owner may read it (mode %04o); run: chmod 600 %s",
			path, (unsigned)st.st_mode & 07777, path);
	if (st.st_size > (off_t)CLIENT_FILE_BYTES_MAX)
		return err_set(
			err, EFBIG, "%s: larger than %u KiB", path, CLIENT_FILE_BYTES_MAX >> 10);
	char *text = malloc((size_t)st.st_size + 1);
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	ssize_t n = pread(fd, text, (size_t)st.st_size, 0);
	*ret_text = (struct str){text, n > 0 ? (size_t)n : 0};
	return n < 0 ? err_set(err, errno, "%s: %m", path) : 0;
}

static int client_read(
	struct str name, const char *key, bool secret, struct str *ret_text, struct err *err)
{
	char path[PATH_MAX];
	if (name.len == 0)
		return 0;
	int r = client_path(name, key, path, err);
	if (r < 0)
		return r;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
	if (fd < 0)
		return err_set(err, errno, "state.%s: %s: %m", key, path);
	/* The service manager gives a credential to a service's group, too. */
	mode_t forbidden = memchr(name.at, '/', name.len) ? 077 : 007;
	r = client_read_open(path, fd, secret ? forbidden : 0, ret_text, err);
	close(fd);
	return r;
}

static int client_read_password(
	struct str name, const char *key, struct str *ret_text, struct err *err)
{
	int r = client_read(name, key, true, ret_text, err);
	if (r < 0 || name.len == 0)
		return r;
	if (ret_text->len > 0 && ret_text->at[ret_text->len - 1] == '\n')
		ret_text->len--;
	return ret_text->len > 0 ? 0 : err_set(err, EINVAL, "state.%s: the file is empty", key);
}

static int client_read_all(const struct conf_state *c, struct client_files *f, struct err *err)
{
	int r = client_read_password(c->password_file, "password_file", &f->password, err);
	if (r == 0)
		r = client_read_password(c->sentinel_password_file, "sentinel_password_file",
			&f->sentinel_password, err);
	if (r == 0)
		r = client_read(c->tls_ca, "tls_ca", false, &f->roots, err);
	if (r == 0)
		r = client_read(c->tls_certificate, "tls_certificate", false, &f->chain, err);
	return r < 0 ? r : client_read(c->tls_key, "tls_key", true, &f->key, err);
}

static void client_forget(struct str text)
{
	if (!text.at)
		return;
	explicit_bzero((char *)(uintptr_t)text.at, text.len);
	free((char *)(uintptr_t)text.at);
}

static int client_secure(const struct client_files *f, struct tls_store **ret_tls,
	struct tls_key **ret_key, struct err *err)
{
	struct bundle b;
	bundle_init(&b);
	int r = bundle_add(&b, STR("pki"), STR("roots"), f->roots, err);
	if (r == 0 && f->chain.at)
		r = bundle_add(&b, STR("pki"), STR("chain"), f->chain, err);
	if (r == 0 && f->chain.at)
		r = bundle_add(&b, STR("pki-key"), STR("store"), STR("0"), err);
	if (r == 0)
		r = tls_store_new_pki(&b, ret_tls, err);
	bundle_done(&b);
	if (r == 0 && f->chain.at && !f->key.at)
		r = err_set(err, EINVAL, "state.tls_certificate without state.tls_key");
	else if (r == 0 && f->chain.at)
		r = tls_key_new(f->key, *ret_tls, ret_key, err);
	return r;
}

int client_open_conf(const struct conf_state *state, struct client **ret_client, struct err *err)
{
	struct client_files f = {.password = STR_NONE};
	struct tls_store *tls = NULL;
	struct tls_key *key = NULL;
	int r = state->redis_count > 0 ? client_read_all(state, &f, err)
				       : err_set(err, EINVAL, "state.redis: not given");
	if (r == 0 && f.roots.at)
		r = client_secure(&f, &tls, &key, err);
	if (r == 0) {
		struct store_settings settings = {
			.addresses = state->redis,
			.address_count = state->redis_count,
			.sentinel = state->sentinel,
			.username = state->username,
			.password = f.password,
			.sentinel_username = state->sentinel_username,
			.sentinel_password = f.sentinel_password,
			.tls = tls,
			.tls_name = state->tls_name,
			.timeout_ms = state->timeout_ms,
			.reply_bytes_max = CLIENT_REPLY_BYTES_MAX,
			.client_name = STR("ringmain-operator"),
		};
		r = client_open_key(&settings, key, ret_client, err);
	} else {
		tls_key_free(key);
	}
	tls_store_unref(tls);
	client_forget(f.password);
	client_forget(f.sentinel_password);
	client_forget(f.roots);
	client_forget(f.chain);
	client_forget(f.key);
	return r;
}
