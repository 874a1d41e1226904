/* SPDX-License-Identifier: Apache-2.0 */
/* The head is watched from before the first read on, so the transaction fails when anybody has
 * published since. Then what stands is read again: if an object that is to be changed was changed
 * by somebody else, that is for people to settle; else all is checked and tried anew. */
#include "publish.h"

#include "base/clock.h"
#include "plan.h"
#include "published.h"
#include "state/layout.h"
#include <errno.h>
#include <stdio.h>

#define PUBLISH_ARENA_MAX  (1u << 30)
#define PUBLISH_CHANGE_MAX (15u << 20) /* what one command to the store may carry */
#define PUBLISH_TRIES	   20
#define PUBLISH_HISTORY	   100000

/* One try. */
struct publish {
	struct publisher *p;
	const struct publish_options *options;
	struct edit_wish *wish;
	const struct bundle *files;
	struct published standing;
	struct edit edit;
	struct arena arena;
	uint64_t revision, time_s;
	bool is_loaded, is_made;
};

static void publish_done(struct publish *t)
{
	if (t->is_made)
		edit_done(&t->edit);
	if (t->is_loaded)
		published_done(&t->standing);
	arena_done(&t->arena);
	t->is_made = t->is_loaded = false;
}

/* --- what stands --- */

static int publish_trust(const struct publish *t, struct err *err)
{
	const struct published *s = &t->standing;
	if (t->options->has_if_revision && s->head.revision != t->options->if_revision)
		return err_set(err, EINVAL,
			"what stands is revision %llu, not %llu: nothing was written",
			(unsigned long long)s->head.revision,
			(unsigned long long)t->options->if_revision);
	if (s->trust != PUBLISHED_BAD || t->options->replace_all)
		return 0;
	return err_set(err, EACCES,
		"what stands in the store is not to be built upon: %.250s\n"
		"Nothing was written. If you know how it came to this, publish all objects from "
		"your files: ringmain apply --replace-all -f ...",
		s->why.text);
}

/* A store that lost writes, or all: what is published now takes the place of what is in force. */
static void publish_tell_lost(const struct publish *t)
{
	const struct published *s = &t->standing;
	uint64_t known = s->newest > s->head.revision ? s->newest : s->head.revision;
	if (t->revision > known + 1)
		publisher_say(t->p,
			"warning: nodes have revision %llu in force, and the store has %llu: what "
			"was published between is lost, and ends when this is published; apply all "
			"of your files",
			(unsigned long long)t->revision - 1, (unsigned long long)known);
}

/* The number of the new revision. */
static int publish_number(struct publish *t, struct err *err)
{
	const struct published *s = &t->standing;
	const struct published_node *absurd;
	if (t->options->replace_all && s->newest > s->head.revision + PUBLISHED_LEAD_MAX) {
		t->standing.newest = 0;
		t->standing.has_foreign_changes = true; /* is begun anew, too */
	}
	if (s->newest > s->head.revision + PUBLISHED_LEAD_MAX)
		return err_set(err, EACCES,
			"the stream of changes stands at %llu, which no revision has led to; "
			"publish all objects from your files: ringmain apply --replace-all -f ...",
			(unsigned long long)s->newest);
	t->revision = published_next_revision(s, &absurd);
	if (t->revision == 0)
		return err_set(err, ERANGE, "there is no number after that of the last revision");
	if (absurd)
		publisher_say(t->p,
			"warning: the node " STR_FMT " tells of revision %llu, which there cannot "
			"be; it is passed over",
			STR_ARG(absurd->name), (unsigned long long)absurd->record.revision);
	publish_tell_lost(t);
	return 0;
}

static int publish_load(struct publish *t, struct err *err)
{
	/* What is watched, or begun, on one connection is nothing on the next. */
	client_hold(t->p->client);
	int r = published_load(t->p, true, &t->standing, err);
	t->is_loaded = r == 0;
	if (r == 0)
		r = published_load_nodes(t->p, &t->standing, false, err);
	if (r == 0)
		r = publish_trust(t, err);
	return r < 0 ? r : publish_number(t, err);
}

/* --- what is to stand --- */

