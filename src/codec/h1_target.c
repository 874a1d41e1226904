/* SPDX-License-Identifier: Apache-2.0 */
#include "h1_target.h"

#include "base/address.h"

static bool h1_target_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool h1_target_port_valid(struct str port)
{
	uint64_t number;
	return port.len <= 5 && str_to_u64(port, &number) && number > 0 && number <= UINT16_MAX;
}

/* Host names as they are in use: percent signs, commas and the like are legal in a URI and are
 * nothing but ways to be read differently by the next hop. So are labels without a letter between
 * two dots; one dot at the end is the root's. */
static bool h1_target_name_valid(struct str name)
{
	char before = '.';
	for (size_t i = 0; i < name.len; i++) {
		char c = name.at[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		if (!letter && !h1_target_is_digit(c) && c != '-' && c != '.' && c != '_' &&
			c != '~')
			return false;
		if (c == '.' && before == '.')
			return false;
		before = c;
	}
	return name.len > 0;
}

static bool h1_target_ip6_valid(struct str ip)
{
	struct address address;
	return ip.len > 0 && memchr(ip.at, ':', ip.len) && address_parse(ip, &address);
}

/* host[:port]; *ret_has_port tells which. */
static bool h1_target_authority_valid(struct str authority, bool *ret_has_port)
{
	struct str host = authority, rest;
	*ret_has_port = false;
	if (authority.len == 0)
		return false;
	if (authority.at[0] == '[') {
		const char *close = memchr(authority.at, ']', authority.len);
		if (!close)
			return false;
		host = (struct str){authority.at + 1, (size_t)(close - authority.at - 1)};
		rest = (struct str){close + 1, authority.len - host.len - 2};
		if (!h1_target_ip6_valid(host))
			return false;
	} else {
		const char *colon = memchr(authority.at, ':', authority.len);
		if (colon)
			host.len = (size_t)(colon - authority.at);
		rest = (struct str){authority.at + host.len, authority.len - host.len};
		if (!h1_target_name_valid(host))
			return false;
	}
	if (rest.len == 0)
		return true;
	*ret_has_port = true;
	return rest.at[0] == ':' && h1_target_port_valid((struct str){rest.at + 1, rest.len - 1});
}

static void h1_target_lower(struct str s)
{
	char *at = (char *)s.at;
	for (size_t i = 0; i < s.len; i++) {
		if (at[i] >= 'A' && at[i] <= 'Z')
			at[i] = (char)(at[i] - 'A' + 'a');
	}
}

/* "a.example." is "a.example": the dot at the end is taken off, so that whoever compares names,
 * here or further on, sees one of the two only. */
static void h1_target_undot(struct str *authority)
{
	char *at = (char *)authority->at;
	const char *colon =
		authority->len > 0 && at[0] != '[' ? memchr(at, ':', authority->len) : NULL;
	size_t len = colon ? (size_t)(colon - at) : authority->len;
	if (len < 2 || at[len - 1] != '.')
		return;
	memmove(at + len - 1, at + len, authority->len - len);
	authority->len--;
}

/* Length of "http://" or "https://" at the start of `target`, or 0. */
static size_t h1_target_scheme(struct str target)
{
	static const struct str schemes[] = {{"http://", 7}, {"https://", 8}};
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		struct str start = {target.at, schemes[i].len};
		if (target.len > start.len && str_eq_nocase(start, schemes[i]))
			return start.len;
	}
	return 0;
}

static enum http_bad h1_target_absolute(
	struct http_head *head, enum method method, struct str target, size_t scheme_len)
{
	struct str authority = {target.at + scheme_len, 0};
	size_t rest_len = target.len - scheme_len;
	while (authority.len < rest_len && authority.at[authority.len] != '/' &&
		authority.at[authority.len] != '?')
		authority.len++;
	struct str path = {authority.at + authority.len, rest_len - authority.len};
	bool has_port;
	if (!h1_target_authority_valid(authority, &has_port))
		return HTTP_BAD_TARGET;

	if (path.len == 0) {
		path = method == METHOD_OPTIONS ? STR("*") : STR("/");
	} else if (path.at[0] == '?') {
		/* The scheme before it leaves room: "http://a?b" becomes "http:/a/?b". */
		char *start = (char *)authority.at - 1;
		memmove(start, authority.at, authority.len);
		start[authority.len] = '/';
		authority.at = start;
		path = (struct str){path.at - 1, path.len + 1};
	}
	head->authority = authority;
	head->path = path;
	return HTTP_BAD_NONE;
}

enum http_bad h1_target_read(
	struct http_head *head, enum method method, struct str target, struct str host)
{
	bool has_port = false;
	enum http_bad bad = HTTP_BAD_NONE;
	if (host.at ? !h1_target_authority_valid(host, &has_port) : head->version != HTTP_1_0)
		return HTTP_BAD_HOST;

	head->authority = host;
	head->path = target;
	size_t scheme_len = h1_target_scheme(target);
	if (method == METHOD_CONNECT) {
		if (!h1_target_authority_valid(target, &has_port) || !has_port)
			return HTTP_BAD_TARGET;
		head->authority = target;
		head->path = STR_NONE;
	} else if (scheme_len > 0) {
		bad = h1_target_absolute(head, method, target, scheme_len);
	} else if (target.at[0] != '/' && !(method == METHOD_OPTIONS && str_eq(target, STR("*")))) {
		bad = HTTP_BAD_TARGET;
	}
	if (bad != HTTP_BAD_NONE)
		return bad;
	h1_target_lower(head->authority);
	h1_target_undot(&head->authority);
	return bad;
}

bool http_authority_normalise(struct str *authority)
{
	bool has_port;
	if (!h1_target_authority_valid(*authority, &has_port))
		return false;
	h1_target_lower(*authority);
	h1_target_undot(authority);
	return true;
}
