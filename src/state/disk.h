/* SPDX-License-Identifier: Apache-2.0 */
/* The last known state on disk, for a start without the store:
 *
 *     ringmain-state 1 <bytes> <SHA-256 of them, hexadecimal>\n
 *     <a bundle's bytes>
 *
 * Two files: "state", and "state.old", the one before. A file that is torn, or of another format,
 * is refused, and the other one is read. Blocks on disk. */
#pragma once

#include "base/bundle.h"
#include "base/error.h"

#define DISK_FILE      "state"
#define DISK_FILE_OLD  "state.old"
#define DISK_FILE_TORN "state.torn"

/* Writes the bundle to a new file and then gives it the name; the file of that name becomes the old
 * one. On any error both are as they were. */
int disk_save(int dir_fd, const struct bundle *b, struct err *err) MUST_CHECK;
/* Fills an initialised bundle from one of the files. -ENOENT: there is no such file; other errors:
 * not a file of ours, or a torn one, which err names. */
int disk_load(int dir_fd, const char *name, struct bundle *b, struct err *err) MUST_CHECK;
/* The file's bytes, judged. */
int disk_read(struct str file, struct bundle *b, struct err *err) MUST_CHECK;

/* A short text in a file of its own, replaced as a whole. */
int disk_save_text(int dir_fd, const char *name, struct str text, struct err *err) MUST_CHECK;
/* At most size - 1 bytes and a NUL; 0 bytes when there is no such file. */
int disk_load_text(
	int dir_fd, const char *name, char *text, size_t size, struct err *err) MUST_CHECK;
