/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper's children give up of their own accord. Sanitizer builds give up less (the
 * sanitizers open files and trace): src/daemon/sandbox_strict.c and sandbox_sanitizer.c are the two
 * lists. */
#pragma once

#include "base/error.h"

/* No core dump, no debugger, no /proc/<pid>/mem: for every process, at its start. Does not
 * survive an exec. */
void sandbox_hide(void);

enum sandbox_kind {
	/* Only the system calls that carry traffic: no file is opened, no program run, no thread or
	 * ring made, no socket but TCP. */
	SANDBOX_PROXY,
	/* Whatever an ordinary program does, because checks of workloads run ordinary programs; but
	 * no namespace, mount, kernel module or BPF program, no look into another process, no
	 * ring, no listening socket, no socket but those of the Internet and of this machine. */
	SANDBOX_STATE,
};
/* From here on, for all threads of the process and all programs that it runs, for ever. To be
 * called once all threads and rings exist. */
int sandbox_enter(enum sandbox_kind kind, struct err *err) MUST_CHECK;
