/* SPDX-License-Identifier: Apache-2.0 */
/* Makes keys, sets of them and tokens, good ones and any other. */
#pragma once

#include "base/str.h"
#include <openssl/base.h>
#include <stdbool.h>

enum maker_kind { MAKER_RSA, MAKER_RSA_SMALL, MAKER_P256, MAKER_P384, MAKER_ED25519, MAKER_KINDS };

struct maker {
	RSA *rsa, *rsa_small;
	EC_KEY *p256, *p384;
	uint8_t ed25519_public[32], ed25519_private[64];
};

void maker_init(struct maker *m);
void maker_done(struct maker *m);

/* Texts of a ring of buffers: good for a hundred further ones. */
const char *maker_base64url(const void *bytes, size_t len);
const char *maker_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A key of the set: {"kty":...,<more>}. `more` begins with a comma, or is empty. */
const char *maker_jwk(const struct maker *m, enum maker_kind kind, const char *more);
/* header and claims as JSON, signed as `algorithm` ("RS256") says, whatever the header does. */
const char *maker_token(const struct maker *m, enum maker_kind kind, const char *algorithm,
	const char *header, const char *claims);
/* The same with a signature of the caller's. */
const char *maker_token_with(
	const char *header, const char *claims, const void *signature, size_t len);
