/* SPDX-License-Identifier: Apache-2.0 */
#include "conf_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

void fixture_add(struct fixture *f, const char *kind, const char *name, const char *text)
{
	struct err err;
	assert_int_equal(bundle_add(&f->bundle, str_of(kind), str_of(name), str_of(text), &err), 0);
}

void fixture_tell(struct fixture *f, const char *kind, const char *name, const char *text)
{
	struct err err;
	f->with_picture = true;
	assert_int_equal(
		bundle_add(&f->picture, str_of(kind), str_of(name), str_of(text), &err), 0);
}

void fixture_init(struct fixture *f)
{
	*f = (struct fixture){0};
	bundle_init(&f->bundle);
	bundle_init(&f->picture);
	conf_report_init(&f->report);
	fixture_add(f, "user", "ringmain", "990");
	fixture_add(f, "user", "orders", "1001");
	fixture_add(f, "user", "web", "1002");
	fixture_add(f, "user", "root", "0");
	fixture_add(f, "address", "10.77.0.9", "");
	fixture_add(f, "address", "127.0.0.1", "");
}

void fixture_done(struct fixture *f)
{
	conf_free(f->conf);
	conf_snapshot_free(f->snapshot);
	conf_report_done(&f->report);
	bundle_done(&f->bundle);
	bundle_done(&f->picture);
}

void fixture_parse(struct fixture *f, const char *node, const char *mesh)
{
	fixture_add(f, "conf", "node.conf", node);
	if (mesh)
		fixture_add(f, "mesh", "mesh.conf", mesh);
	f->result = conf_parse(&f->bundle, f->with_picture ? &f->picture : NULL, 7, &f->conf,
		&f->snapshot, &f->report);
}

void fixture_parse_good(struct fixture *f, const char *node, const char *mesh)
{
	fixture_parse(f, node, mesh);
	if (f->result != 0)
		fail_msg("refused:\n%s", f->report.text);
}
