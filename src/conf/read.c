/* SPDX-License-Identifier: Apache-2.0 */
/* Fills structs from a libconfig tree by the key table. Errors are noted and reading goes on, so
 * that one parse finds them all; a field with an error keeps zero. */
#include "parser.h"

#include <stdio.h>

/* It would read as "nobody" and work as "everybody". */
#define CONF_EMPTY_LIST "empty list; leave the key out or name something"

/* Where the reader stands. For a group that the file leaves out, `setting` is NULL, and `parent`
 * and `name` say where it would be. */
struct conf_place {
	const config_setting_t *setting;
	const config_setting_t *parent;
	const char *name;
};

static void conf_read_group(
	struct conf_parser *p, const struct conf_group *group, struct conf_place place, void *row);

const config_setting_t *conf_member(const config_setting_t *group, const char *name)
{
	if (!config_setting_is_group(group))
		return NULL;
	int count = config_setting_length(group);
	for (int i = 0; i < count; i++) {
		const config_setting_t *member = config_setting_get_elem(group, (unsigned)i);
		if (strcmp(config_setting_name(member), name) == 0)
			return member;
	}
	return NULL;
}

void conf_read_root(struct conf_parser *p, const struct conf_group *root,
	const config_setting_t *setting, void *row)
{
	conf_read_group(p, root, (struct conf_place){.setting = setting}, row);
}

static bool conf_key_is(const struct conf_key *key, const char *name)
{
	return strcmp(key->name, name) == 0 || (key->plural && strcmp(key->plural, name) == 0);
}

static void conf_read_unknown_key(struct conf_parser *p, const struct conf_group *group,
	const config_setting_t *setting, const char *name)
{
	struct conf_guess guess = conf_guess(str_of(name));
	char mean[128], valid[512] = "";
	for (size_t i = 0; i < group->key_count; i++) {
		conf_guess_offer(&guess, str_of(group->keys[i].name));
		size_t len = strlen(valid);
		snprintf(valid + len, sizeof(valid) - len, "%s%s", i ? ", " : "",
			group->keys[i].name);
	}
	if (guess.best.len > 0)
		conf_error(p, setting, name, "unknown key%s",
			conf_guess_text(&guess, mean, sizeof(mean)));
	else
		conf_error(p, setting, name, "unknown key; valid here: %s", valid);
}

static void conf_read_unknown(
	struct conf_parser *p, const struct conf_group *group, const config_setting_t *setting)
{
	int count = config_setting_length(setting);
	for (int i = 0; i < count; i++) {
		const char *name =
			config_setting_name(config_setting_get_elem(setting, (unsigned)i));
		bool is_known = false;
		for (size_t k = 0; k < group->key_count && !is_known; k++)
			is_known = conf_key_is(&group->keys[k], name);
		if (!is_known)
			conf_read_unknown_key(p, group, setting, name);
	}
}

/* The file's value in our terms; false, with the error noted, when it is none of a single value. */
static bool conf_read_value(struct conf_parser *p, const struct conf_key *key,
	const config_setting_t *setting, struct conf_value *ret_value)
{
	long long number = 0;
	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_STRING:
		*ret_value = (struct conf_value){.kind = CONF_VALUE_TEXT,
			.text = str_of(config_setting_get_string(setting))};
		return true;
	case CONFIG_TYPE_BOOL:
		*ret_value = (struct conf_value){
			.kind = CONF_VALUE_BOOL, .number = config_setting_get_bool(setting) != 0};
		return true;
	case CONFIG_TYPE_INT:
		number = config_setting_get_int(setting);
		/* 0xff000000 comes as a negative int. */
		if (config_setting_get_format(setting) == CONFIG_FORMAT_HEX)
			number = (uint32_t)number;
		break;
	case CONFIG_TYPE_INT64:
		number = config_setting_get_int64(setting);
		break;
	default:
		conf_error(p, setting, NULL, "expected %s", conf_type_text(key->type));
		return false;
	}
	if (number < 0) {
		conf_error(p, setting, NULL, "a negative number");
		return false;
	}
	*ret_value = (struct conf_value){.kind = CONF_VALUE_NUMBER, .number = (uint64_t)number};
	return true;
}

static void conf_read_single(struct conf_parser *p, const struct conf_key *key,
	const config_setting_t *setting, void *at)
{
	struct conf_value value;
	struct err why;
	if (conf_read_value(p, key, setting, &value) &&
		!conf_value_store(p->arena, key, value, at, &why))
		conf_error(p, setting, NULL, "%s", why.text);
}

