/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: the RFCs' own, and what attackers have sent to verifiers. */
#include "jwt/inside.h"

#include "maker.h"
#include <openssl/bn.h>
#include <openssl/curve25519.h>
#include <openssl/digest.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW 1000000

static struct maker maker;
static const struct str good_audiences[] = {{"shop", 4}, {"mail", 4}};
static struct jwt_rules rules = {.issuer = {"https://id", 10}, .leeway_s = 30};

static const char good_claims[] = "{\"iss\":\"https://id\",\"sub\":\"ann\",\"exp\":1000100}";

static int setup(void **state)
{
	maker_init(&maker);
	return 0;
}

static int teardown(void **state)
{
	maker_done(&maker);
	return 0;
}

static struct jwk_set *set_of(const char *keys)
{
	struct jwk_set *set;
	struct err err;
	if (jwk_set_new(str_of(maker_text("{\"keys\":[%s]}", keys)), &set, &err) < 0)
		fail_msg("%s", err.text);
	return set;
}

/* What becomes of a token with these keys. */
static enum jwt_failure outcome_at(const char *keys, const char *token, uint64_t now_s)
{
	struct jwt *t = NULL;
	enum jwt_failure failure = jwt_read(str_of(token), &t);
	if (failure != JWT_NONE) {
		assert_null(t);
		return failure;
	}
	struct jwk_set *set = set_of(keys);
	failure = jwt_verify(t, set, &rules, now_s);
	if (failure == JWT_NONE)
		assert_true(jwt_expires_s(t) > 0);
	jwk_set_free(set);
	jwt_free(t);
	return failure;
}

static enum jwt_failure outcome(const char *keys, const char *token)
{
	return outcome_at(keys, token, NOW);
}

static void expect(enum jwt_failure wanted, const char *keys, const char *token)
{
	enum jwt_failure got = outcome(keys, token);
	if (got != wanted)
		fail_msg("\"%s\" instead of \"%s\": %.300s", jwt_failure_text(got),
			jwt_failure_text(wanted), token);
}

static const char *ed(const char *header, const char *claims)
{
	return maker_token(&maker, MAKER_ED25519, "EdDSA", header, claims);
}

static void expect_claims(enum jwt_failure wanted, const char *claims)
{
	enum jwt_failure got =
		outcome(maker_jwk(&maker, MAKER_ED25519, ""), ed("{\"alg\":\"EdDSA\"}", claims));
	if (got != wanted)
		fail_msg("\"%s\" instead of \"%s\": %s", jwt_failure_text(got),
			jwt_failure_text(wanted), claims);
}

/* --- the RFCs' --- */

#define RFC_RSA                                                       \
	"{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_" \
	"wWJcyQoTbji9k0l8W26mPddxHmfHQp-"                             \
	"Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_"     \
	"YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb"                          \
	"_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-"         \
	"UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxv"                     \
	"b3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_"        \
	"h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4F"                      \
	"RWyuXpoQ\",\"e\":\"AQAB\"}"
#define RFC_P256                                                                                   \
	"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"," \
	"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"
#define RFC_CLAIMS                                                                                 \
	"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0" \
	"cn"                                                                                       \
	"VlfQ"
#define RFC_TOKEN_RSA                                                                            \
	"eyJhbGciOiJSUzI1NiJ9." RFC_CLAIMS                                                       \
	".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_" \
	"O8W"                                                                                    \
	"2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_"                                 \
	"nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSj"                                                    \
	"tQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-"                                 \
	"eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh"                                                    \
	"6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
#define RFC_TOKEN_P256                     \
	"eyJhbGciOiJFUzI1NiJ9." RFC_CLAIMS \
	".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define RFC_NOW 1300819379

