/* SPDX-License-Identifier: Apache-2.0 */
/* A PKCS#10 request as what it asks for, after everything in it has been judged that does not
 * depend on who asks. Pure. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "keys/cert.h"
#include <openssl/base.h>

struct request {
	EVP_PKEY *key;	   /* the public half */
	char key_hash[65]; /* SHA-256 of SubjectPublicKeyInfo, hexadecimal */
	char id[CERT_ID_MAX];
	struct str trust_domain, identity; /* into `id`: "service/orders" */
};

/* 0, AUTHORITY_BAD with the reason, -ENOMEM. The caller calls request_done() after a 0. */
int request_read(struct str der, struct request *ret_request, struct err *err) MUST_CHECK;
void request_done(struct request *r);
