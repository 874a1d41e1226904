/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file, read for what the rules need of it. */
#pragma once

#include "capture.h"
#include <limits.h>

struct source {
	struct conf *conf;
	struct capture capture; /* without marks: capture_give_marks() with marks_path */
	char run_dir[PATH_MAX - 64];
	char marks_path[PATH_MAX];
};

/* Prints the configuration's own complaints to standard error; on an error nothing is left to end.
 */
int source_init(struct source *s, const char *path, struct err *err) MUST_CHECK;
void source_done(struct source *s);
