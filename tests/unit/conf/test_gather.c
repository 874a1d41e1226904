/* SPDX-License-Identifier: Apache-2.0 */
/* Files on a real disk to a bundle, and the examples and the reference under conf/. */
#include "conf_fixture.h"

#include <errno.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct disk {
	char path[64];
	struct bundle bundle;
	struct conf_report report;
};

static void disk_init(struct disk *d)
{
	strcpy(d->path, "/tmp/ringmain-conf-XXXXXX");
	assert_non_null(mkdtemp(d->path));
	bundle_init(&d->bundle);
	conf_report_init(&d->report);
}

static void disk_write(const struct disk *d, const char *name, const char *format, ...)
	PRINTF_LIKE(3, 4);

static void disk_write(const struct disk *d, const char *name, const char *format, ...)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	va_list args;
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fclose(file);
}

static int disk_gather(struct disk *d)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/ringmain.conf", d->path);
	return conf_gather(path, &d->bundle, &d->report);
}

static void disk_done(struct disk *d)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -r %s", d->path);
	assert_int_equal(system(command), 0);
	bundle_done(&d->bundle);
	conf_report_done(&d->report);
}

static void disk_make_directory(const struct disk *d, const char *name)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

static bool disk_has_mesh(const struct disk *d, const struct bundle_item **at, const char *name)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	*at = bundle_next(&d->bundle, "mesh", *at);
	return *at && str_eq((*at)->name, str_of(path));
}

static void test_gather_all(void **state)
{
	struct disk d;
	disk_init(&d);
	disk_make_directory(&d, "mesh.d");
	disk_make_directory(&d, "mesh.d/sub.conf.d");
	disk_write(&d, "ringmain.conf",
		"node: { name = \"a\"; address = \"10.0.0.1\"; user = \"nobody\"; run_dir = "
		"\"%s\"; };\n"
		"mesh: { trust_domain = \"a\"; files = [ \"one.conf\", \"%s/mesh.d\" ]; };\n"
		"workloads: ( { user = \"root\"; }, { user = \"1234\"; }, { user = "
		"\"no-such-user\"; },\n"
		"{ user = \"root\"; } );\n",
		d.path, d.path);
	disk_write(&d, "one.conf", "#");
	disk_write(&d, "mesh.d/20.conf", "#");
	disk_write(&d, "mesh.d/10.conf", "#");
	disk_write(&d, "mesh.d/.hidden.conf", "#");
	disk_write(&d, "mesh.d/30.conf~", "#");
	disk_write(&d, "marks", "1234 18\n1235 19\nrubbish\n");
	assert_int_equal(disk_gather(&d), 0);
	assert_null(d.report.text);
	const struct bundle_item *item = NULL;
	assert_true(disk_has_mesh(&d, &item, "one.conf"));
	assert_true(disk_has_mesh(&d, &item, "mesh.d/10.conf"));
	assert_true(disk_has_mesh(&d, &item, "mesh.d/20.conf"));
	assert_null(bundle_next(&d.bundle, "mesh", item));
	const struct bundle_item *root = bundle_find(&d.bundle, "user", STR("root"));
	assert_true(root && str_eq(root->text, STR("0")));
	assert_null(bundle_find(&d.bundle, "user", STR("1234")));
	assert_null(bundle_find(&d.bundle, "user", STR("no-such-user")));
	item = bundle_find(&d.bundle, "mark", STR("1234"));
	assert_true(item && str_eq(item->text, STR("18")));
	assert_non_null(bundle_find(&d.bundle, "mark", STR("1235")));
	disk_done(&d);
}

static void test_gather_marks_alone(void **state)
{
	struct disk d;
	disk_init(&d);
	const struct conf conf = {.run_dir = str_of(d.path)};
	assert_int_equal(conf_gather_marks_of(&conf, &d.bundle, &d.report), 0);
	assert_true(list_empty(&d.bundle.items));
	disk_write(&d, "marks", "1234 18\n");
	assert_int_equal(conf_gather_marks_of(&conf, &d.bundle, &d.report), 0);
	const struct bundle_item *item = bundle_find(&d.bundle, "mark", STR("1234"));
	assert_true(item && str_eq(item->text, STR("18")));
	assert_null(bundle_next(&d.bundle, "conf", NULL));
	assert_null(d.report.text);
	disk_done(&d);
}

