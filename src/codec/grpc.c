/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/grpc.h"

#include "base/assert.h"

static bool grpc_ends_name(char c)
{
	return c == '+' || c == ';' || c == ' ' || c == '\t';
}

/* "application/grpc" + "-web" or "-web-text" + "+proto" + "; parameters" */
bool grpc_is_type(struct str content_type)
{
	static const struct str names[] = {{"application/grpc-web-text", 25},
		{"application/grpc-web", 20}, {"application/grpc", 16}};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct str name = names[i];
		if (content_type.len >= name.len &&
			str_eq_nocase((struct str){content_type.at, name.len}, name) &&
			(content_type.len == name.len || grpc_ends_name(content_type.at[name.len])))
			return true;
	}
	return false;
}

enum grpc_status grpc_status_of_http(uint16_t status)
{
	switch (status) {
	case 400:
		return GRPC_INTERNAL;
	case 401:
		return GRPC_UNAUTHENTICATED;
	case 403:
		return GRPC_PERMISSION_DENIED;
	case 404:
		return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return GRPC_UNAVAILABLE;
	default:
		return GRPC_UNKNOWN;
	}
}

static const struct str grpc_texts[] = {
#define X(name, number) {#number, sizeof(#number) - 1},
	GRPC_STATUS_LIST(X)
#undef X
};

bool grpc_status_read(struct str value, enum grpc_status *ret_status)
{
	for (size_t i = 0; i < ARRAY_LEN(grpc_texts); i++) {
		if (str_eq(value, grpc_texts[i])) {
			*ret_status = (enum grpc_status)i;
			return true;
		}
	}
	return false;
}

struct str grpc_status_text(enum grpc_status status)
{
	ASSERT(status < ARRAY_LEN(grpc_texts));
	return grpc_texts[status];
}

size_t grpc_message_write(struct str text, char *message)
{
	size_t len = 0;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.at[i];
		if (c >= ' ' && c <= '~' && c != '%') {
			message[len++] = (char)c;
			continue;
		}
		message[len++] = '%';
		message[len++] = "0123456789ABCDEF"[c >> 4];
		message[len++] = "0123456789ABCDEF"[c & 15];
	}
	return len;
}

bool grpc_pushback_read(struct str value, uint64_t *ret_ms)
{
	return str_to_u64(value, ret_ms);
}
