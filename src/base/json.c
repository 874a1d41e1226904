/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include "base/assert.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void json_init(struct json *j, size_t max_bytes)
{
	*j = (struct json){.max_bytes = max_bytes};
}

void json_done(struct json *j)
{
	free(j->text);
	json_init(j, j->max_bytes);
}

static bool json_room(struct json *j, size_t len)
{
	if (j->cut || j->len + len > j->max_bytes) {
		j->cut = true;
		return false;
	}
	if (j->len + len <= j->size)
		return true;
	size_t size = j->size ? j->size : 256;
	while (size < j->len + len)
		size *= 2;
	char *text = realloc(j->text, size);
	if (!text) {
		j->cut = true;
		return false;
	}
	j->text = text;
	j->size = size;
	return true;
}

static void json_raw(struct json *j, const char *text, size_t len)
{
	if (!json_room(j, len))
		return;
	memcpy(j->text + j->len, text, len);
	j->len += len;
}

static void json_before_value(struct json *j)
{
	if (j->comma)
		json_raw(j, ",", 1);
	j->comma = true;
}

void json_open(struct json *j, char bracket)
{
	ASSERT(bracket == '{' || bracket == '[');
	json_before_value(j);
	json_raw(j, &bracket, 1);
	j->comma = false;
}

void json_close(struct json *j, char bracket)
{
	ASSERT(bracket == '}' || bracket == ']');
	json_raw(j, &bracket, 1);
	j->comma = true;
}

static void json_quoted(struct json *j, struct str s)
{
	static const char hex[] = "0123456789abcdef";
	json_raw(j, "\"", 1);
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.at[i];
		if (c == '"' || c == '\\') {
			char two[2] = {'\\', (char)c};
			json_raw(j, two, 2);
		} else if (c >= 0x20 && c < 0x7f) {
			json_raw(j, &s.at[i], 1);
		} else {
			char six[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
			json_raw(j, six, 6);
		}
	}
	json_raw(j, "\"", 1);
}

void json_key(struct json *j, const char *key)
{
	json_before_value(j);
	json_quoted(j, str_of(key));
	json_raw(j, ":", 1);
	j->comma = false;
}

void json_str(struct json *j, struct str value)
{
	json_before_value(j);
	if (value.at)
		json_quoted(j, value);
	else
		json_raw(j, "null", 4);
}

void json_u64(struct json *j, uint64_t value)
{
	char text[24];
	json_before_value(j);
	json_raw(j, text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, value));
}

void json_i64(struct json *j, int64_t value)
{
	char text[24];
	json_before_value(j);
	json_raw(j, text, (size_t)snprintf(text, sizeof(text), "%" PRId64, value));
}

void json_bool(struct json *j, bool value)
{
	json_before_value(j);
	if (value)
		json_raw(j, "true", 4);
	else
		json_raw(j, "false", 5);
}

void json_newline(struct json *j)
{
	json_raw(j, "\n", 1);
	j->comma = false;
}
