/* SPDX-License-Identifier: Apache-2.0 */
/* What is captured, as a table for people or as JSON. */
#pragma once

#include "check.h"
#include "source.h"

/* `outcome` and `detail` from check_rules(). */
void show_table(const struct source *s, const struct tool *t, const struct live *live, int outcome,
	const char *detail);
void show_json(const struct source *s, const struct tool *t, const struct live *live, int outcome,
	const char *detail);
