/* SPDX-License-Identifier: Apache-2.0 */
/* Rollouts from rows, inside the conf room. */
#pragma once

#include "parser.h"
#include "rollout/rollout.h"

/* What a row says by itself; its errors are noted. False: there is no rule in it. */
bool conf_rollout_read(
	struct conf_parser *p, const struct conf_rollout_row *row, struct rollout_rule *ret_rule);
