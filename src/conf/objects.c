/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of mesh files as objects. A row's canonical text is written by libconfig from a tree in
 * which the keys stand in the order of the table; comments, blanks and the order of keys are
 * therefore no content, and a row that is published again as it was is no change. */
#include "conf/objects.h"

#include "base/map.h"
#include "parser.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CONF_SOURCE_MAX 500

static const struct conf_kind conf_kinds[] = {
	{"service", "services", "name"},
	{"policy", "policies", "name"},
	{"issuer", "issuers", "name"},
	{"route", "routes", "service"},
	{"limit", "limits", "name"},
	{"rollout", "rollouts", "service"},
	{"external", "externals", "name"},
};

const struct conf_kind *conf_kind_at(size_t index)
{
	return index < ARRAY_LEN(conf_kinds) ? &conf_kinds[index] : NULL;
}

const struct conf_kind *conf_kind_find(struct str word)
{
	for (size_t i = 0; i < ARRAY_LEN(conf_kinds); i++) {
		if (str_eq(word, str_of(conf_kinds[i].name)) ||
			str_eq(word, str_of(conf_kinds[i].list)))
			return &conf_kinds[i];
	}
	return NULL;
}

const char *conf_kind_names(char *text, size_t size)
{
	size_t len = 0;
	text[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(conf_kinds) && len < size; i++)
		len += (size_t)snprintf(
			text + len, size - len, "%s%s", i ? ", " : "", conf_kinds[i].name);
	return text;
}

/* Of a kind in one file. */
static uint32_t conf_rows_count(const struct conf_file *file, const struct conf_kind *kind)
{
	const config_setting_t *list = conf_member(conf_file_root(file), kind->list);
	return list && config_setting_is_list(list) ? (uint32_t)config_setting_length(list) : 0;
}

bool conf_object_is(const struct conf_file *file, struct str key)
{
	uint32_t row_count = 0;
	bool is_same = false;
	for (size_t k = 0; k < ARRAY_LEN(conf_kinds); k++) {
		const struct conf_kind *kind = &conf_kinds[k];
		struct str name = str_of(kind->name);
		uint32_t count = conf_rows_count(file, kind);
		row_count += count;
		if (count != 1 || !str_starts(key, name) || key.len < name.len + 1 ||
			key.at[name.len] != '/')
			continue;
		const config_setting_t *list = conf_member(conf_file_root(file), kind->list);
		const config_setting_t *row = config_setting_get_elem(list, 0);
		const config_setting_t *member = conf_member(row, kind->key);
		const char *text = member ? config_setting_get_string(member) : NULL;
		is_same = text && str_eq(str_of(text), (struct str){key.at + name.len + 1,
							       key.len - name.len - 1});
	}
	return row_count == 1 && is_same;
}

/* --- canonical text --- */

static const struct conf_group *conf_kind_group(const struct conf_kind *kind)
{
	for (size_t i = 0; i < conf_mesh_root.key_count; i++) {
		if (strcmp(conf_mesh_root.keys[i].name, kind->list) == 0)
			return conf_mesh_root.keys[i].group;
	}
	ASSERT(!"a kind's list is in the table of keys");
}

static bool conf_copy_value(const config_setting_t *from, config_setting_t *to)
{
	switch (config_setting_type(from)) {
	case CONFIG_TYPE_STRING:
		return config_setting_set_string(to, config_setting_get_string(from));
	case CONFIG_TYPE_BOOL:
		return config_setting_set_bool(to, config_setting_get_bool(from));
	case CONFIG_TYPE_INT:
		return config_setting_set_int(to, config_setting_get_int(from)) &&
		       config_setting_set_format(to, config_setting_get_format(from));
	case CONFIG_TYPE_INT64:
		return config_setting_set_int64(to, config_setting_get_int64(from)) &&
		       config_setting_set_format(to, config_setting_get_format(from));
	default:
		return false; /* the table has no other types */
	}
}

