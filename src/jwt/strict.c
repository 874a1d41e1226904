/* SPDX-License-Identifier: Apache-2.0 */
#include "inside.h"

/* Of a 0 in its lower half the library would make another. */
void jwt_seed(uint64_t secret)
{
	uint32_t seed = (uint32_t)(secret ^ secret >> 32);
	json_object_seed(seed ? seed : 1);
}

/* Before the parser, which goes down with each bracket. */
static bool strict_is_flat(struct str text)
{
	unsigned depth = 0;
	bool in_text = false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.at[i];
		if (in_text) {
			i += c == '\\';
			in_text = c != '"';
		} else if (c == '"') {
			in_text = true;
		} else if (c == '{' || c == '[') {
			if (++depth > JWT_DEPTH_MAX)
				return false;
		} else if (c == '}' || c == ']') {
			depth -= depth > 0;
		}
	}
	return true;
}

json_t *strict_object(struct str text)
{
	json_error_t error;
	if (text.len == 0 || !strict_is_flat(text))
		return NULL;
	json_t *root = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, &error);
	if (root && !json_is_object(root)) {
		json_decref(root);
		root = NULL;
	}
	return root;
}

struct str strict_text(const json_t *object, const char *name)
{
	const json_t *member = json_object_get(object, name);
	if (!json_is_string(member))
		return STR_NONE;
	return (struct str){json_string_value(member), json_string_length(member)};
}
