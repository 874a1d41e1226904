/* SPDX-License-Identifier: Apache-2.0 */
/* What a verified token says, as names and values. */
#include "jwt/jwt.h"

#include "maker.h"
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

/* "a=1 b=x " of these members beside "iss" and "exp", which are left out; or why there are none. */
static const char *claims_of(const char *members)
{
	static char text[20000];
	struct jwk_set *set;
	struct err err;
	struct jwt *t;
	const struct jwt_rules rules = {.issuer = STR("i")};
	const char *claims =
		maker_text("{\"iss\":\"i\",\"exp\":200%s%s}", members[0] ? "," : "", members);
	const char *token =
		maker_token(&maker, MAKER_ED25519, "EdDSA", "{\"alg\":\"EdDSA\"}", claims);
	assert_int_equal(jwk_set_new(str_of(maker_text("{\"keys\":[%s]}",
					     maker_jwk(&maker, MAKER_ED25519, ""))),
				 &set, &err),
		0);
	enum jwt_failure failure = jwt_read(str_of(token), &t);
	text[0] = '\0';
	if (failure == JWT_NONE) {
		failure = jwt_verify(t, set, &rules, 100);
		/* as often as it is asked */
		assert_int_equal(jwt_verify(t, set, &rules, 100), failure);
		struct policy_token token_is = {0};
		if (failure == JWT_NONE)
			token_is = jwt_token(t);
		for (uint32_t i = 0; i < token_is.claim_count; i++) {
			const struct policy_claim *c = &token_is.claims[i];
			size_t at = strlen(text);
			if (!str_eq(c->name, STR("iss")) && !str_eq(c->name, STR("exp")))
				snprintf(text + at, sizeof(text) - at, STR_FMT "=" STR_FMT " ",
					STR_ARG(c->name), STR_ARG(c->value));
		}
		jwt_free(t);
	}
	jwk_set_free(set);
	return failure == JWT_NONE ? text : jwt_failure_text(failure);
}

static void expect(const char *members, const char *wanted)
{
	const char *got = claims_of(members);
	if (strcmp(got, wanted) != 0)
		fail_msg("%s\n gives %s\n not   %s", members, got, wanted);
}

static void flattens_values(void **state)
{
	expect("", "");
	expect("\"a\":\"x\"", "a=x ");
	expect("\"a\":5,\"b\":-7,\"c\":true,\"d\":false,\"e\":null", "a=5 b=-7 c=true d=false ");
	expect("\"a\":1.5", "a=1.5 ");
	expect("\"a\":\"\"", "a= ");
	expect("\"a\":\"\\u00e9\"", "a=\xc3\xa9 ");
	expect("\"https://x.example/roles\":\"r\"", "https://x.example/roles=r ");
}

static void flattens_arrays_and_objects(void **state)
{
	expect("\"groups\":[\"a\",\"b\",3,true,null]", "groups=a groups=b groups=3 groups=true ");
	expect("\"groups\":[]", "");
	expect("\"g\":[[\"a\"],[[\"b\"]]]", "g=a g=b ");
	expect("\"realm_access\":{\"roles\":[\"x\",\"y\"],\"z\":1}",
		"realm_access.roles=x realm_access.roles=y realm_access.z=1 ");
	expect("\"a\":{\"b\":{\"c\":\"d\"}}", "a.b.c=d ");
	expect("\"a\":[{\"n\":1,\"m\":2},{\"n\":3}]", "a.m=2 a.n=1 a.n=3 ");
	expect("\"b\":1,\"a\":2", "a=2 b=1 ");
}

/* Two claims that would be one. */
static void refuses_names_of_two_meanings(void **state)
{
	static const char *const rows[] = {"\"a.b\":1,\"a\":{\"b\":2}", "\"a\":{\"b\":2},\"a.b\":1",
		"\"a\":{\"b.c\":1,\"b\":{\"c\":2}}", "\"a.b\":[1],\"a\":{\"b\":[2]}",
		"\"\":{\"a\":1}", "\"a\":{\"\":1}",
		"\"a.b\":[],\"a\":[{\"b\":1}],\"a.b.c\":1,\"\":1"};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(rows[i], jwt_failure_text(JWT_CLAIMS));
}

static void bounds_their_number(void **state)
{
	char text[4000] = "\"a\":[";
	for (int i = 0; i < JWT_CLAIMS_MAX - 2; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s1", i ? "," : "");
	assert_int_equal(strlen(claims_of(maker_text("%s]", text))), 4 * (JWT_CLAIMS_MAX - 2));
	expect(maker_text("%s,1]", text), jwt_failure_text(JWT_CLAIMS));
}

static void tells_the_subject(void **state)
{
	expect("\"sub\":\"ann\"", "sub=ann ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flattens_values),
		cmocka_unit_test(flattens_arrays_and_objects),
		cmocka_unit_test(refuses_names_of_two_meanings),
		cmocka_unit_test(bounds_their_number),
		cmocka_unit_test(tells_the_subject),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
