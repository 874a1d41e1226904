/* SPDX-License-Identifier: Apache-2.0 */
/* The authority's directory: ca.crt, ca.key, roots.pem. Certificates are made by cert.c; here is
 * what they are made from and where they go.
 *
 * Order of writing: the key before the certificate, always. A reader that comes between the two
 * finds a pair that does not fit, refuses it and keeps what it had; it never finds a certificate
 * whose key is yet to come. */
#include "ca/ca.h"

#include "base/clock.h"
#include "keys/cert.h"
#include "keys/file.h"
#include "tls/spiffe.h"
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/stat.h>

#define CA_ID_MAX 2049 /* SPIFFE-ID 2.3: 2048 bytes; and the NUL */

static int ca_path(
	char path[PATH_MAX], const char *dir, struct str name, const char *ending, struct err *err)
{
	int n = snprintf(path, PATH_MAX, "%s/" STR_FMT "%s", dir, STR_ARG(name), ending);
	if (n < 0 || n >= PATH_MAX)
		return err_set(err, ENAMETOOLONG, "%s: name too long", dir);
	return 0;
}

static int ca_directory(const char *dir, mode_t mode, struct err *err)
{
	if (mkdir(dir, mode) == 0 || errno == EEXIST)
		return 0;
	return err_set(err, errno, "%s: %m", dir);
}

/* Writes <dir>/<name>.key and .crt. */
static int ca_write_pair(const char *dir, struct str name, EVP_PKEY *key, X509 *cert,
	enum file_presence presence, struct err *err)
{
	char key_path[PATH_MAX], cert_path[PATH_MAX];
	int r = ca_path(key_path, dir, name, ".key", err);
	if (r == 0)
		r = ca_path(cert_path, dir, name, ".crt", err);
	if (r < 0)
		return r;
	struct str key_text = STR_NONE, cert_text = STR_NONE;
	if (cert_key_pem(key, &key_text) < 0 || cert_pem(cert, &cert_text) < 0)
		r = err_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = file_write(key_path, FILE_SECRET, presence, key_text, err);
	if (r == 0)
		r = file_write(cert_path, FILE_PUBLIC, presence, cert_text, err);
	file_text_free(key_text);
	file_text_free(cert_text);
	return r;
}

/* --- init --- */

static int ca_refuse_overwrite(const char *dir, struct err *err)
{
	static const char *const names[] = {"ca.key", "ca.crt", "roots.pem"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char path[PATH_MAX];
		struct stat st;
		int r = ca_path(path, dir, str_of(names[i]), "", err);
		if (r < 0)
			return r;
		if (lstat(path, &st) == 0)
			return err_set(err, EEXIST,
				"%s: exists; an authority is never overwritten, choose another "
				"directory",
				path);
	}
	return 0;
}

static int ca_init_files(const char *dir, EVP_PKEY *key, X509 *root, struct err *err)
{
	char path[PATH_MAX];
	int r = ca_write_pair(dir, STR("ca"), key, root, FILE_NEW, err);
	if (r == 0)
		r = ca_path(path, dir, STR("roots.pem"), "", err);
	struct str text = STR_NONE;
	if (r == 0 && cert_pem(root, &text) < 0)
		r = err_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = file_write(path, FILE_PUBLIC, FILE_NEW, text, err);
	file_text_free(text);
	return r;
}

int ca_init(const char *dir, struct str trust_domain, int64_t lifetime_s, struct err *err)
{
	if (!spiffe_trust_domain_valid(trust_domain))
		return err_set(err, EINVAL,
			"trust domain \"" STR_FMT
			"\": lower-case letters, digits, dots, dashes and "
			"underscores only",
			STR_ARG(trust_domain));
	int r = ca_directory(dir, 0700, err);
	if (r == 0)
		r = ca_refuse_overwrite(dir, err);
	if (r < 0)
		return r;
	EVP_PKEY *key = cert_key_new();
	if (!key)
		return err_set(err, ENOMEM, "out of memory");
	X509 *root = NULL;
	int64_t now_s = (int64_t)(clock_wall_ns() / CLOCK_S);
	r = cert_root_new(key, trust_domain, now_s, lifetime_s, &root, err);
	if (r == 0)
		r = ca_init_files(dir, key, root, err);
	X509_free(root);
	EVP_PKEY_free(key);
	return r;
}

/* --- issue --- */

struct ca_authority {
	X509 *root;
	EVP_PKEY *key;
	struct str roots;   /* text of roots.pem */
	char id[CA_ID_MAX]; /* spiffe://<trust domain> */
};