/* RFC 7515 A.2 and A.3. */
static void verifies_the_rfcs_tokens(void **state)
{
	const struct jwt_rules before = rules;
	rules = (struct jwt_rules){.issuer = STR("joe")};
	assert_int_equal(outcome_at(RFC_RSA, RFC_TOKEN_RSA, RFC_NOW), JWT_NONE);
	assert_int_equal(outcome_at(RFC_P256, RFC_TOKEN_P256, RFC_NOW), JWT_NONE);
	assert_int_equal(outcome_at(RFC_P256 "," RFC_RSA, RFC_TOKEN_RSA, RFC_NOW), JWT_NONE);
	assert_int_equal(outcome_at(RFC_RSA, RFC_TOKEN_RSA, RFC_NOW + 1), JWT_EXPIRED);
	assert_int_equal(outcome_at(RFC_P256, RFC_TOKEN_RSA, RFC_NOW), JWT_KEY);
	rules = before;
}

/* RFC 7515 A.1 (HMAC) and A.5 (none), and A.4 (a curve that is not taken). */
static void refuses_the_rfcs_other_tokens(void **state)
{
	expect(JWT_ALGORITHM, RFC_RSA,
		"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." RFC_CLAIMS
		".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
	expect(JWT_FORM, RFC_RSA, "eyJhbGciOiJub25lIn0." RFC_CLAIMS ".");
	expect(JWT_ALGORITHM, RFC_RSA, "eyJhbGciOiJFUzUxMiJ9." RFC_CLAIMS ".AdwMgeerwtHo");
}

/* RFC 8037 A.4, whose text is not JSON. */
static void verifies_the_rfcs_ed25519(void **state)
{
	static const char signature[] =
		"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGj"
		"g5BhVsPt9g7sVvpAr_MuM0KAg";
	struct jwk_set *set = set_of("{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
				     "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}");
	uint8_t bytes[100];
	size_t len;
	assert_true(base64url_read(str_of(signature), bytes, &len));
	struct jwt t = {.algorithm = JWT_EDDSA,
		.signed_text = STR("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"),
		.signature = {(const char *)bytes, len}};
	assert_true(signature_is_of(&t, &set->keys[0]));
	bytes[3] ^= 1;
	assert_false(signature_is_of(&t, &set->keys[0]));
	jwk_set_free(set);
}

static void verifies_each_algorithm(void **state)
{
	static const struct {
		enum maker_kind kind;
		const char *algorithm;
	} rows[] = {{MAKER_RSA, "RS256"}, {MAKER_RSA, "RS384"}, {MAKER_RSA, "RS512"},
		{MAKER_RSA, "PS256"}, {MAKER_P256, "ES256"}, {MAKER_P384, "ES384"},
		{MAKER_ED25519, "EdDSA"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *header = maker_text("{\"alg\":\"%s\"}", rows[i].algorithm);
		const char *token =
			maker_token(&maker, rows[i].kind, rows[i].algorithm, header, good_claims);
		expect(JWT_NONE, maker_jwk(&maker, rows[i].kind, ""), token);
		for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
			if (rows[k].kind != rows[i].kind)
				expect(JWT_KEY, maker_jwk(&maker, rows[k].kind, ""), token);
		}
		/* a key that is for one algorithm only */
		enum jwt_failure wanted = i == 0 ? JWT_NONE : JWT_KEY;
		expect(wanted, maker_jwk(&maker, MAKER_RSA, ",\"alg\":\"RS256\""), token);
	}
}

/* --- attacks --- */

static void refuses_unsigned_and_symmetric(void **state)
{
	static const char *const rows[] = {"none", "None", "NONE", "nOnE", "HS256", "HS512", "",
		"RS1", "rs256", "ES256K", "A256GCM", "EdDSA ", " EdDSA", "ES512"};
	const char *key = maker_jwk(&maker, MAKER_RSA, "");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(JWT_ALGORITHM, key,
			maker_token(&maker, MAKER_RSA, "RS256",
				maker_text("{\"alg\":\"%s\"}", rows[i]), good_claims));
	expect(JWT_ALGORITHM, key, maker_token_with("{\"typ\":\"JWT\"}", good_claims, "x", 1));
	expect(JWT_ALGORITHM, key, maker_token_with("{\"alg\":[\"RS256\"]}", good_claims, "x", 1));
	expect(JWT_ALGORITHM, key, maker_token_with("{\"alg\":null}", good_claims, "x", 1));
	expect(JWT_FORM, key, maker_token_with("{\"alg\":\"none\"}", good_claims, "", 0));
}

/* The public key as the secret of an HMAC, in the forms in which somebody could have it. */
static void refuses_hmac_with_the_public_key(void **state)
{
	static const char header[] = "{\"alg\":\"HS256\"}";
	const char *text = maker_text("%s.%s", maker_base64url(header, strlen(header)),
		maker_base64url(good_claims, strlen(good_claims)));
	const char *key = maker_jwk(&maker, MAKER_RSA, "");
	uint8_t n[256], mac[32];
	unsigned len;
	BN_bn2bin(RSA_get0_n(maker.rsa), n);
	const struct str secrets[] = {str_of(key), {(const char *)n, sizeof(n)}};
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
		assert_non_null(HMAC(EVP_sha256(), secrets[i].at, secrets[i].len,
			(const uint8_t *)text, strlen(text), mac, &len));
		expect(JWT_ALGORITHM, key, maker_token_with(header, good_claims, mac, len));
		/* and as if it were a signature of the key's own type */
		expect(JWT_SIGNATURE, key,
			maker_token_with("{\"alg\":\"RS256\"}", good_claims, mac, len));
	}
}

