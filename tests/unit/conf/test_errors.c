/* SPDX-License-Identifier: Apache-2.0 */
/* Bad files, and word for word what is said about them. */
#include "conf_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Each row: the node file's further groups (from line 3 on; behind "!" a whole node file), the mesh
 * file or NULL, the whole report. */
struct error_row {
	const char *node, *mesh, *report;
};

static const struct error_row error_rows[] = {
#include "error_rows.inc"
#include "issuer_rows.inc"
#include "policy_rows.inc"
};

static void error_run(const struct error_row *row)
{
	char node[8192];
	struct fixture f;
	fixture_init(&f);
	if (row->node[0] == '!')
		snprintf(node, sizeof(node), "%s", row->node + 1);
	else
		snprintf(node, sizeof(node), FIXTURE_NODE "%s", row->node);
	fixture_parse(&f, node, row->mesh);
	if (strcmp(f.report.text ? f.report.text : "", row->report) != 0)
		fail_msg(
			"of\n%s%s\ncame\n%s", row->node, row->mesh ? row->mesh : "", f.report.text);
	assert_int_equal(f.result, f.report.error_count > 0 ? -EINVAL : 0);
	assert_true(!f.conf == (f.result != 0) && !f.snapshot == (f.result != 0));
	fixture_done(&f);
}

static void test_error_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(error_rows); i++)
		error_run(&error_rows[i]);
}

/* --- lists that are too long --- */

#define LIST_ERROR_MAX 32
#define SEVERAL	       "write several rules, each with some of them"
#define DENIED(key) \
	"allow them here, and deny them by rules of their own, each with some of them as `" key "`"
#define ALLOWED(key)                                                                              \
	"instead of this rule, allow them and nobody else, by rules that each have some of them " \
	"as `" key "`"

/* `item`: with the number of each. `cure`: NULL: there may be any number. */
static const struct list_row {
	const char *action, *key, *item, *cure;
} list_rows[] = {
	{"deny", "ports", "%u", SEVERAL},
	{"deny", "methods", "\"GET\"", SEVERAL},
	{"deny", "hosts", "\"h%u.example.com\"", SEVERAL},
	{"deny", "headers", "{ name = \"x-%u\"; exact = \"1\"; }", "leave some out"},
	{"allow", "not_from", "\"team/app-%u\"", DENIED("from")},
	{"allow", "not_ports", "%u", DENIED("ports")},
	{"allow", "not_methods", "\"GET\"", DENIED("methods")},
	{"deny", "not_paths", "\"/p/%u\"", ALLOWED("paths")},
	{"deny", "not_hosts", "\"h%u.example.com\"", ALLOWED("hosts")},
	{"audit", "not_paths", "\"/p/%u\"", "leave some out"},
	{"deny", "from", "\"team/app-%u\"", NULL},
	{"deny", "paths", "\"/p/%u\"", NULL},
};

static void list_run(const struct list_row *row, uint32_t count)
{
	char report[512] = "", *mesh = NULL;
	size_t len = 0;
	struct fixture f;
	FILE *out = open_memstream(&mesh, &len);
	fprintf(out,
		"services: ( { name = \"orders\"; protocol = \"http\"; } );\n"
		"policies: (\n{ service = \"orders\"; action = \"%s\"; %s = (",
		row->action, row->key);
	for (unsigned i = 1; i <= count; i++) {
		fprintf(out, "%s", i > 1 ? ", " : "");
		fprintf(out, row->item, i);
	}
	fprintf(out, "); } );\n");
	fclose(out);
	if (count > LIST_ERROR_MAX && row->cure)
		snprintf(report, sizeof(report), "mesh.conf:3: policies[0].%s: more than 32; %s\n",
			row->key, row->cure);
	fixture_init(&f);
	fixture_parse(&f,
		FIXTURE_NODE
		"workloads: ( { service = \"orders\"; user = \"orders\"; port = 8080; } "
		");\n",
		mesh);
	assert_string_equal(f.report.text ? f.report.text : "", report);
	fixture_done(&f);
	free(mesh);
}

static void test_lists_have_an_end(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(list_rows); i++) {
		list_run(&list_rows[i], LIST_ERROR_MAX);
		list_run(&list_rows[i], LIST_ERROR_MAX + 1);
	}
}

/* What was meant is said of some unknown services; of very many, the answer would take minutes. */
static void test_guesses_are_few(void **state)
{
	enum { ROWS = 60 };
	static char mesh[ROWS * 64 + 128];
	size_t len = (size_t)snprintf(
		mesh, sizeof(mesh), "services: ( { name = \"orders\"; } );\npolicies: (");
	for (unsigned i = 0; i < ROWS; i++)
		len += (size_t)snprintf(mesh + len, sizeof(mesh) - len,
			"%s\n{ service = \"order%c\"; action = \"allow\"; }", i ? "," : "",
			'a' + i % 10);
	snprintf(mesh + len, sizeof(mesh) - len, " );\n");
	struct fixture f;
	fixture_init(&f);
	fixture_parse(&f, FIXTURE_NODE, mesh);
	assert_int_equal(f.report.error_count, ROWS);
	assert_non_null(strstr(f.report.text,
		"mesh.conf:3: policies[0].service: there is no service \"ordera\" in the mesh "
		"files; did you mean \"orders\"?\n"));
	assert_non_null(strstr(f.report.text,
		"mesh.conf:62: policies[59].service: there is no service \"orderj\" in the mesh "
		"files\n"));
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error_rows),
		cmocka_unit_test(test_lists_have_an_end),
		cmocka_unit_test(test_guesses_are_few),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
