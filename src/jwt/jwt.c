/* SPDX-License-Identifier: Apache-2.0 */
#include "inside.h"

#include <math.h>
#include <stdlib.h>

#define JWT_ARENA_BYTES_MAX (256u << 10)
#define JWT_TIME_MAX	    (UINT64_C(1) << 53) /* numbers that JSON's readers agree on */

const char *jwt_failure_text(enum jwt_failure failure)
{
	static const char *const texts[] = {
#define X(name, text) [JWT_##name] = text,
		JWT_FAILURE_LIST(X)
#undef X
	};
	return texts[failure];
}

/* --- reading --- */

struct jwt_parts {
	struct str header, claims, signature;
};

static bool jwt_split(struct str token, struct jwt_parts *ret)
{
	const char *first = memchr(token.at, '.', token.len);
	if (!first)
		return false;
	size_t header_len = (size_t)(first - token.at);
	struct str rest = {first + 1, token.len - header_len - 1};
	const char *second = rest.len > 0 ? memchr(rest.at, '.', rest.len) : NULL;
	if (!second)
		return false;
	size_t claims_len = (size_t)(second - rest.at);
	*ret = (struct jwt_parts){.header = {token.at, header_len},
		.claims = {rest.at, claims_len},
		.signature = {second + 1, rest.len - claims_len - 1}};
	return ret->header.len > 0 && ret->claims.len > 0 && ret->signature.len > 0;
}

/* at == NULL: not base64url, or out of memory. */
static struct str jwt_decode(struct jwt *t, struct str text)
{
	uint8_t *bytes = arena_take(&t->arena, text.len);
	size_t len;
	if (!bytes || !base64url_read(text, bytes, &len))
		return STR_NONE;
	return (struct str){(const char *)bytes, len};
}

/* RFC 8725 3.11: a thing of another kind, signed with the same key, is no token. */
static bool jwt_type_fits(const json_t *header)
{
	static const char *const types[] = {"JWT", "at+jwt", "application/at+jwt"};
	struct str type = strict_text(header, "typ");
	if (!json_object_get(header, "typ"))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (str_eq_nocase(type, str_of(types[i])))
			return true;
	}
	return false;
}

static enum jwt_failure jwt_read_header(struct jwt *t, struct str text)
{
	json_t *header = strict_object(text);
	enum jwt_failure failure = JWT_HEADER;
	if (!header)
		return JWT_HEADER;
	struct str id = strict_text(header, "kid");
	bool has_id = json_object_get(header, "kid") != NULL;
	t->algorithm = jwt_algorithm_of(strict_text(header, "alg"));
	t->key_id = id.len > 0 ? arena_str(&t->arena, id) : STR_NONE;
	if (json_object_get(header, "crit") || json_object_get(header, "b64") ||
		json_object_get(header, "zip") || !jwt_type_fits(header) ||
		(has_id && (id.len == 0 || id.len > JWT_KEY_ID_MAX || !t->key_id.at)))
		failure = JWT_HEADER;
	else
		failure = t->algorithm == JWT_ALGORITHMS ? JWT_ALGORITHM : JWT_NONE;
	json_decref(header);
	return failure;
}

static enum jwt_failure jwt_read_parts(struct jwt *t, struct str token)
{
	struct jwt_parts parts;
	struct str copy = arena_str(&t->arena, token);
	if (!copy.at)
		return JWT_MEMORY;
	if (!jwt_split(copy, &parts))
		return JWT_FORM;
	struct str header = jwt_decode(t, parts.header), claims = jwt_decode(t, parts.claims);
	t->signature = jwt_decode(t, parts.signature);
	if (!header.at || !claims.at || !t->signature.at)
		return JWT_FORM;
	t->signed_text = (struct str){copy.at, parts.header.len + 1 + parts.claims.len};
	enum jwt_failure failure = jwt_read_header(t, header);
	if (failure != JWT_NONE)
		return failure;
	t->claims = strict_object(claims);
	return t->claims ? JWT_NONE : JWT_CLAIMS;
}

enum jwt_failure jwt_read(struct str token, struct jwt **ret_token)
{
	if (token.len == 0 || token.len > JWT_BYTES_MAX)
		return JWT_FORM;
	struct jwt *t = calloc(1, sizeof(*t));
	if (!t)
		return JWT_MEMORY;
	arena_init(&t->arena, JWT_ARENA_BYTES_MAX);
	enum jwt_failure failure = jwt_read_parts(t, token);
	if (failure != JWT_NONE)
		jwt_free(t);
	else
		*ret_token = t;
	return failure;
}

void jwt_free(struct jwt *t)
{
	if (!t)
		return;
	json_decref(t->claims);
	arena_done(&t->arena);
	free(t);
}

