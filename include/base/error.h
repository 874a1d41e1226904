/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a failure in start-up, configuration and control work: what went wrong, where, and
 * the cure. Functions return 0, or -errno with the text filled in. */
#pragma once

#include "base/assert.h"

struct err {
	char text[512];
};

/* Sets the text (cut at the end when too long) and returns -number, so that a caller can write
 * `return err_set(err, EINVAL, "...")`. `number` is a positive errno. */
int err_set(struct err *err, int number, const char *format, ...) PRINTF_LIKE(3, 4);
