/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh/identity.h"

static bool identity_is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool identity_service_valid(struct str name)
{
	if (name.len == 0 || name.len > IDENTITY_SERVICE_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (!identity_is_lower(name.at[i]) && name.at[i] != '-')
			return false;
	}
	return name.at[0] != '-' && name.at[name.len - 1] != '-';
}

bool identity_trust_domain_valid(struct str trust_domain)
{
	if (trust_domain.len == 0 || trust_domain.len > IDENTITY_DOMAIN_MAX)
		return false;
	for (size_t i = 0; i < trust_domain.len; i++) {
		char c = trust_domain.at[i];
		if (!identity_is_lower(c) && c != '.' && c != '-' && c != '_')
			return false;
	}
	return true;
}

static bool identity_segment_valid(struct str segment)
{
	if (segment.len == 0 || str_eq(segment, STR(".")) || str_eq(segment, STR("..")))
		return false;
	for (size_t i = 0; i < segment.len; i++) {
		char c = segment.at[i];
		if (!identity_is_lower(c) && !(c >= 'A' && c <= 'Z') && c != '.' && c != '-' &&
			c != '_')
			return false;
	}
	return true;
}

bool identity_path_valid(struct str path)
{
	size_t start = 0;
	if (path.len == 0)
		return false;
	for (size_t i = 0; i <= path.len; i++) {
		if (i < path.len && path.at[i] != '/')
			continue;
		if (!identity_segment_valid((struct str){path.at + start, i - start}))
			return false;
		start = i + 1;
	}
	return true;
}

bool identity_workload_valid(struct str path)
{
	const char *slash = path.len > 0 ? memchr(path.at, '/', path.len) : NULL;
	if (!slash || path.len > IDENTITY_PATH_MAX || path.at[0] == '.')
		return false;
	struct str first = {path.at, (size_t)(slash - path.at)};
	return identity_path_valid(path) && !str_eq(first, STR("node")) &&
	       !str_eq(first, STR("ca"));
}

bool identity_id_valid(struct str id)
{
	struct str scheme = STR("spiffe://");
	if (id.len > IDENTITY_ID_MAX || !str_starts(id, scheme))
		return false;
	struct str rest = {id.at + scheme.len, id.len - scheme.len};
	const char *slash = rest.len ? memchr(rest.at, '/', rest.len) : NULL;
	if (!slash)
		return false;
	size_t domain_len = (size_t)(slash - rest.at);
	return identity_trust_domain_valid((struct str){rest.at, domain_len}) &&
	       identity_path_valid((struct str){slash + 1, rest.len - domain_len - 1});
}
