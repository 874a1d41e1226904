/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes of what rules ask for and requests say. They are for finding alone: two that are the same
 * by chance cost a rule that is judged in vain. */
#include "policy_index.h"

static uint64_t policy_mix(uint64_t h, uint64_t more)
{
	h = h * UINT64_C(0x9e3779b97f4a7c15) + more;
	h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return h ^ h >> 32;
}

uint64_t policy_key(uint64_t h, unsigned kind, unsigned depth)
{
	h = policy_mix(policy_mix(h, kind), depth);
	return h ? h : 1;
}

uint64_t policy_key_odd(uint64_t place, uint64_t start, uint32_t depth)
{
	return policy_key(policy_mix(place, start), PLACE_ODD, depth);
}

uint64_t policy_key_behind(uint64_t place, uint64_t list)
{
	return policy_key(policy_mix(place, list), PLACE_BEHIND, 0);
}

static uint64_t policy_byte(uint64_t h, int c)
{
	h = (h ^ (uint64_t)c) * UINT64_C(0x100000001b3);
	return h ^ h >> 29;
}

static uint64_t policy_bytes(struct str text)
{
	uint64_t h = 0;
	for (size_t i = 0; i < text.len; i++)
		h = policy_byte(h, (unsigned char)text.at[i]);
	return h;
}

static uint64_t policy_bytes_nocase(struct str text)
{
	uint64_t h = 0;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.at[i];
		h = policy_byte(h, (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c));
	}
	return h;
}

/* --- paths and ids --- */

static void policy_key_add(struct policy_key_path *key, uint64_t h, uint32_t depth)
{
	if (depth > POLICY_DEPTH_MAX)
		return;
	key->below[depth] = h;
	key->depth = depth;
}

void policy_key_path(struct policy_key_path *key, struct str path)
{
	struct path_lenient p = path_lenient_of(path);
	uint64_t h = 0, segment = 0;
	uint32_t depth = 0;
	for (int c; (c = path_lenient_next(&p)) >= 0;) {
		if (c == '/')
			policy_key_add(key, h, depth++);
		h = policy_byte(h, c);
		segment = c == '/' ? 0 : policy_byte(segment, c);
		if (depth > 0 && depth <= POLICY_DEPTH_MAX)
			key->segments[depth - 1] = segment;
	}
	policy_key_add(key, h, depth);
	key->whole = h;
	key->is_odd = p.is_odd;
}

void policy_key_id(struct policy_key_path *key, struct str id)
{
	uint64_t h = 0;
	uint32_t depth = 0;
	policy_key_add(key, h, depth++);
	for (size_t i = 0; i < id.len; i++) {
		h = policy_byte(h, (unsigned char)id.at[i]);
		if (id.at[i] == '/')
			policy_key_add(key, h, depth++);
	}
	key->whole = h;
}

/* --- templates --- */

uint64_t policy_key_shape(const uint64_t *segments, uint32_t shape, enum policy_list_kind kind)
{
	uint64_t h = shape;
	for (uint32_t i = 0; shape >> i; i++) {
		if (shape >> i & 1)
			h = policy_mix(h, segments[i]);
	}
	return policy_key(h, kind, 0);
}

/* Up to the next slash, which is taken too. */
static struct str policy_cut(struct str *rest)
{
	const char *slash = memchr(rest->at, '/', rest->len);
	struct str part = {rest->at, slash ? (size_t)(slash - rest->at) : rest->len};
	size_t used = part.len + (slash ? 1 : 0);
	*rest = (struct str){rest->at + used, rest->len - used};
	return part;
}

void policy_spell_path(struct policy_spelt *ret, struct str path)
{
	ret->depth = 0;
	policy_cut(&path); /* what comes before the first slash */
	for (; path.len > 0 && ret->depth < POLICY_DEPTH_MAX; ret->depth++)
		ret->segments[ret->depth] = policy_bytes(policy_cut(&path));
}

