/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates by hand: `ca issue`, for machines that do not ask for themselves.
 *
 * Order of writing: the key before the certificate, always. A reader that comes between the two
 * finds a pair that does not fit, refuses it and keeps what it had; it never finds a certificate
 * whose key is yet to come. */
#include "ca/ca.h"

#include "base/clock.h"
#include "issuer.h"
#include "keys/cert.h"
#include "keys/file.h"
#include "ledger.h"
#include "tls/spiffe.h"
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

static int ca_path(
	char path[PATH_MAX], const char *dir, struct str name, const char *ending, struct err *err)
{
	int n = snprintf(path, PATH_MAX, "%s/" STR_FMT "%s", dir, STR_ARG(name), ending);
	if (n < 0 || n >= PATH_MAX)
		return err_set(err, ENAMETOOLONG, "%s: name too long", dir);
	return 0;
}

static int ca_write_one(const char *dir, struct str name, const char *ending,
	enum file_secrecy secrecy, struct str text, struct err *err)
{
	char path[PATH_MAX];
	int r = ca_path(path, dir, name, ending, err);
	return r < 0 ? r : file_write(path, secrecy, FILE_REPLACE, text, err);
}

/* What is to be issued, and all that it is made of. */
struct ca_order {
	struct folder folder;
	struct issuer issuer;
	struct str roots; /* text of roots.pem */
	struct str path;  /* "service/orders" */
	int64_t lifetime_s;
	EVP_PKEY *key;
	X509 *leaf;
};

struct str ca_issued_name(struct str path, char name[CA_NAME_MAX])
{
	struct str prefix = STR("service/");
	struct str service = {path.at + prefix.len, path.len - prefix.len};
	if (str_starts(path, prefix) && !memchr(service.at, '/', service.len))
		return service;
	ASSERT(path.len <= CA_NAME_MAX);
	for (size_t i = 0; i < path.len; i++)
		name[i] = path.at[i] == '/' ? '+' : path.at[i];
	return (struct str){name, path.len};
}

static int ca_write_pair(const struct ca_order *o, const char *out_dir, struct err *err)
{
	char text[CA_NAME_MAX];
	struct str key = STR_NONE, leaf = STR_NONE, name = ca_issued_name(o->path, text);
	char *chain = NULL;
	int len = -1;
	if (cert_key_pem(o->key, &key) == 0 && cert_pem(o->leaf, &leaf) == 0)
		len = asprintf(&chain, "%s%s", leaf.at, o->issuer.chain.at);
	int r = len < 0 ? err_set(err, ENOMEM, "out of memory") : 0;
	if (r == 0)
		r = ca_write_one(out_dir, name, ".key", FILE_SECRET, key, err);
	if (r == 0)
		r = ca_write_one(
			out_dir, name, ".crt", FILE_PUBLIC, (struct str){chain, (size_t)len}, err);
	file_text_free(key);
	file_text_free(leaf);
	if (len >= 0)
		free(chain);
	return r;
}

static int ca_write(const struct ca_order *o, const char *out_dir, struct err *err)
{
	if (mkdir(out_dir, 0755) < 0 && errno != EEXIST)
		return err_set(err, errno, "%s: %m", out_dir);
	/* The roots first: whoever reads the new certificate can then verify it. */
	int r = ca_write_one(out_dir, STR("roots.pem"), "", FILE_PUBLIC, o->roots, err);
	return r < 0 ? r : ca_write_pair(o, out_dir, err);
}

/* Written down before it is given out: what nobody knows of, nobody can revoke. */
static int ca_record(struct ca_order *o, int64_t now_s, struct err *err)
{
	char serial[CERT_SERIAL_TEXT] = "";
	if (!cert_serial_text(o->leaf, serial))
		return err_set(err, EINVAL, "the certificate has no serial number");
	struct ledger_row row = {.serial = str_of(serial),
		.end_s = cert_not_after(o->leaf),
		.issuer = str_of(o->issuer.key_id),
		.node = STR("-"),
		.identity = o->path};
	struct ledger_event event = {.event = "issued",
		.identity = o->path,
		.serial = row.serial,
		.issuer = row.issuer,
		.until_s = row.end_s,
		.why = STR("ca issue")};
	/* Not while another process rewrites the index. */
	int r = folder_lock(&o->folder, err);
	if (r < 0)
		return r;
	r = ledger_add_issued(&o->folder, &row, err);
	if (r == 0)
		r = ledger_audit(&o->folder, now_s, &event, err);
	folder_unlock(&o->folder);
	return r;
}

static int ca_make(struct ca_order *o, const char *out_dir, struct err *err)
{
	char id[CERT_ID_MAX];
	int len = snprintf(
		id, sizeof(id), "spiffe://%s/" STR_FMT, o->issuer.trust_domain, STR_ARG(o->path));
	struct str trust_domain, whole_path;
	if (len < 0 || (size_t)len >= sizeof(id) || o->path.len > CA_NAME_MAX ||
		!spiffe_parse(str_of(id), &trust_domain, &whole_path))
		return err_set(err, EINVAL,
			"\"" STR_FMT
			"\" makes no valid SPIFFE id: letters, digits, dots, dashes and "
			"underscores only",
			STR_ARG(o->path));
	int64_t now_s = (int64_t)(clock_wall_ns() / CLOCK_S);
	struct cert_life life = {now_s, o->lifetime_s, CERT_CLOCK_SKEW_S};
	if (!(o->key = cert_key_new()))
		return err_set(err, ENOMEM, "out of memory");
	int r = cert_leaf_new(o->key, str_of(id), &o->issuer.signer, life, &o->leaf, err);
	if (r == 0)
		r = ca_record(o, now_s, err);
	return r < 0 ? r : ca_write(o, out_dir, err);
}

static int ca_order_load(struct ca_order *o, const char *dir, struct err *err)
{
	int r = folder_open(dir, &o->folder, err);
	if (r < 0)
		return r;
	if (!folder_has(&o->folder, "issuer.crt") && folder_has(&o->folder, "ca.crt"))
		return err_set(err, ENOENT,
			"%s: made by an earlier ringmain, whose root signed certificates itself; "
			"make a new authority in another directory: ringmain ca init",
			dir);
	r = folder_lock(&o->folder, err);
	if (r < 0)
		return r;
	r = issuer_load(&o->folder, "issuer", &o->issuer, err);
	if (r == 0)
		r = folder_read(&o->folder, "roots.pem", FILE_PUBLIC, &o->roots, err);
	folder_unlock(&o->folder);
	return r;
}

int ca_issue(
	const char *dir, struct str path, int64_t lifetime_s, const char *out_dir, struct err *err)
{
	struct ca_order o = {.path = path, .lifetime_s = lifetime_s};
	int r = ca_order_load(&o, dir, err);
	if (r == 0)
		r = ca_make(&o, out_dir, err);
	X509_free(o.leaf);
	EVP_PKEY_free(o.key);
	issuer_done(&o.issuer);
	file_text_free(o.roots);
	folder_close(&o.folder);
	return r;
}
