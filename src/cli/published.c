/* SPDX-License-Identifier: Apache-2.0 */
/* Two reads, of the head and of the objects, are not one: when they do not fit each other, somebody
 * may just have published, so they are read again before anybody is accused. */
#include "published.h"

#include "state/layout.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PUBLISHED_BYTES_MAX (1u << 30)
/* Of what a node wrote no more than shows that it is too long. */
#define PUBLISHED_LEASE_END  "79"
#define PUBLISHED_RECORD_END "65536"
#define PUBLISHED_TRIES	     3
#define PUBLISHED_SCAN	     "1000"

static struct str published_key(
	const struct publisher *p, const char *kind, char text[LAYOUT_KEY_MAX])
{
	return layout_key(text, publisher_mesh(p), kind, STR(""));
}

static struct str published_reply_str(const redisReply *reply)
{
	bool is_text = reply && reply->type == REDIS_REPLY_STRING;
	return is_text ? (struct str){reply->str, (size_t)reply->len} : STR_NONE;
}

static int published_foreign(const char *what, struct err *err)
{
	return err_set(
		err, EBADMSG, "the store answers %s with something else than it should", what);
}

/* --- head and objects --- */

static int published_ask(struct publisher *p, const char *verb, const char *kind,
	redisReply **ret_reply, struct err *err)
{
	char text[LAYOUT_KEY_MAX];
	const struct str words[] = {str_of(verb), published_key(p, kind, text)};
	return publisher_ask(p, words, ARRAY_LEN(words), ret_reply, err);
}

/* A key of another type holds nothing of ours; that is a fault of the state, not of the asking. */
static int published_wrong_type(
	struct published *s, const char *kind, int result, bool *ret_is_foreign, struct err *err)
{
	if (result != -EREMOTEIO || !strstr(err->text, "WRONGTYPE"))
		return result;
	*ret_is_foreign = true;
	s->trust = PUBLISHED_BAD;
	err_set(&s->why, EBADMSG, "the key of the %s is of another type", kind);
	return 0;
}

static int published_load_head(struct publisher *p, struct published *s, struct err *err)
{
	redisReply *reply = NULL;
	bool is_foreign; /* SET makes a text of it again */
	int r = published_ask(p, "GET", "head", &reply, err);
	if (r < 0)
		return published_wrong_type(s, "head", r, &is_foreign, err);
	s->head_text = arena_str(&s->arena, published_reply_str(reply));
	bool is_known = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_NIL;
	if (reply->type == REDIS_REPLY_STRING && s->head_text.len == 0) {
		s->trust = PUBLISHED_BAD;
		err_set(&s->why, EBADMSG, "the head is empty");
	}
	freeReplyObject(reply);
	return is_known ? 0 : published_foreign("GET", err);
}

static bool published_take_objects(struct published *s, const redisReply *reply)
{
	struct err why;
	s->fields = arena_take(&s->arena, (reply->elements / 2 + 1) * sizeof(*s->fields));
	for (size_t i = 0; s->fields && i + 1 < reply->elements; i += 2) {
		struct str key = published_reply_str(reply->element[i]);
		s->fields[s->field_count++] = arena_str(&s->arena, key);
		struct str envelope = published_reply_str(reply->element[i + 1]);
		if (object_set_put(&s->set, key, envelope, &why) == 0)
			continue;
		if (s->trust != PUBLISHED_BAD)
			err_set(&s->why, EBADMSG, "one of the objects is none: %.400s", why.text);
		s->trust = PUBLISHED_BAD;
	}
	return s->fields != NULL;
}

static int published_load_objects(struct publisher *p, struct published *s, struct err *err)
{
	redisReply *reply = NULL;
	int r = published_ask(p, "HGETALL", "objects", &reply, err);
	if (r < 0)
		return published_wrong_type(s, "objects", r, &s->has_foreign_objects, err);
	if (reply->type != REDIS_REPLY_ARRAY)
		r = published_foreign("HGETALL", err);
	else if (!published_take_objects(s, reply))
		r = err_set(err, ENOMEM, "out of memory");
	freeReplyObject(reply);
	return r;
}

static void published_bad(struct published *s, const char *why)
{
	s->trust = PUBLISHED_BAD;
	snprintf(s->why.text, sizeof(s->why.text), "%s", why);
}

