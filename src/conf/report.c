/* SPDX-License-Identifier: Apache-2.0 */
#include "parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* A file of nonsense should not become megabytes of complaints. */
#define CONF_REPORT_LINE_COUNT_MAX 200
#define CONF_LINE_MAX		   1024
#define CONF_PATH_MAX		   256

void conf_report_init(struct conf_report *r)
{
	*r = (struct conf_report){0};
}

void conf_report_done(struct conf_report *r)
{
	free(r->text);
	conf_report_init(r);
}

static void conf_report_append(struct conf_report *r, const char *line)
{
	size_t len = strlen(line);
	char *text = realloc(r->text, r->text_len + len + 1);
	if (!text) /* the counts still tell that something is wrong */
		return;
	memcpy(text + r->text_len, line, len + 1);
	r->text = text;
	r->text_len += len;
}

static void conf_report_format(char text[2 * CONF_LINE_MAX], enum conf_severity severity,
	struct str file, int line, const char *path, const char *format, va_list args)
{
	char what[CONF_LINE_MAX];
	vsnprintf(what, sizeof(what), format, args);
	char place[16] = "";
	if (line > 0)
		snprintf(place, sizeof(place), ":%d", line);
	snprintf(text, 2 * CONF_LINE_MAX, "%.*s%s%s%s%s%s%s\n",
		file.len < 512 ? (int)file.len : 512, file.at ? file.at : "", place,
		file.len > 0 ? ": " : "", severity == CONF_WARNING ? "warning: " : "", path,
		path[0] ? ": " : "", what);
	/* Names from files are quoted in messages; one message stays one line. */
	for (char *c = text; *c; c++) {
		if ((unsigned char)*c < ' ' && c[1])
			*c = '?';
	}
}

static bool conf_report_has(const struct conf_report *r, const char *line)
{
	const char *at = r->text;
	while (at && (at = strstr(at, line))) {
		if (at == r->text || at[-1] == '\n')
			return true;
		at++;
	}
	return false;
}

static void conf_report_write(struct conf_report *r, enum conf_severity severity, struct str file,
	int line, const char *path, const char *format, va_list args)
{
	char text[2 * CONF_LINE_MAX];
	conf_report_format(text, severity, file, line, path, format, args);
	if (r->known && conf_report_has(r->known, text)) {
		r->known_count++;
		return;
	}
	uint32_t *count = severity == CONF_ERROR ? &r->error_count : &r->warning_count;
	(*count)++;
	if (*count > CONF_REPORT_LINE_COUNT_MAX) {
		if (*count == CONF_REPORT_LINE_COUNT_MAX + 1)
			conf_report_append(r, "further lines of this kind are not shown\n");
		return;
	}
	conf_report_append(r, text);
}

void conf_report_line(struct conf_report *r, enum conf_severity severity, struct str file, int line,
	const char *format, ...)
{
	va_list args;
	va_start(args, format);
	conf_report_write(r, severity, file, line, "", format, args);
	va_end(args);
}

/* "services[2].endpoints[0]"; "" for the root. */
static void conf_setting_path(const config_setting_t *setting, char *text, size_t size)
{
	text[0] = '\0';
	if (config_setting_is_root(setting))
		return;
	conf_setting_path(config_setting_parent(setting), text, size);
	size_t len = strlen(text);
	const char *name = config_setting_name(setting);
	if (name)
		snprintf(text + len, size - len, "%s%.80s", len ? "." : "", name);
	else
		snprintf(text + len, size - len, "[%d]", config_setting_index(setting));
}

static struct conf_file *conf_setting_file(
	const struct conf_parser *p, const config_setting_t *setting)
{
	return setting->config == &p->node.tree
		       ? (struct conf_file *)&p->node
		       : CONTAINER_OF(setting->config, struct conf_file, tree);
}

const char *conf_place_text(
	const struct conf_parser *p, const config_setting_t *setting, char *text, size_t size)
{
	const struct conf_file *file = conf_setting_file(p, setting);
	if (file->is_object)
		snprintf(text, size, STR_FMT, STR_ARG(file->path));
	else
		snprintf(text, size, STR_FMT ":%u", STR_ARG(file->path),
			config_setting_source_line(setting));
	return text;
}

