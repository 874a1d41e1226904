/* SPDX-License-Identifier: Apache-2.0 */
/* The command lines of the commands about the mesh's objects: one table of options, of which each
 * command takes some. */
#pragma once

#include "base/arena.h"
#include "base/bundle.h"
#include "base/str.h"
#include "conf/conf.h"
#include <stdbool.h>
#include <stdint.h>

struct conf_object;

#define COMMAND_FILES_MAX 256

/* As the letters of `takes`. */
enum command_letter {
	COMMAND_CONFIG = 'c',
	COMMAND_FILE = 'f',
	COMMAND_HELP = 'h',
	COMMAND_NUMBER = 'n',
	COMMAND_OUTPUT = 'o',
	COMMAND_CHECK = 'K',
	COMMAND_DRY_RUN = 'D',
	COMMAND_IF_REVISION = 'I',
	COMMAND_PRUNE = 'P',
	COMMAND_REPLACE_ALL = 'R',
	COMMAND_WHY = 'W',
};

struct command {
	const char *name; /* "ringmain apply" */
	const char *conf_path;
	const char *files[COMMAND_FILES_MAX];
	uint32_t file_count;
	const char *output; /* NULL: not given */
	const char *why;
	uint64_t number, if_revision;
	bool has_number, has_if_revision, check, dry_run, prune, replace_all;
	char **words; /* behind the options */
	uint32_t word_count;
};

/* 0: go on; else the exit status + 1: help was wanted, or something is wrong, and said. `outputs`:
 * the words that -o may have, "table json". */
int command_read(int argc, char **argv, const char *takes, const char *outputs, const char *usage,
	struct command *ret_command) MUST_CHECK;
bool command_wants(const struct command *c, const char *output);

/* All files of -f, into an initialised bundle. False: said why. */
bool command_gather(const struct command *c, struct bundle *b) MUST_CHECK;
/* For a command about files, and nothing else: 0, or the exit status, and it is said. */
int command_files_wrong(const struct command *c) MUST_CHECK;
/* The objects of all files of -f, whose texts the initialised bundle holds. False: said why. */
bool command_rows(const struct command *c, struct bundle *files, struct arena *arena,
	struct conf_object **ret_rows, uint32_t *ret_count) MUST_CHECK;
