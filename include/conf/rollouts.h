/* SPDX-License-Identifier: Apache-2.0 */
/* A published object of kind `rollout` as the rule that its rollout goes by. Pure. */
#pragma once

#include "base/arena.h"
#include "base/str.h"
#include "rollout/rollout.h"

/* `text`: the object's, one row. All of it into the arena. -EINVAL with what is wrong, as a node
 * would say it; -ENOMEM. */
int conf_rollout_rule(struct str text, struct arena *arena, struct rollout_rule *ret_rule,
	struct err *err) MUST_CHECK;
