/* SPDX-License-Identifier: Apache-2.0 */
/* Rollouts for people and for programs. Pure. */
#pragma once

#include "rollout_read.h"
#include <stdio.h>

/* `service` empty: all of them. False: there is none to show. */
bool rollout_show_list(FILE *out, const struct rollouts *r);
bool rollout_show_status(FILE *out, const struct rollouts *r, struct str service);
bool rollout_show_json(FILE *out, const struct rollouts *r, struct str service);