static void takes_the_key_that_is_named_only(void **state)
{
	const char *one = maker_jwk(&maker, MAKER_ED25519, ",\"kid\":\"one\"");
	const char *other = maker_jwk(&maker, MAKER_RSA, ",\"kid\":\"other\"");
	const char *both = maker_text("%s,%s", one, other);
	expect(JWT_NONE, both, ed("{\"alg\":\"EdDSA\",\"kid\":\"one\"}", good_claims));
	expect(JWT_NONE, both, ed("{\"alg\":\"EdDSA\"}", good_claims));
	expect(JWT_KEY, both, ed("{\"alg\":\"EdDSA\",\"kid\":\"other\"}", good_claims));
	expect(JWT_KEY, both, ed("{\"alg\":\"EdDSA\",\"kid\":\"One\"}", good_claims));
	expect(JWT_KEY, both, ed("{\"alg\":\"EdDSA\",\"kid\":\"../one\"}", good_claims));
	expect(JWT_HEADER, both, ed("{\"alg\":\"EdDSA\",\"kid\":\"\"}", good_claims));
	expect(JWT_HEADER, both, ed("{\"alg\":\"EdDSA\",\"kid\":1}", good_claims));
	expect(JWT_HEADER, both, ed("{\"alg\":\"EdDSA\",\"kid\":null}", good_claims));
	/* a key without a name is nobody's by name */
	expect(JWT_KEY, maker_jwk(&maker, MAKER_ED25519, ""),
		ed("{\"alg\":\"EdDSA\",\"kid\":\"one\"}", good_claims));
}

/* While keys are rotated two of one name, or none at all, are tried: not without end. */
static void tries_a_few_keys(void **state)
{
	struct maker others[JWT_TRIES_MAX];
	const char *token = ed("{\"alg\":\"EdDSA\"}", good_claims);
	const char *keys = maker_jwk(&maker, MAKER_ED25519, "");
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		uint8_t private[64];
		if (i < JWT_TRIES_MAX)
			expect(JWT_NONE, keys, token);
		ED25519_keypair(others[i].ed25519_public, private);
		keys = maker_text("%s,%s", maker_jwk(&others[i], MAKER_ED25519, ""), keys);
	}
	expect(JWT_SIGNATURE, keys, token);
}

static void ignores_keys_in_the_header(void **state)
{
	struct maker own;
	maker_init(&own);
	const char *key = maker_jwk(&maker, MAKER_RSA, "");
	static const char *const rows[] = {"\"jku\":\"https://evil.example/keys\"",
		"\"x5u\":\"https://evil.example/cert\"", "\"x5c\":[\"MIIB\"]"};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(JWT_SIGNATURE, key,
			maker_token(&own, MAKER_RSA, "RS256",
				maker_text("{\"alg\":\"RS256\",%s}", rows[i]), good_claims));
	expect(JWT_SIGNATURE, key,
		maker_token(&own, MAKER_RSA, "RS256",
			maker_text(
				"{\"alg\":\"RS256\",\"jwk\":%s}", maker_jwk(&own, MAKER_RSA, "")),
			good_claims));
	maker_done(&own);
}