static void published_judge(const struct publisher *p, struct published *s)
{
	struct err why;
	bool has_keys = operator_keys_count(p->keys) > 0;
	int r = has_keys ? head_verify(s->head_text, publisher_mesh(p), p->keys, &s->head, &why)
			 : head_parse(s->head_text, &s->head, &why);
	if (r < 0)
		s->head = (struct head){0};
	if (s->trust == PUBLISHED_BAD)
		return;
	if (s->head_text.len == 0 && s->set.count == 0)
		s->trust = PUBLISHED_NOTHING;
	else if (s->head_text.len == 0)
		published_bad(s, "there are objects, but no head that says whose they are");
	else if (r < 0)
		published_bad(s, why.text);
	else if (!head_fits(&s->head, &s->set))
		published_bad(s, "the objects are not those that the head was signed for: some "
				 "were changed, added or taken away since");
	else
		s->trust = has_keys ? PUBLISHED_GOOD : PUBLISHED_UNKNOWN;
}

/* The stream's newest entry, whose number the next one's must exceed. */
static int published_load_newest(struct publisher *p, struct published *s, struct err *err)
{
	struct edit_entry *entries = NULL;
	uint32_t count = 0;
	int r = published_load_entries(p, 0, 1, &s->arena, &entries, &count, err);
	if (r == 0 && count > 0)
		s->newest = entries[0].revision;
	return r < 0 ? published_wrong_type(s, "changes", r, &s->has_foreign_changes, err) : 0;
}

static int published_load_once(
	struct publisher *p, bool watch, struct published *s, struct err *err)
{
	redisReply *reply = NULL;
	*s = (struct published){0};
	arena_init(&s->arena, PUBLISHED_BYTES_MAX);
	object_set_init(&s->set);
	int r = watch ? published_ask(p, "WATCH", "head", &reply, err) : 0;
	freeReplyObject(reply);
	if (r == 0)
		r = published_load_head(p, s, err);
	if (r == 0)
		r = published_load_objects(p, s, err);
	if (r == 0 && watch)
		r = published_load_newest(p, s, err);
	if (r == 0)
		published_judge(p, s);
	else
		published_done(s);
	return r;
}

int published_load(
	struct publisher *p, bool watch, struct published *ret_published, struct err *err)
{
	for (unsigned left = PUBLISHED_TRIES;; left--) {
		int r = published_load_once(p, watch, ret_published, err);
		if (r < 0 || ret_published->trust != PUBLISHED_BAD || left == 1)
			return r;
		published_done(ret_published);
	}
}

void published_done(struct published *s)
{
	object_set_done(&s->set);
	arena_done(&s->arena);
}

/* --- nodes --- */

struct published_names {
	struct str *names; /* malloc()ed; the texts are in the arena */
	uint32_t count, size;
};

static bool published_add_name(struct published_names *n, struct arena *arena, struct str name)
{
	if (n->count == n->size) {
		uint32_t size = n->size ? 2 * n->size : 64;
		struct str *grown = realloc(n->names, size * sizeof(*grown));
		if (!grown)
			return false;
		n->names = grown;
		n->size = size;
	}
	n->names[n->count] = arena_str(arena, name);
	return n->names[n->count++].at != NULL;
}

