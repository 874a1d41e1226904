/* SPDX-License-Identifier: Apache-2.0 */
/* The long-running look at the rules: notices other people's changes, mends or reports them. */
#pragma once

#include "source.h"
#include "tool.h"

/* Looks every interval_ms, until SIGTERM or SIGINT; SIGHUP reads the configuration again. */
int watch_run(const char *conf_path, const struct tool *t, uint64_t interval_ms,
	struct err *err) MUST_CHECK;