static void ca_authority_done(struct ca_authority *a)
{
	X509_free(a->root);
	EVP_PKEY_free(a->key);
	file_text_free(a->roots);
}

static int ca_read(const char *dir, const char *name, enum file_secrecy secrecy,
	struct str *ret_text, struct err *err)
{
	char path[PATH_MAX];
	int r = ca_path(path, dir, str_of(name), "", err);
	return r < 0 ? r : file_read(path, secrecy, ret_text, err);
}

static int ca_authority_check(const char *dir, struct ca_authority *a, struct err *err)
{
	if (!a->root)
		return err_set(err, EINVAL, "%s/ca.crt: no readable certificate", dir);
	if (!a->key || !cert_key_is_p256(a->key))
		return err_set(err, EINVAL, "%s/ca.key: no readable P-256 key", dir);
	if (!X509_check_private_key(a->root, a->key))
		return err_set(err, EINVAL, "%s: ca.key is not the key of ca.crt", dir);
	struct str id = {a->id, 0}, scheme = STR("spiffe://");
	if (cert_uri(a->root, a->id, sizeof(a->id)) == 0)
		id = str_of(a->id);
	if (!str_starts(id, scheme) ||
		!spiffe_trust_domain_valid((struct str){id.at + scheme.len, id.len - scheme.len}))
		return err_set(err, EINVAL, "%s/ca.crt: names no trust domain in its SAN", dir);
	return 0;
}

/* Fills what it can; the caller calls ca_authority_done() in any case. */
static int ca_authority_load(const char *dir, struct ca_authority *a, struct err *err)
{
	struct str cert_text = STR_NONE, key_text = STR_NONE;
	unsigned count;
	int r = ca_read(dir, "ca.crt", FILE_PUBLIC, &cert_text, err);
	if (r == 0)
		r = ca_read(dir, "ca.key", FILE_SECRET, &key_text, err);
	if (r == 0)
		r = ca_read(dir, "roots.pem", FILE_PUBLIC, &a->roots, err);
	if (r == 0) {
		a->root = cert_from_pem(cert_text, &count);
		a->key = cert_key_from_pem(key_text);
		r = ca_authority_check(dir, a, err);
	}
	file_text_free(cert_text);
	file_text_free(key_text);
	return r;
}

static int ca_issue_files(const struct ca_authority *a, struct str name, EVP_PKEY *key, X509 *leaf,
	const char *out_dir, struct err *err)
{
	char path[PATH_MAX];
	int r = ca_directory(out_dir, 0755, err);
	if (r == 0)
		r = ca_path(path, out_dir, STR("roots.pem"), "", err);
	/* The roots first: whoever reads the new certificate can then verify it. */
	if (r == 0)
		r = file_write(path, FILE_PUBLIC, FILE_REPLACE, a->roots, err);
	if (r == 0)
		r = ca_write_pair(out_dir, name, key, leaf, FILE_REPLACE, err);
	return r;
}

static int ca_issue_as(const struct ca_authority *a, struct str path, int64_t lifetime_s,
	const char *out_dir, struct err *err)
{
	char id[CA_ID_MAX];
	int len = snprintf(id, sizeof(id), "%s/" STR_FMT, a->id, STR_ARG(path));
	struct str trust_domain, whole_path;
	if (len < 0 || (size_t)len >= sizeof(id) ||
		!spiffe_parse(str_of(id), &trust_domain, &whole_path))
		return err_set(err, EINVAL,
			"\"" STR_FMT
			"\" makes no valid SPIFFE id: letters, digits, dots, dashes and "
			"underscores only",
			STR_ARG(path));
	const char *slash = memrchr(path.at, '/', path.len);
	struct str name = path;
	if (slash)
		name = (struct str){slash + 1, path.len - (size_t)(slash + 1 - path.at)};
	EVP_PKEY *key = cert_key_new();
	if (!key)
		return err_set(err, ENOMEM, "out of memory");
	X509 *leaf = NULL;
	int64_t now_s = (int64_t)(clock_wall_ns() / CLOCK_S);
	int r = cert_leaf_new(key, str_of(id), a->root, a->key, now_s, lifetime_s, &leaf, err);
	if (r == 0)
		r = ca_issue_files(a, name, key, leaf, out_dir, err);
	X509_free(leaf);
	EVP_PKEY_free(key);
	return r;
}

int ca_issue(
	const char *dir, struct str path, int64_t lifetime_s, const char *out_dir, struct err *err)
{
	struct ca_authority a = {0};
	int r = ca_authority_load(dir, &a, err);
	if (r == 0)
		r = ca_issue_as(&a, path, lifetime_s, out_dir, err);
	ca_authority_done(&a);
	return r;
}
