/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy process gives up of its own accord. Sanitizer builds give up less (the sanitizers
 * open files and trace): src/daemon/sandbox_strict.c and sandbox_sanitizer.c are the two lists. */
#pragma once

#include "base/error.h"

/* No core dump, no debugger, no /proc/<pid>/mem: for both processes, at their start. Does not
 * survive an exec. */
void sandbox_hide(void);

/* From here on only the system calls that carry traffic, for all threads of the process, for ever:
 * no file is opened, no program run, no thread or ring made, no socket but TCP. To be called once
 * all threads and rings exist. */
int sandbox_enter(struct err *err) MUST_CHECK;
