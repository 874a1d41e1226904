/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever bytes a request brings, its access log line is one line of valid JSON, and no value of a
 * signature's query key is in it. Input: a byte of choices, then the texts, split at 0xff. */
#include "telemetry/access.h"

#include "json_check.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void fuzz_require(bool condition)
{
	if (!condition)
		abort();
}

/* Whatever stands before it in a query, a signature is not shown. */
static void fuzz_redaction(struct str before, char line[ACCESS_LINE_MAX])
{
	char path[256] = "/?";
	size_t len = before.len < 200 ? before.len : 200;
	if (!before.at || memmem(before.at, len, "HIDDEN", 6))
		return;
	memcpy(path + 2, before.at, len);
	memcpy(path + 2 + len, "&sig=HIDDEN", 11);
	const struct access_entry e = {.path = {path, 2 + len + 11}};
	size_t line_len = access_format(&e, line, ACCESS_LINE_MAX);
	fuzz_require(!memmem(line, line_len, "HIDDEN", 6));
	fuzz_require(memmem(line, line_len, "&sig=REDACTED", 13));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static char line[ACCESS_LINE_MAX];
	struct access_entry e = {0};
	struct str *const texts[] = {&e.path, &e.method, &e.authority, &e.user_agent, &e.request_id,
		&e.protocol, &e.workload, &e.source_identity, &e.destination_identity,
		&e.destination_service, &e.response_flags, &e.response_details, &e.policy,
		&e.policy_where, &e.security, &e.would_deny, &e.would_deny_where, &e.noted,
		&e.noted_where};
	if (size < 1)
		return 0;
	e.kind = (enum access_kind)(bytes[0] % 3);
	e.outbound = bytes[0] & 4;
	e.tls_resumed = bytes[0] & 8;
	const char *at = (const char *)bytes + 1, *end = (const char *)bytes + size;
	for (size_t i = 0; i < ARRAY_LEN(texts) && at < end; i++) {
		const char *stop = memchr(at, 0xff, (size_t)(end - at));
		*texts[i] = (struct str){at, (size_t)((stop ? stop : end) - at)};
		at = stop ? stop + 1 : end;
	}
	size_t len = access_format(&e, line, sizeof(line));
	fuzz_require(len > 0 && line[len - 1] == '\n');
	fuzz_require(memchr(line, '\n', len) == line + len - 1);
	fuzz_require(json_valid(line, len));
	fuzz_redaction(e.path, line);
	return 0;
}
