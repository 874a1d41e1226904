/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text as a tree, for reading answers of the admin API. Strict (RFC 8259) but for numbers,
 * which are whole here. Everything lives in the caller's arena. */
#pragma once

#include "base/arena.h"
#include "base/str.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_TEXT, JSON_LIST, JSON_OBJECT };

struct json_tree {
	enum json_kind kind;
	struct str key; /* in an object */
	struct str text;
	int64_t number;			      /* BOOL: 0 or 1 */
	const struct json_tree *first, *next; /* children of LIST and OBJECT, in order */
};

/* NULL: not valid, nested too deeply, or too large for the arena. */
const struct json_tree *json_tree_read(struct arena *arena, struct str text);

/* All of these take NULL and what is of another kind, and then give NULL, "" or 0: an answer of
 * another version is shown with gaps and never crashes the reader. */
const struct json_tree *json_tree_get(const struct json_tree *object, const char *key);
struct str json_tree_text(const struct json_tree *object, const char *key);
int64_t json_tree_number(const struct json_tree *object, const char *key);
bool json_tree_true(const struct json_tree *object, const char *key);
/* First child of a list or object: for (c = json_tree_list(o, "k"); c; c = c->next). */
const struct json_tree *json_tree_list(const struct json_tree *object, const char *key);
