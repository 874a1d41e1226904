/* SPDX-License-Identifier: Apache-2.0 */
#include "json_tree.h"

#define JSON_DEPTH_MAX 32

struct json_reader {
	struct arena *arena;
	const char *at, *end;
	int depth;
};

static struct json_tree *json_read_value(struct json_reader *r);

static void json_skip_space(struct json_reader *r)
{
	while (r->at < r->end &&
		(*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

static bool json_take(struct json_reader *r, char c)
{
	json_skip_space(r);
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

/* The writer makes \u00XX of each byte that is not printable, so a code below 256 is that byte;
 * others do not occur and are shown as '?'. */
static bool json_read_unicode(struct json_reader *r, char *ret_c)
{
	int code = 0;
	if (r->end - r->at < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		int digit = str_hex(*r->at++);
		if (digit < 0)
			return false;
		code = code * 16 + digit;
	}
	*ret_c = code < 256 ? (char)code : '?';
	return true;
}

static bool json_read_escape(struct json_reader *r, char *ret_c)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	if (r->at == r->end)
		return false;
	char c = *r->at++;
	if (c == 'u')
		return json_read_unicode(r, ret_c);
	const char *name = c ? strchr(names, c) : NULL;
	if (!name)
		return false;
	*ret_c = values[name - names];
	return true;
}

static bool json_read_text(struct json_reader *r, struct str *ret_text)
{
	if (!json_take(r, '"'))
		return false;
	const char *quote = r->at;
	while (quote < r->end && *quote != '"')
		quote += *quote == '\\' ? 2 : 1;
	if (quote >= r->end)
		return false;
	char *text = arena_take(r->arena, (size_t)(quote - r->at) + 1);
	size_t len = 0;
	if (!text)
		return false;
	while (r->at < quote) {
		char c = *r->at++;
		if ((unsigned char)c < 0x20 || (c == '\\' && !json_read_escape(r, &c)))
			return false;
		text[len++] = c;
	}
	r->at++;
	*ret_text = (struct str){text, len};
	return true;
}

static bool json_read_number(struct json_reader *r, int64_t *ret_number)
{
	bool negative = *r->at == '-';
	struct str digits = {r->at + negative, 0};
	while (digits.at + digits.len < r->end && digits.at[digits.len] >= '0' &&
		digits.at[digits.len] <= '9')
		digits.len++;
	uint64_t value;
	if (!str_to_u64(digits, &value))
		return false;
	if (value > INT64_MAX)
		value = INT64_MAX;
	r->at = digits.at + digits.len;
	*ret_number = negative ? -(int64_t)value : (int64_t)value;
	return true;
}

static bool json_read_word(struct json_reader *r, struct json_tree *node)
{
	static const struct {
		const char *word;
		enum json_kind kind;
		int64_t number;
	} words[] = {{"null", JSON_NULL, 0}, {"false", JSON_BOOL, 0}, {"true", JSON_BOOL, 1}};
	for (size_t i = 0; i < 3; i++) {
		struct str word = str_of(words[i].word);
		if (!str_starts((struct str){r->at, (size_t)(r->end - r->at)}, word))
			continue;
		r->at += word.len;
		node->kind = words[i].kind;
		node->number = words[i].number;
		return true;
	}
	return false;
}

static bool json_read_children(struct json_reader *r, struct json_tree *node, char close)
{
	const struct json_tree **link = &node->first;
	r->at++;
	if (json_take(r, close))
		return true;
	do {
		struct str key = {0};
		if (node->kind == JSON_OBJECT && !(json_read_text(r, &key) && json_take(r, ':')))
			return false;
		struct json_tree *child = json_read_value(r);
		if (!child)
			return false;
		child->key = key;
		*link = child;
		link = &child->next;
	} while (json_take(r, ','));
	return json_take(r, close);
}

static bool json_read_node(struct json_reader *r, struct json_tree *node)
{
	switch (*r->at) {
	case '{':
		node->kind = JSON_OBJECT;
		return json_read_children(r, node, '}');
	case '[':
		node->kind = JSON_LIST;
		return json_read_children(r, node, ']');
	case '"':
		node->kind = JSON_TEXT;
		return json_read_text(r, &node->text);
	case 't':
	case 'f':
	case 'n':
		return json_read_word(r, node);
	default:
		node->kind = JSON_NUMBER;
		return json_read_number(r, &node->number);
	}
}

static struct json_tree *json_read_value(struct json_reader *r)
{
	json_skip_space(r);
	struct json_tree *node = arena_take(r->arena, sizeof(*node));
	if (!node || r->at == r->end || r->depth == JSON_DEPTH_MAX)
		return NULL;
	r->depth++;
	bool ok = json_read_node(r, node);
	r->depth--;
	return ok ? node : NULL;
}

const struct json_tree *json_tree_read(struct arena *arena, struct str text)
{
	struct json_reader r = {arena, text.at, text.at + text.len, 0};
	const struct json_tree *tree = json_read_value(&r);
	json_skip_space(&r);
	return r.at == r.end ? tree : NULL;
}

const struct json_tree *json_tree_get(const struct json_tree *object, const char *key)
{
	if (!object || object->kind != JSON_OBJECT)
		return NULL;
	const struct json_tree *child = object->first;
	while (child && !str_eq(child->key, str_of(key)))
		child = child->next;
	return child;
}

struct str json_tree_text(const struct json_tree *object, const char *key)
{
	const struct json_tree *child = json_tree_get(object, key);
	return child && child->kind == JSON_TEXT ? child->text : STR("");
}

int64_t json_tree_number(const struct json_tree *object, const char *key)
{
	const struct json_tree *child = json_tree_get(object, key);
	return child && child->kind == JSON_NUMBER ? child->number : 0;
}

bool json_tree_true(const struct json_tree *object, const char *key)
{
	const struct json_tree *child = json_tree_get(object, key);
	return child && child->kind == JSON_BOOL && child->number;
}

const struct json_tree *json_tree_list(const struct json_tree *object, const char *key)
{
	const struct json_tree *child = json_tree_get(object, key);
	return child && child->kind == JSON_LIST ? child->first : NULL;
}
