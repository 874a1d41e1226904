/* SPDX-License-Identifier: Apache-2.0 */
/* PEM ⇄ stacks, for the files that judge. */
#pragma once

#include "judge.h"
#include <openssl/x509.h>

/* Everything of that kind in a text, up to a limit. NULL: something else or something broken in it,
 * or out of memory. An empty text gives an empty stack. */
STACK_OF(X509) * judge_read(struct str pem);
STACK_OF(X509_CRL) * judge_read_crls(struct str pem);
/* Puts a stack's certificates behind what is in `out`. */
bool judge_append(BIO *out, X509 *certificate);
/* What was put there, as a text. */
int judge_text(BIO *out, struct str *ret_text);
bool judge_signs_itself(X509 *certificate);
bool judge_time(const ASN1_TIME *time, int64_t *ret_s);
