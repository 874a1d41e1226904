/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload can change and what needs a restart, by the table. */
#include "conf_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MESH "mesh: { trust_domain = \"prod.example\"; };\n"

struct restart_row {
	const char *after, *names;
};

static const struct restart_row restart_rows[] = {
	{FIXTURE_NODE, ""},
	{FIXTURE_NODE "timeouts: { connect = \"1s\"; };\n"
		      "limits: { pool_idle_max = 1; };\n"
		      "redirect: { exclude = [ \"10.0.0.0/8\" ]; drift = \"report\"; };\n",
		""},
	{FIXTURE_NODE "listeners: { mesh_port = 15009; outbound_port = 16000; };\n",
		"listeners.outbound_port, listeners.mesh_port"},
	{FIXTURE_NODE "limits: { buffer_bytes = \"64K\"; buffers_bytes_max = \"1G\"; };\n",
		"limits.buffer_bytes, limits.buffers_bytes_max"},
	{"node: { name = \"b\"; address = [ \"10.77.0.1\", \"10.77.0.2\" ];\n"
	 "user = \"web\"; admin_tcp = \"127.0.0.1:15000\"; };\n" MESH,
		"node.address, node.user, node.admin_tcp"},
	{"node: { name = \"a\"; address = \"10.77.0.2\"; };\n"
	 "mesh: { trust_domain = \"test.example\"; };\n",
		"node.address, mesh.trust_domain"},
	/* the same in other words */
	{"node: { name = \"a\"; address = [ \"10.77.0.1\" ]; user = \"ringmain\"; };\n" MESH
	 "limits: { buffer_bytes = 20480; };\nredirect: { mark_mask = 16711680; };\n",
		""},
};

static void restart_run(const struct restart_row *row)
{
	struct fixture before, after;
	char text[512];
	fixture_init(&before);
	fixture_init(&after);
	fixture_parse_good(&before, FIXTURE_NODE, NULL);
	fixture_parse_good(&after, row->after, NULL);
	conf_restart_needed(before.conf, after.conf, text, sizeof(text));
	assert_string_equal(text, row->names);
	fixture_done(&before);
	fixture_done(&after);
}

static void test_restart_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(restart_rows); i++)
		restart_run(&restart_rows[i]);
}

/* A small text is filled as far as it goes. */
static void test_restart_short_text(void **state)
{
	struct fixture before, after;
	char text[20];
	fixture_init(&before);
	fixture_init(&after);
	fixture_parse_good(&before, FIXTURE_NODE, NULL);
	fixture_parse_good(&after,
		FIXTURE_NODE "listeners: { mesh_port = 15009; outbound_port = 16000; };\n", NULL);
	conf_restart_needed(before.conf, after.conf, text, sizeof(text));
	assert_string_equal(text, "listeners.outbound_");
	fixture_done(&before);
	fixture_done(&after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restart_rows),
		cmocka_unit_test(test_restart_short_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
