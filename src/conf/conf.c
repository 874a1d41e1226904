/* SPDX-License-Identifier: Apache-2.0 */
/* One parse, from bundle to structs: open all files, read them by the table, check, build. Only
 * when no step found an error does anything leave this file. */
#include "parser.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define CONF_ARENA_BYTES_MAX	(64u << 20)
#define CONF_PARSES_MAX		8 /* of a picture again, each without what the last could not take */
#define CONF_SNAPSHOT_BYTES_MAX (512u << 20)

static bool conf_open_node(struct conf_parser *p)
{
	const struct bundle_item *item = bundle_next(p->bundle, "conf", NULL);
	if (item)
		return conf_file_open(&p->node, item, p->report);
	conf_report_line(p->report, CONF_ERROR, STR_NONE, 0, "there is no node configuration");
	return false;
}

/* False: the whole picture is of no use. */
static bool conf_open_object(
	struct conf_parser *p, struct conf_file *file, const struct bundle_item *item)
{
	struct conf_trial trial = conf_trial_begin(p);
	bool is_open = conf_file_open(file, item, p->report);
	file->is_object = true;
	return is_open || (conf_is_closable(p, file) && !conf_trial_end(p, &trial, file));
}

/* With a store the objects are the picture's, and there may be none yet. */
static bool conf_open_mesh(struct conf_parser *p)
{
	const struct bundle *from = p->with_store ? p->picture : p->bundle;
	const struct bundle_item *item = NULL;
	uint32_t count = 0;
	bool is_whole = true;
	while (from && (item = bundle_next(from, "mesh", item)))
		count++;
	p->mesh = calloc(count ? count : 1, sizeof(*p->mesh));
	if (!p->mesh) {
		p->is_exhausted = true;
		return false;
	}
	while (from && (item = bundle_next(from, "mesh", item))) {
		struct conf_file *file = &p->mesh[p->mesh_count++];
		is_whole = (p->with_store ? conf_open_object(p, file, item)
					  : conf_file_open(file, item, p->report)) &&
			   is_whole;
		conf_left_recall(p, p->mesh_count - 1);
	}
	return is_whole;
}

static bool conf_names_store(const struct conf_parser *p)
{
	const config_setting_t *state = conf_member(conf_file_root(&p->node), "state");
	return state && conf_member(state, "redis");
}

/* One per CPU that the process may use; no file is read. */
static uint32_t conf_cpu_count(void)
{
	cpu_set_t set;
	int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
	return count > 256 ? 256 : (uint32_t)count;
}

static void conf_read_object(struct conf_parser *p, struct conf_file *file)
{
	struct conf_trial trial = conf_trial_begin(p);
	if (file->is_open && file->fault.len == 0) {
		conf_read_root(p, &conf_mesh_root, conf_file_root(file), &file->mesh);
		if (conf_is_policy(p, file) && !conf_object_is(file, conf_object_key(file)))
			conf_error(p, conf_file_root(file), NULL, CONF_OBJECT_OTHER);
	}
	if (file->fault.len > 0 || (conf_is_closable(p, file) && !conf_trial_end(p, &trial, file)))
		conf_close(p, file);
}

static void conf_read_files(struct conf_parser *p)
{
	p->arena = &p->conf->arena;
	if (p->node.is_open)
		conf_read_root(p, &conf_node_root, conf_file_root(&p->node), p->conf);
	if (p->conf->worker_count == 0)
		p->conf->worker_count = conf_cpu_count();
	p->arena = &p->snapshot->arena;
	for (uint32_t i = 0; i < p->mesh_count; i++) {
		struct conf_file *file = &p->mesh[i];
		if (file->is_object)
			conf_read_object(p, file);
		else if (file->is_open)
			conf_read_root(p, &conf_mesh_root, conf_file_root(file), &file->mesh);
	}
}

/* True when all of them could be read. */
static bool conf_parse_files(struct conf_parser *p)
{
	bool is_node_whole = conf_open_node(p);
	p->with_store = is_node_whole && conf_names_store(p);
	bool is_mesh_whole = conf_open_mesh(p);
	if (!p->is_exhausted)
		conf_read_files(p);
	return is_node_whole && is_mesh_whole && !p->is_exhausted;
}

/* Not with some of the files missing: that would blame the wrong line. */
static void conf_check_across(struct conf_parser *p)
{
	conf_check_node(p);
	conf_check_store(p);
	if (!p->is_exhausted)
		conf_build(p);
}

static void conf_close_files(struct conf_parser *p)
{
	conf_file_close(&p->node);
	for (uint32_t i = 0; i < p->mesh_count; i++)
		conf_file_close(&p->mesh[i]);
	free(p->mesh);
}