/* The key as the file spells it: "addresses" where "address" is asked for. */
static const char *conf_spelling(const config_setting_t *group, const char *key)
{
	size_t len = strlen(key);
	int count = config_setting_is_group(group) ? config_setting_length(group) : 0;
	for (int i = 0; i < count; i++) {
		const char *name = config_setting_name(config_setting_get_elem(group, (unsigned)i));
		bool is_plural = strncmp(name, key, len) == 0 &&
				 (strcmp(name + len, "s") == 0 || strcmp(name + len, "es") == 0);
		if (is_plural && !conf_member(group, key))
			return name;
	}
	return key;
}

/* Without the list and the row, of which an object has one: "port" for "services[0].port". */
static const char *conf_object_path(const char *path)
{
	const char *end = strchr(path, ']');
	return !end ? path : end[1] == '.' ? end + 2 : end + 1;
}

static void conf_say(struct conf_parser *p, enum conf_severity severity,
	const config_setting_t *setting, const char *key, const char *format, va_list args)
{
	char path[CONF_PATH_MAX];
	const config_setting_t *place = setting;
	conf_setting_path(setting, path, sizeof(path));
	if (key) {
		size_t len = strlen(path);
		key = conf_spelling(setting, key);
		const config_setting_t *member = conf_member(setting, key);
		place = member ? member : setting;
		snprintf(path + len, sizeof(path) - len, "%s%.80s", len ? "." : "", key);
	}
	struct conf_file *file = conf_setting_file(p, setting);
	file->error_count += severity == CONF_ERROR;
	if (file->is_object) {
		conf_report_write(
			p->report, severity, file->path, 0, conf_object_path(path), format, args);
		return;
	}
	/* The root has no line; what is missing there is missing at the top. */
	int line = (int)config_setting_source_line(place);
	conf_report_write(p->report, severity, file->path, line < 1 ? 1 : line, path, format, args);
}

/* Defaults have no place of their own: they are blamed on the file's first line. */
void conf_node_error(
	struct conf_parser *p, const char *group, const char *key, const char *format, ...)
{
	const config_setting_t *root = conf_file_root(&p->node);
	const config_setting_t *setting = conf_member(root, group);
	char name[CONF_PATH_MAX];
	snprintf(name, sizeof(name), "%s.%s", group, key);
	va_list args;
	va_start(args, format);
	if (setting)
		conf_say(p, CONF_ERROR, setting, key, format, args);
	else
		conf_say(p, CONF_ERROR, root, name, format, args);
	va_end(args);
}

void conf_error(struct conf_parser *p, const config_setting_t *setting, const char *key,
	const char *format, ...)
{
	va_list args;
	va_start(args, format);
	conf_say(p, CONF_ERROR, setting, key, format, args);
	va_end(args);
}

void conf_warning(struct conf_parser *p, const config_setting_t *setting, const char *key,
	const char *format, ...)
{
	va_list args;
	va_start(args, format);
	conf_say(p, CONF_WARNING, setting, key, format, args);
	va_end(args);
}

struct conf_guess conf_guess(struct str wanted)
{
	/* A third of the letters may be wrong, two at least. A beginning counts as one letter:
	 * "prot" means "protocol" rather than "port". */
	unsigned limit = (unsigned)wanted.len / 3;
	return (struct conf_guess){.wanted = wanted, .distance = (limit > 2 ? limit : 2) + 1};
}

void conf_guess_offer(struct conf_guess *g, struct str candidate)
{
	unsigned distance = str_distance(g->wanted, candidate);
	if (g->wanted.len >= 3 && str_starts(candidate, g->wanted) && distance > 1)
		distance = 1;
	if (distance < g->distance && distance < candidate.len) {
		g->distance = distance;
		g->best = candidate;
	}
}

const char *conf_guess_text(const struct conf_guess *g, char *text, size_t size)
{
	text[0] = '\0';
	if (g->best.len > 0)
		snprintf(text, size, "; did you mean \"%.*s\"?", STR_ARG(g->best));
	return text;
}

void conf_words_add(struct conf_words *words, struct str word)
{
	for (uint32_t i = 0; i < words->count; i++) {
		if (str_eq(words->words[i], word))
			return;
	}
	if (word.len == 0 || words->count == ARRAY_LEN(words->words) ||
		words->len >= sizeof(words->text) - 1)
		return;
	words->words[words->count] = word;
	words->len += (size_t)snprintf(words->text + words->len, sizeof(words->text) - words->len,
		"%s\"%.*s\"", words->count++ ? ", " : "", STR_ARG(word));
}