static void refuses_headers(void **state)
{
	static const char *const rows[] = {"{\"alg\":\"EdDSA\",\"crit\":[\"exp\"]}",
		"{\"alg\":\"EdDSA\",\"crit\":[]}", "{\"alg\":\"EdDSA\",\"b64\":false}",
		"{\"alg\":\"EdDSA\",\"zip\":\"DEF\"}", "{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\"}",
		"{\"alg\":\"none\",\"\\u0061lg\":\"EdDSA\"}",
		"{\"alg\":\"EdDSA\",\"typ\":\"dpop+jwt\"}", "{\"alg\":\"EdDSA\",\"typ\":1}",
		"[\"EdDSA\"]", "\"EdDSA\"", "{}{}", "", "null", "{\"alg\":\"EdDSA\"}x",
		"{\"alg\":\"EdDSA\",}", "{'alg':'EdDSA'}"};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		enum jwt_failure got =
			outcome(maker_jwk(&maker, MAKER_ED25519, ""), ed(rows[i], good_claims));
		/* of an empty header there is no part */
		if (got != (rows[i][0] ? JWT_HEADER : JWT_FORM))
			fail_msg("\"%s\": %s", jwt_failure_text(got), rows[i]);
	}
	expect(JWT_NONE, maker_jwk(&maker, MAKER_ED25519, ""),
		ed(" {\t\"alg\" :\n\"EdDSA\" } ", good_claims));
	expect(JWT_NONE, maker_jwk(&maker, MAKER_ED25519, ""),
		ed("{\"\\u0061lg\":\"EdDSA\",\"typ\":\"jwt\"}", good_claims));
	expect(JWT_NONE, maker_jwk(&maker, MAKER_ED25519, ""),
		ed("{\"alg\":\"EdDSA\",\"typ\":\"at+JWT\"}", good_claims));
}

static void refuses_forms(void **state)
{
	const char *key = maker_jwk(&maker, MAKER_ED25519, "");
	const char *good = ed("{\"alg\":\"EdDSA\"}", good_claims);
	expect(JWT_NONE, key, good);
	int unsigned_len = 0;
	for (int i = 0; good[i]; i++)
		unsigned_len = good[i] == '.' ? i : unsigned_len;
	const char *rows[] = {"", ".", "..", "...", "a.b", "a.b.", ".b.c", "a..c",
		maker_text("%s.", good), maker_text("%s.x", good), maker_text(".%s", good),
		maker_text("%s=", good), maker_text("%s ", good), maker_text(" %s", good),
		maker_text("%s\n", good), maker_text("%.*s", unsigned_len, good),
		maker_text("%.*s.", unsigned_len, good), maker_text("a.%s.b", good)};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(JWT_FORM, key, rows[i]);
	char *large = malloc(JWT_BYTES_MAX + 2);
	assert_non_null(large);
	memset(large, 'A', JWT_BYTES_MAX + 1);
	large[JWT_BYTES_MAX + 1] = '\0';
	expect(JWT_FORM, key, large);
	free(large);
}

/* One token, one text: neither left-over bits nor any other change goes through. */
static void refuses_twins(void **state)
{
	char good[400], text[400];
	snprintf(good, sizeof(good), "%s", ed("{\"alg\":\"EdDSA\"}", good_claims));
	for (size_t i = 0; good[i]; i++) {
		memcpy(text, good, sizeof(text));
		for (const char *c = "AZaz09-_.+/=\n"; *c; c++) {
			text[i] = *c;
			if (*c != good[i] &&
				outcome(maker_jwk(&maker, MAKER_ED25519, ""), text) == JWT_NONE)
				fail_msg("byte %zu as %c: %s", i, *c, text);
		}
	}
}

