/* SPDX-License-Identifier: Apache-2.0 */
/* How a command says that its command line is wrong: the same way everywhere. */
#pragma once

#include "base/assert.h"

/* Exit status of a command whose command line is wrong; 1 is for a problem that it found. */
#define USAGE_WRONG 2

/* "ringmain ca: <what>" and where to read more; returns USAGE_WRONG. `command` is the command's
 * argv[0], "ringmain ca", which getopt's own messages begin with too. */
int usage_wrong(const char *command, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same after getopt has said what is wrong. */
int usage_more(const char *command);
