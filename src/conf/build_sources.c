/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of `from`: whom they name, and the cure for those that name nobody. An entry that is
 * taken for something else than was meant opens a door, or leaves one open: so what only looks like
 * a range, a path or an id is none. */
#include "build_policies.h"

#include <stdio.h>

void conf_check_service_name(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str name)
{
	if (p->with_store && !identity_service_valid(name))
		conf_error(p, setting, key, "\"%.*s\" is no service name", STR_ARG(name));
	else
		conf_build_unknown_service(p, setting, key, name);
}

static bool conf_has_upper(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] >= 'A' && text.at[i] <= 'Z')
			return true;
	}
	return false;
}

static struct str conf_before(struct str text, char end)
{
	const char *at = text.len ? memchr(text.at, end, text.len) : NULL;
	return (struct str){text.at, at ? (size_t)(at - text.at) : text.len};
}

static bool conf_ends(struct str text, struct str end)
{
	return text.len >= end.len && memcmp(text.at + text.len - end.len, end.at, end.len) == 0;
}

/* --- stars --- */

/* "shop/" + "*" is fine, and so is "*". */
static bool conf_source_star_is_misplaced(struct str from)
{
	struct str before = conf_before(from, '*');
	bool is_last = before.len + 1 == from.len;
	return before.len < from.len && from.len > 1 && !(is_last && conf_ends(before, STR("/")));
}

static void conf_source_star(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str from)
{
	struct str before = conf_before(from, '*');
	if (before.len + 1 == from.len)
		conf_error(p, setting, key,
			"\"%.*s\": a '*' stands behind a '/', for all that is below; write "
			"\"%.*s/*\"",
			STR_ARG(from), STR_ARG(before));
	else
		conf_error(p, setting, key,
			"\"%.*s\": a '*' stands alone, or at the end behind a '/': \"shop/*\"",
			STR_ARG(from));
}

/* --- ids --- */

static void conf_source_id(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str from)
{
	struct str scheme = STR("spiffe://");
	bool is_scheme = str_starts(from, scheme);
	struct str rest = {from.at + scheme.len, is_scheme ? from.len - scheme.len : 0};
	struct str domain = conf_before(rest, '/');
	bool is_bare = domain.len > 0 && rest.len <= domain.len + 1;
	if (is_scheme && source_count(p->snapshot, from) > 0)
		return;
	if (is_scheme && str_eq(domain, STR("*")))
		conf_error(p, setting, key,
			"\"%.*s\" names no trust domain; for any verified identity write \"*\"",
			STR_ARG(from));
	else if (!is_scheme)
		conf_error(p, setting, key,
			"\"%.*s\" is no SPIFFE id: one begins with \"spiffe://\", in lower case",
			STR_ARG(from));
	else if (conf_has_upper(domain))
		conf_error(p, setting, key, "\"%.*s\": a trust domain is in lower case",
			STR_ARG(from));
	else if (is_bare)
		conf_error(p, setting, key,
			"\"%.*s\" is no SPIFFE id of a workload; for all of the trust domain write "
			"\"spiffe://%.*s/*\"",
			STR_ARG(from), STR_ARG(domain));
	else if (conf_ends(from, STR("/")))
		conf_error(p, setting, key,
			"\"%.*s\" ends with '/': without it, it is one id; \"%.*s*\" is all below "
			"it",
			STR_ARG(from), STR_ARG(from));
	else
		conf_error(p, setting, key,
			"\"%.*s\" is no SPIFFE id of a workload: a trust domain, and segments of "
			"letters, digits, '.', '-' and '_'",
			STR_ARG(from));
}

/* --- addresses --- */

static bool conf_source_looks_like_range(struct str from)
{
	struct address address;
	bool has_digit = false, has_mark = false, has_other = false;
	for (size_t i = 0; i < from.len; i++) {
		char c = from.at[i];
		bool is_digit = c >= '0' && c <= '9', is_mark = c == '.' || c == '/' || c == '*';
		has_digit = has_digit || is_digit;
		has_mark = has_mark || is_mark;
		has_other = has_other || (!is_digit && !is_mark);
	}
	return address_parse(conf_before(from, '/'), &address) ||
	       memchr(from.at, ':', from.len) != NULL || (has_digit && has_mark && !has_other);
}

struct address_range conf_range_cut(const struct address_range *range)
{
	struct address_range cut = *range;
	for (unsigned i = 0; i < sizeof(cut.base.ip); i++) {
		unsigned kept = range->prefix_len > 8 * i ? range->prefix_len - 8 * i : 0;
		if (kept < 8)
			cut.base.ip[i] &= (uint8_t)(0xff00u >> kept);
	}
	return cut;
}

static void conf_source_range(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str from)
{
	struct address_range range;
	struct str ip = conf_before(from, '/');
	char text[ADDRESS_TEXT_MAX];
	bool is_mapped = ip.len > 7 && memchr(ip.at, ':', ip.len) &&
			 address_parse(ip, &range.base) && range.base.family == AF_INET;
	if (is_mapped) {
		conf_error(p, setting, key,
			"\"%.*s\" is an IPv4 address in the form of IPv6; write it as IPv4, as in "
			"\"%s\"",
			STR_ARG(from), address_ip_text(&range.base, text));
		return;
	}
	if (!address_range_parse(from, &range)) {
		conf_error(p, setting, key,
			"\"%.*s\" is no range of addresses such as \"10.0.0.0/8\", \"fd00::/8\" or "
			"\"10.0.0.7\"",
			STR_ARG(from));
		return;
	}
	struct address_range cut = conf_range_cut(&range);
	if (!address_same_ip(&cut.base, &range.base))
		conf_error(p, setting, key,
			"\"%.*s\" has bits behind its prefix; write \"%s/%u\", or \"%.*s\" for the "
			"one address",
			STR_ARG(from), address_ip_text(&cut.base, text), range.prefix_len,
			STR_ARG(ip));
}

