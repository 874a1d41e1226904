/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh/route.h"

#include "mesh/source.h"

/* Part of what a mesh agrees upon: with another one all values would move. */
#define ROUTE_VALUE_SEED UINT64_C(0x76616c7565)

/* --- paths --- */

/* "/orders/{id}/" + "*": both go on in step; what stands in braces takes a whole segment. */
static bool route_template_matches(struct str template, struct str path)
{
	size_t at = 0;
	for (size_t i = 0; i < template.len; i++) {
		char c = template.at[i];
		if (c == '*' && i + 1 == template.len)
			return true;
		if (c != '{') {
			if (at >= path.len || path.at[at] != c)
				return false;
			at++;
			continue;
		}
		size_t from = at;
		while (at < path.len && path.at[at] != '/')
			at++;
		while (i < template.len && template.at[i] != '}')
			i++;
		if (at == from)
			return false;
	}
	return at == path.len;
}

static bool route_prefix_matches(struct str prefix, struct str path)
{
	return str_starts(path, prefix) && (path.len == prefix.len || path.at[prefix.len] == '/');
}

bool route_path_matches(const struct route_path *p, struct str path)
{
	switch (p->kind) {
	case ROUTE_PATH_EXACT:
		return str_eq(p->text, path);
	case ROUTE_PATH_PREFIX:
		return route_prefix_matches(p->text, path);
	case ROUTE_PATH_TEMPLATE:
		return route_template_matches(p->text, path);
	case ROUTE_PATH_REGEX:
		return regex_matches(p->regex, path);
	}
	return false;
}

/* `ret_prefix_len`: of the prefix among them that matched first; 0: none did. */
static bool route_paths_match(
	const struct route_when *when, struct str path, size_t *ret_prefix_len)
{
	*ret_prefix_len = 0;
	for (uint32_t i = 0; i < when->path_count; i++) {
		const struct route_path *p = &when->paths[i];
		if (!route_path_matches(p, path))
			continue;
		if (p->kind == ROUTE_PATH_PREFIX)
			*ret_prefix_len = p->text.len;
		return true;
	}
	return when->path_count == 0;
}

/* --- lists of words --- */

static bool route_has(const struct str *list, uint32_t count, struct str word)
{
	for (uint32_t i = 0; i < count; i++) {
		if (str_eq(list[i], word))
			return true;
	}
	return count == 0;
}

/* "[::1]:80", "orders:80", "orders". */
struct str route_host(struct str authority)
{
	for (size_t i = authority.len; i > 0 && authority.at[i - 1] != ']'; i--) {
		if (authority.at[i - 1] == ':')
			return (struct str){authority.at, i - 1};
	}
	return authority;
}

bool route_host_matches(struct str pattern, struct str host)
{
	if (!str_starts(pattern, STR("*.")))
		return str_eq(pattern, host);
	size_t len = pattern.len - 1;
	return host.len > len && memcmp(host.at + host.len - len, pattern.at + 1, len) == 0;
}

static bool route_hosts_match(const struct route_when *when, struct str authority)
{
	struct str host = when->host_count ? route_host(authority) : STR_NONE;
	for (uint32_t i = 0; i < when->host_count; i++) {
		if (route_host_matches(when->hosts[i], host))
			return true;
	}
	return when->host_count == 0;
}

static bool route_sources_match(
	const struct snapshot *s, const struct route_when *when, struct str source_id)
{
	for (uint32_t i = 0; i < when->from_count; i++) {
		if (source_entry_names(s, when->from[i], source_id))
			return true;
	}
	return when->from_count == 0;
}

/* --- headers, cookies --- */

bool route_text_matches(const struct route_field *f, struct str value)
{
	size_t len = f->text.len;
	switch (f->kind) {
	case ROUTE_TEXT_PRESENT:
		return true;
	case ROUTE_TEXT_EXACT:
		return str_eq(value, f->text);
	case ROUTE_TEXT_PREFIX:
		return str_starts(value, f->text);
	case ROUTE_TEXT_SUFFIX:
		return value.len >= len &&
		       str_eq((struct str){value.at + value.len - len, len}, f->text);
	}
	return false;
}

const struct route_header *route_header_at(const struct route_request *r, uint32_t index)
{
	return (const void *)((const char *)r->headers + index * r->header_bytes);
}

static bool route_header_matches(const struct route_field *f, const struct route_request *r)
{
	for (uint32_t i = 0; i < r->header_count; i++) {
		const struct route_header *h = route_header_at(r, i);
		if (str_eq_nocase(h->name, f->name) && route_text_matches(f, h->value))
			return true;
	}
	return false;
}

/* Takes what is before `end`, or all, off the front. */
static struct str route_cut(struct str *text, char end)
{
	const char *at = text->len ? memchr(text->at, end, text->len) : NULL;
	struct str part = {text->at, at ? (size_t)(at - text->at) : text->len};
	size_t used = part.len + (at ? 1 : 0);
	*text = (struct str){text->at + used, text->len - used};
	return part;
}

