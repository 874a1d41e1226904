/* SPDX-License-Identifier: Apache-2.0 */
/* Founding an authority. Files are made in an order in which issuer.crt, without which there is no
 * authority, comes last: what a crash leaves behind is refused as "exists" and can be thrown away.
 */
#include "ca/ca.h"

#include "base/clock.h"
#include "found.h"
#include "issuer.h"
#include "keys/cert.h"
#include "keys/file.h"
#include "tls/spiffe.h"
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FOUND_ISSUER_S (365ll * 86400)

static const char found_registration[] =
	"# Which machine may hold which identities. `ringmain ca allow` and `ca forbid` rewrite "
	"this\n"
	"# file and keep no comments; it may be edited by hand, too:\n"
	"#\n"
	"# nodes: (\n"
	"#     { name = \"vm-a\"; identities = [ \"web\", \"orders\" ]; }\n"
	"# );\n"
	"nodes: ( );\n";

static int found_path(char path[PATH_MAX], const char *dir, const char *name, struct err *err)
{
	int n = snprintf(path, PATH_MAX, "%s/%s", dir, name);
	if (n < 0 || n >= PATH_MAX)
		return err_set(err, ENAMETOOLONG, "%s: name too long", dir);
	return 0;
}

static int found_refuse_overwrite(
	const char *dir, const char *const *names, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		char path[PATH_MAX];
		struct stat st;
		int r = found_path(path, dir, names[i], err);
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

static int found_write(const char *dir, const char *name, enum file_secrecy secrecy,
	struct str text, struct err *err)
{
	char path[PATH_MAX];
	int r = found_path(path, dir, name, err);
	return r < 0 ? r : file_write(path, secrecy, FILE_NEW, text, err);
}

/* --- ca.conf --- */

static void found_list(
	FILE *out, const char *name, const char *const *items, uint32_t count, const char *example)
{
	fprintf(out, count ? "\t%s = [ " : "\t# %s = [ ", name);
	for (uint32_t i = 0; i < count; i++)
		fprintf(out, "%s\"%s\"", i ? ", " : "", items[i]);
	fprintf(out, "%s ];\n", count ? "" : example);
}

static void found_settings_print(FILE *out, const struct ca_setup *s)
{
	fputs("# The authority's settings; every key is explained by `ringmain check "
	      "--reference`.\n"
	      "authority: {\n",
		out);
	fprintf(out, "\ttrust_domain = \"" STR_FMT "\";\n", STR_ARG(s->trust_domain));
	fputs("\t# Where `ringmain ca serve` is asked, and what else nodes call it.\n", out);
	found_list(out, "listen", s->listen, s->listen_count, "\"10.77.0.5:8443\"");
	found_list(out, "names", s->names, s->name_count, "\"ca.example.com\"");
	fputs("};\n"
	      "\n"
	      "# lifetimes: {\n"
	      "#\tleaf = \"1h\";\n"
	      "#\tnode = \"24h\";\n"
	      "#\tcomeback = \"30d\";\n"
	      "#\tcrl = \"24h\";\n"
	      "#\tbackdate = \"60s\";\n"
	      "#\ttoken = \"10m\";\n"
	      "# };\n"
	      "\n"
	      "# limits: {\n"
	      "#\tnode_per_minute = 60;\n"
	      "#\tnode_burst = 60;\n"
	      "#\tall_per_second = 500;\n"
	      "# };\n",
		out);
}

int found_settings_text(const struct ca_setup *s, struct str *ret_text, struct err *err)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	if (out)
		found_settings_print(out, s);
	if (!out || fclose(out) != 0) {
		free(text);
		return err_set(err, ENOMEM, "out of memory");
	}
	*ret_text = (struct str){text, size};
	return 0;
}

static int found_settings(const struct ca_setup *s, struct err *err)
{
	struct str text;
	int r = found_settings_text(s, &text, err);
	if (r < 0)
		return r;
	r = found_write(s->dir, "ca.conf", FILE_PUBLIC, text, err);
	if (r == 0)
		r = found_write(s->dir, "registration.conf", FILE_PUBLIC,
			(struct str){found_registration, sizeof(found_registration) - 1}, err);
	file_text_free(text);
	return r;
}

/* --- a root and an issuer --- */

struct found {
	const struct ca_setup *setup;
	struct cert_issuer root, issuer;
};

static void found_done(struct found *f)
{
	X509_free(f->root.cert);
	EVP_PKEY_free(f->root.key);
	X509_free(f->issuer.cert);
	EVP_PKEY_free(f->issuer.key);
}

