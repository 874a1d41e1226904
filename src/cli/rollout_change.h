/* SPDX-License-Identifier: Apache-2.0 */
/* What `ringmain rollout` makes of a rollout's object: a new one, or another order. Pure. */
#pragma once

#include "rollout_line.h"
#include "rollout_read.h"
#include <stdio.h>

struct rollout_change {
	struct str text; /* a mesh file with the one row; empty: there is nothing to do */
	char done[256];	 /* what then is to be said: "it is paused already" */
	char why[160];	 /* for the history, unless the command line says */
};

/* -EINVAL with err; -ENOMEM. Texts are in the arena. */
int rollout_change_make(const struct rollout_line *line, const struct rollouts *standing,
	uint64_t now_s, struct arena *arena, struct rollout_change *ret_change,
	struct err *err) MUST_CHECK;
