/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer.h"

#include "tls/spiffe.h"
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>

bool issuer_trust_domain(X509 *cert, char trust_domain[256])
{
	char id[CERT_ID_MAX];
	struct str scheme = STR("spiffe://");
	if (cert_uri(cert, id, sizeof(id)) < 0 || !str_starts(str_of(id), scheme))
		return false;
	struct str rest = str_of(id + scheme.len);
	if (!spiffe_trust_domain_valid(rest))
		return false;
	snprintf(trust_domain, 256, STR_FMT, STR_ARG(rest));
	return true;
}

static int issuer_check(const struct folder *f, const char *name, struct issuer *i, struct err *err)
{
	if (!i->signer.cert)
		return err_set(err, EINVAL, "%s/%s.crt: no readable certificate", f->dir, name);
	if (!i->signer.key || !cert_key_is_p256(i->signer.key))
		return err_set(err, EINVAL, "%s/%s.key: no readable P-256 key", f->dir, name);
	if (!X509_check_private_key(i->signer.cert, i->signer.key))
		return err_set(
			err, EINVAL, "%s: %s.key is not the key of %s.crt", f->dir, name, name);
	if (!issuer_trust_domain(i->signer.cert, i->trust_domain))
		return err_set(
			err, EINVAL, "%s/%s.crt: names no trust domain in its SAN", f->dir, name);
	ledger_issuer_text(i->signer.cert, i->key_id);
	i->not_before_s = cert_not_before(i->signer.cert);
	i->not_after_s = cert_not_after(i->signer.cert);
	return 0;
}

int issuer_load(
	const struct folder *f, const char *name, struct issuer *ret_issuer, struct err *err)
{
	struct issuer i = {0};
	struct str key = STR_NONE;
	char file[80];
	unsigned count;
	snprintf(file, sizeof(file), "%s.crt", name);
	int r = folder_read(f, file, FILE_PUBLIC, &i.chain, err);
	snprintf(file, sizeof(file), "%s.key", name);
	if (r == 0)
		r = folder_read(f, file, FILE_SECRET, &key, err);
	if (r == 0) {
		i.signer.cert = cert_from_pem(i.chain, &count);
		i.signer.key = cert_key_from_pem(key);
		r = issuer_check(f, name, &i, err);
	}
	file_text_free(key);
	if (r < 0)
		issuer_done(&i);
	else
		*ret_issuer = i;
	return r;
}

void issuer_done(struct issuer *i)
{
	X509_free(i->signer.cert);
	EVP_PKEY_free(i->signer.key);
	file_text_free(i->chain);
	*i = (struct issuer){0};
}

int issuer_write(
	const struct folder *f, const char *name, EVP_PKEY *key, struct str chain, struct err *err)
{
	struct str text = STR_NONE;
	char file[80];
	if (cert_key_pem(key, &text) < 0)
		return err_set(err, ENOMEM, "out of memory");
	snprintf(file, sizeof(file), "%s.key", name);
	int r = folder_write(f, file, FILE_SECRET, text, err);
	file_text_free(text);
	snprintf(file, sizeof(file), "%s.crt", name);
	return r < 0 ? r : folder_write(f, file, FILE_PUBLIC, chain, err);
}

void issuer_root_name(X509 *root, char name[32])
{
	char id[LEDGER_ISSUER_TEXT];
	ledger_issuer_text(root, id);
	snprintf(name, 32, "root-%.8s", id);
}

/* NULL: not there, or another's. */
static int issuer_try_key(const char *path, X509 *root, EVP_PKEY **ret_key, struct err *err)
{
	struct str text;
	int r = file_read(path, FILE_SECRET, &text, err);
	if (r < 0)
		return r;
	EVP_PKEY *key = cert_key_from_pem(text);
	file_text_free(text);
	if (key && X509_check_private_key(root, key)) {
		*ret_key = key;
		return 0;
	}
	EVP_PKEY_free(key);
	return err_set(err, ENOKEY, "%s: not the key of the root in force", path);
}

int issuer_find_root_key(const char *dir, X509 *root, EVP_PKEY **ret_key, struct err *err)
{
	char path[PATH_MAX], name[32];
	issuer_root_name(root, name);
	snprintf(path, sizeof(path), "%s/%s.key", dir, name);
	int r = issuer_try_key(path, root, ret_key, err);
	if (r != -ENOENT)
		return r;
	snprintf(path, sizeof(path), "%s/root.key", dir);
	r = issuer_try_key(path, root, ret_key, err);
	if (r == -ENOENT)
		return err_set(err, ENOENT,
			"%s: no key of the root (root.key or %s.key); --root-dir says where it is",
			dir, name);
	return r;
}
