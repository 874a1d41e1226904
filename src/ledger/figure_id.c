/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger/figure_id.h"

#include <openssl/sha.h>
#include <stdio.h>

struct ledger_id ledger_figure_id(
	struct str service, struct str from, struct str to, uint64_t attempt, struct str version)
{
	char number[24];
	int len = snprintf(number, sizeof(number), "%llu", (unsigned long long)attempt);
	const struct str parts[] = {
		STR("figure"), service, from, to, {number, (size_t)len}, version};
	uint8_t digest[SHA256_DIGEST_LENGTH];
	struct ledger_id id;
	SHA256_CTX sha;
	SHA256_Init(&sha);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		SHA256_Update(&sha, parts[i].at, parts[i].len);
		SHA256_Update(&sha, "", 1);
	}
	SHA256_Final(digest, &sha);
	memcpy(&id, digest, sizeof(id));
	id.word[0] |= id.word[0] == 0 && id.word[1] == 0;
	return id;
}
