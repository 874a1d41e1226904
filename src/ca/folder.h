/* SPDX-License-Identifier: Apache-2.0 */
/* The authority's directory as files: names, permissions, the lock, small files of words. All of
 * it blocks on disk. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "keys/file.h"
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define FOLDER_DIR_MAX (PATH_MAX - 400)

struct folder {
	char dir[FOLDER_DIR_MAX];
	int lock_fd;
	int lock_depth;
};

/* An authority's directory that is there, and that nobody else may look into. */
int folder_open(const char *dir, struct folder *p, struct err *err) MUST_CHECK;
void folder_close(struct folder *p);
/* Makes it, 0700; one that is there must be that already. */
int folder_make(const char *dir, struct err *err) MUST_CHECK;

/* Alone among all processes that have it open; may be taken again by who has it. */
int folder_lock(struct folder *p, struct err *err) MUST_CHECK;
void folder_unlock(struct folder *p);

/* "<dir>/<name>", the name made by the format. */
void folder_path(const struct folder *p, char path[PATH_MAX], const char *format, ...)
	PRINTF_LIKE(3, 4);
/* Whether a name is there. */
bool folder_has(const struct folder *p, const char *name);
int folder_read(const struct folder *p, const char *name, enum file_secrecy secrecy,
	struct str *ret_text, struct err *err) MUST_CHECK;
/* Like that, but of any size, and "" where there is no file. */
int folder_read_long(
	const struct folder *p, const char *name, struct str *ret_text, struct err *err) MUST_CHECK;
int folder_write(const struct folder *p, const char *name, enum file_secrecy secrecy,
	struct str text, struct err *err) MUST_CHECK;
/* One write at the end; `is_durable`: on the disk when it returns. */
int folder_append(const struct folder *p, const char *name, struct str text, bool is_durable,
	struct err *err) MUST_CHECK;
/* 0 also when there is none. Gone from the disk when it returns. */
int folder_remove(const struct folder *p, const char *name, struct err *err) MUST_CHECK;
/* Removes what writers that were cut off have left, keys among it. The caller has the lock: nobody
 * is writing. */
void folder_sweep(const struct folder *p);
/* A directory inside, 0700. */
int folder_subdirectory(const struct folder *p, const char *name, struct err *err) MUST_CHECK;

/* What a file looked like when it was read last: true when it looks otherwise now. */
struct folder_stamp {
	ino_t inode;
	off_t size;
	struct timespec changed;
};
bool folder_changed(const struct folder *p, const char *name, struct folder_stamp *stamp);

/* Words of a line with single spaces between; returns how many there are, at most `max` filled.
 * The last one takes the rest of the line. */
unsigned folder_words(struct str line, struct str *words, unsigned max);
/* The next line of a text, without its end; false: none is left. What has no line end at the end of
 * the text was cut off while it was written, and is none. */
bool folder_line(struct str *text, struct str *ret_line);
