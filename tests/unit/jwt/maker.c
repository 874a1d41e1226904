/* SPDX-License-Identifier: Apache-2.0 */
#include "maker.h"

#include "base/assert.h"
#include <openssl/bn.h>
#include <openssl/curve25519.h>
#include <openssl/digest.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/nid.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>

static RSA *maker_rsa(int bits)
{
	RSA *rsa = RSA_new();
	BIGNUM *e = BN_new();
	ASSERT(rsa && e && BN_set_word(e, 65537) && RSA_generate_key_ex(rsa, bits, e, NULL));
	BN_free(e);
	return rsa;
}

static EC_KEY *maker_curve(int nid)
{
	EC_KEY *ec = EC_KEY_new_by_curve_name(nid);
	ASSERT(ec && EC_KEY_generate_key(ec));
	return ec;
}

void maker_init(struct maker *m)
{
	m->rsa = maker_rsa(2048);
	m->rsa_small = maker_rsa(1024);
	m->p256 = maker_curve(NID_X9_62_prime256v1);
	m->p384 = maker_curve(NID_secp384r1);
	ED25519_keypair(m->ed25519_public, m->ed25519_private);
}

void maker_done(struct maker *m)
{
	RSA_free(m->rsa);
	RSA_free(m->rsa_small);
	EC_KEY_free(m->p256);
	EC_KEY_free(m->p384);
}

static char *maker_place(void)
{
	static char places[128][40000];
	static unsigned next;
	return places[next++ % ARRAY_LEN(places)];
}

const char *maker_base64url(const void *bytes, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *at = bytes;
	char *text = maker_place(), *to = text;
	uint32_t bits = 0;
	int count = 0;
	ASSERT(len < 25000);
	for (size_t i = 0; i < len; i++) {
		bits = bits << 8 | at[i];
		for (count += 8; count >= 6; count -= 6)
			*to++ = digits[bits >> (count - 6) & 63];
	}
	if (count > 0)
		*to++ = digits[bits << (6 - count) & 63];
	*to = '\0';
	return text;
}

const char *maker_text(const char *format, ...)
{
	char *text = maker_place();
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text, 40000, format, args);
	va_end(args);
	ASSERT(len >= 0 && len < 40000);
	return text;
}

static const char *maker_number(const BIGNUM *n, size_t len)
{
	uint8_t bytes[600];
	ASSERT(BN_bn2bin_padded(bytes, len ? len : BN_num_bytes(n), n));
	return maker_base64url(bytes, len ? len : BN_num_bytes(n));
}

static const char *maker_curve_jwk(const EC_KEY *ec, const char *name, size_t len, const char *more)
{
	BIGNUM *x = BN_new(), *y = BN_new();
	ASSERT(EC_POINT_get_affine_coordinates_GFp(
		EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec), x, y, NULL));
	const char *text = maker_text("{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"%s}",
		name, maker_number(x, len), maker_number(y, len), more);
	BN_free(x);
	BN_free(y);
	return text;
}

const char *maker_jwk(const struct maker *m, enum maker_kind kind, const char *more)
{
	const RSA *rsa = kind == MAKER_RSA ? m->rsa : m->rsa_small;
	switch (kind) {
	case MAKER_RSA:
	case MAKER_RSA_SMALL:
		return maker_text("{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQAB\"%s}",
			maker_number(RSA_get0_n(rsa), 0), more);
	case MAKER_P256:
		return maker_curve_jwk(m->p256, "P-256", 32, more);
	case MAKER_P384:
		return maker_curve_jwk(m->p384, "P-384", 48, more);
	case MAKER_ED25519:
		return maker_text("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"%s}",
			maker_base64url(m->ed25519_public, 32), more);
	case MAKER_KINDS:
		break;
	}
	ASSERT(!"a kind of key");
}

/* --- signatures --- */

static size_t maker_digest(const char *algorithm, const char *text, uint8_t *digest, int *nid)
{
	const uint8_t *at = (const uint8_t *)text;
	size_t len = strlen(text);
	if (strstr(algorithm, "256")) {
		*nid = NID_sha256;
		SHA256(at, len, digest);
		return 32;
	}
	if (strstr(algorithm, "384")) {
		*nid = NID_sha384;
		SHA384(at, len, digest);
		return 48;
	}
	*nid = NID_sha512;
	SHA512(at, len, digest);
	return 64;
}

static size_t maker_sign_curve(
	const EC_KEY *ec, const uint8_t *digest, size_t len, size_t half, uint8_t *signature)
{
	ECDSA_SIG *pair = ECDSA_do_sign(digest, len, ec);
	ASSERT(pair && BN_bn2bin_padded(signature, half, pair->r) &&
		BN_bn2bin_padded(signature + half, half, pair->s));
	ECDSA_SIG_free(pair);
	return 2 * half;
}

static size_t maker_sign(const struct maker *m, enum maker_kind kind, const char *algorithm,
	const char *text, uint8_t *signature)
{
	uint8_t digest[64];
	unsigned len = 0;
	size_t pss_len = 0;
	int nid;
	size_t digest_len = maker_digest(algorithm, text, digest, &nid);
	if (kind == MAKER_ED25519) {
		ASSERT(ED25519_sign(
			signature, (const uint8_t *)text, strlen(text), m->ed25519_private));
		return 64;
	}
	if (kind == MAKER_P256)
		return maker_sign_curve(m->p256, digest, digest_len, 32, signature);
	if (kind == MAKER_P384)
		return maker_sign_curve(m->p384, digest, digest_len, 48, signature);
	RSA *rsa = kind == MAKER_RSA ? m->rsa : m->rsa_small;
	if (algorithm[0] == 'P') {
		ASSERT(RSA_sign_pss_mgf1(rsa, &pss_len, signature, 512, digest, digest_len,
			EVP_sha256(), EVP_sha256(), -1));
		return pss_len;
	}
	ASSERT(RSA_sign(nid, digest, (unsigned)digest_len, signature, &len, rsa));
	return len;
}

const char *maker_token_with(
	const char *header, const char *claims, const void *signature, size_t len)
{
	return maker_text("%s.%s.%s", maker_base64url(header, strlen(header)),
		maker_base64url(claims, strlen(claims)), maker_base64url(signature, len));
}

const char *maker_token(const struct maker *m, enum maker_kind kind, const char *algorithm,
	const char *header, const char *claims)
{
	uint8_t signature[512];
	const char *text = maker_text("%s.%s", maker_base64url(header, strlen(header)),
		maker_base64url(claims, strlen(claims)));
	size_t len = maker_sign(m, kind, algorithm, text, signature);
	return maker_token_with(header, claims, signature, len);
}
