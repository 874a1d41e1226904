/* SPDX-License-Identifier: Apache-2.0 */
/* Putting the rules in and taking them out. */
#pragma once

#include "capture.h"
#include "tool.h"

/* Installs the wanted rules, or brings those in place up to the capture, without disturbing
 * captured connections. A first installation that fails is taken back. With `spare_earlier`,
 * connections that users not yet guarded have open go on as they are; otherwise the guard resets
 * them. */
int up_apply(const struct tool *t, const struct capture *p, bool spare_earlier,
	struct err *err) MUST_CHECK;
/* Prints the restore files of a first installation in their order. */
int up_print(const struct capture *p, bool ipv6, struct err *err) MUST_CHECK;

/* Named outcomes of down_apply(). */
enum { DOWN_REMOVED = 0, DOWN_NOTHING = 1 };

/* Removes the rules by what stands in the kernel: captures nothing new, waits up to drain_ms for
 * captured connections to end, ends the rest, and lets the guard go last. */
int down_apply(const struct tool *t, uint64_t drain_ms, struct err *err) MUST_CHECK;
/* Removes without draining: for an installation that did not get to its end, or for the rules of a
 * back end that another one has replaced. */
int down_remove(const struct tool *t, struct err *err) MUST_CHECK;
