/* SPDX-License-Identifier: Apache-2.0 */
/* A stranger's token. With the RFC's keys nothing that is made up here has a good signature, but
 * for the RFC's own tokens, in the corpus. What comes of those is bounded and in order. Behind a
 * first byte '!' the rest is taken for claims, as if somebody had signed them. */
#include "base/assert.h"
#include "jwt/inside.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const char fuzz_keys[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
				"\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
				"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
				"{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
				"\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"},"
				"{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_"
				"wWJcyQoTbji9k0l8W26mPddxHmfHQp-Va"
				"w-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_"
				"YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0L"
				"OL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-"
				"UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh"
				"9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_"
				"h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\","
				"\"e\":\"AQAB\"}]}";

static void fuzz_check_list(const struct policy_claim *list, uint32_t count)
{
	ASSERT(count <= JWT_CLAIMS_MAX);
	for (uint32_t i = 0; i < count; i++) {
		ASSERT(list[i].name.len > 0 && list[i].name.len <= 2 * JWT_BYTES_MAX);
		ASSERT(!memchr(list[i].value.at, 0, list[i].value.len));
	}
}

static void fuzz_claims(struct str text)
{
	struct jwt t = {0};
	t.claims = text.len <= JWT_BYTES_MAX ? strict_object(text) : NULL;
	if (!t.claims)
		return;
	arena_init(&t.arena, 256u << 10);
	if (claims_flatten(&t) == JWT_NONE)
		fuzz_check_list(t.list, t.list_count);
	arena_done(&t.arena);
	json_decref(t.claims);
}

static void fuzz_token(struct str text)
{
	static struct jwk_set *set;
	struct err err;
	struct jwt *t = NULL;
	const struct jwt_rules rules = {.issuer = STR("joe"), .leeway_s = 30};
	if (!set)
		ASSERT(jwk_set_new(str_of(fuzz_keys), &set, &err) == 0);
	if (jwt_read(text, &t) != JWT_NONE) {
		ASSERT(!t);
		return;
	}
	if (jwt_verify(t, set, &rules, 1300819379) == JWT_NONE) {
		struct policy_token token = jwt_token(t);
		ASSERT(jwt_expires_s(t) == 1300819380);
		ASSERT(token.claim_count == 3);
		fuzz_check_list(token.claims, token.claim_count);
	}
	jwt_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str text = {(const char *)bytes, len};
	if (len > 0 && bytes[0] == '!')
		fuzz_claims((struct str){text.at + 1, len - 1});
	else
		fuzz_token(text);
	return 0;
}