static bool conf_copy_group(
	const config_setting_t *from, const struct conf_group *group, config_setting_t *to);

/* `group`: of the rows, or NULL for a list of values. */
static bool conf_copy_elements(
	const config_setting_t *from, const struct conf_group *group, config_setting_t *to)
{
	int count = config_setting_length(from);
	for (int i = 0; i < count; i++) {
		const config_setting_t *element = config_setting_get_elem(from, (unsigned)i);
		int type = config_setting_type(element);
		config_setting_t *copy = config_setting_add(to, NULL, type);
		if (!copy || !(group ? conf_copy_group(element, group, copy)
				     : conf_copy_value(element, copy)))
			return false;
	}
	return true;
}

static bool conf_copy_member(
	const config_setting_t *member, const struct conf_key *key, config_setting_t *to)
{
	bool is_many = config_setting_is_aggregate(member) && key->type != CONF_GROUP;
	int type = config_setting_type(member);
	/* ( "a", "b" ) means [ "a", "b" ]. */
	if (is_many && key->type != CONF_ROWS)
		type = CONFIG_TYPE_ARRAY;
	config_setting_t *copy =
		config_setting_add(to, is_many && key->plural ? key->plural : key->name, type);
	if (!copy)
		return false;
	if (key->type == CONF_GROUP)
		return conf_copy_group(member, key->group, copy);
	return is_many ? conf_copy_elements(member, key->group, copy)
		       : conf_copy_value(member, copy);
}

static bool conf_copy_group(
	const config_setting_t *from, const struct conf_group *group, config_setting_t *to)
{
	for (size_t i = 0; i < group->key_count; i++) {
		const struct conf_key *key = &group->keys[i];
		const config_setting_t *member = conf_member(from, key->name);
		if (!member && key->plural)
			member = conf_member(from, key->plural);
		if (member && !conf_copy_member(member, key, to))
			return false;
	}
	return true;
}

struct str conf_write_tree(struct arena *arena, const config_t *tree)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	if (!out)
		return STR_NONE;
	config_write(tree, out);
	bool is_whole = !ferror(out);
	is_whole = fclose(out) == 0 && is_whole;
	struct str copy = is_whole ? arena_str(arena, (struct str){text, len}) : STR_NONE;
	free(text);
	return copy;
}

static void conf_tree_init(config_t *tree)
{
	config_init(tree);
	config_set_options(tree, CONFIG_OPTION_SEMICOLON_SEPARATORS);
	config_set_tab_width(tree, 2);
}

static bool conf_tree_add(config_t *tree, const struct conf_kind *kind, const config_setting_t *row)
{
	config_setting_t *root = config_root_setting(tree);
	config_setting_t *list = config_setting_get_member(root, kind->list);
	if (!list)
		list = config_setting_add(root, kind->list, CONFIG_TYPE_LIST);
	config_setting_t *copy = list ? config_setting_add(list, NULL, CONFIG_TYPE_GROUP) : NULL;
	return copy && conf_copy_group(row, conf_kind_group(kind), copy);
}

static struct str conf_row_text(
	struct arena *arena, const struct conf_kind *kind, const config_setting_t *row)
{
	config_t tree;
	conf_tree_init(&tree);
	struct str text =
		conf_tree_add(&tree, kind, row) ? conf_write_tree(arena, &tree) : STR_NONE;
	config_destroy(&tree);
	return text;
}

static bool conf_join_list(
	config_t *tree, const struct conf_file *file, const struct conf_kind *kind)
{
	const config_setting_t *list = conf_member(conf_file_root(file), kind->list);
	int count = list && config_setting_is_list(list) ? config_setting_length(list) : 0;
	for (int i = 0; i < count; i++) {
		const config_setting_t *row = config_setting_get_elem(list, (unsigned)i);
		if (!config_setting_is_group(row) || !conf_tree_add(tree, kind, row))
			return false;
	}
	return true;
}

