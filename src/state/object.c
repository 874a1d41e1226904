/* SPDX-License-Identifier: Apache-2.0 */
/* The set is a skip list with a quarter of the objects on each further level: in order at all
 * times, and a hundred thousand objects that come in any order are no quadratic work. An object's
 * height comes from a hash of its key with a seed of the set's own. */
#include "state/object.h"

#include "base/map.h"
#include <errno.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/random.h>

static bool object_is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool object_is_printable(char c)
{
	return c > ' ' && c <= '~';
}

struct str object_key_kind(struct str key)
{
	const char *slash = key.len ? memchr(key.at, '/', key.len) : NULL;
	return (struct str){key.at, slash ? (size_t)(slash - key.at) : key.len};
}

struct str object_key_name(struct str key)
{
	size_t kind_len = object_key_kind(key).len;
	return kind_len == key.len ? STR_NONE
				   : (struct str){key.at + kind_len + 1, key.len - kind_len - 1};
}

bool object_key_valid(struct str key)
{
	struct str kind = object_key_kind(key), name = object_key_name(key);
	bool is_valid = key.len <= OBJECT_KEY_MAX && kind.len > 0 && name.len > 0;
	for (size_t i = 0; is_valid && i < kind.len; i++)
		is_valid = object_is_lower(kind.at[i]);
	for (size_t i = 0; is_valid && i < name.len; i++)
		is_valid =
			object_is_printable(name.at[i]) && name.at[i] != '/' && name.at[i] != '@';
	return is_valid;
}

bool object_who_valid(struct str who)
{
	bool is_valid = who.len > 0 && who.len <= OBJECT_WHO_MAX;
	for (size_t i = 0; is_valid && i < who.len; i++)
		is_valid = object_is_printable(who.at[i]);
	return is_valid;
}

bool object_line_valid(struct str line)
{
	bool is_valid = line.len <= OBJECT_LINE_MAX;
	for (size_t i = 0; is_valid && i < line.len; i++)
		is_valid = (unsigned char)line.at[i] >= ' ' && line.at[i] != 0x7f;
	return is_valid;
}

/* --- the envelope --- */

enum object_line { OBJECT_REVISION, OBJECT_WHO, OBJECT_TIME, OBJECT_SOURCE, OBJECT_OTHER };

/* The line that `*rest` begins with, cut off it; at == NULL: no line end is left. */
static struct str object_cut_line(struct str *rest)
{
	const char *end = rest->len ? memchr(rest->at, '\n', rest->len) : NULL;
	if (!end)
		return STR_NONE;
	struct str line = {rest->at, (size_t)(end - rest->at)};
	*rest = (struct str){end + 1, rest->len - line.len - 1};
	return line;
}

static bool object_take_line(struct object *o, unsigned *seen, struct str name, struct str value)
{
	static const struct str names[] = {[OBJECT_REVISION] = {"revision", 8},
		[OBJECT_WHO] = {"who", 3},
		[OBJECT_TIME] = {"time", 4},
		[OBJECT_SOURCE] = {"source", 6}};
	unsigned line = 0;
	while (line < OBJECT_OTHER && !str_eq(name, names[line]))
		line++;
	if (line < OBJECT_OTHER && (*seen & 1u << line))
		return false;
	*seen |= 1u << line;
	switch ((enum object_line)line) {
	case OBJECT_REVISION:
		return str_to_u64(value, &o->revision) && o->revision > 0;
	case OBJECT_WHO:
		o->who = value;
		return object_who_valid(value);
	case OBJECT_TIME:
		return str_to_u64(value, &o->time_s);
	case OBJECT_SOURCE:
		o->source = value;
		return object_line_valid(value);
	case OBJECT_OTHER:
		break;
	}
	return true;
}

/* Spans into o->envelope. */
static bool object_read(struct object *o)
{
	const unsigned needed = 1u << OBJECT_REVISION | 1u << OBJECT_WHO | 1u << OBJECT_TIME;
	struct str rest = o->envelope, line;
	unsigned seen = 0;
	if (memchr(rest.at, '\0', rest.len))
		return false;
	while ((line = object_cut_line(&rest)).len > 0) {
		const char *space = memchr(line.at, ' ', line.len);
		if (!space)
			return false;
		struct str name = {line.at, (size_t)(space - line.at)};
		struct str value = {space + 1, line.len - name.len - 1};
		if (!object_take_line(o, &seen, name, value))
			return false;
	}
	o->text = rest;
	return line.at && rest.len > 0 && (seen & needed) == needed;
}

struct str object_envelope(struct arena *arena, const struct object *parts)
{
	struct str source = STR_NONE;
	if (parts->source.len > 0)
		source = arena_printf(arena, "source " STR_FMT "\n", STR_ARG(parts->source));
	struct str first = arena_printf(arena, "revision %llu\nwho " STR_FMT "\ntime %llu\n",
		(unsigned long long)parts->revision, STR_ARG(parts->who),
		(unsigned long long)parts->time_s);
	if (!first.at || (parts->source.len > 0 && !source.at))
		return STR_NONE;
	return arena_join(arena, (struct str[]){first, source, STR("\n"), parts->text}, 4);
}

/* --- the set --- */