static bool route_cookie_in(const struct route_field *f, struct str cookies)
{
	while (cookies.len > 0) {
		struct str value = str_trim(route_cut(&cookies, ';'));
		struct str name = str_trim(route_cut(&value, '='));
		if (str_eq(name, f->name) && route_text_matches(f, str_trim(value)))
			return true;
	}
	return false;
}

static bool route_cookie_matches(const struct route_field *f, const struct route_request *r)
{
	for (uint32_t i = 0; i < r->header_count; i++) {
		const struct route_header *h = route_header_at(r, i);
		if (str_eq_nocase(h->name, STR("cookie")) && route_cookie_in(f, h->value))
			return true;
	}
	return false;
}

/* --- query --- */

/* The next character as a server reads it: escapes decoded, '+' a space; -1 at the end. */
static int route_query_next(struct str text, size_t *at)
{
	if (*at >= text.len)
		return -1;
	char c = text.at[(*at)++];
	if (c == '%' && text.len - *at >= 2) {
		int high = str_hex(text.at[*at]), low = str_hex(text.at[*at + 1]);
		if (high >= 0 && low >= 0) {
			*at += 2;
			return high * 16 + low;
		}
	}
	return c == '+' ? ' ' : (unsigned char)c;
}

static size_t route_query_len(struct str text)
{
	size_t len = 0;
	for (size_t at = 0; route_query_next(text, &at) >= 0;)
		len++;
	return len;
}

/* Whether `text`, decoded, has `want` behind its first `skip` characters. */
static bool route_query_has(struct str text, size_t skip, struct str want)
{
	size_t at = 0;
	while (skip-- > 0)
		route_query_next(text, &at);
	for (size_t i = 0; i < want.len; i++) {
		if (route_query_next(text, &at) != (unsigned char)want.at[i])
			return false;
	}
	return true;
}

static bool route_query_text_matches(const struct route_field *f, struct str value)
{
	size_t len = route_query_len(value);
	switch (f->kind) {
	case ROUTE_TEXT_PRESENT:
		return true;
	case ROUTE_TEXT_EXACT:
		return len == f->text.len && route_query_has(value, 0, f->text);
	case ROUTE_TEXT_PREFIX:
		return route_query_has(value, 0, f->text);
	case ROUTE_TEXT_SUFFIX:
		return len >= f->text.len && route_query_has(value, len - f->text.len, f->text);
	}
	return false;
}

static bool route_query_matches(const struct route_field *f, const struct route_request *r)
{
	struct str query = r->query;
	while (query.len > 0) {
		struct str value = route_cut(&query, '&');
		struct str name = route_cut(&value, '=');
		if (route_query_len(name) == f->name.len && route_query_has(name, 0, f->name) &&
			route_query_text_matches(f, value))
			return true;
	}
	return false;
}

/* --- rules --- */

/* False: `ret_index` is the first that is not so. */
static bool route_fields_match(const struct route_fields *fields, const struct route_request *r,
	bool (*matches)(const struct route_field *f, const struct route_request *r),
	uint32_t *ret_index)
{
	for (uint32_t i = 0; i < fields->count; i++) {
		if (matches(&fields->at[i], r) != fields->at[i].invert)
			continue;
		*ret_index = i;
		return false;
	}
	return true;
}

static bool route_asks_http(const struct route_when *when)
{
	return when->path_count > 0 || when->method_count > 0 || when->host_count > 0 ||
	       when->headers.count > 0 || when->query.count > 0 || when->cookies.count > 0;
}

static enum route_miss route_ask_http(
	const struct route_when *when, const struct route_request *r, struct route_verdict *verdict)
{
	if (!route_paths_match(when, r->path, &verdict->prefix_len))
		return ROUTE_MISS_PATH;
	if (!route_has(when->methods, when->method_count, r->method))
		return ROUTE_MISS_METHOD;
	if (!route_hosts_match(when, r->authority))
		return ROUTE_MISS_HOST;
	if (!route_fields_match(&when->headers, r, route_header_matches, &verdict->index))
		return ROUTE_MISS_HEADER;
	if (!route_fields_match(&when->query, r, route_query_matches, &verdict->index))
		return ROUTE_MISS_QUERY;
	if (!route_fields_match(&when->cookies, r, route_cookie_matches, &verdict->index))
		return ROUTE_MISS_COOKIE;
	return ROUTE_MISS_NONE;
}

struct route_verdict route_ask_when(const struct snapshot *s, const struct route_when *when,
	const struct route_request *request)
{
	struct route_verdict verdict = {.miss = ROUTE_MISS_NONE};
	if (!route_sources_match(s, when, request->source_id))
		verdict.miss = ROUTE_MISS_FROM;
	else if (request->is_http)
		verdict.miss = route_ask_http(when, request, &verdict);
	else if (route_asks_http(when))
		verdict.miss = ROUTE_MISS_OPAQUE;
	return verdict;
}

