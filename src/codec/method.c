/* SPDX-License-Identifier: Apache-2.0 */
#include "method.h"

#include "base/assert.h"

/* The most frequent first. */
static const struct {
	struct str name;
	enum method method;
} methods[] = {
#define M(name, method)                          \
	{                                        \
		{name, sizeof(name) - 1}, method \
	}
	M("GET", METHOD_OTHER),
	M("POST", METHOD_OTHER),
	M("PUT", METHOD_OTHER),
	M("HEAD", METHOD_HEAD),
	M("DELETE", METHOD_OTHER),
	M("PATCH", METHOD_OTHER),
	M("OPTIONS", METHOD_OPTIONS),
	M("CONNECT", METHOD_CONNECT),
	M("TRACE", METHOD_TRACE),
	M("PROPFIND", METHOD_OTHER),
	M("PROPPATCH", METHOD_OTHER),
	M("MKCOL", METHOD_OTHER),
	M("COPY", METHOD_OTHER),
	M("MOVE", METHOD_OTHER),
	M("LOCK", METHOD_OTHER),
	M("UNLOCK", METHOD_OTHER),
	M("SEARCH", METHOD_OTHER),
	M("BIND", METHOD_OTHER),
	M("REBIND", METHOD_OTHER),
	M("UNBIND", METHOD_OTHER),
	M("ACL", METHOD_OTHER),
	M("REPORT", METHOD_OTHER),
	M("MKACTIVITY", METHOD_OTHER),
	M("CHECKOUT", METHOD_OTHER),
	M("MERGE", METHOD_OTHER),
	M("M-SEARCH", METHOD_OTHER),
	M("NOTIFY", METHOD_OTHER),
	M("SUBSCRIBE", METHOD_OTHER),
	M("UNSUBSCRIBE", METHOD_OTHER),
	M("PURGE", METHOD_OTHER),
	M("MKCALENDAR", METHOD_OTHER),
	M("LINK", METHOD_OTHER),
	M("UNLINK", METHOD_OTHER),
#undef M
};

enum method method_of(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		if (str_eq(methods[i].name, name))
			return methods[i].method;
	}
	return METHOD_UNKNOWN;
}

enum method_match method_match(const uint8_t *bytes, size_t len)
{
	enum method_match match = METHOD_MATCH_NO;
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct str name = methods[i].name;
		size_t n = len < name.len ? len : name.len;
		if (n > 0 && memcmp(bytes, name.at, n) != 0)
			continue;
		if (len > name.len && bytes[name.len] == ' ')
			return METHOD_MATCH_YES;
		if (len <= name.len)
			match = METHOD_MATCH_MORE;
	}
	return match;
}
