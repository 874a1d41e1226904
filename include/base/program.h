/* SPDX-License-Identifier: Apache-2.0 */
/* Another program: a child in a process group of its own, looked at now and then, never waited for.
 */
#pragma once

#include "base/assert.h"
#include <stdbool.h>
#include <sys/types.h>

/* Without a shell, in "/", with no environment but PATH, no blocked or ignored signal, and no
 * descriptor but these two for what it writes and /dev/null, which also stands for one that is
 * negative. 0 or -errno. */
int program_start(char *const argv[], int out_fd, int err_fd, pid_t *ret_pid) MUST_CHECK;
/* True: it has ended, what it left in its group is killed, and its number is no longer its own;
 * *ret_status as of waitpid(2), or -1: somebody else has reaped it. */
bool program_ended(pid_t pid, int *ret_status) MUST_CHECK;
/* It and all that it has started; before it has ended only. */
void program_kill(pid_t pid);
