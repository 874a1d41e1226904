/* SPDX-License-Identifier: Apache-2.0 */
/* What stays between commands, in the run directory: that the rules are meant to stand, what the
 * sysctl was before, and a lock so that up, down and watch do not work at the same time. */
#pragma once

#include "base/error.h"
#include <stdbool.h>

#define STANDING_RUN_DIR_DEFAULT "/run/ringmain"

/* Makes the directory if needed. A descriptor to be closed, -EBUSY when somebody else works and
 * `wait` is false, or another -errno. */
int standing_lock(const char *run_dir, bool wait, struct err *err) MUST_CHECK;

/* Notes that the rules are to stand, and switches net.ipv4.tcp_fwmark_accept on. */
int standing_raise(const char *run_dir, struct err *err) MUST_CHECK;
/* Takes the note back, so that the watch stops mending. */
int standing_lower(const char *run_dir, bool *ret_restore, struct err *err) MUST_CHECK;
/* Switches the sysctl off again, when standing_lower() said that we had switched it on. */
int standing_restore(struct err *err) MUST_CHECK;
/* The rules are meant to stand. */
bool standing_is_raised(const char *run_dir);
/* Accepted sockets carry the mark of their SYN. */
bool standing_accepts_marks(void);
