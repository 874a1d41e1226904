/* SPDX-License-Identifier: Apache-2.0 */
/* Published objects of kind `rollout`: as the rule that the rollout goes by, and how commands
 * change them. Pure. */
#pragma once

#include "base/arena.h"
#include "base/str.h"
#include "rollout/rollout.h"

/* `text`: the object's, one row. All of it into the arena. -EINVAL with what is wrong, as a node
 * would say it; -ENOMEM. */
int conf_rollout_rule(struct str text, struct arena *arena, struct rollout_rule *ret_rule,
	struct err *err) MUST_CHECK;
/* The same object with another order, as a mesh file. at == NULL: it is none, or out of memory. */
struct str conf_rollout_ordered(struct str text, enum rollout_order order, struct arena *arena);
