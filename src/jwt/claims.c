/* SPDX-License-Identifier: Apache-2.0 */
/* What a token says, as names and values. Names that could be meant in two ways ("a.b" beside "b"
 * inside "a") make it a bad one: a rule would see the values of both. */
#include "inside.h"

#include <stdlib.h>

struct claims_walk {
	struct jwt *token;
	uint32_t array_start; /* claims from here on are of the array that is being walked */
	bool in_array;
	enum jwt_failure failure;
};

static void claims_walk(struct claims_walk *w, struct str name, const json_t *value);

static bool claims_has(const struct claims_walk *w, struct str name)
{
	uint32_t end = w->in_array ? w->array_start : w->token->list_count;
	for (uint32_t i = 0; i < end; i++) {
		if (str_eq(w->token->list[i].name, name))
			return true;
	}
	return false;
}

static void claims_add(struct claims_walk *w, struct str name, struct str value)
{
	struct jwt *t = w->token;
	if (t->list_count == JWT_CLAIMS_MAX || claims_has(w, name)) {
		w->failure = JWT_CLAIMS;
		return;
	}
	t->list[t->list_count] =
		(struct policy_claim){.name = name, .value = arena_str(&t->arena, value)};
	if (!t->list[t->list_count++].value.at)
		w->failure = JWT_MEMORY;
}

static void claims_add_number(struct claims_walk *w, struct str name, const json_t *value)
{
	char text[64];
	size_t len = json_dumpb(value, text, sizeof(text), JSON_ENCODE_ANY);
	if (len == 0 || len > sizeof(text))
		w->failure = JWT_CLAIMS;
	else
		claims_add(w, name, (struct str){text, len});
}

static void claims_walk_object(struct claims_walk *w, struct str name, const json_t *object)
{
	const char *key;
	json_t *value;
	/* The macro of the library has no form for a constant object. */
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		struct arena *arena = &w->token->arena;
		struct str member = name.len > 0
					    ? arena_printf(arena, STR_FMT ".%s", STR_ARG(name), key)
					    : arena_str(arena, str_of(key));
		if (w->failure != JWT_NONE)
			return;
		if (key[0] == '\0') /* what is in it would have no name of its own */
			w->failure = JWT_CLAIMS;
		else if (!member.at)
			w->failure = JWT_MEMORY;
		else
			claims_walk(w, member, value);
	}
}

static void claims_walk_array(struct claims_walk *w, struct str name, const json_t *array)
{
	bool is_outer = !w->in_array;
	if (is_outer) {
		if (claims_has(w, name)) {
			w->failure = JWT_CLAIMS;
			return;
		}
		w->array_start = w->token->list_count;
		w->in_array = true;
	}
	for (size_t i = 0; i < json_array_size(array) && w->failure == JWT_NONE; i++)
		claims_walk(w, name, json_array_get(array, i));
	if (is_outer)
		w->in_array = false;
}

static void claims_walk(struct claims_walk *w, struct str name, const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		claims_walk_object(w, name, value);
		return;
	case JSON_ARRAY:
		claims_walk_array(w, name, value);
		return;
	case JSON_STRING:
		claims_add(
			w, name, (struct str){json_string_value(value), json_string_length(value)});
		return;
	case JSON_INTEGER:
	case JSON_REAL:
		claims_add_number(w, name, value);
		return;
	case JSON_TRUE:
		claims_add(w, name, STR("true"));
		return;
	case JSON_FALSE:
		claims_add(w, name, STR("false"));
		return;
	case JSON_NULL:
		return;
	}
}

/* Those of one name together; among themselves they have no order. */
static int claims_compare(const void *a, const void *b)
{
	const struct policy_claim *one = a, *other = b;
	size_t len = one->name.len < other->name.len ? one->name.len : other->name.len;
	int order = memcmp(one->name.at, other->name.at, len);
	if (order != 0 || one->name.len != other->name.len)
		return order != 0 ? order : one->name.len < other->name.len ? -1 : 1;
	return 0;
}

enum jwt_failure claims_flatten(struct jwt *t)
{
	struct claims_walk w = {.token = t, .failure = JWT_NONE};
	t->list = arena_take(&t->arena, JWT_CLAIMS_MAX * sizeof(*t->list));
	t->list_count = 0;
	if (!t->list)
		return JWT_MEMORY;
	claims_walk_object(&w, STR_NONE, t->claims);
	if (w.failure == JWT_NONE)
		qsort(t->list, t->list_count, sizeof(*t->list), claims_compare);
	else
		t->list = NULL; /* cut, it is no list: whoever asks again gets the same answer */
	return w.failure;
}
