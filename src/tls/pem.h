/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks of a bundle item's PEM text, all of one kind, one after the other. */
#pragma once

#include "base/assert.h"
#include "base/bundle.h"
#include <openssl/base.h>
#include <stdint.h>

struct pem {
	const struct bundle_item *item;
	const char *kind; /* PEM_STRING_* */
	const char *word; /* for it in errors: "certificate" */
	uint8_t *der;	  /* the block's, until the next one is asked for */
	size_t len;
	size_t number; /* of the block, from 1 */
	BIO *text;
};

/* 1: there is a block; 0: the end, also of a blank text. Another kind of block, a broken one, and a
 * text without any is an error that names the item. */
int pem_next(struct pem *p, struct err *err) MUST_CHECK;
void pem_done(struct pem *p);
