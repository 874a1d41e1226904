/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar is small enough to be read byte by byte: two character sets, no escapes, no
 * normalisation. Whatever is not plainly in it is refused, so NUL, upper-case trust domains,
 * userinfo, port, query, fragment and percent-encoding need no rule of their own. */
#include "tls/spiffe.h"
#include "tls/tls.h"

#define SPIFFE_TRUST_DOMAIN_MAX 255

static bool spiffe_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

static bool spiffe_segment_valid(struct str segment)
{
	if (segment.len == 0 || str_eq(segment, STR(".")) || str_eq(segment, STR("..")))
		return false;
	for (size_t i = 0; i < segment.len; i++) {
		char c = segment.at[i];
		if (!spiffe_lower(c) && !(c >= 'A' && c <= 'Z'))
			return false;
	}
	return true;
}

bool spiffe_trust_domain_valid(struct str trust_domain)
{
	if (trust_domain.len == 0 || trust_domain.len > SPIFFE_TRUST_DOMAIN_MAX)
		return false;
	for (size_t i = 0; i < trust_domain.len; i++) {
		if (!spiffe_lower(trust_domain.at[i]))
			return false;
	}
	return true;
}

bool spiffe_path_valid(struct str path)
{
	size_t start = 0;
	for (size_t i = 0; i <= path.len; i++) {
		if (i < path.len && path.at[i] != '/')
			continue;
		if (!spiffe_segment_valid((struct str){path.at + start, i - start}))
			return false;
		start = i + 1;
	}
	return true;
}

bool spiffe_path_reserved(struct str path)
{
	const char *slash = path.len > 0 ? memchr(path.at, '/', path.len) : NULL;
	struct str first = {path.at, slash ? (size_t)(slash - path.at) : path.len};
	return str_eq(first, STR("ca")) || str_eq(first, STR("node"));
}

bool spiffe_parse(struct str id, struct str *ret_trust_domain, struct str *ret_path)
{
	struct str scheme = STR("spiffe://");
	if (id.len > TLS_ID_MAX || !str_starts(id, scheme))
		return false;
	struct str rest = {id.at + scheme.len, id.len - scheme.len};
	const char *slash = rest.len > 0 ? memchr(rest.at, '/', rest.len) : NULL;
	if (!slash)
		return false;
	struct str trust_domain = {rest.at, (size_t)(slash - rest.at)};
	struct str path = {slash + 1, rest.len - trust_domain.len - 1};
	if (!spiffe_trust_domain_valid(trust_domain) || !spiffe_path_valid(path))
		return false;
	*ret_trust_domain = trust_domain;
	*ret_path = path;
	return true;
}
