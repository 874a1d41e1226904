/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of `ringmain rollout`. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ROLLOUT_LINE_PREVIEWS_MAX 8

enum rollout_verb {
	ROLLOUT_VERB_START,
	ROLLOUT_VERB_STATUS,
	ROLLOUT_VERB_LIST,
	ROLLOUT_VERB_PAUSE,
	ROLLOUT_VERB_RESUME,
	ROLLOUT_VERB_PROMOTE,
	ROLLOUT_VERB_ABORT,
};

struct rollout_line {
	char name[48]; /* "ringmain rollout start" */
	enum rollout_verb verb;
	const char *service; /* NULL: all; of status and list */
	const char *from, *to, *steps, *every, *success, *p99, *calls_min; /* NULL: not given */
	const char *previews[ROLLOUT_LINE_PREVIEWS_MAX];		   /* "x-canary: yes" */
	uint32_t preview_count;
	const char *why, *conf_path;
	bool hold, dry_run, json, watch;
};

/* 0: go on; else the exit status + 1: help was wanted, or something is wrong, and said. */
int rollout_line_read(int argc, char **argv, struct rollout_line *ret_line);
