/* SPDX-License-Identifier: Apache-2.0 */
#include "h1_name.h"

#include "base/assert.h"

static enum h1_name h1_name_if(struct str name, struct str wanted, enum h1_name result)
{
	return str_eq_nocase(name, wanted) ? result : H1_NAME_OTHER;
}

/* By length first: nearly every other field is told apart without looking at a character. */
enum h1_name h1_name_of(struct str name)
{
	switch (name.len) {
	case 2:
		return h1_name_if(name, STR("te"), H1_NAME_TE);
	case 4:
		return h1_name_if(name, STR("host"), H1_NAME_HOST);
	case 6:
		return h1_name_if(name, STR("expect"), H1_NAME_EXPECT);
	case 7:
		if (str_eq_nocase(name, STR("upgrade")))
			return H1_NAME_UPGRADE;
		return h1_name_if(name, STR("trailer"), H1_NAME_TRAILER);
	case 10:
		if (str_eq_nocase(name, STR("connection")))
			return H1_NAME_CONNECTION;
		return h1_name_if(name, STR("keep-alive"), H1_NAME_KEEP_ALIVE);
	case 14:
		if (str_eq_nocase(name, STR("http2-settings")))
			return H1_NAME_HTTP2_SETTINGS;
		return h1_name_if(name, STR("content-length"), H1_NAME_CONTENT_LENGTH);
	case 16:
		return h1_name_if(name, STR("proxy-connection"), H1_NAME_PROXY_CONNECTION);
	case 17:
		return h1_name_if(name, STR("transfer-encoding"), H1_NAME_TRANSFER_ENCODING);
	default:
		return H1_NAME_OTHER;
	}
}

bool h1_name_refused_in_trailer(struct str name)
{
	static const char *const refused[] = {
		"authorization",
		"cache-control",
		"content-encoding",
		"content-range",
		"content-type",
		"cookie",
		"forwarded",
		"max-forwards",
		"proxy-authenticate",
		"proxy-authorization",
		"range",
		"set-cookie",
		"www-authenticate",
	};
	if (h1_name_of(name) != H1_NAME_OTHER)
		return true;
	struct str prefix = STR("x-forwarded-");
	if (name.len > prefix.len && str_eq_nocase((struct str){name.at, prefix.len}, prefix))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		if (str_eq_nocase(name, str_of(refused[i])))
			return true;
	}
	return false;
}
