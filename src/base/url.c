/* SPDX-License-Identifier: Apache-2.0 */
#include "base/url.h"

#include "base/address.h"

static const char url_scheme[] = "https://";

static bool url_is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* A last label that begins with a digit may be read as an address in one of its odd forms:
 * "127.1", "0x7f000001". */
static bool url_is_name(struct str host)
{
	size_t begin = 0;
	if (host.len == 0 || host.len > 253 || !url_is_letter(host.at[host.len - 1]))
		return false;
	for (size_t i = 0; i < host.len; i++) {
		char c = host.at[i];
		if (c == '.') {
			if (i == begin || i - begin > 63 || host.at[i - 1] == '-')
				return false;
			begin = i + 1;
		} else if (!url_is_letter(c) && !(c == '-' && i > begin)) {
			return false;
		}
	}
	return host.len - begin <= 63 && !(host.at[begin] >= '0' && host.at[begin] <= '9');
}

static bool url_is_plain(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.at[i];
		if (c <= ' ' || c > '~' || memchr("\"<>\\^`{|}", c, 9))
			return false;
	}
	return true;
}

static const char *url_host(struct str authority, struct url *ret)
{
	struct address address;
	bool bracketed = authority.len > 0 && authority.at[0] == '[';
	const char *end = NULL;
	if (bracketed)
		end = memchr(authority.at, ']', authority.len);
	else if (authority.len > 0)
		end = memchr(authority.at, ':', authority.len);
	if (bracketed && !end)
		return "no \"]\" behind the address";
	size_t len = end ? (size_t)(end - authority.at) : authority.len;
	struct str rest = {authority.at + len + bracketed, authority.len - len - bracketed};
	ret->host = (struct str){authority.at + bracketed, len - bracketed};
	ret->is_address = address_parse(ret->host, &address);
	bool has_colon = len > bracketed && memchr(ret->host.at, ':', ret->host.len);
	if (ret->is_address ? bracketed != has_colon : bracketed || !url_is_name(ret->host))
		return "no host name or address";
	uint64_t port = 443;
	if (rest.len > 0 && (rest.at[0] != ':' || rest.len > 6 ||
				    !str_to_u64((struct str){rest.at + 1, rest.len - 1}, &port) ||
				    port == 0 || port > UINT16_MAX))
		return "no port number";
	ret->port = (uint16_t)port;
	return NULL;
}

const char *url_https(struct str text, struct url *ret)
{
	size_t scheme_len = sizeof(url_scheme) - 1;
	if (text.len > URL_BYTES_MAX)
		return "too long";
	if (!str_starts(text, str_of(url_scheme)))
		return "does not begin with https://";
	if (!url_is_plain(text))
		return "a character that has no place in a URL";
	struct str rest = {text.at + scheme_len, text.len - scheme_len};
	if (rest.len > 0 && memchr(rest.at, '#', rest.len))
		return "has a fragment";
	size_t len = 0;
	while (len < rest.len && rest.at[len] != '/' && rest.at[len] != '?')
		len++;
	struct str authority = {rest.at, len};
	if (len > 0 && memchr(authority.at, '@', len))
		return "names a user";
	return url_host(authority, ret);
}
