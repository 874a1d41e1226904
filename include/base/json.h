/* SPDX-License-Identifier: Apache-2.0 */
/* Writing JSON: commas and escapes are done here. Bytes that are not printable ASCII become
 * \u00XX, so whatever a peer sent comes out as valid JSON. */
#pragma once

#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* Grows by malloc up to max_bytes, then drops what does not fit and sets `cut`. */
struct json {
	char *text;
	size_t len, size, max_bytes;
	bool comma; /* something stands before the next value at this level */
	bool cut;
};

void json_init(struct json *j, size_t max_bytes);
void json_done(struct json *j);

/* Values inside an array, or after json_key(). */
void json_open(struct json *j, char bracket);  /* '{' or '[' */
void json_close(struct json *j, char bracket); /* '}' or ']' */
void json_key(struct json *j, const char *key);
void json_str(struct json *j, struct str value); /* at == NULL writes null */
void json_u64(struct json *j, uint64_t value);
void json_i64(struct json *j, int64_t value);
void json_bool(struct json *j, bool value);
/* A line end outside any value, for JSON lines. */
void json_newline(struct json *j);
