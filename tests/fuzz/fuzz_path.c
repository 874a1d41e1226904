/* SPDX-License-Identifier: Apache-2.0 */
/* A request's path: what is let through is in normal form, so that doing it again changes nothing,
 * and holds nothing that two servers could read in two ways. */
#include "base/assert.h"
#include "mesh/policy.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static bool fuzz_path_holds(struct str path, const char *text)
{
	return memmem(path.at, path.len, text, strlen(text)) != NULL;
}

static void fuzz_path_check(struct str whole)
{
	static const char *const banned[] = {"//", "/./", "/../", "\\", "#", "%2F", "%2f", "%5C",
		"%5c", "%00", "%0A", "/..;", "/.;", "/..%3B", "%2E", "/%252e%252e/", "%C0%AF"};
	const char *mark = memchr(whole.at, '?', whole.len);
	struct str path = {whole.at, mark ? (size_t)(mark - whole.at) : whole.len};
	for (size_t i = 0; i < ARRAY_LEN(banned); i++)
		ASSERT(!fuzz_path_holds(path, banned[i]));
	ASSERT(path.at[0] == '/' || str_eq(whole, STR("*")));
	ASSERT(path.len < 3 || memcmp(path.at + path.len - 3, "/..", 3) != 0);
	ASSERT(path.len < 2 || memcmp(path.at + path.len - 2, "/.", 2) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *once = malloc(len), *twice = malloc(len);
	size_t once_len, twice_len;
	struct str whole = {(const char *)bytes, len};
	bool taken = once && path_normalise(whole, once, &once_len);
	ASSERT(taken || !path_is_normal(whole));
	if (taken && twice) {
		struct str normal = {once, once_len};
		ASSERT(once_len <= len);
		ASSERT(!path_is_normal(whole) || str_eq(whole, normal));
		fuzz_path_check((struct str){once, once_len});
		ASSERT(path_normalise((struct str){once, once_len}, twice, &twice_len));
		ASSERT(str_eq((struct str){once, once_len}, (struct str){twice, twice_len}));
	}
	free(once);
	free(twice);
	return 0;
}