static int publish_make(struct publish *t, struct err *err)
{
	struct edit_stamp stamp = {
		.who = t->p->conf->name, .revision = t->revision, .time_s = t->time_s};
	struct edit_entry *entries = NULL;
	uint32_t entry_count = 0;
	int r = 0;
	if (t->options->replace_all) {
		/* What cannot be trusted is no past of the new objects either. */
		object_set_done(&t->standing.set);
		t->wish->prune = true;
	}
	t->wish->signers = t->p->keys;
	t->wish->mesh = publisher_mesh(t->p);
	if (t->wish->kind == EDIT_ROLL_BACK)
		r = published_load_entries(
			t->p, 0, PUBLISH_HISTORY, &t->arena, &entries, &entry_count, err);
	if (r == 0)
		r = edit_make(t->wish, &stamp, &t->standing.set, entries, entry_count, &t->arena,
			&t->edit, err);
	t->is_made = r == 0;
	return r;
}

static void publish_warn_rollouts(const struct publish *t)
{
	char text[PLAN_ROLLOUT_TEXT];
	for (uint32_t i = 0; i < t->edit.change_count; i++) {
		if (plan_rollout_differs(&t->edit, &t->standing.set, t->edit.changes[i].key, text))
			publisher_say(t->p, "warning: %s", text);
	}
}

static int publish_check(struct publish *t, struct err *err)
{
	struct conf_report report;
	conf_report_init(&report);
	int r = plan_check(&t->edit, t->files, &t->standing, publisher_mesh(t->p), &report, err);
	if (report.text)
		fputs(report.text, stderr);
	if (report.known_count > 0)
		publisher_say(t->p,
			"note: %u older problem%s not of this change; see: ringmain get --check",
			report.known_count, report.known_count == 1 ? " is" : "s are");
	conf_report_done(&report);
	if (r == 0)
		publish_warn_rollouts(t);
	return r;
}

/* --- writing --- */

/* Behind MULTI: taken or refused. */
static int publish_queue(
	struct publish *t, const struct str *words, size_t word_count, struct err *err)
{
	redisReply *reply = NULL;
	int r = publisher_ask(t->p, words, word_count, &reply, err);
	freeReplyObject(reply);
	return r;
}

/* What cannot be mended in place. Few may do that (conf/redis.acl). */
static int publish_queue_delete(struct publish *t, struct str key, struct err *err)
{
	struct err why;
	const struct str words[] = {STR("DEL"), key};
	int r = publish_queue(t, words, ARRAY_LEN(words), &why);
	return r < 0 ? err_set(err, -r,
			       "%.300s\nLet somebody who may delete the key " STR_FMT " do that, "
			       "and again",
			       why.text, STR_ARG(key))
		     : 0;
}

/* All that is there and is not to stand. */
static int publish_queue_clear(struct publish *t, struct str objects, struct err *err)
{
	if (t->standing.has_foreign_objects)
		return publish_queue_delete(t, objects, err);
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < t->standing.field_count; i++) {
		const struct str words[] = {STR("HDEL"), objects, t->standing.fields[i]};
		if (!object_set_find(&t->edit.after, words[2]))
			r = publish_queue(t, words, ARRAY_LEN(words), err);
	}
	return r;
}

static int publish_queue_objects(struct publish *t, struct str key, struct err *err)
{
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < t->edit.change_count; i++) {
		const struct change *c = &t->edit.changes[i];
		const struct str words[] = {
			c->envelope.at ? STR("HSET") : STR("HDEL"), key, c->key, c->envelope};
		r = publish_queue(t, words, c->envelope.at ? 4 : 3, err);
	}
	return r;
}

