/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of `from`, read once where they are asked often. Bytes are compared, never patterns: no
 * name ever becomes an expression. */
#include "mesh/source.h"

#include "mesh/identity.h"

uint32_t source_rank(const struct source *source)
{
	switch (source->kind) {
	case SOURCE_ANONYMOUS:
	case SOURCE_ANY:
		return SOURCE_RANK_LEAST;
	case SOURCE_RANGE:
		return SOURCE_RANK_LEAST + 1 + source->range.prefix_len;
	case SOURCE_UNDER:
		return SOURCE_RANK_LEAST + (uint32_t)source->text.len;
	case SOURCE_ID:
	case SOURCE_UNDECLARED:
		return SOURCE_RANK_ID;
	}
	return SOURCE_RANK_LEAST;
}

static bool source_is_under(struct str entry)
{
	return entry.len > 2 && entry.at[entry.len - 1] == '*' && entry.at[entry.len - 2] == '/';
}

/* "10.0.0/8" and "10.0.0.0/33" are meant to be ranges, and are none. */
static bool source_is_numbers(struct str entry)
{
	for (size_t i = 0; i < entry.len; i++) {
		char c = entry.at[i];
		if (!(c >= '0' && c <= '9') && c != '.' && c != '/')
			return false;
	}
	return true;
}

/* "shop/web", "shop/" + "*". */
static bool source_is_path(struct str entry)
{
	struct str path = entry;
	if (source_is_under(entry))
		path.len -= 2;
	return memchr(entry.at, '/', entry.len) && !source_is_numbers(entry) &&
	       identity_path_valid(path);
}

/* "spiffe://" and a domain or an id, or all below it. */
static bool source_is_whole(struct str entry)
{
	struct str scheme = STR("spiffe://");
	if (!str_starts(entry, scheme))
		return false;
	if (!source_is_under(entry))
		return identity_id_valid(entry);
	struct str start = {entry.at, entry.len - 2};
	struct str domain = {start.at + scheme.len, start.len - scheme.len};
	return identity_trust_domain_valid(domain) || identity_id_valid(start);
}

/* Only what is declared is the same on all machines: what a workload of this one is says nothing of
 * others that are of its service. */
static const struct service *source_declared(const struct snapshot *s, struct str entry)
{
	const struct service *service = snapshot_service(s, entry);
	return service && !service->is_implicit ? service : NULL;
}

uint32_t source_count(const struct snapshot *s, struct str entry)
{
	struct address_range range;
	if (str_eq(entry, STR("*")) || str_eq(entry, STR("anonymous")))
		return 1;
	const struct service *service = source_declared(s, entry);
	if (service)
		return service->id_count;
	return identity_service_valid(entry) || source_is_whole(entry) ||
			       address_range_parse(entry, &range) || source_is_path(entry)
		       ? 1
		       : 0;
}

static bool source_read_ids(const struct service *service, struct str entry, struct source *ret)
{
	for (uint32_t i = 0; i < service->id_count; i++)
		ret[i] =
			(struct source){.kind = SOURCE_ID, .entry = entry, .text = service->ids[i]};
	return true;
}

/* "web" that nobody has declared has the identity of its name. */
static struct str source_id_of(const struct snapshot *s, struct str entry, struct arena *arena)
{
	bool is_path = memchr(entry.at, '/', entry.len);
	struct str path = {entry.at, entry.len - source_is_under(entry)};
	const struct str parts[] = {
		STR("spiffe://"), s->trust_domain, is_path ? STR("/") : STR("/service/"), path};
	return arena_join(arena, parts, ARRAY_LEN(parts));
}

bool source_read(
	const struct snapshot *s, struct str entry, struct arena *arena, struct source *ret)
{
	const struct service *service = source_declared(s, entry);
	*ret = (struct source){.kind = SOURCE_ANY, .entry = entry};
	if (str_eq(entry, STR("*")))
		return true;
	if (str_eq(entry, STR("anonymous"))) {
		ret->kind = SOURCE_ANONYMOUS;
		return true;
	}
	if (service)
		return source_read_ids(service, entry, ret);
	if (!str_starts(entry, STR("spiffe://")) && address_range_parse(entry, &ret->range)) {
		ret->kind = SOURCE_RANGE;
		return true;
	}
	ret->kind = source_is_under(entry) ? SOURCE_UNDER : SOURCE_ID;
	if (str_starts(entry, STR("spiffe://")))
		ret->text = (struct str){entry.at, entry.len - (ret->kind == SOURCE_UNDER)};
	else
		ret->text = source_id_of(s, entry, arena);
	if (!memchr(entry.at, '/', entry.len)) {
		ret->kind = SOURCE_UNDECLARED;
		ret->mesh = s;
	}
	return ret->text.at;
}

bool source_names(const struct source *source, struct str id, const struct address *client)
{
	bool is_anonymous = id.len == 0;
	switch (source->kind) {
	case SOURCE_ANONYMOUS:
		return is_anonymous;
	case SOURCE_RANGE:
		return is_anonymous && client->family != 0 && address_in(client, &source->range);
	case SOURCE_ANY:
		return !is_anonymous;
	case SOURCE_UNDER:
		return id.len > source->text.len && str_starts(id, source->text);
	case SOURCE_ID:
	case SOURCE_UNDECLARED:
		return !is_anonymous && str_eq(source->text, id);
	}
	return false;
}

bool source_may_name(const struct source *source, struct str id)
{
	if (source->kind != SOURCE_UNDECLARED)
		return false;
	const struct service *its = snapshot_service_by_id(source->mesh, id);
	return !its || its->is_implicit;
}

/* Rest of `id` after its own trust domain and a slash; empty: of another one. */
static struct str source_own_path(const struct snapshot *s, struct str id)
{
	const struct str parts[] = {STR("spiffe://"), s->trust_domain, STR("/")};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (!str_starts(id, parts[i]))
			return STR("");
		id = (struct str){id.at + parts[i].len, id.len - parts[i].len};
	}
	return id;
}

bool source_is_own(const struct snapshot *s, struct str id)
{
	return id.len > 0 && source_own_path(s, id).len > 0;
}

bool source_entry_names(const struct snapshot *s, struct str entry, struct str id)
{
	if (id.len == 0 || str_eq(entry, STR("anonymous")))
		return id.len == 0 && str_eq(entry, STR("anonymous"));
	if (str_eq(entry, STR("*")))
		return true;
	const struct service *service = source_declared(s, entry);
	if (service)
		return service_has_id(service, id);
	bool is_under = source_is_under(entry);
	struct str start = {entry.at, entry.len - is_under};
	struct str path = str_starts(entry, STR("spiffe://")) ? id : source_own_path(s, id);
	if (is_under)
		return path.len > start.len && str_starts(path, start);
	if (memchr(entry.at, '/', entry.len))
		return str_eq(path, entry) && !source_is_numbers(entry);
	struct str prefix = STR("service/");
	return str_starts(path, prefix) &&
	       str_eq((struct str){path.at + prefix.len, path.len - prefix.len}, entry);
}
