/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of keys: which are taken, which are left out, and what is no set. */
#include "jwt/jwt.h"

#include "maker.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct maker maker;

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

/* How many keys are taken of a text; 0: it is no set. */
static unsigned taken(const char *text)
{
	struct jwk_set *set;
	struct err err = {.text = ""};
	int r = jwk_set_new(str_of(text), &set, &err);
	if (r < 0) {
		assert_int_equal(r, -EINVAL);
		assert_true(err.text[0] != '\0');
		return 0;
	}
	unsigned count = jwk_set_count(set);
	assert_true(count > 0);
	jwk_set_free(set);
	return count;
}

static unsigned taken_one(const char *key)
{
	return taken(maker_text("{\"keys\":[%s]}", key));
}

static void takes_each_type(void **state)
{
	assert_int_equal(taken_one(maker_jwk(&maker, MAKER_RSA, "")), 1);
	assert_int_equal(taken_one(maker_jwk(&maker, MAKER_P256, "")), 1);
	assert_int_equal(taken_one(maker_jwk(&maker, MAKER_P384, "")), 1);
	assert_int_equal(taken_one(maker_jwk(&maker, MAKER_ED25519, "")), 1);
}

/* RFC 7517 appendix A.1: an EC key for encryption, an RSA key for signatures. */
static void takes_the_rfcs_set(void **state)
{
	static const char text[] =
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
		"\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
		"\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\","
		"\"use\":\"enc\",\"kid\":\"1\"},"
		"{\"kty\":\"RSA\",\"n\":\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbb"
		"fAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5"
		"n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0z"
		"gdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPks"
		"INHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\",\"e\":\"AQAB\","
		"\"alg\":\"RS256\",\"kid\":\"2011-04-29\"}]}";
	assert_int_equal(taken(text), 1);
}

static void leaves_out_what_is_not_for_verifying(void **state)
{
	static const char *const rows[] = {",\"use\":\"enc\"", ",\"use\":1", ",\"use\":\"SIG\"",
		",\"key_ops\":[\"sign\"]", ",\"key_ops\":[]", ",\"key_ops\":\"verify\"",
		",\"alg\":\"RS384x\"", ",\"alg\":\"HS256\"", ",\"alg\":\"ES256\"", ",\"alg\":7",
		",\"alg\":\"none\"", ",\"kid\":5", ",\"kid\":\"\"", ",\"d\":\"AQAB\""};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (taken_one(maker_jwk(&maker, MAKER_RSA, rows[i])) != 0)
			fail_msg("taken: %s", rows[i]);
	}
	assert_int_equal(
		taken_one(maker_jwk(&maker, MAKER_RSA,
			",\"use\":\"sig\",\"key_ops\":[\"sign\",\"verify\"],\"alg\":\"PS256\"")),
		1);
}

static void leaves_out_bad_keys(void **state)
{
	static const char *const rows[] = {"{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQ\"}",
		"{\"kty\":\"rsa\",\"n\":\"0vx7\",\"e\":\"AQAB\"}",
		"{\"kty\":\"RSA\",\"n\":\"0vx7\",\"e\":\"AQAB\"}",
		"{\"kty\":\"RSA\",\"e\":\"AQAB\"}",
		/* not on the curve */
		"{\"kty\":\"EC\",\"crv\":\"P-256\","
		"\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
		"\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyE\"}",
		/* a coordinate that is short */
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AA\",\"y\":\"AA\"}",
		"{\"kty\":\"OKP\",\"crv\":\"X25519\","
		"\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
		"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg\"}",
		/* left-over bits, padding, the other alphabet */
		"{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
		"\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp\"}",
		"{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
		"\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"}",
		"{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
		"\"x\":\"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
		"5", "null", "[]"};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (taken_one(rows[i]) != 0)
			fail_msg("taken: %s", rows[i]);
		/* and the others are, all the same */
		assert_int_equal(taken(maker_text("{\"keys\":[%s,%s]}", rows[i],
					 maker_jwk(&maker, MAKER_ED25519, ""))),
			1);
	}
	assert_int_equal(taken_one(maker_jwk(&maker, MAKER_RSA_SMALL, "")), 0);
}

static void refuses_what_is_no_set(void **state)
{
	static const char *const rows[] = {"", " ", "null", "[]", "\"keys\"", "{}", "{\"keys\":{}}",
		"{\"keys\":[]}", "{\"keys\":[5]}", "{\"keys\":null}", "{\"keys\":[]",
		"<html>404</html>"};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (taken(rows[i]) != 0)
			fail_msg("taken: %s", rows[i]);
	}
	const char *key = maker_jwk(&maker, MAKER_ED25519, "");
	assert_int_equal(taken(maker_text("{\"keys\":[%s]}x", key)), 0);
	assert_int_equal(taken(maker_text("{\"keys\":[%s],\"keys\":[%s]}", key, key)), 0);
	assert_int_equal(taken(maker_text("{\"keys\":[%s],\"x\":1}", key)), 1);
}

static void bounds_numbers_and_depth(void **state)
{
	char text[20000] = "{\"keys\":[";
	const char *key = maker_jwk(&maker, MAKER_ED25519, "");
	for (int i = 0; i < JWK_SET_KEYS_MAX; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? "," : "",
			key);
	assert_int_equal(taken(maker_text("%s]}", text)), JWK_SET_KEYS_MAX);
	assert_int_equal(taken(maker_text("%s,%s]}", text, key)), 0);
	char deep[64] = "";
	for (int i = 0; i < 20; i++)
		deep[i] = '[';
	assert_int_equal(taken(maker_text("{\"keys\":[%s],\"x\":%s", key, deep)), 0);
	char *large = malloc(JWK_SET_BYTES_MAX + 2);
	assert_non_null(large);
	memset(large, ' ', JWK_SET_BYTES_MAX + 1);
	memcpy(large, "{\"keys\":[", 9);
	large[JWK_SET_BYTES_MAX + 1] = '\0';
	assert_int_equal(taken(large), 0);
	free(large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_each_type),
		cmocka_unit_test(takes_the_rfcs_set),
		cmocka_unit_test(leaves_out_what_is_not_for_verifying),
		cmocka_unit_test(leaves_out_bad_keys),
		cmocka_unit_test(refuses_what_is_no_set),
		cmocka_unit_test(bounds_numbers_and_depth),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
