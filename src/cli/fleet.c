/* SPDX-License-Identifier: Apache-2.0 */
/* Two revisions are told of each node: the one that is in force there, from its lease, and how far
 * that is behind the head. A node whose lease has ended is silent: the others let its endpoints go.
 */
#include "fleet.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/table.h"
#include "show.h"
#include <stdarg.h>

#define FLEET_JSON_MAX (64u << 20)

enum fleet_state { FLEET_WELL, FLEET_LAGS, FLEET_SILENT, FLEET_NONSENSE };

static const char *fleet_state_name(enum fleet_state s)
{
	static const char *const names[] = {[FLEET_WELL] = "well",
		[FLEET_LAGS] = "lags",
		[FLEET_SILENT] = "silent",
		[FLEET_NONSENSE] = "unreadable"};
	return names[s];
}

static uint64_t fleet_lag(const struct published *s, const struct published_node *node)
{
	uint64_t head = s->head.revision;
	return node->revision < head ? head - node->revision : 0;
}

static enum fleet_state fleet_judge(const struct published *s, const struct published_node *node)
{
	if (!node->is_readable)
		return FLEET_NONSENSE;
	if (node->lease_ms < 0)
		return FLEET_SILENT;
	return fleet_lag(s, node) > 0 ? FLEET_LAGS : FLEET_WELL;
}

static uint32_t fleet_count(const struct published_node *node, enum endpoint_health health)
{
	uint32_t count = 0;
	for (uint32_t i = 0; node->is_readable && i < node->record.endpoint_count; i++)
		count += node->record.endpoints[i].health == health;
	return count;
}

static uint32_t fleet_problems(const struct published *s)
{
	uint32_t count = s->trust == PUBLISHED_BAD;
	for (uint32_t i = 0; i < s->node_count; i++)
		count += fleet_judge(s, &s->nodes[i]) != FLEET_WELL;
	return count;
}

/* --- for people --- */

static void fleet_row(struct table *t, const struct published *s, const struct published_node *node)
{
	enum fleet_state state = fleet_judge(s, node);
	char lease[32];
	table_cell_str(t, node->name);
	table_cell_str(t, node->is_readable ? node->record.zone : STR_NONE);
	table_cell_str(t, node->is_readable ? node->record.version : STR_NONE);
	table_cell_number(t, fleet_count(node, ENDPOINT_UP));
	table_cell_number(t, fleet_count(node, ENDPOINT_DOWN));
	table_cell_number(t, fleet_count(node, ENDPOINT_DRAINED));
	if (state == FLEET_NONSENSE)
		table_cell(t, "-");
	else if (fleet_lag(s, node) > 0)
		table_cell(t, "%llu, %llu behind", (unsigned long long)node->revision,
			(unsigned long long)fleet_lag(s, node));
	else
		table_cell(t, "%llu", (unsigned long long)node->revision);
	table_cell(t, "%s",
		node->lease_ms < 0 ? "ended" : show_duration(node->lease_ms / 1000, lease));
	table_cell(t, "%s%s", state == FLEET_WELL ? "" : "× ", fleet_state_name(state));
}

static void fleet_table(FILE *out, const struct published *s)
{
	static const char *const headings[] = {
		"NODE", "ZONE", "VERSION", "UP", "DOWN", "DRAINED", "REVISION", "LEASE", "STATE"};
	struct table t;
	table_init(&t, ARRAY_LEN(headings));
	for (size_t i = 0; i < ARRAY_LEN(headings); i++)
		table_cell(&t, "%s", headings[i]);
	for (uint32_t i = 0; i < s->node_count; i++)
		fleet_row(&t, s, &s->nodes[i]);
	table_print(&t, out, 0);
	table_done(&t);
}

static void fleet_revision(FILE *out, const struct published *s)
{
	char when[25];
	clock_format(s->head.time_s * CLOCK_S, when);
	if (s->head.revision == 0)
		fprintf(out, "revision     %s\n",
			s->trust == PUBLISHED_NOTHING ? "nothing is published" : "-");
	else
		fprintf(out, "revision     %llu, by " STR_FMT ", %.10s %.8sZ%s\n",
			(unsigned long long)s->head.revision, STR_ARG(s->head.who), when, when + 11,
			s->trust == PUBLISHED_UNKNOWN
				? " (not verified: no operator's key is known here)"
				: "");
	fprintf(out, "objects      %u\n", s->set.count);
}

static void PRINTF_LIKE(3, 4)
	fleet_problem(FILE *out, const struct published_node *node, const char *format, ...)
{
	va_list args;
	fprintf(out, "× " STR_FMT ": ", STR_ARG(node->name));
	va_start(args, format);
	vfprintf(out, format, args);
	va_end(args);
	fputc('\n', out);
}

