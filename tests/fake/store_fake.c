/* SPDX-License-Identifier: Apache-2.0 */
#include "fake/store_fake.h"

#include "base/clock.h"
#include "base/list.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define WORDS_MAX 512

/* A field of a hash or an entry of a stream; a plain value is a single one. */
struct part {
	struct list node;
	char *name; /* field, or id */
	char *value, *more;
	size_t value_len, more_len;
	char *fields; /* of an entry that XADD made: as it is told; else NULL */
	size_t fields_len;
};

struct entry {
	struct list node;
	char *key;
	struct list parts;
	uint64_t expires_ns; /* 0: never */
};

struct waiting {
	struct list node;
	uint64_t tag;
	enum store_failure failure;
	redisReply *reply;
	bool is_unreadable;
};

struct store {
	struct list node; /* in server.stores */
	struct task task;
	struct loop *loop;
	struct task *owner;
	enum store_state state;
	struct address address;
	char channel[512];
	uint64_t life;
	struct list answers; /* of struct waiting */
	struct list stalled; /* the same, not yet to be taken */
	struct list pushes;
};

static struct {
	struct list entries, stores;
	bool is_up, is_stalled, is_scan_endless;
	size_t longest; /* bytes of a value */
	const char *refused_word, *refused_error, *broken_word;
	const char *cut_key;
	struct {
		char word[16];
		uint32_t count;
	} counts[32];
	uint64_t now_ns;
} server;

/* --- memory --- */

static char *copy_of(struct str s)
{
	char *copy = malloc(s.len + 1);
	ASSERT(copy);
	if (s.len > 0)
		memcpy(copy, s.at, s.len);
	copy[s.len] = '\0';
	return copy;
}

static void part_free(struct part *p)
{
	list_remove(&p->node);
	free(p->name);
	free(p->value);
	free(p->more);
	free(p->fields);
	free(p);
}

static void entry_free(struct entry *e)
{
	while (!list_empty(&e->parts))
		part_free(CONTAINER_OF(e->parts.next, struct part, node));
	list_remove(&e->node);
	free(e->key);
	free(e);
}

static struct entry *entry_find(struct str key)
{
	struct list *it = server.entries.next;
	while (it != &server.entries) {
		struct entry *e = CONTAINER_OF(it, struct entry, node);
		it = it->next;
		if (!str_eq(str_of(e->key), key))
			continue;
		if (e->expires_ns == 0 || e->expires_ns > server.now_ns)
			return e;
		entry_free(e);
		return NULL;
	}
	return NULL;
}

static struct entry *entry_of(struct str key)
{
	struct entry *e = entry_find(key);
	if (e)
		return e;
	e = calloc(1, sizeof(*e));
	ASSERT(e);
	e->key = copy_of(key);
	list_init(&e->parts);
	list_add_last(&server.entries, &e->node);
	return e;
}

static struct part *entry_part(const struct entry *e, struct str name)
{
	LIST_EACH (&e->parts, it) {
		struct part *p = CONTAINER_OF(it, struct part, node);
		if (str_eq(str_of(p->name), name))
			return p;
	}
	return NULL;
}

static void entry_put(struct entry *e, struct str name, struct str value, struct str more)
{
	struct part *old = entry_part(e, name);
	if (old)
		part_free(old);
	struct part *p = calloc(1, sizeof(*p));
	ASSERT(p);
	p->name = copy_of(name);
	p->value = copy_of(value);
	p->value_len = value.len;
	p->more = copy_of(more);
	p->more_len = more.len;
	list_add_last(&e->parts, &p->node);
}

static struct part *value_of(struct str key)
{
	struct entry *e = entry_find(key);
	return e ? entry_part(e, STR_NONE) : NULL;
}

static void value_set(struct str key, struct str value, uint64_t ms)
{
	struct entry *e = entry_of(key);
	entry_put(e, STR_NONE, value, STR_NONE);
	e->expires_ns = ms ? server.now_ns + ms * CLOCK_MS : 0;
}

/* --- replies: RESP text, read by hiredis --- */

struct text {
	char *at;
	size_t len, size;
};

