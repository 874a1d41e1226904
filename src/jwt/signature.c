/* SPDX-License-Identifier: Apache-2.0 */
/* The key says how a signature is verified, the token only which of the ways that the key allows.
 * Signatures of curves are two numbers one behind the other (RFC 7518 3.4), never DER. */
#include "inside.h"

#include <openssl/bn.h>
#include <openssl/curve25519.h>
#include <openssl/digest.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

struct signature_digest {
	uint8_t bytes[SHA512_DIGEST_LENGTH];
	size_t len;
	int nid;
};

static void signature_digest(struct str text, unsigned bits, struct signature_digest *ret)
{
	const uint8_t *at = (const uint8_t *)text.at;
	*ret = (struct signature_digest){.len = bits / 8};
	if (bits == 256) {
		ret->nid = NID_sha256;
		SHA256(at, text.len, ret->bytes);
	} else if (bits == 384) {
		ret->nid = NID_sha384;
		SHA384(at, text.len, ret->bytes);
	} else {
		ret->nid = NID_sha512;
		SHA512(at, text.len, ret->bytes);
	}
}

static bool signature_rsa(struct str signature, const struct signature_digest *d, RSA *rsa)
{
	return RSA_verify(d->nid, d->bytes, d->len, (const uint8_t *)signature.at, signature.len,
		       rsa) == 1;
}

/* The salt is as long as the digest (RFC 7518 3.5). */
static bool signature_pss(struct str signature, const struct signature_digest *d, RSA *rsa)
{
	return RSA_verify_pss_mgf1(rsa, d->bytes, d->len, EVP_sha256(), EVP_sha256(), -1,
		       (const uint8_t *)signature.at, signature.len) == 1;
}

static bool signature_curve(
	struct str signature, const struct signature_digest *d, EC_KEY *ec, size_t number_bytes)
{
	const uint8_t *at = (const uint8_t *)signature.at;
	if (signature.len != 2 * number_bytes)
		return false;
	ECDSA_SIG *pair = ECDSA_SIG_new();
	bool ok = pair && BN_bin2bn(at, number_bytes, pair->r) &&
		  BN_bin2bn(at + number_bytes, number_bytes, pair->s) &&
		  ECDSA_do_verify(d->bytes, d->len, pair, ec) == 1;
	ECDSA_SIG_free(pair);
	return ok;
}

static bool signature_ed25519(const struct jwt *t, const struct jwk *key)
{
	return t->signature.len == ED25519_SIGNATURE_LEN &&
	       ED25519_verify((const uint8_t *)t->signed_text.at, t->signed_text.len,
		       (const uint8_t *)t->signature.at, key->ed25519) == 1;
}

bool signature_is_of(const struct jwt *t, const struct jwk *key)
{
	static const unsigned bits[] = {
#define X(name, text, type, count) count,
		JWT_ALGORITHM_LIST(X)
#undef X
	};
	struct signature_digest d = {0};
	bool ok = false;
	ASSERT(jwk_fits(key, t->algorithm));
	if (bits[t->algorithm] > 0)
		signature_digest(t->signed_text, bits[t->algorithm], &d);
	switch (key->type) {
	case JWK_RSA:
		ok = t->algorithm == JWT_PS256 ? signature_pss(t->signature, &d, key->rsa)
					       : signature_rsa(t->signature, &d, key->rsa);
		break;
	case JWK_P256:
		ok = signature_curve(t->signature, &d, key->ec, 32);
		break;
	case JWK_P384:
		ok = signature_curve(t->signature, &d, key->ec, 48);
		break;
	case JWK_ED25519:
		ok = signature_ed25519(t, key);
		break;
	}
	ERR_clear_error();
	return ok;
}
