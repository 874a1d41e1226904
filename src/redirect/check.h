/* SPDX-License-Identifier: Apache-2.0 */
/* Compares what stands in the kernel with what is wanted. */
#pragma once

#include "capture.h"
#include "tool.h"

/* Named outcomes. */
enum check { CHECK_IN_PLACE = 0, CHECK_DRIFTED = 1, CHECK_ABSENT = 2 };

/* An outcome with *detail saying what differs, or -errno. Both versions' rules are left in `live`
 * (IP_VERSION_COUNT of them) for the caller to look at and to end. */
int check_rules(const struct tool *t, const struct capture *p, struct live *live,
	struct err *detail) MUST_CHECK;
