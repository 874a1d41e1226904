/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of end users: signed JWTs in compact form (RFC 7515, 7519, 8725), and the keys that they
 * are verified with (RFC 7517, 7518, 8037). Pure; a token is a stranger's bytes, a key set a
 * server's.
 *
 * Only signatures by public keys: RS256, RS384, RS512, PS256, ES256, ES384, EdDSA (Ed25519). What a
 * token says of its own keys (jwk, jku, x5c, x5u) is not looked at, what it declares critical is
 * refused, and so is whatever two readers could read differently: duplicate members, base64url
 * with padding or left-over bits. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "mesh/policy.h"

#define JWT_BYTES_MAX	  8192 /* of a token */
#define JWT_CLAIMS_MAX	  256  /* single values */
#define JWT_DEPTH_MAX	  16   /* of objects and arrays within each other */
#define JWK_SET_BYTES_MAX (256u << 10)
#define JWK_SET_KEYS_MAX  64
#define JWT_TRIES_MAX	  4 /* keys that one token is tried with */
#define JWT_RSA_BITS_MIN  2048
#define JWT_RSA_BITS_MAX  8192
#define JWT_AUDIENCES_MAX 32
#define JWT_KEY_ID_MAX	  256

/* A secret number, before the first key set or token of the process: whoever knows it can make many
 * members of an object meet in the library's table. Without it the library looks for one by itself,
 * where a sandboxed process has none to find. */
void jwt_seed(uint64_t secret);

/* --- keys --- */

struct jwk_set;

/* Keys that nothing can be done with here are left out: other types, for encryption, too short, not
 * on their curve, private ones. -EINVAL, with why: it is no JWK Set, or none is left. The text is
 * not kept. */
int jwk_set_new(struct str text, struct jwk_set **ret_set, struct err *err) MUST_CHECK;
/* NULL is allowed. */
void jwk_set_free(struct jwk_set *set);
uint32_t jwk_set_count(const struct jwk_set *set);

/* --- tokens --- */

#define JWT_FAILURE_LIST(X)                                          \
	X(NONE, "good")                                              \
	X(FORM, "no signed token in compact form")                   \
	X(HEADER, "its header is not as it must be")                 \
	X(ALGORITHM, "signed in a way that is not taken")            \
	X(CLAIMS, "its claims are not as they must be, or too many") \
	X(ISSUER, "of another issuer")                               \
	X(KEY, "no key of the issuer fits")                          \
	X(SIGNATURE, "its signature is wrong")                       \
	X(EXPIRED, "expired")                                        \
	X(EARLY, "not valid yet")                                    \
	X(AUDIENCE, "for another audience")                          \
	X(MEMORY, "out of memory")
enum jwt_failure {
#define X(name, text) JWT_##name,
	JWT_FAILURE_LIST(X)
#undef X
};
const char *jwt_failure_text(enum jwt_failure failure);

struct jwt;

/* Reads it; nothing is verified yet. A copy is kept. */
enum jwt_failure jwt_read(struct str token, struct jwt **ret_token) MUST_CHECK;
/* NULL is allowed. */
void jwt_free(struct jwt *t);
/* Its "iss", as it says itself: only to find the issuer whose keys it is to be verified with. */
struct str jwt_claimed_issuer(const struct jwt *t);

struct jwt_rules {
	struct str issuer;	     /* "iss", exactly */
	const struct str *audiences; /* one of them is in "aud"; none: whatever that is */
	uint32_t audience_count;
	uint32_t leeway_s; /* that clocks may differ */
};
/* NONE: its signature is one of these keys', it is of that issuer, for that audience, and valid at
 * `now_s` (seconds since the epoch). Only then is there anything to be had of it. */
enum jwt_failure jwt_verify(struct jwt *t, const struct jwk_set *keys,
	const struct jwt_rules *rules, uint64_t now_s) MUST_CHECK;
/* Of one that was verified: subject and claims, valid as long as it; `issuer` is left empty.
 * Members of objects have dots in their names, elements of arrays the array's name; null is
 * nothing. */
struct policy_token jwt_token(const struct jwt *t);
/* Its "exp" in seconds since the epoch. */
uint64_t jwt_expires_s(const struct jwt *t);
