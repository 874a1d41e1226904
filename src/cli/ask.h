/* SPDX-License-Identifier: Apache-2.0 */
/* One question, or one request, to the admin API over its unix socket. Blocking, with a time limit.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

struct answer {
	char *bytes; /* everything received; owned */
	int status;
	struct str body; /* into bytes */
};

/* Longest path, with its query. */
#define ASK_PATH_MAX 4095

/* GET. -errno with the cause and the cure in err; otherwise
 * answer_done() is due. */
int ask(const char *socket_path, const char *path, struct answer *ret_answer,
	struct err *err) MUST_CHECK;
/* POST, without a body. Otherwise the same. */
int ask_for(const char *socket_path, const char *path, struct answer *ret_answer,
	struct err *err) MUST_CHECK;
void answer_done(struct answer *answer);