static void refuses_signatures_of_other_forms(void **state)
{
	static const char header[] = "{\"alg\":\"ES256\"}";
	const char *key = maker_jwk(&maker, MAKER_P256, "");
	const char *good = maker_token(&maker, MAKER_P256, "ES256", header, good_claims);
	uint8_t raw[100], zero[64] = {0}, *der;
	size_t len, der_len;
	expect(JWT_NONE, key, good);
	assert_true(base64url_read(str_of(strrchr(good, '.') + 1), raw, &len));
	assert_int_equal(len, 64);
	ECDSA_SIG *pair = ECDSA_SIG_new();
	BN_bin2bn(raw, 32, pair->r);
	BN_bin2bn(raw + 32, 32, pair->s);
	assert_true(ECDSA_SIG_to_bytes(&der, &der_len, pair));
	expect(JWT_SIGNATURE, key, maker_token_with(header, good_claims, der, der_len));
	expect(JWT_SIGNATURE, key, maker_token_with(header, good_claims, zero, 64));
	expect(JWT_SIGNATURE, key, maker_token_with(header, good_claims, raw, 63));
	memmove(raw + 1, raw, 64);
	raw[0] = 0;
	expect(JWT_SIGNATURE, key, maker_token_with(header, good_claims, raw, 65));
	OPENSSL_free(der);
	ECDSA_SIG_free(pair);
	/* RSA: PKCS #1 for PSS and the other way round, a signature cut short or with more */
	const char *rsa = maker_jwk(&maker, MAKER_RSA, "");
	expect(JWT_SIGNATURE, rsa,
		maker_token(&maker, MAKER_RSA, "PS256", "{\"alg\":\"RS256\"}", good_claims));
	expect(JWT_SIGNATURE, rsa,
		maker_token(&maker, MAKER_RSA, "RS256", "{\"alg\":\"PS256\"}", good_claims));
	expect(JWT_SIGNATURE, rsa,
		maker_token(&maker, MAKER_RSA, "RS512", "{\"alg\":\"RS256\"}", good_claims));
}

/* --- time, issuer, audience --- */

static void wants_an_expiry(void **state)
{
	static const char *const bad[] = {"\"1000100\"", "null", "true", "-1", "[1000100]", "{}",
		"1e400", "99999999999999999999", "1e300", "-0.5", "9007199254740994"};
	expect_claims(JWT_CLAIMS, "{\"iss\":\"https://id\"}");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		expect_claims(
			JWT_CLAIMS, maker_text("{\"iss\":\"https://id\",\"exp\":%s}", bad[i]));
		expect_claims(JWT_CLAIMS,
			maker_text("{\"iss\":\"https://id\",\"exp\":1000100,\"nbf\":%s}", bad[i]));
		expect_claims(JWT_CLAIMS,
			maker_text("{\"iss\":\"https://id\",\"exp\":1000100,\"iat\":%s}", bad[i]));
	}
	expect_claims(JWT_CLAIMS, "{\"iss\":\"https://id\",\"exp\":1000100,\"exp\":2000000}");
	expect_claims(JWT_CLAIMS, "{\"iss\":\"https://id\",\"exp\":1,\"\\u0065xp\":2000000}");
	expect_claims(JWT_NONE, "{\"iss\":\"https://id\",\"exp\":1000100.5}");
	expect_claims(JWT_NONE, "{\"iss\":\"https://id\",\"exp\":1.0001e6}");
}

