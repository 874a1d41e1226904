/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh/external.h"

#include "mesh/snapshot.h"

#define EXTERNAL_SEED 0x6f757473u

struct external_host {
	struct map_node node;
	struct str host;
	const struct external *external;
};

const char *external_tls_name(enum external_tls tls)
{
	switch (tls) {
	case EXTERNAL_PASSTHROUGH:
		return "passthrough";
	case EXTERNAL_ORIGINATE:
		return "originate";
	case EXTERNAL_NONE:
		return "none";
	}
	return "?";
}

/* --- names --- */

static bool external_is_digits(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
	}
	return text.len > 0;
}

/* What resolvers take for a part of an address: "1", "0x7f". No name ends in one. */
static bool external_is_number(struct str label)
{
	return external_is_digits(label) || str_starts(label, STR("0x"));
}

static bool external_is_label(struct str label)
{
	for (size_t i = 0; i < label.len; i++) {
		char c = label.at[i];
		bool is_good =
			(c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
		if (!is_good)
			return false;
	}
	return label.len > 0 && label.len <= 63;
}

/* Already in lower case. */
static bool external_is_name(struct str name)
{
	struct str label = {name.at, 0};
	for (size_t i = 0; i <= name.len; i++) {
		if (i < name.len && name.at[i] != '.') {
			label.len++;
			continue;
		}
		if (!external_is_label(label) || (i == name.len && external_is_number(label)))
			return false;
		label = (struct str){name.at + i + 1, 0};
	}
	return name.len > 0 && name.len <= EXTERNAL_HOST_MAX;
}

struct str external_host(struct str text, bool with_port, char ret_text[EXTERNAL_HOST_MAX + 1])
{
	const char *colon = with_port && text.len ? memchr(text.at, ':', text.len) : NULL;
	if (colon) {
		struct str port = {colon + 1, text.len - (size_t)(colon + 1 - text.at)};
		text.len = (size_t)(colon - text.at);
		if (!external_is_digits(port))
			return STR_NONE;
	}
	if (text.len > 0 && text.at[text.len - 1] == '.')
		text.len--;
	if (text.len == 0 || text.len > EXTERNAL_HOST_MAX)
		return STR_NONE;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.at[i];
		ret_text[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	ret_text[text.len] = '\0';
	struct str name = {ret_text, text.len};
	return external_is_name(name) ? name : STR_NONE;
}

bool external_host_valid(struct str host)
{
	if (str_starts(host, STR("*.")))
		host = (struct str){host.at + 2, host.len - 2};
	return external_is_name(host);
}

/* --- by name --- */

static uint64_t external_hash(struct str host)
{
	return hash_bytes(EXTERNAL_SEED, host.at, host.len);
}

bool external_add_host(struct snapshot *s, const struct external *e, struct str host)
{
	struct external_host *h = arena_take(&s->arena, sizeof(*h));
	if (!h)
		return false;
	h->host = host;
	h->external = e;
	return map_add(&s->externals_by_host, &h->node, external_hash(host));
}

bool external_has_port(const struct external *e, uint16_t port)
{
	for (uint32_t i = 0; i < e->port_count; i++) {
		if (e->ports[i] == port)
			return true;
	}
	return false;
}

const struct external *external_of_host(const struct snapshot *s, struct str host, uint16_t port)
{
	struct map_node *it = map_first(&s->externals_by_host, external_hash(host));
	for (; it; it = map_next(it)) {
		const struct external_host *h = CONTAINER_OF(it, struct external_host, node);
		if (str_eq(h->host, host) && external_has_port(h->external, port))
			return h->external;
	}
	return NULL;
}

static bool external_takes(const struct external *e, enum external_speech speech)
{
	return (speech == EXTERNAL_TLS) == (e->tls == EXTERNAL_PASSTHROUGH);
}

/* "a.b.c", then "*.b.c", then "*.c": what is looked for is written out, so that nothing is ever
 * compared as a pattern. */
const struct external *external_by_host(
	const struct snapshot *s, struct str host, uint16_t port, enum external_speech speech)
{
	char text[EXTERNAL_HOST_MAX + 2];
	const struct external *e = NULL;
	if (s->external_count == 0 || host.len == 0 || host.len > EXTERNAL_HOST_MAX)
		return NULL;
	e = external_of_host(s, host, port);
	for (size_t i = 0; i < host.len && !e; i++) {
		if (host.at[i] != '.')
			continue;
		text[0] = '*';
		memcpy(text + 1, host.at + i, host.len - i);
		e = external_of_host(s, (struct str){text, host.len - i + 1}, port);
	}
	return e && external_takes(e, speech) ? e : NULL;
}

bool external_wants_name(const struct snapshot *s, uint16_t port)
{
	for (uint32_t i = 0; i < s->external_count; i++) {
		if (s->externals[i].host_count > 0 && external_has_port(&s->externals[i], port))
			return true;
	}
	return false;
}

/* --- by address --- */

/* The longest prefix plus one; 0: none of its addresses. */
static uint32_t external_prefix(const struct external *e, const struct address *a)
{
	uint32_t longest = 0;
	for (uint32_t i = 0; i < e->address_count; i++) {
		const struct address_range *range = &e->addresses[i];
		if (address_in(a, range) && range->prefix_len + 1u > longest)
			longest = range->prefix_len + 1u;
	}
	return longest;
}

bool external_declares(const struct external *e, const struct address *a)
{
	return external_prefix(e, a) > 0;
}

const struct external *external_by_address(const struct snapshot *s, const struct address *a)
{
	const struct external *best = NULL;
	uint32_t longest = 0;
	for (uint32_t i = 0; i < s->external_count; i++) {
		const struct external *e = &s->externals[i];
		if (e->host_count > 0 || !external_has_port(e, a->port))
			continue;
		uint32_t prefix = external_prefix(e, a);
		if (prefix > longest) {
			longest = prefix;
			best = e;
		}
	}
	return best;
}

bool external_is_single(const struct address_range *range)
{
	return range->prefix_len == (range->base.family == AF_INET ? 32 : 128);
}

/* --- who, and where --- */

bool external_allows(const struct external *e, struct str source_id)
{
	static const struct address nowhere;
	for (uint32_t i = 0; i < e->from_count; i++) {
		if (source_names(&e->from[i], source_id, &nowhere))
			return true;
	}
	return e->from_count == 0 && source_id.len > 0;
}

static bool external_is_outside(const struct snapshot *s, const struct address *a)
{
	return address_is_host(a) && !snapshot_is_local(s, a) &&
	       snapshot_destination(s, a).kind == DESTINATION_UNKNOWN;
}

bool snapshot_may_be_outside(const struct snapshot *s, const struct address *a)
{
	struct address inside[ADDRESS_INSIDE_MAX];
	bool is_outside = external_is_outside(s, a) && !address_is_own_link(a);
	for (uint32_t i = address_inside(a, inside); i > 0 && is_outside; i--)
		is_outside = external_is_outside(s, &inside[i - 1]);
	return is_outside;
}
