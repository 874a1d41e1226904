/* SPDX-License-Identifier: Apache-2.0 */
#include "edit.h"

#include <errno.h>
#include <stdlib.h>

enum edit_verb edit_verb(const struct change *change)
{
	return !change->envelope.at ? EDIT_REMOVE : change->before.at ? EDIT_CHANGE : EDIT_CREATE;
}

const char *edit_verb_name(enum edit_verb verb)
{
	static const char *const names[] = {
		[EDIT_CREATE] = "create", [EDIT_CHANGE] = "change", [EDIT_REMOVE] = "delete"};
	return names[verb];
}

/* A row whose text stands already keeps its envelope: who made it so, and when, is still true. */
static int edit_put_row(const struct conf_object *row, const struct edit_stamp *stamp,
	const struct object_set *before, struct arena *arena, struct edit *e, struct err *err)
{
	const struct object *old = object_set_find(before, row->key);
	if (old && str_eq(old->text, row->text)) {
		e->unchanged_count++;
		return object_set_put(&e->after, row->key, old->envelope, err);
	}
	struct object parts = {.revision = stamp->revision,
		.time_s = stamp->time_s,
		.who = stamp->who,
		.source = row->source,
		.text = row->text};
	struct str envelope = object_envelope(arena, &parts);
	if (!envelope.at)
		return err_set(err, ENOMEM, "out of memory");
	return object_set_put(&e->after, row->key, envelope, err);
}

static int edit_compare_keys(const void *a, const void *b)
{
	const struct str *x = a, *y = b;
	int order = memcmp(x->at, y->at, x->len < y->len ? x->len : y->len);
	return order ? order : (x->len > y->len) - (x->len < y->len);
}

bool edit_has_row(const struct edit *edit, struct str key)
{
	return edit->row_count > 0 &&
	       bsearch(&key, edit->rows, edit->row_count, sizeof(*edit->rows), edit_compare_keys);
}

static int edit_sort_rows(
	const struct edit_wish *wish, struct arena *arena, struct edit *e, struct err *err)
{
	e->rows = arena_take(arena, (wish->row_count + 1) * sizeof(*e->rows));
	if (!e->rows)
		return err_set(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < wish->row_count; i++)
		e->rows[e->row_count++] = wish->rows[i].key;
	qsort(e->rows, e->row_count, sizeof(*e->rows), edit_compare_keys);
	return 0;
}

static int edit_check_was(
	const struct edit_wish *wish, const struct object_set *before, struct err *err)
{
	const struct object *old = object_set_find(before, wish->rows[0].key);
	if (str_eq(old ? old->text : STR(""), wish->was))
		return 0;
	if (!old)
		return err_set(err, EAGAIN,
			STR_FMT " was taken away meanwhile; nothing was written",
			STR_ARG(wish->rows[0].key));
	return err_set(err, EAGAIN,
		STR_FMT " was changed meanwhile by " STR_FMT
			", revision %llu; look at it (ringmain history " STR_FMT "), and again",
		STR_ARG(old->key), STR_ARG(old->who), (unsigned long long)old->revision,
		STR_ARG(old->key));
}

static int edit_put(const struct edit_wish *wish, const struct edit_stamp *stamp,
	const struct object_set *before, struct arena *arena, struct edit *e, struct err *err)
{
	int r = edit_sort_rows(wish, arena, e, err);
	if (r == 0 && wish->has_was)
		r = edit_check_was(wish, before, err);
	if (r < 0)
		return r;
	if (wish->prune)
		object_set_init(&e->after);
	else
		r = object_set_copy(before, &e->after, err);
	for (uint32_t i = 0; r == 0 && i < wish->row_count; i++)
		r = edit_put_row(&wish->rows[i], stamp, before, arena, e, err);
	return r;
}

static int edit_take(const struct edit_wish *wish, const struct object_set *before, struct edit *e,
	struct err *err)
{
	int r = object_set_copy(before, &e->after, err);
	for (uint32_t i = 0; r == 0 && i < wish->key_count; i++) {
		if (!object_set_remove(&e->after, wish->keys[i]))
			r = object_set_find(before, wish->keys[i])
				    ? err_set(err, EINVAL, STR_FMT " is named twice",
					      STR_ARG(wish->keys[i]))
				    : err_set(err, ENOENT, "there is no " STR_FMT,
					      STR_ARG(wish->keys[i]));
	}
	return r;
}

