/* SPDX-License-Identifier: Apache-2.0 */
#include "offline.h"

#include "admin/admin.h"
#include "conf/conf.h"
#include <stdio.h>

static char *offline_answer(
	struct bundle *b, const char *path, int *ret_status, struct conf_report *report)
{
	struct conf *conf;
	struct snapshot *snapshot;
	if (conf_parse(b, NULL, 1, &conf, &snapshot, report) < 0)
		return NULL;
	char *text = admin_answer_of(conf, snapshot, str_of(path), ret_status);
	conf_snapshot_free(snapshot);
	conf_free(conf);
	return text;
}

char *offline_ask(const char *conf_path, const char *path, int *ret_status)
{
	struct bundle b;
	struct conf_report report;
	char *text = NULL;
	bundle_init(&b);
	conf_report_init(&report);
	if (conf_gather(conf_path, &b, &report) == 0)
		text = offline_answer(&b, path, ret_status, &report);
	if (report.text)
		fputs(report.text, stderr);
	conf_report_done(&report);
	bundle_done(&b);
	return text;
}
