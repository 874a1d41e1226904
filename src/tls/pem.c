/* SPDX-License-Identifier: Apache-2.0 */
#include "pem.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <string.h>

static bool pem_is_blank(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (!strchr(" \t\r\n", text.at[i]))
			return false;
	}
	return true;
}

static int pem_end(struct pem *p, struct err *err)
{
	bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	ERR_clear_error();
	if (at_end && p->number > 0)
		return 0;
	return err_set(err, EINVAL, STR_FMT " of " STR_FMT ": broken PEM after %s %zu",
		STR_ARG(p->item->kind), STR_ARG(p->item->name), p->word, p->number);
}

int pem_next(struct pem *p, struct err *err)
{
	char *kind, *header;
	long len;
	if (!p->text && pem_is_blank(p->item->text))
		return 0;
	if (!p->text)
		p->text = BIO_new_mem_buf(p->item->text.at, (int)p->item->text.len);
	if (!p->text)
		return err_set(err, ENOMEM, "out of memory");
	OPENSSL_free(p->der);
	p->der = NULL;
	if (!PEM_read_bio(p->text, &kind, &header, &p->der, &len)) {
		p->der = NULL;
		return pem_end(p, err);
	}
	p->len = (size_t)len;
	p->number++;
	int r = 1;
	if (strcmp(kind, p->kind) != 0)
		r = err_set(err, EINVAL,
			STR_FMT " of " STR_FMT ": a PEM block \"%s\" where only a %s may be",
			STR_ARG(p->item->kind), STR_ARG(p->item->name), kind, p->word);
	OPENSSL_free(kind);
	OPENSSL_free(header);
	return r;
}

void pem_done(struct pem *p)
{
	OPENSSL_free(p->der);
	BIO_free(p->text);
}