static void test_gather_missing(void **state)
{
	struct disk d;
	char want[1024];
	disk_init(&d);
	assert_int_equal(disk_gather(&d), -ENOENT);
	snprintf(want, sizeof(want), "%s/ringmain.conf: No such file or directory\n", d.path);
	assert_string_equal(d.report.text, want);
	conf_report_done(&d.report);
	/* A file that is missing does not hide what is wrong with those that are there. */
	disk_write(&d, "ringmain.conf",
		"node: { name = \"a\"; address = \"10.0.0.1\"; };\n"
		"mesh: { trust_domain = \"x.test\"; file = [ ];\n"
		"files = [ \"one.conf\",\n\"two.conf\", \"three.conf\" ]; };\n");
	disk_write(&d, "three.conf", "policies: ( { service = \"a\"; action = \"alow\"; } );\n");
	assert_int_equal(disk_gather(&d), -ENOENT);
	snprintf(want, sizeof(want),
		"%s/ringmain.conf:3: mesh.files[0]: %s/one.conf: No such file or directory\n"
		"%s/ringmain.conf:4: mesh.files[1]: %s/two.conf: No such file or directory\n"
		"%s/ringmain.conf:2: mesh.file: unknown key; did you mean \"files\"?\n"
		"%s/three.conf:1: policies[0].action: \"alow\" is none of \"allow\", \"deny\", "
		"\"audit\"; "
		"did you mean \"allow\"?\n",
		d.path, d.path, d.path, d.path, d.path, d.path);
	assert_string_equal(d.report.text, want);
	disk_done(&d);
}

/* What is wrong inside the node file is the parse's to say, once. */
static void test_gather_leaves_errors(void **state)
{
	struct disk d;
	struct conf *conf = NULL;
	struct snapshot *snapshot = NULL;
	disk_init(&d);
	disk_write(&d, "ringmain.conf", "node: {\n");
	assert_int_equal(disk_gather(&d), 0);
	assert_null(d.report.text);
	assert_int_equal(conf_parse(&d.bundle, NULL, 1, &conf, &snapshot, &d.report), -EINVAL);
	assert_int_equal(d.report.error_count, 1);
	disk_done(&d);
}

/* The parse opens nothing: the same bundle gives the same result when the files are gone. */
static void test_gather_examples(void **state)
{
	static const char *const users[][2] = {
		{"ringmain", "990"}, {"orders", "1001"}, {"web", "1002"}};
	struct bundle b;
	struct conf_report report;
	struct conf *conf = NULL;
	struct snapshot *snapshot = NULL;
	struct err err;
	bundle_init(&b);
	conf_report_init(&report);
	assert_int_equal(conf_gather(SOURCE_ROOT "/conf/ringmain.conf", &b, &report), 0);
	for (size_t i = 0; i < ARRAY_LEN(users); i++) {
		if (!bundle_find(&b, "user", str_of(users[i][0])))
			assert_int_equal(bundle_add(&b, STR("user"), str_of(users[i][0]),
						 str_of(users[i][1]), &err),
				0);
	}
	if (conf_parse(&b, NULL, 1, &conf, &snapshot, &report) != 0 || report.text)
		fail_msg("%s", report.text);
	assert_int_equal(snapshot->workload_count, 2);
	assert_int_equal(snapshot->service_count, 3);
	assert_int_equal(snapshot->policy_count, 2);
	conf_free(conf);
	conf_snapshot_free(snapshot);
	conf_report_done(&report);
	bundle_done(&b);
}

static size_t gather_read(FILE *file, char *text, size_t size)
{
	rewind(file);
	size_t len = fread(text, 1, size - 1, file);
	text[len] = '\0';
	return len;
}

static void test_gather_reference(void **state)
{
	static char want[1 << 20], text[1 << 20];
	FILE *out = tmpfile(), *readme = fopen(SOURCE_ROOT "/conf/README.md", "r");
	assert_true(out && readme);
	conf_print_reference(fileno(out));
	gather_read(out, want, sizeof(want));
	gather_read(readme, text, sizeof(text));
	char *reference = strstr(text, "## The node file\n");
	if (!reference || strcmp(reference, want) != 0)
		fail_msg("conf/README.md is not what conf_print_reference() writes:\n%s", want);
	fclose(out);
	fclose(readme);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gather_all),
		cmocka_unit_test(test_gather_marks_alone),
		cmocka_unit_test(test_gather_missing),
		cmocka_unit_test(test_gather_leaves_errors),
		cmocka_unit_test(test_gather_examples),
		cmocka_unit_test(test_gather_reference),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
