/* SPDX-License-Identifier: Apache-2.0 */
/* Entries lie one after the other, and are found by hash; what is there already costs one look-up.
 * A caller who asks a service for more than SEEN_PATHS_FEW paths with one method has the beginnings
 * of the further ones counted instead, and with as many beginnings everything. The last
 * SEEN_COARSE_ROOM entries are for those who come when the others are taken: any method, any path.
 * So nobody who sends many paths can put others out, and memory is bounded. */
#include "seen.h"

#include <stdio.h>
#include <stdlib.h>

#define SEEN_SLOTS	 8192 /* a power of two, more than there are entries */
#define SEEN_GROUPS	 4096 /* the same */
#define SEEN_GROUPS_MAX	 3072
#define SEEN_COARSE_ROOM 512
#define SEEN_PATHS_FEW	 32
#define SEEN_METHOD_MAX	 24
/* An id: so many hexadecimal digits, or so many characters with digits among them. */
#define SEEN_HEX_MIN  16
#define SEEN_WORD_MIN 20

/* Of one caller, service, port and method. */
struct seen_group {
	uint64_t hash; /* 0: free */
	uint16_t paths, beginnings;
};

struct seen {
	struct seen_group groups[SEEN_GROUPS];
	uint32_t group_count;
	uint16_t slots[SEEN_SLOTS]; /* index and 1; 0: free */
	uint64_t hashes[SEEN_KEYS_MAX];
	struct seen_view view;
};

struct seen *seen_new(uint64_t wall_ns)
{
	struct seen *seen = calloc(1, sizeof(*seen));
	if (seen)
		seen->view.since_wall_ns = wall_ns;
	return seen;
}

void seen_free(struct seen *seen)
{
	free(seen);
}

/* --- entries --- */

static size_t seen_text_bytes(const struct seen_entry *e)
{
	return (size_t)e->source_len + e->service_len + e->method_len + e->path_len;
}

static uint64_t seen_hash_of(const struct seen_entry *e, size_t len)
{
	const uint64_t prime = UINT64_C(0x9e3779b97f4a7c15);
	uint64_t h = (uint64_t)e->port << 1 | e->is_http;
	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = 0;
		memcpy(&word, e->text + i, len - i < 8 ? len - i : 8);
		h = (h ^ word) * prime;
		h ^= h >> 29;
	}
	uint64_t lengths = e->source_len | (uint64_t)e->service_len << 8 |
			   (uint64_t)e->method_len << 16 | (uint64_t)e->path_len << 24;
	h = (h ^ (len == seen_text_bytes(e) ? lengths : lengths & 0xffffff)) * prime;
	h ^= h >> 32;
	return h ? h : 1;
}

static bool seen_is_same(const struct seen_entry *a, const struct seen_entry *b)
{
	return a->port == b->port && a->is_http == b->is_http && a->source_len == b->source_len &&
	       a->service_len == b->service_len && a->method_len == b->method_len &&
	       a->path_len == b->path_len && memcmp(a->text, b->text, seen_text_bytes(a)) == 0;
}

/* --- general paths --- */

static bool seen_is_id(struct str part)
{
	size_t digits = 0, hex = 0, dashes = 0;
	for (size_t i = 0; i < part.len; i++) {
		char c = part.at[i];
		digits += c >= '0' && c <= '9';
		hex += str_hex(c) >= 0;
		dashes += c == '-';
		if (c == '{' || c == '}' || c == '*')
			return true; /* means something in a policy */
	}
	bool is_hex = hex + dashes == part.len && hex >= SEEN_HEX_MIN && digits > 0;
	return part.len > 0 &&
	       (digits == part.len || is_hex || (part.len >= SEEN_WORD_MIN && digits > 2));
}

static void seen_put(struct seen_entry *e, const char *text, size_t len, uint8_t *ret_len)
{
	memcpy(e->text + seen_text_bytes(e), text, len);
	*ret_len = (uint8_t)(*ret_len + len);
}

/* False: there is no path. */
static bool seen_put_path(struct seen_entry *e, struct str path)
{
	const struct str id = STR("/{id}"), rest = STR("/*");
	if (path.len == 0 || path.at[0] != '/')
		return false;
	for (size_t i = 0; i < path.len;) {
		const char *slash = memchr(path.at + i + 1, '/', path.len - i - 1);
		size_t end = slash ? (size_t)(slash - path.at) : path.len;
		struct str part = {path.at + i, end - i};
		if (seen_is_id((struct str){part.at + 1, part.len - 1}))
			part = id;
		if (e->path_len + part.len + rest.len > SEEN_PATH_MAX) {
			seen_put(e, rest.at, rest.len, &e->path_len);
			return true;
		}
		seen_put(e, part.at, part.len, &e->path_len);
		i = end;
	}
	return true;
}

/* "/img/" + "*" of "/img/a/b", which may stay "/" + "*" of "/a" alone. */
static void seen_shorten(struct seen_entry *e, bool is_all)
{
	struct str path = seen_path(e);
	const char *slash = path.len > 1 ? memchr(path.at + 1, '/', path.len - 1) : NULL;
	e->path_len = is_all || !slash ? 0 : (uint8_t)(slash - path.at);
	seen_put(e, "/*", 2, &e->path_len);
}

/* --- keys --- */

/* Those of one network have one entry. */
static bool seen_put_range(struct seen_entry *e, const struct address *client)
{
	char ip[ADDRESS_TEXT_MAX], text[ADDRESS_TEXT_MAX + 4];
	struct address network = *client;
	size_t bytes = client->family == AF_INET ? 3 : 8;
	memset(network.ip + bytes, 0, sizeof(network.ip) - bytes);
	int len = snprintf(text, sizeof(text), "%s%s", address_ip_text(&network, ip),
		client->family == AF_INET ? "/24" : "/64");
	seen_put(e, text, (size_t)len, &e->source_len);
	return client->family != 0;
}

