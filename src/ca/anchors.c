/* SPDX-License-Identifier: Apache-2.0 */
#include "anchors.h"

#include "keys/cert.h"
#include <errno.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

static int anchors_read(
	const struct folder *f, const char *name, STACK_OF(X509) * *ret_list, struct err *err)
{
	struct str text;
	int r = folder_read(f, name, FILE_PUBLIC, &text, err);
	if (r < 0)
		return r;
	*ret_list = cert_list_from_pem(text);
	file_text_free(text);
	if (!*ret_list)
		return err_set(
			err, EINVAL, "%s/%s: no certificates in it, or a broken one", f->dir, name);
	return 0;
}

static int anchors_write(
	const struct folder *f, const char *name, const STACK_OF(X509) * list, struct err *err)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int r = out ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < sk_X509_num(list); i++) {
		struct str pem = STR_NONE;
		r = cert_pem(sk_X509_value(list, i), &pem);
		if (r == 0)
			fwrite(pem.at, 1, pem.len, out);
		file_text_free(pem);
	}
	if (out && fclose(out) != 0)
		r = -ENOMEM;
	if (r < 0)
		err_set(err, ENOMEM, "out of memory");
	else
		r = folder_write(f, name, FILE_PUBLIC, (struct str){text, size}, err);
	free(text);
	return r;
}

/* Its place in the list; the list's length: not in it. */
static size_t anchors_find(const STACK_OF(X509) * list, const X509 *root)
{
	size_t i = 0;
	while (i < sk_X509_num(list) && X509_cmp(sk_X509_value(list, i), root) != 0)
		i++;
	return i;
}

int anchors_add(const struct folder *f, const char *name, X509 *root, struct err *err)
{
	STACK_OF(X509) *list = NULL;
	int r = anchors_read(f, name, &list, err);
	if (r < 0)
		return r;
	if (anchors_find(list, root) == sk_X509_num(list)) {
		if (sk_X509_push(list, root) > 0)
			X509_up_ref(root);
		r = anchors_write(f, name, list, err);
	}
	sk_X509_pop_free(list, X509_free);
	return r;
}

int anchors_remove(const struct folder *f, const char *name, X509 *root, struct err *err)
{
	STACK_OF(X509) *list = NULL;
	int r = anchors_read(f, name, &list, err);
	if (r < 0)
		return r;
	size_t at = anchors_find(list, root);
	if (at < sk_X509_num(list) && sk_X509_num(list) == 1) {
		r = err_set(
			err, EINVAL, "%s/%s: the last anchor is never taken away", f->dir, name);
	} else if (at < sk_X509_num(list)) {
		X509_free(sk_X509_delete(list, at));
		r = anchors_write(f, name, list, err);
	}
	sk_X509_pop_free(list, X509_free);
	return r;
}

int anchors_check(struct str text, const char *place, struct err *err)
{
	STACK_OF(X509) *list = cert_list_from_pem(text);
	if (!list)
		return err_set(err, EINVAL, "%s: no certificates in it, or a broken one", place);
	int r = 0;
	for (size_t i = 0; r == 0 && i < sk_X509_num(list); i++) {
		if (!X509_check_ca(sk_X509_value(list, i)))
			r = err_set(err, EINVAL,
				"%s: certificate %zu of it is no authority's; anchors are roots",
				place, i + 1);
	}
	sk_X509_pop_free(list, X509_free);
	return r;
}

X509 *anchors_first(const struct folder *f, const char *name)
{
	struct str text;
	struct err ignored;
	unsigned count;
	if (folder_read(f, name, FILE_PUBLIC, &text, &ignored) < 0)
		return NULL;
	X509 *first = cert_from_pem(text, &count);
	file_text_free(text);
	return first;
}
