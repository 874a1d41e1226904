/* SPDX-License-Identifier: Apache-2.0 */
/* A temporary directory for one test, with files to make, change and look at. */
#pragma once

#include "base/str.h"
#include <sys/types.h>

struct place {
	char dir[64];
	char *path[2]; /* the last two place_path(), owned */
	unsigned turn;
};

void place_init(struct place *p);
/* Removes everything below, and frees what place_path() gave. */
void place_done(struct place *p);
/* "<dir>/<name>"; stays valid for one more call. */
const char *place_path(struct place *p, const char *name);
void place_write(struct place *p, const char *name, struct str text, mode_t mode);
/* The text with a NUL behind it; free() it. */
char *place_read(struct place *p, const char *name);
