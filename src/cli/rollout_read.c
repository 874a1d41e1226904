/* SPDX-License-Identifier: Apache-2.0 */
#include "rollout_read.h"

#include "conf/rollouts.h"
#include "state/layout.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct str read_reply_str(const redisReply *reply)
{
	bool is_text = reply && reply->type == REDIS_REPLY_STRING;
	return is_text ? (struct str){reply->str, (size_t)reply->len} : STR_NONE;
}

/* What is no answer of ours is as none: any node may write there. */
static int read_lenient(int result)
{
	return result == -EREMOTEIO ? 0 : result;
}

/* [ seconds, microseconds ] */
static int read_time(struct publisher *p, uint64_t *ret_ms, struct err *err)
{
	const struct str words[] = {STR("TIME")};
	redisReply *reply = NULL;
	uint64_t s = 0, us = 0;
	int r = publisher_ask(p, words, ARRAY_LEN(words), &reply, err);
	if (r < 0)
		return r;
	bool is_time = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
		       str_to_u64(read_reply_str(reply->element[0]), &s) &&
		       str_to_u64(read_reply_str(reply->element[1]), &us);
	freeReplyObject(reply);
	*ret_ms = s * 1000 + us / 1000;
	return is_time ? 0 : err_set(err, EBADMSG, "the store answers TIME with something else");
}

/* --- how far --- */

/* [ [ id, [ field, value, ... ] ] ] */
static struct str read_entry_text(const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 ||
		reply->element[0]->type != REDIS_REPLY_ARRAY || reply->element[0]->elements != 2)
		return STR_NONE;
	const redisReply *fields = reply->element[0]->element[1];
	for (size_t i = 0; fields->type == REDIS_REPLY_ARRAY && i + 1 < fields->elements; i += 2) {
		if (str_eq(read_reply_str(fields->element[i]), STR("progress")))
			return read_reply_str(fields->element[i + 1]);
	}
	return STR_NONE;
}

/* Any node may have written an entry there that is too long for the connection; that must keep
 * nobody from the others. */
static int read_unread(int result, struct rollout_known *k, const struct err *err)
{
	if (result != -EPIPE)
		return read_lenient(result);
	k->is_unread = true;
	k->unread_why = *err;
	return 0;
}

static int read_progress(
	struct publisher *p, struct arena *arena, struct rollout_known *k, struct err *err)
{
	char key[LAYOUT_KEY_MAX];
	struct err why;
	const struct str words[] = {STR("XREVRANGE"),
		layout_key(key, publisher_mesh(p), "rollout", k->rule.service), STR("+"), STR("-"),
		STR("COUNT"), STR("1")};
	redisReply *reply = NULL;
	int r = publisher_ask(p, words, ARRAY_LEN(words), &reply, err);
	if (r < 0)
		return read_unread(r, k, err);
	struct str text = arena_str(arena, read_entry_text(reply));
	freeReplyObject(reply);
	k->has_entry = text.len > 0 && rollout_progress_parse(text, &k->entry, &why) == 0;
	return 0;
}

/* --- what is thought of it --- */

static void read_judged_of(struct arena *arena, struct str text, struct rollout_known *k)
{
	struct rollout_told *told;
	uint32_t count;
	struct err why;
	if (rollout_told_parse(text, arena, &told, &count, &why) < 0)
		return;
	for (uint32_t i = 0; i < count; i++) {
		if (!told[i].is_judged || told[i].attempt != k->rule.attempt ||
			!str_eq(told[i].service, k->rule.service))
			continue;
		k->is_judged = true;
		k->judged = told[i].judged;
	}
}

static int read_judged(
	struct publisher *p, struct arena *arena, struct rollout_known *k, struct err *err)
{
	char key[LAYOUT_KEY_MAX], end[16];
	const struct rollout_progress *progress = rollout_known_progress(k);
	if (!progress || !record_node_valid(progress->node))
		return 0;
	snprintf(end, sizeof(end), "%d", ROLLOUT_TOLD_BYTES_MAX);
	const struct str words[] = {STR("GETRANGE"),
		layout_key(key, publisher_mesh(p), "figures", progress->node), STR("0"),
		str_of(end)};
	redisReply *reply = NULL;
	int r = publisher_ask(p, words, ARRAY_LEN(words), &reply, err);
	if (r < 0)
		return read_lenient(r);
	read_judged_of(arena, read_reply_str(reply), k);
	freeReplyObject(reply);
	return 0;
}