static void fleet_explain(FILE *out, const struct published *s)
{
	if (s->trust == PUBLISHED_BAD) {
		fputs("× the objects in the store are refused by the nodes: ", out);
		for (const char *c = s->why.text; *c; c++)
			fputc((unsigned char)*c < ' ' || *c == 0x7f ? '?' : *c, out);
		fputc('\n', out);
	}
	for (uint32_t i = 0; i < s->node_count; i++) {
		const struct published_node *node = &s->nodes[i];
		switch (fleet_judge(s, node)) {
		case FLEET_WELL:
			break;
		case FLEET_LAGS:
			fleet_problem(out, node,
				"has not taken revision %llu; why, says `ringmain status` there",
				(unsigned long long)s->head.revision);
			break;
		case FLEET_SILENT:
			fleet_problem(out, node,
				"its lease has ended: it is off, or does not reach the store");
			break;
		case FLEET_NONSENSE:
			fleet_problem(out, node,
				"its record cannot be read; somebody else may have its password");
			break;
		}
	}
}

uint32_t fleet_print(FILE *out, const struct published *s, struct str mesh)
{
	uint32_t problems = fleet_problems(s);
	fprintf(out, "mesh         " STR_FMT "\n", STR_ARG(mesh));
	fleet_revision(out, s);
	fprintf(out, "nodes        %u\n", s->node_count);
	if (s->node_count > 0) {
		fputc('\n', out);
		fleet_table(out, s);
	}
	if (problems > 0) {
		fputc('\n', out);
		fleet_explain(out, s);
	}
	return problems;
}

/* --- for programs --- */

static void fleet_json_node(
	struct json *j, const struct published *s, const struct published_node *node)
{
	static const struct record unknown = {0};
	const struct record *r = node->is_readable ? &node->record : &unknown;
	json_open(j, '{');
	json_key(j, "name");
	json_str(j, node->name);
	json_key(j, "state");
	json_str(j, str_of(fleet_state_name(fleet_judge(s, node))));
	json_key(j, "zone");
	json_str(j, r->zone);
	json_key(j, "version");
	json_str(j, r->version);
	json_key(j, "up");
	json_u64(j, fleet_count(node, ENDPOINT_UP));
	json_key(j, "down");
	json_u64(j, fleet_count(node, ENDPOINT_DOWN));
	json_key(j, "drained");
	json_u64(j, fleet_count(node, ENDPOINT_DRAINED));
	json_key(j, "revision");
	json_u64(j, node->revision);
	json_key(j, "behind");
	json_u64(j, fleet_lag(s, node));
	json_key(j, "lease_ms");
	json_i64(j, node->lease_ms);
	json_close(j, '}');
}

uint32_t fleet_print_json(FILE *out, const struct published *s, struct str mesh)
{
	uint32_t problems = fleet_problems(s);
	struct json j;
	json_init(&j, FLEET_JSON_MAX);
	json_open(&j, '{');
	json_key(&j, "mesh");
	json_str(&j, mesh);
	json_key(&j, "revision");
	json_u64(&j, s->head.revision);
	json_key(&j, "who");
	json_str(&j, s->head.who);
	json_key(&j, "time");
	json_u64(&j, s->head.time_s);
	json_key(&j, "verified");
	json_bool(&j, s->trust == PUBLISHED_GOOD);
	json_key(&j, "why");
	json_str(&j, s->trust == PUBLISHED_BAD ? str_of(s->why.text) : STR(""));
	json_key(&j, "objects");
	json_u64(&j, s->set.count);
	json_key(&j, "problems");
	json_u64(&j, problems);
	json_key(&j, "nodes");
	json_open(&j, '[');
	for (uint32_t i = 0; i < s->node_count; i++)
		fleet_json_node(&j, s, &s->nodes[i]);
	json_close(&j, ']');
	json_close(&j, '}');
	json_newline(&j);
	fwrite(j.text, 1, j.len, out);
	json_done(&j);
	return problems;
}

/* --- the command --- */

static int fleet_run(struct publisher *p, bool json)
{
	struct published s;
	struct err err;
	uint32_t problems = 0;
	int r = published_load(p, false, &s, &err);
	if (r < 0) {
		publisher_say(p, "%s", err.text);
		return 1;
	}
	r = published_load_nodes(p, &s, true, &err);
	if (r < 0)
		publisher_say(p, "%s", err.text);
	else if (json)
		problems = fleet_print_json(stdout, &s, publisher_mesh(p));
	else
		problems = fleet_print(stdout, &s, publisher_mesh(p));
	published_done(&s);
	return r < 0 || problems > 0 ? 1 : 0;
}

int fleet_main(const char *command, const char *conf_path, bool json)
{
	struct publisher p;
	int status = 1;
	if (publisher_open(&p, command, conf_path, PUBLISHER_READS))
		status = fleet_run(&p, json);
	publisher_close(&p);
	return status;
}