static void keeps_to_the_clock(void **state)
{
	static const struct {
		const char *times;
		enum jwt_failure wanted;
	} rows[] = {{"\"exp\":999971", JWT_NONE}, {"\"exp\":999970", JWT_EXPIRED},
		{"\"exp\":999970.9", JWT_EXPIRED}, {"\"exp\":0", JWT_EXPIRED},
		{"\"exp\":1000100,\"nbf\":1000030", JWT_NONE},
		{"\"exp\":1000100,\"nbf\":1000031", JWT_EARLY},
		{"\"exp\":1000100,\"iat\":1000030", JWT_NONE},
		{"\"exp\":1000100,\"iat\":1000031", JWT_EARLY},
		{"\"exp\":9007199254740992", JWT_NONE}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect_claims(
			rows[i].wanted, maker_text("{\"iss\":\"https://id\",%s}", rows[i].times));
}

static void keeps_to_the_issuer(void **state)
{
	static const char *const bad[] = {"\"https://id/\"", "\"https://ID\"", "\"\"", "null", "1",
		"[\"https://id\"]", "\"https://id\\u0020\"", "\"https://id.evil\"", "{}"};
	expect_claims(JWT_ISSUER, "{\"exp\":1000100}");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		expect_claims(JWT_ISSUER, maker_text("{\"iss\":%s,\"exp\":1000100}", bad[i]));
	expect_claims(
		JWT_CLAIMS, "{\"iss\":\"https://evil\",\"iss\":\"https://id\",\"exp\":1000100}");
	expect_claims(JWT_NONE, "{\"\\u0069ss\":\"https:\\/\\/id\",\"exp\":1000100}");
	expect_claims(JWT_CLAIMS, "{\"iss\":\"https://id\",\"exp\":1000100,\"sub\":5}");
	expect_claims(JWT_CLAIMS, "{\"iss\":\"https://id\\u0000\",\"exp\":1000100}");
}

static void keeps_to_the_audience(void **state)
{
	static const struct {
		const char *audience;
		enum jwt_failure wanted, unasked;
	} rows[] = {{"\"shop\"", JWT_NONE, JWT_NONE}, {"[\"x\",\"mail\"]", JWT_NONE, JWT_NONE},
		{"\"shop \"", JWT_AUDIENCE, JWT_NONE}, {"\"Shop\"", JWT_AUDIENCE, JWT_NONE},
		{"[]", JWT_AUDIENCE, JWT_NONE}, {"[\"x\"]", JWT_AUDIENCE, JWT_NONE},
		{"\"\"", JWT_AUDIENCE, JWT_NONE}, {"5", JWT_CLAIMS, JWT_CLAIMS},
		{"{\"shop\":1}", JWT_CLAIMS, JWT_CLAIMS}, {"null", JWT_CLAIMS, JWT_CLAIMS},
		{"[[\"shop\"]]", JWT_CLAIMS, JWT_CLAIMS}, {"[\"shop\",5]", JWT_CLAIMS, JWT_CLAIMS}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *claims = maker_text(
			"{\"iss\":\"https://id\",\"exp\":1000100,\"aud\":%s}", rows[i].audience);
		expect_claims(rows[i].unasked, claims);
		rules.audiences = good_audiences;
		rules.audience_count = ARRAY_LEN(good_audiences);
		expect_claims(rows[i].wanted, claims);
		rules.audience_count = 0;
	}
	rules.audiences = good_audiences;
	rules.audience_count = 1;
	expect_claims(JWT_AUDIENCE, good_claims);
	rules.audience_count = 0;
}

static void refuses_claims_that_are_no_object(void **state)
{
	static const char *const rows[] = {"[]", "null", "5", "\"x\"", "{", "{}x", "\xef\xbb\xbf{}",
		"{\"iss\":\"\xff\"}", "{\"iss\":\"\\ud800\"}", "{\"a\":1,\"a\":1}",
		"{\"a\":{\"b\":1,\"b\":2}}", "{\"a\":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}",
		"{\"a\":01}", "{\"a\":NaN}"};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect_claims(JWT_CLAIMS, rows[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verifies_the_rfcs_tokens),
		cmocka_unit_test(refuses_the_rfcs_other_tokens),
		cmocka_unit_test(verifies_the_rfcs_ed25519),
		cmocka_unit_test(verifies_each_algorithm),
		cmocka_unit_test(refuses_unsigned_and_symmetric),
		cmocka_unit_test(refuses_hmac_with_the_public_key),
		cmocka_unit_test(takes_the_key_that_is_named_only),
		cmocka_unit_test(tries_a_few_keys),
		cmocka_unit_test(ignores_keys_in_the_header),
		cmocka_unit_test(refuses_headers),
		cmocka_unit_test(refuses_forms),
		cmocka_unit_test(refuses_twins),
		cmocka_unit_test(refuses_signatures_of_other_forms),
		cmocka_unit_test(wants_an_expiry),
		cmocka_unit_test(keeps_to_the_clock),
		cmocka_unit_test(keeps_to_the_issuer),
		cmocka_unit_test(keeps_to_the_audience),
		cmocka_unit_test(refuses_claims_that_are_no_object),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