/* An array of `count` zeroed elements, its pointer and count stored in the row; NULL: none, or out
 * of memory. */
static char *conf_read_array(
	struct conf_parser *p, const struct conf_key *key, size_t count, size_t size, char *row)
{
	if (count == 0)
		return NULL;
	char *array = arena_take(p->arena, count * size);
	if (!array) {
		p->is_exhausted = true;
		return NULL;
	}
	memcpy(row + key->offset, &array, sizeof(array));
	*(uint32_t *)(row + key->count_offset) = (uint32_t)count;
	return array;
}

/* [ "a", "b" ], ( "a", "b" ), or "a" alone. */
static void conf_read_many(struct conf_parser *p, const struct conf_key *key,
	const config_setting_t *setting, char *row)
{
	size_t size = key->size;
	if (!config_setting_is_array(setting) && !config_setting_is_list(setting)) {
		char *at = conf_read_array(p, key, 1, size, row);
		if (at)
			conf_read_single(p, key, setting, at);
		return;
	}
	unsigned count = (unsigned)config_setting_length(setting);
	if (count == 0)
		conf_error(p, setting, NULL, CONF_EMPTY_LIST);
	char *array = conf_read_array(p, key, count, size, row);
	for (unsigned i = 0; array && i < count; i++)
		conf_read_single(p, key, config_setting_get_elem(setting, i), array + i * size);
}

static void conf_read_rows(struct conf_parser *p, const struct conf_key *key,
	const config_setting_t *setting, char *row)
{
	if (!config_setting_is_list(setting)) {
		conf_error(p, setting, NULL, "expected %s", conf_type_text(key->type));
		return;
	}
	size_t size = key->group->row_size;
	unsigned count = (unsigned)config_setting_length(setting);
	if (count == 0 && key->never_empty)
		conf_error(p, setting, NULL, CONF_EMPTY_LIST);
	char *array = conf_read_array(p, key, count, size, row);
	for (unsigned i = 0; array && i < count; i++) {
		const config_setting_t *element = config_setting_get_elem(setting, i);
		if (key->group->keeps_setting)
			memcpy(array + i * size, &element, sizeof(element));
		if (config_setting_is_group(element))
			conf_read_group(p, key->group, (struct conf_place){.setting = element},
				array + i * size);
		else
			conf_error(p, element, NULL, "expected %s", conf_type_text(CONF_GROUP));
	}
}

static void conf_read_missing(
	struct conf_parser *p, const struct conf_key *key, struct conf_place place, char *row)
{
	if (key->type == CONF_GROUP) {
		conf_read_group(p, key->group,
			(struct conf_place){.parent = place.setting, .name = key->name}, row);
		return;
	}
	if (key->required && place.setting) {
		conf_error(p, place.setting, key->name, "missing");
	} else if (key->required) {
		char name[128];
		snprintf(name, sizeof(name), "%s.%s", place.name, key->name);
		conf_error(p, place.parent, name, "missing");
	} else if (key->fallback) {
		struct err why;
		if (!conf_value_store(
			    p->arena, key, conf_value_default(key), row + key->offset, &why))
			p->is_exhausted = true; /* the table's own defaults are valid: a test */
	}
}

static void conf_read_key(
	struct conf_parser *p, const struct conf_key *key, struct conf_place place, char *row)
{
	const config_setting_t *member =
		place.setting ? conf_member(place.setting, key->name) : NULL;
	const config_setting_t *plural =
		place.setting && key->plural ? conf_member(place.setting, key->plural) : NULL;
	if (member && plural)
		conf_error(p, place.setting, key->plural, "the same as \"%s\", which is given too",
			key->name);
	member = member ? member : plural;
	if (!member)
		conf_read_missing(p, key, place, row);
	else if (key->type == CONF_ROWS)
		conf_read_rows(p, key, member, row);
	else if (key->type == CONF_GROUP && config_setting_is_group(member))
		conf_read_group(p, key->group, (struct conf_place){.setting = member}, row);
	else if (key->many)
		conf_read_many(p, key, member, row);
	else
		conf_read_single(p, key, member, row + key->offset);
}

static void conf_read_group(
	struct conf_parser *p, const struct conf_group *group, struct conf_place place, void *row)
{
	if (place.setting)
		conf_read_unknown(p, group, place.setting);
	for (size_t i = 0; i < group->key_count; i++)
		conf_read_key(p, &group->keys[i], place, row);
}
