/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that ask the running proxy one thing and show what it says: the command line becomes the
 * path of a page of the admin API, with a query of percent-encoded values. One table of options, of
 * which each question takes some. Blocking. */
#pragma once

#include "ask.h"
#include "json_tree.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* As the letters of `takes` and `needs`; the key in the query is the option's long name. */
enum question_letter {
	QUESTION_FROM = 'f',
	QUESTION_TO = 't',
	QUESTION_METHOD = 'm',
	QUESTION_PATH = 'p',
	QUESTION_HOST = 'a',
	QUESTION_HEADER = 'H',
	QUESTION_TCP = 'T', /* with none of method, path, host, header and claim */
	QUESTION_PORT = 'P',
	QUESTION_CLIENT = 'C',
	QUESTION_CLAIM = 'k',
	QUESTION_OFFLINE = 'F', /* no part of the query: ask_offline() is asked */
};

struct question_kind {
	const char *word;  /* "explain"; NULL: the command has one question only */
	const char *page;  /* "/routes/explain" */
	const char *takes; /* options besides -c, --socket, -o and -h */
	const char *needs; /* those of them that must be there */
	/* One word may stand besides the options, and is this in the query; NULL: none. */
	const char *subject, *subject_missing; /* what to say without one; NULL: it need not be */
	int exit_unanswered;		       /* when there is no answer; 0: 1 */
	/* Shows the answer, or with `out` NULL nothing; returns the exit status. */
	int (*report)(FILE *out, const struct json_tree *answer);
	/* With --offline: the same page of a configuration that nobody has put in force. NULL: it
	 * has none, and that was said; otherwise the text is the caller's to free. */
	char *(*ask_offline)(const char *conf_path, const char *path, int *ret_status);
	/* Instead of all that: argv[0] is the whole name, "ringmain routes explain". */
	int (*run)(int argc, char **argv);
};

/* argv[0] is the command's name, argv[1] the word of one of the kinds. Exit status. */
int question_main(int argc, char **argv, const char *usage, const struct question_kind *kinds,
	uint32_t kind_count);