static bool conf_join_text(config_t *tree, struct str text, struct conf_report *report)
{
	struct bundle_item item = {.name = STR("object"), .text = text};
	struct conf_file file;
	bool is_whole = conf_file_open(&file, &item, report);
	for (size_t i = 0; is_whole && i < ARRAY_LEN(conf_kinds); i++)
		is_whole = conf_join_list(tree, &file, &conf_kinds[i]);
	conf_file_close(&file);
	return is_whole;
}

struct str conf_objects_join(struct arena *arena, const struct str *texts, uint32_t count)
{
	struct conf_report silent;
	struct str joined = STR_NONE;
	config_t tree;
	bool is_whole = true;
	conf_report_init(&silent);
	conf_tree_init(&tree);
	for (uint32_t i = 0; is_whole && i < count; i++) {
		/* Spans are not terminated; the parser of texts needs it. */
		struct str text = arena_str(arena, texts[i]);
		is_whole = text.at && conf_join_text(&tree, text, &silent);
	}
	if (is_whole)
		joined = conf_write_tree(arena, &tree);
	config_destroy(&tree);
	conf_report_done(&silent);
	return joined;
}

/* --- rows of files --- */

struct conf_object_entry {
	struct map_node node;
	struct conf_object object;
	const config_setting_t *row;
};

struct conf_objects_reader {
	struct conf_parser parser;
	struct arena *arena;
	struct map by_key;
	struct conf_object *objects;
	uint32_t count;
};

static bool conf_object_name_valid(struct str name)
{
	bool is_valid = name.len > 0 && name.len <= CONF_OBJECT_NAME_MAX;
	for (size_t i = 0; is_valid && i < name.len; i++)
		is_valid = name.at[i] > ' ' && name.at[i] <= '~' && name.at[i] != '/' &&
			   name.at[i] != '@';
	return is_valid;
}

/* The row's name; at == NULL: the error is said. */
static struct str conf_object_name(
	struct conf_objects_reader *r, const struct conf_kind *kind, const config_setting_t *row)
{
	const config_setting_t *member = conf_member(row, kind->key);
	const char *text = member ? config_setting_get_string(member) : NULL;
	struct str name = str_of(text);
	if (!member) {
		conf_error(&r->parser, row, kind->key,
			"missing: what is published needs a name, to be changed or taken away "
			"by it");
		return STR_NONE;
	}
	if (!text) /* said by the reading of the row */
		return STR_NONE;
	if (!conf_object_name_valid(name)) {
		conf_error(&r->parser, row, kind->key,
			"\"%.*s\" is no name to publish by: at most %d letters, digits and marks, "
			"without space, '/' and '@'",
			STR_ARG(name), CONF_OBJECT_NAME_MAX);
		return STR_NONE;
	}
	return name;
}

static const struct conf_object_entry *conf_object_find(
	const struct conf_objects_reader *r, struct str key, uint64_t hash)
{
	struct map_node *node = map_first(&r->by_key, hash);
	for (; node; node = map_next(node)) {
		const struct conf_object_entry *e =
			CONTAINER_OF(node, struct conf_object_entry, node);
		if (str_eq(e->object.key, key))
			return e;
	}
	return NULL;
}

static struct str conf_object_source(struct conf_objects_reader *r, const config_setting_t *row)
{
	char text[CONF_SOURCE_MAX];
	conf_place_text(&r->parser, row, text, sizeof(text));
	for (char *c = text; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	}
	return arena_str(r->arena, str_of(text));
}

