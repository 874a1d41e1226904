/* SPDX-License-Identifier: Apache-2.0 */
/* A check's program: a process in a group of its own, which is ended as a whole. Nothing waits. */
#pragma once

#include "base/assert.h"
#include <stdbool.h>
#include <sys/types.h>

/* Without a shell, in "/", with nothing open but /dev/null three times, and no environment but
 * PATH. 0 with the process in *ret_pid, or -errno. */
int program_start(char *const argv[], pid_t *ret_pid) MUST_CHECK;
/* True once the process has ended: it is reaped then, and what it left running in its group is
 * killed. *ret_status is as of waitpid(2), -1 when that is not to be known. */
bool program_ended(pid_t pid, int *ret_status) MUST_CHECK;
/* Kills the group. program_ended() tells when it is gone. */
void program_kill(pid_t pid);