/* One answer to SCAN: the next cursor, and keys. */
static int published_scan_take(struct published *s, const redisReply *reply, struct str prefix,
	struct published_names *n, struct str *ret_cursor, struct err *err)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
		reply->element[0]->type != REDIS_REPLY_STRING ||
		reply->element[1]->type != REDIS_REPLY_ARRAY)
		return published_foreign("SCAN", err);
	*ret_cursor = arena_str(&s->arena, published_reply_str(reply->element[0]));
	for (size_t i = 0; i < reply->element[1]->elements; i++) {
		struct str key = published_reply_str(reply->element[1]->element[i]);
		struct str name = {key.at + prefix.len, key.len - prefix.len};
		if (str_starts(key, prefix) && record_node_valid(name) &&
			!published_add_name(n, &s->arena, name))
			return err_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

static int published_scan(
	struct publisher *p, struct published *s, struct published_names *n, struct err *err)
{
	char prefix_text[LAYOUT_KEY_MAX], pattern[LAYOUT_KEY_MAX];
	struct str prefix = layout_key(prefix_text, publisher_mesh(p), "node:", STR(""));
	struct str cursor = STR("0");
	int len = snprintf(pattern, sizeof(pattern), STR_FMT "*", STR_ARG(prefix));
	do {
		const struct str words[] = {STR("SCAN"), cursor, STR("MATCH"),
			{pattern, (size_t)len}, STR("COUNT"), STR(PUBLISHED_SCAN)};
		redisReply *reply = NULL;
		int r = publisher_ask(p, words, ARRAY_LEN(words), &reply, err);
		if (r < 0)
			return r;
		r = published_scan_take(s, reply, prefix, n, &cursor, err);
		freeReplyObject(reply);
		if (r < 0)
			return r;
	} while (!str_eq(cursor, STR("0")));
	return 0;
}

static int published_compare_names(const void *a, const void *b)
{
	return strcmp(((const struct str *)a)->at, ((const struct str *)b)->at);
}

/* SCAN may tell of a key twice. */
static void published_sort_names(struct published_names *n)
{
	uint32_t count = 0;
	if (n->count > 0)
		qsort(n->names, n->count, sizeof(*n->names), published_compare_names);
	for (uint32_t i = 0; i < n->count; i++) {
		if (count == 0 || !str_eq(n->names[count - 1], n->names[i]))
			n->names[count++] = n->names[i];
	}
	n->count = count;
}

/* "<start> <number> <revision>" */
static uint64_t published_lease_revision(struct str lease)
{
	uint64_t revision = 0;
	const char *space = lease.len ? memrchr(lease.at, ' ', lease.len) : NULL;
	if (!space)
		return 0;
	size_t before = (size_t)(space + 1 - lease.at);
	return str_to_u64((struct str){space + 1, lease.len - before}, &revision) ? revision : 0;
}

/* Nothing that can be read; any other refusal is one of the whole command. */
static bool published_is_other_type(int result, const struct err *err)
{
	return result == -EREMOTEIO && strstr(err->text, "WRONGTYPE");
}

static int published_load_lease(struct publisher *p, struct published_node *node, struct err *err)
{
	char key[LAYOUT_KEY_MAX];
	const struct str words[] = {STR("GETRANGE"),
		layout_key(key, publisher_mesh(p), "lease", node->name), STR("0"),
		STR(PUBLISHED_LEASE_END)};
	redisReply *reply = NULL;
	int r = publisher_ask(p, words, ARRAY_LEN(words), &reply, err);
	if (r == 0 && reply->type == REDIS_REPLY_STRING) {
		uint64_t revision = published_lease_revision(published_reply_str(reply));
		if (revision > node->revision)
			node->revision = revision;
	}
	freeReplyObject(reply);
	return published_is_other_type(r, err) ? 0 : r;
}

static int published_load_lease_end(
	struct publisher *p, struct published_node *node, struct err *err)
{
	char key[LAYOUT_KEY_MAX];
	const struct str words[] = {
		STR("PTTL"), layout_key(key, publisher_mesh(p), "lease", node->name)};
	redisReply *reply = NULL;
	int r = publisher_ask(p, words, ARRAY_LEN(words), &reply, err);
	if (r < 0)
		return r;
	node->lease_ms = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -2;
	freeReplyObject(reply);
	return 0;
}

/* False: it has left between. */
static int published_load_node(struct publisher *p, struct published *s,
	struct published_node *node, bool lease, bool *ret_is_there, struct err *err)
{
	char key[LAYOUT_KEY_MAX];
	struct err why;
	const struct str words[] = {STR("GETRANGE"),
		layout_key(key, publisher_mesh(p), "node", node->name), STR("0"),
		STR(PUBLISHED_RECORD_END)};
	redisReply *reply = NULL;
	int r = publisher_ask(p, words, ARRAY_LEN(words), &reply, err);
	bool is_other = published_is_other_type(r, err);
	*ret_is_there = is_other || (r == 0 && reply->type == REDIS_REPLY_STRING && reply->len > 0);
	if (r == 0 && *ret_is_there) {
		node->text = arena_str(&s->arena, published_reply_str(reply));
		node->is_readable = node->text.at &&
				    record_parse(node->text, &s->arena, &node->record, &why) == 0 &&
				    str_eq(node->record.node, node->name);
		node->revision = node->is_readable ? node->record.revision : 0;
	}
	freeReplyObject(reply);
	if (is_other)
		r = 0;
	if (r == 0 && *ret_is_there)
		r = published_load_lease(p, node, err);
	return r == 0 && lease && *ret_is_there ? published_load_lease_end(p, node, err) : r;
}

int published_load_nodes(struct publisher *p, struct published *s, bool leases, struct err *err)
{
	struct published_names names = {0};
	int r = published_scan(p, s, &names, err);
	published_sort_names(&names);
	s->nodes = arena_take(&s->arena, (names.count + 1) * sizeof(*s->nodes));
	if (r == 0 && !s->nodes)
		r = err_set(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; r == 0 && i < names.count; i++) {
		struct published_node *node = &s->nodes[s->node_count];
		bool is_there;
		*node = (struct published_node){.name = names.names[i]};
		r = published_load_node(p, s, node, leases, &is_there, err);
		s->node_count += r == 0 && is_there;
	}
	free(names.names);
	return r;
}

/* --- the stream --- */

static struct str published_field(const redisReply *fields, struct str name, struct arena *arena)
{
	for (size_t i = 0; i + 1 < fields->elements; i += 2) {
		if (str_eq(published_reply_str(fields->element[i]), name))
			return arena_str(arena, published_reply_str(fields->element[i + 1]));
	}
	return STR_NONE;
}

/* "<revision>-0"; an entry of another form is not ours. */
static bool published_entry(
	const redisReply *reply, struct arena *arena, struct edit_entry *ret_entry)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
		reply->element[1]->type != REDIS_REPLY_ARRAY)
		return false;
	struct str id = published_reply_str(reply->element[0]);
	const char *dash = id.len ? memchr(id.at, '-', id.len) : NULL;
	if (!dash || !str_to_u64((struct str){id.at, (size_t)(dash - id.at)}, &ret_entry->revision))
		return false;
	ret_entry->head = published_field(reply->element[1], STR("head"), arena);
	ret_entry->change = published_field(reply->element[1], STR("change"), arena);
	return true;
}