/* Fills p->conf and p->snapshot. */
static void conf_parse_bundle(struct conf_parser *p, uint64_t generation, bool across)
{
	struct conf_trial trial = conf_trial_begin(p);
	p->conf = calloc(1, sizeof(*p->conf));
	p->snapshot = calloc(1, sizeof(*p->snapshot));
	if (p->conf && p->snapshot) {
		arena_init(&p->conf->arena, CONF_ARENA_BYTES_MAX);
		arena_init(&p->snapshot->arena, CONF_SNAPSHOT_BYTES_MAX);
		p->snapshot->generation = generation;
		if (conf_parse_files(p) && across)
			conf_check_across(p);
		if (across)
			conf_left_collect(p, &trial);
		conf_close_files(p);
	} else {
		p->is_exhausted = true;
	}
	if (p->is_exhausted)
		conf_report_line(p->report, CONF_ERROR, STR_NONE, 0, "out of memory");
}

static void conf_parser_drop(struct conf_parser *p)
{
	conf_free(p->conf);
	conf_snapshot_free(p->snapshot);
}

void conf_parse_partial(const struct bundle *b, struct conf_report *report)
{
	struct conf_parser p = {.bundle = b, .report = report};
	conf_parse_bundle(&p, 0, false);
	conf_parser_drop(&p);
}

int conf_parse(const struct bundle *b, const struct bundle *picture, uint64_t generation,
	struct conf **ret_conf, struct snapshot **ret_snapshot, struct conf_report *report)
{
	struct conf_parser p = {.bundle = b, .picture = picture, .report = report};
	uint32_t errors_before = report->error_count;
	conf_parse_bundle(&p, generation, true);
	for (int i = 0; p.is_again && i < CONF_PARSES_MAX; i++) {
		conf_parser_drop(&p);
		p = (struct conf_parser){
			.bundle = b, .picture = picture, .report = report, .left = p.left};
		conf_parse_bundle(&p, generation, true);
	}
	if (p.is_again)
		conf_report_line(report, CONF_ERROR, STR_NONE, 0,
			"so much of the picture cannot be read that none of it is taken");
	conf_left_free(&p);
	if (report->error_count > errors_before) {
		conf_parser_drop(&p);
		return p.is_exhausted ? -ENOMEM : -EINVAL;
	}
	*ret_conf = p.conf;
	*ret_snapshot = p.snapshot;
	return 0;
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	arena_done(&c->arena);
	free(c);
}

void conf_snapshot_free(struct snapshot *s)
{
	if (!s)
		return;
	snapshot_done(s);
	free(s);
}

/* One value; arrays are compared element by element, because their structs have padding. */
static bool conf_value_equal(enum conf_type type, size_t size, const void *a, const void *b)
{
	switch (type) {
	case CONF_TEXT:
		return str_eq(*(const struct str *)a, *(const struct str *)b);
	case CONF_ADDRESS:
	case CONF_ADDRESS_PORT:
		return address_equal(a, b);
	case CONF_RANGE: {
		const struct address_range *ra = a, *rb = b;
		return ra->prefix_len == rb->prefix_len && address_equal(&ra->base, &rb->base);
	}
	case CONF_BOOL:
	case CONF_NUMBER:
	case CONF_BYTES:
	case CONF_DURATION:
	case CONF_PERCENT:
	case CONF_ENUM:
		return memcmp(a, b, size) == 0;
	case CONF_GROUP:
	case CONF_ROWS:
		break;
	}
	ASSERT(!"groups and rows have no value of their own");
}

static bool conf_key_equal(const struct conf_key *key, const char *before, const char *after)
{
	if (!key->many)
		return conf_value_equal(
			key->type, key->size, before + key->offset, after + key->offset);
	uint32_t count = *(const uint32_t *)(before + key->count_offset);
	if (count != *(const uint32_t *)(after + key->count_offset))
		return false;
	const char *a = *(const char *const *)(before + key->offset);
	const char *b = *(const char *const *)(after + key->offset);
	size_t size = key->size;
	for (uint32_t i = 0; i < count; i++) {
		if (!conf_value_equal(key->type, size, a + i * size, b + i * size))
			return false;
	}
	return true;
}

static void conf_restart_group(const struct conf_key *group, const struct conf *before,
	const struct conf *after, char *text, size_t size)
{
	for (size_t i = 0; i < group->group->key_count; i++) {
		const struct conf_key *key = &group->group->keys[i];
		if (!key->restart || conf_key_equal(key, (const char *)before, (const char *)after))
			continue;
		size_t len = strlen(text);
		snprintf(
			text + len, size - len, "%s%s.%s", len ? ", " : "", group->name, key->name);
	}
}

void conf_restart_needed(
	const struct conf *before, const struct conf *after, char *text, size_t size)
{
	text[0] = '\0';
	for (size_t i = 0; i < conf_node_root.key_count; i++) {
		if (conf_node_root.keys[i].type == CONF_GROUP)
			conf_restart_group(&conf_node_root.keys[i], before, after, text, size);
	}
}
