/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes are compared, never patterns: no name, method or path ever becomes an expression. Allow and
 * deny ask the same questions and differ in what an unknown answer means. */
#include "mesh/policy.h"

static bool policy_service_has_id(const struct service *service, struct str id)
{
	for (uint32_t i = 0; i < service->id_count; i++) {
		if (str_eq(service->ids[i], id))
			return true;
	}
	return false;
}

/* "spiffe://<trust domain>/service/<name>". */
static bool policy_is_id_of(const struct snapshot *s, struct str id, struct str name)
{
	const struct str parts[] = {STR("spiffe://"), s->trust_domain, STR("/service/"), name};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (!str_starts(id, parts[i]))
			return false;
		id = (struct str){id.at + parts[i].len, id.len - parts[i].len};
	}
	return id.len == 0;
}

/* Does one entry of `from` name this verified identity? A service that is not declared has the
 * identity of its name and no other. */
static bool policy_names(const struct snapshot *s, struct str entry, struct str id)
{
	if (str_eq(entry, STR("*")))
		return true;
	if (str_eq(entry, STR("anonymous")))
		return false;
	if (str_starts(entry, STR("spiffe://")))
		return str_eq(entry, id);
	const struct service *service = snapshot_service(s, entry);
	return service ? policy_service_has_id(service, id) : policy_is_id_of(s, id, entry);
}

bool policy_names_source(const struct snapshot *s, struct str entry, struct str source_id)
{
	return source_id.len == 0 ? str_eq(entry, STR("anonymous"))
				  : policy_names(s, entry, source_id);
}

static bool policy_from_matches(
	const struct snapshot *s, const struct policy *p, const struct policy_request *request)
{
	bool is_anonymous = request->source_id.len == 0;
	if (p->from_count == 0)
		return p->action == POLICY_DENY || !is_anonymous;
	if (is_anonymous && p->action == POLICY_DENY)
		return true;
	for (uint32_t i = 0; i < p->from_count; i++) {
		if (is_anonymous ? str_eq(p->from[i], STR("anonymous"))
				 : policy_names(s, p->from[i], request->source_id))
			return true;
	}
	return false;
}

static bool policy_method_matches(const struct policy *p, struct str method)
{
	for (uint32_t i = 0; i < p->method_count; i++) {
		if (str_eq(p->methods[i], method))
			return true;
	}
	return p->method_count == 0;
}

static bool policy_path_strict(struct str rule, struct str path)
{
	if (rule.len > 0 && rule.at[0] == '*') {
		struct str suffix = {rule.at + 1, rule.len - 1};
		return path.len >= suffix.len &&
		       str_eq((struct str){path.at + path.len - suffix.len, suffix.len}, suffix);
	}
	if (rule.len > 0 && rule.at[rule.len - 1] == '*')
		return str_starts(path, (struct str){rule.at, rule.len - 1});
	return str_eq(rule, path);
}

static int policy_hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void policy_skip_parameters(struct str path, size_t *at)
{
	if (*at < path.len && path.at[*at] == ';') {
		while (*at < path.len && path.at[*at] != '/')
			(*at)++;
	}
}

/* The next character as a lenient server reads it, or -1 at the end: escapes decoded, parameters
 * (";" up to the next "/") passed over, and the empty segments that they leave. */
static int policy_lenient_next(struct str path, size_t *at)
{
	policy_skip_parameters(path, at);
	if (*at >= path.len)
		return -1;
	if (path.at[*at] == '%' && path.len - *at >= 3) {
		int high = policy_hex(path.at[*at + 1]), low = policy_hex(path.at[*at + 2]);
		if (high >= 0 && low >= 0) {
			*at += 3;
			return high * 16 + low;
		}
	}
	int c = (unsigned char)path.at[(*at)++];
	while (c == '/') {
		policy_skip_parameters(path, at);
		if (*at >= path.len || path.at[*at] != '/')
			break;
		(*at)++;
	}
	return c;
}

static size_t policy_lenient_len(struct str path)
{
	size_t len = 0;
	for (size_t at = 0; policy_lenient_next(path, &at) >= 0;)
		len++;
	return len;
}

/* Which a lenient server reads as a strict one does. */
static bool policy_path_is_plain(struct str path)
{
	for (size_t i = 0; i < path.len; i++) {
		char c = path.at[i];
		if (c == '%' || c == ';' || (c == '/' && i > 0 && path.at[i - 1] == '/'))
			return false;
	}
	return true;
}

static bool policy_path_lenient(struct str rule, struct str path)
{
	if (policy_path_is_plain(rule) && policy_path_is_plain(path))
		return policy_path_strict(rule, path);
	bool is_suffix = rule.len > 0 && rule.at[0] == '*';
	bool is_prefix = !is_suffix && rule.len > 0 && rule.at[rule.len - 1] == '*';
	struct str want = {rule.at + is_suffix, rule.len - is_suffix - is_prefix};
	size_t want_len = policy_lenient_len(want), path_len = policy_lenient_len(path);
	if (is_suffix || is_prefix ? path_len < want_len : path_len != want_len)
		return false;
	size_t at = 0, want_at = 0;
	for (size_t skip = is_suffix ? path_len - want_len : 0; skip > 0; skip--)
		policy_lenient_next(path, &at);
	for (size_t i = 0; i < want_len; i++) {
		if (policy_lenient_next(path, &at) != policy_lenient_next(want, &want_at))
			return false;
	}
	return true;
}

static bool policy_path_matches(const struct policy *p, struct str path)
{
	for (uint32_t i = 0; i < p->path_count; i++) {
		if (policy_path_strict(p->paths[i], path) ||
			(p->action == POLICY_DENY && policy_path_lenient(p->paths[i], path)))
			return true;
	}
	return p->path_count == 0;
}

static bool policy_matches(
	const struct snapshot *s, const struct policy *p, const struct policy_request *request)
{
	if (!policy_from_matches(s, p, request))
		return false;
	bool is_opaque = request->method.len == 0;
	if (is_opaque && (p->method_count > 0 || p->path_count > 0))
		return p->action == POLICY_DENY;
	return policy_method_matches(p, request->method) && policy_path_matches(p, request->path);
}

struct policy_verdict policy_check(const struct snapshot *s, const struct service *service,
	const struct policy_request *request)
{
	const struct policy *allow = NULL;
	bool has_allow = false;
	for (uint32_t i = 0; i < service->policy_count; i++) {
		const struct policy *p = service->policies[i];
		has_allow = has_allow || p->action == POLICY_ALLOW;
		if (p->action == POLICY_ALLOW && allow)
			continue;
		if (!policy_matches(s, p, request))
			continue;
		if (p->action == POLICY_DENY)
			return (struct policy_verdict){.allowed = false, .policy = p};
		allow = p;
	}
	if (allow)
		return (struct policy_verdict){.allowed = true, .policy = allow};
	return (struct policy_verdict){
		.allowed = s->default_allow && request->source_id.len > 0 && !has_allow};
}