static void object_digest(struct object *o)
{
	SHA256_CTX sha;
	SHA256_Init(&sha);
	SHA256_Update(&sha, o->key.at, o->key.len);
	SHA256_Update(&sha, "", 1);
	SHA256_Update(&sha, o->envelope.at, o->envelope.len);
	SHA256_Final(o->digest, &sha);
}

static struct object *object_new(struct str key, struct str envelope)
{
	struct object *o = calloc(1, sizeof(*o) + key.len + envelope.len + 2);
	if (!o)
		return NULL;
	char *at = (char *)(o + 1);
	memcpy(at, key.at, key.len);
	memcpy(at + key.len + 1, envelope.at, envelope.len);
	o->key = (struct str){at, key.len};
	o->envelope = (struct str){at + key.len + 1, envelope.len};
	return o;
}

static int object_compare(struct str a, struct str b)
{
	int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
	return order ? order : (a.len > b.len) - (a.len < b.len);
}

void object_set_init(struct object_set *set)
{
	*set = (struct object_set){0};
	if (getrandom(&set->seed, sizeof(set->seed), GRND_NONBLOCK) < 0)
		set->seed = (uintptr_t)set; /* too early in the machine's life: slower at worst */
}

void object_set_done(struct object_set *set)
{
	struct object *o = set->ahead[0];
	while (o) {
		struct object *next = o->ahead[0];
		free(o);
		o = next;
	}
	*set = (struct object_set){.seed = set->seed};
}

/* On each level the link that leads to the first object which is not before the key. */
static struct object *object_set_seek(
	struct object_set *set, struct str key, struct object **ret_links[OBJECT_LEVELS])
{
	struct object **ahead = set->ahead;
	for (unsigned level = OBJECT_LEVELS; level-- > 0;) {
		while (ahead[level] && object_compare(ahead[level]->key, key) < 0)
			ahead = ahead[level]->ahead;
		ret_links[level] = &ahead[level];
	}
	struct object *o = *ret_links[0];
	return o && str_eq(o->key, key) ? o : NULL;
}

const struct object *object_set_find(const struct object_set *set, struct str key)
{
	struct object **links[OBJECT_LEVELS];
	/* Nothing is changed by looking. */
	return object_set_seek((struct object_set *)(uintptr_t)set, key, links);
}

static void object_set_link(
	struct object_set *set, struct object *o, struct object **links[OBJECT_LEVELS])
{
	uint64_t hash = hash_bytes(set->seed, o->key.at, o->key.len);
	for (unsigned level = 0; level < OBJECT_LEVELS; level++) {
		o->ahead[level] = *links[level];
		*links[level] = o;
		if ((hash >> (2 * level) & 3) != 0)
			break;
	}
	set->count++;
	set->bytes += o->envelope.len;
}

static void object_set_unlink(
	struct object_set *set, struct object *o, struct object **links[OBJECT_LEVELS])
{
	for (unsigned level = 0; level < OBJECT_LEVELS && *links[level] == o; level++)
		*links[level] = o->ahead[level];
	set->count--;
	set->bytes -= o->envelope.len;
	free(o);
}

int object_set_put(struct object_set *set, struct str key, struct str envelope, struct err *err)
{
	struct object **links[OBJECT_LEVELS];
	if (!object_key_valid(key))
		return err_set(err, EINVAL, "\"%.*s\" is no object's key: kind/name",
			key.len > OBJECT_KEY_MAX ? OBJECT_KEY_MAX : (int)key.len,
			key.at ? key.at : "");
	if (envelope.len > OBJECT_TEXT_MAX)
		return err_set(err, E2BIG, STR_FMT ": larger than %d KiB", STR_ARG(key),
			OBJECT_TEXT_MAX >> 10);
	struct object *old = object_set_seek(set, key, links);
	if (!old && set->count >= OBJECT_COUNT_MAX)
		return err_set(err, E2BIG, "more than %d objects", OBJECT_COUNT_MAX);
	if (envelope.len == 0)
		return err_set(err, EINVAL, STR_FMT ": empty", STR_ARG(key));
	struct object *o = object_new(key, envelope);
	if (!o)
		return err_set(err, ENOMEM, "out of memory");
	if (!object_read(o)) {
		free(o);
		return err_set(err, EINVAL,
			STR_FMT ": not an object: its lines of revision, who and time are missing "
				"or malformed",
			STR_ARG(key));
	}
	object_digest(o);
	if (old)
		object_set_unlink(set, old, links);
	object_set_link(set, o, links);
	return 0;
}

bool object_set_remove(struct object_set *set, struct str key)
{
	struct object **links[OBJECT_LEVELS];
	struct object *o = object_set_seek(set, key, links);
	if (o)
		object_set_unlink(set, o, links);
	return o != NULL;
}

int object_set_copy(const struct object_set *from, struct object_set *ret_set, struct err *err)
{
	object_set_init(ret_set);
	OBJECT_EACH (from, it) {
		int r = object_set_put(ret_set, it->key, it->envelope, err);
		if (r < 0) {
			object_set_done(ret_set);
			return r;
		}
	}
	return 0;
}

void object_set_digest(const struct object_set *set, uint8_t ret_digest[OBJECT_DIGEST])
{
	SHA256_CTX sha;
	SHA256_Init(&sha);
	OBJECT_EACH (set, it)
		SHA256_Update(&sha, it->digest, sizeof(it->digest));
	SHA256_Final(ret_digest, &sha);
}
