/* SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include "conf/run_dir.h"
#include <errno.h>
#include <stdio.h>

static int source_parse(struct source *s, const char *path, struct err *err)
{
	struct bundle bundle;
	struct conf_report report;
	struct snapshot *snapshot = NULL;
	bundle_init(&bundle);
	conf_report_init(&report);
	int r = conf_gather(path, &bundle, &report);
	if (r == 0)
		r = conf_parse(&bundle, NULL, 1, &s->conf, &snapshot, &report);
	if (report.text)
		fprintf(stderr, "%s", report.text);
	if (r < 0)
		err_set(err, -r, "%s cannot be used; rules are as they were", path);
	else
		conf_snapshot_free(snapshot);
	conf_report_done(&report);
	bundle_done(&bundle);
	return r;
}

static int source_paths(struct source *s, struct err *err)
{
	struct str dir = s->conf->run_dir;
	if (dir.len >= sizeof(s->run_dir))
		return err_set(err, ENAMETOOLONG, "node.run_dir is too long");
	snprintf(s->run_dir, sizeof(s->run_dir), STR_FMT, STR_ARG(dir));
	snprintf(s->marks_path, sizeof(s->marks_path), "%s/" RUN_DIR_MARKS, s->run_dir);
	return 0;
}

int source_init(struct source *s, const char *path, struct err *err)
{
	*s = (struct source){0};
	int r = source_parse(s, path, err);
	if (r < 0)
		return r;
	r = source_paths(s, err);
	if (r == 0)
		r = capture_init(&s->capture, s->conf, err);
	if (r < 0) {
		conf_free(s->conf);
		s->conf = NULL;
	}
	return r;
}

void source_done(struct source *s)
{
	capture_done(&s->capture);
	conf_free(s->conf);
	s->conf = NULL;
}