/* --- paths --- */

static void conf_source_path(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str from)
{
	struct str rest = {from.at + 1, from.len - 1};
	if (from.at[0] == '/')
		conf_error(p, setting, key, "\"%.*s\" begins with '/'; write \"%.*s\"",
			STR_ARG(from), STR_ARG(rest));
	else if (conf_ends(from, STR("/")))
		conf_error(p, setting, key,
			"\"%.*s\" ends with '/': without it, it is one identity; \"%.*s*\" is all "
			"below it",
			STR_ARG(from), STR_ARG(from));
	else if (source_count(p->snapshot, from) == 0)
		conf_error(p, setting, key,
			"\"%.*s\" is no identity path: segments of letters, digits, '.', '-' and "
			"'_'",
			STR_ARG(from));
}

static bool conf_source_is_misspelt_word(struct str from)
{
	struct str word = STR("anonymous");
	return str_eq_nocase(from, word) || str_distance(from, word) <= 2;
}

static void conf_source_name(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str from)
{
	if (str_eq(from, STR("*")) || str_eq(from, STR("anonymous")) ||
		snapshot_service(p->snapshot, from))
		return;
	if (conf_source_is_misspelt_word(from))
		conf_error(p, setting, key,
			"there is no service \"%.*s\"; did you mean \"anonymous\"?", STR_ARG(from));
	else if (memchr(from.at, '.', from.len))
		conf_error(p, setting, key,
			"\"%.*s\" is no service: callers are known by their identity, not by a "
			"host name",
			STR_ARG(from));
	else
		conf_check_service_name(p, setting, key, from);
}

static void conf_check_source(
	struct conf_parser *p, const config_setting_t *setting, const char *key, struct str from)
{
	if (from.len == 0) /* the table has refused it */
		return;
	struct str scheme = conf_before(from, ':');
	bool is_id = scheme.len < from.len && str_eq_nocase(scheme, STR("spiffe"));
	if (!is_id && conf_source_looks_like_range(from))
		conf_source_range(p, setting, key, from);
	else if (conf_source_star_is_misplaced(from))
		conf_source_star(p, setting, key, from);
	else if (is_id)
		conf_source_id(p, setting, key, from);
	else if (memchr(from.at, '/', from.len))
		conf_source_path(p, setting, key, from);
	else
		conf_source_name(p, setting, key, from);
}

void conf_build_check_from(struct conf_parser *p, const config_setting_t *setting,
	const struct str *names, uint32_t count)
{
	struct address_range range;
	for (uint32_t i = 0; i < count; i++) {
		if (address_range_parse(names[i], &range))
			conf_error(p, setting, "from",
				"\"%.*s\": addresses are asked of callers by policies only",
				STR_ARG(names[i]));
		else
			conf_check_source(p, setting, "from", names[i]);
	}
}

/* --- into sources --- */

/* The table has refused the empty ones. */
static uint32_t conf_source_count(const struct conf_parser *p, struct str entry)
{
	return entry.len > 0 ? source_count(p->snapshot, entry) : 0;
}

struct source *conf_build_sources(struct conf_parser *p, const config_setting_t *setting,
	const char *key, const struct str *entries, uint32_t entry_count, uint32_t *ret_count)
{
	uint32_t count = 0;
	*ret_count = 0;
	for (uint32_t i = 0; i < entry_count; i++) {
		conf_check_source(p, setting, key, entries[i]);
		count += conf_source_count(p, entries[i]);
	}
	struct source *sources = conf_build_array(p, count, sizeof(*sources));
	for (uint32_t i = 0; sources && i < entry_count; i++) {
		uint32_t more = conf_source_count(p, entries[i]);
		if (more > 0 && !source_read(p->snapshot, entries[i], &p->snapshot->arena,
					&sources[*ret_count]))
			p->is_exhausted = true;
		*ret_count += more;
	}
	return sources;
}

static bool conf_range_covers(const struct address_range *by, const struct address_range *range)
{
	return by->prefix_len <= range->prefix_len && address_in(&range->base, by);
}

bool conf_source_covers(const struct source *by, const struct source *source)
{
	bool is_known = source->kind == SOURCE_ID || source->kind == SOURCE_UNDER;
	switch (by->kind) {
	case SOURCE_ANONYMOUS:
		return source->kind == SOURCE_ANONYMOUS || source->kind == SOURCE_RANGE;
	case SOURCE_RANGE:
		return source->kind == SOURCE_RANGE &&
		       conf_range_covers(&by->range, &source->range);
	case SOURCE_ANY:
		return is_known || source->kind == SOURCE_ANY || source->kind == SOURCE_UNDECLARED;
	case SOURCE_UNDER:
		return is_known && str_starts(source->text, by->text) &&
		       (source->kind == SOURCE_UNDER || source->text.len > by->text.len);
	case SOURCE_ID:
		return source->kind == SOURCE_ID && str_eq(source->text, by->text);
	case SOURCE_UNDECLARED:
		return source->kind == SOURCE_UNDECLARED && str_eq(source->text, by->text);
	}
	return false;
}