static void text_add(struct text *t, const void *bytes, size_t len)
{
	if (t->len + len > t->size) {
		t->size = 2 * (t->len + len);
		t->at = realloc(t->at, t->size);
		ASSERT(t->at);
	}
	if (len > 0)
		memcpy(t->at + t->len, bytes, len);
	t->len += len;
}

static void text_line(struct text *t, char kind, long long number)
{
	char line[32];
	text_add(t, line, (size_t)snprintf(line, sizeof(line), "%c%lld\r\n", kind, number));
}

static void text_bulk(struct text *t, struct str s)
{
	server.longest = s.len > server.longest ? s.len : server.longest;
	text_line(t, '$', (long long)s.len);
	text_add(t, s.at, s.len);
	text_add(t, "\r\n", 2);
}

static void text_value(struct text *t, const struct part *p)
{
	if (p)
		text_bulk(t, (struct str){p->value, p->value_len});
	else
		text_line(t, '$', -1);
}

static redisReply *text_reply(struct text *t)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;
	ASSERT(redisReaderFeed(reader, t->at, t->len) == REDIS_OK);
	ASSERT(redisReaderGetReply(reader, &reply) == REDIS_OK && reply);
	redisReaderFree(reader);
	free(t->at);
	return reply;
}

/* --- commands --- */

static bool is_word(struct str word, const char *name)
{
	return str_eq(word, str_of(name));
}

static void command_set(struct text *t, const struct str *words, size_t count)
{
	uint64_t ms = 0;
	bool is_get = false, is_new_only = is_word(words[count - 1], "NX");
	if (is_new_only && entry_find(words[1])) {
		text_add(t, "$-1\r\n", 5);
		return;
	}
	for (size_t i = 3; i < count; i++) {
		if (is_word(words[i], "PX"))
			ASSERT(i + 1 < count && str_to_u64(words[i + 1], &ms));
		is_get = is_get || is_word(words[i], "GET");
	}
	if (is_get)
		text_value(t, value_of(words[1]));
	else
		text_add(t, "+OK\r\n", 5);
	value_set(words[1], words[2], ms);
}

/* From the first byte to one that is named, as far as there are any. */
static void command_range_of(struct text *t, const struct str *words)
{
	uint64_t last = 0;
	const struct part *p = value_of(words[1]);
	ASSERT(is_word(words[2], "0") && str_to_u64(words[3], &last));
	size_t len = p ? p->value_len : 0;
	text_bulk(t, (struct str){p ? p->value : "", len <= last ? len : (size_t)last + 1});
}

static void command_scan(struct text *t, const struct str *words)
{
	uint32_t count = 0;
	struct text keys = {0};
	ASSERT(is_word(words[2], "MATCH"));
	struct str prefix = {words[3].at, words[3].len - 1};
	struct list *it = server.entries.next;
	while (it != &server.entries) {
		struct str key = str_of(CONTAINER_OF(it, struct entry, node)->key);
		it = it->next;
		if (!str_starts(key, prefix) || !entry_find(key))
			continue;
		text_bulk(&keys, key);
		count++;
	}
	text_line(t, '*', 2);
	text_bulk(t, server.is_scan_endless ? STR("7") : STR("0"));
	text_line(t, '*', count);
	text_add(t, keys.at, keys.len);
	free(keys.at);
}

static void command_hash(struct text *t, struct str key)
{
	uint32_t count = 0;
	const struct entry *e = entry_find(key);
	struct text pairs = {0};
	if (e) {
		LIST_EACH (&e->parts, it) {
			const struct part *p = CONTAINER_OF(it, struct part, node);
			text_bulk(&pairs, str_of(p->name));
			text_value(&pairs, p);
			count += 2;
		}
	}
	text_line(t, '*', count);
	text_add(t, pairs.at, pairs.len);
	free(pairs.at);
}