/* --- all --- */

static int read_compare(const void *a, const void *b)
{
	struct str x = ((const struct rollout_known *)a)->object->key,
		   y = ((const struct rollout_known *)b)->object->key;
	int order = memcmp(x.at, y.at, x.len < y.len ? x.len : y.len);
	return order ? order : (x.len > y.len) - (x.len < y.len);
}

static bool read_objects(struct rollouts *r)
{
	struct published *s = &r->published;
	uint32_t count = 0;
	OBJECT_EACH (&s->set, o)
		count += str_eq(object_key_kind(o->key), STR("rollout"));
	r->all = arena_take(&s->arena, (count + 1) * sizeof(*r->all));
	if (!r->all)
		return false;
	OBJECT_EACH (&s->set, o) {
		if (!str_eq(object_key_kind(o->key), STR("rollout")))
			continue;
		struct rollout_known *k = &r->all[r->count++];
		k->object = o;
		k->is_rule = conf_rollout_rule(o->text, &s->arena, &k->rule, &k->why) == 0;
	}
	qsort(r->all, r->count, sizeof(*r->all), read_compare);
	return true;
}

/* What was written once of a service, even if its object was taken away since. */
static int read_last(
	struct publisher *p, struct str service, struct rollouts *rollouts, struct err *err)
{
	struct rollout_known past = {.rule = {.service = service}};
	int r = service.len > 0 ? read_progress(p, &rollouts->published.arena, &past, err) : 0;
	rollouts->last_attempt = past.has_entry ? past.entry.attempt : 0;
	return r;
}

int rollout_read_all(
	struct publisher *p, struct str service, struct rollouts *ret_rollouts, struct err *err)
{
	struct rollouts rollouts = {0};
	struct published *s = &rollouts.published;
	bool is_any_unread = false;
	int r = published_load(p, false, s, err);
	if (r < 0)
		return r;
	r = read_objects(&rollouts) ? 0 : err_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = read_time(p, &rollouts.now_ms, err);
	if (r == 0)
		r = published_load_nodes(p, s, false, err);
	if (r == 0)
		r = read_last(p, service, &rollouts, err);
	for (uint32_t i = 0; r == 0 && i < rollouts.count; i++) {
		struct rollout_known *k = &rollouts.all[i];
		if (k->is_rule)
			r = read_progress(p, &s->arena, k, err);
		if (k->is_rule && r == 0)
			r = read_judged(p, &s->arena, k, err);
		is_any_unread = is_any_unread || k->is_unread;
	}
	if (r == 0 && is_any_unread) /* is the store there at all? */
		r = read_time(p, &rollouts.now_ms, err);
	if (r < 0)
		published_done(s);
	else
		*ret_rollouts = rollouts;
	return r;
}

void rollout_read_done(struct rollouts *r)
{
	published_done(&r->published);
}

const struct rollout_known *rollout_read_find(const struct rollouts *r, struct str service)
{
	for (uint32_t i = 0; i < r->count; i++) {
		if (str_eq(object_key_name(r->all[i].object->key), service))
			return &r->all[i];
	}
	return NULL;
}

const struct rollout_progress *rollout_known_progress(const struct rollout_known *k)
{
	return k->has_entry && rollout_belongs(&k->rule, &k->entry) ? &k->entry : NULL;
}

bool rollout_known_is_open(const struct rollout_known *k)
{
	const struct rollout_progress *progress = rollout_known_progress(k);
	if (!k->is_rule || k->rule.order == ROLLOUT_PROMOTE || k->rule.order == ROLLOUT_ABORT)
		return false;
	return !progress ||
	       (progress->state != ROLLOUT_DONE && progress->state != ROLLOUT_ROLLED_BACK);
}
