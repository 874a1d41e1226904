/* SPDX-License-Identifier: Apache-2.0 */
/* Taking an issuer's certificate that somebody else's root has signed: whatever would make its
 * leaves useless, or hand out more than was meant, is found here and not at the first handshake. */
#include "ca/ca.h"

#include "anchors.h"
#include "book.h"
#include "found.h"
#include "issuer.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

struct install {
	struct folder folder;
	const char *name; /* "issuer", or "next-issuer" beside the one in force */
	const char *chain_file, *root_file;
	struct conf_ca *settings;
	EVP_PKEY *key;
	STACK_OF(X509) * chain; /* the issuer first, without the root */
	X509 *root;
};

static void install_done(struct install *i)
{
	conf_ca_free(i->settings);
	EVP_PKEY_free(i->key);
	sk_X509_pop_free(i->chain, X509_free);
	X509_free(i->root);
	folder_close(&i->folder);
}

static int install_read_list(const char *path, STACK_OF(X509) * *ret_list, struct err *err)
{
	struct str text;
	int r = file_read(path, FILE_PUBLIC, &text, err);
	if (r < 0)
		return r;
	*ret_list = cert_list_from_pem(text);
	file_text_free(text);
	if (!*ret_list)
		return err_set(err, EINVAL, "%s: no certificates in it, or a broken one", path);
	return 0;
}

static int install_read_key(struct install *i, struct err *err)
{
	struct str text;
	char request[40], key[40];
	snprintf(request, sizeof(request), "%s.csr", i->name);
	snprintf(key, sizeof(key), "%s.key", i->name);
	if (!folder_has(&i->folder, request))
		return err_set(err, ENOENT, "%s/%s: missing; begin with --request", i->folder.dir,
			request);
	int r = folder_read(&i->folder, key, FILE_SECRET, &text, err);
	if (r < 0)
		return r;
	i->key = cert_key_from_pem(text);
	file_text_free(text);
	return i->key ? 0 : err_set(err, EINVAL, "%s/%s: unreadable", i->folder.dir, key);
}

static int install_read(struct install *i, const char *dir, struct err *err)
{
	STACK_OF(X509) *roots = NULL;
	int r = folder_open(dir, &i->folder, err);
	if (r == 0)
		r = book_settings(&i->folder, &i->settings, err);
	if (r == 0)
		r = install_read_key(i, err);
	if (r == 0)
		r = install_read_list(i->chain_file, &i->chain, err);
	if (r == 0)
		r = install_read_list(i->root_file, &roots, err);
	if (r == 0 && sk_X509_num(roots) != 1)
		r = err_set(err, EINVAL, "%s: must be one certificate, the root", i->root_file);
	if (r == 0)
		i->root = sk_X509_shift(roots);
	sk_X509_pop_free(roots, X509_free);
	/* The root at the end of a chain is left out: who does not have it must not take it so. */
	size_t count = i->chain ? sk_X509_num(i->chain) : 0;
	if (r == 0 && count > 1 && X509_cmp(sk_X509_value(i->chain, count - 1), i->root) == 0)
		X509_free(sk_X509_pop(i->chain));
	return r;
}

static int install_check_issuer(const struct install *i, struct err *err)
{
	char trust_domain[256];
	X509 *x = sk_X509_value(i->chain, 0);
	if (!X509_check_private_key(x, i->key))
		return err_set(err, EINVAL,
			"%s: its first certificate is not for the key of %s.csr", i->chain_file,
			i->name);
	if (!X509_check_ca(x) || !(X509_get_key_usage(x) & X509v3_KU_KEY_CERT_SIGN))
		return err_set(err, EINVAL,
			"%s: its first certificate may not sign others; it must be made with "
			"CA:TRUE and keyCertSign, as the request asks",
			i->chain_file);
	if (!(X509_get_key_usage(x) & X509v3_KU_CRL_SIGN))
		return err_set(err, EINVAL,
			"%s: its first certificate may not sign revocation lists (cRLSign)",
			i->chain_file);
	if (!issuer_trust_domain(x, trust_domain) ||
		!str_eq(str_of(trust_domain), i->settings->trust_domain))
		return err_set(err, EINVAL,
			"%s: its first certificate does not have the one URI spiffe://" STR_FMT
			" in its SAN, as the request asks",
			i->chain_file, STR_ARG(i->settings->trust_domain));
	if (X509_check_ca(i->root) == 0)
		return err_set(err, EINVAL, "%s: no certificate of an authority", i->root_file);
	return 0;
}