static void command_range(struct text *t, const struct str *words)
{
	uint32_t count = 0;
	const struct entry *e = entry_find(words[1]);
	struct text entries = {0};
	unsigned long long from = strtoull(words[2].at, NULL, 10);
	if (e) {
		LIST_EACH (&e->parts, it) {
			const struct part *p = CONTAINER_OF(it, struct part, node);
			if (strtoull(p->name, NULL, 10) < from)
				continue;
			text_line(&entries, '*', 2);
			text_bulk(&entries, str_of(p->name));
			text_line(&entries, '*', 4);
			text_bulk(&entries, STR("head"));
			text_value(&entries, p);
			text_bulk(&entries, STR("change"));
			text_bulk(&entries, (struct str){p->more, p->more_len});
			count++;
		}
	}
	text_line(t, '*', count);
	text_add(t, entries.at, entries.len);
	free(entries.at);
}

/* --- streams of XADD --- */

struct id {
	unsigned long long ms, number;
};

static struct id id_of(struct str text)
{
	char *copy = copy_of(text), *end;
	struct id id = {.ms = strtoull(copy, &end, 10)};
	if (*end == '-')
		id.number = strtoull(end + 1, NULL, 10);
	free(copy);
	return id;
}

static bool id_is_above(struct id a, struct id b)
{
	return a.ms > b.ms || (a.ms == b.ms && a.number > b.number);
}

static struct part *entry_last(const struct entry *e)
{
	bool is_empty = !e || list_empty(&e->parts);
	return is_empty ? NULL : CONTAINER_OF(e->parts.prev, struct part, node);
}

/* XADD key MAXLEN ~ count id field value ... */
static void command_add(struct text *t, const struct str *words, size_t count)
{
	uint64_t most = 0;
	uint32_t kept = 0;
	struct text fields = {0};
	ASSERT(count >= 8 && is_word(words[2], "MAXLEN") && is_word(words[3], "~") &&
		str_to_u64(words[4], &most));
	const struct part *last = entry_last(entry_find(words[1]));
	if (last && !id_is_above(id_of(words[5]), id_of(str_of(last->name)))) {
		text_add(t, "-", 1);
		text_add(t, STORE_FAKE_STALE, strlen(STORE_FAKE_STALE));
		text_add(t, "\r\n", 2);
		return;
	}
	struct entry *e = entry_of(words[1]);
	entry_put(e, words[5], STR_NONE, STR_NONE);
	text_line(&fields, '*', (long long)count - 6);
	for (size_t i = 6; i < count; i++)
		text_bulk(&fields, words[i]);
	struct part *p = entry_last(e);
	p->fields = fields.at;
	p->fields_len = fields.len;
	LIST_EACH (&e->parts, it)
		kept++;
	for (; kept > most; kept--)
		part_free(CONTAINER_OF(e->parts.next, struct part, node));
	text_bulk(t, words[5]);
}

/* XREVRANGE key + - COUNT 1 */
static void command_newest(struct text *t, const struct str *words, size_t count)
{
	ASSERT(count == 6 && is_word(words[2], "+") && is_word(words[3], "-") &&
		is_word(words[5], "1"));
	const struct part *p = entry_last(entry_find(words[1]));
	text_line(t, '*', p ? 1 : 0);
	if (!p)
		return;
	text_line(t, '*', 2);
	text_bulk(t, str_of(p->name));
	text_add(t, p->fields, p->fields_len);
}

static void command_time(struct text *t)
{
	char s[32], us[32];
	uint64_t now_us = server.now_ns / 1000;
	snprintf(s, sizeof(s), "%llu", (unsigned long long)(now_us / 1000000));
	snprintf(us, sizeof(us), "%llu", (unsigned long long)(now_us % 1000000));
	text_line(t, '*', 2);
	text_bulk(t, str_of(s));
	text_bulk(t, str_of(us));
}

static void command_expire(struct text *t, const struct str *words)
{
	uint64_t ms = 0;
	struct entry *e = entry_find(words[1]);
	ASSERT(str_to_u64(words[2], &ms));
	if (e)
		e->expires_ns = server.now_ns + ms * CLOCK_MS;
	text_line(t, ':', e != NULL);
}