static bool seen_is_method(struct str method)
{
	for (size_t i = 0; i < method.len; i++) {
		if (!(method.at[i] >= 'A' && method.at[i] <= 'Z') && method.at[i] != '-')
			return false;
	}
	return method.len > 0 && method.len <= SEEN_METHOD_MAX;
}

/* False: what no policy can say, or what is too long. */
static bool seen_key(struct seen_entry *e, const struct seen_call *call)
{
	e->port = call->port;
	e->is_http = call->http != NULL;
	e->source_len = e->service_len = e->method_len = e->path_len = 0;
	if (call->source_id.len > SEEN_SOURCE_MAX || call->service.len > 64)
		return false;
	if (call->source_id.len > 0)
		seen_put(e, call->source_id.at, call->source_id.len, &e->source_len);
	else if (!seen_put_range(e, call->client))
		return false;
	seen_put(e, call->service.at, call->service.len, &e->service_len);
	if (!call->http)
		return true;
	if (!seen_is_method(call->http->method))
		return false;
	seen_put(e, call->http->method.at, call->http->method.len, &e->method_len);
	return seen_put_path(e, call->http->path);
}

/* --- the table --- */

/* Where it is, or where it will be. */
static uint16_t *seen_slot(struct seen *seen, const struct seen_entry *e, uint64_t hash)
{
	size_t at = hash & (SEEN_SLOTS - 1);
	while (seen->slots[at] != 0) {
		uint32_t index = seen->slots[at] - 1u;
		if (seen->hashes[index] == hash && seen_is_same(&seen->view.entries[index], e))
			break;
		at = (at + 1) & (SEEN_SLOTS - 1);
	}
	return &seen->slots[at];
}

/* True: it was there, and is counted. */
static bool seen_count(struct seen *seen, const struct seen_entry *e)
{
	uint16_t slot = *seen_slot(seen, e, seen_hash_of(e, seen_text_bytes(e)));
	if (slot == 0)
		return false;
	seen->view.entries[slot - 1].count++;
	return true;
}

static bool seen_insert(struct seen *seen, const struct seen_entry *e, uint32_t room)
{
	struct seen_view *v = &seen->view;
	if (v->count >= room)
		return false;
	uint64_t hash = seen_hash_of(e, seen_text_bytes(e));
	struct seen_entry *own = &v->entries[v->count];
	seen->hashes[v->count] = hash;
	*seen_slot(seen, e, hash) = (uint16_t)(++v->count);
	own->port = e->port;
	own->is_http = e->is_http;
	own->source_len = e->source_len;
	own->service_len = e->service_len;
	own->method_len = e->method_len;
	own->path_len = e->path_len;
	memcpy(own->text, e->text, seen_text_bytes(e));
	own->count = 1;
	return true;
}

/* NULL: there is no room for one more. */
static struct seen_group *seen_group(struct seen *seen, const struct seen_entry *e)
{
	uint64_t hash = seen_hash_of(e, (size_t)e->source_len + e->service_len + e->method_len);
	size_t at = hash & (SEEN_GROUPS - 1);
	while (seen->groups[at].hash != 0 && seen->groups[at].hash != hash)
		at = (at + 1) & (SEEN_GROUPS - 1);
	struct seen_group *group = &seen->groups[at];
	if (group->hash == 0 && seen->group_count == SEEN_GROUPS_MAX)
		return NULL;
	seen->group_count += group->hash == 0;
	group->hash = hash;
	return group;
}

/* A path that is new of this caller. False: it has to share. */
static bool seen_add_path(struct seen *seen, struct seen_entry *e)
{
	struct seen_group *group = seen_group(seen, e);
	uint32_t room = SEEN_KEYS_MAX - SEEN_COARSE_ROOM;
	if (!group)
		return false;
	if (group->paths < SEEN_PATHS_FEW) {
		bool is_in = seen_insert(seen, e, room);
		group->paths += is_in;
		return is_in;
	}
	seen_shorten(e, false);
	if (seen_count(seen, e))
		return true;
	if (group->beginnings < SEEN_PATHS_FEW && seen_insert(seen, e, room)) {
		group->beginnings++;
		return true;
	}
	seen_shorten(e, true);
	return seen_count(seen, e) || seen_insert(seen, e, room);
}

void seen_add(struct seen *seen, const struct seen_call *call)
{
	struct seen_entry e;
	struct seen_view *v = &seen->view;
	v->let_in++;
	if (!seen_key(&e, call)) {
		v->lost++;
		return;
	}
	if (seen_count(seen, &e))
		return;
	if (e.is_http ? seen_add_path(seen, &e)
		      : seen_insert(seen, &e, SEEN_KEYS_MAX - SEEN_COARSE_ROOM))
		return;
	if (e.is_http) {
		e.method_len = e.path_len = 0;
		seen_put(&e, "/*", 2, &e.path_len);
	}
	if (seen_count(seen, &e) || seen_insert(seen, &e, SEEN_KEYS_MAX))
		v->coarse += e.is_http;
	else
		v->lost++;
}

void seen_look(const struct seen *seen, struct seen_view *ret_view)
{
	const struct seen_view *v = &seen->view;
	memcpy(ret_view, v, offsetof(struct seen_view, entries));
	memcpy(ret_view->entries, v->entries, v->count * sizeof(v->entries[0]));
}
