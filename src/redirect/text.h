/* SPDX-License-Identifier: Apache-2.0 */
/* A text that grows while it is written, and small files that are read and replaced whole. Running
 * out of memory is remembered in the text, so that a writer checks once, at the end. */
#pragma once

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

#define TEXT_FILE_BYTES_MAX (4u << 20)

struct text {
	char *at; /* always ends in NUL once something was added; NULL before */
	size_t len, size;
	bool failed; /* memory ran out: what stands here is not whole */
};

void text_init(struct text *t);
void text_done(struct text *t);
void text_add(struct text *t, const char *format, ...) PRINTF_LIKE(2, 3);
void text_add_bytes(struct text *t, const char *bytes, size_t len);
/* "" instead of NULL. */
const char *text_at(const struct text *t);

/* Appends a whole file, or all that is left to read of a descriptor. -ENOENT without an error text
 * when there is no such file. */
int text_read_file(struct text *t, const char *path, struct err *err) MUST_CHECK;
int text_read_fd(struct text *t, int fd, const char *name, struct err *err) MUST_CHECK;
/* Replaces the file in one step: a reader sees the old text or the new one. */
int text_write_file(const struct text *t, const char *path, struct err *err) MUST_CHECK;
