/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever spiffe_parse() accepts has both parts valid by themselves, and they make up the id. */
#include "base/assert.h"
#include "tls/spiffe.h"
#include "tls/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str id = {(const char *)bytes, len}, trust_domain, path;
	if (!spiffe_parse(id, &trust_domain, &path))
		return 0;
	ASSERT(id.len <= TLS_ID_MAX && !memchr(id.at, '\0', id.len));
	ASSERT(spiffe_trust_domain_valid(trust_domain) && spiffe_path_valid(path));
	ASSERT(trust_domain.at == id.at + 9 && path.at == trust_domain.at + trust_domain.len + 1);
	ASSERT(path.at + path.len == id.at + id.len);
	return 0;
}