static void command_add_number(struct text *t, const struct str *words, int64_t sign)
{
	char text[24] = "0";
	uint64_t by = 0;
	const struct part *p = value_of(words[1]);
	struct entry *e = entry_find(words[1]);
	ASSERT(str_to_u64(words[2], &by));
	if (p)
		snprintf(text, sizeof(text), "%.*s", (int)p->value_len, p->value);
	char *end;
	long long before = strtoll(text, &end, 10);
	if (*end) {
		static const char error[] = "-ERR value is not an integer or out of range\r\n";
		text_add(t, error, sizeof(error) - 1);
		return;
	}
	uint64_t expires_ns = e ? e->expires_ns : 0;
	long long after = before + sign * (long long)by;
	snprintf(text, sizeof(text), "%lld", after);
	value_set(words[1], str_of(text), 0);
	entry_find(words[1])->expires_ns = expires_ns;
	text_line(t, ':', after);
}

static void command_run(struct text *t, const struct str *words, size_t count)
{
	if (server.refused_word && is_word(words[0], server.refused_word)) {
		text_add(t, "-", 1);
		text_add(t, server.refused_error, strlen(server.refused_error));
		text_add(t, "\r\n", 2);
	} else if (is_word(words[0], "GET")) {
		text_value(t, value_of(words[1]));
	} else if (is_word(words[0], "SET")) {
		command_set(t, words, count);
	} else if (is_word(words[0], "GETRANGE")) {
		command_range_of(t, words);
	} else if (is_word(words[0], "PTTL")) {
		const struct entry *e = entry_find(words[1]);
		text_line(t, ':', !e ? -2 : e->expires_ns == 0 ? -1 : 1000);
	} else if (is_word(words[0], "SCAN")) {
		command_scan(t, words);
	} else if (is_word(words[0], "HGETALL")) {
		command_hash(t, words[1]);
	} else if (is_word(words[0], "XRANGE")) {
		command_range(t, words);
	} else if (is_word(words[0], "XADD")) {
		command_add(t, words, count);
	} else if (is_word(words[0], "XREVRANGE")) {
		command_newest(t, words, count);
	} else if (is_word(words[0], "TIME")) {
		command_time(t);
	} else if (is_word(words[0], "INCRBY") || is_word(words[0], "DECRBY")) {
		command_add_number(t, words, is_word(words[0], "INCRBY") ? 1 : -1);
	} else if (is_word(words[0], "PEXPIRE")) {
		command_expire(t, words);
	} else if (is_word(words[0], "PUBLISH")) {
		char *channel = copy_of(words[1]);
		server_publish(channel, words[2]);
		free(channel);
		text_line(t, ':', 1);
	} else {
		ASSERT(!"a command that the server does not know");
	}
}

static void server_counted(struct str word)
{
	for (size_t i = 0; i < ARRAY_LEN(server.counts); i++) {
		char *known = server.counts[i].word;
		ASSERT(word.len < sizeof(server.counts[i].word));
		if (known[0] == '\0')
			memcpy(known, word.at, word.len);
		if (!str_eq(str_of(known), word))
			continue;
		server.counts[i].count++;
		return;
	}
}

/* --- the server, by hand --- */

void server_init(void)
{
	memset(&server, 0, sizeof(server));
	list_init(&server.entries);
	list_init(&server.stores);
	server.is_up = true;
}

void server_flush(void)
{
	while (!list_empty(&server.entries))
		entry_free(CONTAINER_OF(server.entries.next, struct entry, node));
}

void server_done(void)
{
	ASSERT(list_empty(&server.stores));
	server_flush();
}

static void store_lose(struct store *s)
{
	s->state = STORE_DOWN;
	LIST_EACH (&s->stalled, it) {
		struct waiting *w = CONTAINER_OF(it, struct waiting, node);
		freeReplyObject(w->reply);
		w->reply = NULL;
		w->failure = STORE_LOST;
	}
	list_move_all(&s->stalled, &s->answers);
	loop_ready(s->loop, s->owner);
}

void server_up(bool is_up)
{
	server.is_up = is_up;
	LIST_EACH (&server.stores, it) {
		struct store *s = CONTAINER_OF(it, struct store, node);
		if (!is_up && s->state == STORE_READY)
			store_lose(s);
		loop_ready(s->loop, &s->task);
	}
}

void server_stall(bool is_stalled)
{
	server.is_stalled = is_stalled;
	LIST_EACH (&server.stores, it) {
		struct store *s = CONTAINER_OF(it, struct store, node);
		if (is_stalled)
			continue;
		list_move_all(&s->stalled, &s->answers);
		loop_ready(s->loop, s->owner);
	}
}

