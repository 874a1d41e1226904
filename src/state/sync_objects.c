/* SPDX-License-Identifier: Apache-2.0 */
/* What operators publish: the head tells the newest revision; the way to it are the changes since
 * ours, or all objects anew. Nothing is taken that does not fit a head with an operator's
 * signature, and no older revision than one that was taken. */
#include "sync_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "state/layout.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define OBJECTS_TRIES_MAX   3
#define OBJECTS_TELL_NS	    (500 * CLOCK_MS)
#define OBJECTS_CHANGES_MAX 64 /* further behind than that: read all of them */

static const char *const objects_state_names[] = {"REST", "HEAD", "CHANGES", "WHOLE"};

static void objects_move(struct sync *s, enum objects_state state)
{
	static const unsigned allowed[] = {
		[OBJECTS_REST] = 1u << OBJECTS_HEAD,
		[OBJECTS_HEAD] = 1u << OBJECTS_REST | 1u << OBJECTS_CHANGES | 1u << OBJECTS_WHOLE,
		[OBJECTS_CHANGES] = 1u << OBJECTS_REST | 1u << OBJECTS_WHOLE,
		[OBJECTS_WHOLE] = 1u << OBJECTS_REST,
	};
	ASSERT(objects_state_names[state] && allowed[s->objects.state] & 1u << state);
	s->objects.state = state;
}

static void objects_drop_head(struct objects *o)
{
	free(o->head_text);
	o->head_text = NULL;
	o->head_len = 0;
}

/* --- asking --- */

static void objects_ask_head(struct sync *s)
{
	char key[LAYOUT_KEY_MAX];
	struct str words[] = {STR("GET"), sync_key(s, key, "head", STR_NONE)};
	s->objects.again = false;
	if (sync_ask(s, SYNC_TAG_HEAD, words, ARRAY_LEN(words)))
		objects_move(s, OBJECTS_HEAD);
	else
		s->objects.again = true;
}

void objects_look(struct sync *s)
{
	if (s->objects.state == OBJECTS_REST)
		objects_ask_head(s);
	else
		s->objects.again = true;
}

/* Ends a reading; with news meanwhile the next one begins. */
static void objects_rest(struct sync *s)
{
	objects_drop_head(&s->objects);
	objects_move(s, OBJECTS_REST);
	if (s->objects.again)
		objects_ask_head(s);
}

static void objects_ask_whole(struct sync *s)
{
	char key[LAYOUT_KEY_MAX];
	struct str words[] = {STR("HGETALL"), sync_key(s, key, "objects", STR_NONE)};
	if (sync_ask(s, SYNC_TAG_OBJECTS, words, ARRAY_LEN(words))) {
		objects_move(s, OBJECTS_WHOLE);
		return;
	}
	s->objects.again = true;
	objects_rest(s);
}

static void objects_ask_changes(struct sync *s)
{
	char key[LAYOUT_KEY_MAX], from[32];
	int len = snprintf(from, sizeof(from), "%" PRIu64 "-0", mirror_revision(&s->mirror) + 1);
	struct str words[] = {STR("XRANGE"), sync_key(s, key, "changes", STR_NONE),
		{from, (size_t)len}, STR("+"), STR("COUNT"), STR("128")};
	if (sync_ask(s, SYNC_TAG_CHANGES, words, ARRAY_LEN(words)))
		objects_move(s, OBJECTS_CHANGES);
	else
		objects_ask_whole(s);
}

/* --- the head --- */

static void objects_agree(struct sync *s)
{
	s->objects.why[0] = '\0';
	s->objects.is_known = true;
	s->agreed_wall_ns = s->loop->wall_ns;
}

static void objects_no_head(struct sync *s)
{
	s->objects.store_revision = 0;
	if (s->mirror.head_text)
		sync_refuse(s, s->objects.why, sizeof(s->objects.why),
			"the store has lost its objects; revision %" PRIu64
			" of them stays in force: publish them again",
			mirror_revision(&s->mirror));
	else
		objects_agree(s);
	objects_rest(s);
}

/* What would be read next: -1 nothing, for it is refused; 0 nothing, for it is ours; else which. */
static int objects_judge_head(struct sync *s, struct str text)
{
	struct head head;
	struct err err;
	const struct mirror *m = &s->mirror;
	int r = head_verify(text, s->mesh, s->operators, &head, &err);
	if (r < 0) {
		sync_refuse(s, s->objects.why, sizeof(s->objects.why),
			"the store's objects are refused: %s; revision %" PRIu64 " stays in force",
			err.text, mirror_revision(m));
		return -1;
	}
	s->objects.store_revision = head.revision;
	if (m->head_text && str_eq(text, (struct str){m->head_text, m->head_len}))
		return 0;
	uint64_t ours = mirror_revision(m);
	bool is_newer = head.revision > ours ||
			(head.revision == ours && m->head_text && head.time_s > m->head.time_s);
	if (!is_newer) {
		sync_refuse(s, s->objects.why, sizeof(s->objects.why),
			"the store went back to revision %" PRIu64 "; %" PRIu64
			" stays in force: publish again what was lost",
			head.revision, ours);
		return -1;
	}
	bool is_near =
		m->head_text && head.revision > ours && head.revision - ours <= OBJECTS_CHANGES_MAX;
	return is_near ? OBJECTS_CHANGES : OBJECTS_WHOLE;
}

