/* SPDX-License-Identifier: Apache-2.0 */
#include "sessions.h"

#include "base/list.h"
#include "base/map.h"
#include <openssl/sha.h>
#include <stdlib.h>

/* How many connections to one server may start at once with a session each: a share of all, for
 * without a cap one busy server would push out everybody else's. */
#define SESSIONS_PER_KEY_MIN 4
#define SESSIONS_SHARE	     16
/* A ticket that carries a huge client chain makes the next ClientHello huge. */
#define SESSIONS_TICKET_BYTES_MAX 8192

struct sessions_node {
	struct map_node by_key;
	struct list by_age; /* oldest first */
	struct sessions_key key;
	uint64_t number; /* counts up */
	struct sessions_entry entry;
};

struct tls_sessions {
	struct map map;
	struct list ages;
	uint32_t count, count_max, per_key_max;
	uint64_t last_number;
	/* The newest that was seen, whose pool all entries' certificates live in; NULL: none yet.
	 */
	struct tls_store *store;
};

struct tls_sessions *tls_sessions_new(uint32_t session_count_max)
{
	struct tls_sessions *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	map_init(&s->map);
	list_init(&s->ages);
	s->count_max = session_count_max;
	s->per_key_max = session_count_max / SESSIONS_SHARE;
	if (s->per_key_max < SESSIONS_PER_KEY_MIN)
		s->per_key_max = SESSIONS_PER_KEY_MIN;
	return s;
}

static void sessions_drop(struct tls_sessions *s, struct sessions_node *node)
{
	map_remove(&s->map, &node->by_key);
	list_remove(&node->by_age);
	SSL_SESSION_free(node->entry.session);
	free(node);
	s->count--;
}

static void sessions_drop_oldest(struct tls_sessions *s)
{
	sessions_drop(s, CONTAINER_OF(s->ages.next, struct sessions_node, by_age));
}

static void sessions_clear(struct tls_sessions *s)
{
	while (s->count > 0)
		sessions_drop_oldest(s);
	/* After the entries. */
	tls_store_unref(s->store);
	s->store = NULL;
}

void tls_sessions_free(struct tls_sessions *s)
{
	if (!s)
		return;
	sessions_clear(s);
	map_done(&s->map);
	free(s);
}

static void sessions_hash(SHA256_CTX *digest, struct str s)
{
	uint64_t len = s.len; /* before the text, so that no two lists of texts look alike */
	SHA256_Update(digest, &len, sizeof(len));
	if (s.len > 0)
		SHA256_Update(digest, s.at, s.len);
}

struct sessions_key sessions_key_of(const struct tls_store *s, const struct tls_client_want *want)
{
	struct sessions_key key;
	SHA256_CTX digest;
	SHA256_Init(&digest);
	const struct tls_identity *identity = store_identity(s, want->identity);
	if (identity)
		SHA256_Update(&digest, identity->scope, sizeof(identity->scope));
	sessions_hash(&digest, want->identity);
	sessions_hash(&digest, want->server_name);
	for (size_t i = 0; i < want->server_id_count; i++)
		sessions_hash(&digest, want->server_ids[i]);
	SHA256_Final(key.bytes, &digest);
	return key;
}

static uint64_t sessions_slot(const struct sessions_key *key)
{
	uint64_t hash;
	memcpy(&hash, key->bytes, sizeof(hash));
	return hash;
}

/* How many entries a key has, with the first and the last that came. */
static uint32_t sessions_find(const struct tls_sessions *s, const struct sessions_key *key,
	struct sessions_node **ret_oldest, struct sessions_node **ret_newest)
{
	uint32_t count = 0;
	*ret_oldest = *ret_newest = NULL;
	struct map_node *it = map_first(&s->map, sessions_slot(key));
	for (; it; it = map_next(it)) {
		struct sessions_node *node = CONTAINER_OF(it, struct sessions_node, by_key);
		if (memcmp(node->key.bytes, key->bytes, sizeof(key->bytes)) != 0)
			continue;
		count++;
		if (!*ret_oldest || node->number < (*ret_oldest)->number)
			*ret_oldest = node;
		if (!*ret_newest || node->number > (*ret_newest)->number)
			*ret_newest = node;
	}
	return count;
}

/* Makes the cache one of this generation, or of a later one that was made after it. False: it is
 * over. */
static bool sessions_turn(struct tls_sessions *s, struct tls_store *store)
{
	bool is_later = !s->store || s->store->generation < store->generation;
	bool goes_on = s->store && s->store->pool == store->pool;
	if (!is_later)
		return goes_on;
	if (!goes_on)
		sessions_clear(s);
	tls_store_unref(s->store);
	s->store = tls_store_ref(store);
	return true;
}

static bool sessions_worth_keeping(const struct tls_sessions *s, SSL_SESSION *session)
{
	const uint8_t *ticket;
	size_t len;
	SSL_SESSION_get0_ticket(session, &ticket, &len);
	return s->count_max > 0 && len > 0 && len <= SESSIONS_TICKET_BYTES_MAX;
}

void sessions_put(struct tls_sessions *s, struct tls_store *store, const struct sessions_key *key,
	struct sessions_entry entry)
{
	struct sessions_node *node = NULL, *oldest, *newest;
	if (sessions_worth_keeping(s, entry.session) && sessions_turn(s, store))
		node = calloc(1, sizeof(*node));
	if (!node || !map_add(&s->map, &node->by_key, sessions_slot(key))) {
		free(node);
		SSL_SESSION_free(entry.session);
		return;
	}
	node->key = *key;
	node->entry = entry;
	node->number = ++s->last_number;
	list_add_last(&s->ages, &node->by_age);
	s->count++;
	if (sessions_find(s, key, &oldest, &newest) > s->per_key_max)
		sessions_drop(s, oldest);
	if (s->count > s->count_max)
		sessions_drop_oldest(s);
}

struct sessions_entry sessions_take(struct tls_sessions *s, const struct tls_store *store,
	const struct sessions_key *key, int64_t wall_s)
{
	struct sessions_node *oldest, *newest;
	struct sessions_entry entry = {0};
	if (!s->store || s->store->pool != store->pool ||
		sessions_find(s, key, &oldest, &newest) == 0)
		return entry;
	entry = newest->entry;
	newest->entry.session = NULL;
	sessions_drop(s, newest);
	if (wall_s >= entry.valid_from_s && wall_s < entry.valid_until_s)
		return entry;
	SSL_SESSION_free(entry.session);
	return (struct sessions_entry){0};
}
