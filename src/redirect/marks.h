/* SPDX-License-Identifier: Apache-2.0 */
/* Which number in the SYN mark stands for which uid. A number stays with its uid, and a number that
 * once stood for one uid is not given to another while unused ones are left: a connection accepted
 * under the old meaning would change its identity. */
#pragma once

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

struct mark {
	uint32_t uid, number;
};

struct marks {
	struct mark *all; /* in order of giving */
	uint32_t count, size;
	uint32_t number_max; /* what fits under the mask; numbers are 1..number_max */
};

void marks_init(struct marks *m, uint32_t number_max);
void marks_done(struct marks *m);
/* The file's "uid number" lines; a missing file is an empty table. Numbers beyond number_max are
 * from a wider mask and are dropped. */
int marks_read(struct marks *m, const char *path, struct err *err) MUST_CHECK;
/* Gives every one of these uids a number, keeping those they have. Only when no number is left
 * unused is one taken from a uid that is not among these, the oldest first. */
int marks_give(
	struct marks *m, const uint32_t *uids, uint32_t uid_count, struct err *err) MUST_CHECK;
/* 0: none. */
uint32_t marks_find(const struct marks *m, uint32_t uid);
int marks_write(const struct marks *m, const char *path, struct err *err) MUST_CHECK;
