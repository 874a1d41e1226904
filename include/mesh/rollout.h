/* SPDX-License-Identifier: Apache-2.0 */
/* A service whose calls are being moved from one version to another, as far as the plan knows: the
 * legs of routes are divided by it already (conf/build_rollouts.c). For those who count calls and
 * for those who show it. */
#pragma once

#include "mesh/snapshot.h"

struct rollout {
	const struct service *service;
	struct str from, to; /* versions */
	uint64_t attempt;
	uint32_t percent;	   /* of the calls, to `to` */
	struct str state;	   /* "stepping"; "waiting" before anybody has begun */
	uint32_t step, step_count; /* step: 1 for the first; 0: before it */
	struct str order;	   /* "run" */
	struct str why;		   /* of the last change; may be empty */
};