/* Why there is no entry of the target. */
static int edit_no_target(
	uint64_t target, const struct edit_entry *entries, uint32_t entry_count, struct err *err)
{
	uint64_t newer = 0, older = 0;
	for (uint32_t i = 0; i < entry_count; i++) {
		if (entries[i].revision > target)
			newer = entries[i].revision;
		else if (entries[i].revision < target && older == 0)
			older = entries[i].revision;
	}
	if (entry_count == 0)
		return err_set(err, EINVAL, "there is no history");
	if (newer == 0)
		return err_set(err, EINVAL, "there is no revision %llu yet; the newest is %llu",
			(unsigned long long)target, (unsigned long long)older);
	if (older == 0)
		return err_set(err, EINVAL,
			"the history reaches back to revision %llu, not to %llu",
			(unsigned long long)newer, (unsigned long long)target);
	return err_set(err, EINVAL, "there was no revision %llu; those beside it are %llu and %llu",
		(unsigned long long)target, (unsigned long long)older, (unsigned long long)newer);
}

/* Newest first; the set must come out as the target's head says, and an operator must have signed
 * that: the history is the store's word, and what comes of it is signed anew. */
static int edit_roll_back(const struct edit_wish *wish, const struct object_set *before,
	const struct edit_entry *entries, uint32_t entry_count, struct edit *e, struct err *err)
{
	uint32_t count = 0;
	struct head head;
	struct err why;
	while (count < entry_count && entries[count].revision != wish->target)
		count++;
	if (count == entry_count)
		return edit_no_target(wish->target, entries, entry_count, err);
	int r = object_set_copy(before, &e->after, err);
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		if (change_undo(entries[i].change, &e->after, &why) < 0)
			r = err_set(err, EINVAL,
				"the history is not that of these objects: revision %llu cannot be "
				"undone: %.300s",
				(unsigned long long)entries[i].revision, why.text);
	}
	if (r == 0 && head_verify(entries[count].head, wish->mesh, wish->signers, &head, &why) < 0)
		r = err_set(err, EINVAL, "the history is not to be believed: %.400s", why.text);
	if (r == 0 && (head.revision != wish->target || !head_fits(&head, &e->after)))
		r = err_set(err, EINVAL,
			"the history is not that of these objects: what is left is not revision "
			"%llu",
			(unsigned long long)wish->target);
	return r;
}

int edit_make(const struct edit_wish *wish, const struct edit_stamp *stamp,
	const struct object_set *before, const struct edit_entry *entries, uint32_t entry_count,
	struct arena *arena, struct edit *ret_edit, struct err *err)
{
	struct edit e = {0};
	int r = 0;
	switch (wish->kind) {
	case EDIT_PUT:
		r = edit_put(wish, stamp, before, arena, &e, err);
		break;
	case EDIT_TAKE:
		r = edit_take(wish, before, &e, err);
		break;
	case EDIT_ROLL_BACK:
		r = edit_roll_back(wish, before, entries, entry_count, &e, err);
		break;
	}
	if (r == 0) {
		e.changes = change_between(arena, before, &e.after, &e.change_count);
		if (!e.changes)
			r = err_set(err, ENOMEM, "out of memory");
	}
	if (r < 0)
		edit_done(&e);
	else
		*ret_edit = e;
	return r;
}

void edit_done(struct edit *edit)
{
	object_set_done(&edit->after);
}

static bool edit_same(const struct object *a, const struct object *b)
{
	return a && b ? str_eq(a->envelope, b->envelope) : a == b;
}

/* The first that is not the same in both, of all that either has. */
static struct str edit_difference(const struct object_set *a, const struct object_set *b)
{
	OBJECT_EACH (a, it) {
		if (!edit_same(it, object_set_find(b, it->key)))
			return it->key;
	}
	OBJECT_EACH (b, it) {
		if (!object_set_find(a, it->key))
			return it->key;
	}
	return STR_NONE;
}

struct str edit_conflict(const struct edit_wish *wish, const struct edit *edit,
	const struct object_set *seen, const struct object_set *now)
{
	if (wish->kind == EDIT_ROLL_BACK || (wish->kind == EDIT_PUT && wish->prune))
		return edit_difference(seen, now);
	for (uint32_t i = 0; i < edit->change_count; i++) {
		struct str key = edit->changes[i].key;
		if (!edit_same(object_set_find(seen, key), object_set_find(now, key)))
			return key;
	}
	for (uint32_t i = 0; wish->kind == EDIT_PUT && i < wish->row_count; i++) {
		struct str key = wish->rows[i].key;
		if (!edit_same(object_set_find(seen, key), object_set_find(now, key)))
			return key;
	}
	return STR_NONE;
}