static int publish_queue_all(struct publish *t, struct str head, struct str change, struct err *err)
{
	char objects_text[LAYOUT_KEY_MAX], head_text[LAYOUT_KEY_MAX], changes_text[LAYOUT_KEY_MAX],
		news_text[LAYOUT_KEY_MAX], id[32], news[48];
	struct str mesh = publisher_mesh(t->p);
	struct str objects = layout_key(objects_text, mesh, "objects", STR(""));
	struct str head_key = layout_key(head_text, mesh, "head", STR(""));
	struct str changes = layout_key(changes_text, mesh, "changes", STR(""));
	snprintf(id, sizeof(id), "%llu-0", (unsigned long long)t->revision);
	snprintf(news, sizeof(news), "objects %llu", (unsigned long long)t->revision);
	const struct str multi[] = {STR("MULTI")}, set[] = {STR("SET"), head_key, head},
			 add[] = {STR("XADD"), changes, STR("MAXLEN"), STR("~"),
				 STR(LAYOUT_CHANGES_KEPT), str_of(id), STR("head"), head,
				 STR("change"), change},
			 publish[] = {STR("PUBLISH"), layout_key(news_text, mesh, "news", STR("")),
				 str_of(news)};
	int r = publish_queue(t, multi, ARRAY_LEN(multi), err);
	if (r == 0 && t->options->replace_all)
		r = publish_queue_clear(t, objects, err);
	if (r == 0 && t->standing.has_foreign_changes)
		r = publish_queue_delete(t, changes, err);
	if (r == 0)
		r = publish_queue_objects(t, objects, err);
	if (r == 0)
		r = publish_queue(t, set, ARRAY_LEN(set), err);
	if (r == 0)
		r = publish_queue(t, add, ARRAY_LEN(add), err);
	return r < 0 ? r : publish_queue(t, publish, ARRAY_LEN(publish), err);
}

/* A transaction's commands are carried out whatever becomes of the others. */
static int publish_partly(const redisReply *error, struct err *err)
{
	int len = error->len > 150 ? 150 : (int)error->len;
	if (strstr(error->str, "XADD"))
		return err_set(err, EREMOTEIO,
			"published, but the stream of changes does not take it, so there is no "
			"history of it and no way back: %.*s\nLet somebody who may delete the "
			"key of the changes do that",
			len, error->str);
	return err_set(err, EREMOTEIO,
		"carried out in part only: %.*s\nWhat stands there now will be refused by the "
		"nodes, which keep what they have. Publish all objects from your files: ringmain "
		"apply --replace-all -f ...",
		len, error->str);
}

/* 0: carried out; 1: somebody was quicker. */
static int publish_read_outcome(const redisReply *reply, struct err *err)
{
	if (reply->type == REDIS_REPLY_NIL)
		return 1;
	if (reply->type != REDIS_REPLY_ARRAY)
		return err_set(err, EBADMSG, "the store answers EXEC with something else");
	for (size_t i = 0; i < reply->elements; i++) {
		if (reply->element[i]->type == REDIS_REPLY_ERROR)
			return publish_partly(reply->element[i], err);
	}
	return 0;
}

/* The connection went while the transaction was carried out, or was not. */
static int publish_ask_outcome(struct publish *t, struct str head, struct err *err)
{
	char text[LAYOUT_KEY_MAX];
	const struct str words[] = {
		STR("GET"), layout_key(text, publisher_mesh(t->p), "head", STR(""))};
	redisReply *reply = NULL;
	struct err lost = *err;
	client_let_go(t->p->client);
	int r = publisher_ask(t->p, words, ARRAY_LEN(words), &reply, err);
	if (r < 0)
		return err_set(err, EPIPE,
			"%.200s\nWhether revision %llu was written is not known: ringmain history",
			lost.text, (unsigned long long)t->revision);
	bool is_written = reply->type == REDIS_REPLY_STRING &&
			  str_eq((struct str){reply->str, (size_t)reply->len}, head);
	freeReplyObject(reply);
	return is_written ? 0 : err_set(err, EPIPE, "%.300s\nNothing was written.", lost.text);
}

static int publish_execute(struct publish *t, struct str head, struct err *err)
{
	redisReply *reply = NULL;
	const struct str words[] = {STR("EXEC")};
	int r = publisher_ask(t->p, words, ARRAY_LEN(words), &reply, err);
	if (r == -EPIPE)
		return publish_ask_outcome(t, head, err);
	if (r == 0)
		r = publish_read_outcome(reply, err);
	freeReplyObject(reply);
	return r;
}

