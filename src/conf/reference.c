/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys as Markdown, for conf/README.md. */
#include "parser.h"

#include <stdio.h>
#include <unistd.h>

/* Words of the table, with what Markdown would take for itself escaped. */
static void conf_reference_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("<*|", *text))
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void conf_reference_range(FILE *out, const struct conf_key *key)
{
	char min[32], max[32];
	if (key->type == CONF_NUMBER && key->fallback &&
		str_starts(str_of(key->fallback), STR("0x"))) {
		fprintf(out, "32 bits");
	} else if (key->max > 0) {
		fprintf(out, "%s to %s", conf_value_number_text(key, key->min, min, sizeof(min)),
			conf_value_number_text(key, key->max, max, sizeof(max)));
	} else if (key->names) {
		for (size_t i = 0; key->names[i]; i++)
			fprintf(out, "%s`\"%s\"`", i ? ", " : "", key->names[i]);
	}
}

static const char *conf_reference_type(const struct conf_key *key)
{
	static const char *const names[] = {
		[CONF_TEXT] = "text",
		[CONF_BOOL] = "bool",
		[CONF_NUMBER] = "number",
		[CONF_BYTES] = "size",
		[CONF_DURATION] = "duration",
		[CONF_PERCENT] = "percentage",
		[CONF_ADDRESS] = "address",
		[CONF_ADDRESS_PORT] = "address:port",
		[CONF_RANGE] = "range",
		[CONF_ENUM] = "word",
		[CONF_GROUP] = "group",
		[CONF_ROWS] = "groups",
	};
	return names[key->type];
}

static void conf_reference_fallback(FILE *out, const struct conf_key *key)
{
	bool is_quoted = key->type != CONF_NUMBER && key->type != CONF_BOOL;
	if (key->required)
		fprintf(out, "**required**");
	else if (key->fallback)
		fprintf(out, is_quoted ? "`\"%s\"`" : "`%s`", key->fallback);
}

static void conf_reference_group(FILE *out, const char *path, const struct conf_key *group)
{
	bool is_rows = group->type == CONF_ROWS;
	fprintf(out, "\n### %s%s\n\n", path, is_rows ? "[ ]" : "");
	conf_reference_text(out, group->help);
	fprintf(out, "\n\n");
	fprintf(out, "| key | type | default | values | restart | |\n|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < group->group->key_count; i++) {
		const struct conf_key *key = &group->group->keys[i];
		fprintf(out, "| `%s`", key->name);
		if (key->plural)
			fprintf(out, " or `%s`", key->plural);
		fprintf(out, " | %s%s | ", conf_reference_type(key), key->many ? " or a list" : "");
		conf_reference_fallback(out, key);
		fprintf(out, " | ");
		conf_reference_range(out, key);
		fprintf(out, " | %s | ", key->restart ? "yes" : "");
		conf_reference_text(out, key->help);
		fprintf(out, " |\n");
	}
	for (size_t i = 0; i < group->group->key_count; i++) {
		const struct conf_key *key = &group->group->keys[i];
		char inner[128];
		snprintf(inner, sizeof(inner), "%.60s%s.%.60s", path, is_rows ? "[ ]" : "",
			key->name);
		if (key->group)
			conf_reference_group(out, inner, key);
	}
}

static void conf_reference_root(FILE *out, const char *title, const struct conf_group *root)
{
	fprintf(out, "## %s\n", title);
	for (size_t i = 0; i < root->key_count; i++)
		conf_reference_group(out, root->keys[i].name, &root->keys[i]);
}

void conf_print_reference(int fd)
{
	int copy = dup(fd);
	FILE *out = copy < 0 ? NULL : fdopen(copy, "w");
	if (!out) {
		if (copy >= 0)
			close(copy);
		return;
	}
	conf_reference_root(out, "The node file", &conf_node_root);
	fprintf(out, "\n");
	conf_reference_root(out, "Mesh files", &conf_mesh_root);
	fprintf(out, "\n");
	conf_reference_root(out, "The operator's file", &conf_operator_root);
	fprintf(out, "\n");
	conf_reference_root(out, "The authority's file", &conf_ca_root);
	fprintf(out, "\n");
	conf_reference_root(out, "The registration", &conf_registration_root);
	fclose(out);
}