static int published_take_entries(const redisReply *reply, struct arena *arena,
	struct edit_entry **ret_entries, uint32_t *ret_count, struct err *err)
{
	if (reply->type != REDIS_REPLY_ARRAY)
		return published_foreign("XREVRANGE", err);
	struct edit_entry *entries = arena_take(arena, (reply->elements + 1) * sizeof(*entries));
	uint32_t count = 0;
	if (!entries)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < reply->elements; i++)
		count += published_entry(reply->element[i], arena, &entries[count]);
	*ret_entries = entries;
	*ret_count = count;
	return 0;
}

int published_load_entries(struct publisher *p, uint64_t from, uint32_t most, struct arena *arena,
	struct edit_entry **ret_entries, uint32_t *ret_count, struct err *err)
{
	char key[LAYOUT_KEY_MAX], first[32], count[16];
	snprintf(first, sizeof(first), "%llu-0", (unsigned long long)from);
	snprintf(count, sizeof(count), "%u", most);
	const struct str words[] = {STR("XREVRANGE"), published_key(p, "changes", key), STR("+"),
		str_of(first), STR("COUNT"), str_of(count)};
	redisReply *reply = NULL;
	int r = publisher_ask(p, words, ARRAY_LEN(words), &reply, err);
	if (r < 0)
		return r;
	r = published_take_entries(reply, arena, ret_entries, ret_count, err);
	freeReplyObject(reply);
	return r;
}

/* --- numbers --- */

uint64_t published_next_revision(
	const struct published *s, const struct published_node **ret_absurd)
{
	uint64_t base = s->newest > s->head.revision ? s->newest : s->head.revision, most = base;
	*ret_absurd = NULL;
	for (uint32_t i = 0; i < s->node_count; i++) {
		const struct published_node *node = &s->nodes[i];
		if (!node->is_readable || node->revision <= most)
			continue;
		if (node->revision - base > PUBLISHED_LEAD_MAX)
			*ret_absurd = node;
		else
			most = node->revision;
	}
	return most + 1;
}
