/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the room:
 *
 *   jwt.c        a token: its parts, its header, time, issuer and audience
 *   claims.c     what it says, as a flat list
 *   signature.c  whether a key made its signature
 *   jwk.c        sets of keys
 *   strict.c     JSON that cannot be read in two ways
 *   base64url.c  the same of base64url */
#pragma once

#include "base/arena.h"
#include "jwt/jwt.h"
#include <jansson.h>
#include <openssl/base.h>

enum jwk_type { JWK_RSA, JWK_P256, JWK_P384, JWK_ED25519 };

/* Name, the key's type, bits of the digest. */
#define JWT_ALGORITHM_LIST(X)            \
	X(RS256, "RS256", JWK_RSA, 256)  \
	X(RS384, "RS384", JWK_RSA, 384)  \
	X(RS512, "RS512", JWK_RSA, 512)  \
	X(PS256, "PS256", JWK_RSA, 256)  \
	X(ES256, "ES256", JWK_P256, 256) \
	X(ES384, "ES384", JWK_P384, 384) \
	X(EDDSA, "EdDSA", JWK_ED25519, 0)
enum jwt_algorithm {
#define X(name, text, type, bits) JWT_##name,
	JWT_ALGORITHM_LIST(X)
#undef X
		JWT_ALGORITHMS /* none */
};

struct jwk {
	struct str id; /* empty: none */
	enum jwk_type type;
	enum jwt_algorithm algorithm; /* the only one that it is for; JWT_ALGORITHMS: any that fits
				       */
	RSA *rsa;
	EC_KEY *ec;
	uint8_t ed25519[32];
};

struct jwk_set {
	struct jwk *keys;
	uint32_t count;
};

struct jwt {
	struct arena arena;
	struct str signed_text; /* header and claims, as they are signed */
	struct str signature;
	enum jwt_algorithm algorithm;
	struct str key_id; /* empty: none */
	json_t *claims;
	uint64_t expires_s;
	bool is_verified;
	struct policy_claim *list;
	uint32_t list_count;
};

/* --- base64url.c --- */

/* Without padding, without anything else, every bit used. `ret` has room for text.len bytes. */
bool base64url_read(struct str text, uint8_t *ret, size_t *ret_len);

/* --- strict.c --- */

/* An object in UTF-8 without duplicate members, NULs and too much depth, and nothing behind it.
 * NULL: it is not that. */
json_t *strict_object(struct str text);
/* Its text member; at == NULL: there is none, or it is no text. */
struct str strict_text(const json_t *object, const char *name);

/* --- claims.c --- */

/* Fills `list`. NONE, CLAIMS or MEMORY. */
enum jwt_failure claims_flatten(struct jwt *t);

/* --- jwk.c --- */

enum jwt_algorithm jwt_algorithm_of(struct str name);
/* Whether it may be for such a signature. */
bool jwk_fits(const struct jwk *key, enum jwt_algorithm algorithm);

/* --- signature.c --- */

bool signature_is_of(const struct jwt *t, const struct jwk *key);
