/* SPDX-License-Identifier: Apache-2.0 */
#include "mirror.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A record's text, its structs, and room to spare. */
#define MIRROR_RECORD_BYTES_MAX (8u * RECORD_BYTES_MAX)

static uint64_t mirror_hash(struct str name)
{
	return hash_bytes(0x6d6972726f72ull, name.at, name.len);
}

int mirror_compare(struct str a, struct str b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int r = len ? memcmp(a.at, b.at, len) : 0;
	return r != 0 ? r : (a.len > b.len) - (a.len < b.len);
}

void mirror_init(struct mirror *m)
{
	*m = (struct mirror){0};
	map_init(&m->nodes);
	list_init(&m->order);
	list_init(&m->rollouts);
	object_set_init(&m->objects);
}

void mirror_done(struct mirror *m)
{
	while (!list_empty(&m->order))
		mirror_remove(m, CONTAINER_OF(m->order.next, struct mirror_node, order));
	while (!list_empty(&m->rollouts))
		mirror_remove_rollout(
			m, CONTAINER_OF(m->rollouts.next, struct mirror_rollout, node));
	map_done(&m->nodes);
	object_set_done(&m->objects);
	free(m->head_text);
	m->head_text = NULL;
}

/* --- nodes --- */

struct mirror_node *mirror_find(const struct mirror *m, struct str name)
{
	struct map_node *it = map_first(&m->nodes, mirror_hash(name));
	for (; it; it = map_next(it)) {
		struct mirror_node *n = CONTAINER_OF(it, struct mirror_node, by_name);
		if (str_eq(n->record.node, name))
			return n;
	}
	return NULL;
}

/* Where a name stands in the order, or would: the first node that is not before it, or the head. */
static struct list *mirror_place(const struct mirror *m, struct str name)
{
	/* From the end: names mostly come in order. */
	struct list *it = m->order.prev;
	while (it != &m->order &&
		mirror_compare(CONTAINER_OF(it, struct mirror_node, order)->record.node, name) >= 0)
		it = it->prev;
	return it->next;
}

struct mirror_node *mirror_after(const struct mirror *m, struct str name)
{
	const struct mirror_node *known = mirror_find(m, name);
	struct list *it = known ? known->order.next : mirror_place(m, name);
	if (it == &m->order)
		it = it->next;
	if (it == &m->order)
		return NULL;
	return CONTAINER_OF(it, struct mirror_node, order);
}

void mirror_remove(struct mirror *m, struct mirror_node *node)
{
	map_remove(&m->nodes, &node->by_name);
	list_remove(&node->order);
	m->node_count--;
	m->endpoint_count -= node->record.endpoint_count;
	m->change_count++;
	arena_done(&node->arena);
	free(node);
}