static void objects_take_head(struct sync *s, const redisReply *reply)
{
	struct objects *o = &s->objects;
	if (reply->type == REDIS_REPLY_NIL) {
		objects_no_head(s);
		return;
	}
	if (reply->type != REDIS_REPLY_STRING) {
		sync_refuse(s, o->why, sizeof(o->why), "the store's head is no text");
		objects_rest(s);
		return;
	}
	struct str text = {reply->str, reply->len};
	int next = objects_judge_head(s, text);
	if (next == 0)
		objects_agree(s);
	if (next <= 0) {
		objects_rest(s);
		return;
	}
	objects_drop_head(o);
	o->head_text = malloc(text.len + 1);
	if (!o->head_text) {
		objects_rest(s);
		return;
	}
	memcpy(o->head_text, text.at, text.len);
	o->head_text[text.len] = '\0';
	o->head_len = text.len;
	if (next == OBJECTS_CHANGES)
		objects_ask_changes(s);
	else
		objects_ask_whole(s);
}

/* --- the objects --- */

/* True: the set fits the head that is being read to, and is in force now. */
static bool objects_settle(struct sync *s, struct object_set *set)
{
	struct head head;
	struct err err;
	struct str text = {s->objects.head_text, s->objects.head_len};
	int r = head_verify(text, s->mesh, s->operators, &head, &err);
	if (r < 0 || !head_fits(&head, set))
		return false;
	uint64_t before = mirror_revision(&s->mirror);
	r = mirror_take_objects(&s->mirror, text, &head, set, &err);
	if (r < 0)
		return false;
	log_info("state",
		"revision %" PRIu64 " of the mesh's objects by " STR_FMT " (before: %" PRIu64 ")",
		head.revision, STR_ARG(head.who), before);
	s->objects.tries = 0;
	objects_agree(s);
	/* The next lease tells the others; not all at once. */
	sync_soon(s, &s->beat, 1 + loop_random(s->loop) % OBJECTS_TELL_NS);
	return true;
}

static bool objects_apply_entry(const redisReply *entry, struct object_set *set)
{
	struct err err;
	if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
		entry->element[1]->type != REDIS_REPLY_ARRAY)
		return false;
	const redisReply *fields = entry->element[1];
	for (size_t i = 0; i + 1 < fields->elements; i += 2) {
		const redisReply *name = fields->element[i], *value = fields->element[i + 1];
		if (name->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING &&
			str_eq((struct str){name->str, name->len}, STR("change")))
			return change_apply((struct str){value->str, value->len}, set, &err) == 0;
	}
	return false;
}

/* Ours, and then one change after the other; whatever is wrong with it shows in the digest. */
static bool objects_apply(struct sync *s, const redisReply *reply)
{
	struct object_set set;
	struct err err;
	if (reply->type != REDIS_REPLY_ARRAY || object_set_copy(&s->mirror.objects, &set, &err) < 0)
		return false;
	bool is_good = true;
	for (size_t i = 0; is_good && i < reply->elements; i++)
		is_good = objects_apply_entry(reply->element[i], &set);
	is_good = is_good && objects_settle(s, &set);
	object_set_done(&set);
	return is_good;
}

static bool objects_fill(const redisReply *reply, struct object_set *set, struct err *err)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements % 2 != 0)
		return false;
	for (size_t i = 0; i < reply->elements; i += 2) {
		const redisReply *key = reply->element[i], *value = reply->element[i + 1];
		if (key->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING ||
			object_set_put(set, (struct str){key->str, key->len},
				(struct str){value->str, value->len}, err) < 0)
			return false;
	}
	return true;
}

static void objects_take_whole(struct sync *s, const redisReply *reply)
{
	struct objects *o = &s->objects;
	struct object_set set;
	struct err err = {.text = "they are not those that the head was signed for"};
	object_set_init(&set);
	bool is_good = objects_fill(reply, &set, &err) && objects_settle(s, &set);
	object_set_done(&set);
	if (!is_good && ++o->tries < OBJECTS_TRIES_MAX) {
		/* Published between the two answers? Then there is a newer head. */
		o->again = true;
	} else if (!is_good) {
		o->tries = 0;
		sync_refuse(s, o->why, sizeof(o->why),
			"the store's objects of revision %" PRIu64
			" are refused: %s; revision %" PRIu64 " stays in force",
			o->store_revision, err.text, mirror_revision(&s->mirror));
	}
	objects_rest(s);
}

void objects_answer(struct sync *s, enum sync_tag tag, const struct store_answer *answer)
{
	if (answer->failure == STORE_REFUSED) {
		sync_refuse(s, s->objects.why, sizeof(s->objects.why),
			"the store does not tell its objects: %s", answer->reply->str);
		objects_rest(s);
		return;
	}
	if (tag == SYNC_TAG_HEAD && s->objects.state == OBJECTS_HEAD)
		objects_take_head(s, answer->reply);
	else if (tag == SYNC_TAG_OBJECTS && s->objects.state == OBJECTS_WHOLE)
		objects_take_whole(s, answer->reply);
	else if (tag == SYNC_TAG_CHANGES && s->objects.state == OBJECTS_CHANGES) {
		if (objects_apply(s, answer->reply))
			objects_rest(s);
		else
			objects_ask_whole(s);
	}
}

void objects_lost(struct sync *s)
{
	s->objects.is_known = false; /* the store may have more by now */
	if (s->objects.state == OBJECTS_REST)
		return;
	s->objects.again = false;
	objects_rest(s);
	s->objects.again = true; /* asked for again with the next connection */
}

void objects_done(struct sync *s)
{
	objects_drop_head(&s->objects);
}
