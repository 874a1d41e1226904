/* SPDX-License-Identifier: Apache-2.0 */
#include "h1_name.h"

#include "codec/http.h"

static enum http_name http_name_if(struct str name, struct str wanted, enum http_name result)
{
	return str_eq_nocase(name, wanted) ? result : HTTP_NAME_OTHER;
}

/* By length first: nearly every other field is told apart without looking at a character. */
enum http_name http_name_of(struct str name)
{
	switch (name.len) {
	case 2:
		return http_name_if(name, STR("te"), HTTP_NAME_TE);
	case 4:
		return http_name_if(name, STR("host"), HTTP_NAME_HOST);
	case 6:
		return http_name_if(name, STR("expect"), HTTP_NAME_EXPECT);
	case 7:
		if (str_eq_nocase(name, STR("upgrade")))
			return HTTP_NAME_UPGRADE;
		return http_name_if(name, STR("trailer"), HTTP_NAME_TRAILER);
	case 10:
		if (str_eq_nocase(name, STR("connection")))
			return HTTP_NAME_CONNECTION;
		if (str_eq_nocase(name, STR("user-agent")))
			return HTTP_NAME_USER_AGENT;
		return http_name_if(name, STR("keep-alive"), HTTP_NAME_KEEP_ALIVE);
	case 12:
		return http_name_if(name, STR("x-request-id"), HTTP_NAME_REQUEST_ID);
	case 14:
		if (str_eq_nocase(name, STR("http2-settings")))
			return HTTP_NAME_HTTP2_SETTINGS;
		return http_name_if(name, STR("content-length"), HTTP_NAME_CONTENT_LENGTH);
	case 16:
		if (str_eq_nocase(name, STR("x-ringmain-route")))
			return HTTP_NAME_ROUTE;
		return http_name_if(name, STR("proxy-connection"), HTTP_NAME_PROXY_CONNECTION);
	case 17:
		if (str_eq_nocase(name, STR("x-ringmain-mirror")))
			return HTTP_NAME_MIRROR;
		return http_name_if(name, STR("transfer-encoding"), HTTP_NAME_TRANSFER_ENCODING);
	case 23:
		return http_name_if(name, STR("x-forwarded-client-cert"), HTTP_NAME_CLIENT_CERT);
	default:
		return HTTP_NAME_OTHER;
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
	if (http_name_is_hop(http_name_of(name)))
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
