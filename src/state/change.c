/* SPDX-License-Identifier: Apache-2.0 */
#include "state/object.h"

#include <errno.h>

/* --- writing --- */

static uint32_t change_merge(
	struct change *changes, const struct object_set *from, const struct object_set *to)
{
	uint32_t count = 0;
	OBJECT_EACH (from, it) {
		if (!object_set_find(to, it->key))
			changes[count++] = (struct change){.key = it->key, .before = it->envelope};
	}
	OBJECT_EACH (to, it) {
		const struct object *before = object_set_find(from, it->key);
		if (before && str_eq(before->envelope, it->envelope))
			continue;
		changes[count++] = (struct change){.key = it->key,
			.envelope = it->envelope,
			.before = before ? before->envelope : STR_NONE};
	}
	return count;
}

struct change *change_between(struct arena *arena, const struct object_set *from,
	const struct object_set *to, uint32_t *ret_count)
{
	size_t most = (size_t)from->count + to->count;
	struct change *changes = arena_take(arena, (most ? most : 1) * sizeof(*changes));
	*ret_count = changes ? change_merge(changes, from, to) : 1;
	return changes;
}

struct str change_text(struct arena *arena, const struct change *changes, uint32_t count)
{
	struct str *parts = arena_take(arena, (4 * (size_t)count + 1) * sizeof(*parts));
	size_t part_count = 0;
	if (!parts)
		return STR_NONE;
	for (uint32_t i = 0; i < count; i++) {
		const struct change *c = &changes[i];
		struct str line = arena_printf(arena, "%s " STR_FMT " %zu %zu\n",
			c->envelope.at ? "put" : "take", STR_ARG(c->key), c->envelope.len,
			c->before.len);
		if (!line.at)
			return STR_NONE;
		parts[part_count++] = line;
		parts[part_count++] = c->envelope;
		parts[part_count++] = c->before;
		parts[part_count++] = STR("\n");
	}
	return arena_join(arena, parts, part_count);
}

/* --- reading --- */

/* Up to `end`, which is cut off too; at == NULL: there is none. */
static struct str change_cut(struct str *rest, char end)
{
	const char *at = rest->len ? memchr(rest->at, end, rest->len) : NULL;
	if (!at)
		return STR_NONE;
	struct str word = {rest->at, (size_t)(at - rest->at)};
	*rest = (struct str){at + 1, rest->len - word.len - 1};
	return word;
}

static bool change_cut_length(struct str *line, char end, size_t *ret_len)
{
	uint64_t len;
	struct str word = change_cut(line, end);
	if (!str_to_u64(word, &len) || len > OBJECT_TEXT_MAX)
		return false;
	*ret_len = (size_t)len;
	return true;
}

int change_next(struct str *rest, struct change *ret_change)
{
	struct str left = *rest;
	size_t len, before_len;
	if (left.len == 0)
		return 1;
	struct str verb = change_cut(&left, ' ');
	struct str key = change_cut(&left, ' ');
	bool is_put = str_eq(verb, STR("put"));
	if (!(is_put || str_eq(verb, STR("take"))) || !object_key_valid(key) ||
		!change_cut_length(&left, ' ', &len) ||
		!change_cut_length(&left, '\n', &before_len))
		return -EBADMSG;
	if (is_put ? len == 0 : (len > 0 || before_len == 0))
		return -EBADMSG;
	if (left.len < len + before_len + 1 || left.at[len + before_len] != '\n')
		return -EBADMSG;
	*ret_change = (struct change){.key = key,
		.envelope = is_put ? (struct str){left.at, len} : STR_NONE,
		.before = before_len ? (struct str){left.at + len, before_len} : STR_NONE};
	*rest = (struct str){left.at + len + before_len + 1, left.len - len - before_len - 1};
	return 0;
}

static int change_malformed(struct err *err)
{
	return err_set(err, EBADMSG, "the change is malformed");
}

static int change_set(struct object_set *set, struct str key, struct str envelope, struct err *err)
{
	if (envelope.at)
		return object_set_put(set, key, envelope, err);
	object_set_remove(set, key);
	return 0;
}

int change_apply(struct str text, struct object_set *set, struct err *err)
{
	struct change c;
	int r;
	while ((r = change_next(&text, &c)) == 0) {
		r = change_set(set, c.key, c.envelope, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? change_malformed(err) : 0;
}

int change_undo(struct str text, struct object_set *set, struct err *err)
{
	struct change c;
	int r;
	while ((r = change_next(&text, &c)) == 0) {
		const struct object *o = object_set_find(set, c.key);
		if (o ? !str_eq(o->envelope, c.envelope) : c.envelope.at != NULL)
			return err_set(err, EBADMSG, STR_FMT " is not as the change left it",
				STR_ARG(c.key));
		r = change_set(set, c.key, c.before, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? change_malformed(err) : 0;
}