void server_refuse(const char *word, const char *error)
{
	server.refused_word = word;
	server.refused_error = error;
}

void server_cut(const char *key)
{
	server.cut_key = key;
}

void server_break(const char *word)
{
	server.broken_word = word;
}

void server_scan_endless(bool is_endless)
{
	server.is_scan_endless = is_endless;
}

size_t server_longest(void)
{
	return server.longest;
}

const char *server_get(const char *key)
{
	const struct part *p = value_of(str_of(key));
	return p ? p->value : NULL;
}

void server_set(const char *key, struct str value, uint64_t ms)
{
	value_set(str_of(key), value, ms);
}

void server_delete(const char *key)
{
	struct entry *e = entry_find(str_of(key));
	if (e)
		entry_free(e);
}

void server_hash_set(const char *key, struct str field, struct str value)
{
	entry_put(entry_of(str_of(key)), field, value, STR_NONE);
}

void server_hash_delete(const char *key, struct str field)
{
	struct entry *e = entry_find(str_of(key));
	struct part *p = e ? entry_part(e, field) : NULL;
	if (p)
		part_free(p);
}

void server_stream_add(const char *key, const char *id, struct str head, struct str change)
{
	entry_put(entry_of(str_of(key)), str_of(id), head, change);
}

const char *server_stream_id(const char *key)
{
	const struct part *p = entry_last(entry_find(str_of(key)));
	return p ? p->name : NULL;
}

bool server_stream_say(const char *key, const char *id, const struct str *fields, size_t count)
{
	struct text t = {0};
	struct str words[16] = {
		STR("XADD"), str_of(key), STR("MAXLEN"), STR("~"), STR("32"), str_of(id)};
	ASSERT(count <= ARRAY_LEN(words) - 6);
	memcpy(words + 6, fields, count * sizeof(*fields));
	command_add(&t, words, 6 + count);
	bool is_taken = t.at[0] != '-';
	free(t.at);
	return is_taken;
}

static void store_hear(struct store *s, const char *channel, struct str text)
{
	struct text t = {0};
	text_line(&t, '*', 3);
	text_bulk(&t, STR("message"));
	text_bulk(&t, str_of(channel));
	text_bulk(&t, text);
	struct waiting *w = calloc(1, sizeof(*w));
	ASSERT(w);
	w->reply = text_reply(&t);
	list_add_last(&s->pushes, &w->node);
	loop_ready(s->loop, s->owner);
}

void server_publish(const char *channel, struct str text)
{
	LIST_EACH (&server.stores, it) {
		struct store *s = CONTAINER_OF(it, struct store, node);
		if (s->state == STORE_READY && strcmp(s->channel, channel) == 0)
			store_hear(s, channel, text);
	}
}

uint32_t server_count(const char *word)
{
	for (size_t i = 0; i < ARRAY_LEN(server.counts); i++) {
		if (strcmp(server.counts[i].word, word) == 0)
			return server.counts[i].count;
	}
	return 0;
}

/* --- state/store.h --- */

struct store *store_new(
	struct loop *loop, uint16_t kind, struct task *owner, const struct store_settings *settings)
{
	struct store *s = calloc(1, sizeof(*s));
	ASSERT(s);
	task_init(&s->task, kind);
	s->loop = loop;
	s->owner = owner;
	s->address = settings->addresses[0];
	snprintf(s->channel, sizeof(s->channel), STR_FMT, STR_ARG(settings->channel));
	list_init(&s->answers);
	list_init(&s->stalled);
	list_init(&s->pushes);
	list_add_last(&server.stores, &s->node);
	loop_ready(loop, &s->task);
	return s;
}

struct task *store_task(struct store *s)
{
	return &s->task;
}

struct store *store_of(struct task *t)
{
	return CONTAINER_OF(t, struct store, task);
}

void store_step(struct store *s)
{
	if (s->state == STORE_CLOSING) {
		s->state = STORE_CLOSED;
		loop_ready(s->loop, s->owner);
	} else if (s->state == STORE_DOWN && server.is_up) {
		s->state = STORE_READY;
		s->life++;
		loop_ready(s->loop, s->owner);
	}
}