static void policy_spell(struct policy_spelt *spelt, uint64_t segment)
{
	if (spelt->depth < POLICY_DEPTH_MAX) {
		spelt->segments[spelt->depth] = segment;
		spelt->shape |= 1u << spelt->depth;
	}
	spelt->depth++;
}

/* Returns whether that is all that there is in it, for any server. */
static bool policy_spell_part(struct policy_spelt *spelt, struct str part)
{
	struct path_lenient p = path_lenient_of(part);
	uint64_t segment = 0;
	bool has_any = false;
	for (int c; (c = path_lenient_next(&p)) >= 0;) {
		if (c == '/' && has_any)
			policy_spell(spelt, segment);
		segment = c == '/' ? 0 : policy_byte(segment, c);
		has_any = true;
	}
	if (has_any)
		policy_spell(spelt, segment);
	return !p.is_odd;
}

/* What comes before the first brace is one text, in which an end is the end of all of it; so is
 * each part behind it. */
bool policy_spell_template(struct policy_spelt *ret, struct str template, bool to_the_letter)
{
	struct str start = path_template_start(template);
	struct str rest = {template.at + start.len, template.len - start.len};
	*ret = (struct policy_spelt){.depth = 0};
	if (to_the_letter) {
		rest = template;
		policy_cut(&rest);
	} else if (!policy_spell_part(ret, start)) {
		return false;
	}
	while (rest.len > 0) {
		struct str part = policy_cut(&rest);
		if (rest.len == 0 && part.len > 0 && part.at[part.len - 1] == '*')
			break;
		if (part.len > 0 && part.at[0] == '{')
			ret->depth++;
		else if (to_the_letter && part.len > 0)
			policy_spell(ret, policy_bytes(part));
		else if (!to_the_letter && !policy_spell_part(ret, part))
			return false;
	}
	return ret->shape & (ret->shape + 1);
}

/* --- addresses, hosts, words --- */

uint64_t policy_key_range(const struct address *a, uint32_t prefix_len)
{
	uint64_t h = policy_byte(policy_byte(0, a->family), (int)prefix_len);
	for (uint32_t bit = 0; bit < prefix_len; bit += 8) {
		uint32_t rest = prefix_len - bit;
		unsigned mask = rest >= 8 ? 0xffu : 0xffu << (8 - rest) & 0xffu;
		h = policy_byte(h, (int)(a->ip[bit / 8] & mask));
	}
	return policy_key(h, PLACE_RANGE, 0);
}

uint64_t policy_key_address(const struct address *a)
{
	struct str ip = {(const char *)a->ip, sizeof(a->ip)};
	return policy_key(policy_byte(policy_bytes(ip), a->family), LIST_ADDRESS, 0);
}

uint64_t policy_key_port(uint16_t port)
{
	return policy_key(port, LIST_PORT, 0);
}

uint64_t policy_key_method(struct str method)
{
	return policy_key(policy_bytes_nocase(method), LIST_METHOD, 0);
}

uint64_t policy_key_header(struct str name)
{
	return policy_key(policy_bytes_nocase(name), 0, 0);
}

/* From its end, where names that are alike are so. */
void policy_key_host(struct policy_key_host *key, struct str host)
{
	uint64_t h = 0;
	key->depth = 0;
	for (size_t i = host.len; i > 0; i--) {
		h = policy_byte(h, (unsigned char)host.at[i - 1]);
		if (host.at[i - 1] == '.' && i > 1 && key->depth < POLICY_DEPTH_MAX)
			key->domains[key->depth++] = policy_key(h, LIST_DOMAIN, 0);
	}
	key->whole = policy_key(h, LIST_HOST, 0);
}

bool policy_key_domain(struct str pattern, uint64_t *ret_key)
{
	struct policy_key_host key;
	policy_key_host(&key, pattern);
	*ret_key = key.depth > 0 ? key.domains[key.depth - 1] : 0;
	return key.depth > 0 && key.depth < POLICY_DEPTH_MAX;
}
