/* SPDX-License-Identifier: Apache-2.0 */
/* A server's JWK Set: whatever is taken has at least one key, and no more than there may be. */
#include "base/assert.h"
#include "jwt/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct jwk_set *set = NULL;
	struct err err = {.text = ""};
	int r = jwk_set_new((struct str){(const char *)bytes, len}, &set, &err);
	ASSERT((r == 0) == (set != NULL));
	ASSERT(r == 0 || err.text[0]);
	if (r == 0)
		ASSERT(jwk_set_count(set) > 0 && jwk_set_count(set) <= JWK_SET_KEYS_MAX);
	jwk_set_free(set);
	return 0;
}
