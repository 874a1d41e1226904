/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger/limit_id.h"

#include <openssl/sha.h>

struct ledger_id ledger_limit_id(struct str rule, struct str key)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	uint64_t rule_len = rule.len;
	struct ledger_id id;
	SHA256_CTX sha;
	SHA256_Init(&sha);
	SHA256_Update(&sha, "limit", sizeof("limit"));
	SHA256_Update(&sha, &rule_len, sizeof(rule_len));
	SHA256_Update(&sha, rule.at, rule.len);
	SHA256_Update(&sha, key.at, key.len);
	SHA256_Final(digest, &sha);
	memcpy(&id, digest, sizeof(id));
	id.word[0] |= id.word[0] == 0 && id.word[1] == 0;
	return id;
}