struct route_verdict route_ask(const struct snapshot *s, const struct route_rule *rule,
	const struct route_request *request)
{
	struct route_verdict verdict = route_ask_when(s, &rule->when, request);
	if (verdict.miss == ROUTE_MISS_NONE && !request->is_http && rule->action != ROUTE_FORWARD)
		verdict.miss = ROUTE_MISS_OPAQUE;
	return verdict;
}

const struct route_rule *route_match(const struct snapshot *s, const struct route *route,
	const struct route_request *request, size_t *ret_prefix_len)
{
	*ret_prefix_len = 0;
	for (uint32_t i = 0; i < route->rule_count; i++) {
		struct route_verdict verdict = route_ask(s, &route->rules[i], request);
		if (verdict.miss != ROUTE_MISS_NONE)
			continue;
		*ret_prefix_len = verdict.prefix_len;
		return &route->rules[i];
	}
	return NULL;
}

/* --- staying with a leg --- */

/* The first of that name; a cookie's value as it stands. */
static struct str route_cookie_value(struct str name, const struct route_request *r)
{
	for (uint32_t i = 0; i < r->header_count; i++) {
		const struct route_header *h = route_header_at(r, i);
		struct str cookies = h->value;
		if (!str_eq_nocase(h->name, STR("cookie")))
			continue;
		while (cookies.len > 0) {
			struct str value = str_trim(route_cut(&cookies, ';'));
			if (str_eq(str_trim(route_cut(&value, '=')), name))
				return str_trim(value);
		}
	}
	return STR("");
}

static struct str route_header_value(struct str name, const struct route_request *r)
{
	for (uint32_t i = 0; i < r->header_count; i++) {
		const struct route_header *h = route_header_at(r, i);
		if (str_eq_nocase(h->name, name))
			return h->value;
	}
	return STR("");
}

struct str route_sticky_value(
	const struct route_sticky *sticky, const struct route_request *request)
{
	switch (sticky->kind) {
	case ROUTE_STICKY_NONE:
		break;
	case ROUTE_STICKY_SOURCE:
		return request->source_id;
	case ROUTE_STICKY_HEADER:
		return route_header_value(sticky->name, request);
	case ROUTE_STICKY_COOKIE:
		return route_cookie_value(sticky->name, request);
	}
	return STR("");
}

/* The first of that name, as it stands: escapes are part of it. */
static struct str route_query_value(struct str name, const struct route_request *r)
{
	struct str query = r->query;
	while (query.len > 0) {
		struct str value = route_cut(&query, '&');
		struct str key = route_cut(&value, '=');
		if (route_query_len(key) == name.len && route_query_has(key, 0, name))
			return value;
	}
	return STR("");
}

static struct str route_value_by(const struct balance_by *by, const struct route_request *request)
{
	switch (by->kind) {
	case BALANCE_BY_NONE:
	case BALANCE_BY_CLIENT:
		break;
	case BALANCE_BY_SOURCE:
		return request->source_id;
	case BALANCE_BY_HEADER:
		return route_header_value(by->name, request);
	case BALANCE_BY_COOKIE:
		return route_cookie_value(by->name, request);
	case BALANCE_BY_QUERY:
		return route_query_value(by->name, request);
	}
	return STR("");
}

bool route_balance_value(const struct balance_by *by, const struct route_request *request,
	const struct address *client, uint64_t *ret_hash)
{
	struct str value = route_value_by(by, request);
	if (by->kind == BALANCE_BY_CLIENT && client->family != 0)
		value = (struct str){(const char *)client->ip, sizeof(client->ip)};
	*ret_hash = hash_bytes(ROUTE_VALUE_SEED, value.at, value.len);
	return value.len > 0;
}

/* --- what a path becomes --- */

size_t route_path_bytes(const struct route_target *target, struct str path)
{
	return path.len + target->path.len + target->prefix.len + 1;
}

static size_t route_put(char *text, size_t len, struct str part)
{
	if (part.len > 0)
		memcpy(text + len, part.at, part.len);
	return len + part.len;
}

size_t route_path_write(
	const struct route_target *target, struct str path, size_t prefix_len, char *text)
{
	struct str query = path, plain = route_cut(&query, '?');
	query = (struct str){path.at + plain.len, path.len - plain.len};
	size_t len = 0;
	if (target->path.len > 0) {
		len = route_put(text, len, target->path);
	} else if (target->has_prefix) {
		len = route_put(text, len, target->prefix);
		len = route_put(
			text, len, (struct str){plain.at + prefix_len, plain.len - prefix_len});
		if (len == 0)
			text[len++] = '/';
	} else {
		len = route_put(text, len, plain);
	}
	return route_put(text, len, query);
}