/* Its record in an arena of its own. */
static struct mirror_node *mirror_node_new(
	struct str name, struct str text, int *ret_result, struct err *err)
{
	struct mirror_node *node = calloc(1, sizeof(*node));
	if (!node) {
		*ret_result = err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	arena_init(&node->arena, MIRROR_RECORD_BYTES_MAX);
	list_init(&node->order);
	int r = record_parse(text, &node->arena, &node->record, err);
	if (r == 0 && !str_eq(node->record.node, name))
		r = err_set(err, EINVAL, "a record of another node, \"" STR_FMT "\"",
			STR_ARG(node->record.node));
	if (r == 0) {
		node->text = arena_str(&node->arena, text);
		if (!node->text.at)
			r = err_set(err, ENOMEM, "out of memory");
	}
	*ret_result = r;
	if (r == 0)
		return node;
	arena_done(&node->arena);
	free(node);
	return NULL;
}

static int mirror_add(struct mirror *m, struct mirror_node *node, struct err *err)
{
	if (m->node_count >= MIRROR_NODES_MAX)
		return err_set(err, E2BIG, "more than %d nodes", MIRROR_NODES_MAX);
	if (!map_add(&m->nodes, &node->by_name, mirror_hash(node->record.node)))
		return err_set(err, ENOMEM, "out of memory");
	list_add_last(mirror_place(m, node->record.node), &node->order);
	m->node_count++;
	m->endpoint_count += node->record.endpoint_count;
	m->change_count++;
	return MIRROR_TAKEN;
}

/* The newer record in the place of the older. */
static int mirror_replace(struct mirror *m, struct mirror_node *old, struct mirror_node *fresh)
{
	bool is_newer = record_newer(&fresh->record, &old->record);
	if (is_newer) {
		struct arena arena = old->arena;
		m->endpoint_count += fresh->record.endpoint_count;
		m->endpoint_count -= old->record.endpoint_count;
		m->change_count++;
		old->arena = fresh->arena;
		old->record = fresh->record;
		old->text = fresh->text;
		fresh->arena = arena;
	}
	arena_done(&fresh->arena);
	free(fresh);
	return is_newer ? MIRROR_TAKEN : MIRROR_SAME;
}

int mirror_take_record(struct mirror *m, struct str name, struct str text, struct err *err)
{
	int r;
	struct mirror_node *fresh = mirror_node_new(name, text, &r, err);
	if (!fresh)
		return r;
	struct mirror_node *old = mirror_find(m, name);
	if (old)
		return mirror_replace(m, old, fresh);
	r = mirror_add(m, fresh, err);
	if (r < 0) {
		arena_done(&fresh->arena);
		free(fresh);
	}
	return r;
}

/* --- objects --- */

int mirror_take_objects(struct mirror *m, struct str head_text, const struct head *head,
	struct object_set *set, struct err *err)
{
	char *copy = malloc(head_text.len + 1);
	if (!copy)
		return err_set(err, ENOMEM, "out of memory");
	memcpy(copy, head_text.at, head_text.len);
	copy[head_text.len] = '\0';
	struct head parsed;
	int r = head_parse((struct str){copy, head_text.len}, &parsed, err);
	if (r < 0) {
		free(copy);
		return r;
	}
	ASSERT(parsed.revision == head->revision);
	object_set_done(&m->objects);
	m->objects = *set;
	object_set_init(set);
	free(m->head_text);
	m->head_text = copy;
	m->head_len = head_text.len;
	m->head = parsed;
	m->object_count++;
	m->change_count++;
	return 0;
}

/* --- rollouts --- */

bool mirror_place_is_after(struct mirror_place a, struct mirror_place b)
{
	return a.term > b.term || (a.term == b.term && a.entry > b.entry);
}

struct mirror_rollout *mirror_find_rollout(const struct mirror *m, struct str service)
{
	LIST_EACH (&m->rollouts, it) {
		struct mirror_rollout *r = CONTAINER_OF(it, struct mirror_rollout, node);
		if (str_eq(str_of(r->service), service))
			return r;
	}
	return NULL;
}

static struct mirror_rollout *mirror_add_rollout(
	struct mirror *m, struct str service, int *ret_result, struct err *err)
{
	struct mirror_rollout *r = calloc(1, sizeof(*r));
	if (m->rollout_count >= MIRROR_ROLLOUTS_MAX)
		*ret_result = err_set(err, E2BIG, "more than %d rollouts", MIRROR_ROLLOUTS_MAX);
	else if (!r)
		*ret_result = err_set(err, ENOMEM, "out of memory");
	if (!r || m->rollout_count >= MIRROR_ROLLOUTS_MAX) {
		free(r);
		return NULL;
	}
	memcpy(r->service, service.at, service.len);
	list_add_last(&m->rollouts, &r->node);
	m->rollout_count++;
	return r;
}

int mirror_take_rollout(struct mirror *m, struct str service, struct mirror_place place,
	struct str text, struct err *err)
{
	struct rollout_progress progress;
	struct mirror_rollout *r = mirror_find_rollout(m, service);
	int result = 0;
	if (service.len == 0 || service.len > ROLLOUT_WORD_MAX || text.len > ROLLOUT_TEXT_MAX)
		return err_set(err, EINVAL, "its service's name, or all of it, is too long");
	if (r && !mirror_place_is_after(place, r->place))
		return MIRROR_SAME;
	int parsed = rollout_progress_parse(text, &progress, err);
	if (parsed < 0)
		return parsed;
	if (!r)
		r = mirror_add_rollout(m, service, &result, err);
	if (!r)
		return result;
	r->place = place;
	if (str_eq(text, (struct str){r->text, r->text_len}))
		return MIRROR_SAME;
	memcpy(r->text, text.at, text.len);
	r->text_len = text.len;
	r->text[text.len] = '\0';
	parsed = rollout_progress_parse((struct str){r->text, text.len}, &r->progress, err);
	ASSERT(parsed == 0);
	m->change_count++;
	return MIRROR_TAKEN;
}

void mirror_unplace_rollout(struct mirror *m, struct mirror_rollout *r)
{
	r->place = (struct mirror_place){0};
	m->change_count++; /* it is kept with its place */
}

void mirror_remove_rollout(struct mirror *m, struct mirror_rollout *r)
{
	list_remove(&r->node);
	m->rollout_count--;
	m->change_count++;
	free(r);
}

bool mirror_place_parse(struct str text, struct mirror_place *ret_place)
{
	const char *dash = text.len ? memchr(text.at, '-', text.len) : NULL;
	if (!dash)
		return false;
	struct str term = {text.at, (size_t)(dash - text.at)};
	struct str entry = {dash + 1, text.len - term.len - 1};
	return str_to_u64(term, &ret_place->term) && str_to_u64(entry, &ret_place->entry);
}

int mirror_load_rollout(struct mirror *m, const struct bundle_item *item, struct err *err)
{
	struct mirror_place place;
	const char *at = item->name.len ? memchr(item->name.at, '@', item->name.len) : NULL;
	if (!at)
		return err_set(err, EINVAL, "a rollout without a place in its stream");
	struct str service = {item->name.at, (size_t)(at - item->name.at)};
	struct str rest = {at + 1, item->name.len - service.len - 1};
	if (!record_node_valid(service) || !mirror_place_parse(rest, &place))
		return err_set(err, EINVAL, "a rollout without a place in its stream");
	return mirror_take_rollout(m, service, place, item->text, err);
}

/* --- out of it --- */

/* `is_kept`: with their places. */
static int mirror_put_rollouts(
	const struct mirror *m, bool is_kept, struct bundle *b, struct err *err)
{
	int r = 0;
	for (struct list *it = m->rollouts.next; r == 0 && it != &m->rollouts; it = it->next) {
		const struct mirror_rollout *o = CONTAINER_OF(it, struct mirror_rollout, node);
		char name[ROLLOUT_WORD_MAX + 48];
		int len = is_kept ? snprintf(name, sizeof(name), "%s@%" PRIu64 "-%" PRIu64,
					    o->service, o->place.term, o->place.entry)
				  : snprintf(name, sizeof(name), "%s", o->service);
		r = bundle_add(b, STR("rollout"), (struct str){name, (size_t)len},
			(struct str){o->text, o->text_len}, err);
	}
	return r;
}

static int mirror_put_nodes(
	const struct mirror *m, struct str without, struct bundle *b, struct err *err)
{
	int r = 0;
	for (struct list *it = m->order.next; r == 0 && it != &m->order; it = it->next) {
		const struct mirror_node *n = CONTAINER_OF(it, struct mirror_node, order);
		if (!str_eq(n->record.node, without))
			r = bundle_add(b, STR("node"), n->record.node, n->text, err);
	}
	return r;
}

int mirror_picture(const struct mirror *m, struct bundle *b, struct err *err)
{
	char text[OBJECT_KEY_MAX + 32];
	int len = snprintf(text, sizeof(text), "%" PRIu64, mirror_revision(m));
	int r = bundle_add(
		b, STR("revision"), STR("objects"), (struct str){text, (size_t)len}, err);
	for (const struct object *o = m->objects.ahead[0]; r == 0 && o; o = o->ahead[0]) {
		len = snprintf(
			text, sizeof(text), STR_FMT "@%" PRIu64, STR_ARG(o->key), o->revision);
		r = bundle_add(b, STR("mesh"), (struct str){text, (size_t)len}, o->text, err);
	}
	if (r == 0)
		r = mirror_put_rollouts(m, false, b, err);
	return r < 0 ? r : mirror_put_nodes(m, STR_NONE, b, err);
}

int mirror_keep(const struct mirror *m, struct str without, struct bundle *b, struct err *err)
{
	int r = 0;
	if (m->head_text)
		r = bundle_add(
			b, STR("head"), STR("head"), (struct str){m->head_text, m->head_len}, err);
	for (const struct object *o = m->objects.ahead[0]; r == 0 && o; o = o->ahead[0])
		r = bundle_add(b, STR("object"), o->key, o->envelope, err);
	if (r == 0)
		r = mirror_put_rollouts(m, true, b, err);
	return r < 0 ? r : mirror_put_nodes(m, without, b, err);
}