struct str jwt_claimed_issuer(const struct jwt *t)
{
	return strict_text(t->claims, "iss");
}

/* --- verifying --- */

static enum jwt_failure jwt_check_signature(const struct jwt *t, const struct jwk_set *keys)
{
	uint32_t tries = 0;
	for (uint32_t i = 0; i < keys->count && tries < JWT_TRIES_MAX; i++) {
		const struct jwk *key = &keys->keys[i];
		if (!jwk_fits(key, t->algorithm) ||
			(t->key_id.len > 0 && !str_eq(t->key_id, key->id)))
			continue;
		tries++;
		if (signature_is_of(t, key))
			return JWT_NONE;
	}
	return tries > 0 ? JWT_SIGNATURE : JWT_KEY;
}

enum jwt_time { JWT_TIME_ABSENT, JWT_TIME_GIVEN, JWT_TIME_BAD };

/* Seconds; of a fraction the earlier ones. */
static enum jwt_time jwt_time(const json_t *claims, const char *name, uint64_t *ret_s)
{
	const json_t *member = json_object_get(claims, name);
	if (!member)
		return JWT_TIME_ABSENT;
	double value = json_is_number(member) ? json_number_value(member) : -1;
	if (!isfinite(value) || value < 0 || value > (double)JWT_TIME_MAX)
		return JWT_TIME_BAD;
	*ret_s = (uint64_t)value;
	return JWT_TIME_GIVEN;
}

static enum jwt_failure jwt_check_times(struct jwt *t, uint32_t leeway_s, uint64_t now_s)
{
	uint64_t not_before_s = 0, issued_s = 0;
	if (jwt_time(t->claims, "exp", &t->expires_s) != JWT_TIME_GIVEN ||
		jwt_time(t->claims, "nbf", &not_before_s) == JWT_TIME_BAD ||
		jwt_time(t->claims, "iat", &issued_s) == JWT_TIME_BAD)
		return JWT_CLAIMS;
	if (now_s >= t->expires_s + leeway_s)
		return JWT_EXPIRED;
	return not_before_s > now_s + leeway_s || issued_s > now_s + leeway_s ? JWT_EARLY
									      : JWT_NONE;
}

static bool jwt_audience_is_one(const json_t *one, const struct jwt_rules *rules)
{
	struct str text = {json_string_value(one), json_string_length(one)};
	for (uint32_t i = 0; i < rules->audience_count; i++) {
		if (str_eq(text, rules->audiences[i]))
			return true;
	}
	return false;
}

/* A text or a list of texts; anything else is refused, wanted or not. */
static enum jwt_failure jwt_check_audience(const json_t *claims, const struct jwt_rules *rules)
{
	const json_t *member = json_object_get(claims, "aud");
	bool fits = rules->audience_count == 0;
	if (json_is_string(member)) {
		fits = fits || jwt_audience_is_one(member, rules);
	} else if (json_is_array(member) && json_array_size(member) <= JWT_AUDIENCES_MAX) {
		for (size_t i = 0; i < json_array_size(member); i++) {
			const json_t *one = json_array_get(member, i);
			if (!json_is_string(one))
				return JWT_CLAIMS;
			fits = fits || jwt_audience_is_one(one, rules);
		}
	} else if (member) {
		return JWT_CLAIMS;
	}
	return fits ? JWT_NONE : JWT_AUDIENCE;
}

enum jwt_failure jwt_verify(
	struct jwt *t, const struct jwk_set *keys, const struct jwt_rules *rules, uint64_t now_s)
{
	const json_t *subject = json_object_get(t->claims, "sub");
	t->is_verified = false;
	if (rules->issuer.len == 0 || !str_eq(jwt_claimed_issuer(t), rules->issuer))
		return JWT_ISSUER;
	enum jwt_failure failure = jwt_check_signature(t, keys);
	if (failure == JWT_NONE)
		failure = jwt_check_times(t, rules->leeway_s, now_s);
	if (failure == JWT_NONE)
		failure = jwt_check_audience(t->claims, rules);
	if (failure == JWT_NONE && subject && !json_is_string(subject))
		failure = JWT_CLAIMS;
	if (failure == JWT_NONE && !t->list)
		failure = claims_flatten(t);
	t->is_verified = failure == JWT_NONE;
	return failure;
}

struct policy_token jwt_token(const struct jwt *t)
{
	ASSERT(t->is_verified);
	return (struct policy_token){.subject = strict_text(t->claims, "sub"),
		.claims = t->list,
		.claim_count = t->list_count};
}

uint64_t jwt_expires_s(const struct jwt *t)
{
	ASSERT(t->is_verified);
	return t->expires_s;
}