enum store_state store_state(const struct store *s)
{
	return s->state;
}

const char *store_why(const struct store *s)
{
	return s->state == STORE_READY ? "" : "the server is down";
}

const struct address *store_address(const struct store *s)
{
	return &s->address;
}

uint64_t store_life(const struct store *s)
{
	return s->life;
}

/* Down, it does not try. */
uint64_t store_rounds_in_vain(const struct store *s)
{
	return 0;
}

uint64_t store_bytes_in(const struct store *s)
{
	return s->life;
}

uint64_t store_bytes_out(const struct store *s)
{
	return s->life;
}

/* Answered by nothing, as all before it that had no answer yet. */
static void store_cut(struct store *s, uint64_t tag)
{
	struct waiting *w = calloc(1, sizeof(*w));
	ASSERT(w);
	w->tag = tag;
	list_add_last(&s->stalled, &w->node);
	store_lose(s);
	loop_ready(s->loop, &s->task);
}

bool store_send(struct store *s, uint64_t tag, const struct str *words, size_t word_count)
{
	struct text t = {0};
	if (s->state != STORE_READY)
		return false;
	if (server.cut_key && word_count > 1 && str_eq(words[1], str_of(server.cut_key))) {
		store_cut(s, tag);
		return true;
	}
	ASSERT(s->channel[0] == '\0' && word_count <= WORDS_MAX);
	server.now_ns = s->loop->now_ns;
	server_counted(words[0]);
	command_run(&t, words, word_count);
	struct waiting *w = calloc(1, sizeof(*w));
	ASSERT(w);
	w->tag = tag;
	w->reply = text_reply(&t);
	w->failure = w->reply->type == REDIS_REPLY_ERROR ? STORE_REFUSED : STORE_OK;
	list_add_last(server.is_stalled ? &s->stalled : &s->answers, &w->node);
	if (!server.is_stalled)
		loop_ready(s->loop, s->owner);
	if (server.broken_word && str_eq(words[0], str_of(server.broken_word))) {
		freeReplyObject(w->reply);
		w->reply = NULL;
		w->failure = STORE_LOST;
		w->is_unreadable = true;
		store_lose(s);
		loop_ready(s->loop, &s->task);
	}
	return true;
}

bool store_say(struct store *s, uint64_t tag, const char *word, ...)
{
	struct str words[8];
	size_t count = 0;
	va_list args;
	va_start(args, word);
	for (; word; word = va_arg(args, const char *)) {
		ASSERT(count < ARRAY_LEN(words));
		words[count++] = str_of(word);
	}
	va_end(args);
	return store_send(s, tag, words, count);
}

bool store_answer(struct store *s, struct store_answer *ret_answer)
{
	struct list *node = list_pop(&s->answers);
	if (!node)
		return false;
	struct waiting *w = CONTAINER_OF(node, struct waiting, node);
	*ret_answer = (struct store_answer){.tag = w->tag,
		.failure = w->failure,
		.reply = w->reply,
		.is_unreadable = w->is_unreadable};
	free(w);
	return true;
}

void store_answer_done(struct store *s, struct store_answer *answer)
{
	freeReplyObject(answer->reply);
	answer->reply = NULL;
}

redisReply *store_push(struct store *s)
{
	struct list *node = list_pop(&s->pushes);
	if (!node)
		return NULL;
	struct waiting *w = CONTAINER_OF(node, struct waiting, node);
	redisReply *reply = w->reply;
	free(w);
	return reply;
}

void store_close(struct store *s)
{
	store_lose(s);
	s->state = STORE_CLOSING;
	loop_ready(s->loop, &s->task);
}

void store_free(struct store *s)
{
	struct store_answer answer;
	redisReply *push;
	ASSERT(s->state == STORE_CLOSED);
	while (store_answer(s, &answer))
		store_answer_done(s, &answer);
	while ((push = store_push(s)))
		freeReplyObject(push);
	list_remove(&s->task.node);
	list_remove(&s->task.hungry);
	list_remove(&s->node);
	free(s);
}
