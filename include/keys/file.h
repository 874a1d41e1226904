/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files: read with a check on who else can, written so that a reader sees the old or the new
 * one and never half of it. Both block on disk. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>

enum file_secrecy { FILE_PUBLIC, FILE_SECRET /* 0600: read and written by its owner only */ };
enum file_presence { FILE_REPLACE, FILE_NEW /* -EEXIST if the name is taken */ };

/* The text with a NUL behind it (not counted). Secret files that others may read are refused. */
int file_read(const char *path, enum file_secrecy secrecy, struct str *ret_text,
	struct err *err) MUST_CHECK;
/* Overwrites before freeing. */
void file_text_free(struct str text);
/* On the disk when it returns, its name too. */
int file_write(const char *path, enum file_secrecy secrecy, enum file_presence presence,
	struct str text, struct err *err) MUST_CHECK;
/* Writes out the directory that `path` is in: what was made, renamed or removed there. -errno. */
int file_sync_directory(const char *path) MUST_CHECK;