/* The path that every verifier will walk: from a leaf of this issuer up to the root. */
static int install_verify(const struct install *i, struct err *err)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *verify = X509_STORE_CTX_new();
	int r = 0;
	if (!store || !verify || !X509_STORE_add_cert(store, i->root) ||
		!X509_STORE_CTX_init(verify, store, sk_X509_value(i->chain, 0), i->chain))
		r = err_set(err, ENOMEM, "out of memory");
	else if (X509_verify_cert(verify) != 1)
		r = err_set(err, EINVAL, "%s: does not lead to %s: %s", i->chain_file, i->root_file,
			X509_verify_cert_error_string(X509_STORE_CTX_get_error(verify)));
	X509_STORE_CTX_free(verify);
	X509_STORE_free(store);
	ERR_clear_error();
	return r;
}

static int install_write_chain(const struct install *i, struct err *err)
{
	char *text = NULL, name[40];
	size_t size = 0;
	snprintf(name, sizeof(name), "%s.crt", i->name);
	FILE *out = open_memstream(&text, &size);
	int r = out ? 0 : -ENOMEM;
	for (size_t k = 0; r == 0 && k < sk_X509_num(i->chain); k++) {
		struct str pem = STR_NONE;
		r = cert_pem(sk_X509_value(i->chain, k), &pem);
		if (r == 0)
			fwrite(pem.at, 1, pem.len, out);
		file_text_free(pem);
	}
	if (out && fclose(out) != 0)
		r = -ENOMEM;
	if (r < 0)
		err_set(err, ENOMEM, "out of memory");
	else
		r = folder_write(&i->folder, name, FILE_PUBLIC, (struct str){text, size}, err);
	free(text);
	return r;
}

static int install_write_roots(const struct install *i, struct err *err)
{
	struct str root = STR_NONE;
	if (cert_pem(i->root, &root) < 0)
		return err_set(err, ENOMEM, "out of memory");
	int r = folder_write(&i->folder, "root.crt", FILE_PUBLIC, root, err);
	if (r == 0)
		r = folder_write(&i->folder, "roots.pem", FILE_PUBLIC, root, err);
	file_text_free(root);
	return r;
}

/* All that is to be known before anything is written. */
static int install_judge(struct install *i, const char *dir, struct err *err)
{
	int r = install_read(i, dir, err);
	if (r == 0)
		r = install_check_issuer(i, err);
	return r < 0 ? r : install_verify(i, err);
}

int ca_install(const char *dir, const char *chain, const char *root, char *ret_fingerprint,
	struct err *err)
{
	struct install i = {.folder = {.lock_fd = -1},
		.name = "issuer",
		.chain_file = chain,
		.root_file = root};
	int r = install_judge(&i, dir, err);
	if (r == 0 && folder_has(&i.folder, "issuer.crt"))
		r = err_set(err, EEXIST, "%s/issuer.crt: exists; an authority is never overwritten",
			dir);
	if (r == 0)
		r = install_write_roots(&i, err);
	if (r == 0)
		r = install_write_chain(&i, err);
	if (r == 0)
		r = found_fingerprint(i.root, ret_fingerprint, err);
	install_done(&i);
	return r;
}

int install_next(const char *dir, const char *chain, const char *root, struct err *err)
{
	struct install i = {.folder = {.lock_fd = -1},
		.name = "next-issuer",
		.chain_file = chain,
		.root_file = root};
	int r = install_judge(&i, dir, err);
	if (r == 0)
		r = install_write_chain(&i, err);
	install_done(&i);
	return r;
}