/* 0: it is published; 1: somebody was quicker. */
static int publish_commit(struct publish *t, struct err *err)
{
	struct head head = {.mesh = publisher_mesh(t->p),
		.revision = t->revision,
		.time_s = t->time_s,
		.who = t->p->conf->name,
		.why = t->options->why};
	head_set(&head, &t->edit.after);
	struct str head_text = head_sign(&t->arena, &head, t->p->key);
	struct str change = change_text(&t->arena, t->edit.changes, t->edit.change_count);
	if (!head_text.at || !change.at)
		return err_set(err, ENOMEM, "out of memory");
	if (change.len > PUBLISH_CHANGE_MAX)
		return err_set(err, E2BIG, "larger than %u MiB in one go; publish it in parts",
			PUBLISH_CHANGE_MAX >> 20);
	int r = publish_queue_all(t, head_text, change, err);
	return r < 0 ? r : publish_execute(t, head_text, err);
}

/* --- who was quicker --- */

static int publish_conflict(const struct publish *first, const struct publish *now, struct err *err)
{
	char when[25];
	const struct head *head = &now->standing.head;
	if (now->wish->kind == EDIT_ROLL_BACK || now->options->replace_all) {
		clock_format(head->time_s * CLOCK_S, when);
		return err_set(err, EAGAIN,
			STR_FMT " has published revision %llu meanwhile, %s; look at it (ringmain "
				"history), and again",
			STR_ARG(head->who), (unsigned long long)head->revision, when);
	}
	struct str key =
		edit_conflict(now->wish, &first->edit, &first->standing.set, &now->standing.set);
	if (!key.at)
		return 0;
	const struct object *o = object_set_find(&now->standing.set, key);
	clock_format((o ? o->time_s : head->time_s) * CLOCK_S, when);
	return err_set(err, EAGAIN,
		STR_FMT " was %s meanwhile by " STR_FMT ", revision %llu, %s; look at it (ringmain "
			"history " STR_FMT "), and again",
		STR_ARG(key), o ? "changed" : "taken away", STR_ARG(o ? o->who : head->who),
		(unsigned long long)(o ? o->revision : head->revision), when, STR_ARG(key));
}

/* Nothing is to be written. But nodes that have seen a later revision than what stands, because the
 * store went back, take what stands under a new number only. */
static bool publish_is_empty(const struct publish *t)
{
	bool is_behind = t->revision > t->standing.head.revision + 1;
	return t->edit.change_count == 0 && !is_behind && !t->options->replace_all;
}

static void publish_print(const struct publish *t)
{
	struct plan plan = {.edit = &t->edit,
		.wish = t->wish,
		.revision = publish_is_empty(t) ? 0 : t->revision,
		.dry_run = t->options->dry_run};
	if (t->options->json)
		plan_print_json(stdout, &plan);
	else
		plan_print(stdout, &plan);
}

/* 0: done, 1: somebody was quicker. */
static int publish_try(struct publish *t, const struct publish *first, struct err *err)
{
	arena_init(&t->arena, PUBLISH_ARENA_MAX);
	t->time_s = clock_wall_ns() / CLOCK_S;
	int r = publish_load(t, err);
	if (r == 0 && first)
		r = publish_conflict(first, t, err);
	if (r == 0)
		r = publish_make(t, err);
	if (r == 0)
		r = publish_check(t, err);
	if (r == 0 && !publish_is_empty(t) && !t->options->dry_run)
		r = publish_commit(t, err);
	if (r == 0)
		publish_print(t);
	return r;
}

static int publish_loop(struct publish *first, struct err *err)
{
	int r = publish_try(first, NULL, err);
	for (unsigned left = PUBLISH_TRIES; r == 1; left--) {
		struct publish again = {.p = first->p,
			.options = first->options,
			.wish = first->wish,
			.files = first->files};
		if (left == 0)
			return err_set(err, EAGAIN,
				"others keep publishing; nothing was written, try again");
		r = publish_try(&again, first, err);
		publish_done(&again);
	}
	return r;
}

int publish_run(struct publisher *p, struct edit_wish *wish, const struct bundle *files,
	const struct publish_options *o)
{
	struct publish first = {.p = p, .options = o, .wish = wish, .files = files};
	struct err err;
	int r = publish_loop(&first, &err);
	if (r < 0)
		publisher_say(p, "%s", err.text);
	publish_done(&first);
	return r < 0 ? 1 : 0;
}
