/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate request as anybody on the network may send it: whatever is taken has one valid id
 * and a P-256 key that has signed it, and ends where it ends. */
#include "../../src/ca/authority.h"
#include "../../src/ca/request.h"
#include "base/assert.h"
#include "keys/cert.h"
#include "tls/spiffe.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct request r;
	struct err err = {""};
	struct str trust_domain, identity;
	int result = request_read((struct str){(const char *)bytes, len}, &r, &err);
	ASSERT(result == 0 || result == AUTHORITY_BAD);
	ASSERT((result == 0) == (err.text[0] == '\0'));
	if (result != 0)
		return 0;
	ASSERT(r.key && cert_key_is_p256(r.key) && strlen(r.key_hash) == 64);
	ASSERT(spiffe_parse(str_of(r.id), &trust_domain, &identity));
	ASSERT(str_eq(trust_domain, r.trust_domain) && str_eq(identity, r.identity));
	request_done(&r);
	ASSERT(request_read((struct str){(const char *)bytes, len - 1}, &r, &err) == AUTHORITY_BAD);
	return 0;
}