static int found_make(struct found *f, struct err *err)
{
	const struct ca_setup *s = f->setup;
	int64_t now_s = (int64_t)(clock_wall_ns() / CLOCK_S);
	struct cert_life root_life = {now_s, s->root_lifetime_s, CERT_CLOCK_SKEW_S};
	struct cert_life issuer_life = {now_s, s->issuer_lifetime_s, CERT_CLOCK_SKEW_S};
	f->root.key = cert_key_new();
	f->issuer.key = cert_key_new();
	if (!f->root.key || !f->issuer.key)
		return err_set(err, ENOMEM, "out of memory");
	int r = cert_root_new(f->root.key, s->trust_domain, root_life, &f->root.cert, err);
	if (r == 0)
		r = cert_issuer_new(f->issuer.key, s->trust_domain, &f->root, issuer_life,
			&f->issuer.cert, err);
	return r;
}

static int found_write_key(const char *dir, const char *name, EVP_PKEY *key, struct err *err)
{
	struct str text = STR_NONE;
	if (cert_key_pem(key, &text) < 0)
		return err_set(err, ENOMEM, "out of memory");
	int r = found_write(dir, name, FILE_SECRET, text, err);
	file_text_free(text);
	return r;
}

static int found_write_cert(const char *dir, const char *name, X509 *cert, struct err *err)
{
	struct str text = STR_NONE;
	if (cert_pem(cert, &text) < 0)
		return err_set(err, ENOMEM, "out of memory");
	int r = found_write(dir, name, FILE_PUBLIC, text, err);
	file_text_free(text);
	return r;
}

static int found_write_all(const struct found *f, struct err *err)
{
	const char *dir = f->setup->dir;
	const char *root_dir = f->setup->root_dir ? f->setup->root_dir : dir;
	int r = found_write_key(root_dir, "root.key", f->root.key, err);
	if (r == 0 && root_dir != dir)
		r = found_write_cert(root_dir, "root.crt", f->root.cert, err);
	if (r == 0)
		r = found_write_cert(dir, "root.crt", f->root.cert, err);
	if (r == 0)
		r = found_write_cert(dir, "roots.pem", f->root.cert, err);
	if (r == 0)
		r = found_settings(f->setup, err);
	if (r == 0)
		r = found_write_key(dir, "issuer.key", f->issuer.key, err);
	return r < 0 ? r : found_write_cert(dir, "issuer.crt", f->issuer.cert, err);
}

int found_fingerprint(X509 *cert, char *text, struct err *err)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	unsigned len = sizeof(digest);
	if (!X509_digest(cert, EVP_sha256(), digest, &len) || len != sizeof(digest))
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; text && i < sizeof(digest); i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	return 0;
}

/* Both directories, with nothing of an authority in them. */
static int found_directories(const struct ca_setup *s, struct err *err)
{
	static const char *const names[] = {"issuer.key", "issuer.csr", "issuer.crt", "root.key",
		"root.crt", "roots.pem", "ca.conf", "registration.conf", "ca.key", "ca.crt"};
	static const char *const root_names[] = {"root.key", "root.crt"};
	if (!spiffe_trust_domain_valid(s->trust_domain))
		return err_set(err, EINVAL,
			"trust domain \"" STR_FMT
			"\": lower-case letters, digits, dots, dashes and "
			"underscores only",
			STR_ARG(s->trust_domain));
	int r = folder_make(s->dir, err);
	if (r == 0)
		r = found_refuse_overwrite(s->dir, names, ARRAY_LEN(names), err);
	if (r == 0 && s->root_dir)
		r = folder_make(s->root_dir, err);
	if (r == 0 && s->root_dir)
		r = found_refuse_overwrite(s->root_dir, root_names, ARRAY_LEN(root_names), err);
	return r;
}

int ca_found(const struct ca_setup *setup, char *ret_fingerprint, struct err *err)
{
	struct found f = {.setup = setup};
	int r = found_directories(setup, err);
	if (r == 0)
		r = found_make(&f, err);
	if (r == 0)
		r = found_write_all(&f, err);
	if (r == 0)
		r = found_fingerprint(f.root.cert, ret_fingerprint, err);
	found_done(&f);
	return r;
}

int ca_init(const char *dir, struct str trust_domain, int64_t lifetime_s, struct err *err)
{
	struct ca_setup setup = {.dir = dir,
		.trust_domain = trust_domain,
		.root_lifetime_s = lifetime_s,
		.issuer_lifetime_s = FOUND_ISSUER_S};
	return ca_found(&setup, NULL, err);
}

/* --- an issuer below somebody else's root --- */

int ca_request(const struct ca_setup *setup, struct err *err)
{
	struct str text = STR_NONE;
	int r = found_directories(setup, err);
	if (r < 0)
		return r;
	EVP_PKEY *key = cert_key_new();
	if (!key)
		return err_set(err, ENOMEM, "out of memory");
	r = cert_issuer_request(key, setup->trust_domain, &text, err);
	if (r == 0)
		r = found_settings(setup, err);
	if (r == 0)
		r = found_write_key(setup->dir, "issuer.key", key, err);
	if (r == 0)
		r = found_write(setup->dir, "issuer.csr", FILE_PUBLIC, text, err);
	EVP_PKEY_free(key);
	file_text_free(text);
	return r;
}
