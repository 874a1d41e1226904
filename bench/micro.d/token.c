/* SPDX-License-Identifier: Apache-2.0 */
/* Verifying an end user's token, which a worker does once for each. */
#include "jwt/jwt.h"
#include "micro.h"
#include "unit/jwt/maker.h"

#include <stdlib.h>

struct token {
	struct jwk_set *keys;
	struct str text;
};

static void *token_start(enum maker_kind kind, const char *algorithm)
{
	struct token *t = calloc(1, sizeof(*t));
	struct maker maker;
	struct err err;
	ASSERT(t);
	maker_init(&maker);
	const char *header = maker_text("{\"alg\":\"%s\",\"kid\":\"a\"}", algorithm);
	const char *keys = maker_text("{\"keys\":[%s]}", maker_jwk(&maker, kind, ",\"kid\":\"a\""));
	bool ok = jwk_set_new(str_of(keys), &t->keys, &err) == 0;
	ASSERT(ok);
	const char *text = maker_token(&maker, kind, algorithm, header,
		"{\"iss\":\"https://id.example\",\"sub\":\"ann\",\"aud\":[\"orders\"],"
		"\"exp\":1000600,\"iat\":1000000,\"groups\":[\"a\",\"b\",\"c\",\"shop\"],"
		"\"realm_access\":{\"roles\":[\"x\",\"y\"]},\"email\":\"ann@example.com\"}");
	t->text = str_of(strdup(text));
	maker_done(&maker);
	return t;
}

static void *token_start_rsa(void)
{
	return token_start(MAKER_RSA, "RS256");
}

static void *token_start_p256(void)
{
	return token_start(MAKER_P256, "ES256");
}

static void *token_start_ed25519(void)
{
	return token_start(MAKER_ED25519, "EdDSA");
}

static void token_stop(void *state)
{
	struct token *t = state;
	jwk_set_free(t->keys);
	free((char *)(uintptr_t)t->text.at);
	free(t);
}

static void token_verify(void *state)
{
	const struct token *t = state;
	const struct jwt_rules rules = {.issuer = STR("https://id.example"), .leeway_s = 30};
	struct jwt *jwt;
	bool ok = jwt_read(t->text, &jwt) == JWT_NONE &&
		  jwt_verify(jwt, t->keys, &rules, 1000000) == JWT_NONE;
	ASSERT(ok);
	jwt_free(jwt);
}

static void token_run(void *state, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		micro_measure(token_verify, state);
}

const struct micro_case micro_token_cases[] = {
	{"jwt: verify RS256", 16, token_start_rsa, token_run, token_stop, NULL},
	{"jwt: verify ES256", 16, token_start_p256, token_run, token_stop, NULL},
	{"jwt: verify EdDSA", 16, token_start_ed25519, token_run, token_stop, NULL},
	{0},
};