static void conf_objects_add(
	struct conf_objects_reader *r, const struct conf_kind *kind, const config_setting_t *row)
{
	struct str name = conf_object_name(r, kind, row);
	if (!name.at)
		return;
	struct conf_object_entry *e = arena_take(r->arena, sizeof(*e));
	struct str key = arena_printf(r->arena, "%s/" STR_FMT, kind->name, STR_ARG(name));
	if (!e || !key.at) {
		r->parser.is_exhausted = true;
		return;
	}
	uint64_t hash = hash_bytes((uintptr_t)r->arena, key.at, key.len);
	const struct conf_object_entry *first = conf_object_find(r, key, hash);
	if (first) {
		char place[512];
		conf_error(&r->parser, row, kind->key, "\"%.*s\" is declared already, at %s",
			STR_ARG(name),
			conf_place_text(&r->parser, first->row, place, sizeof(place)));
		return;
	}
	e->row = row;
	e->object = (struct conf_object){.key = key, .source = conf_object_source(r, row)};
	/* What the table has refused has no text. */
	if (r->parser.report->error_count == 0)
		e->object.text = conf_row_text(r->arena, kind, row);
	if (!e->object.source.at || !map_add(&r->by_key, &e->node, hash) ||
		(r->parser.report->error_count == 0 && !e->object.text.at))
		r->parser.is_exhausted = true;
	else
		r->objects[r->count++] = e->object;
}

static void conf_objects_read_file(struct conf_objects_reader *r, struct conf_file *file)
{
	uint32_t most = 0;
	conf_read_root(&r->parser, &conf_mesh_root, conf_file_root(file), &file->mesh);
	for (size_t k = 0; k < ARRAY_LEN(conf_kinds); k++)
		most += conf_rows_count(file, &conf_kinds[k]);
	struct conf_object *grown = arena_take(r->arena, (r->count + most + 1) * sizeof(*grown));
	if (!grown) {
		r->parser.is_exhausted = true;
		return;
	}
	if (r->count > 0)
		memcpy(grown, r->objects, r->count * sizeof(*grown));
	r->objects = grown;
	for (size_t k = 0; k < ARRAY_LEN(conf_kinds); k++) {
		const config_setting_t *list =
			conf_member(conf_file_root(file), conf_kinds[k].list);
		uint32_t count = conf_rows_count(file, &conf_kinds[k]);
		for (uint32_t i = 0; i < count && !r->parser.is_exhausted; i++) {
			const config_setting_t *row = config_setting_get_elem(list, i);
			if (config_setting_is_group(row))
				conf_objects_add(r, &conf_kinds[k], row);
		}
	}
}

static void conf_objects_read_files(struct conf_objects_reader *r, const struct bundle *b)
{
	struct conf_parser *p = &r->parser;
	const struct bundle_item *item = NULL;
	uint32_t count = 0;
	while ((item = bundle_next(b, "mesh", item)))
		count++;
	p->mesh = calloc(count ? count : 1, sizeof(*p->mesh));
	p->is_exhausted = !p->mesh;
	while (!p->is_exhausted && (item = bundle_next(b, "mesh", item))) {
		struct conf_file *file = &p->mesh[p->mesh_count++];
		if (conf_file_open(file, item, p->report))
			conf_objects_read_file(r, file);
	}
	for (uint32_t i = 0; i < p->mesh_count; i++)
		conf_file_close(&p->mesh[i]);
	free(p->mesh);
}

int conf_objects_read(const struct bundle *b, struct arena *arena, struct conf_object **ret_objects,
	uint32_t *ret_count, struct conf_report *report)
{
	struct conf_objects_reader r = {
		.parser = {.bundle = b, .report = report, .arena = arena}, .arena = arena};
	uint32_t errors_before = report->error_count;
	map_init(&r.by_key);
	conf_objects_read_files(&r, b);
	map_done(&r.by_key);
	if (r.parser.is_exhausted) {
		conf_report_line(report, CONF_ERROR, STR_NONE, 0, "out of memory");
		return -ENOMEM;
	}
	*ret_objects = r.objects;
	*ret_count = r.count;
	return report->error_count > errors_before ? -EINVAL : 0;
}
